// One account: its pending calls, in the order of drawing, become lines; packages first, the rest
// postpaid at the tier of the whole call. The numbers are those of the rules in pricing/README.md.
#include "consumer/core/settle.h"

#include "consumer/base/memory.h"
#include "pricing/rate.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

// R14: by time, then by offset.
static int compare_pending(const void *a, const void *b)
{
    const struct pending *x = a, *y = b;
    if (x->occurred_at != y->occurred_at)
        return x->occurred_at < y->occurred_at ? -1 : 1;
    // the same usage day: ordinals follow offsets
    return (x->ordinal > y->ordinal) - (x->ordinal < y->ordinal);
}

// Most calls come in the order of their time.
static void sort_pending(struct pending *pending, size_t count)
{
    size_t i = 1;
    while (i < count && compare_pending(&pending[i - 1], &pending[i]) < 0)
        i++;
    if (i < count)
        qsort(pending, count, sizeof *pending, compare_pending);
}

// ---- one call ----

static void trace(struct settling *c, const struct pending *p, struct settlement_line *piece,
                  int64_t units)
{
    if (!c->traced)
        return;
    piece->usage_day = c->days[p->day];
    c->fold->trace(c->fold->trace_context, piece, p->occurred_at, units, p->ordinal);
}

static struct draw *find_draw(struct settling *c, uint32_t package)
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
static int64_t draw_packages(struct settling *c, struct account *account, const struct pending *p,
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
            bool begins = units == p->units;
            package->remaining -= taken;
            units -= taken;
            assert(package->remaining >= 0);
            assert(units >= 0);
            struct draw *draw = find_draw(c, number);
            draw->calls++;
            draw->begun += begins;
            draw->units += taken;
            step_touch_package(&c->fold->step, package, number);
            trace(c, p,
                  &(struct settlement_line){.service = service,
                                            .charge = CHARGE_PACKAGE,
                                            .package = number,
                                            .tier_from = -1},
                  taken);
        }
        if (package->remaining > 0) {
            at = &package->next;
            continue;
        }
        *at = package->next; // never drawn again
        account->unlisted = true;
    }
    return units;
}

static void settle_call(struct settling *c, struct account *account, const struct book *book,
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
    use->begun += rest == units;
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

// By package id. R60: two packages may share one, when that of the first is forgotten.
static bool is_named_before(const struct package *a, const struct package *b)
{
    int order = slice_compare(a->id, b->id);
    return order ? order < 0 : a->valid_from < b->valid_from;
}

static void sort_draws(struct settling *c)
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

static int overflow(struct settling *c, const struct settlement *s)
{
    const struct account *account = &c->fold->ledger.accounts[s->account];
    const struct fold_state *state = &c->fold->state;
    char day[DAY_TEXT_SIZE];
    return error_set(
        c->e, ERROR_CONFIG,
        "account %.*s, day %s: what is to be settled would pass 64 bits (%zu calls, all in offsets "
        "%" PRId64 "..%" PRId64
        " of the calls): it would take 922,337 records of the largest amount; find out "
        "who sends them, nothing of this day is settled",
        (int)account->id.size, account->id.data, calendar_format_day(s->day, day), c->count,
        state->calls_from, state->log[INPUT_CALLS].next);
}

static int emit_postpaid(struct settling *c, const struct book *book, enum service service,
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
            .begun = use->begun,
            .units = use->units,
            .unit_price = price,
            .amount = amount,
        };
    }
    return 0;
}

// Order of lines: usage day, service, charge, package id, tier.
static int emit_lines(struct settling *c, const struct book *book, day_t usage_day,
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
                .begun = draw->begun,
                .units = draw->units,
            };
        }
        if (emit_postpaid(c, book, service, usage_day, s) != 0)
            return -1;
    }
    return 0;
}

static int settle_usage_day(struct settling *c, struct account *account, struct pending *pending,
                            size_t count, struct settlement *s)
{
    day_t usage_day = c->days[pending->day];
    // R25: at the price of its own day.
    const struct book *book = shelf_at(&c->fold->policy->shelf, usage_day);
    memset(&c->tally, 0, sizeof c->tally);
    // Order matters only to packages, and to a reader of the trace.
    if (account->first_package || c->traced)
        sort_pending(pending, count);
    for (size_t i = 0; i < count; i++)
        settle_call(c, account, book, &pending[i], s);
    return emit_lines(c, book, usage_day, s);
}

// ---- one account ----

// I1: the lines of a settlement hold each call and each unit once, and make up its amount.
static void check_lines(const struct settling *c, const struct settlement *s)
{
    int64_t begun = 0, units = 0;
    fen_t amount = 0;
    assert(s->first_line + s->line_count == c->fold->step.line_count);
    for (size_t i = 0; i < s->line_count; i++) {
        const struct settlement_line *line = &c->fold->step.lines[s->first_line + i];
        assert(line->usage_day <= s->day);
        assert(line->begun <= line->calls); // a call that a package covers in part is on two lines
        begun += line->begun;
        units += line->units;
        amount += line->amount;
    }
    assert(units == c->units);
    assert(amount == s->amount);
    assert(begun == s->calls);
    assert(s->calls_while_suspended <= s->calls);
}

static int post(struct settling *c, struct account *account, struct settlement *s)
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

int settle_account(struct settling *c, uint32_t number, struct pending *pending, size_t count)
{
    struct fold *fold = c->fold;
    struct account *account = &fold->ledger.accounts[number];
    c->traced = fold->trace && slice_same(account->id, fold->trace_account) ? account : NULL;
    struct settlement s = {
        .account = number, .day = fold->state.day, .first_line = fold->step.line_count};
    c->count = count;
    c->units = 0;
    for (size_t at = 0; at < count;) {
        size_t next = at + 1;
        assert(at == 0 || pending[at - 1].day < pending[at].day); // in the order of days
        while (next < count && pending[next].day == pending[at].day)
            next++;
        if (settle_usage_day(c, account, &pending[at], next - at, &s) != 0)
            return -1;
        at = next;
    }
    s.line_count = fold->step.line_count - s.first_line;
    assert(s.calls == (int64_t)count); // I1
    check_lines(c, &s);
    return post(c, account, &s);
}

void settle_release(struct settling *c)
{
    free(c->draws);
}
