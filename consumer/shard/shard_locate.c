// LOCATING: the ends of the logs, the epoch, and what is recorded.
#include "consumer/shard/shard_parts.h"

#include "consumer/core/log_proof.h"
#include "consumer/system/fault.h"
#include "consumer/system/log.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

static bool ends_known(struct shard *shard)
{
    const struct shard_host *host = shard->host;
    bool all = true;
    for (enum input i = 0; i < INPUT_COUNT; i++) {
        struct input_log *log = &shard->log[i];
        if (!log->asked && !log->located) {
            host->ask_ends(host->context, shard->id, i,
                           fold_first_instant(host->policy(host->context), i));
            log->asked = true;
        }
        if (log->asked && host->take_ends(host->context, shard->id, i, &log->ends)) {
            log->asked = false;
            log->located = true;
            shard_figures(shard)->end[i] = log->ends.end;
        }
        all = all && log->located;
    }
    return all;
}

// Refuses when the logs are not those that were read, or no longer reach back far enough.
static int check_log(const struct shard *shard, enum input input, int64_t needed,
                     const struct log_state *state, struct error *e)
{
    const struct log_watermarks *ends = &shard->log[input].ends;
    const struct log_place place = {shard->host->input_topics[input], shard->id};
    return log_proof_reach(&place, &(struct log_reach){ends->low, ends->stable}, needed, state, e);
}

// Where each log is read from: the calls from where replay starts, and in front of that the last
// record read, which must be the one that is remembered, as long as the log still keeps it.
static int find_starts(struct shard *shard, bool replay, int64_t starts[INPUT_COUNT],
                       struct error *e)
{
    const struct fold_state *state = replay ? &shard->row.state : fold_state(shard->fold);
    for (enum input i = 0; i < INPUT_COUNT; i++) {
        const struct log_state *log = &state->log[i];
        bool again = replay && i == INPUT_CALLS, taken = again && shard->from_snapshot;
        starts[i] = again ? fold_replay_position(shard->fold) : log->next;
        // A snapshot spares the time of a replay, and not what it needs.
        if (check_log(shard, i, again ? state->calls_from : log->next, log, e))
            return -1;
        // Within what is replayed the fold itself compares.
        int64_t last = taken ? shard->taken.last_offset : log->last_offset;
        shard->log[i].unproved = last >= shard->log[i].ends.low && last < starts[i];
        if (shard->log[i].unproved)
            starts[i] = last;
        assert(starts[i] >= shard->log[i].ends.low);
    }
    return 0;
}

// R70: a shard that nobody has begun opens the first day where its logs have come to it. A drain
// reads no further than to the ends that it began with.
static void begin_logs(struct shard *shard)
{
    int64_t from[INPUT_COUNT];
    for (enum input i = 0; i < INPUT_COUNT; i++) {
        const struct log_watermarks *ends = &shard->log[i].ends;
        assert(ends->since_ms == fold_first_instant(fold_policy(shard->fold), i));
        assert(ends->first >= ends->low);
        from[i] = ends->first < shard->drain[i] ? ends->first : shard->drain[i];
        if (ends->low > 0 && from[i] == ends->low)
            log_event(LOG_WARN,
                      "the log begins within what is billed: records before its first offset are "
                      "not kept any more, and are not billed if there were any of the first day on",
                      LOG_FIELDS(log_int("shard", shard->id),
                                 log_text("topic", shard->host->input_topics[i]),
                                 log_int("partition", shard->id), log_int("offset", ends->low)));
    }
    fold_begin(shard->fold, from);
    log_event(LOG_INFO, "the first day begins, what lies before it in the logs is left",
              LOG_FIELDS(log_int("shard", shard->id), log_int("calls_from", from[INPUT_CALLS]),
                         log_int("purchases_from", from[INPUT_PURCHASES]),
                         log_int("credits_from", from[INPUT_CREDITS])));
}

static enum store_result new_fold(struct shard *shard, struct error *e)
{
    const struct shard_host *host = shard->host;
    struct fold_options options = {
        .shard = shard->id, .max_resident_calls = host->max_resident_calls, .asks_counts = true};
    memcpy(options.id_key, host->id_key, sizeof options.id_key);
    shard->fold_number++;
    shard->fold = fold_create(&options, host->policy(host->context));
    if (!shard->fold) {
        error_set(e, ERROR_RESTART, "memory is short for the fold");
        return STORE_FAILED;
    }
    if (shard->row.begun)
        return host->restore(host->context, shard->id, &shard->row, shard->fold, e);
    begin_logs(shard);
    return STORE_OK;
}

// The fold stands where its row says, whether it was restored or begun, before it reads on.
static void check_restored(const struct shard *shard)
{
    const struct fold_state *state = fold_state(shard->fold), *row = &shard->row.state;
    const struct step *step = fold_step(shard->fold);
    assert(step->emission_count == 0);
    assert(step->moved == !shard->row.begun);
    for (int i = 0; i < INPUT_COUNT; i++) {
        const struct log_state *log = &state->log[i];
        assert(log->next == (shard->row.begun ? row->log[i].next : log->from));
        assert(log->from == (shard->row.begun ? row->log[i].from : log->next)); // I7
    }
}

static void start_reading(struct shard *shard, bool replay, int64_t mono_ms)
{
    const struct shard_host *host = shard->host;
    struct error e;
    int64_t starts[INPUT_COUNT];
    bool log_append = host->policy(host->context)->fixed.timestamps == TIMESTAMPS_LOG_APPEND;
    if (find_starts(shard, replay && shard->row.begun, starts, &e)) {
        shard_halt(shard, &e);
        return;
    }
    for (int i = 0; i < INPUT_COUNT; i++) {
        shard->log[i].reader.log_append = log_append;
        shard->log[i].counted = fold_state(shard->fold)->log[i];
    }
    host->start(host->context, shard->id, starts);
    bool done = true;
    if (replay && shard->row.begun &&
        fold_replay_reached(shard->fold, fold_replay_position(shard->fold), &done, &e)) {
        if (!shard_blames_snapshot(shard, e.text, mono_ms))
            shard_halt(shard, &e);
        return;
    }
    shard_become(shard, done ? SHARD_RUNNING : SHARD_REPLAYING);
    for (enum input i = 0; i < INPUT_COUNT; i++)
        shard_count_log(shard, i); // a replay may take long, and nothing of it is lag
    char day[DAY_TEXT_SIZE];
    log_event(LOG_INFO, "shard claimed",
              LOG_FIELDS(log_int("shard", shard->id), log_int("epoch", shard->row.epoch),
                         log_text("day", calendar_format_day(fold_state(shard->fold)->day, day)),
                         log_text("state", !shard->row.begun ? "new"
                                           : replay          ? "restored"
                                                             : "kept"),
                         log_int("calls_from", starts[INPUT_CALLS]),
                         log_int("accounts", (int64_t)fold_account_count(shard->fold))));
}

// Other parameters of the first day may have been recorded since it was asked where it begins.
static bool ask_first_again(struct shard *shard)
{
    const struct policy *policy = shard->host->policy(shard->host->context);
    bool again = false;
    for (enum input i = 0; i < INPUT_COUNT; i++)
        if (shard->log[i].ends.since_ms != fold_first_instant(policy, i)) {
            shard->log[i].located = false;
            again = true;
        }
    return again;
}

// The previous owner may have read further since the ends were asked for. Only ends that are asked
// for after its last commit show whether the logs are complete. True: wait for them.
static bool ask_ends_again(struct shard *shard, const struct shard_row *row)
{
    bool beyond = false;
    if (!row->begun)
        return ask_first_again(shard);
    for (int i = 0; i < INPUT_COUNT; i++)
        beyond = beyond || row->state.log[i].next > shard->log[i].ends.stable;
    if (!beyond || shard->located_step == row->step)
        return false;
    shard->located_step = row->step;
    for (int i = 0; i < INPUT_COUNT; i++)
        shard->log[i].located = false;
    return true;
}

// Nobody else has been here since: what is in memory goes on, with what it has not committed yet.
static bool is_untouched(const struct shard_row *known, const struct shard_row *found)
{
    bool same = found->epoch == known->epoch + 1 && found->step == known->step &&
                found->begun == known->begun && found->state.day == known->state.day &&
                found->state.decisions == known->state.decisions &&
                found->chain.sequence == known->chain.sequence &&
                memcmp(found->chain.hash, known->chain.hash, sizeof known->chain.hash) == 0;
    for (int i = 0; i < INPUT_COUNT; i++)
        same = same && found->state.log[i].next == known->state.log[i].next;
    return same;
}

void shard_locate(struct shard *shard, int64_t mono_ms)
{
    const struct shard_host *host = shard->host;
    struct shard_row row = {0};
    struct error e;
    if (mono_ms < shard->retry_at || !ends_known(shard))
        return;
    fault_point(claim_before);
    enum store_result result = host->refresh_policy(host->context, &e);
    if (result == STORE_OK)
        result = host->claim(host->context, shard->id, &row, &e);
    if (!shard_answered(shard, result, mono_ms, "claim", &e))
        return;
    fault_point(claim_after);
    if (ask_ends_again(shard, &row))
        return;
    bool keep = shard->fold && is_untouched(&shard->row, &row);
    if (shard->fold && !keep)
        shard_drop_fold(shard);
    shard->row = row;
    if (!keep) {
        assert(shard->fold == NULL);
        result = new_fold(shard, &e);
        if (result != STORE_OK)
            shard_drop_fold(shard);
        if (!shard_answered(shard, result, mono_ms, "restore", &e))
            return;
        check_restored(shard);
    }
    fault_point(shard_restored);
    host->relay_add(host->context, shard->id, row.epoch, row.relayed);
    if (!keep)
        shard_take_snapshot(shard);
    start_reading(shard, !keep, mono_ms);
    shard->requests_at = mono_ms;
}
