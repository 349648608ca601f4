// Settlements with their lines.
#include "consumer/answers/tell.h"
#include "consumer/api/api_read.h"
#include "consumer/api/api_rows.h"

// As the record `Settlement` has them.
#define SETTLEMENT_COLUMNS                                                                         \
    "s.settlement_id, s.account_id, s.business_day, $2 as currency, s.calls,"                      \
    " s.calls_while_suspended, s.amount, s.opening_balance, s.credits, s.adjustments,"             \
    " s.closing_balance, s.status, d.price_book, s.shard, s.sequence,"                             \
    " coalesce((select json_agg(json_build_object('usage_day', l.usage_day, 'service', l.service," \
    "   'charge', l.charge, 'package_id', l.package_id, 'tier_from', l.tier_from,"                 \
    "   'calls', l.calls, 'units', l.units, 'unit_price', l.unit_price, 'amount', l.amount,"       \
    "   'package_units', l.package_units, 'package_amount', l.package_amount)"                     \
    "   order by l.line_no) from settled.settlement_lines l"                                       \
    "   where l.account_id = s.account_id and l.business_day = s.business_day), '[]'::json)"       \
    " as lines"
#define SETTLEMENTS_OF_ACCOUNT                                                                     \
    " from settled.settlements s"                                                                  \
    " join settled.day_closes d on d.shard = s.shard and d.business_day = s.business_day"          \
    " where s.account_id = $1"

static const char settlements_query[] =
    "select to_char(s.business_day, 'YYYY-MM-DD') as here, " SETTLEMENT_COLUMNS
        SETTLEMENTS_OF_ACCOUNT
    " and s.business_day between $3 and $4 order by s.business_day limit $5";

int tell_by_day(struct api_call *call, const char *sql, struct error *e)
{
    int64_t limit;
    day_t after;
    struct api_days days;
    if (api_days(call, &days, e) || api_limit(call, &limit, e) ||
        api_day(call, "after", DAY_NONE, &after, e))
        return -1;
    if (after != DAY_NONE && after >= days.from)
        days.from = after + 1;
    const struct api_query query = {
        sql, SQL_PARAMS(sql_text(call->account), sql_text(call->fixed->currency),
                        sql_day(days.from), sql_day(days.to), sql_int8(limit + 1))};
    return api_answer_list(call, &query, limit, e);
}

int tell_settlements(struct api_call *call, struct error *e)
{
    return tell_by_day(call, settlements_query, e);
}

static const char settlement_query[] =
    "select " SETTLEMENT_COLUMNS
    ", json_build_object('shard', s.shard) as as_of, d.closed_at" SETTLEMENTS_OF_ACCOUNT
    " and s.business_day = $3";

int tell_no_settlement(struct api_call *call, struct error *e)
{
    return api_refuse(call, API_NOT_FOUND, e,
                      "the account has no settlement of %s: the day is not closed on its shard "
                      "(as_of of the account says which day is open), or nothing was billed",
                      call->item);
}

void tell_closed_at(json_t *body)
{
    json_object_set(json_object_get(body, "as_of"), "time", json_object_get(body, "closed_at"));
    json_object_del(body, "closed_at");
}

int tell_day_of_path(const struct api_call *call, day_t *out, struct error *e)
{
    if (calendar_parse_day(call->item, out))
        return 0;
    return error_set(e, ERROR_USAGE,
                     "the day in the path, '%.40s', is not a date; write it as 2026-11-01",
                     call->item);
}

static int put_settlement(struct api_call *call, const PGresult *rows, struct error *e)
{
    if (PQntuples(rows) == 0)
        return tell_no_settlement(call, e);
    json_t *body = api_row_json(rows, 0, 0, call->fixed->offset_ms);
    tell_closed_at(body);
    return api_put_settled_json(call, body, e);
}

int tell_settlement(struct api_call *call, struct error *e)
{
    PGresult *rows;
    day_t day;
    if (tell_day_of_path(call, &day, e))
        return -1;
    const struct api_query query = {
        settlement_query,
        SQL_PARAMS(sql_text(call->account), sql_text(call->fixed->currency), sql_day(day))};
    if (api_read(call, &query, 1, &rows, e))
        return -1;
    int failed = put_settlement(call, rows, e);
    PQclear(rows);
    return failed;
}
