// What an account holder was told: that a package or the balance runs out.
#include "consumer/answers/tell.h"
#include "consumer/api/api_read.h"

#include <stdint.h>

// As the record `AccountNotice` has them. An account's notices are all of one shard, so sequences
// order them.
static const char notices_query[] =
    "select sequence::text as here, notice_id, account_id, business_day, kind, package_id, service,"
    " units, remaining, valid_until, balance, threshold, $2 as currency, shard, sequence"
    " from settled.notices where account_id = $1 and business_day between $3 and $4"
    "  and sequence > $5 order by sequence limit $6";

int tell_notices(struct api_call *call, struct error *e)
{
    int64_t limit, after;
    struct api_days days;
    if (api_days(call, &days, e) || api_limit(call, &limit, e) ||
        api_number(call, "after", (struct api_range){0, INT64_MAX, 0}, &after, e))
        return -1;
    const struct api_query query = {
        notices_query,
        SQL_PARAMS(sql_text(call->account), sql_text(call->fixed->currency), sql_day(days.from),
                   sql_day(days.to), sql_int8(after), sql_int8(limit + 1))};
    return api_answer_list(call, &query, limit, e);
}
