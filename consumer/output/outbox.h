// Turns a step's emissions into outbox rows: encodes, numbers, chains and digests them.
// Deterministic: a replay of the same step from the same chain state gives the same rows.
#pragma once

#include "consumer/output/encode.h"

// What the shard's row keeps of its outputs.
struct chain {
    int64_t sequence; // of the last row; 0: none
    uint8_t hash[32]; // chain hash of the last row; zeros before the first
    char previous_digest[65]; // of the last DayClosed; 64 zeros before the first
};

struct outbox_row {
    int64_t sequence;
    enum output output;
    struct slice key; // data NULL: null key
    const char *ce_id;
    int64_t ce_time; // ms
    struct slice body; // Avro, without framing
    // SHA-256(previous hash, sequence (8 bytes big-endian), output (1 byte), key length (4 bytes
    // big-endian, 0xffffffff for a null key), key, body)
    uint8_t hash[32];
};

struct outbox {
    struct outbox_row *rows;
    size_t count, capacity;
    struct chain after; // the chain state once the rows are committed
    char content_digest[65], digest[65]; // of the day closed in this step, if it closes one
    struct arena *arena; // owns keys, ids, bodies
    struct chain_hasher *hasher;
};

// Fills *out (reused between calls; release with outbox_release) from `before`.
int outbox_build(struct outbox *out, struct encoder *en, const struct encode_context *cx,
                 const struct fold *fold, const struct chain *before, struct error *e);
void outbox_release(struct outbox *out);

// The rule of the row hash, also for the relay, the audit and the repair. A hasher serves row after
// row; it belongs to one thread. Aborts when memory is short.
struct chain_hasher *chain_hasher_create(void);
void chain_hasher_free(struct chain_hasher *hasher);
void chain_hash(struct chain_hasher *hasher, const uint8_t previous[32],
                const struct outbox_row *row, uint8_t out[32]);
