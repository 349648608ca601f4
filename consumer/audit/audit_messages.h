// The rows that a shard must have published, against what its output topics hold and its outbox
// still keeps. It goes window after window, like the comparison of tables: the rows that a window
// expects are in memory, and the topics are streamed. A row that is not found in its window is
// looked for up to the end of its topic, because it may stand further back. Only there is it known
// to be pending or lost.
#pragma once

#include "consumer/audit/store_audit_rows.h"
#include "consumer/findings/audit_report.h"
#include "consumer/kafka/scan.h"

struct messages;

struct messages_options {
    int32_t shard;
    const char *group;
    const char *const *topics; // of the outputs
    const struct output_framing *framing; // of the outputs
    const struct audit_snapshot *snapshot;
    struct scan *scan;
    size_t first_log; // of the scan: the outputs, in their order
    int64_t base; // the sequence before the first window; what is at or below it is not compared
    // the shard's sequence, read after the scan was opened: nothing that it read is numbered higher
    int64_t newest;
    struct report *report;
};

int messages_create(const struct messages_options *options, struct messages **out, struct error *e);
void messages_destroy(struct messages *messages);

// How many rows this window expects so far.
size_t messages_count(const struct messages *messages);
void messages_expect(struct messages *messages, const struct outbox *outbox);
// The sequence that the table has for an expected message.
void messages_number(struct messages *messages, size_t message, int64_t sequence);
// Reads on, to the last message of the window, and ends the window. The rows are those of the
// snapshot. ERROR_CONFIG: a topic no longer reaches back to one of the messages.
int messages_compare(struct messages *messages, struct audit_rows *rows, day_t day,
                     struct error *e);
int64_t messages_base(const struct messages *messages); // the sequence up to which was compared

// After the last window, if it went up to the snapshot's own sequence: checks that the outbox ends
// as the shard's row says.
int messages_outbox_end(struct messages *messages, struct audit_rows *rows, struct error *e);
// After the last window: reads the topics up to this row, and to their ends when a row was not
// found (INT64_MAX: in any case).
int messages_read_on(struct messages *messages, int64_t until, struct error *e);
// Then: whether rows are missing in topics that were not read from their beginnings.
bool messages_may_stand_before(const struct messages *messages);
// Looks for them in front of what was read. Where they stand there is not judged. `scan`: the
// outputs from their beginnings.
int messages_look_back(struct messages *messages, struct scan *scan, struct error *e);
// At the end: reports what is pending and what is lost.
int messages_end(struct messages *messages, struct error *e);
