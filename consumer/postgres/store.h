// PostgreSQL: the shard rows, everything money depends on, the outbox. One store is one connection
// and belongs to one thread. Every write locks the shard's row first and checks its epoch, so a
// process that lost the shard commits nothing.
//
// With several databases (postgres.dsn) a store has a connection to each, a part:
//
//   part 0, home   what is recorded once, parameters, books, writers' schemas; and
//   part p mod n   the rows of shard p; in each part but home copies of what is recorded at home
//
// Whatever is about a shard goes to its part, whichever part of the store is given; what is about
// the deployment goes home.
#pragma once

#include "consumer/output/outbox.h"

#include <stdbool.h>

struct store;

enum store_result {
    STORE_OK,
    STORE_FENCED, // the shard's row has a higher epoch: another process owns it
    // the database cannot be reached, or refuses for now: try again, the call reconnects
    STORE_UNAVAILABLE,
    STORE_DIVERGED, // the row is not what we last saw (a fail-over lost commits, a restore): halt
    STORE_FAILED, // anything else: *e says what
};

// A store that writes looks for a server that takes writes; one that only reads accepts any, even a
// standby. The dsn's own target_session_attrs wins. STORE_ANSWERS: it only reads, and for somebody
// who waits: the time-outs are a few seconds, whatever else is set, and it connects when something
// is read.
enum store_access { STORE_WRITES, STORE_READS, STORE_ANSWERS };

// dsn: libpq's, TLS options pass through. Sets application_name, statement, lock and
// idle-in-transaction time-outs and TCP keepalives, unless the dsn, the role or the database do;
// synchronous_commit is never lower than on. Errors name host and database, never the password.
// ERROR_CONFIG: the server refuses user, password or database; ERROR_UNAVAILABLE: it cannot be
// reached, or takes no writes now. A store whose connection is lost connects again at the next
// call, and then waits for either. Behind a pooler it needs sessions of its own (session pooling),
// as settings and prepared statements belong to one.
int store_open(const char *dsn, enum store_access access, struct store **out, struct error *e);
// The same with all databases: `dsns` in their order, home first. *out is home.
int store_open_all(char *const *dsns, size_t count, enum store_access access, struct store **out,
                   struct error *e);
enum { STORE_PARTS_MAX = 16 };
// How many parts there are, and each of them. They live as long as the store.
int store_parts(const struct store *store);
struct store *store_part(const struct store *store, int number);
// The part that has the shard's rows.
struct store *store_of(const struct store *store, int32_t shard);
// ERROR_CONFIG when connections by a part's dsn share a session: the pool between is in transaction
// or statement mode. Opens a second connection for it.
int store_check_session(struct store *store, struct error *e);
void store_close(struct store *store); // all parts
// For shutdown: another thread's call, and each one after it, returns STORE_UNAVAILABLE at once,
// whether the server answers or not. Safe from any thread while the store is open.
void store_interrupt(struct store *store);

// ---- migrations (schemas/postgres, embedded) ----

// Applies what is missing in each part, under an advisory lock, then sets owner and grants (roles
// that are missing and may not be created are logged as warnings). *applied: how many. Refuses a
// database that is newer than this binary.
int store_migrate(struct store *store, int *applied, struct error *e);
// ERROR_CONFIG when migrations are missing ("run settled migrate") or the database is newer
// ("upgrade settled").
int store_check_version(struct store *store, struct error *e);

// ---- deployment: what is recorded once, and parameters ----
struct deployment {
    struct policy policy; // fixed values, parameter rows, books
    uint8_t id_key[32];
    char group[256]; // a database serves one consumer group
    char cluster_id[128]; // of the Kafka cluster; "" until recorded
    char topics[INPUT_COUNT][250];
};
// Loads what is recorded; *recorded false when nothing is yet. ERROR_CONFIG when postgres.dsn names
// other databases, or in another order, than were recorded; of a store that only reads
// ERROR_UNAVAILABLE when a part has not got all of it yet.
enum store_result store_load_deployment(struct store *store, struct deployment *out, bool *recorded,
                                        struct error *e);
// Compares what is wanted with what is recorded, and records. A difference in the fixed values, in
// group, topic names, or the cluster's id once it is known, is ERROR_CONFIG, named with both
// values. The cluster's id is recorded as soon as it is known.
enum record_mode {
    // All of it, if nothing is recorded yet; else parameters and book stay as they are recorded.
    RECORD_FIRST,
    // The book when it is new, and a parameter row when anything of policy.rows[0] differs from the
    // last row or the book is new. ERROR_CONFIG when nothing is recorded yet.
    RECORD_CHANGES,
    RECORD_TRIAL, // the same, and taken back
};
struct recording {
    enum record_mode mode;
    const char *book_text;
    size_t book_size;
};
struct recorded_change {
    bool row, book; // one was added: the last of the rows; the book of that row
};
// A row starts at DAY_NONE at first, else on the smallest day above every shard's open day and
// horizon and above the last row; a new book's effective_from must lie above them too. A book that
// is recorded already changes nothing, even if a later one is in force. Idempotent; races between
// processes are decided by the database (a commit that reaches a day of a row its fold does not
// know is refused, below). Loads the result (of a trial: what would be) into *wanted, whose shelf
// it clears first; the caller clears it in the end.
enum store_result store_record_deployment(struct store *store, struct deployment *wanted,
                                          const struct recording *recording,
                                          struct recorded_change *change, struct error *e);
// Copies what is recorded at home into the other parts, before a shard there goes by it. A part
// that cannot be reached is left out.
enum store_result store_copy_recorded(struct store *store, struct error *e);
// The latest day that any shard has opened or holds a record of; DAY_NONE when none has begun.
enum store_result store_latest_day(struct store *store, day_t *day, struct error *e);

// The most calls that all shards accepted in one of the last `days` settled days; 0 when none is
// settled. Of several databases the sum of the busiest days of each.
enum store_result store_busiest_day(struct store *store, int days, int64_t *calls, struct error *e);
// Of one part: the most settlements that its shards made of one of the last `days` settled days, 0
// when none is settled; and the server's max_wal_size, in bytes.
enum store_result store_largest_close(struct store *store, int days, int64_t *settlements,
                                      int64_t *max_wal_size, struct error *e);

// ---- writer schemas seen on the inputs ----
// *text malloc'ed, NULL when it is not stored.
enum store_result store_load_schema(struct store *store, int64_t id, char **text, struct error *e);
enum store_result store_save_schema(struct store *store, int64_t id, const char *text,
                                    struct error *e);

// ---- shards ----
struct shard_row {
    int64_t epoch, step; // step: commits so far, to resolve an unknown COMMIT
    bool begun; // false: a new shard, nothing but the epoch is meaningful
    struct fold_state state;
    struct chain chain;
    int64_t relayed; // sequence known to be published (a low mark)
};

// Where the process answers HTTP ("HOST:PORT"; "" or NULL: nowhere): claims of this store tell it
// to other processes. The text outlives the store.
void store_advertise(struct store *store, const char *address);
// Raises the epoch under the row's lock (creating the row) and returns the row as it then is.
enum store_result store_claim(struct store *store, int32_t shard, struct shard_row *out,
                              struct error *e);
// Brings a fresh fold to the row's state: calls the fold_restore_* functions from the tables. The
// calls log is replayed by the caller afterwards.
enum store_result store_restore(struct store *store, int32_t shard, const struct shard_row *row,
                                struct fold *fold, struct error *e);
struct commit_request {
    const struct fold *fold; // whose step is written
    const struct outbox *outbox; // built from the step
    int64_t now_ms;
};
// Writes a step and its outbox rows in one transaction and advances row->step, state, chain.
// Resolves an unknown COMMIT by reading the row under its lock. After STORE_UNAVAILABLE repeat the
// same call with the same step. If the COMMIT had reached the database and only its answer was
// lost, the call finds the step there and returns STORE_OK; it is never written twice. Checks that
// the row is what `row` says and, first on each connection, that the last outbox row is the chain's
// (STORE_DIVERGED otherwise). STORE_FAILED with ERROR_RESTART: parameters were recorded for a day
// that the step reaches, and fold_policy(fold) does not have them; nothing is written, load the
// deployment and the shard anew. Only the outbox row and the rejects topic keep the key and value
// of a reject: `settled rejects requeue` reads the original record from the input topic, which
// keeps it for longer than a requeue makes sense.
enum store_result store_commit(struct store *store, int32_t shard, struct shard_row *row,
                               const struct commit_request *request, struct error *e);

// ---- the past ----

// A settlement as it is recorded. Its strings are valid until store_past_release.
struct recorded_line {
    day_t usage_day;
    enum service service;
    enum charge charge;
    char *package_id; // NULL with CHARGE_POSTPAID
    int64_t tier_from; // -1: none
    int64_t calls, units;
    fen_t unit_price, amount;
    int64_t package_units; // -1 with CHARGE_POSTPAID
    fen_t package_amount; // likewise
};
struct past {
    bool settled; // false: the account has no settlement of that day; the rest is not set
    SETTLEMENT_FIGURES(SETTLEMENT_FIGURE)
    enum account_state state; // after it
    int64_t sequence, position;
    size_t line_count;
    struct recorded_line *lines;
    struct cutoff cutoffs[INPUT_COUNT]; // of the day; cut_by is not set
    char price_book[65];
};
// Loads one account's settlement of a day, and brings a fresh fold to where the shard stood just
// before that day was settled, as far as this account is concerned. Its money, state, suspensions
// and packages come from the earlier rows; the caller then replays the calls log from
// fold_replay_position() to the day's cutoff. ERROR_CONFIG when the shard has not settled the day.
struct past_question {
    int32_t shard;
    struct slice account_id;
    day_t day;
};
enum store_result store_restore_past(struct store *store, const struct past_question *question,
                                     struct fold *fold, struct past *out, struct error *e);
void store_past_release(struct past *past);

// What an account's packages hold of a service, as of its last settlement: of those that are valid
// at this instant (ms).
struct held_question {
    struct slice account_id;
    enum service service;
    int64_t at_ms;
};
// ERROR_CONFIG: nothing is recorded of such an account.
enum store_result store_held_units(struct store *store, const struct held_question *question,
                                   int64_t *units, struct error *e);

// ---- operators' requests ----
//
//   requeue: SENDING ─record produced─► WAITING ─┬─► DONE (a decision)
//   accept, pass: ────────────────────► WAITING ─┴─► REFUSED (with the reason)
enum request_state { REQUEST_SENDING, REQUEST_WAITING, REQUEST_DONE, REQUEST_REFUSED };
const char *request_state_symbol(enum request_state state);

struct request {
    int64_t id;
    // number, day and at are not set; all that is pointed at is valid until the next call on the
    // store
    struct decision decision;
    // of the recorded rejects (ACCEPT, REQUEUE), one for each record; REJECT_NONE: none that is
    // open
    const enum reject_reason *reasons;
    // REQUEUE: the last place in this shard's own partition to which a record was sent; else -1
    int64_t new_offset;
};
// Requests that wait for a shard, in order; the same ones until a step that decides them is
// committed, or they are refused. *count at most `capacity`.
enum store_result store_load_requests(struct store *store, int32_t shard, struct request *out,
                                      size_t capacity, size_t *count, struct error *e);
// Undecided rejects since the last cutoff, of one log, reason and writer's schema.
struct undecided_rejects {
    enum input input;
    enum reject_reason reason;
    int64_t schema_id; // -1: the records name none
    int64_t count, first_offset;
};
// Those of a shard, the most frequent first. *count at most `capacity`: what is rare is left out.
enum store_result store_load_undecided(struct store *store, int32_t shard,
                                       struct undecided_rejects *out, size_t capacity,
                                       size_t *count, struct error *e);
// A request that cannot be applied (one of its records is decided already, or is no reject):
// recorded as refused with its reason, as a whole.
enum store_result store_refuse_request(struct store *store, int64_t id, const char *why,
                                       struct error *e);

// A record before which its log waits, as its writer's schema cannot be had.
struct waiting_record {
    enum input input;
    int64_t offset, schema_id;
    const char *answer; // what the registry said last
};
// Notes it for people, under the epoch. Since when the log waits for this schema is kept over
// records and restarts. A log that goes on needs no note: its position has passed the record.
enum store_result store_note_waiting(struct store *store, int32_t shard, int64_t epoch,
                                     const struct waiting_record *record, struct error *e);

// What an operator asks for: a decision about records of one partition.
struct ask {
    enum decision_kind kind;
    enum input input;
    int32_t shard;
    size_t count; // at least one
    const int64_t *offsets; // rising
    int64_t now_ms; // a PASS judges the records by it
    int64_t patience_ms; // a REFUSE needs that the record's schema was waited for so long
};
struct asked {
    int64_t id;
    enum request_state state;
    bool made; // now; else the same was requested before, and the request stands
};
// Records the request once, in the name of the database's user. ERROR_CONFIG: one of the records is
// no open reject, or another request about it stands; nothing is recorded.
enum store_result store_add_request(struct store *store, const struct ask *ask, struct asked *out,
                                    struct error *e);
// Whether it could be recorded: the same error, and nothing is changed.
enum store_result store_try_request(struct store *store, const struct ask *ask, struct error *e);
// A requeued record is now in the log: the one that stood at `from`.
struct sent_record {
    int64_t from;
    int32_t partition; // where it is now
    int64_t offset;
};
enum store_result store_record_sent(struct store *store, int64_t id, struct sent_record sent,
                                    struct error *e);
// A record of a requeue that was left half-way cannot be sent any more: the request goes on without
// it, and is refused where it was about no other.
enum store_result store_record_lost(struct store *store, int64_t id, int64_t offset,
                                    struct error *e);
struct request_answer {
    enum request_state state;
    int64_t decision; // its number, when DONE; else 0
    const char *text; // why, when REFUSED; valid until the next call on the store
};
enum store_result store_load_answer(struct store *store, int64_t id, struct request_answer *out,
                                    struct error *e);

struct reject_filter {
    bool by_input, by_shard, by_offset, open_only;
    enum input input;
    int32_t shard;
    int64_t offset;
    bool waiting; // with the records before which logs wait
    enum reject_reason reason; // REJECT_NONE: any
    const char *account_id; // NULL: any
    int64_t received_from, received_to; // ms, the latter exclusive; 0: unbounded
    size_t limit; // 0: all
    // A list begins behind this place; topic NULL: with the first. Groups do not look at it.
    struct reject_place {
        const char *topic;
        int32_t partition;
        int64_t offset;
    } after;
};
struct reject_row {
    enum input input;
    int32_t shard;
    int64_t offset, received_at;
    bool waiting; // not judged yet: received_at is since when its schema is waited for
    const char *topic, *reason, *detail; // as all strings here: valid during the visit
    const char *account_id, *record_id; // NULL where not decoded
    int64_t decision; // that accepted or requeued it; 0: open
    int64_t request; // that stands about it; 0: none
    enum decision_kind request_kind; // with a request
    enum request_state request_state; // with a request
    bool sent; // by the request, a requeue
};
// Returns 0, or -1 with *e to stop. It must not call the store.
typedef int store_reject_visit(void *context, const struct reject_row *reject, struct error *e);
// In the order of topic, partition, offset.
enum store_result store_list_rejects(struct store *store, const struct reject_filter *filter,
                                     store_reject_visit *visit, void *context, struct error *e);

// The same rejects, counted together.
struct reject_group_row {
    const char *key; // a reason, a schema's id ("-": it has none), an account ("-") or a topic
    // how many accounts are known of them; one whose records are in several databases, because some
    // were sent to a wrong partition, counts in each
    int64_t count, accounts;
    const char *reasons; // all that occur, with blanks between them
    struct reject_row first, last; // as they arrived; what was decided is not told
};
typedef int store_reject_group_visit(void *context, const struct reject_group_row *group,
                                     struct error *e);
// The largest groups first; filter->limit is one of groups. `by`: "reason", "schema", "account" or
// "topic".
enum store_result store_group_rejects(struct store *store, const struct reject_filter *filter,
                                      const char *by, store_reject_group_visit *visit,
                                      void *context, struct error *e);

// What is known of a credit of an account, and of the account.
struct found_credit {
    bool known; // the account has been seen
    bool accepted; // the credit is; only then the rest is set
    enum credit_kind kind;
    fen_t amount;
};
enum store_result store_find_credit(struct store *store, const char *account_id,
                                    const char *credit_id, struct found_credit *out,
                                    struct error *e);

// ---- relay ----

struct outbox_window {
    int64_t after; // rows above this sequence, rising
    size_t limit; // rows at most
    size_t max_bytes; // about; one row always comes
};
// Strings are valid until the next call.
enum store_result store_load_outbox(struct store *store, int32_t shard,
                                    const struct outbox_window *window, struct outbox_row *out,
                                    size_t *count, struct error *e);
// Chain hash of row n; *found false when it is not kept any more (or n is 0).
enum store_result store_outbox_hash(struct store *store, int32_t shard, int64_t n, uint8_t out[32],
                                    bool *found, struct error *e);
// Raises the shard's `relayed` mark under the epoch check. Rows stay.
enum store_result store_raise_mark(struct store *store, int32_t shard, int64_t epoch, int64_t n,
                                   int64_t now_ms, struct error *e);
// The same, and drops rows that were published more than 8 days ago (row n stays).
enum store_result store_mark_relayed(struct store *store, int32_t shard, int64_t epoch, int64_t n,
                                     int64_t now_ms, struct error *e);
// Checks the epoch under the row's lock; *sequence (of the last outbox row) and *relayed (the mark)
// are read with it. Each may be NULL.
enum store_result store_check_epoch(struct store *store, int32_t shard, int64_t epoch,
                                    int64_t *sequence, int64_t *relayed, struct error *e);
