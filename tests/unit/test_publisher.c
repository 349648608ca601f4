// What the relay waits for is told while it waits, with the reason as far as Kafka gives it.
// librdkafka runs with its mock brokers in memory.
#include "consumer/relay/publisher.h"
#include "tests/lib/mock_brokers.h"

#include <stdio.h>
#include <string.h>

struct fixture {
    rd_kafka_t *home; // of the brokers
    rd_kafka_mock_cluster_t *brokers;
    const char *pairs[2][2];
    struct publisher_options options;
    atomic_bool stop;
    struct publisher *publisher;
    int told;
    char text[ERROR_TEXT_SIZE];
};

static int setup(void **state)
{
    static struct fixture f;
    static const char *const topics[OUTPUT_COUNT] = {"settlements", "status",  "closes",
                                                     "rejects",     "notices", "statements"};
    memset(&f, 0, sizeof f);
    f.home = mock_brokers_start(&f.brokers);
    f.pairs[0][0] = "bootstrap.servers";
    f.pairs[0][1] = rd_kafka_mock_cluster_bootstraps(f.brokers);
    f.pairs[1][0] = "log_level";
    f.pairs[1][1] = "0";
    f.options = (struct publisher_options){.group = "g", .properties = {2, f.pairs}};
    for (int o = 0; o < OUTPUT_COUNT; o++) {
        f.options.topics[o] = topics[o];
        rd_kafka_mock_topic_create(f.brokers, topics[o], 1, 2);
    }
    struct error e;
    assert_int_equal(publisher_create(&f.options, 0, false, &f.stop, &f.publisher, &e), 0);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    publisher_destroy(f->publisher);
    rd_kafka_destroy(f->home);
    return 0;
}

static const struct outbox_row row = {
    .sequence = 1, .output = OUTPUT_REJECTS, .key = {"k", 1}, .ce_id = "id", .body = {"body", 4}};
static const struct outbox_row *rows = &row;

// Then the partition has a leader again.
static void take_slow(void *context, const struct error *slow)
{
    struct fixture *f = context;
    f->told++;
    snprintf(f->text, sizeof f->text, "%s", slow->text);
    rd_kafka_mock_partition_set_leader(f->brokers, "rejects", 0, 1);
}

static void test_rows_that_wait_are_told_of(void **state)
{
    struct fixture *f = *state;
    struct error e = {0};
    static const uint8_t hash[32];
    publisher_tell(f->publisher, (struct publisher_news){take_slow, f});
    // Before the first look at the topic: librdkafka 2.8's mock broker crashes when it gets rows of
    // a partition that has lost its leader.
    rd_kafka_mock_partition_set_leader(f->brokers, "rejects", 0, -1);
    assert_int_equal(publisher_init(f->publisher, &e), PUBLISH_OK);
    assert_int_equal(publisher_begin(f->publisher, &rows, 1, &e), PUBLISH_OK);
    enum publish_result result = publisher_flush(f->publisher, &e);
    if (result != PUBLISH_OK)
        fail_msg("%s", e.text);
    assert_int_equal(f->told, 1);
    assert_string_equal(f->text, "shard 0: topic rejects partition 0 takes no records: it has no "
                                 "leader; start the brokers that hold it");
    assert_int_equal(publisher_commit(f->publisher, 1, hash, &e), PUBLISH_OK);
}

// Why, and what it takes, although librdkafka only says that the rows were dropped.
static void test_rows_that_a_failed_transaction_drops(void **state)
{
    enum { ADD_PARTITIONS = 24 };
    struct fixture *f = *state;
    struct error e = {0};
    assert_int_equal(publisher_init(f->publisher, &e), PUBLISH_OK);
    rd_kafka_mock_push_request_errors(f->brokers, ADD_PARTITIONS, 1,
                                      RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
    assert_int_equal(publisher_begin(f->publisher, &rows, 1, &e), PUBLISH_OK);
    assert_int_equal(publisher_flush(f->publisher, &e), PUBLISH_ABORTED);
    assert_non_null(
        strstr(e.text, "topic rejects: User:ANONYMOUS may not write to it; grant it: "));
    assert_non_null(strstr(e.text, "--operation Write --topic rejects"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_rows_that_wait_are_told_of, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rows_that_a_failed_transaction_drops, setup,
                                        teardown)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
