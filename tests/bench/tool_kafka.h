// How the programs beside settled make their clients.
#pragma once

#include "tests/bench/tool.h"

#include <librdkafka/rdkafka.h>
#include <stddef.h>

// Pairs of a property and its value; one that librdkafka refuses ends the program.
static inline rd_kafka_conf_t *tool_conf(const char *brokers, const char *const pairs[][2],
                                         size_t count)
{
    char why[512];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    if (rd_kafka_conf_set(conf, "bootstrap.servers", brokers, why, sizeof why) != RD_KAFKA_CONF_OK)
        tool_fail(brokers, why);
    for (size_t i = 0; i < count; i++)
        if (rd_kafka_conf_set(conf, pairs[i][0], pairs[i][1], why, sizeof why) != RD_KAFKA_CONF_OK)
            tool_fail(pairs[i][0], why);
    return conf;
}

// Takes the configuration over.
static inline rd_kafka_t *tool_client(rd_kafka_type_t type, rd_kafka_conf_t *conf)
{
    char why[512];
    rd_kafka_t *client = rd_kafka_new(type, conf, why, sizeof why);
    if (!client)
        tool_fail(type == RD_KAFKA_CONSUMER ? "consumer" : "producer", why);
    return client;
}
