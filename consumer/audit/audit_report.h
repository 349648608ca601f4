// Prints what an audit finds, while it finds it: one line for each difference, or JSON; at the end
// the output topics, and a summary.
#pragma once

#include "consumer/audit/audit_publication.h"
#include "consumer/audit/store_audit_rows.h"
#include "consumer/preflight/recorded_books.h"

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
