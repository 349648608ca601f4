// Two mock brokers of librdkafka, in memory: for answers that a real broker gives only at an
// unlucky moment.
#pragma once

#include <librdkafka/rdkafka_mock.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

// The client that they live in; rd_kafka_destroy ends them.
static inline rd_kafka_t *mock_brokers_start(rd_kafka_mock_cluster_t **cluster)
{
    char why[512];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "test.mock.num.brokers", "2", why, sizeof why);
    rd_kafka_conf_set(conf, "log_level", "0", why, sizeof why);
    rd_kafka_t *client = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof why);
    assert_non_null(client);
    *cluster = rd_kafka_handle_mock_cluster(client);
    return client;
}
