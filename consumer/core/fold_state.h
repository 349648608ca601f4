// What a fold is made of. Included by the files of the fold only: fold.c (life, logs, days),
// judge.c (records), ledger.c (accounts, packages, credits), close.c (settlement), restore.c (rows
// and replay), recorded.c (audits).
#pragma once

#include "consumer/core/fold.h"
#include "consumer/core/step_build.h"
#include "consumer/usage/account_calls.h"
#include "consumer/usage/calls.h"

#define ACCOUNT_NONE INDEX_NONE // their numbers are what indexes name

// A log on its way to the open day's cutoff; not recorded: a restart finds it again.
struct log_progress {
    enum cut_by cut; // CUT_NONE: open
    int64_t clock_end; // answered by a query sent when the day was due; -1: none
};

// A credit once accepted, as long as its id is known: identity and billed content.
struct credit_entry {
    uint64_t half[2];
    uint32_t account;
    bool uuid;
    uint8_t kind;
    fen_t amount;
    int64_t credited_at;
};

struct ledger {
    struct arena *texts; // ids of accounts
    size_t account_count, account_capacity;
    struct account *accounts;
    struct account_hash *account_hashes; // parallel, of the id
    size_t hash_capacity;
    struct index account_index;
    size_t package_count, package_capacity;
    struct package *packages;
    struct arena *package_texts; // their ids
    bool packages_left_out; // there are others, which a restore did not bring: they are gone
    size_t package_ids; // of them, those whose id is known: these are in the index
    struct index package_index;
    size_t credit_count, credit_capacity;
    struct credit_entry *credits;
    struct index credit_index;
};

struct recorded_cutoff {
    day_t day;
    int64_t to_offset;
    bool counted; // the next two are known
    int64_t from_offset, judged;
};

struct timestamp_override {
    enum input input;
    int64_t offset, as_of;
};

// A record of which an operator has decided that it is UNKNOWN_SCHEMA: its schema cannot be had.
struct refusal {
    int64_t offset, decision;
};

// The way back to the committed position of the calls log.
struct replay {
    bool active;
    int64_t from, next; // where it began: calls_from, or where a snapshot ends; position
    size_t cutoff_count, cutoff_capacity, cutoff_at;
    struct recorded_cutoff *cutoffs; // rising
    size_t reject_count, reject_capacity, reject_at;
    int64_t *rejects; // rising offsets
    bool proved; // the record at last_offset was delivered, and is the remembered one
    // delivered since the cutoff before and not rejected: must agree with what the close had
    // counted
    int64_t judged;
    int64_t accepted, others; // in the open day: must agree with the recorded counts
    struct slice only; // of fold_replay_only; data NULL: the calls of all accounts
    int64_t foreign; // in the open day, of other accounts than that one
};

struct fold {
    struct fold_options options;
    struct identity_key key;
    const struct policy *policy;
    const struct parameters *parameters; // in force on the open day
    int32_t zone_ms; // offset of the price book's time zone
    day_t floor; // oldest usage day that may still be billed
    day_t credit_floor; // oldest own day of a purchase or credit that is still taken
    int64_t due_at; // end of the open day + grace, ms
    struct fold_state state;
    struct log_progress log[INPUT_COUNT];
    bool counted[INPUT_COUNT]; // of fold_set_counted
    struct ledger ledger;
    struct calls calls;
    struct account_calls chains; // of those who ask (preview.c)
    size_t override_count, override_capacity;
    struct timestamp_override *overrides;
    // of each log, rising offsets at or above its position
    size_t refusal_count[INPUT_COUNT], refusal_capacity[INPUT_COUNT];
    struct refusal *refusals[INPUT_COUNT];
    // Decisions since the last close, "NUMBER KIND OPERATOR CONTENT".
    size_t named_count, named_capacity;
    char **named;
    struct replay replay;
    // of an audit: the record in hand is judged, but not applied when it would be accepted
    bool withhold;
    struct step step;
    struct slice trace_account;
    fold_trace *trace;
    void *trace_context;
};

// R59, R26: where the oldest day begins that is still taken, of purchases and credits, and of
// calls.
static inline int64_t credit_start(const struct fold *fold)
{
    return calendar_day_start(fold->credit_floor, fold->zone_ms);
}
static inline int64_t call_start(const struct fold *fold)
{
    return calendar_day_start(fold->floor, fold->zone_ms);
}

// ---- fold.c ----
void fold_open_day(struct fold *fold, day_t day); // parameters, floor and due time of the open day
void fold_name_decision(struct fold *fold, const struct decision *decision); // for the next close
void fold_cut_released(struct fold *fold); // a day that was released and is not closed yet
void fold_add_override(struct fold *fold, enum input input, int64_t offset, int64_t as_of);
// NULL: none
const struct timestamp_override *fold_find_override(const struct fold *fold, enum input input,
                                                    int64_t offset);
void fold_drop_override(struct fold *fold, enum input input,
                        int64_t offset); // the record is judged
void fold_add_refusal(struct fold *fold, enum input input, struct refusal refusal);
// The decision that refused the record; 0: none
int64_t fold_refused_by(const struct fold *fold, enum input input, int64_t offset);
// nothing was delivered below it
void fold_void_to(struct fold *fold, enum input input, int64_t offset);
struct verdict;
void fold_count(struct log_state *log, const struct verdict *verdict); // the record at log->next
void fold_check_log(const struct log_state *log); // asserts that its counts are those of offsets
void fold_remember(struct log_state *log, const struct event *event); // as the last one delivered
// No longer counts a decided reject in the open day's shares. False: it belongs to an earlier day,
// and no open day counts it.
bool fold_resolve(struct log_state *log, int64_t offset, enum reject_reason reason);

// ---- judge.c ----
struct verdict {
    enum reject_reason reason;
    bool duplicate;
    int64_t decision; // that refused the record, of the caller; 0: none
    bool broken; // *error is set: the fold cannot go on
    bool uncounted; // no verdict yet: its topic's count of partitions must be looked at first
    char detail[REJECT_DETAIL_SIZE];
    struct error *error; // of the caller
};
// What a call will be looked up by, computed ahead so that the memory is there when it is judged.
struct lookup {
    struct account_hash account; // of the key
    struct identity id;
    uint64_t hash; // of both, for the index of calls
    uint32_t candidate; // the account that the index names first for it; ACCOUNT_NONE: not asked
};
void judge_prefetch(const struct fold *fold, const struct event *event, struct lookup *lookup);
// The second load of the chain, once the first has arrived: the hash of the account that the index
// names.
void judge_prefetch_account(const struct fold *fold, struct lookup *lookup);
// What the next calls of a batch will be looked up by.
enum { LOOK_AHEAD = 16 }; // calls whose memory loads are started before one is judged
struct look_ahead {
    struct lookup lookups[LOOK_AHEAD];
    size_t ahead; // events of the batch that have been looked at; 0 at its beginning
};
// Of call i, in turn from 0 on; starts the loads of those after it. (fold.c)
const struct lookup *fold_look_ahead(const struct fold *fold, struct look_ahead *look,
                                     struct event_batch batch, size_t i);
// Judges one record and applies it when it is accepted. `at_ms`: its T, or the decision's time for
// a passed one. `lookup`: of a call, from judge_prefetch.
void judge(struct fold *fold, enum input input, const struct event *event,
           const struct lookup *lookup, int64_t at_ms, struct verdict *verdict);
// Puts a rejected record into the step; judge does so itself.
void judge_add_reject(struct fold *fold, enum input input, const struct event *event,
                      const struct verdict *verdict);
// The call of a record that was not rejected, for replays; false where its fields cannot be those
// of an accepted one. `lookup`: from judge_prefetch.
bool judge_recorded_call(struct fold *fold, const struct event *event, const struct lookup *lookup,
                         struct call *call, uint64_t *hash);

// ---- ledger.c ----
void ledger_create(struct ledger *ledger);
void ledger_free(struct ledger *ledger);
size_t ledger_memory(const struct ledger *ledger);
// Asserts that tables and indexes agree, and each account's status with its spans: after rows were
// loaded, and before a day is settled and after.
void ledger_check(const struct ledger *ledger);
void ledger_check_packages(const struct ledger *ledger); // each package's place in its account
uint32_t ledger_find_account(const struct fold *fold, struct account_hash hash); // ACCOUNT_NONE
static inline bool ledger_is_account(const struct fold *fold, uint32_t number,
                                     struct account_hash hash)
{
    const struct account_hash *own = &fold->ledger.account_hashes[number];
    return own->half[0] == hash.half[0] && own->half[1] == hash.half[1];
}
// finds or adds
uint32_t ledger_account(struct fold *fold, struct account_hash hash, struct slice id);
uint32_t ledger_find_package(const struct fold *fold, struct account_hash hash, uint32_t account,
                             struct slice id); // INDEX_NONE
uint32_t ledger_add_package(struct fold *fold, const struct package *package);
const struct credit_entry *ledger_find_credit(const struct fold *fold, struct account_hash hash,
                                              uint32_t account, struct identity id);
void ledger_add_credit(struct fold *fold, struct account_hash hash,
                       const struct credit_entry *credit);
// R60: the id of a purchase is known until its own day falls below the floor.
bool ledger_is_known(const struct fold *fold, const struct package *package);
// R60: no retained day can draw on the package any more, and its id is forgotten.
bool ledger_is_gone(const struct fold *fold, const struct package *package);
// Forgets the ids of purchases and credits below the floor, and packages that are gone. Packages
// get other numbers: not while a step tells of any.
void ledger_forget(struct fold *fold);
// Opens a span of suspension (to INT64_MAX), or takes one whole.
void ledger_add_span(struct account *account, struct span span);
bool ledger_was_suspended(const struct account *account, int64_t instant_ms);
// Changes the account's state and emits the event. Alternation is asserted.
void ledger_change_state(struct fold *fold, uint32_t number, enum cause cause, int64_t effective_at,
                         day_t settlement_day, struct slice credit_id);
