#include "consumer/kafka/fetch_record.h"
#include "consumer/kafka/refusal.h"
#include "consumer/system/clock.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct record_fetcher {
    rd_kafka_t *consumer;
    rd_kafka_resp_err_t trouble; // why nothing comes, as far as it was told since the last call
    bool forbidden; // the record of the last call may not be read by this user
};

enum {
    SLICE_MS = 100,
    EMPTY_MS = 2, // so long a queue is empty before the leader's thread is woken
    ASK_MS = 5000,
    TROUBLE_SIZE = 160,
};

int fetch_record_open(const struct client_properties *properties, const char *group,
                      struct record_fetcher **out, struct error *e)
{
    // the end of a partition should be told at once
    const char *own[][2] = {{"fetch.wait.max.ms", "5"}};
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

bool fetch_record_is_forbidden(const struct record_fetcher *peek)
{
    return peek->forbidden;
}

void fetch_record_close(struct record_fetcher *peek)
{
    if (!peek)
        return;
    client_destroy_reader(peek->consumer);
    free(peek);
}

bool fetch_record_refused(const struct record_fetcher *peek, const char *topic,
                          rd_kafka_resp_err_t code, struct error *e)
{
    const struct refusal_call call = {.topic = topic, .operations = REFUSAL_READ};
    return refusal_explain(peek->consumer, code, &call, e);
}

static int assign(struct record_fetcher *peek, const rd_kafka_topic_partition_list_t *list,
                  struct error *e)
{
    peek->trouble = RD_KAFKA_RESP_ERR_NO_ERROR;
    peek->forbidden = false;
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

static bool is_outside(rd_kafka_resp_err_t code)
{
    return code == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET ||
           code == RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE;
}

static int say_absent(const struct record_fetcher *peek, struct record_coordinates at,
                      struct error *e)
{
    int64_t first;
    if (client_begins_later(peek->consumer, at.topic, at.partition, at.offset, ASK_MS, &first))
        return error_set(e, ERROR_CONFIG,
                         "%s/%" PRId32 "/%" PRId64
                         " is not kept any more: the log begins at offset %" PRId64
                         " now, its older records have expired or were deleted",
                         at.topic, at.partition, at.offset, first);
    return error_set(e, ERROR_CONFIG,
                     "%s/%" PRId32 "/%" PRId64
                     " is not in the log: no committed record has this offset",
                     at.topic, at.partition, at.offset);
}

// Also what is of no partition, such as that this user may not use the group, which is not used.
static bool is_passing(const rd_kafka_message_t *message)
{
    return client_error_passes(message->err) || (message->err && !message->rkt);
}

// Whether the message that a poll returned ends the search for one record. Takes the message.
static bool settle_record(struct record_fetcher *peek, rd_kafka_message_t *message,
                          struct record_coordinates at, rd_kafka_message_t **out, int *status,
                          struct error *e)
{
    bool ours = !message->err && message->partition == at.partition && message->offset == at.offset;
    bool past = !message->err
                    ? message->offset > at.offset
                    : message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF || is_outside(message->err);
    bool passing = is_passing(message), refused = message->err && !past && !passing;
    if (passing)
        peek->trouble = message->err;
    if (ours) {
        *out = message;
        *status = 0;
        return true;
    }
    if (past)
        *status = say_absent(peek, at, e);
    if (refused) {
        *status = error_set(e, ERROR_CONFIG, "%s/%" PRId32 "/%" PRId64 " cannot be read: %s",
                            at.topic, at.partition, at.offset, rd_kafka_message_errstr(message));
        peek->forbidden = fetch_record_refused(peek, at.topic, message->err, e);
    }
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

static int refuse_range(const struct record_fetcher *peek, const struct record_range *range,
                        const rd_kafka_message_t *message, struct error *e)
{
    int64_t first;
    if (is_outside(message->err) &&
        client_begins_later(peek->consumer, range->topic, range->partition, range->from, ASK_MS,
                            &first))
        return client_not_kept(range->topic, range->partition, first, range->from,
                               "restore them, from a mirror that keeps offsets", e);
    error_set(e, ERROR_CONFIG, "%s/%" PRId32 " cannot be read from offset %" PRId64 ": %s",
              range->topic, range->partition, range->from,
              is_outside(message->err) ? "the log ends before it"
                                       : rd_kafka_message_errstr(message));
    (void)fetch_record_refused(peek, range->topic, message->err, e);
    return -1;
}

// Handles the message that a poll returned, for a range: 0 go on, 1 the end is reached, -1 with *e.
static int visit_one(struct record_fetcher *peek, const struct record_range *range,
                     const rd_kafka_message_t *message, fetch_record_visit *visit, void *context,
                     struct error *e)
{
    int64_t to = range->to;
    if (!message->err && message->offset < to)
        return visit(context, message, e);
    if (!message->err ||
        (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF && message->offset >= to))
        return visit(context, NULL, e) ? -1 : 1;
    if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF)
        return 0;
    if (is_passing(message)) {
        peek->trouble = message->err;
        return 0;
    }
    return refuse_range(peek, range, message, e);
}

static rd_kafka_message_t *poll_range(const struct record_fetcher *peek,
                                      const struct record_range *range)
{
    rd_kafka_message_t *message = rd_kafka_consumer_poll(peek->consumer, EMPTY_MS);
    if (message)
        return message;
    client_wake(peek->consumer, range->topic, range->partition);
    return rd_kafka_consumer_poll(peek->consumer, SLICE_MS);
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
        rd_kafka_message_t *message = poll_range(peek, range);
        if (!message)
            continue;
        if (!message->err)
            end = clock_monotonic_ms() + patience_ms;
        status = visit_one(peek, range, message, visit, context, e);
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

// ---- many partitions at once ----

static rd_kafka_topic_partition_list_t *list_partitions(const struct partition_ends *list,
                                                        size_t count, int64_t which)
{
    rd_kafka_topic_partition_list_t *out = rd_kafka_topic_partition_list_new((int)count);
    for (size_t i = 0; i < count; i++)
        rd_kafka_topic_partition_list_add(out, list[i].topic, list[i].partition)->offset = which;
    return out;
}

// 0, or the index of the first of which it is not known, and why.
static rd_kafka_resp_err_t ask_ends_of(struct record_fetcher *peek, struct partition_ends *list,
                                       size_t count, int64_t which, int timeout_ms, size_t *failed)
{
    rd_kafka_topic_partition_list_t *asked = list_partitions(list, count, which);
    rd_kafka_resp_err_t code = rd_kafka_offsets_for_times(peek->consumer, asked, timeout_ms);
    *failed = 0;
    for (size_t i = 0; i < count && !code; i++) {
        // librdkafka may have put them into another order
        const rd_kafka_topic_partition_t *found =
            rd_kafka_topic_partition_list_find(asked, list[i].topic, list[i].partition);
        assert(found != NULL); // it was put into the list
        code = found->err;
        *failed = i;
        if (which == RD_KAFKA_OFFSET_BEGINNING)
            list[i].low = found->offset;
        else
            list[i].high = found->offset;
    }
    rd_kafka_topic_partition_list_destroy(asked);
    return code;
}

// A topic that this user may not see has no partitions as far as the client knows. Whether one of
// them is hidden, or does not exist; then *e says so.
static bool find_hidden(const struct record_fetcher *peek, const struct partition_ends *list,
                        size_t count, struct error *e)
{
    int32_t partitions;
    struct error found;
    for (size_t i = 0; i < count; i++) {
        if (i > 0 && strcmp(list[i].topic, list[i - 1].topic) == 0)
            continue;
        if (client_partitions(peek->consumer, list[i].topic, ASK_MS, &partitions, &found) &&
            found.kind == ERROR_CONFIG) {
            *e = found;
            return true;
        }
    }
    return false;
}

int fetch_record_ends(struct record_fetcher *peek, struct partition_ends *list, size_t count,
                      int timeout_ms, struct error *e)
{
    static const int64_t sides[] = {RD_KAFKA_OFFSET_BEGINNING, RD_KAFKA_OFFSET_END};
    int64_t until = clock_monotonic_ms() + timeout_ms;
    rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR_NO_ERROR;
    size_t failed = 0;
    for (size_t side = 0; side < 2 && count > 0;) {
        code = ask_ends_of(peek, list, count, sides[side], timeout_ms, &failed);
        if (!code)
            side++;
        else if (refusal_of_permission(code) || clock_monotonic_ms() >= until)
            break;
        else // a leader that moves is looked for meanwhile
            nanosleep(&(struct timespec){.tv_nsec = SLICE_MS * 1000000L}, NULL);
    }
    if (!code)
        return 0;
    error_set(e, ERROR_UNAVAILABLE,
              "%s/%" PRId32 ": where it begins and ends is not known: %s; check the brokers",
              list[failed].topic, list[failed].partition, rd_kafka_err2str(code));
    if (!fetch_record_refused(peek, list[failed].topic, code, e))
        (void)find_hidden(peek, list, count, e);
    return -1;
}

// What is read of each range.
struct many {
    struct record_ranges ranges;
    bool *done;
    size_t open;
    fetch_record_visit_many *visit;
    void *context;
};

static void end_range(struct many *many, size_t i)
{
    assert(!many->done[i]);
    assert(many->open > 0);
    many->done[i] = true;
    many->open--;
}

// The range of a message that is still open; count: none.
static size_t range_of(const struct many *many, const rd_kafka_message_t *message)
{
    size_t i = 0;
    const char *topic = message->rkt ? rd_kafka_topic_name(message->rkt) : "";
    for (; i < many->ranges.count; i++) {
        const struct record_range *range = &many->ranges.list[i];
        if (!many->done[i] && range->partition == message->partition &&
            strcmp(range->topic, topic) == 0)
            break;
    }
    return i;
}

static void take_one_of_many(struct record_fetcher *peek, struct many *many,
                             const rd_kafka_message_t *message)
{
    size_t i = range_of(many, message);
    if (is_passing(message))
        peek->trouble = message->err;
    if (i == many->ranges.count || is_passing(message))
        return;
    if (message->err != RD_KAFKA_RESP_ERR__PARTITION_EOF &&
        (message->err || message->offset < many->ranges.list[i].to))
        many->visit(many->context, i, message);
    if (message->err || message->offset + 1 >= many->ranges.list[i].to)
        end_range(many, i);
}

int fetch_record_ranges(struct record_fetcher *peek, struct record_ranges ranges, int timeout_ms,
                        fetch_record_visit_many *visit, void *context, struct error *e)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)ranges.count);
    for (size_t i = 0; i < ranges.count; i++)
        rd_kafka_topic_partition_list_add(list, ranges.list[i].topic, ranges.list[i].partition)
            ->offset = ranges.list[i].from;
    int status = assign(peek, list, e);
    rd_kafka_topic_partition_list_destroy(list);
    struct many many = {.ranges = ranges, .open = ranges.count, .visit = visit, .context = context};
    many.done = calloc(ranges.count ? ranges.count : 1, sizeof *many.done);
    if (!many.done)
        abort(); // out of memory
    int64_t end = clock_monotonic_ms() + timeout_ms;
    while (status == 0 && many.open > 0 && clock_monotonic_ms() < end) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(peek->consumer, SLICE_MS);
        if (!message)
            continue;
        take_one_of_many(peek, &many, message);
        rd_kafka_message_destroy(message);
    }
    rd_kafka_assign(peek->consumer, NULL);
    free(many.done);
    if (status || many.open == 0)
        return status;
    char trouble[TROUBLE_SIZE];
    return error_set(e, ERROR_UNAVAILABLE, "%zu partitions were not read within %d s%s", many.open,
                     timeout_ms / 1000, trouble_of(peek, trouble));
}
