// Statements with binary values: one at a time, in pipelines, through cursors; rows into tables.
// Not for users of the store.
#pragma once

#include "consumer/postgres/store_connection.h"

// Runs one statement with binary parameters and results. *out may be NULL; PQclear it.
enum store_result sql_run(struct store *store, const char *sql, struct sql_params params,
                          PGresult **out, struct error *e);

// A pipeline: one round trip for all that is sent between. Each text is prepared once on a
// connection, which saves a small commit most of its time, so texts must not vary with values, and
// a text has parameters of the same types each time.
// pipe_end hands out the first `keep` results (NULL after an error) and fails with the first error;
// later statements were then skipped by the server.
enum store_result pipe_begin(struct store *store, struct error *e);
enum store_result pipe_send(struct store *store, const char *sql, struct sql_params params,
                            struct error *e);
enum store_result pipe_end(struct store *store, PGresult **results, int keep, struct error *e);

// Reads a query in pieces through a cursor, within the transaction that is open. `visit` returns 0,
// or -1 with *e.
typedef int sql_visit(void *context, const PGresult *result, int row, struct error *e);
enum store_result sql_each(struct store *store, const char *query, struct sql_params params,
                           sql_visit *visit, void *context, struct error *e);

// Rows into a table: by COPY when there are many, else as statements in the open pipeline.
// A COPY names the partition of a table that has any: to find it for each row costs up to a tenth.
enum table_parts { PARTS_NONE, PARTS_MONTHS, PARTS_DAYS };
struct table {
    const char *name, *columns;
    int column_count;
    const char *conflict; // "on conflict …" for rows that may be there already; NULL: append only
    enum table_parts parts;
};
// false: no row for this index
typedef bool load_encode(void *context, size_t index, struct sql_row *row);
struct load {
    const struct table *table;
    size_t count;
    load_encode *encode;
    day_t day; // of all rows of a table with partitions
};
bool load_is_bulk(const struct load *load);
enum store_result load_copy(struct store *store, const struct load *load, void *context,
                            struct error *e);
enum store_result load_send(struct store *store, const struct load *load, void *context,
                            struct error *e);
