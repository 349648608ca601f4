// Where the logs begin and end, asked of the brokers on a thread and a client of their own: the call can hang, and must
// not hold up reading. Ends are last stable offsets (read_committed).
#pragma once

#include "consumer/core/record.h"
#include "consumer/io/client.h"

#include <stdbool.h>

struct ends; // one a process, thread-safe

struct ends_options {
    const char *topics[INPUT_COUNT];
    int32_t partitions; // of each topic
    struct client_properties properties;
    int64_t (*clock_ms)(void *context);
    void *clock_context;
};

struct log_ends {
    int64_t low, high; // first offset kept; last stable offset
    int64_t asked_at; // clock ms, read before the query was sent
};

int ends_create(const struct ends_options *options, struct ends **out, struct error *e);
// Waits for a query under way for at most `timeout_ms`. False: it hangs, and is left behind.
bool ends_destroy(struct ends *ends, int timeout_ms);

// Asks for a log's ends; asking again while a question is open asks once. The answer replaces an older one.
void ends_ask(struct ends *ends, int32_t shard, enum input input);
// The answer to the last question, once: false while there is none. A failed query is sent again by itself.
bool ends_take(struct ends *ends, int32_t shard, enum input input, struct log_ends *out);
// Whether the last query was answered, and why not. "" when all is well.
void ends_trouble(struct ends *ends, char *out, size_t size);

// The same at once, for the caller who can wait (a drain's start). Errors: ERROR_UNAVAILABLE.
int ends_query(struct ends *ends, int32_t shard, enum input input, int timeout_ms, struct log_ends *out,
               struct error *e);
