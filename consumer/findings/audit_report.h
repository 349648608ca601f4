// Prints what an audit finds. A table comes at the end: causes, differences by kind with examples,
// the output topics, a summary; with `all`, a line for each difference comes before it, while it is
// found. JSON has each difference, while it is found, and the rest at the end.
#pragma once

#include "consumer/findings/audit_causes.h"
#include "consumer/findings/audit_groups.h"
#include "consumer/findings/audit_publication.h"
#include "consumer/preflight/recorded_books.h"

struct audit_totals {
    int64_t shards, days, records, settlements; // folded again
    int64_t rows, messages; // compared with what is recorded
    int64_t pending; // messages that are recorded and not published yet
    int64_t differences;
};

struct report {
    bool json, all;
    struct slice account_id; // data NULL: all; otherwise only what concerns this one
    day_t compared_from; // days before it are not, as rows are retired; DAY_NONE: all are there
    struct audit_totals totals;
    struct audit_causes causes; // whatever account is asked for
    struct difference_groups groups;
    struct publications publications;
    struct recorded_books *books; // by which it is folded again; NULL: they were not loaded
};

void report_begin(struct report *report);
void report_difference(struct report *report, const struct difference *difference);
// A fault of publication, in the topic with this number.
void report_anomaly(struct report *report, size_t publication,
                    const struct publication_anomaly *anomaly);
void report_published(struct report *report, size_t publication, struct slice account_id);
void report_pending(struct report *report, size_t publication, struct slice account_id);
// `trouble`: why it could not look to the end; NULL: it did.
void report_end(struct report *report, const struct error *trouble);
