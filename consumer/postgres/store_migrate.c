// Migrations: the numbered files of schemas/postgres, each in a transaction of its own, one process
// at a time.
#include "consumer/postgres/store_sql.h"

#include "schemas/embedded.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Any constant: it is the name of the lock that migrating processes share.
#define MIGRATION_LOCK "5283146213908"

static int number_of(const struct embedded *migration)
{
    return (int)strtol(migration->name, NULL, 10);
}

static int count_embedded(void)
{
    int count = 0;
    while (embedded_migrations[count].name) {
        assert(number_of(&embedded_migrations[count]) == count + 1); // none is missing, in order
        count++;
    }
    assert(count > 0);
    return count;
}

// How many migrations the database has, each checked against this program's. *newer: it has one
// that we do not know.
static enum store_result count_applied(struct store *store, int *count, bool *newer,
                                       struct error *e)
{
    PGresult *rows;
    *count = 0;
    *newer = false;
    enum store_result result =
        sql_run(store, "select to_regclass('settled.schema_migrations') is not null", SQL_NO_PARAMS,
                &rows, e);
    if (result != STORE_OK)
        return result;
    bool present = *PQgetvalue(rows, 0, 0) == 1;
    PQclear(rows);
    if (!present)
        return STORE_OK;
    result = sql_run(store, "select number, sha256 from settled.schema_migrations order by number",
                     SQL_NO_PARAMS, &rows, e);
    if (result != STORE_OK)
        return result;
    int known = count_embedded();
    for (int i = 0; i < PQntuples(rows) && result == STORE_OK; i++) {
        char sha256[65];
        *newer = i >= known;
        if (*newer)
            break;
        book_sha256(embedded_migrations[i].text, embedded_migrations[i].size, sha256);
        if (get_int4(rows, i, 0) != number_of(&embedded_migrations[i]) ||
            strcmp(get_string(rows, i, 1), sha256) != 0)
            result = store_say(store, STORE_FAILED, ERROR_CONFIG, e,
                               "its migration %d is not the %s of this program: it was made by "
                               "another build; use that"
                               " one, or a new database",
                               get_int4(rows, i, 0), embedded_migrations[i].name);
        else
            (*count)++;
    }
    PQclear(rows);
    return result;
}

static enum store_result refuse_newer(struct store *store, struct error *e)
{
    return store_say(
        store, STORE_FAILED, ERROR_CONFIG, e,
        "its schema is newer than this program, which knows migrations up to %d: upgrade settled",
        count_embedded());
}

static enum store_result record_migration(struct store *store, const struct embedded *migration,
                                          struct error *e)
{
    char sha256[65];
    book_sha256(migration->text, migration->size, sha256);
    return sql_run(
        store, "insert into settled.schema_migrations (number, name, sha256) values ($1, $2, $3)",
        SQL_PARAMS(sql_int4(number_of(migration)), sql_text(migration->name), sql_text(sha256)),
        NULL, e);
}

// Applies the first migration that is missing. *done: there was none.
static enum store_result apply_next(struct store *store, bool *done, struct error *e)
{
    int count;
    bool newer;
    *done = false;
    enum store_result result =
        store_script(store,
                     "begin; set local statement_timeout = 0; set local lock_timeout = '60s';"
                     "select pg_advisory_xact_lock(" MIGRATION_LOCK ")",
                     e);
    if (result == STORE_OK)
        result = count_applied(store, &count, &newer, e);
    if (result != STORE_OK)
        return store_undo(store, result);
    if (newer)
        return store_undo(store, refuse_newer(store, e));
    assert(count <= count_embedded());
    const struct embedded *next = &embedded_migrations[count];
    *done = !next->name;
    result = store_script(store, *done ? "call settled.apply_privileges()" : next->text, e);
    if (result == STORE_OK && !*done)
        result = record_migration(store, next, e);
    if (result == STORE_OK)
        return store_script(store, "commit", e);
    error_context(e, "migration %s", *done ? "of the privileges" : next->name);
    return store_undo(store, result);
}

static int migrate(struct store *store, int *applied, struct error *e)
{
    bool done = false;
    if (store_ready(store, e) != STORE_OK)
        return -1;
    int patience = store->patience_ms;
    store->patience_ms = -1; // an index on a large table takes what it takes
    while (!done) {
        if (apply_next(store, &done, e) != STORE_OK) {
            store->patience_ms = patience;
            return -1;
        }
        if (!done)
            (*applied)++;
    }
    store->patience_ms = patience;
    return 0;
}

int store_migrate(struct store *store, int *applied, struct error *e)
{
    int failed = 0;
    *applied = 0;
    for (int i = 0; i < store_parts(store) && !failed; i++)
        failed = migrate(store_part(store, i), applied, e);
    return failed;
}

static int check_version(struct store *store, struct error *e)
{
    int count;
    bool newer;
    if (store_ready(store, e) != STORE_OK || count_applied(store, &count, &newer, e) != STORE_OK)
        return -1;
    if (newer)
        refuse_newer(store, e);
    if (!newer && count == count_embedded())
        return 0;
    if (!newer)
        store_say(store, STORE_FAILED, ERROR_CONFIG, e,
                  "%d of %d migrations are missing: run \"settled migrate\"",
                  count_embedded() - count, count_embedded());
    return -1;
}

int store_check_version(struct store *store, struct error *e)
{
    int failed = 0;
    for (int i = 0; i < store_parts(store) && !failed; i++)
        failed = check_version(store_part(store, i), e);
    return failed;
}
