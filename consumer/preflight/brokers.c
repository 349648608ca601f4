#include "consumer/preflight/brokers.h"

#include <string.h>

#define VERIFICATION "transaction.partition.verification.enable"
#define REBALANCE_PROTOCOLS "group.coordinator.rebalance.protocols"
#define LATE "a late request of an earlier transaction can lose records, or publish them twice"
#define NOT_SHOWN "whether it refuses late requests of an earlier transaction is not shown"

const struct broker_verdict broker_verdicts[BROKER_FENCINGS] = {
    [BROKER_UNVERIFIED] = {true,
                           VERIFICATION " is false: " LATE
                                        "; set it to true, for the broker and for the cluster "
                                        "(kafka-configs --alter, no restart)"},
    [BROKER_BEFORE_3_6] = {true, "older than Apache Kafka 3.6 (no " VERIFICATION "): " LATE
                                 "; update to 3.8 or later"},
    [BROKER_BEFORE_3_7] = {true, "older than Apache Kafka 3.7 (no telemetry.max.bytes), which does "
                                 "not refuse late offsets: " LATE "; update to 3.8 or later"},
    [BROKER_PREVIEWS] = {true,
                         "Apache Kafka 3.7 with the early group coordinator, which does not refuse "
                         "late offsets: " LATE "; take consumer out of " REBALANCE_PROTOCOLS
                         ", or update to 3.8 or later"},
    [BROKER_OF_ANOTHER_MAKE] = {false, "not Apache Kafka by the settings that are shown (no "
                                       "transaction.state.log.num.partitions): " NOT_SHOWN
                                       "; ask its maker whether it "
                                       "verifies batches and offsets as KIP-890 does"},
    [BROKER_KEEPS_SILENT] = {false, "it did not answer when asked for its settings: " NOT_SHOWN
                                    "; look at it, and run "
                                    "settled check again"},
    [BROKER_FORBIDS] = {false, "this user may not see its settings: " NOT_SHOWN
                               "; grant DescribeConfigs on the cluster: "}, // the command follows
};

// A setting that a version does not know is absent from the answer, not empty.
static bool says(const struct admin_broker *broker, const char *name, const char *value)
{
    const struct admin_setting *found = admin_setting(&broker->settings, name);
    return found && strcmp(found->value, value) == 0;
}

static bool has(const struct admin_broker *broker, const char *name)
{
    return admin_setting(&broker->settings, name) != NULL;
}

static bool lists(const struct admin_broker *broker, const char *name, const char *element)
{
    const struct admin_setting *found = admin_setting(&broker->settings, name);
    size_t size = strlen(element);
    for (const char *at = found ? found->value : ""; *at;) {
        size_t length = strcspn(at, ", ");
        if (length == size && memcmp(at, element, size) == 0)
            return true;
        at += length + strspn(at + length, ", ");
    }
    return false;
}

static enum broker_fencing of_trouble(rd_kafka_resp_err_t trouble)
{
    return trouble == RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED ? BROKER_FORBIDS
                                                                     : BROKER_KEEPS_SILENT;
}

enum broker_fencing broker_fencing(const struct admin_broker *broker)
{
    if (broker->trouble)
        return of_trouble(broker->trouble);
    if (!has(broker, VERIFICATION))
        return has(broker, "transaction.state.log.num.partitions") ? BROKER_BEFORE_3_6
                                                                   : BROKER_OF_ANOTHER_MAKE;
    if (!says(broker, VERIFICATION, "true"))
        return BROKER_UNVERIFIED;
    if (!has(broker, "telemetry.max.bytes"))
        return BROKER_BEFORE_3_7;
    // The new group coordinator (a preview in 3.8, the only one since 4.0) verifies since 3.8
    // (KAFKA-14505).
    bool early = lists(broker, REBALANCE_PROTOCOLS, "consumer") ||
                 says(broker, "group.coordinator.new.enable", "true");
    return early && !has(broker, "group.coordinator.append.linger.ms") ? BROKER_PREVIEWS
                                                                       : BROKER_FENCES;
}
