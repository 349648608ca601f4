#include "consumer/shard.h"

#include "consumer/io/fault.h"
#include "consumer/io/log.h"
#include "consumer/reader.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    TURN_BATCHES = 64, // of one log, before the next one has its turn
    EFFECTS_MS = 50, // a step with effects is committed so long after the first of them
    POSITIONS_MS = 1000, // one without
    RETRY_MIN_MS = 100, // after the database refused
    RETRY_MAX_MS = 5000,
    CLOCK_RETRY_MS = 20, // a record beyond the clock is looked at again
    FUTURE_WARN_MS = 60000,
    REQUESTS_MS = 1000,
    REQUESTS_MAX = 64,
    PARK_MS = 60000,
    IDLE_MS = 200,
};

struct input_log {
    struct reader reader;
    enum fold_stop stop;
    int64_t retry_at; // AHEAD, FUTURE: when to look again
    int64_t stopped_at; // FUTURE: since when
    bool warned;
    uint64_t generation; // SCHEMA: of the writers, when it stopped
    bool unproved; // the record at last_offset has to be delivered first, and be the remembered one
    bool asked, located; // a question for its ends is open; is answered since LOCATING
    struct log_ends ends;
    struct log_state counted; // up to here `pending` has counted
    int64_t pending[RESULT_COUNT]; // for the metrics, once they are committed
    bool ended; // in a drain: nothing more is read
};

struct shard {
    const struct shard_host *host;
    int32_t id;
    enum shard_state state;
    struct error error;
    struct fold *fold;
    struct shard_row row; // as committed last; of the fold, when there is one
    struct input_log log[INPUT_COUNT];
    struct outbox outbox;
    bool built; // the outbox is the step's: a commit is to be tried again
    bool must_commit;
    int64_t effects_at, moved_at; // since when the step has effects, has moved; 0: not
    int64_t retry_at, retry_ms; // of the database
    int64_t requests_at, parked_at, deadline;
    bool draining;
    int64_t drain[INPUT_COUNT];
    struct shard_metrics hidden; // its figures while they do not show
    bool drained_rejects; // a drained log waits for an operator
    bool decided; // in a drain: all has been read, and no request is left that can be decided
    bool compared; // the relay has found out what Kafka holds
    int64_t located_step; // the row's, for which the ends were asked for once more; -1: they were not
};

static const char *const state_names[] = {"none", "locating", "replaying", "running", "parked", "fenced", "halted"};

const char *shard_state_name(enum shard_state state)
{
    return state_names[state];
}

// What adds up in this process, whichever of its workers had the shard.
static struct shard_metrics *totals(const struct shard *shard)
{
    return &shard->host->metrics->shards[shard->id];
}

// Where the shard's state shows: only of the worker that got it last.
static struct shard_metrics *figures(struct shard *shard)
{
    return totals(shard)->shown == shard ? totals(shard) : &shard->hidden;
}

// What may follow what; anything else is a bug.
static const unsigned char followers[] = {
    [SHARD_NONE] = 1 << SHARD_LOCATING,
    [SHARD_LOCATING] = 1 << SHARD_FENCED | 1 << SHARD_NONE | 1 << SHARD_PARKED | 1 << SHARD_REPLAYING |
                       1 << SHARD_RUNNING | 1 << SHARD_HALTED,
    [SHARD_REPLAYING] = 1 << SHARD_NONE | 1 << SHARD_RUNNING | 1 << SHARD_HALTED,
    [SHARD_RUNNING] = 1 << SHARD_LOCATING | 1 << SHARD_PARKED | 1 << SHARD_FENCED | 1 << SHARD_HALTED,
    [SHARD_PARKED] = 1 << SHARD_NONE | 1 << SHARD_LOCATING,
    [SHARD_FENCED] = 1 << SHARD_NONE | 1 << SHARD_LOCATING,
    [SHARD_HALTED] = 0,
};

static void become(struct shard *shard, enum shard_state state)
{
    assert(followers[shard->state] & 1 << state);
    log_event(LOG_DEBUG, "shard changes state", "shard", LOG_INT(shard->id), "from", LOG_STR(state_names[shard->state]),
              "to", LOG_STR(state_names[state]), LOG_END);
    shard->state = state;
    figures(shard)->state = state;
    figures(shard)->owned = state != SHARD_NONE && state != SHARD_PARKED;
}

static void halt(struct shard *shard, const struct error *e)
{
    shard->error = *e;
    error_context(&shard->error, "shard %" PRId32, shard->id);
    become(shard, SHARD_HALTED);
}

// ---- the fold's memory ----

static void drop_blocks(struct shard *shard)
{
    for (enum input i = 0; i < INPUT_COUNT; i++) {
        struct reader *reader = &shard->log[i].reader;
        if (reader->block) shard->host->release_block(shard->host->context, shard->id, i, reader->block);
        reader->block = NULL;
    }
}

static void drop_fold(struct shard *shard)
{
    if (shard->fold) shard->host->relay_remove(shard->host->context, shard->id);
    fold_destroy(shard->fold);
    shard->fold = NULL;
    shard->built = shard->must_commit = false;
    shard->effects_at = shard->moved_at = 0;
    for (int i = 0; i < INPUT_COUNT; i++) memset(shard->log[i].pending, 0, sizeof shard->log[i].pending);
    figures(shard)->calls_held = figures(shard)->bytes_held = 0;
}

struct shard *shard_create(const struct shard_host *host, int32_t id, const int64_t *drain)
{
    struct shard *shard = calloc(1, sizeof *shard);
    if (!shard) return NULL;
    shard->host = host;
    shard->id = id;
    shard->draining = drain != NULL;
    for (int i = 0; i < INPUT_COUNT; i++) {
        shard->log[i].reader.input = (enum input)i;
        shard->drain[i] = drain ? drain[i] : INT64_MAX;
    }
    return shard;
}

void shard_destroy(struct shard *shard)
{
    if (!shard) return;
    drop_blocks(shard);
    // The relay is the worker's, and goes as a whole.
    fold_destroy(shard->fold);
    outbox_release(&shard->outbox);
    figures(shard)->owned = 0;
    free(shard);
}

// ---- figures ----

static void count_log(struct shard *shard, enum input input)
{
    struct input_log *log = &shard->log[input];
    const struct log_state *now = &fold_state(shard->fold)->log[input];
    struct shard_metrics *m = figures(shard);
    if (now->from != log->counted.from) log->counted = (struct log_state){.from = now->from}; // a close starts over
    log->pending[RESULT_ACCEPTED] += now->accepted - log->counted.accepted;
    log->pending[RESULT_DUPLICATE] += now->duplicates - log->counted.duplicates;
    log->pending[RESULT_REJECTED] += now->rejected - log->counted.rejected;
    log->pending[RESULT_VOID] += now->voids - log->counted.voids;
    m->position[input] = now->next;
    m->last_timestamp[input] = now->last_offset >= 0 ? now->last_timestamp : 0;
    m->stop[input] = log->stop;
    log->counted = *now;
}

static void count_fold(struct shard *shard, const struct relay_status *relay, int64_t now_ms)
{
    struct shard_metrics *m = figures(shard);
    m->open_day = fold_state(shard->fold)->day;
    m->phase = fold_phase(shard->fold, now_ms);
    m->calls_held = fold_calls_held(shard->fold);
    m->bytes_held = (int64_t)fold_memory(shard->fold);
    m->sequence = shard->row.chain.sequence;
    m->published = relay->published;
}

// The step is committed: what was judged counts, and counts once, in whatever process.
static void count_step(struct shard *shard, const struct step *step)
{
    struct shard_metrics *m = totals(shard);
    for (int i = 0; i < INPUT_COUNT; i++)
        for (int r = 0; r < RESULT_COUNT; r++) {
            m->records[i][r] += shard->log[i].pending[r];
            shard->log[i].pending[r] = 0;
        }
    for (size_t i = 0; i < step->reject_count; i++) m->rejects[step->rejects[i].input][step->rejects[i].reason]++;
    m->settlements += (int64_t)step->settlement_count;
    m->days_closed += step->closed;
}

// ---- locating: ends, epoch, restore ----

static void reset_logs(struct shard *shard)
{
    for (int i = 0; i < INPUT_COUNT; i++) {
        struct input_log *log = &shard->log[i];
        log->stop = FOLD_MORE;
        log->asked = log->located = log->unproved = log->warned = log->ended = false;
        log->stopped_at = 0;
    }
    shard->drained_rejects = shard->decided = shard->compared = false;
    shard->located_step = -1;
}

void shard_assign(struct shard *shard, int64_t mono_ms)
{
    if (shard->state == SHARD_HALTED) return;
    totals(shard)->shown = shard;
    become(shard, SHARD_LOCATING);
    reset_logs(shard);
    shard->retry_at = mono_ms;
    shard->retry_ms = 0;
}

void shard_revoke(struct shard *shard, int64_t mono_ms)
{
    fault_point(shard_revoked);
    drop_blocks(shard);
    switch (shard->state) {
    case SHARD_LOCATING:
    case SHARD_RUNNING:
        if (!shard->fold) {
            become(shard, SHARD_NONE);
            break;
        }
        shard->parked_at = mono_ms;
        become(shard, SHARD_PARKED);
        break;
    case SHARD_REPLAYING:
    case SHARD_FENCED:
        drop_fold(shard);
        become(shard, SHARD_NONE);
        break;
    case SHARD_NONE:
    case SHARD_PARKED:
    case SHARD_HALTED:
        break;
    }
}

static bool ends_known(struct shard *shard)
{
    const struct shard_host *host = shard->host;
    bool all = true;
    for (enum input i = 0; i < INPUT_COUNT; i++) {
        struct input_log *log = &shard->log[i];
        if (!log->asked && !log->located) {
            host->ask_ends(host->context, shard->id, i);
            log->asked = true;
        }
        if (log->asked && host->take_ends(host->context, shard->id, i, &log->ends)) {
            log->asked = false;
            log->located = true;
            figures(shard)->end[i] = log->ends.high;
        }
        all = all && log->located;
    }
    return all;
}

// The database did not answer: the same again later, at growing intervals.
static void back_off(struct shard *shard, int64_t mono_ms, const char *what, const struct error *e)
{
    if (shard->retry_ms == 0)
        log_event(LOG_WARN, "the database does not answer, trying on", "shard", LOG_INT(shard->id), "at", LOG_STR(what),
                  "reason", LOG_STR(e->text), LOG_END);
    shard->host->metrics->postgres_up = 0;
    shard->retry_ms = shard->retry_ms == 0 ? RETRY_MIN_MS : shard->retry_ms * 2;
    if (shard->retry_ms > RETRY_MAX_MS) shard->retry_ms = RETRY_MAX_MS;
    shard->retry_at = mono_ms + shard->retry_ms;
}

static void fenced(struct shard *shard, int64_t mono_ms)
{
    log_event(LOG_WARN, "another process owns the shard, waiting one session time-out before looking again", "shard",
              LOG_INT(shard->id), "epoch", LOG_INT(shard->row.epoch), LOG_END);
    fault_point(shard_fenced);
    drop_blocks(shard);
    drop_fold(shard);
    if (shard->state != SHARD_FENCED) become(shard, SHARD_FENCED);
    shard->retry_at = mono_ms + shard->host->session_ms;
}

// True when the call went well. Otherwise the shard waits, is fenced, or halts.
static bool answered(struct shard *shard, enum store_result result, int64_t mono_ms, const char *what,
                     const struct error *e)
{
    switch (result) {
    case STORE_OK:
        if (shard->retry_ms > 0)
            log_event(LOG_INFO, "the database answers again", "shard", LOG_INT(shard->id), LOG_END);
        shard->retry_ms = 0;
        shard->host->metrics->postgres_up = 1;
        return true;
    case STORE_UNAVAILABLE:
        back_off(shard, mono_ms, what, e);
        return false;
    case STORE_FENCED:
        fenced(shard, mono_ms);
        return false;
    case STORE_DIVERGED:
    case STORE_FAILED:
        halt(shard, e);
        return false;
    }
    return false;
}

// Refuses when the logs are not those that were read, or no longer reach back far enough.
static int check_log(const struct shard *shard, enum input input, int64_t needed, const struct log_state *state,
                     struct error *e)
{
    const struct log_ends *ends = &shard->log[input].ends;
    const char *topic = shard->host->input_topics[input];
    if (needed < ends->low)
        return error_set(e, ERROR_CONFIG,
                         "%s/%" PRId32 ": offsets %" PRId64 " to %" PRId64
                         " are needed and are not kept any more (the log starts at %" PRId64
                         "); restore them, or see the runbook: retention is too short",
                         topic, shard->id, needed, ends->low - 1, ends->low);
    if (state->next > ends->high)
        return error_set(e, ERROR_CONFIG,
                         "%s/%" PRId32 ": read up to offset %" PRId64 ", but the log ends at %" PRId64
                         ": the topic was deleted and made again, or the cluster lost data; see the runbook",
                         topic, shard->id, state->next, ends->high);
    return 0;
}

// Where each log is read from: the calls from where replay starts, and in front of that the last record read, which
// must be the one that is remembered, as long as the log still keeps it.
static int find_starts(struct shard *shard, bool replay, int64_t starts[INPUT_COUNT], struct error *e)
{
    const struct fold_state *state = replay ? &shard->row.state : fold_state(shard->fold);
    for (enum input i = 0; i < INPUT_COUNT; i++) {
        const struct log_state *log = &state->log[i];
        starts[i] = replay && i == INPUT_CALLS ? state->calls_from : log->next;
        if (check_log(shard, i, starts[i], log, e)) return -1;
        // Within what is replayed the fold itself compares.
        shard->log[i].unproved = log->last_offset >= shard->log[i].ends.low && log->last_offset < starts[i];
        if (shard->log[i].unproved) starts[i] = log->last_offset;
    }
    return 0;
}

static enum store_result new_fold(struct shard *shard, struct error *e)
{
    const struct shard_host *host = shard->host;
    struct fold_options options = {.shard = shard->id, .max_calls_held = host->max_calls_held};
    memcpy(options.id_key, host->id_key, sizeof options.id_key);
    shard->fold = fold_create(&options, host->policy(host->context));
    if (!shard->fold) return error_set(e, ERROR_RESTART, "memory is short for the fold"), STORE_FAILED;
    if (shard->row.begun) return host->restore(host->context, shard->id, &shard->row, shard->fold, e);
    int64_t lows[INPUT_COUNT];
    for (int i = 0; i < INPUT_COUNT; i++) lows[i] = shard->log[i].ends.low;
    fold_begin(shard->fold, lows);
    return STORE_OK;
}

static void start_reading(struct shard *shard, bool replay)
{
    const struct shard_host *host = shard->host;
    struct error e;
    int64_t starts[INPUT_COUNT];
    bool log_append = host->policy(host->context)->fixed.timestamps == TIMESTAMPS_LOG_APPEND;
    if (find_starts(shard, replay && shard->row.begun, starts, &e)) {
        halt(shard, &e);
        return;
    }
    for (int i = 0; i < INPUT_COUNT; i++) {
        shard->log[i].reader.log_append = log_append;
        shard->log[i].counted = fold_state(shard->fold)->log[i];
    }
    host->start(host->context, shard->id, starts);
    bool done = true;
    if (replay && shard->row.begun && fold_replay_reached(shard->fold, starts[INPUT_CALLS], &done, &e)) {
        halt(shard, &e);
        return;
    }
    become(shard, done ? SHARD_RUNNING : SHARD_REPLAYING);
    char day[DAY_TEXT_SIZE];
    log_event(LOG_INFO, "shard claimed", "shard", LOG_INT(shard->id), "epoch", LOG_INT(shard->row.epoch), "day",
              LOG_STR(calendar_format_day(fold_state(shard->fold)->day, day)), "state",
              LOG_STR(!shard->row.begun ? "new"
                      : replay          ? "restored"
                                        : "kept"),
              "calls_from", LOG_INT(starts[INPUT_CALLS]), "accounts", LOG_INT((int64_t)fold_account_count(shard->fold)),
              LOG_END);
}

// Whoever had the shard before may have read on since the ends were asked for. Asked for after its last commit they tell
// whether the logs are there. True: wait for them.
static bool ask_ends_again(struct shard *shard, const struct shard_row *row)
{
    bool beyond = false;
    for (int i = 0; i < INPUT_COUNT; i++) beyond = beyond || row->state.log[i].next > shard->log[i].ends.high;
    if (!row->begun || !beyond || shard->located_step == row->step) return false;
    shard->located_step = row->step;
    for (int i = 0; i < INPUT_COUNT; i++) shard->log[i].located = false;
    return true;
}

static void run_locating(struct shard *shard, int64_t mono_ms)
{
    const struct shard_host *host = shard->host;
    struct shard_row row;
    struct error e;
    if (mono_ms < shard->retry_at || !ends_known(shard)) return;
    fault_point(claim_before);
    enum store_result result = host->refresh_policy(host->context, &e);
    if (result == STORE_OK) result = host->claim(host->context, shard->id, &row, &e);
    if (!answered(shard, result, mono_ms, "claim", &e)) return;
    fault_point(claim_after);
    if (ask_ends_again(shard, &row)) return;
    // Nobody else has been here: what is in memory goes on, with what it has not committed yet.
    bool keep = shard->fold && row.epoch == shard->row.epoch + 1 && row.step == shard->row.step;
    if (shard->fold && !keep) drop_fold(shard);
    shard->row = row;
    if (!keep) {
        result = new_fold(shard, &e);
        if (result != STORE_OK) drop_fold(shard);
        if (!answered(shard, result, mono_ms, "restore", &e)) return;
    }
    fault_point(shard_restored);
    host->relay_add(host->context, shard->id, row.epoch);
    start_reading(shard, !keep);
    shard->requests_at = mono_ms;
}

// ---- reading ----

static bool next_block(struct shard *shard, enum input input)
{
    struct reader *reader = &shard->log[input].reader;
    if (reader_peek(reader)) return true;
    if (reader->block) shard->host->release_block(shard->host->context, shard->id, input, reader->block);
    reader->block = shard->host->next_block(shard->host->context, shard->id, input);
    reader->at = 0;
    return reader->block != NULL;
}

// The record at last_offset comes first: the log is the one that was read only if it is the one that is remembered.
static bool prove(struct shard *shard, enum input input, const struct raw *raw)
{
    struct input_log *log = &shard->log[input];
    const struct log_state *state = &fold_state(shard->fold)->log[input];
    struct event event = {.key = raw_key(raw), .value = raw_value(raw)};
    log->unproved = false;
    if (raw->kind == RAW_RECORD && raw->offset == state->last_offset && raw->timestamp == state->last_timestamp &&
        fold_record_hash(&event) == state->last_hash)
        return true;
    struct error e;
    error_set(
        &e, ERROR_CONFIG,
        "%s/%" PRId32 ": the record at offset %" PRId64
        " is not the one that was read there: the topic was deleted and made again, or rewritten; see the runbook",
        shard->host->input_topics[input], shard->id, state->last_offset);
    halt(shard, &e);
    return false;
}

// Before anything is judged. False: not yet, or halted.
static bool prove_logs(struct shard *shard)
{
    bool all = true;
    for (enum input i = 0; i < INPUT_COUNT; i++) {
        struct input_log *log = &shard->log[i];
        if (log->unproved && next_block(shard, i) && !prove(shard, i, reader_peek(&log->reader))) return false;
        all = all && !log->unproved;
    }
    return all;
}

static bool all_ended(const struct shard *shard)
{
    bool ended = shard->draining;
    for (int i = 0; i < INPUT_COUNT; i++) ended = ended && shard->log[i].ended;
    return ended;
}

// In a drain: this log is done. Days that are due are cut where it ends.
static void end_log(struct shard *shard, enum input input, int64_t end, int64_t now_ms)
{
    shard->log[input].ended = true;
    if (fold_wants_end(shard->fold, input, now_ms)) fold_clock_end(shard->fold, input, end, now_ms);
}

static void stop_log(struct shard *shard, enum input input, enum fold_stop stop, int64_t mono_ms, int64_t now_ms)
{
    struct input_log *log = &shard->log[input];
    int64_t next = fold_state(shard->fold)->log[input].next;
    bool again = log->stop == stop;
    log->stop = stop;
    if (stop != FOLD_FUTURE) {
        log->stopped_at = 0;
        log->warned = false;
    }
    switch (stop) {
    case FOLD_CUT:
        fault_point(log_cut);
        break;
    case FOLD_MORE:
    case FOLD_BROKEN:
    case FOLD_FULL:
        break;
    case FOLD_AHEAD:
        log->retry_at = mono_ms + CLOCK_RETRY_MS;
        if (shard->draining) log->ended = true;
        break;
    case FOLD_FUTURE:
        log->retry_at = mono_ms + CLOCK_RETRY_MS;
        if (shard->draining) end_log(shard, input, next, now_ms);
        if (log->stopped_at == 0) log->stopped_at = mono_ms;
        // A drain ends there: nothing comes to pass by waiting.
        if (log->warned || (!shard->draining && mono_ms - log->stopped_at < FUTURE_WARN_MS)) break;
        log->warned = true;
        log_event(LOG_WARN,
                  "a record's timestamp is ahead of the clock or of another type than configured: its log waits; "
                  "settled rejects pass lets it through",
                  "shard", LOG_INT(shard->id), "topic", LOG_STR(shard->host->input_topics[input]), "offset",
                  LOG_INT(next), LOG_END);
        break;
    case FOLD_SCHEMA:
        break; // log->generation is from before it was asked for
    case FOLD_REJECTS:
        if (shard->draining) shard->drained_rejects = log->ended = true;
        if (again) break;
        log_event(LOG_ERROR, "too many rejects: the log waits for settled rejects requeue or accept", "shard",
                  LOG_INT(shard->id), "topic", LOG_STR(shard->host->input_topics[input]), "offset", LOG_INT(next),
                  "rejects", LOG_INT(fold_state(shard->fold)->log[input].unresolved), LOG_END);
        break;
    case FOLD_STEP_FULL:
        shard->must_commit = true;
        break;
    }
}

// Something happened that may let any log go on: each is looked at again.
static void resume_logs(struct shard *shard)
{
    for (int i = 0; i < INPUT_COUNT; i++) {
        shard->log[i].stop = FOLD_MORE;
        shard->log[i].ended = false;
    }
    shard->drained_rejects = shard->decided = false;
}

static bool may_read(const struct shard *shard, const struct input_log *log, int64_t mono_ms)
{
    switch (log->stop) {
    case FOLD_MORE:
        return true;
    case FOLD_AHEAD:
    case FOLD_FUTURE:
        return mono_ms >= log->retry_at;
    case FOLD_SCHEMA:
        return shard->host->writers_generation(shard->host->context) != log->generation;
    default:
        return false;
    }
}

void shard_say_full(const struct metrics *metrics, int64_t held, int64_t most, struct error *e)
{
    int64_t waiting = metrics_calls_waiting(metrics);
    error_set(e, ERROR_CONFIG,
              "%" PRId64 " calls of open and retained days are held, run.max_calls_held allows %" PRId64
              ", and %" PRId64 " more records wait in the logs: set it to at least %" PRId64
              " (about 40 bytes of memory a call), or spread the shards over more processes",
              held, most, waiting, held + waiting);
}

static void broken(struct shard *shard, enum fold_stop stop, struct error *e)
{
    if (stop == FOLD_FULL)
        shard_say_full(shard->host->metrics, fold_calls_held(shard->fold), shard->host->max_calls_held, e);
    halt(shard, e);
}

// Takes one entry or one batch. False: the log cannot go on for now.
static bool judge_some(struct shard *shard, enum input input, int64_t mono_ms, int64_t now_ms)
{
    struct input_log *log = &shard->log[input];
    struct reader *reader = &log->reader;
    struct shard_scratch *scratch = shard->host->scratch;
    const struct raw *raw = reader_peek(reader);
    enum fold_stop stop;
    struct error e;
    if (raw->kind == RAW_END || raw->offset >= shard->drain[input]) {
        int64_t end = raw->offset < shard->drain[input] ? raw->offset : shard->drain[input];
        stop = fold_reached(shard->fold, input, end);
        // A log that is cut before this end learns of it again in the next day.
        if (raw->kind == RAW_END && stop == FOLD_MORE) reader->at += raw_bytes(RAW_NULL, RAW_NULL);
    } else {
        // Read before the schemas are asked for: an answer in between is not missed.
        log->generation = shard->host->writers_generation(shard->host->context);
        size_t taken, count = reader_decode(reader, shard->host, shard->drain[input]);
        stop = fold_records(shard->fold, input, scratch->events, count, now_ms, &taken, &e);
        if (taken > 0) reader->at = scratch->after[taken - 1];
    }
    if (stop == FOLD_FULL || stop == FOLD_BROKEN) {
        broken(shard, stop, &e);
        return false;
    }
    stop_log(shard, input, stop, mono_ms, now_ms);
    return stop == FOLD_MORE;
}

// True when it stopped only because its turn was over.
static bool read_log(struct shard *shard, enum input input, int64_t mono_ms, int64_t now_ms)
{
    struct input_log *log = &shard->log[input];
    bool more = may_read(shard, log, mono_ms) && !log->ended;
    for (int i = 0; more && i < TURN_BATCHES; i++) {
        if (fold_state(shard->fold)->log[input].next >= shard->drain[input]) {
            end_log(shard, input, shard->drain[input], now_ms);
            more = false;
        } else {
            more = next_block(shard, input) && judge_some(shard, input, mono_ms, now_ms);
        }
    }
    return more && shard->state == SHARD_RUNNING;
}

static bool run_replay(struct shard *shard)
{
    struct input_log *log = &shard->log[INPUT_CALLS];
    struct reader *reader = &log->reader;
    struct error e;
    bool done = false;
    if (!prove_logs(shard)) return false;
    for (int i = 0; i < TURN_BATCHES && !done; i++) {
        if (log->stop == FOLD_SCHEMA && shard->host->writers_generation(shard->host->context) == log->generation)
            return false;
        log->stop = FOLD_MORE;
        if (!next_block(shard, INPUT_CALLS)) return false;
        const struct raw *raw = reader_peek(reader);
        log->generation = shard->host->writers_generation(shard->host->context);
        size_t count = raw->kind == RAW_END ? 0 : reader_decode(reader, shard->host, INT64_MAX);
        bool pending = count > 0 && shard->host->scratch->events[count - 1].schema_pending;
        if (pending) {
            log->stop = FOLD_SCHEMA;
            count--;
        }
        int failed = raw->kind == RAW_END ? fold_replay_reached(shard->fold, raw->offset, &done, &e)
                                          : fold_replay(shard->fold, shard->host->scratch->events, count, &done, &e);
        if (failed) {
            halt(shard, &e);
            return false;
        }
        // What lies beyond the committed position is judged from here on; the fold drops what lies before it.
        if (done) break;
        if (raw->kind == RAW_END)
            reader->at += raw_bytes(RAW_NULL, RAW_NULL);
        else if (count > 0)
            reader->at = shard->host->scratch->after[count - 1];
    }
    if (!done) return true;
    fault_point(replay_end);
    become(shard, SHARD_RUNNING);
    log_event(LOG_INFO, "calls replayed", "shard", LOG_INT(shard->id), "position",
              LOG_INT(fold_state(shard->fold)->log[INPUT_CALLS].next), "calls_held",
              LOG_INT(fold_calls_held(shard->fold)), LOG_END);
    return true;
}

// ---- steps ----

static bool has_effects(const struct step *step)
{
    return step->reject_count || step->credit_count || step->status_count || step->decision_count ||
           step->touched_package_count || step->held || step->closed;
}

static int64_t elapsed_us(const struct timespec *since)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)(now.tv_sec - since->tv_sec) * 1000000 + (now.tv_nsec - since->tv_nsec) / 1000;
}

static bool build_outbox(struct shard *shard, const struct step *step)
{
    const struct shard_host *host = shard->host;
    struct encode_context cx = encode_context_of(fold_policy(shard->fold), step, shard->id, host->input_topics);
    struct error e;
    if (outbox_build(&shard->outbox, host->encoder, &cx, shard->fold, &shard->row.chain, &e)) {
        halt(shard, &e);
        return false;
    }
    shard->built = true;
    fault_point(step_built);
    return true;
}

static void log_close(const struct shard *shard, const struct step *step)
{
    char day[DAY_TEXT_SIZE], amount[MONEY_TEXT_SIZE];
    if (step->closed)
        log_event(LOG_INFO, "day settled", "shard", LOG_INT(shard->id), "day",
                  LOG_STR(calendar_format_day(step->close.day, day)), "settlements", LOG_INT(step->close.settlements),
                  "amount", LOG_STR(money_format_yuan(step->close.amount, amount)), "digest",
                  LOG_STR(shard->outbox.digest), LOG_END);
    if (step->held)
        log_event(LOG_ERROR, "the day is held: too many broken calls; settled rejects requeue or accept", "shard",
                  LOG_INT(shard->id), "day", LOG_STR(calendar_format_day(fold_state(shard->fold)->day, day)), "broken",
                  LOG_INT(fold_state(shard->fold)->log[INPUT_CALLS].unresolved_broken), LOG_END);
}

// What was folded cannot stand (it was judged by parameters that are out of date): begin again from what is recorded.
static void restore_again(struct shard *shard, int64_t mono_ms, const struct error *e)
{
    log_event(LOG_WARN, "the shard is restored again", "shard", LOG_INT(shard->id), "reason", LOG_STR(e->text),
              LOG_END);
    drop_blocks(shard);
    drop_fold(shard);
    become(shard, SHARD_LOCATING);
    reset_logs(shard);
    shard->retry_at = mono_ms;
}

static void commit(struct shard *shard, int64_t mono_ms)
{
    const struct shard_host *host = shard->host;
    const struct step *step = fold_step(shard->fold);
    struct timespec begun;
    struct error e;
    if (!shard->built && !build_outbox(shard, step)) return;
    clock_gettime(CLOCK_MONOTONIC, &begun);
    enum store_result result = host->commit(host->context, shard->id, &shard->row, shard->fold, &shard->outbox,
                                            host->clock_ms(host->context), &e);
    if (result == STORE_FAILED && e.kind == ERROR_RESTART) {
        restore_again(shard, mono_ms, &e);
        return;
    }
    if (!answered(shard, result, mono_ms, "commit", &e)) return;
    fault_point(step_committed);
    metrics_commit(host->metrics, elapsed_us(&begun));
    count_step(shard, step);
    log_close(shard, step);
    if (shard->outbox.count > 0) host->relay_wake(host->context, shard->id, shard->row.chain.sequence);
    fold_step_done(shard->fold);
    fault_point(step_done);
    shard->built = shard->must_commit = false;
    shard->effects_at = shard->moved_at = 0;
    resume_logs(shard);
}

// The relay has compared what Kafka holds with the database. Rows that were written before, on top of a database that a
// fail-over took published ones from, could not be told from these, and "settled repair" could not undo them. True is
// looked for once: it stays so while the relay has the shard.
static bool is_compared(struct shard *shard)
{
    if (!shard->compared) shard->compared = shard->host->relay_status(shard->host->context, shard->id).published >= 0;
    return shard->compared;
}

static void commit_when_due(struct shard *shard, int64_t mono_ms)
{
    const struct step *step = fold_step(shard->fold);
    if (shard->effects_at == 0 && has_effects(step)) shard->effects_at = mono_ms;
    if (shard->moved_at == 0 && step->moved) shard->moved_at = mono_ms;
    bool due = shard->must_commit || step->closed || step->held || (all_ended(shard) && shard->moved_at != 0) ||
               (shard->effects_at != 0 && mono_ms - shard->effects_at >= EFFECTS_MS) ||
               (shard->moved_at != 0 && mono_ms - shard->moved_at >= POSITIONS_MS);
    if (due && mono_ms >= shard->retry_at && is_compared(shard)) commit(shard, mono_ms);
}

// ---- days ----

static void ask_for_ends(struct shard *shard, int64_t now_ms)
{
    const struct shard_host *host = shard->host;
    for (enum input i = 0; i < INPUT_COUNT; i++) {
        struct input_log *log = &shard->log[i];
        if (log->asked && host->take_ends(host->context, shard->id, i, &log->ends)) {
            log->asked = false;
            figures(shard)->end[i] = log->ends.high;
            fold_clock_end(shard->fold, i, log->ends.high, log->ends.asked_at);
            if (fold_cut(shard->fold, i) != CUT_NONE) log->stop = FOLD_CUT;
        }
        if (log->asked || !fold_wants_end(shard->fold, i, now_ms)) continue;
        host->ask_ends(host->context, shard->id, i);
        log->asked = true;
    }
}

static void end_drained_logs(struct shard *shard, int64_t now_ms)
{
    for (enum input i = 0; i < INPUT_COUNT; i++)
        if (shard->log[i].ended && shard->log[i].stop != FOLD_AHEAD && shard->log[i].stop != FOLD_REJECTS)
            end_log(shard, i, fold_state(shard->fold)->log[i].next, now_ms);
}

// Parameters that are recorded now are taken over between two steps: what a step holds was judged by those of before,
// and its commit checks that these were enough. False: the step has to be committed first.
static bool follow_policy(struct shard *shard)
{
    const struct policy *current = shard->host->policy(shard->host->context);
    if (fold_policy(shard->fold) == current) return true;
    if (fold_step(shard->fold)->moved) {
        shard->must_commit = true;
        return false;
    }
    fold_set_policy(shard->fold, current);
    return true;
}

// The next day opens by the parameters that are recorded now: the commit checks that none came in between.
static void close_when_due(struct shard *shard, int64_t mono_ms)
{
    struct error e;
    if (fold_step(shard->fold)->closed || !fold_close_due(shard->fold) || mono_ms < shard->retry_at) return;
    enum store_result result = shard->host->refresh_policy(shard->host->context, &e);
    if (!answered(shard, result, mono_ms, "parameters", &e) || !follow_policy(shard)) return;
    for (enum input i = 0; i < INPUT_COUNT; i++) count_log(shard, i);
    fault_point(close_before);
    if (fold_close(shard->fold, &e)) halt(shard, &e);
    fault_point(close_after);
}

// ---- operators ----

// A record that was requeued is judged before the reject it came from is taken off, unless the log waits for just that.
static bool must_wait(const struct shard *shard, const struct request *request)
{
    const struct input_log *log = &shard->log[request->decision.input];
    return request->decision.kind == DECISION_REQUEUE && log->stop != FOLD_REJECTS &&
           request->new_offset >= fold_state(shard->fold)->log[request->decision.input].next;
}

static void serve_requests(struct shard *shard, int64_t mono_ms)
{
    const struct shard_host *host = shard->host;
    struct request requests[REQUESTS_MAX];
    struct error e, why;
    size_t count = 0, applied = 0;
    bool ended = all_ended(shard), refused = false;
    if (ended && !shard->decided)
        shard->requests_at = mono_ms; // a drain is done only when it has looked behind its end
    if (mono_ms < shard->requests_at || mono_ms < shard->retry_at || fold_step(shard->fold)->decision_count > 0 ||
        fold_step(shard->fold)->closed)
        return;
    shard->requests_at = mono_ms + REQUESTS_MS;
    enum store_result result = host->load_requests(host->context, shard->id, requests, REQUESTS_MAX, &count, &e);
    if (!answered(shard, result, mono_ms, "requests", &e)) return;
    for (size_t i = 0; i < count && !refused && shard->state == SHARD_RUNNING; i++) {
        const struct request *request = &requests[i];
        if (must_wait(shard, request)) continue;
        if (fold_decide(shard->fold, &request->decision, request->reason, &why) == 0) {
            log_event(LOG_INFO, "operator's decision applied", "shard", LOG_INT(shard->id), "kind",
                      LOG_STR(decision_symbol(request->decision.kind)), "operator",
                      LOG_STR(request->decision.operator_name), "content", LOG_STR(request->decision.content), LOG_END);
            shard->must_commit = true;
            applied++;
            continue;
        }
        // Refusing ends the validity of the requests' strings: the rest comes with the next look.
        answered(shard, host->refuse_request(host->context, request->id, why.text, &e), mono_ms, "requests", &e);
        refused = true;
    }
    shard->decided = ended && applied == 0 && !refused;
    if (refused || (count == REQUESTS_MAX && applied > 0)) shard->requests_at = mono_ms;
    if (applied > 0) resume_logs(shard);
}

// ---- turns ----

static bool run_running(struct shard *shard, int64_t mono_ms)
{
    int64_t now_ms = shard->host->clock_ms(shard->host->context), step = shard->row.step;
    bool more = false;
    if (!prove_logs(shard)) return false;
    // A step that waits for its commit is left as it is.
    if (!shard->built && !fold_step(shard->fold)->closed) {
        follow_policy(shard);
        for (enum input i = 0; i < INPUT_COUNT && shard->state == SHARD_RUNNING; i++) {
            more |= read_log(shard, i, mono_ms, now_ms);
            if (shard->state == SHARD_RUNNING) count_log(shard, i);
        }
        if (shard->state != SHARD_RUNNING) return false;
        if (shard->draining)
            end_drained_logs(shard, now_ms);
        else
            ask_for_ends(shard, now_ms);
        serve_requests(shard, mono_ms);
        if (shard->state == SHARD_RUNNING) close_when_due(shard, mono_ms);
    }
    if (shard->state == SHARD_RUNNING) commit_when_due(shard, mono_ms);
    if (shard->state != SHARD_RUNNING) return false;
    struct relay_status relay = shard->host->relay_status(shard->host->context, shard->id);
    count_fold(shard, &relay, now_ms);
    if (relay.halted) {
        halt(shard, &relay.error);
        return false;
    }
    if (relay.lost) {
        fenced(shard, mono_ms);
        return false;
    }
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
        if (shard->effects_at != 0) at = sooner(at, shard->effects_at + EFFECTS_MS);
        if (shard->moved_at != 0) at = sooner(at, shard->moved_at + POSITIONS_MS);
        for (int i = 0; i < INPUT_COUNT; i++)
            if (shard->log[i].stop == FOLD_AHEAD || shard->log[i].asked) at = sooner(at, mono_ms + CLOCK_RETRY_MS);
        if (!is_compared(shard)) at = mono_ms + CLOCK_RETRY_MS;
    }
    if (shard->state == SHARD_LOCATING) at = sooner(at, mono_ms + CLOCK_RETRY_MS);
    // A database that does not answer is not asked more often than backing off allows.
    if (shard->retry_at > mono_ms && at < shard->retry_at) at = sooner(shard->retry_at, mono_ms + IDLE_MS);
    shard->deadline = at;
}

bool shard_run(struct shard *shard, int64_t mono_ms)
{
    bool more = false;
    switch (shard->state) {
    case SHARD_LOCATING:
        run_locating(shard, mono_ms);
        break;
    case SHARD_REPLAYING:
        more = run_replay(shard);
        break;
    case SHARD_RUNNING:
        more = run_running(shard, mono_ms);
        break;
    case SHARD_PARKED:
        if (mono_ms - shard->parked_at < PARK_MS) break;
        drop_fold(shard);
        become(shard, SHARD_NONE);
        break;
    case SHARD_FENCED:
        if (mono_ms >= shard->retry_at) {
            become(shard, SHARD_LOCATING);
            reset_logs(shard);
        }
        break;
    case SHARD_NONE:
    case SHARD_HALTED:
        break;
    }
    find_deadline(shard, mono_ms);
    return more;
}

int64_t shard_deadline(const struct shard *shard)
{
    return shard->deadline;
}

void shard_finish(struct shard *shard)
{
    fault_point(shard_shutdown);
    if (shard->state == SHARD_RUNNING && shard->retry_ms == 0 && fold_step(shard->fold)->moved && is_compared(shard))
        commit(shard, 0);
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

bool shard_drained(const struct shard *shard, bool *held)
{
    *held = false;
    if (shard->state != SHARD_RUNNING || shard->built) return false;
    int64_t now_ms = shard->host->clock_ms(shard->host->context);
    const struct step *step = fold_step(shard->fold);
    if (step->moved || step->closed || fold_close_due(shard->fold) || !shard->decided) return false;
    for (enum input i = 0; i < INPUT_COUNT; i++)
        if (!shard->log[i].ended || (fold_wants_end(shard->fold, i, now_ms) && shard->log[i].stop != FOLD_REJECTS))
            return false;
    *held = fold_state(shard->fold)->held || shard->drained_rejects;
    struct relay_status relay = shard->host->relay_status(shard->host->context, shard->id);
    return relay.published >= shard->row.chain.sequence;
}

bool shard_positions(const struct shard *shard, int64_t out[INPUT_COUNT])
{
    if (shard->state != SHARD_RUNNING || !shard->row.begun) return false;
    for (int i = 0; i < INPUT_COUNT; i++) out[i] = shard->row.state.log[i].next;
    return true;
}
