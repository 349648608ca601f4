#include "consumer/kafka/fetch_record.h"
#include "consumer/system/clock.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct record_fetcher {
    rd_kafka_t *consumer;
    rd_kafka_resp_err_t trouble; // why nothing comes, as far as it was told since the last call
};

enum {
    SLICE_MS = 100,
    // The last offsets of a partition may be control records, which are never delivered.
    NEWEST_TAIL = 10,
    TROUBLE_SIZE = 160,
};

int fetch_record_open(const struct client_properties *properties, const char *group,
                      struct record_fetcher **out, struct error *e)
{
    // the end of a partition should be told at once
    const char *own[][2] = {{"fetch.wait.max.ms", "20"}};
    struct record_fetcher *peek = calloc(1, sizeof *peek);
    if (!peek)
        return error_set(e, ERROR_RESTART, "out of memory");
    peek->consumer =
        client_create_reader(properties, group, &(struct client_properties){1, own}, e);
    if (!peek->consumer) {
        free(peek);
        return -1;
    }
    *out = peek;
    return 0;
}

void fetch_record_close(struct record_fetcher *peek)
{
    if (!peek)
        return;
    client_destroy_reader(peek->consumer);
    free(peek);
}

static int assign(struct record_fetcher *peek, const rd_kafka_topic_partition_list_t *list,
                  struct error *e)
{
    peek->trouble = RD_KAFKA_RESP_ERR_NO_ERROR;
    rd_kafka_resp_err_t code = rd_kafka_assign(peek->consumer, list);
    return code ? error_set(e, ERROR_UNAVAILABLE, "partitions cannot be read: %s",
                            rd_kafka_err2str(code))
                : 0;
}

// The end of a sentence that something was not read.
static const char *trouble_of(const struct record_fetcher *peek, char out[TROUBLE_SIZE])
{
    snprintf(out, TROUBLE_SIZE, "%s%s; check kafka.brokers", peek->trouble ? ": " : "",
             peek->trouble ? rd_kafka_err2str(peek->trouble) : "");
    return out;
}

// Whether the message that a poll returned ends the search for one record. Takes the message.
static bool settle_record(struct record_fetcher *peek, rd_kafka_message_t *message,
                          struct record_coordinates at, rd_kafka_message_t **out, int *status,
                          struct error *e)
{
    bool ours = !message->err && message->partition == at.partition && message->offset == at.offset;
    bool past = !message->err ? message->offset > at.offset
                              : message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF ||
                                    message->err == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET ||
                                    message->err == RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE;
    bool passing = client_error_passes(message->err), refused = message->err && !past && !passing;
    if (passing)
        peek->trouble = message->err;
    if (ours) {
        *out = message;
        *status = 0;
        return true;
    }
    if (past)
        *status =
            error_set(e, ERROR_CONFIG, "%s/%" PRId32 "/%" PRId64 " is not in the log (any more)",
                      at.topic, at.partition, at.offset);
    if (refused)
        *status = error_set(e, ERROR_CONFIG, "%s/%" PRId32 "/%" PRId64 " cannot be read: %s",
                            at.topic, at.partition, at.offset, rd_kafka_message_errstr(message));
    rd_kafka_message_destroy(message);
    return past || refused;
}

int fetch_record_at(struct record_fetcher *peek, struct record_coordinates at, int timeout_ms,
                    rd_kafka_message_t **out, struct error *e)
{
    assert(at.partition >= 0);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, at.topic, at.partition)->offset = at.offset;
    int status = assign(peek, list, e);
    rd_kafka_topic_partition_list_destroy(list);
    if (status)
        return status;
    bool settled = false;
    for (int64_t end = clock_monotonic_ms() + timeout_ms; !settled && clock_monotonic_ms() < end;) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(peek->consumer, SLICE_MS);
        if (message)
            settled = settle_record(peek, message, at, out, &status, e);
    }
    rd_kafka_assign(peek->consumer, NULL);
    assert(settled || status == 0);
    if (settled)
        return status;
    char trouble[TROUBLE_SIZE];
    return error_set(e, ERROR_UNAVAILABLE, "%s/%" PRId32 "/%" PRId64 " was not read within %d s%s",
                     at.topic, at.partition, at.offset, timeout_ms / 1000,
                     trouble_of(peek, trouble));
}

// Handles the message that a poll returned, for a range: 0 go on, 1 the end is reached, -1 with *e.
static int visit_one(struct record_fetcher *peek, const rd_kafka_message_t *message, int64_t to,
                     fetch_record_visit *visit, void *context, struct error *e)
{
    if (!message->err && message->offset < to)
        return visit(context, message, e);
    if (!message->err ||
        (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF && message->offset >= to))
        return visit(context, NULL, e) ? -1 : 1;
    if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF)
        return 0;
    if (client_error_passes(message->err)) {
        peek->trouble = message->err;
        return 0;
    }
    return error_set(e, ERROR_CONFIG, "%s/%" PRId32 " cannot be read: %s",
                     rd_kafka_topic_name(message->rkt), message->partition,
                     rd_kafka_message_errstr(message));
}

int fetch_record_range(struct record_fetcher *peek, const struct record_range *range,
                       int patience_ms, fetch_record_visit *visit, void *context, struct error *e)
{
    if (range->from >= range->to)
        return visit(context, NULL, e);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, range->topic, range->partition)->offset = range->from;
    int status = assign(peek, list, e);
    rd_kafka_topic_partition_list_destroy(list);
    int64_t end = clock_monotonic_ms() + patience_ms;
    while (status == 0 && clock_monotonic_ms() < end) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(peek->consumer, SLICE_MS);
        if (!message)
            continue;
        if (!message->err)
            end = clock_monotonic_ms() + patience_ms;
        status = visit_one(peek, message, range->to, visit, context, e);
        rd_kafka_message_destroy(message);
    }
    rd_kafka_assign(peek->consumer, NULL);
    char trouble[TROUBLE_SIZE];
    if (status == 0)
        return error_set(e, ERROR_UNAVAILABLE, "%s/%" PRId32 ": nothing was read for %d s%s",
                         range->topic, range->partition, patience_ms / 1000,
                         trouble_of(peek, trouble));
    return status < 0 ? -1 : 0;
}

int fetch_record_newest(struct record_fetcher *peek, const char *topic, int32_t partitions,
                        int timeout_ms, struct newest_record *out, struct error *e)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(partitions);
    for (int32_t p = 0; p < partitions; p++)
        rd_kafka_topic_partition_list_add(list, topic, p)->offset =
            RD_KAFKA_OFFSET_TAIL(NEWEST_TAIL);
    int status = assign(peek, list, e);
    rd_kafka_topic_partition_list_destroy(list);
    if (status)
        return status;
    int32_t open = partitions;
    *out = (struct newest_record){.partition = -1, .timestamp_ms = -1};
    for (int64_t end = clock_monotonic_ms() + timeout_ms; open > 0 && clock_monotonic_ms() < end;) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(peek->consumer, SLICE_MS);
        if (!message)
            continue;
        if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF)
            open--;
        int64_t timestamp = message->err ? -1 : rd_kafka_message_timestamp(message, NULL);
        if (timestamp > out->timestamp_ms)
            *out = (struct newest_record){message->partition, timestamp};
        rd_kafka_message_destroy(message);
    }
    rd_kafka_assign(peek->consumer, NULL);
    if (open == 0)
        return 0;
    return error_set(e, ERROR_UNAVAILABLE,
                     "topic %s: the last records of %" PRId32
                     " partitions were not read within %d s",
                     topic, open, timeout_ms / 1000);
}
