// What an account has used and not been billed for yet, as its shard knows it. Not for users of the
// API.
#pragma once

#include "consumer/api/api_call.h"
#include "consumer/api/api_read.h"
#include "consumer/core/preview.h"

enum { LOOK_PACKAGES_MAX = 1000 }; // beside an account; all of them have a path of their own

struct account_look {
    struct preview *preview; // settled; NULL: the shard is not here, or cannot be looked at now
    enum day_phase phase; // of the oldest day that is not settled
    int64_t epoch; // by which the shard is owned here
    int64_t at_ms; // the daemon's clock then
};

// -1 with *e: what the account used cannot be settled (its close would fail for the same).
int look_take(const struct api_call *call, struct account_look *out, struct error *e);
void look_end(struct account_look *look);
// Where the shard is not in this process: asks the one that has it, unless that one asks. True: its
// answer is the answer of the call.
bool look_ask_owner(struct api_call *call);
// Whether the shard knows the account.
bool look_knows(const struct account_look *look);
// What the account's packages that are valid at an instant hold of a service, after the days that
// are not settled.
int64_t look_held(const struct account_look *look, enum service service, int64_t at_ms);

// A look, and what is recorded besides.
struct look_reading {
    const struct api_query *queries;
    int count; // up to API_QUERIES_MAX
    bool answered; // by the shard's owner, in another process: nothing else is set
    // The caller does without what is recorded where the shard has all there is of the account.
    bool may_stand;
    json_t *body; // then: what look_put makes the answer of; NULL: `results` are read
    PGresult *results[API_QUERIES_MAX];
    struct account_look look;
};
// Both are of the same open day, and as_of is set. Free what was read with look_reading_end.
int look_read(struct api_call *call, struct look_reading *reading, struct error *e);
void look_reading_end(struct look_reading *reading);

// as_of becomes the place of the shard.
void look_put_place(const struct account_look *look, const struct api_call *call);
// What is recorded of the account (`body`, with its packages and as_of) becomes what is so now.
// ERROR_UNAVAILABLE: memory is short.
int look_put(const struct account_look *look, const struct api_call *call, json_t *body,
             struct error *e);
