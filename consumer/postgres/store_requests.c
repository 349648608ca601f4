// What operators ask for, and the rejects it is about.
#include "consumer/postgres/store_deployment.h"
#include "consumer/postgres/store_restore.h"
#include "consumer/postgres/store_sql.h"

#include "consumer/base/memory.h"
#include "pricing/symbol.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const states[] = {[REQUEST_SENDING] = "SENDING",
                                     [REQUEST_WAITING] = "WAITING",
                                     [REQUEST_DONE] = "DONE",
                                     [REQUEST_REFUSED] = "REFUSED"};
static_assert(sizeof states / sizeof *states == REQUEST_REFUSED + 1, "each state has its symbol");

const char *request_state_symbol(enum request_state state)
{
    assert(state <= REQUEST_REFUSED);
    return states[state];
}

static int read_state(const struct store *store, const char *symbol, enum request_state *out,
                      struct error *e)
{
    int found = symbol_find(states, sizeof states / sizeof *states, symbol);
    if (found < 0)
        return store_unknown(store, "state of a request", symbol, e);
    *out = (enum request_state)found;
    return 0;
}

static int read_kind(const struct store *store, const char *symbol, enum decision_kind *out,
                     struct error *e)
{
    return decision_parse(symbol, out) ? 0 : store_unknown(store, "kind of decision", symbol, e);
}

static int read_input(const struct store *store, const char *topic, enum input *out,
                      struct error *e)
{
    *out = store_input_of(store, topic);
    return *out != INPUT_COUNT ? 0 : store_unknown(store, "input topic", topic, e);
}

// settled.ask numbers the requests of each database so that they tell it.
static struct store *of_request(const struct store *store, int64_t id)
{
    return store_part(store, id > 0 ? (int)(id % store_parts(store)) : 0);
}

// ---- the owner's side ----

static int read_request(struct store *store, int32_t shard, const PGresult *rows, int i,
                        struct request *out, struct error *e)
{
    *out = (struct request){.id = get_int8(rows, i, 0), .new_offset = -1};
    struct decision *d = &out->decision;
    d->request = out->id;
    d->offsets = get_int8_array(rows, i, 3, store->arrays, &d->count);
    d->operator_name = get_string(rows, i, 4);
    d->as_of = get_time(rows, i, 5);
    if (!get_null(rows, i, 7))
        out->new_offset = get_int8(rows, i, 7);
    enum reject_reason *reasons = arena_alloc(store->arrays, d->count * sizeof *reasons);
    out->reasons = reasons;
    if (read_kind(store, get_string(rows, i, 1), &d->kind, e) ||
        read_input(store, get_string(rows, i, 2), &d->input, e) ||
        restore_reasons(store, get_string(rows, i, 6), d->count, reasons, e))
        return error_context(e, "request %" PRId64, out->id);
    char *content = arena_alloc(store->arrays, DECISION_CONTENT_SIZE);
    decision_content(
        &(struct decided_records){store->topics[d->input], shard, d->count, d->offsets}, content);
    d->content = content;
    return 0;
}

enum store_result store_load_requests(struct store *store, int32_t shard, struct request *out,
                                      size_t capacity, size_t *count, struct error *e)
{
    store = store_of(store, shard);
    assert(capacity > 0);
    *count = 0;
    enum store_result result = store_ready(store, e);
    if (result == STORE_OK)
        result = store_topics(store, e);
    if (result != STORE_OK)
        return store_undo(store, result);
    result = sql_run(store,
                     "select q.id, q.kind, q.topic, array_agg(s.kafka_offset order by "
                     "s.kafka_offset), q.operator, q.requested_at,"
                     " string_agg(coalesce(r.reason, '-'), ' ' order by s.kafka_offset),"
                     " max(s.new_offset) filter (where s.new_partition = q.shard)"
                     " from (select * from settled.requests where shard = $1 and state = 'WAITING'"
                     "       order by kind = 'REFUSE', id limit $2) q"
                     " join settled.request_records s on s.request = q.id"
                     " left join settled.rejects r on r.topic = q.topic and r.partition = q.shard"
                     "  and r.kafka_offset = s.kafka_offset and r.decision is null"
                     " group by q.id, q.kind, q.topic, q.operator, q.requested_at"
                     " order by q.kind = 'REFUSE', q.id",
                     SQL_PARAMS(sql_int4(shard), sql_int8((int64_t)capacity)), &store->answer, e);
    if (result != STORE_OK)
        return store_undo(store, result);
    for (int i = 0; i < PQntuples(store->answer); i++)
        if (read_request(store, shard, store->answer, i, &out[i], e) < 0)
            return STORE_FAILED;
    *count = (size_t)PQntuples(store->answer);
    return STORE_OK;
}

static int read_undecided(const struct store *store, const PGresult *row, int i,
                          struct undecided_rejects *out, struct error *e)
{
    *out = (struct undecided_rejects){.input = store_input_of(store, get_string(row, i, 0)),
                                      .schema_id = get_null(row, i, 2) ? -1 : get_int8(row, i, 2),
                                      .count = get_int8(row, i, 3),
                                      .first_offset = get_int8(row, i, 4)};
    if (out->input == INPUT_COUNT)
        return store_unknown(store, "input topic", get_string(row, i, 0), e);
    if (!reject_parse(get_string(row, i, 1), &out->reason))
        return store_unknown(store, "reject reason", get_string(row, i, 1), e);
    return 0;
}

enum store_result store_load_undecided(struct store *store, int32_t shard,
                                       struct undecided_rejects *out, size_t capacity,
                                       size_t *count, struct error *e)
{
    store = store_of(store, shard);
    PGresult *rows = NULL;
    enum store_result result = store_ready(store, e);
    *count = 0;
    if (result == STORE_OK)
        result = store_topics(store, e);
    if (result == STORE_OK)
        result = sql_run(
            store,
            "select r.topic, r.reason, r.schema_id, count(*), min(r.kafka_offset)"
            " from settled.shard_logs l join settled.shards s using (shard)"
            " join settled.rejects r on r.topic = l.topic and r.partition = l.shard"
            "   and r.kafka_offset >= l.from_offset and r.business_day >= s.open_day"
            " where l.shard = $1 and r.decision is null group by 1, 2, 3 order by 4 desc, 5 limit "
            "$2",
            SQL_PARAMS(sql_int4(shard), sql_int8((int64_t)capacity)), &rows, e);
    for (int i = 0; result == STORE_OK && i < PQntuples(rows); i++) {
        if (read_undecided(store, rows, i, &out[i], e) != 0)
            result = STORE_FAILED;
        else
            *count = (size_t)i + 1;
    }
    PQclear(rows);
    return store_undo(store, result);
}

enum store_result store_refuse_request(struct store *store, int64_t id, const char *why,
                                       struct error *e)
{
    store = of_request(store, id);
    enum store_result result = store_ready(store, e);
    if (result != STORE_OK)
        return result;
    char answer[ERROR_TEXT_SIZE];
    return store_undo(
        store, sql_run(store,
                       "with refused as (update settled.requests set state = 'REFUSED', answer = $2"
                       "  where id = $1 and state = 'WAITING' returning id)"
                       " update settled.request_records r set stands = false from refused"
                       " where r.request = refused.id",
                       SQL_PARAMS(sql_int8(id), sql_clean(why, answer, sizeof answer)), NULL, e));
}

enum store_result store_note_waiting(struct store *store, int32_t shard, int64_t epoch,
                                     const struct waiting_record *record, struct error *e)
{
    store = store_of(store, shard);
    char answer[ERROR_TEXT_SIZE];
    enum store_result result = store_ready(store, e);
    if (result == STORE_OK)
        result = store_topics(store, e);
    if (result != STORE_OK)
        return store_undo(store, result);
    return store_undo(
        store,
        sql_run(store,
                "insert into settled.waiting as w (shard, topic, kafka_offset, schema_id, answer)"
                " select shard, $2, $3, $4, $5 from settled.shards where shard = $1 and epoch = $6"
                " on conflict (shard, topic) do update set kafka_offset = excluded.kafka_offset,"
                " since = case when w.schema_id = excluded.schema_id then w.since else now() end,"
                " schema_id = excluded.schema_id, answer = excluded.answer, noted_at = now()",
                SQL_PARAMS(sql_int4(shard), sql_text(store->topics[record->input]),
                           sql_int8(record->offset), sql_int8(record->schema_id),
                           sql_clean(record->answer, answer, sizeof answer), sql_int8(epoch)),
                NULL, e));
}

// ---- the operator's side ----

// Offsets as the text of an array.
static const char *array_text(const struct ask *ask, struct bytes *out)
{
    char number[24];
    out->used = 0;
    for (size_t i = 0; i < ask->count; i++) {
        int size =
            snprintf(number, sizeof number, "%c%" PRId64, i == 0 ? '{' : ',', ask->offsets[i]);
        bytes_append(out, number, (size_t)size);
    }
    bytes_append(out, "}", sizeof "}");
    return (const char *)out->data;
}

// Runs a function of the database about the request; its last column is the trouble, or null.
static enum store_result run_ask(struct store *store, const struct ask *ask, const char *sql,
                                 PGresult **row, struct error *e)
{
    struct bytes offsets = {0};
    assert(ask->input < INPUT_COUNT);
    assert(ask->count > 0);
    enum store_result result = store_ready(store, e);
    if (result == STORE_OK)
        result = store_topics(store, e);
    if (result == STORE_OK)
        result = sql_run(store, sql,
                         SQL_PARAMS(sql_text(decision_symbol(ask->kind)),
                                    sql_text(store->topics[ask->input]), sql_int4(ask->shard),
                                    sql_text(array_text(ask, &offsets)), sql_int8(ask->patience_ms),
                                    sql_time(ask->now_ms)),
                         row, e);
    bytes_release(&offsets);
    if (result != STORE_OK)
        return result;
    int last = PQnfields(*row) - 1;
    if (!get_null(*row, 0, last))
        result = store_say(store, STORE_FAILED, ERROR_CONFIG, e, "%s", get_string(*row, 0, last));
    return result;
}

enum store_result store_add_request(struct store *store, const struct ask *ask, struct asked *out,
                                    struct error *e)
{
    store = store_of(store, ask->shard);
    PGresult *row = NULL;
    enum store_result result = run_ask(store, ask,
                                       "select request, state, made::int4, trouble from settled.ask"
                                       " ($1, $2, $3, $4::bigint[], $6, $5)",
                                       &row, e);
    if (result == STORE_OK) {
        out->id = get_int8(row, 0, 0);
        out->made = get_int4(row, 0, 2) != 0;
        if (read_state(store, get_string(row, 0, 1), &out->state, e) != 0)
            result = STORE_FAILED;
    }
    PQclear(row);
    return store_undo(store, result);
}

enum store_result store_try_request(struct store *store, const struct ask *ask, struct error *e)
{
    store = store_of(store, ask->shard);
    PGresult *row = NULL;
    enum store_result result = run_ask(store, ask,
                                       "select trouble from settled.trouble_with"
                                       " ($1, $2, $3, $4::bigint[], $5)",
                                       &row, e);
    PQclear(row);
    return store_undo(store, result);
}

enum store_result store_record_sent(struct store *store, int64_t id, struct sent_record sent,
                                    struct error *e)
{
    store = of_request(store, id);
    PGresult *row = NULL;
    enum store_result result = store_ready(store, e);
    if (result == STORE_OK)
        result = sql_run(store, "select settled.record_sent($1, $2, $3, $4)::int4",
                         SQL_PARAMS(sql_int8(id), sql_int8(sent.from), sql_int4(sent.partition),
                                    sql_int8(sent.offset)),
                         &row, e);
    if (result == STORE_OK && get_int4(row, 0, 0) == 0)
        result = store_say(store, STORE_FAILED, ERROR_CONFIG, e,
                           "request %" PRId64
                           " is not being sent: another \"settled rejects requeue\" took it over",
                           id);
    PQclear(row);
    return store_undo(store, result);
}

enum store_result store_record_lost(struct store *store, int64_t id, int64_t offset,
                                    struct error *e)
{
    store = of_request(store, id);
    enum store_result result = store_ready(store, e);
    if (result == STORE_OK)
        result = sql_run(store, "select settled.record_lost($1, $2)",
                         SQL_PARAMS(sql_int8(id), sql_int8(offset)), NULL, e);
    return store_undo(store, result);
}

enum store_result store_load_answer(struct store *store, int64_t id, struct request_answer *out,
                                    struct error *e)
{
    store = of_request(store, id);
    enum store_result result = store_ready(store, e);
    if (result != STORE_OK)
        return result;
    result = sql_run(store, "select state, decision, answer from settled.requests where id = $1",
                     SQL_PARAMS(sql_int8(id)), &store->answer, e);
    if (result != STORE_OK)
        return store_undo(store, result);
    if (PQntuples(store->answer) == 0)
        return store_say(store, STORE_FAILED, ERROR_CONFIG, e, "there is no request %" PRId64, id);
    *out = (struct request_answer){
        .decision = get_null(store->answer, 0, 1) ? 0 : get_int8(store->answer, 0, 1),
        .text = get_string(store->answer, 0, 2)};
    if (read_state(store, get_string(store->answer, 0, 0), &out->state, e))
        return STORE_FAILED;
    return STORE_OK;
}

// ---- rejects ----

struct reject_listing {
    const struct store *store;
    store_reject_visit *visit;
    void *context;
};

#define PLACE_OF(row)                                                                              \
    row ".topic, " row ".partition, " row ".kafka_offset, " row ".received_at, " row               \
        ".reason, " row ".detail, " row ".account_id, " row ".record_id"

// The columns of PLACE_OF, from column `at` on.
static int read_place(const struct store *store, const PGresult *rows, int i, int at,
                      struct reject_row *out, struct error *e)
{
    *out = (struct reject_row){
        .topic = get_string(rows, i, at),
        .shard = get_int4(rows, i, at + 1),
        .offset = get_int8(rows, i, at + 2),
        .received_at = get_time(rows, i, at + 3),
        .reason = get_string(rows, i, at + 4),
        .detail = get_string(rows, i, at + 5),
        .account_id = get_null(rows, i, at + 6) ? NULL : get_string(rows, i, at + 6),
        .record_id = get_null(rows, i, at + 7) ? NULL : get_string(rows, i, at + 7),
    };
    return read_input(store, out->topic, &out->input, e);
}

static int list_one(void *context, const PGresult *rows, int i, struct error *e)
{
    const struct reject_listing *listing = context;
    struct reject_row reject;
    if (read_place(listing->store, rows, i, 0, &reject, e))
        return -1;
    reject.decision = get_null(rows, i, 8) ? 0 : get_int8(rows, i, 8);
    reject.request = get_null(rows, i, 9) ? 0 : get_int8(rows, i, 9);
    reject.waiting = get_int4(rows, i, 12) != 0;
    reject.sent = !get_null(rows, i, 13);
    if (reject.request &&
        (read_kind(listing->store, get_string(rows, i, 10), &reject.request_kind, e) ||
         read_state(listing->store, get_string(rows, i, 11), &reject.request_state, e)))
        return error_context(e, "request %" PRId64, reject.request);
    return listing->visit(listing->context, &reject, e);
}

// Rejects, and the records that wait for their schemas; $1 to $10 are a filter.
#define REJECTS_OF_FILTER                                                                          \
    "with r as (select topic, partition, kafka_offset, reason, detail, account_id, record_id,"     \
    "  received_at, decision, schema_id, false as waiting from settled.rejects"                    \
    " union all select w.topic, w.shard, w.kafka_offset, 'WAITING', 'for the schema of id ' ||"    \
    "  w.schema_id || ': ' || w.answer, null, null, w.since, null, w.schema_id, true"              \
    "  from settled.waiting w join settled.shard_logs l"                                           \
    "  on l.shard = w.shard and l.topic = w.topic"                                                 \
    "  where $10 and w.kafka_offset >= l.next_offset)"
#define FILTER_OF_REJECTS                                                                          \
    " where ($1 is null or r.topic = $1) and ($2 is null or r.partition = $2)"                     \
    "   and ($3 is null or r.reason = $3) and ($4 is null or r.account_id = $4)"                   \
    "   and ($5 is null or r.received_at >= $5) and ($6 is null or r.received_at < $6)"            \
    "   and (not $7 or r.decision is null) and ($9 is null or r.kafka_offset = $9)"

// `by` is $11, and the place behind which a list begins is $12 to $14; a query need not have them.
static struct sql_params params_of(const struct store *store, const struct reject_filter *f,
                                   const char *by, struct sql_row *row)
{
    const char *account = f->account_id ? f->account_id : "";
    assert(f->input < INPUT_COUNT);
    sql_row_set(
        row,
        SQL_PARAMS(
            sql_given(f->by_input, sql_text(store->topics[f->input])),
            sql_given(f->by_shard, sql_int4(f->shard)),
            sql_given(f->reason != REJECT_NONE, sql_text(reject_symbol(f->reason))),
            // There is room for any id that an account can have.
            sql_given(f->account_id != NULL, sql_clean(account, row->text, sizeof row->text)),
            sql_given(f->received_from != 0, sql_time(f->received_from)),
            sql_given(f->received_to != 0, sql_time(f->received_to)), sql_bool(f->open_only),
            sql_given(f->limit > 0, sql_int8((int64_t)f->limit)),
            sql_given(f->by_offset, sql_int8(f->offset)), sql_bool(f->waiting), sql_text(by),
            sql_text(f->after.topic), sql_int4(f->after.partition), sql_int8(f->after.offset)));
    return sql_row_params(row);
}

static enum store_result read_rejects(struct store *store, const struct reject_filter *filter,
                                      struct reject_listing *listing, struct error *e)
{
    struct sql_row row;
    return sql_each(
        store,
        REJECTS_OF_FILTER " select " PLACE_OF(
            "r") ", r.decision, q.id, q.kind, q.state, r.waiting::int4, s.new_offset"
                 " from r left join (settled.request_records s join settled.requests q on q.id = "
                 "s.request)"
                 "   on s.topic = r.topic and s.shard = r.partition and s.kafka_offset = "
                 "r.kafka_offset"
                 "  and s.stands and s.subject <> 'PASS'"
                 "  and case s.subject when 'REFUSE' then r.waiting or r.decision = q.decision"
                 "      else not r.waiting end" FILTER_OF_REJECTS
                 " and ($12 is null or (r.topic, r.partition, r.kafka_offset) > ($12, $13, $14))"
                 " order by r.topic, r.partition, r.kafka_offset limit $8",
        params_of(store, filter, NULL, &row), list_one, listing, e);
}

static enum store_result begin_reading(struct store *store, struct error *e)
{
    enum store_result result = store_ready(store, e);
    if (result == STORE_OK)
        result = store_topics(store, e);
    if (result == STORE_OK)
        result = store_script(store, "begin isolation level repeatable read read only", e);
    return result;
}

static enum store_result list_part(struct store *store, const struct reject_filter *filter,
                                   store_reject_visit *visit, void *context, struct error *e)
{
    struct reject_listing listing = {store, visit, context};
    enum store_result result = begin_reading(store, e);
    if (result == STORE_OK)
        result = read_rejects(store, filter, &listing, e);
    if (result == STORE_OK)
        result = store_script(store, "commit", e);
    return store_undo(store, result);
}

// Lists of one shard after the other, each in its database.
struct shards_listing {
    struct store *store;
    const struct reject_filter *filter;
    store_reject_visit *visit;
    void *context;
    size_t visited;
};

static int count_reject(void *context, const struct reject_row *reject, struct error *e)
{
    struct shards_listing *l = context;
    l->visited++;
    return l->visit(l->context, reject, e);
}

static bool is_full(const struct shards_listing *l)
{
    return l->filter->limit > 0 && l->visited >= l->filter->limit;
}

// Behind `after`, which is of the same topic.
static enum store_result list_shard(struct shards_listing *l, enum input input, int32_t shard,
                                    struct reject_place after, struct error *e)
{
    struct reject_filter filter = *l->filter;
    filter.by_input = filter.by_shard = true;
    filter.input = input;
    filter.shard = shard;
    filter.after = after;
    filter.limit -= filter.limit > 0 ? l->visited : 0;
    return list_part(store_of(l->store, shard), &filter, count_reject, l, e);
}

// The inputs in the order of the names of their topics.
static void order_inputs(const struct store *store, enum input order[INPUT_COUNT])
{
    for (enum input i = 0; i < INPUT_COUNT; i++) {
        size_t at = i;
        for (; at > 0 && strcmp(store->topics[order[at - 1]], store->topics[i]) > 0; at--)
            order[at] = order[at - 1];
        order[at] = i;
    }
}

static enum store_result list_input(struct shards_listing *l, enum input input, struct error *e)
{
    const struct store *home = store_part(l->store, 0);
    struct reject_place after = l->filter->after;
    enum store_result result = STORE_OK;
    int order = after.topic ? strcmp(home->topics[input], after.topic) : 1;
    if (order < 0 || (l->filter->by_input && l->filter->input != input))
        return STORE_OK;
    if (order > 0)
        after = (struct reject_place){0};
    for (int32_t p = after.partition; p < home->partitions && result == STORE_OK && !is_full(l);
         p++)
        result = list_shard(l, input, p, after, e);
    return result;
}

static enum store_result list_all(struct shards_listing *l, struct error *e)
{
    struct store *home = store_part(l->store, 0);
    enum input order[INPUT_COUNT];
    enum store_result result = store_ready(home, e);
    if (result == STORE_OK)
        result = store_topics(home, e);
    if (result != STORE_OK)
        return store_undo(home, result);
    order_inputs(home, order);
    for (int i = 0; i < INPUT_COUNT && result == STORE_OK && !is_full(l); i++)
        result = list_input(l, order[i], e);
    return result;
}

enum store_result store_list_rejects(struct store *store, const struct reject_filter *filter,
                                     store_reject_visit *visit, void *context, struct error *e)
{
    struct shards_listing all = {store, filter, visit, context, 0};
    if (store_parts(store) > 1 && !filter->by_shard)
        return list_all(&all, e);
    return list_part(store_of(store, filter->by_shard ? filter->shard : 0), filter, visit, context,
                     e);
}

// ---- groups of rejects ----

struct group_listing {
    const struct store *store;
    store_reject_group_visit *visit;
    void *context;
};

static int list_group(void *context, const PGresult *rows, int i, struct error *e)
{
    const struct group_listing *listing = context;
    struct reject_group_row group = {.key = get_string(rows, i, 0),
                                     .count = get_int8(rows, i, 1),
                                     .accounts = get_int8(rows, i, 2),
                                     .reasons = get_string(rows, i, 3)};
    if (read_place(listing->store, rows, i, 4, &group.first, e) ||
        read_place(listing->store, rows, i, 12, &group.last, e))
        return -1;
    return listing->visit(listing->context, &group, e);
}

static enum store_result read_groups(struct store *store, const struct reject_filter *filter,
                                     const char *by, struct group_listing *listing, struct error *e)
{
    struct sql_row row;
    return sql_each(
        store,
        REJECTS_OF_FILTER
        ", f as (select case $11 when 'reason' then r.reason"
        "   when 'schema' then coalesce(r.schema_id::text, '-')"
        "   when 'account' then coalesce(r.account_id, '-') else r.topic end as key, r.*"
        "  from r" FILTER_OF_REJECTS "), g as (select key, count(*) as rejects,"
        "   count(distinct account_id) as accounts, string_agg(distinct reason, ' ') as reasons"
        "  from f group by key),"
        " a as (select distinct on (key) * from f"
        "  order by key, received_at, topic, partition, kafka_offset),"
        " z as (select distinct on (key) * from f"
        "  order by key, received_at desc, topic desc, partition desc, kafka_offset desc)"
        " select g.key, g.rejects, g.accounts, g.reasons, " PLACE_OF("a") ", " PLACE_OF(
            "z") " from g join a using (key) join z using (key) order by g.rejects desc, g.key "
                 "limit $8",
        params_of(store, filter, by, &row), list_group, listing, e);
}

static enum store_result group_part(struct store *store, const struct reject_filter *filter,
                                    const char *by, store_reject_group_visit *visit, void *context,
                                    struct error *e)
{
    struct group_listing listing = {store, visit, context};
    enum store_result result = begin_reading(store, e);
    if (result == STORE_OK)
        result = read_groups(store, filter, by, &listing, e);
    if (result == STORE_OK)
        result = store_script(store, "commit", e);
    return store_undo(store, result);
}

// Groups of several databases, made one.
struct merged_groups {
    struct arena *arena; // behind all strings
    size_t count, capacity;
    struct reject_group_row *list;
};

static const char *kept_copy(struct arena *arena, const char *text)
{
    return text ? arena_copy(arena, text, strlen(text)) : NULL;
}

static struct reject_row keep_place(struct arena *arena, const struct reject_row *row)
{
    struct reject_row kept = *row;
    kept.topic = kept_copy(arena, row->topic);
    kept.reason = kept_copy(arena, row->reason);
    kept.detail = kept_copy(arena, row->detail);
    kept.account_id = kept_copy(arena, row->account_id);
    kept.record_id = kept_copy(arena, row->record_id);
    return kept;
}

static bool came_before(const struct reject_row *a, const struct reject_row *b)
{
    int topics = strcmp(a->topic, b->topic);
    if (a->received_at != b->received_at)
        return a->received_at < b->received_at;
    if (topics != 0 || a->shard != b->shard)
        return topics < 0 || (topics == 0 && a->shard < b->shard);
    return a->offset < b->offset;
}

// The first words of two lists; a list that is over comes last.
static int compare_words(const char *a, const char *b)
{
    size_t first = strcspn(a, " "), second = strcspn(b, " ");
    if (first == 0 || second == 0)
        return first > 0 ? -1 : second > 0;
    int order = memcmp(a, b, first < second ? first : second);
    return order ? order : (first > second) - (first < second);
}

static char *move_word(char *to, const char **from)
{
    size_t size = strcspn(*from, " ");
    to = mempcpy(to, *from, size);
    *to++ = ' ';
    *from += size + ((*from)[size] == ' ');
    return to;
}

// The words of both, which are sorted and of which no one is twice in either.
static const char *merge_words(struct arena *arena, const char *a, const char *b)
{
    char *out = arena_alloc(arena, strlen(a) + strlen(b) + 2), *to = out;
    while (*a || *b) {
        int order = compare_words(a, b);
        char *end = move_word(to, order <= 0 ? &a : &b);
        if (order == 0)
            (void)move_word(to, &b); // the same word
        to = end;
    }
    to[to > out ? -1 : 0] = '\0';
    return out;
}

static int merge_group(void *context, const struct reject_group_row *row, struct error *e)
{
    struct merged_groups *m = context;
    size_t i = 0;
    (void)e;
    while (i < m->count && strcmp(m->list[i].key, row->key) != 0)
        i++;
    if (i == m->count) {
        m->list = memory_reserve(m->list, m->count, &m->capacity, sizeof *m->list);
        m->list[m->count++] = (struct reject_group_row){.key = kept_copy(m->arena, row->key),
                                                        .reasons = "",
                                                        .first = keep_place(m->arena, &row->first),
                                                        .last = keep_place(m->arena, &row->last)};
    }
    struct reject_group_row *group = &m->list[i];
    group->count += row->count;
    group->accounts += row->accounts;
    group->reasons = merge_words(m->arena, group->reasons, row->reasons);
    if (came_before(&row->first, &group->first))
        group->first = keep_place(m->arena, &row->first);
    if (came_before(&group->last, &row->last))
        group->last = keep_place(m->arena, &row->last);
    return 0;
}

static int compare_groups(const void *left, const void *right)
{
    const struct reject_group_row *a = left, *b = right;
    if (a->count != b->count)
        return a->count > b->count ? -1 : 1;
    return strcmp(a->key, b->key);
}

static enum store_result group_all(struct store *store, const struct reject_filter *filter,
                                   const char *by, store_reject_group_visit *visit, void *context,
                                   struct error *e)
{
    struct merged_groups merged = {.arena = arena_create()};
    struct reject_filter whole = *filter;
    enum store_result result = STORE_OK;
    if (!merged.arena)
        abort(); // out of memory
    whole.limit = 0;
    for (int i = 0; i < store_parts(store) && result == STORE_OK; i++)
        result = group_part(store_part(store, i), &whole, by, merge_group, &merged, e);
    if (merged.count > 0)
        qsort(merged.list, merged.count, sizeof *merged.list, compare_groups);
    for (size_t i = 0; i < merged.count && result == STORE_OK; i++)
        if ((filter->limit == 0 || i < filter->limit) && visit(context, &merged.list[i], e))
            result = STORE_FAILED;
    free(merged.list);
    arena_destroy(merged.arena);
    return result;
}

enum store_result store_group_rejects(struct store *store, const struct reject_filter *filter,
                                      const char *by, store_reject_group_visit *visit,
                                      void *context, struct error *e)
{
    if (store_parts(store) > 1 && !filter->by_shard)
        return group_all(store, filter, by, visit, context, e);
    return group_part(store_of(store, filter->by_shard ? filter->shard : 0), filter, by, visit,
                      context, e);
}

// ---- a credit ----

// An account that has bought packages but was neither credited nor settled yet has no row of its
// own.
static const char credit_query[] =
    "select c.kind, c.amount, a.account_id is not null or exists"
    " (select 1 from settled.packages p where p.account_id = $1)"
    " from (select 1) as one left join settled.accounts a on a.account_id = $1"
    " left join settled.credits c on c.account_id = $1 and c.credit_id = $2";

enum store_result store_find_credit(struct store *store, const char *account_id,
                                    const char *credit_id, struct found_credit *out,
                                    struct error *e)
{
    PGresult *row = NULL;
    *out = (struct found_credit){0};
    enum store_result result = store_of_account(store, slice_text(account_id), &store, e);
    if (result == STORE_OK)
        result = store_ready(store, e);
    if (result == STORE_OK)
        result = sql_run(store, credit_query, SQL_PARAMS(sql_text(account_id), sql_text(credit_id)),
                         &row, e);
    if (result == STORE_OK) {
        assert(PQntuples(row) == 1); // both are keys
        out->known = *PQgetvalue(row, 0, 2) == 1;
        out->accepted = !get_null(row, 0, 0);
    }
    if (result == STORE_OK && out->accepted) {
        out->amount = get_int8(row, 0, 1);
        if (!credit_kind_parse(get_string(row, 0, 0), &out->kind)) {
            store_unknown(store, "kind of credit", get_string(row, 0, 0), e);
            result = STORE_FAILED;
        }
    }
    PQclear(row);
    return store_undo(store, result);
}
