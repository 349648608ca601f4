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
