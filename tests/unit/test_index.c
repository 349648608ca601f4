// Compares the index with a naive set: inserting, growing, removing, and what a probe may return.
#include "consumer/base/index.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

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

static uint64_t hash_of(const void *context, uint32_t id)
{
    return ((const struct set *)context)->hashes[id];
}

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

static void check_bounds(const struct set *set)
{
    const struct index *ix = &set->index;
    assert_int_equal(ix->used, set->count);
    assert_true(ix->groups == 0 || (ix->groups & (ix->groups - 1)) == 0);
    assert_true(ix->used + ix->deleted <= ix->groups * (INDEX_GROUP - 1));
    assert_int_equal(index_memory(ix), ix->groups * INDEX_GROUP * 5);
    size_t used = 0, deleted = 0;
    for (size_t slot = 0; slot < ix->groups * INDEX_GROUP; slot++) {
        used += ix->tags[slot] >= INDEX_TAGS;
        deleted += ix->tags[slot] == INDEX_DELETED;
    }
    assert_int_equal(used, ix->used);
    assert_int_equal(deleted, ix->deleted);
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
    index_reserve(&set->index, 1, hash_of, set);
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

// Hashes of full width, hashes of few groups, hashes of few tags: long probes, and ids that look
// alike.
static uint64_t random_hash(uint64_t kind)
{
    uint64_t hash = pick(UINT64_C(1) << 31) << 31 ^ pick(UINT64_C(1) << 31);
    if (kind == 1)
        hash &= 0x7f | 3 << 7;
    if (kind == 2)
        hash &= ~UINT64_C(0x7e);
    return hash | UINT64_C(1) << 62; // never 0, which is "none" above
}

static void random_operations_agree_with_a_set(void **state)
{
    (void)state;
    struct set *set = malloc(sizeof *set);
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        memset(set, 0, sizeof *set);
        seed_state = seed;
        uint64_t limit = seed % 3 == 1 ? 400 : IDS; // of few groups all are probed, each time
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

static void room_is_made_at_once_for_many(void **state)
{
    (void)state;
    struct set *set = calloc(1, sizeof *set);
    index_reserve(&set->index, 7 * 1024, hash_of, set);
    assert_int_equal(set->index.groups, 1024);
    uint8_t *tags = set->index.tags;
    for (uint32_t id = 0; id < 7 * 1024; id++)
        insert(set, id, random_hash(0));
    assert_ptr_equal(set->index.tags, tags); // 7/8 of the slots were there
    insert(set, 7 * 1024, random_hash(0));
    assert_int_equal(set->index.groups, 2048);
    check_all(set);
    index_free(&set->index);
    free(set);
}

// Like a window of days: as many ids are added as are removed. Deleted slots are cleared, and the
// table does not grow for ever.
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
    assert_true(set->index.groups <= 2048);
    check_all(set);
    index_free(&set->index);
    free(set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_operations_agree_with_a_set),
        cmocka_unit_test(an_empty_index_holds_nothing),
        cmocka_unit_test(room_is_made_at_once_for_many),
        cmocka_unit_test(what_comes_and_goes_does_not_grow_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
