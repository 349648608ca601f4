// The fold of one shard: three logs and the operators' decisions go in, a step comes out. Pure: no
// I/O, no clock, no randomness; the same object code runs in the daemon, in replays and in tests. A
// fold belongs to one thread.
//
//   restore (rows, then the calls log up to the committed offset)
//      └► fold_records / fold_reached / fold_clock_end / fold_decide
//            └► fold_close_due? ─► fold_close ─► step
//
// Per log (see the table in fold.c):
//   OPEN ──cutoff reached──► CUT ──all three CUT──► (day settled) ──► OPEN
// Per day:
//   OPEN ─► GRACE ─► (HELD) ─► CLOSING ─► SETTLED ─► FORGOTTEN
#pragma once

#include "consumer/base/text.h"
#include "consumer/core/step.h"
#include "consumer/usage/snapshot.h"

struct fold;

enum {
    // R50: rejects that hold a day at the least. Of purchases and credits a day has few, and each
    // is
    // somebody's money.
    FOLD_HOLD_MIN_CALLS = 100,
    FOLD_HOLD_MIN_OTHERS = 10,
    FOLD_PAUSE_MIN = 10000, // R45: the calls stop beyond so many rejects
};

struct fold_options {
    int32_t shard;
    uint8_t id_key[32]; // of the deployment; no output depends on it
    // over all usage days of the shard; beyond it the fold stops with FOLD_FULL
    int64_t max_resident_calls;
    bool keeps_packages; // of an audit, which compares all rows: none ever leaves
    // a record in another partition than its key's stops the log with FOLD_COUNT until
    // fold_set_counted; else the recorded count is taken to be the topics'
    bool asks_counts;
};

// `policy` is borrowed and may be replaced between days by fold_set_policy. Returns NULL when
// memory is short.
struct fold *fold_create(const struct fold_options *options, const struct policy *policy);
void fold_destroy(struct fold *fold);
void fold_set_policy(struct fold *fold, const struct policy *policy);
const struct policy *fold_policy(const struct fold *fold);

// ---- state as the shard's row keeps it ----

struct log_state {
    int64_t next; // position: the next offset to judge
    int64_t from; // previous cutoff: where the open day begins
    int64_t accepted, duplicates, rejected, voids; // since `from`; they add up to next - from
    int64_t undecided; // rejects since `from` that no operator has decided about
    int64_t undecided_of[REJECT_GROUPS]; // of these, by the group of their reason (R50)
    // The last delivered record: proves after a restart that the log is still the one that was
    // read. -1: none yet.
    int64_t last_offset, last_timestamp;
    uint64_t last_hash; // XXH3 of key and value
};

// Why the open day is held: too many undecided rejects of one group on one log. The records they
// are a share of stay those of the moment at which this was found (R51).
struct hold {
    int64_t rejects, records; // 0, 0: it is not held for these
    int64_t at; // the log's position then
};

struct fold_state {
    day_t day; // D: the oldest day not settled
    bool held;
    bool released; // it was held, and its cutoffs are the logs' positions: it closes next
    struct hold holds[INPUT_COUNT][REJECT_GROUPS];
    int64_t calls_from; // replay starts here: no call of a retained usage day lies before it
    day_t horizon; // latest day whose price book judged a record: parameters cannot change up to it
    int64_t decisions; // number of the last one
    // R75: the last day of the month whose statements come next, and the last account whose
    // statement of it is done; "": none is.
    day_t month;
    char month_after[ID_SIZE_MAX + 1];
    struct log_state log[INPUT_COUNT];
};

const struct fold_state *fold_state(const struct fold *fold);
const struct account *fold_account(const struct fold *fold, uint32_t index);
const struct package *fold_package(const struct fold *fold, uint32_t index);
size_t fold_account_count(const struct fold *fold);
size_t fold_package_count(const struct fold *fold);
int64_t fold_resident_calls(const struct fold *fold);
int64_t fold_calls_of_day(const struct fold *fold, day_t usage_day); // accepted so far
size_t fold_memory(const struct fold *fold); // bytes
// ms: where the oldest own day of purchases and credits begins that is still taken, and the oldest
// usage day. What a start reads is bounded by them.
int64_t fold_oldest_credit(const struct fold *fold);
int64_t fold_oldest_call(const struct fold *fold);

// ---- restore ----

// R70: the first day's logs begin with the first record whose timestamp is at or past this instant
// (ms): what lies before can bill nothing. Calls of before first_day were billed elsewhere, and
// purchases and credits are looked back for by credit_days.
int64_t fold_first_instant(const struct policy *policy, enum input input);
// A fresh shard: first_day opens at the given starts of the logs.
void fold_begin(struct fold *fold, const int64_t starts[INPUT_COUNT]);

// A shard with a past: in this order state, accounts, spans, packages, credits, holds, cutoffs,
// rejects, decisions; then fold_replay.
int fold_restore_state(struct fold *fold, const struct fold_state *state, struct error *e);
int fold_restore_account(struct fold *fold, const struct account *account, uint32_t *index,
                         struct error *e); // id, money, state, sequence, position
int fold_restore_span(struct fold *fold, struct slice account_id, struct span span,
                      struct error *e);
int fold_restore_package(struct fold *fold, struct slice account_id, const struct package *package,
                         struct error *e);
// Packages are recorded that were not restored, since nothing can be drawn from them any more.
void fold_restore_left_out(struct fold *fold);
struct restored_credit {
    struct slice account_id, id;
    enum credit_kind kind;
    fen_t amount;
    int64_t credited_at;
};
int fold_restore_credit(struct fold *fold, const struct restored_credit *credit, struct error *e);
// Why the open day is held, or was before it was released.
void fold_restore_hold(struct fold *fold, enum input input, enum reject_group group,
                       struct hold hold);
// The calls log's recorded cutoff (exclusive) of a settled day, rising days.
int fold_restore_cutoff(struct fold *fold, day_t day, int64_t to_offset, struct error *e);
// What the close of the day just given had counted in the calls log from `from_offset` on: accepted
// calls and duplicates. The replay counts them again where it reads all of them. Without this call
// it does not count.
void fold_restore_count(struct fold *fold, int64_t from_offset, int64_t judged);
// A recorded reject of the calls log at or after calls_from, rising offsets.
int fold_restore_reject(struct fold *fold, int64_t offset, struct error *e);
// A recorded decision. Needed are PASS decisions about offsets that are still to be judged (others
// are ignored), and all decisions since the last close, because the next close names them.
// Of other kinds the records are not needed.
int fold_restore_decision(struct fold *fold, const struct decision *decision, bool since_last_close,
                          struct error *e);
// Rebuilds the calls of open and retained days: events of the calls log from calls_from up to the
// committed position (later ones are left). *done: the committed position is reached and the state
// agrees. A contradiction between the recorded verdicts and the replay is an error (ERROR_CONFIG)
// that names the offset.
int fold_replay(struct fold *fold, const struct event *events, size_t count, bool *done,
                struct error *e);
// The same for an end of the log at `offset` (nothing was delivered between the last event and it).
int fold_replay_reached(struct fold *fold, int64_t offset, bool *done, struct error *e);
int64_t fold_replay_position(const struct fold *fold);
// Before a replay: only this account's calls are kept, those of others are counted. The text
// outlives the replay.
void fold_replay_only(struct fold *fold, struct slice account_id);
// Between the rows and the replay: the reader of a snapshot, whose calls need not be replayed then.
// It refuses what is not of this shard, or not of what is recorded of it. `row`: as it is now.
struct snapshot_reader *fold_read_snapshot(struct fold *fold, const struct snapshot_row *row);
// The whole snapshot was read, and was good: the replay begins behind it, with the same checks.
void fold_take_snapshot(struct fold *fold, const struct snapshot_reader *reader);
// It was refused: the fold is as it was before it was read.
void fold_leave_snapshot(struct fold *fold);
// Whether the replay needs the fields of the call at `offset`, above those that it has had. A
// record that was rejected, or lies beyond the committed position, is passed over undecoded: its
// schema may never be had.
bool fold_replay_needs(const struct fold *fold, int64_t offset);

// ---- going on ----

enum fold_stop {
    FOLD_MORE, // all events are in: bring more
    FOLD_CUT, // the log has reached its cutoff and waits for the others
    // the next record lies beyond the open day's end + grace and the clock is not there yet
    FOLD_AHEAD,
    // the next record's timestamp is impossible: beyond clock + tolerance, or of another type
    FOLD_FUTURE,
    FOLD_SCHEMA, // the next record's schema is not known yet
    // the next record is in another partition than its key's, if its topic has the recorded count
    FOLD_COUNT,
    FOLD_REJECTS, // too many rejects since the cutoff, of calls: an operator must decide
    FOLD_STEP_FULL, // the step must be committed before the fold goes on
    FOLD_FULL, // max_resident_calls is reached: halt, naming the number
    FOLD_BROKEN, // *e says what: overflow, memory; the state is lost
};

struct event_batch {
    const struct event *events;
    size_t count;
};
// Whether the topic was seen to have its recorded count of partitions after the records that come
// next were read.
void fold_set_counted(struct fold *fold, enum input input, bool counted);
// Judges events (rising offsets, at or above the log's position; lower ones are dropped) in order.
// *consumed: how many were taken; on any stop but FOLD_MORE, bring the rest again later. `now_ms`:
// the clock.
enum fold_stop fold_records(struct fold *fold, enum input input, struct event_batch batch,
                            int64_t now_ms, size_t *consumed, struct error *e);
// Nothing was delivered below `offset`, which is the end of what can be read now: what lies between
// is void.
enum fold_stop fold_reached(struct fold *fold, enum input input, int64_t offset);
// The log's end, answered to a query sent when the clock was already at or past the open day's end
// + grace. When the position reaches it and no record has cut the log, the clock cuts it. A stale
// answer is ignored. In a drain the caller gives the end that was taken at its start, or the offset
// of an impossible record.
void fold_clock_end(struct fold *fold, enum input input, int64_t end, int64_t asked_at_ms);
// Whether a log is open, due by the clock and has no end on record: then query its end and call
// fold_clock_end.
bool fold_wants_end(const struct fold *fold, enum input input, int64_t now_ms);
// Applies an operator's decision to the step, about all of its records. Returns 0, or -1 with *e
// (one of them is no reject, or decided already), and then about none. `reasons` are those of the
// recorded rejects (ACCEPT, REQUEUE), one for each record; REJECT_NONE: there is none that is open.
int fold_decide(struct fold *fold, const struct decision *decision,
                const enum reject_reason *reasons, struct error *e);

// All three logs are cut and the day is not held.
bool fold_close_due(const struct fold *fold);
// Settles the open day into the step and opens the next one. The step then must be committed before
// anything else. *e on overflow.
int fold_close(struct fold *fold, struct error *e);

// The month is closed, and its statements are due: in steps of their own.
bool fold_month_due(const struct fold *fold);
// R75: the next statements of the month that is due, in a step that has nothing else. They add up
// what is recorded, so that the caller has read them where it is recorded.
void fold_take_month(struct fold *fold, const struct month_page *page);
// ERROR_CONFIG: the rows that it was read from contradict each other.
int fold_check_month(const struct month_page *page, struct error *e);
// First instant at which the open day may be cut: its end + grace, ms.
int64_t fold_due_at(const struct fold *fold);

// Where the open day stands at `now_ms` (CLOSING: due, the logs are on their way to their cutoffs).
enum day_phase { DAY_OPEN, DAY_GRACE, DAY_HELD, DAY_CLOSING };
enum day_phase fold_phase(const struct fold *fold, int64_t now_ms);
// How the log was cut for the open day; CUT_NONE while it is open.
enum cut_by fold_cut(const struct fold *fold, enum input input);
// XXH3 of key and value, as log_state.last_hash has it.
uint64_t fold_record_hash(const struct event *event);

const struct step *fold_step(const struct fold *fold);
// The step is committed: forget it.
void fold_step_done(struct fold *fold);

// ---- snapshots ----

// Takes hold of the calls, as they are between two steps. `row`: as it was committed last.
struct snapshot *fold_snapshot(const struct fold *fold, const struct snapshot_row *row);
// Adds the next accounts, at most `most`, between this batch and the next one. True: it has all.
bool fold_snapshot_accounts(const struct fold *fold, struct snapshot *snapshot, size_t most);

// ---- audit ----
//
// A day is folded again as it was recorded: no clock is asked, each log takes what lies below its
// recorded cutoff and is cut there, and a recorded verdict stands. The fold is a fresh one
// (fold_begin), or restored and replayed to where a day opened; then, day after day:
// fold_audit_decision, fold_audit_record and fold_audit_cut of each log, fold_close. Nothing that
// goes out depends on how the records of the three logs interleave within a day.

// What the rules say of a record, beside what is recorded.
struct audit_verdict {
    enum reject_reason reason; // REJECT_NONE: accepted, or a duplicate
    bool duplicate;
    // no clock could have judged it (its timestamp is missing or of another type), and nobody
    // decided so
    bool lacks_override;
    bool beyond_due; // its timestamp is at or past end + grace: only a held day takes it
};

// A recorded decision of the open day, in the order of their numbers; `reasons` as in fold_decide.
// One that passes a record must come before that record.
void fold_audit_decision(struct fold *fold, const struct decision *decision,
                         const enum reject_reason *reasons);
struct recorded_verdict {
    enum reject_reason reason; // that it was rejected for; REJECT_NONE: it was not
    const char *detail; // of the reject
};
// The next record of a log. A recorded reject stays one, with its detail when the rules would
// accept it. Returns 0, or -1 with *e (overflow).
int fold_audit_record(struct fold *fold, enum input input, const struct event *event,
                      struct recorded_verdict recorded, struct audit_verdict *out, struct error *e);
// Every record below `offset` was given: what lies between is void. Cuts the log there, unless
// `cut_by` is CUT_NONE.
void fold_audit_cut(struct fold *fold, enum input input, int64_t offset, enum cut_by cut_by);
// The time by which a record is judged: its own, or that of the decision that passed it.
int64_t fold_judged_at(const struct fold *fold, enum input input, int64_t offset,
                       int64_t timestamp);
// Whether the open day's rejects would hold it, as they are now.
bool fold_must_hold(const struct fold *fold);
// Whether so many undecided rejects of a log's records are too many (R50), by the parameters of the
// open day.
bool fold_beyond_share(const struct fold *fold, enum input input, enum reject_group group,
                       int64_t rejects, int64_t records);

// ---- explain ----

// Called for each piece of a call that goes to a line, in the order of drawing, while an account is
// settled. `ordinal`: which accepted call of its usage day it is, from 0 in the order of offsets.
// `units`: of this piece.
typedef void fold_trace(void *context, const struct settlement_line *line, int64_t occurred_at,
                        int64_t units, uint64_t ordinal);
// Traces one account's settlements from now on; NULL ends it.
void fold_set_trace(struct fold *fold, struct slice account_id, fold_trace *trace, void *context);
