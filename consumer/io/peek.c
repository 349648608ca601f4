#include "consumer/io/peek.h"
#include "consumer/io/clock.h"

#include <inttypes.h>
#include <stdlib.h>

struct peek {
    rd_kafka_t *consumer;
};

enum {
    SLICE_MS = 100,
    // The last offsets of a partition may be control records, which are never delivered.
    NEWEST_TAIL = 10,
};

int peek_create(const struct client_properties *properties, const char *group, struct peek **out, struct error *e)
{
    const char *own[][2] = {{"fetch.wait.max.ms", "20"}}; // the end of a partition should be told at once
    struct peek *peek = calloc(1, sizeof *peek);
    if (!peek) return error_set(e, ERROR_RESTART, "out of memory");
    peek->consumer = client_create_reader(properties, group, &(struct client_properties){1, own}, e);
    if (!peek->consumer) {
        free(peek);
        return -1;
    }
    *out = peek;
    return 0;
}

void peek_destroy(struct peek *peek)
{
    if (!peek) return;
    client_destroy_reader(peek->consumer);
    free(peek);
}

static int assign(struct peek *peek, const rd_kafka_topic_partition_list_t *list, struct error *e)
{
    rd_kafka_resp_err_t code = rd_kafka_assign(peek->consumer, list);
    return code ? error_set(e, ERROR_UNAVAILABLE, "partitions cannot be read: %s", rd_kafka_err2str(code)) : 0;
}

// Whether what a poll gave ends the search for one record. Takes the message.
static bool settle_record(rd_kafka_message_t *message, const char *topic, int32_t partition, int64_t offset,
                          rd_kafka_message_t **out, int *status, struct error *e)
{
    bool ours = !message->err && message->partition == partition && message->offset == offset;
    bool past = !message->err ? message->offset > offset
                              : message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF ||
                                    message->err == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET ||
                                    message->err == RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE;
    bool refused = message->err && !past && message->err != RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN &&
                   message->err != RD_KAFKA_RESP_ERR__TRANSPORT;
    if (ours) {
        *out = message;
        *status = 0;
        return true;
    }
    if (past)
        *status = error_set(e, ERROR_CONFIG, "%s/%" PRId32 "/%" PRId64 " is not in the log (any more)", topic,
                            partition, offset);
    if (refused)
        *status = error_set(e, ERROR_CONFIG, "%s/%" PRId32 "/%" PRId64 " cannot be read: %s", topic, partition, offset,
                            rd_kafka_message_errstr(message));
    rd_kafka_message_destroy(message);
    return past || refused;
}

int peek_record(struct peek *peek, const char *topic, int32_t partition, int64_t offset, int timeout_ms,
                rd_kafka_message_t **out, struct error *e)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, topic, partition)->offset = offset;
    int status = assign(peek, list, e);
    rd_kafka_topic_partition_list_destroy(list);
    if (status) return status;
    bool settled = false;
    for (int64_t end = clock_monotonic_ms() + timeout_ms; !settled && clock_monotonic_ms() < end;) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(peek->consumer, SLICE_MS);
        if (message) settled = settle_record(message, topic, partition, offset, out, &status, e);
    }
    rd_kafka_assign(peek->consumer, NULL);
    if (settled) return status;
    return error_set(e, ERROR_UNAVAILABLE, "%s/%" PRId32 "/%" PRId64 " was not read within %d s; check kafka.brokers",
                     topic, partition, offset, timeout_ms / 1000);
}

// What a poll gave, for a range: 0 go on, 1 the end is reached, -1 with *e.
static int visit_one(const rd_kafka_message_t *message, int64_t to, peek_visit *visit, void *context, struct error *e)
{
    if (!message->err && message->offset < to) return visit(context, message, e);
    if (!message->err || (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF && message->offset >= to))
        return visit(context, NULL, e) ? -1 : 1;
    bool passing = message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF ||
                   message->err == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN || message->err == RD_KAFKA_RESP_ERR__TRANSPORT;
    if (passing) return 0;
    return error_set(e, ERROR_CONFIG, "%s/%" PRId32 " cannot be read: %s", rd_kafka_topic_name(message->rkt),
                     message->partition, rd_kafka_message_errstr(message));
}

int peek_range(struct peek *peek, const char *topic, int32_t partition, int64_t from, int64_t to, int patience_ms,
               peek_visit *visit, void *context, struct error *e)
{
    if (from >= to) return visit(context, NULL, e);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, topic, partition)->offset = from;
    int status = assign(peek, list, e);
    rd_kafka_topic_partition_list_destroy(list);
    int64_t end = clock_monotonic_ms() + patience_ms;
    while (status == 0 && clock_monotonic_ms() < end) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(peek->consumer, SLICE_MS);
        if (!message) continue;
        if (!message->err) end = clock_monotonic_ms() + patience_ms;
        status = visit_one(message, to, visit, context, e);
        rd_kafka_message_destroy(message);
    }
    rd_kafka_assign(peek->consumer, NULL);
    if (status == 0)
        return error_set(e, ERROR_UNAVAILABLE, "%s/%" PRId32 ": nothing was read for %d s; check kafka.brokers", topic,
                         partition, patience_ms / 1000);
    return status < 0 ? -1 : 0;
}

int peek_newest(struct peek *peek, const char *topic, int32_t partitions, int timeout_ms, int64_t *timestamp_ms,
                int32_t *partition, struct error *e)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(partitions);
    for (int32_t p = 0; p < partitions; p++)
        rd_kafka_topic_partition_list_add(list, topic, p)->offset = RD_KAFKA_OFFSET_TAIL(NEWEST_TAIL);
    int status = assign(peek, list, e);
    rd_kafka_topic_partition_list_destroy(list);
    if (status) return status;
    int32_t open = partitions;
    *timestamp_ms = -1;
    *partition = -1;
    for (int64_t end = clock_monotonic_ms() + timeout_ms; open > 0 && clock_monotonic_ms() < end;) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(peek->consumer, SLICE_MS);
        if (!message) continue;
        if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) open--;
        int64_t timestamp = message->err ? -1 : rd_kafka_message_timestamp(message, NULL);
        if (timestamp > *timestamp_ms) {
            *timestamp_ms = timestamp;
            *partition = message->partition;
        }
        rd_kafka_message_destroy(message);
    }
    rd_kafka_assign(peek->consumer, NULL);
    if (open == 0) return 0;
    return error_set(e, ERROR_UNAVAILABLE,
                     "topic %s: the last records of %" PRId32 " partitions were not read within %d s", topic, open,
                     timeout_ms / 1000);
}
