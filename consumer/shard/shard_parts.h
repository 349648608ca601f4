// What the files of a shard share: its state, and the functions that one of them provides for the
// others. Not for other modules.
//
//   shard.c         its life: whose it is, turns
//   shard_locate.c  LOCATING: the logs' ends, the epoch, what is recorded
//   shard_read.c    blocks into the fold; REPLAYING
//   shard_ends.c    where the logs end: open transactions, cutoffs by the clock
//   shard_days.c    closes, and what operators decide
//   shard_commit.c  a step into the database
//   shard_snapshot.c  calls into a file, and out of it
//   shard_months.c  the statements of a month
//   shard_parts.c   below them: states, figures, what it holds, answers of the database
#pragma once

#include "consumer/decode/record_decoder.h"
#include "consumer/shard/shard.h"

enum {
    // A step with effects is committed as soon as nothing more is there to be read, but no sooner
    // than this after the commit before it; and in any case so long after the first of its effects.
    SHARD_PAUSE_MS = 5,
    SHARD_EFFECTS_MS = 50,
    SHARD_POSITIONS_MS = 1000, // one without
    SHARD_CLOCK_RETRY_MS = 20, // a record beyond the clock is looked at again
};

struct input_log {
    struct record_decoder reader;
    enum fold_stop stop;
    int64_t retry_at; // AHEAD, FUTURE: when to look again
    int64_t rejects_told; // FOLD_REJECTS: before which offset it was told that it waits; 0: none
    int64_t stopped_at; // FUTURE: since when
    bool warned;
    uint64_t generation; // SCHEMA: of the writers, when it stopped
    bool count_seen; // the topics had the recorded count after the block at hand was read
    bool unproved; // the record at last_offset has to be delivered first, and be the remembered one
    bool asked, located; // a question for its ends is open; is answered since LOCATING
    struct log_watermarks ends;
    int64_t ask_at; // then it is asked for its ends again
    bool due; // the day waited for its end when it was looked at last
    // the end that its last stable offset must reach before the clock may cut; -1: none yet
    int64_t awaited;
    // since when its last stable offset, then at open_at, stands behind its end; -1: it does not
    int64_t open_since, open_at;
    int64_t open_ms; // how long, as of the last turn; -1: it does not
    bool open_said, open_cut; // was told; so was that a day was cut there
    struct log_state counted; // up to here `pending` has counted
    int64_t pending[RESULT_COUNT]; // for the metrics, once they are committed
    bool ended; // in a drain: nothing more is read
    int64_t schema_id; // SCHEMA: that it waits for
    struct waiting_record noted; // of the last note about it
    int64_t noted_at; // 0: none yet
};

struct shard {
    const struct shard_host *host;
    int32_t id;
    enum shard_state state;
    struct error error;
    struct fold *fold;
    uint64_t fold_number; // how many it has had
    struct shard_row row; // as committed last; of the fold, when there is one
    struct input_log log[INPUT_COUNT];
    struct outbox outbox;
    bool built; // the outbox is the step's: a commit is to be tried again
    bool committing; // a commit of it goes on beside: fold, outbox and row are left as they are
    bool queued; // another shard's goes on, and this one's has to wait for it
    int64_t commit_begun; // that commit; microseconds of the host
    bool must_commit;
    int64_t effects_at, moved_at; // since when the step has effects, has moved; 0: not
    int64_t committed_at; // the last step
    int64_t retry_at, retry_ms; // of the database; 0: the last call went well
    char refusal[SHARD_UNREADY_SIZE]; // what the last call got, while retry_ms is not 0
    bool untold; // the day is held, and the log does not say yet why
    int64_t requests_at, parked_at, deadline;
    bool draining;
    int64_t drain[INPUT_COUNT];
    struct shard_metrics hidden; // its figures while they do not show
    bool drained_rejects; // a drained log waits for an operator
    bool decided; // in a drain: all has been read, and no request is left that can be decided
    bool compared; // the relay has found out what Kafka holds
    // the row's, for which the ends were asked for once more; -1: they were not
    int64_t located_step;
    struct snapshot *snapshot; // that its accounts are being added to; NULL: none
    // Where the last one ended, whether it was written, taken, or failed.
    int64_t snapshot_next;
    day_t snapshot_day;
    // That the fold has its calls from, as long as it has not been compared with the log.
    bool from_snapshot;
    struct snapshot_head taken;
    char snapshot_name[SNAPSHOT_NAME_SIZE];
    bool without_snapshot; // the last one that was taken was no good
};

// ---- shard_parts.c ----

// Counts of this process, whichever of its workers had the shard.
struct shard_metrics *shard_totals(const struct shard *shard);
// The figures that show the shard's state: only the worker that got it last shows them.
struct shard_metrics *shard_figures(struct shard *shard);
void shard_become(struct shard *shard, enum shard_state state);
void shard_halt(struct shard *shard, const struct error *e);
void shard_drop_blocks(struct shard *shard);
void shard_drop_snapshot(struct shard *shard); // that is not handed over yet
void shard_drop_fold(struct shard *shard);
void shard_forget_ends(struct input_log *log);
void shard_reset_logs(struct shard *shard);
// What was folded cannot stand: from what is recorded on, anew.
void shard_begin_again(struct shard *shard, int64_t mono_ms);
void shard_count_log(struct shard *shard, enum input input);
void shard_count_calls(struct shard *shard); // those that it holds, and where the next one stands
// Another process owns the shard: drops what is held, and does nothing for one session time-out.
void shard_give_way(struct shard *shard, int64_t mono_ms);
// The shard waits no longer for the database.
void shard_store_answers(struct shard *shard);
// Asserts what must hold between two turns, whatever happened in them.
void shard_check(const struct shard *shard);
// True when the call succeeded. Otherwise the shard waits, gives way, or halts.
bool shard_answered(struct shard *shard, enum store_result result, int64_t mono_ms,
                    const char *what, const struct error *e);

// ---- shard_locate.c ----

void shard_locate(struct shard *shard, int64_t mono_ms);

// ---- shard_read.c ----

// Before anything is judged: checks that these are the logs that were read before. False: not known
// yet, or halted.
bool shard_prove_logs(struct shard *shard, int64_t mono_ms);
// One log's turn. True when it stopped only because its turn was over.
bool shard_read_log(struct shard *shard, enum input input, int64_t mono_ms, int64_t now_ms);
bool shard_replay(struct shard *shard, int64_t mono_ms);
// Something happened that may let any log go on: each is looked at again.
void shard_resume_logs(struct shard *shard);
bool shard_all_ended(const struct shard *shard);
// In a drain: this log is done. Days that are due are cut where it ends.
void shard_end_log(struct shard *shard, enum input input, int64_t end, int64_t now_ms);

// ---- shard_ends.c ----

void shard_ask_for_ends(struct shard *shard, int64_t mono_ms, int64_t now_ms);
// NULL: none is open for so long that it has to be said.
const char *shard_open_transaction(const struct shard *shard, char out[SHARD_UNREADY_SIZE]);

// ---- shard_days.c ----

void shard_end_drained_logs(struct shard *shard, int64_t now_ms);
// Takes over parameters that were recorded meanwhile. That happens only between two steps: the
// records of a step were judged by the earlier parameters, and its commit checks that these were
// the right ones. False: the step has to be committed first.
bool shard_follow_policy(struct shard *shard);
void shard_close_when_due(struct shard *shard, int64_t mono_ms);
void shard_serve_requests(struct shard *shard, int64_t mono_ms);
// Says why the day is held: after it was found and committed, and after a start.
void shard_tell_hold(struct shard *shard, int64_t mono_ms);
// What waits for its schema is noted, for people.
void shard_note_waiting(struct shard *shard, int64_t mono_ms);

// ---- shard_months.c ----

// Between two steps: writes the next page of a month that is due.
void shard_write_month(struct shard *shard, int64_t mono_ms);

// ---- shard_snapshot.c ----

// Between two steps: begins a snapshot that is due, or goes on with it. True: it wants more turns.
bool shard_write_snapshot(struct shard *shard);
// After the rows are restored: the calls as far as a snapshot has them.
void shard_take_snapshot(struct shard *shard);
// Whether its last record is the one that the log has there.
bool shard_proves_snapshot(const struct shard *shard, const struct event *record);
// The log contradicts what is held. True: that may be a snapshot's fault, and all is done again
// without.
bool shard_blames_snapshot(struct shard *shard, const char *why, int64_t mono_ms);

// ---- shard_commit.c ----

void shard_commit(struct shard *shard, int64_t mono_ms);
// Waits for a commit that goes on beside, and takes its answer.
void shard_await_commit(struct shard *shard, int64_t mono_ms);
// `idle`: nothing more is there to be read.
void shard_commit_when_due(struct shard *shard, bool idle, int64_t mono_ms);
// The relay has compared what Kafka holds with the database: nothing is committed before.
bool shard_is_compared(struct shard *shard);
