#include "consumer/usage/calls.h"

#include "consumer/base/memory.h"

#include <assert.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>

_Static_assert(sizeof(struct call_block) - offsetof(struct call_block, half) ==
                   (size_t)CALL_BLOCK * CALL_BYTES,
               "the columns of a call");
_Static_assert(CALL_BYTES_RESIDENT == CALL_BYTES + INDEX_ID_BYTES,
               "the columns of a call and its share of the index");

enum { UUID_BIT = CALL_MS_BITS + CALL_SERVICE_BITS };
_Static_assert(UUID_BIT == 31, "time, service and kind of id fill the word of a call");
_Static_assert(SERVICE_COUNT <= 1 << CALL_SERVICE_BITS, "the service of a call has its bits");
_Static_assert(DAY_MS < 1 << CALL_MS_BITS, "the time of a call has its bits");
_Static_assert(UNITS_OF_RECORD_MAX <= UINT32_MAX, "the units of a call have 32 bits");

static uint32_t pack_when(const struct call *call)
{
    return (uint32_t)call->when | (uint32_t)call->service << CALL_MS_BITS |
           (uint32_t)call->identity.uuid << UUID_BIT;
}

static void check_day(const struct calls *calls, const struct usage_day *day)
{
    assert(day->settled <= day->count);
    assert(day->block_count <= day->block_capacity);
    assert(day->block_count == ((size_t)day->count + CALL_BLOCK - 1) / CALL_BLOCK);
    for (size_t b = 0; b < day->block_count; b++) {
        assert(day->blocks[b] < calls->block_count);
        assert(calls->blocks[day->blocks[b]]->day == day->day); // no other day's block
    }
}

void calls_check(const struct calls *calls)
{
    int64_t count = 0;
    for (size_t i = 0; i < calls->day_count; i++) {
        assert(i == 0 || calls->days[i - 1].day < calls->days[i].day);
        check_day(calls, &calls->days[i]);
        count += calls->days[i].count;
    }
    assert(count == calls->count);
    assert((size_t)count == calls->index.used); // each call is found by its identity
    assert(calls->first_free <= calls->block_count);
}

enum call_match calls_match(const struct calls *calls, uint64_t hash, const struct call *call)
{
    uint32_t when = pack_when(call), id;
    for (struct index_probe p = index_probe(&calls->index, hash);
         (id = index_next(&p)) != INDEX_NONE;) {
        const struct call_block *block = calls->blocks[id / CALL_BLOCK];
        uint32_t at = id % CALL_BLOCK;
        // R32: another account's call is another call.
        if (block->half[at][0] != call->identity.half[0] ||
            block->half[at][1] != call->identity.half[1] || block->account[at] != call->account ||
            (block->when[at] ^ when) >> UUID_BIT != 0)
            continue;
        // R29: usage day, time, service and units are the content.
        bool same = block->day == call->day && block->when[at] == when &&
                    block->units[at] == (uint32_t)call->units;
        return same ? CALL_SAME : CALL_OTHER;
    }
    return CALL_NEW;
}

struct usage_day *calls_day(const struct calls *calls, day_t day)
{
    // Calls come for the newest days.
    for (size_t i = calls->day_count; i-- > 0 && calls->days[i].day >= day;)
        if (calls->days[i].day == day)
            return &calls->days[i];
    return NULL;
}

static struct usage_day *open_day(struct calls *calls, day_t day, int64_t offset)
{
    struct usage_day *found = calls_day(calls, day);
    if (found)
        return found;
    calls->days =
        memory_reserve(calls->days, calls->day_count, &calls->day_capacity, sizeof *calls->days);
    size_t at = calls->day_count++;
    for (; at > 0 && calls->days[at - 1].day > day; at--)
        calls->days[at] = calls->days[at - 1];
    calls->days[at] = (struct usage_day){.day = day, .first_offset = offset};
    return &calls->days[at];
}

struct call_block *call_block_create(day_t day, uint32_t number)
{
    struct call_block *block = memory_grow(NULL, 1, sizeof *block);
    atomic_init(&block->holders, 1);
    block->day = day;
    block->number = number;
    return block;
}

void call_block_hold(struct call_block *block)
{
    atomic_fetch_add_explicit(&block->holders, 1, memory_order_relaxed);
}

void call_block_release(struct call_block *block)
{
    uint32_t before = atomic_fetch_sub_explicit(&block->holders, 1, memory_order_acq_rel);
    assert(before > 0);
    if (before == 1)
        free(block);
}

// Under a free number, which is returned, as the next one of its day.
static uint32_t put_block(struct calls *calls, struct usage_day *day, struct call_block *block)
{
    size_t number = calls->first_free;
    while (number < calls->block_count && calls->blocks[number])
        number++;
    if (number == calls->block_count) {
        assert(number < UINT32_MAX / CALL_BLOCK);
        calls->blocks = memory_reserve(calls->blocks, calls->block_count, &calls->block_capacity,
                                       sizeof(struct call_block *));
        calls->block_count++;
    }
    calls->blocks[number] = block;
    calls->first_free = number + 1;
    day->blocks =
        memory_reserve(day->blocks, day->block_count, &day->block_capacity, sizeof *day->blocks);
    assert(block->number == day->block_count);
    day->blocks[day->block_count++] = (uint32_t)number;
    return (uint32_t)number;
}

void calls_add(struct calls *calls, uint64_t hash, const struct call *call, int64_t offset)
{
    assert(call->account != INDEX_NONE);
    assert(call->when >= 0);
    assert(call->when < DAY_MS);
    assert(call->units >= 0);
    assert(call->units <= UNITS_OF_RECORD_MAX);
    struct usage_day *table = open_day(calls, call->day, offset);
    assert(offset >= table->first_offset); // a replay begins there
    if (table->count % CALL_BLOCK == 0)
        put_block(calls, table, call_block_create(call->day, (uint32_t)table->block_count));
    uint32_t number = table->blocks[table->count / CALL_BLOCK], at = table->count % CALL_BLOCK;
    struct call_block *block = calls->blocks[number];
    block->half[at][0] = call->identity.half[0];
    block->half[at][1] = call->identity.half[1];
    block->account[at] = call->account;
    block->when[at] = pack_when(call);
    block->units[at] = (uint32_t)call->units;
    table->count++;
    calls->count++;
    index_insert(&calls->index, hash, number * CALL_BLOCK + at);
}

void calls_open_day(struct calls *calls, const struct usage_day *day)
{
    struct usage_day *table = open_day(calls, day->day, day->first_offset);
    assert(table->count == 0);
    assert(day->settled <= day->count);
    table->settled = day->settled;
}

uint32_t calls_add_block(struct calls *calls, struct call_block *block, uint32_t count)
{
    struct usage_day *table = calls_day(calls, block->day);
    assert(table != NULL);
    assert(table->count % CALL_BLOCK == 0); // the block before is full
    assert(count > 0);
    assert(count <= CALL_BLOCK);
    uint32_t number = put_block(calls, table, block);
    table->count += count;
    calls->count += count;
    return number * CALL_BLOCK;
}

static bool is_forgotten(const void *context, uint32_t id)
{
    const struct calls *calls = context;
    return calls->blocks[id / CALL_BLOCK] == NULL;
}

void calls_forget(struct calls *calls, day_t floor)
{
    size_t gone = 0;
    calls_check(calls);
    for (; gone < calls->day_count && calls->days[gone].day < floor; gone++) {
        struct usage_day *table = &calls->days[gone];
        for (size_t b = 0; b < table->block_count; b++) {
            call_block_release(calls->blocks[table->blocks[b]]);
            calls->blocks[table->blocks[b]] = NULL;
            if (table->blocks[b] < calls->first_free)
                calls->first_free = table->blocks[b];
        }
        calls->count -= table->count;
        free(table->blocks);
    }
    if (gone == 0)
        return;
    calls->day_count -= gone;
    memmove(calls->days, calls->days + gone, calls->day_count * sizeof *calls->days);
    index_remove_if(&calls->index, is_forgotten, calls);
    calls_check(calls);
}

int64_t calls_first_offset(const struct calls *calls, int64_t none)
{
    int64_t first = none;
    for (size_t i = 0; i < calls->day_count; i++)
        if (calls->days[i].first_offset < first)
            first = calls->days[i].first_offset;
    return first;
}

size_t calls_memory(const struct calls *calls)
{
    size_t blocks = 0;
    for (size_t i = 0; i < calls->day_count; i++)
        blocks += calls->days[i].block_count;
    return index_memory(&calls->index) + blocks * sizeof(struct call_block) +
           calls->block_capacity * sizeof(struct call_block *);
}

void calls_free(struct calls *calls)
{
    for (size_t b = 0; b < calls->block_count; b++)
        if (calls->blocks[b])
            call_block_release(calls->blocks[b]);
    for (size_t i = 0; i < calls->day_count; i++)
        free(calls->days[i].blocks);
    free(calls->blocks);
    free(calls->days);
    index_free(&calls->index);
    *calls = (struct calls){0};
}
