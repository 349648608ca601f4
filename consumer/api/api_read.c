#include "consumer/api/api_read.h"

#include "consumer/api/api_parts.h"
#include "consumer/api/api_rows.h"
#include "consumer/api/api_shards.h"
#include "consumer/postgres/store_sql.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static const char as_of_query[] = "select now() as time, " API_FINAL_THROUGH;

// An account that has only bought packages has no row of its own yet. Of the first column it is
// known whether there is one; it is not shown.
static const char as_of_account_query[] =
    "select (exists (select from settled.accounts where account_id = $1)"
    "  or exists (select from settled.packages where account_id = $1))::int,"
    " now() as time, " API_FINAL_THROUGH ", $2 as shard, s.open_day,"
    " coalesce((select json_object_agg(l.topic, l.next_offset order by l.topic)"
    "   from settled.shard_logs l where l.shard = $2), '{}'::json) as offsets,"
    " (select b.sha256 from settled.price_books b"
    "   where b.effective_from <= coalesce(s.open_day, d.first_day)"
    "   order by b.effective_from desc limit 1) as price_book"
    " from settled.deployment d left join settled.shards s on s.shard = $2";

enum { BEGIN, AS_OF, QUERIES }; // what is sent, in this order
enum { FINAL = 1 }; // the column of as_of_query

// An answer is as of the daemon's clock, which need not be that of the database: `from` is when the
// reading began. A command has no clock of its own.
static void put_time(const struct api_call *call, int64_t from)
{
    char text[INSTANT_TEXT_SIZE];
    if (call->now)
        json_object_set_new(
            call->as_of, "time",
            json_string(calendar_format_instant(from, call->fixed->offset_ms, text)));
}

static int take_as_of(struct api_call *call, const PGresult *rows, struct error *e)
{
    bool recorded = !call->account || get_int4(rows, 0, 0);
    if (!recorded && !call->known)
        return api_refuse(call, API_NOT_FOUND, e,
                          "there is no account %s: neither a credit, a package nor a settlement of "
                          "it is recorded",
                          call->account);
    call->as_of = api_row_json(rows, 0, call->account ? 1 : 0, call->fixed->offset_ms);
    call->final_through = json_incref(json_object_get(call->as_of, "final_through"));
    json_object_del(call->as_of, "final_through");
    return call->as_of ? 0 : error_set(e, ERROR_UNAVAILABLE, "memory is short");
}

// Of several databases the oldest open day is that of the one in which it is oldest.
static void lower_final(struct api_call *call, const PGresult *rows)
{
    char day[DAY_TEXT_SIZE];
    const char *so_far = json_string_value(call->final_through);
    bool none = !rows || get_null(rows, 0, FINAL);
    if (!so_far || (!none && strcmp(calendar_format_day(get_day(rows, 0, FINAL), day), so_far) > 0))
        return;
    json_decref(call->final_through);
    call->final_through = none ? json_null() : json_string(day);
}

struct part_reading {
    struct api_call *call;
    struct store *store; // the part that is asked
    const struct api_query *queries;
    int count;
    bool account; // what is asked is of the call's account
};

static enum store_result send_all(const struct part_reading *r, struct error *e)
{
    struct store *store = r->store;
    struct api_call *call = r->call;
    enum store_result result =
        pipe_send(store, "begin isolation level repeatable read read only", SQL_NO_PARAMS, e);
    if (result == STORE_OK && r->account)
        result = pipe_send(store, as_of_account_query,
                           SQL_PARAMS(sql_text(call->account), sql_int4(call->shard)), e);
    else if (result == STORE_OK)
        result = pipe_send(store, as_of_query, SQL_NO_PARAMS, e);
    for (int i = 0; i < r->count && result == STORE_OK; i++)
        result = pipe_send(store, r->queries[i].sql, r->queries[i].params, e);
    return result == STORE_OK ? pipe_send(store, "commit", SQL_NO_PARAMS, e) : result;
}

static int read_part(const struct part_reading *r, PGresult **answers, struct error *e)
{
    enum store_result result = store_ready(r->store, e);
    if (result == STORE_OK)
        result = pipe_begin(r->store, e);
    if (result != STORE_OK)
        return api_stored(store_undo(r->store, result));
    result = send_all(r, e);
    enum store_result ended =
        pipe_end(r->store, answers, QUERIES + r->count, result == STORE_OK ? e : NULL);
    return api_stored(store_undo(r->store, result == STORE_OK ? ended : result));
}

// The answers of the other databases. Of an account they only have the days that are open, and what
// does not come of these is not known.
static int read_others(const struct part_reading *first, PGresult **answers, struct error *e)
{
    int failed = 0;
    for (int p = 0; p < store_parts(first->store) && !failed; p++) {
        PGresult *more[QUERIES + API_QUERIES_MAX] = {NULL};
        struct part_reading other = *first;
        other.store = store_part(first->store, p);
        other.count = first->account ? 0 : first->count;
        other.account = false;
        if (other.store == first->store)
            continue;
        failed = read_part(&other, more, e);
        lower_final(first->call, failed ? NULL : more[AS_OF]);
        for (int i = 0; i < other.count; i++) {
            if (!failed && first->call->order > 0)
                answers[QUERIES + i] =
                    api_merge_rows(answers[QUERIES + i], more[QUERIES + i], first->call->order);
            else
                PQclear(more[QUERIES + i]);
        }
        PQclear(more[BEGIN]);
        PQclear(more[AS_OF]);
        failed = first->account ? 0 : failed;
    }
    return failed;
}

void api_forget(struct api_call *call)
{
    json_decref(call->as_of);
    json_decref(call->final_through);
    call->as_of = call->final_through = NULL;
}

int api_read(struct api_call *call, const struct api_query *queries, int count, PGresult **results,
             struct error *e)
{
    PGresult *answers[QUERIES + API_QUERIES_MAX] = {NULL};
    const struct api_now *now = call->now;
    int64_t from = now ? now->clock_ms(now->clock_context) : 0;
    assert(count <= API_QUERIES_MAX);
    assert(!call->as_of);
    const struct part_reading reading = {
        call, call->account ? store_of(call->store, call->shard) : store_part(call->store, 0),
        queries, count, call->account != NULL};
    int failed = read_part(&reading, answers, e);
    if (!failed)
        failed = take_as_of(call, answers[AS_OF], e);
    if (!failed)
        failed = read_others(&reading, answers, e);
    if (!failed)
        put_time(call, from);
    PQclear(answers[BEGIN]);
    PQclear(answers[AS_OF]);
    for (int i = 0; i < count; i++) {
        results[i] = failed ? NULL : answers[QUERIES + i];
        if (failed)
            PQclear(answers[QUERIES + i]);
    }
    return failed;
}

// ---- pages ----

// The same request, with another `after`.
static char *next_query(const struct http_request *request, const char *after)
{
    size_t size = sizeof "after=" + 3 * strlen(after);
    for (size_t i = 0; i < request->parameter_count; i++)
        size += 3 * (strlen(request->parameters[i].name) + strlen(request->parameters[i].value)) +
                sizeof "=&";
    char *query = malloc(size), *to = query;
    if (!query)
        return NULL;
    for (size_t i = 0; i < request->parameter_count; i++) {
        if (strcmp(request->parameters[i].name, "after") == 0)
            continue;
        to = api_escape(request->parameters[i].name, to);
        *to++ = '=';
        to = api_escape(request->parameters[i].value, to);
        *to++ = '&';
    }
    to = stpcpy(to, "after=");
    api_escape(after, to);
    return query;
}

static int link_next(struct api_call *call, const char *after, struct error *e)
{
    char *query = next_query(call->request, after);
    if (query)
        call->out->next = api_target(call->request, query);
    free(query);
    return call->out->next ? 0 : error_set(e, ERROR_UNAVAILABLE, "memory is short");
}

// How many rows are of this page; *next is where the following one begins, or NULL.
static int page_of(const PGresult *rows, int64_t limit, const char **next)
{
    int count = PQntuples(rows);
    *next = NULL;
    if (count <= limit)
        return count;
    *next = get_string(rows, (int)limit - 1, 0);
    return (int)limit;
}

int api_put_next(struct api_call *call, json_t *body, const char *next, struct error *e)
{
    if (json_object_set_new(body, "next", next ? json_string(next) : json_null()))
        return error_set(e, ERROR_UNAVAILABLE, "memory is short");
    return next ? link_next(call, next, e) : 0;
}

static int put_items(struct api_call *call, json_t *body, const PGresult *rows, int64_t limit,
                     struct error *e)
{
    const char *next;
    int count = page_of(rows, limit, &next);
    json_t *items = api_rows_json(rows, count, 1, call->fixed->offset_ms);
    if (json_object_set_new(body, "items", items))
        return error_set(e, ERROR_UNAVAILABLE, "memory is short");
    return api_put_next(call, body, next, e);
}

static int put_csv(struct api_call *call, const PGresult *rows, int64_t limit, struct error *e)
{
    const char *next;
    int count = page_of(rows, limit, &next);
    call->out->content_type = "text/csv; charset=utf-8; header=present";
    call->out->body = api_rows_csv(rows, count, 1, call->fixed->offset_ms, &call->out->size);
    return next ? link_next(call, next, e) : 0;
}

int api_put_page(struct api_call *call, json_t *body, const PGresult *rows, int64_t limit,
                 struct error *e)
{
    api_add_frame(call, body);
    int failed = call->csv ? put_csv(call, rows, limit, e) : put_items(call, body, rows, limit, e);
    if (!failed && !call->csv)
        return api_put_json(call, body, e);
    json_decref(body);
    return failed;
}

int api_answer_list(struct api_call *call, const struct api_query *query, int64_t limit,
                    struct error *e)
{
    PGresult *rows;
    if (api_read(call, query, 1, &rows, e))
        return -1;
    int failed = api_put_page(call, json_object(), rows, limit, e);
    PQclear(rows);
    return failed;
}

int api_answer_all(struct api_call *call, const struct api_query *query, int order, int64_t limit,
                   struct error *e)
{
    call->order = order;
    return api_answer_list(call, query, limit, e);
}
