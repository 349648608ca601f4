#include "consumer/api/api_paths.h"

#include "schemas/embedded.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

// What the paths are, for programs: OpenAPI.
static int answer_description(struct api_call *call, struct error *e)
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

static const struct api_path paths[] = {
    {"v1/accounts", "prefix status after limit", API_READER, true, api_accounts},
    {"v1/accounts/{id}", "", API_HOLDER, false, api_account},
    {"v1/accounts/{id}/settlements", "from to after limit", API_HOLDER, false, api_settlements},
    {"v1/accounts/{id}/settlements/{day}", "", API_HOLDER, false, api_settlement},
    {"v1/accounts/{id}/statement", "from to after limit", API_HOLDER, true, api_statement},
    {"v1/accounts/{id}/status-changes", "after limit", API_HOLDER, true, api_status_changes},
    {"v1/accounts/{id}/packages", "after limit", API_HOLDER, true, api_packages},
    {"v1/accounts/{id}/packages/{package}/deductions", "after limit", API_HOLDER, true,
     api_deductions},
    {"v1/openapi.json", "", API_EVERYBODY, false, answer_description},
    {"v1/prices", "day", API_EVERYBODY, false, api_prices},
    {"v1/quote", "service leads calls day account", API_EVERYBODY, false, api_quote},
    {"v1/shards", "after limit", API_READER, false, api_shards},
    {"v1/days", "from to after limit", API_READER, false, api_closed_days},
    {"v1/decisions", "after limit", API_READER, true, api_decisions},
    {"v1/rejects", REJECT_FILTER " after limit", API_READER, false, api_rejects},
    {"v1/rejects/groups", REJECT_FILTER " by limit", API_READER, false, api_reject_groups},
};

// Compares segment by segment.
static bool matches(const char *path, const struct http_request *request, const char *captured[2])
{
    size_t at = 0, captures = 0;
    captured[0] = captured[1] = NULL;
    for (; *path && at < request->segment_count; at++) {
        size_t size = strcspn(path, "/");
        const char *segment = request->segments[at];
        if (path[0] == '{') {
            assert(captures < 2);
            captured[captures++] = segment;
        } else if (strlen(segment) != size || strncmp(path, segment, size) != 0) {
            return false;
        }
        path += size;
        path += *path == '/';
    }
    return !*path && at == request->segment_count;
}

const struct api_path *api_find_path(const struct http_request *request, const char *captured[2])
{
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        if (matches(paths[i].path, request, captured))
            return &paths[i];
    captured[0] = captured[1] = NULL;
    return NULL;
}
