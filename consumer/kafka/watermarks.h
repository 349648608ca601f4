// Where the logs begin and end, asked of the brokers on a thread and a client of their own: the
// call can hang, and must not hold up reading. Ends are last stable offsets (read_committed).
#pragma once

#include "consumer/core/record.h"
#include "consumer/kafka/client.h"

#include <stdbool.h>

struct watermarks; // one a process, thread-safe

struct watermarks_options {
    const char *topics[INPUT_COUNT];
    int32_t partitions; // of each topic
    struct client_properties properties;
    int64_t (*clock_ms)(void *context);
    void *clock_context;
};

struct log_watermarks {
    int64_t low, high; // first offset kept; last stable offset
    int64_t asked_at; // clock ms, read before the query was sent
};

int watermarks_create(const struct watermarks_options *options, struct watermarks **out,
                      struct error *e);
// Waits for a query under way for at most `timeout_ms`. False: it hangs, and is left behind.
bool watermarks_destroy(struct watermarks *ends, int timeout_ms);

// Asks for a log's ends; asking again while a question is open asks once. The answer replaces an
// older one.
void watermarks_ask(struct watermarks *ends, int32_t shard, enum input input);
// The answer to the last question, once: false while there is none. A failed query is sent again by
// itself.
bool watermarks_take(struct watermarks *ends, int32_t shard, enum input input,
                     struct log_watermarks *out);
// Whether the last query was answered, and why not. "" when all is well.
void watermarks_trouble(struct watermarks *ends, char *out, size_t size);

// The same at once, for the caller who can wait (a drain's start). Errors: ERROR_UNAVAILABLE.
int watermarks_query(struct watermarks *ends, int32_t shard, enum input input, int timeout_ms,
                     struct log_watermarks *out, struct error *e);
