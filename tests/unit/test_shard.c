#include "books.h"
#include "consumer/shard/shard_parts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <unistd.h>

enum { ROUND_MS = 20, COMMIT_US = 1500, MINUTE_MS = 60000, HOUR_MS = 3600000 };

// A partition whose calls log holds one record without a value; the other logs are empty.
struct world {
    struct metrics *metrics;
    struct shard_host host;
    struct shard *worker[2]; // the same partition, as two workers of a process hold it
    struct policy policy;
    int64_t now, mono_us;
    struct decoder_scratch scratch;
    struct block *block; // not handed out yet
    bool busy; // there is always one more record in the calls log
    bool ended[INPUT_COUNT]; // the end of the log comes next
    int64_t counted_at; // monotonic ms of the last look at the topics' partitions
    int64_t end[INPUT_COUNT];
    int64_t low[INPUT_COUNT], first[INPUT_COUNT], since_ms[INPUT_COUNT];
    int64_t located_since[INPUT_COUNT]; // that was asked for last
    int64_t tolerance_at_claim; // of the future; is recorded then, if it is not 0
    int64_t open[INPUT_COUNT]; // so many offsets of it lie behind an open transaction
    // the row has read the calls log up to `next`, and its owner reads on to `next_end` until the
    // claim
    bool begun;
    int64_t next, next_end, replayed; // so many calls before `next` must be replayed
    int64_t sequence, claims; // of the row; how often it was claimed
    int restores;
    // an operator accepts the loss of the record as soon as its reject is written
    bool asks, decided;
    int64_t published; // as the relay says; -1: it does not know yet
    int64_t unmarked; // so many rows of it PostgreSQL does not have as published yet
    bool read_only; // the database answers, and takes no writes
    bool fenced; // another process has claimed the shard meanwhile
    bool beside; // a commit goes on beside
    bool others; // another shard's does
    int looks; // so many more times it is looked at before it has ended
    int begun_beside, awaited;
    bool lost; // the relay says that another process owns the shard
};

static int64_t host_clock(void *context)
{
    return ((struct world *)context)->now;
}

static int64_t host_monotonic_us(void *context)
{
    return ((struct world *)context)->mono_us;
}

static enum store_result host_claim(void *context, int32_t shard, struct shard_row *out,
                                    struct error *e)
{
    struct world *w = context;
    (void)shard;
    (void)e;
    *out = (struct shard_row){.epoch = ++w->claims, .begun = w->begun};
    if (w->tolerance_at_claim > 0)
        w->policy.rows[0].future_tolerance_ms = w->tolerance_at_claim;
    out->chain.sequence = w->sequence;
    if (!w->begun)
        return STORE_OK;
    out->state.day = w->policy.fixed.first_day;
    out->state.month = calendar_month_end(out->state.day);
    for (int i = 0; i < INPUT_COUNT; i++)
        out->state.log[i].last_offset = -1;
    out->state.log[INPUT_CALLS].next = out->state.log[INPUT_CALLS].voids = w->next;
    out->state.calls_from = w->next - w->replayed;
    w->end[INPUT_CALLS] = w->next_end;
    return STORE_OK;
}

static enum store_result host_restore(void *context, int32_t shard, const struct shard_row *row,
                                      struct fold *fold, struct error *e)
{
    (void)shard;
    ((struct world *)context)->restores++;
    return fold_restore_state(fold, &row->state, e) == 0 ? STORE_OK : STORE_FAILED;
}

static enum store_result host_commit(void *context, int32_t shard, struct shard_row *row,
                                     const struct commit_request *request, struct error *e)
{
    struct world *w = context;
    (void)shard;
    if (w->fenced) {
        error_set(e, ERROR_RESTART, "another process owns it");
        return STORE_FENCED;
    }
    if (w->read_only) {
        error_set(e, ERROR_UNAVAILABLE, "the database is read-only");
        return STORE_UNAVAILABLE;
    }
    w->decided = w->decided || fold_step(request->fold)->decision_count > 0;
    w->mono_us += COMMIT_US;
    row->begun = true;
    row->step++;
    row->state = *fold_state(request->fold);
    row->chain = request->outbox->after;
    if (w->published >= 0)
        w->published = request->outbox->after.sequence;
    return STORE_OK;
}

static enum commit_progress host_commit_beside(void *context, int32_t shard, struct shard_row *row,
                                               const struct long_step *step,
                                               enum store_result *result, struct error *e)
{
    struct world *w = context;
    if (w->others)
        return COMMIT_BUSY;
    w->begun_beside += !w->beside;
    w->beside = w->looks-- > 0;
    if (w->beside)
        return COMMIT_GOES_ON;
    *result = STORE_FAILED;
    if (!step->build || step->build(step->shard, w->host.encoder, e) == 0)
        *result = host_commit(context, shard, row, &step->request, e);
    return COMMIT_ENDED;
}

static void host_await_commit(void *context, int32_t shard)
{
    struct world *w = context;
    (void)shard;
    w->awaited++;
    w->looks = 0;
}

static enum store_result host_load_undecided(void *context, int32_t shard,
                                             struct undecided_rejects *out, size_t capacity,
                                             size_t *count, struct error *e)
{
    (void)context;
    (void)shard;
    (void)capacity;
    (void)e;
    *out = (struct undecided_rejects){INPUT_CALLS, REJECT_UNDECODABLE, -1, 100, 0};
    *count = 1;
    return STORE_OK;
}

// Nobody has anything in the month.
static enum store_result host_load_month(void *context, int32_t shard, day_t month,
                                         const char *after, struct month_page *out, struct error *e)
{
    (void)context;
    (void)shard;
    (void)after;
    (void)e;
    *out = (struct month_page){.month = month};
    return STORE_OK;
}

static enum store_result host_load_requests(void *context, int32_t shard, struct request *out,
                                            size_t capacity, size_t *count, struct error *e)
{
    static const int64_t offset = 0;
    static const enum reject_reason reason = REJECT_UNDECODABLE;
    const struct world *w = context;
    (void)shard;
    (void)capacity;
    (void)e;
    *count = w->asks && !w->decided &&
             w->metrics->shards[0].rejects[INPUT_CALLS][REJECT_UNDECODABLE] > 0;
    if (*count > 0)
        out[0] = (struct request){.id = 1,
                                  .decision = {.kind = DECISION_ACCEPT,
                                               .input = INPUT_CALLS,
                                               .count = 1,
                                               .offsets = &offset,
                                               .content = "calls 1 -",
                                               .operator_name = "op"},
                                  .reasons = &reason,
                                  .new_offset = -1};
    return STORE_OK;
}

static enum store_result host_refresh_policy(void *context, struct error *e)
{
    (void)context;
    (void)e;
    return STORE_OK;
}

static const struct policy *host_policy(void *context)
{
    return &((struct world *)context)->policy;
}

static void host_relay_add(void *context, int32_t shard, int64_t epoch, int64_t mark)
{
    (void)context;
    (void)shard;
    (void)epoch;
    (void)mark;
}

static void host_relay_wake(void *context, int32_t shard, int64_t sequence)
{
    (void)context;
    (void)shard;
    (void)sequence;
}

static void host_relay_remove(void *context, int32_t shard)
{
    (void)context;
    (void)shard;
}

static struct relay_status host_relay_status(void *context, int32_t shard)
{
    (void)shard;
    const struct world *w = context;
    return (struct relay_status){
        .published = w->published, .marked = w->published - w->unmarked, .lost = w->lost};
}

static void host_ask_ends(void *context, int32_t shard, enum input input, int64_t since_ms)
{
    struct world *w = context;
    (void)shard;
    w->since_ms[input] = since_ms;
    if (since_ms != SINCE_NONE)
        w->located_since[input] = since_ms;
}

static bool host_take_ends(void *context, int32_t shard, enum input input,
                           struct log_watermarks *out)
{
    const struct world *w = context;
    (void)shard;
    *out = (struct log_watermarks){.stable = w->end[input],
                                   .end = w->end[input] + w->open[input],
                                   .asked_at = w->now,
                                   .low = w->low[input],
                                   .since_ms = w->since_ms[input],
                                   .first = w->first[input]};
    return true;
}

static bool host_counts_right(void *context, int64_t read_at)
{
    const struct world *w = context;
    return w->counted_at >= read_at;
}

static uint64_t host_writers_generation(void *context)
{
    (void)context;
    return 1;
}

static void host_start(void *context, int32_t shard, const int64_t offsets[INPUT_COUNT])
{
    (void)context;
    (void)shard;
    (void)offsets;
}

static struct block *end_block(int64_t offset)
{
    size_t size = raw_bytes(RAW_NULL, RAW_NULL);
    struct block *block = calloc(1, sizeof *block + size);
    assert_non_null(block);
    block->used = block->capacity = size;
    *(struct raw *)(void *)block->data = (struct raw){
        .offset = offset, .key_size = RAW_NULL, .value_size = RAW_NULL, .kind = RAW_END};
    return block;
}

// At the end of the calls log; they cannot be decoded.
static void add_records(struct world *w, int count, int64_t timestamp)
{
    size_t size = raw_bytes(RAW_NULL, RAW_NULL);
    w->block = calloc(1, sizeof *w->block + (size_t)count * size);
    assert_non_null(w->block);
    w->block->used = w->block->capacity = (size_t)count * size;
    for (int i = 0; i < count; i++)
        *(struct raw *)(void *)(w->block->data + (size_t)i * size) =
            (struct raw){.offset = w->end[INPUT_CALLS]++,
                         .timestamp = timestamp,
                         .key_size = RAW_NULL,
                         .value_size = RAW_NULL,
                         .log_append = true,
                         .stamped = true};
}

static struct block *host_next_block(void *context, int32_t shard, enum input input)
{
    struct world *w = context;
    (void)shard;
    if (w->busy && input == INPUT_CALLS)
        add_records(w, 1, w->now);
    if (w->ended[input]) {
        w->ended[input] = false;
        return end_block(w->end[input]);
    }
    struct block *block = input == INPUT_CALLS ? w->block : NULL;
    if (block)
        w->block = NULL;
    return block;
}

static void host_release_block(void *context, int32_t shard, enum input input, struct block *block)
{
    (void)context;
    (void)shard;
    (void)input;
    free(block);
}

static void host_let_look(void *context, int32_t shard)
{
    (void)context;
    (void)shard;
}

static void make_policy(struct policy *policy)
{
    const struct book book = load_apcas();
    struct error e;
    policy->fixed = (struct fixed_parameters){
        .partitioner = PARTITIONER_MURMUR2, .partitions = 1, .time_zone = "Asia/Shanghai"};
    assert_true(calendar_parse_day("2026-11-01", &policy->fixed.first_day));
    assert_int_equal(shelf_add(&policy->shelf, &book, &e), 0);
    policy->count = 1;
    policy->rows[0] = (struct parameters){
        .from_day = DAY_NONE, .late_days = 7, .future_tolerance_ms = 5 * MINUTE_MS};
    memcpy(policy->rows[0].book_sha256, book.sha256, sizeof book.sha256);
}

static int set_up(void **state)
{
    static const char *const topics[INPUT_COUNT] = {"calls", "purchases", "credits"};
    struct world *w = calloc(1, sizeof *w);
    struct error e;
    if (!w || metrics_create(1, topics, &w->metrics))
        return -1;
    make_policy(&w->policy);
    w->now = calendar_day_start(w->policy.fixed.first_day, 8 * HOUR_MS) + 12 * HOUR_MS;
    w->host = (struct shard_host){
        .context = w,
        .clock_ms = host_clock,
        .monotonic_us = host_monotonic_us,
        .claim = host_claim,
        .restore = host_restore,
        .commit = host_commit,
        .commit_beside = host_commit_beside,
        .await_commit = host_await_commit,
        .load_month = host_load_month,
        .load_requests = host_load_requests,
        .load_undecided = host_load_undecided,
        .refresh_policy = host_refresh_policy,
        .policy = host_policy,
        .relay_add = host_relay_add,
        .relay_remove = host_relay_remove,
        .relay_wake = host_relay_wake,
        .relay_status = host_relay_status,
        .ask_ends = host_ask_ends,
        .take_ends = host_take_ends,
        .counts_right = host_counts_right,
        .writer_schemas_generation = host_writers_generation,
        .start = host_start,
        .next_block = host_next_block,
        .release_block = host_release_block,
        .let_look = host_let_look,
        .source = {.scratch = &w->scratch},
        .metrics = w->metrics,
        .partitions = 1,
        .max_resident_calls = 1000,
        .session_ms = 6000,
        .open_transaction_wait_ms = 15 * MINUTE_MS,
    };
    memcpy(w->host.input_topics, topics, sizeof topics);
    if (encoder_create(&w->host.encoder, &e))
        return -1;
    for (int i = 0; i < 2; i++)
        w->worker[i] = shard_create(&w->host, 0, NULL);
    *state = w;
    return w->worker[0] && w->worker[1] ? 0 : -1;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    for (int i = 0; i < 2; i++)
        shard_destroy(w->worker[i]);
    encoder_destroy(w->host.encoder);
    shelf_clear(&w->policy.shelf);
    metrics_destroy(w->metrics);
    free(w->block);
    free(w);
    return 0;
}

static void expect_shown(const struct world *w, enum shard_state state, int owned)
{
    assert_int_equal(w->metrics->shards[0].state, state);
    assert_int_equal(w->metrics->shards[0].owned, owned);
}

// Runs the first worker's shard until `until_ms`; returns how often stderr got a line with the
// text.
static int run_counting(struct world *w, int64_t from_ms, int64_t until_ms, const char *text)
{
    char line[1024];
    int count = 0, kept = dup(STDERR_FILENO);
    FILE *log = tmpfile();
    assert_non_null(log);
    dup2(fileno(log), STDERR_FILENO);
    for (int64_t at = from_ms; at < until_ms; at += ROUND_MS) {
        while (shard_run(w->worker[0], at)) {}
    }
    dup2(kept, STDERR_FILENO);
    close(kept);
    rewind(log);
    while (fgets(line, sizeof line, log))
        count += strstr(line, text) != NULL;
    fclose(log);
    return count;
}

// Each worker's own thread handles its revocations, so one may come after the partition already has
// its next owner.
static void a_late_revocation_does_not_hide_the_next_owner(void **state)
{
    struct world *w = *state;
    shard_assign(w->worker[0], 1);
    expect_shown(w, SHARD_LOCATING, 1);
    shard_assign(w->worker[1], 2);
    shard_revoke(w->worker[0], 3);
    assert_int_equal(shard_state(w->worker[0]), SHARD_NONE);
    expect_shown(w, SHARD_LOCATING, 1);
    shard_destroy(w->worker[0]);
    w->worker[0] = NULL;
    expect_shown(w, SHARD_LOCATING, 1);
    shard_revoke(w->worker[1], 4);
    expect_shown(w, SHARD_NONE, 0);
}

static void a_shard_that_comes_back_shows_again(void **state)
{
    struct world *w = *state;
    shard_assign(w->worker[0], 1);
    shard_revoke(w->worker[0], 2);
    shard_assign(w->worker[1], 2);
    shard_revoke(w->worker[1], 3);
    shard_assign(w->worker[0], 3);
    expect_shown(w, SHARD_LOCATING, 1);
}

// ---- where the logs end ----

// The ends were asked for before the shard was claimed, and the previous owner went on reading.
static void an_owner_that_read_on_does_not_halt_the_next(void **state)
{
    struct world *w = *state;
    w->begun = true;
    w->next = w->next_end = 3;
    shard_assign(w->worker[0], 0);
    for (int64_t at = 0; at < 1000; at += ROUND_MS)
        shard_run(w->worker[0], at);
    assert_int_equal(shard_state(w->worker[0]), SHARD_RUNNING);
}

// What run.max_calls_held must be: what lies before the place of the replay is not waited for.
static void a_replay_is_told_by_its_place(void **state)
{
    struct world *w = *state;
    struct error e;
    w->begun = true;
    w->next = 900;
    w->next_end = 910;
    w->replayed = 100;
    w->metrics->shards[0].end[INPUT_CALLS] = 910;
    shard_assign(w->worker[0], 0);
    assert_int_equal(metrics_calls_waiting(w->metrics), 0); // nothing is known of the shard
    for (int64_t at = 0; at < 1000; at += ROUND_MS)
        shard_run(w->worker[0], at);
    expect_shown(w, SHARD_REPLAYING, 1);
    assert_int_equal(w->metrics->shards[0].position[INPUT_CALLS], 900);
    assert_int_equal(metrics_calls_waiting(w->metrics), 110);
    shard_say_full(w->metrics, 50, 40, &e);
    assert_non_null(strstr(e.text, "110 more records wait in the logs: set it to at least 160"));
}

static void a_log_that_ends_below_the_position_halts(void **state)
{
    struct world *w = *state;
    w->begun = true;
    w->next = 3;
    w->next_end = 2;
    shard_assign(w->worker[0], 0);
    for (int64_t at = 0; at < 1000; at += ROUND_MS)
        shard_run(w->worker[0], at);
    assert_int_equal(shard_state(w->worker[0]), SHARD_HALTED);
    assert_non_null(
        strstr(shard_error(w->worker[0])->text, "read up to offset 3, but the log ends at 2"));
}

// ---- the first start ----

static void expect_begun(struct world *w, int64_t calls, int64_t purchases, int64_t credits)
{
    const int64_t from[INPUT_COUNT] = {calls, purchases, credits};
    assert_int_equal(shard_state(w->worker[0]), SHARD_RUNNING);
    for (int i = 0; i < INPUT_COUNT; i++)
        assert_int_equal(fold_state(shard_fold(w->worker[0]))->log[i].from, from[i]);
}

static void set_old_logs(struct world *w)
{
    for (int i = 0; i < INPUT_COUNT; i++) {
        w->end[i] = 1000;
        w->first[i] = 500 + i;
    }
}

// R70
static void the_first_day_begins_where_its_logs_have_come_to_it(void **state)
{
    struct world *w = *state;
    set_old_logs(w);
    w->policy.rows[0].credit_days = 3;
    shard_assign(w->worker[0], 0);
    shard_run(w->worker[0], 0);
    expect_begun(w, 500, 501, 502);
    int64_t begin = calendar_day_start(w->policy.fixed.first_day, 8 * HOUR_MS) - 5 * MINUTE_MS;
    assert_int_equal(w->located_since[INPUT_CALLS], begin);
    assert_int_equal(w->located_since[INPUT_PURCHASES], begin - 3 * 24 * HOUR_MS);
    assert_int_equal(w->located_since[INPUT_CREDITS], begin - 3 * 24 * HOUR_MS);
}

// R70: others were recorded between the question and the claim.
static void where_the_first_day_begins_is_asked_by_its_parameters(void **state)
{
    struct world *w = *state;
    set_old_logs(w);
    w->tolerance_at_claim = 2 * MINUTE_MS;
    shard_assign(w->worker[0], 0);
    shard_run(w->worker[0], 0);
    assert_int_equal(shard_state(w->worker[0]), SHARD_LOCATING);
    shard_run(w->worker[0], ROUND_MS);
    expect_begun(w, 500, 501, 502);
    assert_int_equal(w->located_since[INPUT_CALLS],
                     calendar_day_start(w->policy.fixed.first_day, 8 * HOUR_MS) - 2 * MINUTE_MS);
}

static void a_drain_begins_no_later_than_it_ends(void **state)
{
    struct world *w = *state;
    set_old_logs(w);
    shard_destroy(w->worker[0]);
    w->worker[0] = shard_create(&w->host, 0, (const int64_t[INPUT_COUNT]){400, 501, 600});
    shard_assign(w->worker[0], 0);
    shard_run(w->worker[0], 0);
    expect_begun(w, 400, 501, 502);
}

static void a_log_that_begins_within_the_first_day_is_told_of(void **state)
{
    struct world *w = *state;
    set_old_logs(w);
    w->low[INPUT_PURCHASES] = w->first[INPUT_PURCHASES];
    shard_assign(w->worker[0], 0);
    assert_int_equal(run_counting(w, 0, ROUND_MS, "topic=purchases partition=0 offset=501"), 1);
    expect_begun(w, 500, 501, 502);
}

// ---- what is kept ----

static void park_and_take_back(struct world *w)
{
    shard_revoke(w->worker[0], 1000);
    assert_int_equal(shard_state(w->worker[0]), SHARD_PARKED);
    shard_assign(w->worker[0], 2000);
    for (int64_t at = 2000; at < 3000; at += ROUND_MS)
        shard_run(w->worker[0], at);
    assert_int_equal(shard_state(w->worker[0]), SHARD_RUNNING);
}

// A row of the same step with another last output is not the one that we wrote: the database was
// restored and written to again.
static void what_is_in_memory_is_kept_only_for_the_row_it_belongs_to(void **state)
{
    struct world *w = *state;
    w->begun = true;
    w->next = w->next_end = 3;
    w->sequence = w->published = 7;
    shard_assign(w->worker[0], 0);
    for (int64_t at = 0; at < 1000; at += ROUND_MS)
        shard_run(w->worker[0], at);
    assert_int_equal(w->restores, 1);
    park_and_take_back(w);
    assert_int_equal(w->restores, 1);
    w->sequence = 6;
    park_and_take_back(w);
    assert_int_equal(w->restores, 2);
}

// ---- what it waits for ----

static void a_log_with_too_many_rejects_says_so_once(void **state)
{
    static const char text[] = "message=\"too many rejects: the log waits for settled rejects "
                               "requeue or accept\" shard=0 topic=calls offset=10001 rejects=10001";
    struct world *w = *state;
    add_records(w, FOLD_PAUSE_MIN + 2, w->now);
    shard_assign(w->worker[0], 0);
    assert_int_equal(run_counting(w, 0, 60000, text), 1);
    assert_int_equal(w->metrics->shards[0].stop[INPUT_CALLS], FOLD_REJECTS);
    assert_int_equal(fold_state(shard_fold(w->worker[0]))->log[INPUT_CALLS].next, 10001);
}

static void a_shard_that_another_process_took_is_left_to_it(void **state)
{
    static const char text[] = "another process owns the shard, waiting one session time-out "
                               "before looking again";
    struct world *w = *state;
    add_records(w, 1, w->now);
    w->fenced = true;
    shard_assign(w->worker[0], 0);
    assert_int_equal(run_counting(w, 0, 5000, text), 1);
    expect_shown(w, SHARD_FENCED, 1);
    w->fenced = false;
    assert_int_equal(run_counting(w, 5000, 20000, text), 0);
    expect_shown(w, SHARD_RUNNING, 1);
}

// ---- drains ----

static struct shard *create_draining(struct world *w)
{
    struct shard *shard =
        shard_create(&w->host, 0, (const int64_t[INPUT_COUNT]){[INPUT_CALLS] = 1});
    assert_non_null(shard);
    shard_assign(shard, 0);
    return shard;
}

static bool drains_by(struct shard *shard, int64_t at, int64_t until)
{
    bool held, drained = false;
    for (; at < until && !drained; at++) {
        while (shard_run(shard, at)) {}
        drained = shard_drained(shard, &held);
    }
    return drained;
}

// A request that an operator makes while the last records are read is decided, however early the
// reading ends.
static void a_drain_ends_only_when_the_requests_are_decided(void **state)
{
    struct world *w = *state;
    add_records(w, 1, w->now);
    w->asks = true;
    struct shard *shard = create_draining(w);
    assert_true(drains_by(shard, 0, ROUND_MS));
    assert_true(w->decided);
    shard_destroy(shard);
}

// Whoever looks at the tables when it has ended finds there what stands in the topics.
static void a_drain_ends_only_when_the_mark_has_followed(void **state)
{
    struct world *w = *state;
    add_records(w, 1, w->now);
    w->unmarked = 1;
    struct shard *shard = create_draining(w);
    assert_false(drains_by(shard, 0, ROUND_MS));
    w->unmarked = 0;
    assert_true(drains_by(shard, ROUND_MS, ROUND_MS + 1));
    shard_destroy(shard);
}

// ---- a record stamped ahead of the clock ----

static void a_record_ahead_of_the_clock_is_told_of_after_a_minute(void **state)
{
    static const char text[] = "topic=calls offset=0";
    struct world *w = *state;
    add_records(w, 1, w->now + 24 * HOUR_MS);
    shard_assign(w->worker[0], 0);
    assert_int_equal(run_counting(w, 0, 60000, text), 0);
    assert_int_equal(w->metrics->shards[0].stop[INPUT_CALLS], FOLD_FUTURE);
    assert_int_equal(run_counting(w, 60000, 61000, text), 1);
    assert_int_equal(run_counting(w, 61000, 300000, text), 0); // once
    assert_int_equal(fold_state(shard_fold(w->worker[0]))->log[INPUT_CALLS].next, 0);
}

static void a_record_ahead_of_the_clock_is_judged_once_the_clock_is_there(void **state)
{
    struct world *w = *state;
    add_records(w, 1, w->now + 6 * MINUTE_MS);
    shard_assign(w->worker[0], 0);
    assert_int_equal(run_counting(w, 0, 30000, "level=warn"), 0);
    assert_int_equal(fold_state(shard_fold(w->worker[0]))->log[INPUT_CALLS].next, 0);
    w->now += MINUTE_MS;
    assert_int_equal(run_counting(w, 30000, 90000, "level=warn"), 0);
    assert_int_equal(fold_state(shard_fold(w->worker[0]))->log[INPUT_CALLS].next, 1);
    assert_int_equal(w->metrics->shards[0].rejects[INPUT_CALLS][REJECT_UNDECODABLE], 1);
}

// ---- transactions that stay open ----

static void begin_next_day(struct world *w)
{
    w->now += 13 * HOUR_MS;
    shard_assign(w->worker[0], 0);
}

static int64_t days_closed(const struct world *w)
{
    return w->metrics->shards[0].days_closed;
}

// R47: top-ups of before 24:00 may lie behind it.
static void an_open_transaction_holds_up_the_end_of_a_day(void **state)
{
    struct world *w = *state;
    w->open[INPUT_CREDITS] = 3;
    begin_next_day(w);
    run_counting(w, 0, 14 * MINUTE_MS, "");
    assert_int_equal(days_closed(w), 0);
    w->open[INPUT_CREDITS] = 0;
    run_counting(w, 14 * MINUTE_MS, 15 * MINUTE_MS, "");
    assert_int_equal(days_closed(w), 1);
}

// R47
static void a_transaction_that_nobody_ends_holds_it_up_for_a_bounded_time(void **state)
{
    struct world *w = *state;
    w->open[INPUT_PURCHASES] = 1;
    begin_next_day(w);
    assert_int_equal(run_counting(w, 0, 15 * MINUTE_MS, "the day is cut before it"), 0);
    assert_int_equal(days_closed(w), 0);
    assert_int_equal(run_counting(w, 15 * MINUTE_MS, 16 * MINUTE_MS, "the day is cut before it"),
                     1);
    assert_int_equal(days_closed(w), 1);
}

// What others send meanwhile in transactions of their own must not hold it up for ever.
static void what_is_sent_later_holds_up_no_day(void **state)
{
    struct world *w = *state;
    w->open[INPUT_CREDITS] = 3;
    begin_next_day(w);
    run_counting(w, 0, MINUTE_MS, "");
    assert_int_equal(days_closed(w), 0);
    w->end[INPUT_CREDITS] = 3; // what was awaited is stable, and was aborted
    w->open[INPUT_CREDITS] = 7;
    run_counting(w, MINUTE_MS, 2 * MINUTE_MS, "");
    assert_int_equal(fold_cut(shard_fold(w->worker[0]), INPUT_CREDITS), CUT_NONE); // not read yet
    w->ended[INPUT_CREDITS] = true;
    run_counting(w, 2 * MINUTE_MS, 3 * MINUTE_MS, "");
    assert_int_equal(days_closed(w), 1);
}

// R47: what comes of them is late usage.
static void an_open_transaction_of_calls_holds_up_no_day(void **state)
{
    struct world *w = *state;
    w->open[INPUT_CALLS] = 3;
    begin_next_day(w);
    run_counting(w, 0, MINUTE_MS, "");
    assert_int_equal(days_closed(w), 1);
}

static void an_open_transaction_is_told_of_after_a_minute(void **state)
{
    static const char text[] = "a transaction is open";
    struct world *w = *state;
    char out[SHARD_UNREADY_SIZE];
    w->open[INPUT_CREDITS] = 3;
    shard_assign(w->worker[0], 0);
    assert_int_equal(run_counting(w, 0, MINUTE_MS, text), 0);
    assert_null(shard_unready(w->worker[0], out));
    assert_int_equal(run_counting(w, MINUTE_MS, 2 * MINUTE_MS, text), 1); // once
    assert_string_equal(shard_unready(w->worker[0], out),
                        "credits/0: a transaction has been open for 119 s, and nothing from offset "
                        "0 on can be read until its producer ends it; see the runbook");
    assert_true(w->metrics->shards[0].open_ms[INPUT_CREDITS] > MINUTE_MS);
    assert_int_equal(w->metrics->shards[0].open_ms[INPUT_CALLS], -1);
    w->open[INPUT_CREDITS] = 0;
    assert_int_equal(run_counting(w, 2 * MINUTE_MS, 3 * MINUTE_MS, "has ended"), 1);
    assert_null(shard_unready(w->worker[0], out));
    assert_int_equal(w->metrics->shards[0].open_ms[INPUT_CREDITS], -1);
}

// ---- what Kafka holds ----

// A fail-over may have lost published rows. If rows are written on top of that, no repair is
// possible.
static void nothing_is_committed_before_the_published_position_is_compared(void **state)
{
    struct world *w = *state;
    w->published = -1;
    add_records(w, 1, w->now);
    shard_assign(w->worker[0], 0);
    for (int64_t at = 0; at <= 5000; at += ROUND_MS)
        shard_run(w->worker[0], at);
    assert_int_equal(fold_state(shard_fold(w->worker[0]))->log[INPUT_CALLS].next, 1);
    assert_int_equal(w->metrics->shards[0].rejects[INPUT_CALLS][REJECT_UNDECODABLE], 0);
    assert_true(shard_deadline(w->worker[0]) > 5000 / ROUND_MS * ROUND_MS); // no spinning meanwhile
    shard_finish(w->worker[0]);
    assert_int_equal(w->metrics->shards[0].rejects[INPUT_CALLS][REJECT_UNDECODABLE], 0);
    w->published = 0;
    shard_run(w->worker[0], 5000);
    assert_int_equal(w->metrics->shards[0].rejects[INPUT_CALLS][REJECT_UNDECODABLE], 1);
}

// ---- when a step is committed ----

static int64_t rejected(const struct world *w)
{
    return w->metrics->shards[0].rejects[INPUT_CALLS][REJECT_UNDECODABLE];
}

// Somebody waits for what a step tells: an account to be resumed. While nothing more is there to be
// read, waiting for more would only make it late.
static void effects_are_committed_at_once_where_nothing_more_comes(void **state)
{
    struct world *w = *state;
    shard_assign(w->worker[0], 0);
    for (int64_t at = 0; at < 1000; at += ROUND_MS)
        shard_run(w->worker[0], at);
    add_records(w, 1, w->now);
    shard_run(w->worker[0], 1000);
    assert_int_equal(rejected(w), 1);
    add_records(w, 1, w->now);
    shard_run(w->worker[0], 1001);
    assert_int_equal(rejected(w), 1); // commits are not made without a pause
    assert_in_range(shard_deadline(w->worker[0]), 1002, 1000 + SHARD_PAUSE_MS);
    shard_run(w->worker[0], shard_deadline(w->worker[0]));
    assert_int_equal(rejected(w), 2);
}

// Under load steps gather more, but for a bounded time.
static void effects_wait_while_more_is_read(void **state)
{
    struct world *w = *state;
    shard_assign(w->worker[0], 0);
    for (int64_t at = 0; at < 2000; at += ROUND_MS)
        shard_run(w->worker[0], at);
    w->busy = true;
    for (int64_t at = 2000; at < 2000 + SHARD_EFFECTS_MS; at += 2 * SHARD_PAUSE_MS) {
        assert_true(shard_run(w->worker[0], at));
        assert_int_equal(rejected(w), 0);
    }
    shard_run(w->worker[0], 2000 + SHARD_EFFECTS_MS);
    assert_true(rejected(w) > 0);
}

// ---- a database that answers ----

static bool shows(const struct world *w, const char *line)
{
    char *text = metrics_render(w->metrics, w->now);
    assert_non_null(text);
    bool found = strstr(text, line) != NULL;
    free(text);
    return found;
}

// That requests can be read says nothing about a commit that is refused.
static void a_database_that_takes_no_writes_is_not_ready(void **state)
{
    struct world *w = *state;
    char why[SHARD_UNREADY_SIZE];
    w->read_only = true;
    add_records(w, 1, w->now);
    shard_assign(w->worker[0], 0);
    for (int64_t at = 0; at < 20000; at += ROUND_MS)
        shard_run(w->worker[0], at);
    assert_non_null(shard_unready(w->worker[0], why));
    assert_non_null(strstr(why, "waits for the database: the database is read-only"));
    assert_true(shows(w, "\nsettled_postgres_up 0\n"));
    w->read_only = false;
    for (int64_t at = 20000; at < 40000; at += ROUND_MS)
        shard_run(w->worker[0], at);
    assert_null(shard_unready(w->worker[0], why));
    assert_true(shows(w, "\nsettled_postgres_up 1\n"));
}

// A shard that goes to another process waits for nothing here.
static void a_shard_that_goes_takes_its_trouble_with_it(void **state)
{
    struct world *w = *state;
    w->read_only = true;
    add_records(w, 1, w->now);
    shard_assign(w->worker[0], 0);
    for (int64_t at = 0; at < 2000; at += ROUND_MS)
        shard_run(w->worker[0], at);
    assert_true(shows(w, "\nsettled_postgres_up 0\n"));
    shard_revoke(w->worker[0], 2000);
    assert_true(shows(w, "\nsettled_postgres_up 1\n"));
}

// ---- the host's clocks ----

// Neither clock of the machine may be used: the figures of a simulated host follow its own time.
static void a_commit_is_measured_by_the_clock_of_the_host(void **state)
{
    struct world *w = *state;
    w->mono_us = INT64_C(7000000);
    add_records(w, 1, w->now);
    shard_assign(w->worker[0], 0);
    for (int64_t at = 0; at < 1000; at += ROUND_MS)
        shard_run(w->worker[0], at);
    int64_t commits = 0;
    for (int i = 0; i <= COMMIT_BUCKETS; i++)
        commits += w->metrics->commits[i];
    assert_true(commits > 0);
    assert_int_equal(w->metrics->commit_us, commits * COMMIT_US);
}

// ---- commits that take long ----

// A shard whose only step is being committed beside.
static void begin_beside(struct world *w, int looks)
{
    w->host.long_rows = 1;
    w->looks = looks;
    add_records(w, 1, w->now);
    shard_assign(w->worker[0], 0);
    for (int64_t at = 0; at < 2000 && !w->beside; at += ROUND_MS)
        shard_run(w->worker[0], at);
    assert_true(w->beside);
}

// It is looked at now and then, and the shard leaves its step alone, also when the relay tells
// meanwhile that somebody else owns the shard.
static void a_long_commit_goes_on_beside(void **state)
{
    struct world *w = *state;
    begin_beside(w, 5);
    w->lost = true;
    for (int64_t at = 2000; at < 3000; at += ROUND_MS) {
        shard_run(w->worker[0], at);
        if (!w->beside)
            break;
        assert_in_range(shard_deadline(w->worker[0]), at + 1, at + ROUND_MS);
        assert_non_null(shard_fold(w->worker[0]));
    }
    assert_int_equal(w->begun_beside, 1);
    assert_int_equal(w->awaited, 0);
    shard_run(w->worker[0], 4000);
    assert_int_equal(shard_state(w->worker[0]), SHARD_FENCED);
}

// Whoever takes the shard away waits for its commit, and the shard knows how it has ended.
static void a_long_commit_ends_before_the_shard_goes(void **state)
{
    struct world *w = *state;
    int64_t positions[INPUT_COUNT];
    begin_beside(w, 1000);
    shard_revoke(w->worker[0], 2000);
    assert_int_equal(w->awaited, 1);
    assert_int_equal(shard_state(w->worker[0]), SHARD_PARKED);
    shard_assign(w->worker[0], 2001);
    for (int64_t at = 2001; at < 4000; at += ROUND_MS)
        shard_run(w->worker[0], at);
    assert_true(shard_positions(w->worker[0], positions));
    assert_int_equal(w->begun_beside, 1);
}

// While another shard's goes on, nothing is built, and the thread does not spin.
static void a_long_commit_waits_for_the_one_before(void **state)
{
    struct world *w = *state;
    w->host.long_rows = 1;
    w->others = true;
    add_records(w, 1, w->now);
    shard_assign(w->worker[0], 0);
    int64_t at = 0;
    for (; at < 3000; at += ROUND_MS)
        shard_run(w->worker[0], at);
    assert_int_equal(w->begun_beside, 0);
    assert_int_equal(w->worker[0]->outbox.count, 0);
    assert_true(shard_deadline(w->worker[0]) > at - ROUND_MS);
    w->others = false;
    shard_run(w->worker[0], at);
    assert_int_equal(w->begun_beside, 1);
}

static void a_shutdown_waits_for_a_long_commit(void **state)
{
    struct world *w = *state;
    int64_t positions[INPUT_COUNT];
    begin_beside(w, 1000);
    assert_false(shard_positions(w->worker[0], positions));
    shard_finish(w->worker[0]);
    assert_int_equal(w->awaited, 1);
    assert_true(shard_positions(w->worker[0], positions));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_long_commit_goes_on_beside, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_long_commit_ends_before_the_shard_goes, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_long_commit_waits_for_the_one_before, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_shutdown_waits_for_a_long_commit, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_late_revocation_does_not_hide_the_next_owner, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_record_ahead_of_the_clock_is_told_of_after_a_minute,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            a_record_ahead_of_the_clock_is_judged_once_the_clock_is_there, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_open_transaction_holds_up_the_end_of_a_day, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(
            a_transaction_that_nobody_ends_holds_it_up_for_a_bounded_time, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_sent_later_holds_up_no_day, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_open_transaction_of_calls_holds_up_no_day, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(an_open_transaction_is_told_of_after_a_minute, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(the_first_day_begins_where_its_logs_have_come_to_it, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(where_the_first_day_begins_is_asked_by_its_parameters,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_drain_begins_no_later_than_it_ends, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_log_that_begins_within_the_first_day_is_told_of, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_replay_is_told_by_its_place, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_log_that_ends_below_the_position_halts, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(an_owner_that_read_on_does_not_halt_the_next, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_shard_that_comes_back_shows_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_in_memory_is_kept_only_for_the_row_it_belongs_to,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_log_with_too_many_rejects_says_so_once, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_shard_that_another_process_took_is_left_to_it, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_drain_ends_only_when_the_mark_has_followed, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_drain_ends_only_when_the_requests_are_decided, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(
            nothing_is_committed_before_the_published_position_is_compared, set_up, tear_down),
        cmocka_unit_test_setup_teardown(effects_are_committed_at_once_where_nothing_more_comes,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(effects_wait_while_more_is_read, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_database_that_takes_no_writes_is_not_ready, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_shard_that_goes_takes_its_trouble_with_it, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_commit_is_measured_by_the_clock_of_the_host, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
