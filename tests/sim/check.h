// The invariants of consumer/ARCHITECTURE.md, looked at as things happen. I6 and the content of I1
// and I2 are the oracle's, at the end.
#pragma once

#include "tests/sim/world.h"

// postgres.on_commit
void check_commit(void *world, int32_t shard, int64_t epoch, const struct rows *before);
void check_message(void *world, int32_t shard, const struct message *message); // kafka.on_message
// kafka.on_commit
void check_position(void *world, int32_t shard, const struct coordinator *coordinator);
void check_touch(void *world, const struct txn_request *request); // kafka.on_touch
void check_step(struct world *world); // after every step
// A process has committed a close: the logs that the clock cut were read to where they ended when
// the day was due.
void check_close(struct process *process, int32_t shard, const struct day_close *close);
// Kafka has what PostgreSQL has not: after commits were lost, nothing may be published any more.
bool check_contradicts(const struct world *world, int32_t shard);
// A broker has lost a message: it may come again, once, and must unless others of its topic came
// meanwhile.
void check_lost(struct world *world, int32_t shard, const struct message *message);
int64_t check_missing(const struct world *world,
                      int32_t shard); // the first that is lost, and did not come again; 0: none
// One of them can only go out behind a later one of its topic: the shard must halt.
bool check_cannot_mend(const struct world *world, int32_t shard);
// What was remembered of a database that is no more.
void check_failed_over(struct world *world);
