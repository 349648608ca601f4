#include "consumer/base/memory.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

void *memory_grow(void *old, size_t count, size_t size)
{
    void *grown = reallocarray(old, count, size);
    if (!grown && count > 0)
        abort();
    return grown;
}

void *memory_reserve(void *old, size_t count, size_t *capacity, size_t size)
{
    assert(size > 0);
    assert(count <= *capacity);
    assert((old == NULL) == (*capacity == 0)); // the capacity is this array's, not another's
    if (count < *capacity)
        return old;
    *capacity = *capacity ? *capacity * 2 : 16;
    return memory_grow(old, *capacity, size);
}

void *memory_aligned(size_t count, size_t size)
{
    assert(size >= sizeof(void *));
    assert((size & (size - 1)) == 0);
    assert(count <= SIZE_MAX / size);
    void *made = aligned_alloc(size, count * size);
    if (!made)
        abort();
    memset(made, 0, count * size);
    return made;
}
