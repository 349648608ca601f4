// One shard as it is recorded, in one snapshot, for an audit: the recorded cutoffs, verdicts and
// decisions, which rule, the state in which a day opened, and every row to be compared. Nothing is
// written: a user with settled_auditor is enough. The snapshot holds the store's connection until
// store_audit_end; the store may not be used for anything else meanwhile.
#pragma once

#include "consumer/postgres/store.h"

struct audit_day {
    day_t day;
    bool closed; // has a row in day_closes; the next five are from there
    int64_t sequence; // of its DayClosed
    int64_t calls_from;
    char digest[65];
    char price_book[65], parameters[65]; // SHA-256
    unsigned cut; // bit i: has a row in day_cutoffs for this input
    struct cutoff cutoffs[INPUT_COUNT];
    int64_t judged; // accepted calls and duplicates that the close had counted
};

struct audit_decision {
    struct decision decision;
    // Of each record it is about, the recorded reject's; REJECT_NONE: there is none, or it was not
    // looked for.
    const enum reject_reason *reasons;
    const int64_t *named; // the decision that the reject names; 0: none
    bool asked; // its request says the same: kind, records, operator, time
};

struct audit_snapshot {
    day_t kept_from; // days before it are in retired months; DAY_NONE: none is
    bool found; // the shard has a row and has begun; else only `days` is set
    struct shard_row row;
    size_t day_count, decision_count, hold_count;
    struct audit_day *days; // rising; those that have a row in either table
    struct audit_decision *decisions; // rising numbers
    struct step_hold *holds; // rising days
    struct arena *arena; // behind the decisions
};

// Begins the snapshot, and loads cutoffs, verdicts and decisions; of decisions before the day
// `from`, the rejects are not looked for. DAY_NONE: of all they are.
enum store_result store_audit_begin(struct store *store, int32_t shard, day_t from,
                                    struct audit_snapshot *out, struct error *e);
void store_audit_end(struct store *store);
void audit_snapshot_release(struct audit_snapshot *snapshot);
const struct audit_day *audit_snapshot_day(const struct audit_snapshot *snapshot,
                                           day_t day); // NULL: it has no row

// Where a shard stood between two days.
struct audit_point {
    day_t day; // the one that opened
    int64_t at[INPUT_COUNT]; // cutoffs of the day before
    int64_t sequence; // of the day before's DayClosed
    int64_t calls_from;
};
// Brings a fresh fold there from the earlier rows; the caller then replays the calls log from
// fold_replay_position() to at[INPUT_CALLS].
enum store_result store_audit_opening(struct store *store, int32_t shard,
                                      const struct audit_snapshot *snapshot,
                                      const struct audit_point *point, struct fold *fold,
                                      struct error *e);

// The newest sequence of the shard, outside the snapshot: by another store.
enum store_result store_audit_sequence(struct store *store, int32_t shard, int64_t *sequence,
                                       struct error *e);
