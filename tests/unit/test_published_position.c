// The metadata that the relay writes beside its offset, how it reads that back, and what it reads
// from the records of the output topics.
#include "consumer/relay/published_position.h"
#include "tests/lib/avro_bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void test_a_position_reads_back(void **state)
{
    (void)state;
    uint8_t hash[32], read[32];
    char text[POSITION_TEXT_SIZE];
    int64_t n = -1;
    for (int i = 0; i < 32; i++)
        hash[i] = (uint8_t)(i * 37 + 200);
    const int64_t numbers[] = {1, 42, INT64_MAX};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        position_format(numbers[i], hash, text);
        assert_true(position_parse(text, strlen(text), &n, read));
        assert_true(n == numbers[i]);
        assert_memory_equal(read, hash, sizeof hash);
    }
}

static void test_what_is_not_ours_is_no_position(void **state)
{
    (void)state;
    const char *const texts[] = {
        "",
        "1",
        "1 7",
        "1 7 ",
        "2 7 0000000000000000000000000000000000000000000000000000000000000000",
        "1 07 0000000000000000000000000000000000000000000000000000000000000000",
        "1 7 000000000000000000000000000000000000000000000000000000000000000",
        "1 7 00000000000000000000000000000000000000000000000000000000000000000",
        "1 7 000000000000000000000000000000000000000000000000000000000000000G",
        "1 7 00000000000000000000000000000000000000000000000000000000000000AA",
        "1 99999999999999999999 0000000000000000000000000000000000000000000000000000000000000000",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        uint8_t hash[32];
        int64_t n;
        if (position_parse(texts[i], strlen(texts[i]), &n, hash))
            fail_msg("taken for a position: %s", texts[i]);
    }
}

static void put_framing(struct avro_bytes *b)
{
    b->size = 0;
    put_bytes(b, "\0\0\0\0\1", 5);
}

static void put_cutoffs(struct avro_bytes *b)
{
    put_long(b, 3);
    for (int i = 0; i < 3; i++) {
        put_text(b, "call-records");
        for (int field = 0; field < 7; field++)
            put_long(b, 1);
    }
    put_long(b, 0);
}

static void put_close(struct avro_bytes *b, int64_t sequence)
{
    put_framing(b);
    put_long(b, 5); // shard
    put_long(b, 8);
    put_long(b, 20000); // business_day
    put_cutoffs(b);
    for (int i = 0; i < 4; i++)
        put_long(b, 1000); // late, zero_unit_calls, settlements, amount
    put_text(b, "book");
    put_text(b, "parameters");
    put_long(b, 1); // decisions
    put_text(b, "1 PASS call-records/5/17");
    put_long(b, 0);
    for (int i = 0; i < 4; i++)
        put_text(b, "digest");
    put_long(b, sequence);
}

static struct output_reader *form;

static int make_form(void **state)
{
    struct error e;
    (void)state;
    return output_reader_create(OUTPUT_DAY_CLOSES, &form, &e);
}

static int free_form(void **state)
{
    (void)state;
    output_reader_destroy(form);
    return 0;
}

static struct slice value_of(const struct avro_bytes *b, size_t size)
{
    return (struct slice){(const char *)b->data, size};
}

static void test_reads_the_sequence_behind_arrays(void **state)
{
    (void)state;
    struct avro_bytes b;
    struct error e = {0};
    int32_t shard = -1;
    int64_t sequence = -1;
    put_close(&b, 123456789);
    int failed =
        published_sequence(form, FRAMING_CONFLUENT, value_of(&b, b.size), &shard, &sequence, &e);
    assert_int_equal(failed, 0);
    assert_int_equal(shard, 5);
    assert_int_equal(sequence, 123456789);
    put_long(&b, 7); // a field that a later version appends
    failed =
        published_sequence(form, FRAMING_CONFLUENT, value_of(&b, b.size), &shard, &sequence, &e);
    assert_int_equal(failed, 0);
    assert_int_equal(sequence, 123456789);
}

static void test_refuses_every_truncation(void **state)
{
    (void)state;
    struct avro_bytes b;
    put_close(&b, 300);
    for (size_t size = 0; size < b.size; size++) {
        struct error e = {0};
        int32_t shard;
        int64_t sequence;
        assert_int_equal(
            published_sequence(form, FRAMING_CONFLUENT, value_of(&b, size), &shard, &sequence, &e),
            -1);
        assert_true(e.text[0] != '\0');
    }
}

static void test_refuses_what_settled_never_writes(void **state)
{
    (void)state;
    struct avro_bytes b;
    struct error e = {0};
    int32_t shard;
    int64_t sequence;
    put_close(&b, 0);
    assert_int_equal(
        published_sequence(form, FRAMING_CONFLUENT, value_of(&b, b.size), &shard, &sequence, &e),
        -1);
    put_close(&b, 9);
    b.data[0] = 1;
    assert_int_equal(
        published_sequence(form, FRAMING_CONFLUENT, value_of(&b, b.size), &shard, &sequence, &e),
        -1);
    assert_int_equal(
        published_sequence(form, FRAMING_CONFLUENT, (struct slice){0}, &shard, &sequence, &e), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_position_reads_back),
        cmocka_unit_test(test_what_is_not_ours_is_no_position),
        cmocka_unit_test(test_reads_the_sequence_behind_arrays),
        cmocka_unit_test(test_refuses_every_truncation),
        cmocka_unit_test(test_refuses_what_settled_never_writes),
    };
    return cmocka_run_group_tests(tests, make_form, free_form);
}
