// What is recorded of each shard, for those who look whether its logs and outputs are still there.
#pragma once

#include "consumer/core/fold.h"
#include "consumer/postgres/store.h"

struct recorded_shard {
    int32_t shard;
    day_t open_day;
    bool held; // the open day is
    int64_t calls_from, sequence, relayed;
    struct log_state log[INPUT_COUNT]; // next, last_offset, last_timestamp and last_hash only
};

struct recorded_shards {
    size_t count;
    struct recorded_shard *list; // those that have begun, in order
};

// 0, or -1 with *e. Free the list with free.
int recorded_shards_load(struct store *store, struct recorded_shards *out, struct error *e);
