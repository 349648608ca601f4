#include "consumer/answers/look.h"

#include "consumer/api/api_shards.h"
#include "consumer/daemon/live.h"
#include "consumer/http/http_client.h"
#include "consumer/system/clock.h"

#include <stdlib.h>
#include <string.h>

enum {
    LOOK_MS = 500, // longer only while a large day is settled
    LOOKS_MAX = 3, // before only what is recorded is told
    ASK_MS = 2000, // another process, which may look for as long
};

int look_take(const struct api_call *call, struct account_look *out, struct error *e)
{
    const struct api_now *now = call->now;
    *out = (struct account_look){.at_ms = now->clock_ms(now->clock_context)};
    const struct live_question question = {.shard = call->shard,
                                           .account_id = slice_text(call->account),
                                           .now_ms = out->at_ms,
                                           .until_ms = clock_monotonic_ms() + LOOK_MS};
    struct live_taken taken;
    if (live_take(now->live, &question, &taken) != LIVE_TAKEN)
        return 0;
    out->preview = taken.preview;
    out->phase = taken.phase;
    out->epoch = taken.epoch;
    int failed = preview_settle(out->preview, e);
    if (failed)
        look_end(out);
    return failed;
}

// True: its answer is the answer of the call.
static bool ask_at(struct api_call *call, const char *address)
{
    struct http_reply reply;
    struct error e;
    const struct http_question question = {.address = address,
                                           .target = call->request->target,
                                           .authorization = call->request->authorization,
                                           .asked_by = call->now->address,
                                           .timeout_ms = ASK_MS};
    if (http_client_get(call->client, &question, &reply, &e))
        return false;
    // What it refuses, it is not asked for: this process has looked at the request itself.
    if (reply.status != 200 || !reply.body) {
        free(reply.body);
        return false;
    }
    call->out->content_type = "application/json";
    call->out->body = reply.body;
    call->out->size = reply.size;
    return true;
}

// False: the owner answers nothing, or it is this process.
static bool find_owner(struct api_call *call, bool again, struct api_shard *out)
{
    struct error e;
    return api_shards_find(call->shards, call->store, call->shard, again, out, &e) == 0 &&
           out->address[0] && strcmp(out->address, call->now->address) != 0;
}

bool look_ask_owner(struct api_call *call)
{
    struct api_shard owner, later;
    if (call->request->asked_by || !find_owner(call, false, &owner))
        return false;
    if (ask_at(call, owner.address))
        return true;
    // Whoever had the shard a moment ago may be gone.
    return find_owner(call, true, &later) && strcmp(later.address, owner.address) != 0 &&
           ask_at(call, later.address);
}

void look_end(struct account_look *look)
{
    preview_destroy(look->preview);
    look->preview = NULL;
}

bool look_knows(const struct account_look *look)
{
    return look->preview && preview_result(look->preview)->known;
}

int64_t look_held(const struct account_look *look, enum service service, int64_t at_ms)
{
    const struct preview_result *result = preview_result(look->preview);
    int64_t units = 0;
    for (size_t i = 0; i < result->package_count; i++) {
        const struct package *package = &result->packages[i].package;
        if (package->service == service && package->valid_from <= at_ms &&
            at_ms < package->valid_until)
            units += result->packages[i].remaining_now;
    }
    return units;
}

// Whether what was read of PostgreSQL is of the same open day: between the two a day may have been
// settled.
static bool fits(const struct account_look *look, const struct api_call *call)
{
    char day[DAY_TEXT_SIZE];
    const char *open = json_string_value(json_object_get(call->as_of, "open_day"));
    if (!look->preview)
        return true;
    calendar_format_day(preview_result(look->preview)->day, day);
    return !open || strcmp(open, day) == 0;
}

// ---- instead of what is recorded ----

// As look_put takes it: what is set here as null or empty becomes what is so now.
static json_t *standing_json(const struct api_call *call)
{
    return json_pack("{s:s, s:s, s:n, s:n, s:n, s:n, s:b, s:[], s:[], s:b}", "account_id",
                     call->account, "currency", call->fixed->currency, "balance", "status",
                     "status_since", "account_sequence", "provisional", 0, "days", "packages",
                     "packages_complete", 1);
}

static json_t *day_or_null(day_t day)
{
    char text[DAY_TEXT_SIZE];
    return day == DAY_NONE ? json_null() : json_string(calendar_format_day(day, text));
}

// Whether what the shard has in memory and its row, as it was recorded, are of the same open day
// and owner.
static bool stands_at(const struct account_look *look, const struct api_shard *shard)
{
    return shard->epoch == look->epoch && shard->open_day == preview_result(look->preview)->day;
}

// The answer about an account that needs nothing of what is recorded of it: all of it is in the
// memory of its shard, which is where the shard's row says it is. *body is NULL where that is not
// so; otherwise look_put makes the rest of it, and as_of and final_through are set.
static int stand(struct api_call *call, const struct account_look *look, json_t **body,
                 struct error *e)
{
    struct api_shard shard;
    const struct preview_result *result = look_knows(look) ? preview_result(look->preview) : NULL;
    *body = NULL;
    // A day that is settled here and not committed yet is told of as it is recorded.
    if (!result || !result->whole || result->settling || result->package_count > LOOK_PACKAGES_MAX)
        return 0;
    if (api_shards_find(call->shards, call->store, call->shard, false, &shard, e))
        return -1;
    if (!stands_at(look, &shard) &&
        api_shards_find(call->shards, call->store, call->shard, true, &shard, e))
        return -1;
    if (!stands_at(look, &shard))
        return 0;
    call->as_of =
        json_pack("{s:n, s:i, s:o, s:n, s:s}", "time", "shard", (int)call->shard, "open_day",
                  day_or_null(shard.open_day), "offsets", "price_book", shard.price_book);
    call->final_through = day_or_null(shard.final_through);
    *body = standing_json(call);
    return *body && call->as_of ? 0 : error_set(e, ERROR_UNAVAILABLE, "memory is short");
}

// ---- beside what is recorded ----

void look_reading_end(struct look_reading *reading)
{
    json_decref(reading->body);
    reading->body = NULL;
    for (int i = 0; i < reading->count; i++)
        PQclear(reading->results[i]);
    look_end(&reading->look);
}

// *again: the shard and what is recorded are of different days; nothing is kept of either.
static int read_beside(struct api_call *call, struct look_reading *reading, bool last, bool *again,
                       struct error *e)
{
    call->known = look_knows(&reading->look);
    if (api_read(call, reading->queries, reading->count, reading->results, e)) {
        look_end(&reading->look);
        return -1;
    }
    *again = !last && !fits(&reading->look, call);
    if (!*again)
        return 0;
    api_forget(call);
    look_reading_end(reading);
    return 0;
}

int look_read(struct api_call *call, struct look_reading *reading, struct error *e)
{
    bool again = true;
    reading->answered = false;
    reading->body = NULL;
    memset(reading->results, 0, sizeof reading->results);
    // A day that is settled in the shard and being committed is told of as it is recorded.
    for (int round = 0; again; round++) {
        bool last = round == LOOKS_MAX;
        reading->look.preview = NULL;
        if (!last && look_take(call, &reading->look, e))
            return -1;
        if (round == 0 && !reading->look.preview && look_ask_owner(call)) {
            reading->answered = true;
            return 0;
        }
        if (reading->may_stand && stand(call, &reading->look, &reading->body, e)) {
            look_end(&reading->look);
            return -1;
        }
        if (reading->body)
            return 0;
        if (read_beside(call, reading, last, &again, e))
            return -1;
    }
    return 0;
}

// ---- JSON ----

static const char *phase_symbol(enum day_phase phase)
{
    static const char *const symbols[] = {
        [DAY_OPEN] = "OPEN", [DAY_GRACE] = "GRACE", [DAY_HELD] = "HELD", [DAY_CLOSING] = "CLOSING"};
    return symbols[phase];
}

static json_t *services_json(const struct preview_day *day)
{
    json_t *services = json_array();
    for (enum service s = 0; s < SERVICE_COUNT; s++) {
        const struct preview_use *use = &day->services[s];
        if (use->calls > 0)
            json_array_append_new(
                services, json_pack("{s:s, s:I, s:I, s:I}", "service", service_symbol(s), "calls",
                                    (json_int_t)use->calls, "units", (json_int_t)use->units,
                                    "amount", (json_int_t)use->amount));
    }
    return services;
}

static json_t *day_json(const struct preview_day *day, enum day_phase phase)
{
    char text[DAY_TEXT_SIZE];
    return json_pack("{s:s, s:s, s:b, s:I, s:o, s:I, s:I, s:s}", "business_day",
                     calendar_format_day(day->day, text), "phase", phase_symbol(phase),
                     "provisional", 1, "calls", (json_int_t)day->calls, "services",
                     services_json(day), "amount", (json_int_t)day->amount, "balance_after",
                     (json_int_t)day->balance_after, "status_after",
                     account_state_symbol(day->state_after));
}

static json_t *days_json(const struct account_look *look)
{
    const struct preview_result *result = preview_result(look->preview);
    json_t *days = json_array();
    // Only the oldest one is on its way to its close.
    for (size_t i = 0; i < result->day_count; i++)
        json_array_append_new(days, day_json(&result->days[i], i == 0 ? look->phase : DAY_OPEN));
    return days;
}

static json_t *instant_json(int64_t ms, int32_t offset_ms)
{
    char text[INSTANT_TEXT_SIZE];
    return json_string(calendar_format_instant(ms, offset_ms, text));
}

static void put_account(const struct preview_result *result, const struct api_call *call,
                        json_t *body)
{
    const struct account *account = &result->account;
    json_t *sequence = json_object_get(body, "account_sequence");
    // Where the shard is ahead of what is recorded, it has the last change of status.
    if (json_integer_value(sequence) != account->account_sequence)
        json_object_set_new(body, "status_since",
                            instant_json(result->status_since, call->fixed->offset_ms));
    json_object_set_new(body, "balance", json_integer(account_balance(account)));
    json_object_set_new(body, "status", json_string(account_state_symbol(account->state)));
    json_object_set_new(body, "account_sequence", json_integer(account->account_sequence));
}

// ---- packages ----

static json_t *package_json(const struct preview_package *p, const struct api_call *call)
{
    const struct package *package = &p->package;
    int32_t offset_ms = call->fixed->offset_ms;
    return json_pack(
        "{s:s%, s:s, s:I, s:I, s:I, s:I, s:o, s:o, s:I, s:s, s:I}", "package_id", package->id.data,
        package->id.size, "service", service_symbol(package->service), "units",
        (json_int_t)package->units, "used", (json_int_t)package->used, "remaining",
        (json_int_t)package->remaining, "remaining_now", (json_int_t)p->remaining_now, "valid_from",
        instant_json(package->valid_from, offset_ms), "valid_until",
        instant_json(package->valid_until, offset_ms), "amount", (json_int_t)package->amount,
        "currency", call->fixed->currency, "kafka_offset", (json_int_t)package->offset);
}

static json_t *recorded_package(json_t *packages, int64_t offset)
{
    size_t i;
    json_t *package;
    json_array_foreach(packages, i, package)
    {
        if (json_integer_value(json_object_get(package, "kafka_offset")) == offset)
            return package;
    }
    return NULL;
}

static bool stands_before(const json_t *a, const json_t *b)
{
    // Instants of one zone are in the order of their texts.
    int order = strcmp(json_string_value(json_object_get(a, "valid_from")),
                       json_string_value(json_object_get(b, "valid_from")));
    return order ? order < 0
                 : json_integer_value(json_object_get(a, "kafka_offset")) <
                       json_integer_value(json_object_get(b, "kafka_offset"));
}

// In the order of purchases, as those that are recorded are.
static void add_package(json_t *packages, json_t *package)
{
    size_t at = json_array_size(packages);
    while (at > 0 && stands_before(package, json_array_get(packages, at - 1)))
        at--;
    json_array_insert_new(packages, at, package);
}

// Those that nothing can be drawn from any more stay as they are recorded.
static void put_packages(const struct preview_result *result, const struct api_call *call,
                         json_t *packages)
{
    size_t i;
    json_t *package;
    json_array_foreach(packages, i, package)
    {
        json_object_set(package, "remaining_now", json_object_get(package, "remaining"));
    }
    for (size_t k = 0; k < result->package_count; k++) {
        const struct preview_package *p = &result->packages[k];
        package = recorded_package(packages, p->package.offset);
        if (!package) {
            // It was bought just now and is not committed yet, or nothing recorded was read.
            add_package(packages, package_json(p, call));
            continue;
        }
        json_object_set_new(package, "remaining", json_integer(p->package.remaining));
        json_object_set_new(package, "remaining_now", json_integer(p->remaining_now));
    }
}

void look_put_place(const struct account_look *look, const struct api_call *call)
{
    const struct preview_result *result = preview_result(look->preview);
    json_t *offsets = json_object();
    for (int i = 0; i < INPUT_COUNT; i++)
        json_object_set_new(offsets, call->fixed->topics[i], json_integer(result->next[i]));
    json_object_set_new(call->as_of, "time", instant_json(look->at_ms, call->fixed->offset_ms));
    json_object_set_new(call->as_of, "offsets", offsets);
}

int look_put(const struct account_look *look, const struct api_call *call, json_t *body,
             struct error *e)
{
    const struct preview_result *result = preview_result(look->preview);
    look_put_place(look, call);
    put_account(result, call, body);
    put_packages(result, call, json_object_get(body, "packages"));
    json_object_set_new(body, "provisional", json_true());
    // Of all that is set here, the days are made last.
    return json_object_set_new(body, "days", days_json(look))
               ? error_set(e, ERROR_UNAVAILABLE, "memory is short")
               : 0;
}
