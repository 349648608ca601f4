// Judging a record: the checks of pricing/README.md ("Judging a record"), in the order of the
// reasons, one function a reason.
#include "consumer/base/text.h"
#include "consumer/core/fold_state.h"
#include "pricing/rate.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

// Says no: sets reason and detail, returns false so that a check can return it.
__attribute__((format(printf, 3, 4))) static bool refuse(struct verdict *v,
                                                         enum reject_reason reason,
                                                         const char *format, ...)
{
    assert(reason != REJECT_NONE);
    v->reason = reason;
    va_list args;
    va_start(args, format);
    vsnprintf(v->detail, sizeof v->detail, format, args);
    va_end(args);
    return false;
}

// What the three records have in common, and where.
struct record_shape {
    int id, account, time;
    uint32_t required; // fields that must not be null
    const char *const *names;
};

static const char *const call_names[] = {"call_id",    "account_id",  "service",
                                         "lead_count", "occurred_at", "request_id"};
static const char *const purchase_names[] = {
    "purchase_id", "account_id", "service", "units", "used", "amount", "currency", "purchased_at"};
static const char *const credit_names[] = {"credit_id", "account_id",  "kind",   "amount",
                                           "currency",  "credited_at", "reason", "reference"};

static const struct record_shape shapes[INPUT_COUNT] = {
    [INPUT_CALLS] = {CALL_CALL_ID, CALL_ACCOUNT_ID, CALL_OCCURRED_AT,
                     1u << CALL_CALL_ID | 1u << CALL_ACCOUNT_ID | 1u << CALL_SERVICE |
                         1u << CALL_OCCURRED_AT,
                     call_names},
    [INPUT_PURCHASES] = {PURCHASE_PURCHASE_ID, PURCHASE_ACCOUNT_ID, PURCHASE_PURCHASED_AT,
                         (1u << PURCHASE_FIELDS) - 1, purchase_names},
    [INPUT_CREDITS] = {CREDIT_CREDIT_ID, CREDIT_ACCOUNT_ID, CREDIT_CREDITED_AT,
                       (1u << CREDIT_REASON) - 1, credit_names},
};

static struct slice text_field(const struct record *record, int field)
{
    return (struct slice){record->field[field].data, (size_t)record->field[field].number};
}

// A record on its way through the checks.
struct validation {
    struct fold *fold;
    enum input input;
    const struct record_shape *shape;
    const struct event *event;
    const struct record *record;
    int64_t at_ms; // T
    struct slice account_id, id;
    const struct lookup *lookup;
    uint32_t account; // ACCOUNT_NONE: not seen before
};

// Accounts keep their numbers: what the index named before is the account, if its hash is the same.
static uint32_t find_account(const struct fold *fold, const struct lookup *lookup)
{
    if (lookup->candidate != ACCOUNT_NONE &&
        ledger_is_account(fold, lookup->candidate, lookup->account))
        return lookup->candidate;
    return ledger_find_account(fold, lookup->account);
}

// R41: the record belongs to the account in its key, and stands in the partition of that key.
static bool check_route(struct validation *c, struct verdict *v)
{
    struct slice key = c->event->key, account = c->account_id;
    if (!key.data || !account.data || key.size != account.size ||
        memcmp(key.data, account.data, key.size) != 0)
        return refuse(v, REJECT_MISROUTED, "the key is not the account_id");
    c->account = find_account(c->fold, c->lookup);
    if (c->account != ACCOUNT_NONE)
        return true; // its partition was right before
    const struct fixed_parameters *fixed = &c->fold->policy->fixed;
    int32_t partition = partition_of(fixed->partitioner, key.data, key.size, fixed->partitions);
    if (partition == c->fold->options.shard)
        return true;
    // R71: a producer that has found another count sends by that one.
    v->uncounted = c->fold->options.asks_counts && !c->fold->counted[c->input];
    if (v->uncounted)
        return false;
    return refuse(v, REJECT_MISROUTED, "the key belongs to partition %" PRId32 " of %" PRId32,
                  partition, fixed->partitions);
}

static bool check_id(const struct validation *c, int field, struct slice text, struct verdict *v)
{
    const char *why;
    if (text_is_id(text, &why))
        return true;
    return refuse(v, REJECT_INVALID, "%s %s", c->shape->names[field], why);
}

// R42: nulls, unknown symbols, ids and the time: what INVALID means for all three records.
static bool check_common(struct validation *c, struct verdict *v)
{
    uint32_t nulls = c->record->nulls & c->shape->required;
    if (nulls)
        return refuse(v, REJECT_INVALID, "%s is null", c->shape->names[__builtin_ctz(nulls)]);
    if (c->record->unknown)
        return refuse(v, REJECT_INVALID, "%s holds an unknown symbol",
                      c->shape->names[__builtin_ctz(c->record->unknown)]);
    if (c->account == ACCOUNT_NONE && !check_id(c, c->shape->account, c->account_id, v))
        return false;
    // What reads as a UUID is an id.
    if (!c->lookup->id.uuid && !check_id(c, c->shape->id, c->id, v))
        return false;
    int64_t time = c->record->field[c->shape->time].number;
    if (time >= INSTANT_MIN && time <= INSTANT_MAX)
        return true;
    return refuse(v, REJECT_INVALID, "%s is outside 1970 to 9999", c->shape->names[c->shape->time]);
}

// R43: amounts and their currency.
static bool check_amount(const struct validation *c, int amount_field, int currency_field,
                         struct verdict *v)
{
    int64_t amount = c->record->field[amount_field].number;
    if (amount > AMOUNT_MAX || amount < -AMOUNT_MAX)
        return refuse(v, REJECT_INVALID, "amount %" PRId64 " is beyond 10^13 fen", amount);
    const char *currency = c->fold->policy->shelf.books[0]->currency;
    struct slice text = text_field(c->record, currency_field);
    if (text.size == strlen(currency) && memcmp(text.data, currency, text.size) == 0)
        return true;
    return refuse(v, REJECT_INVALID, "currency is not %s", currency);
}

// R28: its own time may be ahead of the broker's by the tolerance.
static int64_t latest_own_time(const struct validation *c)
{
    int64_t latest;
    bool beyond =
        __builtin_add_overflow(c->at_ms, c->fold->parameters->future_tolerance_ms, &latest);
    return beyond ? INT64_MAX : latest;
}

static bool check_future(const struct validation *c, struct verdict *v)
{
    int64_t time = c->record->field[c->shape->time].number;
    if (time <= latest_own_time(c))
        return true;
    // A producer may stamp anything: the difference needs all 64 bits.
    return refuse(v, REJECT_FROM_FUTURE, "%s is %" PRIu64 " ms ahead of the broker's timestamp",
                  c->shape->names[c->shape->time], (uint64_t)time - (uint64_t)c->at_ms);
}

// ---- calls ----

// R2, R3: only where leads are billed a lead_count is looked at, and must lie within its bounds.
static bool check_call_units(const struct validation *c, struct verdict *v)
{
    enum service service = (enum service)c->record->field[CALL_SERVICE].number;
    if (service_unit(service) != UNIT_LEAD)
        return true;
    int64_t leads = c->record->field[CALL_LEAD_COUNT].number;
    if (c->record->nulls & 1u << CALL_LEAD_COUNT)
        return refuse(v, REJECT_INVALID, "lead_count is null in a %s call",
                      service_symbol(service));
    if (leads >= 0 && leads <= UNITS_OF_RECORD_MAX)
        return true;
    return refuse(v, REJECT_INVALID, "lead_count %" PRId64 " is outside 0 to 10^9", leads);
}

static void call_of(const struct validation *c, struct call *call)
{
    const struct fold *fold = c->fold;
    int64_t occurred_at = c->record->field[CALL_OCCURRED_AT].number;
    // R21: the usage day is that of occurred_at.
    day_t day = calendar_day(occurred_at, fold->zone_ms);
    enum service service = (enum service)c->record->field[CALL_SERVICE].number;
    *call = (struct call){
        .day = day,
        .account = c->account,
        .identity = c->lookup->id,
        .when = occurred_at - calendar_day_start(day, fold->zone_ms),
        .service = service,
        .units = rate_units(shelf_at(&fold->policy->shelf, day), service,
                            c->record->field[CALL_LEAD_COUNT].number),
    };
}

// The latest day that a record's own time may be of: what lies beyond is from the future.
static day_t latest_day(const struct validation *c)
{
    int64_t latest = latest_own_time(c);
    if (latest > INSTANT_MAX)
        latest = INSTANT_MAX;
    return calendar_day(latest < INSTANT_MIN ? INSTANT_MIN : latest, c->fold->zone_ms);
}

// R61: priced whole, at the tier of its units, whatever packages would cover of it, and by the book
// of its own day. A call from the future is priced by the book of the latest day that would not be:
// it is rejected in any case, and the book of a day to come may still change.
static bool check_call_amount(const struct validation *c, const struct call *call,
                              struct verdict *v)
{
    struct fold *fold = c->fold;
    if (call->units <= AMOUNT_MAX / BOOK_PRICE_MAX)
        return true; // at whatever price
    day_t latest = latest_day(c), day = call->day < latest ? call->day : latest;
    // The book of that day judges it, also when it says no: another one must not come in force
    // behind the verdict.
    if (day > fold->state.horizon)
        fold->state.horizon = day;
    const struct tier *tier =
        rate_tier(shelf_at(&fold->policy->shelf, day), call->service, call->units);
    fen_t amount;
    if (money_times(call->units, tier->unit_price, &amount) && amount <= AMOUNT_MAX)
        return true;
    return refuse(v, REJECT_INVALID, "%" PRId64 " units at %" PRId64 " fen are beyond 10^13 fen",
                  call->units, tier->unit_price);
}

// R26: the floor is the oldest usage day that may be billed.
static bool check_late(const struct validation *c, day_t day, struct verdict *v)
{
    if (day >= c->fold->floor)
        return true;
    char usage[DAY_TEXT_SIZE], oldest[DAY_TEXT_SIZE];
    return refuse(v, REJECT_TOO_LATE, "usage day %s is before %s", calendar_format_day(day, usage),
                  calendar_format_day(c->fold->floor, oldest));
}

// R59: the same of purchases and credits, by their own day.
static bool check_credit_late(const struct validation *c, day_t day, struct verdict *v)
{
    if (day >= c->fold->credit_floor)
        return true;
    char own[DAY_TEXT_SIZE], oldest[DAY_TEXT_SIZE];
    return refuse(v, REJECT_TOO_LATE, "%s is of %s, before %s", c->shape->names[c->shape->time],
                  calendar_format_day(day, own),
                  calendar_format_day(c->fold->credit_floor, oldest));
}

static void judge_call(struct validation *c, struct verdict *v)
{
    if (!check_call_units(c, v))
        return;
    struct fold *fold = c->fold;
    struct call call;
    call_of(c, &call);
    if (!check_call_amount(c, &call, v) || !check_future(c, v) || !check_late(c, call.day, v))
        return;
    enum call_match match =
        c->account == ACCOUNT_NONE ? CALL_NEW : calls_match(&fold->calls, c->lookup->hash, &call);
    // R29: with the same content it is the same call, else the first one stands.
    v->duplicate = match == CALL_SAME;
    if (match == CALL_OTHER)
        refuse(v, REJECT_CONFLICT, "call_id was accepted before with other billed content");
    if (match != CALL_NEW || fold->withhold)
        return;
    // R31: only here is the id seen; what was refused has returned.
    if (call.account == ACCOUNT_NONE)
        call.account = ledger_account(fold, c->lookup->account, c->account_id);
    calls_add(&fold->calls, c->lookup->hash, &call, c->event->offset);
    if (call.day > fold->state.horizon)
        fold->state.horizon = call.day;
}

// ---- purchases ----

static bool check_purchase(const struct validation *c, struct verdict *v)
{
    int64_t units = c->record->field[PURCHASE_UNITS].number,
            used = c->record->field[PURCHASE_USED].number;
    // R43: units have a bound.
    if (units > UNITS_OF_RECORD_MAX)
        return refuse(v, REJECT_INVALID, "units %" PRId64 " is over 10^9", units);
    // R20: used units are some of the package's.
    if (units > 0 && (used < 0 || used > units))
        return refuse(v, REJECT_INVALID, "used %" PRId64 " is outside 0 to units %" PRId64, used,
                      units);
    return check_amount(c, PURCHASE_AMOUNT, PURCHASE_CURRENCY, v);
}

static bool check_sale(const struct validation *c, day_t day, struct verdict *v)
{
    int64_t units = c->record->field[PURCHASE_UNITS].number,
            amount = c->record->field[PURCHASE_AMOUNT].number;
    enum service service = (enum service)c->record->field[PURCHASE_SERVICE].number;
    fen_t price;
    // R17: purchases are not refunded.
    if (amount <= 0 || units <= 0)
        return refuse(
            v, REJECT_REFUND,
            "a purchase needs units and an amount above zero; purchases are not refunded");
    // R9: size and price are an offer of the book of that day.
    if (!rate_offer_price(shelf_at(&c->fold->policy->shelf, day), service, units, &price))
        return refuse(v, REJECT_NOT_FOR_SALE, "no %s package of %" PRId64 " units is for sale",
                      service_symbol(service), units);
    if (price == amount)
        return true;
    return refuse(v, REJECT_NOT_FOR_SALE,
                  "%s package of %" PRId64 " units costs %" PRId64 " fen, not %" PRId64,
                  service_symbol(service), units, price, amount);
}

static void judge_purchase(struct validation *c, struct verdict *v)
{
    if (!check_purchase(c, v) || !check_future(c, v))
        return;
    struct fold *fold = c->fold;
    const struct value *field = c->record->field;
    int64_t purchased_at = field[PURCHASE_PURCHASED_AT].number;
    day_t day = calendar_day(purchased_at, fold->zone_ms);
    if (!check_credit_late(c, day, v))
        return;
    // The book of that day judges it, also when it says no: another one must not come in force
    // behind the verdict.
    if (day > fold->state.horizon)
        fold->state.horizon = day;
    if (!check_sale(c, day, v))
        return;
    struct package bought = {
        .id = c->id,
        .service = (enum service)field[PURCHASE_SERVICE].number,
        .units = field[PURCHASE_UNITS].number,
        .used = field[PURCHASE_USED].number,
        // R20: what was used elsewhere is not there any more.
        .remaining = field[PURCHASE_UNITS].number - field[PURCHASE_USED].number,
        .amount = field[PURCHASE_AMOUNT].number,
        // R12: from the purchase to the same local time a year later.
        .valid_from = purchased_at,
        .valid_until = calendar_add_year(purchased_at, fold->zone_ms),
        .offset = c->event->offset,
    };
    // R30: known as long as purchases of its day are taken.
    uint32_t known = c->account == ACCOUNT_NONE
                         ? INDEX_NONE
                         : ledger_find_package(fold, c->lookup->account, c->account, c->id);
    if (known != INDEX_NONE) {
        const struct package *p = &fold->ledger.packages[known];
        v->duplicate = p->service == bought.service && p->units == bought.units &&
                       p->used == bought.used && p->amount == bought.amount &&
                       p->valid_from == bought.valid_from;
        if (!v->duplicate)
            refuse(v, REJECT_CONFLICT, "purchase_id was accepted before with other content");
        return;
    }
    if (fold->withhold)
        return;
    assert(bought.used >= 0);
    assert(bought.remaining >= 0);
    assert(bought.valid_until > bought.valid_from);
    bought.account = ledger_account(fold, c->lookup->account, c->account_id);
    assert(c->account == ACCOUNT_NONE || c->account == bought.account);
    // R11: no balance moves.
    uint32_t number = ledger_add_package(fold, &bought);
    step_touch_package(&fold->step, &fold->ledger.packages[number], number);
}

// ---- credits ----

static struct slice repaired(struct step *step, struct slice text)
{
    if (!text.data)
        return text;
    char *copy = arena_alloc(step->arena, 3 * text.size + 1);
    return (struct slice){copy, text_repair(text, copy)};
}

// False on overflow, which changes nothing.
// R33: top-ups and adjustments add to the balance.
static bool add_credit(struct account *account, enum credit_kind kind, fen_t amount)
{
    fen_t credits = account->credits, adjustments = account->adjustments, part, balance;
    fen_t *sum = kind == CREDIT_TOP_UP ? &credits : &adjustments;
    if (!money_add(*sum, amount, sum) || !money_add(account->opening, credits, &part) ||
        !money_add(part, adjustments, &balance))
        return false;
    account->credits = credits;
    account->adjustments = adjustments;
    return true;
}

static void apply_credit(struct validation *c, const struct credit_entry *credit, struct verdict *v)
{
    struct fold *fold = c->fold;
    struct account *account = &fold->ledger.accounts[credit->account];
    enum credit_kind kind = (enum credit_kind)credit->kind;
    fen_t before = account_balance(account);
    if (!add_credit(account, kind, credit->amount)) {
        char day[DAY_TEXT_SIZE];
        error_set(v->error, ERROR_CONFIG,
                  "account %.*s, day %s: its balance would pass 64 bits with the credit at offset "
                  "%" PRId64
                  " of the credits: it would take 922,337 records of the largest amount; "
                  "find out who sends them, the shard stays as it was before this record",
                  (int)account->id.size, account->id.data,
                  calendar_format_day(fold->state.day, day), c->event->offset);
        v->broken = true;
        return;
    }
    assert(account_balance(account) == before + credit->amount); // I4
    account->position++;
    ledger_add_credit(fold, c->lookup->account, credit);
    step_touch_account(&fold->step, account, credit->account);
    *step_add_credit(&fold->step) = (struct step_credit){
        .account = credit->account,
        .credit_id = step_copy(&fold->step, c->id),
        .kind = kind,
        .amount = credit->amount,
        .credited_at = credit->credited_at,
        .received_at = c->at_ms,
        .offset = c->event->offset,
        .position = account->position,
        .balance = account_balance(account),
        .reason = repaired(&fold->step, text_field(c->record, CREDIT_REASON)),
        .reference = repaired(&fold->step, text_field(c->record, CREDIT_REFERENCE)),
    };
    // R35: above zero resumes. R36: below zero suspends nobody here.
    if (account->state == ACCOUNT_SUSPENDED && account_balance(account) > 0)
        ledger_change_state(fold, credit->account,
                            kind == CREDIT_TOP_UP ? CAUSE_CREDIT : CAUSE_ADJUSTMENT, c->at_ms,
                            DAY_NONE, c->id);
}

static void judge_credit(struct validation *c, struct verdict *v)
{
    if (!check_amount(c, CREDIT_AMOUNT, CREDIT_CURRENCY, v) || !check_future(c, v))
        return;
    struct fold *fold = c->fold;
    int64_t credited_at = c->record->field[CREDIT_CREDITED_AT].number;
    if (!check_credit_late(c, calendar_day(credited_at, fold->zone_ms), v))
        return;
    enum credit_kind kind = (enum credit_kind)c->record->field[CREDIT_KIND].number;
    fen_t amount = c->record->field[CREDIT_AMOUNT].number;
    // R17: top-ups are not refunded; an adjustment may be negative.
    if (kind == CREDIT_TOP_UP ? amount <= 0 : amount == 0) {
        refuse(v, REJECT_REFUND,
               kind == CREDIT_TOP_UP
                   ? "a top-up needs an amount above zero; top-ups are not refunded"
                   : "an adjustment of zero changes nothing");
        return;
    }
    struct identity id = c->lookup->id;
    const struct credit_entry *known =
        c->account == ACCOUNT_NONE ? NULL
                                   : ledger_find_credit(fold, c->lookup->account, c->account, id);
    struct credit_entry credit = {
        .half = {id.half[0], id.half[1]},
        .uuid = id.uuid,
        .kind = (uint8_t)kind,
        .amount = amount,
        .credited_at = credited_at,
    };
    // R30: known as long as credits of its day are taken.
    if (known) {
        v->duplicate = known->kind == credit.kind && known->amount == amount &&
                       known->credited_at == credit.credited_at;
        if (!v->duplicate)
            refuse(v, REJECT_CONFLICT, "credit_id was accepted before with other content");
        return;
    }
    if (fold->withhold)
        return;
    credit.account = ledger_account(fold, c->lookup->account, c->account_id);
    assert(c->account == ACCOUNT_NONE || c->account == credit.account);
    apply_credit(c, &credit, v);
}

// ---- entry ----

static void look_up(const struct fold *fold, const struct event *event, int id_field,
                    struct lookup *out)
{
    struct slice id = text_field(&event->record, id_field);
    if (event->key.data)
        identity_of_account(&fold->key, event->key, &out->account);
    else
        out->account = (struct account_hash){0};
    if (id.data)
        identity_of(&fold->key, id, &out->id);
    else
        out->id = (struct identity){0};
    out->hash = identity_hash(&fold->key, out->id.half, out->account);
    out->candidate = ACCOUNT_NONE;
}

static struct validation open_validation(struct fold *fold, enum input input,
                                         const struct event *event, const struct lookup *lookup,
                                         int64_t at_ms)
{
    const struct record_shape *shape = &shapes[input];
    return (struct validation){
        .fold = fold,
        .input = input,
        .shape = shape,
        .event = event,
        .record = &event->record,
        .lookup = lookup,
        .at_ms = at_ms,
        .account_id = text_field(&event->record, shape->account),
        .id = text_field(&event->record, shape->id),
        .account = ACCOUNT_NONE,
    };
}

// What the reject topic tells of a record; ids only where they are valid ones.
void judge_add_reject(struct fold *fold, enum input input, const struct event *event,
                      const struct verdict *v)
{
    struct step *step = &fold->step;
    assert(v->reason != REJECT_NONE);
    assert(event->fault == REJECT_NONE || v->reason == event->fault || v->decision);
    struct step_reject *reject = step_add_reject(step);
    *reject = (struct step_reject){
        .input = input,
        .offset = event->offset,
        .timestamp = event->timestamp,
        .reason = v->reason,
        .schema_id = event->schema_id,
        .detail = arena_copy(step->arena, v->detail, strlen(v->detail)),
        .decision = v->decision,
        .key = step_copy(step, event->key),
        .value = step_copy(step, event->value),
    };
    if (event->fault != REJECT_NONE || v->decision)
        return;
    const struct record_shape *shape = &shapes[input];
    const char *why;
    struct slice account = text_field(&event->record, shape->account),
                 id = text_field(&event->record, shape->id);
    if (text_is_id(account, &why))
        reject->account_id = step_copy(step, account);
    if (text_is_id(id, &why))
        reject->record_id = step_copy(step, id);
    reject->has_occurred_at = !(event->record.nulls & 1u << shape->time);
    reject->occurred_at = event->record.field[shape->time].number;
}

// R40: the first fault is told, in the order of enum reject_reason.
void judge(struct fold *fold, enum input input, const struct event *event,
           const struct lookup *lookup, int64_t at_ms, struct verdict *v)
{
    assert(event->offset == fold->state.log[input].next); // I1: none is passed over
    v->reason = event->fault;
    v->duplicate = v->broken = v->uncounted = false;
    if (v->decision) {
        refuse(v, REJECT_UNKNOWN_SCHEMA,
               "its schema, of id %" PRId64 ", could not be had, and an operator refused it",
               event->schema_id);
    } else if (event->fault != REJECT_NONE) {
        refuse(v, event->fault, "%s", event->fault_detail ? event->fault_detail : "");
    } else {
        struct lookup own;
        if (!lookup) {
            look_up(fold, event, shapes[input].id, &own);
            lookup = &own;
        }
        struct validation c = open_validation(fold, input, event, lookup, at_ms);
        if (check_route(&c, v) && check_common(&c, v)) {
            if (input == INPUT_CALLS)
                judge_call(&c, v);
            else if (input == INPUT_PURCHASES)
                judge_purchase(&c, v);
            else
                judge_credit(&c, v);
        }
    }
    // I1: a record is one of accepted, duplicate and rejected
    assert(!v->duplicate || v->reason == REJECT_NONE);
    assert(!v->broken || v->reason == REJECT_NONE);
    assert(!v->uncounted || (v->reason == REJECT_NONE && !v->duplicate));
    if (v->reason != REJECT_NONE)
        judge_add_reject(fold, input, event, v);
}

void judge_prefetch(const struct fold *fold, const struct event *event, struct lookup *lookup)
{
    if (event->fault != REJECT_NONE || event->schema_pending) {
        *lookup = (struct lookup){.candidate = ACCOUNT_NONE};
        return;
    }
    look_up(fold, event, CALL_CALL_ID, lookup);
    index_prefetch(&fold->ledger.account_index, lookup->account.half[0]);
    index_prefetch(&fold->calls.index, lookup->hash);
}

void judge_prefetch_account(const struct fold *fold, struct lookup *lookup)
{
    struct index_probe probe = index_probe(&fold->ledger.account_index, lookup->account.half[0]);
    lookup->candidate = index_next(&probe);
    if (lookup->candidate != ACCOUNT_NONE)
        __builtin_prefetch(&fold->ledger.account_hashes[lookup->candidate]);
}

bool judge_recorded_call(struct fold *fold, const struct event *event, const struct lookup *lookup,
                         struct call *call, uint64_t *hash)
{
    // nothing of it was decoded: its fields are those of another record
    if (event->fault != REJECT_NONE)
        return false;
    struct validation c = open_validation(fold, INPUT_CALLS, event, lookup, event->timestamp);
    struct verdict v = {0};
    if (!check_route(&c, &v) || !check_common(&c, &v) || !check_call_units(&c, &v))
        return false;
    call_of(&c, call);
    *hash = lookup->hash;
    if (call->account == ACCOUNT_NONE)
        call->account = ledger_account(fold, lookup->account, c.account_id);
    return true;
}
