// Kafka, as far as settled can tell: input logs with transactions and a last stable offset, output partitions, the
// transaction coordinator of each shard's producer, and the pseudo consumer group.
#pragma once

#include "consumer/io/encode.h"
#include "tests/sim/script.h"

enum fate { FATE_PENDING, FATE_COMMITTED, FATE_ABORTED };

// One offset of an input log. A marker ends a transaction and is never delivered.
struct entry {
    bool marker, log_append;
    enum fate fate;
    int transaction;
    int64_t timestamp; // as the broker's clock stood
    int64_t stable_at; // world ms at which a reader could first see past it; -1: not yet
    struct fact fact;
};

struct input_topic_log {
    LIST(struct entry) entries; // by offset
    int64_t low, stable; // log start; last stable offset
    int64_t skew; // of the leader's clock
};

// A published row, by reference into the database's archive.
struct message {
    enum output output;
    int64_t sequence;
    struct slice key, body;
    uint8_t hash[32]; // of the row, in the chain
};

// One Kafka transaction of a relay.
struct batch {
    int32_t shard;
    int producer_epoch;
    enum fate fate;
    int64_t to; // "published up to", which it commits as well
    uint8_t hash[32];
    bool travelling; // its EndTxn was sent, and is not there yet
    LIST(struct message) messages;
};

struct published_to { // the pseudo group's offset of a shard
    int64_t n; // -1: expired, deleted, or never was
    bool has_hash;
    uint8_t hash[32];
};

struct coordinator {
    int producer_epoch;
    struct published_to position;
    int64_t emptied; // the topics have lost what was published up to here
};

struct kafka {
    int32_t shards;
    bool down; // no broker answers
    bool fences; // false: init_transactions is broken, to see that the checks can fail
    struct input_topic_log logs[SHARDS_MAX][INPUT_COUNT];
    struct coordinator coordinators[SHARDS_MAX];
    LIST(struct batch) batches;
    // What read_committed subscribers have seen of each partition, in order.
    LIST(struct message) read[SHARDS_MAX][OUTPUT_COUNT];
    // Told of each batch that becomes visible.
    void (*on_batch)(void *context, const struct batch *batch);
    void *context;
};

void kafka_free(struct kafka *kafka);

// ---- inputs ----
void kafka_append(struct kafka *kafka, const struct send *send, int64_t now);
void kafka_end_transaction(struct kafka *kafka, int transaction, bool commit, int64_t now);

// ---- the relays' transactions ----
enum sent { SENT_OK, SENT_FENCED, SENT_GONE };
int kafka_init_producer(struct kafka *kafka, int32_t shard); // its epoch; ends what earlier ones had under way
int kafka_begin(struct kafka *kafka, int32_t shard, int producer_epoch); // number of a batch, or -1: fenced
enum sent kafka_end(struct kafka *kafka, int batch, bool commit);
void kafka_deliver_travelling(struct kafka *kafka);
void kafka_time_out(struct kafka *kafka, int32_t shard); // the coordinator ends what stands open
bool kafka_unstable(const struct kafka *kafka, int32_t shard); // a batch's outcome is open
int64_t kafka_tail(const struct kafka *kafka, int32_t shard); // highest sequence in the four topics
