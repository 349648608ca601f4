// The same fold again, in a process of its own: the topics are replayed from the recorded offsets
// with recorded cutoffs, verdicts, decisions, parameters and writers' schemas, and every table and
// output topic is compared with the result (except for `sequence`, which is the order of
// publication). It only reads, and may run beside a daemon.
//
//   a shard, in one snapshot:
//     opening state ─► (day: rejects' rows ─► three logs ─► close ─► rows, messages) … ─► open day
//                   ─► accounts, packages, logs, shard
//
// audit.c walks shards and days, audit_look.c looks for causes of many differences, audit_logs.c
// walks the three logs of a day, store_audit*.c the rows, audit_messages.c the topics, from where
// audit_span.c says.
#pragma once

#include "consumer/config/config.h"
#include "consumer/findings/audit_report.h"

struct audit_options {
    day_t from, to; // DAY_NONE: from the first day; to what is committed now
    const char *account_id; // NULL: all
};

// Differences go to the report. -1 with *e: it could not look, or not to the end.
int audit(const struct config *config, const struct audit_options *options, struct report *report,
          struct error *e);
