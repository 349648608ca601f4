#include "consumer/audit/audit_order.h"

#include "consumer/base/index.h"
#include "consumer/base/memory.h"

#include <assert.h>
#include <stdlib.h>
#include <xxhash.h>

enum { CHUNK_ROWS = 4096, WORD_BITS = 64 };
static_assert(CHUNK_ROWS % WORD_BITS == 0, "a chunk is made of whole words");

struct order_chunk {
    int64_t number; // it has the rows from number * CHUNK_ROWS on
    uint64_t rows[CHUNK_ROWS / WORD_BITS];
    int64_t offsets[CHUNK_ROWS / WORD_BITS]; // the lowest of each word's rows
};

struct order {
    size_t count, capacity;
    struct order_chunk *chunks;
    struct index index; // by the chunk's number
    int64_t highest, highest_offset;
};

struct order *order_create(void)
{
    return calloc(1, sizeof(struct order));
}

void order_destroy(struct order *order)
{
    if (!order)
        return;
    index_free(&order->index);
    free(order->chunks);
    free(order);
}

static uint64_t hash_number(int64_t number)
{
    return XXH3_64bits(&number, sizeof number);
}

static struct order_chunk *find_chunk(const struct order *order, int64_t number)
{
    uint32_t id;
    // Nearly always the one that was added last.
    if (order->count > 0 && order->chunks[order->count - 1].number == number)
        return &order->chunks[order->count - 1];
    for (struct index_probe p = index_probe(&order->index, hash_number(number));
         (id = index_next(&p)) != INDEX_NONE;)
        if (order->chunks[id].number == number)
            return &order->chunks[id];
    return NULL;
}

static struct order_chunk *add_chunk(struct order *order, int64_t number)
{
    assert(find_chunk(order, number) == NULL); // a row's bits are in one place
    order->chunks =
        memory_reserve(order->chunks, order->count, &order->capacity, sizeof *order->chunks);
    order->chunks[order->count] = (struct order_chunk){.number = number};
    index_insert(&order->index, hash_number(number), (uint32_t)order->count);
    return &order->chunks[order->count++];
}

enum order_turn order_turn(const struct order *order, int64_t sequence)
{
    assert(sequence > 0);
    if (sequence > order->highest)
        return ORDER_IN_TURN;
    const struct order_chunk *chunk = find_chunk(order, sequence / CHUNK_ROWS);
    int64_t bit = sequence % CHUNK_ROWS;
    bool taken = chunk && chunk->rows[bit / WORD_BITS] >> (bit % WORD_BITS) & 1;
    return taken ? ORDER_AGAIN : ORDER_LATE;
}

void order_take(struct order *order, int64_t sequence, int64_t offset)
{
    assert(sequence > 0);
    struct order_chunk *chunk = find_chunk(order, sequence / CHUNK_ROWS);
    if (!chunk)
        chunk = add_chunk(order, sequence / CHUNK_ROWS);
    int64_t bit = sequence % CHUNK_ROWS;
    uint64_t *rows = &chunk->rows[bit / WORD_BITS];
    int64_t *lowest = &chunk->offsets[bit / WORD_BITS];
    if (*rows == 0 || offset < *lowest)
        *lowest = offset;
    *rows |= UINT64_C(1) << (bit % WORD_BITS);
    if (sequence <= order->highest)
        return;
    order->highest = sequence;
    order->highest_offset = offset;
    assert(order_turn(order, sequence) == ORDER_AGAIN);
}

int64_t order_near(const struct order *order, int64_t sequence)
{
    const struct order_chunk *chunk = find_chunk(order, sequence / CHUNK_ROWS);
    assert(chunk);
    assert(chunk->rows[sequence % CHUNK_ROWS / WORD_BITS] != 0); // the row stands already
    return chunk->offsets[sequence % CHUNK_ROWS / WORD_BITS];
}

int64_t order_highest(const struct order *order)
{
    return order->highest;
}

int64_t order_highest_offset(const struct order *order)
{
    return order->highest_offset;
}

bool order_is_pending(const struct order_absence *absence)
{
    return absence->queued && !absence->behind && (!absence->passed || absence->goes_on);
}
