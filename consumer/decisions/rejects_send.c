#include "consumer/decisions/rejects_send.h"

#include "consumer/base/memory.h"
#include "consumer/kafka/fetch_record.h"
#include "consumer/kafka/framing.h"
#include "consumer/kafka/requeue.h"
#include "consumer/output/output_reader.h"
#include "consumer/system/fault.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { READ_TIMEOUT_MS = 10000, KEPT_BYTES_MAX = 64 << 20 };

// A record that can be sent, as it was read. It owns one of the last two.
struct original {
    struct coordinates at;
    struct slice key, value;
    int64_t timestamp;
    const rd_kafka_headers_t *headers;
    const char *detail; // of its reject, where it was read from there
    rd_kafka_message_t *message;
    char *bytes;
};

// What the topic of rejects has of one log, from an offset on, below another.
struct found_rejects {
    enum input input;
    int32_t partition;
    int64_t from, to;
    size_t count, capacity, bytes;
    struct original *list;
};

struct sender {
    struct rejects *r;
    struct client_properties properties;
    const char *pairs[CONFIG_PAIRS_MAX][2];
    struct record_fetcher *peek;
    struct requeue *requeue;
    struct output_reader *form; // of rejects
    // What was read and is not sent yet, in the order in which it was asked for: a record beyond
    // the bound is read once more when it is sent.
    size_t kept_count, kept_capacity, kept_bytes;
    struct original *kept;
    struct found_rejects found;
};

static const char *topic_sent_to(const struct sender *s, enum input input)
{
    return s->r->recorded->topics[input];
}

static void release_original(struct original *original)
{
    if (original->message)
        rd_kafka_message_destroy(original->message);
    free(original->bytes);
    *original = (struct original){0};
}

// ---- reading ----

static int read_input(struct sender *s, struct coordinates at, struct original *out,
                      struct error *e)
{
    const struct record_coordinates there = {topic_sent_to(s, at.input), at.partition, at.offset};
    rd_kafka_headers_t *headers = NULL;
    rd_kafka_message_t *m;
    if (fetch_record_at(s->peek, there, READ_TIMEOUT_MS, &m, e))
        return -1;
    if (rd_kafka_message_headers(m, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR)
        headers = NULL;
    *out = (struct original){.at = at,
                             .key = {m->key, m->key_len},
                             .value = {m->payload, m->len},
                             .timestamp = rd_kafka_message_timestamp(m, NULL),
                             .headers = headers,
                             .message = m};
    return 0;
}

static void clear_found(struct found_rejects *found)
{
    for (size_t i = 0; i < found->count; i++)
        release_original(&found->list[i]);
    found->count = found->bytes = 0;
}

static struct original copy_of(const struct original *original)
{
    size_t size = original->key.size + original->value.size;
    struct original copy = *original;
    copy.bytes = memcpy(memory_grow(NULL, size + 1, 1), original->bytes, size);
    if (copy.key.data)
        copy.key.data = copy.bytes;
    copy.value.data = copy.bytes + copy.key.size;
    copy.detail = NULL;
    return copy;
}

static void add_found(struct found_rejects *found, const struct rejected_record *record)
{
    size_t key = record->key.size, value = record->value.size;
    char *bytes = memory_grow(NULL, key + value + record->detail.size + 1, 1);
    char *end = bytes;
    const struct slice parts[] = {record->key, record->value, record->detail};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (parts[i].data)
            memcpy(end, parts[i].data, parts[i].size);
        end += parts[i].size;
    }
    *end = '\0';
    found->list = memory_reserve(found->list, found->count, &found->capacity, sizeof *found->list);
    found->list[found->count++] =
        (struct original){.at = {found->input, found->partition, record->offset},
                          .key = {record->key.data ? bytes : NULL, key},
                          .value = {record->value.data ? bytes + key : NULL, value},
                          .timestamp = record->timestamp,
                          .detail = bytes + key + value,
                          .bytes = bytes};
    found->bytes += (size_t)(end - bytes);
}

static int look_at_reject(void *context, const rd_kafka_message_t *message, struct error *e)
{
    struct sender *s = context;
    struct found_rejects *found = &s->found;
    struct rejected_record record;
    struct slice body;
    int64_t id;
    const char *topic = topic_sent_to(s, found->input);
    if (!message || !message->payload ||
        !framing_take_off(s->r->recorded->policy.fixed.framing,
                          (struct slice){message->payload, message->len}, &id, &body))
        return 0;
    if (output_reader_reject(s->form, body, &record, e))
        return error_context(e, "%s/%" PRId32 "/%" PRId64 " is no Reject",
                             s->r->config.output_topics[OUTPUT_REJECTS], message->partition,
                             message->offset);
    if (record.offset < found->from || record.offset >= found->to ||
        record.partition != found->partition || record.topic.size != strlen(topic) ||
        memcmp(record.topic.data, topic, strlen(topic)) != 0)
        return 0;
    // The rejects of a log come in the order of its offsets.
    if (found->bytes > KEPT_BYTES_MAX)
        found->to = record.offset;
    else
        add_found(found, &record);
    return 0;
}

// Reads what the topic of rejects has of a log from an offset on, as much as may be kept.
static int find_rejects(struct sender *s, struct coordinates at, struct error *e)
{
    const char *rejects = s->r->config.output_topics[OUTPUT_REJECTS];
    struct partition_ends ends = {.topic = rejects, .partition = at.partition};
    clear_found(&s->found);
    s->found.input = at.input;
    s->found.partition = at.partition;
    s->found.from = at.offset;
    s->found.to = at.offset; // nothing, until all of it is read
    if (fetch_record_ends(s->peek, &ends, 1, READ_TIMEOUT_MS, e))
        return -1;
    s->found.to = INT64_MAX;
    const struct record_range range = {rejects, at.partition, ends.low, ends.high};
    if (ends.low >= ends.high ||
        fetch_record_range(s->peek, &range, READ_TIMEOUT_MS, look_at_reject, s, e) == 0)
        return 0;
    s->found.to = at.offset;
    return -1;
}

// After an error that says why the input topic does not have it. Its headers are not kept there.
static int read_reject(struct sender *s, struct coordinates at, struct original *out,
                       struct error *e)
{
    const struct error gone = *e;
    struct found_rejects *found = &s->found;
    bool looked_at = found->input == at.input && found->partition == at.partition &&
                     at.offset >= found->from && at.offset < found->to;
    const char *rejects = s->r->config.output_topics[OUTPUT_REJECTS];
    if (!looked_at && find_rejects(s, at, e)) {
        const struct error below = *e;
        return error_set(e, below.kind,
                         "%s; its reject cannot be looked for, which takes Read on %s: %s",
                         gone.text, rejects, below.text);
    }
    for (size_t i = 0; i < found->count; i++) {
        if (found->list[i].at.offset != at.offset)
            continue;
        if (!found->list[i].value.data)
            return error_set(e, ERROR_CONFIG,
                             "%s; its reject has no value, as it had none or was too large (%s): "
                             "let its producer send it again, and accept this one",
                             gone.text, found->list[i].detail);
        *out = copy_of(&found->list[i]);
        return 0;
    }
    return error_set(e, ERROR_CONFIG,
                     "%s; its reject is not in %s/%" PRId32 ": let its producer send it again, and "
                     "accept this one",
                     gone.text, rejects, at.partition);
}

static int read_original(struct sender *s, struct coordinates at, struct original *out,
                         struct error *e)
{
    *out = (struct original){0};
    int status = read_input(s, at, out, e);
    if (status && e->kind == ERROR_CONFIG && !fetch_record_is_forbidden(s->peek))
        status = read_reject(s, at, out, e);
    if (status == 0 && !out->key.data)
        status = error_set(e, ERROR_CONFIG,
                           "%s/%" PRId32 "/%" PRId64
                           " has no key, so it belongs to no partition; let its producer send it "
                           "again, and accept this one",
                           topic_sent_to(s, at.input), at.partition, at.offset);
    if (status)
        release_original(out);
    return status;
}

static void keep_original(struct sender *s, struct original *original)
{
    size_t size = sizeof *original + original->key.size + original->value.size;
    if (s->kept_bytes + size > KEPT_BYTES_MAX) {
        release_original(original);
        return;
    }
    s->kept = memory_reserve(s->kept, s->kept_count, &s->kept_capacity, sizeof *s->kept);
    s->kept[s->kept_count++] = *original;
    s->kept_bytes += size;
}

int sender_check(struct sender *s, struct batch *batch, size_t *left_out, struct error *e)
{
    size_t good = 0;
    for (size_t i = 0; i < batch->count; i++) {
        struct original original;
        const struct coordinates at = {batch->input, batch->partition, batch->offsets[i]};
        if (read_original(s, at, &original, e) == 0) {
            keep_original(s, &original);
            batch->offsets[good++] = at.offset;
            continue;
        }
        if (e->kind != ERROR_CONFIG)
            return -1;
        fprintf(stderr, "settled rejects: %s\n", e->text);
        ++*left_out;
    }
    batch->count = good;
    return 0;
}

// ---- sending ----

static int take_original(struct sender *s, struct coordinates at, struct original *out,
                         struct error *e)
{
    for (size_t i = 0; i < s->kept_count; i++) {
        struct original *kept = &s->kept[i];
        if ((kept->message || kept->bytes) && kept->at.input == at.input &&
            kept->at.partition == at.partition && kept->at.offset == at.offset) {
            *out = *kept;
            *kept = (struct original){0};
            return 0;
        }
    }
    return read_original(s, at, out, e);
}

static int note_sent(struct sender *s, int64_t request, const struct requeue_position *sent,
                     struct error *e)
{
    const struct sent_record record = {sent->from, sent->partition, sent->offset};
    if (rejects_stored(store_record_sent(s->r->store, request, record, e)))
        return -1;
    fault_point(requeue_recorded);
    return 0;
}

static int send_record(struct sender *s, int64_t request, const struct original *original,
                       struct requeue_position *sent, struct error *e)
{
    const struct fixed_parameters *fixed = &s->r->recorded->policy.fixed;
    // If the topic has the producers' timestamps, the record keeps its own: the time by which it is
    // judged must not change.
    const struct requeue_order order = {
        .request = request,
        .original = {topic_sent_to(s, original->at.input), original->at.partition,
                     original->at.offset, original->key, original->value, original->headers},
        .partition = partition_of(fixed->partitioner, original->key.data, original->key.size,
                                  fixed->partitions),
        .timestamp_ms = fixed->timestamps == TIMESTAMPS_CREATE ? original->timestamp : 0};
    assert(order.partition >= 0);
    assert(order.partition < fixed->partitions);
    if (requeue_send(s->requeue, &order, sent, e))
        return -1;
    return note_sent(s, request, sent, e);
}

int sender_send(struct sender *s, const struct batch *batch, struct error *e)
{
    char name[BATCH_NAME_SIZE];
    struct requeue_position sent = {0};
    assert(batch->request > 0);
    for (size_t i = 0; i < batch->count; i++) {
        struct original original;
        const struct coordinates at = {batch->input, batch->partition, batch->offsets[i]};
        if (take_original(s, at, &original, e))
            return -1;
        int status = send_record(s, batch->request, &original, &sent, e);
        release_original(&original);
        if (status)
            return -1;
    }
    batch_name(s->r, batch, name);
    if (batch->count == 1)
        printf("%s: REQUEUE, request %" PRId64 ": sent to %s/%" PRId32 "/%" PRId64 "\n", name,
               batch->request, topic_sent_to(s, batch->input), sent.partition, sent.offset);
    else if (batch->count > 1)
        printf("%s: REQUEUE, request %" PRId64 ": sent again\n", name, batch->request);
    return 0;
}

// ---- what was left half-way ----

struct half_way {
    struct requeue_position last;
    bool last_is_noted;
    struct batches batches;
};

static int collect_half_way(void *context, const struct reject_row *row, struct error *e)
{
    struct half_way *h = context;
    (void)e;
    if (!row->request || row->request_state != REQUEST_SENDING || row->sent)
        return 0;
    // It was sent exactly if Kafka's position names it (requeue.h).
    if (row->request == h->last.request && row->offset == h->last.from)
        h->last_is_noted = false;
    else
        batches_add(&h->batches, (struct coordinates){row->input, row->shard, row->offset},
                    row->request);
    return 0;
}

// What cannot be sent any more must not keep the rest of its request from being decided.
static int complete_batch(struct sender *s, struct batch *batch, size_t *left_out, struct error *e)
{
    size_t count = batch->count, sent = 0;
    int64_t *all = memory_grow(NULL, count, sizeof *all);
    memcpy(all, batch->offsets, count * sizeof *all);
    int status = sender_check(s, batch, left_out, e);
    for (size_t i = 0; i < count && status == 0; i++) {
        if (sent < batch->count && batch->offsets[sent] == all[i])
            sent++;
        else
            status = rejects_stored(store_record_lost(s->r->store, batch->request, all[i], e));
    }
    free(all);
    return status ? status : sender_send(s, batch, e);
}

static int complete(struct sender *s, struct half_way *h, size_t *left_out, struct error *e)
{
    const struct reject_filter all = {.open_only = true};
    if (rejects_stored(store_list_rejects(s->r->store, &all, collect_half_way, h, e)))
        return -1;
    if (!h->last_is_noted && note_sent(s, h->last.request, &h->last, e))
        return -1;
    for (size_t i = 0; i < h->batches.count; i++)
        if (complete_batch(s, &h->batches.list[i], left_out, e))
            return -1;
    return 0;
}

int sender_begin(struct sender *s, size_t *left_out, struct error *e)
{
    const struct requeue_options options = {
        .group = s->r->config.group,
        .position_topic = topic_sent_to(s, INPUT_CALLS),
        .properties = s->properties,
    };
    if (requeue_create(&options, &s->requeue, e))
        return -1;
    struct half_way h = {.last = requeue_last(s->requeue), .last_is_noted = true};
    int status = complete(s, &h, left_out, e);
    batches_free(&h.batches);
    return status;
}

// ---- the whole ----

int sender_open(struct rejects *r, struct sender **out, struct error *e)
{
    struct sender *s = memory_grow(NULL, 1, sizeof *s);
    *s = (struct sender){.r = r};
    *out = s;
    s->properties = config_properties(&r->config, s->pairs);
    if (output_reader_create(OUTPUT_REJECTS, &s->form, e))
        return -1;
    return fetch_record_open(&s->properties, r->config.group, &s->peek, e);
}

void sender_close(struct sender *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->kept_count; i++)
        release_original(&s->kept[i]);
    free(s->kept);
    clear_found(&s->found);
    free(s->found.list);
    requeue_destroy(s->requeue);
    fetch_record_close(s->peek);
    output_reader_destroy(s->form);
    free(s);
}
