// What a token may see, and what is recorded of the deployment itself.
#include "consumer/answers/tell.h"
#include "consumer/api/api_read.h"
#include "consumer/api/api_rows.h"

int tell_access(struct api_call *call, struct error *e)
{
    const struct http_scope *scope = &call->scope;
    return api_put_json(call,
                        json_pack("{s:s, s:s?}", "scope", scope->reader ? "reader" : "account",
                                  "account_id", scope->reader ? NULL : scope->account),
                        e);
}

// All but the key of identities, which nobody is told.
static const char fixed_query[] =
    "select first_day, timestamps, partitioner, framing, partitions, time_zone, consumer_group,"
    " cluster_id, calls_topic, purchases_topic, credits_topic, recorded_at from settled.deployment";

static const char parameters_query[] =
    "select from_day, grace_ms, late_days, future_tolerance_ms, credit_days, max_reject_share_ppm,"
    " max_refused_share_ppm, to_json(package_left) as package_left,"
    " to_json(expiring_days) as expiring_days, to_json(balance_below) as balance_below,"
    " book_sha256 as price_book, recorded_at, recorded_by"
    " from settled.parameters order by from_day";

static const char books_query[] = "select sha256, name, effective_from, recorded_at, recorded_by"
                                  " from settled.price_books order by effective_from";

enum { FIXED, PARAMETERS, BOOKS, QUERIES };

int tell_deployment(struct api_call *call, struct error *e)
{
    const struct api_query queries[QUERIES] = {[FIXED] = {.sql = fixed_query},
                                               [PARAMETERS] = {.sql = parameters_query},
                                               [BOOKS] = {.sql = books_query}};
    PGresult *rows[QUERIES];
    int32_t offset = call->fixed->offset_ms;
    if (api_read(call, queries, QUERIES, rows, e))
        return -1;
    json_t *body = json_object();
    json_object_set_new(body, "fixed", api_row_json(rows[FIXED], 0, 0, offset));
    json_object_set_new(body, "parameters",
                        api_rows_json(rows[PARAMETERS], PQntuples(rows[PARAMETERS]), 0, offset));
    json_object_set_new(body, "books",
                        api_rows_json(rows[BOOKS], PQntuples(rows[BOOKS]), 0, offset));
    for (int i = 0; i < QUERIES; i++)
        PQclear(rows[i]);
    api_add_frame(call, body);
    return api_put_json(call, body, e);
}
