// Whether a log is still the one that was read. The start and the shard judge by the same rules,
// and say the same.
#pragma once

#include "consumer/core/fold.h"

struct log_place {
    const char *topic;
    int32_t partition;
};

// What a log offers: offsets from `low` up to `end`, exclusive.
struct log_reach {
    int64_t low, end;
};

// Whether the log still has all from offset `needed` on, and all that was read of it. 0, or -1 with
// ERROR_CONFIG.
int log_proof_reach(const struct log_place *place, const struct log_reach *reach, int64_t needed,
                    const struct log_state *remembered, struct error *e);
// Whether the record is the one that is remembered: at its offset, with its timestamp and content.
bool log_proof_holds(const struct log_state *remembered, const struct event *record);
// What is said of another record in its place. -1 with ERROR_CONFIG.
int log_proof_refuse(const struct log_place *place, const struct log_state *remembered,
                     struct error *e);
