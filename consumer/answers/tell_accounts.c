// Accounts, their packages, and their suspensions.
#include "consumer/answers/look.h"
#include "consumer/answers/tell.h"
#include "consumer/api/api_read.h"
#include "consumer/api/api_rows.h"
#include "consumer/http/http_target.h"

#include <string.h>

// ---- one account ----

static const char account_query[] =
    "select $1 as account_id, $2 as currency, coalesce(a.balance, 0) as balance,"
    " coalesce(a.status, 'ACTIVE') as status,"
    " coalesce(a.suspended_since, (select c.effective_at from settled.status_changes c"
    "   where c.account_id = $1 order by c.account_sequence desc limit 1)) as status_since,"
    " coalesce(a.account_sequence, 0) as account_sequence"
    " from (select 1) one left join settled.accounts a on a.account_id = $1";

// What is drawn by calls that are not settled yet is not known here.
#define PACKAGE_FIELDS                                                                             \
    "p.package_id, p.service, p.units, p.used, p.remaining, null::bigint as remaining_now,"        \
    " p.valid_from, p.valid_until, p.amount, $2 as currency, p.kafka_offset"

// The newest ones, in the order in which they are drawn.
static const char packages_of_account_query[] =
    "select * from (select " PACKAGE_FIELDS " from settled.packages p where p.account_id = $1"
    "  order by p.valid_from desc, p.kafka_offset desc limit $3) p"
    " order by p.valid_from, p.kafka_offset";

// The account and its packages as they are recorded.
static json_t *recorded_json(const struct api_call *call, PGresult *const *results)
{
    int count = PQntuples(results[1]), first = count > LOOK_PACKAGES_MAX ? 1 : 0;
    int32_t offset = call->fixed->offset_ms;
    json_t *body = api_row_json(results[0], 0, 0, offset);
    json_t *packages = api_rows_json(results[1], count, 0, offset);
    if (first)
        json_array_remove(packages, 0);
    json_object_set_new(body, "provisional", json_false());
    json_object_set_new(body, "days", json_array());
    json_object_set_new(body, "packages", packages);
    json_object_set_new(body, "packages_complete", json_boolean(!first));
    return body;
}

static int put_account(struct api_call *call, struct look_reading *reading, struct error *e)
{
    json_t *body =
        reading->body ? json_incref(reading->body) : recorded_json(call, reading->results);
    if (look_knows(&reading->look) && look_put(&reading->look, call, body, e)) {
        json_decref(body);
        return -1;
    }
    api_add_frame(call, body);
    return api_put_json(call, body, e);
}

int tell_account(struct api_call *call, struct error *e)
{
    const struct sql_value id = sql_text(call->account), currency = sql_text(call->fixed->currency);
    const struct api_query queries[] = {
        {account_query, SQL_PARAMS(id, currency)},
        {packages_of_account_query, SQL_PARAMS(id, currency, sql_int8(LOOK_PACKAGES_MAX + 1))}};
    struct look_reading reading = {.queries = queries, .count = 2, .may_stand = true};
    if (look_read(call, &reading, e))
        return -1;
    int failed = reading.answered ? 0 : put_account(call, &reading, e);
    look_reading_end(&reading);
    return failed;
}

// ---- all accounts ----

// An id has up to 128 bytes, so no id that begins with the prefix lies above it with 33 of the
// highest characters behind it. Bytes decide on the order.
static const char accounts_query[] =
    "select account_id as here, account_id, shard, $5 as currency, balance, status, "
    "account_sequence"
    " from settled.accounts where account_id > $1 and account_id >= $2"
    "  and account_id < $2 || repeat(chr(1114111), 33) and ($3 is null or status = $3)"
    " order by account_id limit $4";

int tell_accounts(struct api_call *call, struct error *e)
{
    int64_t limit;
    const char *after = http_parameter(call->request, "after");
    const char *prefix = http_parameter(call->request, "prefix");
    const char *status = http_parameter(call->request, "status");
    if (api_limit(call, &limit, e))
        return -1;
    if (status && strcmp(status, "ACTIVE") != 0 && strcmp(status, "SUSPENDED") != 0)
        return error_set(e, ERROR_USAGE,
                         "parameter status: '%.40s' is neither ACTIVE nor SUSPENDED", status);
    const struct api_query query = {
        accounts_query,
        SQL_PARAMS(sql_text(after ? after : ""), sql_text(prefix ? prefix : ""), sql_text(status),
                   sql_int8(limit + 1), sql_text(call->fixed->currency))};
    return api_answer_all(call, &query, 1, limit, e);
}

// ---- status ----

static const char status_query[] =
    "select account_sequence::text as here, account_sequence, account_id || '/' || "
    "account_sequence as "
    "event_id, status, cause, settlement_id, credit_id, balance, $4 as currency, effective_at,"
    " shard, sequence from settled.status_changes where account_id = $1 and account_sequence > $2"
    " order by account_sequence limit $3";

int tell_status_changes(struct api_call *call, struct error *e)
{
    int64_t limit, after;
    if (api_limit(call, &limit, e) ||
        api_number(call, "after", (struct api_range){0, INT64_MAX, 0}, &after, e))
        return -1;
    const struct api_query query = {status_query, SQL_PARAMS(sql_text(call->account),
                                                             sql_int8(after), sql_int8(limit + 1),
                                                             sql_text(call->fixed->currency))};
    return api_answer_list(call, &query, limit, e);
}

// ---- packages ----

// An account's purchases all stand in one partition, so their offsets order them.
static const char packages_query[] =
    "select p.kafka_offset::text as here, " PACKAGE_FIELDS " from settled.packages p"
    " where p.account_id = $1 and p.kafka_offset > $3 order by p.kafka_offset limit $4";

int tell_packages(struct api_call *call, struct error *e)
{
    int64_t limit, after;
    if (api_limit(call, &limit, e) ||
        api_number(call, "after", (struct api_range){0, INT64_MAX, -1}, &after, e))
        return -1;
    const struct api_query query = {
        packages_query, SQL_PARAMS(sql_text(call->account), sql_text(call->fixed->currency),
                                   sql_int8(after), sql_int8(limit + 1))};
    return api_answer_list(call, &query, limit, e);
}

// Two packages may share an id, where the first one's was forgotten; package_offset tells them
// apart. What is before and after a line follows from what remains and all later lines, for earlier
// ones may have left the tables. No line is older than the purchase's own day less the days that a
// call may be late, for a call is settled after the purchase; packages drew nothing before they
// were valid.
static const char deductions_query[] =
    "select to_char(business_day, 'YYYY-MM-DD') || '/' || line_no as here, business_day, line_no,"
    " settled_at, usage_day, service, calls, before, drawn, after, package_offset"
    " from (select l.business_day, l.line_no, d.closed_at as settled_at, l.usage_day, l.service,"
    "   l.calls, l.units as drawn, p.kafka_offset as package_offset,"
    "   p.remaining + (sum(l.units) over w)::bigint as before,"
    "   p.remaining + (sum(l.units) over w)::bigint - l.units as after"
    "  from settled.packages p"
    "  join settled.settlement_lines l on l.account_id = p.account_id"
    "   and l.package_id = p.package_id and l.package_offset = p.kafka_offset"
    "   and l.business_day >= (p.valid_from at time zone 'UTC')::date - 1"
    "  join settled.day_closes d on d.shard = p.shard and d.business_day = l.business_day"
    "  where p.account_id = $1 and p.package_id = $2"
    "  window w as (partition by p.kafka_offset order by l.business_day desc, l.line_no desc))"
    " drawn"
    " where $3 is null or (business_day, line_no) > ($3, $4)"
    " order by business_day, line_no limit $5";

static const char package_query[] =
    "select 1 from settled.packages where account_id = $1 and package_id = $2 limit 1";

static int put_deductions(struct api_call *call, PGresult *const results[2], int64_t limit,
                          struct error *e)
{
    if (PQntuples(results[0]) == 0)
        return api_refuse(call, API_NOT_FOUND, e, "the account has no package %s", call->item);
    return api_put_page(call, json_object(), results[1], limit, e);
}

int tell_deductions(struct api_call *call, struct error *e)
{
    PGresult *results[2];
    int64_t limit, number;
    day_t day;
    if (api_limit(call, &limit, e) || api_after_day(call, &day, &number, e))
        return -1;
    const struct sql_value id = sql_text(call->account), package = sql_text(call->item);
    const struct api_query queries[] = {
        {package_query, SQL_PARAMS(id, package)},
        {deductions_query, SQL_PARAMS(id, package, sql_given(day != DAY_NONE, sql_day(day)),
                                      sql_int8(number), sql_int8(limit + 1))}};
    if (api_read(call, queries, 2, results, e))
        return -1;
    int failed = put_deductions(call, results, limit, e);
    PQclear(results[0]);
    PQclear(results[1]);
    return failed;
}
