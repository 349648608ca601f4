#include "pricing/money.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

// R1
static void sums_are_exact(void **state)
{
    (void)state;
    fen_t r = 7;
    assert_true(money_add(100, -250, &r) && r == -150);
    assert_true(money_add(INT64_MAX - 1, 1, &r) && r == INT64_MAX);
    assert_true(money_sub(100, 250, &r) && r == -150);
    assert_true(money_sub(INT64_MIN + 1, 1, &r) && r == INT64_MIN);
    assert_true(money_times(24000, 1000, &r) && r == 24000000);
    assert_true(money_times(1000000000, -1000000000, &r) && r == INT64_C(-1000000000000000000));
}

// R1
static void overflow_leaves_the_result_alone(void **state)
{
    (void)state;
    fen_t r = 7;
    assert_false(money_add(INT64_MAX, 1, &r));
    assert_false(money_add(INT64_MIN, -1, &r));
    assert_false(money_sub(INT64_MIN, 1, &r));
    assert_false(money_sub(0, INT64_MIN, &r));
    assert_false(money_times(INT64_MAX / 2 + 1, 2, &r));
    assert_false(money_times(INT64_MIN, -1, &r));
    assert_int_equal(r, 7);
}

static void yuan_have_two_decimals(void **state)
{
    (void)state;
    static const struct {
        fen_t fen;
        const char *text;
    } rows[] = {
        {0, "0.00"},
        {1, "0.01"},
        {-1, "-0.01"},
        {99, "0.99"},
        {100, "1.00"},
        {250, "2.50"},
        {-123450, "-1234.50"},
        {INT64_MAX, "92233720368547758.07"},
        {INT64_MIN, "-92233720368547758.08"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[MONEY_TEXT_SIZE];
        assert_string_equal(money_format_yuan(rows[i].fen, text), rows[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_are_exact),
        cmocka_unit_test(overflow_leaves_the_result_alone),
        cmocka_unit_test(yuan_have_two_decimals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
