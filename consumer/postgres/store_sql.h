// What the store's files share: the connection, statements with binary values, rows on their way
// into tables. Not for users of the store. Flow: store.c connects and waits, store_values.c packs
// values, store_sql.c runs statements and fills tables; above them a file a theme (store_migrate,
// _deployment, _shards, _restore, _step, _commit, _requests, _relay).
#pragma once

#include "consumer/postgres/store.h"

#include <libpq-fe.h>
#include <stdatomic.h>

enum { STORE_LOCATION_SIZE = 256, STORE_TOPIC_SIZE = 250, STORE_PREPARED_MAX = 64 };

// A growing buffer; growth aborts when memory is short, as an arena does.
struct bytes {
    unsigned char *data;
    size_t used, capacity;
};
void bytes_append(struct bytes *bytes, const void *data, size_t size);
void bytes_release(struct bytes *bytes);

// Fields in PostgreSQL's binary format, each behind its length: a row of a COPY, or the parameters
// of a statement.
struct row {
    struct bytes bytes;
    int count;
};
void row_clear(struct row *row);
void put_null(struct row *row);
void put_int2(struct row *row, int16_t value);
void put_int4(struct row *row, int32_t value);
void put_int8(struct row *row, int64_t value);
// bytea; text that is known to be UTF-8 without U+0000
void put_bytes(struct row *row, const void *data, size_t size);
void put_slice(struct row *row, struct slice slice); // the same; null when its data is NULL
void put_string(struct row *row, const char *text);
// Text of unknown making: what is not UTF-8, and U+0000, becomes U+FFFD; cut to at most `max` bytes
// of whole characters.
void put_clean(struct row *row, struct slice slice, size_t max);
void put_day(struct row *row, day_t day); // date; DAY_NONE is -infinity
void put_time(struct row *row, int64_t ms); // timestamptz; beyond what PostgreSQL holds: infinity

int16_t get_int2(const PGresult *result, int row, int column);
int32_t get_int4(const PGresult *result, int row, int column);
int64_t get_int8(const PGresult *result, int row, int column);
day_t get_day(const PGresult *result, int row, int column);
int64_t get_time(const PGresult *result, int row, int column);
bool get_null(const PGresult *result, int row, int column);
const char *get_string(const PGresult *result, int row, int column); // terminated; "" for null
struct slice get_slice(const PGresult *result, int row, int column); // data NULL for null
// The text into a buffer, cut to fit.
void get_copy(const PGresult *result, int row, int column, char *out, size_t size);

struct store {
    PGconn *conn; // NULL: none; the next call connects
    char *dsn;
    char location[STORE_LOCATION_SIZE]; // "host:port/database", for errors
    // how long an answer may take: the server's statement_timeout and a margin; -1: for ever
    int patience_ms;
    int stop_fd; // becomes readable when interrupted, for good
    atomic_bool stopped;
    PGresult *held; // behind the strings of the last answer
    struct row row; // the row or the parameters being put together
    struct bytes queued; // what was sent in the pipeline, a byte each: STATEMENT or PREPARATION
    int named; // prepared statements so far, for their names
    size_t prepared_count;
    char *prepared[STORE_PREPARED_MAX]; // texts; the name of i is in prepared_names[i]
    int prepared_names[STORE_PREPARED_MAX];
    bool topics_known;
    char topics[INPUT_COUNT][STORE_TOPIC_SIZE];
    // shards whose row and last outbox row were checked on this connection
    size_t seen_count, seen_capacity;
    int32_t *seen;
};

// Every public function starts with this: releases the last answer, connects when there is no
// connection.
enum store_result store_ready(struct store *store, struct error *e);
// Gives the connection up; what it was doing is the server's to undo.
void store_drop(struct store *store);
// Ends a transaction after an error; gives the connection up when that is not clean. Returns
// `result`.
enum store_result store_undo(struct store *store, enum store_result result);
// Loads the names of the input topics from the deployment, once.
enum store_result store_topics(struct store *store, struct error *e);
// INPUT_COUNT when the deployment has no such topic.
enum input store_input_of(const struct store *store, const char *topic);

// Runs one statement with binary parameters and results. *out may be NULL; PQclear it. `params`
// NULL: none.
enum store_result sql_run(struct store *store, const char *sql, const struct row *params,
                          PGresult **out, struct error *e);
// The text protocol, several statements at once.
enum store_result sql_script(struct store *store, const char *sql, struct error *e);

// A pipeline: one round trip for all that is sent between. Each text is prepared once on a
// connection, which saves a small commit most of its time, so texts must not vary with values.
// pipe_end hands out the first `keep` results (NULL after an error) and fails with the first error;
// later statements were then skipped by the server.
enum store_result pipe_begin(struct store *store, struct error *e);
enum store_result pipe_send(struct store *store, const char *sql, const struct row *params,
                            struct error *e);
// the statements that were prepared: the connection is another
void pipe_forget(struct store *store);
enum store_result pipe_end(struct store *store, PGresult **results, int keep, struct error *e);

// Reads a query in pieces through a cursor, within the transaction that is open. `visit` returns 0,
// or -1 with *e.
typedef int sql_visit(void *context, const PGresult *result, int row, struct error *e);
enum store_result sql_each(struct store *store, const char *query, const struct row *params,
                           sql_visit *visit, void *context, struct error *e);

// Rows into a table: by COPY when there are many, else as statements in the open pipeline.
struct table {
    const char *name, *columns;
    int column_count;
    const char *conflict; // "on conflict …" for rows that may be there already; NULL: append only
};
// false: no row for this index
typedef bool load_encode(void *context, size_t index, struct row *row);
struct load {
    const struct table *table;
    size_t count;
    load_encode *encode;
};
bool load_is_bulk(const struct load *load);
enum store_result load_copy(struct store *store, const struct load *load, void *context,
                            struct error *e);
enum store_result load_send(struct store *store, const struct load *load, void *context,
                            struct error *e);

// The next result, waiting within the store's patience; *out NULL at the end of a statement's
// results.
enum store_result store_next(struct store *store, PGresult **out, struct error *e);
// Hands everything queued to the kernel, within the store's patience.
enum store_result store_flush(struct store *store, struct error *e);
// Turns a failed result (NULL: the connection's own trouble) into a result and *e.
enum store_result store_fail(struct store *store, const PGresult *result, struct error *e);
// error_set, behind the location.
enum store_result store_say(struct store *store, enum store_result result, enum error_kind kind,
                            struct error *e, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

// ---- rows into a fold, shared by restore and audit ----

struct restore {
    struct store *store;
    struct fold *fold;
    day_t open_day; // of decisions
};
// With a struct restore, of queries with these columns:
// account_id, opening, credits, adjustments, status, account_sequence, position
int restore_account_row(void *context, const PGresult *row, int i, struct error *e);
// account_id, when it began, when it ended or null
int restore_span_row(void *context, const PGresult *row, int i, struct error *e);
// account_id, and those of package_read
int restore_package_row(void *context, const PGresult *row, int i, struct error *e);
// account_id, credit_id, kind, amount, credited_at
int restore_credit_row(void *context, const PGresult *row, int i, struct error *e);
// kafka_offset
int restore_reject_row(void *context, const PGresult *row, int i, struct error *e);

// ---- packages, shared by restore and past ----

// From nine columns at `first`: package_id, service, units, used, remaining, amount, valid_from,
// valid_until, kafka_offset.
int package_read(const struct store *store, const PGresult *result, int row, int first,
                 struct package *out, struct error *e);
// A text that this program has no name for: ERROR_CONFIG, upgrade.
int store_unknown(const struct store *store, const char *what, const char *text, struct error *e);

// ---- shards, shared by claim, commit and relay ----

// Columns that shard_read expects, in its order.
extern const char shard_columns[];
extern const char shard_logs_query[]; // $1: shard
// Fills *out from a row of shard_columns and the rows of shard_logs_query.
void shard_read(const struct store *store, const PGresult *shard, const PGresult *logs,
                struct shard_row *out);
// The latest day that a shard with this state has opened or taken a record of.
day_t shard_reached(const struct fold_state *state);
// Locks the shard's row until the transaction ends and compares the epoch; with the values of
// store_check_epoch.
enum store_result store_lock_epoch(struct store *store, int32_t shard, int64_t epoch,
                                   int64_t *sequence, int64_t *relayed, struct error *e);
