// Rows of one database that no comparison of a shard would find: rows of shards that do not exist
// or are another database's, rows of other topics, and rejects that name decisions that nobody
// made.
#include "consumer/audit/store_audit_rows.h"
#include "consumer/audit/store_audit_sql.h"

#include <inttypes.h>
#include <stdio.h>

struct strays {
    difference_visit *visit;
    void *context;
};

// Of what grows, the days that are compared.
#define WITHIN "business_day >= $5 and ($6 is null or business_day <= $6)"

// One statement, so that a shard which begins meanwhile is seen with its rows or not at all.
static const char orphans_query[] =
    "select t, s, n, what from ("
    " select t, s, count(*) as n, 'rows of a shard that has not begun' as what from ("
    "  select 'shards' as t, shard as s from settled.shards where open_day is not null"
    "  union all select 'shard_logs', shard from settled.shard_logs"
    "  union all select 'accounts', shard from settled.accounts"
    "  union all select 'credits', shard from settled.credits where " WITHIN
    "  union all select 'packages', shard from settled.packages"
    "  union all select 'settlements', shard from settled.settlements where " WITHIN
    "  union all select 'status_changes', shard from settled.status_changes where " WITHIN
    "  union all select 'notices', shard from settled.notices where " WITHIN
    "  union all select 'day_closes', shard from settled.day_closes where " WITHIN
    "  union all select 'day_cutoffs', shard from settled.day_cutoffs where " WITHIN
    "  union all select 'holds', shard from settled.holds where " WITHIN
    "  union all select 'decisions', shard from settled.decisions where " WITHIN
    "  union all select 'outbox', shard from settled.outbox where " WITHIN
    "  union all select 'rejects', partition from settled.rejects where " WITHIN ") r"
    " where s not in (select shard from settled.shards, settled.deployment"
    "   where open_day is not null and shard < $1 and shard % databases = database) group by t, s"
    " union all select 'rejects', partition, count(*), 'rows of no input' from settled.rejects"
    "  where topic not in ($2, $3, $4) and " WITHIN " group by partition"
    " union all select 'rejects', partition, count(*), 'rows that name another decision' from "
    "settled.rejects r"
    "  where decision is not null and " WITHIN
    " and not exists (select from settled.decisions d join "
    "settled.request_records q using (request)"
    "  where d.shard = r.partition and d.number = r.decision and d.topic = r.topic"
    "   and q.kafka_offset = r.kafka_offset) group by partition) x"
    " order by t, s, what";

static void tell_stray(const struct strays *strays, const PGresult *row, int i)
{
    char key[16], rows[64];
    snprintf(key, sizeof key, "%" PRId32, get_int4(row, i, 1));
    snprintf(rows, sizeof rows, "%" PRId64 " %s", get_int8(row, i, 2), get_string(row, i, 3));
    strays->visit(strays->context, &(struct difference){.where = get_string(row, i, 0),
                                                        .key = key,
                                                        .day = DAY_NONE,
                                                        .recorded = rows});
}

enum store_result store_audit_strays(struct store *store, const struct strays_range *range,
                                     difference_visit *visit, void *context, struct error *e)
{
    struct strays strays = {visit, context};
    PGresult *found = NULL;
    enum store_result result = audit_begin(store, e);
    if (result == STORE_OK)
        result = sql_run(store, orphans_query,
                         SQL_PARAMS(sql_int4(range->shards), sql_text(store->topics[INPUT_CALLS]),
                                    sql_text(store->topics[INPUT_PURCHASES]),
                                    sql_text(store->topics[INPUT_CREDITS]), sql_day(range->first),
                                    sql_given(range->last != DAY_NONE, sql_day(range->last))),
                         &found, e);
    int count = result == STORE_OK ? PQntuples(found) : 0;
    for (int i = 0; i < count; i++)
        tell_stray(&strays, found, i);
    PQclear(found);
    return store_undo(store, result);
}
