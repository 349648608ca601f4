// What operators look at: shards, closed days, decisions, rejects, the deployment; and who looks.
#include "consumer/answers/tell.h"
#include "consumer/api/api_read.h"
#include "consumer/api/api_rows.h"
#include "consumer/base/format.h"
#include "consumer/decisions/reject_view.h"
#include "consumer/http/http_target.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- the deployment ----

int tell_access(struct api_call *call, struct error *e)
{
    const struct http_scope *scope = &call->scope;
    return api_put_json(call,
                        json_pack("{s:s, s:s?}", "scope", scope->reader ? "reader" : "account",
                                  "account_id", scope->reader ? NULL : scope->account),
                        e);
}

// All but the key of identities, which nobody is told.
static const char fixed_query[] =
    "select first_day, timestamps, partitioner, framing, partitions, time_zone, consumer_group,"
    " cluster_id, calls_topic, purchases_topic, credits_topic, recorded_at from settled.deployment";

static const char parameters_query[] =
    "select from_day, grace_ms, late_days, future_tolerance_ms, credit_days, max_reject_share_ppm,"
    " max_refused_share_ppm, to_json(package_left) as package_left,"
    " to_json(expiring_days) as expiring_days, to_json(balance_below) as balance_below,"
    " book_sha256 as price_book, recorded_at, recorded_by"
    " from settled.parameters order by from_day";

static const char books_query[] = "select sha256, name, effective_from, recorded_at, recorded_by"
                                  " from settled.price_books order by effective_from";

enum { FIXED, PARAMETERS, BOOKS, QUERIES };

int tell_deployment(struct api_call *call, struct error *e)
{
    const struct api_query queries[QUERIES] = {[FIXED] = {.sql = fixed_query},
                                               [PARAMETERS] = {.sql = parameters_query},
                                               [BOOKS] = {.sql = books_query}};
    PGresult *rows[QUERIES];
    int32_t offset = call->fixed->offset_ms;
    if (api_read(call, queries, QUERIES, rows, e))
        return -1;
    json_t *body = json_object();
    json_object_set_new(body, "fixed", api_row_json(rows[FIXED], 0, 0, offset));
    json_object_set_new(body, "parameters",
                        api_rows_json(rows[PARAMETERS], PQntuples(rows[PARAMETERS]), 0, offset));
    json_object_set_new(body, "books",
                        api_rows_json(rows[BOOKS], PQntuples(rows[BOOKS]), 0, offset));
    for (int i = 0; i < QUERIES; i++)
        PQclear(rows[i]);
    api_add_frame(call, body);
    return api_put_json(call, body, e);
}

// ---- shards ----

// A time within JSON, as the other times of an answer are written.
#define TIME_IN_JSON(time, zone)                                                                   \
    "to_char(" time " at time zone " zone ", 'YYYY-MM-DD\"T\"HH24:MI:SS.MS') || $3"

static const char shards_query[] =
    "select s.shard::text as here, s.shard, s.open_day, s.held_since, s.released_at, s.epoch,"
    " s.step, s.sequence, s.relayed, s.claimed_at, s.committed_at,"
    " coalesce((select json_agg(json_build_object('topic', l.topic, 'from_offset', l.from_offset,"
    "   'next_offset', l.next_offset, 'accepted', l.accepted, 'duplicates', l.duplicates,"
    "   'rejected', l.rejected, 'void', l.void, 'undecided', l.undecided) order by l.topic)"
    "   from settled.shard_logs l where l.shard = s.shard), '[]'::json) as logs,"
    " coalesce((select json_agg(json_build_object('topic', h.topic, 'reasons', h.reasons,"
    "   'rejects', h.rejects, 'records', h.records, 'at_offset', h.at_offset, 'held_at',"
    "   " TIME_IN_JSON("h.held_at",
                       "d.time_zone") ") order by h.topic, h.reasons)"
                                      "   from settled.holds h where h.shard = s.shard and "
                                      "h.business_day = s.open_day), '[]'::json)"
                                      "   as holds"
                                      " from settled.shards s, settled.deployment d where s.shard "
                                      "> $1 order by s.shard limit $2";

// "+08:00": what stands behind every time.
static const char *zone_text(int32_t offset_ms, char out[INSTANT_TEXT_SIZE])
{
    static const size_t local = sizeof "1970-01-01T00:00:00.000" - 1;
    calendar_format_instant(0, offset_ms, out);
    return out + local;
}

int tell_shards(struct api_call *call, struct error *e)
{
    char zone[INSTANT_TEXT_SIZE];
    int64_t limit, after;
    if (api_limit(call, &limit, e) ||
        api_number(call, "after", (struct api_range){0, INT32_MAX, -1}, &after, e))
        return -1;
    const struct api_query query = {shards_query,
                                    SQL_PARAMS(sql_int4((int32_t)after), sql_int8(limit + 1),
                                               sql_text(zone_text(call->fixed->offset_ms, zone)))};
    return api_answer_all(call, &query, 1, limit, e);
}

// ---- days ----

// Shard by shard, as the key is; then in the order of days.
static const char days_query[] =
    "select to_char(c.business_day, 'YYYY-MM-DD') || '/' || c.shard as here, c.business_day,"
    " c.shard, c.closed_at, c.late, c.zero_unit_calls, c.settlements, c.amount, $6 as currency,"
    " c.price_book, c.parameters, c.content_digest, c.previous_digest, c.digest, c.sequence,"
    " coalesce((select json_agg(json_build_object('topic', k.topic, 'from_offset', k.from_offset,"
    "   'to_offset', k.to_offset, 'cut_by', k.cut_by, 'accepted', k.accepted,"
    "   'duplicates', k.duplicates, 'rejected', k.rejected, 'void', k.void) order by k.topic)"
    "   from settled.day_cutoffs k where k.shard = c.shard and k.business_day = c.business_day),"
    "   '[]'::json) as cutoffs"
    " from settled.shards s cross join lateral (select * from settled.day_closes c"
    "   where c.shard = s.shard and c.business_day between $1 and $2"
    "    and (c.business_day > $3 or (c.business_day = $3 and c.shard > $4))"
    "   order by c.business_day limit $5) c"
    " order by c.business_day, c.shard limit $5";

int tell_closed_days(struct api_call *call, struct error *e)
{
    int64_t limit, shard;
    day_t after;
    struct api_days days;
    if (api_days(call, &days, e) || api_limit(call, &limit, e) ||
        api_after_day(call, &after, &shard, e))
        return -1;
    const struct api_query query = {days_query,
                                    SQL_PARAMS(sql_day(days.from), sql_day(days.to), sql_day(after),
                                               sql_int4((int32_t)shard), sql_int8(limit + 1),
                                               sql_text(call->fixed->currency))};
    return api_answer_all(call, &query, 2, limit, e);
}

// ---- decisions ----

static const char decisions_query[] =
    "select d.shard || '/' || d.number as here, d.shard, d.number, d.kind, d.operator, d.topic,"
    " d.content, d.business_day, d.as_of as decided_as_of, d.decided_at, d.calls_at,"
    " d.purchases_at, d.credits_at, d.request,"
    " (select count(*) from settled.request_records r where r.request = d.request) as records"
    " from settled.decisions d where (d.shard, d.number) > ($1, $2)"
    " order by d.shard, d.number limit $3";

int tell_decisions(struct api_call *call, struct error *e)
{
    int64_t limit, shard, number;
    if (api_limit(call, &limit, e) || api_after_numbers(call, &shard, &number, e))
        return -1;
    const struct api_query query = {
        decisions_query,
        SQL_PARAMS(sql_int4((int32_t)shard), sql_int8(number), sql_int8(limit + 1))};
    return api_answer_all(call, &query, 2, limit, e);
}

// ---- rejects ----

struct filtered {
    struct reject_filter filter;
    char after_topic[250];
};

static int read_received(const struct api_call *call, struct reject_filter *f, struct error *e)
{
    struct api_days days;
    int32_t offset = call->fixed->offset_ms;
    if (api_days(call, &days, e))
        return -1;
    if (http_parameter(call->request, "from"))
        f->received_from = calendar_day_start(days.from, offset);
    if (http_parameter(call->request, "to"))
        f->received_to = calendar_day_start(days.to + 1, offset);
    return 0;
}

static int read_words(const struct api_call *call, struct reject_filter *f, struct error *e)
{
    const char *topic = http_parameter(call->request, "topic");
    const char *reason = http_parameter(call->request, "reason");
    const char *all = http_parameter(call->request, "all");
    f->by_input = topic != NULL;
    if (topic && !reject_find_input(topic, call->fixed->topics, &f->input))
        return error_set(e, ERROR_USAGE,
                         "parameter topic: '%.100s' is none of calls, purchases, credits, and no "
                         "input topic",
                         topic);
    if (reason && !reject_parse(reason, &f->reason))
        return error_set(e, ERROR_USAGE, "parameter reason: '%.40s' is no reason for a reject",
                         reason);
    if (all && strcmp(all, "true") != 0 && strcmp(all, "false") != 0)
        return error_set(e, ERROR_USAGE, "parameter all: '%.40s' is neither true nor false", all);
    f->open_only = !all || strcmp(all, "false") == 0;
    f->account_id = http_parameter(call->request, "account");
    return 0;
}

// The same choice as that of `settled rejects list`.
static int read_filter(const struct api_call *call, struct reject_filter *f, struct error *e)
{
    int64_t partition;
    *f = (struct reject_filter){.waiting = true};
    if (read_words(call, f, e) || read_received(call, f, e) ||
        api_number(call, "partition", (struct api_range){0, INT32_MAX, -1}, &partition, e))
        return -1;
    f->by_shard = partition >= 0;
    f->shard = f->by_shard ? (int32_t)partition : 0;
    return 0;
}

// "TOPIC/PARTITION/OFFSET"; a topic's name holds no slash.
static int read_after(const struct api_call *call, struct filtered *out, struct error *e)
{
    const char *text = http_parameter(call->request, "after");
    char place[sizeof out->after_topic + NUMBER_SIZE];
    int64_t partition, offset;
    if (!text)
        return 0;
    if (!api_split_position(text, place, sizeof place, &offset) ||
        !api_split_position(place, out->after_topic, sizeof out->after_topic, &partition) ||
        partition > INT32_MAX)
        return api_refuse_after(text, e);
    out->filter.after = (struct reject_place){out->after_topic, (int32_t)partition, offset};
    return 0;
}

struct reject_page {
    json_t *items;
    size_t limit; // the row behind these only says that there are more
    int32_t offset_ms;
    bool more;
    char next[320];
};

static int take_reject(void *context, const struct reject_row *row, struct error *e)
{
    struct reject_page *page = context;
    page->more = json_array_size(page->items) == page->limit;
    if (page->more)
        return 0;
    snprintf(page->next, sizeof page->next, "%s/%" PRId32 "/%" PRId64, row->topic, row->shard,
             row->offset);
    return json_array_append_new(page->items, reject_json(row, page->offset_ms)) == 0
               ? 0
               : error_set(e, ERROR_UNAVAILABLE, "memory is short");
}

static int take_group(void *context, const struct reject_group_row *group, struct error *e)
{
    struct reject_page *page = context;
    return json_array_append_new(page->items, reject_group_json(group, page->offset_ms)) == 0
               ? 0
               : error_set(e, ERROR_UNAVAILABLE, "memory is short");
}

static int put_rejects(struct api_call *call, struct reject_page *page, struct error *e)
{
    json_t *body = json_object();
    api_add_frame(call, body);
    json_object_set_new(body, "items", page->items);
    if (api_put_next(call, body, page->more ? page->next : NULL, e)) {
        json_decref(body);
        return -1;
    }
    return api_put_json(call, body, e);
}

// as_of is read a moment before the rejects, which have a snapshot of their own.
int tell_rejects(struct api_call *call, struct error *e)
{
    int64_t limit;
    struct filtered asked = {0};
    if (api_limit(call, &limit, e) || read_filter(call, &asked.filter, e) ||
        read_after(call, &asked, e) || api_read(call, NULL, 0, NULL, e))
        return -1;
    asked.filter.limit = (size_t)limit + 1;
    struct reject_page page = {
        .items = json_array(), .limit = (size_t)limit, .offset_ms = call->fixed->offset_ms};
    if (api_stored(store_list_rejects(call->store, &asked.filter, take_reject, &page, e))) {
        json_decref(page.items);
        return -1;
    }
    return put_rejects(call, &page, e);
}

// The largest groups; there is no next page.
int tell_reject_groups(struct api_call *call, struct error *e)
{
    int64_t limit;
    struct reject_filter filter;
    const char *by = http_parameter(call->request, "by");
    if (api_limit(call, &limit, e) || read_filter(call, &filter, e))
        return -1;
    if (!by || (strcmp(by, "reason") != 0 && strcmp(by, "schema") != 0 &&
                strcmp(by, "account") != 0 && strcmp(by, "topic") != 0))
        return error_set(e, ERROR_USAGE,
                         "parameter by: say by what to count: reason, schema, account or topic");
    if (api_read(call, NULL, 0, NULL, e))
        return -1;
    filter.limit = (size_t)limit;
    struct reject_page page = {.items = json_array(), .offset_ms = call->fixed->offset_ms};
    if (api_stored(store_group_rejects(call->store, &filter, by, take_group, &page, e))) {
        json_decref(page.items);
        return -1;
    }
    return put_rejects(call, &page, e);
}
