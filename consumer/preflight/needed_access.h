// What the daemon needs to be allowed in Kafka: "Permissions in Kafka" of deploy/RUNBOOK.md lists
// the same.
#pragma once

#include "consumer/config/config.h"
#include "consumer/kafka/access.h"

enum { NEEDED_NAME_SIZE = 320 };

struct needed_access {
    struct access_needs needs; // borrows the configuration, the properties and these names
    char relay[NEEDED_NAME_SIZE], ids[NEEDED_NAME_SIZE], id[NEEDED_NAME_SIZE];
};
// `end`: of the transactional id that is tried, so that no producer is fenced.
void needed_access_find(const struct config *config, const struct client_properties *properties,
                        const char *end, struct needed_access *out);
