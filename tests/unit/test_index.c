// Compares the index with a naive set: inserting, growing, removing, and what a probe may return.
#include "consumer/base/index.h"
#include "consumer/base/memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>

#include <cmocka.h>

enum { IDS = 20000, ROUNDS = 60, SEEDS = 12 };

static uint64_t seed_state;

static uint64_t pick(uint64_t below)
{
    seed_state = seed_state * 6364136223846793005u + 1442695040888963407u;
    return (seed_state >> 33) % below;
}

struct set {
    struct index index;
    size_t count;
    uint64_t hashes[IDS];
    bool present[IDS], gone[IDS];
};

static bool is_gone(const void *context, uint32_t id)
{
    const struct set *set = context;
    assert_true(set->present[id]); // asked once of each that is there
    return set->gone[id];
}

// How often a probe returns the id; it ends in any case.
static int found(const struct set *set, uint64_t hash, uint32_t wanted)
{
    uint32_t id;
    size_t candidates = 0;
    int times = 0;
    for (struct index_probe p = index_probe(&set->index, hash);
         (id = index_next(&p)) != INDEX_NONE;) {
        assert_true(id < IDS && set->present[id]); // never a slot that is empty or deleted
        assert_true(++candidates <= set->count);
        times += id == wanted;
    }
    return times;
}

static void check_segment(const struct index_segment *segment)
{
    size_t used = 0;
    assert_true((segment->lines == NULL) == (segment->groups == 0));
    for (uint32_t at = 0; segment->lines && at < segment->groups; at++) {
        assert_true(segment->lines[at].used <= INDEX_SLOTS);
        used += segment->lines[at].used;
    }
    assert_int_equal(used, segment->used);
    assert_true(used <= (size_t)segment->groups * (INDEX_SLOTS - 1));
}

static void check_bounds(const struct set *set)
{
    size_t used = 0, lines = 0;
    for (size_t s = 0; s < INDEX_SEGMENTS; s++) {
        check_segment(&set->index.segments[s]);
        used += set->index.segments[s].used;
        lines += set->index.segments[s].groups;
    }
    assert_int_equal(used, set->count);
    assert_int_equal(set->index.used, set->count);
    assert_int_equal(index_memory(&set->index), lines * INDEX_LINE_BYTES);
}

static void check_all(const struct set *set)
{
    check_bounds(set);
    for (uint32_t id = 0; id < IDS; id++)
        if (set->hashes[id] != 0)
            assert_int_equal(found(set, set->hashes[id], id), set->present[id]);
}

static void insert(struct set *set, uint32_t id, uint64_t hash)
{
    set->hashes[id] = hash;
    index_insert(&set->index, hash, id);
    set->present[id] = true;
    set->count++;
}

static void remove_some(struct set *set, uint64_t one_in)
{
    for (uint32_t id = 0; id < IDS; id++)
        set->gone[id] = set->present[id] && pick(one_in) == 0;
    index_remove_if(&set->index, is_gone, set);
    for (uint32_t id = 0; id < IDS; id++) {
        if (!set->gone[id])
            continue;
        set->present[id] = false;
        set->count--;
    }
}

// Hashes of full width; hashes of one line, where all ids lie one behind the other; hashes whose
// marks end alike.
static uint64_t random_hash(uint64_t kind)
{
    uint64_t hash = pick(UINT64_C(1) << 31) << 33 ^ pick(UINT64_C(1) << 31) << 7;
    if (kind == 1)
        hash &= UINT64_C(0x0100000300000000);
    if (kind == 2)
        hash &= ~UINT64_C(0xff00000000);
    return hash | 1; // never 0, which is "none" above
}

static void random_operations_agree_with_a_set(void **state)
{
    (void)state;
    struct set *set = malloc(sizeof *set);
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        memset(set, 0, sizeof *set);
        seed_state = seed;
        uint64_t limit = seed % 3 == 1 ? 400 : IDS; // in one line all are probed, each time
        for (int round = 0; round < ROUNDS; round++) {
            for (uint64_t n = pick(limit / 20); n > 0; n--) {
                uint32_t id = (uint32_t)pick(limit);
                if (!set->present[id])
                    insert(set, id, random_hash(seed % 3));
            }
            if (pick(4) == 0)
                remove_some(set, 1 + pick(4)); // one_in 1: all of them
            check_bounds(set);
            if (round % 10 == 9)
                check_all(set);
        }
        check_all(set);
        index_free(&set->index);
        assert_int_equal(index_memory(&set->index), 0);
    }
    free(set);
}

static void an_empty_index_holds_nothing(void **state)
{
    (void)state;
    struct set *set = calloc(1, sizeof *set);
    assert_int_equal(found(set, 5, 0), 0);
    index_prefetch(&set->index, 5);
    index_remove_if(&set->index, is_gone, set);
    index_free(&set->index);
    free(set);
}

static uint32_t lines_of(const struct index *ix, uint64_t hash)
{
    return ix->segments[hash >> 56].groups;
}

// Only the segment of the new id grows, to twice its lines, and the segments take turns. So there
// is no moment at which the table stands still, and none at which it has twice the memory it needs.
static void segments_grow_in_turn(void **state)
{
    (void)state;
    enum { MANY = 1200000, SETTLED = 100000 };
    struct index ix = {0};
    seed_state = 7;
    for (uint32_t id = 0; id < MANY; id++) {
        uint64_t hash = random_hash(0);
        size_t before = index_memory(&ix);
        uint32_t lines = lines_of(&ix, hash);
        index_insert(&ix, hash, id);
        uint32_t added = lines_of(&ix, hash) - lines;
        assert_int_equal(index_memory(&ix) - before, (size_t)added * INDEX_LINE_BYTES);
        assert_true(added == 0 || lines == 0 || added == lines || added == lines + 1);
        if (id < SETTLED)
            continue;
        // What calls.h says of the memory of a call. Segments are not filled quite alike: 2 %.
        assert_true(index_memory(&ix) * 100 < (size_t)(id + 1) * INDEX_ID_BYTES * 102);
        assert_true(index_memory(&ix) * 100 > (size_t)(id + 1) * INDEX_ID_BYTES * 92);
    }
    index_free(&ix);
}

// ---- large tables, whose segments lie in regions ----

// Not stored: there are many.
static uint64_t hash_of(uint32_t id)
{
    uint64_t hash = (id + UINT64_C(1)) * UINT64_C(0x9e3779b97f4a7c15);
    return (hash ^ hash >> 32) * UINT64_C(0xd6e8feb86659fd93);
}

static bool is_third(const void *context, uint32_t id)
{
    (void)context;
    return id % 3 == 0;
}

static bool is_most(const void *context, uint32_t id)
{
    (void)context;
    return id % 64 != 0;
}

static bool is_any(const void *context, uint32_t id)
{
    (void)context;
    (void)id;
    return true;
}

static void check_found(const struct index *ix, uint32_t count,
                        bool (*gone)(const void *context, uint32_t id))
{
    for (uint32_t id = 0; id < count; id++) {
        uint32_t each, times = 0;
        for (struct index_probe p = index_probe(ix, hash_of(id));
             (each = index_next(&p)) != INDEX_NONE;)
            times += each == id;
        assert_int_equal(times, gone && gone(NULL, id) ? 0 : 1);
    }
}

// Of all regions, in huge pages: what the system holds, and not only has addresses for.
static size_t resident_pages(const struct index *ix)
{
    static unsigned char small[MEMORY_HUGE_PAGE / 4096];
    size_t pages = 0;
    for (unsigned r = 0; r < INDEX_REGIONS; r++) {
        const char *page = (const char *)ix->regions[r].lines;
        // 256 segments of between 1 and 2 times 2^8 lines, and so on.
        size_t bytes = (size_t)(256 * 256 + 255 * 128) * INDEX_LINE_BYTES << r;
        for (size_t at = 0; page && at < bytes; at += MEMORY_HUGE_PAGE) {
            assert_int_equal(mincore((void *)(uintptr_t)(page + at), MEMORY_HUGE_PAGE, small), 0);
            pages += memchr(small, 1, sizeof small) != NULL;
        }
    }
    return pages;
}

static void regions_hold_what_small_tables_hold(void **state)
{
    (void)state;
    enum { MANY = 4000000, STEP = 100000, SPARE = 3 };
    struct index ix = {0};
    for (int round = 0; round < 2; round++) {
        for (uint32_t id = 0; id < MANY; id++) {
            if (round == 0 || is_most(NULL, id))
                index_insert(&ix, hash_of(id), id);
            // Where segments have left, the pages are given back, and not before.
            if (round == 0 && id % STEP == STEP - 1)
                assert_true(resident_pages(&ix) <= index_memory(&ix) / MEMORY_HUGE_PAGE + SPARE);
            if (round == 0 && (id == MANY / 2 || id == MANY / 4 * 3))
                check_found(&ix, id + 1, NULL);
        }
        check_found(&ix, MANY, NULL);
        index_remove_if(&ix, is_most, NULL);
        assert_int_equal(resident_pages(&ix), 0);
        check_found(&ix, MANY, is_most);
    }
    index_free(&ix);
}

static void a_region_that_is_made_anew_keeps_the_others(void **state)
{
    (void)state;
    enum { MANY = 2500000 };
    struct index ix = {0};
    for (uint32_t id = 0; id < MANY; id++)
        index_insert(&ix, hash_of(id), id);
    size_t before = index_memory(&ix);
    index_remove_if(&ix, is_third, NULL);
    assert_true(resident_pages(&ix) > 0);
    assert_true(index_memory(&ix) <= before);
    check_found(&ix, MANY, is_third);
    for (size_t s = 0; s < INDEX_SEGMENTS; s++)
        check_segment(&ix.segments[s]);
    index_remove_if(&ix, is_any, NULL);
    assert_int_equal(ix.used, 0);
    assert_int_equal(resident_pages(&ix), 0);
    index_free(&ix);
}

// Like a window of days: as many ids are added as are removed. The table does not grow for ever, no
// probe becomes longer, and a table that has become too large shrinks.
static void what_comes_and_goes_does_not_grow_it(void **state)
{
    (void)state;
    struct set *set = calloc(1, sizeof *set);
    seed_state = 1;
    for (int day = 0; day < 200; day++) {
        for (uint32_t i = 0; i < 500; i++)
            insert(set, (uint32_t)(day % 8) * 500 + i, random_hash(0));
        for (uint32_t id = 0; id < IDS; id++)
            set->gone[id] = day >= 7 && id / 500 == (uint32_t)(day + 1) % 8;
        index_remove_if(&set->index, is_gone, set);
        for (uint32_t id = 0; id < IDS; id++) {
            if (!set->gone[id])
                continue;
            set->present[id] = false;
            set->count--;
        }
        check_bounds(set);
    }
    assert_int_equal(set->count, 3500);
    // at least a quarter of it is in use at the peak of a day
    assert_true(index_memory(&set->index) <= 4000 * 4 * sizeof(uint64_t));
    check_all(set);
    size_t passed = 0, lines = index_memory(&set->index) / INDEX_LINE_BYTES,
           peak = index_memory(&set->index);
    for (size_t s = 0; s < INDEX_SEGMENTS; s++)
        for (uint32_t at = 0; at < set->index.segments[s].groups; at++)
            passed += set->index.segments[s].lines[at].passed;
    assert_true(passed * 8 < lines);
    remove_some(set, 1);
    assert_int_equal(set->count, 0);
    assert_true(index_memory(&set->index) < peak / 2);
    check_all(set);
    index_free(&set->index);
    free(set);
}

// With room for as many again, few segments double; what was there before stays.
static void room_is_made_at_once(void **state)
{
    (void)state;
    struct set *set = calloc(1, sizeof *set);
    seed_state = 7;
    index_reserve(&set->index, 0);
    for (uint32_t id = 0; id < 1000; id++)
        insert(set, id, random_hash(0));
    index_reserve(&set->index, 3000);
    check_all(set);
    size_t lines = set->index.lines;
    index_reserve(&set->index, 3000); // there is room for so many
    assert_int_equal(set->index.lines, lines);
    assert_true(lines * (INDEX_SLOTS - 1) >= 4000);
    for (uint32_t id = 1000; id < 4000; id++)
        insert(set, id, random_hash(0));
    check_all(set);
    assert_true(set->index.lines < lines * 3 / 2);
    index_free(&set->index);
    free(set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(room_is_made_at_once),
        cmocka_unit_test(random_operations_agree_with_a_set),
        cmocka_unit_test(an_empty_index_holds_nothing),
        cmocka_unit_test(segments_grow_in_turn),
        cmocka_unit_test(regions_hold_what_small_tables_hold),
        cmocka_unit_test(a_region_that_is_made_anew_keeps_the_others),
        cmocka_unit_test(what_comes_and_goes_does_not_grow_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
