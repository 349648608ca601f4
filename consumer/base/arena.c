#include "consumer/base/arena.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGNMENT = 16, BLOCK_SIZE = 64 * 1024 };

struct arena_block {
    struct arena_block *next;
    size_t size, used;
    _Alignas(ALIGNMENT) char bytes[];
};

struct arena {
    struct arena_block *blocks; // the one being filled first
    size_t used;
};

struct arena *arena_create(void)
{
    return calloc(1, sizeof(struct arena));
}

static void free_blocks(struct arena_block *block)
{
    while (block) {
        struct arena_block *next = block->next;
        free(block);
        block = next;
    }
}

void arena_destroy(struct arena *arena)
{
    if (!arena)
        return;
    free_blocks(arena->blocks);
    free(arena);
}

// The bytes that all blocks hold together; no block holds more than its size.
static size_t sum_used(const struct arena_block *block)
{
    size_t sum = 0;
    for (; block; block = block->next) {
        assert(block->used <= block->size);
        sum += block->used;
    }
    return sum;
}

void arena_reset(struct arena *arena)
{
    assert(sum_used(arena->blocks) == arena->used);
    arena->used = 0;
    if (!arena->blocks)
        return;
    free_blocks(arena->blocks->next);
    arena->blocks->next = NULL;
    arena->blocks->used = 0;
    if (arena->blocks->size > BLOCK_SIZE) { // an outsized block is not kept for ever
        free(arena->blocks);
        arena->blocks = NULL;
    }
}

static struct arena_block *grow(struct arena *arena, size_t size)
{
    size_t room = size > BLOCK_SIZE ? size : BLOCK_SIZE;
    struct arena_block *block = malloc(sizeof *block + room);
    if (!block)
        abort();
    *block = (struct arena_block){.next = arena->blocks, .size = room};
    arena->blocks = block;
    return block;
}

void *arena_alloc(struct arena *arena, size_t size)
{
    assert(size < SIZE_MAX / 2);
    size = (size + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
    struct arena_block *block = arena->blocks;
    assert(!block || block->used <= block->size); // their difference is the room that is left
    if (!block || block->size - block->used < size)
        block = grow(arena, size);
    void *at = block->bytes + block->used;
    assert((uintptr_t)at % ALIGNMENT == 0);
    block->used += size;
    assert(block->used <= block->size);
    arena->used += size;
    return at;
}

char *arena_copy(struct arena *arena, const void *data, size_t size)
{
    char *copy = arena_alloc(arena, size + 1);
    if (size > 0)
        memcpy(copy, data, size);
    copy[size] = '\0';
    return copy;
}

size_t arena_used(const struct arena *arena)
{
    return arena->used;
}
