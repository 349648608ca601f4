// What the output topics have lost of what was published, and settled.outbox still has, is
// published again. A row goes to the end of its topic, behind later ones where these stand there:
// subscribers then read it out of order, which is why the relay does not do it by itself.
#pragma once

#include "consumer/postgres/store.h"
#include "consumer/relay/publisher.h"
#include "consumer/replay/repair_message.h"

// A producer of the shard whose init_transactions is done, which fences every other; brokers that
// do not answer are asked for some ten seconds. `stop` is borrowed.
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

// Before the first goes out, PostgreSQL's mark is raised to `published`: the relay, which looks for
// rows above the mark, must not come upon one that stands behind later ones. *rows: how many went
// out, *first and *last: their sequences. Running it again publishes none of them a second time.
// ERROR_CONFIG, ERROR_UNAVAILABLE: why it cannot be done; what went out before stands in the
// topics.
int repair_lost(const struct repair_lost_options *options, int64_t *rows, int64_t *first,
                int64_t *last, struct error *e);
