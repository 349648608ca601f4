// What is read of PostgreSQL for one answer: in one snapshot of each database that is asked, with
// one round trip to it.
#pragma once

#include "consumer/api/api_call.h"
#include "consumer/postgres/store_values.h"

#include <libpq-fe.h>

struct api_query {
    const char *sql; // the same text each time: it is prepared once on a connection
    struct sql_params params;
};

enum { API_QUERIES_MAX = 4 };

// Runs the queries, and sets as_of and final_through. `results` are those of the queries; free them
// with PQclear. A call about an account fails with API_NOT_FOUND where the account is not known.
int api_read(struct api_call *call, const struct api_query *queries, int count, PGresult **results,
             struct error *e);

// As if nothing had been read: the next api_read takes another snapshot.
void api_forget(struct api_call *call);

// Answers with a page of rows. The query's first column is the position of its row, a text for the
// parameter `after`, and is not shown; it gives up to `limit` + 1 rows.
int api_answer_list(struct api_call *call, const struct api_query *query, int64_t limit,
                    struct error *e);
// The same of all databases, in the order of so many columns behind the first: `query` gives its
// rows in this order.
int api_answer_all(struct api_call *call, const struct api_query *query, int order, int64_t limit,
                   struct error *e);
// The same with rows that are read already, and with what else the answer has: `body` is taken
// over, and left out of CSV.
int api_put_page(struct api_call *call, json_t *body, const PGresult *rows, int64_t limit,
                 struct error *e);
// Puts `next` into the body, and into the header Link; NULL: it is the last page.
int api_put_next(struct api_call *call, json_t *body, const char *next, struct error *e);
