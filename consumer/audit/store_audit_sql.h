// Shared by the two files that read the store for the audit: the state between two days, as the
// tables would have held it then.
#pragma once

#include "consumer/audit/store_audit.h"
#include "consumer/postgres/store_sql.h"

// What is recorded now, less what was recorded since then: the rows from before may be in months
// that are retired, and there are more of them with each year. Parameters: $1 the shard, $2 the day
// that opened, $3 the cutoff of the credits or purchases of the day before, $4 the sequence of its
// DayClosed, $5 the oldest instant of a credit whose id was known. Each of these begins a
// statement; a list of columns and the matching FROM follow.
#define ACCOUNTS_THEN                                                                              \
    "with s as (select distinct on (account_id) account_id, opening_balance, credits, "            \
    "adjustments, position"                                                                        \
    " from settled.settlements where shard = $1 and business_day >= $2 order by account_id, "      \
    "business_day),"                                                                               \
    " c as (select c.account_id, min(c.position) as position,"                                     \
    " coalesce(sum(c.amount) filter (where c.kind = 'TOP_UP'), 0) as credits,"                     \
    " coalesce(sum(c.amount) filter (where c.kind = 'ADJUSTMENT'), 0) as adjustments"              \
    " from settled.credits c left join s using (account_id) where c.shard = $1"                    \
    " and c.business_day >= $2 and c.kafka_offset >= $3"                                           \
    " and (s.position is null or c.position < s.position) group by c.account_id),"                 \
    " t as (select distinct on (account_id) account_id, status, account_sequence, suspended_since" \
    " from settled.status_changes where shard = $1 and business_day >= $2 and sequence > $4"       \
    " order by account_id, account_sequence),"                                                     \
    " a as (select account_id, n.shard, coalesce(s.opening_balance, n.opening) as opening,"        \
    " (coalesce(s.credits, n.credits) - coalesce(c.credits, 0))::int8 as credits,"                 \
    " (coalesce(s.adjustments, n.adjustments) - coalesce(c.adjustments, 0))::int8 as adjustments," \
    " case t.status when 'ACTIVE' then 'SUSPENDED' when 'SUSPENDED' then 'ACTIVE' else n.status "  \
    "end as status, coalesce(t.account_sequence - 1, n.account_sequence) as account_sequence,"     \
    " case when t.status is null then n.suspended_since else t.suspended_since end "               \
    "as suspended_since, coalesce(least(s.position, c.position) - 1, n.position) as position"      \
    " from settled.accounts n left join s using (account_id) left join c using (account_id)"       \
    " left join t using (account_id) where n.shard = $1"                                           \
    " and coalesce(least(s.position, c.position) - 1, n.position) > 0)"
#define ACCOUNTS_THEN_BALANCE "(opening + credits + adjustments)::int8"

#define PACKAGES_THEN                                                                              \
    "with d as (select account_id, package_offset as kafka_offset, sum(units) as drawn"            \
    " from settled.settlement_lines where package_id is not null and business_day >= $2"           \
    " group by account_id, package_offset),"                                                       \
    " p as (select account_id, package_id, service, units, used,"                                  \
    " (remaining + coalesce(drawn, 0))::int8 as remaining, amount, valid_from, valid_until, "      \
    "kafka_offset, shard"                                                                          \
    " from settled.packages left join d using (account_id, kafka_offset)"                          \
    " where shard = $1 and kafka_offset < $3)"

// Begins a snapshot, without a limit of time.
enum store_result audit_begin(struct store *store, struct error *e);
// The comparison (store_audit_rows.c) binds the same parameters.
void audit_point_parameters(struct sql_row *row, int32_t shard, const struct audit_point *point,
                            enum input input);
