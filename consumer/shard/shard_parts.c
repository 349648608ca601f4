// What the files of a shard share: its state, its figures, what it holds, and how it takes an
// answer of the database.
#include "consumer/shard/shard_parts.h"

#include "consumer/system/fault.h"
#include "consumer/system/log.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

enum {
    RETRY_MIN_MS = 100, // after the database refused
    RETRY_MAX_MS = 5000,
};

static const char *const state_names[] = {"none",   "locating", "replaying", "running",
                                          "parked", "fenced",   "halted"};
static_assert(sizeof state_names / sizeof *state_names == SHARD_HALTED + 1,
              "each state has a name");

const char *shard_state_name(enum shard_state state)
{
    assert(state <= SHARD_HALTED);
    return state_names[state];
}

struct shard_metrics *shard_totals(const struct shard *shard)
{
    assert(shard->id < shard->host->metrics->partitions);
    return &shard->host->metrics->shards[shard->id];
}

struct shard_metrics *shard_figures(struct shard *shard)
{
    return shard_totals(shard)->shown == shard ? shard_totals(shard) : &shard->hidden;
}

// What may follow what; anything else is a bug.
static const unsigned char followers[] = {
    [SHARD_NONE] = 1 << SHARD_LOCATING,
    [SHARD_LOCATING] = 1 << SHARD_FENCED | 1 << SHARD_NONE | 1 << SHARD_PARKED |
                       1 << SHARD_REPLAYING | 1 << SHARD_RUNNING | 1 << SHARD_HALTED,
    [SHARD_REPLAYING] =
        1 << SHARD_LOCATING | 1 << SHARD_NONE | 1 << SHARD_RUNNING | 1 << SHARD_HALTED,
    [SHARD_RUNNING] =
        1 << SHARD_LOCATING | 1 << SHARD_PARKED | 1 << SHARD_FENCED | 1 << SHARD_HALTED,
    [SHARD_PARKED] = 1 << SHARD_NONE | 1 << SHARD_LOCATING,
    [SHARD_FENCED] = 1 << SHARD_NONE | 1 << SHARD_LOCATING,
    [SHARD_HALTED] = 0,
};
static_assert(sizeof followers == SHARD_HALTED + 1, "each state says what may follow it");

void shard_become(struct shard *shard, enum shard_state state)
{
    assert(followers[shard->state] & 1 << state);
    // Who reads and commits has a fold; who has nothing to do with the shard any more has none.
    if (state == SHARD_REPLAYING || state == SHARD_RUNNING || state == SHARD_PARKED)
        assert(shard->fold != NULL);
    if (state == SHARD_NONE || state == SHARD_FENCED)
        assert(shard->fold == NULL);
    log_event(LOG_DEBUG, "shard changes state",
              LOG_FIELDS(log_int("shard", shard->id), log_text("from", state_names[shard->state]),
                         log_text("to", state_names[state])));
    shard->state = state;
    shard_figures(shard)->state = state;
    shard_figures(shard)->owned = state != SHARD_NONE && state != SHARD_PARKED;
}

void shard_halt(struct shard *shard, const struct error *e)
{
    assert(e->kind != ERROR_NONE); // it says why
    shard->error = *e;
    error_context(&shard->error, "shard %" PRId32, shard->id);
    shard_become(shard, SHARD_HALTED);
}

// ---- what holds ----

// What was folded since the last commit is on top of the row that we know of.
static void check_fold(const struct shard *shard)
{
    const struct fold_state *state = fold_state(shard->fold);
    const struct step *step = fold_step(shard->fold);
    if (shard->built)
        assert(shard->outbox.count == step->emission_count);
    if (shard->moved_at != 0)
        assert(step->moved);
    if (!shard->row.begun)
        return;
    assert(state->day == shard->row.state.day + step->closed); // I9
    assert(state->decisions == shard->row.state.decisions + (int64_t)step->decision_count);
    for (int i = 0; i < INPUT_COUNT; i++)
        assert(state->log[i].next >= shard->row.state.log[i].next);
}

static void check_log(const struct shard *shard, const struct input_log *log)
{
    bool reads = shard->state == SHARD_REPLAYING || shard->state == SHARD_RUNNING;
    if (!reads && shard->state != SHARD_HALTED)
        assert(log->reader.block == NULL);
    if (log->reader.block)
        assert(log->reader.at <= log->reader.block->used);
    if (shard->state == SHARD_LOCATING)
        assert(!(log->asked && log->located));
    if (log->ended)
        assert(shard->draining);
    assert(log->open_since >= 0 || !log->open_said);
}

void shard_check(const struct shard *shard)
{
    for (int i = 0; i < INPUT_COUNT; i++)
        check_log(shard, &shard->log[i]);
    if (shard->fold) {
        check_fold(shard);
    } else {
        assert(!shard->built);
        assert(!shard->must_commit);
        assert(shard->effects_at == 0);
        assert(shard->moved_at == 0);
    }
    if (shard->committing)
        assert(shard->state == SHARD_RUNNING || shard->state == SHARD_HALTED);
    if (shard->decided)
        assert(shard->draining);
    if (shard->drained_rejects)
        assert(shard->draining);
    assert(shard->retry_ms >= 0);
    assert(shard->retry_ms <= RETRY_MAX_MS);
    assert((shard->state == SHARD_HALTED) == (shard->error.kind != ERROR_NONE)); // I10
}

// ---- what it holds ----

void shard_drop_blocks(struct shard *shard)
{
    for (enum input i = 0; i < INPUT_COUNT; i++) {
        struct record_decoder *reader = &shard->log[i].reader;
        if (reader->block)
            shard->host->release_block(shard->host->context, shard->id, i, reader->block);
        reader->block = NULL;
    }
}

void shard_drop_snapshot(struct shard *shard)
{
    if (!shard->snapshot)
        return;
    snapshot_free(shard->snapshot);
    shard->snapshot = NULL;
    shard->host->write_snapshot(shard->host->context, shard->id, NULL);
}

void shard_drop_fold(struct shard *shard)
{
    assert(!shard->committing);
    shard_drop_snapshot(shard);
    shard->from_snapshot = false;
    if (shard->fold)
        shard->host->relay_remove(shard->host->context, shard->id);
    fold_destroy(shard->fold);
    shard->fold = NULL;
    shard->built = shard->queued = shard->must_commit = false;
    shard->effects_at = shard->moved_at = 0;
    for (int i = 0; i < INPUT_COUNT; i++)
        memset(shard->log[i].pending, 0, sizeof shard->log[i].pending);
    shard_figures(shard)->resident_calls = shard_figures(shard)->resident_bytes = 0;
    shard_figures(shard)->calls_at = -1;
}

void shard_forget_ends(struct input_log *log)
{
    log->asked = log->due = log->open_said = log->open_cut = false;
    log->awaited = log->open_since = log->open_ms = -1;
    log->ask_at = 0;
}

void shard_reset_logs(struct shard *shard)
{
    for (int i = 0; i < INPUT_COUNT; i++) {
        struct input_log *log = &shard->log[i];
        log->stop = FOLD_MORE;
        log->located = log->unproved = log->warned = log->ended = false;
        log->stopped_at = log->rejects_told = 0;
        shard_forget_ends(log);
    }
    shard->drained_rejects = shard->decided = shard->compared = false;
    shard->located_step = -1;
}

void shard_begin_again(struct shard *shard, int64_t mono_ms)
{
    shard_drop_blocks(shard);
    shard_drop_fold(shard);
    if (shard->state != SHARD_LOCATING)
        shard_become(shard, SHARD_LOCATING);
    shard_reset_logs(shard);
    shard->retry_at = mono_ms;
}

// ---- figures ----

// What is replayed is held and no longer ahead, as what is judged is.
void shard_count_calls(struct shard *shard)
{
    struct shard_metrics *m = shard_figures(shard);
    m->resident_calls = fold_resident_calls(shard->fold);
    m->calls_at = shard->state == SHARD_REPLAYING ? fold_replay_position(shard->fold)
                                                  : fold_state(shard->fold)->log[INPUT_CALLS].next;
}

void shard_count_log(struct shard *shard, enum input input)
{
    struct input_log *log = &shard->log[input];
    const struct log_state *now = &fold_state(shard->fold)->log[input];
    struct shard_metrics *m = shard_figures(shard);
    assert(now->from >= log->counted.from); // I7
    assert(now->next >= log->counted.next);
    // a close starts over
    if (now->from != log->counted.from)
        log->counted = (struct log_state){.from = now->from};
    log->pending[RESULT_ACCEPTED] += now->accepted - log->counted.accepted;
    log->pending[RESULT_DUPLICATE] += now->duplicates - log->counted.duplicates;
    log->pending[RESULT_REJECTED] += now->rejected - log->counted.rejected;
    log->pending[RESULT_VOID] += now->voids - log->counted.voids;
    for (int r = 0; r < RESULT_COUNT; r++)
        assert(log->pending[r] >= 0);
    m->position[input] = now->next;
    m->last_timestamp[input] = now->last_offset >= 0 ? now->last_timestamp : 0;
    m->stop[input] = log->stop;
    log->counted = *now;
    if (input == INPUT_CALLS)
        shard_count_calls(shard);
}

// ---- answers of the database ----

// The database did not answer: the same again later, at growing intervals. A reason is told once;
// another one (the server is back, but takes no writes) is told, too.
static void back_off(struct shard *shard, int64_t mono_ms, const char *what, const struct error *e)
{
    if (shard->retry_ms == 0 || strncmp(shard->refusal, e->text, sizeof shard->refusal - 1) != 0)
        log_event(LOG_WARN, "the database does not answer, trying on",
                  LOG_FIELDS(log_int("shard", shard->id), log_text("at", what),
                             log_text("reason", e->text)));
    snprintf(shard->refusal, sizeof shard->refusal, "%s", e->text);
    shard_figures(shard)->waits_for_store = 1;
    shard->retry_ms = shard->retry_ms == 0 ? RETRY_MIN_MS : shard->retry_ms * 2;
    if (shard->retry_ms > RETRY_MAX_MS)
        shard->retry_ms = RETRY_MAX_MS;
    shard->retry_at = mono_ms + shard->retry_ms;
}

// Of this shard alone: that another one was answered, or read something, says nothing about what
// this one has to write.
void shard_store_answers(struct shard *shard)
{
    shard->retry_ms = 0;
    shard_figures(shard)->waits_for_store = 0;
}

void shard_give_way(struct shard *shard, int64_t mono_ms)
{
    log_event(LOG_WARN,
              "another process owns the shard, waiting one session time-out before looking again",
              LOG_FIELDS(log_int("shard", shard->id), log_int("epoch", shard->row.epoch)));
    fault_point(shard_fenced);
    shard_drop_blocks(shard);
    shard_drop_fold(shard);
    if (shard->state != SHARD_FENCED)
        shard_become(shard, SHARD_FENCED);
    shard->retry_at = mono_ms + shard->host->session_ms;
}

bool shard_answered(struct shard *shard, enum store_result result, int64_t mono_ms,
                    const char *what, const struct error *e)
{
    switch (result) {
    case STORE_OK:
        if (shard->retry_ms > 0)
            log_event(LOG_INFO, "the database answers again",
                      LOG_FIELDS(log_int("shard", shard->id)));
        shard_store_answers(shard);
        return true;
    case STORE_UNAVAILABLE:
        back_off(shard, mono_ms, what, e);
        return false;
    case STORE_FENCED:
        shard_give_way(shard, mono_ms);
        return false;
    case STORE_DIVERGED:
    case STORE_FAILED:
        shard_halt(shard, e);
        return false;
    }
    return false;
}
