// One member of the consumer group: reads the three logs of every shard assigned to it and hands
// them on as blocks of raw records. A thread of its own polls librdkafka; another thread (the
// fold's) takes the blocks.
//
//   librdkafka queue of a partition ──poll thread──► lane (bounded list of blocks)
//      ──► intake_next ─► intake_release
//
// Each partition keeps a librdkafka queue of its own. For back-pressure the queue is simply not
// served. Nothing is ever paused, so nothing is fetched twice, and no resume can rewind a
// partition.
//
// Lane:
//   IDLE ──intake_start──► WANTED ──(poll thread)──► ASSIGNED ──(librdkafka has it)──► READING
//    ▲                                                                                    │
//    └────────────────────────────────── revoked ─────────────────────────────────────────┘
#pragma once

#include "consumer/kafka/block.h"
#include "consumer/kafka/client.h"

#include <stdbool.h>

struct intake;

struct intake_options {
    const char *group;
    const char *topics[INPUT_COUNT];
    int32_t partitions; // of each topic
    struct client_properties properties; // brokers and the operator's own
    size_t memory; // bytes of blocks beyond which a log gets no more than two
    int still_ms; // a log that has more, but gave nothing for so long, is reported, as often
    // from the poll thread: blocks, an assignment or a failure are there
    void (*ring)(void *context);
    void *context;
};

// A client that finds its coordinator, and is no member yet. Errors: ERROR_CONFIG.
int intake_create(const struct intake_options *options, struct intake **out, struct error *e);
// Joins the group, in the background. Errors: ERROR_CONFIG.
int intake_join(struct intake *intake, struct error *e);
// Leaves the group, and waits at most `timeout_ms` for that: librdkafka's close can hang. False: it
// did, and its thread and memory are left behind.
bool intake_destroy(struct intake *intake, int timeout_ms);

// What is assigned now: shards[p] for each partition. Returns a number that changes with every
// assignment; 0 before the first. *confirmed: polls since then have shown no loss of the
// assignment, so it is safe to raise an epoch.
uint64_t intake_assignment(struct intake *intake, bool *shards, bool *confirmed);

// Starts a shard's logs (or starts them again) at these offsets, if `assignment` is still the
// current one. Earlier blocks are dropped; the caller must release those that it holds.
void intake_start(struct intake *intake, uint64_t assignment, int32_t shard,
                  const int64_t offsets[INPUT_COUNT]);
// The log's next block, to be released in turn; NULL when there is none.
struct block *intake_next(struct intake *intake, int32_t shard, enum input input);
void intake_release(struct intake *intake, int32_t shard, enum input input, struct block *block);

// Whether the group has given this member its part of the shards, which may be none. False: *e says
// why not, as far as that is known (kind ERROR_NONE: nothing is).
bool intake_is_member(struct intake *intake, struct error *e);
// Whether nothing has come of the log since it could not be read; *e says why. That is no trouble
// where nothing more is in it.
bool intake_unread(struct intake *intake, int32_t shard, enum input input, struct error *e);
// The end of the log that the last fetch reported, only for metrics; -1: not known.
int64_t intake_end(struct intake *intake, int32_t shard, enum input input);
// Commits the positions to the group, only for tools that show lag: this program never reads them
// back. Does not wait.
struct intake_position {
    int32_t shard;
    int64_t offsets[INPUT_COUNT];
};
void intake_commit(struct intake *intake, const struct intake_position *positions, size_t count);

// True when reading cannot go on (*e says why): damaged data, offsets out of range, topics cut
// differently.
bool intake_failed(struct intake *intake, struct error *e);
// Monotonic ms at which the poll thread last went round: the process is alive when it is recent.
int64_t intake_heartbeat(struct intake *intake);
