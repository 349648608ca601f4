// Kafka's administration, blocking and with bounded time: what topics there are and how they are
// set, creating them, changing their settings. For the verbs and the checks before a start; never
// on the path of records.
#pragma once

#include "consumer/core/record.h"
#include "consumer/kafka/client.h"

#include <stdbool.h>

enum { ADMIN_CLUSTER_ID_SIZE = 128, ADMIN_TOPIC_SIZE = 250, ADMIN_TOPICS_MAX = 16 };

struct admin;

// `properties` as every client of ours has them, brokers included. `timeout_ms` bounds each call.
int admin_create(const struct client_properties *properties, int timeout_ms, struct admin **out,
                 struct error *e);
void admin_destroy(struct admin *admin);
// Whose client it is, for refusal.h.
const rd_kafka_t *admin_client(const struct admin *admin);

// Whether a broker answers, and the id of the cluster. ERROR_UNAVAILABLE with the last reason
// librdkafka gave; ERROR_CONFIG: the login is refused.
int admin_cluster(struct admin *admin, char id[ADMIN_CLUSTER_ID_SIZE], struct error *e);

struct admin_setting {
    char *name, *value; // value "" where the broker keeps it secret
    bool own; // set on the topic itself; else a default of the broker's
};

struct admin_settings {
    size_t count;
    struct admin_setting *list;
};

// NULL: the broker knows no such setting.
const struct admin_setting *admin_setting(const struct admin_settings *settings, const char *name);

struct admin_topic {
    char name[ADMIN_TOPIC_SIZE];
    bool exists;
    int32_t partitions;
    int replicas; // the least of any partition
    struct admin_settings settings;
};

// Looks topics up, with their settings where they exist. Release with admin_release.
int admin_describe(struct admin *admin, const char *const *names, size_t count,
                   struct admin_topic *out, struct error *e);
// Whether a partition takes no records now, and why as far as Kafka tells: it has no leader, or
// fewer replicas are in sync than min.insync.replicas. Then *e says so.
bool admin_explain_unwritten(struct admin *admin, const char *topic, int32_t partition,
                             struct error *e);
void admin_release(struct admin_topic *topics, size_t count);

struct admin_broker {
    int32_t id;
    rd_kafka_resp_err_t trouble; // why its settings are not known; 0: they are
    struct admin_settings settings; // as they hold on this broker, defaults among them
};

// Asks each broker of the cluster for its own settings, all at once. It is no error when a broker
// does not answer: its `trouble` says why. Release with admin_release_brokers.
int admin_describe_brokers(struct admin *admin, struct admin_broker **out, size_t *count,
                           struct error *e);
void admin_release_brokers(struct admin_broker *brokers, size_t count);

// Creates a topic with settings of its own. `replicas` -1: the cluster's default.
int admin_create_topic(struct admin *admin, const char *name, int32_t partitions, int replicas,
                       const struct client_properties *settings, struct error *e);
// Changes settings of a topic that was described; its other own settings are kept.
int admin_alter_topic(struct admin *admin, const struct admin_topic *topic,
                      const struct client_properties *settings, struct error *e);
