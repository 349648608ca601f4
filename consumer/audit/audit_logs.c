// Reads the three logs of a day, one after the other: within a day nothing depends on how they
// interleave.
#include "consumer/audit/audit_shard.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { TEXT_SIZE = 400 };

static const char *topic_of(const struct audit_shard *w, enum input input)
{
    return w->deployment->topics[input];
}

// ---- one record ----

static void tell_record(struct audit_shard *w, enum input input, const struct event *event,
                        const char *field, const char *recorded, const char *folded)
{
    char key[TEXT_SIZE];
    snprintf(key, sizeof key, "%s/%" PRId32 "/%" PRId64, topic_of(w, input), w->shard,
             event->offset);
    report_difference(w->report, &(struct difference){.where = "record",
                                                      .key = key,
                                                      .account_id = event->key,
                                                      .day = fold_state(w->fold)->day,
                                                      .field = field,
                                                      .recorded = recorded,
                                                      .folded = folded});
}

// Notes the first record that is due, at or past the day's end + grace.
static int take_record(struct audit_shard *w, enum input input, const rd_kafka_message_t *message,
                       int64_t *first_due, struct error *e)
{
    const char *detail = "";
    struct audit_verdict verdict;
    struct event *event;
    enum reject_reason recorded = audit_rows_verdict(w->rows, input, message->offset, &detail);
    if (replay_decoder_event(w->decoder, input, message, recorded == REJECT_UNKNOWN_SCHEMA, &event,
                             e))
        return -1;
    if (fold_audit_record(w->fold, input, event, (struct recorded_verdict){recorded, detail},
                          &verdict, e))
        return -1;
    w->report->totals.records++;
    if (verdict.beyond_due && *first_due < 0)
        *first_due = message->offset;
    // Other contradictions show as rows of `rejects` that are extra, missing or different.
    if (recorded != REJECT_NONE && verdict.reason == REJECT_NONE)
        tell_record(w, input, event, "verdict", reject_symbol(recorded),
                    verdict.duplicate ? "a duplicate" : "an accepted record");
    if (verdict.lacks_override)
        tell_record(w, input, event, "timestamp", "a judged record",
                    "none that may be judged without an operator's decision");
    return step_is_full(fold_step(w->fold), STEP_ROWS_MAX) ? audit_shard_flush(w, e) : 0;
}

// ---- held days ----

// Why a day was held, against what its logs say: the records at the place of the hold, and whether
// decisions brought it below its shares.
static void tell_hold(struct audit_shard *w, const struct step_hold *hold, const char *field,
                      const char *recorded, const char *folded)
{
    char key[TEXT_SIZE], day[DAY_TEXT_SIZE];
    snprintf(key, sizeof key, "%" PRId32 "/%s/%s/%s", w->shard, calendar_format_day(hold->day, day),
             topic_of(w, hold->input), reject_group_symbol(hold->group));
    report_difference(w->report, &(struct difference){.where = "holds",
                                                      .key = key,
                                                      .day = hold->day,
                                                      .field = field,
                                                      .recorded = recorded,
                                                      .folded = folded});
}

static void compare_number(struct audit_shard *w, const struct step_hold *hold, const char *field,
                           int64_t recorded, int64_t folded)
{
    char a[32], b[32];
    if (recorded == folded)
        return;
    snprintf(a, sizeof a, "%" PRId64, recorded);
    snprintf(b, sizeof b, "%" PRId64, folded);
    tell_hold(w, hold, field, a, b);
}

void audit_holds_open(struct audit_shard *w, day_t day)
{
    const struct audit_snapshot *s = &w->snapshot;
    w->first_hold = 0;
    while (w->first_hold < s->hold_count && s->holds[w->first_hold].day < day)
        w->first_hold++;
    w->hold_count = 0;
    while (w->first_hold + w->hold_count < s->hold_count &&
           s->holds[w->first_hold + w->hold_count].day == day)
        w->hold_count++;
    assert(w->hold_count <= INPUT_COUNT * REJECT_GROUPS); // the key of the table
    w->checked_holds = 0;
}

// What an operator accepts or requeues is taken off when the day begins (fold_audit_decision), so
// also what was decided after the hold, about records of the day before and behind its place.
static int64_t decided_after(const struct audit_shard *w, const struct step_hold *hold)
{
    const struct log_state *log = &fold_state(w->fold)->log[hold->input];
    int64_t count = 0;
    for (size_t i = 0; i < w->snapshot.decision_count; i++) {
        const struct decision *d = &w->snapshot.decisions[i].decision;
        const enum reject_reason *reasons = w->snapshot.decisions[i].reasons;
        if (d->day != hold->day || d->number <= hold->after_decision || d->input != hold->input ||
            (d->kind != DECISION_ACCEPT && d->kind != DECISION_REQUEUE))
            continue;
        for (size_t k = 0; k < d->count; k++)
            count += d->offsets[k] >= log->from && reasons[k] != REJECT_NONE &&
                     reject_group_of(reasons[k]) == hold->group;
    }
    return count;
}

static void check_place(struct audit_shard *w, const struct step_hold *hold)
{
    const struct log_state *log = &fold_state(w->fold)->log[hold->input];
    compare_number(w, hold, "records", hold->records,
                   log->accepted + log->duplicates + log->rejected);
    compare_number(w, hold, "rejects", hold->rejects,
                   log->undecided_of[hold->group] + decided_after(w, hold));
    if (!fold_beyond_share(w->fold, hold->input, hold->group, hold->rejects, hold->records))
        tell_hold(w, hold, NULL, "a reason to hold the day", "none: they are within the share");
}

static void reach_holds(struct audit_shard *w, enum input input, int64_t offset)
{
    for (size_t i = 0; i < w->hold_count; i++) {
        const struct step_hold *hold = &w->snapshot.holds[w->first_hold + i];
        if (hold->input != input || hold->at > offset || (w->checked_holds & 1u << i))
            continue;
        check_place(w, hold);
        w->checked_holds |= 1u << i;
    }
}

void audit_holds_close(struct audit_shard *w, bool released)
{
    for (size_t i = 0; i < w->hold_count; i++) {
        const struct step_hold *hold = &w->snapshot.holds[w->first_hold + i];
        int64_t undecided = fold_state(w->fold)->log[hold->input].undecided_of[hold->group];
        if (!(w->checked_holds & 1u << i))
            tell_hold(w, hold, "at_offset", "an offset outside the day", "one within it");
        if (!released)
            tell_hold(w, hold, NULL, "a day that was held", "one that was cut as any other");
        else if (fold_beyond_share(w->fold, hold->input, hold->group, undecided, hold->records))
            tell_hold(w, hold, "rejects", "a day that was released",
                      "so many undecided rejects that it must be held still");
    }
}

// ---- cutoffs ----

// The first record at or past the day's end + grace cuts a log; only a held day reads on.
static void check_cutoff(struct audit_shard *w, enum input input, const struct window *window,
                         const rd_kafka_message_t *first_beyond, int64_t first_due)
{
    const struct cutoff *cut = &window->cutoffs[input];
    char key[TEXT_SIZE], to[32], due[48], day[DAY_TEXT_SIZE];
    if (!window->closes || cut->cut_by == CUT_RELEASE)
        return;
    snprintf(key, sizeof key, "%" PRId32 "/%s/%s", w->shard, calendar_format_day(window->day, day),
             topic_of(w, input));
    snprintf(to, sizeof to, "%" PRId64, cut->to_offset);
    struct difference d = {.where = "day_cutoffs",
                           .key = key,
                           .day = window->day,
                           .field = "to_offset",
                           .recorded = to,
                           .folded = due};
    if (first_due >= 0 && first_due < cut->to_offset) {
        snprintf(due, sizeof due, "%" PRId64, first_due);
        report_difference(w->report, &d);
    }
    if (cut->cut_by != CUT_RECORD)
        return;
    bool cuts =
        first_beyond && first_beyond->offset == cut->to_offset &&
        fold_judged_at(w->fold, input, first_beyond->offset,
                       rd_kafka_message_timestamp(first_beyond, NULL)) >= fold_due_at(w->fold);
    if (cuts)
        return;
    snprintf(due, sizeof due, "no record there that ends the day");
    report_difference(w->report, &d);
}

// ---- one log ----

static int ends_early(const struct audit_shard *w, enum input input, int64_t to, struct error *e)
{
    return error_set(e, ERROR_CONFIG,
                     "%s/%" PRId32 ": the log ends at offset %" PRId64
                     ", but records up to %" PRId64
                     " were judged: the topic was deleted and made again, or the cluster lost "
                     "data; see the runbook",
                     topic_of(w, input), w->shard, scan_end(w->scan, input), to);
}

static int walk_log(struct audit_shard *w, enum input input, const struct window *window,
                    struct error *e)
{
    const struct cutoff *cut = &window->cutoffs[input];
    const rd_kafka_message_t *message = NULL;
    int64_t first_due = -1;
    for (;;) {
        if (scan_look(w->scan, input, 0, &message, e))
            return -1;
        if (!message && scan_end(w->scan, input) < cut->to_offset)
            return ends_early(w, input, cut->to_offset, e);
        if (!message || message->offset >= cut->to_offset)
            break;
        bool ours = message->offset >= fold_state(w->fold)->log[input].next;
        reach_holds(w, input, message->offset);
        if (ours && take_record(w, input, message, &first_due, e))
            return -1;
        scan_take(w->scan, input);
    }
    check_cutoff(w, input, window, message, first_due);
    reach_holds(w, input, cut->to_offset);
    fold_audit_cut(w->fold, input, cut->to_offset, window->closes ? cut->cut_by : CUT_NONE);
    assert((fold_cut(w->fold, input) != CUT_NONE) == window->closes); // I7
    return 0;
}

int audit_shard_logs(struct audit_shard *w, const struct window *window, struct error *e)
{
    for (enum input i = 0; i < INPUT_COUNT; i++)
        if (walk_log(w, i, window, e))
            return -1;
    return audit_shard_flush(w, e);
}

// ---- up to the opening ----

// Rows and records contradict each other: nothing after this can be folded.
static void tell_replay(struct audit_shard *w, int64_t offset, struct slice account_id,
                        const char *why)
{
    char key[TEXT_SIZE];
    snprintf(key, sizeof key, "%s/%" PRId32 "/%" PRId64, topic_of(w, INPUT_CALLS), w->shard,
             offset);
    report_difference(w->report, &(struct difference){.where = "record",
                                                      .key = key,
                                                      .account_id = account_id,
                                                      .day = fold_state(w->fold)->day,
                                                      .field = "verdict",
                                                      .recorded = "otherwise",
                                                      .folded = why,
                                                      .halts = true});
}

static int replay_one(struct audit_shard *w, const rd_kafka_message_t *message, bool *done,
                      bool *stop, struct error *e)
{
    struct event *event;
    struct error why;
    if (replay_decoder_event(w->decoder, INPUT_CALLS, message, false, &event, e))
        return -1;
    if (fold_replay(w->fold, event, 1, done, &why) == 0)
        return 0;
    tell_replay(w, message->offset, event->key, why.text);
    *stop = true;
    return 0;
}

int audit_shard_replay(struct audit_shard *w, bool *stop, struct error *e)
{
    int64_t to = fold_state(w->fold)->log[INPUT_CALLS].next;
    const rd_kafka_message_t *message;
    bool done = false;
    struct error why;
    while (!done && !*stop) {
        if (scan_look(w->scan, INPUT_CALLS, 0, &message, e))
            return -1;
        if (!message && scan_end(w->scan, INPUT_CALLS) < to)
            return ends_early(w, INPUT_CALLS, to, e);
        if (!message || message->offset >= to) {
            if (fold_replay_reached(w->fold, to, &done, &why) == 0)
                continue;
            tell_replay(w, to, (struct slice){0}, why.text);
            *stop = true;
            return 0;
        }
        if (replay_one(w, message, &done, stop, e))
            return -1;
        scan_take(w->scan, INPUT_CALLS);
    }
    return 0;
}

// ---- steps ----

int audit_shard_flush(struct audit_shard *w, struct error *e)
{
    const struct step *step = fold_step(w->fold);
    const char *const topics[INPUT_COUNT] = {topic_of(w, 0), topic_of(w, 1), topic_of(w, 2)};
    struct encode_context cx = encode_context_of(fold_policy(w->fold), step, w->shard, topics);
    struct chain before = w->chain;
    size_t expected = messages_count(w->messages);
    if (outbox_build(&w->outbox, w->encoder, &cx, w->fold, &before, e))
        return -1;
    audit_rows_expect(w->rows, w->fold, &before, &w->outbox, messages_count(w->messages));
    messages_expect(w->messages, &w->outbox);
    assert(messages_count(w->messages) == expected + step->emission_count);
    assert(w->outbox.after.sequence == before.sequence + (int64_t)step->emission_count); // I3
    w->chain = w->outbox.after;
    w->report->totals.settlements += (int64_t)step->settlement_count;
    w->report->totals.days += step->closed;
    fold_step_done(w->fold);
    return 0;
}
