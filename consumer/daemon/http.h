// A small HTTP server on a thread of its own (libmicrohttpd): GET and HEAD only, answers from
// functions in a table.
#pragma once

#include "pricing/error.h"

#include <stddef.h>

struct http;

struct http_answer {
    unsigned status; // 200 when left alone
    const char *content_type; // "text/plain; charset=utf-8" when left alone; static
    char *body; // malloc'ed, freed by the server; NULL: empty
    size_t size;
    const void *bytes; // instead of body: bytes that outlive the server (embedded files)
};

// A path that ends with '/' answers everything below it too. Called from the server's thread.
struct http_route {
    const char *path;
    void (*answer)(void *context, struct http_answer *out);
    void *context;
};

// At most HTTP_CONNECTIONS_MAX connections are kept. A further one ends the one that was answered,
// or opened, longest ago, so idle and slow clients keep nobody out. A connection without a byte for
// HTTP_TIMEOUT_S ends, too.
enum { HTTP_CONNECTIONS_MAX = 256, HTTP_TIMEOUT_S = 15 };

// listen: "127.0.0.1:9464" or "[::1]:9464"; port 0 takes a free one. The routes (`count` of them)
// outlive the server. Errors: ERROR_CONFIG.
int http_create(const char *listen, const struct http_route *routes, size_t count,
                struct http **out, struct error *e);
void http_destroy(struct http *http);
unsigned http_port(const struct http *http);
