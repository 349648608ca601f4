// Reads bodies of the outputs back: the number, the fields, and bodies that are not valid.
#include "tests/unit/outputs_fixture.h"

#include "consumer/output/output_reader.h"

#include <stdio.h>
#include <stdlib.h>

static struct encoder *en;
static struct outbox box;
static struct fold fold;
static struct output_reader *forms[OUTPUT_COUNT];

static int setup(void **state)
{
    (void)state;
    struct error e = {0};
    struct encode_context cx = fixture_context();
    struct chain before = {.sequence = 1000};
    memset(before.previous_digest, '0', 64);
    fold = fixture_fold_with_notices();
    for (int o = 0; o < OUTPUT_COUNT; o++)
        if (output_reader_create((enum output)o, &forms[o], &e))
            return -1;
    return encoder_create(&en, &e) || outbox_build(&box, en, &cx, &fold, &before, &e) ? -1 : 0;
}

static int teardown(void **state)
{
    (void)state;
    for (int o = 0; o < OUTPUT_COUNT; o++)
        output_reader_destroy(forms[o]);
    outbox_release(&box);
    encoder_destroy(en);
    return 0;
}

static void every_output_tells_its_number(void **state)
{
    (void)state;
    struct error e = {0};
    struct output_number number;
    for (size_t i = 0; i < box.count; i++) {
        const struct outbox_row *row = &box.rows[i];
        assert_int_equal(output_reader_number(forms[row->output], row->body, &number, &e), 0);
        assert_int_equal(number.shard, 3);
        assert_int_equal(number.sequence, 1001 + (int64_t)i);
        assert_int_equal(number.size, 2); // zigzag of a thousand
        assert_true(number.at + number.size <= row->body.size);
    }
}

static void a_part_of_a_body_is_none(void **state)
{
    (void)state;
    struct error e = {0};
    struct output_number number;
    for (size_t i = 0; i < box.count; i++) {
        const struct outbox_row *row = &box.rows[i];
        for (size_t size = 0; size < row->body.size; size++) {
            char *part = malloc(size + 1); // of its own, so that a sanitizer sees a step beyond it
            assert_non_null(part);
            memcpy(part, row->body.data, size);
            assert_int_equal(
                output_reader_number(forms[row->output], (struct slice){part, size}, &number, &e),
                -1);
            free(part);
        }
        char *longer = calloc(1, row->body.size + 1);
        assert_non_null(longer);
        memcpy(longer, row->body.data, row->body.size);
        assert_int_equal(output_reader_number(forms[row->output],
                                              (struct slice){longer, row->body.size + 1}, &number,
                                              &e),
                         -1);
        assert_non_null(strstr(e.text, "left over"));
        free(longer);
    }
}

struct seen {
    char text[8192];
    size_t used;
};

static void take(void *context, const char *path, const char *text)
{
    struct seen *seen = context;
    seen->used += (size_t)snprintf(seen->text + seen->used, sizeof seen->text - seen->used,
                                   "%s=%s\n", path, text);
    assert_true(seen->used < sizeof seen->text);
}

static const struct outbox_row *first_of(enum output output)
{
    size_t i = 0;
    while (box.rows[i].output != output)
        i++;
    return &box.rows[i];
}

static void assert_fields(enum output output, const char *const *wanted)
{
    struct seen seen = {.used = 0};
    output_reader_fields(forms[output], first_of(output)->body, take, &seen);
    for (; *wanted; wanted++)
        if (!strstr(seen.text, *wanted))
            fail_msg("no %s in\n%s", *wanted, seen.text);
}

static void fields_are_told_as_people_write_them(void **state)
{
    (void)state;
    assert_fields(OUTPUT_SETTLEMENTS,
                  (const char *const[]){
                      "settlement_id=acc-a/2026-11-01\n", "business_day=2026-11-01\n",
                      "adjustments=-1000\n", "status=SUSPENDED\n", "lines[1].tier_from=null\n",
                      "lines[2].package_id=package-1\n", "lines[2].package_units=10000\n",
                      "lines[3].amount=13000000\n", NULL});
    assert_fields(
        OUTPUT_DAY_CLOSES,
        (const char *const[]){"cutoffs[1].cut_by=RECORD\n", "cutoffs[3].rejected=1\n",
                              "decisions[1]=1 ACCEPT operator call-records 1 "
                              "bf916bbf88fe00a50bda7b68d8a1617df32e619f711475b081dfdbf11a84d2bc\n",
                              NULL});
    assert_fields(OUTPUT_REJECTS, (const char *const[]){"reason=REFUND\n", "value=3 bytes 010203\n",
                                                        "record_id=credit-6\n", NULL});
    assert_fields(OUTPUT_NOTICES,
                  (const char *const[]){"notice_id=acc-a/2026-11-01/PACKAGE_LOW/package-1\n",
                                        "service=PURCHASE_INTENT\n",
                                        "valid_until=2026-11-01T16:00:00.000Z\n", "balance=null\n",
                                        NULL});
    assert_fields(OUTPUT_STATUS,
                  (const char *const[]){"cause=CREDIT\n", "settlement_id=null\n", NULL});
}

static void assert_slice(struct slice found, const char *wanted, size_t size)
{
    assert_int_equal(found.size, size);
    assert_memory_equal(found.data, wanted, size);
}

// What is needed to send the record again. No part of the body passes for a whole one.
static void a_reject_gives_its_record_back(void **state)
{
    (void)state;
    struct error e = {0};
    struct rejected_record record;
    const struct slice body = first_of(OUTPUT_REJECTS)->body;
    assert_int_equal(output_reader_reject(forms[OUTPUT_REJECTS], body, &record, &e), 0);
    assert_slice(record.topic, "account-credits", 15);
    assert_int_equal(record.partition, 3);
    assert_int_equal(record.offset, 41);
    assert_int_equal(record.timestamp, INT64_C(1793500000001));
    assert_slice(record.key, "acc-b", 5);
    assert_slice(record.value, "\1\2\3", 3);
    assert_slice(record.detail, "a top-up of -5 fen", 18);
    for (size_t size = 0; size < body.size; size++) {
        char *part = malloc(size + 1);
        assert_non_null(part);
        memcpy(part, body.data, size);
        struct slice cut = {part, size};
        assert_int_equal(output_reader_reject(forms[OUTPUT_REJECTS], cut, &record, &e), -1);
        assert_int_equal(e.kind, ERROR_CONFIG);
        free(part);
    }
}

// Changes any single byte: either the body is refused, or its fields can be read; nothing beyond
// the body is read.
static void a_changed_byte_breaks_nothing(void **state)
{
    (void)state;
    struct error e = {0};
    struct output_number number;
    struct seen seen;
    for (size_t i = 0; i < box.count; i++) {
        const struct outbox_row *row = &box.rows[i];
        char *changed = malloc(row->body.size);
        assert_non_null(changed);
        for (size_t at = 0; at < row->body.size; at++)
            for (int bit = 0; bit < 8; bit++) {
                memcpy(changed, row->body.data, row->body.size);
                changed[at] = (char)(changed[at] ^ (1 << bit));
                struct slice body = {changed, row->body.size};
                seen.used = 0;
                if (output_reader_number(forms[row->output], body, &number, &e) == 0)
                    output_reader_fields(forms[row->output], body, take, &seen);
            }
        free(changed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_output_tells_its_number),
        cmocka_unit_test(a_part_of_a_body_is_none),
        cmocka_unit_test(fields_are_told_as_people_write_them),
        cmocka_unit_test(a_reject_gives_its_record_back),
        cmocka_unit_test(a_changed_byte_breaks_nothing),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
