// Loads the recorded settlement of one account and day, and a fold as it was before that day was
// settled.
#include "consumer/base/text.h"
#include "consumer/postgres/store_deployment.h"
#include "consumer/postgres/store_restore.h"
#include "consumer/postgres/store_sql.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct past_read {
    struct store *store;
    struct fold *fold;
    struct past *past;
    struct slice account_id;
    struct account account; // as it was before the settlement
    int64_t suspended_since; // with ACCOUNT_SUSPENDED
    struct fold_state state;
};

static int read_close(void *context, const PGresult *row, int i, struct error *e)
{
    (void)e;
    struct past_read *p = context;
    p->state.calls_from = get_int8(row, i, 0);
    get_copy(row, i, 1, p->past->price_book, sizeof p->past->price_book);
    return 0;
}

static int read_cutoff(void *context, const PGresult *row, int i, struct error *e)
{
    struct past_read *p = context;
    enum input input = store_input_of(p->store, get_string(row, i, 0));
    if (input == INPUT_COUNT)
        return error_set(e, ERROR_CONFIG,
                         "PostgreSQL %s: the cutoffs name topic %s, which is no input",
                         p->store->location, get_string(row, i, 0));
    struct cutoff cutoff = {
        .from_offset = get_int8(row, i, 1),
        .to_offset = get_int8(row, i, 2),
        .accepted = get_int8(row, i, 3),
        .duplicates = get_int8(row, i, 4),
        .rejected = get_int8(row, i, 5),
        .voids = get_int8(row, i, 6),
    };
    p->past->cutoffs[input] = cutoff;
    p->state.log[input] = (struct log_state){
        .next = cutoff.to_offset,
        .from = cutoff.from_offset,
        .accepted = cutoff.accepted,
        .duplicates = cutoff.duplicates,
        .rejected = cutoff.rejected,
        .voids = cutoff.voids,
        .last_offset = -1,
    };
    return 0;
}

#define READ_FIGURE(name) past->name = get_int8(row, i, column++);

static int read_settlement(void *context, const PGresult *row, int i, struct error *e)
{
    struct past_read *p = context;
    struct past *past = p->past;
    int column = 0;
    assert(PQnfields(row) == SETTLEMENT_FIGURE_COUNT + 3);
    past->settled = true;
    SETTLEMENT_FIGURES(READ_FIGURE)
    p->account.opening = past->opening_balance;
    p->account.credits = past->credits;
    p->account.adjustments = past->adjustments;
    const char *state = get_string(row, i, column++);
    if (!account_state_parse(state, &past->state))
        return store_unknown(p->store, "status of an account", state, e);
    past->sequence = get_int8(row, i, column++);
    past->position = get_int8(row, i, column);
    p->account.position = past->position - 1;
    return 0;
}

static int read_line(void *context, const PGresult *row, int i, struct error *e)
{
    struct past_read *p = context;
    struct recorded_line line = {
        .usage_day = get_day(row, i, 0),
        .package_id = get_null(row, i, 3) ? NULL : strdup(get_string(row, i, 3)),
        .tier_from = get_null(row, i, 4) ? -1 : get_int8(row, i, 4),
        .calls = get_int8(row, i, 5),
        .units = get_int8(row, i, 6),
        .unit_price = get_int8(row, i, 7),
        .amount = get_int8(row, i, 8),
        .package_units = get_null(row, i, 9) ? -1 : get_int8(row, i, 9),
        .package_amount = get_null(row, i, 10) ? -1 : get_int8(row, i, 10),
    };
    struct recorded_line *grown =
        reallocarray(p->past->lines, p->past->line_count + 1, sizeof *grown);
    if (!grown || (!line.package_id && !get_null(row, i, 3)))
        abort();
    p->past->lines = grown;
    struct recorded_line *added = &grown[p->past->line_count++];
    *added = line;
    if (!service_parse(get_string(row, i, 1), &added->service))
        return store_unknown(p->store, "service", get_string(row, i, 1), e);
    if (!charge_parse(get_string(row, i, 2), &added->charge))
        return store_unknown(p->store, "charge", get_string(row, i, 2), e);
    return 0;
}

static int read_status(void *context, const PGresult *row, int i, struct error *e)
{
    struct past_read *p = context;
    if (!account_state_parse(get_string(row, i, 1), &p->account.state))
        return store_unknown(p->store, "status of an account", get_string(row, i, 1), e);
    p->account.account_sequence = get_int8(row, i, 0);
    p->suspended_since = get_null(row, i, 2) ? 0 : get_time(row, i, 2);
    return 0;
}

static int restore_span(void *context, const PGresult *row, int i, struct error *e)
{
    struct past_read *p = context;
    struct restore restore = {.store = p->store, .fold = p->fold};
    return restore_span_row(&restore, row, i, e);
}

static int restore_package(void *context, const PGresult *row, int i, struct error *e)
{
    struct past_read *p = context;
    struct package package;
    if (package_read(p->store, row, i, 0, &package, e))
        return -1;
    return fold_restore_package(p->fold, p->account_id, &package, e);
}

static int restore_cutoff(void *context, const PGresult *row, int i, struct error *e)
{
    struct past_read *p = context;
    return fold_restore_cutoff(p->fold, get_day(row, i, 0), get_int8(row, i, 1), e);
}

static int restore_reject(void *context, const PGresult *row, int i, struct error *e)
{
    struct past_read *p = context;
    return fold_restore_reject(p->fold, get_int8(row, i, 0), e);
}

// The account's first change at the close of the day or after it.
#define NEXT_CHANGE                                                                                \
    "select account_sequence, status, suspended_since from settled.status_changes"                 \
    " where account_id = a.account_id and sequence >= $5 and business_day >= $2"                   \
    " order by account_sequence limit 1"

struct past_query {
    const char *query;
    sql_visit *visit;
};

// Where the day's replay starts and ends, and the settlement. Parameters: $1 the shard, $2 the day,
// $3 the account, $4 the calls topic.
static const struct past_query recorded[] = {
    // The day's own close tells its price book, the close before it where its calls begin; the
    // first day begins with its log.
    {"select coalesce(before.calls_from, k.from_offset), b.price_book"
     " from settled.day_closes b join settled.day_cutoffs k"
     "   on k.shard = b.shard and k.business_day = b.business_day and k.topic = $4"
     " left join settled.day_closes before on before.shard = b.shard and before.business_day = "
     "b.business_day - 1"
     " where b.shard = $1 and b.business_day = $2",
     read_close},
    {"select topic, from_offset, to_offset, accepted, duplicates, rejected, void from "
     "settled.day_cutoffs"
     " where shard = $1 and business_day = $2",
     read_cutoff},
    {"select " SETTLEMENT_FIGURE_NAMES "status, sequence, position"
     " from settled.settlements where account_id = $3 and business_day = $2",
     read_settlement},
    {"select usage_day, service, charge, package_id, tier_from, calls, units, unit_price, "
     "amount, package_units, package_amount"
     " from settled.settlement_lines where account_id = $3 and business_day = $2 order by line_no",
     read_line},
};

// What the fold is brought to. Parameters as above, and what was read by then: $5 the settlement's
// sequence, $6 the purchases' cutoff, $7 where the replay starts, $8 the calls' cutoff.
static const struct past_query before[] = {
    // From what came next: the month of the last change before may be retired. The change after a
    // suspension is a resumption, and the other way round.
    {"select coalesce(next.account_sequence - 1, a.account_sequence),"
     " case next.status when 'ACTIVE' then 'SUSPENDED' when 'SUSPENDED' then 'ACTIVE'"
     "  else a.status end,"
     " case when next.status is null then a.suspended_since else next.suspended_since end"
     " from settled.accounts a left join lateral (" NEXT_CHANGE ") next on true"
     " where a.account_id = $3",
     read_status},
};

static const struct past_query to_fold[] = {
    {SUSPENSIONS_ENDED(
         "r.account_id = $3 and r.sequence < $5 and " SUSPENSION_MATTERS("$2")) " order by 1, 2",
     restore_span},
    {"select package_id, service, units, used,"
     " remaining + coalesce((select sum(l.units) from settled.settlement_lines l where "
     "l.account_id = p.account_id"
     "   and l.package_offset = p.kafka_offset and l.business_day >= $2), 0)::int8,"
     " amount, valid_from, valid_until, kafka_offset"
     " from settled.packages p where account_id = $3 and kafka_offset < $6",
     restore_package},
    {"select business_day, to_offset from settled.day_cutoffs"
     " where shard = $1 and business_day < $2 and topic = $4 and to_offset >= $7"
     " and business_day >= settled.judged_at($1, $4, $7 - 1) order by business_day",
     restore_cutoff},
    {"select kafka_offset from settled.rejects"
     " where partition = $1 and topic = $4 and kafka_offset >= $7 and kafka_offset < $8"
     " and business_day between settled.judged_at($1, $4, $7) and $2 order by kafka_offset",
     restore_reject},
};

static enum store_result read_all(struct past_read *p, struct sql_params params,
                                  const struct past_query *sources, size_t count, struct error *e)
{
    enum store_result result = STORE_OK;
    for (size_t i = 0; i < count && result == STORE_OK; i++)
        result = sql_each(p->store, sources[i].query, params, sources[i].visit, p, e);
    return result;
}

// The rows of its month have left the tables.
static enum store_result check_retired(struct past_read *p, day_t day, struct error *e)
{
    PGresult *row = NULL;
    char text[DAY_TEXT_SIZE];
    enum store_result result =
        sql_run(p->store,
                "select coalesce('see ' || archive, 'they stand in the detached tables,"
                " settled.settlements' || to_char(month, '_YYYY_MM') || ' and others')"
                " from settled.retired_months where month = date_trunc('month', $1::timestamp)",
                SQL_PARAMS(sql_day(day)), &row, e);
    if (result == STORE_OK && PQntuples(row) > 0)
        result =
            store_say(p->store, STORE_FAILED, ERROR_CONFIG, e, "the tables of %.7s are retired: %s",
                      calendar_format_day(day, text), get_string(row, 0, 0));
    PQclear(row);
    return result;
}

static enum store_result not_settled(const struct past_read *p, int32_t shard, day_t day,
                                     struct error *e)
{
    char text[DAY_TEXT_SIZE];
    return store_say(p->store, STORE_FAILED, ERROR_CONFIG, e,
                     "shard %" PRId32
                     " has not settled %s; its figures are not final until it has: see "
                     "settled.day_closes",
                     shard, calendar_format_day(day, text));
}

// The fold as it was before the settlement.
static enum store_result restore_before(struct past_read *p, const struct past_question *q,
                                        struct error *e)
{
    const struct past *past = p->past;
    assert(past->settled && past->price_book[0] != '\0'); // the list below was read
    struct sql_params params =
        SQL_PARAMS(sql_int4(q->shard), sql_day(q->day), sql_slice(q->account_id),
                   sql_text(p->store->topics[INPUT_CALLS]), sql_int8(past->sequence),
                   sql_int8(past->cutoffs[INPUT_PURCHASES].to_offset),
                   sql_int8(p->state.calls_from), sql_int8(past->cutoffs[INPUT_CALLS].to_offset));
    enum store_result result = read_all(p, params, before, sizeof before / sizeof *before, e);
    if (result != STORE_OK)
        return result;
    if (fold_restore_state(p->fold, &p->state, e) ||
        fold_restore_account(p->fold, &p->account, NULL, e))
        return STORE_FAILED;
    result = read_all(p, params, to_fold, sizeof to_fold / sizeof *to_fold, e);
    if (result == STORE_OK && p->account.state == ACCOUNT_SUSPENDED &&
        fold_restore_span(p->fold, q->account_id, (struct span){p->suspended_since, INT64_MAX}, e))
        return STORE_FAILED;
    return result;
}

static enum store_result restore_past(struct past_read *p, const struct past_question *q,
                                      struct error *e)
{
    struct sql_params params =
        SQL_PARAMS(sql_int4(q->shard), sql_day(q->day), sql_slice(q->account_id),
                   sql_text(p->store->topics[INPUT_CALLS]));
    enum store_result result = check_retired(p, q->day, e);
    if (result == STORE_OK)
        result = read_all(p, params, recorded, sizeof recorded / sizeof *recorded, e);
    if (result != STORE_OK)
        return result;
    if (p->past->price_book[0] == '\0')
        return not_settled(p, q->shard, q->day, e);
    return p->past->settled ? restore_before(p, q, e) : STORE_OK;
}

enum store_result store_restore_past(struct store *store, const struct past_question *question,
                                     struct fold *fold, struct past *out, struct error *e)
{
    store = store_of(store, question->shard);
    assert(fold_account_count(fold) == 0); // a fresh one
    *out = (struct past){0};
    struct past_read p = {.store = store,
                          .fold = fold,
                          .past = out,
                          .account_id = question->account_id,
                          .account = {.id = question->account_id},
                          .state = {.day = question->day, .horizon = question->day}};
    enum store_result result = store_ready(store, e);
    if (result == STORE_OK)
        result = store_topics(store, e);
    if (result == STORE_OK)
        result = store_script(store, "begin isolation level repeatable read read only", e);
    if (result == STORE_OK)
        result = restore_past(&p, question, e);
    if (result == STORE_OK)
        result = store_script(store, "commit", e);
    return store_undo(store, result);
}

void store_past_release(struct past *past)
{
    for (size_t i = 0; i < past->line_count; i++)
        free(past->lines[i].package_id);
    free(past->lines);
    *past = (struct past){0};
}

static const char held_query[] =
    "select exists (select from settled.accounts where account_id = $1)::int,"
    " count(*), coalesce(sum(remaining) filter (where service = $2 and valid_from <= $3"
    "  and valid_until > $3), 0)::bigint"
    " from settled.packages where account_id = $1";

enum store_result store_held_units(struct store *store, const struct held_question *question,
                                   int64_t *units, struct error *e)
{
    PGresult *rows = NULL;
    enum store_result result = store_of_account(store, question->account_id, &store, e);
    if (result == STORE_OK)
        result = store_ready(store, e);
    if (result == STORE_OK)
        result = sql_run(store, held_query,
                         SQL_PARAMS(sql_slice(question->account_id),
                                    sql_text(service_symbol(question->service)),
                                    sql_time(question->at_ms)),
                         &rows, e);
    if (result == STORE_OK && get_int4(rows, 0, 0) == 0 && get_int8(rows, 0, 1) == 0) {
        char shown[3 * ID_SIZE_MAX];
        error_set(e, ERROR_CONFIG, "there is no account %s: nothing is recorded of it",
                  text_show(question->account_id, shown, sizeof shown));
        result = STORE_FAILED;
    } else if (result == STORE_OK) {
        *units = get_int8(rows, 0, 2);
    }
    PQclear(rows);
    return result;
}
