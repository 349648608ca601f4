// Which calls of an account are on no settlement yet: chains through the calls, from an account's
// newest one back. There are none until somebody asks, and who asks brings them up to date. So the
// calls that nobody asks about cost nothing, and the others four bytes. Included by the files of
// the fold only.
#pragma once

#include "consumer/usage/calls.h"

struct chained_day {
    day_t day;
    uint32_t seen; // of its calls so many are in the chains, or on a settlement
};

struct account_calls {
    size_t day_count, day_capacity;
    struct chained_day *days;
    size_t account_count;
    uint32_t *newest; // by number of account: 1 + entry number; 0: none
    size_t block_count;
    uint32_t **before; // by number of block: 1 + entry number of the account's call before; NULL
};

// Takes up to `most` further calls into the chains. True: all are in them.
bool account_calls_catch_up(struct account_calls *chains, const struct calls *calls,
                            size_t accounts, size_t most);
// 1 + entry number of the account's newest call; 0: it has none.
uint32_t account_calls_newest(const struct account_calls *chains, uint32_t account);
uint32_t account_calls_before(const struct account_calls *chains, uint32_t entry);
size_t account_calls_memory(const struct account_calls *chains);
// When a day was settled, all begin anew.
void account_calls_drop(struct account_calls *chains);
