// Fills a topic with CallRecords as fast as a broker takes them, and says how fast that was.
//   fill BROKERS TOPIC RECORDS ACCOUNTS SCHEMA_ID [SEED [PER_SECOND]]
// or, with PER_SECOND above 0, at that rate. Confluent framing, random UUIDs, each record on the
// partition its account hashes to (murmur2), about 85 bytes of key and value. The same arguments
// give the same records, except for their times.
#include "tests/bench/tool_kafka.h"

#include <librdkafka/rdkafka.h>

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { PARTITIONS_MAX = 64, BATCH = 2000, KEY_SIZE = 16, VALUE_MAX = 80, UUID_SIZE = 36 };
enum { PACES_A_SECOND = 50 };

struct slot {
    char key[KEY_SIZE + 1], value[VALUE_MAX];
};

// The records of one partition that are not handed over yet.
struct batch {
    int count;
    rd_kafka_message_t messages[BATCH];
    struct slot slots[BATCH];
};

struct filler {
    rd_kafka_t *producer;
    rd_kafka_topic_t *topic;
    int partitions;
    uint32_t schema_id;
    uint64_t accounts, random;
    int64_t occurred_at, failed;
    struct batch *batches;
};

static uint64_t next_random(struct filler *f) // splitmix64
{
    uint64_t z = f->random += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static char *put_varint(char *to, int64_t number)
{
    uint64_t zigzag = ((uint64_t)number << 1) ^ (uint64_t)(number >> 63);
    for (; zigzag >= 0x80; zigzag >>= 7)
        *to++ = (char)(zigzag | 0x80);
    *to++ = (char)zigzag;
    return to;
}

static char *put_uuid(char *to, uint64_t high, uint64_t low)
{
    static const char digits[] = "0123456789abcdef";
    high = (high & ~UINT64_C(0xf000)) | 0x4000; // version 4
    low = (low & ~(UINT64_C(3) << 62)) | UINT64_C(1) << 63; // variant 1
    for (int i = 0; i < 32; i++) {
        if (i == 8 || i == 12 || i == 16 || i == 20)
            *to++ = '-';
        *to++ = digits[((i < 16 ? high : low) >> (60 - 4 * (i % 16))) & 15];
    }
    return to;
}

static char *put_account(char *to, uint64_t account)
{
    memcpy(to, "account-", 8);
    for (int i = KEY_SIZE - 1; i >= 8; i--, account /= 10)
        to[i] = (char)('0' + account % 10);
    return to + KEY_SIZE;
}

// A CallRecord of the schema's order: call_id, account_id, service, lead_count, occurred_at,
// request_id.
static size_t put_value(struct filler *f, char *value, const char *key)
{
    uint64_t r = next_random(f);
    bool leads = r % 8 == 0; // PURCHASE_INTENT
    char *to = value;
    *to++ = 0;
    for (int shift = 24; shift >= 0; shift -= 8)
        *to++ = (char)(f->schema_id >> shift);
    to = put_varint(to, UUID_SIZE);
    to = put_uuid(to, next_random(f), next_random(f));
    to = put_varint(to, KEY_SIZE);
    memcpy(to, key, KEY_SIZE);
    to = put_varint(to + KEY_SIZE, leads);
    to = put_varint(to, leads);
    if (leads)
        to = put_varint(to, (int64_t)(r >> 8) % 60000);
    to = put_varint(to, f->occurred_at + (int64_t)(r >> 32) % 1000);
    to = put_varint(to, 0); // no request_id
    return (size_t)(to - value);
}

static void on_delivery(rd_kafka_t *producer, const rd_kafka_message_t *message, void *opaque)
{
    (void)producer;
    struct filler *f = opaque;
    if (message->err)
        f->failed++;
}

// Hands a batch over, waiting for room as often as it takes.
static void hand_over(struct filler *f, int partition)
{
    struct batch *b = &f->batches[partition];
    while (b->count > 0) {
        int taken =
            rd_kafka_produce_batch(f->topic, partition, RD_KAFKA_MSG_F_COPY, b->messages, b->count);
        if (taken == b->count)
            break;
        int kept = 0;
        for (int i = 0; i < b->count; i++) {
            rd_kafka_resp_err_t error = b->messages[i].err;
            if (error == RD_KAFKA_RESP_ERR__QUEUE_FULL)
                b->messages[kept++] = b->messages[i];
            else if (error)
                tool_fail("produce", rd_kafka_err2str(error));
        }
        b->count = kept;
        rd_kafka_poll(f->producer, 10);
    }
    b->count = 0;
    rd_kafka_poll(f->producer, 0);
}

static void add(struct filler *f)
{
    char key[KEY_SIZE];
    put_account(key, next_random(f) % f->accounts);
    int partition =
        rd_kafka_msg_partitioner_murmur2(f->topic, key, KEY_SIZE, f->partitions, NULL, NULL);
    struct batch *b = &f->batches[partition];
    struct slot *slot = &b->slots[b->count];
    memcpy(slot->key, key, KEY_SIZE);
    b->messages[b->count++] = (rd_kafka_message_t){.key = slot->key,
                                                   .key_len = KEY_SIZE,
                                                   .payload = slot->value,
                                                   .len = put_value(f, slot->value, key)};
    if (b->count == BATCH)
        hand_over(f, partition);
}

static rd_kafka_t *create_producer(const char *brokers, struct filler *f)
{
    static const char *const properties[][2] = {
        {"acks", "1"},
        {"compression.codec", "lz4"},
        {"linger.ms", "50"},
        {"batch.size", "1000000"},
        {"batch.num.messages", "20000"},
        {"queue.buffering.max.messages", "1000000"},
        {"queue.buffering.max.kbytes", "1048576"},
        {"delivery.report.only.error", "true"},
    };
    rd_kafka_conf_t *conf = tool_conf(brokers, properties, sizeof properties / sizeof *properties);
    rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
    rd_kafka_conf_set_opaque(conf, f);
    return tool_client(RD_KAFKA_PRODUCER, conf);
}

static int count_partitions(struct filler *f)
{
    const struct rd_kafka_metadata *metadata;
    rd_kafka_resp_err_t error = rd_kafka_metadata(f->producer, 0, f->topic, &metadata, 10000);
    if (error)
        tool_fail("metadata", rd_kafka_err2str(error));
    int count = metadata->topics[0].partition_cnt;
    rd_kafka_metadata_destroy(metadata);
    if (count < 1 || count > PARTITIONS_MAX)
        tool_fail("metadata", "the topic has no partitions, or more than 64");
    return count;
}

// Hands everything over, and waits until `done` records are due at this rate.
static void keep_pace(struct filler *f, int64_t done, double start, int64_t per_second)
{
    for (int p = 0; p < f->partitions; p++)
        hand_over(f, p);
    for (double due = start + (double)done / (double)per_second, left;
         (left = due - tool_now()) > 0;)
        rd_kafka_poll(f->producer, (int)(left * 1000) + 1);
}

int main(int argc, char **argv)
{
    if (argc < 6 || argc > 8) {
        fputs("usage: fill BROKERS TOPIC RECORDS ACCOUNTS SCHEMA_ID [SEED [PER_SECOND]]\n", stderr);
        return 64;
    }
    int64_t records = strtoll(argv[3], NULL, 10);
    int64_t per_second = argc > 7 ? strtoll(argv[7], NULL, 10) : 0;
    int64_t stride = per_second / PACES_A_SECOND + 1;
    struct filler f = {.accounts = strtoull(argv[4], NULL, 10),
                       .schema_id = (uint32_t)strtoul(argv[5], NULL, 10),
                       .random = argc > 6 ? strtoull(argv[6], NULL, 10) : 1,
                       .occurred_at = ((int64_t)time(NULL) - 60) * 1000};
    if (records < 1 || f.accounts < 1 || f.accounts > 99999999)
        tool_fail("arguments", "RECORDS or ACCOUNTS out of range");
    f.producer = create_producer(argv[1], &f);
    f.topic = rd_kafka_topic_new(f.producer, argv[2], NULL);
    f.partitions = count_partitions(&f);
    f.batches = calloc((size_t)f.partitions, sizeof *f.batches);
    if (!f.batches)
        tool_fail("memory", "short");

    double start = tool_now();
    for (int64_t i = 0; i < records; i++) {
        add(&f);
        if (per_second > 0 && (i + 1) % stride == 0)
            keep_pace(&f, i + 1, start, per_second);
    }
    for (int p = 0; p < f.partitions; p++)
        hand_over(&f, p);
    if (rd_kafka_flush(f.producer, 120000) != RD_KAFKA_RESP_ERR_NO_ERROR)
        tool_fail("flush", "not done after 120 s");
    double seconds = tool_now() - start;
    printf("{\"records\": %" PRId64 ", \"failed\": %" PRId64
           ", \"seconds\": %.3f, \"per_second\": %.0f}\n",
           records, f.failed, seconds, (double)records / seconds);

    free(f.batches);
    rd_kafka_topic_destroy(f.topic);
    rd_kafka_destroy(f.producer);
    return f.failed ? 1 : 0;
}
