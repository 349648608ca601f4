#include "consumer/kafka/topic_counts.h"

#include "consumer/system/clock.h"
#include "tests/lib/mock_brokers.h"

#include <string.h>
#include <time.h>

enum { PATIENCE_MS = 20000 };

struct fixture {
    rd_kafka_t *client;
    rd_kafka_mock_cluster_t *cluster;
    struct topic_counts *counts;
};

static int setup(void **state)
{
    static struct fixture f;
    f = (struct fixture){0};
    f.client = mock_brokers_start(&f.cluster);
    assert_int_equal(rd_kafka_mock_topic_create(f.cluster, "calls", 2, 1), 0);
    assert_int_equal(rd_kafka_mock_topic_create(f.cluster, "settlements", 3, 1), 0);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    assert_true(topic_counts_destroy(f->counts, PATIENCE_MS));
    rd_kafka_destroy(f->client);
    return 0;
}

static void start(struct fixture *f, size_t count, int32_t partitions)
{
    const char *pairs[][2] = {{"bootstrap.servers", rd_kafka_mock_cluster_bootstraps(f->cluster)},
                              {"log_level", "0"}};
    struct topic_counts_options options = {.count = count,
                                           .topics = {"calls", "settlements"},
                                           .partitions = partitions,
                                           .properties = {2, pairs}};
    struct error e;
    assert_int_equal(topic_counts_create(&options, &f->counts, &e), 0);
}

static void wait_a_little(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
}

// R71
static void a_look_counts_only_for_what_was_read_well_before_it(void **state)
{
    struct fixture *f = *state;
    struct error e;
    start(f, 1, 2);
    int64_t read_at = clock_monotonic_ms(), until = read_at + PATIENCE_MS;
    assert_false(topic_counts_right(f->counts, read_at));
    while (!topic_counts_right(f->counts, read_at) && clock_monotonic_ms() < until)
        wait_a_little();
    assert_true(topic_counts_right(f->counts, read_at));
    assert_true(clock_monotonic_ms() - read_at >= 500);
    assert_false(topic_counts_right(f->counts, clock_monotonic_ms()));
    assert_false(topic_counts_wrong(f->counts, &e));
}

static void another_count_is_told_and_nothing_is_right_any_more(void **state)
{
    struct fixture *f = *state;
    struct error e;
    start(f, 2, 2);
    int64_t until = clock_monotonic_ms() + PATIENCE_MS;
    while (!topic_counts_wrong(f->counts, &e) && clock_monotonic_ms() < until)
        wait_a_little();
    assert_true(topic_counts_wrong(f->counts, &e));
    assert_int_equal(e.kind, ERROR_CONFIG);
    assert_non_null(strstr(
        e.text, "topic settlements has 3 partitions, but this deployment has 2, and its count"));
    assert_false(topic_counts_right(f->counts, 0));
}

static void brokers_that_do_not_answer_say_nothing_of_a_count(void **state)
{
    struct fixture *f = *state;
    struct error e;
    char trouble[ERROR_TEXT_SIZE] = "";
    rd_kafka_mock_broker_set_down(f->cluster, 1);
    rd_kafka_mock_broker_set_down(f->cluster, 2);
    start(f, 1, 2);
    int64_t until = clock_monotonic_ms() + PATIENCE_MS;
    while (!trouble[0] && clock_monotonic_ms() < until) {
        wait_a_little();
        topic_counts_trouble(f->counts, trouble, sizeof trouble);
    }
    assert_string_not_equal(trouble, "");
    assert_false(topic_counts_right(f->counts, 0));
    assert_false(topic_counts_wrong(f->counts, &e));
    rd_kafka_mock_broker_set_up(f->cluster, 1);
    rd_kafka_mock_broker_set_up(f->cluster, 2);
    until = clock_monotonic_ms() + PATIENCE_MS;
    while (!topic_counts_right(f->counts, 0) && clock_monotonic_ms() < until)
        wait_a_little();
    assert_true(topic_counts_right(f->counts, 0));
    topic_counts_trouble(f->counts, trouble, sizeof trouble);
    assert_string_equal(trouble, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_look_counts_only_for_what_was_read_well_before_it, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(another_count_is_told_and_nothing_is_right_any_more, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(brokers_that_do_not_answer_say_nothing_of_a_count, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
