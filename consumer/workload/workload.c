#include "consumer/workload/workload.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    UUID_SIZE = 36,
    ACCOUNT_SIZE = 16, // "acct-0000001"
    RECENT_MAX = 256, // calls of the day that a duplicate or a conflict can follow
    DELAY_MS = 2000, // a record is at most this much later than its call
    VALUE_MAX = 512,
    TOP_UP_STEPS = 20,
    PPM = 1000000,
};

struct party {
    char id[ACCOUNT_SIZE];
    int32_t partition;
};

// A call that can be sent a second time.
struct made_call {
    char id[UUID_SIZE];
    const struct party *account;
    enum service service;
    int64_t leads, occurred_at;
};

struct workload {
    struct workload_options options;
    struct party *accounts;
    fen_t top_up_step;
    uint64_t random;
    int32_t day_index;
    int64_t left[INPUT_COUNT]; // of the day
    int64_t slot, slots; // of the day
    int64_t timestamp; // of the record being made
    day_t day; // of the timestamp
    size_t recent_count;
    struct made_call recent[RECENT_MAX];
    struct workload_tally tally;
    uint8_t value[VALUE_MAX];
};

// ---- randomness: splitmix64 ----

static uint64_t draw(struct workload *w)
{
    uint64_t z = w->random += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

// 0 .. bound - 1
static int64_t draw_below(struct workload *w, int64_t bound)
{
    assert(bound > 0);
    return (int64_t)(draw(w) % (uint64_t)bound);
}

// A lower-case UUID, as most producers' ids are.
static void draw_uuid(struct workload *w, char out[UUID_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    uint64_t bits[2] = {draw(w), draw(w)};
    for (int i = 0, nibble = 0; i < UUID_SIZE; i++) {
        if (i == 8 || i == 13 || i == 18 || i == 23) {
            out[i] = '-';
            continue;
        }
        out[i] = digits[bits[nibble / 16] >> 4 * (nibble % 16) & 15];
        nibble++;
    }
    out[14] = '4';
    out[19] = 'a';
}

// Some accounts are busier than others.
static const struct party *draw_account(struct workload *w)
{
    int64_t a = draw_below(w, w->options.accounts), b = draw_below(w, w->options.accounts);
    return &w->accounts[a < b ? a : b];
}

// ---- making ----

static struct slice id_slice(const struct party *account)
{
    return slice_text(account->id);
}

static void address(const struct workload *w, enum input input, const struct party *account,
                    struct workload_message *out)
{
    *out = (struct workload_message){.input = input,
                                     .partition = account->partition,
                                     .timestamp = w->timestamp,
                                     .key = id_slice(account)};
}

static void set_value(struct workload *w, size_t size, struct workload_message *out)
{
    assert(size > 0); // VALUE_MAX holds every record made here
    out->value = (struct slice){(const char *)w->value, size};
}

static void send_call(struct workload *w, const struct made_call *call,
                      struct workload_message *out)
{
    struct call_record record = {
        .call_id = {call->id, UUID_SIZE},
        .account_id = id_slice(call->account),
        .service = call->service,
        .lead_count = call->leads,
        .occurred_at = call->occurred_at,
    };
    address(w, INPUT_CALLS, call->account, out);
    set_value(w, encode_call(&record, w->options.framing[INPUT_CALLS], w->value, sizeof w->value),
              out);
}

// The leads of calls in a tier: `from` to `below` - 1. The last tier has no end of its own.
static void tier_range(const struct service_prices *prices, int64_t i, int64_t *from,
                       int64_t *below)
{
    *from = prices->tiers[i].from;
    *below = i + 1 < (int64_t)prices->tier_count ? prices->tiers[i + 1].from : *from * 2;
    if (*below > UNITS_OF_RECORD_MAX)
        *below = UNITS_OF_RECORD_MAX;
    // R61: a dearer call is rejected.
    if (*below > AMOUNT_MAX / prices->tiers[i].unit_price)
        *below = AMOUNT_MAX / prices->tiers[i].unit_price;
    if (*below <= *from)
        *below = *from + 1;
    assert(i < (int64_t)prices->tier_count);
}

// One of the services that are billed by this unit.
static enum service draw_service(struct workload *w, enum billed_unit unit)
{
    enum service found[SERVICE_COUNT];
    int count = 0;
    for (enum service s = 0; s < SERVICE_COUNT; s++)
        if (service_unit(s) == unit)
            found[count++] = s;
    assert(count > 0);
    return found[count > 1 ? draw_below(w, count) : 0];
}

// Small calls are more frequent, but every tier occurs.
static int64_t draw_leads(struct workload *w, enum service service)
{
    const struct service_prices *prices = &w->options.book->services[service];
    int64_t count = (int64_t)prices->tier_count, a = draw_below(w, count), b = draw_below(w, count),
            from, below;
    tier_range(prices, a < b ? a : b, &from, &below);
    return from + draw_below(w, below - from);
}

// About what a call of a service costs postpaid: by draw_leads, tier i of n has (2(n - i) - 1) /
// n^2 of the calls.
static fen_t mean_price_by_lead(const struct service_prices *prices)
{
    int64_t n = (int64_t)prices->tier_count, sum = 0, from, below;
    for (int64_t i = 0; i < n; i++) {
        tier_range(prices, i, &from, &below);
        sum += (2 * (n - i) - 1) * ((from + below) / 2 * prices->tiers[i].unit_price / (n * n));
    }
    return sum;
}

// Over all services: three calls of four are billed by lead (draw_call).
static fen_t mean_price(const struct book *book)
{
    fen_t sums[2] = {0};
    int64_t counts[2] = {0};
    for (enum service s = 0; s < SERVICE_COUNT; s++) {
        enum billed_unit unit = service_unit(s);
        const struct service_prices *prices = &book->services[s];
        sums[unit] += unit == UNIT_LEAD ? mean_price_by_lead(prices) : prices->tiers[0].unit_price;
        counts[unit]++;
    }
    assert(counts[UNIT_LEAD] > 0);
    assert(counts[UNIT_CALL] > 0);
    return (3 * (sums[UNIT_LEAD] / counts[UNIT_LEAD]) + sums[UNIT_CALL] / counts[UNIT_CALL]) / 4;
}

// 10 steps are the cost of a day's calls, divided by the number of a day's credits. So accounts
// drift into arrears and out again.
static fen_t choose_top_up_step(const struct workload_options *o)
{
    const fen_t most = AMOUNT_MAX / TOP_UP_STEPS, step = 10000;
    fen_t amount;
    if (o->credits == 0 || !money_times(o->calls, mean_price(o->book), &amount))
        return most;
    amount = amount / (10 * o->credits) / step * step;
    return amount < step ? step : amount > most ? most : amount;
}

static struct made_call draw_call(struct workload *w)
{
    struct made_call call = {.account = draw_account(w), .leads = -1};
    draw_uuid(w, call.id);
    enum billed_unit unit = draw_below(w, 4) == 0 ? UNIT_CALL : UNIT_LEAD;
    call.service = draw_service(w, unit);
    if (unit == UNIT_LEAD)
        call.leads = draw_leads(w, call.service);
    int64_t start = calendar_day_start(w->day, w->options.book->offset_ms);
    call.occurred_at = w->timestamp - draw_below(w, DELAY_MS);
    if (call.occurred_at < start)
        call.occurred_at = start;
    return call;
}

// An earlier day's call, within the lateness limit. False where there is no such day.
static bool make_late(struct workload *w, struct made_call *call)
{
    int64_t days = w->day - w->options.first_day;
    if (days > w->options.late_days)
        days = w->options.late_days;
    if (days < 1)
        return false;
    call->occurred_at -= (1 + draw_below(w, days)) * DAY_MS;
    return true;
}

static void remember(struct workload *w, const struct made_call *call)
{
    assert(w->recent_count <= RECENT_MAX);
    size_t i = w->recent_count < RECENT_MAX ? w->recent_count++ : (size_t)draw_below(w, RECENT_MAX);
    w->recent[i] = *call;
}

static void next_valid_call(struct workload *w, bool late, struct workload_message *out)
{
    struct made_call call = draw_call(w);
    if (late && make_late(w, &call))
        w->tally.late++;
    w->tally.calls[call.service]++;
    w->tally.units[call.service] += service_unit(call.service) == UNIT_LEAD ? call.leads : 1;
    remember(w, &call);
    send_call(w, &call, out);
}

// ---- calls that must be rejected ----

static enum reject_reason break_bytes(struct workload *w, struct workload_message *out)
{
    struct made_call call = draw_call(w);
    send_call(w, &call, out);
    if (draw_below(w, 4) == 0) {
        out->value = (struct slice){0};
    } else {
        size_t head = framing_size(w->options.framing[INPUT_CALLS].framing);
        out->value.size = head + (size_t)draw_below(w, (int64_t)(out->value.size - head));
    }
    return REJECT_UNDECODABLE;
}

static enum reject_reason break_route(struct workload *w, struct workload_message *out)
{
    struct made_call call = draw_call(w);
    send_call(w, &call, out);
    if (w->options.partitions > 1 && draw_below(w, 2) == 0)
        out->partition = (out->partition + 1) % w->options.partitions;
    else
        out->key = (struct slice){"nobody", 6};
    return REJECT_MISROUTED;
}

static enum reject_reason break_leads(struct workload *w, struct workload_message *out)
{
    struct made_call call = draw_call(w);
    call.service = draw_service(w, UNIT_LEAD);
    call.leads = -1;
    send_call(w, &call, out);
    return REJECT_INVALID;
}

static enum reject_reason break_future(struct workload *w, struct workload_message *out)
{
    struct made_call call = draw_call(w);
    call.occurred_at = w->timestamp + w->options.future_tolerance_ms + 1 + draw_below(w, DAY_MS);
    send_call(w, &call, out);
    return REJECT_FROM_FUTURE;
}

// The day before the record's day may still be open, so it is one day more than the limit.
static enum reject_reason break_past(struct workload *w, struct workload_message *out)
{
    struct made_call call = draw_call(w);
    call.occurred_at -= (w->options.late_days + INT64_C(2)) * DAY_MS;
    send_call(w, &call, out);
    return REJECT_TOO_LATE;
}

static enum reject_reason break_content(struct workload *w, struct workload_message *out)
{
    if (w->recent_count == 0)
        return break_leads(w, out);
    struct made_call call = w->recent[draw_below(w, (int64_t)w->recent_count)];
    call.occurred_at++;
    send_call(w, &call, out);
    return REJECT_CONFLICT;
}

static void next_broken_call(struct workload *w, struct workload_message *out)
{
    static enum reject_reason (*const ways[])(struct workload *, struct workload_message *) = {
        break_bytes, break_route, break_leads, break_future, break_past, break_content};
    enum reject_reason reason = ways[draw_below(w, sizeof ways / sizeof *ways)](w, out);
    assert(reason > REJECT_NONE);
    w->tally.rejected[reason]++;
}

static void next_duplicate(struct workload *w, struct workload_message *out)
{
    send_call(w, &w->recent[draw_below(w, (int64_t)w->recent_count)], out);
    w->tally.duplicates++;
}

static void next_call(struct workload *w, struct workload_message *out)
{
    int64_t share = draw_below(w, PPM);
    int64_t duplicates = w->options.duplicates_ppm, broken = duplicates + w->options.broken_ppm;
    if (share < duplicates && w->recent_count > 0)
        next_duplicate(w, out);
    else if (share >= duplicates && share < broken)
        next_broken_call(w, out);
    else
        next_valid_call(w, share >= broken && share < broken + w->options.late_ppm, out);
}

// ---- purchases and credits ----

static int64_t offers_of(const struct service_prices *prices)
{
    return (int64_t)prices->offer_count + (prices->custom.step > 0);
}

enum { CUSTOM_SIZES = 10 };

// The largest of the custom sizes that are drawn, as far as a record may hold them.
static int64_t largest_custom(const struct custom_offer *custom)
{
    int64_t sizes = CUSTOM_SIZES - 1, steps = custom->minimum / custom->step;
    while (sizes > 0 && (custom->minimum + sizes * custom->step > UNITS_OF_RECORD_MAX ||
                         (steps + sizes) * custom->price_per_step > AMOUNT_MAX))
        sizes--;
    return custom->minimum + sizes * custom->step;
}

static void draw_offer(struct workload *w, struct purchase_record *record)
{
    const struct book *book = w->options.book;
    record->service = (enum service)draw_below(w, SERVICE_COUNT);
    for (int i = 1; i < SERVICE_COUNT && offers_of(&book->services[record->service]) == 0; i++)
        record->service = (enum service)((record->service + 1) % SERVICE_COUNT);
    const struct service_prices *prices = &book->services[record->service];
    int64_t i = draw_below(w, offers_of(prices));
    record->units =
        i < (int64_t)prices->offer_count
            ? prices->offers[i].units
            : prices->custom.minimum + prices->custom.step * draw_below(w, CUSTOM_SIZES);
    if (i == (int64_t)prices->offer_count && record->units > largest_custom(&prices->custom))
        record->units = largest_custom(&prices->custom);
    bool for_sale = rate_offer_price(book, record->service, record->units, &record->amount);
    assert(for_sale);
    (void)for_sale;
    if (draw_below(w, 10) == 0)
        record->used = record->units / (2 + draw_below(w, 8));
}

static void next_purchase(struct workload *w, struct workload_message *out)
{
    char id[UUID_SIZE];
    const struct party *account = draw_account(w);
    draw_uuid(w, id);
    struct purchase_record record = {
        .purchase_id = {id, UUID_SIZE},
        .account_id = id_slice(account),
        .currency = w->options.book->currency,
        .purchased_at = w->timestamp,
    };
    draw_offer(w, &record);
    w->tally.purchases[record.service]++;
    w->tally.purchased_units[record.service] += record.units;
    w->tally.purchased_amount[record.service] += record.amount;
    address(w, INPUT_PURCHASES, account, out);
    set_value(
        w, encode_purchase(&record, w->options.framing[INPUT_PURCHASES], w->value, sizeof w->value),
        out);
}

static void next_credit(struct workload *w, struct workload_message *out)
{
    static const char reason[] = "generated correction";
    char id[UUID_SIZE];
    const struct party *account = draw_account(w);
    draw_uuid(w, id);
    struct credit_record record = {
        .credit_id = {id, UUID_SIZE},
        .account_id = id_slice(account),
        .kind = draw_below(w, 10) == 0 ? CREDIT_ADJUSTMENT : CREDIT_TOP_UP,
        .currency = w->options.book->currency,
        .credited_at = w->timestamp,
    };
    if (record.kind == CREDIT_TOP_UP) {
        record.amount = (1 + draw_below(w, TOP_UP_STEPS)) * w->top_up_step;
    } else {
        // 1 to 1,000 yuan
        record.amount = (1 + draw_below(w, 1000)) * (draw_below(w, 2) ? 100 : -100);
        record.reason = (struct slice){reason, sizeof reason - 1};
    }
    assert(record.amount != 0);
    assert(record.amount <= AMOUNT_MAX);
    w->tally.credits[record.kind]++;
    w->tally.credited_amount[record.kind] += record.amount;
    address(w, INPUT_CREDITS, account, out);
    set_value(w,
              encode_credit(&record, w->options.framing[INPUT_CREDITS], w->value, sizeof w->value),
              out);
}

// ---- the stream ----

static void begin_day(struct workload *w)
{
    w->left[INPUT_CALLS] = w->options.calls;
    w->left[INPUT_PURCHASES] = w->options.purchases;
    w->left[INPUT_CREDITS] = w->options.credits;
    w->slots = w->options.calls + w->options.purchases + w->options.credits;
    w->slot = 0;
    w->recent_count = 0; // a duplicate of an earlier day's call might be too late
}

// Each record has a slice of the day, and a random place in it.
static void set_time(struct workload *w, int64_t now_ms)
{
    int32_t offset_ms = w->options.book->offset_ms;
    int64_t before = w->timestamp;
    if (w->options.from_day == DAY_NONE) {
        if (now_ms > w->timestamp)
            w->timestamp = now_ms;
    } else {
        int64_t from = w->slot * DAY_MS / w->slots, to = (w->slot + 1) * DAY_MS / w->slots;
        w->timestamp = calendar_day_start(w->options.from_day + w->day_index, offset_ms) + from +
                       (to > from ? draw_below(w, to - from) : 0);
    }
    w->day = calendar_day(w->timestamp, offset_ms);
    if (w->slot > 0)
        assert(w->timestamp >= before);
}

// The day has as many places left as there are records left of all inputs.
static void check_day(const struct workload *w)
{
    int64_t left = 0;
    for (int i = 0; i < INPUT_COUNT; i++) {
        assert(w->left[i] >= 0);
        left += w->left[i];
    }
    assert(left == w->slots - w->slot);
}

bool workload_next(struct workload *w, int64_t now_ms, struct workload_message *out)
{
    if (w->slot == w->slots && ++w->day_index < w->options.days)
        begin_day(w);
    if (w->day_index >= w->options.days) {
        w->day_index = w->options.days; // stay at the end
        return false;
    }
    set_time(w, now_ms);
    int64_t pick = draw_below(w, w->slots - w->slot++);
    enum input input = INPUT_CALLS;
    while (pick >= w->left[input])
        pick -= w->left[input++];
    w->left[input]--;
    w->tally.records[input]++;
    check_day(w);
    if (input == INPUT_CALLS)
        next_call(w, out);
    else if (input == INPUT_PURCHASES)
        next_purchase(w, out);
    else
        next_credit(w, out);
    return true;
}

int64_t workload_total(const struct workload *w)
{
    return w->options.days * (w->options.calls + w->options.purchases + w->options.credits);
}

const struct workload_tally *workload_tally(const struct workload *w)
{
    return &w->tally;
}

// ---- making one ----

static int check_bound(const char *name, int64_t value, int64_t min, int64_t max, struct error *e)
{
    if (value >= min && value <= max)
        return 0;
    return error_set(e, ERROR_USAGE, "%s: %" PRId64 " is not within %" PRId64 " to %" PRId64, name,
                     value, min, max);
}

static int check_days(const struct workload_options *o, struct error *e)
{
    char from[DAY_TEXT_SIZE], bound[DAY_TEXT_SIZE];
    if (o->from_day == DAY_NONE)
        return 0;
    if (o->from_day < o->first_day)
        return error_set(
            e, ERROR_USAGE,
            "from-day %s lies before billing.first_day %s: every call would be too late",
            calendar_format_day(o->from_day, from), calendar_format_day(o->first_day, bound));
    if (o->purchases > 0 && o->book->effective_from > o->from_day)
        return error_set(e, ERROR_USAGE,
                         "from-day %s lies before %s, when the configured price book begins",
                         calendar_format_day(o->from_day, from),
                         calendar_format_day(o->book->effective_from, bound));
    return 0;
}

static fen_t dearest_offer(const struct book *book)
{
    fen_t dearest = 0, price = 0;
    for (enum service s = 0; s < SERVICE_COUNT; s++) {
        const struct service_prices *prices = &book->services[s];
        for (size_t i = 0; i < prices->offer_count; i++)
            if (prices->offers[i].price > dearest)
                dearest = prices->offers[i].price;
        if (prices->custom.step > 0 &&
            rate_offer_price(book, s, largest_custom(&prices->custom), &price) && price > dearest)
            dearest = price;
    }
    return dearest;
}

// What is told of the whole workload are sums in 64 bits.
static int check_total(const char *what, int64_t a_day, int32_t days, int64_t most, struct error *e)
{
    __extension__ typedef __int128 wide;
    if ((wide)a_day * days * most <= INT64_MAX)
        return 0;
    return error_set(e, ERROR_USAGE,
                     "%s: %" PRId64 " a day for %" PRId32 " days of up to %" PRId64
                     " each add up to more than 64 bits; ask for fewer",
                     what, a_day, days, most);
}

int workload_check(const struct workload_options *o, struct error *e)
{
    if (check_bound("accounts", o->accounts, 1, WORKLOAD_ACCOUNTS_MAX, e) != 0 ||
        check_bound("days", o->days, 1, WORKLOAD_DAYS_MAX, e) != 0 ||
        check_bound("calls a day", o->calls, 0, WORKLOAD_RECORDS_MAX, e) != 0 ||
        check_bound("purchases a day", o->purchases, 0, WORKLOAD_RECORDS_MAX, e) != 0 ||
        check_bound("credits a day", o->credits, 0, WORKLOAD_RECORDS_MAX, e) != 0 ||
        check_bound("records a day", o->calls + o->purchases + o->credits, 1,
                    3 * WORKLOAD_RECORDS_MAX, e) != 0 ||
        check_bound("shares together (millionths)",
                    (int64_t)o->duplicates_ppm + o->late_ppm + o->broken_ppm, 0, PPM, e) != 0)
        return -1;
    int64_t offers = 0;
    for (int s = 0; s < SERVICE_COUNT; s++)
        offers += offers_of(&o->book->services[s]);
    if (o->purchases > 0 && offers == 0)
        return error_set(e, ERROR_USAGE, "purchases: price book %s offers no packages",
                         o->book->name);
    if (check_total("units of calls", o->calls, o->days, UNITS_OF_RECORD_MAX, e) != 0 ||
        check_total("amounts of purchases", o->purchases, o->days, dearest_offer(o->book), e) !=
            0 ||
        check_total("amounts of credits", o->credits, o->days, TOP_UP_STEPS * choose_top_up_step(o),
                    e) != 0)
        return -1;
    return check_days(o, e);
}

int workload_create(const struct workload_options *options, struct workload **out, struct error *e)
{
    assert(options->partitions > 0);
    if (workload_check(options, e) != 0)
        return -1;
    struct workload *w = calloc(1, sizeof *w);
    if (w)
        w->accounts = calloc((size_t)options->accounts, sizeof *w->accounts);
    if (!w || !w->accounts) {
        workload_destroy(w);
        return error_set(e, ERROR_RESTART, "no memory for %" PRId32 " accounts", options->accounts);
    }
    w->options = *options;
    w->random = options->seed;
    w->top_up_step = choose_top_up_step(options);
    for (int32_t i = 0; i < options->accounts; i++) {
        struct party *account = &w->accounts[i];
        int size = snprintf(account->id, sizeof account->id, "acct-%07" PRId32, i + 1);
        account->partition =
            partition_of(options->partitioner, account->id, (size_t)size, options->partitions);
    }
    begin_day(w);
    *out = w;
    return 0;
}

void workload_destroy(struct workload *w)
{
    if (!w)
        return;
    free(w->accounts);
    free(w);
}
