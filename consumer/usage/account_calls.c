#include "consumer/usage/account_calls.h"

#include "consumer/base/memory.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static void make_room(struct account_calls *chains, const struct calls *calls, size_t accounts)
{
    if (chains->account_count < accounts) {
        chains->newest = memory_grow(chains->newest, accounts, sizeof *chains->newest);
        memset(chains->newest + chains->account_count, 0,
               (accounts - chains->account_count) * sizeof *chains->newest);
        chains->account_count = accounts;
    }
    if (chains->block_count < calls->block_count) {
        chains->before = memory_grow(chains->before, calls->block_count, sizeof(uint32_t *));
        memset(chains->before + chains->block_count, 0,
               (calls->block_count - chains->block_count) * sizeof(uint32_t *));
        chains->block_count = calls->block_count;
    }
}

static struct chained_day *chained_day(struct account_calls *chains, const struct usage_day *day)
{
    for (size_t i = 0; i < chains->day_count; i++)
        if (chains->days[i].day == day->day)
            return &chains->days[i];
    chains->days = memory_reserve(chains->days, chains->day_count, &chains->day_capacity,
                                  sizeof *chains->days);
    struct chained_day *added = &chains->days[chains->day_count++];
    *added = (struct chained_day){day->day, day->settled};
    return added;
}

// Up to `most` calls of a day; returns how many.
static size_t chain_some(struct account_calls *chains, const struct calls *calls,
                         const struct usage_day *day, size_t most)
{
    struct chained_day *chained = chained_day(chains, day);
    uint32_t from = chained->seen;
    assert(from >= day->settled);
    for (; chained->seen < day->count && chained->seen - from < most; chained->seen++) {
        uint32_t number = day->blocks[chained->seen / CALL_BLOCK];
        uint32_t at = chained->seen % CALL_BLOCK;
        uint32_t account = calls->blocks[number]->account[at];
        if (!chains->before[number])
            chains->before[number] = memory_grow(NULL, CALL_BLOCK, sizeof(uint32_t));
        chains->before[number][at] = chains->newest[account];
        chains->newest[account] = number * CALL_BLOCK + at + 1;
    }
    return chained->seen - from;
}

bool account_calls_catch_up(struct account_calls *chains, const struct calls *calls,
                            size_t accounts, size_t most)
{
    size_t left = most;
    make_room(chains, calls, accounts);
    for (size_t d = 0; d < calls->day_count && left > 0; d++)
        left -= chain_some(chains, calls, &calls->days[d], left);
    return left > 0;
}

uint32_t account_calls_newest(const struct account_calls *chains, uint32_t account)
{
    return account < chains->account_count ? chains->newest[account] : 0;
}

uint32_t account_calls_before(const struct account_calls *chains, uint32_t entry)
{
    return chains->before[entry / CALL_BLOCK][entry % CALL_BLOCK];
}

size_t account_calls_memory(const struct account_calls *chains)
{
    size_t used =
        chains->account_count * sizeof *chains->newest + chains->block_count * sizeof(uint32_t *);
    for (size_t b = 0; b < chains->block_count; b++)
        used += chains->before[b] ? CALL_BLOCK * sizeof(uint32_t) : 0;
    return used;
}

void account_calls_drop(struct account_calls *chains)
{
    for (size_t b = 0; b < chains->block_count; b++)
        free(chains->before[b]);
    free(chains->before);
    free(chains->newest);
    free(chains->days);
    *chains = (struct account_calls){0};
}
