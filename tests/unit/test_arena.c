// The arena: memory of any size is aligned, does not overlap, and stays valid until the reset.
#include "consumer/base/arena.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { PIECES = 400 };

static void fill_and_check(struct arena *arena, size_t scale)
{
    unsigned char *pieces[PIECES];
    size_t sizes[PIECES], total = 0;
    for (size_t i = 0; i < PIECES; i++) {
        sizes[i] = i * i % 97 * scale;
        pieces[i] = arena_alloc(arena, sizes[i]);
        assert_int_equal((uintptr_t)pieces[i] % 16, 0);
        memset(pieces[i], (int)i, sizes[i]);
        total += sizes[i];
    }
    assert_true(arena_used(arena) >= total);
    for (size_t i = 0; i < PIECES; i++)
        for (size_t at = 0; at < sizes[i]; at++)
            assert_true(pieces[i][at] == (unsigned char)i);
}

static void pieces_lie_apart(void **state)
{
    (void)state;
    struct arena *arena = arena_create();
    for (size_t scale = 1; scale <= 1000; scale *= 10) { // up to more than a block
        fill_and_check(arena, scale);
        arena_reset(arena);
        assert_int_equal(arena_used(arena), 0);
    }
    fill_and_check(arena, 1);
    arena_destroy(arena);
}

static void a_reset_keeps_one_block_and_no_outsized_one(void **state)
{
    (void)state;
    struct arena *arena = arena_create();
    arena_reset(arena); // empty
    void *first = arena_alloc(arena, 100);
    arena_reset(arena);
    assert_ptr_equal(arena_alloc(arena, 200), first);
    memset(arena_alloc(arena, 1 << 20), 1, 1 << 20);
    arena_reset(arena);
    memset(arena_alloc(arena, 1 << 16), 2, 1 << 16);
    assert_int_equal(arena_used(arena), 1 << 16);
    arena_destroy(arena);
    arena_destroy(NULL);
}

static void copies_are_terminated(void **state)
{
    (void)state;
    struct arena *arena = arena_create();
    char text[] = "a\0b";
    char *copy = arena_copy(arena, text, 3), *empty = arena_copy(arena, NULL, 0);
    text[0] = '!';
    assert_memory_equal(copy, "a\0b", 4);
    assert_string_equal(empty, "");
    arena_destroy(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_lie_apart),
        cmocka_unit_test(a_reset_keeps_one_block_and_no_outsized_one),
        cmocka_unit_test(copies_are_terminated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
