// Kafka clients as everything here wants them: properties in order, later ones win; librdkafka's own log lines and errors
// come out of our log.
#pragma once

#include "pricing/error.h"

#include <librdkafka/rdkafka.h>
#include <stddef.h>

struct client_properties {
    size_t count;
    const char *(*pairs)[2]; // name and value
};

// Builds a configuration from `ours`, then `theirs`. Errors (ERROR_CONFIG) name the property. NULL with *e.
rd_kafka_conf_t *client_conf(const struct client_properties *ours, const struct client_properties *theirs,
                             struct error *e);
// Takes the configuration, also on error. NULL with *e.
rd_kafka_t *client_create(rd_kafka_type_t type, rd_kafka_conf_t *conf, struct error *e);

// Partitions of a topic. Errors: ERROR_UNAVAILABLE, or ERROR_CONFIG for a topic that does not exist.
int client_partitions(rd_kafka_t *client, const char *topic, int timeout_ms, int32_t *out, struct error *e);
