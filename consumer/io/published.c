#include "consumer/io/published.h"
#include "consumer/io/clock.h"

#include "consumer/io/avsc.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
    PATIENCE_MS = 10000,
    SLICE_MS = 250, // how long a wait may not notice `stop`
    COMMITTED_MS = 1000, // the same, for a call that starts anew each time and so must outlast a round trip
    PAUSE_MS = 50, // between two questions for an offset that is not stable yet
    WINDOW_GROWTH = 16, // how much further back each look goes than the one before; the first is as many offsets
    FRAMING_SIZE = 5,
};

static bool may_wait(const atomic_bool *stop, int64_t since_ms)
{
    return !atomic_load(stop) && clock_monotonic_ms() - since_ms < PATIENCE_MS;
}

// A member of no group: it asks for offsets and reads partitions that are named.
static rd_kafka_t *open_reader(const struct publisher_options *options, struct error *e)
{
    char group[RELAY_GROUP_SIZE], why[512];
    const char *fixed[][2] = {
        {"group.id", relay_group(options->group, group)},
        {"isolation.level", "read_committed"}, // which also makes rd_kafka_committed ask for stable offsets
        {"enable.auto.commit", "false"},
        {"enable.partition.eof", "true"},
        {"auto.offset.reset", "earliest"}, // a window that begins before the log does
        {"allow.auto.create.topics", "false"},
        {"queued.min.messages", "1"},
        {"fetch.wait.max.ms", "20"},
    };
    rd_kafka_conf_t *conf = client_conf(NULL, &options->properties, e);
    if (!conf) return NULL;
    for (size_t i = 0; i < sizeof fixed / sizeof fixed[0]; i++) {
        if (rd_kafka_conf_set(conf, fixed[i][0], fixed[i][1], why, sizeof why) == RD_KAFKA_CONF_OK) continue;
        rd_kafka_conf_destroy(conf);
        error_set(e, ERROR_CONFIG, "librdkafka refuses %s = %s: %s", fixed[i][0], fixed[i][1], why);
        return NULL;
    }
    rd_kafka_t *reader = client_create(RD_KAFKA_CONSUMER, conf, e);
    if (reader) rd_kafka_poll_set_consumer(reader);
    return reader;
}

// librdkafka 2.0.2 gives up on an unstable offset after a few tries and then reports it as success, with the error only on
// the partition and the offset as if none were stored.
static rd_kafka_resp_err_t ask_committed(rd_kafka_t *reader, rd_kafka_topic_partition_list_t *list)
{
    rd_kafka_resp_err_t code = rd_kafka_committed(reader, list, COMMITTED_MS);
    return code ? code : list->elems[0].err;
}

static enum published_result read_position(const rd_kafka_topic_partition_t *at,
                                           const struct publisher_options *options, int64_t *n, bool *has_hash,
                                           uint8_t hash[32], struct error *e)
{
    int64_t noted = -1;
    if (at->offset < 0) return PUBLISHED_UNKNOWN;
    *n = at->offset;
    *has_hash = at->metadata_size > 0;
    if (!*has_hash) return PUBLISHED_FOUND;
    if (position_parse(at->metadata, at->metadata_size, &noted, hash) && noted == *n) return PUBLISHED_FOUND;
    error_set(
        e, ERROR_CONFIG,
        "shard %" PRId32 ": the offset %" PRId64 " of group %s-relay on topic %s was stored by another program: "
        "two programs use one group name. End the other, delete the offset (kafka-consumer-groups --delete-offsets "
        "--group %s-relay --topic %s), and restart",
        at->partition, *n, options->group, at->topic, options->group, at->topic);
    return PUBLISHED_FOREIGN;
}

enum published_result published_position(const struct publisher_options *options, int32_t shard,
                                         const atomic_bool *stop, int64_t *n, bool *has_hash, uint8_t hash[32],
                                         struct error *e)
{
    rd_kafka_t *reader = open_reader(options, e);
    if (!reader) return PUBLISHED_UNAVAILABLE;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, options->topics[OUTPUT_SETTLEMENTS], shard);
    int64_t since = clock_monotonic_ms();
    rd_kafka_resp_err_t code;
    while ((code = ask_committed(reader, list)) && may_wait(stop, since)) {
        rd_kafka_message_t *event = rd_kafka_consumer_poll(reader, PAUSE_MS); // reports, no records
        if (event) rd_kafka_message_destroy(event);
    }
    enum published_result result = PUBLISHED_UNAVAILABLE;
    if (code)
        error_set(e, ERROR_UNAVAILABLE, "shard %" PRId32 ": Kafka does not tell the offset of group %s-relay: %s",
                  shard, options->group, rd_kafka_err2str(code));
    else
        result = read_position(&list->elems[0], options, n, has_hash, hash, e);
    rd_kafka_topic_partition_list_destroy(list);
    client_destroy_reader(reader);
    return result;
}

int published_sequence(enum output output, const void *value, size_t size, int32_t *shard, int64_t *sequence,
                       struct error *e)
{
    const char *text = schema_of_output(output);
    const uint8_t *bytes = value;
    struct avsc *schema = NULL;
    if (avsc_parse(text, strlen(text), &schema, e) != 0) return -1;
    const struct avsc_type *record = &schema->types[schema->root];
    const struct shapes shapes = {schema->shapes, schema->links};
    struct wire wire = {bytes, bytes + size, "no Confluent framing"};
    int64_t found[2] = {-1, -1}; // shard, sequence
    bool good = size > FRAMING_SIZE && bytes[0] == 0 && wire_skip(&wire, FRAMING_SIZE);
    for (uint32_t i = 0; good && found[1] < 0 && i < record->count; i++) {
        const struct avsc_member *field = &schema->members[record->first + i];
        bool last = strcmp(field->name, "sequence") == 0;
        if (last || strcmp(field->name, "shard") == 0)
            good = wire_long(&wire, &found[last]);
        else
            good = skip_value(&shapes, field->type, &wire, 0);
    }
    avsc_free(schema);
    if (!good) return error_set(e, ERROR_CONFIG, "%s at byte %td", wire.fault, wire.at - bytes);
    if (found[0] < 0 || found[0] > INT32_MAX || found[1] <= 0)
        return error_set(e, ERROR_CONFIG, "shard %" PRId64 ", sequence %" PRId64 " are impossible", found[0], found[1]);
    *shard = (int32_t)found[0];
    *sequence = found[1];
    return 0;
}

// The end of one topic's partition.
struct tail {
    enum output output;
    const char *topic;
    int64_t window; // offsets before the end that are read
    int64_t sequence; // of the last record; 0: none was found
    int64_t end; // of the partition; -1: not reached yet
};

struct tails {
    int32_t shard;
    struct tail tail[OUTPUT_COUNT];
};

static enum published_result take_record(struct tails *t, struct tail *tail, const rd_kafka_message_t *message,
                                         struct error *e)
{
    int32_t shard = -1;
    int failed = published_sequence(tail->output, message->payload, message->len, &shard, &tail->sequence, e);
    if (!failed && shard != t->shard) failed = error_set(e, ERROR_CONFIG, "it is of shard %" PRId32, shard);
    if (!failed) return PUBLISHED_FOUND;
    struct error why = *e;
    error_set(
        e, ERROR_CONFIG,
        "shard %" PRId32 ": the record at offset %" PRId64 " of topic %s partition %" PRId32
        " is none that settled wrote there (%s), so how far the shard is published cannot be told. Find who writes "
        "to this topic, delete the records (kafka-delete-records), and restart",
        t->shard, message->offset, tail->topic, t->shard, why.text);
    return PUBLISHED_FOREIGN;
}

// One poll. Errors that are not a partition's own are reports that librdkafka deals with.
static enum published_result take_message(struct tails *t, const rd_kafka_message_t *message, struct error *e)
{
    struct tail *tail = NULL;
    for (int i = 0; message->rkt && i < OUTPUT_COUNT; i++)
        if (strcmp(rd_kafka_topic_name(message->rkt), t->tail[i].topic) == 0) tail = &t->tail[i];
    if (!tail) return PUBLISHED_FOUND;
    if (!message->err) return take_record(t, tail, message, e);
    if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        tail->end = message->offset;
        return PUBLISHED_FOUND;
    }
    error_set(e, ERROR_UNAVAILABLE, "shard %" PRId32 ": the end of topic %s partition %" PRId32 " cannot be read: %s",
              t->shard, tail->topic, t->shard, rd_kafka_err2str(message->err));
    return PUBLISHED_UNAVAILABLE;
}

// The last offsets may all be control records and aborted data: then the window must grow, until it is the whole log.
static bool is_done(const struct tail *tail)
{
    return tail->end >= 0 && (tail->sequence > 0 || tail->window >= tail->end);
}

static bool all_ends_reached(const struct tails *t)
{
    for (int i = 0; i < OUTPUT_COUNT; i++)
        if (t->tail[i].end < 0) return false;
    return true;
}

// Assigns the partitions that are not done, each with a larger window than before. False: all are done.
static bool assign_windows(rd_kafka_t *reader, struct tails *t)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(OUTPUT_COUNT);
    for (int i = 0; i < OUTPUT_COUNT; i++) {
        struct tail *tail = &t->tail[i];
        if (is_done(tail)) continue;
        tail->window *= WINDOW_GROWTH;
        tail->end = -1;
        rd_kafka_topic_partition_list_add(list, tail->topic, t->shard)->offset = RD_KAFKA_OFFSET_TAIL(tail->window);
    }
    bool some = list->cnt > 0;
    if (some) rd_kafka_assign(reader, list);
    rd_kafka_topic_partition_list_destroy(list);
    return some;
}

static enum published_result read_windows(rd_kafka_t *reader, struct tails *t, const atomic_bool *stop, struct error *e)
{
    enum published_result result = PUBLISHED_FOUND;
    int64_t since = clock_monotonic_ms();
    while (result == PUBLISHED_FOUND && !all_ends_reached(t)) {
        if (!may_wait(stop, since)) {
            error_set(e, ERROR_UNAVAILABLE, "shard %" PRId32 ": the ends of the output topics cannot be read in time",
                      t->shard);
            return PUBLISHED_UNAVAILABLE;
        }
        rd_kafka_message_t *message = rd_kafka_consumer_poll(reader, SLICE_MS);
        if (!message) continue;
        result = take_message(t, message, e);
        rd_kafka_message_destroy(message);
    }
    return result;
}

enum published_result published_tails(const struct publisher_options *options, int32_t shard, const atomic_bool *stop,
                                      int64_t *n, struct error *e)
{
    rd_kafka_t *reader = open_reader(options, e);
    if (!reader) return PUBLISHED_UNAVAILABLE;
    struct tails tails = {.shard = shard};
    for (int i = 0; i < OUTPUT_COUNT; i++)
        tails.tail[i] = (struct tail){.output = (enum output)i, .topic = options->topics[i], .window = 1, .end = -1};
    enum published_result result = PUBLISHED_FOUND;
    while (result == PUBLISHED_FOUND && assign_windows(reader, &tails)) result = read_windows(reader, &tails, stop, e);
    client_destroy_reader(reader);
    *n = 0;
    for (int i = 0; i < OUTPUT_COUNT; i++)
        if (tails.tail[i].sequence > *n) *n = tails.tail[i].sequence;
    return result;
}
