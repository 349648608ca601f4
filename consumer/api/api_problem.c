#include "consumer/api/api_problem.h"

#include "consumer/base/text.h"

#include <assert.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define TYPE_PREFIX "urn:settled:problem:"

static const struct {
    unsigned status;
    const char *type, *title;
} problems[] = {
#define PROBLEM_ROW(value, status, type, title) [value] = {status, TYPE_PREFIX type, title},
    API_PROBLEM_ROWS(PROBLEM_ROW)};

enum api_problem api_problem_of(enum error_kind kind)
{
    if (kind == ERROR_USAGE)
        return API_BAD_REQUEST;
    return kind == ERROR_UNAVAILABLE ? API_UNAVAILABLE : API_BUG;
}

enum api_problem api_problem_of_status(unsigned status)
{
    for (size_t i = API_BY_KIND + 1; i < sizeof problems / sizeof *problems; i++)
        if (problems[i].status == status)
            return (enum api_problem)i;
    return API_BUG;
}

char *api_escape(const char *text, char *out)
{
    static const char unreserved[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    static const char digits[] = "0123456789ABCDEF";
    for (; *text; text++) {
        unsigned char byte = (unsigned char)*text;
        if (strchr(unreserved, *text)) {
            *out++ = *text;
        } else {
            *out++ = '%';
            *out++ = digits[byte >> 4];
            *out++ = digits[byte & 15];
        }
    }
    *out = '\0';
    return out;
}

char *api_target(const struct http_request *request, const char *query)
{
    size_t size = (query ? strlen(query) : 0) + 2;
    for (size_t i = 0; i < request->segment_count; i++)
        size += 1 + 3 * strlen(request->segments[i]);
    char *target = malloc(size), *to = target;
    if (!target)
        return NULL;
    *to = '\0';
    for (size_t i = 0; i < request->segment_count; i++) {
        *to++ = '/';
        to = api_escape(request->segments[i], to);
    }
    if (query) {
        *to++ = '?';
        memcpy(to, query, strlen(query) + 1);
    }
    return target;
}

// A detail may end within a character, where it was cut.
static json_t *text_json(const char *text)
{
    size_t size = strlen(text);
    char *repaired = malloc(3 * size + 1);
    if (!repaired)
        return NULL;
    json_t *json = json_stringn(repaired, text_repair((struct slice){text, size}, repaired));
    free(repaired);
    return json;
}

void api_put_problem(enum api_problem problem, const char *detail,
                     const struct http_request *request, struct http_answer *out)
{
    static const struct http_header bearer[] = {{"WWW-Authenticate", "Bearer"}, {NULL, NULL}};
    assert(problem != API_BY_KIND);
    char *instance = request ? api_target(request, NULL) : NULL;
    json_t *json = json_pack("{s:s, s:s, s:i, s:o}", "type", problems[problem].type, "title",
                             problems[problem].title, "status", (int)problems[problem].status,
                             "detail", text_json(detail));
    if (json && instance)
        json_object_set_new(json, "instance", json_string(instance));
    out->status = problems[problem].status;
    out->content_type = "application/problem+json";
    out->body = json ? json_dumps(json, JSON_COMPACT) : NULL;
    out->size = out->body ? strlen(out->body) : 0;
    if (problem == API_UNAUTHORIZED)
        out->headers = bearer;
    if (problem == API_UNAVAILABLE)
        out->retry_after_s = API_RETRY_S;
    json_decref(json);
    free(instance);
}
