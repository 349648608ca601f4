#include "consumer/base/index.h"

#include "consumer/base/memory.h"

#include <assert.h>
#include <stdlib.h>

_Static_assert(sizeof(struct index_line) == INDEX_LINE_BYTES, "a line of the cache");
_Static_assert(INDEX_SLOTS == 9, "eight marks are compared at once, and the ninth");

// How many ids fit in: a slot a line is to spare, so that few lines are passed.
static uint32_t limit(uint32_t groups)
{
    return groups * (INDEX_SLOTS - 1);
}

// The lines of a segment after so many doublings: between 1 and 2, times a power of two.
static uint32_t groups_at(size_t segment, unsigned level)
{
    return (uint32_t)(((INDEX_SEGMENTS + (uint64_t)segment) << level) / INDEX_SEGMENTS);
}

// How often a segment of so many lines has doubled.
static unsigned level_of(uint32_t groups)
{
    assert(groups > 0);
    return 31u - (unsigned)__builtin_clz(groups);
}

static void check_segment(const struct index_segment *s)
{
    assert((s->lines == NULL) == (s->groups == 0));
    assert(s->used <= limit(s->groups)); // a probe always comes to a line that is not full
}

void index_free(struct index *ix)
{
    for (size_t s = 0; s < INDEX_SEGMENTS; s++)
        free(ix->segments[s].lines);
    *ix = (struct index){0};
}

size_t index_memory(const struct index *ix)
{
    size_t lines = 0;
    for (size_t s = 0; s < INDEX_SEGMENTS; s++)
        lines += ix->segments[s].groups;
    return lines * sizeof(struct index_line);
}

static void put(struct index_segment *s, uint32_t mark, uint32_t id)
{
    uint32_t at = index_home(mark, s->groups);
    struct index_line *line = &s->lines[at];
    while (line->used == INDEX_SLOTS) {
        line->passed = 1;
        at = at + 1 == s->groups ? 0 : at + 1;
        line = &s->lines[at];
    }
    unsigned slot = line->used++;
    line->ids[slot] = id;
    line->high[slot] = (uint16_t)(mark >> 8);
    line->low[slot] = (uint8_t)mark;
    s->used++;
}

// Copies the segment into one of `groups` lines. Nearly in order: the lines that are written come
// one after the other, as those that are read do.
static void rebuild(struct index_segment *s, uint32_t groups)
{
    struct index_segment fresh = {.lines = memory_aligned(groups, sizeof *s->lines),
                                  .groups = groups};
    for (uint32_t at = 0; at < s->groups; at++) {
        const struct index_line *line = &s->lines[at];
        for (unsigned slot = 0; slot < line->used; slot++)
            put(&fresh, (uint32_t)line->high[slot] << 8 | line->low[slot], line->ids[slot]);
    }
    assert(fresh.used == s->used);
    free(s->lines);
    *s = fresh;
    check_segment(s);
}

void index_insert(struct index *ix, uint64_t hash, uint32_t id)
{
    size_t number = hash >> 56;
    struct index_segment *s = &ix->segments[number];
    assert(id != INDEX_NONE);
    if (s->used == limit(s->groups))
        rebuild(s, groups_at(number, s->groups == 0 ? 0 : level_of(s->groups) + 1));
    put(s, index_mark(hash), id);
    ix->used++;
}

// What is left moves to the front of its line. Lines stay marked as passed.
static void filter(struct index_segment *s, bool (*gone)(const void *context, uint32_t id),
                   const void *context)
{
    for (uint32_t at = 0; at < s->groups; at++) {
        struct index_line *line = &s->lines[at];
        unsigned kept = 0;
        for (unsigned slot = 0; slot < line->used; slot++) {
            if (gone(context, line->ids[slot]))
                continue;
            line->ids[kept] = line->ids[slot];
            line->high[kept] = line->high[slot];
            line->low[kept++] = line->low[slot];
        }
        s->used -= line->used - kept;
        line->used = kept & 0xf;
    }
}

void index_remove_if(struct index *ix, bool (*gone)(const void *context, uint32_t id),
                     const void *context)
{
    for (size_t number = 0; number < INDEX_SEGMENTS; number++) {
        struct index_segment *s = &ix->segments[number];
        uint32_t before = s->used;
        check_segment(s);
        filter(s, gone, context);
        if (s->used == before)
            continue;
        ix->used -= before - s->used;
        // Half of it is enough, with room for the next day: then it shrinks. In any case it is made
        // anew, so that no line stays marked as passed.
        unsigned level = level_of(s->groups);
        while (level > 0 && limit(groups_at(number, level - 1)) >= s->used + s->used / 4)
            level--;
        rebuild(s, groups_at(number, level));
    }
}
