#include "consumer/kafka/topic_counts.h"
#include "consumer/kafka/refusal.h"

#include "consumer/system/clock.h"
#include "consumer/system/log.h"
#include "consumer/system/thread.h"

#include <assert.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    LOOK_MS = 10000, // between two looks that nobody asks for
    RETRY_MS = 1000,
    ANSWER_MS = 5000,
    SPREAD_MS = 500, // a change is known to the broker that answers so long after to any other
};

struct topic_counts {
    struct topic_counts_options options;
    rd_kafka_t *client;
    rd_kafka_topic_t *topics[TOPIC_COUNTS_MAX]; // held: what a client knows is what it asks for
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    // Under the lock:
    bool stopping, wrong;
    int64_t right_at; // the last look that showed every count to be right was sent then; -1: none
    int64_t wanted_at; // somebody needs one that is sent then or later; -1: nobody
    struct error error; // wrong: why
    char trouble[ERROR_TEXT_SIZE];
};

enum look { LOOK_RIGHT, LOOK_WRONG, LOOK_FAILED };

static enum look judge_topic(const struct topic_counts *counts, const char *topic,
                             const struct rd_kafka_metadata *metadata, struct error *e)
{
    const struct rd_kafka_metadata_topic *found = NULL;
    for (int i = 0; i < metadata->topic_cnt && !found; i++)
        if (strcmp(metadata->topics[i].topic, topic) == 0)
            found = &metadata->topics[i];
    if (!found || found->err || found->partition_cnt == 0) {
        error_set(e, ERROR_UNAVAILABLE,
                  "topic %s: Kafka does not say how many partitions it has: %s", topic,
                  found && found->err ? rd_kafka_err2str(found->err) : "it is not there");
        const struct refusal_call call = {.topic = topic, .operations = REFUSAL_READ};
        if (found)
            (void)refusal_explain(counts->client, found->err, &call, e);
        return LOOK_FAILED;
    }
    if (found->partition_cnt == counts->options.partitions)
        return LOOK_RIGHT;
    client_wrong_count(topic, found->partition_cnt, counts->options.partitions, e);
    return LOOK_WRONG;
}

// One request for all topics, none of which it creates.
static enum look look(const struct topic_counts *counts, struct error *e)
{
    const struct rd_kafka_metadata *metadata;
    rd_kafka_resp_err_t code = rd_kafka_metadata(counts->client, 0, NULL, &metadata, ANSWER_MS);
    if (code) {
        error_set(e, ERROR_UNAVAILABLE,
                  "Kafka does not say how many partitions the topics have: %s",
                  rd_kafka_err2str(code));
        return LOOK_FAILED;
    }
    enum look worst = LOOK_RIGHT;
    for (size_t i = 0; i < counts->options.count && worst != LOOK_WRONG; i++) {
        struct error found;
        enum look one = judge_topic(counts, counts->options.topics[i], metadata, &found);
        if (one == LOOK_RIGHT || (one == LOOK_FAILED && worst == LOOK_FAILED))
            continue;
        worst = one;
        *e = found;
    }
    rd_kafka_metadata_destroy(metadata);
    return worst;
}

// Caller holds the lock.
static void take_look(struct topic_counts *counts, enum look found, int64_t sent_at,
                      const struct error *e)
{
    if (found == LOOK_FAILED && !counts->trouble[0])
        log_event(LOG_WARN, "the partitions of the topics are not known",
                  LOG_FIELDS(log_text("reason", e->text), log_int("retry_ms", RETRY_MS)));
    if (found == LOOK_FAILED)
        memcpy(counts->trouble, e->text, sizeof counts->trouble);
    else
        counts->trouble[0] = '\0';
    if (found == LOOK_WRONG) {
        counts->wrong = true;
        counts->error = *e;
    }
    if (found == LOOK_RIGHT) {
        assert(sent_at >= counts->right_at);
        counts->right_at = sent_at;
        if (counts->wanted_at <= sent_at)
            counts->wanted_at = -1;
    }
}

// When the next look is due. Caller holds the lock.
static int64_t next_look(const struct topic_counts *counts, int64_t last_at)
{
    int64_t at = last_at < 0 ? 0 : last_at + (counts->trouble[0] ? RETRY_MS : LOOK_MS);
    return counts->wanted_at >= 0 && !counts->trouble[0] && counts->wanted_at < at
               ? counts->wanted_at
               : at;
}

static void *counts_main(void *argument)
{
    struct topic_counts *counts = argument;
    int64_t last_at = -1;
    pthread_mutex_lock(&counts->lock);
    // What is wrong once stays wrong: the process ends.
    while (!counts->stopping && !counts->wrong) {
        int64_t now = clock_monotonic_ms(), at = next_look(counts, last_at);
        if (now < at) {
            struct timespec until = {.tv_sec = at / 1000, .tv_nsec = at % 1000 * 1000000};
            pthread_cond_timedwait(&counts->changed, &counts->lock, &until);
            continue;
        }
        struct error e;
        last_at = now;
        pthread_mutex_unlock(&counts->lock);
        enum look found = look(counts, &e);
        pthread_mutex_lock(&counts->lock);
        take_look(counts, found, now, &e);
    }
    pthread_mutex_unlock(&counts->lock);
    return NULL;
}

static void free_all(struct topic_counts *counts)
{
    for (size_t i = 0; i < counts->options.count; i++)
        if (counts->topics[i])
            rd_kafka_topic_destroy(counts->topics[i]);
    if (counts->client)
        rd_kafka_destroy(counts->client);
    pthread_cond_destroy(&counts->changed);
    pthread_mutex_destroy(&counts->lock);
    free(counts);
}

int topic_counts_create(const struct topic_counts_options *options, struct topic_counts **out,
                        struct error *e)
{
    static const char *(own[])[2] = {{"allow.auto.create.topics", "false"}};
    assert(options->count <= TOPIC_COUNTS_MAX);
    assert(options->partitions > 0);
    *out = NULL;
    struct topic_counts *counts = calloc(1, sizeof *counts);
    if (!counts)
        return error_set(e, ERROR_RESTART, "memory is short");
    counts->options = *options;
    counts->right_at = counts->wanted_at = -1;
    pthread_mutex_init(&counts->lock, NULL);
    thread_init_condition(&counts->changed);
    rd_kafka_conf_t *conf =
        client_conf(&options->properties, &(struct client_properties){1, own}, e);
    if (conf)
        counts->client = client_create(RD_KAFKA_CONSUMER, conf, e);
    if (!counts->client)
        goto failed;
    for (size_t i = 0; i < options->count; i++)
        counts->topics[i] = rd_kafka_topic_new(counts->client, options->topics[i], NULL);
    if (pthread_create(&counts->thread, NULL, counts_main, counts)) {
        error_set(e, ERROR_RESTART, "no thread can be started");
        goto failed;
    }
    *out = counts;
    return 0;
failed:
    free_all(counts);
    return -1;
}

bool topic_counts_destroy(struct topic_counts *counts, int timeout_ms)
{
    if (!counts)
        return true;
    pthread_mutex_lock(&counts->lock);
    counts->stopping = true;
    pthread_cond_signal(&counts->changed);
    pthread_mutex_unlock(&counts->lock);
    if (!thread_join_within(counts->thread, timeout_ms))
        return false;
    free_all(counts);
    return true;
}

bool topic_counts_right(struct topic_counts *counts, int64_t since_ms)
{
    int64_t needed = since_ms + SPREAD_MS;
    pthread_mutex_lock(&counts->lock);
    bool right = !counts->wrong && counts->right_at >= needed;
    if (!right && (counts->wanted_at < 0 || counts->wanted_at > needed)) {
        counts->wanted_at = needed;
        pthread_cond_signal(&counts->changed);
    }
    pthread_mutex_unlock(&counts->lock);
    return right;
}

bool topic_counts_wrong(struct topic_counts *counts, struct error *e)
{
    pthread_mutex_lock(&counts->lock);
    bool wrong = counts->wrong;
    if (wrong)
        *e = counts->error;
    pthread_mutex_unlock(&counts->lock);
    return wrong;
}

void topic_counts_trouble(struct topic_counts *counts, char *out, size_t size)
{
    pthread_mutex_lock(&counts->lock);
    snprintf(out, size, "%s", counts->trouble);
    pthread_mutex_unlock(&counts->lock);
}
