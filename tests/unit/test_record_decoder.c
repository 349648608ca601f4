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
    int32_t ids[ASKED_MAX];
};

static struct writer find_writer(void *context, enum input input, int32_t id)
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
    assert_string_equal(world->scratch.events[1].fault_detail, "for a reason");
    world->answer = WRITER_INCOMPATIBLE;
    assert_int_equal(record_decoder_decode(&world->reader, &world->source, INT64_MAX), 2);
    assert_int_equal(world->scratch.events[0].fault, REJECT_INCOMPATIBLE_SCHEMA);
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
        cmocka_unit_test_setup_teardown(test_stops_at_an_end_and_at_the_limit, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
