#include "consumer/base/memory.h"
#include "consumer/core/fold_state.h"

#include <assert.h>
#include <stdlib.h>

void ledger_create(struct ledger *ledger)
{
    ledger->texts = arena_create();
    ledger->package_texts = arena_create();
    if (!ledger->texts || !ledger->package_texts)
        abort();
}

void ledger_free(struct ledger *ledger)
{
    for (size_t i = 0; i < ledger->account_count; i++)
        free(ledger->accounts[i].spans);
    free(ledger->accounts);
    free(ledger->account_hashes);
    index_free(&ledger->account_index);
    free(ledger->packages);
    index_free(&ledger->package_index);
    free(ledger->credits);
    index_free(&ledger->credit_index);
    arena_destroy(ledger->texts);
    arena_destroy(ledger->package_texts);
}

size_t ledger_memory(const struct ledger *ledger)
{
    return arena_used(ledger->texts) + arena_used(ledger->package_texts) +
           ledger->account_capacity * sizeof *ledger->accounts +
           ledger->hash_capacity * sizeof *ledger->account_hashes +
           ledger->package_capacity * sizeof *ledger->packages +
           ledger->credit_capacity * sizeof *ledger->credits +
           index_memory(&ledger->account_index) + index_memory(&ledger->package_index) +
           index_memory(&ledger->credit_index);
}

static void check_account(const struct account *account)
{
    assert(account->span_count <= account->span_capacity);
    // I8: who is suspended is so since the last span began, and nobody else has an open one
    bool open = account->span_count > 0 && account->spans[account->span_count - 1].to == INT64_MAX;
    assert((account->state == ACCOUNT_SUSPENDED) == open);
}

void ledger_check(const struct ledger *ledger)
{
    assert(ledger->account_capacity == ledger->hash_capacity); // parallel arrays
    assert(ledger->account_index.used == ledger->account_count);
    assert(ledger->package_index.used == ledger->package_ids);
    assert(ledger->package_ids <= ledger->package_count);
    assert(ledger->credit_index.used == ledger->credit_count);
    for (size_t a = 0; a < ledger->account_count; a++)
        check_account(&ledger->accounts[a]);
}

static struct slice keep_text(struct arena *texts, struct slice text)
{
    return (struct slice){arena_copy(texts, text.data, text.size), text.size};
}

// ---- accounts ----

uint32_t ledger_find_account(const struct fold *fold, struct account_hash hash)
{
    const struct ledger *ledger = &fold->ledger;
    uint32_t number;
    for (struct index_probe p = index_probe(&ledger->account_index, hash.half[0]);
         (number = index_next(&p)) != INDEX_NONE;)
        if (ledger_is_account(fold, number, hash))
            return number;
    return ACCOUNT_NONE;
}

uint32_t ledger_account(struct fold *fold, struct account_hash hash, struct slice id)
{
    struct ledger *ledger = &fold->ledger;
    uint32_t number = ledger_find_account(fold, hash);
    if (number != ACCOUNT_NONE)
        return number;
    assert(ledger->account_count < ACCOUNT_NONE);
    number = (uint32_t)ledger->account_count;
    ledger->accounts = memory_reserve(ledger->accounts, number, &ledger->account_capacity,
                                      sizeof *ledger->accounts);
    ledger->account_hashes = memory_reserve(ledger->account_hashes, number, &ledger->hash_capacity,
                                            sizeof *ledger->account_hashes);
    assert(ledger->account_capacity == ledger->hash_capacity);
    ledger->accounts[number] = (struct account){.id = keep_text(ledger->texts, id)};
    ledger->account_hashes[number] = hash;
    ledger->account_count++;
    index_insert(&ledger->account_index, hash.half[0], number);
    assert(ledger->account_index.used == ledger->account_count);
    return number;
}

// ---- suspension ----

void ledger_add_span(struct account *account, struct span span)
{
    assert(span.from <= span.to);
    assert(account->span_count <= account->span_capacity);
    if (account->span_count == account->span_capacity) {
        account->span_capacity = account->span_capacity ? account->span_capacity * 2 : 2;
        account->spans =
            memory_grow(account->spans, account->span_capacity, sizeof *account->spans);
    }
    account->spans[account->span_count++] = span;
}

bool ledger_was_suspended(const struct account *account, int64_t instant_ms)
{
    for (uint32_t i = account->span_count; i-- > 0;)
        // R38: from its first instant to that of the resumption, which is outside.
        if (instant_ms >= account->spans[i].from && instant_ms < account->spans[i].to)
            return true;
    return false;
}

void ledger_change_state(struct fold *fold, uint32_t number, enum cause cause, int64_t effective_at,
                         day_t settlement_day, struct slice credit_id)
{
    struct account *account = &fold->ledger.accounts[number];
    int64_t suspended_since = 0;
    check_account(account);
    if (cause == CAUSE_ARREARS) {
        assert(account->state == ACCOUNT_ACTIVE); // I8
        assert(account_balance(account) < 0);
        account->state = ACCOUNT_SUSPENDED;
        ledger_add_span(account, (struct span){effective_at, INT64_MAX});
    } else {
        assert(account->state == ACCOUNT_SUSPENDED); // I8
        assert(account_balance(account) > 0);
        struct span *span = &account->spans[account->span_count - 1];
        // R39: effective never before the suspension itself.
        if (effective_at < span->from)
            effective_at = span->from;
        suspended_since = span->from;
        account->state = ACCOUNT_ACTIVE;
        span->to = effective_at;
    }
    account->account_sequence++;
    account->changed = true;
    *step_add_status(&fold->step) = (struct step_status){
        .account = number,
        .account_sequence = account->account_sequence,
        .state = account->state,
        .cause = cause,
        .settlement_day = settlement_day,
        .credit_id = step_copy(&fold->step, credit_id),
        .balance = account_balance(account),
        .effective_at = effective_at,
        .suspended_since = suspended_since,
    };
    step_touch_account(&fold->step, account, number);
    check_account(account);
}

// ---- packages ----

static uint64_t hash_package(const struct fold *fold, struct account_hash hash, struct slice id)
{
    struct identity identity;
    identity_of(&fold->key, id, &identity);
    return identity_hash(&fold->key, identity.half, hash);
}

static uint64_t package_hash(const struct fold *fold, uint32_t number)
{
    const struct package *package = &fold->ledger.packages[number];
    return hash_package(fold, fold->ledger.account_hashes[package->account], package->id);
}

uint32_t ledger_find_package(const struct fold *fold, struct account_hash hash, uint32_t account,
                             struct slice id)
{
    const struct ledger *ledger = &fold->ledger;
    uint32_t number;
    for (struct index_probe p = index_probe(&ledger->package_index, hash_package(fold, hash, id));
         (number = index_next(&p)) != INDEX_NONE;)
        if (ledger->packages[number].account == account &&
            slice_same(ledger->packages[number].id, id))
            return number;
    return INDEX_NONE;
}

// R15: earliest expiry, then earliest purchase, then package id.
static bool drawn_before(const struct package *a, const struct package *b)
{
    if (a->valid_until != b->valid_until)
        return a->valid_until < b->valid_until;
    if (a->valid_from != b->valid_from)
        return a->valid_from < b->valid_from;
    return slice_compare(a->id, b->id) < 0;
}

// The packages of an account that may still be drawn, in the order of drawing.
static void check_list(const struct ledger *ledger, uint32_t account)
{
    uint32_t next = ledger->accounts[account].first_package;
    for (const struct package *before = NULL; next; next = before->next) {
        assert(next <= ledger->package_count);
        const struct package *package = &ledger->packages[next - 1];
        assert(package->account == account);
        assert(!before || drawn_before(before, package));
        before = package;
    }
}

void ledger_check_packages(const struct ledger *ledger)
{
    for (size_t a = 0; a < ledger->account_count; a++)
        check_list(ledger, (uint32_t)a);
}

// R60
bool ledger_is_known(const struct fold *fold, const struct package *package)
{
    return package->valid_from >= credit_start(fold);
}

// R13: a call of a day that may still be billed lies within its validity.
static bool is_drawable(const struct fold *fold, const struct package *package)
{
    return package->remaining > 0 && package->valid_until > call_start(fold);
}

bool ledger_is_gone(const struct fold *fold, const struct package *package)
{
    return !fold->options.keeps_packages && !ledger_is_known(fold, package) &&
           !is_drawable(fold, package);
}

static void index_package(struct fold *fold, uint32_t number)
{
    struct ledger *ledger = &fold->ledger;
    index_insert(&ledger->package_index, package_hash(fold, number), number);
    ledger->package_ids++;
    assert(ledger->package_index.used == ledger->package_ids);
}

static void list_package(struct ledger *ledger, uint32_t number)
{
    struct package *added = &ledger->packages[number];
    uint32_t *at = &ledger->accounts[added->account].first_package;
    while (*at && drawn_before(&ledger->packages[*at - 1], added))
        at = &ledger->packages[*at - 1].next;
    added->next = *at;
    *at = number + 1;
    // strictly: packages of an account that share an id are of different times
    assert(!added->next || drawn_before(added, &ledger->packages[added->next - 1]));
}

uint32_t ledger_add_package(struct fold *fold, const struct package *package)
{
    struct ledger *ledger = &fold->ledger;
    assert(package->account < ledger->account_count);
    assert(ledger->package_count < INDEX_NONE);
    assert(!ledger_is_gone(fold, package));
    uint32_t number = (uint32_t)ledger->package_count;
    ledger->packages = memory_reserve(ledger->packages, number, &ledger->package_capacity,
                                      sizeof *ledger->packages);
    struct package *added = &ledger->packages[number];
    *added = *package;
    added->id = keep_text(ledger->package_texts, package->id);
    added->touched = false;
    added->told = added->remaining;
    added->next = 0;
    ledger->package_count++;
    if (ledger_is_known(fold, added))
        index_package(fold, number);
    if (is_drawable(fold, added))
        list_package(ledger, number); // others are never drawn: a restart brings many of them
    else
        ledger->accounts[added->account].unlisted = true;
    return number;
}

// Those that stay move down, and lists, index and texts are made anew: once a day, and only when
// something leaves.
static void forget_packages(struct fold *fold)
{
    struct ledger *ledger = &fold->ledger;
    struct arena *old_texts = ledger->package_texts;
    size_t kept = 0;
    for (size_t i = 0; i < ledger->package_count; i++) {
        const struct package *package = &ledger->packages[i];
        if (!is_drawable(fold, package))
            ledger->accounts[package->account].unlisted = true;
        if (!ledger_is_gone(fold, package))
            ledger->packages[kept++] = *package;
    }
    for (size_t a = 0; a < ledger->account_count; a++)
        ledger->accounts[a].first_package = 0;
    index_free(&ledger->package_index);
    ledger->package_ids = 0;
    ledger->package_count = kept;
    ledger->package_texts = arena_create();
    if (!ledger->package_texts)
        abort();
    for (uint32_t i = 0; i < kept; i++) {
        struct package *package = &ledger->packages[i];
        assert(!package->touched); // no step tells of it
        package->id = keep_text(ledger->package_texts, package->id);
        package->next = 0;
        if (ledger_is_known(fold, package))
            index_package(fold, i);
        if (is_drawable(fold, package))
            list_package(ledger, i);
    }
    arena_destroy(old_texts);
}

// ---- credits ----

static uint64_t credit_hash(const struct fold *fold, uint32_t number)
{
    const struct credit_entry *credit = &fold->ledger.credits[number];
    return identity_hash(&fold->key, credit->half, fold->ledger.account_hashes[credit->account]);
}

const struct credit_entry *ledger_find_credit(const struct fold *fold, struct account_hash hash,
                                              uint32_t account, struct identity id)
{
    const struct ledger *ledger = &fold->ledger;
    uint32_t number;
    for (struct index_probe p =
             index_probe(&ledger->credit_index, identity_hash(&fold->key, id.half, hash));
         (number = index_next(&p)) != INDEX_NONE;) {
        const struct credit_entry *credit = &ledger->credits[number];
        if (credit->half[0] == id.half[0] && credit->half[1] == id.half[1] &&
            credit->uuid == id.uuid && credit->account == account)
            return credit;
    }
    return NULL;
}

void ledger_add_credit(struct fold *fold, struct account_hash hash,
                       const struct credit_entry *credit)
{
    struct ledger *ledger = &fold->ledger;
    assert(credit->account < ledger->account_count);
    assert(ledger->credit_count < INDEX_NONE);
    uint32_t number = (uint32_t)ledger->credit_count;
    ledger->credits =
        memory_reserve(ledger->credits, number, &ledger->credit_capacity, sizeof *ledger->credits);
    ledger->credits[number] = *credit;
    ledger->credit_count++;
    index_insert(&ledger->credit_index, identity_hash(&fold->key, credit->half, hash), number);
    assert(ledger->credit_index.used == ledger->credit_count);
}

static void forget_credits(struct fold *fold)
{
    struct ledger *ledger = &fold->ledger;
    int64_t oldest = credit_start(fold);
    size_t kept = 0;
    for (size_t i = 0; i < ledger->credit_count; i++)
        if (ledger->credits[i].credited_at >= oldest)
            ledger->credits[kept++] = ledger->credits[i];
    index_free(&ledger->credit_index);
    ledger->credit_count = kept;
    for (uint32_t i = 0; i < kept; i++)
        index_insert(&ledger->credit_index, credit_hash(fold, i), i);
}

// R60: what this day is the first to forget.
void ledger_forget(struct fold *fold)
{
    struct ledger *ledger = &fold->ledger;
    int64_t oldest = credit_start(fold);
    size_t known = 0, gone = 0, credits = 0;
    for (size_t i = 0; i < ledger->package_count; i++) {
        known += ledger_is_known(fold, &ledger->packages[i]);
        gone += ledger_is_gone(fold, &ledger->packages[i]);
    }
    for (size_t i = 0; i < ledger->credit_count; i++)
        credits += ledger->credits[i].credited_at < oldest;
    assert(known <= ledger->package_ids); // what was forgotten stays so
    if (gone > 0 || known < ledger->package_ids)
        forget_packages(fold);
    if (credits > 0)
        forget_credits(fold);
    ledger_check(ledger);
}
