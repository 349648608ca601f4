// The accepted calls of open and retained usage days, column-wise: CALL_BYTES a call and its share
// of the identity index. An entry is identified by its usage day and its ordinal in that day: 0 is
// the call accepted first.
#pragma once

#include "consumer/base/index.h"
#include "consumer/usage/identity.h"
#include "pricing/book.h"

// What a call costs in its columns; and with its share of the index at most. The latter stands in
// messages, so its text is wanted too.
enum { CALL_BYTES = 28 };
#define CALL_BYTES_RESIDENT 40
#define CALL_TEXT_OF(number) #number
#define CALL_TEXT(number) CALL_TEXT_OF(number)
#define CALL_BYTES_RESIDENT_TEXT CALL_TEXT(CALL_BYTES_RESIDENT)

enum { CALL_BLOCK = 4096, CALL_MS_BITS = 27, CALL_SERVICE_BITS = 4 };

// Its calls never change once they are there, so that another thread may read those that it was
// told of, while more are added behind them.
struct call_block {
    _Atomic uint32_t holders; // the calls that it belongs to, and snapshots of them
    day_t day;
    uint32_t number; // among those of its day
    uint64_t half[CALL_BLOCK][2]; // identity
    uint32_t account[CALL_BLOCK];
    // from the lowest bit on: ms in the usage day, the service, and in the last bit a packed UUID
    uint32_t when[CALL_BLOCK];
    uint32_t units[CALL_BLOCK];
};

struct usage_day {
    day_t day;
    uint32_t count; // accepted calls
    uint32_t settled; // of these, the first `settled` ones are on a settlement
    int64_t first_offset; // of the first accepted call; a replay must reach back to it
    size_t block_count, block_capacity;
    uint32_t *blocks; // numbers
};

struct calls {
    struct index index; // of entry numbers: block number * CALL_BLOCK + position
    size_t block_count, block_capacity;
    struct call_block **blocks; // NULL: free number
    size_t first_free; // no free number lies below
    size_t day_count, day_capacity;
    struct usage_day *days; // rising days
    int64_t count; // entries held
};

// What is billed of a call; two calls of one identity with equal content are one call.
struct call {
    day_t day; // usage day
    uint32_t account;
    struct identity identity;
    int64_t when; // ms in the usage day
    enum service service;
    int64_t units;
};

void calls_free(struct calls *calls);
size_t calls_memory(const struct calls *calls);

enum call_match { CALL_NEW, CALL_SAME, CALL_OTHER };
// Whether the identity is known, and with the same content (usage day, time, service, units).
enum call_match calls_match(const struct calls *calls, uint64_t hash, const struct call *call);
// Adds a new call.
void calls_add(struct calls *calls, uint64_t hash, const struct call *call, int64_t offset);

// The same of many at once, of days that were told of by calls_open_day and are not complete: takes
// a whole block over, of which the first `count` calls are set, and its day and number. Their
// identities are put into the index by the caller. Returns the entry number of its first call.
void calls_open_day(struct calls *calls, const struct usage_day *day); // its blocks are ignored
uint32_t calls_add_block(struct calls *calls, struct call_block *block, uint32_t count);

// A block lives until each of its holders has released it, whatever thread that is.
struct call_block *call_block_create(day_t day, uint32_t number);
void call_block_hold(struct call_block *block);
void call_block_release(struct call_block *block);

// The usage day's table or NULL.
struct usage_day *calls_day(const struct calls *calls, day_t day);
// Forgets the identities of every usage day below `floor`.
void calls_forget(struct calls *calls, day_t floor);
// The lowest first_offset of the days held, or `none`.
int64_t calls_first_offset(const struct calls *calls, int64_t none);
// Asserts that days, blocks and index agree: after calls were loaded, before they are settled or
// forgotten. Looks at no call.
void calls_check(const struct calls *calls);

static inline const struct call_block *calls_block(const struct calls *calls,
                                                   const struct usage_day *day, uint32_t ordinal)
{
    return calls->blocks[day->blocks[ordinal / CALL_BLOCK]];
}
static inline int64_t call_ms(const struct call_block *block, uint32_t ordinal)
{
    return block->when[ordinal % CALL_BLOCK] & ((1u << CALL_MS_BITS) - 1);
}
static inline enum service call_service(const struct call_block *block, uint32_t ordinal)
{
    return (enum service)(block->when[ordinal % CALL_BLOCK] >> CALL_MS_BITS &
                          ((1u << CALL_SERVICE_BITS) - 1));
}
