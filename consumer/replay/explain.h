// Explains a settlement: the day is folded again from the calls log, with the account's money and
// packages as they were before, and every line is traced down to its calls. Of the shard's other
// accounts nothing is kept, so memory is needed for the account's calls alone.
#pragma once

#include "consumer/config/config.h"
#include "consumer/postgres/store.h"

#include <stdatomic.h>

// A call's piece on a line: a call that a package covers in part stands on two lines.
struct explained_call {
    char *call_id, *request_id; // the latter NULL: none
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
    char service_names[SERVICE_COUNT][BOOK_NAME_MAX]; // in the price book of the day
    bool expired; // with an error: the log begins later by now
};

struct explain_question {
    const char *account_id;
    day_t day;
    bool shows_progress; // on stderr
    const atomic_bool *stop; // set by another thread: ERROR_UNAVAILABLE; NULL: nobody does
};

// Returns 0 even when the account has no settlement of that day (recorded.settled is false).
// ERROR_CONFIG when the day is not settled, the log no longer reaches back, or the fold contradicts
// what is recorded. Free with explanation_release.
int explain(const struct config *config, const struct explain_question *question,
            struct explanation *out, struct error *e);
void explanation_release(struct explanation *explanation);

// The first difference between what is recorded and what was folded again, as a sentence; false
// when they are equal.
bool explain_difference(const struct explanation *explanation, char *out, size_t size);
