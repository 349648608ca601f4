// The connection of a store: it is opened with its time-outs, waited for, and given up. Not for
// users of the store. store_sql.c runs statements on it, and the other files of the store use both.
#pragma once

#include "consumer/postgres/store.h"
#include "consumer/postgres/store_values.h"

#include <stdatomic.h>

// What is wrong with a session that is not the connection's own, and the remedy.
extern const char store_pooled[];

enum { STORE_LOCATION_SIZE = 256, STORE_TOPIC_SIZE = 250, STORE_PREPARED_MAX = 64 };

struct store {
    PGconn *conn; // NULL: none; the next call connects
    struct store **parts; // all of the store, this one among them; owned by the first, home
    int part_count;
    char *dsn;
    const char *address; // that claims tell
    enum store_access access;
    char location[STORE_LOCATION_SIZE]; // "host:port/database", for errors
    // how long an answer may take: the server's statement_timeout and a margin; -1: for ever
    int patience_ms;
    int32_t backend; // the server's process, as it was when the connection was made
    int stop_fd; // becomes readable when interrupted, for good
    atomic_bool stopped;
    PGresult *answer; // behind the strings of the last answer
    struct arena *arrays; // behind its arrays
    struct bytes copying; // rows on their way into a COPY
    struct bytes queued; // what was sent in the pipeline, a byte each: STATEMENT or PREPARATION
    int named; // prepared statements so far, for their names
    size_t prepared_count;
    char *prepared[STORE_PREPARED_MAX]; // texts; the name of i is in prepared_names[i]
    int prepared_names[STORE_PREPARED_MAX];
    // the types of its parameters, in their order; 0 behind the last
    Oid prepared_types[STORE_PREPARED_MAX][SQL_PARAMS_MAX];
    bool topics_known; // and the two that follow
    enum partitioner partitioner;
    int32_t partitions;
    char topics[INPUT_COUNT][STORE_TOPIC_SIZE];
    // shards whose row and last outbox row were checked on this connection
    size_t seen_count, seen_capacity;
    int32_t *seen;
    // days whose partitions were found, or made, on this connection: so many from this one on
    day_t first_part;
    int32_t part_days;
};

bool store_is_home(const struct store *store);
// Every public function starts with this: releases the last answer, connects when there is no
// connection.
enum store_result store_ready(struct store *store, struct error *e);
// Gives the connection up; the server undoes what was not committed.
void store_drop(struct store *store);
// Ends a transaction after an error; if that fails, gives the connection up. Returns `result`.
enum store_result store_undo(struct store *store, enum store_result result);
// The next result, waiting within the store's patience; *out NULL at the end of a statement's
// results.
enum store_result store_next(struct store *store, PGresult **out, struct error *e);
// Hands everything queued to the kernel, within the store's patience.
enum store_result store_flush(struct store *store, struct error *e);
// Turns a failed PGresult (NULL: the connection itself failed) into a store_result and *e.
enum store_result store_fail(struct store *store, const PGresult *result, struct error *e);
// error_set, with the location before the text.
enum store_result store_say(struct store *store, enum store_result result, enum error_kind kind,
                            struct error *e, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
// A text in a table that this program does not know: ERROR_CONFIG, upgrade settled.
int store_unknown(const struct store *store, const char *what, const char *text, struct error *e);

// Reads all results of what was sent outside a pipeline. The last one is kept in *out (PQclear it),
// unless `out` is NULL.
enum store_result store_finish(struct store *store, PGresult **out, struct error *e);
// Runs several statements at once, by the text protocol.
enum store_result store_script(struct store *store, const char *sql, struct error *e);
// Whether a result says that its statement went well.
bool store_is_good(const PGresult *result);
// Forgets the prepared statements: it is another connection, or it has lost some of them.
void store_forget_prepared(struct store *store);
