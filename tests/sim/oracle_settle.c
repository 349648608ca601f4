// A day: each account's calls in the order of drawing, packages first.
#include "tests/sim/oracle.h"

enum { USE_MAX = 64 };

// A line of the settlement: calls and units that go to one package, or to one tier of a service.
struct use {
    enum service service;
    const struct known_package *package; // NULL: postpaid
    size_t tier;
    int64_t calls, units;
};

struct day_use {
    size_t count;
    struct use uses[USE_MAX];
};

static struct use *find_use(struct day_use *day, enum service service,
                            const struct known_package *package, size_t tier)
{
    size_t at = 0;
    while (at < day->count && !(day->uses[at].service == service &&
                                day->uses[at].package == package && day->uses[at].tier == tier))
        at++;
    if (at == USE_MAX)
        abort();
    if (at == day->count)
        day->uses[day->count++] =
            (struct use){.service = service, .package = package, .tier = tier};
    return &day->uses[at];
}

// ---- packages ----

static bool is_earlier(const struct known_package *a, const struct known_package *b)
{
    if (a->until != b->until)
        return a->until < b->until;
    if (a->from != b->from)
        return a->from < b->from;
    return oracle_order(a->id, b->id) < 0;
}

static struct known_package *best_package(struct oracle *o, const struct known_call *call)
{
    struct known_package *best = NULL;
    for (size_t i = 0; i < o->packages.count; i++) {
        struct known_package *p = &o->packages.at[i];
        if (!oracle_same(p->account, call->account) || p->service != call->service ||
            p->remaining == 0 || call->time < p->from || call->time >= p->until)
            continue;
        if (!best || is_earlier(p, best))
            best = p;
    }
    return best;
}

static void use_call(struct oracle *o, const struct book *book, struct known_call *call,
                     struct day_use *day)
{
    const struct service_prices *prices = &book->services[call->service];
    int64_t left = call->units;
    call->settled = true;
    if (left == 0)
        o->zero_unit_calls++;
    for (struct known_package *p; left > 0 && (p = best_package(o, call));) {
        int64_t taken = p->remaining < left ? p->remaining : left;
        struct use *use = find_use(day, call->service, p, 0);
        use->calls++;
        use->units += taken;
        p->remaining -= taken;
        left -= taken;
    }
    if (left == 0 && call->units > 0)
        return;
    size_t tier = prices->tier_count - 1;
    while (prices->tiers[tier].from > call->units)
        tier--;
    struct use *use = find_use(day, call->service, NULL, tier);
    use->calls++;
    use->units += left;
}

// ---- lines ----

static bool is_before(const struct use *a, const struct use *b)
{
    if (a->service != b->service)
        return a->service < b->service;
    if (!a->package != !b->package)
        return a->package != NULL;
    if (!a->package)
        return a->tier < b->tier;
    int order = oracle_order(a->package->id, b->package->id);
    return order ? order < 0 : a->package->from < b->package->from;
}

static void check_line(struct oracle *o, const struct settlement_row *row, size_t number,
                       day_t usage_day, const struct use *use, const struct book *book)
{
    const struct service_prices *prices = &book->services[use->service];
    fen_t price = use->package ? 0 : prices->tiers[use->tier].unit_price;
    int64_t tier_from = use->package || !prices->tiered ? -1 : prices->tiers[use->tier].from;
    if (number >= row->settlement.line_count) {
        oracle_fail(o, "a settlement of day %d lacks a line", (int)row->settlement.day);
        return;
    }
    const struct line_row *found = &o->rows->lines.at[row->settlement.first_line + number];
    const struct settlement_line *l = &found->line;
    bool same = l->usage_day == usage_day && l->service == use->service &&
                (l->charge == CHARGE_PACKAGE) == (use->package != NULL) &&
                l->tier_from == tier_from && l->calls == use->calls && l->units == use->units &&
                l->unit_price == price && l->amount == price * use->units &&
                (!use->package || (oracle_same(found->package, use->package->id) &&
                                   found->package_units == use->package->units &&
                                   found->package_amount == use->package->amount));
    if (!same)
        oracle_fail(o, "line %d of a settlement of day %d is another", (int)number,
                    (int)row->settlement.day);
}

// Returns how many lines; adds their amount.
static size_t check_lines(struct oracle *o, const struct settlement_row *row, size_t number,
                          day_t usage_day, struct day_use *day, fen_t *amount)
{
    const struct book *book = shelf_at(&o->policy->shelf, usage_day);
    for (size_t done = 0; done < day->count; done++) {
        size_t first = done;
        for (size_t i = done + 1; i < day->count; i++)
            if (is_before(&day->uses[i], &day->uses[first]))
                first = i;
        struct use use = day->uses[first];
        day->uses[first] = day->uses[done];
        check_line(o, row, number + done, usage_day, &use, book);
        if (!use.package)
            *amount += use.units * book->services[use.service].tiers[use.tier].unit_price;
    }
    return number + day->count;
}

// ---- one account ----

static bool was_suspended(const struct known_account *account, int64_t at)
{
    for (size_t i = 0; i < account->spans.count; i++)
        if (at >= account->spans.at[i].from && at < account->spans.at[i].to)
            return true;
    return false;
}

static bool is_pending(const struct oracle *o, const struct known_call *call, struct slice account)
{
    return !call->settled && call->day <= o->day && oracle_same(call->account, account);
}

// The account's next call to be drawn on a usage day, NULL: none.
static struct known_call *next_call(struct oracle *o, struct slice account, day_t usage_day)
{
    struct known_call *next = NULL;
    for (size_t i = 0; i < o->calls.count; i++) {
        struct known_call *call = &o->calls.at[i];
        if (!is_pending(o, call, account) || call->day != usage_day)
            continue;
        // offsets rise: the first of equal ones is the earlier
        if (!next || call->time < next->time)
            next = call;
    }
    return next;
}

static void post(struct oracle *o, struct known_account *account, const struct settlement_row *row,
                 int64_t calls, int64_t suspended, fen_t amount)
{
    const struct settlement *s = &row->settlement;
    fen_t closing = oracle_balance(account) - amount;
    bool arrears = closing < 0 && account->state == ACCOUNT_ACTIVE;
    account->position++;
    bool same = oracle_same(row->account, account->id) && s->day == o->day && s->calls == calls &&
                s->calls_while_suspended == suspended && s->amount == amount &&
                s->opening_balance == account->opening && s->credits == account->credits &&
                s->adjustments == account->adjustments && s->closing_balance == closing &&
                s->position == account->position &&
                s->state == (arrears ? ACCOUNT_SUSPENDED : account->state);
    if (!same)
        oracle_fail(o, "the settlement of %.*s is another", (int)account->id.size,
                    account->id.data);
    account->opening = closing;
    account->credits = account->adjustments = 0;
    o->amount += amount;
    o->settlements++;
    if (!arrears)
        return;
    int64_t from = calendar_day_start(o->day + 1, world_book()->offset_ms);
    *list_add(&account->spans) = (struct span){from, INT64_MAX};
    oracle_status(o, account, CAUSE_ARREARS, from, (struct slice){NULL, 0});
    if (o->status_rows > 0)
        oracle_follows(o, o->rows->statuses.at[o->status_rows - 1].sequence);
}

static void settle_account(struct oracle *o, struct slice id)
{
    struct known_account *account = oracle_account(o, id);
    int64_t calls = 0, suspended = 0;
    fen_t amount = 0;
    size_t lines = 0;
    if (o->settlement_rows == o->rows->settlements.count) {
        oracle_fail(o, "%.*s has no settlement", (int)id.size, id.data);
        return;
    }
    const struct settlement_row *row = &o->rows->settlements.at[o->settlement_rows++];
    for (day_t day = o->policy->fixed.first_day; day <= o->day; day++) {
        struct day_use use = {0};
        for (struct known_call *call; (call = next_call(o, id, day));) {
            calls++;
            suspended += was_suspended(account, call->time);
            o->late += day < o->day;
            use_call(o, shelf_at(&o->policy->shelf, day), call, &use);
        }
        lines = check_lines(o, row, lines, day, &use, &amount);
    }
    if (row->settlement.line_count != lines)
        oracle_fail(o, "a settlement has %d lines, not %d", (int)row->settlement.line_count,
                    (int)lines);
    oracle_follows(o, row->sequence);
    post(o, account, row, calls, suspended, amount);
    oracle_notices(o, id, &row->settlement);
}

static bool has_pending(const struct oracle *o, struct slice account)
{
    for (size_t i = 0; i < o->calls.count; i++)
        if (is_pending(o, &o->calls.at[i], account))
            return true;
    return false;
}

// The lower id of the two, if it is above `last`; data NULL is above all.
static struct slice next_of(struct slice next, struct slice id, struct slice last)
{
    bool above = !last.data || oracle_order(id, last) > 0;
    return above && (!next.data || oracle_order(id, next) < 0) ? id : next;
}

void oracle_settle(struct oracle *o)
{
    o->late = o->zero_unit_calls = o->settlements = 0;
    o->amount = 0;
    o->told = 0;
    struct slice last = {NULL, 0};
    for (;;) {
        struct slice next = {NULL, 0}; // in byte order, above the last one
        for (size_t i = 0; i < o->calls.count; i++)
            if (is_pending(o, &o->calls.at[i], o->calls.at[i].account))
                next = next_of(next, o->calls.at[i].account, last);
        for (size_t i = 0; i < o->packages.count; i++)
            next = next_of(next, o->packages.at[i].account, last);
        if (!next.data)
            return;
        last = next;
        if (has_pending(o, last))
            settle_account(o, last);
        else
            oracle_notices(o, last, NULL);
    }
}
