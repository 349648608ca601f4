#include "consumer/audit/audit.h"

#include "consumer/audit/audit_shard.h"
#include "consumer/base/memory.h"
#include "consumer/months/months.h"
#include "consumer/preflight/schema_ids.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_SIZE = 200, MONTH_ACCOUNTS = 1000 };

static void tell_shard(struct audit_shard *w, day_t day, const char *where, const char *field,
                       const char *recorded, const char *folded)
{
    char key[16];
    snprintf(key, sizeof key, "%" PRId32, w->shard);
    report_difference(w->report, &(struct difference){.where = where,
                                                      .key = key,
                                                      .day = day,
                                                      .field = field,
                                                      .recorded = recorded,
                                                      .folded = folded});
}

// Without this, nothing after it can be folded.
static void tell_halt(struct audit_shard *w, day_t day, const char *where, const char *missing)
{
    char key[16];
    snprintf(key, sizeof key, "%" PRId32, w->shard);
    report_difference(
        w->report, &(struct difference){
                       .where = where, .key = key, .day = day, .folded = missing, .halts = true});
}

static void tell_number(struct audit_shard *w, const char *field, int64_t recorded, int64_t folded)
{
    char a[24], b[24];
    if (recorded == folded)
        return;
    snprintf(a, sizeof a, "%" PRId64, recorded);
    snprintf(b, sizeof b, "%" PRId64, folded);
    tell_shard(w, DAY_NONE, "shards", field, a, b);
}

// ---- which days ----

static bool is_cut(const struct audit_day *day)
{
    return day && day->cut == (1u << INPUT_COUNT) - 1;
}

// R75: statements of the last retired month are written on the first day after it, and what they
// add up has left the tables. So that day cannot be computed again, either.
static day_t first_computable(const struct audit_shard *w)
{
    day_t kept_from = w->snapshot.kept_from;
    return kept_from == DAY_NONE ? DAY_NONE : kept_from + 1;
}

// Days whose rows have left the tables cannot be asked for. An audit of all days begins behind
// them.
static int skip_retired(const struct audit_shard *w, day_t *first, struct error *e)
{
    char text[DAY_TEXT_SIZE], begin[DAY_TEXT_SIZE];
    day_t earliest = first_computable(w);
    if (*first >= earliest)
        return 0;
    day_t asked = w->options->from != DAY_NONE ? w->options->from : w->options->to;
    if (asked != DAY_NONE && asked < earliest)
        return error_set(e, ERROR_UNAVAILABLE,
                         "rows that %s follows from are retired: settled.retired_months says where "
                         "they are; begin with --from %s",
                         calendar_format_day(asked, text), calendar_format_day(earliest, begin));
    *first = earliest;
    w->report->compared_from = earliest;
    return 0;
}

// The requested days of this shard: [*first, *last] are settled days, and *open says whether the
// open day is compared, too.
static int choose_days(const struct audit_shard *w, day_t *first, day_t *last, bool *open,
                       struct error *e)
{
    const struct audit_options *o = w->options;
    day_t today = w->snapshot.row.state.day;
    char text[DAY_TEXT_SIZE], opened[DAY_TEXT_SIZE];
    *first = w->deployment->policy.fixed.first_day;
    *last = today - 1;
    *open = o->to == DAY_NONE;
    if (o->from != DAY_NONE && o->from > *first)
        *first = o->from;
    if (skip_retired(w, first, e))
        return -1;
    if (o->to != DAY_NONE)
        *last = o->to;
    if (o->to != DAY_NONE && o->to >= today)
        return error_set(e, ERROR_UNAVAILABLE,
                         "shard %" PRId32 " has not settled %s yet: %s is open there", w->shard,
                         calendar_format_day(o->to, text), calendar_format_day(today, opened));
    if (o->to != DAY_NONE && o->to < w->deployment->policy.fixed.first_day)
        return error_set(e, ERROR_UNAVAILABLE, "%s lies before the first day, %s",
                         calendar_format_day(o->to, text), calendar_format_day(*first, opened));
    if (*first > today)
        return error_set(e, ERROR_UNAVAILABLE,
                         "shard %" PRId32 " has not opened %s yet: %s is open there", w->shard,
                         calendar_format_day(*first, text), calendar_format_day(today, opened));
    return 0;
}

// A day without its cutoffs cannot be folded, nor what comes after it.
static bool days_are_whole(struct audit_shard *w, day_t first, day_t last)
{
    day_t begin = w->deployment->policy.fixed.first_day;
    for (day_t day = first > begin ? first - 1 : first; day <= last; day++) {
        const struct audit_day *found = audit_snapshot_day(&w->snapshot, day);
        bool whole = is_cut(found) && (day >= first || found->closed);
        if (whole)
            continue;
        tell_halt(w, day, is_cut(found) ? "day_closes" : "day_cutoffs",
                  "a day's rows; without them it cannot be folded");
        return false;
    }
    for (size_t i = 0; i < w->snapshot.day_count; i++) {
        day_t day = w->snapshot.days[i].day;
        if (day >= begin && day < w->snapshot.row.state.day)
            continue;
        tell_shard(w, day, "day_closes", NULL, "a day that the shard has not settled", NULL);
    }
    return true;
}

// ---- opening ----

static struct audit_point point_after(const struct audit_day *day, int64_t sequence)
{
    struct audit_point point = {
        .day = day->day + 1, .sequence = sequence, .calls_from = day->calls_from};
    for (int i = 0; i < INPUT_COUNT; i++)
        point.at[i] = day->cutoffs[i].to_offset;
    return point;
}

static int create_fold(struct audit_shard *w, struct error *e)
{
    struct fold_options options = {
        .shard = w->shard, .max_resident_calls = INT64_MAX, .keeps_packages = true};
    memcpy(options.id_key, w->deployment->id_key, sizeof options.id_key);
    w->fold = fold_create(&options, &w->deployment->policy);
    return w->fold ? 0 : error_set(e, ERROR_RESTART, "memory is short");
}

// Where an audit that begins with this day reads each input from.
static void find_starts(const struct audit_shard *w, day_t first, int64_t starts[INPUT_COUNT])
{
    const struct audit_day *day = audit_snapshot_day(&w->snapshot, first),
                           *before = audit_snapshot_day(&w->snapshot, first - 1);
    bool begins = first == w->deployment->policy.fixed.first_day;
    for (int i = 0; i < INPUT_COUNT; i++)
        starts[i] = !begins ? before->cutoffs[i].to_offset
                    : day   ? day->cutoffs[i].from_offset
                            : w->snapshot.row.state.log[i].from;
    if (!begins)
        starts[INPUT_CALLS] = before->calls_from;
}

static bool is_kept(const struct audit_shard *w, const int64_t starts[INPUT_COUNT])
{
    for (enum input i = 0; i < INPUT_COUNT; i++)
        if (starts[i] < scan_first(w->scan, i))
            return false;
    return true;
}

// Refuses logs that no longer reach back far enough, and names the first day for which they do.
static int check_kept(const struct audit_shard *w, day_t first, const int64_t starts[INPUT_COUNT],
                      struct error *e)
{
    char remedy[64] = "no day can be compared any more", day[DAY_TEXT_SIZE];
    int64_t later[INPUT_COUNT];
    if (is_kept(w, starts))
        return 0;
    for (day_t d = first + 1; d <= w->snapshot.row.state.day; d++) {
        find_starts(w, d, later);
        if (!is_kept(w, later))
            continue;
        snprintf(remedy, sizeof remedy, "begin with --from %s", calendar_format_day(d, day));
        break;
    }
    enum input lost = 0;
    while (starts[lost] >= scan_first(w->scan, lost))
        lost++;
    return client_not_kept(w->deployment->topics[lost], w->shard, scan_first(w->scan, lost),
                           starts[lost], remedy, e);
}

// The fold and the chain as they were when the day opened.
static int open_day(struct audit_shard *w, day_t first, const int64_t starts[INPUT_COUNT],
                    struct error *e)
{
    const struct audit_day *before = audit_snapshot_day(&w->snapshot, first - 1);
    memset(w->chain.previous_digest, '0', sizeof w->chain.previous_digest - 1);
    if (first == w->deployment->policy.fixed.first_day) {
        fold_begin(w->fold, starts);
        fold_step_done(w->fold);
        return 0;
    }
    struct audit_point point = point_after(before, before->sequence);
    memcpy(w->chain.previous_digest, before->digest, sizeof before->digest);
    w->chain.sequence = before->sequence;
    return store_audit_opening(w->store, w->shard, &w->snapshot, &point, w->fold, e) == STORE_OK
               ? 0
               : -1;
}

// The number of the day's last row; 0: the day is not closed.
static int64_t last_row_of(const struct audit_shard *w, day_t day)
{
    const struct audit_day *found = audit_snapshot_day(&w->snapshot, day);
    return found && found->closed ? found->sequence : 0;
}

// The rows of the days that are asked for, and of the day before and the day after them.
static int find_span(struct audit_shard *w, day_t first, day_t last, bool open, struct error *e)
{
    int64_t before = last_row_of(w, first - 2), until = open ? 0 : last_row_of(w, last + 1);
    w->outputs_until = until > 0 ? until : INT64_MAX;
    for (int o = 0; o < OUTPUT_COUNT; o++)
        w->outputs_from[o] = SCAN_BEGINNING;
    if (before == 0)
        return 0;
    if (!w->finder && span_finder_open(w->config, &w->framing, &w->finder, e))
        return -1;
    return span_find(w->finder, w->shard, before, w->outputs_from, e);
}

static void take_passed(void *context, int64_t offsets)
{
    progress_at(&((struct audit_shard *)context)->progress, offsets);
}

static int open_logs(struct audit_shard *w, const struct scan_log *logs, size_t count,
                     struct scan **out, struct error *e)
{
    const char *pairs[CONFIG_PAIRS_MAX][2];
    struct client_properties properties = config_properties(w->config, pairs);
    struct scan_options options = {.properties = &properties,
                                   .group = w->deployment->group,
                                   .cluster_id = w->deployment->cluster_id,
                                   .partitions = w->deployment->policy.fixed.partitions,
                                   .partition = w->shard,
                                   .count = count,
                                   .logs = logs,
                                   .passed = take_passed,
                                   .context = w};
    return scan_open(&options, out, e);
}

static int open_scan(struct audit_shard *w, const int64_t starts[INPUT_COUNT], struct error *e)
{
    struct scan_log logs[WALK_LOGS];
    for (int i = 0; i < INPUT_COUNT; i++)
        logs[i] = (struct scan_log){w->deployment->topics[i], starts[i], 0};
    for (int o = 0; o < OUTPUT_COUNT; o++)
        logs[WALK_OUTPUTS + o] =
            (struct scan_log){w->config->output_topics[o], w->outputs_from[o], 0};
    return open_logs(w, logs, WALK_LOGS, &w->scan, e);
}

// Nothing is published before it is recorded. So no message that the scan could read when it was
// opened may have a higher number than the last recorded one now.
static int open_messages(struct audit_shard *w, int64_t base, struct error *e)
{
    int64_t newest;
    if (store_audit_sequence(store_of(w->other, w->shard), w->shard, &newest, e) != STORE_OK)
        return -1;
    struct messages_options options = {.shard = w->shard,
                                       .group = w->deployment->group,
                                       .topics = (const char *const *)w->config->output_topics,
                                       .framing = &w->framing,
                                       .snapshot = &w->snapshot,
                                       .scan = w->scan,
                                       .first_log = WALK_OUTPUTS,
                                       .base = base,
                                       .newest = newest,
                                       .report = w->report};
    return messages_create(&options, &w->messages, e);
}

// Rows from before the first day are too many.
static int open_rows(struct audit_shard *w, day_t first, day_t last,
                     const int64_t starts[INPUT_COUNT], bool open, struct error *e)
{
    struct audit_range range = {.shard = w->shard,
                                .account_id = w->report->account_id,
                                .first_day = DAY_NONE,
                                .last_day = open ? DAY_NONE : last,
                                .zone_ms = w->deployment->policy.shelf.books[0]->offset_ms};
    const struct audit_day *end = open ? NULL : audit_snapshot_day(&w->snapshot, last);
    bool begins = first == w->deployment->policy.fixed.first_day;
    for (int t = 0; t < AUDIT_WINDOWED; t++) {
        range.from[t] = first;
        range.to[t] = open ? INT64_MAX : (int64_t)last + 1;
    }
    for (enum input i = 0; i < INPUT_COUNT; i++) {
        range.from[AUDIT_CALL_REJECTS + i] =
            i == INPUT_CALLS ? fold_state(w->fold)->log[i].next : starts[i];
        range.to[AUDIT_CALL_REJECTS + i] = end ? end->cutoffs[i].to_offset : INT64_MAX;
    }
    range.from[AUDIT_CREDITS] = starts[INPUT_CREDITS];
    range.to[AUDIT_CREDITS] = range.to[AUDIT_CREDIT_REJECTS];
    range.from[AUDIT_STATUSES] = w->chain.sequence + 1;
    range.to[AUDIT_STATUSES] = end && end->closed ? end->sequence : INT64_MAX;
    if (!begins)
        range.first_day = first;
    for (int t = 0; t < AUDIT_WINDOWED && begins; t++)
        range.from[t] = INT64_MIN;
    w->rows = audit_rows_open(w->store, &range, e);
    return w->rows ? 0 : -1;
}

// ---- a window ----

static struct window settled_window(const struct audit_shard *w, const struct audit_day *day)
{
    struct window window = {.day = day->day, .closes = true};
    for (int i = 0; i < INPUT_COUNT; i++) {
        const struct log_state *log = &fold_state(w->fold)->log[i],
                               *committed = &w->snapshot.row.state.log[i];
        struct cutoff *cut = &window.cutoffs[i];
        *cut = day->cutoffs[i];
        // A row that was changed may say anything; the comparison of rows reports the change.
        if (cut->to_offset < log->next)
            cut->to_offset = log->next;
        if (cut->to_offset > committed->next)
            cut->to_offset = committed->next;
        if (cut->cut_by == CUT_NONE)
            cut->cut_by = CUT_CLOCK;
    }
    return window;
}

static struct window open_window(const struct audit_shard *w)
{
    struct window window = {.day = fold_state(w->fold)->day};
    for (int i = 0; i < INPUT_COUNT; i++)
        window.cutoffs[i].to_offset = w->snapshot.row.state.log[i].next;
    return window;
}

static void tell_decision(struct audit_shard *w, const struct decision *decision, const char *field,
                          const char *recorded, const char *folded)
{
    char key[TEXT_SIZE];
    snprintf(key, sizeof key, "%" PRId32 "/%" PRId64 " %s", w->shard, decision->number,
             decision->content);
    report_difference(w->report, &(struct difference){.where = "decisions",
                                                      .key = key,
                                                      .day = fold_state(w->fold)->day,
                                                      .field = field,
                                                      .recorded = recorded,
                                                      .folded = folded});
}

// Its reject stood in a month that is retired.
static bool is_retired(const struct audit_shard *w, const struct decision *decision, size_t i)
{
    const struct audit_day *last = audit_snapshot_day(&w->snapshot, w->snapshot.kept_from - 1);
    return w->snapshot.kept_from != DAY_NONE && last &&
           decision->offsets[i] < last->cutoffs[decision->input].to_offset;
}

// The first record of a decision of which something is not as it must be is told.
static void check_decided_records(struct audit_shard *w, const struct audit_decision *d)
{
    const struct decision *decision = &d->decision;
    bool about_reject = decision->kind == DECISION_ACCEPT || decision->kind == DECISION_REQUEUE;
    for (size_t i = 0; i < decision->count; i++) {
        char where[64];
        snprintf(where, sizeof where, "%s of offset %" PRId64, decision_symbol(decision->kind),
                 decision->offsets[i]);
        if (about_reject && d->reasons[i] == REJECT_NONE && !is_retired(w, decision, i)) {
            tell_decision(w, decision, "kafka_offset", where, "no reject there");
            return;
        }
        if (decision->kind != DECISION_PASS && d->reasons[i] != REJECT_NONE &&
            d->named[i] != decision->number) {
            tell_decision(w, decision, "number", where, "a reject that names another decision");
            return;
        }
    }
}

// Its content must be that of the records of its request.
static void check_content(struct audit_shard *w, const struct decision *decision)
{
    char content[DECISION_CONTENT_SIZE];
    decision_content(&(struct decided_records){w->deployment->topics[decision->input], w->shard,
                                               decision->count, decision->offsets},
                     content);
    if (strcmp(content, decision->content) != 0)
        tell_decision(w, decision, "content", decision->content, content);
}

// The rejects or records that a decision is about must exist, and the decision must have been
// applied in its turn and within its day.
static void check_decision(struct audit_shard *w, const struct audit_decision *d,
                           const struct window *window)
{
    const struct decision *decision = &d->decision;
    int64_t before = fold_state(w->fold)->decisions;
    static const char *const positions[INPUT_COUNT] = {"calls_at", "purchases_at", "credits_at"};
    check_decided_records(w, d);
    check_content(w, decision);
    if (!d->asked)
        tell_decision(w, decision, "request", "another than was asked for", "that of its request");
    if (decision->number != before + 1)
        tell_decision(w, decision, "number", "one that does not follow the one before",
                      "the next one");
    for (int i = 0; i < INPUT_COUNT; i++) {
        int64_t from = fold_state(w->fold)->log[i].from, to = window->cutoffs[i].to_offset;
        if (decision->at[i] < from || decision->at[i] > to)
            tell_decision(w, decision, positions[i], "an offset outside the day", "one within it");
    }
}

static void apply_decisions(struct audit_shard *w, const struct window *window)
{
    for (size_t i = 0; i < w->snapshot.decision_count; i++) {
        const struct audit_decision *d = &w->snapshot.decisions[i];
        if (d->decision.day != window->day)
            continue;
        check_decision(w, d, window);
        fold_audit_decision(w->fold, &d->decision, d->reasons);
    }
}

// How far the rows of a window reach. Its last sequence follows from the number of rows that it
// emits, as every number is used once.
static void find_limits(const struct audit_shard *w, const struct window *window,
                        int64_t to[AUDIT_WINDOWED])
{
    for (int t = 0; t < AUDIT_WINDOWED; t++)
        to[t] = window->closes ? (int64_t)window->day + 1 : INT64_MAX;
    for (enum input i = 0; i < INPUT_COUNT; i++)
        to[AUDIT_CALL_REJECTS + i] = window->closes ? window->cutoffs[i].to_offset : INT64_MAX;
    to[AUDIT_CREDITS] = to[AUDIT_CREDIT_REJECTS];
    if (window->closes)
        to[AUDIT_STATUSES] = messages_base(w->messages) + (int64_t)messages_count(w->messages) + 1;
}

static int load_verdicts(struct audit_shard *w, const struct window *window, struct error *e)
{
    int64_t to[AUDIT_WINDOWED] = {0};
    for (enum input i = 0; i < INPUT_COUNT; i++)
        to[AUDIT_CALL_REJECTS + i] = window->closes ? window->cutoffs[i].to_offset : INT64_MAX;
    for (int t = AUDIT_CREDITS; t < AUDIT_WINDOWED; t++)
        to[t] = INT64_MIN;
    return audit_rows_load(w->rows, to, e) == STORE_OK ? 0 : -1;
}

static int settle(struct audit_shard *w, const struct window *window, struct error *e)
{
    bool released = window->cutoffs[INPUT_CALLS].cut_by == CUT_RELEASE;
    if (!released && fold_must_hold(w->fold))
        tell_shard(w, window->day, "day_cutoffs", "cut_by", "a day that was not held",
                   "so many undecided rejects that it must be");
    if (released && w->hold_count == 0)
        tell_shard(w, window->day, "holds", NULL, "no reason", "a day that was held for one");
    audit_holds_close(w, released);
    if (fold_close(w->fold, e))
        return -1;
    assert(fold_step(w->fold)->closed);
    assert(fold_state(w->fold)->day == window->day + 1); // I9
    return audit_shard_flush(w, e);
}

static void take_difference(void *context, const struct difference *difference)
{
    report_difference(((struct audit_shard *)context)->report, difference);
}

static void take_number(void *context, size_t message, int64_t sequence)
{
    messages_number(((struct audit_shard *)context)->messages, message, sequence);
}

static int compare_window(struct audit_shard *w, const struct window *window, struct error *e)
{
    int64_t to[AUDIT_WINDOWED];
    find_limits(w, window, to);
    if (audit_rows_load(w->rows, to, e) != STORE_OK)
        return -1;
    audit_rows_compare(w->rows, window->day, take_difference, take_number, w);
    return messages_compare(w->messages, w->rows, window->day, e);
}

// ---- months ----

// Not behind what is recorded.
static bool is_written(const struct audit_shard *w)
{
    const struct fold_state *state = fold_state(w->fold), *recorded = &w->snapshot.row.state;
    return recorded->month > state->month ||
           (recorded->month == state->month &&
            strcmp(recorded->month_after, state->month_after) > 0);
}

// Of a month that is not all written yet, the statements that are.
static void leave_unwritten(const struct audit_shard *w, struct month_page *page)
{
    const struct fold_state *recorded = &w->snapshot.row.state;
    struct slice after = slice_text(recorded->month_after);
    if (recorded->month != page->month)
        return;
    while (page->count > 0 &&
           slice_compare(page->statements[page->count - 1].account_id, after) > 0)
        page->line_count = page->statements[--page->count].first_line;
    if (!page->last.data || slice_compare(page->last, after) > 0)
        page->last = after;
}

// R75: a month's statements come between two closes, and add up rows that are compared with the
// inputs themselves.
static int state_month(struct audit_shard *w, struct error *e)
{
    const struct fold_state *state = fold_state(w->fold);
    while (fold_month_due(w->fold) && is_written(w)) {
        const struct month_request request = {w->shard, state->month, state->month_after,
                                              MONTH_ACCOUNTS};
        struct month_page page;
        if (months_load_within(w->store, &request, w->months, &page, e) != STORE_OK)
            return -1;
        leave_unwritten(w, &page);
        fold_take_month(w->fold, &page);
        if (audit_shard_flush(w, e))
            return -1;
    }
    return 0;
}

static int walk_window(struct audit_shard *w, const struct window *window, struct error *e)
{
    assert(window->day == fold_state(w->fold)->day); // day after day, none left out
    assert(messages_count(w->messages) == 0); // the window before is over
    if (load_verdicts(w, window, e) || state_month(w, e))
        return -1;
    apply_decisions(w, window);
    audit_holds_open(w, window->day);
    if (audit_shard_logs(w, window, e))
        return -1;
    audit_look_at_window(w, window);
    if (window->closes && settle(w, window, e))
        return -1;
    return compare_window(w, window, e);
}

// ---- the end ----

static void compare_shard(struct audit_shard *w, bool whole)
{
    const struct shard_row *row = &w->snapshot.row;
    const struct fold_state *state = fold_state(w->fold);
    tell_number(w, "sequence", row->chain.sequence, messages_base(w->messages));
    tell_number(w, "month", row->state.month, state->month);
    tell_number(w, "calls_from", row->state.calls_from, state->calls_from);
    if (w->snapshot.decision_count > 0)
        tell_number(w, "decisions", row->state.decisions,
                    w->snapshot.decisions[w->snapshot.decision_count - 1].decision.number);
    // Records from before the first folded day count as well.
    if (whole)
        tell_number(w, "horizon", row->state.horizon, state->horizon);
    if (strcmp(row->chain.previous_digest, w->chain.previous_digest) != 0)
        tell_shard(w, DAY_NONE, "shards", "previous_digest", row->chain.previous_digest,
                   w->chain.previous_digest);
}

// Rows that were not found may stand in front of what was read.
static int look_back(struct audit_shard *w, struct error *e)
{
    struct scan_log logs[OUTPUT_COUNT];
    struct scan *scan = NULL;
    for (int o = 0; o < OUTPUT_COUNT; o++)
        logs[o] = (struct scan_log){w->config->output_topics[o], SCAN_BEGINNING, 0};
    int failed =
        open_logs(w, logs, OUTPUT_COUNT, &scan, e) || messages_look_back(w->messages, scan, e);
    scan_close(scan);
    return failed ? -1 : 0;
}

static int compare_topics(struct audit_shard *w, struct error *e)
{
    if (messages_read_on(w->messages, w->outputs_until, e) ||
        (messages_may_stand_before(w->messages) && look_back(w, e)))
        return -1;
    return messages_end(w->messages, e);
}

static int compare_end(struct audit_shard *w, day_t first, day_t last, bool open, struct error *e)
{
    struct audit_point then = {0};
    assert(messages_count(w->messages) == 0);
    assert(fold_step(w->fold)->emission_count == 0); // all of it was compared
    if (!open)
        then = point_after(audit_snapshot_day(&w->snapshot, last), messages_base(w->messages));
    if (audit_rows_state(w->rows, w->fold, open ? NULL : &then, take_difference, w, e) != STORE_OK)
        return -1;
    if (open)
        compare_shard(w, first == w->deployment->policy.fixed.first_day);
    if (open && messages_outbox_end(w->messages, w->rows, e))
        return -1;
    return compare_topics(w, e);
}

// ---- a shard ----

static int64_t offsets_to_read(const struct audit_shard *w, const int64_t starts[INPUT_COUNT],
                               day_t last, bool open)
{
    const struct audit_day *end = open ? NULL : audit_snapshot_day(&w->snapshot, last);
    int64_t total = 0;
    for (int i = 0; i < INPUT_COUNT; i++)
        total += (end ? end->cutoffs[i].to_offset : w->snapshot.row.state.log[i].next) - starts[i];
    for (size_t i = WALK_OUTPUTS; i < WALK_LOGS; i++)
        total += scan_last(w->scan, i) - scan_from(w->scan, i);
    return total;
}

static int open_walk(struct audit_shard *w, day_t first, day_t last, bool open, struct error *e)
{
    int64_t starts[INPUT_COUNT];
    find_starts(w, first, starts);
    if (find_span(w, first, last, open, e) || open_scan(w, starts, e) ||
        check_kept(w, first, starts, e) || create_fold(w, e) || open_day(w, first, starts, e) ||
        open_rows(w, first, last, starts, open, e) || open_messages(w, w->chain.sequence, e))
        return -1;
    progress_start(&w->progress, "offsets read again", offsets_to_read(w, starts, last, open));
    return 0;
}

static int walk_days(struct audit_shard *w, day_t first, day_t last, bool open, struct error *e)
{
    bool stop = false;
    if (open_walk(w, first, last, open, e))
        return -1;
    int failed =
        first > w->deployment->policy.fixed.first_day ? audit_shard_replay(w, &stop, e) : 0;
    for (day_t day = first; day <= last && !failed && !stop; day++) {
        struct window window = settled_window(w, audit_snapshot_day(&w->snapshot, day));
        failed = walk_window(w, &window, e);
    }
    if (open && !failed && !stop) {
        struct window window = open_window(w);
        failed = walk_window(w, &window, e);
    }
    if (!failed && !stop)
        failed = compare_end(w, first, last, open, e);
    progress_end(&w->progress, scan_passed(w->scan));
    w->report->totals.rows += (int64_t)audit_rows_compared(w->rows);
    return failed;
}

// A shard that no process has claimed yet has published nothing. Its rows, if any, are counted
// together with those that belong to no shard.
static int walk_unbegun(struct audit_shard *w, struct error *e)
{
    static const int64_t starts[INPUT_COUNT] = {SCAN_BEGINNING, SCAN_BEGINNING, SCAN_BEGINNING};
    if (w->options->from != DAY_NONE || w->options->to != DAY_NONE)
        return error_set(e, ERROR_UNAVAILABLE, "shard %" PRId32 " has not begun its first day yet",
                         w->shard);
    w->outputs_until = INT64_MAX;
    for (int o = 0; o < OUTPUT_COUNT; o++)
        w->outputs_from[o] = SCAN_BEGINNING;
    return open_scan(w, starts, e) || open_messages(w, 0, e) || compare_topics(w, e) ? -1 : 0;
}

static int walk_shard(struct audit_shard *w, struct error *e)
{
    bool recorded, open;
    day_t first, last;
    // Nothing of the previous shard is left.
    assert(w->fold == NULL);
    assert(w->scan == NULL);
    assert(w->messages == NULL);
    if (store_audit_begin(w->store, w->shard, w->options->from, &w->snapshot, e) != STORE_OK)
        return -1;
    // Loaded after the snapshot: parameters that were recorded since then begin on days that the
    // shard had not opened.
    if (store_load_deployment(w->other, w->deployment, &recorded, e) != STORE_OK)
        return -1;
    w->report->totals.shards++;
    if (!w->snapshot.found)
        return walk_unbegun(w, e);
    if (choose_days(w, &first, &last, &open, e))
        return -1;
    if (!days_are_whole(w, first, last))
        return 0;
    return walk_days(w, first, last, open, e);
}

static void leave_shard(struct audit_shard *w)
{
    messages_destroy(w->messages);
    audit_rows_close(w->rows);
    scan_close(w->scan);
    fold_destroy(w->fold);
    store_audit_end(w->store);
    audit_snapshot_release(&w->snapshot);
    outbox_release(&w->outbox);
    shelf_clear(&w->deployment->policy.shelf);
    w->messages = NULL;
    w->rows = NULL;
    w->scan = NULL;
    w->fold = NULL;
    w->chain = (struct chain){0};
}

// ---- all of them ----

static int open_stores(struct audit_shard *w, struct error *e)
{
    const struct config *config = w->config;
    bool recorded = false;
    w->deployment = memory_grow(NULL, 1, sizeof *w->deployment);
    memset(w->deployment, 0, sizeof *w->deployment);
    if (store_open_all(config->dsns, config->dsn_count, STORE_READS, &w->stores, e) ||
        store_open_all(config->dsns, config->dsn_count, STORE_READS, &w->other, e) ||
        store_check_version(w->other, e) ||
        store_load_deployment(w->other, w->deployment, &recorded, e) != STORE_OK)
        return -1;
    if (!recorded || w->deployment->policy.count == 0)
        return error_set(e, ERROR_CONFIG,
                         "nothing is recorded in the database yet: 'settled run' does that");
    shelf_clear(&w->deployment->policy.shelf);
    return 0;
}

// By what prices it is folded again, and who recorded them: for whoever reads the report.
static int load_books(struct audit_shard *w, struct error *e)
{
    struct error unread;
    struct book *book = memory_grow(NULL, 1, sizeof *book);
    bool read = config_read_book(w->config, book, NULL, NULL, &unread) == 0;
    w->report->books = recorded_books_load(w->other, read ? book->sha256 : NULL, e);
    free(book);
    return w->report->books ? 0 : -1;
}

static int find_strays(struct audit_shard *w, struct error *e)
{
    const struct strays_range range = {.shards = w->deployment->policy.fixed.partitions,
                                       .first = w->options->from,
                                       .last = w->options->to};
    for (int i = 0; i < store_parts(w->other); i++)
        if (store_audit_strays(store_part(w->other, i), &range, take_difference, w, e) != STORE_OK)
            return -1;
    return 0;
}

static int walk_shards(struct audit_shard *w, struct error *e)
{
    struct fixed_parameters fixed = w->deployment->policy.fixed;
    struct slice account = w->report->account_id;
    int32_t only =
        account.data ? partition_of(fixed.partitioner, account.data, account.size, fixed.partitions)
                     : -1;
    assert(only < fixed.partitions);
    for (int32_t shard = 0; shard < fixed.partitions; shard++) {
        if (only >= 0 && shard != only)
            continue;
        w->shard = shard;
        w->store = store_of(w->stores, shard);
        int failed = walk_shard(w, e);
        if (failed)
            error_context(e, "shard %" PRId32, shard);
        leave_shard(w);
        if (failed)
            return -1;
    }
    if (only < 0)
        return find_strays(w, e);
    if (w->report->totals.rows > 0 || w->report->totals.differences > 0)
        return 0;
    return error_set(
        e, ERROR_UNAVAILABLE,
        "nothing is recorded of account %.*s in these days, and the inputs give nothing for it",
        (int)account.size, account.data);
}

int audit(const struct config *config, const struct audit_options *options, struct report *report,
          struct error *e)
{
    struct audit_shard w = {.config = config, .options = options, .report = report};
    w.months = month_reader_create();
    int failed = open_stores(&w, e) || load_books(&w, e) ||
                 schema_ids_find(config, w.deployment->policy.fixed.framing, &w.framing, e) ||
                 encoder_create(&w.encoder, e) ||
                 replay_decoder_create(config, &w.deployment->policy.fixed, &w.decoder, e) ||
                 walk_shards(&w, e);
    if (report->totals.differences > 0 || report->causes.count > 0)
        audit_look_at_topics(&w);
    span_finder_close(w.finder);
    replay_decoder_destroy(w.decoder);
    encoder_destroy(w.encoder);
    month_reader_free(w.months);
    store_close(w.other);
    store_close(w.stores);
    if (w.deployment)
        shelf_clear(&w.deployment->policy.shelf);
    free(w.deployment);
    return failed ? -1 : 0;
}
