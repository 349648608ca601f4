#include "consumer/base/memory.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

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

void *memory_map(size_t size)
{
    assert(size > 0);
    assert(size % MEMORY_HUGE_PAGE == 0);
    // The system aligns to small pages: one huge page more, of which the ends are given back.
    size_t whole = size + MEMORY_HUGE_PAGE;
    char *made = mmap(NULL, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (made == MAP_FAILED)
        abort();
    size_t before = -(uintptr_t)made % MEMORY_HUGE_PAGE;
    if (before > 0)
        munmap(made, before);
    munmap(made + before + size, MEMORY_HUGE_PAGE - before);
    // Without huge pages it is only slower.
    (void)madvise(made + before, size, MADV_HUGEPAGE);
    return made + before;
}

void memory_unmap(void *mapped, size_t size)
{
    assert((uintptr_t)mapped % MEMORY_HUGE_PAGE == 0);
    int failed = munmap(mapped, size);
    assert(!failed); // it is what was mapped
    (void)failed;
}

void memory_drop(void *pages, size_t size)
{
    assert((uintptr_t)pages % MEMORY_HUGE_PAGE == 0);
    assert(size % MEMORY_HUGE_PAGE == 0);
    int failed = madvise(pages, size, MADV_DONTNEED);
    assert(!failed); // it is part of what was mapped
    (void)failed;
}
