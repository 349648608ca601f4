#include "consumer/audit/audit_expected.h"

#include "consumer/base/arena.h"
#include "consumer/base/index.h"
#include "consumer/base/memory.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

struct expected_set {
    size_t count, capacity;
    struct expected *list;
    struct index index;
    struct arena *arena;
};

struct expected_set *expected_create(void)
{
    struct expected_set *set = calloc(1, sizeof *set);
    if (!set)
        return NULL;
    set->arena = arena_create();
    if (set->arena)
        return set;
    free(set);
    return NULL;
}

void expected_destroy(struct expected_set *set)
{
    if (!set)
        return;
    arena_destroy(set->arena);
    index_free(&set->index);
    free(set->list);
    free(set);
}

void expected_empty(struct expected_set *set)
{
    set->count = 0;
    index_free(&set->index);
    arena_reset(set->arena);
}

static uint64_t hash_id(enum output output, const char *ce_id, size_t size)
{
    return XXH3_64bits_withSeed(ce_id, size, (XXH64_hash_t)output);
}

static struct slice keep_bytes(struct expected_set *set, struct slice bytes)
{
    if (!bytes.data)
        return bytes;
    return (struct slice){arena_copy(set->arena, bytes.data, bytes.size), bytes.size};
}

void expected_add(struct expected_set *set, const struct expected *row)
{
    size_t size = strlen(row->ce_id);
    assert(row->output < OUTPUT_COUNT);
    assert(set->count < UINT32_MAX); // what the index can name
    set->list = memory_reserve(set->list, set->count, &set->capacity, sizeof *set->list);
    struct expected *added = &set->list[set->count];
    *added = *row;
    added->hash = hash_id(row->output, row->ce_id, size);
    added->ce_id = arena_copy(set->arena, row->ce_id, size);
    added->key = keep_bytes(set, row->key);
    added->body = keep_bytes(set, row->body);
    index_insert(&set->index, added->hash, (uint32_t)set->count++);
}

size_t expected_count(const struct expected_set *set)
{
    return set->count;
}

struct expected *expected_at(struct expected_set *set, size_t number)
{
    assert(number < set->count);
    return &set->list[number];
}

struct expected *expected_find(struct expected_set *set, enum output output, struct slice ce_id)
{
    uint32_t id;
    if (!ce_id.data)
        return NULL;
    uint64_t hash = hash_id(output, ce_id.data, ce_id.size);
    for (struct index_probe p = index_probe(&set->index, hash);
         (id = index_next(&p)) != INDEX_NONE;) {
        struct expected *x = &set->list[id];
        if (x->hash == hash && x->output == output && strlen(x->ce_id) == ce_id.size &&
            memcmp(x->ce_id, ce_id.data, ce_id.size) == 0)
            return x;
    }
    return NULL;
}

size_t expected_memory(const struct expected_set *set)
{
    return arena_used(set->arena);
}

static int compare_numbers(const void *a, const void *b)
{
    const struct expected *x = a, *y = b;
    if (x->output != y->output)
        return x->output < y->output ? -1 : 1;
    return (x->sequence > y->sequence) - (x->sequence < y->sequence);
}

void expected_sort(struct expected_set *set)
{
    index_free(&set->index);
    if (set->count > 1)
        qsort(set->list, set->count, sizeof *set->list, compare_numbers);
}
