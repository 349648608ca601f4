// Prints what an audit finds, while it finds it: one line for each difference, or JSON; at the end
// the output topics, and a summary.
#pragma once

#include "consumer/findings/audit_publication.h"
#include "consumer/preflight/recorded_books.h"

// A difference between what is recorded or published, and what the inputs give.
struct difference {
    const char *where; // a table, or a message as TOPIC/PARTITION/OFFSET
    const char *key; // of the row or message
    struct slice account_id; // data NULL: none
    day_t day; // DAY_NONE: none
    const char *field; // NULL: the whole of it
    const char *recorded, *folded; // what is there, and what the inputs give; NULL: nothing
    bool published; // it is a message: what is there is published
    bool by_row; // `folded` is not what the inputs give, but what the row of the table says
    bool halts; // what comes after it could not be compared
};

struct audit_totals {
    int64_t shards, days, records, settlements; // folded again
    int64_t rows, messages; // compared with what is recorded
    int64_t pending; // messages that are recorded and not published yet
    int64_t differences;
};

struct report {
    bool json;
    struct slice account_id; // data NULL: all; otherwise only what concerns this one
    struct audit_totals totals;
    struct publications publications;
    struct recorded_books *books; // by which it is folded again; NULL: they were not loaded
};

void report_begin(struct report *report);
void report_difference(struct report *report, const struct difference *difference);
// A fault of publication, in the topic with this number; JSON names each, a table names the first
// ones at the end.
void report_anomaly(struct report *report, size_t publication,
                    const struct publication_anomaly *anomaly);
void report_published(struct report *report, size_t publication, struct slice account_id);
void report_pending(struct report *report, size_t publication, struct slice account_id);
// `trouble`: why it could not look to the end; NULL: it did.
void report_end(struct report *report, const struct error *trouble);
