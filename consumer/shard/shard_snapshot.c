// Snapshots of the calls: one is written now and then beside the shard, and a start takes the
// newest that is good in place of most of the replay.
//
//   written   a commit, and enough was read since ─► the blocks are held ─► accounts, a piece a
//             turn ─► the host writes it on a thread of its own
//   taken     rows restored ─► newest, else the one before ─► replay from its end on
//             the log or the counts turn out to be others ─► everything again, without any
#include "consumer/shard/shard_parts.h"

#include "consumer/core/log_proof.h"
#include "consumer/system/fault.h"
#include "consumer/system/log.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

enum {
    ACCOUNTS_A_TURN = 20000, // some 2 ms
    CALLS_A_RECORD = 4, // of those held: a replay of less than a quarter of them is not worth it
};

static struct snapshot_row row_now(const struct shard *shard)
{
    const struct shard_row *row = &shard->row;
    struct snapshot_row now = {
        .epoch = row->epoch, .step = row->step, .sequence = row->chain.sequence};
    static_assert(sizeof now.hash == sizeof row->chain.hash, "the hash of a row of the outbox");
    memcpy(now.hash, row->chain.hash, sizeof now.hash);
    return now;
}

// ---- written ----

// What a start would have to replay; after a close it has forgotten days in it, too.
static bool is_due(const struct shard *shard)
{
    const struct fold_state *state = fold_state(shard->fold);
    int64_t held = fold_resident_calls(shard->fold),
            records = state->log[INPUT_CALLS].next - shard->snapshot_next;
    bool closed = state->day > shard->snapshot_day;
    if (!shard->row.begun || held == 0 || records <= 0 || fold_step(shard->fold)->moved)
        return false;
    return closed || (records >= shard->host->snapshot_records && records >= held / CALLS_A_RECORD);
}

bool shard_write_snapshot(struct shard *shard)
{
    const struct shard_host *host = shard->host;
    if (!host->begin_snapshot || shard->committing)
        return false;
    if (!shard->snapshot && is_due(shard) && host->begin_snapshot(host->context, shard->id)) {
        const struct snapshot_row row = row_now(shard);
        shard->snapshot = fold_snapshot(shard->fold, &row);
        // Whatever becomes of it: when it fails, the next one is due as much later.
        shard->snapshot_next = fold_state(shard->fold)->log[INPUT_CALLS].next;
        shard->snapshot_day = fold_state(shard->fold)->day;
    }
    if (!shard->snapshot)
        return false;
    if (!fold_snapshot_accounts(shard->fold, shard->snapshot, ACCOUNTS_A_TURN))
        return true;
    host->write_snapshot(host->context, shard->id, shard->snapshot);
    shard->snapshot = NULL;
    return false;
}

// ---- taken ----

static void say_refused(struct shard *shard, const char *name, const char *why)
{
    shard_totals(shard)->snapshots_refused++;
    log_event(
        LOG_WARN, "a snapshot is not used, the calls are replayed from further back",
        LOG_FIELDS(log_int("shard", shard->id), log_text("file", name), log_text("reason", why)));
}

// Its end must still be in the log, to be compared.
static bool is_provable(const struct shard *shard, const struct snapshot_head *head)
{
    return head->last_offset >= shard->log[INPUT_CALLS].ends.low;
}

static bool take_one(struct shard *shard, int back, enum snapshot_found *found)
{
    const struct shard_host *host = shard->host;
    const struct snapshot_row row = row_now(shard);
    struct snapshot_reader *reader = fold_read_snapshot(shard->fold, &row);
    struct error e = {0};
    *found = host->read_snapshot(host->context, shard->id, back, reader, shard->snapshot_name, &e);
    if (*found == SNAPSHOT_READ && !is_provable(shard, snapshot_read_head(reader))) {
        error_set(&e, ERROR_CONFIG, "the log does not keep its last record any more");
        *found = SNAPSHOT_REFUSED;
    }
    if (*found == SNAPSHOT_READ) {
        fold_take_snapshot(shard->fold, reader);
        shard->taken = *snapshot_read_head(reader);
    } else {
        fold_leave_snapshot(shard->fold);
    }
    snapshot_reader_free(reader);
    if (*found == SNAPSHOT_REFUSED)
        say_refused(shard, shard->snapshot_name, e.text);
    return *found == SNAPSHOT_READ;
}

void shard_take_snapshot(struct shard *shard)
{
    enum { KEPT = 2 };
    const struct fold_state *state = fold_state(shard->fold);
    enum snapshot_found found = SNAPSHOT_READ;
    bool taken = false;
    bool without = shard->without_snapshot;
    shard->from_snapshot = shard->without_snapshot = false;
    shard->snapshot_next = shard->row.begun ? state->calls_from : state->log[INPUT_CALLS].next;
    shard->snapshot_day = state->day;
    if (!shard->row.begun || !shard->host->read_snapshot || without)
        return;
    for (int back = 0; back < KEPT && !taken && found != SNAPSHOT_NONE; back++)
        taken = take_one(shard, back, &found);
    if (!taken)
        return;
    fault_point(snapshot_taken);
    shard->from_snapshot = true;
    shard->snapshot_next = shard->taken.next;
    shard->snapshot_day = shard->taken.day;
    shard_totals(shard)->snapshots_taken++;
    log_event(LOG_INFO, "the calls are taken from a snapshot",
              LOG_FIELDS(log_int("shard", shard->id), log_text("file", shard->snapshot_name),
                         log_int("replayed_from", shard->taken.next),
                         log_int("calls", fold_resident_calls(shard->fold))));
}

bool shard_proves_snapshot(const struct shard *shard, const struct event *record)
{
    const struct log_state remembered = {.last_offset = shard->taken.last_offset,
                                         .last_timestamp = shard->taken.last_timestamp,
                                         .last_hash = shard->taken.last_hash};
    assert(shard->from_snapshot);
    return log_proof_holds(&remembered, record);
}

bool shard_blames_snapshot(struct shard *shard, const char *why, int64_t mono_ms)
{
    if (!shard->from_snapshot)
        return false;
    say_refused(shard, shard->snapshot_name, why);
    shard->without_snapshot = true;
    shard_begin_again(shard, mono_ms);
    return true;
}
