// Whether a producer knows that a copy of one of its requests may be under way. librdkafka runs
// with its mock brokers in memory. These take a request and close the connection, so that the
// request is sent again.
#include "consumer/relay/sent_requests.h"
#include "tests/lib/mock_brokers.h"

#include <stdio.h>
#include <string.h>

enum {
    PATIENCE_MS = 10000,
    PRODUCE = 0,
    ADD_PARTITIONS = 24,
    ADD_OFFSETS = 25,
    END = 26,
    OFFSET_COMMIT = 28
};

struct fixture {
    rd_kafka_t *home; // of the brokers
    rd_kafka_mock_cluster_t *brokers;
    struct sent_requests requests;
    rd_kafka_t *producer;
};

static void set(rd_kafka_conf_t *conf, const char *name, const char *value)
{
    char why[512];
    if (rd_kafka_conf_set(conf, name, value, why, sizeof why) != RD_KAFKA_CONF_OK)
        fail_msg("%s", why);
}

static void must(rd_kafka_error_t *error)
{
    if (error)
        fail_msg("%s", rd_kafka_error_string(error));
}

static int setup(void **state)
{
    static struct fixture f;
    char why[512];
    memset(&f, 0, sizeof f);
    f.home = mock_brokers_start(&f.brokers);
    rd_kafka_mock_topic_create(f.brokers, "rows", 1, 2);
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    set(conf, "bootstrap.servers", rd_kafka_mock_cluster_bootstraps(f.brokers));
    set(conf, "transactional.id", "relay-0");
    set(conf, "retry.backoff.ms", "10");
    set(conf, "reconnect.backoff.ms", "10");
    set(conf, "log_level", "0");
    sent_requests_watch(conf, &f.requests);
    f.producer = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof why);
    assert_non_null(f.producer);
    must(rd_kafka_init_transactions(f.producer, PATIENCE_MS));
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    rd_kafka_destroy(f->producer);
    rd_kafka_destroy(f->home);
    return 0;
}

static void publish(struct fixture *f)
{
    static char row[] = "row";
    must(rd_kafka_begin_transaction(f->producer));
    assert_int_equal(rd_kafka_producev(f->producer, RD_KAFKA_V_TOPIC("rows"),
                                       RD_KAFKA_V_PARTITION(0), RD_KAFKA_V_VALUE(row, 3),
                                       RD_KAFKA_V_END),
                     0);
    assert_int_equal(rd_kafka_flush(f->producer, PATIENCE_MS), 0);
    rd_kafka_topic_partition_list_t *position = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(position, "rows", 0)->offset = 7;
    rd_kafka_consumer_group_metadata_t *group = rd_kafka_consumer_group_metadata_new("relay");
    must(rd_kafka_send_offsets_to_transaction(f->producer, position, group, PATIENCE_MS));
    rd_kafka_consumer_group_metadata_destroy(group);
    rd_kafka_topic_partition_list_destroy(position);
    must(rd_kafka_commit_transaction(f->producer, PATIENCE_MS));
}

static void test_a_producers_beginning_is_no_reason_to_replace_it(void **state)
{
    struct fixture *f = *state;
    assert_false(sent_requests_all_answered(&f->requests)); // nothing is known yet
    for (int i = 0; i < 3; i++) {
        publish(f);
        assert_true(sent_requests_all_answered(&f->requests));
    }
}

static void test_a_request_whose_connection_broke_is_not_forgotten(void **state)
{
    static const int16_t kinds[] = {PRODUCE, ADD_PARTITIONS, ADD_OFFSETS, END, OFFSET_COMMIT};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        struct fixture *f = *state;
        publish(f);
        assert_true(sent_requests_all_answered(&f->requests));
        rd_kafka_mock_push_request_errors(f->brokers, kinds[i], 1, RD_KAFKA_RESP_ERR__TRANSPORT);
        publish(f); // all is well, as far as librdkafka tells
        if (sent_requests_all_answered(&f->requests))
            fail_msg("request %d was sent twice, and nobody knows", kinds[i]);
        publish(f);
        assert_false(sent_requests_all_answered(&f->requests)); // nor later
        teardown(state);
        setup(state);
    }
}

// An answer came, so no copy is under way, whatever the answer says. Brokers give such answers
// while they write markers.
static void test_an_answer_that_says_error_is_an_answer(void **state)
{
    struct fixture *f = *state;
    publish(f);
    rd_kafka_mock_push_request_errors(f->brokers, ADD_PARTITIONS, 2,
                                      RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS,
                                      RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS);
    publish(f);
    assert_true(sent_requests_all_answered(&f->requests));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_producers_beginning_is_no_reason_to_replace_it,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_request_whose_connection_broke_is_not_forgotten,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_an_answer_that_says_error_is_an_answer, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
