#include "consumer/base/format.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void thousands_are_grouped(void **state)
{
    (void)state;
    char text[NUMBER_SIZE];
    assert_string_equal(format_count(0, text), "0");
    assert_string_equal(format_count(999, text), "999");
    assert_string_equal(format_count(1000, text), "1,000");
    assert_string_equal(format_count(-999, text), "-999");
    assert_string_equal(format_count(-100000, text), "-100,000");
    assert_string_equal(format_count(INT64_MIN, text), "-9,223,372,036,854,775,808");
    assert_string_equal(format_yuan(0, text), "0.00");
    assert_string_equal(format_yuan(-12345678950, text), "-123,456,789.50");
    assert_string_equal(format_yuan(99999, text), "999.99");
    assert_string_equal(format_yuan(100000, text), "1,000.00");
    assert_string_equal(format_yuan(INT64_MIN, text), "-92,233,720,368,547,758.08");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(thousands_are_grouped)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
