// The calls behind the lines of a settlement.
#include "consumer/answers/explaining.h"
#include "consumer/answers/tell.h"
#include "consumer/api/api_read.h"
#include "consumer/api/api_rows.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

// What is told of the settlement beside its calls; of the first column it is known how many they
// are.
static const char settlement_query[] =
    "select s.calls, s.settlement_id, s.account_id, s.business_day, $2 as currency,"
    " json_build_object('shard', s.shard) as as_of, d.closed_at from settled.settlements s"
    " join settled.day_closes d on d.shard = s.shard and d.business_day = s.business_day"
    " where s.account_id = $1 and s.business_day = $3";

struct calls_page {
    int64_t line, piece; // behind which it begins
    int64_t limit;
};

static json_t *call_json(const struct explained_line *line, int64_t line_no,
                         const struct explained_call *call, int32_t offset_ms)
{
    const struct recorded_line *l = &line->line;
    char day[DAY_TEXT_SIZE], at[INSTANT_TEXT_SIZE];
    json_t *tier = l->tier_from < 0 ? json_null() : json_integer(l->tier_from);
    return json_pack("{s:I, s:s, s:s, s:s, s:s?, s:o, s:I, s:s, s:s?, s:s, s:I, s:I}", "line_no",
                     (json_int_t)line_no, "usage_day", calendar_format_day(l->usage_day, day),
                     "service", service_symbol(l->service), "charge", charge_symbol(l->charge),
                     "package_id", l->package_id, "tier_from", tier, "unit_price",
                     (json_int_t)l->unit_price, "call_id", call->call_id, "request_id",
                     call->request_id, "occurred_at",
                     calendar_format_instant(call->occurred_at, offset_ms, at), "units",
                     (json_int_t)call->units, "kafka_offset", (json_int_t)call->offset);
}

// *next: the position of the page's last call where others follow; otherwise it stays "".
static json_t *calls_json(const struct explanation *x, const struct calls_page *page,
                          int32_t offset_ms, char next[48])
{
    json_t *items = json_array();
    int64_t last_line = 0, last_piece = 0;
    for (int64_t l = page->line < 1 ? 1 : page->line; l <= (int64_t)x->line_count; l++) {
        const struct explained_line *line = &x->lines[l - 1];
        int64_t first = l == page->line ? page->piece + 1 : 1;
        for (int64_t c = first; c <= (int64_t)line->call_count; c++) {
            if ((int64_t)json_array_size(items) == page->limit) {
                snprintf(next, 48, "%" PRId64 "/%" PRId64, last_line, last_piece);
                return items;
            }
            json_array_append_new(items, call_json(line, l, &line->calls[c - 1], offset_ms));
            last_line = l;
            last_piece = c;
        }
    }
    return items;
}

static int refuse_calls(struct api_call *call, enum explaining_result result, struct error *e)
{
    struct error why = *e;
    switch (result) {
    case EXPLAINING_READS:
        return api_refuse(call, API_UNAVAILABLE, e,
                          "the calls are being read from Kafka: ask again in a few seconds");
    case EXPLAINING_BUSY:
        return api_refuse(call, API_UNAVAILABLE, e,
                          "the calls of another settlement are being read from Kafka: ask again in "
                          "a few seconds");
    case EXPLAINING_EXPIRED:
        return api_refuse(call, API_GONE, e,
                          "%s. What each line was for is recorded with the settlement", why.text);
    default:
        return -1;
    }
}

static int put_calls(struct api_call *call, json_t *body, const struct calls_page *page,
                     struct error *e)
{
    const struct explanation *explanation;
    char next[48] = "";
    day_t day;
    bool parsed = calendar_parse_day(call->item, &day);
    assert(parsed); // the settlement was found
    enum explaining_result result =
        explaining_take(call->now->explaining, call->account, day, &explanation, e);
    if (result != EXPLAINING_DONE) {
        json_decref(body);
        return refuse_calls(call, result, e);
    }
    json_object_set_new(body, "items", calls_json(explanation, page, call->fixed->offset_ms, next));
    explaining_release(call->now->explaining);
    if (api_put_next(call, body, next[0] ? next : NULL, e)) {
        json_decref(body);
        return -1;
    }
    return api_put_settled_json(call, body, e);
}

static int answer_calls(struct api_call *call, const PGresult *rows, const struct calls_page *page,
                        struct error *e)
{
    if (PQntuples(rows) == 0)
        return tell_no_settlement(call, e);
    if (get_int8(rows, 0, 0) > EXPLAINING_CALLS_MAX)
        return api_refuse(call, API_TOO_LARGE, e,
                          "the settlement has %" PRId64
                          " calls, and those of up to %d are told here: 'settled explain -c FILE "
                          "ACCOUNT %s' prints them",
                          get_int8(rows, 0, 0), EXPLAINING_CALLS_MAX, call->item);
    json_t *body = api_row_json(rows, 0, 1, call->fixed->offset_ms);
    tell_closed_at(body);
    return put_calls(call, body, page, e);
}

int tell_calls(struct api_call *call, struct error *e)
{
    PGresult *rows;
    struct calls_page page;
    day_t day;
    if (tell_day_of_path(call, &day, e) || api_limit(call, &page.limit, e) ||
        api_after_numbers(call, &page.line, &page.piece, e))
        return -1;
    const struct api_query query = {
        settlement_query,
        SQL_PARAMS(sql_text(call->account), sql_text(call->fixed->currency), sql_day(day))};
    if (api_read(call, &query, 1, &rows, e))
        return -1;
    int failed = answer_calls(call, rows, &page, e);
    PQclear(rows);
    return failed;
}
