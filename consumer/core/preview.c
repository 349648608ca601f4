#include "consumer/core/preview.h"

#include "consumer/base/memory.h"
#include "consumer/core/settle.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct preview {
    struct arena *texts;
    struct slice id;
    bool begun;
    uint64_t number; // of the fold that it is copied from
    // Newest first while they are copied, then in the order of settling.
    size_t pending_count, pending_capacity;
    struct pending *pending;
    // 1 + entry numbers: where the copying began this time and the time before, and where it stands
    uint32_t newest, reached, at;
    struct fold *copy; // of the account alone, without its calls
    size_t day_count, day_capacity;
    day_t *days; // of the pending calls
    struct preview_result result;
    struct preview_day *settled;
    struct preview_package *packages;
    // Packages that were bought in the step at hand, and are over or used up already.
    size_t spent_count, spent_capacity;
    struct package *spent;
};

struct preview *preview_create(struct slice account_id)
{
    struct preview *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->texts = arena_create();
    if (!p->texts) {
        free(p);
        return NULL;
    }
    p->id = (struct slice){arena_copy(p->texts, account_id.data, account_id.size), account_id.size};
    return p;
}

void preview_destroy(struct preview *preview)
{
    if (!preview)
        return;
    fold_destroy(preview->copy);
    arena_destroy(preview->texts);
    free(preview->pending);
    free(preview->days);
    free(preview->settled);
    free(preview->packages);
    free(preview->spent);
    free(preview);
}

const struct preview_result *preview_result(const struct preview *preview)
{
    return &preview->result;
}

// ---- the calls ----

// The number of a usage day among those of the pending calls.
static uint32_t number_of_day(struct preview *p, day_t day)
{
    for (size_t i = 0; i < p->day_count; i++)
        if (p->days[i] == day)
            return (uint32_t)i;
    p->days = memory_reserve(p->days, p->day_count, &p->day_capacity, sizeof *p->days);
    p->days[p->day_count] = day;
    return (uint32_t)p->day_count++;
}

static void copy_call(struct preview *p, const struct fold *fold, uint32_t entry)
{
    const struct call_block *block = fold->calls.blocks[entry / CALL_BLOCK];
    uint32_t at = entry % CALL_BLOCK;
    p->pending =
        memory_reserve(p->pending, p->pending_count, &p->pending_capacity, sizeof *p->pending);
    p->pending[p->pending_count++] = (struct pending){
        .occurred_at = calendar_day_start(block->day, fold->zone_ms) + call_ms(block, at),
        .ordinal = block->number * CALL_BLOCK + at,
        .units = block->units[at],
        .day = number_of_day(p, block->day) & ((1u << PENDING_DAY_BITS) - 1),
        .service = call_service(block, at) & ((1u << CALL_SERVICE_BITS) - 1)};
}

// True: the account's calls are all copied.
static bool copy_some(struct preview *p, const struct fold *fold, uint32_t account, size_t most)
{
    const struct account_calls *chains = &fold->chains;
    for (size_t i = 0; i < most; i++) {
        if (p->at == p->reached) {
            // What came meanwhile is in front of what is copied.
            p->reached = p->newest;
            p->newest = p->at = account_calls_newest(chains, account);
            if (p->at == p->reached)
                return true;
        }
        copy_call(p, fold, p->at - 1);
        p->at = account_calls_before(chains, p->at - 1);
    }
    return false;
}

// ---- the account ----

static void copy_packages(struct fold *copy, const struct fold *fold, const struct account *account)
{
    struct error e;
    const struct package *packages = fold->ledger.packages;
    for (uint32_t at = account->first_package; at; at = packages[at - 1].next) {
        int failed = fold_restore_package(copy, account->id, &packages[at - 1], &e);
        assert(!failed); // each is there once
        (void)failed;
    }
}

static bool is_listed(const struct fold *fold, const struct account *account, uint32_t number)
{
    uint32_t at = account->first_package;
    while (at && at != number + 1)
        at = fold->ledger.packages[at - 1].next;
    return at != 0;
}

// They are not recorded yet, and no list has them.
static void copy_spent(struct preview *p, const struct fold *fold, uint32_t account)
{
    const struct step *step = &fold->step;
    const struct account *owner = &fold->ledger.accounts[account];
    for (size_t i = 0; owner->unlisted && i < step->touched_package_count; i++) {
        const struct package *package = &fold->ledger.packages[step->touched_packages[i]];
        if (package->account != account || is_listed(fold, owner, step->touched_packages[i]))
            continue;
        p->spent = memory_reserve(p->spent, p->spent_count, &p->spent_capacity, sizeof *p->spent);
        p->spent[p->spent_count] = *package;
        p->spent[p->spent_count++].id = (struct slice){
            arena_copy(p->texts, package->id.data, package->id.size), package->id.size};
    }
}

static int64_t status_since(const struct account *account)
{
    if (account->span_count == 0)
        return 0;
    const struct span *last = &account->spans[account->span_count - 1];
    return account->state == ACCOUNT_SUSPENDED ? last->from : last->to;
}

// Whether the last change of status is known: one that was restored may be another than the last,
// and one that ended a suspension is forgotten in time.
static bool knows_status(const struct account *account)
{
    return account->account_sequence == 0 || account->state == ACCOUNT_SUSPENDED ||
           (account->changed && account->span_count > 0);
}

static void copy_account(struct preview *p, const struct fold *fold, uint32_t number)
{
    struct error e;
    const struct account *account = &fold->ledger.accounts[number];
    struct fold *copy = p->copy = fold_create(&fold->options, fold->policy);
    if (!copy)
        abort(); // out of memory
    copy->state = fold->state;
    fold_open_day(copy, fold->state.day);
    int failed = fold_restore_account(copy, account, NULL, &e);
    assert(!failed);
    (void)failed;
    for (uint32_t i = 0; i < account->span_count; i++)
        ledger_add_span(&copy->ledger.accounts[0], account->spans[i]);
    copy_packages(copy, fold, account);
    copy_spent(p, fold, number);
    p->result.account = copy->ledger.accounts[0];
    p->result.status_since = status_since(account);
    p->result.whole =
        knows_status(account) && !account->unlisted && !fold->ledger.packages_left_out;
    p->result.account.spans = NULL;
    p->result.account.span_count = p->result.account.span_capacity = 0;
    p->result.account.first_package = 0;
}

static void begin(struct preview *p, const struct fold *fold, uint64_t number)
{
    p->begun = true;
    p->number = number;
    p->pending_count = p->day_count = 0;
    p->newest = p->reached = p->at = 0;
    p->result.day = fold->state.day;
}

bool preview_take(struct preview *p, struct fold *fold, uint64_t number, size_t most)
{
    struct account_hash hash;
    assert(!p->copy);
    assert(!fold->replay.active);
    // Once a day is settled, its calls are on settlements.
    if (!p->begun || p->number != number || p->result.day != fold->state.day)
        begin(p, fold, number);
    if (!account_calls_catch_up(&fold->chains, &fold->calls, fold->ledger.account_count, most))
        return false;
    identity_of_account(&fold->key, p->id, &hash);
    uint32_t account = ledger_find_account(fold, hash);
    p->result.known = account != ACCOUNT_NONE;
    if (p->result.known) {
        if (!copy_some(p, fold, account, most))
            return false;
        copy_account(p, fold, account);
    }
    p->result.settling = fold->step.closed;
    for (int i = 0; i < INPUT_COUNT; i++)
        p->result.next[i] = fold->state.log[i].next;
    return true;
}

// ---- settling ----

static int compare_days(const void *a, const void *b)
{
    day_t x = *(const day_t *)a, y = *(const day_t *)b;
    return (x > y) - (x < y);
}

static int compare_by_day(const void *a, const void *b)
{
    const struct pending *x = a, *y = b;
    if (x->day != y->day)
        return x->day < y->day ? -1 : 1;
    return (x->ordinal > y->ordinal) - (x->ordinal < y->ordinal);
}

// From newest first into the order of days, and within a day into that of offsets.
static void order_pending(struct preview *p)
{
    if (p->pending_count == 0)
        return;
    uint32_t *ranks = memory_grow(NULL, p->day_count + 1, sizeof *ranks);
    day_t *sorted = memory_grow(NULL, p->day_count + 1, sizeof *sorted);
    memcpy(sorted, p->days, p->day_count * sizeof *sorted);
    qsort(sorted, p->day_count, sizeof *sorted, compare_days);
    for (size_t i = 0; i < p->day_count; i++)
        for (size_t rank = 0; rank < p->day_count; rank++)
            if (sorted[rank] == p->days[i])
                ranks[i] = (uint32_t)rank;
    bool ordered = true;
    for (size_t i = 0, j = p->pending_count; i < j--; i++) {
        struct pending last = p->pending[j];
        p->pending[j] = p->pending[i];
        p->pending[i] = last;
    }
    for (size_t i = 0; i < p->pending_count; i++) {
        p->pending[i].day = ranks[p->pending[i].day] & ((1u << PENDING_DAY_BITS) - 1);
        ordered = ordered && (i == 0 || compare_by_day(&p->pending[i - 1], &p->pending[i]) < 0);
    }
    if (!ordered)
        qsort(p->pending, p->pending_count, sizeof *p->pending, compare_by_day);
    memcpy(p->days, sorted, p->day_count * sizeof *sorted);
    free(sorted);
    free(ranks);
}

static void count_use(struct preview_day *day, const struct pending *pending, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct preview_use *use = &day->services[pending[i].service];
        use->calls++;
        use->units += pending[i].units;
    }
}

// The calls of `count` pending ones as the settlement of the open day.
static int settle_day(struct settling *c, struct pending *pending, size_t count,
                      struct preview_day *out)
{
    const struct step *step = &c->fold->step;
    const struct account *account = &c->fold->ledger.accounts[0];
    *out = (struct preview_day){.day = c->fold->state.day};
    count_use(out, pending, count);
    // R23: without usage there is no settlement.
    if (count > 0) {
        if (settle_account(c, 0, pending, count) != 0)
            return -1;
        const struct settlement *s = &step->settlements[step->settlement_count - 1];
        for (size_t i = 0; i < s->line_count; i++) {
            const struct settlement_line *line = &step->lines[s->first_line + i];
            out->services[line->service].amount += line->amount;
        }
        out->calls = s->calls;
        out->amount = s->amount;
    }
    out->balance_after = account_balance(account);
    out->state_after = account->state;
    return 0;
}

static int settle_days(struct preview *p, struct settling *c)
{
    day_t last = p->day_count > 0 ? p->days[p->day_count - 1] : DAY_NONE;
    size_t at = 0, capacity = 0;
    do {
        size_t first = at;
        day_t day = c->fold->state.day;
        while (at < p->pending_count && p->days[p->pending[at].day] <= day)
            at++;
        p->settled = memory_reserve(p->settled, p->result.day_count, &capacity, sizeof *p->settled);
        if (settle_day(c, &p->pending[first], at - first, &p->settled[p->result.day_count++]) != 0)
            return -1;
        fold_open_day(c->fold, day + 1);
    } while (c->fold->state.day <= last);
    assert(at == p->pending_count);
    p->result.days = p->settled;
    return 0;
}

// The copy has no others, and they came in the order of drawing.
static void list_packages(struct preview *p)
{
    const struct ledger *ledger = &p->copy->ledger;
    p->packages =
        memory_grow(NULL, ledger->package_count + p->spent_count + 1, sizeof *p->packages);
    for (size_t i = 0; i < ledger->package_count; i++)
        p->packages[i] = (struct preview_package){.package = ledger->packages[i]};
    for (size_t i = 0; i < p->spent_count; i++)
        p->packages[ledger->package_count + i] =
            (struct preview_package){p->spent[i], p->spent[i].remaining};
    p->result.packages = p->packages;
    p->result.package_count = ledger->package_count + p->spent_count;
}

int preview_settle(struct preview *p, struct error *e)
{
    if (!p->result.known)
        return 0;
    order_pending(p);
    list_packages(p);
    struct settling c = {.fold = p->copy, .e = e, .days = p->days};
    int failed = settle_days(p, &c);
    settle_release(&c);
    for (size_t i = 0; i < p->copy->ledger.package_count; i++)
        p->packages[i].remaining_now = p->copy->ledger.packages[i].remaining;
    return failed;
}
