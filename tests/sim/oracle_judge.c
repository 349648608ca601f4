// One record: the checks in the order of the contract.
#include "tests/sim/oracle.h"

#include <stdio.h>

enum { DUPLICATE = REJECT_REASONS }; // beside the reasons: accepted is REJECT_NONE

int64_t oracle_time(const struct oracle *o, enum input input, int64_t offset)
{
    for (size_t i = 0; i < o->rows->decisions.count; i++) {
        const struct decision *d = &o->rows->decisions.at[i];
        if (d->kind == DECISION_PASS && d->input == input && decision_is_about(d, offset))
            return d->as_of;
    }
    return o->world->kafka.logs[o->shard][input].entries.at[offset].timestamp;
}

static bool is_refused(const struct oracle *o, enum input input, int64_t offset)
{
    for (size_t i = 0; i < o->rows->decisions.count; i++) {
        const struct decision *d = &o->rows->decisions.at[i];
        if (d->kind == DECISION_REFUSE && d->input == input && decision_is_about(d, offset))
            return true;
    }
    return false;
}

static bool is_id(struct slice text)
{
    for (size_t i = 0; i < text.size; i++)
        if ((unsigned char)text.data[i] < 0x20)
            return false;
    return text.size > 0;
}

// A day that was once too late stays too late.
static day_t oldest_day(const struct oracle *o)
{
    day_t oldest = o->policy->fixed.first_day;
    for (day_t open = oldest; open <= o->day; open++) {
        day_t limit = open - policy_at(o->policy, open)->late_days;
        if (limit > oldest)
            oldest = limit;
    }
    return oldest;
}

// And so of purchases and credits, which may be of days before the first.
static day_t oldest_credit_day(const struct oracle *o)
{
    day_t first = o->policy->fixed.first_day,
          oldest = first - policy_at(o->policy, first)->credit_days;
    for (day_t open = first; open <= o->day; open++) {
        day_t limit = open - policy_at(o->policy, open)->credit_days;
        if (limit > oldest)
            oldest = limit;
    }
    return oldest;
}

static bool is_for_sale(const struct oracle *o, const struct fact *f)
{
    day_t day = calendar_day(f->time, world_book()->offset_ms);
    const struct service_prices *prices = &shelf_at(&o->policy->shelf, day)->services[f->service];
    for (size_t i = 0; i < prices->offer_count; i++)
        if (prices->offers[i].units == f->units)
            return prices->offers[i].price == f->amount;
    const struct custom_offer *custom = &prices->custom;
    return custom->step > 0 && f->units >= custom->minimum && f->units % custom->step == 0 &&
           f->units / custom->step * custom->price_per_step == f->amount;
}

static int64_t units_of(const struct fact *f)
{
    return f->service == SERVICE_PURCHASE_INTENT ? f->leads : 1;
}

// Whole, whatever packages cover of it; one from the future by the book of the last day it could be
// of.
static bool costs_too_much(const struct oracle *o, const struct fact *f, int64_t at)
{
    int64_t latest = at + policy_at(o->policy, o->day)->future_tolerance_ms;
    day_t day = calendar_day(f->time < latest ? f->time : latest, world_book()->offset_ms);
    const struct service_prices *prices = &shelf_at(&o->policy->shelf, day)->services[f->service];
    size_t tier = prices->tier_count - 1;
    while (prices->tiers[tier].from > units_of(f))
        tier--;
    return (__int128)units_of(f) * prices->tiers[tier].unit_price > AMOUNT_MAX;
}

static bool is_invalid(const struct fact *f)
{
    bool bad_amount = f->amount > AMOUNT_MAX || f->amount < -AMOUNT_MAX || f->foreign_currency;
    if (!is_id(f->id) || f->time < 0)
        return true;
    if (f->input == INPUT_CREDITS)
        return bad_amount;
    if (f->input == INPUT_PURCHASES)
        return bad_amount || f->units > UNITS_OF_RECORD_MAX ||
               (f->units > 0 && (f->used < 0 || f->used > f->units));
    return f->service == SERVICE_PURCHASE_INTENT &&
           (f->leads_null || f->leads < 0 || f->leads > UNITS_OF_RECORD_MAX);
}

// ---- what was accepted before ----

static int known_call(const struct oracle *o, const struct fact *f)
{
    for (size_t i = 0; i < o->calls.count; i++) {
        const struct known_call *c = &o->calls.at[i];
        if (!oracle_same(c->account, f->account) || !oracle_same(c->id, f->id) ||
            c->day < oldest_day(o))
            continue;
        return c->service == f->service && c->units == units_of(f) && c->time == f->time
                   ? DUPLICATE
                   : REJECT_CONFLICT;
    }
    return REJECT_NONE;
}

static int known_purchase(const struct oracle *o, const struct fact *f)
{
    for (size_t i = 0; i < o->packages.count; i++) {
        const struct known_package *p = &o->packages.at[i];
        if (!oracle_same(p->account, f->account) || !oracle_same(p->id, f->id) ||
            calendar_day(p->from, world_book()->offset_ms) < oldest_credit_day(o))
            continue;
        bool same = p->service == f->service && p->units == f->units && p->used == f->used &&
                    p->amount == f->amount && p->from == f->time;
        return same ? DUPLICATE : REJECT_CONFLICT;
    }
    return REJECT_NONE;
}

static int known_credit(const struct oracle *o, const struct fact *f)
{
    for (size_t i = 0; i < o->credits.count; i++) {
        const struct known_credit *c = &o->credits.at[i];
        if (!oracle_same(c->account, f->account) || !oracle_same(c->id, f->id) ||
            calendar_day(c->time, world_book()->offset_ms) < oldest_credit_day(o))
            continue;
        return c->kind == f->kind && c->amount == f->amount && c->time == f->time ? DUPLICATE
                                                                                  : REJECT_CONFLICT;
    }
    return REJECT_NONE;
}

// ---- the verdict ----

static int verdict_on(const struct oracle *o, const struct fact *f, int64_t at)
{
    if (f->fault != REJECT_NONE)
        return (int)f->fault;
    const struct fixed_parameters *fixed = &o->policy->fixed;
    if (!f->key.data || !oracle_same(f->key, f->account) ||
        partition_of(fixed->partitioner, f->key.data, f->key.size, fixed->partitions) != o->shard)
        return REJECT_MISROUTED;
    if (is_invalid(f) || (f->input == INPUT_CALLS && costs_too_much(o, f, at)))
        return REJECT_INVALID;
    if (f->time > at + policy_at(o->policy, o->day)->future_tolerance_ms)
        return REJECT_FROM_FUTURE;
    day_t own = calendar_day(f->time, world_book()->offset_ms);
    if (own < (f->input == INPUT_CALLS ? oldest_day(o) : oldest_credit_day(o)))
        return REJECT_TOO_LATE;
    if (f->input == INPUT_CALLS)
        return known_call(o, f);
    if (f->input == INPUT_PURCHASES) {
        if (f->amount <= 0 || f->units <= 0)
            return REJECT_REFUND;
        return is_for_sale(o, f) ? known_purchase(o, f) : REJECT_NOT_FOR_SALE;
    }
    if (f->kind == CREDIT_TOP_UP ? f->amount <= 0 : f->amount == 0)
        return REJECT_REFUND;
    return known_credit(o, f);
}

// ---- what follows from it ----

static void take_call(struct oracle *o, const struct fact *f, int64_t offset)
{
    *list_add(&o->calls) =
        (struct known_call){.account = f->account,
                            .id = f->id,
                            .service = f->service,
                            .units = units_of(f),
                            .time = f->time,
                            .offset = offset,
                            .day = calendar_day(f->time, world_book()->offset_ms)};
}

static void take_purchase(struct oracle *o, const struct fact *f, int64_t offset)
{
    *list_add(&o->packages) =
        (struct known_package){.account = f->account,
                               .id = f->id,
                               .service = f->service,
                               .units = f->units,
                               .used = f->used,
                               .remaining = f->units - f->used,
                               .before = f->units - f->used,
                               .offset = offset,
                               .amount = f->amount,
                               .from = f->time,
                               .until = calendar_add_year(f->time, world_book()->offset_ms)};
}

// The only bytes of the script that are not UTF-8.
static bool is_repaired(struct slice found, struct slice sent)
{
    char text[64];
    size_t size = 0;
    for (size_t i = 0; i < sent.size && size + 3 < sizeof text; i++) {
        if ((unsigned char)sent.data[i] == 0xff)
            size += (size_t)snprintf(text + size, sizeof text - size, "\xef\xbf\xbd");
        else
            text[size++] = sent.data[i];
    }
    return (found.data != NULL) == (sent.data != NULL) &&
           oracle_same(found, (struct slice){text, size});
}

static void take_credit(struct oracle *o, const struct fact *f, int64_t offset, int64_t at)
{
    *list_add(&o->credits) = (struct known_credit){f->account, f->id, f->kind, f->amount, f->time};
    struct known_account *account = oracle_account(o, f->account);
    *(f->kind == CREDIT_TOP_UP ? &account->credits : &account->adjustments) += f->amount;
    account->position++;
    if (o->credit_rows == o->rows->credits.count) {
        oracle_fail(o, "the credit at offset %d is not there", (int)offset);
        return;
    }
    const struct credit_row *row = &o->rows->credits.at[o->credit_rows++];
    const struct step_credit *c = &row->credit;
    if (!oracle_same(row->account, f->account) || !oracle_same(c->credit_id, f->id) ||
        c->kind != f->kind || c->amount != f->amount || c->credited_at != f->time ||
        c->received_at != at || c->offset != offset || c->position != account->position ||
        c->balance != oracle_balance(account) || !is_repaired(c->reason, f->reason) ||
        !is_repaired(c->reference, f->reference))
        oracle_fail(o, "the credit at offset %d is another in its row", (int)offset);
    if (account->state != ACCOUNT_SUSPENDED || oracle_balance(account) <= 0)
        return;
    struct span *span = &account->spans.at[account->spans.count - 1];
    span->to = at > span->from ? at : span->from;
    oracle_status(o, account, f->kind == CREDIT_TOP_UP ? CAUSE_CREDIT : CAUSE_ADJUSTMENT, span->to,
                  f->id);
}

static void check_reject(struct oracle *o, enum input input, int64_t offset,
                         enum reject_reason reason)
{
    o->reject_rows++;
    const struct entry *entry = &o->world->kafka.logs[o->shard][input].entries.at[offset];
    // R71
    if (reason == REJECT_MISROUTED && entry->by_another_count &&
        oracle_same(entry->fact.key, entry->fact.account))
        oracle_fail(o, "input %d, offset %d: sent by another count of partitions, and rejected",
                    input, (int)offset);
    for (size_t i = 0; i < o->rows->rejects.count; i++) {
        const struct step_reject *r = &o->rows->rejects.at[i].reject;
        if (r->input != input || r->offset != offset)
            continue;
        if (r->reason != reason)
            oracle_fail(o, "input %d, offset %d: rejected as %s, not as %s", input, (int)offset,
                        reject_symbol(r->reason), reject_symbol(reason));
        return;
    }
    oracle_fail(o, "input %d, offset %d: not rejected as %s", input, (int)offset,
                reject_symbol(reason));
}

void oracle_judge(struct oracle *o, enum input input, int64_t offset)
{
    const struct entry *entry = &o->world->kafka.logs[o->shard][input].entries.at[offset];
    struct log_state *log = &o->log[input];
    if (entry->marker || entry->fate != FATE_COMMITTED) {
        log->voids++;
        return;
    }
    int64_t at = oracle_time(o, input, offset);
    int verdict =
        is_refused(o, input, offset) ? REJECT_UNKNOWN_SCHEMA : verdict_on(o, &entry->fact, at);
    if (verdict == DUPLICATE) {
        log->duplicates++;
    } else if (verdict != REJECT_NONE) {
        log->rejected++;
        check_reject(o, input, offset, (enum reject_reason)verdict);
    } else {
        log->accepted++;
        if (input == INPUT_CALLS)
            take_call(o, &entry->fact, offset);
        if (input == INPUT_PURCHASES)
            take_purchase(o, &entry->fact, offset);
        if (input == INPUT_CREDITS)
            take_credit(o, &entry->fact, offset, at);
    }
}
