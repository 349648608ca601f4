#include "consumer/relay/published_position.h"
#include "consumer/kafka/framing.h"
#include "consumer/kafka/refusal.h"
#include "consumer/system/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
    PATIENCE_MS = 30000, // a busy cluster may look for a new group's coordinator for long
    SLICE_MS = 250, // the longest time for which a wait does not notice `stop`
    // the same, for a call that starts anew each time, so it must be longer than a round trip
    COMMITTED_MS = 1000,
    PAUSE_MS = 50, // between two questions for an offset that is not stable yet
};

static bool may_wait(const atomic_bool *stop, int64_t until_ms)
{
    return !atomic_load(stop) && clock_monotonic_ms() < until_ms;
}

// It joins no group; it only asks for an offset.
static rd_kafka_t *open_reader(const struct publisher_options *options, struct error *e)
{
    char group[RELAY_GROUP_SIZE], why[512];
    const char *fixed[][2] = {
        {"group.id", relay_group(options->group, group)},
        // which also makes rd_kafka_committed ask for stable offsets
        {"isolation.level", "read_committed"},
        {"enable.auto.commit", "false"},
        {"allow.auto.create.topics", "false"},
    };
    rd_kafka_conf_t *conf = client_conf(NULL, &options->properties, e);
    if (!conf)
        return NULL;
    for (size_t i = 0; i < sizeof fixed / sizeof fixed[0]; i++) {
        if (rd_kafka_conf_set(conf, fixed[i][0], fixed[i][1], why, sizeof why) == RD_KAFKA_CONF_OK)
            continue;
        rd_kafka_conf_destroy(conf);
        error_set(e, ERROR_CONFIG, "librdkafka refuses %s = %s: %s", fixed[i][0], fixed[i][1], why);
        return NULL;
    }
    rd_kafka_t *reader = client_create(RD_KAFKA_CONSUMER, conf, e);
    if (reader)
        rd_kafka_poll_set_consumer(reader);
    return reader;
}

static enum published_result read_position(const rd_kafka_topic_partition_t *at,
                                           const struct publisher_options *options,
                                           struct published_at *out, struct error *e)
{
    int64_t noted = -1;
    if (at->offset < 0)
        return PUBLISHED_UNKNOWN;
    out->n = at->offset;
    out->has_hash = at->metadata_size > 0;
    if (!out->has_hash)
        return PUBLISHED_FOUND;
    if (position_parse(at->metadata, at->metadata_size, &noted, out->hash) && noted == out->n)
        return PUBLISHED_FOUND;
    error_set(e, ERROR_CONFIG,
              "shard %" PRId32 ": the offset %" PRId64
              " of group %s-relay on topic %s was stored by another program: "
              "two programs use one group name. End the other, delete the offset "
              "(kafka-consumer-groups --delete-offsets "
              "--group %s-relay --topic %s), and restart",
              at->partition, out->n, options->group, at->topic, options->group, at->topic);
    return PUBLISHED_FOREIGN;
}

// Of every partition of the list; 0, or the first error.
static rd_kafka_resp_err_t wait_for_committed(rd_kafka_t *reader,
                                              rd_kafka_topic_partition_list_t *list,
                                              int patience_ms, const atomic_bool *stop)
{
    int64_t until = clock_monotonic_ms() + (patience_ms ? patience_ms : PATIENCE_MS);
    rd_kafka_resp_err_t code;
    while ((code = client_committed(reader, list, COMMITTED_MS, PAUSE_MS)) &&
           !refusal_of_permission(code) && may_wait(stop, until)) {}
    return code;
}

static enum published_result read_positions(const rd_kafka_topic_partition_list_t *list,
                                            const struct publisher_options *options,
                                            struct published_at *out, struct error *e)
{
    enum published_result result = PUBLISHED_FOUND;
    for (int i = 0; i < list->cnt; i++) {
        out[i] = (struct published_at){.n = -1};
        enum published_result one = read_position(&list->elems[i], options, &out[i], e);
        if (one == PUBLISHED_FOREIGN)
            return one;
        if (one != PUBLISHED_FOUND)
            result = one;
    }
    return result;
}

static void fail_positions(const rd_kafka_t *reader, const struct publisher_options *options,
                           int32_t shard, rd_kafka_resp_err_t code, struct error *e)
{
    char group[RELAY_GROUP_SIZE];
    const struct refusal_call call = {.topic = options->topics[OUTPUT_SETTLEMENTS],
                                      .operations = REFUSAL_READ,
                                      .group = relay_group(options->group, group)};
    error_set(e, ERROR_UNAVAILABLE,
              "shard %" PRId32 ": Kafka does not say the offset of group %s: %s", shard, group,
              rd_kafka_err2str(code));
    (void)refusal_explain(reader, code, &call, e);
}

enum published_result published_positions(const struct publisher_options *options,
                                          struct published_shards shards, const atomic_bool *stop,
                                          struct published_at *out, struct error *e)
{
    if (shards.count == 0)
        return PUBLISHED_FOUND;
    rd_kafka_t *reader = open_reader(options, e);
    if (!reader)
        return PUBLISHED_UNAVAILABLE;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)shards.count);
    for (size_t i = 0; i < shards.count; i++)
        rd_kafka_topic_partition_list_add(list, options->topics[OUTPUT_SETTLEMENTS],
                                          shards.list[i]);
    rd_kafka_resp_err_t code = wait_for_committed(reader, list, shards.patience_ms, stop);
    enum published_result result = PUBLISHED_UNAVAILABLE;
    if (code)
        fail_positions(reader, options, shards.list[0], code, e);
    else
        result = read_positions(list, options, out, e);
    rd_kafka_topic_partition_list_destroy(list);
    client_destroy_reader(reader);
    return result;
}

enum published_result published_position(const struct publisher_options *options, int32_t shard,
                                         const atomic_bool *stop, struct published_at *out,
                                         struct error *e)
{
    return published_positions(options, (struct published_shards){&shard, 1, 0}, stop, out, e);
}

int published_sequence(const struct output_reader *form, enum framing framing, struct slice value,
                       int32_t *shard, int64_t *sequence, struct error *e)
{
    struct output_number number;
    struct slice body;
    int64_t id;
    if (!framing_take_off(framing, value, &id, &body))
        return error_set(e, ERROR_CONFIG, "it does not begin with %s", framing_text(framing));
    if (output_reader_sequence(form, body, &number, e))
        return -1;
    *shard = number.shard;
    *sequence = number.sequence;
    return 0;
}
