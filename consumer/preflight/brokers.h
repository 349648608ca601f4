// Which brokers refuse every request of an older producer epoch. Publishing exactly once depends on
// this: a fresh producer raises the epoch, and requests of the earlier producer that the network
// still holds must not be applied any more (ARCHITECTURE.md, "Which brokers refuse old requests").
// librdkafka does not tell an application the version of a broker, so it is inferred from the
// settings that the broker has.
#pragma once

#include "consumer/kafka/admin.h"

enum broker_fencing {
    BROKER_FENCES,
    BROKER_UNVERIFIED, // the verification is switched off
    BROKER_BEFORE_3_6, // it has none
    BROKER_BEFORE_3_7, // it verifies batches, but no offsets
    BROKER_PREVIEWS, // 3.7 with the early group coordinator, which verifies no offsets
    BROKER_OF_ANOTHER_MAKE, // not Apache Kafka by its settings: nothing is shown
    BROKER_KEEPS_SILENT, // it did not answer
    BROKER_FORBIDS, // this user may not look
    BROKER_FENCINGS
};

enum broker_fencing broker_fencing(const struct admin_broker *broker);

// Reason and remedy for brokers that do not fence, or of which it is not known. `refused`: nothing
// may be published there.
struct broker_verdict {
    bool refused;
    const char *text;
};
extern const struct broker_verdict broker_verdicts[BROKER_FENCINGS];
