// The set of rows that a reader of the output topics has found: up to where it is complete, which
// rows are above a gap, which are strange.
#include "consumer/relay/published_rows.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct published_rows rows;

static void see(int topic, int64_t sequence, enum published_sight expected)
{
    enum published_sight sight = published_rows_see(&rows, topic, sequence);
    if (sight != expected)
        fail_msg("row %lld of topic %d: sight %d, expected %d", (long long)sequence, topic,
                 (int)sight, (int)expected);
}

static void test_rows_are_whole_up_to_the_first_gap(void **state)
{
    (void)state;
    published_rows_start(&rows, 10);
    assert_int_equal(rows.whole, 10);
    assert_int_equal(rows.highest, 0);
    see(0, 11, PUBLISHED_NEW);
    assert_int_equal(rows.whole, 11);
    see(1, 14, PUBLISHED_NEW); // one topic is read ahead of the others
    see(1, 15, PUBLISHED_NEW);
    assert_int_equal(rows.whole, 11);
    assert_int_equal(rows.highest, 15);
    see(2, 13, PUBLISHED_NEW);
    assert_int_equal(rows.whole, 11);
    for (int64_t n = 9; n <= 17; n++)
        assert_int_equal(published_rows_has(&rows, n), n <= 11 || (n >= 13 && n <= 15));
    see(0, 12, PUBLISHED_NEW);
    assert_int_equal(rows.whole, 15);
    assert_int_equal(rows.last[0], 12);
    assert_int_equal(rows.last[1], 15);
    assert_int_equal(rows.last[2], 13);
    assert_int_equal(rows.last[3], 0);
}

// Reading begins a little earlier than necessary: the first rows only say how far each topic goes.
static void test_rows_from_before_are_known(void **state)
{
    (void)state;
    published_rows_start(&rows, 10);
    see(3, 7, PUBLISHED_KNOWN);
    see(3, 10, PUBLISHED_KNOWN);
    see(3, 10, PUBLISHED_KNOWN);
    see(2, 4, PUBLISHED_KNOWN);
    assert_int_equal(rows.whole, 10);
    assert_int_equal(rows.highest, 10);
    assert_int_equal(rows.last[3], 10);
    assert_int_equal(rows.last[2], 4);
    see(3, 11, PUBLISHED_NEW);
    assert_int_equal(rows.whole, 11);
}

static void test_a_row_that_stands_there_twice_is_told(void **state)
{
    (void)state;
    published_rows_start(&rows, 10);
    see(0, 11, PUBLISHED_NEW);
    see(0, 13, PUBLISHED_NEW);
    see(0, 11, PUBLISHED_REPEATED); // below the gap
    see(0, 13, PUBLISHED_REPEATED); // above it
    see(1, 13, PUBLISHED_REPEATED); // in another topic
    assert_int_equal(rows.whole, 11);
    assert_int_equal(rows.last[0], 13);
}

static void test_a_row_behind_a_later_one_of_its_topic_is_told(void **state)
{
    (void)state;
    published_rows_start(&rows, 10);
    see(0, 12, PUBLISHED_NEW);
    see(1, 11, PUBLISHED_NEW); // of another topic
    see(0, 14, PUBLISHED_NEW);
    see(0, 13, PUBLISHED_LATE);
    assert_int_equal(rows.whole, 14); // it stands there all the same
    assert_int_equal(rows.last[0], 14);
}

static void test_the_window_ends_where_rows_cannot_be_told_apart(void **state)
{
    (void)state;
    const int64_t from = 1000;
    published_rows_start(&rows, from);
    see(0, from + PUBLISHED_WINDOW + 1, PUBLISHED_AHEAD);
    assert_int_equal(rows.highest, 0); // it must be shown again
    assert_int_equal(rows.last[0], 0);
    see(0, from + PUBLISHED_WINDOW, PUBLISHED_NEW);
    assert_true(published_rows_has(&rows, from + PUBLISHED_WINDOW));
    assert_false(published_rows_has(&rows, from + PUBLISHED_WINDOW + 1));
    assert_false(published_rows_has(&rows, from + 2 * (int64_t)PUBLISHED_WINDOW));
    see(1, from + 1, PUBLISHED_NEW);
    // whose place row from + 1 had
    assert_false(published_rows_has(&rows, from + PUBLISHED_WINDOW + 1));
    see(0, from + PUBLISHED_WINDOW + 1, PUBLISHED_NEW);
    see(0, from + PUBLISHED_WINDOW + 2, PUBLISHED_AHEAD);
}

// Every place of the window is used again and again.
static void test_places_serve_later_rows(void **state)
{
    (void)state;
    published_rows_start(&rows, 5);
    const int64_t last = 3 * (int64_t)PUBLISHED_WINDOW + 77;
    for (int64_t n = 6; n <= last; n += 2) {
        see(1, n + 1, PUBLISHED_NEW); // each pair in the other order
        assert_false(published_rows_has(&rows, n));
        see(0, n, PUBLISHED_NEW);
        assert_int_equal(rows.whole, n + 1);
        assert_false(published_rows_has(&rows, n + 2));
    }
}

// The other topics are a whole window behind.
static void test_a_window_that_is_full_is_whole_at_once(void **state)
{
    (void)state;
    published_rows_start(&rows, 5);
    for (int64_t n = 7; n <= 5 + PUBLISHED_WINDOW; n++)
        see(0, n, PUBLISHED_NEW);
    assert_int_equal(rows.whole, 5);
    see(1, 6, PUBLISHED_NEW);
    assert_int_equal(rows.whole, 5 + PUBLISHED_WINDOW);
    for (int64_t n = rows.whole + 1; n <= rows.whole + PUBLISHED_WINDOW; n++)
        if (published_rows_has(&rows, n))
            fail_msg("row %lld is had", (long long)n);
}

static void test_expired_rows_are_taken_as_read(void **state)
{
    (void)state;
    published_rows_start(&rows, 10);
    see(0, 12, PUBLISHED_NEW);
    see(0, 16, PUBLISHED_NEW);
    see(0, 19, PUBLISHED_NEW);
    published_rows_take_as_read(&rows, 9);
    assert_int_equal(rows.whole, 10);
    published_rows_take_as_read(&rows, 15);
    assert_int_equal(rows.whole, 16); // and what stands behind them
    assert_true(published_rows_has(&rows, 19));
    assert_false(published_rows_has(&rows, 17));
    assert_false(published_rows_has(&rows, 12 + PUBLISHED_WINDOW)); // whose place row 12 had
    see(1, 14, PUBLISHED_REPEATED);
}

static void test_more_than_a_window_may_have_expired(void **state)
{
    (void)state;
    for (int64_t more = -1; more <= 1; more++) {
        const int64_t to = 10 + PUBLISHED_WINDOW + more;
        published_rows_start(&rows, 10);
        for (int64_t n = 12; n <= 10 + PUBLISHED_WINDOW; n += 2)
            see(0, n, PUBLISHED_NEW);
        published_rows_take_as_read(&rows, to);
        // the last row of the window stands there
        assert_int_equal(rows.whole, more < 0 ? to + 1 : to);
        for (int64_t n = rows.whole + 1; n <= rows.whole + PUBLISHED_WINDOW; n++)
            if (published_rows_has(&rows, n))
                fail_msg("row %lld is had", (long long)n);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows_are_whole_up_to_the_first_gap),
        cmocka_unit_test(test_rows_from_before_are_known),
        cmocka_unit_test(test_a_row_that_stands_there_twice_is_told),
        cmocka_unit_test(test_a_row_behind_a_later_one_of_its_topic_is_told),
        cmocka_unit_test(test_the_window_ends_where_rows_cannot_be_told_apart),
        cmocka_unit_test(test_places_serve_later_rows),
        cmocka_unit_test(test_a_window_that_is_full_is_whole_at_once),
        cmocka_unit_test(test_expired_rows_are_taken_as_read),
        cmocka_unit_test(test_more_than_a_window_may_have_expired),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
