// What an audit says of the output topics: for each topic and shard how many rows are published and
// how many are wrong; then each kind of fault in plain words, with examples.
#pragma once

#include "consumer/output/encode.h"

enum publication_kind {
    // recorded, or given by the inputs, and not in the topic, though its turn is over
    PUBLICATION_LOST,
    PUBLICATION_REPEATED, // stands in the topic more than once
    PUBLICATION_OUT_OF_ORDER, // stands behind a later row, or before an earlier one
    PUBLICATION_FOREIGN, // stands in the topic, and settled did not write it there
    PUBLICATION_KINDS
};

struct publication_anomaly {
    enum publication_kind kind;
    const char *topic;
    int32_t partition;
    int64_t offset; // -1: it is nowhere
    int32_t shard; // that it says it is of; -1: not known
    int64_t sequence; // 0: not known
    struct slice account_id, ce_id; // data NULL: none
    day_t day; // DAY_NONE: none, or not known
    const char *detail; // what tells that it is wrong
};

// Of one topic and shard.
struct publication {
    const char *topic; // borrowed
    int32_t shard; // which is its partition as well
    bool complete; // it was read as far as it had to be
    bool part; // which is not from its beginning to its end
    int64_t from, to; // offsets between which it was read; the latter exclusive
    int64_t published, pending; // rows
    int64_t found[PUBLICATION_KINDS];
};

enum { PUBLICATION_EXAMPLES = 10 };

struct publication_example {
    char *where, *row, *detail; // own copies
};

struct publications {
    size_t count, capacity;
    struct publication *list;
    struct publication_example examples[PUBLICATION_KINDS][PUBLICATION_EXAMPLES]; // the first ones
    int64_t found[PUBLICATION_KINDS];
};

void publications_release(struct publications *publications);
// Returns the number of the new topic.
size_t publications_add(struct publications *publications, const char *topic, int32_t shard);
void publications_count(struct publications *publications, size_t number,
                        const struct publication_anomaly *anomaly);

// The topic was read as far as it had to be.
void publications_read(struct publications *publications, size_t number, bool part, int64_t from,
                       int64_t to);

const char *publication_symbol(enum publication_kind kind); // "out_of_order"
// "TOPIC/PARTITION@OFFSET", or "TOPIC/PARTITION" of what is nowhere; returns out.
enum { PUBLICATION_TEXT_SIZE = 512 };
const char *publication_where(const struct publication_anomaly *anomaly,
                              char out[PUBLICATION_TEXT_SIZE]);

// The line of one anomaly.
void publication_print(const struct publication_anomaly *anomaly);
// `examples` false: each anomaly was printed already.
void publications_print(const struct publications *publications, bool examples);
