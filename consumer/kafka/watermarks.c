#include "consumer/kafka/watermarks.h"
#include "consumer/kafka/refusal.h"
#include "consumer/kafka/scan.h"

#include "consumer/system/log.h"
#include "consumer/system/thread.h"

#include <assert.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { QUERY_MS = 5000, RETRY_MS = 1000 };

enum question_state { QUESTION_NONE, QUESTION_ASKED, QUESTION_ANSWERED };

// What may follow what; anything else is a bug.
static const unsigned char question_followers[] = {
    [QUESTION_NONE] = 1 << QUESTION_ASKED,
    [QUESTION_ASKED] = 1 << QUESTION_ANSWERED,
    [QUESTION_ANSWERED] = 1 << QUESTION_NONE | 1 << QUESTION_ASKED,
};
static_assert(sizeof question_followers == QUESTION_ANSWERED + 1,
              "each state says what may follow it");

struct question {
    enum question_state state;
    int64_t since_ms; // that is asked for
    struct log_watermarks answer;
};

// Which end a client is told is its isolation level.
struct ends_client {
    rd_kafka_t *client;
    // Handles of the topics. librdkafka looks for new leaders only of topics that it has a handle
    // of. Without them, a query goes to the old leader until the cache expires after a quarter of
    // an hour.
    rd_kafka_topic_t *topics[INPUT_COUNT];
};

struct watermarks {
    struct watermarks_options options;
    struct ends_client uncommitted, committed;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t asked;
    // Under the lock:
    bool stopping;
    size_t open; // questions ASKED
    struct question *questions; // partitions * INPUT_COUNT
    char trouble[ERROR_TEXT_SIZE];
};

static struct question *question_of(struct watermarks *ends, int32_t shard, enum input input)
{
    assert(shard >= 0 && shard < ends->options.partitions);
    assert(input < INPUT_COUNT);
    return &ends->questions[(size_t)shard * INPUT_COUNT + input];
}

// Caller holds the lock.
static void question_become(struct question *question, enum question_state state)
{
    assert(question_followers[question->state] & 1 << state);
    question->state = state;
}

int watermarks_query(struct watermarks *ends, int32_t shard, enum input input, int timeout_ms,
                     struct log_watermarks *out, struct error *e)
{
    const char *topic = ends->options.topics[input];
    out->asked_at = ends->options.clock_ms(ends->options.clock_context);
    rd_kafka_resp_err_t code = rd_kafka_query_watermark_offsets(
        ends->uncommitted.client, topic, shard, &out->low, &out->end, timeout_ms);
    if (!code)
        code = rd_kafka_query_watermark_offsets(ends->committed.client, topic, shard, &out->low,
                                                &out->stable, timeout_ms);
    if (code) {
        error_set(e, ERROR_UNAVAILABLE, "Kafka does not say where %s/%" PRId32 " ends: %s", topic,
                  shard, rd_kafka_err2str(code));
        const struct refusal_call call = {.topic = topic, .operations = REFUSAL_READ};
        (void)refusal_explain(ends->committed.client, code, &call, e);
        return -1;
    }
    assert(out->low <= out->stable);
    out->since_ms = SINCE_NONE;
    return 0;
}

// The leader counts the ends of transactions, too. Its own clock stamps these, so in a log that was
// filled afterwards the first of them is young, whatever the records around it are.
static int pass_old_records(struct watermarks *ends, int32_t shard, enum input input,
                            int64_t since_ms, int64_t *first, struct error *e)
{
    const struct scan_log log = {ends->options.topics[input], *first, 0};
    const struct scan_options options = {.properties = &ends->options.properties,
                                         .group = ends->options.group,
                                         .cluster_id = "",
                                         .partitions = ends->options.partitions,
                                         .partition = shard,
                                         .count = 1,
                                         .logs = &log};
    struct scan *scan = NULL;
    int failed = scan_open(&options, &scan, e) || scan_take_older(scan, 0, since_ms, first, e);
    scan_close(scan);
    return failed ? -1 : 0;
}

// The ends must be known: what comes into the log after them is read, whatever its timestamp.
static int query_first(struct watermarks *ends, int32_t shard, enum input input, int64_t since_ms,
                       struct log_watermarks *out, struct error *e)
{
    const struct ends_query query = {.count = 1,
                                     .topics = &ends->options.topics[input],
                                     .partition = shard,
                                     .which = since_ms > 0 ? since_ms : 0,
                                     .timeout_ms = QUERY_MS};
    if (client_ends(ends->committed.client, &query, &out->first, e))
        return -1;
    if (out->first >= 0 && ends->options.create_time &&
        pass_old_records(ends, shard, input, since_ms, &out->first, e))
        return -1;
    out->since_ms = since_ms;
    if (out->first < 0)
        out->first = out->stable;
    assert(out->first >= out->low);
    return 0;
}

// Waits for a question, or until `ms` have passed. Caller holds the lock.
static void wait_locked(struct watermarks *ends, int ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += ms / 1000;
    until.tv_nsec += (ms % 1000) * 1000000L;
    if (until.tv_nsec >= 1000000000L) {
        until.tv_nsec -= 1000000000L;
        until.tv_sec++;
    }
    pthread_cond_timedwait(&ends->asked, &ends->lock, &until);
}

// Returns false when the query failed; the question stays open.
static bool answer(struct watermarks *ends, int32_t shard, enum input input)
{
    struct log_watermarks found;
    struct error e;
    int64_t since_ms = question_of(ends, shard, input)->since_ms;
    pthread_mutex_unlock(&ends->lock);
    bool good =
        watermarks_query(ends, shard, input, QUERY_MS, &found, &e) == 0 &&
        (since_ms == SINCE_NONE || query_first(ends, shard, input, since_ms, &found, &e) == 0);
    pthread_mutex_lock(&ends->lock);
    if (!good) {
        if (!ends->trouble[0])
            log_event(LOG_WARN, "a log's end is not known",
                      LOG_FIELDS(log_text("reason", e.text), log_int("retry_ms", RETRY_MS)));
        memcpy(ends->trouble, e.text, sizeof ends->trouble);
        return false;
    }
    struct question *question = question_of(ends, shard, input);
    question_become(question, QUESTION_ANSWERED);
    question->answer = found;
    assert(ends->open > 0);
    ends->open--;
    return true;
}

// Asks every open question once, so that a log without a leader does not delay the answers for the
// others. Caller holds the lock.
static bool answer_all(struct watermarks *ends)
{
    bool good = true;
    for (int32_t p = 0; p < ends->options.partitions; p++)
        for (int i = 0; i < INPUT_COUNT && !ends->stopping; i++)
            if (question_of(ends, p, (enum input)i)->state == QUESTION_ASKED)
                good &= answer(ends, p, (enum input)i);
    return good;
}

static void *watermarks_main(void *argument)
{
    struct watermarks *ends = argument;
    pthread_mutex_lock(&ends->lock);
    while (!ends->stopping) {
        if (ends->open == 0) {
            pthread_cond_wait(&ends->asked, &ends->lock);
            continue;
        }
        if (answer_all(ends))
            ends->trouble[0] = '\0';
        else if (!ends->stopping)
            wait_locked(ends, RETRY_MS);
    }
    pthread_mutex_unlock(&ends->lock);
    return NULL;
}

static void free_client(struct ends_client *c)
{
    for (int i = 0; i < INPUT_COUNT; i++)
        if (c->topics[i])
            rd_kafka_topic_destroy(c->topics[i]);
    if (c->client)
        rd_kafka_destroy(c->client);
}

static void free_all(struct watermarks *ends)
{
    free_client(&ends->uncommitted);
    free_client(&ends->committed);
    pthread_cond_destroy(&ends->asked);
    pthread_mutex_destroy(&ends->lock);
    free(ends->questions);
    free(ends);
}

static int make_client(const struct watermarks_options *options, const char *isolation,
                       struct ends_client *out, struct error *e)
{
    const char *own[][2] = {{"isolation.level", isolation}};
    // The operator's come first: what is asked for here must not depend on them.
    rd_kafka_conf_t *conf =
        client_conf(&options->properties, &(struct client_properties){1, own}, e);
    if (conf)
        out->client = client_create(RD_KAFKA_CONSUMER, conf, e);
    if (!out->client)
        return -1;
    for (int i = 0; i < INPUT_COUNT; i++)
        out->topics[i] = rd_kafka_topic_new(out->client, options->topics[i], NULL);
    return 0;
}

int watermarks_create(const struct watermarks_options *options, struct watermarks **out,
                      struct error *e)
{
    *out = NULL;
    struct watermarks *ends = calloc(1, sizeof *ends);
    if (!ends)
        return error_set(e, ERROR_RESTART, "memory is short");
    ends->options = *options;
    pthread_mutex_init(&ends->lock, NULL);
    thread_init_condition(&ends->asked);
    ends->questions = calloc((size_t)options->partitions * INPUT_COUNT, sizeof *ends->questions);
    if (make_client(options, "read_uncommitted", &ends->uncommitted, e) ||
        make_client(options, "read_committed", &ends->committed, e))
        goto failed;
    if (!ends->questions || pthread_create(&ends->thread, NULL, watermarks_main, ends)) {
        error_set(e, ERROR_RESTART, "memory or threads are short");
        goto failed;
    }
    *out = ends;
    return 0;
failed:
    free_all(ends);
    return -1;
}

bool watermarks_destroy(struct watermarks *ends, int timeout_ms)
{
    if (!ends)
        return true;
    pthread_mutex_lock(&ends->lock);
    ends->stopping = true;
    pthread_cond_signal(&ends->asked);
    pthread_mutex_unlock(&ends->lock);
    if (!thread_join_within(ends->thread, timeout_ms))
        return false;
    free_all(ends);
    return true;
}

void watermarks_ask(struct watermarks *ends, int32_t shard, enum input input, int64_t since_ms)
{
    pthread_mutex_lock(&ends->lock);
    struct question *question = question_of(ends, shard, input);
    question->since_ms = since_ms;
    if (question->state != QUESTION_ASKED) {
        question_become(question, QUESTION_ASKED);
        ends->open++;
        assert(ends->open <= (size_t)ends->options.partitions * INPUT_COUNT);
        pthread_cond_signal(&ends->asked);
    }
    pthread_mutex_unlock(&ends->lock);
}

bool watermarks_take(struct watermarks *ends, int32_t shard, enum input input,
                     struct log_watermarks *out)
{
    pthread_mutex_lock(&ends->lock);
    struct question *question = question_of(ends, shard, input);
    bool answered = question->state == QUESTION_ANSWERED;
    if (answered) {
        question_become(question, QUESTION_NONE);
        *out = question->answer;
    }
    pthread_mutex_unlock(&ends->lock);
    return answered;
}

void watermarks_trouble(struct watermarks *ends, char *out, size_t size)
{
    pthread_mutex_lock(&ends->lock);
    snprintf(out, size, "%s", ends->trouble);
    pthread_mutex_unlock(&ends->lock);
}
