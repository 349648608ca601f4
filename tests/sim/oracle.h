// The rules a second time, written from scratch: lists that are searched from end to end, without
// fold, step or restore. The records of the logs below the recorded positions, judged one after the
// other, must give the rows in PostgreSQL, and these must agree with the topics.
#pragma once

#include "tests/sim/check.h"

void oracle_check(struct world *world);

// ---- its parts ----

struct known_call {
    struct slice account, id;
    enum service service;
    int64_t units, time, offset;
    day_t day;
    bool settled;
};

struct known_package {
    struct slice account, id;
    enum service service;
    int64_t units, used, remaining, offset;
    int64_t before; // what remained at the last close, or when it was bought
    fen_t amount;
    int64_t from, until;
};

struct known_credit {
    struct slice account, id;
    enum credit_kind kind;
    fen_t amount;
    int64_t time;
};

struct known_month {
    day_t month; // its last day
    struct slice account;
    fen_t balance;
    enum account_state state;
};

struct known_account {
    struct slice id;
    fen_t opening, credits, adjustments;
    enum account_state state;
    int64_t sequence, position;
    LIST(struct span) spans;
};

struct oracle {
    struct world *world;
    int32_t shard;
    const struct rows *rows;
    const struct policy *policy;
    day_t day; // the one that is judged by
    struct log_state log[INPUT_COUNT]; // of it: the counts
    LIST(struct known_call) calls;
    LIST(struct known_package) packages;
    LIST(struct known_month) months;
    LIST(struct known_credit) credits;
    LIST(struct known_account) accounts;
    // that were found to be right
    size_t credit_rows, status_rows, settlement_rows, notice_rows, reject_rows;
    int64_t told; // sequence of the last record of the close in hand; 0: none yet
    int64_t late, zero_unit_calls, settlements;
    fen_t amount;
};

__attribute__((format(printf, 2, 3))) void oracle_fail(struct oracle *o, const char *format, ...);
bool oracle_same(struct slice a, struct slice b);
int oracle_order(struct slice a, struct slice b); // of bytes
// valid until the next account
struct known_account *oracle_account(struct oracle *o, struct slice id);
fen_t oracle_balance(const struct known_account *account);
// The account's next status row must be this.
void oracle_status(struct oracle *o, struct known_account *account, enum cause cause,
                   int64_t effective_at, struct slice credit_id);
int64_t oracle_due(const struct oracle *o); // end and grace of o->day

// Judges the record at an offset, takes over what it changes, and compares the rows.
void oracle_judge(struct oracle *o, enum input input, int64_t offset);
// T: the broker's time, or that of the operator who let the record pass.
int64_t oracle_time(const struct oracle *o, enum input input, int64_t offset);
// Settles o->day, and compares.
void oracle_settle(struct oracle *o);
// What the account is told at the close of o->day; `settlement` NULL: it has none.
void oracle_notices(struct oracle *o, struct slice account, const struct settlement *settlement);
// The records of a close follow each other.
void oracle_follows(struct oracle *o, int64_t sequence);
// Compares the outbox, and so the topics, with the rows.
void oracle_check_topics(struct oracle *o);

// ---- months.c ----

// Keeps what accounts have at the close of a month's last day.
void oracle_keep_month(struct oracle *o);
void oracle_months(struct oracle *o);
