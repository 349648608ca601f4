#include "consumer/relay/publisher.h"

#include "consumer/kafka/admin.h"
#include "consumer/kafka/framing.h"
#include "consumer/kafka/refusal.h"
#include "consumer/relay/sent_requests.h"
#include "consumer/system/clock.h"
#include "consumer/system/fault.h"
#include "consumer/system/thread.h"

#include "pricing/calendar.h"

#include <assert.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    SLICE_MS = 250, // the longest time for which a call of librdkafka does not notice `stop`
    PATIENCE_MS = 30000, // for a commit or an abort; its outcome is unknown afterwards
    INIT_MS = 2000, // then it says why; init_transactions goes on in the background and is resumed
    OFFSETS_MS = 10000, // for send_offsets_to_transaction, which cannot be resumed
    GRACE_MS = 1000, // the same once `stop` is set
    SLOW_MS = 5000, // what takes so long is told of while it goes on
    ADMIN_MS = 2000, // to ask why a topic takes no rows
    HEADER_COUNT = 6,
    CE_SOURCE_SIZE = 320,
};

struct publisher {
    const struct publisher_options *options;
    int32_t shard;
    const atomic_bool *stop;
    rd_kafka_t *producer;
    rd_kafka_topic_t *topics[OUTPUT_COUNT];
    struct sent_requests requests;
    char ce_source[CE_SOURCE_SIZE];
    char ce_types[OUTPUT_COUNT][64];
    bool alone; // each row is in a batch of its own
    bool acknowledged; // every row of the transaction
    bool written[OUTPUT_COUNT]; // topics that it has rows for
    struct publisher_news news;
    struct error slow; // that was told of in the transaction; kind ERROR_NONE: nothing was
    // A call that may hang, on a thread of its own
    pthread_mutex_t lock; // of calling, orphaned, outcome
    pthread_cond_t returned;
    bool calling, orphaned;
    rd_kafka_error_t *outcome;
    char *frame; // a row's value with its framing
    size_t frame_size;
    // The first delivery since publisher_begin that failed for a reason of its own.
    rd_kafka_resp_err_t refusal;
    int64_t refused_sequence;
    size_t refused_size;
    char refused_topic[256];
};

const char *relay_group(const char *group, char out[RELAY_GROUP_SIZE])
{
    snprintf(out, RELAY_GROUP_SIZE, "%s-relay", group);
    return out;
}

void position_format(int64_t n, const uint8_t hash[32], char out[POSITION_TEXT_SIZE])
{
    int used = snprintf(out, POSITION_TEXT_SIZE, "1 %" PRId64 " ", n);
    for (int i = 0; i < 32; i++, used += 2)
        snprintf(out + used, (size_t)(POSITION_TEXT_SIZE - used), "%02x", hash[i]);
    assert(used < POSITION_TEXT_SIZE); // a hash that is cut off would be refused as another's
}

bool position_parse(const char *text, size_t size, int64_t *n, uint8_t hash[32])
{
    char copy[POSITION_TEXT_SIZE], again[POSITION_TEXT_SIZE];
    if (size >= sizeof copy)
        return false;
    memcpy(copy, text, size);
    copy[size] = '\0';
    if (strncmp(copy, "1 ", 2) != 0)
        return false;
    char *end = NULL;
    *n = strtoll(copy + 2, &end, 10);
    if (*end != ' ' || strlen(end + 1) != 64)
        return false;
    for (size_t i = 0; i < 32; i++) {
        const char pair[3] = {end[1 + 2 * i], end[2 + 2 * i], '\0'};
        hash[i] = (uint8_t)strtoul(pair, NULL, 16);
    }
    position_format(*n, hash, again); // a text that we would not have written is not ours
    return strcmp(copy, again) == 0;
}

// A wait for brokers, which is told of when it lasts.
struct patience {
    const char *what;
    int64_t until_ms;
    bool rows; // it is for the topics to acknowledge rows
    int64_t tell_at; // that it lasts
};

static struct patience have_patience(const char *what, int64_t ms)
{
    int64_t now = clock_monotonic_ms();
    return (struct patience){.what = what, .until_ms = now + ms, .tell_at = now + SLOW_MS};
}

// Why no rows are acknowledged, if that can be found out.
static bool explain_unwritten(const struct publisher *p, struct error *e)
{
    struct admin *admin = NULL;
    struct error ignored;
    bool found = false;
    if (admin_create(&p->options->properties, ADMIN_MS, &admin, &ignored))
        return false;
    for (enum output o = 0; o < OUTPUT_COUNT && !found && !atomic_load(p->stop); o++)
        found = p->written[o] && admin_explain_unwritten(admin, p->options->topics[o], p->shard, e);
    admin_destroy(admin);
    return found;
}

static void tell_slow(struct publisher *p, const struct patience *wait)
{
    struct error cause = {0};
    if (wait->rows && explain_unwritten(p, &cause))
        error_set(&p->slow, cause.kind, "shard %" PRId32 ": %.900s", p->shard, cause.text);
    else
        error_set(&p->slow, ERROR_UNAVAILABLE,
                  "shard %" PRId32
                  ": %s for more than %d s: look at the brokers, and at partitions "
                  "without a leader or with fewer replicas in sync than min.insync.replicas",
                  p->shard, wait->what, SLOW_MS / 1000);
    if (p->news.tell)
        p->news.tell(p->news.context, &p->slow);
}

static bool may_wait(struct publisher *p, struct patience *wait)
{
    if (clock_monotonic_ms() >= wait->tell_at && !atomic_load(p->stop)) {
        tell_slow(p, wait); // the reason may show later only
        wait->tell_at = clock_monotonic_ms() + SLOW_MS;
    }
    return !atomic_load(p->stop) && clock_monotonic_ms() < wait->until_ms;
}

// The first failure is kept. A message that an abort purged was not refused itself.
static void on_delivery(rd_kafka_t *producer, const rd_kafka_message_t *message, void *opaque)
{
    struct publisher *p = opaque;
    (void)producer;
    bool purged = message->err == RD_KAFKA_RESP_ERR__PURGE_QUEUE ||
                  message->err == RD_KAFKA_RESP_ERR__PURGE_INFLIGHT;
    if (!message->err || purged || p->refusal)
        return;
    p->refusal = message->err;
    p->refused_sequence = (int64_t)(intptr_t)message->_private;
    p->refused_size = message->len + message->key_len;
    snprintf(p->refused_topic, sizeof p->refused_topic, "%s", rd_kafka_topic_name(message->rkt));
}

static int open_producer(struct publisher *p, struct error *e)
{
    static const char *defaults[][2] = {
        {"compression.type", "lz4"},
        // The broker answers CONCURRENT_TRANSACTIONS while it still writes the markers of the one
        // before.
        {"retry.backoff.ms", "10"},
        {"linger.ms", "5"},
        // below the topics' default of max.message.bytes, which counts whole batches
        {"batch.size", "900000"},
        // a single row: the topic decides what is too large, not the client
        {"message.max.bytes", "16000000"},
    };
    char id[RELAY_GROUP_SIZE + 16], group[RELAY_GROUP_SIZE];
    snprintf(id, sizeof id, "%s-%" PRId32, relay_group(p->options->group, group), p->shard);
    const char *fixed[][2] = {
        {"transactional.id", id},
        {"enable.idempotence", "true"},
        // Where only errors were reported, a flush would look every 10 ms whether all is sent.
        {"delivery.report.only.error", "false"},
        {"allow.auto.create.topics", "false"},
        {"client.id", id},
        {"batch.num.messages", p->alone ? "1" : "10000"},
    };
    const struct client_properties ours = {sizeof defaults / sizeof defaults[0], defaults};
    rd_kafka_conf_t *conf = client_conf(&ours, &p->options->properties, e);
    if (!conf)
        return -1;
    char why[512];
    for (size_t i = 0; i < sizeof fixed / sizeof fixed[0]; i++) {
        if (rd_kafka_conf_set(conf, fixed[i][0], fixed[i][1], why, sizeof why) == RD_KAFKA_CONF_OK)
            continue;
        rd_kafka_conf_destroy(conf);
        return error_set(e, ERROR_CONFIG, "librdkafka refuses %s = %s: %s", fixed[i][0],
                         fixed[i][1], why);
    }
    rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
    rd_kafka_conf_set_opaque(conf, p);
    sent_requests_watch(conf, &p->requests);
    p->producer = client_create(RD_KAFKA_PRODUCER, conf, e);
    return p->producer ? 0 : -1;
}

int publisher_create(const struct publisher_options *options, int32_t shard, bool alone,
                     const atomic_bool *stop, struct publisher **out, struct error *e)
{
    struct publisher *p = calloc(1, sizeof *p);
    if (!p)
        return error_set(e, ERROR_UNAVAILABLE, "memory is short");
    p->options = options;
    p->shard = shard;
    p->stop = stop;
    p->alone = alone;
    pthread_mutex_init(&p->lock, NULL);
    thread_init_condition(&p->returned);
    snprintf(p->ce_source, sizeof p->ce_source, "/settled/%s/%" PRId32, options->group, shard);
    if (open_producer(p, e) != 0) {
        publisher_destroy(p);
        return -1;
    }
    for (int i = 0; i < OUTPUT_COUNT; i++) {
        snprintf(p->ce_types[i], sizeof p->ce_types[i], "settled.%s.v1",
                 record_name_of_output((enum output)i));
        p->topics[i] = rd_kafka_topic_new(p->producer, options->topics[i], NULL);
        if (p->topics[i])
            continue;
        publisher_destroy(p);
        return error_set(e, ERROR_CONFIG,
                         "%s is not a topic name; mend topics in the configuration",
                         options->topics[i]);
    }
    *out = p;
    return 0;
}

static void release(struct publisher *p)
{
    assert(!p->calling);
    for (int i = 0; i < OUTPUT_COUNT; i++)
        if (p->topics[i])
            rd_kafka_topic_destroy(p->topics[i]);
    if (p->producer) {
        // What is still queued belongs to a transaction that nobody will commit.
        rd_kafka_purge(p->producer, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT |
                                        RD_KAFKA_PURGE_F_NON_BLOCKING);
        rd_kafka_destroy(p->producer);
    }
    pthread_cond_destroy(&p->returned);
    pthread_mutex_destroy(&p->lock);
    free(p->frame);
    free(p);
}

void publisher_destroy(struct publisher *p)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    // then the thread of the call releases it, once the call returns
    bool orphaned = p->orphaned = p->calling;
    pthread_mutex_unlock(&p->lock);
    if (!orphaned)
        release(p);
}

void publisher_tell(struct publisher *p, struct publisher_news news)
{
    p->news = news;
}

void publisher_poll(struct publisher *p)
{
    rd_kafka_poll(p->producer, 0);
}

// The only topic that the transaction writes to. NULL: there are several, and Kafka does not say
// which of them refuses.
static const char *only_topic(const struct publisher *p)
{
    const char *found = NULL;
    for (int o = 0; o < OUTPUT_COUNT; o++) {
        if (p->written[o] && found)
            return NULL;
        if (p->written[o])
            found = p->options->topics[o];
    }
    return found;
}

static void explain(const struct publisher *p, rd_kafka_resp_err_t code, const char *topic,
                    struct error *e)
{
    char id[RELAY_GROUP_SIZE + 16], group[RELAY_GROUP_SIZE];
    snprintf(id, sizeof id, "%s-", relay_group(p->options->group, group));
    // Once the rows are written, only the position is left, which names a topic that must be read.
    struct refusal_call call = {.topic = topic,
                                .operations = REFUSAL_WRITE,
                                .group = group,
                                .transactional_id = id,
                                .prefix = true};
    if (p->acknowledged) {
        call.topic = p->options->topics[OUTPUT_SETTLEMENTS];
        call.operations = REFUSAL_READ;
    }
    if (!refusal_explain(p->producer, code, &call, e) && refusal_of_permission(code))
        error_set(e, ERROR_CONFIG,
                  "shard %" PRId32 ": an output topic may not be written to by this user: settled "
                  "check names it, and the command that grants it",
                  p->shard);
}

// Takes the error. The text becomes "WHAT: librdkafka's words".
static enum publish_result take_error(struct publisher *p, rd_kafka_error_t *error,
                                      const char *what, enum publish_result otherwise,
                                      struct error *e)
{
    bool fatal = rd_kafka_error_is_fatal(error);
    error_set(e, ERROR_UNAVAILABLE, "shard %" PRId32 ": %s: %s (%s)", p->shard, what,
              rd_kafka_error_string(error), rd_kafka_error_name(error));
    explain(p, rd_kafka_error_code(error), only_topic(p), e);
    rd_kafka_error_destroy(error);
    return fatal ? PUBLISH_FENCED : otherwise;
}

// Calls again while librdkafka says that the operation goes on in the background.
static rd_kafka_error_t *resume(struct publisher *p, rd_kafka_error_t *(*call)(rd_kafka_t *, int),
                                struct patience wait)
{
    for (;;) {
        rd_kafka_error_t *error = call(p->producer, SLICE_MS);
        if (!error || !rd_kafka_error_is_retriable(error) || !may_wait(p, &wait))
            return error;
        rd_kafka_error_destroy(error);
        // Some retriable answers come at once.
        rd_kafka_poll(p->producer, 10);
    }
}

enum publish_result publisher_init(struct publisher *p, struct error *e)
{
    fault_point(init_before);
    rd_kafka_error_t *error =
        resume(p, rd_kafka_init_transactions, have_patience("beginning to publish takes", INIT_MS));
    fault_point(init_after);
    if (!error)
        return PUBLISH_OK;
    bool resumable = rd_kafka_error_is_retriable(error);
    bool unfinished = rd_kafka_error_code(error) == RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS;
    const char *what =
        unfinished
            ? "cannot begin to publish, since the coordinator has not finished the transaction "
              "before (one of its partitions may have no leader)"
            : "cannot begin to publish";
    return take_error(p, error, what, resumable ? PUBLISH_WAITING : PUBLISH_BROKEN, e);
}

static enum publish_result refused(const struct publisher *p, struct error *e)
{
    error_set(e, ERROR_UNAVAILABLE,
              "topic %s partition %" PRId32 " refuses row %" PRId64 " of %zu bytes: %s",
              p->refused_topic, p->shard, p->refused_sequence, p->refused_size,
              rd_kafka_err2str(p->refusal));
    explain(p, p->refusal, p->refused_topic, e);
    if (p->refusal != RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE)
        return PUBLISH_ABORTED;
    if (!p->alone)
        return PUBLISH_SPLIT;
    size_t limit = p->refused_size + 4096; // the batch's and the record's own headers count as well
    error_set(e, ERROR_CONFIG,
              "topic %s partition %" PRId32 " refuses row %" PRId64
              " of settled.outbox, %zu bytes, as too large: run settled topics apply, which sets "
              "max.message.bytes (at least %zu is needed here; declare more where that is not "
              "enough), and restart; nothing of the shard is published until then",
              p->refused_topic, p->shard, p->refused_sequence, p->refused_size, limit);
    return PUBLISH_IMPOSSIBLE;
}

// Ends the transaction so that nothing of it is ever seen. *e keeps the reason; if a delivery was
// refused, its reason is taken instead, as it says more.
static enum publish_result give_up(struct publisher *p, struct error *e)
{
    struct error why;
    rd_kafka_error_t *error = resume(p, rd_kafka_abort_transaction,
                                     have_patience("aborting a transaction takes", PATIENCE_MS));
    if (error) {
        enum publish_result result =
            take_error(p, error, "cannot abort a transaction", PUBLISH_BROKEN, &why);
        // Whatever happens to the producer: a reason that a new producer would meet again must be
        // reported, and ends the attempt.
        enum publish_result refusal = p->refusal ? refused(p, e) : PUBLISH_OK;
        if (refusal == PUBLISH_IMPOSSIBLE || refusal == PUBLISH_SPLIT)
            return refusal;
        return result;
    }
    return p->refusal ? refused(p, e) : PUBLISH_ABORTED;
}

static rd_kafka_vu_t header(const char *name, const char *value)
{
    return (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_HEADER,
                           .u.header = {name, value, (ssize_t)strlen(value)}};
}

// Its value is in p->frame, of this size.
static size_t frame(struct publisher *p, const struct outbox_row *row)
{
    const struct output_framing *framing = &p->options->framing;
    size_t head = framing_size(framing->framing), size = head + row->body.size;
    if (size > p->frame_size) {
        p->frame = realloc(p->frame, size);
        if (!p->frame)
            abort();
        p->frame_size = size;
    }
    framing_put(framing->framing, framing->schema_ids[row->output], p->frame);
    memcpy(p->frame + head, row->body.data, row->body.size);
    return size;
}

static rd_kafka_error_t *send_row(struct publisher *p, const struct outbox_row *row)
{
    char time[INSTANT_TEXT_SIZE];
    calendar_format_instant(row->ce_time, 0, time);
    size_t size = frame(p, row);
    rd_kafka_vu_t parts[] = {
        {.vtype = RD_KAFKA_VTYPE_RKT, .u.rkt = p->topics[row->output]},
        {.vtype = RD_KAFKA_VTYPE_PARTITION, .u.i32 = p->shard},
        {.vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = RD_KAFKA_MSG_F_COPY},
        {.vtype = RD_KAFKA_VTYPE_KEY, .u.mem = {(void *)(uintptr_t)row->key.data, row->key.size}},
        {.vtype = RD_KAFKA_VTYPE_VALUE, .u.mem = {p->frame, size}},
        {.vtype = RD_KAFKA_VTYPE_OPAQUE, .u.ptr = (void *)(intptr_t)row->sequence},
        header("ce_specversion", "1.0"),
        header("ce_id", row->ce_id),
        header("ce_source", p->ce_source),
        header("ce_type", p->ce_types[row->output]),
        header("ce_time", time),
        header("content-type", "application/avro"),
    };
    return rd_kafka_produceva(p->producer, parts, sizeof parts / sizeof parts[0]);
}

// Queues one row, waiting while the queue is full.
static rd_kafka_error_t *queue_row(struct publisher *p, const struct outbox_row *row)
{
    struct patience wait = have_patience("rows wait to be queued", PATIENCE_MS);
    rd_kafka_error_t *error;
    wait.rows = true;
    while ((error = send_row(p, row)) &&
           rd_kafka_error_code(error) == RD_KAFKA_RESP_ERR__QUEUE_FULL && may_wait(p, &wait)) {
        rd_kafka_error_destroy(error);
        rd_kafka_poll(p->producer, 50);
    }
    return error;
}

static enum publish_result refuse_row(struct publisher *p, const struct outbox_row *row,
                                      rd_kafka_error_t *error, struct error *e)
{
    rd_kafka_resp_err_t code = rd_kafka_error_code(error);
    // beyond the client's own message.max.bytes
    if (code == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE && !p->refusal) {
        p->refusal = code;
        p->refused_sequence = row->sequence;
        p->refused_size =
            row->key.size + row->body.size + framing_size(p->options->framing.framing);
        snprintf(p->refused_topic, sizeof p->refused_topic, "%s", p->options->topics[row->output]);
    }
    enum publish_result result = take_error(p, error, "cannot queue a row", PUBLISH_ABORTED, e);
    return result == PUBLISH_FENCED ? result : give_up(p, e);
}

enum publish_result publisher_begin(struct publisher *p, const struct outbox_row *const *rows,
                                    size_t count, struct error *e)
{
    assert(count > 0);
    assert(!p->calling);
    p->refusal = RD_KAFKA_RESP_ERR_NO_ERROR;
    p->acknowledged = false;
    p->slow = (struct error){0};
    memset(p->written, 0, sizeof p->written);
    rd_kafka_error_t *error = rd_kafka_begin_transaction(p->producer);
    if (error)
        return take_error(p, error, "cannot begin a transaction", PUBLISH_BROKEN, e);
    fault_point(produce_before);
    for (size_t i = 0; i < count; i++) {
        assert(i == 0 || rows[i - 1]->sequence < rows[i]->sequence); // I3
        p->written[rows[i]->output] = true;
        error = queue_row(p, rows[i]);
        fault_point(row_produced);
        if (error)
            return refuse_row(p, rows[i], error, e);
        if (p->refusal)
            return give_up(p, e);
    }
    fault_point(produce_after);
    return PUBLISH_OK;
}

enum publish_result publisher_flush(struct publisher *p, struct error *e)
{
    struct patience wait = have_patience("rows wait to be acknowledged", PATIENCE_MS);
    rd_kafka_resp_err_t failed = RD_KAFKA_RESP_ERR_NO_ERROR;
    wait.rows = true;
    while (!p->acknowledged && !p->refusal && !failed && may_wait(p, &wait)) {
        p->acknowledged = rd_kafka_flush(p->producer, SLICE_MS) == RD_KAFKA_RESP_ERR_NO_ERROR;
        // Then the queue is empty, because the rows were dropped.
        failed = client_transaction_trouble(p->producer);
    }
    fault_point(rows_acknowledged);
    if (p->acknowledged && !p->refusal && !failed)
        return PUBLISH_OK;
    p->acknowledged = false;
    error_set(e, ERROR_UNAVAILABLE, "shard %" PRId32 ": the output topics do not take rows: %s",
              p->shard, failed ? rd_kafka_err2str(failed) : "they were not acknowledged in time");
    explain(p, failed, only_topic(p), e);
    if (!failed && p->slow.kind != ERROR_NONE)
        *e = p->slow;
    return give_up(p, e);
}

struct position_call {
    struct publisher *publisher;
    rd_kafka_topic_partition_list_t *list;
    rd_kafka_consumer_group_metadata_t *group;
};

static void *call_send_offsets(void *context)
{
    struct position_call call = *(struct position_call *)context;
    struct publisher *p = call.publisher;
    free(context);
    rd_kafka_error_t *error =
        rd_kafka_send_offsets_to_transaction(p->producer, call.list, call.group, OFFSETS_MS);
    rd_kafka_consumer_group_metadata_destroy(call.group);
    rd_kafka_topic_partition_list_destroy(call.list);
    pthread_mutex_lock(&p->lock);
    p->calling = false;
    p->outcome = error;
    bool orphaned = p->orphaned;
    pthread_cond_signal(&p->returned);
    pthread_mutex_unlock(&p->lock);
    if (!orphaned)
        return NULL;
    if (error)
        rd_kafka_error_destroy(error);
    release(p);
    return NULL;
}

static struct position_call *position_call(struct publisher *p, int64_t last,
                                           const uint8_t hash[32])
{
    char text[POSITION_TEXT_SIZE], group[RELAY_GROUP_SIZE];
    struct position_call *call = malloc(sizeof *call);
    if (!call)
        abort();
    call->publisher = p;
    call->group = rd_kafka_consumer_group_metadata_new(relay_group(p->options->group, group));
    call->list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_t *at = rd_kafka_topic_partition_list_add(
        call->list, p->options->topics[OUTPUT_SETTLEMENTS], p->shard);
    position_format(last, hash, text);
    at->offset = last;
    at->metadata_size = strlen(text);
    at->metadata = strdup(text); // owned by the list
    if (!at->metadata)
        abort();
    return call;
}

// False: the call still hangs. librdkafka 2.0.2 sends the requests of send_offsets_to_transaction
// again and again while the broker does not answer, whatever time-out it is given, and offers no
// way to end that from another thread.
static bool send_position(struct publisher *p, int64_t last, const uint8_t hash[32],
                          rd_kafka_error_t **error)
{
    pthread_t thread;
    p->calling = true;
    if (pthread_create(&thread, NULL, call_send_offsets, position_call(p, last, hash)) != 0)
        abort();
    pthread_detach(thread);
    int64_t until = clock_monotonic_ms() + OFFSETS_MS + GRACE_MS, slice;
    struct patience wait = have_patience("the position waits to be acknowledged", INT32_MAX);
    pthread_mutex_lock(&p->lock);
    while (p->calling && (slice = clock_monotonic_ms()) < until) {
        if (atomic_load(p->stop) && until > slice + GRACE_MS)
            until = slice + GRACE_MS;
        slice += SLICE_MS;
        const struct timespec when = {slice / 1000, slice % 1000 * 1000000};
        pthread_cond_timedwait(&p->returned, &p->lock, &when);
        pthread_mutex_unlock(&p->lock);
        (void)may_wait(p, &wait); // tells of it
        pthread_mutex_lock(&p->lock);
    }
    bool done = !p->calling;
    *error = done ? p->outcome : NULL;
    pthread_mutex_unlock(&p->lock);
    return done;
}

enum publish_result publisher_commit(struct publisher *p, int64_t last, const uint8_t hash[32],
                                     struct error *e)
{
    rd_kafka_error_t *error;
    assert(p->acknowledged); // rows first
    assert(!p->refusal);
    assert(!p->calling);
    assert(last > 0);
    fault_point(offsets_before);
    if (!send_position(p, last, hash, &error)) {
        error_set(e, ERROR_UNAVAILABLE,
                  "shard %" PRId32 ": a broker does not answer: sending the position hangs",
                  p->shard);
        return PUBLISH_BROKEN;
    }
    if (error) {
        enum publish_result result =
            take_error(p, error, "cannot send the position", PUBLISH_ABORTED, e);
        return result == PUBLISH_FENCED ? result : give_up(p, e);
    }
    fault_point(transaction_end_before);
    error = resume(p, rd_kafka_commit_transaction,
                   have_patience("committing a transaction takes", PATIENCE_MS));
    fault_point(transaction_end_after);
    if (!error)
        return PUBLISH_OK;
    bool abortable = rd_kafka_error_txn_requires_abort(error);
    enum publish_result result =
        take_error(p, error, "cannot commit a transaction", PUBLISH_BROKEN, e);
    return abortable && result != PUBLISH_FENCED ? give_up(p, e) : result;
}

bool publisher_is_spent(const struct publisher *p)
{
    return !sent_requests_all_answered(&p->requests);
}
