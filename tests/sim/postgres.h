// A model of PostgreSQL that behaves as store.h promises: a shard's rows change in one transaction
// under the lock of the shard's row, which compares epoch, step and position first
// (store_commit.c).
#pragma once

#include "consumer/postgres/store.h"
#include "tests/sim/kafka.h"

// Each struct below is a row of the table of that name; texts live as long as the world.
struct account_row {
    struct slice id;
    fen_t opening, credits, adjustments;
    enum account_state state;
    int64_t account_sequence, position;
};
struct package_row {
    struct slice account;
    struct package package; // `account`, `touched` and `next` are not set
};
struct credit_row {
    struct slice account;
    struct step_credit credit;
};
struct status_row {
    struct slice account;
    struct step_status status;
    int64_t sequence;
};
struct line_row {
    struct settlement_line line;
    struct slice package; // data NULL: postpaid, and the next two are 0
    int64_t package_units;
    fen_t package_amount;
};
struct settlement_row {
    struct slice account;
    struct settlement settlement; // `account` is not set; first_line in `lines`
    int64_t sequence;
};
struct notice_row {
    struct slice account;
    day_t day;
    struct step_notice notice; // `account` is not set
    struct package package; // as the notice tells of it
    int64_t sequence;
};
struct statement_row {
    day_t month;
    struct month_statement statement; // first_line in `month_lines`
    int64_t sequence;
};
struct reject_row_of { // store.h has a reject_row
    struct step_reject reject;
    int64_t sequence, decision; // decision 0: open
};
struct close_row {
    struct day_close close; // decisions are not kept
    char content_digest[65], previous_digest[65], digest[65];
    int64_t sequence, calls_from;
};
struct mark_row {
    int64_t sequence, published_at;
};
struct ask_row {
    struct request request;
    enum request_state state;
};

struct rows {
    int64_t epoch, step;
    bool begun;
    struct fold_state state;
    struct chain chain;
    int64_t relayed;
    LIST(struct account_row) accounts;
    LIST(struct package_row) packages;
    LIST(struct credit_row) credits;
    LIST(struct status_row) statuses;
    LIST(struct settlement_row) settlements;
    LIST(struct line_row) lines;
    LIST(struct notice_row) notices;
    LIST(struct statement_row) statements;
    LIST(struct month_line) month_lines;
    LIST(struct reject_row_of) rejects;
    LIST(struct close_row) closes;
    LIST(struct decision) decisions;
    LIST(struct outbox_row) outbox; // [i] has sequence i + 1; those below outbox_first are dropped
    int64_t outbox_first;
    LIST(struct step_hold) holds;
    LIST(struct mark_row) marks;
    LIST(struct ask_row) asks;
};

void rows_free(struct rows *rows);
bool decision_is_about(const struct decision *decision, int64_t offset);

// A transaction whose server process still holds the row's lock while its client is gone.
struct zombie {
    bool holds;
    bool commits; // what becomes of it
    int64_t epoch; // of the client
    struct rows after;
};

// Ways in which a database can be wrong, to see that the checks can fail.
enum breakage {
    BREAK_NOTHING,
    BREAK_EPOCH, // the epoch and the position are not compared
    BREAK_OUTBOX, // outbox rows go by a transaction of their own
    BREAK_RESOLVE, // a COMMIT without an answer is taken for one that failed
    BREAK_LOCK, // a transaction without a client holds no lock
    BREAK_REJECTS, // a restore brings no rejects
    BREAK_CREDITS, // a restore brings no credits
    BREAK_SPANS, // a restore brings no suspensions
    // init_transactions fences nobody, and an offset whose transaction is open is not waited for
    BREAK_FENCING,
    BREAK_ENDS, // a log's end is asked for before the day is due
    BREAK_LATE, // BREAK_SPENT and BREAK_EARLY: what the relay did before it knew of late requests
    // a producer goes on after an abort, and after a request of which a copy is under way
    BREAK_SPENT,
    BREAK_EARLY, // the position goes out before the rows
    BREAK_BLIND, // the topics are not read: what the position says, and a commit, is believed
    BREAKAGES
};
extern const char *const breakage_names[BREAKAGES];

struct postgres {
    int32_t shards;
    enum breakage breakage;
    struct arena *arena;
    struct rows rows[SHARDS_MAX];
    struct zombie zombies[SHARDS_MAX];
    bool down;
    // Parameters in the order in which they were recorded; `policy` is the present one. Earlier
    // ones stay for processes that still use them.
    LIST(struct recorded { struct policy *policy; }) policies;
    LIST(struct added { struct book *book; }) books;
    const struct policy *policy;
    int64_t last_ask;
    // A replica that no longer follows; it may become the primary.
    bool lags;
    struct rows replica[SHARDS_MAX];
    const struct policy *replica_policy;
    // Called for each step once it is committed, by a client that claimed the shard with `epoch`.
    // Only the counts of `before` are valid.
    void (*on_commit)(void *context, int32_t shard, int64_t epoch, const struct rows *before);
    void *context;
};

void postgres_init(struct postgres *pg, const struct policy *first);
void postgres_free(struct postgres *pg);

// One process's connections. What happens to its next COMMIT is set beforehand.
enum commit_fate {
    COMMIT_WELL,
    COMMIT_REFUSED, // serialisation failure, deadlock: nothing happened
    COMMIT_UNANSWERED, // it got through, the answer did not
    COMMIT_UNANSWERED_TWICE, // neither did the look at the row afterwards
    COMMIT_LOST, // the connection went before it got through
    COMMIT_HANGS, // the client is gone, the row stays locked, then it commits
    COMMIT_HANGS_BACK, // the same, then it is rolled back
    COMMIT_FATES
};
struct session {
    int64_t cut_until; // world ms
    bool seen[SHARDS_MAX];
    enum commit_fate next;
};

// As store.h has them. `now`: world ms.
enum store_result postgres_claim(struct postgres *pg, struct session *session, int64_t now,
                                 int32_t shard, struct shard_row *out, struct error *e);
// As months.h has it, of what is committed: valid as long as the database.
void postgres_month(struct postgres *pg, int32_t shard, day_t month, const char *after,
                    struct month_page *out);
enum store_result postgres_restore(struct postgres *pg, struct session *session, int64_t now,
                                   int32_t shard, const struct shard_row *row, struct fold *fold,
                                   struct error *e);
struct commit_of {
    struct shard_row *row;
    const struct fold *fold;
    const struct outbox *outbox;
    int64_t now_ms;
};
enum store_result postgres_commit(struct postgres *pg, struct session *session, int64_t now,
                                  int32_t shard, const struct commit_of *commit, struct error *e);
enum store_result postgres_check_epoch(struct postgres *pg, struct session *session, int64_t now,
                                       int32_t shard, int64_t epoch, int64_t *sequence,
                                       int64_t *relayed, struct error *e);
enum store_result postgres_mark(struct postgres *pg, struct session *session, int64_t now,
                                int32_t shard, int64_t epoch, int64_t n, int64_t now_ms,
                                struct error *e);
enum store_result postgres_ready(struct postgres *pg, struct session *session, int64_t now,
                                 struct error *e);

// The server finds that a client is gone.
void postgres_end_zombies(struct postgres *pg);
void postgres_lag(struct postgres *pg);
void postgres_fail_over(struct postgres *pg); // to the replica that lags; its own past is gone
// Records parameters from the next day that no shard has opened or holds a record of; false: not
// now.
bool postgres_record(struct postgres *pg, const struct parameters *wanted, const struct book *book);
