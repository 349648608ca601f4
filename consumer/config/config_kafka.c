// librdkafka properties: which ones are refused because a guarantee depends on our value, and which
// ones hold secrets.
#include "consumer/config/config_table.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <librdkafka/rdkafka.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    const char *allowed; // the only values that change nothing, "a|b"; NULL: none
    const char *why;
} guarded[] = {
    {"enable.auto.commit", "false",
     "offsets are committed in PostgreSQL together with the money; a commit of librdkafka's own "
     "would lose or repeat "
     "calls"},
    {"auto.commit.enable", "false", "offsets are committed in PostgreSQL together with the money"},
    {"auto.commit.interval.ms", NULL,
     "offsets are committed in PostgreSQL together with the money"},
    {"enable.auto.offset.store", "false", "offsets are kept in PostgreSQL together with the money"},
    {"offset.store.method", NULL, "offsets are kept in PostgreSQL together with the money"},
    {"offset.store.path", NULL, "offsets are kept in PostgreSQL together with the money"},
    {"enable.idempotence", "true", "without it a retry could publish a settlement twice"},
    {"acks", "all|-1", "a settlement counts as published only when every in-sync replica has it"},
    {"request.required.acks", "all|-1",
     "a settlement counts as published only when every in-sync replica has it"},
    {"isolation.level", "read_committed", "aborted records would be billed"},
    {"auto.offset.reset", "error",
     "a lost position must halt, not skip records or bill them again"},
    {"group.id", NULL, "set kafka.group, from which the other ids are made too"},
    {"group.instance.id", NULL, "static membership is unreliable in librdkafka 2.0"},
    {"group.protocol.type", NULL, "shards are assigned by the consumer protocol"},
    {"partition.assignment.strategy", "range",
     "only range keeps partition p of the three inputs with one owner; cooperative-sticky is "
     "unreliable in librdkafka "
     "2.0"},
    {"transactional.id", NULL,
     "each shard has its own, made of kafka.group: it fences an earlier owner"},
    {"bootstrap.servers", NULL, "set kafka.brokers"},
    {"metadata.broker.list", NULL, "set kafka.brokers"},
    {"partitioner", NULL, "set topics.partitioner, which is recorded"},
    {"allow.auto.create.topics", "false",
     "topics are declared and created by 'settled topics apply'"},
    {"enable.partition.eof", "true", "the end of a partition is an event of the fold"},
    {"max.in.flight", "1|2|3|4|5", "more than 5 requests in flight cannot be idempotent"},
    {"max.in.flight.requests.per.connection", "1|2|3|4|5",
     "more than 5 requests in flight cannot be idempotent"},
    {"queuing.strategy", "fifo", "rows are published in the order of their sequence"},
    {"queue.buffering.backpressure.threshold", "1",
     "librdkafka refuses it of an idempotent producer"},
    {"check.crcs", "true", "damaged records would be billed"},
    // The properties below make sure that no copy of a transactional request is under way
    // unnoticed. librdkafka resends by itself; the relay recognises such a copy by a request that
    // was sent and not answered.
    {"socket.max.fails", "1",
     "a connection on which a request has timed out must be closed: its answer would come late, "
     "and belong to nobody"},
    {"enable.gapless.guarantee", "false",
     "it makes an error fatal that the end of the transaction cures"},
    {"plugin.library.paths", NULL,
     "a plugin can change or swallow what is sent, and what the relay is told of it"},
    {"test.mock.num.brokers", "0", "it plays brokers in memory, which keep nothing"},
    {"api.version.request", "true",
     "without it librdkafka takes the brokers for old ones without transactions"},
    {"api.version.fallback.ms", "0",
     "after a lost connection librdkafka would take the broker for an old one"},
    {"broker.version.fallback", NULL,
     "the brokers say themselves what they can; an old one has no transactions"},
};
enum { GUARDED = sizeof guarded / sizeof *guarded };

// Numbers that are safe within bounds.
static const struct {
    const char *name;
    int64_t min, max;
    bool or_zero; // which switches it off
    const char *why;
} bounded[] = {
    {"socket.timeout.ms", 1000, 60000, false,
     "a shorter time-out takes every slow answer for a lost one, and a longer one outlives the "
     "transaction"},
    {"message.timeout.ms", 1000, 60000, false,
     "a shorter time-out gives rows up during a broker's pause, and a longer one outlives the "
     "transaction"},
    {"delivery.timeout.ms", 1000, 60000, false,
     "a shorter time-out gives rows up during a broker's pause, and a longer one outlives the "
     "transaction"},
    {"transaction.timeout.ms", 5000, 900000, false,
     "the coordinator would abort running transactions, or leave those of a dead process open for "
     "long"},
    {"retries", 1, INT32_MAX, false, "without a retry each lost answer gives up a transaction"},
    {"message.send.max.retries", 1, INT32_MAX, false,
     "without a retry each lost answer gives up a transaction"},
    {"retry.backoff.ms", 1, 1000, false,
     "a request that is sent again later outlives the call that it belongs to"},
    {"retry.backoff.max.ms", 1, 1000, false,
     "a request that is sent again later outlives the call that it belongs to"},
    {"connections.max.idle.ms", 60000, INT32_MAX, true,
     "a connection is taken for idle while an answer on it is awaited, so a shorter time loses "
     "answers"},
};
enum { BOUNDED = sizeof bounded / sizeof *bounded };

static const char *const secrets[] = {
    "sasl.password",         "ssl.key.password",        "ssl.key.pem",
    "ssl.keystore.password", "sasl.oauthbearer.config", "sasl.oauthbearer.client.secret",
};
enum { SECRETS = sizeof secrets / sizeof *secrets };

bool config_property_is_secret(const char *name)
{
    for (size_t i = 0; i < SECRETS; i++)
        if (strcmp(secrets[i], name) == 0)
            return true;
    return false;
}

bool config_property_names_secret(const char *name)
{
    static const char *const files[] = {"ssl.key.location", "ssl.keystore.location",
                                        "sasl.kerberos.keytab"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        if (strcmp(files[i], name) == 0)
            return true;
    return false;
}

static bool is_one_of(const char *list, const char *text)
{
    const char *choice;
    size_t size;
    while (list && *list) {
        choice = list;
        size = strcspn(list, "|");
        if (strlen(text) == size && memcmp(choice, text, size) == 0)
            return true;
        list += size + (list[size] == '|');
    }
    return false;
}

static const char *check_allowed(const char *name, const char *value, char why[WHY_SIZE])
{
    for (size_t i = 0; i < GUARDED; i++) {
        if (strcmp(guarded[i].name, name) != 0 || is_one_of(guarded[i].allowed, value))
            continue;
        snprintf(why, WHY_SIZE, "refused: %s", guarded[i].why);
        return why;
    }
    return NULL;
}

static const char *check_bounds(const char *name, const char *value, char why[WHY_SIZE])
{
    char *end;
    errno = 0;
    long long number = strtoll(value, &end, 10);
    bool is_number = end != value && !*end && errno == 0;
    for (size_t i = 0; i < BOUNDED; i++) {
        if (strcmp(bounded[i].name, name) != 0)
            continue;
        assert(bounded[i].min <= bounded[i].max);
        bool within = number >= bounded[i].min && number <= bounded[i].max;
        if (is_number && (within || (bounded[i].or_zero && number == 0)))
            continue;
        snprintf(why, WHY_SIZE, "refused, outside %" PRId64 " to %" PRId64 ": %s", bounded[i].min,
                 bounded[i].max, bounded[i].why);
        return why;
    }
    return NULL;
}

static const char *check_safe(const char *name, const char *value, char why[WHY_SIZE])
{
    const char *refused = check_allowed(name, value, why);
    return refused ? refused : check_bounds(name, value, why);
}

// librdkafka checks the property itself, but its message repeats the value, and a secret must not
// be shown.
static const char *check_known(const char *name, const char *value, char why[WHY_SIZE])
{
    char text[200] = "";
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_res_t result = rd_kafka_conf_set(conf, name, value, text, sizeof text);
    rd_kafka_conf_destroy(conf);
    if (result == RD_KAFKA_CONF_OK)
        return NULL;
    if (result == RD_KAFKA_CONF_UNKNOWN)
        return "librdkafka has no such property";
    snprintf(why, WHY_SIZE, "librdkafka refuses it: %s",
             config_property_is_secret(name) ? "bad value" : text);
    return why;
}

const char *config_set_property(struct config *config, const char *name, const char *value,
                                char why[WHY_SIZE])
{
    const char *refused = check_safe(name, value, why);
    if (!refused)
        refused = check_known(name, value, why);
    if (refused)
        return refused;
    size_t i = 0;
    while (i < config->property_count && strcmp(config->property_names[i], name) != 0)
        i++;
    if (i == CONFIG_PROPERTIES_MAX) {
        snprintf(why, WHY_SIZE, "more than %d properties", CONFIG_PROPERTIES_MAX);
        return why;
    }
    char *copy = strdup(value);
    if (!copy)
        return "out of memory";
    if (i == config->property_count) {
        config->property_names[i] = strdup(name);
        if (!config->property_names[i]) {
            free(copy);
            return "out of memory";
        }
        config->property_count++;
    } else {
        free(config->property_values[i]);
    }
    config->property_values[i] = copy;
    return NULL;
}

struct client_properties config_properties(const struct config *config,
                                           const char *pairs[CONFIG_PAIRS_MAX][2])
{
    size_t count = 0;
    assert(config->property_count < CONFIG_PAIRS_MAX);
    pairs[count][0] = "bootstrap.servers";
    pairs[count++][1] = config->brokers;
    for (size_t i = 0; i < config->property_count; i++) {
        pairs[count][0] = config->property_names[i];
        pairs[count++][1] = config->property_values[i];
    }
    return (struct client_properties){.count = count, .pairs = pairs};
}
