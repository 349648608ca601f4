// The invariants of consumer/ARCHITECTURE.md, looked at as things happen. I6 and the content of I1 and I2 are the
// oracle's, at the end.
#pragma once

#include "tests/sim/world.h"

void check_commit(void *world, int32_t shard, int64_t epoch, const struct rows *before); // postgres.on_commit
void check_batch(void *world, const struct batch *batch); // kafka.on_batch
void check_step(struct world *world); // after every step
// A process has committed a close: the logs that the clock cut were read to where they ended when the day was due.
void check_close(struct process *process, int32_t shard, const struct day_close *close);
// Kafka has what PostgreSQL has not: after commits were lost, nothing may be published any more.
bool check_contradicts(const struct world *world, int32_t shard);
// What was remembered of a database that is no more.
void check_failed_over(struct world *world);
