// The paths of the API, in one table. Not for users of the API.
#pragma once

#include "consumer/api/api_call.h"

enum api_audience {
    API_EVERYBODY, // every token
    API_HOLDER, // readers, and the account at {id}
    API_READER,
};

struct api_path {
    const char *path; // "{id}" stands for a segment
    const char *parameters; // those that it knows, with blanks between them
    enum api_audience audience;
    bool csv; // it has that form too
    api_answerer *answer;
};

// NULL: there is none. `captured`: what stands at the placeholders; NULL where there is none.
const struct api_path *api_find_path(const struct http_request *request, const char *captured[2]);

// ---- what the paths answer ----
// api_accounts.c
int api_account(struct api_call *call, struct error *e);
int api_accounts(struct api_call *call, struct error *e);
int api_status_changes(struct api_call *call, struct error *e);
int api_packages(struct api_call *call, struct error *e);
int api_deductions(struct api_call *call, struct error *e);
// api_settlements.c
int api_settlements(struct api_call *call, struct error *e);
int api_settlement(struct api_call *call, struct error *e);
// api_statement.c
int api_statement(struct api_call *call, struct error *e);
// api_prices.c
int api_prices(struct api_call *call, struct error *e);
int api_quote(struct api_call *call, struct error *e);
// api_operators.c
int api_shards(struct api_call *call, struct error *e);
int api_closed_days(struct api_call *call, struct error *e);
int api_decisions(struct api_call *call, struct error *e);
int api_rejects(struct api_call *call, struct error *e);
int api_reject_groups(struct api_call *call, struct error *e);
