// From blocks into the fold, and the calls again from where replay starts.
#include "consumer/shard/shard_parts.h"

#include "consumer/core/log_proof.h"
#include "consumer/system/fault.h"
#include "consumer/system/log.h"
#include "consumer/usage/calls.h"

#include <assert.h>
#include <inttypes.h>

enum {
    TURN_BATCHES = 64, // of one log, before the next one has its turn
    FUTURE_WARN_MS = 60000,
};

static bool next_block(struct shard *shard, enum input input)
{
    struct record_decoder *reader = &shard->log[input].reader;
    if (record_decoder_peek(reader))
        return true;
    if (reader->block) {
        assert(reader->at == reader->block->used); // no record was left out
        shard->host->release_block(shard->host->context, shard->id, input, reader->block);
    }
    reader->block = shard->host->next_block(shard->host->context, shard->id, input);
    reader->at = 0;
    shard->log[input].count_seen = false;
    if (reader->block)
        assert(reader->block->used > 0);
    return reader->block != NULL;
}

// The record at last_offset comes first: the log is the one that was read only if it is the one
// that is remembered.
static bool prove(struct shard *shard, enum input input, const struct raw *raw, int64_t mono_ms)
{
    struct input_log *log = &shard->log[input];
    const struct log_state *state = &fold_state(shard->fold)->log[input];
    assert(log->unproved);
    const struct event event = {.offset = raw->offset,
                                .timestamp = raw->timestamp,
                                .key = raw_key(raw),
                                .value = raw_value(raw)};
    bool snapshots = input == INPUT_CALLS && shard->from_snapshot;
    log->unproved = false;
    if (raw->kind == RAW_RECORD &&
        (snapshots ? shard_proves_snapshot(shard, &event) : log_proof_holds(state, &event))) {
        // While it replays, the counts are still to be compared.
        shard->from_snapshot = shard->from_snapshot && shard->state == SHARD_REPLAYING;
        return true;
    }
    if (snapshots && shard_blames_snapshot(shard, "its last record is not in the log", mono_ms))
        return false;
    struct error e;
    const struct log_place place = {shard->host->input_topics[input], shard->id};
    log_proof_refuse(&place, state, &e);
    shard_halt(shard, &e);
    return false;
}

bool shard_prove_logs(struct shard *shard, int64_t mono_ms)
{
    bool all = true;
    for (enum input i = 0; i < INPUT_COUNT; i++) {
        struct input_log *log = &shard->log[i];
        if (log->unproved && next_block(shard, i) &&
            !prove(shard, i, record_decoder_peek(&log->reader), mono_ms))
            return false;
        all = all && !log->unproved;
    }
    return all;
}

bool shard_all_ended(const struct shard *shard)
{
    bool ended = shard->draining;
    for (int i = 0; i < INPUT_COUNT; i++)
        ended = ended && shard->log[i].ended;
    return ended;
}

void shard_end_log(struct shard *shard, enum input input, int64_t end, int64_t now_ms)
{
    assert(shard->draining);
    shard->log[input].ended = true;
    if (fold_wants_end(shard->fold, input, now_ms))
        fold_clock_end(shard->fold, input, end, now_ms);
}

// A record whose time has not come: the log waits before it, and says so after a while.
static void stop_before_future(struct shard *shard, enum input input, int64_t next, int64_t mono_ms,
                               int64_t now_ms)
{
    struct input_log *log = &shard->log[input];
    log->retry_at = mono_ms + SHARD_CLOCK_RETRY_MS;
    if (shard->draining)
        shard_end_log(shard, input, next, now_ms);
    if (log->stopped_at == 0)
        log->stopped_at = mono_ms;
    // A drain ends there: nothing comes to pass by waiting.
    if (log->warned || (!shard->draining && mono_ms - log->stopped_at < FUTURE_WARN_MS))
        return;
    log->warned = true;
    log_event(LOG_WARN,
              "a record's timestamp is ahead of the clock or of another type than configured: "
              "its log waits; settled rejects pass lets it through",
              LOG_FIELDS(log_int("shard", shard->id),
                         log_text("topic", shard->host->input_topics[input]),
                         log_int("offset", next)));
}

static void stop_log(struct shard *shard, enum input input, enum fold_stop stop, int64_t mono_ms,
                     int64_t now_ms)
{
    struct input_log *log = &shard->log[input];
    int64_t next = fold_state(shard->fold)->log[input].next;
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
        log->retry_at = mono_ms + SHARD_CLOCK_RETRY_MS;
        if (shard->draining)
            log->ended = true;
        break;
    case FOLD_FUTURE:
        stop_before_future(shard, input, next, mono_ms, now_ms);
        break;
    case FOLD_COUNT: // asked for when it stopped
    case FOLD_SCHEMA: // log->generation is from before it was asked for
        break;
    case FOLD_REJECTS:
        if (shard->draining)
            shard->drained_rejects = log->ended = true;
        if (log->rejects_told == next) // each commit tries again
            break;
        log->rejects_told = next;
        log_event(
            LOG_ERROR, "too many rejects: the log waits for settled rejects requeue or accept",
            LOG_FIELDS(log_int("shard", shard->id),
                       log_text("topic", shard->host->input_topics[input]), log_int("offset", next),
                       log_int("rejects", fold_state(shard->fold)->log[input].undecided)));
        break;
    case FOLD_STEP_FULL:
        assert(fold_step(shard->fold)->moved);
        shard->must_commit = true;
        break;
    }
}

void shard_resume_logs(struct shard *shard)
{
    for (int i = 0; i < INPUT_COUNT; i++) {
        shard->log[i].stop = FOLD_MORE;
        shard->log[i].ended = false;
    }
    shard->drained_rejects = shard->decided = false;
}

// R71: a producer that has found more partitions sends by their count. So whether a record is in
// the wrong one is known only by a count that was looked at after the record was read.
static bool is_counted(const struct shard *shard, const struct input_log *log)
{
    const struct block *block = log->reader.block;
    assert(block); // it stopped within it
    return shard->host->counts_right(shard->host->context, block->read_at);
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
        return shard->host->writer_schemas_generation(shard->host->context) != log->generation;
    case FOLD_COUNT:
        return is_counted(shard, log);
    default:
        return false;
    }
}

void shard_say_full(const struct metrics *metrics, int64_t resident, int64_t most, struct error *e)
{
    int64_t waiting = metrics_calls_waiting(metrics);
    error_set(e, ERROR_CONFIG,
              "%" PRId64
              " calls of open and retained days are held, run.max_calls_held allows %" PRId64
              ", and %" PRId64 " more records wait in the logs: set it to at least %" PRId64
              " (about " CALL_BYTES_RESIDENT_TEXT
              " bytes of memory a call), or spread the shards over more processes",
              resident, most, waiting, resident + waiting);
}

static void broken(struct shard *shard, enum fold_stop stop, struct error *e)
{
    if (stop == FOLD_FULL) {
        const struct metrics *metrics = shard->host->metrics;
        shard_count_calls(shard);
        shard_say_full(metrics, metrics_resident_calls(metrics), shard->host->max_resident_calls,
                       e);
    }
    shard_halt(shard, e);
}

// Takes one entry or one batch. False: the log cannot go on for now.
static bool judge_some(struct shard *shard, enum input input, int64_t mono_ms, int64_t now_ms)
{
    struct input_log *log = &shard->log[input];
    struct record_decoder *reader = &log->reader;
    struct decoder_scratch *scratch = shard->host->source.scratch;
    const struct raw *raw = record_decoder_peek(reader);
    enum fold_stop stop;
    struct error e;
    int64_t before = fold_state(shard->fold)->log[input].next;
    if (raw->kind == RAW_END || raw->offset >= shard->drain[input]) {
        int64_t end = raw->offset < shard->drain[input] ? raw->offset : shard->drain[input];
        stop = fold_reached(shard->fold, input, end);
        // A log that is cut before this end learns of it again in the next day.
        if (raw->kind == RAW_END && stop == FOLD_MORE)
            reader->at += raw_bytes(RAW_NULL, RAW_NULL);
    } else {
        // Read before the schemas are asked for: an answer in between is not missed.
        log->generation = shard->host->writer_schemas_generation(shard->host->context);
        size_t taken;
        size_t count = record_decoder_decode(reader, &shard->host->source, shard->drain[input]);
        fold_set_counted(shard->fold, input, log->count_seen);
        stop = fold_records(shard->fold, input, (struct event_batch){scratch->events, count},
                            now_ms, &taken, &e);
        assert(taken <= count);
        if (stop == FOLD_MORE)
            assert(taken == count);
        if (taken > 0)
            reader->at = scratch->after[taken - 1];
        if (stop == FOLD_COUNT && is_counted(shard, log)) {
            log->count_seen = true;
            stop = FOLD_MORE;
        }
        if (stop == FOLD_SCHEMA)
            log->schema_id = scratch->events[taken].schema_id;
    }
    assert(fold_state(shard->fold)->log[input].next >= before); // I1
    if (stop == FOLD_FULL || stop == FOLD_BROKEN) {
        broken(shard, stop, &e);
        return false;
    }
    stop_log(shard, input, stop, mono_ms, now_ms);
    return stop == FOLD_MORE;
}

bool shard_read_log(struct shard *shard, enum input input, int64_t mono_ms, int64_t now_ms)
{
    struct input_log *log = &shard->log[input];
    // A step that is encoded, or that settles a day, takes nothing more.
    assert(!shard->built);
    assert(!fold_step(shard->fold)->closed);
    bool more = may_read(shard, log, mono_ms) && !log->ended;
    for (int i = 0; more && i < TURN_BATCHES; i++) {
        if (fold_state(shard->fold)->log[input].next >= shard->drain[input]) {
            shard_end_log(shard, input, shard->drain[input], now_ms);
            more = false;
        } else {
            more = next_block(shard, input) && judge_some(shard, input, mono_ms, now_ms);
        }
        shard->host->let_look(shard->host->context, shard->id);
    }
    return more && shard->state == SHARD_RUNNING;
}

// The replay ends at the committed positions and has changed nothing that is to be written.
static void check_replayed(const struct shard *shard)
{
    const struct fold_state *state = fold_state(shard->fold), *row = &shard->row.state;
    assert(shard->row.begun);
    assert(fold_replay_position(shard->fold) == row->log[INPUT_CALLS].next);
    assert(!fold_step(shard->fold)->moved);
    assert(state->day == row->day); // I9
    for (int i = 0; i < INPUT_COUNT; i++)
        assert(state->log[i].next == row->log[i].next);
}

// Gives the next calls at hand to the fold. False: there are none for now, or the shard has halted.
static bool replay_some(struct shard *shard, bool *done, int64_t mono_ms)
{
    struct input_log *log = &shard->log[INPUT_CALLS];
    struct record_decoder *reader = &log->reader;
    const struct decoder_scratch *scratch = shard->host->source.scratch;
    struct error e;
    int64_t before = fold_replay_position(shard->fold);
    size_t count = 0;
    int failed;
    log->stop = FOLD_MORE;
    if (!next_block(shard, INPUT_CALLS))
        return false;
    const struct raw *raw = record_decoder_peek(reader);
    log->generation = shard->host->writer_schemas_generation(shard->host->context);
    if (raw->kind == RAW_END) {
        failed = fold_replay_reached(shard->fold, raw->offset, done, &e);
    } else {
        count = record_decoder_decode(reader, &shard->host->source, INT64_MAX);
        if (count > 0 && scratch->events[count - 1].schema_pending &&
            fold_replay_needs(shard->fold, scratch->events[count - 1].offset)) {
            log->stop = FOLD_SCHEMA;
            count--;
        }
        failed = fold_replay(shard->fold, scratch->events, count, done, &e);
    }
    if (failed) {
        if (!shard_blames_snapshot(shard, e.text, mono_ms))
            shard_halt(shard, &e);
        return false;
    }
    assert(fold_replay_position(shard->fold) >= before);
    shard_count_calls(shard);
    // What lies beyond the committed position is judged from here on; the fold drops what lies
    // before it.
    if (*done)
        return true;
    if (raw->kind == RAW_END)
        reader->at += raw_bytes(RAW_NULL, RAW_NULL);
    else if (count > 0)
        reader->at = scratch->after[count - 1];
    return true;
}

bool shard_replay(struct shard *shard, int64_t mono_ms)
{
    struct input_log *log = &shard->log[INPUT_CALLS];
    bool done = false;
    if (!shard_prove_logs(shard, mono_ms))
        return false;
    for (int i = 0; i < TURN_BATCHES && !done; i++) {
        if (log->stop == FOLD_SCHEMA &&
            shard->host->writer_schemas_generation(shard->host->context) == log->generation)
            return false;
        if (!replay_some(shard, &done, mono_ms))
            return false;
    }
    if (!done)
        return true;
    fault_point(replay_end);
    check_replayed(shard);
    shard->from_snapshot = false;
    shard_become(shard, SHARD_RUNNING);
    shard->untold = fold_state(shard->fold)->held;
    log_event(LOG_INFO, "calls replayed",
              LOG_FIELDS(log_int("shard", shard->id),
                         log_int("position", fold_state(shard->fold)->log[INPUT_CALLS].next),
                         log_int("calls_held", fold_resident_calls(shard->fold))));
    return true;
}
