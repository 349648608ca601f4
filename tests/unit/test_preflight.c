// What was found before a start, and what it comes to.
#include "consumer/preflight/gates.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct findings *findings_of(struct gates *g)
{
    g->out = calloc(1, sizeof *g->out);
    assert_non_null(g->out);
    g->gate = "a gate";
    return g->out;
}

static void an_error_behind_many_warnings_is_one(void **state)
{
    (void)state;
    struct gates g = {0};
    struct error e;
    struct findings *found = findings_of(&g);
    for (int i = 0; i < FINDINGS_MAX; i++)
        WARN(&g, "warning %d", i);
    assert_int_equal(preflight_verdict(found, &e), 0);
    WRONG(&g, "what is wrong");
    assert_int_equal(preflight_verdict(found, &e), -1);
    assert_int_equal(e.kind, ERROR_CONFIG);
    assert_string_equal(e.text, "what is wrong");
    assert_int_equal(found->count, FINDINGS_MAX);
    assert_int_equal(found->left_out, 1);
    free(found);
}

static void what_waiting_cures_comes_after_what_it_does_not(void **state)
{
    (void)state;
    struct gates g = {0};
    struct error e;
    struct findings *found = findings_of(&g);
    gates_find(&g, FINDING_ERROR, ERROR_UNAVAILABLE, "away");
    assert_int_equal(preflight_verdict(found, &e), -1);
    assert_int_equal(e.kind, ERROR_UNAVAILABLE);
    WRONG(&g, "wrong");
    assert_int_equal(preflight_verdict(found, &e), -1);
    assert_int_equal(e.kind, ERROR_CONFIG);
    assert_string_equal(e.text, "wrong (and 1 more: settled check names them)");
    assert_string_equal(found->list[0].gate, "a gate");
    free(found);
}

// More errors than there is room for: the first ones stay.
static void errors_are_counted_beyond_the_room(void **state)
{
    (void)state;
    struct gates g = {0};
    struct error e;
    struct findings *found = findings_of(&g);
    for (int i = 0; i < FINDINGS_MAX + 3; i++)
        WRONG(&g, "error %d", i);
    NOTE(&g, "a note");
    assert_int_equal(found->errors, FINDINGS_MAX + 3);
    assert_int_equal(found->left_out, 4);
    assert_string_equal(found->list[0].text, "error 0");
    assert_int_equal(preflight_verdict(found, &e), -1);
    assert_string_equal(e.text, "error 0 (and 66 more: settled check names them)");
    free(found);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_error_behind_many_warnings_is_one),
        cmocka_unit_test(what_waiting_cures_comes_after_what_it_does_not),
        cmocka_unit_test(errors_are_counted_beyond_the_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
