// A step in one transaction: the shard's row is locked and compared, the step's rows go in, the row
// moves on.
//
//   lock ─► same as ours ─► write ─► COMMIT ─► known: OK
//     │                                    └► lost: lock again ─► one step further, ours: OK
//     │                                                       └► not: UNAVAILABLE, may be repeated
//     ├► epoch higher: FENCED
//     ├► one step further, and it is this one: OK
//     └► anything else: DIVERGED
#include "consumer/postgres/store_deployment.h"
#include "consumer/postgres/store_shards.h"
#include "consumer/postgres/store_step.h"
#include "consumer/system/fault.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PART_DAYS = 8 }; // whose partitions are made at once

// ---- lock and compare ----

static bool was_seen(const struct store *store, int32_t shard)
{
    for (size_t i = 0; i < store->seen_count; i++)
        if (store->seen[i] == shard)
            return true;
    return false;
}

static void mark_seen(struct store *store, int32_t shard)
{
    if (was_seen(store, shard))
        return;
    if (store->seen_count == store->seen_capacity) {
        store->seen_capacity = store->seen_capacity ? 2 * store->seen_capacity : 16;
        int32_t *seen = realloc(store->seen, store->seen_capacity * sizeof *seen);
        if (!seen)
            abort();
        store->seen = seen;
    }
    assert(store->seen_count < store->seen_capacity);
    store->seen[store->seen_count++] = shard;
}

static bool same_position(const struct shard_row *found, int64_t step, const struct chain *chain,
                          const struct fold_state *state)
{
    bool same = found->step == step && found->chain.sequence == chain->sequence &&
                memcmp(found->chain.hash, chain->hash, sizeof chain->hash) == 0;
    for (int i = 0; i < INPUT_COUNT && same; i++)
        same = found->state.log[i].next == state->log[i].next;
    return same;
}

static enum store_result diverged(const struct commit *c, const struct shard_row *found,
                                  struct error *e)
{
    return store_say(c->store, STORE_DIVERGED, ERROR_CONFIG, e,
                     "shard %" PRId32 " stands at epoch %" PRId64 ", step %" PRId64
                     ", sequence %" PRId64 ", calls offset %" PRId64
                     ", but this process last committed epoch %" PRId64 ", step %" PRId64
                     ", sequence %" PRId64 ", calls offset %" PRId64
                     ": the database has lost commits (a fail-over, a restore). Bring back the one "
                     "that has them, or"
                     " follow the runbook, \"diverged\"",
                     c->shard, found->epoch, found->step, found->chain.sequence,
                     found->state.log[INPUT_CALLS].next, c->row->epoch, c->row->step,
                     c->row->chain.sequence, c->row->state.log[INPUT_CALLS].next);
}

// *done: the row is one step further, and it is this step.
static enum store_result compare_row(const struct commit *c, const struct shard_row *found,
                                     bool *done, struct error *e)
{
    *done = false;
    if (found->epoch > c->row->epoch)
        return store_say(c->store, STORE_FENCED, ERROR_RESTART, e,
                         "shard %" PRId32 " has epoch %" PRId64 ", ours is %" PRId64
                         ": another process owns it",
                         c->shard, found->epoch, c->row->epoch);
    if (found->epoch < c->row->epoch)
        return diverged(c, found, e);
    if (same_position(found, c->row->step, &c->row->chain, &c->row->state))
        return STORE_OK;
    *done = same_position(found, c->row->step + 1, &c->outbox->after, fold_state(c->fold));
    return *done ? STORE_OK : diverged(c, found, e);
}

// The last row that we know of must be there with the hash that we remember.
static enum store_result check_last_row(const struct commit *c, const PGresult *hash,
                                        struct error *e)
{
    bool same = PQntuples(hash) == 1 && PQgetlength(hash, 0, 0) == sizeof c->row->chain.hash &&
                memcmp(PQgetvalue(hash, 0, 0), c->row->chain.hash, sizeof c->row->chain.hash) == 0;
    if (same)
        return STORE_OK;
    return store_say(c->store, STORE_DIVERGED, ERROR_CONFIG, e,
                     "outbox row %" PRId64 " of shard %" PRId32
                     " %s: the database is not the one that was written to."
                     " Bring back the one that was, or follow the runbook, \"diverged\"",
                     c->row->chain.sequence, c->shard,
                     PQntuples(hash) ? "has another hash" : "is missing");
}

// store_deployment.c has the rule. Rows are only added at the end, so equal counts mean equal rows.
// Fewer are recorded when a fail-over has lost rows that the fold had read.
static enum store_result check_parameters(const struct commit *c, const PGresult *count,
                                          struct error *e)
{
    const struct policy *known = fold_policy(c->fold);
    day_t reached = shard_reached(fold_state(c->fold));
    int64_t in_force = 0;
    assert(known->count > 0);
    while (in_force < (int64_t)known->count && known->rows[in_force].from_day <= reached)
        in_force++;
    if (get_int8(count, 0, 0) == in_force)
        return STORE_OK;
    char day[DAY_TEXT_SIZE];
    return store_say(c->store, STORE_FAILED, ERROR_RESTART, e,
                     "shard %" PRId32
                     " reached %s, for which other parameters are recorded than it was judged by:"
                     " start again to load them; nothing was written",
                     c->shard, calendar_format_day(reached, day));
}

static const char parameters_query[] =
    "select count(*) from settled.parameters where from_day <= $1";

static enum store_result send_lock(const struct commit *c, bool new_day, struct error *e)
{
    struct store *store = c->store;
    char text[512];
    snprintf(text, sizeof text,
             "select %s, pg_backend_pid() from settled.shards where shard = $1 for update",
             shard_columns);
    struct sql_params shard = SQL_PARAMS(sql_int4(c->shard));
    enum store_result result = pipe_send(store, "begin", SQL_NO_PARAMS, e);
    if (result == STORE_OK)
        result = pipe_send(store, text, shard, e);
    if (result == STORE_OK)
        result = pipe_send(store, shard_logs_query, shard, e);
    if (result == STORE_OK && !was_seen(store, c->shard) && c->row->chain.sequence > 0)
        result =
            pipe_send(store, "select hash from settled.outbox where shard = $1 and sequence = $2",
                      SQL_PARAMS(sql_int4(c->shard), sql_int8(c->row->chain.sequence)), e);
    if (result == STORE_OK && new_day)
        result = pipe_send(store, "select 1 from settled.deployment for share", SQL_NO_PARAMS, e);
    if (result == STORE_OK && new_day)
        result = pipe_send(store, parameters_query,
                           SQL_PARAMS(sql_day(shard_reached(fold_state(c->fold)))), e);
    return result;
}

// Of several databases only home says which parameters are in force, and the row that is locked in
// this one is a copy. Whoever holds home's row may wait for ours: so it is not waited for, and the
// step is tried again. A statement of its own reads behind the lock.
static enum store_result check_at_home(const struct commit *c, struct error *e)
{
    struct store *home = store_part(c->store, 0);
    PGresult *answers[2] = {NULL};
    enum store_result result = store_ready(home, e);
    if (result == STORE_OK)
        result = pipe_begin(home, e);
    if (result != STORE_OK)
        return result;
    result = pipe_send(home, "select 1 from settled.deployment for share nowait", SQL_NO_PARAMS, e);
    if (result == STORE_OK)
        result = pipe_send(home, parameters_query,
                           SQL_PARAMS(sql_day(shard_reached(fold_state(c->fold)))), e);
    enum store_result ended = pipe_end(home, answers, 2, result == STORE_OK ? e : NULL);
    if (result == STORE_OK)
        result = ended;
    if (result == STORE_OK)
        result = check_parameters(c, answers[1], e);
    PQclear(answers[0]);
    PQclear(answers[1]);
    return store_undo(home, result);
}

// `count`: of the rows in this database.
static enum store_result check_in_force(const struct commit *c, const PGresult *count,
                                        struct error *e)
{
    return store_is_home(c->store) ? check_parameters(c, count, e) : check_at_home(c, e);
}

// In another session than ours its settings are another's: synchronous_commit and the time-outs. A
// pooler whose mode was changed while we are connected shows here, before anything is written.
static enum store_result check_backend(struct store *store, const PGresult *locked, struct error *e)
{
    if (get_int4(locked, 0, PQnfields(locked) - 1) == store->backend)
        return STORE_OK;
    return store_say(store, STORE_FAILED, ERROR_CONFIG, e, "%s", store_pooled);
}

// Opens the transaction, locks the row and compares it. *done: this step is committed already.
static enum store_result lock_row(const struct commit *c, bool *done, struct error *e)
{
    struct store *store = c->store;
    PGresult *results[6] = {NULL};
    bool new_day =
        !c->row->begun || shard_reached(fold_state(c->fold)) > shard_reached(&c->row->state);
    bool last_row = !was_seen(store, c->shard) && c->row->chain.sequence > 0;
    enum store_result result = pipe_begin(store, e);
    if (result != STORE_OK)
        return result;
    result = send_lock(c, new_day, e);
    enum store_result ended = pipe_end(store, results, 6, result == STORE_OK ? e : NULL);
    if (result == STORE_OK)
        result = ended;
    struct shard_row found = {0};
    if (result == STORE_OK && PQntuples(results[1]) == 1)
        shard_read(store, results[1], results[2], &found);
    if (result == STORE_OK && PQntuples(results[1]) == 1)
        result = check_backend(store, results[1], e);
    if (result == STORE_OK)
        result = compare_row(c, &found, done, e);
    if (result == STORE_OK && last_row && !*done)
        result = check_last_row(c, results[3], e);
    if (result == STORE_OK && new_day && !*done)
        result = check_in_force(c, results[last_row ? 5 : 4], e);
    if (result == STORE_OK)
        assert(found.epoch == c->row->epoch); // I5
    if (result == STORE_OK && !*done)
        assert(found.chain.sequence == c->row->chain.sequence); // I3
    for (int i = 0; i < 6; i++)
        PQclear(results[i]);
    return result;
}

// ---- write ----

static enum store_result send_shard(const struct commit *c, struct error *e)
{
    const struct fold_state *state = fold_state(c->fold);
    const struct chain *after = &c->outbox->after;
    return pipe_send(
        c->store,
        "update settled.shards set step = $2, open_day = $3, committed_at = $4,"
        " held_since = case when $5 then coalesce(held_since, $4) end, calls_from = $6,"
        " horizon = $7, decisions = $8, sequence = $9, chain_hash = $10, previous_digest = $11,"
        " released_at = case when $12 then coalesce(released_at, $4) end,"
        " month = $13, month_after = $14"
        " where shard = $1",
        SQL_PARAMS(sql_int4(c->shard), sql_int8(c->row->step + 1), sql_day(state->day),
                   sql_time(c->now_ms), sql_bool(state->held), sql_int8(state->calls_from),
                   sql_day(state->horizon), sql_int8(state->decisions), sql_int8(after->sequence),
                   sql_bytea(after->hash, sizeof after->hash), sql_text(after->previous_digest),
                   sql_bool(state->released), sql_day(state->month), sql_text(state->month_after)),
        e);
}

// A decision answers its request, and settles what becomes of its rejects.
static enum store_result send_answers(const struct commit *c, struct error *e)
{
    enum store_result result = STORE_OK;
    for (size_t i = 0; i < c->step->decision_count && result == STORE_OK; i++) {
        const struct decision *d = &c->step->decisions[i];
        result = pipe_send(
            c->store, "update settled.requests set state = 'DONE', decision = $1 where id = $2",
            SQL_PARAMS(sql_int8(d->number), sql_int8(d->request)), e);
        // A record that is passed or refused is not judged yet.
        if (d->kind == DECISION_PASS || d->kind == DECISION_REFUSE || result != STORE_OK)
            continue;
        result =
            pipe_send(c->store,
                      "update settled.rejects r set decision = $1 from settled.request_records q"
                      " where q.request = $2 and r.topic = $3 and r.partition = $4"
                      " and r.kafka_offset = q.kafka_offset",
                      SQL_PARAMS(sql_int8(d->number), sql_int8(d->request),
                                 sql_text(c->store->topics[d->input]), sql_int4(c->shard)),
                      e);
    }
    return result;
}

// Long lists by COPY; then everything else and the COMMIT in one round trip. *committing: the
// COMMIT is on its way.
static enum store_result write_step(struct commit *c, bool *committing, struct error *e)
{
    struct load loads[STEP_LOADS];
    assert(PQtransactionStatus(c->store->conn) == PQTRANS_INTRANS); // the row is locked
    step_rows(c, loads);
    enum store_result result = STORE_OK;
    for (int i = 0; i < STEP_LOADS && result == STORE_OK; i++)
        if (load_is_bulk(&loads[i]))
            result = load_copy(c->store, &loads[i], c, e);
    if (result == STORE_OK)
        result = pipe_begin(c->store, e);
    if (result != STORE_OK)
        return result;
    for (int i = 0; i < STEP_LOADS && result == STORE_OK; i++)
        if (!load_is_bulk(&loads[i]))
            result = load_send(c->store, &loads[i], c, e);
    if (result == STORE_OK)
        result = send_answers(c, e);
    if (result == STORE_OK)
        result = send_shard(c, e);
    fault_point(commit_before);
    if (result == STORE_OK)
        result = pipe_send(c->store, "commit", SQL_NO_PARAMS, e);
    *committing = result == STORE_OK;
    enum store_result ended = pipe_end(c->store, NULL, 0, result == STORE_OK ? e : NULL);
    fault_point(commit_after);
    return result == STORE_OK ? ended : result;
}

// The partitions of the step's day, and of some days ahead: in a transaction of its own, so that
// nobody who needs them as well waits for a day's close. The next days are in the same months, so
// that this costs something once in a while.
static enum store_result make_partitions(const struct commit *c, struct error *e)
{
    struct store *store = c->store;
    day_t day = step_day(c);
    if (day >= store->first_part && day < store->first_part + store->part_days)
        return STORE_OK;
    enum store_result result =
        sql_run(store, "select settled.make_partitions($1, $2)",
                SQL_PARAMS(sql_day(day), sql_day(day + PART_DAYS - 1)), NULL, e);
    if (result != STORE_OK)
        return result;
    store->first_part = day;
    store->part_days = PART_DAYS;
    return STORE_OK;
}

// One attempt. *unknown: the connection went while the COMMIT was on its way.
static enum store_result try_commit(struct commit *c, bool *unknown, struct error *e)
{
    bool done = false, committing = false;
    enum store_result result = lock_row(c, &done, e);
    fault_point(commit_locked);
    if (result == STORE_OK && !done)
        result = write_step(c, &committing, e);
    *unknown = committing && result != STORE_OK && !c->store->conn;
    if (done)
        return store_undo(c->store, STORE_OK);
    if (result == STORE_OK)
        mark_seen(c->store, c->shard);
    return store_undo(c->store, result);
}

// After a COMMIT without an answer: a new connection looks at the row, behind the lock of the old
// one. Should that fail too, the same call finds out when it is repeated.
static enum store_result resolve(const struct commit *c, struct error *e)
{
    bool done = false;
    struct error why = {0};
    enum store_result result = store_ready(c->store, &why);
    if (result == STORE_OK)
        result = lock_row(c, &done, &why);
    store_undo(c->store, result);
    // *e has the cause
    if (result == STORE_UNAVAILABLE || (result == STORE_OK && !done))
        return STORE_UNAVAILABLE;
    if (result != STORE_OK && e)
        *e = why;
    return result;
}

enum store_result store_commit(struct store *store, int32_t shard, struct shard_row *row,
                               const struct commit_request *request, struct error *e)
{
    store = store_of(store, shard);
    struct commit c = {.store = store,
                       .shard = shard,
                       .now_ms = request->now_ms,
                       .row = row,
                       .fold = request->fold,
                       .step = fold_step(request->fold),
                       .outbox = request->outbox};
    bool unknown = false;
    step_check_progress(&c);
    enum store_result result = store_ready(store, e);
    if (result == STORE_OK)
        result = store_topics(store, e);
    if (result != STORE_OK)
        return store_undo(store, result);
    result = make_partitions(&c, e);
    if (result != STORE_OK)
        return store_undo(store, result);
    step_rows_number(&c);
    result = try_commit(&c, &unknown, e);
    if (unknown)
        result = resolve(&c, e);
    step_rows_release(&c);
    if (result != STORE_OK)
        return result;
    row->step++;
    row->begun = true;
    row->state = *fold_state(request->fold);
    row->chain = request->outbox->after;
    return STORE_OK;
}
