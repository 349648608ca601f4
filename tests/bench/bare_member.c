// The yardstick of tests/bench/start.py: what it takes librdkafka alone to join a group and to
// leave it.
//   bare_member BROKERS GROUP TOPIC...
// It leaves as soon as it has been given its partitions, of which it reads nothing.
#include "tests/bench/tool_kafka.h"

#include <librdkafka/rdkafka.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { STALLED_SECONDS = 60, POLL_MS = 10 };

static void on_rebalance(rd_kafka_t *client, rd_kafka_resp_err_t code,
                         rd_kafka_topic_partition_list_t *list, void *opaque)
{
    bool *given = opaque;
    *given = code == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS && list->cnt > 0;
    // An assignment of no partitions acknowledges the group's.
    rd_kafka_topic_partition_list_t *nothing = rd_kafka_topic_partition_list_new(1);
    rd_kafka_assign(client, *given ? nothing : NULL);
    rd_kafka_topic_partition_list_destroy(nothing);
}

static rd_kafka_t *create_member(const char *brokers, const char *group, bool *given)
{
    // As settled sets them (consumer/kafka/intake.c).
    const char *const properties[][2] = {
        {"group.id", group},
        {"enable.auto.commit", "false"},
        {"partition.assignment.strategy", "range"},
        {"session.timeout.ms", "10000"},
        {"heartbeat.interval.ms", "250"},
    };
    rd_kafka_conf_t *conf = tool_conf(brokers, properties, sizeof properties / sizeof *properties);
    rd_kafka_conf_set_rebalance_cb(conf, on_rebalance);
    rd_kafka_conf_set_opaque(conf, given);
    rd_kafka_t *client = tool_client(RD_KAFKA_CONSUMER, conf);
    rd_kafka_poll_set_consumer(client);
    return client;
}

int main(int argc, char **argv)
{
    if (argc < 4) {
        fputs("usage: bare_member BROKERS GROUP TOPIC...\n", stderr);
        return 64;
    }
    bool given = false;
    rd_kafka_t *client = create_member(argv[1], argv[2], &given);
    rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(argc - 3);
    for (int i = 3; i < argc; i++)
        rd_kafka_topic_partition_list_add(topics, argv[i], RD_KAFKA_PARTITION_UA);
    if (rd_kafka_subscribe(client, topics))
        tool_fail("subscribe", "refused");
    time_t until = time(NULL) + STALLED_SECONDS;
    for (;;) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(client, POLL_MS);
        if (message)
            rd_kafka_message_destroy(message);
        if (given)
            break;
        if (time(NULL) > until)
            tool_fail("join", "no assignment for a minute");
    }
    rd_kafka_topic_partition_list_destroy(topics);
    rd_kafka_consumer_close(client);
    rd_kafka_destroy(client);
    return 0;
}
