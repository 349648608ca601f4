#include "consumer/kafka/client.h"
#include "consumer/kafka/refusal.h"

#include "consumer/system/clock.h"
#include "consumer/system/log.h"

#include <assert.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

enum { RETRY_MS = 100, TELL_MS = 30000, WAKE_MS = 100 };

static void on_log(const rd_kafka_t *client, int level, const char *facility, const char *text)
{
    // librdkafka's levels are syslog's: 3 error, 4 warning, 6 information. Not worth a line: that a
    // producer has no use for a consumer's property (all clients are given all properties), and,
    // every few milliseconds, that a transaction coordinator is not there yet.
    if (strcmp(facility, "CONFWARN") == 0 ||
        (strcmp(facility, "GETPID") == 0 && strstr(text, "retrying")))
        level = 7;
    enum log_level ours = level <= 3   ? LOG_ERROR
                          : level <= 4 ? LOG_WARN
                          : level <= 6 ? LOG_INFO
                                       : LOG_DEBUG;
    log_event(ours, "kafka client",
              LOG_FIELDS(log_text("client", client ? rd_kafka_name(client) : ""),
                         log_text("facility", facility), log_text("text", text)));
}

// Every client of the process is refused, and tries again for ever.
static void tell_login(const rd_kafka_t *client, const char *reason)
{
    static _Atomic int64_t told_at;
    int64_t now = clock_monotonic_ms(), before = told_at;
    struct error e;
    if ((before != 0 && now - before < TELL_MS) ||
        !atomic_compare_exchange_strong(&told_at, &before, now))
        return;
    refusal_of_login(client, reason, &e);
    log_event(LOG_ERROR, "Kafka refuses a login",
              LOG_FIELDS(log_text("client", rd_kafka_name(client)), log_text("reason", e.text)));
}

// Trouble with a single broker is in the log lines already; only the loss of all brokers is a
// state.
static void on_error(rd_kafka_t *client, int code, const char *reason, void *opaque)
{
    (void)opaque;
    if (code == RD_KAFKA_RESP_ERR__AUTHENTICATION)
        tell_login(client, reason);
    if (code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN)
        log_event(
            LOG_WARN, "no Kafka broker can be reached",
            LOG_FIELDS(log_text("client", rd_kafka_name(client)), log_text("reason", reason)));
}

static int apply(rd_kafka_conf_t *conf, const struct client_properties *properties, struct error *e)
{
    char why[512];
    for (size_t i = 0; properties && i < properties->count; i++) {
        const char *name = properties->pairs[i][0];
        if (rd_kafka_conf_set(conf, name, properties->pairs[i][1], why, sizeof why) !=
            RD_KAFKA_CONF_OK)
            return error_set(e, ERROR_CONFIG,
                             "librdkafka refuses the property %s: %s; mend kafka.properties or -X",
                             name, why);
    }
    return 0;
}

// From librdkafka 2.2 on, a partition whose queue was full is not fetched for a second. Before
// that, the property is not known, and nothing has to be set.
static void shorten_pause_of_full_queues(rd_kafka_conf_t *conf)
{
    char why[512];
    (void)rd_kafka_conf_set(conf, "fetch.queue.backoff.ms", "5", why, sizeof why);
}

rd_kafka_conf_t *client_conf(const struct client_properties *ours,
                             const struct client_properties *theirs, struct error *e)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    shorten_pause_of_full_queues(conf);
    rd_kafka_conf_set_log_cb(conf, on_log);
    rd_kafka_conf_set_error_cb(conf, on_error);
    if (apply(conf, ours, e) == 0 && apply(conf, theirs, e) == 0)
        return conf;
    rd_kafka_conf_destroy(conf);
    return NULL;
}

rd_kafka_t *client_create(rd_kafka_type_t type, rd_kafka_conf_t *conf, struct error *e)
{
    char why[512];
    rd_kafka_t *client = rd_kafka_new(type, conf, why, sizeof why);
    if (client)
        return client;
    rd_kafka_conf_destroy(conf);
    error_set(e, ERROR_CONFIG, "librdkafka refuses the configuration: %s", why);
    return NULL;
}

rd_kafka_t *client_create_reader(const struct client_properties *theirs, const char *group,
                                 const struct client_properties *ours, struct error *e)
{
    const char *fixed[][2] = {
        {"group.id", group},
        {"enable.auto.commit", "false"},
        {"enable.partition.eof", "true"},
        {"auto.offset.reset", "error"},
        {"isolation.level", "read_committed"},
        {"allow.auto.create.topics", "false"},
    };
    rd_kafka_conf_t *conf =
        client_conf(theirs, &(struct client_properties){sizeof fixed / sizeof *fixed, fixed}, e);
    if (!conf)
        return NULL;
    if (apply(conf, ours, e)) {
        rd_kafka_conf_destroy(conf);
        return NULL;
    }
    rd_kafka_conf_set_log_cb(conf, NULL);
    rd_kafka_t *reader = client_create(RD_KAFKA_CONSUMER, conf, e);
    if (reader)
        rd_kafka_poll_set_consumer(reader);
    return reader;
}

void client_destroy_reader(rd_kafka_t *reader)
{
    rd_kafka_destroy_flags(reader, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
}

bool client_error_passes(rd_kafka_resp_err_t code)
{
    switch (code) {
    // of a broker's exception, such as a failed read from the remote tier
    case RD_KAFKA_RESP_ERR_UNKNOWN:
    case RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR:
    case RD_KAFKA_RESP_ERR_OFFSET_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION:
    case RD_KAFKA_RESP_ERR_REPLICA_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_BROKER_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_FENCED_LEADER_EPOCH:
    case RD_KAFKA_RESP_ERR_UNKNOWN_LEADER_EPOCH:
    case RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT:
    case RD_KAFKA_RESP_ERR_NETWORK_EXCEPTION:
    case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
    case RD_KAFKA_RESP_ERR__TRANSPORT:
    case RD_KAFKA_RESP_ERR__TIMED_OUT:
        return true;
    default:
        return false;
    }
}

rd_kafka_resp_err_t client_transaction_trouble(rd_kafka_t *producer)
{
    // Begins nothing while one is under way: the refusal names what has failed, if something has.
    rd_kafka_error_t *error = rd_kafka_begin_transaction(producer);
    assert(error);
    rd_kafka_resp_err_t code = rd_kafka_error_code(error);
    rd_kafka_error_destroy(error);
    return code == RD_KAFKA_RESP_ERR__STATE ? RD_KAFKA_RESP_ERR_NO_ERROR : code;
}

rd_kafka_resp_err_t client_committed(rd_kafka_t *consumer, rd_kafka_topic_partition_list_t *list,
                                     int timeout_ms, int pause_ms)
{
    rd_kafka_resp_err_t code = rd_kafka_committed(consumer, list, timeout_ms);
    for (int i = 0; i < list->cnt && !code; i++)
        code = list->elems[i].err;
    rd_kafka_message_t *event;
    while (code && (event = rd_kafka_consumer_poll(consumer, pause_ms))) {
        if (refusal_of_permission(event->err))
            code = event->err;
        rd_kafka_message_destroy(event);
        pause_ms = 0;
    }
    return code;
}

static int fail_topic(const rd_kafka_t *client, const char *topic, rd_kafka_resp_err_t code,
                      struct error *e)
{
    error_set(e, ERROR_UNAVAILABLE, "topic %s: %s", topic, rd_kafka_err2str(code));
    (void)refusal_explain(client, code,
                          &(struct refusal_call){.topic = topic, .operations = REFUSAL_READ}, e);
    return -1;
}

int client_partitions(rd_kafka_t *client, const char *topic, int timeout_ms, int32_t *out,
                      struct error *e)
{
    rd_kafka_topic_t *handle = rd_kafka_topic_new(client, topic, NULL);
    const struct rd_kafka_metadata *metadata = NULL;
    if (!handle)
        return error_set(e, ERROR_CONFIG, "%s is not a topic name", topic);
    rd_kafka_resp_err_t code = rd_kafka_metadata(client, 0, handle, &metadata, timeout_ms);
    rd_kafka_topic_destroy(handle);
    if (code)
        return error_set(e, ERROR_UNAVAILABLE,
                         "Kafka does not say how many partitions %s has: %s; check kafka.brokers",
                         topic, rd_kafka_err2str(code));
    const struct rd_kafka_metadata_topic *found =
        metadata->topic_cnt == 1 ? &metadata->topics[0] : NULL;
    int failed = 0;
    if (!found || found->err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART ||
        (!found->err && found->partition_cnt == 0))
        failed =
            error_set(e, ERROR_CONFIG, "topic %s does not exist; run settled topics apply", topic);
    else if (found->err)
        failed = fail_topic(client, topic, found->err, e);
    else
        *out = found->partition_cnt;
    rd_kafka_metadata_destroy(metadata);
    return failed;
}

int client_wrong_count(const char *topic, int32_t found, int32_t recorded, struct error *e)
{
    return error_set(
        e, ERROR_CONFIG,
        "topic %s has %" PRId32 " partitions, but this deployment has %" PRId32
        ", and its count never changes: stop the producers of this topic; Kafka cannot remove "
        "partitions, so create the topic again, or a new one in its place, and send its records "
        "again; see the runbook: A topic has other partitions",
        topic, found, recorded);
}

int client_not_kept(const char *topic, int32_t partition, int64_t first, int64_t needed,
                    const char *remedy, struct error *e)
{
    return error_set(e, ERROR_CONFIG,
                     "%s/%" PRId32 " begins at offset %" PRId64
                     " now, and is needed from offset %" PRId64
                     " on: its older records have expired or were deleted; %s",
                     topic, partition, first, needed, remedy);
}

// NULL: all are known. Otherwise the topic that is not known, and why.
bool client_may_see(rd_kafka_t *consumer, const char *topic, int timeout_ms)
{
    rd_kafka_topic_t *handle = rd_kafka_topic_new(consumer, topic, NULL);
    const struct rd_kafka_metadata *metadata = NULL;
    if (!handle)
        return true;
    rd_kafka_resp_err_t code = rd_kafka_metadata(consumer, 0, handle, &metadata, timeout_ms);
    rd_kafka_topic_destroy(handle);
    if (code)
        return true;
    bool hidden = metadata->topic_cnt == 1 &&
                  metadata->topics[0].err == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
    rd_kafka_metadata_destroy(metadata);
    return !hidden;
}

static const char *ask_ends(rd_kafka_t *client, const struct ends_query *query, int64_t *out,
                            rd_kafka_resp_err_t *why)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)query->count);
    for (size_t i = 0; i < query->count; i++)
        rd_kafka_topic_partition_list_add(list, query->topics[i], query->partition)->offset =
            query->which;
    rd_kafka_resp_err_t code = rd_kafka_offsets_for_times(client, list, query->timeout_ms);
    const char *topic = query->topics[0];
    for (size_t i = 0; i < query->count && !code; i++) {
        const rd_kafka_topic_partition_t *found =
            rd_kafka_topic_partition_list_find(list, query->topics[i], query->partition);
        assert(found != NULL); // it was put into the list above
        topic = query->topics[i];
        code = found->err;
        out[i] = found->offset;
    }
    rd_kafka_topic_partition_list_destroy(list);
    *why = code;
    return code ? topic : NULL;
}

int client_ends(rd_kafka_t *client, const struct ends_query *query, int64_t *out, struct error *e)
{
    assert(query->count > 0);
    int64_t until = clock_monotonic_ms() + query->timeout_ms;
    rd_kafka_resp_err_t why;
    const char *topic;
    while ((topic = ask_ends(client, query, out, &why)) && !refusal_of_permission(why) &&
           clock_monotonic_ms() < until) {
        int32_t partitions;
        struct error moving;
        nanosleep(&(struct timespec){.tv_nsec = RETRY_MS * 1000000L}, NULL);
        // learns the leaders
        (void)client_partitions(client, topic, query->timeout_ms, &partitions, &moving);
    }
    if (!topic)
        return 0;
    error_set(e, ERROR_UNAVAILABLE,
              "%s/%" PRId32 ": the log's ends are not known: %s; check the brokers", topic,
              query->partition, rd_kafka_err2str(why));
    (void)refusal_explain(client, why,
                          &(struct refusal_call){.topic = topic, .operations = REFUSAL_READ}, e);
    return -1;
}

void client_wake(rd_kafka_t *client, const char *topic, int32_t partition)
{
    int64_t end;
    rd_kafka_resp_err_t why;
    const struct ends_query query = {.count = 1,
                                     .topics = &topic,
                                     .partition = partition,
                                     .which = RD_KAFKA_OFFSET_END,
                                     .timeout_ms = WAKE_MS};
    (void)ask_ends(client, &query, &end, &why);
}

bool client_begins_later(rd_kafka_t *client, const char *topic, int32_t partition, int64_t offset,
                         int timeout_ms, int64_t *first)
{
    struct error ignored;
    const struct ends_query query = {.count = 1,
                                     .topics = &topic,
                                     .partition = partition,
                                     .which = RD_KAFKA_OFFSET_BEGINNING,
                                     .timeout_ms = timeout_ms};
    return client_ends(client, &query, first, &ignored) == 0 && *first > offset;
}
