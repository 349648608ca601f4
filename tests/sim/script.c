#include "tests/sim/script.h"

#include "consumer/workload/input_encode.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

enum {
    SECOND = 1000,
    MINUTE = 60 * SECOND,
    HOUR_OF_FLOOD = 60 * MINUTE,
    VALUE_MAX = 600,
    PURPOSE_SCRIPT = 1,
    PURPOSE_DAYS = 3,
    PURPOSE_LEAD = 6
};

struct writer_of_script {
    struct script *script;
    const struct script_options *options;
    const struct policy *policy;
    struct dice dice;
    int made; // ids handed out
};

int64_t script_day_start(const struct policy *policy, int day)
{
    return calendar_day_start(policy->fixed.first_day + day, policy->shelf.books[0]->offset_ms);
}

static struct slice text(struct writer_of_script *w, const char *from)
{
    return (struct slice){arena_copy(w->options->arena, from, strlen(from)), strlen(from)};
}

// ---- who and when ----

static void name_accounts(struct writer_of_script *w)
{
    static const char *const names[] = {"acc", "b", "\xe8\xbd\xa6\xe5\x95\x86",
                                        "Z.z", "0", "account-of-a-longer-name"};
    struct script *s = w->script;
    s->account_count = (size_t)dice_between(&w->dice, 2, ACCOUNTS_MAX);
    for (size_t i = 0; i < s->account_count; i++) {
        char name[80];
        snprintf(name, sizeof name, "%s-%d", names[i], (int)dice_below(&w->dice, 1000));
        s->accounts[i] = text(w, name);
    }
}

// Most defects show at the end of a day, so many records are sent then.
static int64_t draw_time(struct writer_of_script *w)
{
    int lead = w->script->lead, number = (int)dice_below(&w->dice, w->script->days + lead) - lead;
    int64_t day = script_day_start(w->policy, number);
    int64_t grace = w->policy->rows[0].grace_ms;
    switch (dice_below(&w->dice, 10)) {
    case 0:
    case 1:
        return day + DAY_MS + dice_between(&w->dice, -20 * SECOND, 20 * SECOND);
    case 2:
    case 3:
        return day + DAY_MS + grace + dice_between(&w->dice, -10 * SECOND, 10 * SECOND);
    case 4:
        return day + DAY_MS + grace + dice_between(&w->dice, -3, 3);
    default:
        return day + dice_below(&w->dice, DAY_MS);
    }
}

static struct slice draw_id(struct writer_of_script *w, const char *kind)
{
    char id[64];
    int number = ++w->made;
    if (dice_hit(&w->dice, 50)) {
        snprintf(id, sizeof id, "%s-%d", kind, number);
    } else {
        uint64_t bits = dice_next(&w->dice);
        snprintf(id, sizeof id, "%08x-%04x-4%03x-8%03x-%012x", (unsigned)bits,
                 (unsigned)(bits >> 32 & 0xffff), (unsigned)(bits >> 48 & 0xfff),
                 (unsigned)number & 0xfff, (unsigned)number);
    }
    return text(w, id);
}

// The instant at which an earlier package expires, or at which a credit may have resumed its
// account.
static int64_t draw_instant(struct writer_of_script *w, int64_t at)
{
    if (w->script->sends.count == 0)
        return at;
    const struct send *old =
        &w->script->sends.at[dice_below(&w->dice, (int64_t)w->script->sends.count)];
    if (old->fact.input == INPUT_CREDITS)
        return old->at;
    if (old->fact.input != INPUT_PURCHASES || old->fact.time < 0)
        return at;
    return calendar_add_year(old->fact.time, w->policy->shelf.books[0]->offset_ms);
}

// A record's own time: mostly shortly before it is sent.
static int64_t draw_own_time(struct writer_of_script *w, int64_t at)
{
    int64_t tolerance = w->policy->rows[0].future_tolerance_ms, late = w->policy->rows[0].late_days;
    switch (dice_below(&w->dice, 12)) {
    case 0:
        return at + dice_below(&w->dice, 2 * tolerance + 2);
    case 1:
    case 2:
        return at - dice_below(&w->dice, (late + 3) * DAY_MS);
    case 3: // the last or first ms of a day
        return script_day_start(w->policy, (int)dice_below(&w->dice, w->script->days + 1)) -
               dice_below(&w->dice, 2);
    case 4:
        return dice_hit(&w->dice, 10) ? -1 : draw_instant(w, at);
    default:
        return at - dice_below(&w->dice, 30 * SECOND);
    }
}

// ---- what ----

static int64_t draw_leads(struct writer_of_script *w)
{
    static const int64_t leads[] = {
        0,     1,     10,    100,   999,    1000,   3000,   8000, 9999, 10000,      19999,
        20000, 49999, 50000, 99999, 100000, 499999, 500000, 7,    250,  1000000000, 1000000001};
    return leads[dice_below(&w->dice, sizeof leads / sizeof *leads)];
}

static void fill_call(struct writer_of_script *w, struct fact *f, int64_t at)
{
    f->id = draw_id(w, "call");
    f->service = dice_hit(&w->dice, 50) ? SERVICE_AUDIENCE_INSIGHT : SERVICE_PURCHASE_INTENT;
    f->leads_null =
        f->service == SERVICE_AUDIENCE_INSIGHT ? dice_hit(&w->dice, 70) : dice_hit(&w->dice, 5);
    f->leads = f->leads_null ? 0 : draw_leads(w);
    f->time = draw_own_time(w, at);
}

struct on_sale {
    int64_t units;
    fen_t amount;
};
static const struct on_sale insight_offers[] = {{50, 10000000},  {100, 15000000},  {300, 27000000},
                                                {301, 15050000}, {1000, 50000000}, {300, 15000000},
                                                {51, 10200000}};
static const struct on_sale intent_offers[] = {
    {10000, 7000000},    {50000, 25000000}, {100000, 30000000},  {801000, 120150000},
    {801500, 120225000}, {1000, 150000},    {800000, 160000000}, {802000, 120300000}};

static void fill_purchase(struct writer_of_script *w, struct fact *f, int64_t at)
{
    static const int64_t year = 365 * DAY_MS;
    f->id = draw_id(w, "buy");
    f->service = dice_hit(&w->dice, 50) ? SERVICE_AUDIENCE_INSIGHT : SERVICE_PURCHASE_INTENT;
    const struct on_sale *offer = f->service == SERVICE_AUDIENCE_INSIGHT
                                      ? &insight_offers[dice_below(&w->dice, 7)]
                                      : &intent_offers[dice_below(&w->dice, 8)];
    f->units = dice_hit(&w->dice, 4) ? -offer->units : offer->units;
    f->amount = dice_hit(&w->dice, 4) ? 0 : offer->amount * (dice_hit(&w->dice, 10) ? 2 : 1);
    f->foreign_currency = dice_hit(&w->dice, 3);
    f->time = draw_own_time(w, at);
    if (dice_hit(&w->dice, 10))
        f->time -= year - dice_below(&w->dice, 3 * DAY_MS);
    // Most of a package is used already, so that calls are covered in part and packages run out.
    if (dice_hit(&w->dice, 60))
        f->used = f->units - dice_below(&w->dice, 12);
    if (dice_hit(&w->dice, 3))
        f->used = f->units + 1;
}

static void fill_credit(struct writer_of_script *w, struct fact *f, int64_t at)
{
    static const fen_t amounts[] = {220000, 440000,  1000,     10000,  1,
                                    220000, 9999000, 80000000, 660000, 3000000};
    f->id = draw_id(w, "pay");
    f->kind = dice_hit(&w->dice, 70) ? CREDIT_TOP_UP : CREDIT_ADJUSTMENT;
    f->amount = amounts[dice_below(&w->dice, sizeof amounts / sizeof *amounts)];
    if (dice_hit(&w->dice, f->kind == CREDIT_ADJUSTMENT ? 50 : 3))
        f->amount = -f->amount;
    if (dice_hit(&w->dice, 2))
        f->amount = dice_hit(&w->dice, 50) ? 0 : AMOUNT_MAX + 1;
    f->foreign_currency = dice_hit(&w->dice, 3);
    f->time = draw_own_time(w, at);
    if (dice_hit(&w->dice, 50))
        f->reason = text(w, "why \xff not");
    if (dice_hit(&w->dice, 50))
        f->reference = text(w, "ref");
}

// The same id again: a copy, or a record with a difference.
static bool repeat_one(struct writer_of_script *w, struct fact *f)
{
    const struct script *s = w->script;
    if (s->sends.count == 0)
        return false;
    const struct fact *old = &s->sends.at[dice_below(&w->dice, (int64_t)s->sends.count)].fact;
    if (old->fault != REJECT_NONE || old->input != f->input)
        return false;
    *f = *old;
    switch (dice_below(&w->dice, 6)) {
    case 0:
        f->time += 1;
        break;
    case 1:
        f->account = s->accounts[dice_below(&w->dice, (int64_t)s->account_count)];
        break;
    case 2:
        f->leads++;
        f->amount++;
        break;
    case 3:
        f->reason = text(w, "said again");
        break;
    default:
        break;
    }
    return true;
}

// ---- as bytes ----

int64_t script_schema(enum framing framing, int32_t schema)
{
    return framing == FRAMING_APICURIO ? schema + (INT64_C(1) << 40) : schema;
}

static size_t encode(enum framing kind, const struct fact *f, int32_t schema, uint8_t *out)
{
    const struct input_framing framing = {kind, script_schema(kind, schema)};
    const char *currency = f->foreign_currency ? "EUR" : "CNY";
    if (f->input == INPUT_CALLS) {
        struct call_record call = {f->id,   f->account, f->service, f->leads_null ? -1 : f->leads,
                                   f->time, {NULL, 0}};
        return encode_call(&call, framing, out, VALUE_MAX);
    }
    if (f->input == INPUT_PURCHASES) {
        struct purchase_record bought = {f->id,   f->account, f->service, f->units,
                                         f->used, f->amount,  currency,   f->time};
        return encode_purchase(&bought, framing, out, VALUE_MAX);
    }
    struct credit_record paid = {f->id,    f->account, f->kind,   f->amount,
                                 currency, f->time,    f->reason, f->reference};
    return encode_credit(&paid, framing, out, VALUE_MAX);
}

static void finish(struct writer_of_script *w, struct fact *f)
{
    uint8_t bytes[VALUE_MAX + 1];
    int32_t schema = SCHEMA_KNOWN + 10 * (int32_t)f->input;
    int damage = dice_hit(&w->dice, 6) ? (int)dice_below(&w->dice, 6) : 6;
    if (damage == 0)
        schema = SCHEMA_UNKNOWN;
    if (damage == 1)
        schema = SCHEMA_INCOMPATIBLE;
    size_t size = encode(w->policy->fixed.framing, f, schema, bytes);
    assert(size > 0);
    if (damage == 2)
        size--;
    if (damage == 3)
        bytes[size++] = 0;
    if (damage == 4)
        bytes[0] = 1;
    f->fault = damage == 0   ? REJECT_UNKNOWN_SCHEMA
               : damage == 1 ? REJECT_INCOMPATIBLE_SCHEMA
                             : REJECT_UNDECODABLE;
    if (damage == 6)
        f->fault = REJECT_NONE;
    f->value = damage == 5 ? (struct slice){NULL, 0}
                           : (struct slice){arena_copy(w->options->arena, bytes, size), size};
}

static void route(struct writer_of_script *w, struct send *send)
{
    struct fact *f = &send->fact;
    f->key = f->account;
    if (dice_hit(&w->dice, 2))
        f->key = w->script->accounts[dice_below(&w->dice, (int64_t)w->script->account_count)];
    if (dice_hit(&w->dice, 1))
        f->key = (struct slice){NULL, 0};
    send->partition = partition_of(w->policy->fixed.partitioner, f->key.data,
                                   f->key.data ? f->key.size : 0, w->script->shards);
    if (dice_hit(&w->dice, 2))
        send->partition = (int32_t)dice_below(&w->dice, w->script->shards);
}

static struct send draw_send(struct writer_of_script *w, int64_t at)
{
    struct send send = {.at = at, .create_time = dice_below(&w->dice, 400) == 0};
    struct fact *f = &send.fact;
    int kind = (int)dice_below(&w->dice, 100);
    f->input = kind < 68 ? INPUT_CALLS : kind < 78 ? INPUT_PURCHASES : INPUT_CREDITS;
    f->account = w->script->accounts[dice_below(&w->dice, (int64_t)w->script->account_count)];
    if (!dice_hit(&w->dice, 18) || !repeat_one(w, f)) {
        if (f->input == INPUT_CALLS)
            fill_call(w, f, at);
        else if (f->input == INPUT_PURCHASES)
            fill_purchase(w, f, at);
        else
            fill_credit(w, f, at);
        if (dice_hit(&w->dice, 1))
            f->id = text(w, dice_hit(&w->dice, 50) ? "" : "a\x01");
    }
    finish(w, f);
    route(w, &send);
    return send;
}

// ---- all of it ----

static int by_time(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void add_sends(struct writer_of_script *w, int64_t count)
{
    LIST(int64_t) times = {0};
    for (int64_t i = 0; i < count; i++)
        *list_add(&times) = draw_time(w);
    if (times.count > 0)
        qsort(times.at, times.count, sizeof *times.at, by_time);
    for (size_t i = 0; i < times.count; i++) {
        struct send send = draw_send(w, times.at[i]); // depends on the earlier ones
        *list_add(&w->script->sends) = send;
    }
    list_free(&times);
}

// One of many that somebody's broken producer sends: without a schema; of seconds for milliseconds,
// which are of 1970; or with ids that start over. Or the refunds of a customer who asks often.
static struct fact draw_flood(struct writer_of_script *w, int64_t at, const struct fact *old)
{
    struct script *s = w->script;
    uint8_t bytes[VALUE_MAX];
    struct fact f = {.account = s->accounts[0],
                     .key = s->accounts[0],
                     .amount = 1000,
                     .time = at - dice_below(&w->dice, HOUR_OF_FLOOD)};
    int log = (int)dice_below(&w->dice, 10), kind = (int)dice_below(&w->dice, 10);
    f.input = log < 5 ? INPUT_CALLS : log < 8 ? INPUT_CREDITS : INPUT_PURCHASES;
    if (kind < 5) {
        f.fault = REJECT_UNDECODABLE;
        f.value = text(w, "{\"json\": true}");
        return f;
    }
    f.id = draw_id(w, "flood");
    if (kind < 7)
        f.time = at / 1000;
    if (kind == 7 && old->fault == REJECT_NONE) {
        f = *old;
        f.time += 1;
    }
    if (kind > 7)
        f.amount = -1;
    size_t size = encode(w->policy->fixed.framing, &f, SCHEMA_KNOWN + 10 * (int32_t)f.input, bytes);
    f.value = (struct slice){arena_copy(w->options->arena, bytes, size), size};
    return f;
}

// Enough of it to hold a day, mostly.
static void add_flood(struct writer_of_script *w)
{
    struct script *s = w->script;
    size_t at = (size_t)dice_below(&w->dice, (int64_t)s->sends.count);
    struct send one = {.at = s->sends.at[at].at};
    one.fact = draw_flood(w, one.at, &s->sends.at[at].fact);
    one.partition = partition_of(w->policy->fixed.partitioner, one.fact.key.data,
                                 one.fact.key.data ? one.fact.key.size : 0, s->shards);
    size_t count = (size_t)(one.fact.input == INPUT_CALLS ? dice_between(&w->dice, 101, 130)
                                                          : dice_between(&w->dice, 9, 25));
    for (size_t i = 0; i < count; i++)
        (void)list_add(&s->sends);
    memmove(s->sends.at + at + count, s->sends.at + at,
            (s->sends.count - count - at) * sizeof *s->sends.at);
    for (size_t i = 0; i < count; i++)
        s->sends.at[at + i] = one;
}

static int ending_by_time(const void *a, const void *b)
{
    const struct ending *x = a, *y = b;
    if (x->at != y->at)
        return x->at < y->at ? -1 : 1;
    return (x->transaction > y->transaction) - (x->transaction < y->transaction);
}

// How long a transaction stays open: mostly not for long; now and then past the time for which a
// cutoff waits.
static int64_t draw_delay(struct writer_of_script *w)
{
    int chance = (int)dice_below(&w->dice, 100);
    if (chance < 3)
        return dice_below(&w->dice, 30 * 60 * MINUTE);
    return dice_below(&w->dice, chance < 18 ? 40 * MINUTE : SECOND);
}

static void add_transactions(struct writer_of_script *w)
{
    struct script *s = w->script;
    int transaction = 0;
    bool hangs = dice_hit(&w->dice, 8); // in some worlds transactions stay open for ever
    for (size_t i = 0; i < s->sends.count;) {
        if (dice_hit(&w->dice, 75)) {
            i++;
            continue;
        }
        size_t end = i + (size_t)dice_between(&w->dice, 1, 4);
        transaction++;
        for (; i < end && i < s->sends.count; i++)
            s->sends.at[i].transaction = transaction;
        if (hangs && dice_hit(&w->dice, 3))
            continue; // its producer is gone, and no coordinator knows of it
        *list_add(&s->endings) = (struct ending){.at = s->sends.at[i - 1].at + draw_delay(w),
                                                 .transaction = transaction,
                                                 .commit = dice_hit(&w->dice, 70)};
    }
    if (s->endings.count > 0)
        qsort(s->endings.at, s->endings.count, sizeof *s->endings.at, ending_by_time);
}

int script_days(uint64_t seed)
{
    struct dice d = dice_of(seed, PURPOSE_DAYS, 0);
    return (int)dice_between(&d, 3, dice_hit(&d, 20) ? DAYS_MAX : 6);
}

int script_lead(uint64_t seed)
{
    struct dice d = dice_of(seed, PURPOSE_LEAD, 0);
    return dice_hit(&d, 25) ? (int)dice_between(&d, 1, 5) : 0;
}

void script_make(struct script *script, const struct script_options *options)
{
    *script = (struct script){.shards = options->policy->fixed.partitions};
    struct writer_of_script w = {script, options, options->policy,
                                 dice_of(options->seed, PURPOSE_SCRIPT, 0), 0};
    script->days = script_days(options->seed);
    script->lead = script_lead(options->seed);
    name_accounts(&w);
    add_sends(&w, dice_between(&w.dice, 30, 60 + 30 * script->days));
    if (dice_hit(&w.dice, 15))
        add_flood(&w);
    if ((int64_t)script->sends.count > options->records_max)
        script->sends.count = (size_t)options->records_max;
    add_transactions(&w);
}

void script_free(struct script *script)
{
    list_free(&script->sends);
    list_free(&script->endings);
}
