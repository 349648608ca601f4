#include "consumer/answers/answers.h"

#include "consumer/answers/tell.h"
#include "schemas/embedded.h"

#include <stdio.h>

// What the paths are, for programs: OpenAPI.
static int tell_description(struct api_call *call, struct error *e)
{
    char digest[65];
    (void)e;
    call->out->content_type = "application/json";
    call->out->bytes = embedded_http->text;
    call->out->size = embedded_http->size;
    book_sha256(embedded_http->text, embedded_http->size, digest);
    snprintf(call->out->etag, sizeof call->out->etag, "\"%s\"", digest);
    return 0;
}

#define REJECT_FILTER "topic partition reason account from to all"

static const struct api_path rows[] = {
    {"v1/accounts", "prefix status after limit", API_READER, true, tell_accounts},
    {"v1/accounts/{id}", "", API_HOLDER, false, tell_account},
    {"v1/accounts/{id}/settlements", "from to after limit", API_HOLDER, false, tell_settlements},
    {"v1/accounts/{id}/settlements/{day}", "", API_HOLDER, false, tell_settlement},
    {"v1/accounts/{id}/settlements/{day}/calls", "after limit", API_HOLDER, false, tell_calls},
    {"v1/accounts/{id}/usage", "from to after limit", API_HOLDER, false, tell_usage},
    {"v1/accounts/{id}/notices", "from to after limit", API_HOLDER, true, tell_notices},
    {"v1/accounts/{id}/statements", "from to after limit", API_HOLDER, true, tell_month_statements},
    {"v1/accounts/{id}/statements/{month}", "", API_HOLDER, true, tell_month_statement},
    {"v1/accounts/{id}/statement", "from to after limit", API_HOLDER, true, tell_statement},
    {"v1/accounts/{id}/status-changes", "after limit", API_HOLDER, true, tell_status_changes},
    {"v1/accounts/{id}/packages", "after limit", API_HOLDER, true, tell_packages},
    {"v1/accounts/{id}/packages/{package}/deductions", "after limit", API_HOLDER, true,
     tell_deductions},
    {"v1/access", "", API_EVERYBODY, false, tell_access},
    {"v1/openapi.json", "", API_EVERYBODY, false, tell_description},
    {"v1/prices", "day", API_EVERYBODY, false, tell_prices},
    {"v1/quote", "service leads calls day account", API_EVERYBODY, false, tell_quote},
    {"v1/shards", "after limit", API_READER, false, tell_shards},
    {"v1/days", "from to after limit", API_READER, false, tell_closed_days},
    {"v1/deployment", "", API_READER, false, tell_deployment},
    {"v1/decisions", "after limit", API_READER, true, tell_decisions},
    {"v1/rejects", REJECT_FILTER " after limit", API_READER, false, tell_rejects},
    {"v1/rejects/groups", REJECT_FILTER " by limit", API_READER, false, tell_reject_groups},
};

const struct api_paths answers_paths = {rows, sizeof rows / sizeof *rows};
