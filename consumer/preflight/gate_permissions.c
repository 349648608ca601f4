// Whether this user may write to the outputs, use the transactional ids, and commit for the groups.
// Brokers do not tell an application what it may do, so each is tried in a way that leaves nothing
// behind: a record with a number of acknowledgements that no broker takes is refused for the lack
// of a permission first, and appended never; offsets go into a transaction that is aborted, of an
// id of its own, so that no relay is fenced.
#include "consumer/preflight/gates.h"
#include "consumer/relay/publisher.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { ID_SIZE = RELAY_GROUP_SIZE + 16 };

struct probe {
    struct gates *g;
    rd_kafka_t *producer;
    rd_kafka_resp_err_t written[OUTPUT_COUNT]; // what came of the record; 0: no answer yet
};

// ---- writing ----

static void take_report(rd_kafka_t *producer, const rd_kafka_message_t *message, void *opaque)
{
    (void)producer;
    struct probe *probe = opaque;
    const rd_kafka_resp_err_t *slot = message->_private;
    probe->written[slot - probe->written] = message->err;
}

static rd_kafka_t *open_writer(struct probe *probe, struct error *e)
{
    const char *fixed[][2] = {
        {"enable.idempotence", "false"},
        {"acks", "2"},
        {"linger.ms", "0"},
        {"message.send.max.retries", "0"},
        {"message.timeout.ms", "5000"},
        {"allow.auto.create.topics", "false"},
    };
    rd_kafka_conf_t *conf = client_conf(
        &probe->g->properties, &(struct client_properties){sizeof fixed / sizeof *fixed, fixed}, e);
    if (!conf)
        return NULL;
    rd_kafka_conf_set_log_cb(conf, NULL);
    rd_kafka_conf_set_dr_msg_cb(conf, take_report);
    rd_kafka_conf_set_opaque(conf, probe);
    return client_create(RD_KAFKA_PRODUCER, conf, e);
}

static void tell_written(struct gates *g, enum output output, rd_kafka_resp_err_t code)
{
    const char *topic = g->config->output_topics[output];
    if (code == RD_KAFKA_RESP_ERR_INVALID_REQUIRED_ACKS)
        return; // it may: the record was refused for what is wrong with it
    if (code == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED)
        WRONG(g,
              "topic %s: %s may not write to it; grant Write (kafka-acls --add --operation Write "
              "--topic %s)",
              topic, gates_user(g), topic);
    else
        WARN(g, "not looked at: whether %s may write to topic %s: %s", gates_user(g), topic,
             code ? rd_kafka_err2str(code) : "no answer");
}

static void try_writing(struct probe *probe)
{
    struct error e = {0};
    struct gates *g = probe->g;
    rd_kafka_t *writer = open_writer(probe, &e);
    if (!writer) {
        gates_find_error(g, &e);
        return;
    }
    for (enum output o = 0; o < OUTPUT_COUNT; o++) {
        if (!g->topics[INPUT_COUNT + o].exists)
            continue;
        rd_kafka_resp_err_t code = rd_kafka_producev(
            writer, RD_KAFKA_V_TOPIC(g->config->output_topics[o]), RD_KAFKA_V_PARTITION(0),
            RD_KAFKA_V_VALUE(NULL, 0), RD_KAFKA_V_OPAQUE(&probe->written[o]), RD_KAFKA_V_END);
        if (code)
            probe->written[o] = code;
    }
    rd_kafka_flush(writer, GATES_KAFKA_MS);
    rd_kafka_purge(writer, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    rd_kafka_flush(writer, GATES_KAFKA_MS);
    rd_kafka_destroy(writer);
    for (enum output o = 0; o < OUTPUT_COUNT; o++)
        if (g->topics[INPUT_COUNT + o].exists)
            tell_written(g, o, probe->written[o]);
}

// ---- transactions and groups ----

static rd_kafka_t *open_transactional(const struct gates *g, struct error *e)
{
    char id[ID_SIZE], group[RELAY_GROUP_SIZE];
    snprintf(id, sizeof id, "%s-check", relay_group(g->config->group, group));
    const char *fixed[][2] = {{"transactional.id", id}, {"allow.auto.create.topics", "false"}};
    rd_kafka_conf_t *conf = client_conf(
        &g->properties, &(struct client_properties){sizeof fixed / sizeof *fixed, fixed}, e);
    if (!conf)
        return NULL;
    rd_kafka_conf_set_log_cb(conf, NULL);
    return client_create(RD_KAFKA_PRODUCER, conf, e);
}

// Takes the error. 0: none.
static rd_kafka_resp_err_t code_of(rd_kafka_error_t *error)
{
    rd_kafka_resp_err_t code = error ? rd_kafka_error_code(error) : RD_KAFKA_RESP_ERR_NO_ERROR;
    if (error)
        rd_kafka_error_destroy(error);
    return code;
}

// An offset that nobody else has: of this group, for a topic that it does not read.
static rd_kafka_resp_err_t try_group(struct probe *probe, const char *group)
{
    rd_kafka_resp_err_t code = code_of(rd_kafka_begin_transaction(probe->producer));
    if (code)
        return code;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, probe->g->config->output_topics[OUTPUT_DAY_CLOSES], 0)
        ->offset = 0;
    rd_kafka_consumer_group_metadata_t *metadata = rd_kafka_consumer_group_metadata_new(group);
    code = code_of(
        rd_kafka_send_offsets_to_transaction(probe->producer, list, metadata, GATES_KAFKA_MS));
    rd_kafka_consumer_group_metadata_destroy(metadata);
    rd_kafka_topic_partition_list_destroy(list);
    (void)code_of(rd_kafka_abort_transaction(probe->producer, GATES_KAFKA_MS));
    return code;
}

// False: it may not, or it was not seen.
static bool tell_group(struct gates *g, const char *group, rd_kafka_resp_err_t code)
{
    if (code == RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED)
        WRONG(g,
              "group %s: %s may not use it; grant Read (kafka-acls --add --operation Read --group "
              "%s)",
              group, gates_user(g), group);
    else if (code && code != RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED) // told with the records
        WARN(g, "not looked at: whether %s may use the group %s: %s", gates_user(g), group,
             rd_kafka_err2str(code));
    return !code;
}

static void tell_id(struct gates *g, rd_kafka_resp_err_t code)
{
    if (code == RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED)
        WRONG(g,
              "transactional ids %s-relay-…: %s may not use them; grant Write on the prefix "
              "(kafka-acls --add --operation Write --transactional-id %s-relay- "
              "--resource-pattern-type prefixed)",
              g->config->group, gates_user(g), g->config->group);
    else
        WARN(g,
             "not looked at: whether %s may use the transactional ids %s-relay-… and the groups: "
             "%s",
             gates_user(g), g->config->group, rd_kafka_err2str(code));
}

static void try_groups(struct probe *probe)
{
    struct gates *g = probe->g;
    char relay[RELAY_GROUP_SIZE];
    const char *groups[] = {g->config->group, relay_group(g->config->group, relay)};
    bool all = true;
    if (!g->topics[INPUT_COUNT + OUTPUT_DAY_CLOSES].exists)
        return;
    rd_kafka_resp_err_t code = code_of(rd_kafka_init_transactions(probe->producer, GATES_KAFKA_MS));
    if (code) {
        tell_id(g, code);
        return;
    }
    for (int i = 0; i < 2; i++)
        all = tell_group(g, groups[i], try_group(probe, groups[i])) && all;
    if (all)
        g->facts |= FACT_GROUPS;
}

void gate_permissions(struct gates *g)
{
    struct error e = {0};
    struct probe probe = {.g = g};
    try_writing(&probe);
    probe.producer = open_transactional(g, &e);
    if (!probe.producer) {
        gates_find_error(g, &e);
        return;
    }
    try_groups(&probe);
    rd_kafka_destroy(probe.producer);
}
