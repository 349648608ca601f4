// Brings a fresh fold to what is recorded: one snapshot, each table read once through a cursor.
#include "consumer/postgres/store_restore.h"
#include "consumer/postgres/store_deployment.h"
#include "consumer/postgres/store_sql.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

int restore_account_row(void *context, const PGresult *row, int i, struct error *e)
{
    struct restore *r = context;
    struct account account = {
        .id = get_slice(row, i, 0),
        .opening = get_int8(row, i, 1),
        .credits = get_int8(row, i, 2),
        .adjustments = get_int8(row, i, 3),
        .account_sequence = get_int8(row, i, 5),
        .position = get_int8(row, i, 6),
    };
    if (!account_state_parse(get_string(row, i, 4), &account.state))
        return store_unknown(r->store, "status of an account", get_string(row, i, 4), e);
    return fold_restore_account(r->fold, &account, NULL, e);
}

int restore_span_row(void *context, const PGresult *row, int i, struct error *e)
{
    struct restore *r = context;
    struct span span = {get_time(row, i, 1), get_null(row, i, 2) ? INT64_MAX : get_time(row, i, 2)};
    return fold_restore_span(r->fold, get_slice(row, i, 0), span, e);
}

int package_read(const struct store *store, const PGresult *result, int row, int first,
                 struct package *out, struct error *e)
{
    *out = (struct package){
        .id = get_slice(result, row, first),
        .units = get_int8(result, row, first + 2),
        .used = get_int8(result, row, first + 3),
        .remaining = get_int8(result, row, first + 4),
        .amount = get_int8(result, row, first + 5),
        .valid_from = get_time(result, row, first + 6),
        .valid_until = get_time(result, row, first + 7),
        .offset = get_int8(result, row, first + 8),
    };
    if (service_parse(get_string(result, row, first + 1), &out->service))
        return 0;
    return store_unknown(store, "service", get_string(result, row, first + 1), e);
}

int restore_package_row(void *context, const PGresult *row, int i, struct error *e)
{
    struct restore *r = context;
    struct package package;
    if (package_read(r->store, row, i, 1, &package, e))
        return -1;
    return fold_restore_package(r->fold, get_slice(row, i, 0), &package, e);
}

static int restore_left_out(void *context, const PGresult *row, int i, struct error *e)
{
    struct restore *r = context;
    (void)row;
    (void)i;
    (void)e;
    fold_restore_left_out(r->fold);
    return 0;
}

int restore_credit_row(void *context, const PGresult *row, int i, struct error *e)
{
    struct restore *r = context;
    enum credit_kind kind;
    if (!credit_kind_parse(get_string(row, i, 2), &kind))
        return store_unknown(r->store, "kind of credit", get_string(row, i, 2), e);
    const struct restored_credit credit = {
        .account_id = get_slice(row, i, 0),
        .id = get_slice(row, i, 1),
        .kind = kind,
        .amount = get_int8(row, i, 3),
        .credited_at = get_time(row, i, 4),
    };
    return fold_restore_credit(r->fold, &credit, e);
}

static int restore_cutoff(void *context, const PGresult *row, int i, struct error *e)
{
    struct restore *r = context;
    if (fold_restore_cutoff(r->fold, get_day(row, i, 0), get_int8(row, i, 1), e))
        return -1;
    fold_restore_count(r->fold, get_int8(row, i, 2), get_int8(row, i, 3));
    return 0;
}

int restore_reject_row(void *context, const PGresult *row, int i, struct error *e)
{
    struct restore *r = context;
    return fold_restore_reject(r->fold, get_int8(row, i, 0), e);
}

static int restore_hold(void *context, const PGresult *row, int i, struct error *e)
{
    struct restore *r = context;
    enum reject_group group;
    enum input input = store_input_of(r->store, get_string(row, i, 0));
    if (input == INPUT_COUNT)
        return store_unknown(r->store, "input topic", get_string(row, i, 0), e);
    if (!reject_group_parse(get_string(row, i, 1), &group))
        return store_unknown(r->store, "group of rejects", get_string(row, i, 1), e);
    fold_restore_hold(r->fold, input, group,
                      (struct hold){get_int8(row, i, 2), get_int8(row, i, 3), get_int8(row, i, 4)});
    return 0;
}

int restore_reasons(const struct store *store, const char *symbols, size_t count,
                    enum reject_reason *out, struct error *e)
{
    for (size_t i = 0; i < count; i++) {
        char symbol[64];
        size_t size = strcspn(symbols, " ");
        snprintf(symbol, sizeof symbol, "%.*s", (int)size, symbols);
        out[i] = REJECT_NONE;
        if (strcmp(symbol, "-") != 0 && !reject_parse(symbol, &out[i]))
            return store_unknown(store, "reject reason", symbol, e);
        symbols += size + (symbols[size] == ' ');
    }
    return 0;
}

static int restore_decision(void *context, const PGresult *row, int i, struct error *e)
{
    struct restore *r = context;
    struct decision decision = {
        .number = get_int8(row, i, 0),
        .request = get_int8(row, i, 1),
        .input = store_input_of(r->store, get_string(row, i, 3)),
        .as_of = get_time(row, i, 5),
        .operator_name = get_string(row, i, 6),
        .content = get_string(row, i, 7),
        .day = get_day(row, i, 8),
        .at = {get_int8(row, i, 9), get_int8(row, i, 10), get_int8(row, i, 11)},
    };
    if (!decision_parse(get_string(row, i, 2), &decision.kind))
        return store_unknown(r->store, "kind of decision", get_string(row, i, 2), e);
    if (decision.input == INPUT_COUNT)
        return store_unknown(r->store, "input topic", get_string(row, i, 3), e);
    arena_reset(r->store->arrays);
    decision.offsets = get_int8_array(row, i, 4, r->store->arrays, &decision.count);
    return fold_restore_decision(r->fold, &decision, decision.day >= r->open_day, e);
}

#define PACKAGE_MATTERS "(valid_from >= $5 or (remaining > 0 and valid_until > $6))"

// The tables in the order that fold.h asks for. Parameters: $1 the shard, $2 the open day, $3 the
// calls topic, $4 calls_from; $5 and $6 the oldest instants of a credit that
// is still known, and of a call that may still be billed.
static const struct {
    const char *query;
    sql_visit *visit;
} sources[] = {
    {"select account_id, opening, credits, adjustments, status, account_sequence, position"
     " from settled.accounts where shard = $1",
     restore_account_row},
    {SUSPENSIONS_ENDED("r.shard = $1 and " SUSPENSION_MATTERS(
         "$2")) " union all select account_id, suspended_since, null from settled.accounts"
                " where shard = $1 and status = 'SUSPENDED' order by 1, 2",
     restore_span_row},
    {"select account_id, package_id, service, units, used, remaining, amount, valid_from, "
     "valid_until, kafka_offset"
     " from settled.packages where shard = $1"
     // R60: of other packages nothing is needed. The second line bounds what is read.
     " and valid_from > least($5, $6 - interval '368 days')"
     " and " PACKAGE_MATTERS,
     restore_package_row},
    {"select from settled.packages where shard = $1 and not " PACKAGE_MATTERS " limit 1",
     restore_left_out},
    {"select account_id, credit_id, kind, amount, credited_at from settled.credits"
     " where " CREDIT_MATTERS,
     restore_credit_row},
    {"select topic, reasons, rejects, records, at_offset from settled.holds"
     " where shard = $1 and business_day = $2",
     restore_hold},
    {"select business_day, to_offset, from_offset, accepted + duplicates from settled.day_cutoffs"
     " where shard = $1 and business_day < $2 and topic = $3 and to_offset >= $4"
     " and business_day >= settled.judged_at($1, $3, $4 - 1) order by business_day",
     restore_cutoff},
    {"select kafka_offset from settled.rejects"
     " where partition = $1 and topic = $3 and kafka_offset >= $4"
     " and business_day >= settled.judged_at($1, $3, $4) order by kafka_offset",
     restore_reject_row},
    // Of the days before, what may still let a record through: a pass, or what nobody knows here.
    {"select number, request, kind, topic, array(select kafka_offset from settled.request_records r"
     "  where r.request = d.request and d.kind not in ('ACCEPT', 'REQUEUE') order by 1),"
     " as_of, operator, content, business_day, calls_at, purchases_at, credits_at"
     " from settled.decisions d where shard = $1 and (business_day >= $2 or kind not in ('ACCEPT', "
     "'REQUEUE')) order by "
     "number",
     restore_decision},
};

// Nobody else writes under our epoch; a row that moved means that it is not ours any more.
static enum store_result check_snapshot(struct store *store, int32_t shard,
                                        const struct shard_row *row, struct error *e)
{
    PGresult *found;
    enum store_result result =
        sql_run(store, "select epoch, step from settled.shards where shard = $1",
                SQL_PARAMS(sql_int4(shard)), &found, e);
    if (result != STORE_OK)
        return result;
    bool same = PQntuples(found) == 1 && get_int8(found, 0, 0) == row->epoch &&
                get_int8(found, 0, 1) == row->step;
    PQclear(found);
    if (same)
        return STORE_OK;
    return store_say(store, STORE_FENCED, ERROR_RESTART, e,
                     "shard %" PRId32 " moved on while it was restored: another process owns it",
                     shard);
}

static enum store_result restore_tables(struct restore *r, int32_t shard,
                                        const struct shard_row *row, struct error *e)
{
    struct sql_params params =
        SQL_PARAMS(sql_int4(shard), sql_day(row->state.day),
                   sql_text(r->store->topics[INPUT_CALLS]), sql_int8(row->state.calls_from),
                   sql_time(fold_oldest_credit(r->fold)), sql_time(fold_oldest_call(r->fold)));
    enum store_result result = STORE_OK;
    for (size_t i = 0; i < sizeof sources / sizeof *sources && result == STORE_OK; i++)
        result = sql_each(r->store, sources[i].query, params, sources[i].visit, r, e);
    return result;
}

enum store_result store_restore(struct store *store, int32_t shard, const struct shard_row *row,
                                struct fold *fold, struct error *e)
{
    store = store_of(store, shard);
    assert(row->begun);
    assert(fold_account_count(fold) == 0); // a fresh one
    assert(fold_resident_calls(fold) == 0);
    struct restore r = {store, fold, row->state.day};
    enum store_result result = store_ready(store, e);
    if (result == STORE_OK)
        result = store_topics(store, e);
    // The cursors are read to their ends, whatever the planner thinks of cursors.
    if (result == STORE_OK)
        result = store_script(
            store,
            "begin isolation level repeatable read read only; set local cursor_tuple_fraction = 1",
            e);
    if (result == STORE_OK)
        result = check_snapshot(store, shard, row, e);
    if (result == STORE_OK && fold_restore_state(fold, &row->state, e) < 0)
        result = STORE_FAILED;
    if (result == STORE_OK)
        result = restore_tables(&r, shard, row, e);
    if (result == STORE_OK)
        result = store_script(store, "commit", e);
    if (result == STORE_OK)
        assert(fold_state(fold)->decisions ==
               row->state.decisions); // rows of the past move nothing
    return store_undo(store, result);
}
