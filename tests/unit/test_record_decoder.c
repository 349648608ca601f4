// The reader of one log: framing, schemas that are still looked for, ends and limits.
#include "consumer/decode/record_decoder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

enum { ROOM = 4096, ASKED_MAX = 16 };

struct world {
    struct decoder_source source;
    struct decoder_scratch scratch;
    struct record_decoder reader;
    enum writer_state answer;
    size_t asked;
    int64_t ids[ASKED_MAX];
};

static struct writer find_writer(void *context, enum input input, int64_t id)
{
    struct world *world = context;
    assert_int_equal(input, INPUT_CALLS);
    assert_true(world->asked < ASKED_MAX);
    world->ids[world->asked++] = id;
    return (struct writer){.state = world->answer, .why = "for a reason"};
}

static int set_up(void **state)
{
    struct world *world = calloc(1, sizeof *world);
    world->source = (struct decoder_source){
        .context = world, .find_writer = find_writer, .scratch = &world->scratch};
    world->reader.block = calloc(1, sizeof(struct block) + ROOM);
    world->answer = WRITER_PENDING;
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;
    free(world->reader.block);
    free(world);
    return 0;
}

static void append(struct world *world, struct raw raw, const char *value)
{
    struct block *block = world->reader.block;
    raw.key_size = RAW_NULL;
    raw.stamped = true;
    memcpy(block->data + block->used, &raw, sizeof raw);
    if (raw.value_size != RAW_NULL)
        memcpy(block->data + block->used + sizeof raw, value, raw.value_size);
    block->used += raw_bytes(raw.key_size, raw.value_size);
}

static void append_framed(struct world *world, int64_t offset, unsigned char id)
{
    const char value[] = {0, 0, 0, 1, (char)id, 'x'};
    append(world, (struct raw){.offset = offset, .value_size = sizeof value}, value);
}

static void append_end(struct world *world, int64_t offset)
{
    append(world, (struct raw){.offset = offset, .kind = RAW_END, .value_size = RAW_NULL}, NULL);
}

static void test_a_record_that_waits_is_the_last_and_those_behind_it_are_asked_for(void **state)
{
    struct world *world = *state;
    append_framed(world, 0, 7);
    append(world, (struct raw){.offset = 1, .value_size = RAW_NULL}, NULL);
    append(world, (struct raw){.offset = 2, .value_size = 5}, "other");
    append_framed(world, 3, 8);
    append_end(world, 4);
    append_framed(world, 4, 9);
    assert_int_equal(record_decoder_decode(&world->reader, &world->source, INT64_MAX), 1);
    assert_true(world->scratch.events[0].schema_pending);
    assert_int_equal(world->asked, 3);
    for (int i = 0; i < 3; i++)
        assert_int_equal(world->ids[i], 256 + 7 + i);
}

static void test_what_is_no_frame_asks_for_nothing(void **state)
{
    struct world *world = *state;
    append(world, (struct raw){.offset = 0, .value_size = RAW_NULL}, NULL);
    append(world, (struct raw){.offset = 1, .value_size = 0}, "");
    append(world, (struct raw){.offset = 2, .value_size = 4}, "\0\0\0\1");
    append(world, (struct raw){.offset = 3, .value_size = 6}, "\1\0\0\1\1x");
    assert_int_equal(record_decoder_decode(&world->reader, &world->source, INT64_MAX), 4);
    for (int i = 0; i < 4; i++)
        assert_int_equal(world->scratch.events[i].fault, REJECT_UNDECODABLE);
    assert_int_equal(world->asked, 0);
}

static void test_verdicts_about_a_schema_are_those_of_its_records(void **state)
{
    struct world *world = *state;
    append_framed(world, 0, 1);
    append_framed(world, 1, 2);
    world->answer = WRITER_UNKNOWN;
    assert_int_equal(record_decoder_decode(&world->reader, &world->source, INT64_MAX), 2);
    assert_int_equal(world->scratch.events[1].fault, REJECT_UNKNOWN_SCHEMA);
    assert_string_equal(world->scratch.events[1].fault_detail, "for a reason 258");
    world->answer = WRITER_INCOMPATIBLE;
    assert_int_equal(record_decoder_decode(&world->reader, &world->source, INT64_MAX), 2);
    assert_int_equal(world->scratch.events[0].fault, REJECT_INCOMPATIBLE_SCHEMA);
}

// Serializers that write the id into a header: the first byte of such a body may be zero.
static void test_an_id_in_a_header_is_no_framing(void **state)
{
    struct world *world = *state;
    append(world, (struct raw){.offset = 0, .id_header = 1, .value_size = 6}, "\0\0\0\1\1x");
    append(world, (struct raw){.offset = 1, .id_header = 2, .value_size = 6}, "\2\0\0\1\1x");
    append(world, (struct raw){.offset = 2, .id_header = 1, .value_size = RAW_NULL}, NULL);
    assert_int_equal(record_decoder_decode(&world->reader, &world->source, INT64_MAX), 3);
    const struct event *events = world->scratch.events;
    for (int i = 0; i < 3; i++)
        assert_int_equal(events[i].fault, REJECT_UNDECODABLE);
    assert_string_equal(
        events[0].fault_detail,
        "unknown framing: the id of its schema is in the header __value_schema_id; "
        "let its producer write it before the value (the PrefixSchemaIdSerializer)");
    assert_non_null(strstr(events[1].fault_detail, "apicurio.value.globalId"));
    assert_string_equal(events[2].fault_detail, "no value");
    assert_int_equal(world->asked, 0);
}

static void test_ids_have_the_size_of_the_framing(void **state)
{
    struct world *world = *state;
    static const char value[] = "\0\0\0\0\1\0\0\0\7x";
    struct raw raw = {.offset = 0, .value_size = sizeof value - 1};
    append(world, raw, value);
    world->answer = WRITER_UNKNOWN;
    assert_int_equal(record_decoder_decode(&world->reader, &world->source, INT64_MAX), 1);
    assert_int_equal(world->ids[0], 1);
    world->source.framing = FRAMING_APICURIO;
    assert_int_equal(record_decoder_decode(&world->reader, &world->source, INT64_MAX), 1);
    assert_true(world->ids[1] == (INT64_C(1) << 32) + 7);
    raw.value_size = 8;
    append(world, raw, value);
    world->reader.at = world->scratch.after[0];
    assert_int_equal(record_decoder_decode(&world->reader, &world->source, INT64_MAX), 1);
    assert_string_equal(world->scratch.events[0].fault_detail,
                        "unknown framing: a value begins with a zero byte and the 8-byte id of its "
                        "schema");
}

// Of an id of eight bytes the first four are zero, almost always.
static void test_an_id_of_eight_bytes_taken_for_one_of_four_is_told(void **state)
{
    struct world *world = *state;
    append(world, (struct raw){.offset = 0, .value_size = 10}, "\0\0\0\0\0\0\0\0\7x");
    world->answer = WRITER_UNKNOWN;
    assert_int_equal(record_decoder_decode(&world->reader, &world->source, INT64_MAX), 1);
    assert_string_equal(world->scratch.events[0].fault_detail,
                        "for a reason 0; ids of 8 bytes need schemas.framing: apicurio");
}

static void test_stops_at_an_end_and_at_the_limit(void **state)
{
    struct world *world = *state;
    world->answer = WRITER_UNKNOWN;
    for (unsigned char i = 0; i < 4; i++)
        append_framed(world, i, i);
    append_end(world, 4);
    append_framed(world, 4, 5);
    assert_int_equal(record_decoder_decode(&world->reader, &world->source, 3), 3);
    assert_int_equal(record_decoder_decode(&world->reader, &world->source, INT64_MAX), 4);
    world->reader.at = world->scratch.after[3];
    assert_int_equal(record_decoder_peek(&world->reader)->kind, RAW_END);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            test_a_record_that_waits_is_the_last_and_those_behind_it_are_asked_for, set_up,
            tear_down),
        cmocka_unit_test_setup_teardown(test_what_is_no_frame_asks_for_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_verdicts_about_a_schema_are_those_of_its_records,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_an_id_in_a_header_is_no_framing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_ids_have_the_size_of_the_framing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_an_id_of_eight_bytes_taken_for_one_of_four_is_told,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_stops_at_an_end_and_at_the_limit, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
