// What a database has lost in a fail-over, and Kafka has published, is brought back into the
// database: the topics are the truth. What the topics have lost, and the database has, is published
// again then (repair_lost.h). Nothing is copied from them: the same inputs are folded again from
// where the database stands, in the order in which the outputs stand in the topics, and every row
// that comes out must be the published one, byte by byte.
//
//   a shard: claim ─► fence its relay ─► published up to n
//      ├─ the database has row n: nothing is missing there ──────┬─► publish again what is lost
//      └─ else prove (all shards) ─► write (all shards) ─────────┘
//
// What the order gives: a reject says how far its log had been read, a change of status by a credit
// as well, a day's close has the cutoffs. Logs do not depend on each other within a day, so to read
// no further than that is a state in which the shard could have been. In the end the chain hash of
// row n must be the one that was published with the position.
#pragma once

#include "consumer/config/config.h"

struct repaired {
    int32_t shard;
    // sequences: what the database had, what was published; equal: nothing was missing
    int64_t from, to;
    int64_t days, settlements, status_changes, rejects; // of the rows brought back
    int64_t again, again_first,
        again_last; // rows that the topics had lost and that were published again; their sequences
};
typedef void repair_visit(void *context, const struct repaired *shard);

// Every process of the group must have been stopped. Nothing is written unless all of it can be,
// but a new epoch of each shard. ERROR_CONFIG: why it cannot be done. `visit` is told of each shard
// once its rows are committed.
int repair(const struct config *config, repair_visit *visit, void *context, struct error *e);
