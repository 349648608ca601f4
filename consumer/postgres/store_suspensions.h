// The suspensions of accounts as rows, for the restore of a shard, of a settled day of one account,
// and of an audit.
#pragma once

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
