#include "consumer/replay/repair.h"

#include "consumer/base/arena.h"
#include "consumer/base/memory.h"
#include "consumer/kafka/scan.h"
#include "consumer/output/statement_decode.h"
#include "consumer/postgres/store.h"
#include "consumer/preflight/schema_ids.h"
#include "consumer/relay/published_log.h"
#include "consumer/replay/repair_lost.h"
#include "consumer/replay/replay_decoder.h"
#include "consumer/system/clock.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    LOGS = INPUT_COUNT + OUTPUT_COUNT, // of the scan: the inputs, then the outputs
    ROWS_MAX = 20000, // of a step: less than in a daemon, as the expected rows are held as well
    TRIES = 20, // while a broker does not answer
    RETRY_MS = 500,
};

// What is known of a shard before anything is written.
struct plan_of_shard {
    struct shard_row row; // as claimed
    struct repaired repaired;
    int64_t published; // rows up to here were published once
    uint8_t hash[32]; // of the last published row
};

struct repair_job {
    const struct config *config;
    const char *pairs[CONFIG_PAIRS_MAX][2];
    struct client_properties properties;
    struct publisher_options publishing;
    struct store *store;
    struct deployment *deployment;
    struct encoder *encoder;
    struct replay_decoder *decoder;
    struct message_reader *reader;
    struct plan_of_shard *shards;
    // One shard at a time.
    int32_t shard;
    bool writing;
    struct plan_of_shard *plan;
    struct shard_row row;
    struct fold *fold;
    struct scan *scan;
    struct chain chain;
    struct outbox outbox;
    struct arena *arena; // of `expected`
    struct arena *months; // of the statement at hand
    size_t expected_count, expected_capacity;
    struct published_row *expected; // as the topics have them: what the step must give
};

static const char *topic_of(const struct repair_job *j, enum input input)
{
    return j->deployment->topics[input];
}

static int64_t next_sequence(const struct repair_job *j)
{
    return j->chain.sequence + (int64_t)j->expected_count + 1;
}

// ---- the published rows, in their order ----

// Shows row `sequence` without taking it. Passes over the rows before it in its topic.
static int look_at(struct repair_job *j, int64_t sequence, struct published_row *out,
                   struct error *e)
{
    for (enum output o = 0; o < OUTPUT_COUNT; o++) {
        const rd_kafka_message_t *message;
        for (;;) {
            if (scan_look(j->scan, INPUT_COUNT + (size_t)o, 0, &message, e))
                return -1;
            if (!message)
                break;
            message_read(j->reader, o, message, out);
            if (out->sequence >= sequence)
                break;
            scan_take(j->scan, INPUT_COUNT + (size_t)o);
        }
        if (message && out->sequence == sequence)
            return 0;
    }
    return error_set(
        e, ERROR_CONFIG,
        "row %" PRId64
        " is published by the position of group %s-relay, but is not in the output topics",
        sequence, j->deployment->group);
}

// Takes from the topics as many published rows as the step has gained.
static int expect_rows(struct repair_job *j, struct error *e)
{
    const struct step *step = fold_step(j->fold);
    while (j->expected_count < step->emission_count) {
        struct published_row row;
        if (next_sequence(j) > j->plan->repaired.to)
            return error_set(e, ERROR_BUG,
                             "folding again gives row %" PRId64 ", which is not published yet",
                             next_sequence(j));
        if (look_at(j, next_sequence(j), &row, e))
            return -1;
        j->expected = memory_reserve(j->expected, j->expected_count, &j->expected_capacity,
                                     sizeof *j->expected);
        assert(row.sequence == next_sequence(j)); // I3
        j->expected[j->expected_count++] = message_keep(&row, j->arena);
        scan_take(j->scan, INPUT_COUNT + (size_t)row.output);
    }
    assert(j->expected_count == step->emission_count);
    return 0;
}

// ---- steps ----

static void count_rows(struct repaired *r, const struct step *step)
{
    r->days += step->closed;
    r->settlements += (int64_t)step->settlement_count;
    r->status_changes += (int64_t)step->status_count;
    r->rejects += (int64_t)step->reject_count;
}

// Compares the rows of the step with the published ones, and commits it.
static int flush(struct repair_job *j, struct error *e)
{
    const struct step *step = fold_step(j->fold);
    const char *const topics[INPUT_COUNT] = {topic_of(j, 0), topic_of(j, 1), topic_of(j, 2)};
    if (!step->moved) {
        assert(j->expected_count == 0);
        return 0;
    }
    struct encode_context cx = encode_context_of(fold_policy(j->fold), step, j->shard, topics);
    if (outbox_build(&j->outbox, j->encoder, &cx, j->fold, &j->chain, e))
        return -1;
    assert(j->outbox.count == j->expected_count);
    for (size_t i = 0; i < j->outbox.count; i++)
        if (message_compare(j->reader, &j->expected[i], &j->outbox.rows[i], e))
            return -1;
    const struct commit_request request = {j->fold, &j->outbox, clock_wall_ms()};
    if (j->writing && store_commit(j->store, j->shard, &j->row, &request, e) != STORE_OK)
        return -1;
    if (j->writing)
        count_rows(&j->plan->repaired, step);
    assert(j->outbox.after.sequence == j->chain.sequence + (int64_t)j->outbox.count); // I3
    assert(j->outbox.after.sequence <= j->plan->repaired.to);
    if (j->writing)
        assert(j->row.chain.sequence == j->outbox.after.sequence); // I3
    j->chain = j->outbox.after;
    fold_step_done(j->fold);
    j->expected_count = 0;
    arena_reset(j->arena);
    return 0;
}

// ---- the inputs ----

static int contradiction(const struct repair_job *j, enum input input, int64_t offset,
                         const char *what, struct error *e)
{
    return error_set(e, ERROR_CONFIG, "%s/%" PRId32 "/%" PRId64 ": %s", topic_of(j, input),
                     j->shard, offset, what);
}

static int take_record(struct repair_job *j, enum input input, const rd_kafka_message_t *message,
                       enum reject_reason recorded, const char *detail, struct error *e)
{
    struct event *event;
    struct audit_verdict verdict;
    int64_t offset = message->offset;
    if (fold_state(j->fold)->released)
        return contradiction(j, input, offset,
                             "the day was released before it, but it was judged in it", e);
    if (replay_decoder_event(j->decoder, input, message, recorded == REJECT_UNKNOWN_SCHEMA, &event,
                             e))
        return -1;
    if (fold_audit_record(j->fold, input, event, (struct recorded_verdict){recorded, detail},
                          &verdict, e))
        return -1;
    scan_take(j->scan, input);
    if (verdict.lacks_override)
        return contradiction(j, input, offset,
                             "it was judged by an operator's decision that the database lost", e);
    if (verdict.beyond_due && !fold_state(j->fold)->held)
        return contradiction(j, input, offset,
                             "it was judged in a day that had ended before it: the day was held, "
                             "which the topics do "
                             "not tell",
                             e);
    return 0;
}

// Takes the records below `offset`, none of which is published as rejected.
static int read_to(struct repair_job *j, enum input input, int64_t offset,
                   const rd_kafka_message_t **next, struct error *e)
{
    for (;;) {
        if (scan_look(j->scan, input, 0, next, e))
            return -1;
        if (!*next || (*next)->offset >= offset)
            return 0;
        int64_t at = (*next)->offset;
        if (take_record(j, input, *next, REJECT_NONE, "", e))
            return -1;
        const struct step *step = fold_step(j->fold);
        if (step->reject_count > 0 && step->rejects[step->reject_count - 1].input == input &&
            step->rejects[step->reject_count - 1].offset == at)
            return contradiction(j, input, at,
                                 "it is rejected now, and no reject of it is published", e);
        if (step->emission_count > j->expected_count)
            return contradiction(j, input, at,
                                 "it changes a status now, and no change by it is published", e);
        if (step_is_full(step, ROWS_MAX) && flush(j, e))
            return -1;
    }
}

static int ends_early(const struct repair_job *j, enum input input, int64_t offset, struct error *e)
{
    return contradiction(j, input, offset, "the log ends before it: the topic lost records", e);
}

static int drive_reject(struct repair_job *j, const struct published_row *row, struct error *e)
{
    const rd_kafka_message_t *next;
    struct published_reject reject;
    if (message_reject(
            j->reader, row,
            (const char *const[INPUT_COUNT]){topic_of(j, 0), topic_of(j, 1), topic_of(j, 2)},
            &reject, e))
        return -1;
    if (reject.offset < fold_state(j->fold)->log[reject.input].next)
        return error_set(e, ERROR_CONFIG, "row %" PRId64 " rejects %s, which was judged before it",
                         row->sequence, row->where);
    if (read_to(j, reject.input, reject.offset, &next, e))
        return -1;
    if (!next || next->offset != reject.offset)
        return contradiction(j, reject.input, reject.offset,
                             "it is published as rejected, and is not in the log", e);
    return take_record(j, reject.input, next, reject.reason, reject.detail, e);
}

// The account's next change comes from the next credit that gives one.
static int drive_credit(struct repair_job *j, const struct published_row *row, struct error *e)
{
    const rd_kafka_message_t *next;
    while (fold_step(j->fold)->emission_count == j->expected_count) {
        if (scan_look(j->scan, INPUT_CREDITS, 0, &next, e))
            return -1;
        if (!next)
            return error_set(e, ERROR_CONFIG,
                             "no credit in %s/%" PRId32 " gives the published change of status %s",
                             topic_of(j, INPUT_CREDITS), j->shard, row->where);
        if (take_record(j, INPUT_CREDITS, next, REJECT_NONE, "", e))
            return -1;
        if (step_is_full(fold_step(j->fold), ROWS_MAX) &&
            fold_step(j->fold)->emission_count == j->expected_count && flush(j, e))
            return -1;
    }
    return 0;
}

// ---- a day's close ----

static int look_at_close(struct repair_job *j, struct published_close *out, struct error *e)
{
    const rd_kafka_message_t *message;
    struct published_row row;
    char day[DAY_TEXT_SIZE], open[DAY_TEXT_SIZE];
    if (scan_look(j->scan, INPUT_COUNT + (size_t)OUTPUT_DAY_CLOSES, 0, &message, e))
        return -1;
    calendar_format_day(fold_state(j->fold)->day, open);
    if (message)
        message_read(j->reader, OUTPUT_DAY_CLOSES, message, &row);
    if (!message || row.sequence > j->plan->repaired.to)
        return error_set(e, ERROR_CONFIG,
                         "of %s only some settlements are published, and not where its logs were "
                         "cut: row %" PRId64 " is the last one",
                         open, j->plan->repaired.to);
    if (message_close(j->reader, &row, out, e))
        return -1;
    if (out->day != fold_state(j->fold)->day)
        return error_set(e, ERROR_CONFIG,
                         "%s is published as settled, but %s is open in the database",
                         calendar_format_day(out->day, day), open);
    if (out->last_decision > fold_state(j->fold)->decisions)
        return error_set(e, ERROR_CONFIG,
                         "the close of %s names an operator's decision that the database lost: "
                         "\"%s\"; who decided it "
                         "stands in no topic",
                         open, out->last_decision_text);
    for (enum input i = 0; i < INPUT_COUNT; i++)
        if (out->cutoffs[i].cut_by == CUT_NONE)
            return error_set(e, ERROR_CONFIG, "the close of %s, %s, does not say how %s was cut",
                             open, row.where, topic_of(j, i));
    if (fold_state(j->fold)->held)
        return error_set(e, ERROR_CONFIG, "%s is held in the database, and is published as settled",
                         open);
    return 0;
}

// ---- months ----

// All of the month's statements stand before the next close.
static int end_month(struct repair_job *j, struct error *e)
{
    if (!fold_month_due(j->fold))
        return 0;
    if (flush(j, e))
        return -1;
    fold_take_month(j->fold, &(struct month_page){.month = fold_state(j->fold)->month});
    return flush(j, e);
}

// What it was made from may be lost as well, but all of it stands in the message.
static int drive_statement(struct repair_job *j, const struct published_row *row, struct error *e)
{
    struct month_page page;
    const struct fold_state *state = fold_state(j->fold);
    if (statement_decode(row->body, j->months, &page, e))
        return error_context(e, "row %" PRId64 ", %s", row->sequence, row->where);
    if (!fold_month_due(j->fold) || page.month != state->month ||
        slice_compare(page.last, slice_text(state->month_after)) <= 0)
        return error_set(e, ERROR_CONFIG,
                         "row %" PRId64 ", %s, stands where no statement of that account is due",
                         row->sequence, row->where);
    if (fold_check_month(&page, e) || flush(j, e))
        return -1;
    fold_take_month(j->fold, &page);
    arena_reset(j->months);
    return expect_rows(j, e) || flush(j, e) ? -1 : 0;
}

// ---- a close, a change of status ----

static int drive_close(struct repair_job *j, struct error *e)
{
    struct published_close close;
    const rd_kafka_message_t *next;
    if (end_month(j, e) || look_at_close(j, &close, e))
        return -1;
    for (enum input i = 0; i < INPUT_COUNT; i++) {
        const struct cutoff *cut = &close.cutoffs[i];
        if (cut->to_offset < fold_state(j->fold)->log[i].next)
            return contradiction(j, i, cut->to_offset,
                                 "the day was cut here, but records behind it were judged in it",
                                 e);
        if (read_to(j, i, cut->to_offset, &next, e))
            return -1;
        if (!next && scan_end(j->scan, i) < cut->to_offset)
            return ends_early(j, i, cut->to_offset, e);
        // A day that the database has as released is cut already.
        if (fold_cut(j->fold, i) == CUT_NONE)
            fold_audit_cut(j->fold, i, cut->to_offset, cut->cut_by);
    }
    if (fold_close(j->fold, e))
        return -1;
    assert(fold_state(j->fold)->day == close.day + 1); // I9
    return expect_rows(j, e) || flush(j, e) ? -1 : 0;
}

static int drive_status(struct repair_job *j, const struct published_row *row, struct error *e)
{
    enum cause cause;
    if (message_cause(j->reader, row, &cause, e))
        return -1;
    return cause == CAUSE_ARREARS ? drive_close(j, e) : drive_credit(j, row, e);
}

static int drive(struct repair_job *j, const struct published_row *row, struct error *e)
{
    int failed = 0;
    switch (row->output) {
    case OUTPUT_REJECTS:
        failed = drive_reject(j, row, e);
        break;
    case OUTPUT_STATUS:
        failed = drive_status(j, row, e);
        break;
    case OUTPUT_SETTLEMENTS:
    case OUTPUT_NOTICES:
    case OUTPUT_DAY_CLOSES:
    case OUTPUT_COUNT:
        failed = drive_close(j, e);
        break;
    case OUTPUT_STATEMENTS:
        failed = drive_statement(j, row, e);
        break;
    }
    if (failed || expect_rows(j, e))
        return -1;
    return step_is_full(fold_step(j->fold), ROWS_MAX) ? flush(j, e) : 0;
}

// ---- a shard, from where the database stands ----

static int open_scan(struct repair_job *j, struct error *e)
{
    struct scan_log logs[LOGS];
    const struct fold_state *state = &j->row.state;
    for (enum input i = 0; i < INPUT_COUNT; i++)
        logs[i] = (struct scan_log){j->deployment->topics[i],
                                    !j->row.begun      ? SCAN_SINCE
                                    : i == INPUT_CALLS ? state->calls_from
                                                       : state->log[i].next,
                                    fold_first_instant(&j->deployment->policy, i)};
    for (int o = 0; o < OUTPUT_COUNT; o++)
        logs[INPUT_COUNT + o] = (struct scan_log){j->config->output_topics[o], SCAN_BEGINNING, 0};
    struct scan_options options = {.properties = &j->properties,
                                   .group = j->deployment->group,
                                   .cluster_id = j->deployment->cluster_id,
                                   .partitions = j->deployment->policy.fixed.partitions,
                                   .partition = j->shard,
                                   .count = LOGS,
                                   .logs = logs};
    return scan_open(&options, &j->scan, e);
}

static int replay(struct repair_job *j, struct error *e)
{
    int64_t to = fold_state(j->fold)->log[INPUT_CALLS].next;
    bool done = false;
    while (!done) {
        const rd_kafka_message_t *message;
        struct event *event;
        if (scan_look(j->scan, INPUT_CALLS, 0, &message, e))
            return -1;
        if (!message && scan_end(j->scan, INPUT_CALLS) < to)
            return ends_early(j, INPUT_CALLS, to, e);
        if (!message || message->offset >= to)
            return fold_replay_reached(j->fold, to, &done, e);
        if (replay_decoder_event(j->decoder, INPUT_CALLS, message, false, &event, e) ||
            fold_replay(j->fold, event, 1, &done, e))
            return -1;
        scan_take(j->scan, INPUT_CALLS);
    }
    return 0;
}

// As watermarks.c finds it.
static int find_start(struct repair_job *j, enum input input, int64_t *start, struct error *e)
{
    *start = scan_from(j->scan, input);
    if (j->deployment->policy.fixed.timestamps != TIMESTAMPS_CREATE)
        return 0;
    int64_t since_ms = fold_first_instant(&j->deployment->policy, input);
    if (scan_take_older(j->scan, input, since_ms, start, e))
        return -1;
    if (*start < 0)
        *start = scan_last(j->scan, input);
    return 0;
}

static int open_fold(struct repair_job *j, struct error *e)
{
    struct fold_options options = {.shard = j->shard, .max_resident_calls = INT64_MAX};
    memcpy(options.id_key, j->deployment->id_key, sizeof options.id_key);
    j->fold = fold_create(&options, &j->deployment->policy);
    if (!j->fold)
        return error_set(e, ERROR_RESTART, "memory is short");
    if (j->row.begun)
        return store_restore(j->store, j->shard, &j->row, j->fold, e) == STORE_OK ? replay(j, e)
                                                                                  : -1;
    // R70: where the daemon had begun. Had no record been as young then, what it judged in front of
    // the first such one is not folded again, and the hash of the rows says so.
    int64_t starts[INPUT_COUNT];
    for (enum input i = 0; i < INPUT_COUNT; i++)
        if (find_start(j, i, &starts[i], e))
            return -1;
    fold_begin(j->fold, starts);
    return 0;
}

static int fold_again(struct repair_job *j, struct error *e)
{
    if (open_scan(j, e) || open_fold(j, e))
        return -1;
    while (next_sequence(j) <= j->plan->repaired.to) {
        struct published_row row;
        if (look_at(j, next_sequence(j), &row, e) || drive(j, &row, e))
            return -1;
    }
    if (flush(j, e))
        return -1;
    assert(j->chain.sequence == j->plan->repaired.to); // each published row, and no other
    if (memcmp(j->chain.hash, j->plan->hash, sizeof j->chain.hash) == 0)
        return 0;
    return error_set(e, ERROR_CONFIG,
                     "the rows up to %" PRId64
                     " are not those that were published: other ones were written into the "
                     "database since",
                     j->plan->repaired.from);
}

static int walk_shard(struct repair_job *j, int32_t shard, bool writing, struct error *e)
{
    assert(j->fold == NULL);
    assert(j->scan == NULL);
    j->shard = shard;
    j->writing = writing;
    j->plan = &j->shards[shard];
    j->row = j->plan->row;
    j->chain = j->row.chain;
    j->expected_count = 0;
    int failed = fold_again(j, e);
    if (failed)
        error_context(e, "shard %" PRId32 " cannot be repaired", shard);
    scan_close(j->scan);
    fold_destroy(j->fold);
    arena_reset(j->arena);
    j->scan = NULL;
    j->fold = NULL;
    return failed ? -1 : 0;
}

// ---- what is missing ----

static void wait_a_little(void)
{
    nanosleep(&(struct timespec){.tv_sec = RETRY_MS / 1000, .tv_nsec = RETRY_MS % 1000 * 1000000L},
              NULL);
}

// After this, no relay that still hangs somewhere can publish a row.
static int fence_relay(struct repair_job *j, int32_t shard, struct error *e)
{
    const atomic_bool stop = false;
    struct publisher *publisher = NULL;
    int failed = repair_make_publisher(&j->publishing, shard, false, &stop, &publisher, e);
    publisher_destroy(publisher);
    return failed;
}

static void no_news(void *context)
{
    (void)context;
}

// The highest sequence that stands in the topics.
static enum published_result read_topics(struct repair_job *j, int32_t shard, int64_t mark,
                                         int64_t *n, struct error *e)
{
    struct published_reader *reader = NULL;
    struct published_log *log = NULL;
    enum published_result result = PUBLISHED_UNAVAILABLE;
    const atomic_bool stop = false;
    bool whole_logs;
    if (published_reader_create(&j->publishing, &reader, e) == 0 &&
        published_log_open(reader, shard, mark, (struct published_news){no_news, NULL}, &log, e) ==
            0)
        result = published_log_read(log, mark, &stop, &whole_logs, e);
    if (result == PUBLISHED_FOUND)
        *n = published_log_rows(log)->highest;
    published_log_close(log);
    published_reader_destroy(reader);
    return result;
}

// *known: together with the hash of row n, which proves the rows that are folded again.
static int find_published(struct repair_job *j, int32_t shard, struct plan_of_shard *plan,
                          bool *known, struct error *e)
{
    atomic_bool stop = false;
    enum published_result result = PUBLISHED_UNAVAILABLE;
    struct published_at at = {0};
    for (int i = 0; i < TRIES && result == PUBLISHED_UNAVAILABLE; i++) {
        if (i > 0)
            wait_a_little();
        result = published_position(&j->publishing, shard, &stop, &at, e);
    }
    *known = result == PUBLISHED_FOUND && at.has_hash;
    memcpy(plan->hash, at.hash, sizeof plan->hash);
    if (result == PUBLISHED_UNKNOWN || (result == PUBLISHED_FOUND && !*known))
        result = read_topics(j, shard, plan->row.relayed, &at.n, e);
    plan->repaired.to = plan->published = at.n;
    return result == PUBLISHED_FOUND ? 0 : -1;
}

// Checks that row n in the database is the one that was published.
static int check_row(struct repair_job *j, int32_t shard, const struct plan_of_shard *plan,
                     struct error *e)
{
    uint8_t hash[32];
    bool found;
    int64_t n = plan->repaired.to;
    if (n == 0)
        return 0;
    if (store_outbox_hash(j->store, shard, n, hash, &found, e) != STORE_OK)
        return -1;
    if (found && memcmp(hash, plan->hash, sizeof hash) == 0)
        return 0;
    return error_set(
        e, ERROR_CONFIG,
        "row %" PRId64
        " of the database is not the one that was published: other rows were written since, "
        "and cannot be told from published ones",
        n);
}

static int plan_shard(struct repair_job *j, int32_t shard, struct error *e)
{
    struct plan_of_shard *plan = &j->shards[shard];
    bool known = false;
    // The epoch is raised first. After that the database stops any earlier owner, and what one
    // published before is in the position, which is read now.
    if (store_claim(j->store, shard, &plan->row, e) != STORE_OK || fence_relay(j, shard, e) ||
        find_published(j, shard, plan, &known, e))
        return -1;
    plan->repaired.shard = shard;
    plan->repaired.from = plan->row.chain.sequence;
    if (plan->repaired.to <= plan->repaired.from) {
        int failed = known ? check_row(j, shard, plan, e) : 0;
        plan->repaired.to = plan->repaired.from;
        return failed;
    }
    if (known)
        return 0;
    return error_set(e, ERROR_CONFIG,
                     "rows up to %" PRId64
                     " are published, but group %s-relay has no position any more whose hash would "
                     "prove them",
                     plan->repaired.to, j->deployment->group);
}

// ---- all of them ----

static int open_job(struct repair_job *j, struct error *e)
{
    const struct config *config = j->config;
    struct output_framing framing;
    bool recorded = false;
    j->deployment = memory_grow(NULL, 1, sizeof *j->deployment);
    memset(j->deployment, 0, sizeof *j->deployment);
    j->arena = arena_create();
    j->months = arena_create();
    if (!j->arena || !j->months)
        return error_set(e, ERROR_RESTART, "memory is short");
    if (store_open_all(config->dsns, config->dsn_count, STORE_WRITES, &j->store, e) ||
        store_check_version(j->store, e) ||
        store_load_deployment(j->store, j->deployment, &recorded, e) != STORE_OK)
        return -1;
    if (!recorded)
        return error_set(e, ERROR_CONFIG,
                         "nothing is recorded in the database: it is not a replica of the old one");
    const struct fixed_parameters *fixed = &j->deployment->policy.fixed;
    if (schema_ids_find(config, fixed->framing, &framing, e) || encoder_create(&j->encoder, e) ||
        replay_decoder_create(config, fixed, &j->decoder, e) ||
        message_reader_create(fixed->framing, &j->reader, e))
        return -1;
    j->properties = config_properties(config, j->pairs);
    j->publishing = (struct publisher_options){
        .group = j->deployment->group, .framing = framing, .properties = j->properties};
    for (int o = 0; o < OUTPUT_COUNT; o++)
        j->publishing.topics[o] = config->output_topics[o];
    return 0;
}

// The database has every published row by now.
static int publish_lost(struct repair_job *j, int32_t shard, struct error *e)
{
    struct plan_of_shard *plan = &j->shards[shard];
    struct repaired *r = &plan->repaired;
    const struct repair_lost_options options = {
        .publishing = &j->publishing,
        .store = j->store,
        .reader = j->reader,
        .cluster_id = j->deployment->cluster_id,
        .partitions = j->deployment->policy.fixed.partitions,
        .shard = shard,
        .epoch = plan->row.epoch,
        .published = plan->published,
    };
    if (repair_lost(&options, &r->again, &r->again_first, &r->again_last, e) == 0)
        return 0;
    error_context(e, "shard %" PRId32, shard);
    return -1;
}

static int repair_shards(struct repair_job *j, repair_visit *visit, void *context, struct error *e)
{
    int32_t partitions = j->deployment->policy.fixed.partitions;
    j->shards = memory_grow(NULL, (size_t)partitions, sizeof *j->shards);
    memset(j->shards, 0, (size_t)partitions * sizeof *j->shards);
    for (int32_t shard = 0; shard < partitions; shard++)
        if (plan_shard(j, shard, e)) {
            error_context(e, "shard %" PRId32, shard);
            return -1;
        }
    for (int writing = 0; writing < 2; writing++)
        for (int32_t shard = 0; shard < partitions; shard++) {
            const struct repaired *repaired = &j->shards[shard].repaired;
            assert(repaired->shard == shard);
            assert(repaired->to >= repaired->from);
            if (repaired->to > repaired->from && walk_shard(j, shard, writing != 0, e))
                return -1;
            if (writing && publish_lost(j, shard, e))
                return -1;
            if (writing)
                visit(context, repaired);
        }
    return 0;
}

int repair(const struct config *config, repair_visit *visit, void *context, struct error *e)
{
    struct repair_job *j = memory_grow(NULL, 1, sizeof *j);
    *j = (struct repair_job){.config = config};
    int failed = open_job(j, e) || repair_shards(j, visit, context, e);
    free(j->shards);
    free(j->expected);
    outbox_release(&j->outbox);
    message_reader_destroy(j->reader);
    replay_decoder_destroy(j->decoder);
    encoder_destroy(j->encoder);
    store_close(j->store);
    arena_destroy(j->arena);
    arena_destroy(j->months);
    if (j->deployment)
        shelf_clear(&j->deployment->policy.shelf);
    free(j->deployment);
    free(j);
    return failed ? -1 : 0;
}
