// A growing region for what lives as long as one step. Allocation is a pointer bump; everything is
// freed at once.
#pragma once

#include <stddef.h>

struct arena;

struct arena *arena_create(void); // NULL when memory is short
void arena_destroy(struct arena *arena);
void arena_reset(struct arena *arena); // keeps one block for the next round
void *arena_alloc(struct arena *arena, size_t size); // 16-byte aligned; aborts when memory is short
char *arena_copy(struct arena *arena, const void *data, size_t size); // terminated copy
size_t arena_used(const struct arena *arena);
