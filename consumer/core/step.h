// A step: what a run of the fold changed since the last commit, in the form in which PostgreSQL and
// the outbox take it. The fold fills it; the edge writes all of it in one transaction, or drops the
// shard's state and loads it again. Everything in it is owned by the step (strings in its arena) or
// by the fold (accounts, packages), and stays valid until fold_step_done().
#pragma once

#include "consumer/base/arena.h"
#include "consumer/core/policy.h"
#include "consumer/core/record.h"

// The texts by which the values of an enum are recorded stand once, in a table in step.c. _parse is
// false for a text that this program does not know: the reader must then refuse it, and must not
// take another value instead.
enum cut_by { CUT_NONE, CUT_RECORD, CUT_CLOCK, CUT_RELEASE };
const char *cut_symbol(enum cut_by cut); // "RECORD"
bool cut_parse(const char *symbol, enum cut_by *out); // never CUT_NONE

enum charge { CHARGE_PACKAGE, CHARGE_POSTPAID };
const char *charge_symbol(enum charge charge);
bool charge_parse(const char *symbol, enum charge *out);

enum account_state { ACCOUNT_ACTIVE, ACCOUNT_SUSPENDED };
const char *account_state_symbol(enum account_state state);
bool account_state_parse(const char *symbol, enum account_state *out);

enum cause { CAUSE_ARREARS, CAUSE_CREDIT, CAUSE_ADJUSTMENT };
const char *cause_symbol(enum cause cause);
bool cause_parse(const char *symbol, enum cause *out);

enum credit_kind { CREDIT_TOP_UP, CREDIT_ADJUSTMENT };
const char *credit_kind_symbol(enum credit_kind kind);
bool credit_kind_parse(const char *symbol, enum credit_kind *out);

// An interval [from, to) of suspension, ms; to is INT64_MAX while it lasts.
struct span {
    int64_t from, to;
};

struct account {
    struct slice id;
    // balance = their sum; the last two since the previous settlement
    fen_t opening, credits, adjustments;
    enum account_state state;
    int64_t account_sequence; // of its last status event; 0: none yet
    int64_t position; // of its last ledger row (credit or settlement), from 1
    bool touched; // is in step.touched_accounts
    bool recorded; // has a row: a step that told of it is done, or it was restored from one
    bool changed; // its last change of status was made by this fold, not restored
    bool unlisted; // a package of it is not in its list: used up, over, or gone from memory
    uint32_t first_package; // index + 1, in drawing order; 0: none
    uint32_t span_count, span_capacity;
    struct span *spans; // rising
};

// R33: what was left at the last settlement, and what was paid in since.
static inline fen_t account_balance(const struct account *a)
{
    return a->opening + a->credits + a->adjustments;
}

struct package {
    uint32_t account;
    struct slice id;
    enum service service;
    int64_t units, used, remaining;
    int64_t told; // remaining when its account was last told of (R63), or when it was bought
    fen_t amount;
    int64_t valid_from, valid_until; // ms; the latter exclusive
    int64_t offset; // of its purchase
    bool touched; // is in step.touched_packages
    uint32_t next; // of the same account, in drawing order; index + 1
};

struct step_reject {
    enum input input;
    int64_t offset, timestamp;
    enum reject_reason reason;
    int64_t schema_id; // -1: the record names none
    const char *detail;
    struct slice account_id, record_id; // data NULL where not decoded
    bool has_occurred_at;
    int64_t occurred_at;
    struct slice key, value; // as received
    int64_t decision; // that refused it; 0: none, it is open
};

struct step_credit {
    uint32_t account;
    struct slice credit_id;
    enum credit_kind kind;
    fen_t amount;
    int64_t credited_at, received_at, offset, position;
    fen_t balance; // after it
    struct slice reason, reference;
};

struct step_status {
    uint32_t account;
    int64_t account_sequence;
    enum account_state state;
    enum cause cause;
    day_t settlement_day; // with CAUSE_ARREARS
    struct slice credit_id; // otherwise
    fen_t balance;
    int64_t effective_at;
    int64_t suspended_since; // with ACCOUNT_ACTIVE: when the suspension began that it ends
};

struct settlement_line {
    day_t usage_day;
    enum service service;
    enum charge charge;
    uint32_t package; // index, with CHARGE_PACKAGE
    int64_t tier_from; // -1: none
    int64_t calls, units;
    int64_t begun; // of the calls, those of which no earlier unit lies on another line
    fen_t unit_price, amount;
};

// What a settlement says in numbers, one X(name) each, in the order of the fields in
// Settlement.avsc. The fields here and in `struct past`, the message, the row of
// settled.settlements, and what `settled explain` reads back, compares and prints follow from it.
#define SETTLEMENT_FIGURES(X)                                                                      \
    X(calls)                                                                                       \
    X(calls_while_suspended)                                                                       \
    X(amount)                                                                                      \
    X(opening_balance)                                                                             \
    X(credits)                                                                                     \
    X(adjustments)                                                                                 \
    X(closing_balance)
#define SETTLEMENT_FIGURE(name) int64_t name; // calls, or fen
#define SETTLEMENT_FIGURE_NUMBER(name) SETTLEMENT_FIGURE_##name,
enum { SETTLEMENT_FIGURES(SETTLEMENT_FIGURE_NUMBER) SETTLEMENT_FIGURE_COUNT };
#define SETTLEMENT_FIGURE_NAME(name) #name ", "
#define SETTLEMENT_FIGURE_NAMES SETTLEMENT_FIGURES(SETTLEMENT_FIGURE_NAME) // "calls, amount, "

struct settlement {
    uint32_t account;
    day_t day;
    SETTLEMENT_FIGURES(SETTLEMENT_FIGURE)
    enum account_state state; // after it
    int64_t position;
    size_t first_line, line_count; // in step.lines
};

// What an account holder is told at a close, with what stood then.
struct step_notice {
    enum notice_kind kind;
    uint32_t account, package; // of NOTICE_BALANCE_LOW: PACKAGE_NONE
    int64_t threshold; // what was reached; of NOTICE_PACKAGE_EXPIRED: 0
    fen_t balance; // of NOTICE_BALANCE_LOW
};
#define PACKAGE_NONE UINT32_MAX

struct cutoff {
    int64_t from_offset, to_offset; // the latter exclusive
    enum cut_by cut_by;
    int64_t accepted, duplicates, rejected, voids;
};

struct day_close {
    day_t day;
    struct cutoff cutoffs[INPUT_COUNT];
    int64_t late, zero_unit_calls, settlements;
    fen_t amount;
    char price_book[65], parameters[65];
    size_t decision_count;
    const char **decisions; // "NUMBER KIND OPERATOR CONTENT", in number order
};

// What an account's business days of one calendar month add up to, in numbers, one X(name) each, in
// the order of the fields in MonthStatement.avsc: before the status, and behind it. The message and
// the row of settled.month_statements follow from them.
#define MONTH_MONEY(X)                                                                             \
    X(opening_balance)                                                                             \
    X(credits)                                                                                     \
    X(adjustments)                                                                                 \
    X(amount)                                                                                      \
    X(closing_balance)
#define MONTH_COUNTS(X)                                                                            \
    X(settlements)                                                                                 \
    X(calls)                                                                                       \
    X(packages_bought)                                                                             \
    X(packages_amount)
#define MONTH_FIGURE(name) int64_t name; // fen, or a count
struct month_statement {
    struct slice account_id; // an account that only bought packages may be unknown to the fold
    MONTH_MONEY(MONTH_FIGURE)
    enum account_state state; // after the month's last day
    MONTH_COUNTS(MONTH_FIGURE)
    size_t first_line, line_count; // in the list that comes with it
};
struct month_line {
    enum service service;
    enum charge charge;
    struct slice package_id; // data NULL with CHARGE_POSTPAID
    int64_t tier_from; // -1: none
    fen_t unit_price;
    int64_t calls, units;
    fen_t amount;
};
// Some accounts' statements of a month, in byte order of the accounts.
struct month_page {
    day_t month; // its last day
    size_t count, line_count;
    const struct month_statement *statements;
    const struct month_line *lines;
    struct slice last; // the last account that was looked at; data NULL: no other is left
};

enum decision_kind { DECISION_ACCEPT, DECISION_REQUEUE, DECISION_PASS, DECISION_REFUSE };
const char *decision_symbol(enum decision_kind kind);
bool decision_parse(const char *symbol, enum decision_kind *out);

// What a decision is about, as texts and digests have it: "TOPIC COUNT SHA256", the last of the
// records' coordinates in rising order, "PARTITION/OFFSET" and a newline each.
enum { DECISION_CONTENT_SIZE = 249 + 1 + 20 + 1 + 64 + 1 };
struct decided_records {
    const char *topic;
    int32_t partition;
    size_t count;
    const int64_t *offsets; // rising
};
void decision_content(const struct decided_records *records, char out[DECISION_CONTENT_SIZE]);

// An operator's decision about records of an input log: about all of them, or none.
struct decision {
    int64_t number; // from 1 per shard, in the order of application
    int64_t request; // the row it comes from
    enum decision_kind kind;
    enum input input;
    size_t count; // of the records it is about, at least one
    const int64_t *offsets; // of these, rising
    int64_t as_of; // ms: when it was asked for; DECISION_PASS judges the record by it
    const char *operator_name; // percent-encoded
    const char *content; // of decision_content, for the next close
    day_t day; // open when it was applied
    int64_t at[INPUT_COUNT]; // positions of the logs when it was applied
};

// The open day is held: of the log's records since its previous cutoff so many undecided rejects
// are of this group.
struct step_hold {
    day_t day; // the same step may release and settle it
    enum input input;
    enum reject_group group;
    int64_t rejects, records;
    int64_t at; // the log's position
    int64_t after_decision; // the last one that had been applied; of 1, 2, 3 ...
};

// What goes out, in order of publication.
enum emission_kind {
    EMIT_REJECT,
    EMIT_STATUS,
    EMIT_SETTLEMENT,
    EMIT_NOTICE,
    EMIT_DAY_CLOSE,
    EMIT_STATEMENT,
    EMIT_KINDS
};
struct emission {
    enum emission_kind kind;
    uint32_t index; // in the list of that kind
};

struct step {
    struct step_reject *rejects;
    size_t reject_count, reject_capacity;
    struct step_credit *credits;
    size_t credit_count, credit_capacity;
    struct step_status *statuses;
    size_t status_count, status_capacity;
    struct settlement *settlements;
    size_t settlement_count, settlement_capacity;
    struct settlement_line *lines;
    size_t line_count, line_capacity;
    struct step_notice *notices;
    size_t notice_count, notice_capacity;
    day_t month; // the last day of the month whose statements these are; DAY_NONE: it has none
    struct month_statement *statements;
    size_t statement_count, statement_capacity;
    struct month_line *month_lines;
    size_t month_line_count, month_line_capacity;
    struct decision *decisions;
    size_t decision_count, decision_capacity;
    struct emission *emissions;
    size_t emission_count, emission_capacity;
    uint32_t *touched_accounts;
    size_t touched_account_count, touched_account_capacity;
    uint32_t *touched_packages;
    size_t touched_package_count, touched_package_capacity; // new or drawn
    bool closed; // the step settles a day: `close` is set; a step settles at most one
    struct day_close close;
    // The step holds the open day, or finds one more reason for it.
    struct step_hold holds[INPUT_COUNT * REJECT_GROUPS];
    size_t hold_count;
    bool released; // the step releases the held day
    bool moved; // any position changed
    struct arena *arena;
};

// A close, and statements, take nothing more into their step.
static inline bool step_is_whole(const struct step *step)
{
    return step->closed || step->month != DAY_NONE;
}

// Whether a step must be committed before it takes more: it has too many rows of one kind, or too
// many bytes.
enum { STEP_BYTES_MAX = 8 << 20, STEP_ROWS_MAX = 50000 };
static inline bool step_is_full(const struct step *step, size_t rows)
{
    return arena_used(step->arena) > STEP_BYTES_MAX || step->emission_count > rows ||
           step->credit_count > rows || step->touched_package_count > rows;
}
