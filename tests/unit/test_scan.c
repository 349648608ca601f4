#include "consumer/kafka/scan.h"

#include "tests/lib/mock_brokers.h"

#include <string.h>

enum { LIST_OFFSETS = 2 }; // Kafka's number of the request

struct fixture {
    rd_kafka_t *client;
    rd_kafka_mock_cluster_t *cluster;
};

static const struct scan_log logs[] = {{"calls", SCAN_BEGINNING, 0},
                                       {"credits", SCAN_BEGINNING, 0}};

static int setup(void **state)
{
    static struct fixture f;
    f.client = mock_brokers_start(&f.cluster);
    for (size_t i = 0; i < sizeof logs / sizeof *logs; i++)
        assert_int_equal(rd_kafka_mock_topic_create(f.cluster, logs[i].topic, 1, 1), 0);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    rd_kafka_destroy(((struct fixture *)*state)->client);
    return 0;
}

static int open_scan(struct fixture *f, struct scan **out, struct error *e)
{
    const char *pairs[][2] = {{"bootstrap.servers", rd_kafka_mock_cluster_bootstraps(f->cluster)},
                              {"log_level", "0"}};
    struct client_properties properties = {2, pairs};
    struct scan_options options = {
        .properties = &properties,
        .group = "audit",
        .cluster_id = "",
        .partitions = 1,
        .count = sizeof logs / sizeof *logs,
        .logs = logs,
    };
    return scan_open(&options, out, e);
}

static void test_a_leader_that_moves_while_it_is_asked_is_found(void **state)
{
    struct fixture *f = *state;
    struct scan *scan = NULL;
    struct error e = {0};
    rd_kafka_mock_push_request_errors(
        f->cluster, LIST_OFFSETS, 3, RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
        RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION, RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE);
    if (open_scan(f, &scan, &e))
        fail_msg("%s", e.text);
    assert_int_equal(scan_first(scan, 1), 0);
    assert_int_equal(scan_last(scan, 1), 0);
    scan_close(scan);
}

static void test_a_log_without_a_leader_is_named_in_time(void **state)
{
    struct fixture *f = *state;
    struct scan *scan = NULL;
    struct error e = {0};
    assert_int_equal(rd_kafka_mock_partition_set_leader(f->cluster, "credits", 0, -1), 0);
    assert_int_equal(open_scan(f, &scan, &e), -1);
    assert_null(scan);
    assert_int_equal(e.kind, ERROR_UNAVAILABLE);
    assert_non_null(strstr(e.text, "/0: the log's ends are not known"));
    assert_non_null(strstr(e.text, "check the brokers"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_leader_that_moves_while_it_is_asked_is_found, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_a_log_without_a_leader_is_named_in_time, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
