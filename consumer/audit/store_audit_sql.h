// Shared by the two files that read the store for the audit: the state between two days, as the
// tables would have held it then.
#pragma once

#include "consumer/audit/store_audit.h"
#include "consumer/postgres/store_sql.h"

// Parameters: $1 the shard, $2 the day that opened, $3 the cutoff of the credits or purchases of
// the day before, $4 the sequence of its DayClosed. Each of these begins a statement; a list of
// columns and the matching FROM follow.
#define ACCOUNTS_THEN                                                                              \
    "with s as (select distinct on (account_id) account_id, closing_balance as opening, position"  \
    " from settled.settlements where shard = $1 and business_day < $2 order by account_id, "       \
    "business_day desc),"                                                                          \
    " c as (select c.account_id, max(c.position) as position,"                                     \
    " coalesce(sum(c.amount) filter (where c.kind = 'TOP_UP' and c.position > "                    \
    "coalesce(s.position, 0)), 0) as "                                                             \
    "credits,"                                                                                     \
    " coalesce(sum(c.amount) filter (where c.kind = 'ADJUSTMENT' and c.position > "                \
    "coalesce(s.position, 0)), 0)"                                                                 \
    " as adjustments from settled.credits c left join s using (account_id)"                        \
    " where c.shard = $1 and c.kafka_offset < $3 group by c.account_id),"                          \
    " t as (select distinct on (account_id) account_id, status, account_sequence from "            \
    "settled.status_changes"                                                                       \
    " where shard = $1 and sequence <= $4 order by account_id, account_sequence desc),"            \
    " a as (select account_id, $1::int4 as shard, coalesce(opening, 0) as opening,"                \
    " coalesce(credits, 0)::int8 as credits, coalesce(adjustments, 0)::int8 as adjustments,"       \
    " coalesce(status, 'ACTIVE') as status, coalesce(account_sequence, 0) as account_sequence,"    \
    " greatest(s.position, c.position) as position, opening is not null as settled"                \
    " from s full join c using (account_id) left join t using (account_id))"
#define ACCOUNTS_THEN_BALANCE "(opening + credits + adjustments)::int8"

#define PACKAGES_THEN                                                                              \
    "with d as (select account_id, package_offset as kafka_offset, sum(units) as drawn"            \
    " from settled.settlement_lines where package_id is not null and business_day < $2"            \
    " group by account_id, package_offset),"                                                       \
    " p as (select account_id, package_id, service, units, used,"                                  \
    " (units - used - coalesce(drawn, 0))::int8 as remaining, amount, valid_from, valid_until, "   \
    "kafka_offset, shard"                                                                          \
    " from settled.packages left join d using (account_id, kafka_offset)"                          \
    " where shard = $1 and kafka_offset < $3)"

// Begins a snapshot, without a limit of time.
enum store_result audit_begin(struct store *store, struct error *e);
// The comparison (store_audit_rows.c) binds the same parameters.
void audit_point_parameters(struct sql_row *row, int32_t shard, const struct audit_point *point,
                            enum input input);
