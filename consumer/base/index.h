// Open addressing of 32-bit ids by a 64-bit hash: one tag byte and one id a slot, in groups of
// eight slots that are probed together. The caller keeps the entries and compares them; the hash
// must be keyed (nobody may choose collisions).
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define INDEX_NONE UINT32_MAX

struct index {
    uint8_t *tags; // INDEX_EMPTY, INDEX_DELETED, or eight bits of the hash, never those two
    uint32_t *ids;
    size_t groups; // a power of two, or 0
    size_t used, deleted; // slots
};

enum { INDEX_GROUP = 8, INDEX_SLOT_BYTES = 5 };
enum { INDEX_EMPTY, INDEX_DELETED, INDEX_TAGS };

typedef uint64_t index_hash(const void *context, uint32_t id);

void index_free(struct index *ix);
size_t index_memory(const struct index *ix); // bytes
// Makes room for `extra` more ids; at most 7/8 of the slots are ever taken. Aborts when memory is
// short.
void index_reserve(struct index *ix, size_t extra, index_hash *hash, const void *context);
// Room must have been reserved and the id must not be there.
void index_insert(struct index *ix, uint64_t hash, uint32_t id);
// Takes out every id for which `gone` says so, in one pass over the slots.
void index_remove_if(struct index *ix, bool (*gone)(const void *context, uint32_t id),
                     const void *context);

// The ids that may match, one after the other:
//     for (struct index_probe p = index_probe(ix, hash); (id = index_next(&p)) != INDEX_NONE;)
//     compare
struct index_probe {
    const struct index *ix;
    size_t group, stride;
    uint64_t tag, matches; // matches: one high bit a candidate slot of the group
    bool last; // the group has an empty slot: nothing lies beyond it
};

static inline uint64_t index_load(const struct index *ix, size_t group)
{
    uint64_t word;
    memcpy(&word, ix->tags + group * INDEX_GROUP, sizeof word);
    return word;
}

static inline uint8_t index_tag(uint64_t hash)
{
    uint8_t tag = (uint8_t)hash;
    return tag < INDEX_TAGS ? (uint8_t)(tag + INDEX_TAGS) : tag;
}

static inline size_t index_home(const struct index *ix, uint64_t hash)
{
    return (hash >> 8) & (ix->groups - 1); // the bits above the tag's
}

// The high bit of every byte that is zero. A borrow may add bytes above the lowest of them, none
// where there is none.
static inline uint64_t index_zeros(uint64_t word)
{
    return (word - UINT64_C(0x0101010101010101)) & ~word & UINT64_C(0x8080808080808080);
}

static inline void index_enter(struct index_probe *p)
{
    uint64_t word = index_load(p->ix, p->group);
    // A false candidate is refused by the comparison.
    p->matches = index_zeros(word ^ (p->tag * UINT64_C(0x0101010101010101)));
    p->last = index_zeros(word) != 0;
}

static inline struct index_probe index_probe(const struct index *ix, uint64_t hash)
{
    struct index_probe p = {.ix = ix, .tag = index_tag(hash)};
    if (ix->groups == 0) {
        p.last = true;
        return p;
    }
    p.group = index_home(ix, hash);
    index_enter(&p);
    return p;
}

static inline uint32_t index_next(struct index_probe *p)
{
    for (;;) {
        if (p->matches) {
            size_t slot = (size_t)__builtin_ctzll(p->matches) / 8;
            p->matches &= p->matches - 1;
            return p->ix->ids[p->group * INDEX_GROUP + slot];
        }
        if (p->last)
            return INDEX_NONE;
        // triangular: visits every group once
        p->group = (p->group + ++p->stride) & (p->ix->groups - 1);
        index_enter(p);
    }
}

// Inlined by force: gcc takes a function that only prefetches for one without effect, and drops the
// call.
__attribute__((always_inline)) static inline void index_prefetch(const struct index *ix,
                                                                 uint64_t hash)
{
    if (ix->groups == 0)
        return;
    size_t group = index_home(ix, hash);
    __builtin_prefetch(ix->tags + group * INDEX_GROUP);
    __builtin_prefetch(ix->ids + group * INDEX_GROUP);
}
