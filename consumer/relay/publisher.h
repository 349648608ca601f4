// One transactional producer of one shard: it sends rows of the outbox in Kafka transactions, each
// of which also carries "published up to n". Blocking; used by one thread. All waiting is in short
// slices, so that `stop` ends it soon.
#pragma once

#include "consumer/kafka/client.h"
#include "consumer/output/outbox.h"

#include <stdatomic.h>

struct publisher;

struct publisher_options { // borrowed for the publisher's lifetime
    const char *group;
    const char *topics[OUTPUT_COUNT];
    struct output_framing framing;
    struct client_properties properties;
};

enum publish_result {
    PUBLISH_OK,
    PUBLISH_WAITING, // of publisher_init: it goes on, call again
    PUBLISH_ABORTED, // nothing of it will ever be seen: try again, with a fresh producer
    PUBLISH_SPLIT, // the same, and each row must go in a batch of its own
    PUBLISH_BROKEN, // the outcome may be unknown: make a fresh producer
    PUBLISH_FENCED, // fenced by another producer of the shard, or in a fatal state
    PUBLISH_IMPOSSIBLE, // a row that Kafka will not take, whoever tries: *e says the remedy
};

// Connects nowhere yet. `alone`: each row goes in a batch of its own. Errors: ERROR_CONFIG for
// properties that librdkafka refuses.
int publisher_create(const struct publisher_options *options, int32_t shard, bool alone,
                     const atomic_bool *stop, struct publisher **out, struct error *e);
// Called in the thread of a call below when it lasts, every few seconds: what it waits for, and why
// as far as that is known. The call goes on.
struct publisher_news {
    void (*tell)(void *context, const struct error *slow);
    void *context;
};
void publisher_tell(struct publisher *publisher, struct publisher_news news);
// After PUBLISH_BROKEN a call of librdkafka may still hang: then this returns all the same, and the
// producer is destroyed once that call returns.
void publisher_destroy(struct publisher *publisher);
// init_transactions: fences every earlier producer of the shard, and ends what it had under way.
enum publish_result publisher_init(struct publisher *publisher, struct error *e);
// Begins a transaction and queues these rows (at least one), copied before it waits for anything.
enum publish_result publisher_begin(struct publisher *publisher,
                                    const struct outbox_row *const *rows, size_t count,
                                    struct error *e);
// Waits until the partitions have acknowledged every row of the transaction. The position may be
// sent only after that. Then, if somebody ends the transaction early, it has no position that
// claims rows that it lacks.
enum publish_result publisher_flush(struct publisher *publisher, struct error *e);
// Sends the position and commits; `last` and `hash` are the sequence and chain hash of the last row
// that is published then.
enum publish_result publisher_commit(struct publisher *publisher, int64_t last,
                                     const uint8_t hash[32], struct error *e);
// After a transaction: whether a copy of one of its requests may still be under way, so that no
// other transaction may be begun with this producer.
bool publisher_is_spent(const struct publisher *publisher);
// Lets librdkafka report; call it now and then while nothing is published.
void publisher_poll(struct publisher *publisher);

// The pseudo consumer group's metadata: "1 SEQUENCE HASH", the hash in hex.
enum { POSITION_TEXT_SIZE = 96 };
void position_format(int64_t n, const uint8_t hash[32], char out[POSITION_TEXT_SIZE]);
bool position_parse(const char *text, size_t size, int64_t *n, uint8_t hash[32]);
// "GROUP-relay"
enum { RELAY_GROUP_SIZE = 300 };
const char *relay_group(const char *group, char out[RELAY_GROUP_SIZE]);
