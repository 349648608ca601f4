// A step into the database, and to the relay.
#include "consumer/shard/shard_parts.h"

#include "consumer/system/fault.h"
#include "consumer/system/log.h"

#include <assert.h>

// The step is committed: what was judged counts, and counts once, in whatever process.
static void count_step(struct shard *shard, const struct step *step)
{
    struct shard_metrics *m = shard_totals(shard);
    for (int i = 0; i < INPUT_COUNT; i++)
        for (int r = 0; r < RESULT_COUNT; r++) {
            m->records[i][r] += shard->log[i].pending[r];
            shard->log[i].pending[r] = 0;
        }
    for (size_t i = 0; i < step->reject_count; i++) {
        assert(step->rejects[i].reason > REJECT_NONE);
        assert(step->rejects[i].reason < REJECT_REASONS);
        m->rejects[step->rejects[i].input][step->rejects[i].reason]++;
    }
    m->settlements += (int64_t)step->settlement_count;
    m->days_closed += step->closed;
}

static bool has_effects(const struct step *step)
{
    return step->reject_count || step->credit_count || step->status_count || step->decision_count ||
           step->touched_package_count || step->hold_count || step->released || step_is_whole(step);
}

// Also by the thread of a commit beside, so it changes nothing of the shard but its outbox.
static int build_outbox(void *context, struct encoder *encoder, struct error *e)
{
    struct shard *shard = context;
    struct encode_context cx = encode_context_of(fold_policy(shard->fold), fold_step(shard->fold),
                                                 shard->id, shard->host->input_topics);
    int failed = outbox_build(&shard->outbox, encoder, &cx, shard->fold, &shard->row.chain, e);
    fault_point(step_built);
    return failed;
}

static void log_close(const struct shard *shard, const struct step *step)
{
    char day[DAY_TEXT_SIZE], amount[MONEY_TEXT_SIZE];
    if (step->closed)
        log_event(LOG_INFO, "day settled",
                  LOG_FIELDS(log_int("shard", shard->id),
                             log_text("day", calendar_format_day(step->close.day, day)),
                             log_int("settlements", step->close.settlements),
                             log_text("amount", money_format_yuan(step->close.amount, amount)),
                             log_text("digest", shard->outbox.digest)));
    day_t open = step->closed ? step->close.day : fold_state(shard->fold)->day;
    if (step->released)
        log_event(LOG_INFO, "the day is released",
                  LOG_FIELDS(log_int("shard", shard->id),
                             log_text("day", calendar_format_day(open, day))));
}

// What was folded cannot stand (it was judged by parameters that are out of date): begin again from
// what is recorded.
static void restore_again(struct shard *shard, int64_t mono_ms, const struct error *e)
{
    log_event(LOG_WARN, "the shard is restored again",
              LOG_FIELDS(log_int("shard", shard->id), log_text("reason", e->text)));
    shard_begin_again(shard, mono_ms);
}

// A step is written once, on top of what was committed last, and only when it tells something.
static void check_before(const struct shard *shard, const struct step *step)
{
    assert(shard->state == SHARD_RUNNING);
    assert(shard->compared);
    assert(step->moved);
    if (!shard->built)
        return;
    assert(shard->outbox.count == step->emission_count);
    assert(shard->outbox.after.sequence ==
           shard->row.chain.sequence + (int64_t)step->emission_count); // I3
}

// The row is what was written, and the records that count are those between the positions.
static void check_after(const struct shard *shard, const struct shard_row *before)
{
    const struct shard_row *row = &shard->row;
    assert(row->begun);
    assert(row->epoch == before->epoch); // I5
    assert(row->step == before->step + 1);
    assert(row->chain.sequence == shard->outbox.after.sequence); // I3
    for (int i = 0; i < INPUT_COUNT; i++) {
        const int64_t *pending = shard->log[i].pending;
        int64_t counted = 0;
        for (int r = 0; r < RESULT_COUNT; r++)
            counted += pending[r];
        assert(row->state.log[i].next == fold_state(shard->fold)->log[i].next);
        if (before->begun)
            assert(counted == row->state.log[i].next - before->state.log[i].next); // I1
    }
}

static bool is_long(const struct shard *shard, const struct step *step)
{
    size_t rows = step->emission_count + step->line_count + step->month_line_count +
                  step->touched_account_count;
    return shard->host->long_rows > 0 && rows >= shard->host->long_rows;
}

static struct commit_request commit_request_of(const struct shard *shard)
{
    const struct shard_host *host = shard->host;
    return (struct commit_request){shard->fold, &shard->outbox, host->clock_ms(host->context)};
}

static enum store_result commit_at_once(struct shard *shard, struct error *e)
{
    const struct shard_host *host = shard->host;
    const struct commit_request request = commit_request_of(shard);
    if (!shard->built && build_outbox(shard, host->encoder, e) != 0)
        return STORE_FAILED;
    shard->built = true;
    check_before(shard, fold_step(shard->fold));
    return host->commit(host->context, shard->id, &shard->row, &request, e);
}

// False: it has not ended.
static bool commit_beside(struct shard *shard, enum store_result *result, struct error *e)
{
    const struct shard_host *host = shard->host;
    const struct long_step step = {.request = commit_request_of(shard),
                                   .build = shard->built ? NULL : build_outbox,
                                   .shard = shard};
    enum commit_progress progress =
        host->commit_beside(host->context, shard->id, &shard->row, &step, result, e);
    assert(!shard->committing || progress != COMMIT_BUSY);
    shard->committing = progress == COMMIT_GOES_ON;
    shard->queued = progress == COMMIT_BUSY;
    if (progress == COMMIT_ENDED)
        shard->built = *result != STORE_FAILED;
    return progress == COMMIT_ENDED;
}

void shard_await_commit(struct shard *shard, int64_t mono_ms)
{
    if (!shard->committing)
        return;
    shard->host->await_commit(shard->host->context, shard->id);
    if (shard->state == SHARD_RUNNING)
        shard_commit(shard, mono_ms);
    shard->committing = false; // a shard that has halted is not interested
}

void shard_commit(struct shard *shard, int64_t mono_ms)
{
    const struct shard_host *host = shard->host;
    const struct step *step = fold_step(shard->fold);
    struct error e;
    check_before(shard, step);
    struct shard_row before = shard->row;
    if (!shard->committing)
        shard->commit_begun = host->monotonic_us(host->context);
    enum store_result result = STORE_OK;
    if (!is_long(shard, step))
        result = commit_at_once(shard, &e);
    else if (!commit_beside(shard, &result, &e))
        return;
    if (result == STORE_FAILED && e.kind == ERROR_RESTART) {
        restore_again(shard, mono_ms, &e);
        return;
    }
    if (!shard_answered(shard, result, mono_ms, "commit", &e))
        return;
    fault_point(step_committed);
    check_after(shard, &before);
    metrics_commit(host->metrics, host->monotonic_us(host->context) - shard->commit_begun);
    count_step(shard, step);
    log_close(shard, step);
    shard->untold = shard->untold || step->hold_count > 0;
    if (shard->outbox.count > 0)
        host->relay_wake(host->context, shard->id, shard->row.chain.sequence);
    fold_step_done(shard->fold);
    assert(!has_effects(step));
    assert(!step->moved);
    fault_point(step_done);
    shard->built = shard->must_commit = false;
    shard->effects_at = shard->moved_at = 0;
    shard->committed_at = mono_ms;
    shard_resume_logs(shard);
}

// The relay has compared what Kafka holds with the database. Otherwise rows could be written on top
// of a database that lost published rows in a fail-over. These could not be told apart later, and
// "settled repair" could not undo them. Once true, cached until the relay releases the shard.
bool shard_is_compared(struct shard *shard)
{
    if (!shard->compared)
        shard->compared = shard->host->relay_status(shard->host->context, shard->id).published >= 0;
    return shard->compared;
}

static bool effects_are_due(const struct shard *shard, bool idle, int64_t mono_ms)
{
    if (shard->effects_at == 0)
        return false;
    return mono_ms - shard->effects_at >= SHARD_EFFECTS_MS ||
           (idle && mono_ms - shard->committed_at >= SHARD_PAUSE_MS);
}

// What was read between two pages of a month's statements goes into a step of its own, soon.
static bool month_waits(const struct shard *shard, int64_t mono_ms)
{
    return shard->moved_at != 0 && fold_month_due(shard->fold) &&
           mono_ms - shard->committed_at >= SHARD_EFFECTS_MS;
}

void shard_commit_when_due(struct shard *shard, bool idle, int64_t mono_ms)
{
    const struct step *step = fold_step(shard->fold);
    if (shard->effects_at == 0 && has_effects(step))
        shard->effects_at = mono_ms;
    if (shard->moved_at == 0 && step->moved)
        shard->moved_at = mono_ms;
    assert((shard->effects_at != 0) == has_effects(step));
    assert((shard->moved_at != 0) == step->moved);
    bool due = shard->must_commit || step_is_whole(step) || step->hold_count || step->released ||
               (shard_all_ended(shard) && shard->moved_at != 0) ||
               effects_are_due(shard, idle, mono_ms) || month_waits(shard, mono_ms) ||
               (shard->moved_at != 0 && mono_ms - shard->moved_at >= SHARD_POSITIONS_MS);
    if (due && mono_ms >= shard->retry_at && shard_is_compared(shard))
        shard_commit(shard, mono_ms);
}
