// The ledger of an account over some days: what was paid in and what was settled, in the order of
// the fold.
#include "consumer/answers/tell.h"
#include "consumer/api/api_read.h"
#include "consumer/api/api_rows.h"
#include "consumer/http/http_target.h"

enum { ENTRIES = 10000 }; // the most of one answer, and as many as there are by default

// An entry belongs to the business day that was open when it was applied: a settlement to its own
// day, a credit to the day between whose cutoffs it stands. So the entries of some days follow upon
// each other without a gap, and opening + entries = closing. $2, $3: from, to.
#define STATEMENT_ENTRIES                                                                          \
    "with bounds as (select"                                                                       \
    "   case when $2 > s.open_day then 9223372036854775807"                                        \
    "     else coalesce((select c.to_offset from settled.day_cutoffs c where c.shard = s.shard"    \
    "       and c.topic = d.credits_topic and c.business_day = $2 - 1), 0) end as low,"            \
    "   coalesce((select c.to_offset from settled.day_cutoffs c where c.shard = s.shard"           \
    "       and c.topic = d.credits_topic and c.business_day = $3),"                               \
    "     case when $3 >= coalesce(s.open_day, d.first_day) then 9223372036854775807 else 0 end)"  \
    "     as high"                                                                                 \
    "  from settled.deployment d, settled.shards s where s.shard ="                                \
    "   (select shard from settled.accounts where account_id = $1)),"                              \
    " entries as (select c.position, c.received_at as at, c.kind, c.credit_id as reference,"       \
    "   c.amount, c.balance, c.reason, c.reference as credit_reference"                            \
    "  from settled.credits c, bounds b where c.account_id = $1"                                   \
    "   and c.kafka_offset >= b.low and c.kafka_offset < b.high"                                   \
    " union all"                                                                                   \
    "  select s.position, (s.business_day + 1)::timestamp at time zone d.time_zone, 'SETTLEMENT'," \
    "   s.settlement_id, -s.amount, s.closing_balance, null, null"                                 \
    "  from settled.settlements s, settled.deployment d where s.account_id = $1"                   \
    "   and s.business_day between $2 and $3)"

static const char entries_query[] =
    STATEMENT_ENTRIES " select position::text as here, * from entries where position > $4"
                      " order by position limit $5";

// The balance before the first entry from these days on, or the present one: what is older may have
// left the tables. The first column says up to where it has, and is not shown.
static const char sums_query[] = STATEMENT_ENTRIES
    ", later as ((select c.position, c.balance - c.amount as before from settled.credits c, bounds "
    "b"
    "   where c.account_id = $1 and c.kafka_offset >= b.low order by c.position limit 1)"
    "  union all (select position, closing_balance + amount from settled.settlements"
    "   where account_id = $1 and business_day >= $2 order by business_day limit 1))"
    " select (select (max(month) + interval '1 month')::date from settled.retired_months),"
    "  $1 as account_id, $4 as currency, $2 as \"from\", $3 as \"to\","
    "  opening as opening_balance, credits, adjustments, amount,"
    "  opening + credits + adjustments - amount as closing_balance"
    " from (select coalesce((select before from later order by position limit 1),"
    "   (select balance from settled.accounts where account_id = $1), 0) as opening) o,"
    "  (select coalesce(sum(amount) filter (where kind = 'TOP_UP'), 0)::bigint as credits,"
    "   coalesce(sum(amount) filter (where kind = 'ADJUSTMENT'), 0)::bigint as adjustments,"
    "   coalesce(-sum(amount) filter (where kind = 'SETTLEMENT'), 0)::bigint as amount"
    "  from entries) e";

// Whoever names a first day wants all from there on.
static int check_kept(struct api_call *call, const PGresult *sums, day_t from, struct error *e)
{
    char day[DAY_TEXT_SIZE];
    if (!http_parameter(call->request, "from") || get_null(sums, 0, 0) ||
        from >= get_day(sums, 0, 0))
        return 0;
    return api_refuse(call, API_NOT_FOUND, e,
                      "what was recorded before %s has left the tables (settled retire): ask from "
                      "that day on, and look for the rest in the archive",
                      calendar_format_day(get_day(sums, 0, 0), day));
}

static int put_statement(struct api_call *call, PGresult *const results[2], int64_t limit,
                         struct error *e)
{
    json_t *body = api_row_json(results[0], 0, 1, call->fixed->offset_ms);
    if (!http_parameter(call->request, "from"))
        json_object_set_new(body, "from", json_null());
    if (!http_parameter(call->request, "to"))
        json_object_set_new(body, "to", json_null());
    return api_put_page(call, body, results[1], limit, e);
}

int tell_statement(struct api_call *call, struct error *e)
{
    PGresult *results[2];
    struct api_days days;
    int64_t limit, after;
    if (api_days(call, &days, e) ||
        api_number(call, "limit", (struct api_range){1, ENTRIES, ENTRIES}, &limit, e) ||
        api_number(call, "after", (struct api_range){0, INT64_MAX, -1}, &after, e))
        return -1;
    const struct sql_value id = sql_text(call->account), from = sql_day(days.from),
                           to = sql_day(days.to);
    const struct api_query queries[] = {
        {sums_query, SQL_PARAMS(id, from, to, sql_text(call->fixed->currency))},
        {entries_query, SQL_PARAMS(id, from, to, sql_int8(after), sql_int8(limit + 1))}};
    if (api_read(call, queries, 2, results, e))
        return -1;
    int failed =
        check_kept(call, results[0], days.from, e) || put_statement(call, results, limit, e) ? -1
                                                                                             : 0;
    PQclear(results[0]);
    PQclear(results[1]);
    return failed;
}
