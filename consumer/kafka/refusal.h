// What brokers refuse, in the words that an operator needs: who may not do what, and the very
// command that grants it; or whose login is refused, and what to mend. All of it is known from the
// client and from the names that its call used.
#pragma once

#include "pricing/error.h"

#include <librdkafka/rdkafka.h>
#include <stdbool.h>

// Operations on a topic, as a set.
enum { REFUSAL_READ = 1, REFUSAL_WRITE = 2, REFUSAL_DESCRIBE_CONFIGS = 4 };

// What a call needs to be allowed. What it does not use is NULL.
struct refusal_call {
    const char *topic;
    unsigned operations; // on the topic
    const char *group; // Read
    const char *transactional_id; // Write
    bool prefix; // of the transactional id: all that begin so
    bool cluster; // DescribeConfigs on the cluster
};

bool refusal_of_permission(rd_kafka_resp_err_t code);
// If the brokers have refused the call for want of a permission, says so in *e (ERROR_CONFIG), with
// the command that grants it. Otherwise leaves *e as it is. Returns whether it did.
bool refusal_explain(const rd_kafka_t *client, rd_kafka_resp_err_t code,
                     const struct refusal_call *call, struct error *e);
// The login of the client was refused; `reason` is librdkafka's. ERROR_CONFIG.
void refusal_of_login(const rd_kafka_t *client, const char *reason, struct error *e);
// The command alone.
enum { REFUSAL_COMMAND_SIZE = 640 };
const char *refusal_command(const rd_kafka_t *client, rd_kafka_resp_err_t code,
                            const struct refusal_call *call, char out[REFUSAL_COMMAND_SIZE]);
