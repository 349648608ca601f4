#include "consumer/kafka/requeue.h"
#include "consumer/kafka/refusal.h"
#include "consumer/system/clock.h"
#include "consumer/system/fault.h"

#include <assert.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    GROUP_SIZE = 280,
    CALL_MS = 15000,
    SLICE_MS = 250,
    ASK_MS = 1000,
    ASKS_MAX = 15,
    PAUSE_MS = 100, // between two
    METADATA_SIZE = 96
};

struct requeue {
    rd_kafka_t *producer;
    char group[GROUP_SIZE];
    const char *position_topic;
    struct requeue_position last;
    bool delivered; // of the record under way
    rd_kafka_resp_err_t delivery;
    int64_t offset;
};

static void on_delivery(rd_kafka_t *client, const rd_kafka_message_t *message, void *opaque)
{
    struct requeue *r = opaque;
    (void)client;
    r->delivered = true;
    r->delivery = message->err;
    r->offset = message->offset;
}

// ---- the position ----

// A number that ends with `last`; the text goes on behind it.
static bool take_number(const char **text, char last, int64_t *out)
{
    char *end;
    if (**text < '0' || **text > '9')
        return false;
    *out = strtoll(*text, &end, 10);
    if (*end != last)
        return false;
    *text = end + (last != '\0');
    return true;
}

static int parse_position(const rd_kafka_topic_partition_t *at, struct requeue_position *out,
                          struct error *e)
{
    char text[METADATA_SIZE];
    *out = (struct requeue_position){0};
    if (at->offset < 0)
        return 0;
    snprintf(text, sizeof text, "%.*s", (int)at->metadata_size,
             at->metadata ? (const char *)at->metadata : "");
    const char *rest = text;
    int64_t partition;
    out->request = at->offset;
    if (take_number(&rest, ' ', &out->from) && take_number(&rest, ' ', &partition) &&
        partition <= INT32_MAX && take_number(&rest, '\0', &out->offset)) {
        out->partition = (int32_t)partition;
        return 0;
    }
    return error_set(
        e, ERROR_CONFIG,
        "the offset of the requeue group on topic %s was stored by another program: two "
        "programs use one group name; give them different ones",
        at->topic);
}

static rd_kafka_resp_err_t ask_position(rd_kafka_t *consumer, rd_kafka_topic_partition_list_t *list)
{
    rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR__TIMED_OUT;
    for (int i = 0; i < ASKS_MAX && code && !refusal_of_permission(code); i++)
        code = client_committed(consumer, list, ASK_MS, PAUSE_MS);
    return code;
}

static int read_position(struct requeue *r, const struct client_properties *properties,
                         struct error *e)
{
    const char *fixed[][2] = {
        {"group.id", r->group},
        // asks for stable offsets: waits for a transaction that is just ending
        {"isolation.level", "read_committed"},
        {"enable.auto.commit", "false"},
        {"allow.auto.create.topics", "false"},
    };
    struct client_properties ours = {sizeof fixed / sizeof *fixed, fixed};
    rd_kafka_conf_t *conf = client_conf(properties, &ours, e);
    rd_kafka_t *consumer = conf ? client_create(RD_KAFKA_CONSUMER, conf, e) : NULL;
    if (!consumer)
        return -1;
    rd_kafka_poll_set_consumer(consumer);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, r->position_topic, 0);
    rd_kafka_resp_err_t code = ask_position(consumer, list);
    int status;
    if (code) {
        status = error_set(e, ERROR_UNAVAILABLE, "Kafka does not say the offset of group %s: %s",
                           r->group, rd_kafka_err2str(code));
        (void)refusal_explain(consumer, code, &(struct refusal_call){.group = r->group}, e);
    } else
        status = parse_position(&list->elems[0], &r->last, e);
    rd_kafka_topic_partition_list_destroy(list);
    client_destroy_reader(consumer);
    return status;
}

// ---- the producer ----

// Turns an error of librdkafka into *e; takes it.
static int fail(const struct requeue *r, rd_kafka_error_t *error, const char *what, struct error *e)
{
    rd_kafka_resp_err_t code = rd_kafka_error_code(error);
    bool fenced = code == RD_KAFKA_RESP_ERR__FENCED || code == RD_KAFKA_RESP_ERR_PRODUCER_FENCED ||
                  code == RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH;
    if (fenced)
        error_set(e, ERROR_RESTART,
                  "another 'settled rejects requeue' took over; wait for it, then run this again");
    else
        error_set(e, ERROR_UNAVAILABLE, "Kafka: %s: %s; run it again", what,
                  rd_kafka_error_string(error));
    const struct refusal_call call = {.topic = r->position_topic,
                                      .operations = REFUSAL_READ,
                                      .group = r->group,
                                      .transactional_id = r->group};
    (void)refusal_explain(r->producer, code, &call, e);
    rd_kafka_error_destroy(error);
    return -1;
}

static int create_producer(struct requeue *r, const struct client_properties *properties,
                           struct error *e)
{
    const char *fixed[][2] = {
        {"transactional.id", r->group},
        // the topic's own limit decides: it took the record before
        {"message.max.bytes", "100000000"},
    };
    struct client_properties ours = {sizeof fixed / sizeof *fixed, fixed};
    rd_kafka_conf_t *conf = client_conf(properties, &ours, e);
    if (!conf)
        return -1;
    rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
    rd_kafka_conf_set_opaque(conf, r);
    r->producer = client_create(RD_KAFKA_PRODUCER, conf, e);
    if (!r->producer)
        return -1;
    rd_kafka_error_t *error = rd_kafka_init_transactions(r->producer, CALL_MS);
    return error ? fail(r, error, "transactions cannot begin", e) : 0;
}

int requeue_create(const struct requeue_options *options, struct requeue **out, struct error *e)
{
    struct requeue *r = calloc(1, sizeof *r);
    if (!r)
        return error_set(e, ERROR_RESTART, "out of memory");
    r->position_topic = options->position_topic;
    snprintf(r->group, sizeof r->group, "%s-requeue", options->group);
    if (create_producer(r, &options->properties, e) || read_position(r, &options->properties, e)) {
        requeue_destroy(r);
        return -1;
    }
    *out = r;
    return 0;
}

void requeue_destroy(struct requeue *requeue)
{
    if (!requeue)
        return;
    if (requeue->producer)
        rd_kafka_destroy(requeue->producer);
    free(requeue);
}

struct requeue_position requeue_last(const struct requeue *requeue)
{
    return requeue->last;
}

static rd_kafka_headers_t *make_headers(const struct requeue_original *original, int64_t request)
{
    char partition[16], offset[24], id[24];
    rd_kafka_headers_t *headers =
        original->headers ? rd_kafka_headers_copy(original->headers) : rd_kafka_headers_new(4);
    snprintf(partition, sizeof partition, "%" PRId32, original->partition);
    snprintf(offset, sizeof offset, "%" PRId64, original->offset);
    snprintf(id, sizeof id, "%" PRId64, request);
    const char *pairs[][2] = {{"settled_requeued_topic", original->topic},
                              {"settled_requeued_partition", partition},
                              {"settled_requeued_offset", offset},
                              {"settled_requeued_request", id}};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        rd_kafka_header_remove(headers, pairs[i][0]); // of an earlier time
        rd_kafka_header_add(headers, pairs[i][0], -1, pairs[i][1], -1);
    }
    return headers;
}

// A transaction that has failed drops its records, and does not tell them why.
static rd_kafka_resp_err_t await_delivery(struct requeue *r)
{
    int64_t until = clock_monotonic_ms() + CALL_MS;
    rd_kafka_resp_err_t failed = RD_KAFKA_RESP_ERR_NO_ERROR;
    while (!r->delivered && !failed && clock_monotonic_ms() < until) {
        rd_kafka_flush(r->producer, SLICE_MS);
        failed = client_transaction_trouble(r->producer);
    }
    if (failed)
        return failed;
    return r->delivered ? r->delivery : RD_KAFKA_RESP_ERR__TIMED_OUT;
}

// Produces and waits for the broker's answer: its offset goes into the position.
static int produce(struct requeue *r, const struct requeue_order *order, struct error *e)
{
    const struct requeue_original *original = &order->original;
    rd_kafka_headers_t *headers = make_headers(original, order->request);
    r->delivered = false;
    rd_kafka_resp_err_t code = rd_kafka_producev(
        r->producer, RD_KAFKA_V_TOPIC(original->topic), RD_KAFKA_V_PARTITION(order->partition),
        RD_KAFKA_V_KEY((void *)(uintptr_t)original->key.data, original->key.size),
        RD_KAFKA_V_VALUE((void *)(uintptr_t)original->value.data, original->value.size),
        RD_KAFKA_V_TIMESTAMP(order->timestamp_ms), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
        RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_END);
    if (code)
        rd_kafka_headers_destroy(headers);
    else
        code = await_delivery(r);
    if (!code)
        return 0;
    const struct refusal_call call = {.topic = original->topic, .operations = REFUSAL_WRITE};
    error_set(e, ERROR_UNAVAILABLE, "Kafka: the record cannot be written to %s: %s; run it again",
              original->topic, rd_kafka_err2str(code));
    (void)refusal_explain(r->producer, code, &call, e);
    return -1;
}

static int send_position(struct requeue *r, const struct requeue_position *position,
                         struct error *e)
{
    char metadata[METADATA_SIZE];
    int size = snprintf(metadata, sizeof metadata, "%" PRId64 " %" PRId32 " %" PRId64,
                        position->from, position->partition, position->offset);
    assert((size_t)size < sizeof metadata); // or the next program could not read it
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_t *at = rd_kafka_topic_partition_list_add(list, r->position_topic, 0);
    at->offset = position->request;
    at->metadata = strdup(metadata); // the list frees it
    at->metadata_size = at->metadata ? strlen(metadata) : 0;
    rd_kafka_consumer_group_metadata_t *group = rd_kafka_consumer_group_metadata_new(r->group);
    rd_kafka_error_t *error =
        rd_kafka_send_offsets_to_transaction(r->producer, list, group, CALL_MS);
    rd_kafka_consumer_group_metadata_destroy(group);
    rd_kafka_topic_partition_list_destroy(list);
    return error ? fail(r, error, "the position cannot be written", e) : 0;
}

static int commit(struct requeue *r, struct error *e)
{
    rd_kafka_error_t *error = rd_kafka_commit_transaction(r->producer, CALL_MS);
    if (error && rd_kafka_error_is_retriable(error)) {
        rd_kafka_error_destroy(error);
        error = rd_kafka_commit_transaction(r->producer, CALL_MS);
    }
    return error ? fail(r, error, "the transaction is not committed", e) : 0;
}

int requeue_send(struct requeue *r, const struct requeue_order *order,
                 struct requeue_position *sent, struct error *e)
{
    rd_kafka_error_t *error = rd_kafka_begin_transaction(r->producer);
    if (error)
        return fail(r, error, "a transaction cannot begin", e);
    int status = produce(r, order, e);
    *sent = (struct requeue_position){order->request, order->original.offset, order->partition,
                                      r->offset};
    fault_point(requeue_produced);
    if (status == 0)
        assert(r->delivered); // the position is only sent for a record that is in the log
    if (status == 0)
        status = send_position(r, sent, e);
    fault_point(requeue_positioned);
    if (status == 0)
        status = commit(r, e);
    fault_point(requeue_committed);
    if (status == 0) {
        r->last = *sent;
        return 0;
    }
    // If the abort fails, the next init_transactions undoes the transaction; so the failure changes
    // nothing.
    error = rd_kafka_abort_transaction(r->producer, CALL_MS);
    if (error)
        rd_kafka_error_destroy(error);
    return -1;
}
