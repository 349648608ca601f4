// A model of Kafka, with all that settled can observe: input logs with transactions and a last
// stable offset, output partitions, the transaction coordinator of each shard's producer, and the
// pseudo consumer group.
#pragma once

#include "consumer/output/encode.h"
#include "tests/sim/script.h"

enum fate { FATE_PENDING, FATE_COMMITTED, FATE_ABORTED };

// One offset of an input log. A marker ends a transaction and is never delivered.
struct entry {
    bool marker, log_append;
    bool by_another_count; // its producer had found more partitions
    enum fate fate;
    int transaction;
    int64_t timestamp; // as the broker's clock stood
    int64_t appended_at; // world ms
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

// An output partition: the messages that read_committed subscribers find, in order, and what the
// partition knows of the producer that wrote last.
enum { RECENT_BATCHES = 5 };
struct output_topic_log {
    LIST(struct message) messages;
    size_t low; // those before it have expired
    int cuts; // so many times a broker has lost messages of it
    size_t cut_at; // those that it kept the last time
    int producer_id, producer_epoch;
    int next; // the number that its next message must have
    int recent
        // the first numbers of the last batches, by which one that comes again is known; -1: none
        [RECENT_BATCHES];
};

struct published_to { // the pseudo group's offset of a shard
    int64_t n; // -1: expired, deleted, or never was
    bool has_hash;
    uint8_t hash[32];
};

// A transactional request of the shard's producer. Kafka applies it to whatever transaction is open
// when it arrives.
enum txn_kind {
    TXN_ADD_PARTITIONS,
    TXN_PRODUCE,
    TXN_ADD_OFFSETS,
    TXN_OFFSET_COMMIT,
    TXN_END,
    TXN_INIT,
    TXN_KINDS,
};
enum { BATCH_ROWS = 20 };
struct txn_request {
    enum txn_kind kind;
    int32_t shard;
    int producer_id, epoch; // INIT: of the answer
    int transaction; // the client's, as the simulator numbers them; Kafka does not know it
    unsigned outputs; // ADD_PARTITIONS: a bit each
    enum output output; // PRODUCE
    int number; // of its first message
    int count;
    struct message messages[BATCH_ROWS];
    struct published_to position; // OFFSET_COMMIT
    bool commit; // END; false: abort
    int64_t due; // the step at which a copy arrives
};
enum txn_answer {
    TXN_DONE,
    TXN_CONCURRENT, // another transaction is still being ended: to be asked again
    TXN_REFUSED, // not in this state, not in this order, or not of a partition of the transaction
    TXN_UNKNOWN_ID,
    TXN_FENCED,
    TXN_SILENT, // none came
};

enum txn_state {
    TXN_EMPTY,
    TXN_ONGOING,
    // decided and answered; the markers that let readers see it are still to be written
    TXN_PREPARE_COMMIT,
    TXN_PREPARE_ABORT,
    TXN_COMPLETE_COMMIT,
    TXN_COMPLETE_ABORT,
};

enum { TXN_OFFSETS = 1 << OUTPUT_COUNT }; // the group's partition, beside those of the outputs
struct coordinator {
    int producer_id; // 0: the transactional id has expired, or never was
    int epoch;
    enum txn_state state;
    int transaction; // whose request opened it
    // of the transaction; in a prepared one those whose marker is to be written
    unsigned partitions;
    LIST(struct message) staged[OUTPUT_COUNT];
    struct published_to staged_position; // n -1: none
    bool stuck; // no marker is written
    struct published_to position;
    LIST(struct published_to) positions; // all that were ever written
    size_t shows; // the next answer is this older one, counted from 1; 0: the truth
};

struct kafka {
    int32_t shards;
    int32_t partitions; // of the topics; more than shards once somebody has added some
    bool down; // no broker answers
    bool fences; // false: init_transactions is broken, to see that the checks can fail
    struct input_topic_log logs[SHARDS_MAX][INPUT_COUNT];
    struct output_topic_log outputs[SHARDS_MAX][OUTPUT_COUNT];
    struct coordinator coordinators[SHARDS_MAX];
    int last_producer_id;
    int last_transaction; // that a client began
    LIST(struct txn_request) travelling; // copies that will arrive
    int64_t late, refused; // copies that arrived; of them, those that were not answered well
    // Called for each message that becomes visible to subscribers; for each transaction with a
    // position whose commit is decided; for each request that changed another transaction than its
    // own.
    void (*on_message)(void *context, int32_t shard, const struct message *message);
    void (*on_commit)(void *context, int32_t shard, const struct coordinator *coordinator);
    void (*on_touch)(void *context, const struct txn_request *request);
    void *context;
};

void kafka_free(struct kafka *kafka);

// ---- inputs ----
void kafka_append(struct kafka *kafka, const struct send *send, int64_t now);
void kafka_end_transaction(struct kafka *kafka, int transaction, bool commit, int64_t now);

// ---- the relays' transactions ----
enum txn_answer kafka_answer(struct kafka *kafka, struct txn_request *request);
// Writes some of the outstanding markers, usually all of them.
void kafka_write_markers(struct kafka *kafka, int32_t shard, struct dice *dice);
void kafka_deliver_travelling(struct kafka *kafka, int64_t step);
void kafka_time_out(struct kafka *kafka, int32_t shard); // the coordinator ends what stands open
// the transactional id, unless a transaction is open
void kafka_expire_id(struct kafka *kafka, int32_t shard);
bool kafka_unstable(const struct kafka *kafka, int32_t shard); // the outcome of a position is open
// as the group's coordinator answers
struct published_to kafka_position(struct kafka *kafka, int32_t shard);
// The log's messages from `keep` on are lost.
void kafka_cut(struct kafka *kafka, int32_t shard, enum output output, size_t keep);
