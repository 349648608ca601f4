// The yardstick of tests/bench/usage.py: when librdkafka alone sees the records of a key.
//   bare_listener BROKERS TOPIC PARTITION KEY
// It reads the partition on from its end, read_committed, and drops what it gets. It prints "ready"
// as soon as no record can be missed, and then for each record of the key a line with the time: s,
// monotonic. It ends when it is ended.
#include "tests/bench/tool_kafka.h"

#include <librdkafka/rdkafka.h>

#include <stdint.h>
#include <string.h>

struct wanted {
    const char *key;
    size_t size;
};

static rd_kafka_t *create_listener(const char *brokers)
{
    // As settled sets them (consumer/kafka/intake.c).
    static const char *const properties[][2] = {
        {"isolation.level", "read_committed"},
        {"fetch.wait.max.ms", "50"},
        {"fetch.error.backoff.ms", "1"},
    };
    return tool_client(RD_KAFKA_CONSUMER,
                       tool_conf(brokers, properties, sizeof properties / sizeof *properties));
}

static void on_message(rd_kafka_message_t *message, void *opaque)
{
    const struct wanted *wanted = opaque;
    if (message->err && message->err != RD_KAFKA_RESP_ERR__PARTITION_EOF)
        tool_fail("consume", rd_kafka_message_errstr(message));
    if (!message->err && message->key_len == wanted->size &&
        memcmp(message->key, wanted->key, wanted->size) == 0)
        printf("%.6f\n", tool_now());
}

int main(int argc, char **argv)
{
    if (argc != 5) {
        fputs("usage: bare_listener BROKERS TOPIC PARTITION KEY\n", stderr);
        return 64;
    }
    struct wanted wanted = {argv[4], strlen(argv[4])};
    int32_t partition = (int32_t)strtol(argv[3], NULL, 10);
    int64_t low, high;
    rd_kafka_t *client = create_listener(argv[1]);
    rd_kafka_topic_t *topic = rd_kafka_topic_new(client, argv[2], NULL);
    if (rd_kafka_query_watermark_offsets(client, argv[2], partition, &low, &high, 10000))
        tool_fail("watermarks", "no answer");
    if (rd_kafka_consume_start(topic, partition, high) != 0)
        tool_fail("start", rd_kafka_err2str(rd_kafka_last_error()));
    setvbuf(stdout, NULL, _IOLBF, 0);
    puts("ready");
    for (;;)
        rd_kafka_consume_callback(topic, partition, 1000, on_message, &wanted);
}
