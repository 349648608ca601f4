// Loads rows of the tables into a fold, for restore, past and audit. Not for users of the store.
#pragma once

#include "consumer/postgres/store_connection.h"

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
// A condition on credits: those whose ids are known, $5 being the oldest instant of such a credit
// and $1 the shard. The second line says in which partitions they stand.
#define CREDIT_MATTERS                                                                             \
    "shard = $1 and credited_at >= $5"                                                             \
    " and business_day >= settled.judged_from($1, ($5 at time zone 'UTC')::date - 2)"
// account_id, credit_id, kind, amount, credited_at
int restore_credit_row(void *context, const PGresult *row, int i, struct error *e);
// kafka_offset
int restore_reject_row(void *context, const PGresult *row, int i, struct error *e);

// The reasons of so many rejects, from a text of their symbols; "-": there is no such reject.
int restore_reasons(const struct store *store, const char *symbols, size_t count,
                    enum reject_reason *out, struct error *e);

// From nine columns at `first`: package_id, service, units, used, remaining, amount, valid_from,
// valid_until, kafka_offset.
int package_read(const struct store *store, const PGresult *result, int row, int first,
                 struct package *out, struct error *e);

// ---- suspensions, as rows ----

// Those that ended, each from the change that ended it. Columns: account_id, when it began, when it
// ended. `which` is a condition on the changes, `r`. A suspension that still goes on stands in
// settled.accounts: it may have begun in a month that is retired. Suspensions of an account begin
// one after the other, so the caller's "order by 1, 2" is also the order of account_sequence.
#define SUSPENSIONS_ENDED(which)                                                                   \
    "select r.account_id, r.suspended_since, r.effective_at from settled.status_changes r"         \
    " where r.status = 'ACTIVE' and " which

// A condition on `r`: what ended before the oldest usage day that may still be billed, when the day
// `day` is open in the shard $1, concerns nobody any more.
#define SUSPENSION_MATTERS(day)                                                                    \
    "r.effective_at >= (" OLDEST_USAGE(                                                            \
        day) ")::timestamp at time zone 'UTC'"                                                     \
             " and r.business_day >= settled.judged_from($1, " OLDEST_USAGE(day) " - 1)"
#define OLDEST_USAGE(day) day " - 2 - (select max(late_days) from settled.parameters)"
