// The order in which an audit finds a shard's rows in a topic, and its verdict on a row that it
// does not find.
#include "consumer/audit/audit_order.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static int begin(void **state)
{
    *state = order_create();
    return *state ? 0 : -1;
}

static int end(void **state)
{
    order_destroy(*state);
    return 0;
}

static void take(struct order *order, const int64_t *sequences, int count)
{
    for (int i = 0; i < count; i++)
        order_take(order, sequences[i], 100 + i);
}

static void rising_numbers_are_in_turn(void **state)
{
    struct order *order = *state;
    assert_int_equal(order_highest(order), 0);
    for (int64_t sequence = 1; sequence < 20000; sequence += 3) {
        assert_int_equal(order_turn(order, sequence), ORDER_IN_TURN);
        order_take(order, sequence, sequence * 2);
    }
    assert_int_equal(order_highest(order), 19999);
    assert_int_equal(order_highest_offset(order), 39998);
}

// Other topics have the numbers between, so a gap means nothing.
static void a_lower_one_is_late_and_the_same_one_again(void **state)
{
    struct order *order = *state;
    take(order, (int64_t[]){3, 9, 5}, 3);
    assert_int_equal(order_turn(order, 4), ORDER_LATE);
    assert_int_equal(order_turn(order, 10), ORDER_IN_TURN);
    for (int64_t sequence = 3; sequence <= 9; sequence++)
        assert_int_equal(order_turn(order, sequence),
                         sequence == 3 || sequence == 5 || sequence == 9 ? ORDER_AGAIN
                                                                         : ORDER_LATE);
    assert_int_equal(order_highest(order), 9);
    assert_int_equal(order_highest_offset(order), 101);
}

static void where_about_a_row_stands_is_known(void **state)
{
    struct order *order = *state;
    for (int64_t sequence = 1; sequence <= 9000; sequence++)
        order_take(order, sequence, 5000 + sequence);
    for (int64_t sequence = 1; sequence <= 9000; sequence++) {
        assert_true(order_near(order, sequence) <= 5000 + sequence);
        assert_true(order_near(order, sequence) > 5000 + sequence - 65);
    }
    order_take(order, 9100, 7);
    order_take(order, 9099, 20000);
    assert_int_equal(order_near(order, 9100), 7);
}

// A number from outside may have any value: it must not cost memory, and must not be mistaken for a
// distant one.
static void numbers_far_apart_are_told_apart(void **state)
{
    struct order *order = *state;
    const int64_t far[] = {INT64_MAX, 1, INT64_C(1) << 40, 4095, 4096, 8191, 8192};
    take(order, far, 7);
    for (int i = 0; i < 7; i++) {
        assert_int_equal(order_turn(order, far[i]), ORDER_AGAIN);
        assert_int_equal(order_turn(order, far[i] == 1 ? 2 : far[i] - 1),
                         far[i] == 4096 || far[i] == 8192 ? ORDER_AGAIN : ORDER_LATE);
    }
}

static void many_that_are_far_apart_are_found_again(void **state)
{
    struct order *order = *state;
    for (int64_t i = 1; i <= 3000; i++)
        order_take(order, i * 1000003, i);
    for (int64_t i = 1; i <= 3000; i++) {
        assert_int_equal(order_turn(order, i * 1000003), ORDER_AGAIN);
        assert_int_equal(order_turn(order, i * 1000003 - 1), ORDER_LATE);
    }
}

static bool pending(bool queued, bool behind, bool passed, bool goes_on)
{
    return order_is_pending(&(struct order_absence){
        .queued = queued, .behind = behind, .passed = passed, .goes_on = goes_on});
}

static void a_row_is_pending_only_while_its_turn_may_come(void **state)
{
    (void)state;
    assert_true(pending(true, false, false, false));
    assert_true(pending(true, false, false, true));
    // A transaction has ended, and its end is not known in this topic yet.
    assert_true(pending(true, false, true, true));
}

static void a_row_whose_turn_is_over_is_lost(void **state)
{
    (void)state;
    assert_false(pending(true, false, true, false)); // a tail that was lost
    // one in the middle, which the mark has not passed
    assert_false(pending(true, true, false, false));
    assert_false(pending(true, true, true, false));
    // A transaction that is open behind a later row cannot contain an earlier row.
    assert_false(pending(true, true, true, true));
    assert_false(pending(true, true, false, true));
}

static void a_row_that_the_outbox_does_not_have_comes_no_more(void **state)
{
    (void)state;
    for (int i = 0; i < 8; i++)
        assert_false(pending(false, i & 1, i & 2, i & 4));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(rising_numbers_are_in_turn, begin, end),
        cmocka_unit_test_setup_teardown(a_lower_one_is_late_and_the_same_one_again, begin, end),
        cmocka_unit_test_setup_teardown(where_about_a_row_stands_is_known, begin, end),
        cmocka_unit_test_setup_teardown(numbers_far_apart_are_told_apart, begin, end),
        cmocka_unit_test_setup_teardown(many_that_are_far_apart_are_found_again, begin, end),
        cmocka_unit_test(a_row_is_pending_only_while_its_turn_may_come),
        cmocka_unit_test(a_row_whose_turn_is_over_is_lost),
        cmocka_unit_test(a_row_that_the_outbox_does_not_have_comes_no_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
