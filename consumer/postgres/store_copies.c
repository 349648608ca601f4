// Deployment, parameters and price books in every database: the rows of shards are joined with them
// there. Home is the truth. Rows are only ever added, so a copy is complete or behind.
#include "consumer/postgres/store_copies.h"
#include "consumer/postgres/store_sql.h"

#include <assert.h>

// As JSON, whatever columns the tables have. Bytes are written as a setting says, which must be the
// same on both sides.
static const char begin_reading[] =
    "begin isolation level repeatable read read only; set local bytea_output = 'hex'";
static const char home_query[] =
    "select (select to_jsonb(d)::text from settled.deployment d),"
    " (select coalesce(jsonb_agg(to_jsonb(b)), '[]')::text from settled.price_books b),"
    " (select coalesce(jsonb_agg(to_jsonb(p)), '[]')::text from settled.parameters p)";

// Who recorded a row and when is told of home alone.
#define CONTENT(row) "((" row ") - 'recorded_at' - 'recorded_by')"
#define FIXED(row) "(" CONTENT(row) " - 'database' - 'cluster_id')"
#define ROWS_OF(table) "select " CONTENT("to_jsonb(t)") " from settled." table " t"
#define ROWS_OF_HOME(param) "select " CONTENT("x") " from jsonb_array_elements(" param "::jsonb) x"
#define HAS_NO_OTHER(table, param) "not exists (" ROWS_OF(table) " except " ROWS_OF_HOME(param) ")"
#define LACKS(table, param) "exists (" ROWS_OF_HOME(param) " except " ROWS_OF(table) ")"

// $1 to $3: what home_query tells; $4: the part's number. A part in which nothing is recorded yet
// is a copy that is behind.
static const char compare_query[] =
    "select d.database, d.databases,"
    " coalesce(" FIXED("to_jsonb(d)") " = " FIXED(
        "$1::jsonb") "  and d.cluster_id in ('', $1::jsonb ->> 'cluster_id'), true)"
                     "  and " HAS_NO_OTHER("price_books", "$2") " and " HAS_NO_OTHER(
                         "parameters",
                         "$3") " as copied,"
                               " d.one is null or d.cluster_id <> $1::jsonb ->> 'cluster_id'"
                               "  or " LACKS("price_books", "$2") " or " LACKS(
                                   "parameters", "$3") " as behind"
                                                       " from (select 1) as here left join "
                                                       "settled.deployment d on true";
enum { DATABASE, DATABASES, COPIED, BEHIND }; // its columns

static const char *const copy_statements[] = {
    "insert into settled.deployment select r.* from jsonb_populate_record(null::settled.deployment,"
    " $1::jsonb || jsonb_build_object('database', $4)) r on conflict do nothing",
    "update settled.deployment set cluster_id = $1::jsonb ->> 'cluster_id' where cluster_id = ''",
    "insert into settled.price_books select r.* from"
    " jsonb_populate_recordset(null::settled.price_books, $2::jsonb) r on conflict do nothing",
    "insert into settled.parameters select r.* from"
    " jsonb_populate_recordset(null::settled.parameters, $3::jsonb) r on conflict do nothing",
};

static enum store_result read_home(struct store *home, PGresult **recorded, struct error *e)
{
    *recorded = NULL;
    enum store_result result = store_ready(home, e);
    if (result == STORE_OK)
        result = store_script(home, begin_reading, e);
    if (result == STORE_OK)
        result = sql_run(home, home_query, SQL_NO_PARAMS, recorded, e);
    if (result == STORE_OK)
        result = store_script(home, "commit", e);
    return store_undo(home, result);
}

// ---- compare ----

static enum store_result judge(struct store *part, int number, const PGresult *found,
                               struct error *e)
{
    bool recorded = !get_null(found, 0, DATABASE);
    int database = recorded ? get_int4(found, 0, DATABASE) : number;
    int databases = recorded ? get_int4(found, 0, DATABASES) : store_parts(part);
    if (database != number || databases != store_parts(part))
        return store_say(part, STORE_FAILED, ERROR_CONFIG, e,
                         "postgres.dsn names it as database %d of %d, and it is recorded as "
                         "database %d of %d: their number and order never change; name them as "
                         "they are recorded",
                         number + 1, store_parts(part), database + 1, databases);
    if (*PQgetvalue(found, 0, COPIED))
        return STORE_OK;
    return store_say(part, STORE_FAILED, ERROR_CONFIG, e,
                     "a deployment, parameters or a price book are recorded there that the first "
                     "database of postgres.dsn does not have: it is another deployment's, was "
                     "changed by hand, or the first one was set back");
}

static enum store_result compare(struct store *part, int number, const PGresult *recorded,
                                 bool *behind, struct error *e)
{
    PGresult *found = NULL;
    enum store_result result = store_ready(part, e);
    if (result == STORE_OK)
        result = store_script(part, begin_reading, e);
    if (result == STORE_OK)
        result = sql_run(part, compare_query,
                         SQL_PARAMS(sql_text(get_string(recorded, 0, 0)),
                                    sql_text(get_string(recorded, 0, 1)),
                                    sql_text(get_string(recorded, 0, 2)), sql_int4(number)),
                         &found, e);
    if (result == STORE_OK)
        result = store_script(part, "commit", e);
    if (result == STORE_OK) {
        *behind = *PQgetvalue(found, 0, BEHIND) != 0;
        result = judge(part, number, found, e);
    }
    PQclear(found);
    return store_undo(part, result);
}

// A database that is away keeps its own shards waiting, and not those of the others. Its copies are
// looked at again before it is written to.
static enum store_result pass_over(const struct store *home, enum store_result result)
{
    return result == STORE_UNAVAILABLE && home->access == STORE_WRITES ? STORE_OK : result;
}

// What is done about a part whose copy is behind.
typedef enum store_result behind_action(struct store *part, int number, const PGresult *recorded,
                                        struct error *e);

static enum store_result compare_all(struct store *home, behind_action *act, struct error *e)
{
    PGresult *recorded;
    enum store_result result = read_home(home, &recorded, e);
    for (int i = 1; i < store_parts(home) && result == STORE_OK; i++) {
        struct store *part = store_part(home, i);
        bool behind = false;
        result = compare(part, i, recorded, &behind, e);
        if (result == STORE_OK && behind)
            result = act(part, i, recorded, e);
        result = pass_over(home, result);
    }
    PQclear(recorded);
    return result;
}

static enum store_result refuse_to_read(struct store *part, int number, const PGresult *recorded,
                                        struct error *e)
{
    (void)number;
    (void)recorded;
    if (part->access != STORE_READS)
        return STORE_OK;
    return store_say(part, STORE_UNAVAILABLE, ERROR_UNAVAILABLE, e,
                     "it has not got all that is recorded in the first database of postgres.dsn: "
                     "settled run copies it");
}

enum store_result store_check_copies(struct store *home, struct error *e)
{
    assert(store_is_home(home));
    // Who waits for an answer is not kept waiting for all databases; its daemon has looked.
    if (store_parts(home) == 1 || home->access == STORE_ANSWERS)
        return STORE_OK;
    return compare_all(home, refuse_to_read, e);
}

// ---- copy ----

static enum store_result copy(struct store *part, int number, const PGresult *recorded,
                              struct error *e)
{
    enum store_result result = store_script(part, "begin", e);
    for (size_t i = 0; i < sizeof copy_statements / sizeof *copy_statements && result == STORE_OK;
         i++)
        result = sql_run(part, copy_statements[i],
                         SQL_PARAMS(sql_text(get_string(recorded, 0, 0)),
                                    sql_text(get_string(recorded, 0, 1)),
                                    sql_text(get_string(recorded, 0, 2)), sql_int4(number)),
                         NULL, e);
    if (result == STORE_OK)
        result = store_script(part, "commit", e);
    return store_undo(part, result);
}

enum store_result store_copy_recorded(struct store *store, struct error *e)
{
    struct store *home = store_part(store, 0);
    return store_parts(home) == 1 ? STORE_OK : compare_all(home, copy, e);
}
