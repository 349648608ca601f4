// The rows of a step, and the tables they go into.
#pragma once

#include "consumer/postgres/store_sql.h"

// A commit under way: what the rows are made from.
struct commit {
    struct store *store;
    int32_t shard;
    int64_t now_ms;
    const struct shard_row *row; // as last committed
    const struct fold *fold;
    const struct step *step;
    const struct outbox *outbox;
    // of the outbox rows, by kind and index in the list of that kind
    int64_t *sequences[EMIT_KINDS];
    uint32_t *line_owners; // which settlement a line belongs to
    uint32_t *month_owners; // which statement a line belongs to
    // the touched accounts: those without a row first
    uint32_t *accounts;
    size_t new_account_count;
};

// The day that was open when the step began. It says into which partitions the rows go; a step
// that settles a day takes nothing of the next one.
day_t step_day(const struct commit *commit);

// Finds the outbox row that belongs to each row; step_rows_release frees the result.
void step_rows_number(struct commit *commit);
void step_rows_release(struct commit *commit);

// store_step_check.c: what must hold of every step whose rows are written or compared, and what
// must hold of a step against the shard's row before it is committed.
void step_check_sums(const struct commit *commit);
void step_check_progress(const struct commit *commit);

enum step_load {
    STEP_REJECTS,
    STEP_CREDITS,
    STEP_PACKAGES,
    STEP_SETTLEMENTS,
    STEP_LINES,
    STEP_STATUSES,
    STEP_NOTICES,
    STEP_NEW_ACCOUNTS,
    STEP_ACCOUNTS,
    STEP_DECISIONS,
    STEP_OUTBOX,
    STEP_CLOSES,
    STEP_CUTOFFS,
    STEP_LOGS,
    STEP_HOLDS,
    STEP_STATEMENTS,
    STEP_MONTH_LINES,
    STEP_LOADS
};
const struct table *step_table(enum step_load load);
// All rows of the step but the shard's own, in the order in which they may be written; each load's
// context is the commit.
void step_rows(const struct commit *commit, struct load loads[STEP_LOADS]);

// The rows of accounts, packages and logs, which a step only touches, for the audit, which compares
// all of them.
void step_set_account(struct sql_row *row, int32_t shard, const struct account *account);
void step_set_package(struct sql_row *row, int32_t shard, const struct fold *fold,
                      const struct package *package);
void step_set_log(struct sql_row *row, int32_t shard, const char *topic,
                  const struct log_state *log);
