// Publishes outbox rows exactly once: each batch is one Kafka transaction that also commits
// "published up to n" as the offset of a pseudo consumer group (GROUP-relay, topic = the
// settlements topic, partition = shard), with the hash of row n in its metadata. After a crash
// Kafka still has n, so no two-phase commit is needed.
//
// relay_machine.h draws and decides; publisher.h writes to Kafka, published_position.h and
// published_log.h read what was written, the store talks to PostgreSQL. This module has the
// threads.
#pragma once

#include "consumer/postgres/store.h"
#include "consumer/relay/published_log.h"

// The relay of one worker: one thread and one producer for each shard, and two database connections
// for all of them. A transaction waits for five answers of brokers, one after the other, inside
// librdkafka's blocking calls, and init_transactions can take seconds. On a single thread every
// shard would wait for all others, and a shard whose partition has no leader would stop all of
// them. A producer has several threads of its own anyway. A connection is held while rows are
// loaded and queued, never while a transaction is committed.
struct relay;

struct relay_options { // what it points to must outlive the relay
    const char *group;
    char *const *dsns; // of all databases
    size_t dsn_count;
    const char *topics[OUTPUT_COUNT];
    struct output_framing framing;
    // librdkafka properties for the producers, as name and value, n pairs; brokers included
    size_t property_count;
    const char *(*properties)[2];
    // called by several threads; pauses and time-outs do not depend on this clock
    int64_t (*clock_ms)(void *context);
    void *clock_context;
};

// Connects nowhere yet. Errors: ERROR_CONFIG for properties librdkafka refuses.
int relay_create(const struct relay_options *options, struct relay **out, struct error *e);
// Stops and frees, within a few seconds even if a broker hangs. A batch under way is committed or
// aborted, or is left to the init_transactions of the next owner.
void relay_destroy(struct relay *relay);

// The caller owns the shard since `epoch`, and found the mark `relayed` in its row; publishing
// starts. Adding the shard again with a higher epoch restarts it; with the same or a lower epoch
// nothing happens.
void relay_add(struct relay *relay, int32_t shard, int64_t epoch, int64_t mark);
// Returns once the shard's producer is gone.
void relay_remove(struct relay *relay, int32_t shard);
// New rows up to `sequence` are committed.
void relay_wake(struct relay *relay, int32_t shard, int64_t sequence);

struct relay_status {
    int64_t published; // rows up to here were read back from the topics; -1: not known yet
    int64_t marked; // and PostgreSQL has it that they are; -1: not known yet
    bool lost; // another owner has raised the epoch
    bool halted; // e.g. Kafka is ahead of PostgreSQL; error says the numbers and the remedy
    // of the halt, or the last trouble while retrying; kind ERROR_NONE when all is well
    struct error error;
    bool kafkas; // the trouble is Kafka's, not PostgreSQL's
    // Since the shard was added:
    // that the topics had acknowledged and did not have: they were published again
    int64_t lost_rows;
    // that were replaced, since a copy of one of their requests could be under way
    int64_t spent_producers;
    struct published_strange strange;
};
// Safe from any thread, as relay_wake is. A shard that was not added: published and marked -1.
struct relay_status relay_status(struct relay *relay, int32_t shard);
