// What an audit found, as it finds it: one line a difference, or JSON, and a summary at the end.
#pragma once

#include "consumer/io/store_audit_rows.h"

struct audit_totals {
    int64_t shards, days, records, settlements; // folded again
    int64_t rows, messages; // compared with what is recorded
    int64_t pending; // messages that are recorded and not published yet
    int64_t differences;
};

struct report {
    bool json;
    struct slice account_id; // data NULL: all; else what concerns others is not told
    struct audit_totals totals;
};

void report_begin(struct report *report);
void report_difference(struct report *report, const struct difference *difference);
// `trouble`: why it could not look to the end; NULL: it did.
void report_end(const struct report *report, const struct error *trouble);
