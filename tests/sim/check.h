// Checks the invariants of consumer/ARCHITECTURE.md after each event. The oracle checks I6 and the
// content of I1 and I2 at the end.
#pragma once

#include "tests/sim/world.h"

// postgres.on_commit
void check_commit(void *world, int32_t shard, int64_t epoch, const struct rows *before);
void check_message(void *world, int32_t shard, const struct message *message); // kafka.on_message
// kafka.on_commit
void check_position(void *world, int32_t shard, const struct coordinator *coordinator);
void check_touch(void *world, const struct txn_request *request); // kafka.on_touch
void check_step(struct world *world); // after every step
// A process has begun a shard: nothing that can be billed lies before where its logs begin.
void check_first(struct process *process, int32_t shard, const struct fold *fold);
// A process has committed a close: the logs that the clock cut were read to where they ended when
// the day was due.
void check_close(struct process *process, int32_t shard, const struct day_close *close);
// Kafka has rows that PostgreSQL does not have: after commits were lost, nothing may be published
// any more.
bool check_contradicts(const struct world *world, int32_t shard);
// A broker has lost a message. It may be published again, once; and it must be, unless later
// messages of its topic were published meanwhile.
void check_lost(struct world *world, int32_t shard, const struct message *message);
int64_t check_missing(const struct world *world,
                      int32_t shard); // the first that is lost, and did not come again; 0: none
// One of them could only be published behind a later message of its topic: the shard must halt.
bool check_cannot_mend(const struct world *world, int32_t shard);
// Forgets what was remembered of a database that no longer exists.
void check_failed_over(struct world *world);
