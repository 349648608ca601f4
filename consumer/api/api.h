// The HTTP API: who may ask, how a request is read, and how an answer is written. It only reads.
// What there is to ask is a table of paths (consumer/answers/answers.c).
#pragma once

#include "consumer/http/http.h"

#include <stdint.h>

struct api;
struct api_paths;
struct explaining;
struct live;

// What a process has: its shards, its reader of calls, its clock.
struct api_now {
    struct live *live;
    struct explaining *explaining;
    const char *address; // where this process answers HTTP, for others
    int64_t (*clock_ms)(void *context);
    void *clock_context;
};

struct api_options {
    struct api_now now;
    const struct api_paths *paths;
    char *const *dsns; // of all databases
    size_t dsn_count;
    const char *tokens; // file of tokens; "" or NULL: none
};

// What the options point at outlives it. PostgreSQL is not asked before the first request.
// ERROR_CONFIG: the file of tokens cannot be read, or a line of it is wrong.
int api_create(const struct api_options *options, struct api **out, struct error *e);
// Without a file of tokens nobody is answered before this is said: the server can be reached from
// this machine only.
void api_trust_everybody(struct api *api);
// Reads the file of tokens again. After an error the old tokens stay in force.
int api_read_tokens(struct api *api, struct error *e);
// Answers what stands below /v1/; `context` is the api. A route of the server that waits.
void api_answer(void *context, int thread, const struct http_request *request,
                struct http_answer *out);
// How the server refuses what is below /v1/ by itself.
void api_refuse_request(unsigned status, const char *why, struct http_answer *out);
// For shutdown: what waits for PostgreSQL is answered with 503 at once, and so is all that comes.
void api_interrupt(struct api *api);
// No request is being answered any more. NULL is nothing.
void api_destroy(struct api *api);
