#include "consumer/kafka/watermarks.h"

#include "consumer/system/clock.h"
#include "tests/lib/captured_log.h"
#include "tests/lib/mock_brokers.h"

#include <string.h>
#include <time.h>

// Longer than a query takes to fail, much shorter than librdkafka's cache of leaders lasts.
enum { PATIENCE_MS = 20000 };

struct fixture {
    rd_kafka_t *client;
    rd_kafka_mock_cluster_t *cluster;
    struct watermarks *ends;
};

static const char *const topics[INPUT_COUNT] = {"calls", "purchases", "credits"};

static int64_t clock_ms(void *context)
{
    (void)context;
    return 42;
}

static void place(struct fixture *f, enum input input, int32_t partition, int32_t broker)
{
    assert_int_equal(
        rd_kafka_mock_partition_set_leader(f->cluster, topics[input], partition, broker), 0);
}

static int setup(void **state)
{
    static struct fixture f;
    struct error e;
    f.client = mock_brokers_start(&f.cluster);
    for (enum input i = 0; i < INPUT_COUNT; i++) {
        assert_int_equal(rd_kafka_mock_topic_create(f.cluster, topics[i], 2, 1), 0);
        for (int32_t p = 0; p < 2; p++)
            place(&f, i, p, 1);
    }
    const char *pairs[][2] = {{"bootstrap.servers", rd_kafka_mock_cluster_bootstraps(f.cluster)},
                              {"log_level", "0"}};
    struct watermarks_options options = {
        .partitions = 2, .properties = {2, pairs}, .clock_ms = clock_ms};
    for (int i = 0; i < INPUT_COUNT; i++)
        options.topics[i] = topics[i];
    assert_int_equal(watermarks_create(&options, &f.ends, &e), 0);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    assert_true(watermarks_destroy(f->ends, PATIENCE_MS));
    rd_kafka_destroy(f->client);
    return 0;
}

static bool answered(struct fixture *f, int32_t shard, enum input input)
{
    struct log_watermarks ends;
    int64_t until = clock_monotonic_ms() + PATIENCE_MS;
    while (clock_monotonic_ms() < until) {
        if (watermarks_take(f->ends, shard, input, &ends)) {
            assert_int_equal(ends.low, 0);
            assert_int_equal(ends.stable, 0);
            assert_int_equal(ends.end, 0);
            assert_int_equal(ends.asked_at, 42);
            return true;
        }
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
    return false;
}

static void test_a_leader_that_moved_is_found(void **state)
{
    struct fixture *f = *state;
    watermarks_ask(f->ends, 0, INPUT_CALLS, SINCE_NONE);
    assert_true(answered(f, 0, INPUT_CALLS));
    place(f, INPUT_CALLS, 0, 2);
    watermarks_ask(f->ends, 0, INPUT_CALLS, SINCE_NONE);
    assert_true(answered(f, 0, INPUT_CALLS));
}

static void test_a_log_without_a_leader_holds_up_no_other(void **state)
{
    struct fixture *f = *state;
    struct log_watermarks ends;
    char trouble[ERROR_TEXT_SIZE];
    struct captured_log log = captured_begin();
    place(f, INPUT_CALLS, 0, -1);
    watermarks_ask(f->ends, 0, INPUT_CALLS, SINCE_NONE);
    watermarks_ask(f->ends, 1, INPUT_CREDITS, SINCE_NONE);
    assert_true(answered(f, 1, INPUT_CREDITS));
    assert_false(watermarks_take(f->ends, 0, INPUT_CALLS, &ends));
    watermarks_trouble(f->ends, trouble, sizeof trouble);
    assert_string_not_equal(trouble, "");
    place(f, INPUT_CALLS, 0, 2);
    assert_true(answered(f, 0, INPUT_CALLS));
    const char *text = captured_end(&log);
    assert_non_null(strstr(text, "level=warn message=\"a log's end is not known\" reason="));
    assert_null(strstr(strstr(text, "not known") + 1, "not known")); // once
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_leader_that_moved_is_found, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_log_without_a_leader_holds_up_no_other, setup,
                                        teardown),
    };
    return cmocka_run_group_tests_name("ends", tests, NULL, NULL);
}
