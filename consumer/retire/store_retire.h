// What `settled retire` asks of PostgreSQL: which months are there, what still needs them, and how
// they leave. The rules stand in the functions of schemas/postgres/001_tables.sql.
#pragma once

#include "consumer/postgres/store.h"

// A partitioned table that a month leaves, and what is there of the month.
struct retired_table {
    char name[64]; // "settlements"
    char partition[64]; // "settlements_2025_03"
    int64_t rows, bytes; // bytes with indexes
};
enum { RETIRED_TABLES = 8, RETIRED_PATH_SIZE = 2048 };

struct retired_month {
    day_t month; // its first day
    bool detached; // by an earlier run: it is not among the tables any more
    size_t table_count;
    struct retired_table tables[RETIRED_TABLES];
};

// Only the schema's owner may make changes, and only one process at a time: ERROR_CONFIG,
// ERROR_RESTART. The lock is the session's; a lost connection loses it, and no call connects again.
int retire_lock(struct store *store, struct error *e);
// Why the months before this day cannot leave the tables, a line each; malloc'ed, "" when they can.
int retire_troubles(struct store *store, day_t before, char **lines, struct error *e);
// The months before it that are in the tables, or detached and not archived, rising. *months is
// malloc'ed.
int retire_months(struct store *store, day_t before, struct retired_month **months, size_t *count,
                  struct error *e);
// Detaches a month's partitions. Waits for no lock longer than a moment, as a daemon's commits
// would wait behind it: *busy, and nothing was changed.
int retire_detach(struct store *store, day_t month, bool *busy, struct error *e);
// The rows of a detached table as CSV, with a line of names before them. `take` returns 0, or -1
// with *e.
typedef int retire_take(void *context, const char *bytes, size_t size, struct error *e);
int retire_copy(struct store *store, const char *partition, retire_take *take, void *context,
                int64_t *rows, struct error *e);
// Drops the detached tables of a month, and records where its rows are. As retire_detach.
int retire_drop(struct store *store, const struct retired_month *month, const char *archive,
                bool *busy, struct error *e);
