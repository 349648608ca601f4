// A hash table of 32-bit ids by a 64-bit hash. The caller keeps the entries and compares them; the
// hash must be keyed (nobody may choose collisions).
//
//   hash   63..56 segment │ 55..32 mark │ 31..0 not used
//   index  256 segments ─► lines of 64 bytes ─► 9 slots: an id and the mark of its hash
//
// An insertion and a look-up touch one line. A segment that is full doubles by itself, from its own
// marks: the caller's entries are not read again, and the table never stops as a whole. The
// segments have different sizes, so that they double in turn: from one doubling of the whole to the
// next, between 1.41 and 1.5 times the lines that are needed are there. Large segments lie together
// in huge pages.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define INDEX_NONE UINT32_MAX

enum { INDEX_SEGMENTS = 256, INDEX_SLOTS = 9, INDEX_LINE_BYTES = 64 };
// At most, on the average of its segments: when 1.5 times the lines are there, of which each has a
// slot to spare.
enum { INDEX_ID_BYTES = INDEX_LINE_BYTES * 3 / 2 / (INDEX_SLOTS - 1) };

struct index_line {
    _Alignas(INDEX_LINE_BYTES) uint32_t ids[INDEX_SLOTS];
    uint16_t high[INDEX_SLOTS]; // the mark's upper bits
    uint8_t low[INDEX_SLOTS]; // and its lower eight
    uint8_t used : 4; // slots, from the first on
    uint8_t passed : 1; // it was full when another id came: that one lies in a line after it
};

struct index_segment {
    struct index_line *lines; // NULL while `groups` is 0
    uint32_t groups, used; // lines; ids
};

// Where segments that have doubled so often have their places, one behind the other: a small page
// would be looked up anew for nearly every id.
struct index_region {
    struct index_line *lines; // NULL: no segment is there
    uint32_t segments; // that are there
};
// Segments that have doubled less often (of some half a million ids in all) are allocated one by
// one.
enum { INDEX_REGION_FIRST = 8, INDEX_REGIONS = 14 };

struct index {
    struct index_segment segments[INDEX_SEGMENTS];
    struct index_region regions[INDEX_REGIONS]; // by doublings, from INDEX_REGION_FIRST on
    size_t used; // ids
    size_t lines; // of all segments; 0: nothing is allocated
};

void index_free(struct index *ix);
// Bytes of its lines. At the ends of regions up to three huge pages more are held.
size_t index_memory(const struct index *ix);
// The id must not be there. Aborts when memory is short.
void index_insert(struct index *ix, uint64_t hash, uint32_t id);
// Makes room for so many ids more, if their hashes are as even as those of a good key are: then
// they come in without a doubling, but for a few segments.
void index_reserve(struct index *ix, size_t ids);
// Takes out every id for which `gone` says so, in one pass over the lines.
void index_remove_if(struct index *ix, bool (*gone)(const void *context, uint32_t id),
                     const void *context);

// The ids that may match, one after the other:
//     for (struct index_probe p = index_probe(ix, hash); (id = index_next(&p)) != INDEX_NONE;)
//     compare
struct index_probe {
    const struct index_segment *segment;
    uint32_t at; // the line
    uint32_t mark;
    uint32_t matches; // slots of the line with the mark's lower bits
};

static inline const struct index_segment *index_segment(const struct index *ix, uint64_t hash)
{
    return &ix->segments[hash >> 56];
}

static inline uint32_t index_mark(uint64_t hash)
{
    return (uint32_t)(hash >> 32) & 0xffffff;
}

// The line at which an id of this mark belongs. Ids in the order of their lines are nearly in the
// order of their marks, whatever the count of lines is: so a segment is copied from line to line.
static inline uint32_t index_home(uint32_t mark, uint32_t groups)
{
    return (uint32_t)((uint64_t)mark * groups >> 24);
}

// A bit for each slot of the line whose mark ends in this byte. Eight slots are compared at once.
// The subtraction may mark more bytes above one that is equal; these are refused by the upper bits.
static inline uint32_t index_matches(const struct index_line *line, uint8_t low)
{
    uint64_t word;
    memcpy(&word, line->low, sizeof word);
    word ^= low * UINT64_C(0x0101010101010101);
    uint64_t zeros = (word - UINT64_C(0x0101010101010101)) & ~word & UINT64_C(0x8080808080808080);
    uint32_t eight = (uint32_t)((zeros >> 7) * UINT64_C(0x0102040810204080) >> 56);
    return (eight | (uint32_t)(line->low[8] == low) << 8) & ((1u << line->used) - 1);
}

static inline struct index_probe index_probe(const struct index *ix, uint64_t hash)
{
    struct index_probe p = {.segment = index_segment(ix, hash), .mark = index_mark(hash)};
    if (p.segment->groups == 0)
        return p;
    p.at = index_home(p.mark, p.segment->groups);
    p.matches = index_matches(&p.segment->lines[p.at], (uint8_t)p.mark);
    return p;
}

static inline uint32_t index_next(struct index_probe *p)
{
    if (p->segment->groups == 0)
        return INDEX_NONE;
    for (;;) {
        const struct index_line *line = &p->segment->lines[p->at];
        while (p->matches) {
            int slot = __builtin_ctz(p->matches);
            p->matches &= p->matches - 1;
            if (line->high[slot] == p->mark >> 8)
                return line->ids[slot];
        }
        if (!line->passed)
            return INDEX_NONE;
        // Ends, because there is always a line that is not full.
        p->at = p->at + 1 == p->segment->groups ? 0 : p->at + 1;
        p->matches = index_matches(&p->segment->lines[p->at], (uint8_t)p->mark);
    }
}

// Inlined by force: gcc takes a function that only prefetches for one without effect, and drops the
// call.
__attribute__((always_inline)) static inline void index_prefetch(const struct index *ix,
                                                                 uint64_t hash)
{
    const struct index_segment *segment = index_segment(ix, hash);
    const struct index_line *line = segment->lines + index_home(index_mark(hash), segment->groups);
    __builtin_prefetch(line);
    __builtin_prefetch(line + 1); // where the one in eight lies that passed the first
}
