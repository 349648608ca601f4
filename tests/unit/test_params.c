// The parameters of a statement: what each value is on the wire, and what is refused.
#include "consumer/postgres/store_values.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static void assert_wire(struct sql_value value, enum sql_type type, const char *hex)
{
    char found[128] = "";
    struct slice wire = sql_wire(&value);
    assert_int_equal(value.type, type);
    assert_non_null(wire.data);
    for (size_t i = 0; i < wire.size; i++)
        snprintf(found + 2 * i, sizeof found - 2 * i, "%02x", (unsigned char)wire.data[i]);
    assert_string_equal(found, hex);
}

static void assert_null_of(struct sql_value value, enum sql_type type)
{
    assert_int_equal(value.type, type);
    assert_int_equal(value.size, SQL_NULL);
    assert_null(sql_wire(&value).data);
}

static void numbers_keep_their_edges(void **state)
{
    (void)state;
    assert_wire(sql_int8(INT64_MAX), SQL_INT8, "7fffffffffffffff");
    assert_wire(sql_int8(INT64_MIN), SQL_INT8, "8000000000000000");
    assert_wire(sql_int8(-1), SQL_INT8, "ffffffffffffffff");
    assert_wire(sql_int8(INT64_C(1) << 32), SQL_INT8, "0000000100000000");
    assert_wire(sql_int4(INT32_MAX), SQL_INT4, "7fffffff");
    assert_wire(sql_int4(INT32_MIN), SQL_INT4, "80000000");
    assert_wire(sql_int2(INT16_MAX), SQL_INT2, "7fff");
    assert_wire(sql_int2(INT16_MIN), SQL_INT2, "8000");
    assert_wire(sql_bool(true), SQL_BOOL, "01");
    assert_wire(sql_bool(false), SQL_BOOL, "00");
}

static void days_and_times_keep_their_edges(void **state)
{
    (void)state;
    assert_wire(sql_day(DAY_NONE), SQL_DATE, "80000000"); // -infinity
    assert_wire(sql_day(10957), SQL_DATE, "00000000"); // 2000-01-01
    assert_wire(sql_day(0), SQL_DATE, "ffffd533");
    assert_wire(sql_time(INT64_C(946684800000)), SQL_TIMESTAMPTZ, "0000000000000000");
    assert_wire(sql_time(INT64_C(946684800001)), SQL_TIMESTAMPTZ, "00000000000003e8");
    assert_wire(sql_time(STORE_TIME_MIN_MS), SQL_TIMESTAMPTZ, "fd0f7cc1411fa000");
    assert_wire(sql_time(STORE_TIME_MIN_MS - 1), SQL_TIMESTAMPTZ, "8000000000000000");
    assert_wire(sql_time(INT64_MIN), SQL_TIMESTAMPTZ, "8000000000000000");
    assert_wire(sql_time(STORE_TIME_MAX_MS), SQL_TIMESTAMPTZ, "7fffff5bb3b29c18");
    assert_wire(sql_time(STORE_TIME_MAX_MS + 1), SQL_TIMESTAMPTZ, "7fffffffffffffff");
    assert_wire(sql_time(INT64_MAX), SQL_TIMESTAMPTZ, "7fffffffffffffff");
}

static void a_null_has_a_type_and_an_empty_text_is_none(void **state)
{
    (void)state;
    assert_null_of(sql_slice((struct slice){0}), SQL_TEXT);
    assert_null_of(sql_text(NULL), SQL_TEXT);
    assert_null_of(sql_bytea(NULL, 0), SQL_BYTEA);
    assert_null_of(sql_given(false, sql_int8(7)), SQL_INT8);
    assert_null_of(sql_given(false, sql_time(7)), SQL_TIMESTAMPTZ);
    assert_null_of(sql_given(false, sql_text("a")), SQL_TEXT);
    assert_wire(sql_given(true, sql_int8(7)), SQL_INT8, "0000000000000007");
    assert_wire(sql_text(""), SQL_TEXT, "");
    assert_wire(sql_bytea("", 0), SQL_BYTEA, "");
    assert_wire(sql_bytea("\0\xff", 2), SQL_BYTEA, "00ff");
}

// What is not UTF-8 becomes U+FFFD; no character is cut in two.
static void a_text_of_unknown_making_is_cleaned_and_cut(void **state)
{
    (void)state;
    char out[8];
    assert_wire(sql_clean("a\xff", out, sizeof out), SQL_TEXT, "61efbfbd");
    assert_wire(sql_clean("", out, sizeof out), SQL_TEXT, "");
    assert_wire(sql_clean("12345678", out, sizeof out), SQL_TEXT, "3132333435363738");
    assert_wire(sql_clean("123456789", out, sizeof out), SQL_TEXT, "3132333435363738");
    assert_wire(sql_clean("1234567\xc3\xa9", out, sizeof out), SQL_TEXT, "31323334353637");
    assert_wire(sql_clean("123456\xff", out, sizeof out), SQL_TEXT, "313233343536");
    assert_wire(sql_clean("12345\xe2\x82\xac", out, sizeof out), SQL_TEXT, "3132333435e282ac");
}

static void values_stand_behind_their_lengths(void **state)
{
    (void)state;
    static const unsigned char expected[] = {0,    0, 0, 4, 0, 0,   0,   7, 0xff, 0xff, 0xff,
                                             0xff, 0, 0, 0, 2, 'a', 'b', 0, 0,    0,    0};
    struct bytes bytes = {0};
    struct sql_row row;
    sql_row_set(&row, SQL_PARAMS(sql_int4(7), sql_given(false, sql_int8(1)), sql_text("ab"),
                                 sql_bytea("", 0)));
    assert_int_equal(row.count, 4);
    bytes_values(&bytes, sql_row_params(&row));
    assert_int_equal(bytes.used, sizeof expected);
    assert_memory_equal(bytes.data, expected, sizeof expected);
    bytes_release(&bytes);
}

// How a child ended that fills a row with so many values.
static int filled(int count)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct sql_value values[SQL_PARAMS_MAX + 1];
        struct sql_row row;
        for (int i = 0; i <= SQL_PARAMS_MAX; i++)
            values[i] = sql_int4(i);
        if (!freopen("/dev/null", "w", stderr))
            _exit(2);
        sql_row_set(&row, (struct sql_params){values, count});
        _exit(row.count == count ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

// A list that the compiler counted has been refused before: unit_params_refuses_*.
static void no_more_values_than_there_is_room_for(void **state)
{
    (void)state;
    int status = filled(SQL_PARAMS_MAX);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    status = filled(SQL_PARAMS_MAX + 1);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_keep_their_edges),
        cmocka_unit_test(days_and_times_keep_their_edges),
        cmocka_unit_test(a_null_has_a_type_and_an_empty_text_is_none),
        cmocka_unit_test(a_text_of_unknown_making_is_cleaned_and_cut),
        cmocka_unit_test(values_stand_behind_their_lengths),
        cmocka_unit_test(no_more_values_than_there_is_room_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
