// What goes wrong, as RFC 9457 has it: application/problem+json.
#pragma once

#include "consumer/http/http.h"

// X(value, status, type, title) each; `type` stands behind "urn:settled:problem:".
#define API_PROBLEM_ROWS(X)                                                                        \
    X(API_BAD_REQUEST, 400, "bad-request", "The request is not understood")                        \
    X(API_UNAUTHORIZED, 401, "unauthorized", "A token is needed")                                  \
    X(API_FORBIDDEN, 403, "forbidden", "This may not be seen")                                     \
    X(API_NOT_FOUND, 404, "not-found", "There is no such thing")                                   \
    X(API_NOT_ALLOWED, 405, "method-not-allowed", "It can only be read")                           \
    X(API_NOT_ACCEPTABLE, 406, "not-acceptable", "There is no such representation")                \
    X(API_GONE, 410, "gone", "It is not kept any more")                                            \
    X(API_TOO_LARGE, 422, "too-large", "It is too large to be answered")                           \
    X(API_BUG, 500, "internal", "settled has failed")                                              \
    X(API_UNAVAILABLE, 503, "unavailable", "Ask again later")
#define API_PROBLEM_VALUE(value, status, type, title) value,
enum api_problem { API_BY_KIND, API_PROBLEM_ROWS(API_PROBLEM_VALUE) };

enum { API_RETRY_S = 5 };

// The problem of an error that has none of its own, and of a status.
enum api_problem api_problem_of(enum error_kind kind);
enum api_problem api_problem_of_status(unsigned status);
// `request` may be NULL: then the problem has no `instance`. `detail` says what is wrong and what
// mends it.
void api_put_problem(enum api_problem problem, const char *detail,
                     const struct http_request *request, struct http_answer *out);
// The path of a request with escapes, and `query` behind it if it is given; malloc'ed, NULL when
// memory is short.
char *api_target(const struct http_request *request, const char *query);
// Appends a text with escapes for all that is not unreserved (RFC 3986). `out` has room for 3 times
// its size and a terminator; returns what follows.
char *api_escape(const char *text, char *out);
