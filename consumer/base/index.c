#include "consumer/base/index.h"

#include "consumer/base/memory.h"

#include <assert.h>
#include <stdlib.h>

enum { MOVE_AHEAD = 16 }; // a power of two

static size_t capacity(const struct index *ix)
{
    return ix->groups * INDEX_GROUP;
}

static size_t limit(size_t groups)
{
    return groups * (INDEX_GROUP - 1);
}

static void check_invariants(const struct index *ix)
{
    assert((ix->groups & (ix->groups - 1)) == 0);
    assert(ix->used + ix->deleted <= limit(ix->groups)); // a probe always comes to an empty slot
    assert((ix->tags == NULL) == (ix->groups == 0));
    assert((ix->ids == NULL) == (ix->groups == 0));
}

void index_free(struct index *ix)
{
    free(ix->tags);
    free(ix->ids);
    *ix = (struct index){0};
}

size_t index_memory(const struct index *ix)
{
    _Static_assert(sizeof *ix->tags + sizeof *ix->ids == INDEX_SLOT_BYTES, "a tag and an id");
    return capacity(ix) * INDEX_SLOT_BYTES;
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
    assert(id != INDEX_NONE);
    assert(ix->used + ix->deleted < limit(ix->groups)); // room was reserved
    size_t group = index_home(ix, hash);
    for (size_t stride = 0;;) {
        // empty or deleted
        uint64_t open = index_zeros(index_load(ix, group) & ~UINT64_C(0x0101010101010101));
        if (open) {
            size_t slot = group * INDEX_GROUP + (size_t)__builtin_ctzll(open) / 8;
            if (ix->tags[slot] == INDEX_DELETED)
                ix->deleted--;
            ix->tags[slot] = index_tag(hash);
            ix->ids[slot] = id;
            ix->used++;
            return;
        }
        group = (group + ++stride) & (ix->groups - 1);
        assert(stride <= ix->groups);
    }
}

// Moves the ids into a new table in their order: so the caller's entries are read one after the
// other, not at random places in memory.
static void move(struct index *ix, size_t groups, index_hash *hash, const void *context)
{
    check_invariants(ix);
    struct index old = *ix;
    size_t used = ix->used;
    uint32_t last = 0;
    for (size_t slot = 0; slot < capacity(&old); slot++)
        if (old.tags[slot] >= INDEX_TAGS && old.ids[slot] > last)
            last = old.ids[slot];
    size_t words = (size_t)last / 64 + 1;
    uint64_t *present = memory_grow(NULL, words, sizeof *present);
    memset(present, 0, words * sizeof *present);
    for (size_t slot = 0; slot < capacity(&old); slot++)
        if (old.tags[slot] >= INDEX_TAGS)
            present[old.ids[slot] / 64] |= UINT64_C(1) << old.ids[slot] % 64;
    index_free(&old);
    create(ix, groups);
    // The places in the new table are random, so their memory is prefetched while earlier ids are
    // stored.
    struct index_move {
        uint64_t hash;
        uint32_t id;
    } ahead[MOVE_AHEAD];
    size_t known = 0;
    for (size_t word = 0; word < words; word++)
        for (uint64_t bits = present[word]; bits; bits &= bits - 1) {
            struct index_move *place = &ahead[known % MOVE_AHEAD];
            if (known++ >= MOVE_AHEAD)
                index_insert(ix, place->hash, place->id);
            place->id = (uint32_t)(word * 64 + (size_t)__builtin_ctzll(bits));
            place->hash = hash(context, place->id);
            index_prefetch(ix, place->hash);
        }
    for (size_t i = known < MOVE_AHEAD ? 0 : known - MOVE_AHEAD; i < known; i++)
        index_insert(ix, ahead[i % MOVE_AHEAD].hash, ahead[i % MOVE_AHEAD].id);
    free(present);
    assert(ix->used == used); // no id stood there twice, and none was left behind
    assert(ix->deleted == 0);
    check_invariants(ix);
}

void index_reserve(struct index *ix, size_t extra, index_hash *hash, const void *context)
{
    if (ix->groups > 0 && ix->used + ix->deleted + extra <= limit(ix->groups))
        return;
    size_t groups = ix->groups ? ix->groups : 8;
    while (ix->used + extra > limit(groups))
        groups *= 2;
    // If half of the table is deleted slots, a table of the same size is enough. Otherwise it
    // doubles.
    if (ix->groups > 0 && ix->used + extra > limit(groups) / 2 && groups == ix->groups)
        groups *= 2;
    move(ix, groups, hash, context);
}

void index_remove_if(struct index *ix, bool (*gone)(const void *context, uint32_t id),
                     const void *context)
{
    size_t kept = 0;
    for (size_t group = 0; group < ix->groups; group++) {
        bool never_full = index_zeros(index_load(ix, group)) != 0;
        for (size_t slot = group * INDEX_GROUP; slot < (group + 1) * INDEX_GROUP; slot++) {
            if (ix->tags[slot] < INDEX_TAGS)
                continue;
            if (!gone(context, ix->ids[slot])) {
                kept++;
                continue;
            }
            // A group that still has an empty slot was never full, so no probe ever went past it.
            ix->tags[slot] = never_full ? INDEX_EMPTY : INDEX_DELETED;
            ix->used--;
            if (!never_full)
                ix->deleted++;
        }
    }
    assert(ix->used == kept);
    check_invariants(ix);
}
