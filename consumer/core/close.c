// Settling a day: the calls that are on no settlement yet, account by account. The numbers are
// those of the rules in pricing/README.md.
#include "consumer/base/memory.h"
#include "consumer/core/settle.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct closing {
    struct fold *fold;
    struct settling settling;
    day_t *days; // of the fold's calls
    uint32_t *starts; // by account number: its pending calls are [starts[a], starts[a + 1])
    struct pending *pending;
    bool *ends; // by account number: a package of it may be told of as ending
    // What the account in hand is told.
    size_t told_count, told_capacity;
    struct told {
        struct step_notice notice;
        struct slice package_id;
        int64_t valid_from;
    } * told;
};

// ---- who has what ----

static uint32_t day_account(const struct fold *fold, const struct usage_day *day, uint32_t ordinal)
{
    return calls_block(&fold->calls, day, ordinal)->account[ordinal % CALL_BLOCK];
}

// Counting sort of the pending calls by account: within an account by usage day, then by offset.
static void gather(struct closing *c)
{
    struct fold *fold = c->fold;
    size_t accounts = fold->ledger.account_count, total = 0;
    c->starts = calloc(accounts + 2, sizeof *c->starts);
    if (!c->starts)
        abort();
    c->days = memory_grow(NULL, fold->calls.day_count + 1, sizeof *c->days);
    uint32_t *counts = c->starts + 2;
    for (size_t d = 0; d < fold->calls.day_count && fold->calls.days[d].day <= fold->state.day;
         d++) {
        struct usage_day *day = &fold->calls.days[d];
        assert(day->settled <= day->count);
        total += day->count - day->settled;
        // R25: what is on a settlement already is not billed again.
        for (uint32_t i = day->settled; i < day->count; i++)
            counts[day_account(fold, day, i)]++;
        if (day->day < fold->state.day)
            fold->step.close.late += day->count - day->settled;
    }
    // starts[a + 1] is where the next call of account a goes; in the end it is where those of a + 1
    // begin.
    for (size_t a = 1; a <= accounts; a++)
        c->starts[a + 1] += c->starts[a];
    assert(total <= UINT32_MAX);
    c->pending = memory_grow(NULL, total ? total : 1, sizeof *c->pending);
    for (size_t d = 0; d < fold->calls.day_count && fold->calls.days[d].day <= fold->state.day;
         d++) {
        struct usage_day *day = &fold->calls.days[d];
        int64_t start = calendar_day_start(day->day, fold->zone_ms);
        c->days[d] = day->day;
        for (; day->settled < day->count; day->settled++) {
            const struct call_block *block = calls_block(&fold->calls, day, day->settled);
            uint32_t at = c->starts[block->account[day->settled % CALL_BLOCK] + 1]++;
            enum service service = call_service(block, day->settled);
            c->pending[at] = (struct pending){.occurred_at = start + call_ms(block, day->settled),
                                              .ordinal = day->settled,
                                              .units = block->units[day->settled % CALL_BLOCK],
                                              .day = (uint32_t)d & ((1u << PENDING_DAY_BITS) - 1),
                                              .service = service & ((1u << CALL_SERVICE_BITS) - 1)};
            assert(c->pending[at].service == service); // I1: another one has another price
            assert(c->pending[at].day == d);
        }
    }
    // I1: each call that was counted has found its place
    assert(c->starts[0] == 0);
    assert(c->starts[accounts] == total);
    assert(fold->step.close.late <= (int64_t)total);
}

// ---- what account holders are told ----

// Only few packages end soon: one pass finds their accounts.
static void find_ends(struct closing *c)
{
    const struct fold *fold = c->fold;
    day_t last = fold->state.day + (day_t)notice_days_ahead(&fold->parameters->notices);
    int64_t start = calendar_day_start(fold->state.day, fold->zone_ms),
            end = calendar_day_start(last + 1, fold->zone_ms);
    c->ends = calloc(fold->ledger.account_count + 1, sizeof *c->ends);
    if (!c->ends)
        abort();
    for (size_t i = 0; i < fold->ledger.package_count; i++) {
        const struct package *package = &fold->ledger.packages[i];
        if (package->remaining > 0 && start < package->valid_until && package->valid_until <= end)
            c->ends[package->account] = true;
    }
}

static void tell(struct closing *c, struct step_notice notice)
{
    static const struct package none;
    const struct package *package =
        notice.package == PACKAGE_NONE ? &none : &c->fold->ledger.packages[notice.package];
    c->told = memory_reserve(c->told, c->told_count, &c->told_capacity, sizeof *c->told);
    c->told[c->told_count++] = (struct told){notice, package->id, package->valid_from};
}

// R63: what remained was told of when it changed last.
static void tell_left(struct closing *c, uint32_t number)
{
    struct package *package = &c->fold->ledger.packages[number];
    struct step_notice notice = {NOTICE_PACKAGE_LOW, package->account, number, 0, 0};
    if (notice_package_low(&c->fold->parameters->notices, package->units, package->told,
                           package->remaining, &notice.threshold))
        tell(c, notice);
    package->told = package->remaining;
}

// R64, R65: of one that may still be drawn.
static void tell_end(struct closing *c, uint32_t number)
{
    const struct fold *fold = c->fold;
    const struct package *package = &fold->ledger.packages[number];
    day_t day = fold->state.day, ends = calendar_day(package->valid_until, fold->zone_ms);
    struct step_notice notice = {NOTICE_PACKAGE_EXPIRING, package->account, number, 0, 0};
    assert(package->remaining > 0); // else it is in no list any more
    if (notice_package_expiring(&fold->parameters->notices, day, ends, &notice.threshold))
        tell(c, notice);
    if (notice_package_expired(calendar_day_start(day, fold->zone_ms),
                               calendar_day_start(day + 1, fold->zone_ms), package->valid_until))
        tell(c, (struct step_notice){NOTICE_PACKAGE_EXPIRED, package->account, number, 0, 0});
}

// R66
static void tell_settlement(struct closing *c, const struct settlement *s)
{
    struct step_notice notice = {NOTICE_BALANCE_LOW, s->account, PACKAGE_NONE, 0,
                                 s->closing_balance};
    for (size_t i = 0; i < s->line_count; i++) {
        const struct settlement_line *line = &c->fold->step.lines[s->first_line + i];
        if (line->charge == CHARGE_PACKAGE)
            tell_left(c, line->package);
    }
    if (notice_balance_low(&c->fold->parameters->notices, s->closing_balance + s->amount,
                           s->closing_balance, &notice.threshold))
        tell(c, notice);
}

// Order of notices: kind, package id. R60: of two packages that share one, the older is first.
static int compare_told(const void *a, const void *b)
{
    const struct told *x = a, *y = b;
    if (x->notice.kind != y->notice.kind)
        return x->notice.kind < y->notice.kind ? -1 : 1;
    int order = slice_compare(x->package_id, y->package_id);
    return order ? order : (x->valid_from > y->valid_from) - (x->valid_from < y->valid_from);
}

static bool have_one_id(const struct told *a, const struct told *b)
{
    return a->notice.kind == b->notice.kind && slice_same(a->package_id, b->package_id);
}

// R67: a notice has one id, and so has one that two packages would give: it is the newer one's.
static void tell_account(struct closing *c, uint32_t number, const struct settlement *s)
{
    struct ledger *ledger = &c->fold->ledger;
    c->told_count = 0;
    if (s)
        tell_settlement(c, s);
    for (uint32_t at = c->ends[number] ? ledger->accounts[number].first_package : 0; at;
         at = ledger->packages[at - 1].next)
        tell_end(c, at - 1);
    if (c->told_count > 1)
        qsort(c->told, c->told_count, sizeof *c->told, compare_told);
    for (size_t i = 0; i < c->told_count; i++)
        if (i + 1 == c->told_count || !have_one_id(&c->told[i], &c->told[i + 1]))
            *step_add_notice(&c->fold->step) = c->told[i].notice;
}

// ---- the day ----

struct named_account {
    struct slice id;
    uint32_t number;
};

static int compare_named(const void *a, const void *b)
{
    return slice_compare(((const struct named_account *)a)->id,
                         ((const struct named_account *)b)->id);
}

static int close_account(struct closing *c, uint32_t number)
{
    const struct step *step = &c->fold->step;
    uint32_t first = c->starts[number], next = c->starts[number + 1];
    // R23: who used something gets one.
    bool used = next > first;
    if (used && settle_account(&c->settling, number, &c->pending[first], next - first) != 0)
        return -1;
    tell_account(c, number, used ? &step->settlements[step->settlement_count - 1] : NULL);
    return 0;
}

static int close_accounts(struct closing *c)
{
    const struct ledger *ledger = &c->fold->ledger;
    struct named_account *order = memory_grow(NULL, ledger->account_count + 1, sizeof *order);
    size_t count = 0;
    for (uint32_t a = 0; a < ledger->account_count; a++)
        if (c->starts[a + 1] > c->starts[a] || c->ends[a])
            order[count++] = (struct named_account){ledger->accounts[a].id, a};
    qsort(order, count, sizeof *order, compare_named);
    int result = 0;
    for (size_t i = 0; i < count && result == 0; i++) {
        // I2: in the order of ids, each account once
        assert(i == 0 || slice_compare(order[i - 1].id, order[i].id) < 0);
        result = close_account(c, order[i].number);
    }
    free(order);
    return result;
}

// What the close tells of the day is what its settlements say.
static void check_settlements(const struct closing *c)
{
    const struct step *step = &c->fold->step;
    int64_t calls = 0;
    fen_t amount = 0;
    for (size_t i = 0; i < step->settlement_count; i++) {
        assert(step->settlements[i].day == c->fold->state.day);
        calls += step->settlements[i].calls;
        amount += step->settlements[i].amount;
    }
    assert(step->close.settlements == (int64_t)step->settlement_count);
    assert(step->close.amount == amount);
    assert(calls == c->starts[c->fold->ledger.account_count]); // I1
    assert(step->close.zero_unit_calls <= calls);
}

static void emit_close(struct fold *fold)
{
    struct day_close *close = &fold->step.close;
    close->day = fold->state.day;
    for (int i = 0; i < INPUT_COUNT; i++) {
        const struct log_state *log = &fold->state.log[i];
        fold_check_log(log); // I1
        assert(fold->log[i].cut != CUT_NONE); // I7: all three logs
        close->cutoffs[i] = (struct cutoff){
            .from_offset = log->from,
            .to_offset = log->next,
            .cut_by = fold->log[i].cut,
            .accepted = log->accepted,
            .duplicates = log->duplicates,
            .rejected = log->rejected,
            .voids = log->voids,
        };
    }
    memcpy(close->price_book, shelf_at(&fold->policy->shelf, close->day)->sha256,
           sizeof close->price_book);
    policy_sha256(fold->policy, close->day, close->parameters);
    close->decision_count = fold->named_count;
    close->decisions =
        arena_alloc(fold->step.arena, (fold->named_count + 1) * sizeof *close->decisions);
    for (size_t i = 0; i < fold->named_count; i++) {
        close->decisions[i] = arena_copy(fold->step.arena, fold->named[i], strlen(fold->named[i]));
        free(fold->named[i]);
    }
    fold->named_count = 0;
    step_emit_close(&fold->step);
}

static void prune_spans(struct fold *fold)
{
    int64_t oldest = call_start(fold);
    ledger_check(&fold->ledger);
    for (size_t a = 0; a < fold->ledger.account_count; a++) {
        struct account *account = &fold->ledger.accounts[a];
        uint32_t gone = 0;
        while (gone < account->span_count && account->spans[gone].to <= oldest)
            gone++;
        if (gone == 0)
            continue;
        account->span_count -= gone;
        memmove(account->spans, account->spans + gone,
                account->span_count * sizeof *account->spans);
    }
}

static void open_next(struct fold *fold)
{
    day_t floor = fold->floor;
    for (int i = 0; i < INPUT_COUNT; i++) {
        struct log_state *log = &fold->state.log[i];
        log->from = log->next;
        log->accepted = log->duplicates = log->rejected = log->voids = 0;
        log->undecided = 0;
        memset(log->undecided_of, 0, sizeof log->undecided_of);
        fold->log[i] = (struct log_progress){.clock_end = -1};
    }
    fold->state.released = false;
    memset(fold->state.holds, 0, sizeof fold->state.holds);
    fold_open_day(fold, fold->state.day + 1);
    // R29: an id is known as long as its day can be billed.
    calls_forget(&fold->calls, fold->floor);
    fold->state.calls_from = calls_first_offset(&fold->calls, fold->state.log[INPUT_CALLS].next);
    prune_spans(fold);
    assert(fold->state.day == fold->step.close.day + 1); // I9
    assert(fold->floor >= floor); // what was forgotten stays so
}

int fold_close(struct fold *fold, struct error *e)
{
    assert(fold_close_due(fold)); // I7
    assert(!fold->state.held);
    assert(!fold->replay.active);
    assert(!fold->step.closed); // I9
    assert(fold->step.settlement_count == 0);
    ledger_check(&fold->ledger);
    calls_check(&fold->calls);
    struct closing c = {.fold = fold, .settling = {.fold = fold, .e = e}};
    gather(&c);
    find_ends(&c);
    account_calls_drop(&fold->chains);
    c.settling.days = c.days;
    int result = close_accounts(&c);
    if (result == 0)
        check_settlements(&c);
    settle_release(&c.settling);
    free(c.days);
    free(c.starts);
    free(c.pending);
    free(c.ends);
    free(c.told);
    if (result != 0)
        return -1;
    // R52: with or without usage.
    emit_close(fold);
    open_next(fold);
    fold->step.moved = true;
    return 0;
}

// ---- months ----

bool fold_month_due(const struct fold *fold)
{
    return fold->state.month < fold->state.day;
}

// I4, of a month, whose rows come from outside.
static bool adds_up(const struct month_page *page, const struct month_statement *s)
{
    fen_t amount = 0, balance;
    for (size_t l = 0; l < s->line_count; l++)
        if (!money_add(amount, page->lines[s->first_line + l].amount, &amount))
            return false;
    return amount == s->amount && money_add(s->opening_balance, s->credits, &balance) &&
           money_add(balance, s->adjustments, &balance) &&
           money_sub(balance, s->amount, &balance) && balance == s->closing_balance;
}

int fold_check_month(const struct month_page *page, struct error *e)
{
    char month[DAY_TEXT_SIZE];
    for (size_t i = 0; i < page->count; i++) {
        const struct month_statement *s = &page->statements[i];
        if (!adds_up(page, s))
            return error_set(e, ERROR_CONFIG,
                             "the recorded rows of account %.*s do not add up in %s: settled audit "
                             "shows which were changed",
                             (int)s->account_id.size, s->account_id.data,
                             calendar_format_month(page->month, month));
    }
    return 0;
}

// R75: in byte order, each account once.
static void check_order(const struct fold *fold, const struct month_page *page)
{
    const char *after = fold->state.month_after;
    struct slice before = {after, strlen(after)};
    for (size_t i = 0; i < page->count; i++) {
        assert(slice_compare(before, page->statements[i].account_id) < 0);
        before = page->statements[i].account_id;
    }
    if (page->last.data)
        assert(slice_compare(before, page->last) <= 0);
}

void fold_take_month(struct fold *fold, const struct month_page *page)
{
    assert(fold_month_due(fold));
    assert(page->month == fold->state.month);
    assert(!fold->step.moved); // a step of its own: what it adds up is committed
    check_order(fold, page);
    step_add_month(&fold->step, page);
    struct slice last = page->last;
    assert(last.size <= ID_SIZE_MAX);
    if (last.data)
        memcpy(fold->state.month_after, last.data, last.size);
    else
        fold->state.month = calendar_month_end(page->month + 1);
    fold->state.month_after[last.data ? last.size : 0] = '\0';
    fold->step.moved = true;
}
