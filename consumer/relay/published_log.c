#include "consumer/relay/published_log.h"
#include "consumer/kafka/refusal.h"
#include "consumer/system/clock.h"
#include "consumer/system/log.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    ASK_MS = 3000, // for the ends of the four logs
    PATIENCE_MS = 10000, // until what was asked for is read
    SLICE_MS = 20, // how long one log is waited for before the next gets its turn
    SETTLE_MS = 500, // longer than a fetch waits: what is missing may still be on its way
    WINDOW_FIRST = 64, // offsets before the end at which reading begins; most marks are as near
    WINDOW_GROWTH = 32, // when the mark is not found there
    TAKE_MAX = 20000, // records a turn of one log: the thread has other work
    TOLD_MAX = 20, // strange records that are logged one by one
};
static_assert((int)PUBLISHED_TOPICS == (int)OUTPUT_COUNT, "a row of each output is told apart");

struct published_reader {
    const struct publisher_options *options;
    rd_kafka_t *consumer;
    // Asks for leaders and ends, and fetches nothing. A broker answers the requests of a connection
    // in turn, so behind each fetch of an idle log a question of the consumer waits as long as
    // that.
    rd_kafka_t *asker;
    struct output_reader *forms[OUTPUT_COUNT];
};

// One topic's partition.
struct output_log {
    const char *topic;
    rd_kafka_topic_t *handle;
    // while it is read; each start has a new queue, so that it holds nothing from before
    rd_kafka_queue_t *queue;
    int64_t low, end; // first offset kept; the one after the last stable one, as asked last
    int64_t from, window; // where reading began, so many offsets before the end
    int64_t next; // the offset after what was read last
    bool found_start; // a row at or below the mark, or the log's first record, was read
    bool reaches_mark;
    rd_kafka_message_t *ahead; // a row that is too far ahead of the other logs
};

struct published_log {
    struct published_reader *reader;
    int32_t shard;
    struct published_news news;
    struct output_log logs[OUTPUT_COUNT];
    struct published_strange strange;
    struct published_rows rows;
};

// ---- the client ----

static rd_kafka_t *create_client(const struct publisher_options *options, const char *suffix,
                                 struct error *e)
{
    char id[RELAY_GROUP_SIZE + 16], group[RELAY_GROUP_SIZE];
    snprintf(id, sizeof id, "%s-%s", relay_group(options->group, group), suffix);
    const char *own[][2] = {
        {"client.id", id},
        {"isolation.level", "read_committed"},
        {"enable.partition.eof", "true"},
        {"auto.offset.reset", "error"},
        {"enable.auto.commit", "false"},
        {"enable.auto.offset.store", "false"},
        {"allow.auto.create.topics", "false"},
        // A partition that is added waits for the fetch under way. Shorter fetches would make idle
        // logs expensive.
        {"fetch.wait.max.ms", "100"},
        {"fetch.error.backoff.ms", "10"},
        {"queued.min.messages", "10000"},
        {"queued.max.messages.kbytes", "16384"},
    };
    const struct client_properties ours = {sizeof own / sizeof *own, own};
    rd_kafka_conf_t *conf = client_conf(&options->properties, &ours, e);
    return conf ? client_create(RD_KAFKA_CONSUMER, conf, e) : NULL;
}

int published_reader_create(const struct publisher_options *options, struct published_reader **out,
                            struct error *e)
{
    struct published_reader *reader = calloc(1, sizeof *reader);
    if (!reader)
        return error_set(e, ERROR_RESTART, "memory is short");
    reader->options = options;
    bool failed = false;
    for (enum output o = 0; o < OUTPUT_COUNT && !failed; o++)
        failed = output_reader_create(o, &reader->forms[o], e) != 0;
    if (!failed)
        reader->consumer = create_client(options, "reader", e);
    if (reader->consumer)
        reader->asker = create_client(options, "asker", e);
    if (!reader->asker) {
        published_reader_destroy(reader);
        return -1;
    }
    *out = reader;
    return 0;
}

void published_reader_destroy(struct published_reader *reader)
{
    if (!reader)
        return;
    if (reader->asker)
        client_destroy_reader(reader->asker);
    if (reader->consumer)
        client_destroy_reader(reader->consumer);
    for (int o = 0; o < OUTPUT_COUNT; o++)
        output_reader_destroy(reader->forms[o]);
    free(reader);
}

// ---- starting and stopping a log ----

static void on_event(rd_kafka_t *consumer, void *context)
{
    const struct published_log *log = context;
    (void)consumer;
    log->news.tell(log->news.context);
}

static void stop_log(struct published_log *log, struct output_log *t)
{
    if (t->ahead)
        rd_kafka_message_destroy(t->ahead);
    t->ahead = NULL;
    if (!t->queue)
        return;
    rd_kafka_queue_cb_event_enable(t->queue, NULL, NULL);
    rd_kafka_consume_stop(t->handle, log->shard);
    rd_kafka_queue_destroy(t->queue);
    t->queue = NULL;
}

// From `window` offsets before the end on.
static int start_log(struct published_log *log, struct output_log *t, int64_t window,
                     struct error *e)
{
    stop_log(log, t);
    assert(window > 0);
    t->window = window;
    t->from = t->end - window > t->low ? t->end - window : t->low;
    t->next = t->from;
    t->found_start = t->reaches_mark = false;
    t->queue = rd_kafka_queue_new(log->reader->consumer);
    rd_kafka_queue_cb_event_enable(t->queue, on_event, log);
    if (rd_kafka_consume_start_queue(t->handle, log->shard, t->from, t->queue) == 0)
        return 0;
    rd_kafka_queue_destroy(t->queue);
    t->queue = NULL;
    return error_set(e, ERROR_UNAVAILABLE, "shard %" PRId32 ": topic %s cannot be read: %s",
                     log->shard, t->topic, rd_kafka_err2str(rd_kafka_last_error()));
}

int published_log_open(struct published_reader *reader, int32_t shard, int64_t mark,
                       struct published_news news, struct published_log **out, struct error *e)
{
    struct published_log *log = calloc(1, sizeof *log);
    if (!log)
        return error_set(e, ERROR_RESTART, "memory is short");
    *log = (struct published_log){.reader = reader, .shard = shard, .news = news};
    published_rows_start(&log->rows, mark);
    for (int o = 0; o < OUTPUT_COUNT; o++) {
        struct output_log *t = &log->logs[o];
        t->topic = reader->options->topics[o];
        t->handle = rd_kafka_topic_new(reader->consumer, t->topic, NULL);
        if (t->handle)
            continue;
        published_log_close(log);
        return error_set(e, ERROR_CONFIG,
                         "%s is not a topic name; mend topics in the configuration",
                         reader->options->topics[o]);
    }
    *out = log;
    return 0;
}

void published_log_close(struct published_log *log)
{
    if (!log)
        return;
    for (int o = 0; o < OUTPUT_COUNT; o++) {
        stop_log(log, &log->logs[o]);
        if (log->logs[o].handle)
            rd_kafka_topic_destroy(log->logs[o].handle);
    }
    free(log);
}

// ---- records ----

static void tell_strange(struct published_log *log, const rd_kafka_message_t *message,
                         int64_t *count, const char *what)
{
    struct published_strange *strange = &log->strange;
    snprintf(strange->last, sizeof strange->last, "%s/%" PRId32 "@%" PRId64 ": %s",
             rd_kafka_topic_name(message->rkt), message->partition, message->offset, what);
    if (++*count > TOLD_MAX)
        return;
    log_event(LOG_ERROR, "an output topic holds what it should not",
              LOG_FIELDS(log_int("shard", log->shard),
                         log_text("topic", rd_kafka_topic_name(message->rkt)),
                         log_int("partition", message->partition),
                         log_int("offset", message->offset), log_text("what", what),
                         log_text("remedy", "settled audit names all of it")));
}

// Adds the row at the cursor to the set. False: it has to wait for the other logs.
static bool see_row(struct published_log *log, struct output_log *t,
                    const rd_kafka_message_t *message, int64_t sequence)
{
    char what[96];
    switch (published_rows_see(&log->rows, (int)(t - log->logs), sequence)) {
    case PUBLISHED_NEW:
    case PUBLISHED_KNOWN:
        break;
    case PUBLISHED_REPEATED:
        snprintf(what, sizeof what, "row %" PRId64 " stands there a second time", sequence);
        tell_strange(log, message, &log->strange.repeated, what);
        break;
    case PUBLISHED_LATE:
        snprintf(what, sizeof what, "row %" PRId64 " stands behind one with a higher sequence",
                 sequence);
        tell_strange(log, message, &log->strange.disordered, what);
        break;
    case PUBLISHED_AHEAD:
        return false;
    }
    return true;
}

// Whether reading began early enough: at or before the mark, or at the log's first record. False:
// it must begin earlier.
static bool find_start(const struct published_log *log, struct output_log *t, int64_t sequence)
{
    bool below = sequence > 0 && sequence <= log->rows.from;
    if (!below && t->from > t->low)
        return false;
    t->found_start = true;
    t->reaches_mark = below || t->low == 0;
    return true;
}

enum taken { TAKEN, TAKEN_NOTHING, TAKEN_HELD, TAKEN_EARLIER, TAKEN_ERROR };

static enum taken take_record(struct published_log *log, struct output_log *t,
                              rd_kafka_message_t *message)
{
    struct error why;
    int32_t shard = -1;
    int64_t sequence = 0;
    const struct output_reader *form = log->reader->forms[t - log->logs];
    bool ours = published_sequence(form, log->reader->options->framing.framing,
                                   (struct slice){message->payload, message->len}, &shard,
                                   &sequence, &why) == 0;
    if (ours && shard != log->shard) {
        ours = false;
        error_set(&why, ERROR_CONFIG, "it is of shard %" PRId32, shard);
    }
    if (ours && !t->found_start && !find_start(log, t, sequence))
        return TAKEN_EARLIER;
    if (ours && !see_row(log, t, message, sequence))
        return TAKEN_HELD;
    if (!ours) {
        char what[160];
        snprintf(what, sizeof what, "settled did not write this record (%.120s)", why.text);
        tell_strange(log, message, &log->strange.foreign, what);
    }
    t->next = message->offset + 1;
    return TAKEN;
}

static enum taken take_end(const struct published_log *log, struct output_log *t, int64_t offset)
{
    // all of it was aborted, or is not a record
    if (!t->found_start && !find_start(log, t, 0))
        return TAKEN_EARLIER;
    if (offset > t->next)
        t->next = offset;
    return TAKEN;
}

static enum taken take_message(struct published_log *log, struct output_log *t,
                               rd_kafka_message_t *message, struct error *e)
{
    if (!message->err)
        return take_record(log, t, message);
    if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF)
        return take_end(log, t, message->offset);
    if (client_error_passes(message->err))
        return TAKEN;
    error_set(e, ERROR_UNAVAILABLE,
              "shard %" PRId32 ": topic %s partition %" PRId32
              " cannot be read back at offset %" PRId64 ": %s",
              log->shard, t->topic, log->shard, t->next, rd_kafka_message_errstr(message));
    const struct refusal_call call = {.topic = t->topic, .operations = REFUSAL_READ};
    (void)refusal_explain(log->reader->consumer, message->err, &call, e);
    return TAKEN_ERROR;
}

// The next of one log.
static enum taken take_next(struct published_log *log, struct output_log *t, int wait_ms,
                            struct error *e)
{
    assert(t->queue);
    rd_kafka_message_t *message = t->ahead ? t->ahead : rd_kafka_consume_queue(t->queue, wait_ms);
    if (!message)
        return TAKEN_NOTHING;
    t->ahead = NULL;
    enum taken taken = take_message(log, t, message, e);
    if (taken == TAKEN_HELD)
        t->ahead = message;
    else
        rd_kafka_message_destroy(message);
    if (taken != TAKEN_EARLIER)
        return taken;
    return start_log(log, t, t->window * WINDOW_GROWTH, e) ? TAKEN_ERROR : TAKEN;
}

bool published_log_take(struct published_log *log, struct error *e)
{
    (void)rd_kafka_poll(log->reader->consumer, 0);
    for (int o = 0; o < OUTPUT_COUNT; o++) {
        enum taken taken = TAKEN;
        for (int i = 0; i < TAKE_MAX && taken == TAKEN && log->logs[o].queue; i++)
            taken = take_next(log, &log->logs[o], 0, e);
        if (taken == TAKEN_ERROR)
            return false;
    }
    return true;
}

// ---- to the ends ----

// Asks for the leaders first: the client knows them only of topics that it has asked for, and as
// they were then.
static int learn_leaders(struct published_log *log, struct error *e)
{
    int32_t partitions;
    for (int o = 0; o < OUTPUT_COUNT; o++)
        if (client_partitions(log->reader->asker, log->logs[o].topic, ASK_MS, &partitions, e))
            return -1;
    return 0;
}

static int ask_ends(struct published_log *log, struct error *e)
{
    int64_t low[OUTPUT_COUNT], end[OUTPUT_COUNT];
    struct ends_query query = {.count = OUTPUT_COUNT,
                               .topics = log->reader->options->topics,
                               .partition = log->shard,
                               .which = RD_KAFKA_OFFSET_BEGINNING,
                               .timeout_ms = ASK_MS};
    if (client_ends(log->reader->asker, &query, low, e))
        return -1;
    query.which = RD_KAFKA_OFFSET_END;
    if (client_ends(log->reader->asker, &query, end, e))
        return -1;
    for (int o = 0; o < OUTPUT_COUNT; o++) {
        log->logs[o].low = low[o];
        log->logs[o].end = end[o];
    }
    return 0;
}

static bool is_read(const struct output_log *t)
{
    return t->found_start && !t->ahead && t->next >= t->end;
}

static bool may_wait(const atomic_bool *stop, int64_t since_ms)
{
    return !atomic_load(stop) && clock_monotonic_ms() - since_ms < PATIENCE_MS;
}

static enum published_result stuck(const struct published_log *log, struct error *e)
{
    bool ahead = false;
    const char *slow = "";
    for (int o = 0; o < OUTPUT_COUNT; o++) {
        ahead = ahead || log->logs[o].ahead;
        if (!is_read(&log->logs[o]) && !log->logs[o].ahead)
            slow = log->logs[o].topic;
    }
    if (!ahead || slow[0]) {
        error_set(e, ERROR_UNAVAILABLE, "shard %" PRId32 ": topic %s cannot be read back in time",
                  log->shard, slow);
        return PUBLISHED_UNAVAILABLE;
    }
    error_set(e, ERROR_CONFIG,
              "shard %" PRId32 ": row %" PRId64
              " is missing in the output topics, which hold rows more than %d above "
              "it: they have lost data. Restore the topics, or run settled repair, and restart",
              log->shard, log->rows.whole + 1, PUBLISHED_WINDOW);
    return PUBLISHED_FOREIGN;
}

static enum published_result read_to_ends(struct published_log *log, const atomic_bool *stop,
                                          struct error *e)
{
    int64_t since = clock_monotonic_ms();
    for (bool all = false; !all;) {
        all = true;
        bool took = false;
        for (int o = 0; o < OUTPUT_COUNT; o++) {
            struct output_log *t = &log->logs[o];
            enum taken taken = TAKEN;
            while (!is_read(t) && taken == TAKEN && !atomic_load(stop)) {
                taken = take_next(log, t, SLICE_MS, e);
                took = took || taken == TAKEN;
            }
            if (taken == TAKEN_ERROR)
                return PUBLISHED_UNAVAILABLE;
            all = all && is_read(t);
        }
        if (took)
            since = clock_monotonic_ms();
        if (!all && !may_wait(stop, since))
            return stuck(log, e);
    }
    return PUBLISHED_FOUND;
}

// Every fetch tells the client how far the log goes, open transactions included.
static const struct output_log *find_open_transaction(const struct published_log *log)
{
    for (int o = 0; o < OUTPUT_COUNT; o++) {
        int64_t low = 0, high = -1;
        const struct output_log *t = &log->logs[o];
        if (rd_kafka_get_watermark_offsets(log->reader->consumer, t->topic, log->shard, &low,
                                           &high) ||
            high > t->next)
            return t;
    }
    return NULL;
}

// Rows that should be published, or lie below a published one, were not found. They are reported as
// lost only if the logs have nothing behind what was read.
static enum published_result make_sure(struct published_log *log, int64_t expected,
                                       const atomic_bool *stop, struct error *e)
{
    int64_t since = clock_monotonic_ms();
    const struct output_log *open = NULL;
    for (int64_t now = since; (log->rows.whole < expected || log->rows.whole < log->rows.highest) &&
                              (now - since < SETTLE_MS || (open && now - since < PATIENCE_MS));
         now = clock_monotonic_ms()) {
        if (atomic_load(stop))
            return PUBLISHED_UNAVAILABLE;
        for (int o = 0; o < OUTPUT_COUNT; o++)
            if (take_next(log, &log->logs[o], SLICE_MS, e) == TAKEN_ERROR)
                return PUBLISHED_UNAVAILABLE;
        open = find_open_transaction(log);
    }
    if (!open || (log->rows.whole >= expected && log->rows.whole >= log->rows.highest))
        return PUBLISHED_FOUND;
    error_set(e, ERROR_UNAVAILABLE,
              "shard %" PRId32 ": row %" PRId64
              " is not seen in the output topics, and a transaction stands open on topic "
              "%s partition %" PRId32 " from offset %" PRId64
              " on: what is behind it cannot be read before it ends. "
              "Find it (kafka-transactions.sh find-hanging), and stop the program that owns it",
              log->shard, log->rows.whole + 1, open->topic, log->shard, open->next);
    return PUBLISHED_UNAVAILABLE;
}

enum published_result published_log_read(struct published_log *log, int64_t expected,
                                         const atomic_bool *stop, bool *whole_logs, struct error *e)
{
    if (learn_leaders(log, e) || ask_ends(log, e))
        return PUBLISHED_UNAVAILABLE;
    for (int o = 0; o < OUTPUT_COUNT; o++)
        if (!log->logs[o].queue && start_log(log, &log->logs[o], WINDOW_FIRST, e))
            return PUBLISHED_UNAVAILABLE;
    enum published_result result = read_to_ends(log, stop, e);
    if (result == PUBLISHED_FOUND)
        result = make_sure(log, expected, stop, e);
    *whole_logs = true;
    for (int o = 0; o < OUTPUT_COUNT; o++) {
        assert(result != PUBLISHED_FOUND || log->logs[o].found_start);
        *whole_logs = *whole_logs && log->logs[o].reaches_mark;
    }
    return result;
}

const struct published_rows *published_log_rows(const struct published_log *log)
{
    return &log->rows;
}

void published_log_take_as_read(struct published_log *log, int64_t n)
{
    published_rows_take_as_read(&log->rows, n);
}

const struct published_strange *published_log_strange(const struct published_log *log)
{
    return &log->strange;
}
