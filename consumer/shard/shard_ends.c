// Where the logs end: asked for all the time, for the figures and for transactions that stand open,
// and when a day is due, for its cutoffs.
//
//   a due day, purchases and credits:
//   asked ── the last stable offset has reached the end that was asked for before it ──► cut there
//         ── it has not: a transaction is open ──► asked again
//                 ── it has reached the end that was answered first ─────────────────► cut there
//                 ── it has stood still for run.open_transaction_wait ───────────────► cut there
#include "consumer/shard/shard_parts.h"

#include "consumer/system/log.h"

#include <assert.h>
#include <inttypes.h>

enum {
    ENDS_MS = 10000, // how often a log is asked for its ends while nothing waits for them
    AGAIN_MS = 500, // while a day is due, and a transaction open
    SAY_MS = 60000, // a transaction that is open for so long is told of
};

// The same last stable offset behind the end means the same transaction: its end would move it.
static void follow_transaction(struct shard *shard, enum input input, int64_t mono_ms)
{
    struct input_log *log = &shard->log[input];
    bool open = log->ends.stable < log->ends.end;
    if (open && log->open_since >= 0 && log->open_at == log->ends.stable)
        return;
    if (log->open_said)
        log_event(LOG_INFO, "the open transaction has ended, its log goes on",
                  LOG_FIELDS(log_int("shard", shard->id),
                             log_text("topic", shard->host->input_topics[input]),
                             log_int("partition", shard->id), log_int("offset", log->open_at),
                             log_int("age_s", (mono_ms - log->open_since) / 1000)));
    log->open_since = open ? mono_ms : -1;
    log->open_at = log->ends.stable;
    log->open_said = log->open_cut = false;
}

static void warn_of_open(const struct shard *shard, enum input input, const char *what,
                         int64_t mono_ms)
{
    const struct input_log *log = &shard->log[input];
    assert(log->open_since >= 0);
    log_event(LOG_WARN, what,
              LOG_FIELDS(log_int("shard", shard->id),
                         log_text("topic", shard->host->input_topics[input]),
                         log_int("partition", shard->id), log_int("offset", log->open_at),
                         log_int("end", log->ends.end),
                         log_int("age_s", (mono_ms - log->open_since) / 1000)));
}

static void show_transaction(struct shard *shard, enum input input, int64_t mono_ms)
{
    struct input_log *log = &shard->log[input];
    int64_t age_ms = log->open_since >= 0 ? mono_ms - log->open_since : -1;
    assert(age_ms >= -1);
    log->open_ms = age_ms;
    shard_figures(shard)->open_ms[input] = age_ms;
    if (age_ms < SAY_MS || log->open_said)
        return;
    log->open_said = true;
    warn_of_open(shard, input,
                 "a transaction is open: what lies behind its first record cannot be read until "
                 "its producer ends it",
                 mono_ms);
}

// R47: what was sent to a log before the day was due may lie behind an open transaction.
static bool may_cut(struct shard *shard, enum input input, int64_t mono_ms)
{
    struct input_log *log = &shard->log[input];
    // Calls that come to be seen later are late, and billed the next day.
    if (input == INPUT_CALLS)
        return true;
    // The first end that was asked for when the day was due counts. A leader that has lost the tail
    // of the log has nothing more to wait for.
    if (log->awaited < 0 || log->ends.end < log->awaited)
        log->awaited = log->ends.end;
    if (log->ends.stable >= log->awaited)
        return true;
    assert(log->open_since >= 0); // it stands behind the end
    return mono_ms - log->open_since >= shard->host->open_transaction_wait_ms;
}

static void cut_at_end(struct shard *shard, enum input input, int64_t mono_ms)
{
    struct input_log *log = &shard->log[input];
    if (!may_cut(shard, input, mono_ms))
        return;
    if (input != INPUT_CALLS && log->ends.stable < log->awaited && !log->open_cut) {
        log->open_cut = true;
        assert(log->open_at == log->ends.stable); // as it was followed before
        warn_of_open(shard, input,
                     "a transaction stays open, and the day is cut before it: what lies behind "
                     "counts for a later day",
                     mono_ms);
    }
    fold_clock_end(shard->fold, input, log->ends.stable, log->ends.asked_at);
    if (fold_cut(shard->fold, input) != CUT_NONE)
        log->stop = FOLD_CUT;
}

static void take_ends(struct shard *shard, enum input input, int64_t mono_ms, int64_t now_ms)
{
    struct input_log *log = &shard->log[input];
    log->asked = false;
    shard_figures(shard)->end[input] = log->ends.end;
    follow_transaction(shard, input, mono_ms);
    log->ask_at = mono_ms + ENDS_MS;
    // An answer to a question from before the day was due proves nothing.
    if (fold_wants_end(shard->fold, input, log->ends.asked_at)) {
        cut_at_end(shard, input, mono_ms);
        log->ask_at = mono_ms + AGAIN_MS;
    } else if (fold_wants_end(shard->fold, input, now_ms)) {
        log->ask_at = mono_ms;
    }
}

void shard_ask_for_ends(struct shard *shard, int64_t mono_ms, int64_t now_ms)
{
    const struct shard_host *host = shard->host;
    assert(!shard->draining); // a drain goes by the ends that it began with
    for (enum input i = 0; i < INPUT_COUNT; i++) {
        struct input_log *log = &shard->log[i];
        if (log->asked && host->take_ends(host->context, shard->id, i, &log->ends))
            take_ends(shard, i, mono_ms, now_ms);
        show_transaction(shard, i, mono_ms);
        bool due = fold_wants_end(shard->fold, i, now_ms);
        bool at_once = due && !log->due;
        log->due = due;
        if (!due)
            log->awaited = -1;
        if (log->asked || (!at_once && mono_ms < log->ask_at))
            continue;
        host->ask_ends(host->context, shard->id, i, SINCE_NONE);
        log->asked = true;
    }
}

const char *shard_open_transaction(const struct shard *shard, char out[SHARD_UNREADY_SIZE])
{
    for (enum input i = 0; i < INPUT_COUNT; i++) {
        const struct input_log *log = &shard->log[i];
        if (log->open_ms < SAY_MS)
            continue;
        snprintf(out, SHARD_UNREADY_SIZE,
                 "%s/%" PRId32 ": a transaction has been open for %" PRId64
                 " s, and nothing from offset %" PRId64
                 " on can be read until its producer ends it; see the runbook",
                 shard->host->input_topics[i], shard->id, log->open_ms / 1000, log->open_at);
        return out;
    }
    return NULL;
}
