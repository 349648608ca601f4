// What account holders are told at a close, a second time: each list is searched from end to end.
#include "tests/sim/oracle.h"

#include <stdio.h>

void oracle_follows(struct oracle *o, int64_t sequence)
{
    if (o->told > 0 && sequence != o->told + 1)
        oracle_fail(o, "sequence %d of its close stands behind %d", (int)sequence, (int)o->told);
    o->told = sequence;
}

static void expect(struct oracle *o, struct slice account, enum notice_kind kind,
                   const struct known_package *p, int64_t threshold, fen_t balance)
{
    if (o->notice_rows == o->rows->notices.count) {
        oracle_fail(o, "%.*s is not told %s", (int)account.size, account.data, notice_symbol(kind));
        return;
    }
    const struct notice_row *row = &o->rows->notices.at[o->notice_rows++];
    bool same = oracle_same(row->account, account) && row->day == o->day &&
                row->notice.kind == kind && row->notice.threshold == threshold &&
                row->notice.balance == balance && (row->notice.package == PACKAGE_NONE) == !p;
    if (same && p)
        same = oracle_same(row->package.id, p->id) && row->package.service == p->service &&
               row->package.units == p->units && row->package.remaining == p->remaining &&
               row->package.valid_from == p->from && row->package.valid_until == p->until;
    if (!same)
        oracle_fail(o, "%.*s is told something else than %s", (int)account.size, account.data,
                    notice_symbol(kind));
    oracle_follows(o, row->sequence);
}

// Whether the package is told of as `kind`, and what it has reached.
static bool is_told(const struct oracle *o, enum notice_kind kind, const struct known_package *p,
                    int64_t *threshold)
{
    const struct notice_limits *limits = &policy_at(o->policy, o->day)->notices;
    int32_t zone = world_book()->offset_ms;
    bool told = false;
    *threshold = 0;
    if (kind == NOTICE_PACKAGE_LOW)
        for (int i = 0; i < limits->package_left.count; i++) {
            int64_t t = limits->package_left.at[i], bound = p->units * t;
            if (p->remaining * 100 <= bound && p->before * 100 > bound &&
                (!told || t < *threshold)) {
                told = true;
                *threshold = t;
            }
        }
    if (kind == NOTICE_PACKAGE_EXPIRING)
        for (int i = 0; i < limits->expiring_days.count; i++)
            if (p->remaining > 0 &&
                calendar_day(p->until, zone) == o->day + limits->expiring_days.at[i]) {
                told = true;
                *threshold = limits->expiring_days.at[i];
            }
    if (kind == NOTICE_PACKAGE_EXPIRED)
        told = p->remaining > 0 && calendar_day_start(o->day + 1, zone) >= p->until &&
               calendar_day_start(o->day, zone) < p->until;
    return told;
}

// The next package that is told of as `kind`, by id; of two with one id the newer.
static struct known_package *next_told(struct oracle *o, struct slice account,
                                       enum notice_kind kind, struct slice last)
{
    struct known_package *next = NULL;
    int64_t threshold;
    for (size_t i = 0; i < o->packages.count; i++) {
        struct known_package *p = &o->packages.at[i];
        if (!oracle_same(p->account, account) || !is_told(o, kind, p, &threshold) ||
            (last.data && oracle_order(p->id, last) <= 0))
            continue;
        int order = next ? oracle_order(p->id, next->id) : -1;
        if (order < 0 || (order == 0 && p->from > next->from))
            next = p;
    }
    return next;
}

static void expect_balance(struct oracle *o, struct slice account, const struct settlement *s)
{
    const struct thresholds *below = &policy_at(o->policy, o->day)->notices.balance_below;
    fen_t lowest = INT64_MAX;
    for (int i = 0; i < below->count; i++)
        if (s->opening_balance + s->credits + s->adjustments >= below->at[i] &&
            below->at[i] > s->closing_balance && below->at[i] < lowest)
            lowest = below->at[i];
    if (lowest < INT64_MAX)
        expect(o, account, NOTICE_BALANCE_LOW, NULL, lowest, s->closing_balance);
}

void oracle_notices(struct oracle *o, struct slice account, const struct settlement *settlement)
{
    for (enum notice_kind kind = NOTICE_PACKAGE_LOW; kind <= NOTICE_PACKAGE_EXPIRED; kind++) {
        struct slice last = {NULL, 0};
        for (struct known_package *p; (p = next_told(o, account, kind, last));) {
            int64_t threshold;
            is_told(o, kind, p, &threshold);
            expect(o, account, kind, p, threshold, 0);
            last = p->id;
        }
    }
    if (settlement)
        expect_balance(o, account, settlement);
    for (size_t i = 0; i < o->packages.count; i++)
        if (oracle_same(o->packages.at[i].account, account))
            o->packages.at[i].before = o->packages.at[i].remaining;
}
