#include "consumer/kafka/admin.h"
#include "consumer/kafka/refusal.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct admin {
    rd_kafka_t *client;
    rd_kafka_queue_t *queue;
    int timeout_ms;
    char trouble[256]; // last error of the client: why no broker answers
    bool login_refused; // which was that
};

// A verb prints one error, so the client's own log lines are dropped, and the last trouble becomes
// part of that error.
static void on_error(rd_kafka_t *client, int code, const char *reason, void *opaque)
{
    struct admin *admin = opaque;
    (void)client;
    if (code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN)
        return;
    snprintf(admin->trouble, sizeof admin->trouble, "%s", reason);
    admin->login_refused = code == RD_KAFKA_RESP_ERR__AUTHENTICATION;
}

int admin_create(const struct client_properties *properties, int timeout_ms, struct admin **out,
                 struct error *e)
{
    struct admin *admin = calloc(1, sizeof *admin);
    if (!admin)
        return error_set(e, ERROR_RESTART, "out of memory");
    admin->timeout_ms = timeout_ms;
    rd_kafka_conf_t *conf = client_conf(NULL, properties, e);
    if (conf) {
        rd_kafka_conf_set_log_cb(conf, NULL);
        rd_kafka_conf_set_error_cb(conf, on_error);
        rd_kafka_conf_set_opaque(conf, admin);
        admin->client = client_create(RD_KAFKA_PRODUCER, conf, e);
    }
    if (!admin->client) {
        free(admin);
        return -1;
    }
    admin->queue = rd_kafka_queue_new(admin->client);
    *out = admin;
    return 0;
}

void admin_destroy(struct admin *admin)
{
    if (!admin)
        return;
    rd_kafka_queue_destroy(admin->queue);
    rd_kafka_destroy(admin->client);
    free(admin);
}

const rd_kafka_t *admin_client(const struct admin *admin)
{
    return admin->client;
}

static int unreachable(struct admin *admin, const char *reason, struct error *e)
{
    rd_kafka_poll(admin->client, 0); // errors are delivered here
    const char *why = admin->trouble[0] ? admin->trouble : reason;
    if (admin->login_refused) {
        refusal_of_login(admin->client, why, e);
        return -1;
    }
    return error_set(e, ERROR_UNAVAILABLE,
                     "no Kafka broker answers within %d s (%s); check kafka.brokers",
                     admin->timeout_ms / 1000, why);
}

int admin_cluster(struct admin *admin, char id[ADMIN_CLUSTER_ID_SIZE], struct error *e)
{
    char *found = rd_kafka_clusterid(admin->client, admin->timeout_ms);
    if (!found)
        return unreachable(admin, "timed out", e);
    snprintf(id, ADMIN_CLUSTER_ID_SIZE, "%s", found);
    rd_kafka_mem_free(admin->client, found);
    return 0;
}

// ---- looking ----

// One request for all topics of the cluster: asking for a single one by name could create it.
static int read_metadata(struct admin *admin, struct admin_topic *topics, size_t count,
                         struct error *e)
{
    const struct rd_kafka_metadata *metadata;
    rd_kafka_resp_err_t code =
        rd_kafka_metadata(admin->client, 1, NULL, &metadata, admin->timeout_ms);
    if (code)
        return unreachable(admin, rd_kafka_err2str(code), e);
    for (int i = 0; i < metadata->topic_cnt; i++) {
        const struct rd_kafka_metadata_topic *found = &metadata->topics[i];
        for (size_t j = 0; j < count; j++) {
            if (strcmp(topics[j].name, found->topic) != 0 || found->partition_cnt == 0)
                continue;
            topics[j].exists = true;
            topics[j].partitions = found->partition_cnt;
            topics[j].replicas = found->partitions[0].replica_cnt;
            for (int p = 1; p < found->partition_cnt; p++)
                if (found->partitions[p].replica_cnt < topics[j].replicas)
                    topics[j].replicas = found->partitions[p].replica_cnt;
        }
    }
    rd_kafka_metadata_destroy(metadata);
    return 0;
}

// Waits for the answer to an admin request. NULL with *e.
static rd_kafka_event_t *await(struct admin *admin, struct error *e)
{
    rd_kafka_event_t *event = rd_kafka_queue_poll(admin->queue, admin->timeout_ms + 1000);
    if (!event) {
        unreachable(admin, "timed out", e);
        return NULL;
    }
    rd_kafka_resp_err_t code = rd_kafka_event_error(event);
    if (!code)
        return event;
    bool away = code == RD_KAFKA_RESP_ERR__TIMED_OUT || code == RD_KAFKA_RESP_ERR__TRANSPORT;
    if (away)
        unreachable(admin, rd_kafka_event_error_string(event), e);
    else
        error_set(e, ERROR_CONFIG, "Kafka refuses the request: %s",
                  rd_kafka_event_error_string(event));
    rd_kafka_event_destroy(event);
    return NULL;
}

static rd_kafka_AdminOptions_t *bounded(struct admin *admin, rd_kafka_admin_op_t operation)
{
    char why[200];
    rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(admin->client, operation);
    rd_kafka_resp_err_t code =
        rd_kafka_AdminOptions_set_request_timeout(options, admin->timeout_ms, why, sizeof why);
    assert(!code); // a constant within its bounds
    (void)code;
    return options;
}

static void take_settings(struct admin_settings *settings,
                          const rd_kafka_ConfigResource_t *resource)
{
    size_t count;
    const rd_kafka_ConfigEntry_t **entries = rd_kafka_ConfigResource_configs(resource, &count);
    settings->list = calloc(count ? count : 1, sizeof *settings->list);
    if (!settings->list)
        abort(); // out of memory
    for (size_t i = 0; i < count; i++) {
        const char *value = rd_kafka_ConfigEntry_value(entries[i]);
        struct admin_setting *setting = &settings->list[settings->count++];
        setting->name = strdup(rd_kafka_ConfigEntry_name(entries[i]));
        setting->value = strdup(value ? value : "");
        setting->own =
            rd_kafka_ConfigEntry_source(entries[i]) == RD_KAFKA_CONFIG_SOURCE_DYNAMIC_TOPIC_CONFIG;
        if (!setting->name || !setting->value)
            abort(); // out of memory
    }
}

static int refuse_settings(const struct admin *admin, const rd_kafka_ConfigResource_t *of,
                           struct error *e)
{
    const char *name = rd_kafka_ConfigResource_name(of);
    error_set(e, ERROR_CONFIG, "topic %s: its settings cannot be read: %s", name,
              rd_kafka_ConfigResource_error_string(of));
    (void)refusal_explain(
        admin->client, rd_kafka_ConfigResource_error(of),
        &(struct refusal_call){.topic = name, .operations = REFUSAL_DESCRIBE_CONFIGS}, e);
    return -1;
}

static int take_described(const struct admin *admin, rd_kafka_event_t *event,
                          struct admin_topic *topics, size_t count, struct error *e)
{
    size_t found;
    const rd_kafka_ConfigResource_t **resources = rd_kafka_DescribeConfigs_result_resources(
        rd_kafka_event_DescribeConfigs_result(event), &found);
    for (size_t i = 0; i < found; i++) {
        const char *name = rd_kafka_ConfigResource_name(resources[i]);
        if (rd_kafka_ConfigResource_error(resources[i]))
            return refuse_settings(admin, resources[i], e);
        for (size_t j = 0; j < count; j++)
            if (strcmp(topics[j].name, name) == 0)
                take_settings(&topics[j].settings, resources[i]);
    }
    return 0;
}

static int read_settings(struct admin *admin, struct admin_topic *topics, size_t count,
                         struct error *e)
{
    rd_kafka_ConfigResource_t *resources[ADMIN_TOPICS_MAX];
    size_t asked = 0;
    for (size_t i = 0; i < count; i++)
        if (topics[i].exists)
            resources[asked++] =
                rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topics[i].name);
    if (asked == 0)
        return 0;
    rd_kafka_AdminOptions_t *options = bounded(admin, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS);
    rd_kafka_DescribeConfigs(admin->client, resources, asked, options, admin->queue);
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_ConfigResource_destroy_array(resources, asked);
    rd_kafka_event_t *event = await(admin, e);
    if (!event)
        return -1;
    int status = take_described(admin, event, topics, count, e);
    rd_kafka_event_destroy(event);
    return status;
}

int admin_describe(struct admin *admin, const char *const *names, size_t count,
                   struct admin_topic *out, struct error *e)
{
    assert(count <= ADMIN_TOPICS_MAX);
    memset(out, 0, count * sizeof *out);
    for (size_t i = 0; i < count; i++)
        snprintf(out[i].name, sizeof out[i].name, "%s", names[i]);
    if (read_metadata(admin, out, count, e) == 0 && read_settings(admin, out, count, e) == 0)
        return 0;
    admin_release(out, count);
    return -1;
}

static bool find_partition(struct admin *admin, const char *topic, int32_t partition,
                           struct rd_kafka_metadata_partition *out)
{
    const struct rd_kafka_metadata *metadata;
    bool found = false;
    if (rd_kafka_metadata(admin->client, 1, NULL, &metadata, admin->timeout_ms))
        return false;
    for (int i = 0; i < metadata->topic_cnt; i++)
        for (int p = 0; p < metadata->topics[i].partition_cnt; p++)
            if (strcmp(metadata->topics[i].topic, topic) == 0 &&
                metadata->topics[i].partitions[p].id == partition) {
                *out = metadata->topics[i].partitions[p];
                found = true;
            }
    rd_kafka_metadata_destroy(metadata);
    return found;
}

bool admin_explain_unwritten(struct admin *admin, const char *topic, int32_t partition,
                             struct error *e)
{
    struct rd_kafka_metadata_partition at;
    struct admin_topic described = {0};
    struct error ignored;
    if (!find_partition(admin, topic, partition, &at))
        return false;
    if (at.leader < 0) {
        error_set(e, ERROR_UNAVAILABLE,
                  "topic %s partition %" PRId32
                  " takes no records: it has no leader; start the brokers that hold it",
                  topic, partition);
        return true;
    }
    if (admin_describe(admin, &topic, 1, &described, &ignored))
        return false;
    const struct admin_setting *setting = admin_setting(&described.settings, "min.insync.replicas");
    int least = setting ? (int)strtol(setting->value, NULL, 10) : 1;
    admin_release(&described, 1);
    if (at.isr_cnt >= least)
        return false;
    error_set(e, ERROR_UNAVAILABLE,
              "topic %s partition %" PRId32
              " takes no records: %d of its %d replicas are in sync, and min.insync.replicas is "
              "%d; start the brokers that are missing, give it more replicas, or lower the "
              "setting (kafka-configs --alter --entity-type topics --entity-name %s --add-config "
              "min.insync.replicas=…)",
              topic, partition, at.isr_cnt, at.replica_cnt, least, topic);
    return true;
}

static void release_settings(struct admin_settings *settings)
{
    for (size_t i = 0; i < settings->count; i++) {
        free(settings->list[i].name);
        free(settings->list[i].value);
    }
    free(settings->list);
    *settings = (struct admin_settings){0};
}

void admin_release(struct admin_topic *topics, size_t count)
{
    for (size_t i = 0; i < count; i++)
        release_settings(&topics[i].settings);
}

const struct admin_setting *admin_setting(const struct admin_settings *settings, const char *name)
{
    for (size_t i = 0; i < settings->count; i++)
        if (strcmp(settings->list[i].name, name) == 0)
            return &settings->list[i];
    return NULL;
}

// ---- brokers ----

// librdkafka asks the broker itself, and a request can name only one broker.
static void ask_broker(struct admin *admin, struct admin_broker *broker, rd_kafka_queue_t *answers)
{
    char id[12];
    snprintf(id, sizeof id, "%" PRId32, broker->id);
    broker->trouble = RD_KAFKA_RESP_ERR__TIMED_OUT; // until it answers
    rd_kafka_ConfigResource_t *resource = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_BROKER, id);
    rd_kafka_AdminOptions_t *options = bounded(admin, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS);
    rd_kafka_AdminOptions_set_opaque(options, broker);
    rd_kafka_DescribeConfigs(admin->client, &resource, 1, options, answers);
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_ConfigResource_destroy(resource);
}

static void take_broker(rd_kafka_event_t *event)
{
    struct admin_broker *broker = rd_kafka_event_opaque(event);
    size_t count = 0;
    broker->trouble = rd_kafka_event_error(event);
    if (broker->trouble)
        return;
    const rd_kafka_ConfigResource_t **found = rd_kafka_DescribeConfigs_result_resources(
        rd_kafka_event_DescribeConfigs_result(event), &count);
    broker->trouble =
        count == 1 ? rd_kafka_ConfigResource_error(found[0]) : RD_KAFKA_RESP_ERR__BAD_MSG;
    if (!broker->trouble)
        take_settings(&broker->settings, found[0]);
}

int admin_describe_brokers(struct admin *admin, struct admin_broker **out, size_t *count,
                           struct error *e)
{
    const struct rd_kafka_metadata *metadata;
    rd_kafka_resp_err_t code =
        rd_kafka_metadata(admin->client, 0, NULL, &metadata, admin->timeout_ms);
    if (code)
        return unreachable(admin, rd_kafka_err2str(code), e);
    *count = (size_t)metadata->broker_cnt;
    *out = calloc(*count ? *count : 1, sizeof **out);
    if (!*out)
        abort(); // out of memory
    // A queue of its own, so that a late answer is not taken for the answer to another question.
    rd_kafka_queue_t *answers = rd_kafka_queue_new(admin->client);
    for (size_t i = 0; i < *count; i++) {
        (*out)[i].id = metadata->brokers[i].id;
        ask_broker(admin, &(*out)[i], answers);
    }
    rd_kafka_metadata_destroy(metadata);
    rd_kafka_event_t *event;
    for (size_t i = 0;
         i < *count && (event = rd_kafka_queue_poll(answers, admin->timeout_ms + 1000)); i++) {
        take_broker(event);
        rd_kafka_event_destroy(event);
    }
    rd_kafka_queue_destroy(answers);
    return 0;
}

void admin_release_brokers(struct admin_broker *brokers, size_t count)
{
    for (size_t i = 0; i < count; i++)
        release_settings(&brokers[i].settings);
    free(brokers);
}

// ---- changing ----

static int check_created(rd_kafka_event_t *event, const char *name, struct error *e)
{
    size_t count;
    const rd_kafka_topic_result_t **results =
        rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &count);
    rd_kafka_resp_err_t code =
        count == 1 ? rd_kafka_topic_result_error(results[0]) : RD_KAFKA_RESP_ERR__BAD_MSG;
    // Somebody else created it at the same time: it is checked like any topic that existed before.
    if (!code || code == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS)
        return 0;
    const char *why = count == 1 ? rd_kafka_topic_result_error_string(results[0]) : NULL;
    return error_set(e, ERROR_CONFIG, "topic %s: Kafka does not create it: %s", name,
                     why ? why : rd_kafka_err2str(code));
}

int admin_create_topic(struct admin *admin, const char *name, int32_t partitions, int replicas,
                       const struct client_properties *settings, struct error *e)
{
    assert(partitions > 0);
    assert(replicas != 0);
    char why[256];
    rd_kafka_NewTopic_t *topic = rd_kafka_NewTopic_new(name, partitions, replicas, why, sizeof why);
    if (!topic)
        return error_set(e, ERROR_CONFIG, "topic %s: %s", name, why);
    for (size_t i = 0; i < settings->count; i++)
        rd_kafka_NewTopic_set_config(topic, settings->pairs[i][0], settings->pairs[i][1]);
    rd_kafka_AdminOptions_t *options = bounded(admin, RD_KAFKA_ADMIN_OP_CREATETOPICS);
    // The broker answers once the topic is usable.
    rd_kafka_AdminOptions_set_operation_timeout(options, admin->timeout_ms, why, sizeof why);
    rd_kafka_CreateTopics(admin->client, &topic, 1, options, admin->queue);
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_NewTopic_destroy(topic);
    rd_kafka_event_t *event = await(admin, e);
    if (!event)
        return -1;
    int status = check_created(event, name, e);
    rd_kafka_event_destroy(event);
    return status;
}

static bool is_changed(const struct client_properties *settings, const char *name)
{
    for (size_t i = 0; i < settings->count; i++)
        if (strcmp(settings->pairs[i][0], name) == 0)
            return true;
    return false;
}

static int check_altered(rd_kafka_event_t *event, const char *name, struct error *e)
{
    size_t count;
    const rd_kafka_ConfigResource_t **resources =
        rd_kafka_AlterConfigs_result_resources(rd_kafka_event_AlterConfigs_result(event), &count);
    rd_kafka_resp_err_t code =
        count == 1 ? rd_kafka_ConfigResource_error(resources[0]) : RD_KAFKA_RESP_ERR__BAD_MSG;
    if (!code)
        return 0;
    const char *why = count == 1 ? rd_kafka_ConfigResource_error_string(resources[0]) : NULL;
    return error_set(e, ERROR_CONFIG, "topic %s: Kafka does not change its settings: %s", name,
                     why ? why : rd_kafka_err2str(code));
}

// The request of this librdkafka replaces all of a topic's own settings, so the unchanged ones are
// sent, too.
int admin_alter_topic(struct admin *admin, const struct admin_topic *topic,
                      const struct client_properties *settings, struct error *e)
{
    assert(topic->exists);
    rd_kafka_ConfigResource_t *resource =
        rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topic->name);
    for (size_t i = 0; i < topic->settings.count; i++) {
        const struct admin_setting *kept = &topic->settings.list[i];
        if (kept->own && !is_changed(settings, kept->name))
            rd_kafka_ConfigResource_set_config(resource, kept->name, kept->value);
    }
    for (size_t i = 0; i < settings->count; i++)
        rd_kafka_ConfigResource_set_config(resource, settings->pairs[i][0], settings->pairs[i][1]);
    rd_kafka_AdminOptions_t *options = bounded(admin, RD_KAFKA_ADMIN_OP_ALTERCONFIGS);
    rd_kafka_AlterConfigs(admin->client, &resource, 1, options, admin->queue);
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_ConfigResource_destroy(resource);
    rd_kafka_event_t *event = await(admin, e);
    if (!event)
        return -1;
    int status = check_altered(event, topic->name, e);
    rd_kafka_event_destroy(event);
    return status;
}
