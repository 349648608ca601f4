#include "consumer/kafka/scan.h"
#include "consumer/kafka/refusal.h"
#include "consumer/system/clock.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    SLICE_MS = 100,
    EMPTY_MS = 2, // so long a queue is empty before the leader's thread is woken
    ASK_MS = 10000,
    AHEAD = 2,
    TELL_RECORDS = 256
};

struct scan_lane {
    const char *topic;
    int64_t first, last; // of the log, when it was opened
    int64_t from, at; // where it is read from; the next offset
    rd_kafka_queue_t *queue;
    rd_kafka_message_t *next[AHEAD]; // in order; NULL: not looked at yet
    int64_t end; // -1: not reached
    rd_kafka_resp_err_t trouble; // why nothing comes, as far as it was told
};

struct scan {
    rd_kafka_t *consumer;
    int32_t partition;
    void (*passed)(void *context, int64_t offsets);
    void *context;
    int64_t offsets, records; // that lie behind
    size_t count;
    struct scan_lane lanes[SCAN_LOGS_MAX];
};

static const struct scan_lane *lane_at(const struct scan *scan, size_t log)
{
    assert(log < scan->count);
    return &scan->lanes[log];
}

// ---- opening ----

static rd_kafka_t *open_consumer(const struct client_properties *properties, const char *group,
                                 struct error *e)
{
    const char *own[][2] = {
        {"check.crcs", "true"},
        // The logs are read in turns: a queue that is full, or at its end, must not hold up the
        // others.
        {"fetch.wait.max.ms", "5"},
        {"fetch.error.backoff.ms", "1"},
        {"max.partition.fetch.bytes", "8388608"},
        {"queued.min.messages", "100000"},
        {"queued.max.messages.kbytes", "65536"},
    };
    return client_create_reader(properties, group,
                                &(struct client_properties){sizeof own / sizeof *own, own}, e);
}

static int check_cluster(const struct scan *scan, const char *expected, struct error *e)
{
    char *found = rd_kafka_clusterid(scan->consumer, ASK_MS);
    if (!found)
        return error_set(e, ERROR_UNAVAILABLE, "no Kafka broker answers; check kafka.brokers");
    int failed = 0;
    if (expected[0] && strcmp(found, expected) != 0)
        failed =
            error_set(e, ERROR_CONFIG,
                      "the brokers belong to cluster %s, but the database belongs to cluster %s",
                      found, expected);
    rd_kafka_mem_free(scan->consumer, found);
    return failed;
}

// This question also tells the client the leaders; otherwise it would find them half a second
// later.
static int check_partitions(const struct scan *scan, int32_t expected, struct error *e)
{
    int32_t found = 0;
    for (size_t i = 0; i < scan->count; i++) {
        const char *topic = scan->lanes[i].topic;
        if (client_partitions(scan->consumer, topic, ASK_MS, &found, e))
            return -1;
        if (found != expected)
            return client_wrong_count(topic, found, expected, e);
    }
    return 0;
}

static int find_since(const struct scan *scan, struct scan_lane *lane, int64_t since_ms,
                      struct error *e)
{
    const struct ends_query query = {.count = 1,
                                     .topics = &lane->topic,
                                     .partition = scan->partition,
                                     .which = since_ms > 0 ? since_ms : 0,
                                     .timeout_ms = ASK_MS};
    if (client_ends(scan->consumer, &query, &lane->from, e))
        return -1;
    if (lane->from < 0)
        lane->from = lane->last;
    assert(lane->from >= lane->first);
    return 0;
}

static int find_ends(struct scan *scan, const struct scan_log *logs, struct error *e)
{
    const char *topics[SCAN_LOGS_MAX];
    int64_t first[SCAN_LOGS_MAX] = {0}, last[SCAN_LOGS_MAX] = {0};
    for (size_t i = 0; i < scan->count; i++)
        topics[i] = scan->lanes[i].topic;
    struct ends_query query = {.count = scan->count,
                               .topics = topics,
                               .partition = scan->partition,
                               .which = RD_KAFKA_OFFSET_BEGINNING,
                               .timeout_ms = ASK_MS};
    if (client_ends(scan->consumer, &query, first, e))
        return -1;
    query.which = RD_KAFKA_OFFSET_END;
    if (client_ends(scan->consumer, &query, last, e))
        return -1;
    for (size_t i = 0; i < scan->count; i++) {
        struct scan_lane *lane = &scan->lanes[i];
        lane->first = first[i];
        lane->last = last[i];
        lane->from = logs[i].from == SCAN_BEGINNING ? lane->first : logs[i].from;
        if (logs[i].from == SCAN_SINCE && find_since(scan, lane, logs[i].since_ms, e))
            return -1;
        lane->at = lane->from;
    }
    return 0;
}

// Each queue is separated before its partition is assigned, so that every record comes through it.
static int assign(struct scan *scan, struct error *e)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)scan->count);
    for (size_t i = 0; i < scan->count; i++) {
        struct scan_lane *lane = &scan->lanes[i];
        lane->queue = rd_kafka_queue_get_partition(scan->consumer, lane->topic, scan->partition);
        assert(lane->queue);
        rd_kafka_queue_forward(lane->queue, NULL);
        rd_kafka_topic_partition_list_add(list, lane->topic, scan->partition)->offset = lane->at;
    }
    rd_kafka_resp_err_t code = rd_kafka_assign(scan->consumer, list);
    rd_kafka_topic_partition_list_destroy(list);
    return code ? error_set(e, ERROR_UNAVAILABLE, "partitions cannot be read: %s",
                            rd_kafka_err2str(code))
                : 0;
}

int scan_open(const struct scan_options *options, struct scan **out, struct error *e)
{
    assert(options->count > 0);
    assert(options->count <= SCAN_LOGS_MAX);
    assert(options->partition < options->partitions);
    struct scan *scan = calloc(1, sizeof *scan);
    if (!scan)
        return error_set(e, ERROR_RESTART, "memory is short");
    scan->partition = options->partition;
    scan->passed = options->passed;
    scan->context = options->context;
    scan->count = options->count;
    for (size_t i = 0; i < scan->count; i++)
        scan->lanes[i] = (struct scan_lane){.topic = options->logs[i].topic, .end = -1};
    scan->consumer = open_consumer(options->properties, options->group, e);
    // The first question makes the client connect at once, and any answer to it tells the cluster.
    if (!scan->consumer || check_partitions(scan, options->partitions, e) ||
        check_cluster(scan, options->cluster_id, e) || find_ends(scan, options->logs, e) ||
        assign(scan, e)) {
        scan_close(scan);
        return -1;
    }
    *out = scan;
    return 0;
}

void scan_close(struct scan *scan)
{
    if (!scan)
        return;
    for (size_t i = 0; i < scan->count; i++) {
        for (int k = 0; k < AHEAD; k++)
            if (scan->lanes[i].next[k])
                rd_kafka_message_destroy(scan->lanes[i].next[k]);
        if (scan->lanes[i].queue)
            rd_kafka_queue_destroy(scan->lanes[i].queue);
    }
    // Nothing was joined, so there is nothing to leave; closing can hang.
    if (scan->consumer)
        client_destroy_reader(scan->consumer);
    free(scan);
}

// ---- reading ----

static int refuse(const struct scan *scan, const struct scan_lane *lane,
                  const rd_kafka_message_t *message, struct error *e)
{
    int64_t first;
    bool gone = message->err == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET ||
                message->err == RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE;
    if (gone &&
        client_begins_later(scan->consumer, lane->topic, scan->partition, lane->at, ASK_MS, &first))
        return client_not_kept(lane->topic, scan->partition, first, lane->at,
                               "restore them, from a mirror that keeps offsets", e);
    error_set(e, ERROR_CONFIG, "%s/%" PRId32 ": offset %" PRId64 " cannot be read: %s", lane->topic,
              scan->partition, lane->at,
              gone ? "the log ends before it" : rd_kafka_message_errstr(message));
    const struct refusal_call call = {.topic = lane->topic, .operations = REFUSAL_READ};
    (void)refusal_explain(scan->consumer, message->err, &call, e);
    return -1;
}

static void pass_to(struct scan *scan, struct scan_lane *lane, int64_t offset)
{
    if (offset > lane->at)
        scan->offsets += offset - lane->at;
    lane->at = offset;
}

// One message of the lane's queue: kept, the end noted, or passed over.
static int take_in(struct scan *scan, struct scan_lane *lane, int at, rd_kafka_message_t *message,
                   struct error *e)
{
    if (!message->err) {
        assert(lane->next[at] == NULL);
        if (at > 0)
            assert(lane->next[at - 1] != NULL); // in order
        lane->next[at] = message;
        lane->trouble = RD_KAFKA_RESP_ERR_NO_ERROR;
        return 0;
    }
    int failed = 0;
    if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF)
        lane->end = message->offset;
    else if (client_error_passes(message->err))
        lane->trouble = message->err;
    else
        failed = refuse(scan, lane, message, e);
    rd_kafka_message_destroy(message);
    return failed;
}

// The consumer's own queue carries errors of no single partition. They need no handling: then the
// partitions give nothing, and that is noticed.
static void serve(struct scan *scan)
{
    rd_kafka_message_t *event = rd_kafka_consumer_poll(scan->consumer, 0);
    if (event)
        rd_kafka_message_destroy(event);
}

static int fall_silent(const struct scan *scan, const struct scan_lane *lane, struct error *e)
{
    return error_set(e, ERROR_UNAVAILABLE,
                     "%s/%" PRId32 ": nothing was read from offset %" PRId64 " for %d s%s%s; check "
                     "kafka.brokers",
                     lane->topic, scan->partition, lane->at, SCAN_PATIENCE_MS / 1000,
                     lane->trouble ? ": " : "",
                     lane->trouble ? rd_kafka_err2str(lane->trouble) : "");
}

static rd_kafka_message_t *poll_lane(const struct scan *scan, const struct scan_lane *lane)
{
    rd_kafka_message_t *message = rd_kafka_consume_queue(lane->queue, EMPTY_MS);
    if (message)
        return message;
    client_wake(scan->consumer, lane->topic, scan->partition);
    return rd_kafka_consume_queue(lane->queue, SLICE_MS);
}

int scan_look(struct scan *scan, size_t log, int ahead, const rd_kafka_message_t **out,
              struct error *e)
{
    assert(log < scan->count && ahead >= 0 && ahead < AHEAD);
    struct scan_lane *lane = &scan->lanes[log];
    int64_t until = 0;
    for (int at = 0; at <= ahead; at++)
        while (!lane->next[at] && lane->end < 0) {
            rd_kafka_message_t *message = poll_lane(scan, lane);
            if (message && take_in(scan, lane, at, message, e))
                return -1;
            if (lane->next[at] || lane->end >= 0)
                continue;
            int64_t now = clock_monotonic_ms();
            serve(scan);
            if (until == 0)
                until = now + SCAN_PATIENCE_MS;
            if (now >= until)
                return fall_silent(scan, lane, e);
        }
    if (!lane->next[ahead])
        assert(lane->end >= 0); // nothing more only at the end
    *out = lane->next[ahead];
    return 0;
}

rd_kafka_message_t *scan_keep(struct scan *scan, size_t log)
{
    struct scan_lane *lane = &scan->lanes[log];
    rd_kafka_message_t *message = lane_at(scan, log)->next[0];
    assert(message);
    pass_to(scan, lane, message->offset + 1);
    for (int k = 1; k < AHEAD; k++)
        lane->next[k - 1] = lane->next[k];
    lane->next[AHEAD - 1] = NULL;
    if (scan->passed && ++scan->records % TELL_RECORDS == 0)
        scan->passed(scan->context, scan->offsets);
    return message;
}

void scan_take(struct scan *scan, size_t log)
{
    rd_kafka_message_destroy(scan_keep(scan, log));
}

int scan_take_older(struct scan *scan, size_t log, int64_t since_ms, int64_t *first,
                    struct error *e)
{
    const rd_kafka_message_t *message;
    for (;;) {
        if (scan_look(scan, log, 0, &message, e))
            return -1;
        if (!message || rd_kafka_message_timestamp(message, NULL) >= since_ms)
            break;
        scan_take(scan, log);
    }
    *first = message ? message->offset : -1;
    return 0;
}

int64_t scan_first(const struct scan *scan, size_t log)
{
    return lane_at(scan, log)->first;
}

int64_t scan_from(const struct scan *scan, size_t log)
{
    return lane_at(scan, log)->from;
}

int64_t scan_at(const struct scan *scan, size_t log)
{
    return lane_at(scan, log)->at;
}

int64_t scan_last(const struct scan *scan, size_t log)
{
    return lane_at(scan, log)->last;
}

int64_t scan_end(const struct scan *scan, size_t log)
{
    return lane_at(scan, log)->end;
}

// Every fetch tells the client how far the log goes, open transactions included.
bool scan_goes_on(const struct scan *scan, size_t log)
{
    const struct scan_lane *lane = lane_at(scan, log);
    int64_t low = 0, high = 0;
    if (lane->end < 0)
        return true;
    return !rd_kafka_get_watermark_offsets(scan->consumer, lane->topic, scan->partition, &low,
                                           &high) &&
           high > lane->end;
}

int64_t scan_passed(const struct scan *scan)
{
    return scan->offsets;
}
