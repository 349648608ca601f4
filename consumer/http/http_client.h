// Asks another process of the deployment. A client belongs to one thread, and keeps its
// connections.
#pragma once

#include "pricing/error.h"

#include <stddef.h>

struct http_client;

// What says that a process has asked already, so that two of them do not ask each other for ever.
#define HTTP_ASKED_BY "Settled-Asked-By"
enum { HTTP_REPLY_MAX = 4 << 20, HTTP_REPLY_TYPE_SIZE = 64 };

struct http_question {
    const char *address; // HOST:PORT
    const char *target; // with its escapes: "/v1/accounts/a%2Fb"
    const char *authorization; // passed on; NULL: none
    const char *asked_by; // for people who read logs; of HTTP_ASKED_BY
    long timeout_ms; // for all of it
};

struct http_reply {
    unsigned status;
    char *body; // malloc'ed, terminated; the caller frees it
    size_t size;
    char content_type[HTTP_REPLY_TYPE_SIZE]; // "": it has none, or one that is too long
};

// Errors: ERROR_RESTART.
int http_client_create(struct http_client **out, struct error *e);
void http_client_destroy(struct http_client *client); // NULL is nothing
// ERROR_UNAVAILABLE: nobody answers there in time, or the answer is too long.
int http_client_get(struct http_client *client, const struct http_question *question,
                    struct http_reply *out, struct error *e);
