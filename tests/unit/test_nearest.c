#include "pricing/nearest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const char *const keys[] = {"brokers", "group", "properties", "calls", "credits", "dsn"};
enum { KEYS = sizeof keys / sizeof *keys };

static void finds_slips(void **state)
{
    (void)state;
    assert_string_equal(nearest("broker", keys, KEYS), "brokers");
    assert_string_equal(nearest("borkers", keys, KEYS), "brokers"); // swap
    assert_string_equal(nearest("gruop", keys, KEYS), "group");
    assert_string_equal(nearest("propertys", keys, KEYS), "properties");
    assert_string_equal(nearest("call", keys, KEYS), "calls");
    assert_string_equal(nearest("dns", keys, KEYS), "dsn");
}

static void offers_nothing_far(void **state)
{
    (void)state;
    assert_null(nearest("registry", keys, KEYS));
    assert_null(nearest("x", keys, KEYS));
    assert_null(nearest("", keys, KEYS));
    char word[200];
    memset(word, 'a', sizeof word - 1);
    word[sizeof word - 1] = 0;
    assert_null(nearest(word, keys, KEYS));
    assert_null(nearest("brokers", keys, 0));
}

static void ties_go_to_the_earlier(void **state)
{
    (void)state;
    const char *names[] = {"lists", "lisps"};
    assert_string_equal(nearest("lises", names, 2), "lists");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(finds_slips),
                                       cmocka_unit_test(offers_nothing_far),
                                       cmocka_unit_test(ties_go_to_the_earlier)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
