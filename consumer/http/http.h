// A small HTTP server (libmicrohttpd): GET and HEAD only, answers from functions in a table. One
// thread serves all connections; answers that may wait, for a database or for another process, are
// made by a few threads beside it. So nobody who asks for one of these keeps a health probe
// waiting.
#pragma once

#include "pricing/error.h"

#include <stdbool.h>
#include <stddef.h>

struct http;

struct http_parameter {
    const char *name, *value;
};
enum { HTTP_SEGMENTS_MAX = 8, HTTP_PARAMETERS_MAX = 16 };

// What a client asks, valid while it is answered. Texts are decoded: UTF-8, terminated, without
// U+0000.
struct http_request {
    // "/v1/accounts/a%2Fb" has the segments "v1", "accounts", "a/b"
    size_t segment_count;
    const char *segments[HTTP_SEGMENTS_MAX];
    size_t parameter_count;
    struct http_parameter parameters[HTTP_PARAMETERS_MAX];
    const char *authorization, *accept, *if_none_match; // as they were sent; NULL: not sent
    const char *host; // the name by which it asks for this server; NULL: not sent
    const char *asked_by; // another process of the deployment (http_client.h); NULL: none
    const char *target; // as it was sent, with its escapes
};

struct http_header {
    const char *name, *value;
};
enum { HTTP_ETAG_SIZE = 72 };

struct http_answer {
    unsigned status; // 200 when left alone
    const char *content_type; // "text/plain; charset=utf-8" when left alone; static
    char *body; // malloc'ed, freed by the server; NULL: empty
    size_t size;
    const void *bytes; // instead of body: bytes that outlive the server (embedded files)
    // With its quotes; "": none. The server answers 304 to a client that has this one already.
    char etag[HTTP_ETAG_SIZE];
    int retry_after_s; // 0: the header is not sent
    char *next; // target of "Link: <…>; rel=\"next\""; malloc'ed, freed by the server; NULL: none
    const struct http_header *headers; // further ones, static, up to one without a name; or NULL
};

// The answer is a line of text.
void http_put_text(struct http_answer *out, unsigned status, const char *line);

// A path that ends with '/' answers everything below it too. `answer` is called from the server's
// thread and must not wait; with `waits` set, from one of the HTTP_THREADS others, whose number is
// `thread`.
enum { HTTP_THREADS = 4 };
struct http_route {
    const char *path; // as it is sent, with its escapes
    void (*answer)(void *context, int thread, const struct http_request *request,
                   struct http_answer *out);
    void *context;
    bool waits;
    // How the server says what it refuses by itself; NULL: as a line of text.
    void (*refuse)(unsigned status, const char *why, struct http_answer *out);
};

// At most HTTP_CONNECTIONS_MAX connections are kept. A further one ends one of the address that has
// most of them: the one that was answered, or opened, longest ago. So idle and slow clients keep
// nobody out. A connection without a byte for HTTP_TIMEOUT_S ends, too. When HTTP_WAITING_MAX
// requests wait for a thread, further ones are answered with 503.
enum { HTTP_CONNECTIONS_MAX = 256, HTTP_TIMEOUT_S = 15, HTTP_WAITING_MAX = 64 };

// listen: "127.0.0.1:9464" or "[::1]:9464"; port 0 takes a free one. The routes (`count` of them)
// outlive the server. Errors: ERROR_CONFIG.
int http_create(const char *listen, const struct http_route *routes, size_t count,
                struct http **out, struct error *e);
// Waits for the answers that are being made.
void http_destroy(struct http *http);
unsigned http_port(const struct http *http);
// Whether only this machine can reach an address as http_create takes it; false, too, where that is
// not to be found out.
bool http_listens_on_loopback(const char *listen);
// Whether others can reach it at an address as http_create takes it: it is no wildcard, and its
// port is known before it is taken.
bool http_is_reached_at(const char *listen);
// Whether only this machine can reach a server.
bool http_is_loopback(const struct http *http);
