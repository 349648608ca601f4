// Restores in the database what it lost in a fail-over and Kafka has published: the topics are the
// truth. After that, repair_lost.h publishes again what the topics have lost and the database has.
// Nothing is copied from the topics. The same inputs are folded again from where the database
// stands, in the order in which the outputs stand in the topics, and every resulting row must be
// the published one, byte by byte.
//
//   a shard: claim ─► fence its relay ─► published up to n
//      ├─ the database has row n: nothing is missing there ──────┬─► publish again what is lost
//      └─ else prove (all shards) ─► write (all shards) ─────────┘
//
// What the order tells: a reject says how far its log had been read, and so does a change of status
// by a credit; a day's close has the cutoffs. Logs do not depend on each other within a day. So a
// fold that has read no further than that is in a state in which the shard could have been. In the
// end the chain hash of row n must be the one that was published with the position.
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

// Every process of the group must have been stopped. Rows are written only if all of them can be;
// only a new epoch of each shard is written in any case. ERROR_CONFIG: *e says why it cannot be
// done. `visit` is called for each shard once its rows are committed.
int repair(const struct config *config, repair_visit *visit, void *context, struct error *e);
