// Publishes outbox rows exactly once: each batch is one Kafka transaction that also commits "published up to n" as the
// offset of a pseudo consumer group (GROUP-relay, topic = the settlements topic, partition = shard), with the
// hash of row n in its metadata. After a crash n is read back from Kafka, so no two-phase commit is needed.
//
//   claimed ─► INIT (init_transactions fences the zombie) ─► RECOVER (read n) ─► IDLE ⇄ PUBLISH
//                ▲                                                                     │ fenced or fatal: check the epoch
//                └──────────────────────────── kept ◄──────────────────────────────────┴─► lost: stop
#pragma once

#include "consumer/io/store.h"

#include <stdatomic.h>

struct relay; // of one worker: one thread, one database connection, a producer a shard

struct relay_options {
    const char *group, *dsn;
    const char *topics[OUTPUT_COUNT];
    int32_t schema_ids[OUTPUT_COUNT];
    // librdkafka properties for the producers, as name and value, n pairs; brokers included
    size_t property_count;
    const char *(*properties)[2];
    int64_t (*clock_ms)(void *context);
    void *clock_context;
    bool drop_published; // false in tests that want to see every row
};

// Starts the thread. Errors: ERROR_CONFIG for properties librdkafka refuses.
int relay_create(const struct relay_options *options, struct relay **out, struct error *e);
// Stops within a bound and frees; a batch under way is committed or aborted.
void relay_destroy(struct relay *relay);

// The caller owns the shard since `epoch`; publishing starts. Adding it again with a higher epoch restarts it.
void relay_add(struct relay *relay, int32_t shard, int64_t epoch);
// Returns once the shard's producer is gone.
void relay_remove(struct relay *relay, int32_t shard);
// New rows up to `sequence` are committed.
void relay_wake(struct relay *relay, int32_t shard, int64_t sequence);

struct relay_status {
    int64_t published; // n; -1: not known yet
    bool lost; // the epoch is another's
    bool halted; // e.g. Kafka is ahead of PostgreSQL; error says the numbers and the remedy
    struct error error; // of the halt, or the last trouble while retrying
};
struct relay_status relay_status(struct relay *relay, int32_t shard);
