// Reads the calls behind settlements again for those who ask over HTTP: one settlement at a time,
// on a thread of its own that gives way to others, so that nobody who asks disturbs what is billed
// or keeps the threads of the server waiting. The last one stays in memory, for its further pages.
#pragma once

#include "consumer/replay/explain.h"

struct explaining;

// `config` outlives it.
int explaining_create(const struct config *config, struct explaining **out, struct error *e);
// For shutdown: what is being read ends soon, and so does the wait for it. NULL is nothing.
void explaining_interrupt(struct explaining *explaining);
// Waits for what is being read: at most as long as a broker or PostgreSQL is waited for.
void explaining_destroy(struct explaining *explaining);

// A settlement of more calls is not explained here.
enum { EXPLAINING_CALLS_MAX = 200000 };

enum explaining_result {
    EXPLAINING_DONE,
    EXPLAINING_READS, // this one, and is not done within a few seconds: ask again
    EXPLAINING_BUSY, // with another one
    EXPLAINING_EXPIRED, // *e: the calls are not there any more
    EXPLAINING_FAILED, // *e
};
// With EXPLAINING_DONE nobody else is answered until explaining_release is called; *out is valid as
// long.
enum explaining_result explaining_take(struct explaining *explaining, const char *account_id,
                                       day_t day, const struct explanation **out, struct error *e);
void explaining_release(struct explaining *explaining);
