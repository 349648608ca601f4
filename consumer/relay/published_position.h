// How far a shard is published according to Kafka: the committed offset of the group GROUP-relay.
// Ask only after init_transactions: then no request of the shard is under way. published_log.h
// reads the topics themselves.
#pragma once

#include "consumer/output/output_reader.h"
#include "consumer/relay/publisher.h"

enum published_result {
    PUBLISHED_FOUND,
    PUBLISHED_UNKNOWN, // no offset is stored: expired, deleted, or never was
    PUBLISHED_UNAVAILABLE, // try again; *e says why
    PUBLISHED_FOREIGN, // what is there is not ours: *e says what and the remedy
};

struct published_at {
    int64_t n; // the last row that is published
    // the hash of row n was stored with it (an operator's tool sets an offset without)
    bool has_hash;
    uint8_t hash[32];
};
// Reads only stable offsets: if a transaction with an offset is still open, it waits for its end.
enum published_result published_position(const struct publisher_options *options, int32_t shard,
                                         const atomic_bool *stop, struct published_at *out,
                                         struct error *e);

// The same of several shards at once, in the order of the list. FOUND: of all; UNKNOWN: some have
// none, and n is -1 there.
struct published_shards {
    const int32_t *list;
    size_t count;
    int patience_ms; // for brokers that do not say, as a transaction may be open; 0: half a minute
};
enum published_result published_positions(const struct publisher_options *options,
                                          struct published_shards shards, const atomic_bool *stop,
                                          struct published_at *out, struct error *e);

// Reads `shard` and `sequence` from a framed message of an output topic, whose form is given. New
// fields are only added behind these two, so records of newer and older writers can be read, too.
// Errors (ERROR_CONFIG): settled did not write this message.
int published_sequence(const struct output_reader *form, enum framing framing, struct slice value,
                       int32_t *shard, int64_t *sequence, struct error *e);
