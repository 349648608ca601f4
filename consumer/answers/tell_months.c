// The statements of whole months.
#include "consumer/answers/tell.h"
#include "consumer/api/api_read.h"
#include "consumer/api/api_rows.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

// As the record `MonthStatement` has them, but for its lines.
#define STATEMENT_COLUMNS                                                                          \
    "m.statement_id, m.account_id, m.month, $2 as currency, m.opening_balance, m.credits,"         \
    " m.adjustments, m.amount, m.closing_balance, m.status, m.settlements, m.calls,"               \
    " m.packages_bought, m.packages_amount, m.shard, m.sequence"
#define LINES_OF_MONTH                                                                             \
    " from settled.month_statement_lines l where l.account_id = $1"                                \
    " and l.business_day between $3 and $4"

static const char statements_query[] =
    "select to_char(m.business_day, 'YYYY-MM-DD') as here, " STATEMENT_COLUMNS
    " from settled.month_statements m where m.account_id = $1"
    " and m.business_day between $3 and $4 order by m.business_day limit $5";

static const char statement_query[] =
    "select " STATEMENT_COLUMNS ", coalesce((select json_agg(json_build_object("
    "   'service', l.service, 'charge', l.charge, 'package_id', l.package_id,"
    "   'tier_from', l.tier_from, 'unit_price', l.unit_price, 'calls', l.calls,"
    "   'units', l.units, 'amount', l.amount) order by l.line_no)" LINES_OF_MONTH
    "  ), '[]'::json) as lines, json_build_object('shard', m.shard) as as_of, d.closed_at"
    " from settled.month_statements m"
    " join settled.day_closes d on d.shard = m.shard and d.business_day = m.business_day"
    " where m.account_id = $1 and m.business_day between $3 and $4";

// Of CSV: without the first column.
static const char lines_query[] =
    "select null::text as here, l.line_no, l.service, l.charge, l.package_id, l.tier_from,"
    " l.unit_price, l.calls, l.units, l.amount, $2 as currency" LINES_OF_MONTH
    " order by l.line_no";

int tell_month_statements(struct api_call *call, struct error *e)
{
    return tell_by_day(call, statements_query, e);
}

static int month_of_path(const struct api_call *call, struct api_days *out, struct error *e)
{
    if (!calendar_parse_month(call->item, &out->from))
        return error_set(e, ERROR_USAGE,
                         "the month in the path, '%.40s', is not a month; write it as 2026-11",
                         call->item);
    out->to = calendar_month_end(out->from);
    return 0;
}

static int put_statement(struct api_call *call, PGresult *const results[2], struct error *e)
{
    if (PQntuples(results[0]) == 0)
        return api_refuse(call, API_NOT_FOUND, e,
                          "the account has no statement of %s: the month's last day is not closed "
                          "on its shard (as_of of the account says which day is open), or nothing "
                          "was paid in, bought or billed",
                          call->item);
    if (call->csv)
        return api_put_page(call, json_object(), results[1], INT32_MAX, e);
    json_t *body = api_row_json(results[0], 0, 0, call->fixed->offset_ms);
    tell_closed_at(body);
    return api_put_settled_json(call, body, e);
}

int tell_month_statement(struct api_call *call, struct error *e)
{
    PGresult *results[2];
    struct api_days month;
    if (month_of_path(call, &month, e))
        return -1;
    const struct sql_params params =
        SQL_PARAMS(sql_text(call->account), sql_text(call->fixed->currency), sql_day(month.from),
                   sql_day(month.to));
    const struct api_query queries[] = {{statement_query, params}, {lines_query, params}};
    if (api_read(call, queries, 2, results, e))
        return -1;
    int failed = put_statement(call, results, e);
    PQclear(results[0]);
    PQclear(results[1]);
    return failed;
}
