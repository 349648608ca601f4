#include "consumer/base/index.h"

#include "consumer/base/memory.h"

#include <assert.h>
#include <stdlib.h>

_Static_assert(sizeof(struct index_line) == INDEX_LINE_BYTES, "a line of the cache");
_Static_assert(1 << INDEX_REGION_FIRST >= INDEX_SEGMENTS, "places in a region lie without gaps");
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

// ---- where segments lie ----

// Of a region: the lines before the segment's place; of its last segment and one, those of all.
static size_t place_of(size_t segment, unsigned level)
{
    size_t before = INDEX_SEGMENTS * segment + segment * (segment - 1) / 2;
    return (before << level) / INDEX_SEGMENTS;
}

static size_t region_bytes(unsigned level)
{
    size_t bytes = place_of(INDEX_SEGMENTS, level) * sizeof(struct index_line);
    return (bytes + MEMORY_HUGE_PAGE - 1) / MEMORY_HUGE_PAGE * MEMORY_HUGE_PAGE;
}

static struct index_line *take_place(struct index *ix, size_t segment, unsigned level)
{
    uint32_t groups = groups_at(segment, level);
    if (level < INDEX_REGION_FIRST)
        return memory_aligned(groups, sizeof(struct index_line));
    assert(level < INDEX_REGION_FIRST + INDEX_REGIONS);
    struct index_region *region = &ix->regions[level - INDEX_REGION_FIRST];
    if (region->segments++ == 0)
        region->lines = memory_map(region_bytes(level));
    // An earlier one may have left something.
    return memset(region->lines + place_of(segment, level), 0, groups * sizeof(struct index_line));
}

static bool is_there(const struct index *ix, size_t segment, unsigned level)
{
    uint32_t groups = ix->segments[segment].groups;
    return groups > 0 && level_of(groups) == level;
}

// Gives back the huge pages that held nothing but lines of this segment and of others that are gone
// from there: those between its neighbours, as far as they touch its place.
static void drop_pages(struct index *ix, struct index_region *region, size_t segment,
                       unsigned level)
{
    enum { LINES = MEMORY_HUGE_PAGE / sizeof(struct index_line) }; // of a page
    size_t before = segment, after = segment + 1;
    while (before > 0 && !is_there(ix, before - 1, level))
        before--;
    while (after < INDEX_SEGMENTS && !is_there(ix, after, level))
        after++;
    size_t from = (place_of(before, level) + LINES - 1) / LINES,
           to = after == INDEX_SEGMENTS ? region_bytes(level) / MEMORY_HUGE_PAGE
                                        : place_of(after, level) / LINES,
           first = place_of(segment, level) / LINES,
           last = (place_of(segment + 1, level) + LINES - 1) / LINES;
    from = from < first ? first : from;
    to = to > last ? last : to;
    if (from < to)
        memory_drop(region->lines + from * LINES, (to - from) * MEMORY_HUGE_PAGE);
}

// The segment is not there any more.
static void leave_place(struct index *ix, size_t segment, unsigned level, struct index_line *lines)
{
    if (level < INDEX_REGION_FIRST) {
        free(lines);
        return;
    }
    struct index_region *region = &ix->regions[level - INDEX_REGION_FIRST];
    assert(region->segments > 0);
    if (--region->segments > 0) {
        drop_pages(ix, region, segment, level);
        return;
    }
    memory_unmap(region->lines, region_bytes(level));
    region->lines = NULL;
}

void index_free(struct index *ix)
{
    if (ix->lines == 0)
        return; // as most of an account's copy is, which is made for each question about it
    for (size_t s = 0; s < INDEX_SEGMENTS; s++) {
        struct index_segment gone = ix->segments[s];
        ix->segments[s] = (struct index_segment){0};
        if (gone.groups > 0)
            leave_place(ix, s, level_of(gone.groups), gone.lines);
    }
    *ix = (struct index){0};
}

size_t index_memory(const struct index *ix)
{
    return ix->lines * sizeof(struct index_line);
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

static void copy_ids(const struct index_segment *from, struct index_segment *to)
{
    for (uint32_t at = 0; at < from->groups; at++) {
        const struct index_line *line = &from->lines[at];
        for (unsigned slot = 0; slot < line->used; slot++)
            put(to, (uint32_t)line->high[slot] << 8 | line->low[slot], line->ids[slot]);
    }
    assert(to->used == from->used);
    check_segment(to);
}

// Copies the segment into one of so many doublings. Nearly in order: the lines that are written
// come one after the other, as those that are read do.
static void resize(struct index *ix, size_t number, unsigned level)
{
    struct index_segment *s = &ix->segments[number], old = *s;
    *s = (struct index_segment){.lines = take_place(ix, number, level),
                                .groups = groups_at(number, level)};
    ix->lines += s->groups;
    ix->lines -= old.groups;
    copy_ids(&old, s);
    if (old.groups > 0)
        leave_place(ix, number, level_of(old.groups), old.lines);
}

// Makes the segment anew where it is.
static void rebuild(struct index_segment *s)
{
    struct index_segment old = *s;
    old.lines = memory_aligned(s->groups, sizeof *s->lines);
    memcpy(old.lines, s->lines, s->groups * sizeof *s->lines);
    memset(s->lines, 0, s->groups * sizeof *s->lines);
    s->used = 0;
    copy_ids(&old, s);
    free(old.lines);
}

void index_insert(struct index *ix, uint64_t hash, uint32_t id)
{
    size_t number = hash >> 56;
    struct index_segment *s = &ix->segments[number];
    assert(id != INDEX_NONE);
    if (s->used == limit(s->groups))
        resize(ix, number, s->groups == 0 ? 0 : level_of(s->groups) + 1);
    put(s, index_mark(hash), id);
    ix->used++;
}

void index_reserve(struct index *ix, size_t ids)
{
    size_t share = (ids + INDEX_SEGMENTS - 1) / INDEX_SEGMENTS;
    for (size_t number = 0; number < INDEX_SEGMENTS; number++) {
        const struct index_segment *s = &ix->segments[number];
        unsigned level = s->groups == 0 ? 0 : level_of(s->groups);
        while (limit(groups_at(number, level)) < s->used + share)
            level++;
        if (s->groups == 0 || level > level_of(s->groups))
            resize(ix, number, level);
    }
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
        if (level == level_of(s->groups))
            rebuild(s);
        else
            resize(ix, number, level);
    }
}
