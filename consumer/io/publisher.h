// One transactional producer of one shard: rows of the outbox go out in Kafka transactions that carry "published up to n"
// with them. Blocking; used by one thread. Everything waits in short slices, so that `stop` ends it soon.
#pragma once

#include "consumer/io/client.h"
#include "consumer/io/outbox.h"

#include <stdatomic.h>

struct publisher;

struct publisher_options { // borrowed for the publisher's lifetime
    const char *group;
    const char *topics[OUTPUT_COUNT];
    int32_t schema_ids[OUTPUT_COUNT];
    struct client_properties properties;
};

enum publish_result {
    PUBLISH_OK,
    PUBLISH_ABORTED, // nothing of it will ever be seen, and the producer is good: try again
    PUBLISH_SPLIT, // the same, and each row must go in a batch of its own from now on
    PUBLISH_BROKEN, // the outcome may be unknown: make a new producer
    PUBLISH_FENCED, // fenced by another producer of the shard, or in a fatal state
    PUBLISH_IMPOSSIBLE, // a row that Kafka will not take, whoever tries: *e says the remedy
};

// Connects nowhere yet. Errors: ERROR_CONFIG for properties that librdkafka refuses.
int publisher_create(const struct publisher_options *options, int32_t shard, const atomic_bool *stop,
                     struct publisher **out, struct error *e);
// After PUBLISH_BROKEN a call of librdkafka's may still hang: then this returns, and the producer goes once it comes back.
void publisher_destroy(struct publisher *publisher);
// init_transactions: fences every earlier producer of the shard, and ends what it had under way. ABORTED: call again.
enum publish_result publisher_init(struct publisher *publisher, struct error *e);
// One transaction with these rows (at least one), copied before it waits for anything. `alone`: each in a batch of its own.
enum publish_result publisher_begin(struct publisher *publisher, const struct outbox_row *rows, size_t count,
                                    bool alone, struct error *e);
// Commits what publisher_begin began; `last` and `hash` are the sequence and chain hash of its last row.
enum publish_result publisher_commit(struct publisher *publisher, int64_t last, const uint8_t hash[32],
                                     struct error *e);
// Lets librdkafka report; call it now and then while nothing is published.
void publisher_poll(struct publisher *publisher);

// The pseudo consumer group's metadata: "1 SEQUENCE HASH", the hash in hex.
enum { POSITION_TEXT_SIZE = 96 };
void position_format(int64_t n, const uint8_t hash[32], char out[POSITION_TEXT_SIZE]);
bool position_parse(const char *text, size_t size, int64_t *n, uint8_t hash[32]);
// "GROUP-relay"
enum { RELAY_GROUP_SIZE = 300 };
const char *relay_group(const char *group, char out[RELAY_GROUP_SIZE]);
