// Why many rows differ at once: the rules are others than those by which the days were settled, or
// the logs are no longer those that were judged. Each cause is told once, in front of all
// differences; then these are its effects, and nobody changed the rows.
#pragma once

#include "consumer/preflight/recorded_books.h"

#include <stdbool.h>

enum audit_cause_kind {
    AUDIT_OTHER_BOOK, // days were settled by another price book than is recorded for them now
    AUDIT_OTHER_PARAMETERS, // the same of a row of parameters
    AUDIT_RECORDS_GONE, // records that were judged are not in the log any more
    AUDIT_RECORDS_MORE, // records are in the log that were not there
    AUDIT_COMPACTED, // a topic's cleanup.policy takes records away
    AUDIT_POLICY_UNKNOWN, // whether one does could not be looked at
};

struct audit_cause {
    enum audit_cause_kind kind;
    char by[256]; // by what the days were settled, or the topic: its digest or name
    char now[256]; // by what they are computed again; or what the topic is set to
    int32_t partition; // of the topic
    int64_t count; // records
    day_t first, last; // DAY_NONE: none
};

struct audit_causes {
    size_t count, capacity;
    struct audit_cause *list;
};

// Takes it together with what is the same but for its days.
void causes_note(struct audit_causes *causes, const struct audit_cause *cause);
void causes_release(struct audit_causes *causes);

enum { CAUSE_TEXT_SIZE = 1400 };
// One sentence or two, with what helps; returns out. `books`: NULL when they were not loaded.
const char *cause_text(const struct audit_causes *causes, size_t i,
                       const struct recorded_books *books, char out[CAUSE_TEXT_SIZE]);
