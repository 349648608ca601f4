// Arrays that grow. When memory is short these functions abort: the core cannot go on without it,
// and a fold can be loaded again.
#pragma once

#include <stddef.h>

// realloc of count * size bytes.
void *memory_grow(void *old, size_t count, size_t size);
// Room for one more element of `size` bytes: doubles *capacity where count has reached it.
void *memory_reserve(void *old, size_t count, size_t *capacity, size_t size);
// `count` elements that are zero. Each is aligned to its size, which is a power of two.
void *memory_aligned(size_t count, size_t size);

// `size` bytes that are zero, a multiple of MEMORY_HUGE_PAGE and aligned to it, in pages of their
// own: huge ones, where the system has them. Each costs one fault instead of 512, and the processor
// remembers the addresses of far more of it. To be given back by memory_unmap with the same size.
enum { MEMORY_HUGE_PAGE = 2 << 20 };
void *memory_map(size_t size);
void memory_unmap(void *mapped, size_t size);
// Gives the memory of whole huge pages back, and keeps their addresses: they read as zeros.
void memory_drop(void *pages, size_t size);
