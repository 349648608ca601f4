// The yardstick of tests/bench/ingest.py: librdkafka alone, consuming a topic as fast as it can and
// doing nothing with it.
//   bare_consumer BROKERS TOPIC INSTANCES
// Each instance is a client of its own on a thread of its own, with its share of the partitions on
// one queue and rd_kafka_consume_callback_queue, the fastest way out of librdkafka. Timed from the
// first record to the last.
#include "tests/bench/tool_kafka.h"

#include <librdkafka/rdkafka.h>

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

enum { INSTANCES_MAX = 16, PARTITIONS_MAX = 64, STALLED_SECONDS = 60 };

struct instance {
    pthread_t thread;
    const char *brokers, *topic;
    int number, instances;
    int64_t expected, records, bytes;
    double first, last;
};

static rd_kafka_t *create_consumer(const char *brokers)
{
    // As settled sets them (consumer/kafka): otherwise librdkafka backs off for half a second when
    // its queue is full.
    static const char *const properties[][2] = {
        {"queued.min.messages", "1000000"},
        {"queued.max.messages.kbytes", "1048576"},
        {"fetch.error.backoff.ms", "1"},
        {"isolation.level", "read_committed"},
    };
    return tool_client(RD_KAFKA_CONSUMER,
                       tool_conf(brokers, properties, sizeof properties / sizeof *properties));
}

static int count_partitions(rd_kafka_t *consumer, rd_kafka_topic_t *topic)
{
    const struct rd_kafka_metadata *metadata;
    rd_kafka_resp_err_t error = rd_kafka_metadata(consumer, 0, topic, &metadata, 10000);
    if (error)
        tool_fail("metadata", rd_kafka_err2str(error));
    int count = metadata->topics[0].partition_cnt;
    rd_kafka_metadata_destroy(metadata);
    if (count < 1 || count > PARTITIONS_MAX)
        tool_fail("metadata", "the topic has no partitions, or more than 64");
    return count;
}

static void on_record(rd_kafka_message_t *message, void *opaque)
{
    struct instance *self = opaque;
    if (message->err) {
        if (message->err != RD_KAFKA_RESP_ERR__PARTITION_EOF)
            tool_fail("consume", rd_kafka_message_errstr(message));
        return;
    }
    if (self->records++ == 0)
        self->first = tool_now();
    self->bytes += (int64_t)(message->len + message->key_len);
}

static void *consume(void *argument)
{
    struct instance *self = argument;
    rd_kafka_t *consumer = create_consumer(self->brokers);
    rd_kafka_topic_t *topic = rd_kafka_topic_new(consumer, self->topic, NULL);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(consumer);
    int partitions = count_partitions(consumer, topic);
    for (int p = self->number; p < partitions; p += self->instances) {
        int64_t low, high;
        rd_kafka_resp_err_t error =
            rd_kafka_query_watermark_offsets(consumer, self->topic, p, &low, &high, 10000);
        if (error)
            tool_fail("watermarks", rd_kafka_err2str(error));
        self->expected += high - low;
        if (rd_kafka_consume_start_queue(topic, p, RD_KAFKA_OFFSET_BEGINNING, queue) != 0)
            tool_fail("start", rd_kafka_err2str(rd_kafka_last_error()));
    }
    for (double heard = tool_now(); self->records < self->expected;) {
        int served = rd_kafka_consume_callback_queue(queue, 100, on_record, self);
        if (served > 0)
            heard = tool_now();
        if (tool_now() - heard > STALLED_SECONDS)
            tool_fail("consume", "no record for a minute");
    }
    self->last = tool_now();
    for (int p = self->number; p < partitions; p += self->instances)
        rd_kafka_consume_stop(topic, p);
    rd_kafka_queue_destroy(queue);
    rd_kafka_topic_destroy(topic);
    rd_kafka_destroy(consumer);
    return NULL;
}

static double cpu_seconds(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

int main(int argc, char **argv)
{
    // NOLINTNEXTLINE(cert-err34-c): out of range is refused below
    int count = argc == 4 ? atoi(argv[3]) : 0;
    if (count < 1 || count > INSTANCES_MAX) {
        fputs("usage: bare_consumer BROKERS TOPIC INSTANCES(1-16)\n", stderr);
        return 64;
    }
    struct instance instances[INSTANCES_MAX] = {0};
    for (int i = 0; i < count; i++) {
        instances[i] = (struct instance){
            .brokers = argv[1], .topic = argv[2], .number = i, .instances = count};
        if (pthread_create(&instances[i].thread, NULL, consume, &instances[i]) != 0)
            tool_fail("thread", "not created");
    }
    int64_t records = 0, bytes = 0;
    double first = 0, last = 0;
    for (int i = 0; i < count; i++) {
        pthread_join(instances[i].thread, NULL);
        if (instances[i].records == 0)
            continue;
        records += instances[i].records;
        bytes += instances[i].bytes;
        if (first == 0 || instances[i].first < first)
            first = instances[i].first;
        if (instances[i].last > last)
            last = instances[i].last;
    }
    printf("{\"records\": %" PRId64 ", \"bytes\": %" PRId64
           ", \"seconds\": %.3f, \"cpu_seconds\": %.3f}\n",
           records, bytes, last - first, cpu_seconds());
    return 0;
}
