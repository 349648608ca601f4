// The answers of the HTTP API, for commands: by the same functions, without a server, so both tell
// the same. Only of what is recorded: paths that look at what is not settled yet are none of these.
#pragma once

#include "consumer/api/api_call.h"

struct asking {
    struct store *store;
    const struct deployment *recorded;
    const char *account_id;
};

// Asks for a path below /v1/accounts/{account_id}/ ("statement") with parameters, up to one without
// a name. JSON, all pages of it: the items of later ones are appended to those of the first. Free
// with json_decref. ERROR_USAGE: there is no such account, or a parameter is wrong.
int ask_json(const struct asking *asking, const char *below,
             const struct http_parameter *parameters, json_t **out, struct error *e);
// A cell that ends each record of CSV, and its name; as they are written.
struct ask_cell {
    const char *name, *value;
};
// The same as CSV, written to stdout page by page, with one more cell.
int ask_csv(const struct asking *asking, const char *below, const struct http_parameter *parameters,
            const struct ask_cell *cell, struct error *e);
