#include "consumer/shard/shard_parts.h"

#include "consumer/system/fault.h"
#include "consumer/system/log.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    PARK_MS = 60000,
    IDLE_MS = 200,
};

struct shard *shard_create(const struct shard_host *host, int32_t id, const int64_t *drain)
{
    assert(id >= 0);
    assert(id < host->partitions);
    struct shard *shard = calloc(1, sizeof *shard);
    if (!shard)
        return NULL;
    shard->host = host;
    shard->id = id;
    shard->draining = drain != NULL;
    for (int i = 0; i < INPUT_COUNT; i++) {
        shard->log[i].reader.input = (enum input)i;
        shard->drain[i] = drain ? drain[i] : INT64_MAX;
        shard_forget_ends(&shard->log[i]);
    }
    return shard;
}

void shard_destroy(struct shard *shard)
{
    if (!shard)
        return;
    if (shard->committing)
        shard->host->await_commit(shard->host->context, shard->id);
    shard_drop_blocks(shard);
    shard_drop_snapshot(shard);
    // The relay is the worker's, and goes as a whole.
    fold_destroy(shard->fold);
    outbox_release(&shard->outbox);
    shard_store_answers(shard);
    shard_figures(shard)->owned = 0;
    free(shard);
}

// ---- figures ----

static void count_holds(const struct fold_state *state, struct shard_metrics *m)
{
    for (int i = 0; i < INPUT_COUNT; i++)
        for (int g = 0; g < REJECT_GROUPS; g++)
            m->held_rejects[i][g] =
                state->held && state->holds[i][g].records > 0 ? state->log[i].undecided_of[g] : 0;
}

static void count_fold(struct shard *shard, const struct relay_status *relay, int64_t now_ms)
{
    struct shard_metrics *m = shard_figures(shard);
    count_holds(fold_state(shard->fold), m);
    m->open_day = fold_state(shard->fold)->day;
    m->phase = fold_phase(shard->fold, now_ms);
    m->resident_calls = fold_resident_calls(shard->fold);
    m->resident_bytes = (int64_t)fold_memory(shard->fold);
    m->sequence = shard->row.chain.sequence;
    m->published = relay->published;
    m->relay_trouble = relay->error.kind != ERROR_NONE;
    m->lost_rows = relay->lost_rows;
    m->spent_producers = relay->spent_producers;
    m->strange[STRANGE_REPEATED] = relay->strange.repeated;
    m->strange[STRANGE_DISORDERED] = relay->strange.disordered;
    m->strange[STRANGE_FOREIGN] = relay->strange.foreign;
}

// ---- whose it is ----

void shard_assign(struct shard *shard, int64_t mono_ms)
{
    if (shard->state == SHARD_HALTED)
        return;
    // Each assignment takes away all of the one before it.
    assert(shard->state == SHARD_NONE || shard->state == SHARD_PARKED);
    shard_totals(shard)->shown = shard;
    shard_become(shard, SHARD_LOCATING);
    shard_reset_logs(shard);
    shard->retry_at = mono_ms;
    shard_store_answers(shard);
    shard_check(shard);
}

void shard_revoke(struct shard *shard, int64_t mono_ms)
{
    fault_point(shard_revoked);
    shard_await_commit(shard, mono_ms);
    shard_store_answers(shard);
    shard_drop_blocks(shard);
    shard_drop_snapshot(shard);
    switch (shard->state) {
    case SHARD_LOCATING:
    case SHARD_RUNNING:
        if (!shard->fold) {
            shard_become(shard, SHARD_NONE);
            break;
        }
        shard->parked_at = mono_ms;
        shard_become(shard, SHARD_PARKED);
        break;
    case SHARD_REPLAYING:
    case SHARD_FENCED:
        shard_drop_fold(shard);
        shard_become(shard, SHARD_NONE);
        break;
    case SHARD_NONE:
    case SHARD_PARKED:
    case SHARD_HALTED:
        break;
    }
    shard_check(shard);
}

// ---- turns ----

// Reads each log and closes the day when it is due. True: there is more to read.
static bool fold_some(struct shard *shard, int64_t mono_ms, int64_t now_ms)
{
    bool more = false;
    shard_follow_policy(shard);
    for (enum input i = 0; i < INPUT_COUNT && shard->state == SHARD_RUNNING; i++) {
        more |= shard_read_log(shard, i, mono_ms, now_ms);
        if (shard->state == SHARD_RUNNING)
            shard_count_log(shard, i);
    }
    if (shard->state != SHARD_RUNNING)
        return false;
    if (shard->draining)
        shard_end_drained_logs(shard, now_ms);
    else
        shard_ask_for_ends(shard, mono_ms, now_ms);
    shard_serve_requests(shard, mono_ms);
    shard_note_waiting(shard, mono_ms);
    if (shard->state == SHARD_RUNNING)
        shard_close_when_due(shard, mono_ms);
    return more;
}

static bool run_running(struct shard *shard, int64_t mono_ms)
{
    int64_t now_ms = shard->host->clock_ms(shard->host->context), step = shard->row.step;
    bool more = false;
    if (!shard_prove_logs(shard, mono_ms))
        return false;
    // A step that waits for its commit is left as it is.
    if (!shard->built && !shard->committing && !step_is_whole(fold_step(shard->fold)))
        more = fold_some(shard, mono_ms, now_ms);
    if (shard->state == SHARD_RUNNING)
        shard_commit_when_due(shard, !more, mono_ms);
    if (shard->state == SHARD_RUNNING)
        shard_write_month(shard, mono_ms);
    if (shard->state == SHARD_RUNNING && shard->untold)
        shard_tell_hold(shard, mono_ms);
    if (shard->state != SHARD_RUNNING || shard->committing)
        return false;
    struct relay_status relay = shard->host->relay_status(shard->host->context, shard->id);
    count_fold(shard, &relay, now_ms);
    if (relay.halted) {
        shard_halt(shard, &relay.error);
        return false;
    }
    if (relay.lost) {
        shard_give_way(shard, mono_ms);
        return false;
    }
    more |= shard_write_snapshot(shard);
    return more || shard->row.step != step; // a commit lets logs and days go on
}

static int64_t sooner(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static void find_deadline(struct shard *shard, int64_t mono_ms)
{
    int64_t at = mono_ms + IDLE_MS;
    if (shard->state == SHARD_RUNNING) {
        if (shard->effects_at != 0)
            at = sooner(at, shard->committed_at + SHARD_PAUSE_MS);
        if (shard->moved_at != 0)
            at = sooner(at, shard->moved_at + SHARD_POSITIONS_MS);
        for (int i = 0; i < INPUT_COUNT; i++)
            if (shard->log[i].stop == FOLD_AHEAD || shard->log[i].stop == FOLD_COUNT ||
                shard->log[i].asked)
                at = sooner(at, mono_ms + SHARD_CLOCK_RETRY_MS);
        // the host rings when it has ended
        if (!shard_is_compared(shard) || shard->committing || shard->queued)
            at = mono_ms + SHARD_CLOCK_RETRY_MS;
    }
    if (shard->state == SHARD_LOCATING)
        at = sooner(at, mono_ms + SHARD_CLOCK_RETRY_MS);
    // A database that does not answer is not asked more often than backing off allows.
    if (shard->retry_at > mono_ms && at < shard->retry_at)
        at = sooner(shard->retry_at, mono_ms + IDLE_MS);
    shard->deadline = at;
}

bool shard_run(struct shard *shard, int64_t mono_ms)
{
    bool more = false;
    shard_check(shard);
    switch (shard->state) {
    case SHARD_LOCATING:
        shard_locate(shard, mono_ms);
        break;
    case SHARD_REPLAYING:
        more = shard_replay(shard, mono_ms);
        break;
    case SHARD_RUNNING:
        more = run_running(shard, mono_ms);
        break;
    case SHARD_PARKED:
        if (mono_ms - shard->parked_at < PARK_MS)
            break;
        shard_drop_fold(shard);
        shard_become(shard, SHARD_NONE);
        break;
    case SHARD_FENCED:
        if (mono_ms >= shard->retry_at) {
            shard_become(shard, SHARD_LOCATING);
            shard_reset_logs(shard);
        }
        break;
    case SHARD_NONE:
    case SHARD_HALTED:
        break;
    }
    find_deadline(shard, mono_ms);
    shard_check(shard);
    return more;
}

int64_t shard_deadline(const struct shard *shard)
{
    return shard->deadline;
}

void shard_finish(struct shard *shard)
{
    fault_point(shard_shutdown);
    if (shard->state == SHARD_RUNNING && shard->retry_ms == 0 && fold_step(shard->fold)->moved &&
        shard_is_compared(shard))
        shard_commit(shard, 0);
    shard_await_commit(shard, 0);
}

enum shard_state shard_state(const struct shard *shard)
{
    return shard->state;
}

const struct error *shard_error(const struct shard *shard)
{
    return &shard->error;
}

struct fold *shard_fold(struct shard *shard)
{
    return shard->fold;
}

uint64_t shard_fold_number(const struct shard *shard)
{
    return shard->fold_number;
}

int64_t shard_epoch(const struct shard *shard)
{
    return shard->row.epoch;
}

const char *shard_unready(const struct shard *shard, char out[SHARD_UNREADY_SIZE])
{
    struct relay_status relay = shard->host->relay_status(shard->host->context, shard->id);
    const struct published_strange *strange = &relay.strange;
    if (shard->state != SHARD_RUNNING)
        snprintf(out, SHARD_UNREADY_SIZE, "shard %" PRId32 " is %s", shard->id,
                 shard_state_name(shard->state));
    else if (shard->retry_ms > 0)
        snprintf(out, SHARD_UNREADY_SIZE, "shard %" PRId32 " waits for the database: %s", shard->id,
                 shard->refusal);
    else if (shard_open_transaction(shard, out))
        return out;
    else if (relay.error.kind != ERROR_NONE)
        snprintf(out, SHARD_UNREADY_SIZE, "publishing: %s", relay.error.text);
    else if (relay.published < 0)
        snprintf(out, SHARD_UNREADY_SIZE, "shard %" PRId32 ": what is published is not read yet",
                 shard->id);
    else if (published_strange_count(strange) > 0)
        snprintf(out, SHARD_UNREADY_SIZE,
                 "shard %" PRId32 ": %s; look at it with settled audit, then restart", shard->id,
                 strange->last);
    else if (relay.lost_rows > 0)
        snprintf(out, SHARD_UNREADY_SIZE,
                 "shard %" PRId32 ": the output topics had lost %" PRId64
                 " rows, which were published again; look for "
                 "the cause, run settled audit, then restart",
                 shard->id, relay.lost_rows);
    else
        return NULL;
    return out;
}

bool shard_drained(const struct shard *shard, bool *held)
{
    *held = false;
    if (shard->state != SHARD_RUNNING || shard->built)
        return false;
    int64_t now_ms = shard->host->clock_ms(shard->host->context);
    const struct step *step = fold_step(shard->fold);
    if (step->moved || step->closed || fold_close_due(shard->fold) || !shard->decided ||
        fold_month_due(shard->fold))
        return false;
    for (enum input i = 0; i < INPUT_COUNT; i++)
        if (!shard->log[i].ended ||
            (fold_wants_end(shard->fold, i, now_ms) && shard->log[i].stop != FOLD_REJECTS))
            return false;
    assert(shard->draining);
    *held = fold_state(shard->fold)->held || shard->drained_rejects;
    struct relay_status relay = shard->host->relay_status(shard->host->context, shard->id);
    return relay.marked >= shard->row.chain.sequence; // tables and topics tell the same then
}

bool shard_positions(const struct shard *shard, int64_t out[INPUT_COUNT])
{
    if (shard->state != SHARD_RUNNING || !shard->row.begun)
        return false;
    for (int i = 0; i < INPUT_COUNT; i++)
        out[i] = shard->row.state.log[i].next;
    return true;
}
