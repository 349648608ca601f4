#include "consumer/core/index.h"

#include "consumer/core/memory.h"

#include <assert.h>
#include <stdlib.h>

static size_t capacity(const struct index *ix)
{
    return ix->groups * INDEX_GROUP;
}

static size_t limit(size_t groups)
{
    return groups * (INDEX_GROUP - 1);
}

void index_free(struct index *ix)
{
    free(ix->tags);
    free(ix->ids);
    *ix = (struct index){0};
}

size_t index_memory(const struct index *ix)
{
    return capacity(ix) * (sizeof *ix->tags + sizeof *ix->ids);
}

static void create(struct index *ix, size_t groups)
{
    *ix = (struct index){.groups = groups};
    ix->tags = memory_grow(NULL, capacity(ix), sizeof *ix->tags);
    ix->ids = memory_grow(NULL, capacity(ix), sizeof *ix->ids);
    memset(ix->tags, INDEX_EMPTY, capacity(ix));
}

void index_insert(struct index *ix, uint64_t hash, uint32_t id)
{
    size_t group = (hash >> 7) & (ix->groups - 1);
    for (size_t stride = 0;;) {
        uint64_t open = index_load(ix, group) & UINT64_C(0x8080808080808080); // empty or deleted
        if (open) {
            size_t slot = group * INDEX_GROUP + (size_t)__builtin_ctzll(open) / 8;
            if (ix->tags[slot] == INDEX_DELETED) ix->deleted--;
            ix->tags[slot] = hash & 0x7f;
            ix->ids[slot] = id;
            ix->used++;
            return;
        }
        group = (group + ++stride) & (ix->groups - 1);
        assert(stride <= ix->groups);
    }
}

void index_reserve(struct index *ix, size_t extra, index_hash *hash, const void *context)
{
    if (ix->groups > 0 && ix->used + ix->deleted + extra <= limit(ix->groups)) return;
    size_t groups = ix->groups ? ix->groups : 8;
    while (ix->used + extra > limit(groups)) groups *= 2;
    // Half of it deleted: the same size again is enough once the deleted slots are gone. Else double.
    if (ix->groups > 0 && ix->used + extra > limit(groups) / 2 && groups == ix->groups) groups *= 2;
    struct index old = *ix;
    create(ix, groups);
    for (size_t slot = 0; slot < capacity(&old); slot++)
        if (old.tags[slot] < INDEX_EMPTY) index_insert(ix, hash(context, old.ids[slot]), old.ids[slot]);
    index_free(&old);
}

void index_remove_if(struct index *ix, bool (*gone)(const void *context, uint32_t id), const void *context)
{
    for (size_t group = 0; group < ix->groups; group++) {
        uint64_t word = index_load(ix, group);
        bool never_full = (word & (~word << 6) & UINT64_C(0x8080808080808080)) != 0;
        for (size_t slot = group * INDEX_GROUP; slot < (group + 1) * INDEX_GROUP; slot++) {
            if (ix->tags[slot] >= INDEX_EMPTY || !gone(context, ix->ids[slot])) continue;
            // A group that still has an empty slot was never full, so no probe ever went past it.
            ix->tags[slot] = never_full ? INDEX_EMPTY : INDEX_DELETED;
            ix->used--;
            if (!never_full) ix->deleted++;
        }
    }
}
