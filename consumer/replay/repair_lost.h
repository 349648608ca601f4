// Publishes again those published rows that the output topics have lost and settled.outbox still
// has. A row is appended at the end of its topic, even if later rows stand there. Subscribers then
// read it out of order, so the relay does not do this by itself.
#pragma once

#include "consumer/postgres/store.h"
#include "consumer/relay/publisher.h"
#include "consumer/replay/repair_message.h"

// Makes a producer of the shard and does its init_transactions, which fences every other producer.
// If brokers do not answer, it tries for some ten seconds. `stop` is borrowed.
int repair_make_publisher(const struct publisher_options *options, int32_t shard, bool alone,
                          const atomic_bool *stop, struct publisher **out, struct error *e);

struct repair_lost_options { // of one shard, which the caller has claimed
    const struct publisher_options *publishing;
    struct store *store;
    struct message_reader *reader;
    const char *cluster_id;
    int32_t partitions, shard;
    int64_t epoch; // of the claim
    int64_t published; // rows up to here were published once; later ones are the relay's
};

// Before the first row is sent, PostgreSQL's mark is raised to `published`: the relay looks for
// rows above the mark, and must not find one that stands behind later rows. *rows: how many were
// sent, *first and *last: their sequences. Running it again publishes none of them a second time.
// ERROR_CONFIG, ERROR_UNAVAILABLE: *e says why it cannot be done; rows that were sent before stay
// in the topics.
int repair_lost(const struct repair_lost_options *options, int64_t *rows, int64_t *first,
                int64_t *last, struct error *e);
