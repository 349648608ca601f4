// Whether each topic still has as many partitions as the deployment, looked at on a thread of its
// own: every few seconds, and whenever somebody has to know. Producers send by the count that they
// find; a shard must not judge by another one.
#pragma once

#include "consumer/kafka/client.h"

#include <stdbool.h>
#include <stdint.h>

struct topic_counts; // one a process, thread-safe

enum { TOPIC_COUNTS_MAX = 16 };

struct topic_counts_options {
    size_t count;
    const char *topics[TOPIC_COUNTS_MAX]; // borrowed
    int32_t partitions; // that each must have
    struct client_properties properties;
};

int topic_counts_create(const struct topic_counts_options *options, struct topic_counts **out,
                        struct error *e);
// Waits for a look under way for at most `timeout_ms`. False: it hangs, and is left behind.
bool topic_counts_destroy(struct topic_counts *counts, int timeout_ms);

// Whether every topic had its count in a look that was sent long enough after `since_ms`
// (monotonic) for every broker to know of a change made until then. False: not yet; a look is on
// its way, or a topic has another count.
bool topic_counts_right(struct topic_counts *counts, int64_t since_ms);
// True when a topic has another count: *e (ERROR_CONFIG) names it, and what helps.
bool topic_counts_wrong(struct topic_counts *counts, struct error *e);
// Why the last look did not show every topic. "" when it did.
void topic_counts_trouble(struct topic_counts *counts, char *out, size_t size);
