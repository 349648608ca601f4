// The shard's row: claiming it, reading it, checking the epoch.
#include "consumer/postgres/store_shards.h"
#include "consumer/postgres/store_deployment.h"
#include "consumer/postgres/store_sql.h"
#include "consumer/system/fault.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

const char shard_columns[] =
    "epoch, step, open_day, held_since is not null, calls_from, horizon, decisions, sequence,"
    " chain_hash, previous_digest, relayed, released_at is not null, month, month_after";
const char shard_logs_query[] =
    "select topic, next_offset, from_offset, accepted, duplicates, rejected, void, undecided,"
    " undecided_broken, undecided_refused, last_offset, last_timestamp, last_hash"
    " from settled.shard_logs where shard = $1";

static void read_log(const PGresult *logs, int i, struct log_state *log)
{
    *log = (struct log_state){
        .next = get_int8(logs, i, 1),
        .from = get_int8(logs, i, 2),
        .accepted = get_int8(logs, i, 3),
        .duplicates = get_int8(logs, i, 4),
        .rejected = get_int8(logs, i, 5),
        .voids = get_int8(logs, i, 6),
        .undecided = get_int8(logs, i, 7),
        .undecided_of[REJECTS_BROKEN] = get_int8(logs, i, 8),
        .undecided_of[REJECTS_REFUSED] = get_int8(logs, i, 9),
        .last_offset = get_int8(logs, i, 10),
        .last_timestamp = get_int8(logs, i, 11),
        .last_hash = (uint64_t)get_int8(logs, i, 12),
    };
}

void shard_read(const struct store *store, const PGresult *shard, const PGresult *logs,
                struct shard_row *out)
{
    assert(store->topics_known); // else no log would be found
    memset(out, 0, sizeof *out);
    out->epoch = get_int8(shard, 0, 0);
    out->step = get_int8(shard, 0, 1);
    out->begun = !get_null(shard, 0, 2);
    out->state.day = out->begun ? get_day(shard, 0, 2) : DAY_NONE;
    out->state.held = *PQgetvalue(shard, 0, 3) == 1;
    out->state.calls_from = get_int8(shard, 0, 4);
    out->state.horizon = get_day(shard, 0, 5);
    out->state.decisions = get_int8(shard, 0, 6);
    out->chain.sequence = get_int8(shard, 0, 7);
    assert(PQgetlength(shard, 0, 8) == sizeof out->chain.hash);
    memcpy(out->chain.hash, PQgetvalue(shard, 0, 8), sizeof out->chain.hash);
    get_copy(shard, 0, 9, out->chain.previous_digest, sizeof out->chain.previous_digest);
    out->relayed = get_int8(shard, 0, 10);
    out->state.released = *PQgetvalue(shard, 0, 11) == 1;
    out->state.month = out->begun ? get_day(shard, 0, 12) : DAY_NONE;
    get_copy(shard, 0, 13, out->state.month_after, sizeof out->state.month_after);
    for (int i = 0; i < PQntuples(logs); i++) {
        enum input input = store_input_of(store, get_string(logs, i, 0));
        if (input < INPUT_COUNT)
            read_log(logs, i, &out->state.log[input]);
    }
}

day_t shard_reached(const struct fold_state *state)
{
    return state->day > state->horizon ? state->day : state->horizon;
}

void store_advertise(struct store *store, const char *address)
{
    for (int i = 0; i < store_parts(store); i++)
        store_part(store, i)->address = address;
}

enum store_result store_claim(struct store *store, int32_t shard, struct shard_row *out,
                              struct error *e)
{
    store = store_of(store, shard);
    PGresult *results[3] = {NULL};
    enum store_result result = store_ready(store, e);
    if (result == STORE_OK)
        result = store_topics(store, e);
    if (result == STORE_OK)
        result = pipe_begin(store, e);
    if (result != STORE_OK)
        return store_undo(store, result);
    struct sql_params params = SQL_PARAMS(sql_int4(shard));
    const char *address = store->address ? store->address : "";
    result = pipe_send(store, "begin", SQL_NO_PARAMS, e);
    if (result == STORE_OK)
        result =
            pipe_send(store,
                      "insert into settled.shards (shard, epoch, address) values ($1, 1, $2)"
                      " on conflict (shard) do update set epoch = settled.shards.epoch + 1,"
                      " address = excluded.address, claimed_at = now()"
                      " returning epoch, step, open_day, held_since is not null, calls_from, "
                      "horizon, decisions,"
                      " sequence, chain_hash, previous_digest, relayed, released_at is not null,"
                      " month, month_after",
                      SQL_PARAMS(sql_int4(shard), sql_text(address)), e);
    if (result == STORE_OK)
        result = pipe_send(store, shard_logs_query, params, e);
    fault_point(claim_commit);
    if (result == STORE_OK)
        result = pipe_send(store, "commit", SQL_NO_PARAMS, e);
    enum store_result ended = pipe_end(store, results, 3, result == STORE_OK ? e : NULL);
    if (result == STORE_OK)
        result = ended;
    if (result == STORE_OK)
        shard_read(store, results[1], results[2], out);
    for (int i = 0; i < 3; i++)
        PQclear(results[i]);
    return store_undo(store, result);
}

enum store_result store_lock_epoch(struct store *store, int32_t shard, int64_t epoch,
                                   int64_t *sequence, int64_t *relayed, struct error *e)
{
    PGresult *row;
    enum store_result result = sql_run(
        store, "select epoch, sequence, relayed from settled.shards where shard = $1 for update",
        SQL_PARAMS(sql_int4(shard)), &row, e);
    if (result != STORE_OK)
        return result;
    int64_t found = PQntuples(row) == 1 ? get_int8(row, 0, 0) : 0;
    if (sequence)
        *sequence = found ? get_int8(row, 0, 1) : 0;
    if (relayed)
        *relayed = found ? get_int8(row, 0, 2) : 0;
    PQclear(row);
    if (found == epoch)
        return STORE_OK;
    if (found > epoch)
        return store_say(store, STORE_FENCED, ERROR_RESTART, e,
                         "shard %" PRId32 " has epoch %" PRId64 ", ours is %" PRId64
                         ": another process owns it",
                         shard, found, epoch);
    return store_say(store, STORE_DIVERGED, ERROR_CONFIG, e,
                     "shard %" PRId32 " has epoch %" PRId64
                     " although this process raised it to %" PRId64
                     ": the database has lost commits; see the runbook, \"diverged\"",
                     shard, found, epoch);
}

enum store_result store_check_epoch(struct store *store, int32_t shard, int64_t epoch,
                                    int64_t *sequence, int64_t *relayed, struct error *e)
{
    store = store_of(store, shard);
    enum store_result result = store_ready(store, e);
    if (result == STORE_OK)
        result = store_lock_epoch(store, shard, epoch, sequence, relayed, e);
    return store_undo(store, result);
}
