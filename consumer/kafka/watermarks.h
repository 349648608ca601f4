// Asks the brokers where the logs begin and end, on a thread and with clients of its own: the call
// can hang, and must not delay reading. A log has two ends. What is written ends at `end`; what a
// reader of committed records may see ends at `stable`. While a transaction is open in the log,
// `stable` stands before the first record of that transaction.
#pragma once

#include "consumer/core/record.h"
#include "consumer/kafka/client.h"

#include <stdbool.h>

struct watermarks; // one a process, thread-safe

struct watermarks_options {
    const char *topics[INPUT_COUNT];
    int32_t partitions; // of each topic
    const char *group; // names clients to brokers with access lists
    bool create_time; // the producers' clocks stamp the records
    struct client_properties properties;
    int64_t (*clock_ms)(void *context);
    void *clock_context;
};

// `end` is asked for before `stable`: where both are equal, no transaction was open in between.
struct log_watermarks {
    int64_t low, stable, end; // first offset kept; last stable offset; high watermark
    int64_t asked_at; // clock ms, read before the first query was sent
    // The first offset whose timestamp is at or past since_ms, asked for after `stable`, which it
    // is where no record is that young. Not set when since_ms is SINCE_NONE.
    int64_t since_ms, first;
};
#define SINCE_NONE INT64_MIN

int watermarks_create(const struct watermarks_options *options, struct watermarks **out,
                      struct error *e);
// Waits for a query under way for at most `timeout_ms`. False: it hangs, and is left behind.
bool watermarks_destroy(struct watermarks *ends, int timeout_ms);

// Asks for a log's ends, and for its first offset since an instant (ms) unless that is SINCE_NONE.
// While a question is open, asking again has no effect. The answer replaces an older one.
void watermarks_ask(struct watermarks *ends, int32_t shard, enum input input, int64_t since_ms);
// Takes the answer to the last question; false while there is none. A failed query is repeated
// automatically.
bool watermarks_take(struct watermarks *ends, int32_t shard, enum input input,
                     struct log_watermarks *out);
// Whether the last query was answered, and why not. "" when all is well.
void watermarks_trouble(struct watermarks *ends, char *out, size_t size);

// The ends only, and waits for the answer (for the start of a drain). Errors: ERROR_UNAVAILABLE.
int watermarks_query(struct watermarks *ends, int32_t shard, enum input input, int timeout_ms,
                     struct log_watermarks *out, struct error *e);
