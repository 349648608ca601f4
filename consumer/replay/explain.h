// Explains a settlement: the day is folded again from the calls log, with the account's money and
// packages as they were before, and every line is traced down to its calls.
#pragma once

#include "consumer/config/config.h"
#include "consumer/postgres/store.h"

// A call's piece on a line: a call that a package covers in part stands on two lines.
struct explained_call {
    char *call_id;
    int64_t occurred_at, offset;
    int64_t units; // of this piece
};

struct explained_line {
    struct recorded_line line; // its package_id is borrowed
    uint32_t package; // in the fold; tells two apart that share an id
    size_t call_count, call_capacity;
    struct explained_call *calls; // in the order of drawing
};

struct explanation {
    struct past recorded;
    struct settlement settlement; // folded again
    size_t line_count;
    struct explained_line *lines; // in the settlement's order
    int32_t shard;
    int32_t zone_ms; // for printing instants
    int64_t from_offset, to_offset; // of the calls that were read
};

// Returns 0 even when the account has no settlement of that day (recorded.settled is false).
// ERROR_CONFIG when the day is not settled, the log no longer reaches back, or the fold contradicts
// what is recorded. Free with explanation_release.
int explain(const struct config *config, const char *account_id, day_t day, struct explanation *out,
            struct error *e);
void explanation_release(struct explanation *explanation);

// The first difference between what is recorded and what was folded again, as a sentence; false
// when they are equal.
bool explain_difference(const struct explanation *explanation, char *out, size_t size);
