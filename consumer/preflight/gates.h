// What the gates before a start share: what they have found out, and how they say it. Not for users
// of the preflight: the table of gates is in preflight.c.
#pragma once

#include "consumer/kafka/admin.h"
#include "consumer/preflight/preflight.h"
#include "consumer/preflight/recorded_shards.h"
#include "consumer/preflight/topics.h"

// What a gate may need, and another has found out.
enum gates_fact {
    FACT_BOOK = 1, // the price book
    FACT_STORE = 2, // a database of this version
    FACT_RECORDED = 4, // what is recorded of the deployment
    FACT_CLUSTER = 8, // the Kafka cluster, and what topics it has
    FACT_SAME = 16, // that topics and cluster are those that are recorded
    FACT_SHARDS = 32, // the positions of the shards
    FACT_ENDS = 64, // where the topics begin and end
    FACT_READ = 128, // the last records of the topics
    FACT_GROUPS = 512, // that this user may read the groups
    FACT_CLOCK = 256, // a clock that is the real one
};

struct gates_partition { // of one topic
    int64_t low, high; // first offset kept; last stable one
    bool unread; // a reason was told why not
    int64_t newest_at; // broker's time of its last record, ms; -1: it has none, or none was read
    int64_t newest_sequence; // outputs: that the record carries; -1: not known
    // inputs: whether the record that the shard remembers was looked for, and is the one
    bool looked, proved;
};

struct gates {
    const struct config *config;
    int64_t now_ms;
    struct findings *out;
    const char *gate; // that is passed now
    unsigned facts; // enum gates_fact: known
    unsigned absent; // nothing is recorded yet, so there is nothing to look at
    struct book *book; // NULL: it could not be read
    struct store *store;
    struct deployment *recorded; // NULL: nothing is, or the database does not say
    struct recorded_shards shards;
    struct admin *admin;
    struct admin_topic topics[TOPIC_COUNT]; // inputs, then outputs
    struct gates_partition *partitions[TOPIC_COUNT]; // by partition; NULL: not known
    char cluster_id[ADMIN_CLUSTER_ID_SIZE]; // "": not known
    struct client_properties properties;
    struct record_fetcher *reader;
};

enum { GATES_KAFKA_MS = 5000 };

void gates_find(struct gates *g, enum finding_level level, enum error_kind kind, const char *format,
                ...) __attribute__((format(printf, 4, 5)));
void gates_find_error(struct gates *g, const struct error *e);

#define WRONG(g, ...) gates_find(g, FINDING_ERROR, ERROR_CONFIG, __VA_ARGS__)
#define WARN(g, ...) gates_find(g, FINDING_WARNING, ERROR_CONFIG, __VA_ARGS__)
#define NOTE(g, ...) gates_find(g, FINDING_NOTE, ERROR_CONFIG, __VA_ARGS__)

// ---- gates that have files of their own ----
// gate_logs.c: what the topics hold, against what is recorded.
void gate_ends(struct gates *g);
void gate_records(struct gates *g);
void gate_clock(struct gates *g);
void gate_positions(struct gates *g);
void gate_published(struct gates *g);
// gate_http.c: the address, and the tokens of those who ask.
void gate_http(struct gates *g);
// gate_snapshots.c: the folder for snapshots.
void gate_snapshots(struct gates *g);
// gate_permissions.c: whether this user may do what the daemon does.
void gate_permissions(struct gates *g);
