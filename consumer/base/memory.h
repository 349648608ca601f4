// Arrays that grow. The core cannot go on without memory, and a fold can be loaded again: it
// aborts.
#pragma once

#include <stddef.h>

// realloc of count * size bytes.
void *memory_grow(void *old, size_t count, size_t size);
// Room for one more element of `size` bytes: doubles *capacity where count has reached it.
void *memory_reserve(void *old, size_t count, size_t *capacity, size_t size);
