// The relay's side of the outbox.
#include "consumer/postgres/store_relay.h"
#include "consumer/postgres/store_shards.h"
#include "consumer/postgres/store_sql.h"
#include "consumer/system/fault.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Published rows are kept for 8 days at least, and go with their day's partition. A mark a minute
// is fine enough for that.
#define KEEP_MS (8 * DAY_MS)
enum { MARK_EVERY_MS = 60000 };

int outbox_output(const struct store *store, int16_t number, enum output *out, struct error *e)
{
    char text[16];
    snprintf(text, sizeof text, "%d", number);
    if (number < 0 || number >= OUTPUT_COUNT)
        return store_unknown(store, "output", text, e);
    *out = (enum output)number;
    return 0;
}

static int read_row(const struct store *store, const PGresult *rows, int i, struct outbox_row *out,
                    struct error *e)
{
    memset(out, 0, sizeof *out);
    out->sequence = get_int8(rows, i, 0);
    if (outbox_output(store, get_int2(rows, i, 1), &out->output, e))
        return error_context(e, "row %" PRId64 " of the outbox", out->sequence);
    out->key = get_slice(rows, i, 2);
    out->ce_id = get_string(rows, i, 3);
    out->ce_time = get_int8(rows, i, 4);
    out->body = get_slice(rows, i, 5);
    assert(PQgetlength(rows, i, 6) == sizeof out->hash);
    memcpy(out->hash, PQgetvalue(rows, i, 6), sizeof out->hash);
    return 0;
}

enum store_result store_load_outbox(struct store *store, int32_t shard,
                                    const struct outbox_window *window, struct outbox_row *out,
                                    size_t *count, struct error *e)
{
    store = store_of(store, shard);
    assert(window->limit > 0);
    *count = 0;
    enum store_result result = store_ready(store, e);
    if (result != STORE_OK)
        return result;
    // The sizes are added up where the rows are: a burst of large rejects never crosses the wire at
    // once. Rows have no gaps, so the window is one of numbers: with `order by … limit`, a server
    // that has no statistics of a table that has just been filled sorts all of its rows each time.
    result =
        sql_run(store,
                "select sequence, output, key, ce_id, ce_time_ms, body, hash from ("
                "  select *, sum(octet_length(body) + coalesce(octet_length(key), 0))"
                "              over (order by sequence rows between unbounded preceding and 1 "
                "preceding) as before"
                "    from (select * from settled.outbox where shard = $1 and sequence > $2"
                "             and sequence < $3 + (select min(sequence) from settled.outbox"
                "                                   where shard = $1 and sequence > $2)) as first"
                ") as sized"
                " where coalesce(before, 0) < $4 order by sequence",
                SQL_PARAMS(sql_int4(shard), sql_int8(window->after),
                           sql_int8((int64_t)window->limit), sql_int8((int64_t)window->max_bytes)),
                &store->answer, e);
    if (result != STORE_OK)
        return store_undo(store, result);
    for (int i = 0; i < PQntuples(store->answer); i++)
        if (read_row(store, store->answer, i, &out[i], e))
            return STORE_FAILED;
    *count = (size_t)PQntuples(store->answer);
    return STORE_OK;
}

enum store_result store_outbox_hash(struct store *store, int32_t shard, int64_t n, uint8_t out[32],
                                    bool *found, struct error *e)
{
    store = store_of(store, shard);
    PGresult *row;
    *found = false;
    enum store_result result = store_ready(store, e);
    if (result != STORE_OK)
        return result;
    result = sql_run(store, "select hash from settled.outbox where shard = $1 and sequence = $2",
                     SQL_PARAMS(sql_int4(shard), sql_int8(n)), &row, e);
    if (result != STORE_OK)
        return store_undo(store, result);
    *found = PQntuples(row) == 1;
    if (*found) {
        assert(PQgetlength(row, 0, 0) == 32);
        memcpy(out, PQgetvalue(row, 0, 0), 32);
    }
    PQclear(row);
    return STORE_OK;
}

// The lock is held from the check of the epoch until the mark is written.
static enum store_result raise_mark(struct store *store, int32_t shard, int64_t n, int64_t now_ms,
                                    struct error *e)
{
    assert(PQtransactionStatus(store->conn) == PQTRANS_INTRANS); // the epoch was checked in it
    enum store_result result =
        sql_run(store, "update settled.shards set relayed = greatest(relayed, $2) where shard = $1",
                SQL_PARAMS(sql_int4(shard), sql_int8(n)), NULL, e);
    if (result == STORE_OK)
        result = sql_run(
            store,
            "insert into settled.relay_marks (shard, sequence, published_at) select $1, $2, $3"
            " where not exists (select from settled.relay_marks where shard = $1 and published_at "
            "> $4)",
            SQL_PARAMS(sql_int4(shard), sql_int8(n), sql_time(now_ms),
                       sql_time(now_ms - MARK_EVERY_MS)),
            NULL, e);
    return result;
}

// Partitions whose rows all were published 8 days ago go, and the marks that tell no more than the
// newest one of that age.
static enum store_result drop_old(struct store *store, int32_t shard, int64_t now_ms,
                                  struct error *e)
{
    // Looked for when a mark was made just now, which is once a minute.
    enum store_result result =
        sql_run(store,
                "select settled.drop_published($1) from settled.relay_marks"
                " where shard = $2 and published_at = $3",
                SQL_PARAMS(sql_time(now_ms - KEEP_MS), sql_int4(shard), sql_time(now_ms)), NULL, e);
    if (result != STORE_OK)
        return result;
    return sql_run(store,
                   "delete from settled.relay_marks where shard = $1 and published_at <"
                   " (select max(published_at) from settled.relay_marks"
                   "   where shard = $1 and published_at < $2)",
                   SQL_PARAMS(sql_int4(shard), sql_time(now_ms - KEEP_MS)), NULL, e);
}

enum store_result store_raise_mark(struct store *store, int32_t shard, int64_t epoch, int64_t n,
                                   int64_t now_ms, struct error *e)
{
    store = store_of(store, shard);
    enum store_result result = store_ready(store, e);
    if (result == STORE_OK)
        result = store_script(store, "begin", e);
    if (result == STORE_OK)
        result = store_lock_epoch(store, shard, epoch, NULL, NULL, e);
    if (result == STORE_OK)
        result = raise_mark(store, shard, n, now_ms, e);
    fault_point(mark_before);
    if (result == STORE_OK)
        result = store_script(store, "commit", e);
    fault_point(mark_after);
    return store_undo(store, result);
}

enum store_result store_mark_relayed(struct store *store, int32_t shard, int64_t epoch, int64_t n,
                                     int64_t now_ms, struct error *e)
{
    store = store_of(store, shard);
    enum store_result result = store_raise_mark(store, shard, epoch, n, now_ms, e);
    // Outside the row's lock: a commit of the shard does not wait for it.
    if (result == STORE_OK)
        result = drop_old(store, shard, now_ms, e);
    return store_undo(store, result);
}
