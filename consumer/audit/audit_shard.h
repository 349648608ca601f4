// The state of an audit of one shard, for audit.c and audit_logs.c.
#pragma once

#include "consumer/audit/audit.h"
#include "consumer/audit/audit_messages.h"
#include "consumer/audit/audit_span.h"
#include "consumer/replay/replay_decoder.h"
#include "consumer/system/progress.h"

// The logs of the scan: the inputs, then the outputs.
enum { WALK_OUTPUTS = INPUT_COUNT, WALK_LOGS = INPUT_COUNT + OUTPUT_COUNT };

struct audit_shard {
    const struct config *config;
    const struct audit_options *options;
    struct report *report;
    int32_t shard;
    struct store *stores; // of all databases
    struct store *store; // of the snapshot: the part that has the shard
    struct store *other; // for what is asked outside it
    struct encoder *encoder;
    struct deployment *deployment;
    struct audit_snapshot snapshot;
    struct replay_decoder *decoder;
    struct output_framing framing;
    struct fold *fold;
    struct span_finder *finder; // NULL: all days are asked for
    int64_t outputs_from[OUTPUT_COUNT]; // where the output topics are read from
    int64_t outputs_until; // and up to which row; INT64_MAX: to their ends
    struct month_reader *months;
    struct scan *scan;
    struct audit_rows *rows;
    struct messages *messages;
    struct outbox outbox;
    struct chain chain; // of the expected outputs; sequence and hash are of no meaning to them
    struct progress progress;
    size_t first_hold, hold_count; // in the snapshot: those of the day
    unsigned checked_holds; // bit i: the log came to the place of the i-th of them
};

// Where a window ends on each log, and how.
struct window {
    day_t day;
    bool closes; // the day is settled at its end
    struct cutoff cutoffs[INPUT_COUNT]; // to_offset and cut_by
};

// Gives the fold the records below the window's end on each log, and cuts the logs there.
int audit_shard_logs(struct audit_shard *walk, const struct window *window, struct error *e);
// Replays the calls log up to the fold's opening. A contradiction is reported, and *stop is set:
// the shard cannot be folded further.
int audit_shard_replay(struct audit_shard *walk, bool *stop, struct error *e);
// Compares why a day was held with its logs: to be called before they are read, and after.
// `released`: its cutoffs say so.
void audit_holds_open(struct audit_shard *walk, day_t day);
void audit_holds_close(struct audit_shard *walk, bool released);
// Looks for what explains many differences at once, after the logs of a window were read: rules
// that are others than those of then, records that are gone.
void audit_look_at_window(struct audit_shard *walk, const struct window *window);
// The same of the topics, when something differs.
void audit_look_at_topics(struct audit_shard *walk);
// Gives the contents of the fold's step to the comparison.
int audit_shard_flush(struct audit_shard *walk, struct error *e);
