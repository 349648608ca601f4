// The snapshot of a shard: recorded cutoffs, verdicts and decisions, and a fold as it was when a
// day opened.
#include "consumer/audit/store_audit_sql.h"
#include "consumer/postgres/store_deployment.h"
#include "consumer/postgres/store_restore.h"
#include "consumer/postgres/store_shards.h"

#include "consumer/base/memory.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct load_rules {
    struct store *store;
    struct audit_snapshot *out;
    size_t day_capacity, decision_capacity, hold_capacity;
};

// ---- what rules ----

static struct audit_day *day_of(struct load_rules *l, day_t day)
{
    struct audit_snapshot *s = l->out;
    if (s->day_count > 0 && s->days[s->day_count - 1].day == day)
        return &s->days[s->day_count - 1];
    s->days = memory_reserve(s->days, s->day_count, &l->day_capacity, sizeof *s->days);
    s->days[s->day_count] = (struct audit_day){.day = day};
    return &s->days[s->day_count++];
}

// A row of a full join: either half may be missing.
static int read_day(void *context, const PGresult *row, int i, struct error *e)
{
    struct load_rules *l = context;
    struct audit_day *day = day_of(l, get_day(row, i, 0));
    if (!get_null(row, i, 1)) {
        day->closed = true;
        day->sequence = get_int8(row, i, 1);
        day->calls_from = get_int8(row, i, 2);
        get_copy(row, i, 3, day->digest, sizeof day->digest);
        get_copy(row, i, 12, day->price_book, sizeof day->price_book);
        get_copy(row, i, 13, day->parameters, sizeof day->parameters);
    }
    if (get_null(row, i, 4))
        return 0;
    enum input input = store_input_of(l->store, get_string(row, i, 4));
    if (input == INPUT_COUNT)
        return store_unknown(l->store, "input topic", get_string(row, i, 4), e);
    enum cut_by cut_by;
    if (!cut_parse(get_string(row, i, 7), &cut_by))
        return store_unknown(l->store, "kind of cutoff", get_string(row, i, 7), e);
    day->cut |= 1u << input;
    struct cutoff *cut = &day->cutoffs[input];
    *cut = (struct cutoff){.from_offset = get_int8(row, i, 5),
                           .to_offset = get_int8(row, i, 6),
                           .cut_by = cut_by,
                           .accepted = get_int8(row, i, 8),
                           .duplicates = get_int8(row, i, 9),
                           .rejected = get_int8(row, i, 10),
                           .voids = get_int8(row, i, 11)};
    if (input == INPUT_CALLS)
        day->judged = cut->accepted + cut->duplicates;
    return 0;
}

static const char *keep(struct arena *arena, const char *text)
{
    return arena_copy(arena, text, strlen(text));
}

static int read_decision(void *context, const PGresult *row, int i, struct error *e)
{
    struct load_rules *l = context;
    struct audit_snapshot *s = l->out;
    s->decisions = memory_reserve(s->decisions, s->decision_count, &l->decision_capacity,
                                  sizeof *s->decisions);
    struct audit_decision *added = &s->decisions[s->decision_count++];
    *added = (struct audit_decision){
        .decision = {.number = get_int8(row, i, 0),
                     .request = get_int8(row, i, 1),
                     .input = store_input_of(l->store, get_string(row, i, 3)),
                     .as_of = get_time(row, i, 5),
                     .operator_name = keep(s->arena, get_string(row, i, 6)),
                     .content = keep(s->arena, get_string(row, i, 7)),
                     .day = get_day(row, i, 8),
                     .at = {get_int8(row, i, 9), get_int8(row, i, 10), get_int8(row, i, 11)}},
        .asked = *get_string(row, i, 14) == 1,
    };
    size_t count;
    struct decision *d = &added->decision;
    d->offsets = get_int8_array(row, i, 4, s->arena, &d->count);
    added->named = get_int8_array(row, i, 13, s->arena, &count);
    assert(count == d->count);
    enum reject_reason *reasons = arena_alloc(s->arena, d->count * sizeof *reasons);
    added->reasons = reasons;
    if (!decision_parse(get_string(row, i, 2), &d->kind))
        return store_unknown(l->store, "kind of decision", get_string(row, i, 2), e);
    if (d->input == INPUT_COUNT)
        return store_unknown(l->store, "input topic", get_string(row, i, 3), e);
    return restore_reasons(l->store, get_string(row, i, 12), d->count, reasons, e);
}

static const char days_query[] =
    "select coalesce(b.business_day, k.business_day), b.sequence, b.calls_from, b.digest,"
    " k.topic, k.from_offset, k.to_offset, k.cut_by, k.accepted, k.duplicates, k.rejected, k.void,"
    " b.price_book, b.parameters"
    " from (select * from settled.day_closes where shard = $1) b"
    " full join (select * from settled.day_cutoffs where shard = $1) k on k.business_day = "
    "b.business_day order by 1";

static const char decisions_query[] =
    "select d.number, d.request, d.kind, d.topic, o.offsets, d.as_of, d.operator, d.content, "
    "d.business_day,"
    " d.calls_at, d.purchases_at, d.credits_at, o.reasons, o.named,"
    " coalesce((q.shard, q.kind, q.topic, q.operator, q.requested_at, q.decision) ="
    "   (d.shard, d.kind, d.topic, d.operator, d.as_of, d.number), false)"
    " from settled.decisions d left join settled.requests q on q.id = d.request,"
    " lateral (select coalesce(array_agg(s.kafka_offset order by s.kafka_offset), '{}') as offsets,"
    "   coalesce(string_agg(coalesce(r.reason, '-'), ' ' order by s.kafka_offset), '') as reasons,"
    "   coalesce(array_agg(coalesce(r.decision, 0) order by s.kafka_offset), '{}') as named"
    "  from settled.request_records s left join settled.rejects r on r.topic = d.topic"
    "   and r.partition = d.shard and r.business_day <= d.business_day"
    "   and r.kafka_offset = case when d.business_day >= $2 then s.kafka_offset end"
    "  where s.request = d.request) o"
    " where d.shard = $1 order by d.number";

static const char holds_query[] =
    "select business_day, topic, reasons, rejects, records, at_offset, after_decision"
    " from settled.holds"
    " where shard = $1 order by business_day, topic, reasons";

static int read_hold(void *context, const PGresult *row, int i, struct error *e)
{
    struct load_rules *l = context;
    struct audit_snapshot *s = l->out;
    struct step_hold found = {.day = get_day(row, i, 0),
                              .input = store_input_of(l->store, get_string(row, i, 1)),
                              .rejects = get_int8(row, i, 3),
                              .records = get_int8(row, i, 4),
                              .at = get_int8(row, i, 5),
                              .after_decision = get_int8(row, i, 6)};
    if (found.input == INPUT_COUNT)
        return store_unknown(l->store, "input topic", get_string(row, i, 1), e);
    if (!reject_group_parse(get_string(row, i, 2), &found.group))
        return store_unknown(l->store, "group of rejects", get_string(row, i, 2), e);
    s->holds = memory_reserve(s->holds, s->hold_count, &l->hold_capacity, sizeof *s->holds);
    s->holds[s->hold_count++] = found;
    return 0;
}

static enum store_result load_retired(struct store *store, struct audit_snapshot *out,
                                      struct error *e)
{
    PGresult *row = NULL;
    enum store_result result =
        sql_run(store,
                "select coalesce((max(month) + interval '1 month')::date, '-infinity')"
                " from settled.retired_months",
                SQL_NO_PARAMS, &row, e);
    if (result == STORE_OK)
        out->kept_from = get_day(row, 0, 0);
    PQclear(row);
    return result;
}

static enum store_result load_row(struct store *store, struct sql_params params,
                                  struct audit_snapshot *out, struct error *e)
{
    char query[256];
    PGresult *row = NULL, *logs = NULL;
    snprintf(query, sizeof query, "select %s from settled.shards where shard = $1", shard_columns);
    enum store_result result = sql_run(store, query, params, &row, e);
    if (result == STORE_OK)
        result = sql_run(store, shard_logs_query, params, &logs, e);
    if (result == STORE_OK && PQntuples(row) == 1) {
        shard_read(store, row, logs, &out->row);
        out->found = out->row.begun;
    }
    PQclear(row);
    PQclear(logs);
    return result;
}

// The snapshot waits for Kafka between two statements, and large tables are sorted.
enum store_result audit_begin(struct store *store, struct error *e)
{
    enum store_result result = store_ready(store, e);
    if (result == STORE_OK)
        result = store_topics(store, e);
    if (result == STORE_OK)
        result = store_script(
            store,
            "begin isolation level repeatable read read only; set local cursor_tuple_fraction = 1;"
            " set local statement_timeout = 0; set local idle_in_transaction_session_timeout = 0",
            e);
    if (result == STORE_OK)
        store->patience_ms = -1;
    return result;
}

enum store_result store_audit_begin(struct store *store, int32_t shard, day_t from,
                                    struct audit_snapshot *out, struct error *e)
{
    *out = (struct audit_snapshot){.arena = arena_create()};
    if (!out->arena)
        abort(); // out of memory
    struct load_rules l = {.store = store, .out = out};
    struct sql_params params = SQL_PARAMS(sql_int4(shard), sql_day(from));
    enum store_result result = audit_begin(store, e);
    if (result == STORE_OK)
        result = load_retired(store, out, e);
    if (result == STORE_OK)
        result = load_row(store, params, out, e);
    if (result == STORE_OK)
        result = sql_each(store, days_query, params, read_day, &l, e);
    if (result == STORE_OK)
        result = sql_each(store, decisions_query, params, read_decision, &l, e);
    if (result == STORE_OK)
        result = sql_each(store, holds_query, params, read_hold, &l, e);
    return result == STORE_OK ? result : store_undo(store, result);
}

void store_audit_end(struct store *store)
{
    store_undo(store, STORE_OK);
}

const struct audit_day *audit_snapshot_day(const struct audit_snapshot *snapshot, day_t day)
{
    for (size_t i = 0; i < snapshot->day_count; i++)
        if (snapshot->days[i].day == day)
            return &snapshot->days[i];
    return NULL;
}

void audit_snapshot_release(struct audit_snapshot *snapshot)
{
    arena_destroy(snapshot->arena);
    free(snapshot->decisions);
    free(snapshot->days);
    free(snapshot->holds);
    *snapshot = (struct audit_snapshot){0};
}

// ---- a day's opening ----

void audit_point_parameters(struct sql_row *row, int32_t shard, const struct audit_point *point,
                            enum input input)
{
    sql_row_set(row, SQL_PARAMS(sql_int4(shard), sql_day(point->day), sql_int8(point->at[input]),
                                sql_int8(point->sequence)));
}

// Parameters: $1 the shard, $2 the day, $3 the input's cutoff, $4 the sequence.
static const struct {
    enum input input;
    const char *query;
    sql_visit *visit;
} sources[] = {
    {INPUT_CREDITS,
     ACCOUNTS_THEN
     "select account_id, opening, credits, adjustments, status, account_sequence, position from a",
     restore_account_row},
    {INPUT_CREDITS,
     ACCOUNTS_THEN SUSPENSIONS_ENDED(
         "r.shard = $1 and r.sequence <= $4 and r.business_day < $2"
         " and " SUSPENSION_MATTERS("$2")) " union all select account_id, suspended_since, null"
                                           " from a where status = 'SUSPENDED' order by 1, 2",
     restore_span_row},
    {INPUT_PURCHASES,
     PACKAGES_THEN "select account_id, package_id, service, units, used, remaining, amount, "
                   "valid_from, valid_until,"
                   " kafka_offset from p",
     restore_package_row},
    {INPUT_CREDITS,
     "select account_id, credit_id, kind, amount, credited_at from settled.credits"
     " where kafka_offset < $3 and business_day < $2 and " CREDIT_MATTERS,
     restore_credit_row},
};

static enum store_result restore_tables(struct restore *r, int32_t shard,
                                        const struct audit_point *point, struct error *e)
{
    enum store_result result = STORE_OK;
    for (size_t i = 0; i < sizeof sources / sizeof *sources && result == STORE_OK; i++) {
        struct sql_row row;
        audit_point_parameters(&row, shard, point, sources[i].input);
        row.values[row.count++] = sql_time(fold_oldest_credit(r->fold));
        result = sql_each(r->store, sources[i].query, sql_row_params(&row), sources[i].visit, r, e);
    }
    if (result == STORE_OK)
        result =
            sql_each(r->store,
                     "select kafka_offset from settled.rejects where partition = $1 and topic = $2"
                     " and kafka_offset >= $3 and kafka_offset < $4"
                     " and business_day between settled.judged_at($1, $2, $3) and $5"
                     " order by kafka_offset",
                     SQL_PARAMS(sql_int4(shard), sql_text(r->store->topics[INPUT_CALLS]),
                                sql_int8(point->calls_from), sql_int8(point->at[INPUT_CALLS]),
                                sql_day(point->day)),
                     restore_reject_row, r, e);
    return result;
}

// Of the decisions before the day opened, only those matter that may still let a record pass.
static int restore_rules(struct restore *r, const struct audit_snapshot *snapshot,
                         const struct audit_point *point, struct error *e)
{
    for (size_t i = 0; i < snapshot->day_count; i++) {
        const struct audit_day *day = &snapshot->days[i];
        const struct cutoff *calls = &day->cutoffs[INPUT_CALLS];
        if (day->day >= point->day || calls->to_offset < point->calls_from)
            continue;
        if (fold_restore_cutoff(r->fold, day->day, calls->to_offset, e))
            return -1;
        fold_restore_count(r->fold, calls->from_offset, day->judged);
    }
    for (size_t i = 0; i < snapshot->decision_count; i++) {
        const struct decision *decision = &snapshot->decisions[i].decision;
        if (decision->day < point->day && fold_restore_decision(r->fold, decision, false, e))
            return -1;
    }
    return 0;
}

enum store_result store_audit_opening(struct store *store, int32_t shard,
                                      const struct audit_snapshot *snapshot,
                                      const struct audit_point *point, struct fold *fold,
                                      struct error *e)
{
    assert(fold_account_count(fold) == 0); // a fresh one
    assert(PQtransactionStatus(store->conn) == PQTRANS_INTRANS); // the snapshot
    struct restore r = {.store = store, .fold = fold};
    int64_t decisions = 0;
    for (size_t i = 0;
         i < snapshot->decision_count && snapshot->decisions[i].decision.day < point->day; i++)
        decisions = snapshot->decisions[i].decision.number;
    struct fold_state state = {.day = point->day,
                               .calls_from = point->calls_from,
                               .month = calendar_month_end(point->day - 1),
                               .horizon = point->day - 1,
                               .decisions = decisions};
    for (int i = 0; i < INPUT_COUNT; i++)
        state.log[i] =
            (struct log_state){.next = point->at[i], .from = point->at[i], .last_offset = -1};
    if (fold_restore_state(fold, &state, e) || restore_rules(&r, snapshot, point, e))
        return STORE_FAILED;
    return restore_tables(&r, shard, point, e);
}

enum store_result store_audit_sequence(struct store *store, int32_t shard, int64_t *sequence,
                                       struct error *e)
{
    PGresult *row = NULL;
    *sequence = 0;
    enum store_result result = store_ready(store, e);
    if (result == STORE_OK)
        result = sql_run(store, "select sequence from settled.shards where shard = $1",
                         SQL_PARAMS(sql_int4(shard)), &row, e);
    if (result == STORE_OK && PQntuples(row) == 1)
        *sequence = get_int8(row, 0, 0);
    PQclear(row);
    return store_undo(store, result);
}
