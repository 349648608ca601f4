// Fetches fail for a while, as reads from the remote tier do. Every record must still be read, once
// and in order; the trouble is reported with its coordinates, and is never taken for "the log does
// not have it".
#include "consumer/kafka/fetch_record.h"
#include "consumer/kafka/intake.h"
#include "consumer/kafka/scan.h"
#include "consumer/system/clock.h"

#include "tests/lib/mock_brokers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    FETCH = 1,
    RECORDS = 5,
    LASTING = 200000,
    WAIT_MS = 30000,
    STILL_MS = 3000,
    FULL_TIMES = 40, // how often a queue is full
    SLEEP_MS = 1000 // of librdkafka's thread each time, where nobody wakes it
};

static const rd_kafka_resp_err_t passing[] = {
    RD_KAFKA_RESP_ERR_UNKNOWN,
    RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR,
    RD_KAFKA_RESP_ERR_OFFSET_NOT_AVAILABLE,
    RD_KAFKA_RESP_ERR_UNKNOWN,
};
enum { PASSING = sizeof passing / sizeof *passing };

static const char *const topics[INPUT_COUNT] = {"calls", "purchases", "credits"};

struct fixture {
    rd_kafka_t *client;
    rd_kafka_mock_cluster_t *cluster;
    const char *pairs[2][2];
    struct client_properties properties;
};

// Each record in a batch of its own, so that a fetch gives only one.
static void add_records(struct fixture *f, int count)
{
    char value[] = "x";
    for (int i = 0; i < count; i++) {
        assert_int_equal(rd_kafka_producev(f->client, RD_KAFKA_V_TOPIC("calls"),
                                           RD_KAFKA_V_PARTITION(0),
                                           RD_KAFKA_V_VALUE(value, sizeof value), RD_KAFKA_V_END),
                         0);
        assert_int_equal(rd_kafka_flush(f->client, WAIT_MS), 0);
    }
}

static int setup(void **state)
{
    static struct fixture f;
    f.client = mock_brokers_start(&f.cluster);
    for (int i = 0; i < INPUT_COUNT; i++)
        assert_int_equal(rd_kafka_mock_topic_create(f.cluster, topics[i], 1, 1), 0);
    add_records(&f, RECORDS);
    f.pairs[0][0] = "bootstrap.servers";
    f.pairs[0][1] = rd_kafka_mock_cluster_bootstraps(f.cluster);
    f.pairs[1][0] = "log_level";
    f.pairs[1][1] = "0";
    f.properties = (struct client_properties){2, f.pairs};
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    rd_kafka_destroy(((struct fixture *)*state)->client);
    return 0;
}

static void fail_for_a_while(struct fixture *f)
{
    rd_kafka_mock_push_request_errors_array(f->cluster, FETCH, PASSING, passing);
}

// Practically for ever, since a failed fetch is tried again after a millisecond.
static void fail_on(struct fixture *f, rd_kafka_resp_err_t code)
{
    rd_kafka_resp_err_t *errors = calloc(LASTING, sizeof *errors);
    for (size_t i = 0; i < LASTING; i++)
        errors[i] = code;
    rd_kafka_mock_push_request_errors_array(f->cluster, FETCH, LASTING, errors);
    free(errors);
}

static struct scan *open_scan(struct fixture *f)
{
    static const struct scan_log logs[] = {{"calls", SCAN_BEGINNING, 0}};
    struct scan *scan = NULL;
    struct error e = {0};
    struct scan_options options = {.properties = &f->properties,
                                   .group = "audit",
                                   .cluster_id = "",
                                   .partitions = 1,
                                   .count = 1,
                                   .logs = logs};
    if (scan_open(&options, &scan, &e))
        fail_msg("%s", e.text);
    return scan;
}

static void test_a_scan_reads_on(void **state)
{
    const rd_kafka_message_t *message;
    struct error e = {0};
    fail_for_a_while(*state);
    struct scan *scan = open_scan(*state);
    for (int64_t i = 0; i < RECORDS; i++) {
        if (i == 2)
            fail_for_a_while(*state);
        if (scan_look(scan, 0, 0, &message, &e))
            fail_msg("%s", e.text);
        assert_non_null(message);
        assert_int_equal(message->offset, i);
        scan_take(scan, 0);
    }
    if (scan_look(scan, 0, 0, &message, &e))
        fail_msg("%s", e.text);
    assert_null(message);
    assert_int_equal(scan_end(scan, 0), RECORDS);
    scan_close(scan);
}

static void test_a_scan_that_cannot_go_on_says_where_and_why(void **state)
{
    const rd_kafka_message_t *message;
    struct error e = {0};
    fail_on(*state, RD_KAFKA_RESP_ERR_UNKNOWN);
    struct scan *scan = open_scan(*state);
    int64_t begun = clock_monotonic_ms();
    assert_int_equal(scan_look(scan, 0, 0, &message, &e), -1);
    assert_in_range(clock_monotonic_ms() - begun, SCAN_PATIENCE_MS, 2 * SCAN_PATIENCE_MS);
    assert_int_equal(e.kind, ERROR_UNAVAILABLE);
    assert_string_equal(e.text, "calls/0: nothing was read from offset 0 for 15 s: Unknown broker "
                                "error; check kafka.brokers");
    scan_close(scan);
}

static const struct record_coordinates third = {"calls", 0, 3};
static const struct record_range range = {"calls", 0, 1, 4};

static void test_a_peek_reads_on(void **state)
{
    struct fixture *f = *state;
    struct record_fetcher *peek = NULL;
    struct error e = {0};
    rd_kafka_message_t *message = NULL;
    assert_int_equal(fetch_record_open(&f->properties, "peek", &peek, &e), 0);
    fail_for_a_while(f);
    if (fetch_record_at(peek, third, WAIT_MS, &message, &e))
        fail_msg("%s", e.text);
    assert_int_equal(message->offset, 3);
    rd_kafka_message_destroy(message);
    fetch_record_close(peek);
}

static int count_one(void *context, const rd_kafka_message_t *message, struct error *e)
{
    (void)e;
    *(int *)context += message != NULL;
    return 0;
}

static void test_a_peek_that_cannot_go_on_says_where_and_why(void **state)
{
    struct fixture *f = *state;
    struct record_fetcher *peek = NULL;
    struct error e = {0};
    rd_kafka_message_t *message = NULL;
    int seen = 0;
    assert_int_equal(fetch_record_open(&f->properties, "peek", &peek, &e), 0);
    fail_on(f, RD_KAFKA_RESP_ERR_UNKNOWN);
    assert_int_equal(fetch_record_at(peek, third, 3000, &message, &e), -1);
    assert_int_equal(e.kind, ERROR_UNAVAILABLE);
    assert_string_equal(
        e.text, "calls/0/3 was not read within 3 s: Unknown broker error; check kafka.brokers");
    assert_int_equal(fetch_record_range(peek, &range, 3000, count_one, &seen, &e), -1);
    assert_int_equal(e.kind, ERROR_UNAVAILABLE);
    assert_string_equal(
        e.text, "calls/0: nothing was read for 3 s: Unknown broker error; check kafka.brokers");
    assert_int_equal(seen, 0);
    fetch_record_close(peek);
}

// ---- the daemon's reader ----

static void ring(void *context)
{
    (void)context;
}

static void nap(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
}

static uint64_t wait_for_assignment(struct intake *intake)
{
    bool shard = false, confirmed = false;
    uint64_t assignment = 0;
    for (int64_t until = clock_monotonic_ms() + WAIT_MS; !(shard && confirmed); nap()) {
        assert_true(clock_monotonic_ms() < until);
        assignment = intake_assignment(intake, &shard, &confirmed);
    }
    return assignment;
}

// Reads the log of calls from offset 0 on; each record comes once and in order.
static void read_all(struct intake *intake)
{
    struct error e = {0};
    int64_t expected = 0;
    for (int64_t until = clock_monotonic_ms() + WAIT_MS; expected < RECORDS; nap()) {
        assert_true(clock_monotonic_ms() < until);
        if (intake_failed(intake, &e))
            fail_msg("%s", e.text);
        struct block *block = intake_next(intake, 0, INPUT_CALLS);
        if (!block)
            continue;
        for (size_t at = 0; at < block->used;) {
            const struct raw *raw = (const struct raw *)(const void *)(block->data + at);
            if (raw->kind == RAW_RECORD)
                assert_int_equal(raw->offset, expected++);
            at += raw_bytes(raw->key_size, raw->value_size);
        }
        intake_release(intake, 0, INPUT_CALLS, block);
    }
}

// What was written to stderr since it was sent to the file. Others may be writing: where they write
// is left alone.
static char *logged(FILE *file)
{
    static char text[65536];
    ssize_t size = pread(fileno(file), text, sizeof text - 1, 0);
    assert_true(size >= 0);
    text[size] = '\0';
    return text;
}

static int count_of(const char *text, const char *words)
{
    int count = 0;
    for (; (text = strstr(text, words)); text++)
        count++;
    return count;
}

struct reading {
    struct intake *intake;
    uint64_t assignment;
    FILE *file; // what is logged goes there
    int stderr_before;
};

// `still_ms`: after which time logs that do not move are reported.
static struct reading begin_reading(struct fixture *f, int still_ms)
{
    struct reading r = {.file = tmpfile(), .stderr_before = dup(STDERR_FILENO)};
    struct error e = {0};
    struct intake_options options = {.group = "g",
                                     .partitions = 1,
                                     .properties = f->properties,
                                     .memory = 1 << 26,
                                     .still_ms = still_ms,
                                     .ring = ring};
    for (int i = 0; i < INPUT_COUNT; i++)
        options.topics[i] = topics[i];
    assert_int_equal(intake_create(&options, &r.intake, &e), 0);
    assert_int_equal(intake_join(r.intake, &e), 0);
    r.assignment = wait_for_assignment(r.intake);
    dup2(fileno(r.file), STDERR_FILENO);
    return r;
}

// Returns what was logged since it began.
static char *end_reading(struct reading *r)
{
    dup2(r->stderr_before, STDERR_FILENO);
    close(r->stderr_before);
    assert_true(intake_destroy(r->intake, WAIT_MS));
    char *text = logged(r->file);
    fclose(r->file);
    return text;
}

static void test_the_intake_reads_on_and_tells_once(void **state)
{
    // on a slow machine reading takes a while
    struct reading r = begin_reading(*state, 10 * WAIT_MS);
    // librdkafka 2.8 takes some 50 ms for each failed fetch.
    for (int i = 0; i < 5; i++)
        fail_for_a_while(*state);
    intake_start(r.intake, r.assignment, 0, (const int64_t[INPUT_COUNT]){0});
    read_all(r.intake);
    const char *text = end_reading(&r);
    assert_int_equal(
        count_of(text, "\"reading is in trouble\" topic=calls partition=0 offset=0 reason="), 1);
    assert_null(strstr(text, "stand still"));
}

// Whoever reads has emptied the queue long before librdkafka's thread looks at it again. If nobody
// woke it, this would take FULL_TIMES times SLEEP_MS; a slow machine takes a small part of that.
static void test_a_queue_that_was_full_is_filled_at_once(void **state)
{
    struct fixture *f = *state;
    const char *pairs[][2] = {
        {"bootstrap.servers", f->pairs[0][1]}, {"log_level", "0"}, {"queued.min.messages", "1"}};
    const struct client_properties properties = {3, pairs};
    const struct record_range all = {"calls", 0, 0, FULL_TIMES};
    struct record_fetcher *peek;
    struct error e = {0};
    int seen = 0;
    add_records(f, FULL_TIMES - RECORDS);
    int64_t begun = clock_monotonic_ms();
    if (fetch_record_open(&properties, "explain", &peek, &e) ||
        fetch_record_range(peek, &all, WAIT_MS, count_one, &seen, &e))
        fail_msg("%s", e.text);
    assert_true(clock_monotonic_ms() - begun < FULL_TIMES * SLEEP_MS / 2);
    assert_int_equal(seen, FULL_TIMES);
    fetch_record_close(peek);
}

// librdkafka says nothing of this error, however long it lasts.
static void test_a_log_that_stands_still_is_told(void **state)
{
    static const char words[] =
        "they cannot be fetched\" logs=1 topic=calls partition=0 offset=0 end=5";
    struct reading r = begin_reading(*state, STILL_MS);
    struct error e = {0};
    fail_on(*state, RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR);
    int64_t begun = clock_monotonic_ms();
    intake_start(r.intake, r.assignment, 0, (const int64_t[INPUT_COUNT]){0});
    while (count_of(logged(r.file), words) < 2) {
        assert_true(clock_monotonic_ms() < begun + 4 * WAIT_MS);
        nap();
    }
    // Once it has stood still for so long, and then not again before as much time has passed.
    assert_true(clock_monotonic_ms() - begun > STILL_MS * 3 / 2);
    assert_false(intake_failed(r.intake, &e));
    assert_null(strstr(end_reading(&r), "trouble"));
}

// A reader that begins where the log has nothing: nobody may take another place for it.
static void test_records_that_are_gone_end_the_reading(void **state)
{
    struct reading r = begin_reading(*state, 10 * WAIT_MS);
    struct error e = {0};
    intake_start(r.intake, r.assignment, 0, (const int64_t[INPUT_COUNT]){[INPUT_CALLS] = 100});
    for (int64_t until = clock_monotonic_ms() + WAIT_MS; !intake_failed(r.intake, &e); nap())
        assert_true(clock_monotonic_ms() < until);
    (void)end_reading(&r);
    assert_int_equal(e.kind, ERROR_CONFIG);
    assert_non_null(strstr(e.text, "calls/0: reading from offset 100 failed: "));
    assert_non_null(strstr(e.text, "; the records from there on are missing or damaged: restore "
                                   "the topic, nothing was skipped"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_scan_reads_on, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_scan_that_cannot_go_on_says_where_and_why, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_a_peek_reads_on, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_peek_that_cannot_go_on_says_where_and_why, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_the_intake_reads_on_and_tells_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_queue_that_was_full_is_filled_at_once, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_a_log_that_stands_still_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(test_records_that_are_gone_end_the_reading, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
