// PostgreSQL: the shard rows, everything money depends on, the outbox. One store is one connection and belongs to one
// thread. Every write locks the shard's row first and checks its epoch, so a process that lost the shard commits nothing.
#pragma once

#include "consumer/io/outbox.h"

#include <stdbool.h>

struct store;

enum store_result {
    STORE_OK,
    STORE_FENCED, // the shard's row has a higher epoch: another process owns it
    STORE_UNAVAILABLE, // the database cannot be reached, or refuses for now: try again; nothing is known to be written
    STORE_DIVERGED, // the row is not what we last saw (a fail-over lost commits, a restore): halt
    STORE_FAILED, // anything else: *e says what
};

// dsn: libpq's, TLS options pass through. Sets application_name, statement, lock and idle-in-transaction time-outs
// and TCP keepalives. Errors name host and database, never the password.
int store_open(const char *dsn, struct store **out, struct error *e);
void store_close(struct store *store);
// Asks another thread's running statement to stop (shutdown); safe from any thread.
void store_interrupt(struct store *store);

// ---- migrations (schemas/postgres, embedded) ----
// Applies what is missing under an advisory lock. *applied: how many. Refuses a database that is newer than this binary.
int store_migrate(struct store *store, int *applied, struct error *e);
// ERROR_CONFIG when migrations are missing ("run settled migrate") or the database is newer ("upgrade settled").
int store_check_version(struct store *store, struct error *e);

// ---- deployment: what is recorded once, and parameters ----
struct deployment {
    struct policy policy; // fixed values, parameter rows, books
    uint8_t id_key[32];
    char group[256]; // a database serves one consumer group
    char cluster_id[128]; // of the Kafka cluster; "" until recorded
    char topics[INPUT_COUNT][250];
};
// Loads what is recorded; *recorded false when nothing is yet.
enum store_result store_load_deployment(struct store *store, struct deployment *out, bool *recorded, struct error *e);
// Records what is wanted: the fixed values at first (later a difference is ERROR_CONFIG, named with both values), the
// book when it is new, a parameter row when anything differs; both only from a day above every shard's open day and
// horizon (`from`: DAY_NONE at first, else the smallest such day or the book's effective_from). Idempotent; races between processes are
// decided by the database. Loads the result into *wanted.
enum store_result store_record_deployment(struct store *store, struct deployment *wanted, const char *book_text,
                                          size_t book_size, struct error *e);

// ---- writer schemas seen on the inputs ----
// *text malloc'ed, NULL when it is not stored.
enum store_result store_load_schema(struct store *store, int32_t id, char **text, struct error *e);
enum store_result store_save_schema(struct store *store, int32_t id, const char *text, struct error *e);

// ---- shards ----
struct shard_row {
    int64_t epoch, step; // step: commits so far, to resolve an unknown COMMIT
    bool begun; // false: a new shard, nothing but the epoch is meaningful
    struct fold_state state;
    struct chain chain;
    int64_t relayed; // sequence known to be published (a low mark)
};

// Raises the epoch under the row's lock (creating the row) and returns the row as it then is.
enum store_result store_claim(struct store *store, int32_t shard, struct shard_row *out, struct error *e);
// Brings a fresh fold to the row's state: calls the fold_restore_* functions from the tables. The calls log is replayed
// by the caller afterwards.
enum store_result store_restore(struct store *store, int32_t shard, const struct shard_row *row, struct fold *fold,
                                struct error *e);
// Writes a step and its outbox rows in one transaction and advances row->step, state, chain. Resolves an unknown COMMIT
// by reading the row under its lock. On STORE_UNAVAILABLE nothing of it is written and the same call may be repeated.
// On a new connection, before the first write, checks that the row is what `row` says and that outbox row n is the
// chain's (STORE_DIVERGED otherwise).
enum store_result store_commit(struct store *store, int32_t shard, struct shard_row *row, const struct fold *fold,
                               const struct outbox *outbox, int64_t now_ms, struct error *e);

// ---- operators' requests ----
struct request {
    int64_t id;
    struct decision decision; // number, day and at are not set; strings valid until the next call on the store
    enum reject_reason reason; // of the recorded reject (ACCEPT, REQUEUE); REJECT_NONE: there is none
    int64_t new_offset; // REQUEUE: where the record was sent, when to this shard's own partition; else -1
};
// Requests for a shard that no decision has answered yet, in order. *count at most `capacity`.
enum store_result store_load_requests(struct store *store, int32_t shard, struct request *out, size_t capacity,
                                      size_t *count, struct error *e);
// A request that cannot be applied (already decided, no such reject): recorded as refused with its reason.
enum store_result store_refuse_request(struct store *store, int64_t id, const char *why, struct error *e);

// ---- relay ----
// Rows above `after`, rising, at most `limit` rows or about `max_bytes`. Strings are valid until the next call.
enum store_result store_load_outbox(struct store *store, int32_t shard, int64_t after, size_t limit, size_t max_bytes,
                                    struct outbox_row *out, size_t *count, struct error *e);
// Chain hash of row n; *found false when it is not kept any more (or n is 0).
enum store_result store_outbox_hash(struct store *store, int32_t shard, int64_t n, uint8_t out[32], bool *found,
                                    struct error *e);
// Raises the shard's `relayed` mark under the epoch check and drops rows published more than 8 days ago (row n stays).
enum store_result store_mark_relayed(struct store *store, int32_t shard, int64_t epoch, int64_t n, int64_t now_ms,
                                     struct error *e);
// Checks the epoch under the row's lock; *sequence (of the last outbox row) and *relayed (the mark) are read with it. Each
// may be NULL.
enum store_result store_check_epoch(struct store *store, int32_t shard, int64_t epoch, int64_t *sequence,
                                    int64_t *relayed, struct error *e);
