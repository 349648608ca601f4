#include "consumer/retire/store_retire.h"

#include "consumer/base/memory.h"
#include "consumer/postgres/store_sql.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STATEMENT_TEXT = 512, CHANGE_TEXT = 4 * RETIRED_PATH_SIZE };

// The time-outs of a daemon are none for a month's rows, whose text must not depend on settings.
static const char settings[] =
    "set statement_timeout = 0; set timezone = 'UTC'; set datestyle = 'ISO, YMD';"
    " set extra_float_digits = default";

int retire_lock(struct store *store, struct error *e)
{
    PGresult *row = NULL;
    if (store_ready(store, e) != STORE_OK || store_script(store, settings, e) != STORE_OK)
        return -1;
    store->patience_ms = -1;
    // The number tells it from the lock that partitions are made and dropped under.
    if (sql_run(
            store,
            "select pg_has_role(nspowner, 'usage'), current_user::text, nspowner::regrole::text,"
            " pg_try_advisory_lock(oid::int, 1) from pg_namespace where nspname = 'settled'",
            SQL_NO_PARAMS, &row, e) != STORE_OK)
        return -1;
    bool owner = *PQgetvalue(row, 0, 0) == 1, locked = *PQgetvalue(row, 0, 3) == 1;
    if (!owner)
        store_say(store, STORE_FAILED, ERROR_CONFIG, e,
                  "%s may not change the tables: log in as a user that has the role %s",
                  get_string(row, 0, 1), get_string(row, 0, 2));
    else if (!locked)
        store_say(store, STORE_FAILED, ERROR_RESTART, e,
                  "another settled retire is at work: wait until it has ended");
    PQclear(row);
    return owner && locked ? 0 : -1;
}

int retire_troubles(struct store *store, day_t before, char **lines, struct error *e)
{
    PGresult *row = NULL;
    *lines = NULL;
    if (sql_run(store,
                "select coalesce(string_agg(trouble, E'\\n'), '')"
                " from settled.retirement_troubles($1) as trouble",
                SQL_PARAMS(sql_day(before)), &row, e) != STORE_OK)
        return -1;
    *lines = strdup(get_string(row, 0, 0));
    PQclear(row);
    if (!*lines)
        abort(); // out of memory
    return 0;
}

// A row a table; those of a month stand together.
static void take_table(const PGresult *rows, int i, struct retired_month **months, size_t *count,
                       size_t *capacity)
{
    day_t month = get_day(rows, i, 0);
    if (*count == 0 || (*months)[*count - 1].month != month) {
        *months = memory_reserve(*months, *count, capacity, sizeof **months);
        (*months)[(*count)++] =
            (struct retired_month){.month = month, .detached = *PQgetvalue(rows, i, 1) == 1};
    }
    struct retired_month *last = &(*months)[*count - 1];
    if (get_null(rows, i, 2))
        return; // its tables are gone
    assert(last->table_count < RETIRED_TABLES);
    struct retired_table *table = &last->tables[last->table_count++];
    get_copy(rows, i, 2, table->name, sizeof table->name);
    get_copy(rows, i, 3, table->partition, sizeof table->partition);
    table->bytes = get_int8(rows, i, 4);
}

static int count_rows(struct store *store, struct retired_month *month, struct error *e)
{
    for (size_t t = 0; t < month->table_count; t++) {
        char text[STATEMENT_TEXT];
        PGresult *row = NULL;
        snprintf(text, sizeof text, "select count(*) from settled.%s", month->tables[t].partition);
        if (sql_run(store, text, SQL_NO_PARAMS, &row, e) != STORE_OK)
            return -1;
        month->tables[t].rows = get_int8(row, 0, 0);
        PQclear(row);
    }
    return 0;
}

int retire_months(struct store *store, day_t before, struct retired_month **months, size_t *count,
                  struct error *e)
{
    PGresult *rows = NULL;
    size_t capacity = 0;
    *months = NULL;
    *count = 0;
    if (sql_run(store,
                "select m.month, m.detached, p.parent, p.partition,"
                " pg_total_relation_size(to_regclass('settled.' || p.partition))"
                " from (select month, false as detached from settled.attached_months($1) as month"
                "  union all select month, true from settled.retired_months"
                "   where month < $1 and archive is null) m"
                " left join lateral (select * from settled.partitions_of(m.month, m.month) as p"
                "  where parent <> 'outbox' and to_regclass('settled.' || partition) is not null)"
                " p on true order by 1, 3",
                SQL_PARAMS(sql_day(before)), &rows, e) != STORE_OK)
        return -1;
    for (int i = 0; i < PQntuples(rows); i++)
        take_table(rows, i, months, count, &capacity);
    PQclear(rows);
    for (size_t i = 0; i < *count; i++)
        if (count_rows(store, &(*months)[i], e))
            return -1;
    return 0;
}

// In one transaction, which waits for no lock longer than a moment. *busy: another one holds what
// it needs, a close, an audit, a backup.
static int change(struct store *store, const char *statements, bool *busy, struct error *e)
{
    char text[CHANGE_TEXT];
    int size = snprintf(text, sizeof text, "begin; set local lock_timeout = '300ms'; %s; commit",
                        statements);
    assert((size_t)size < sizeof text);
    enum store_result result = store_script(store, text, e);
    *busy = result == STORE_UNAVAILABLE;
    if (result == STORE_OK)
        return 0;
    // The connection is kept: the lock belongs to it. One that is lost is not busy.
    if (!store->conn || store_script(store, "rollback", NULL) != STORE_OK)
        *busy = false;
    return *busy ? 0 : -1;
}

int retire_detach(struct store *store, day_t month, bool *busy, struct error *e)
{
    char text[STATEMENT_TEXT], day[DAY_TEXT_SIZE];
    snprintf(text, sizeof text, "select settled.detach_month('%s')",
             calendar_format_day(month, day));
    return change(store, text, busy, e);
}

int retire_copy(struct store *store, const char *partition, retire_take *take, void *context,
                int64_t *rows, struct error *e)
{
    char text[STATEMENT_TEXT], *bytes = NULL;
    PGresult *answer = NULL;
    snprintf(text, sizeof text, "copy settled.%s to stdout (format csv, header)", partition);
    if (!PQsendQuery(store->conn, text))
        return store_fail(store, NULL, e) == STORE_OK ? 0 : -1;
    if (store_next(store, &answer, e) != STORE_OK)
        return -1;
    if (PQresultStatus(answer) != PGRES_COPY_OUT)
        store_fail(store, answer, e);
    bool open = PQresultStatus(answer) == PGRES_COPY_OUT;
    PQclear(answer);
    if (!open)
        return -1;
    int size, failed = 0;
    *rows = -1; // the line of names
    while (!failed && (size = PQgetCopyData(store->conn, &bytes, 0)) > 0) {
        failed = take(context, bytes, (size_t)size, e);
        PQfreemem(bytes);
        (*rows)++; // one message a row
    }
    if (failed) {
        store_drop(store); // in the midst of the rows
        return -1;
    }
    return store_finish(store, NULL, e) == STORE_OK ? 0 : -1;
}

int retire_drop(struct store *store, const struct retired_month *month, const char *archive,
                bool *busy, struct error *e)
{
    char text[3 * RETIRED_PATH_SIZE], day[DAY_TEXT_SIZE];
    int used = 0;
    for (size_t t = 0; t < month->table_count; t++)
        used += snprintf(text + used, sizeof text - (size_t)used, "drop table settled.%s; ",
                         month->tables[t].partition);
    char *quoted = PQescapeLiteral(store->conn, archive, strlen(archive));
    if (!quoted)
        return store_fail(store, NULL, e) == STORE_OK ? 0 : -1;
    used += snprintf(text + used, sizeof text - (size_t)used,
                     "update settled.retired_months set archive = %s, archived_at = now()"
                     " where month = '%s'",
                     quoted, calendar_format_day(month->month, day));
    PQfreemem(quoted);
    assert((size_t)used < sizeof text);
    return change(store, text, busy, e);
}
