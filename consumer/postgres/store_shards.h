// The rows of shards: shared by claim, commit, relay and audit. Not for users of the store.
#pragma once

#include "consumer/postgres/store_connection.h"

// Columns that shard_read expects, in its order.
extern const char shard_columns[];
extern const char shard_logs_query[]; // $1: shard
// Fills *out from a row of shard_columns and the rows of shard_logs_query.
void shard_read(const struct store *store, const PGresult *shard, const PGresult *logs,
                struct shard_row *out);
// The latest day that a shard with this state has opened or taken a record of.
day_t shard_reached(const struct fold_state *state);
// Locks the shard's row until the transaction ends and compares the epoch; with the values of
// store_check_epoch.
enum store_result store_lock_epoch(struct store *store, int32_t shard, int64_t epoch,
                                   int64_t *sequence, int64_t *relayed, struct error *e);
