// Errors: a text that grows on its way up, within its bound, and the exit status of each kind.
#include "pricing/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void context_is_put_before_the_text(void **state)
{
    (void)state;
    struct error e;
    assert_int_equal(error_set(&e, ERROR_CONFIG, "line %d", 7), -1);
    assert_int_equal(error_context(&e, "file %s", "x.yaml"), -1);
    assert_int_equal(error_context(&e, "shard %d", 3), -1);
    assert_int_equal(e.kind, ERROR_CONFIG);
    assert_string_equal(e.text, "shard 3: file x.yaml: line 7");
    error_context(&e, "shard %d", 3); // a caller adds what the text says already
    assert_string_equal(e.text, "shard 3: file x.yaml: line 7");
    error_context(&e, "shard"); // only the whole of it counts
    assert_string_equal(e.text, "shard: shard 3: file x.yaml: line 7");
}

static void nobody_need_take_it(void **state)
{
    (void)state;
    assert_int_equal(error_set(NULL, ERROR_BUG, "unheard"), -1);
    assert_int_equal(error_context(NULL, "of"), -1);
}

static void texts_end_within_their_bound(void **state)
{
    (void)state;
    struct error e;
    char text[2 * ERROR_TEXT_SIZE];
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = '\0';
    error_set(&e, ERROR_BUG, "%s", text);
    assert_int_equal(strlen(e.text), ERROR_TEXT_SIZE - 1);
    error_context(&e, "front");
    assert_memory_equal(e.text, "front: xxx", 10);
    assert_int_equal(strlen(e.text), ERROR_TEXT_SIZE - 1);
    error_context(&e, "%s", text); // a context that fills it alone
    assert_int_equal(strlen(e.text), ERROR_TEXT_SIZE - 1);
    assert_null(strchr(e.text, ':'));
}

static void each_kind_has_its_exit_status(void **state)
{
    (void)state;
    static const int statuses[] = {
        [ERROR_NONE] = 0, [ERROR_USAGE] = 64,   [ERROR_UNAVAILABLE] = 69,
        [ERROR_BUG] = 70, [ERROR_RESTART] = 75, [ERROR_CONFIG] = 78,
    };
    for (int kind = ERROR_NONE; kind <= ERROR_CONFIG; kind++)
        assert_int_equal(error_exit_status((enum error_kind)kind), statuses[kind]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(context_is_put_before_the_text),
        cmocka_unit_test(nobody_need_take_it),
        cmocka_unit_test(texts_end_within_their_bound),
        cmocka_unit_test(each_kind_has_its_exit_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
