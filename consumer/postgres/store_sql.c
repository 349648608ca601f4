// Statements: one at a time, in pipelines, through cursors, and rows into tables.
#include "consumer/postgres/store_sql.h"

#include <assert.h>
#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    FETCH_ROWS = 4096,
    BULK_ROWS = 64, // from here on a COPY's two round trips cost less than so many statements
    COPY_CHUNK = 1 << 18, // bytes
    STATEMENT_SIZE = 1024,
    TARGET_SIZE = 64,
};

// Parameters as libpq wants them; types, 0 behind the last.
struct arguments {
    int count;
    Oid types[SQL_PARAMS_MAX];
    const char *at[SQL_PARAMS_MAX];
    int lengths[SQL_PARAMS_MAX], formats[SQL_PARAMS_MAX];
};

static struct arguments arguments_of(struct sql_params params)
{
    assert(params.count <= SQL_PARAMS_MAX);
    struct arguments arguments = {.count = params.count};
    for (int i = 0; i < params.count; i++) {
        struct slice wire = sql_wire(&params.list[i]);
        arguments.types[i] = (Oid)params.list[i].type;
        arguments.at[i] = wire.data;
        arguments.lengths[i] = (int)wire.size;
        arguments.formats[i] = 1;
    }
    return arguments;
}

enum store_result sql_run(struct store *store, const char *sql, struct sql_params params,
                          PGresult **out, struct error *e)
{
    if (out)
        *out = NULL;
    struct arguments a = arguments_of(params);
    if (!PQsendQueryParams(store->conn, sql, a.count, a.types, a.at, a.lengths, a.formats, 1))
        return store_fail(store, NULL, e);
    return store_finish(store, out, e);
}

// ---- pipelines ----

enum { STATEMENT, PREPARATION };

enum store_result pipe_begin(struct store *store, struct error *e)
{
    store->queued.used = 0;
    return PQenterPipelineMode(store->conn) ? STORE_OK : store_fail(store, NULL, e);
}

static void enqueue(struct store *store, unsigned char what)
{
    bytes_append(&store->queued, &what, 1);
}

// The name under which this text is prepared; prepares it, in the pipeline, when it is new. False
// when libpq refuses.
static bool prepare(struct store *store, const char *sql, const struct arguments *a, char name[16])
{
    size_t i = 0;
    while (i < store->prepared_count && strcmp(store->prepared[i], sql) != 0)
        i++;
    assert(i < STORE_PREPARED_MAX);
    bool known = i < store->prepared_count;
    snprintf(name, 16, "s%d", known ? store->prepared_names[i] : store->named);
    if (known) {
        // else the values would be read as what they are not
        assert(memcmp(store->prepared_types[i], a->types, sizeof a->types) == 0);
        return true;
    }
    if (!PQsendPrepare(store->conn, name, sql, a->count, a->types))
        return false;
    enqueue(store, PREPARATION);
    if (!(store->prepared[i] = strdup(sql)))
        abort();
    store->prepared_names[i] = store->named++;
    memcpy(store->prepared_types[i], a->types, sizeof a->types);
    store->prepared_count++;
    assert(store->named >= (int)store->prepared_count); // no name is used again
    return true;
}

enum store_result pipe_send(struct store *store, const char *sql, struct sql_params params,
                            struct error *e)
{
    char name[16];
    struct arguments a = arguments_of(params);
    if (!prepare(store, sql, &a, name) ||
        !PQsendQueryPrepared(store->conn, name, a.count, a.at, a.lengths, a.formats, 1))
        return store_fail(store, NULL, e);
    enqueue(store, STATEMENT);
    return STORE_OK;
}

// One statement's results up to the NULL that ends them. An aborted one tells nothing: its cause
// came before.
static enum store_result take_one(struct store *store, PGresult **keep, struct error *e)
{
    enum store_result result = STORE_OK, waited;
    PGresult *answer;
    while ((waited = store_next(store, &answer, e)) == STORE_OK && answer) {
        ExecStatusType status = PQresultStatus(answer);
        if (!store_is_good(answer) && status != PGRES_PIPELINE_ABORTED)
            result = store_fail(store, answer, e);
        if (keep && store_is_good(answer) && !*keep)
            *keep = answer;
        else
            PQclear(answer);
    }
    return waited == STORE_OK ? result : waited;
}

static bool is_alive(const struct store *store)
{
    return store->conn && PQstatus(store->conn) == CONNECTION_OK;
}

// The results of all that was queued; the first `keep` statements' go to `results`.
static enum store_result take_all(struct store *store, PGresult **results, int keep,
                                  struct error *e)
{
    enum store_result result = STORE_OK;
    int statement = 0;
    for (size_t i = 0; i < store->queued.used && is_alive(store); i++) {
        bool wanted = store->queued.data[i] == STATEMENT && statement < keep;
        enum store_result one =
            take_one(store, wanted ? &results[statement] : NULL, result == STORE_OK ? e : NULL);
        if (store->queued.data[i] == STATEMENT)
            statement++;
        if (result == STORE_OK)
            result = one;
    }
    return result;
}

static enum store_result leave_pipeline(struct store *store, struct error *e)
{
    PGresult *sync = NULL;
    enum store_result result = store_next(store, &sync, e);
    if (sync && PQresultStatus(sync) == PGRES_PIPELINE_SYNC)
        PQexitPipelineMode(store->conn);
    PQclear(sync);
    return result;
}

enum store_result pipe_end(struct store *store, PGresult **results, int keep, struct error *e)
{
    for (int i = 0; i < keep; i++)
        results[i] = NULL;
    enum store_result result = PQpipelineSync(store->conn) ? STORE_OK : store_fail(store, NULL, e);
    enum store_result taken = take_all(store, results, keep, result == STORE_OK ? e : NULL);
    if (result == STORE_OK)
        result = taken;
    if (is_alive(store)) {
        enum store_result left = leave_pipeline(store, result == STORE_OK ? e : NULL);
        if (result == STORE_OK)
            result = left;
    }
    if (!is_alive(store) || PQpipelineStatus(store->conn) != PQ_PIPELINE_OFF) {
        if (result == STORE_OK)
            result = store_fail(store, NULL, e);
        store_drop(store);
    }
    if (result == STORE_OK)
        return result;
    store_forget_prepared(store); // a preparation may have been skipped
    for (int i = 0; i < keep; i++) {
        PQclear(results[i]);
        results[i] = NULL;
    }
    return result;
}

// ---- cursors ----

enum store_result sql_each(struct store *store, const char *query, struct sql_params params,
                           sql_visit *visit, void *context, struct error *e)
{
    char text[4 * STATEMENT_SIZE];
    int size = snprintf(text, sizeof text, "declare reading no scroll cursor for %s", query);
    assert(size > 0 && (size_t)size < sizeof text);
    enum store_result result = sql_run(store, text, params, NULL, e);
    snprintf(text, sizeof text, "fetch forward %d from reading", FETCH_ROWS);
    bool more = true;
    while (result == STORE_OK && more) {
        PGresult *rows;
        result = sql_run(store, text, SQL_NO_PARAMS, &rows, e);
        int count = result == STORE_OK ? PQntuples(rows) : 0;
        for (int i = 0; i < count && result == STORE_OK; i++)
            if (visit(context, rows, i, e) < 0)
                result = STORE_FAILED;
        more = count == FETCH_ROWS;
        PQclear(rows);
    }
    return result == STORE_OK ? store_script(store, "close reading", e) : result;
}

// ---- rows into tables ----

bool load_is_bulk(const struct load *load)
{
    return load->count >= BULK_ROWS;
}

enum store_result load_send(struct store *store, const struct load *load, void *context,
                            struct error *e)
{
    const struct table *table = load->table;
    char text[STATEMENT_SIZE];
    int size =
        snprintf(text, sizeof text, "insert into %s (%s) values (", table->name, table->columns);
    for (int i = 1; i <= table->column_count; i++)
        size += snprintf(text + size, sizeof text - (size_t)size, "%s$%d", i > 1 ? ", " : "", i);
    size += snprintf(text + size, sizeof text - (size_t)size, ") %s",
                     table->conflict ? table->conflict : "");
    assert((size_t)size < sizeof text);
    for (size_t i = 0; i < load->count; i++) {
        struct sql_row row;
        if (!load->encode(context, i, &row))
            continue;
        assert(row.count == table->column_count);
        enum store_result result = pipe_send(store, text, sql_row_params(&row), e);
        if (result != STORE_OK)
            return result;
    }
    return STORE_OK;
}

static enum store_result copy_chunk(struct store *store, struct error *e)
{
    struct bytes *chunk = &store->copying;
    assert(chunk->used <= INT32_MAX);
    if (PQputCopyData(store->conn, (const char *)chunk->data, (int)chunk->used) < 0)
        return store_fail(store, NULL, e);
    chunk->used = 0;
    return store_flush(store, e);
}

// All rows in COPY's binary format, a chunk at a time.
static enum store_result copy_rows(struct store *store, const struct load *load, void *context,
                                   struct error *e)
{
    static const char header[19] = "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0";
    static const unsigned char trailer[2] = {0xff, 0xff};
    const uint16_t columns = htobe16((uint16_t)load->table->column_count);
    enum store_result result = STORE_OK;
    struct bytes *chunk = &store->copying;
    assert(PQtransactionStatus(store->conn) == PQTRANS_ACTIVE); // the COPY is open
    chunk->used = 0;
    bytes_append(chunk, header, sizeof header);
    for (size_t i = 0; i < load->count && result == STORE_OK; i++) {
        struct sql_row row;
        if (!load->encode(context, i, &row))
            continue;
        assert(row.count == load->table->column_count);
        bytes_append(chunk, &columns, sizeof columns);
        bytes_values(chunk, sql_row_params(&row));
        if (chunk->used >= COPY_CHUNK)
            result = copy_chunk(store, e);
    }
    bytes_append(chunk, trailer, sizeof trailer);
    return result == STORE_OK ? copy_chunk(store, e) : result;
}

static enum store_result copy_into(struct store *store, const char *target, const struct load *load,
                                   void *context, struct error *e)
{
    char text[STATEMENT_SIZE];
    int size = snprintf(text, sizeof text, "copy %s (%s) from stdin (format binary)", target,
                        load->table->columns);
    assert(size > 0 && (size_t)size < sizeof text);
    if (!PQsendQuery(store->conn, text))
        return store_fail(store, NULL, e);
    PGresult *answer;
    enum store_result result = store_next(store, &answer, e);
    if (result != STORE_OK)
        return result;
    bool open = PQresultStatus(answer) == PGRES_COPY_IN;
    if (!open)
        result = store_fail(store, answer, e);
    PQclear(answer);
    if (!open) {
        store_finish(store, NULL, NULL);
        return result;
    }
    result = copy_rows(store, load, context, e);
    if (result != STORE_OK)
        return result; // the connection is gone: nothing to end
    if (PQputCopyEnd(store->conn, NULL) < 0)
        return store_fail(store, NULL, e);
    return store_finish(store, NULL, e);
}

// "settled.credits_2026_11", as settled.partitions_of names it.
static const char *copy_target(const struct load *load, char out[TARGET_SIZE])
{
    char day[DAY_TEXT_SIZE];
    const struct table *table = load->table;
    if (table->parts == PARTS_NONE)
        return table->name;
    calendar_format_day(load->day, day);
    assert(strlen(day) == strlen("2026-11-05"));
    day[4] = day[7] = '_';
    if (table->parts == PARTS_MONTHS)
        day[7] = '\0';
    int size = snprintf(out, TARGET_SIZE, "%s_%s", table->name, day);
    assert(size > 0 && size < TARGET_SIZE);
    return out;
}

enum store_result load_copy(struct store *store, const struct load *load, void *context,
                            struct error *e)
{
    const struct table *table = load->table;
    char target[TARGET_SIZE];
    if (!table->conflict)
        return copy_into(store, copy_target(load, target), load, context, e);
    char text[2 * STATEMENT_SIZE];
    int made =
        snprintf(text, sizeof text,
                 "create temporary table incoming on commit drop as select %s from %s limit 0",
                 table->columns, table->name);
    assert((size_t)made < sizeof text);
    enum store_result result = store_script(store, text, e);
    if (result == STORE_OK)
        result = copy_into(store, "pg_temp.incoming", load, context, e);
    if (result != STORE_OK)
        return result;
    int size = snprintf(
        text, sizeof text,
        "insert into %s (%s) select %s from pg_temp.incoming %s; drop table pg_temp.incoming",
        table->name, table->columns, table->columns, table->conflict);
    assert((size_t)size < sizeof text);
    return store_script(store, text, e);
}
