// Settling a day: the pending calls of each account, in the order of drawing, become lines;
// packages first, the rest postpaid at the tier of the whole call. The numbers are those of the
// rules in pricing/README.md.
#include "consumer/base/memory.h"
#include "consumer/core/fold_state.h"
#include "pricing/rate.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// A call that is on no settlement yet, with all that its price needs: the columns are read once, in
// their order.
enum { PENDING_DAY_BITS = 32 - CALL_SERVICE_BITS };
struct pending {
    int64_t occurred_at;
    uint32_t ordinal, units;
    uint32_t day : PENDING_DAY_BITS; // number of its usage day in calls.days
    uint32_t service : CALL_SERVICE_BITS;
};

// Units drawn from one package, on one usage day.
struct draw {
    uint32_t package;
    int64_t calls, units;
};

// What one account used on one usage day.
struct tally {
    struct tier_use {
        int64_t calls, units;
    } tiers[SERVICE_COUNT][BOOK_TIERS_MAX];
    size_t draw_count;
};

struct closing {
    struct fold *fold;
    struct error *e;
    uint32_t *starts; // by account number: its pending calls are [starts[a], starts[a + 1])
    struct pending *pending;
    size_t draw_capacity;
    struct draw *draws;
    struct tally tally;
    int64_t units; // of the account's calls so far
    const struct account *traced;
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

// R14: by time, then by offset.
static int compare_pending(const void *a, const void *b)
{
    const struct pending *x = a, *y = b;
    if (x->occurred_at != y->occurred_at)
        return x->occurred_at < y->occurred_at ? -1 : 1;
    // the same usage day: ordinals follow offsets
    return (x->ordinal > y->ordinal) - (x->ordinal < y->ordinal);
}

// ---- one call ----

static void trace(struct closing *c, const struct pending *p, struct settlement_line *piece,
                  int64_t units)
{
    if (!c->traced)
        return;
    piece->usage_day = c->fold->calls.days[p->day].day;
    c->fold->trace(c->fold->trace_context, piece, p->occurred_at, units, p->ordinal);
}

static struct draw *find_draw(struct closing *c, uint32_t package)
{
    for (size_t i = 0; i < c->tally.draw_count; i++)
        if (c->draws[i].package == package)
            return &c->draws[i];
    c->draws = memory_reserve(c->draws, c->tally.draw_count, &c->draw_capacity, sizeof *c->draws);
    struct draw *draw = &c->draws[c->tally.draw_count++];
    *draw = (struct draw){.package = package};
    return draw;
}

// Takes what packages cover of a call; returns the units left.
static int64_t draw_packages(struct closing *c, struct account *account, const struct pending *p,
                             enum service service, int64_t units)
{
    struct ledger *ledger = &c->fold->ledger;
    uint32_t *at = &account->first_package;
    while (*at && units > 0) {
        uint32_t number = *at - 1;
        struct package *package = &ledger->packages[number];
        assert(package->account == (uint32_t)(account - ledger->accounts));
        // R8, R13: of its own service, within its validity. R18: suspended or not.
        if (package->service == service && package->valid_from <= p->occurred_at &&
            p->occurred_at < package->valid_until && package->remaining > 0) {
            int64_t taken = units < package->remaining ? units : package->remaining;
            package->remaining -= taken;
            units -= taken;
            assert(package->remaining >= 0);
            assert(units >= 0);
            struct draw *draw = find_draw(c, number);
            draw->calls++;
            draw->units += taken;
            step_touch_package(&c->fold->step, package, number);
            trace(c, p,
                  &(struct settlement_line){.service = service,
                                            .charge = CHARGE_PACKAGE,
                                            .package = number,
                                            .tier_from = -1},
                  taken);
        }
        if (package->remaining == 0)
            *at = package->next; // never drawn again
        else
            at = &package->next;
    }
    return units;
}

static void settle_call(struct closing *c, struct account *account, const struct book *book,
                        const struct pending *p, struct settlement *s)
{
    struct fold *fold = c->fold;
    enum service service = (enum service)p->service;
    int64_t units = p->units;
    s->calls++;
    c->units += units;
    // R38: it is billed all the same.
    if (account->span_count && ledger_was_suspended(account, p->occurred_at))
        s->calls_while_suspended++;
    if (units == 0)
        fold->step.close.zero_unit_calls++;
    int64_t rest = account->first_package ? draw_packages(c, account, p, service, units) : units;
    // R4: a call of no leads has its line, too.
    if (rest == 0 && units > 0)
        return;
    const struct service_prices *prices = &book->services[service];
    // R6, R16: the whole call chooses the tier, whatever packages covered of it.
    const struct tier *tier = rate_tier(book, service, units);
    assert((size_t)(tier - prices->tiers) < prices->tier_count);
    struct tier_use *use = &c->tally.tiers[service][tier - prices->tiers];
    use->calls++;
    // R19: the rest is postpaid.
    use->units += rest;
    trace(c, p,
          &(struct settlement_line){.service = service,
                                    .charge = CHARGE_POSTPAID,
                                    .tier_from = prices->tiered ? tier->from : -1,
                                    .unit_price = tier->unit_price},
          rest);
}

// ---- lines of one account and usage day ----

static int compare_ids(struct slice a, struct slice b)
{
    size_t common = a.size < b.size ? a.size : b.size;
    int order = memcmp(a.data, b.data, common);
    return order ? order : (a.size > b.size) - (a.size < b.size);
}

// By package id. R60: two packages may share one, when that of the first is forgotten.
static bool is_named_before(const struct package *a, const struct package *b)
{
    int order = compare_ids(a->id, b->id);
    return order ? order < 0 : a->valid_from < b->valid_from;
}

static void sort_draws(struct closing *c)
{
    const struct package *packages = c->fold->ledger.packages;
    for (size_t i = 1; i < c->tally.draw_count; i++) { // a handful: insertion
        struct draw moving = c->draws[i];
        size_t at = i;
        for (; at > 0 &&
               is_named_before(&packages[moving.package], &packages[c->draws[at - 1].package]);
             at--)
            c->draws[at] = c->draws[at - 1];
        c->draws[at] = moving;
    }
}

static int overflow(struct closing *c, const struct settlement *s)
{
    const struct account *account = &c->fold->ledger.accounts[s->account];
    const struct fold_state *state = &c->fold->state;
    char day[DAY_TEXT_SIZE];
    return error_set(
        c->e, ERROR_CONFIG,
        "account %.*s, day %s: what is to be settled would pass 64 bits (%" PRIu32
        " calls, all in offsets %" PRId64 "..%" PRId64
        " of the calls): it would take 922,337 records of the largest amount; find out "
        "who sends them, nothing of this day is settled",
        (int)account->id.size, account->id.data, calendar_format_day(s->day, day),
        c->starts[s->account + 1] - c->starts[s->account], state->calls_from,
        state->log[INPUT_CALLS].next);
}

static int emit_postpaid(struct closing *c, const struct book *book, enum service service,
                         day_t usage_day, struct settlement *s)
{
    const struct service_prices *prices = &book->services[service];
    for (size_t t = 0; t < prices->tier_count; t++) {
        const struct tier_use *use = &c->tally.tiers[service][t];
        if (use->calls == 0)
            continue;
        fen_t price = prices->tiers[t].unit_price, amount;
        // R1: an amount is exact, or the close stops.
        if (!money_times(use->units, price, &amount) || !money_add(s->amount, amount, &s->amount))
            return overflow(c, s);
        *step_add_line(&c->fold->step) = (struct settlement_line){
            .usage_day = usage_day,
            .service = service,
            .charge = CHARGE_POSTPAID,
            .tier_from = prices->tiered ? prices->tiers[t].from : -1,
            .calls = use->calls,
            .units = use->units,
            .unit_price = price,
            .amount = amount,
        };
    }
    return 0;
}

// Order of lines: usage day, service, charge, package id, tier.
static int emit_lines(struct closing *c, const struct book *book, day_t usage_day,
                      struct settlement *s)
{
    sort_draws(c);
    for (enum service service = 0; service < SERVICE_COUNT; service++) {
        for (size_t i = 0; i < c->tally.draw_count; i++) {
            const struct draw *draw = &c->draws[i];
            if (c->fold->ledger.packages[draw->package].service != service)
                continue;
            assert(draw->units >= draw->calls); // a call that draws takes a unit at the least
            *step_add_line(&c->fold->step) = (struct settlement_line){
                .usage_day = usage_day,
                .service = service,
                .charge = CHARGE_PACKAGE,
                .package = draw->package,
                .tier_from = -1,
                .calls = draw->calls,
                .units = draw->units,
            };
        }
        if (emit_postpaid(c, book, service, usage_day, s) != 0)
            return -1;
    }
    return 0;
}

static int settle_usage_day(struct closing *c, struct account *account, struct pending *pending,
                            size_t count, struct settlement *s)
{
    day_t usage_day = c->fold->calls.days[pending->day].day;
    // R25: at the price of its own day.
    const struct book *book = shelf_at(&c->fold->policy->shelf, usage_day);
    memset(&c->tally, 0, sizeof c->tally);
    // Order matters only to packages, and to a reader of the trace.
    if (account->first_package || c->traced)
        qsort(pending, count, sizeof *pending, compare_pending);
    for (size_t i = 0; i < count; i++)
        settle_call(c, account, book, &pending[i], s);
    return emit_lines(c, book, usage_day, s);
}

// ---- one account ----

// I1: the lines of a settlement hold each unit of its calls once, and make up its amount.
static void check_lines(const struct closing *c, const struct settlement *s)
{
    int64_t calls = 0, units = 0;
    fen_t amount = 0;
    assert(s->first_line + s->line_count == c->fold->step.line_count);
    for (size_t i = 0; i < s->line_count; i++) {
        const struct settlement_line *line = &c->fold->step.lines[s->first_line + i];
        assert(line->usage_day <= s->day);
        calls += line->calls;
        units += line->units;
        amount += line->amount;
    }
    assert(units == c->units);
    assert(amount == s->amount);
    assert(calls >= s->calls); // a call that a package covers in part is on two lines
    assert(s->calls_while_suspended <= s->calls);
}

static int post(struct closing *c, struct account *account, struct settlement *s)
{
    s->opening_balance = account->opening;
    // R37: all credits below the cutoff are in.
    s->credits = account->credits;
    s->adjustments = account->adjustments;
    // R33: what is settled comes off the balance.
    if (!money_sub(account_balance(account), s->amount, &s->closing_balance))
        return overflow(c, s);
    account->opening = s->closing_balance;
    account->credits = account->adjustments = 0;
    account->position++;
    s->position = account->position;
    assert(s->opening_balance + s->credits + s->adjustments - s->amount ==
           s->closing_balance); // I4
    assert(account_balance(account) == s->closing_balance); // I4
    // R34: below zero is arrears. R36: only here.
    bool arrears = s->closing_balance < 0 && account->state == ACCOUNT_ACTIVE;
    s->state = arrears ? ACCOUNT_SUSPENDED : account->state;
    step_touch_account(&c->fold->step, account, s->account);
    struct day_close *close = &c->fold->step.close;
    if (!money_add(close->amount, s->amount, &close->amount))
        return overflow(c, s);
    close->settlements++;
    uint32_t number = s->account;
    *step_add_settlement(&c->fold->step) = *s;
    if (arrears)
        ledger_change_state(c->fold, number, CAUSE_ARREARS,
                            calendar_day_start(s->day + 1, c->fold->zone_ms), s->day,
                            (struct slice){0});
    assert(account->state == s->state); // the settlement and the status event say the same
    return 0;
}

static int settle_account(struct closing *c, uint32_t number)
{
    struct fold *fold = c->fold;
    struct account *account = &fold->ledger.accounts[number];
    struct slice wanted = fold->trace_account;
    c->traced = fold->trace && compare_ids(account->id, wanted) == 0 ? account : NULL;
    struct settlement s = {
        .account = number, .day = fold->state.day, .first_line = fold->step.line_count};
    uint32_t first = c->starts[number], end = c->starts[number + 1];
    c->units = 0;
    for (uint32_t at = first; at < end;) {
        uint32_t next = at + 1;
        assert(at == first || c->pending[at - 1].day < c->pending[at].day); // sorted
        while (next < end && c->pending[next].day == c->pending[at].day)
            next++;
        if (settle_usage_day(c, account, &c->pending[at], next - at, &s) != 0)
            return -1;
        at = next;
    }
    s.line_count = fold->step.line_count - s.first_line;
    assert(s.calls == (int64_t)end - first); // I1
    check_lines(c, &s);
    return post(c, account, &s);
}

// ---- the day ----

struct named_account {
    struct slice id;
    uint32_t number;
};

static int compare_named(const void *a, const void *b)
{
    return compare_ids(((const struct named_account *)a)->id,
                       ((const struct named_account *)b)->id);
}

static int settle_accounts(struct closing *c)
{
    const struct ledger *ledger = &c->fold->ledger;
    struct named_account *order = memory_grow(NULL, ledger->account_count + 1, sizeof *order);
    size_t count = 0;
    for (uint32_t a = 0; a < ledger->account_count; a++)
        // R23: who used something gets one.
        if (c->starts[a + 1] > c->starts[a])
            order[count++] = (struct named_account){ledger->accounts[a].id, a};
    qsort(order, count, sizeof *order, compare_named);
    int result = 0;
    for (size_t i = 0; i < count && result == 0; i++) {
        // I2: in the order of ids, each account once
        assert(i == 0 || compare_ids(order[i - 1].id, order[i].id) < 0);
        result = settle_account(c, order[i].number);
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
    struct closing c = {.fold = fold, .e = e};
    gather(&c);
    int result = settle_accounts(&c);
    if (result == 0)
        check_settlements(&c);
    free(c.starts);
    free(c.pending);
    free(c.draws);
    if (result != 0)
        return -1;
    // R52: with or without usage.
    emit_close(fold);
    open_next(fold);
    fold->step.moved = true;
    return 0;
}
