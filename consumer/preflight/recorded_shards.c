#include "consumer/preflight/recorded_shards.h"

#include "consumer/postgres/store_sql.h"

#include <assert.h>
#include <stdlib.h>

// In the order of enum input.
static const char shards_query[] =
    "select s.shard, open_day, held_since is not null, calls_from, sequence, relayed,"
    " next_offset, last_offset, last_timestamp, last_hash"
    " from settled.shards s join settled.shard_logs l using (shard) cross join settled.deployment d"
    " where open_day is not null and topic in (calls_topic, purchases_topic, credits_topic)"
    " order by s.shard, case topic when calls_topic then 0 when purchases_topic then 1 else 2 end";

static void read_shard(const PGresult *rows, int row, struct recorded_shard *out)
{
    *out = (struct recorded_shard){
        .shard = get_int4(rows, row, 0),
        .open_day = get_day(rows, row, 1),
        .held = *PQgetvalue(rows, row, 2) != 0,
        .calls_from = get_int8(rows, row, 3),
        .sequence = get_int8(rows, row, 4),
        .relayed = get_int8(rows, row, 5),
    };
    for (int i = 0; i < INPUT_COUNT; i++) {
        assert(get_int4(rows, row + i, 0) == out->shard);
        out->log[i] = (struct log_state){
            .next = get_int8(rows, row + i, 6),
            .last_offset = get_int8(rows, row + i, 7),
            .last_timestamp = get_int8(rows, row + i, 8),
            .last_hash = (uint64_t)get_int8(rows, row + i, 9),
        };
    }
}

static int load_part(struct store *store, struct recorded_shards *out, struct error *e)
{
    PGresult *rows;
    enum store_result result = store_ready(store, e);
    if (result == STORE_OK)
        result = sql_run(store, shards_query, SQL_NO_PARAMS, &rows, e);
    if (result != STORE_OK)
        return -1;
    int found = PQntuples(rows);
    if (found % INPUT_COUNT != 0) {
        PQclear(rows);
        return error_set(e, ERROR_CONFIG,
                         "PostgreSQL %s: settled.shard_logs does not have three rows a shard: the "
                         "database was changed after the fact; restore it",
                         store->location);
    }
    struct recorded_shard *list =
        reallocarray(out->list, out->count + (size_t)found + 1, sizeof *list);
    if (!list)
        abort(); // out of memory
    out->list = list;
    for (int i = 0; i < found; i += INPUT_COUNT)
        read_shard(rows, i, &out->list[out->count++]);
    PQclear(rows);
    return 0;
}

static int compare_shards(const void *left, const void *right)
{
    const struct recorded_shard *a = left, *b = right;
    return (a->shard > b->shard) - (a->shard < b->shard);
}

int recorded_shards_load(struct store *store, struct recorded_shards *out, struct error *e)
{
    *out = (struct recorded_shards){0};
    for (int i = 0; i < store_parts(store); i++) {
        if (load_part(store_part(store, i), out, e) == 0)
            continue;
        free(out->list);
        *out = (struct recorded_shards){0};
        return -1;
    }
    qsort(out->list, out->count, sizeof *out->list, compare_shards);
    return 0;
}
