// One member of the consumer group and the shards that are assigned to it: an intake with its poll
// thread, a fold thread that runs the shards, a database connection, a relay. To scale up, use more
// workers; to scale out, use more processes.
#pragma once

#include "consumer/config/config.h"
#include "consumer/daemon/live.h"
#include "consumer/kafka/intake.h"
#include "consumer/kafka/topic_counts.h"
#include "consumer/kafka/watermarks.h"
#include "consumer/shard/shard.h"

struct worker;

// The clock of the process: the system's, or one that is set to an instant (--clock). Such a clock
// stands still, or runs on from there with a speed of its own (--speed).
struct run_clock {
    bool set;
    int64_t at_ms;
    int64_t speed; // its ms in one real ms; 0: it stands still
    int64_t since_ms; // monotonic: when it was at_ms
};
int64_t run_clock_ms(void *clock);

// What the workers of a process share. Outlives them.
struct worker_shared {
    const struct config *config;
    struct client_properties properties; // brokers and the operator's own
    int32_t partitions;
    int64_t session_ms; // of the group
    struct run_clock *clock;
    struct watermarks *ends;
    struct live *live; // others look at the shards
    const char *address; // where this process answers HTTP; "": nowhere
    struct topic_counts *counts;
    struct writer_schemas *writers;
    struct metrics *metrics;
    struct output_framing framing;
    int64_t (*drain)[INPUT_COUNT]; // by partition: the ends to read to; NULL: go on for ever
    int workers;
    _Atomic int64_t recorded_news; // how often parameters or books came that a worker did not know
    _Atomic int joined; // workers that have had an assignment
    _Atomic int64_t resident_calls; // by all shards of the process
    // monotonic ms of the first and the last block taken; 0: none
    _Atomic int64_t first_read_at, last_read_at;
};

int worker_create(struct worker_shared *shared, int number, struct worker **out, struct error *e);
// Joins the consumer group, in the background.
int worker_join(struct worker *worker, struct error *e);
// Asks it to stop; returns at once.
void worker_stop(struct worker *worker);
// Waits until it has stopped, within a bound, and frees it. False: it hangs and is left behind.
bool worker_destroy(struct worker *worker);

struct worker_status {
    bool failed; // *error says why; the process ends
    struct error error;
    uint64_t assignment; // rises with each; 0: none yet
    bool ready; // assigned, and every shard reads, commits and publishes
    char unready[SHARD_UNREADY_SIZE]; // why not
    bool kafka_trouble; // it is in no group, cannot read, or cannot publish
    bool drained; // ready, and every shard is drained
    bool held; // of a drained shard: it waits for an operator
    int64_t heartbeat; // monotonic ms at which both threads last went round
};
// Sets shards[p] for each partition that the worker owns, and leaves the others unchanged.
void worker_status(struct worker *worker, struct worker_status *out, bool *shards);
