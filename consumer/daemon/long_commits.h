// The commits of a worker that take long, such as the close of a large day, one after the other on
// a thread and a database connection of their own. The fold thread goes on with its other shards
// meanwhile. What is committed is not touched until the commit has ended.
#pragma once

#include "consumer/config/config.h"
#include "consumer/shard/shard.h"

struct long_commits;

// `ring` is called by the thread when a commit has ended. Connects nowhere yet. Errors: as of
// store_open, and ERROR_RESTART when there is no thread.
int long_commits_create(const struct config *config, void (*ring)(void *context), void *context,
                        struct long_commits **out, struct error *e);
// When no commit is under way, or it was interrupted: ends within the time of a statement.
void long_commits_destroy(struct long_commits *commits);
void long_commits_interrupt(struct long_commits *commits); // as store_interrupt

// As shard_host says of them.
enum commit_progress long_commit(struct long_commits *commits, int32_t shard, struct shard_row *row,
                                 const struct long_step *step, enum store_result *result,
                                 struct error *e);
void long_commit_await(struct long_commits *commits, int32_t shard);
