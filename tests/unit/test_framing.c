// What stands before a body, put on and taken off, with ids of both sizes.
#include "consumer/kafka/framing.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define SLICE(text) ((struct slice){(text), sizeof(text) - 1})

static void test_ids_of_both_sizes_stand_as_their_registries_write_them(void **state)
{
    (void)state;
    char bytes[FRAMING_SIZE_MAX];
    assert_int_equal(framing_size(FRAMING_CONFLUENT), 5);
    framing_put(FRAMING_CONFLUENT, 0x01020384, bytes);
    assert_memory_equal(bytes, "\0\1\2\3\x84", 5);
    assert_int_equal(framing_size(FRAMING_APICURIO), 9);
    framing_put(FRAMING_APICURIO, INT64_C(0x0102030405060784), bytes);
    assert_memory_equal(bytes, "\0\1\2\3\4\5\6\7\x84", 9);
}

static void test_what_was_put_on_is_taken_off(void **state)
{
    (void)state;
    static const int64_t ids[] = {0, 1, 255, 256, INT32_MAX, 1LL << 31, 1LL << 32, INT64_MAX};
    for (enum framing framing = FRAMING_CONFLUENT; framing <= FRAMING_APICURIO; framing++) {
        for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
            char bytes[FRAMING_SIZE_MAX + 1];
            int64_t id = -1;
            struct slice body;
            assert_int_equal(framing_fits(framing, ids[i]),
                             framing == FRAMING_APICURIO || ids[i] <= INT32_MAX);
            if (!framing_fits(framing, ids[i]))
                continue;
            size_t size = framing_size(framing);
            framing_put(framing, ids[i], bytes);
            bytes[size] = 'x';
            assert_true(framing_take_off(framing, (struct slice){bytes, size + 1}, &id, &body));
            assert_true(id == ids[i]);
            assert_int_equal(body.size, 1);
            assert_int_equal(*body.data, 'x');
            assert_true(framing_take_off(framing, (struct slice){bytes, size}, &id, &body));
            assert_int_equal(body.size, 0);
            assert_false(framing_take_off(framing, (struct slice){bytes, size - 1}, &id, &body));
        }
        assert_false(framing_fits(framing, -1));
    }
}

static void test_other_values_have_no_framing(void **state)
{
    (void)state;
    int64_t id;
    struct slice body;
    for (enum framing framing = FRAMING_CONFLUENT; framing <= FRAMING_APICURIO; framing++) {
        assert_false(framing_take_off(framing, (struct slice){0}, &id, &body));
        assert_false(framing_take_off(framing, SLICE(""), &id, &body));
        assert_false(framing_take_off(framing, SLICE("\1\0\0\0\0\0\0\0\7body"), &id, &body));
    }
    assert_false(framing_take_off(FRAMING_APICURIO, SLICE("\0\0\0\0\7bod"), &id, &body));
    // Registries give out none below zero; what says so is no other id.
    assert_true(framing_take_off(FRAMING_CONFLUENT, SLICE("\0\xff\xff\xff\xfe"), &id, &body));
    assert_int_equal(id, -2);
    assert_true(framing_take_off(FRAMING_APICURIO, SLICE("\0\xff\xff\xff\xff\xff\xff\xff\xfe"), &id,
                                 &body));
    assert_int_equal(id, -2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ids_of_both_sizes_stand_as_their_registries_write_them),
        cmocka_unit_test(test_what_was_put_on_is_taken_off),
        cmocka_unit_test(test_other_values_have_no_framing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
