// Numbers, keys, ids, times, chain and digests of outbox rows; and the test vector in
// schemas/README.md.
#include "tests/unit/outputs_fixture.h"

#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>

static struct encoder *en;
static struct outbox box;
static struct fold fold;
static struct encode_context cx;
static const struct encode_source from = {&cx, &fold, &fold.step};
static struct chain before;
static struct error error;

static int setup(void **state)
{
    (void)state;
    fold = fixture_fold();
    cx = fixture_context();
    error = (struct error){0};
    before = (struct chain){.sequence = 0};
    memset(before.previous_digest, '0', 64);
    return encoder_create(&en, &error);
}

static int teardown(void **state)
{
    (void)state;
    fold = (struct fold){0};
    outbox_release(&box);
    encoder_destroy(en);
    return 0;
}

static void build(void)
{
    if (outbox_build(&box, en, &cx, &fold, &before, &error) != 0)
        fail_msg("%s", error.text);
}

static void assert_row(size_t i, enum output output, const char *key, const char *ce_id,
                       int64_t ce_time)
{
    const struct outbox_row *row = &box.rows[i];
    assert_int_equal(row->output, output);
    assert_int_equal(row->key.size, strlen(key));
    assert_memory_equal(row->key.data, key, strlen(key));
    assert_string_equal(row->ce_id, ce_id);
    assert_int_equal(row->ce_time, ce_time);
    assert_int_equal(row->sequence, before.sequence + (int64_t)i + 1);
}

static void rows_follow_the_emissions(void **state)
{
    (void)state;
    const int64_t midnight = INT64_C(1793548800000); // 2026-11-02T00:00+08:00
    before.sequence = 41;
    build();
    assert_int_equal(box.count, 6);
    assert_row(0, OUTPUT_REJECTS, "acc-b", "account-credits/3/41", INT64_C(1793500000001));
    assert_row(1, OUTPUT_STATUS, "\xe8\xbd\xa6-b", "\xe8\xbd\xa6-b/2", INT64_C(1793500000000));
    assert_row(2, OUTPUT_SETTLEMENTS, "acc-a", "acc-a/2026-11-01", midnight);
    assert_row(3, OUTPUT_STATUS, "acc-a", "acc-a/1", midnight);
    assert_row(4, OUTPUT_SETTLEMENTS, "\xe8\xbd\xa6-b", "\xe8\xbd\xa6-b/2026-11-01", midnight);
    assert_row(5, OUTPUT_DAY_CLOSES, "3", "3/2026-11-01", midnight);
    assert_int_equal(box.after.sequence, 47);
    assert_memory_equal(box.after.hash, box.rows[5].hash, 32);
    assert_string_equal(box.after.previous_digest, box.digest);
}

// R67
static void notices_have_ids_of_their_own(void **state)
{
    (void)state;
    const int64_t midnight = INT64_C(1793548800000);
    fold = fixture_fold_with_notices();
    build();
    assert_int_equal(box.count, 9);
    assert_row(4, OUTPUT_NOTICES, "acc-a", "acc-a/2026-11-01/PACKAGE_LOW/package-1", midnight);
    assert_row(5, OUTPUT_NOTICES, "acc-a", "acc-a/2026-11-01/PACKAGE_EXPIRED/package-1", midnight);
    assert_row(7, OUTPUT_NOTICES, "\xe8\xbd\xa6-b", "\xe8\xbd\xa6-b/2026-11-01/BALANCE_LOW",
               midnight);
}

static void each_body_carries_its_sequence(void **state)
{
    (void)state;
    before.sequence = INT64_C(1) << 40;
    build();
    for (size_t i = 0; i < box.count; i++) {
        // The varint of the zigzag of a number near 2^40 has six bytes; the test looks for these
        // bytes in the body.
        uint64_t zigzag = (uint64_t)box.rows[i].sequence << 1;
        char varint[10];
        size_t size = 0;
        for (; zigzag >= 0x80; zigzag >>= 7)
            varint[size++] = (char)(zigzag | 0x80);
        varint[size++] = (char)zigzag;
        assert_non_null(memmem(box.rows[i].body.data, box.rows[i].body.size, varint, size));
    }
}

static void a_null_key_stays_null(void **state)
{
    (void)state;
    struct step_reject r = {
        .input = INPUT_CALLS, .reason = REJECT_MISROUTED, .detail = "no key", .value = {"x", 1}};
    static struct emission emission = {EMIT_REJECT, 0};
    fold.step = (struct step){
        .rejects = &r, .reject_count = 1, .emissions = &emission, .emission_count = 1};
    build();
    assert_null(box.rows[0].key.data);
    uint8_t of_null[32], of_empty[32];
    memcpy(of_null, box.rows[0].hash, 32);
    r.key = (struct slice){"", 0};
    build();
    assert_non_null(box.rows[0].key.data);
    assert_int_equal(box.rows[0].key.size, 0);
    memcpy(of_empty, box.rows[0].hash, 32);
    assert_memory_not_equal(of_null, of_empty, 32);
    assert_string_equal(box.content_digest, ""); // no day was closed
    assert_string_equal(box.after.previous_digest, before.previous_digest);
}

static void a_key_no_message_can_carry_is_null(void **state)
{
    (void)state;
    char *bytes = calloc(1, 1 << 20);
    struct step_reject r = {
        .input = INPUT_CALLS, .reason = REJECT_MISROUTED, .detail = "", .key = {bytes, 950001}};
    static struct emission emission = {EMIT_REJECT, 0};
    fold.step = (struct step){
        .rejects = &r, .reject_count = 1, .emissions = &emission, .emission_count = 1};
    build();
    assert_null(box.rows[0].key.data);
    free(bytes);
}

static void the_chain_is_as_documented(void **state)
{
    (void)state;
    before.sequence = 7;
    memset(before.hash, 0xab, 32);
    build();
    uint8_t previous[32];
    memcpy(previous, before.hash, 32);
    for (size_t i = 0; i < box.count; i++) {
        const struct outbox_row *row = &box.rows[i];
        uint8_t bytes[8192] = {0}, *at = bytes, expected[32];
        memcpy(at, previous, 32);
        at += 32 + 7;
        *at++ = (uint8_t)row->sequence;
        *at++ = (uint8_t)row->output;
        at += 3;
        *at++ = (uint8_t)row->key.size;
        memcpy(at, row->key.data, row->key.size);
        at += row->key.size;
        memcpy(at, row->body.data, row->body.size);
        at += row->body.size;
        SHA256(bytes, (size_t)(at - bytes), expected);
        assert_memory_equal(expected, row->hash, 32);
        memcpy(previous, expected, 32);
    }
}

static void digests_do_not_depend_on_the_sequence(void **state)
{
    (void)state;
    char content[65], digest[65];
    build();
    memcpy(content, box.content_digest, 65);
    memcpy(digest, box.digest, 65);
    before.sequence = 123456;
    build();
    assert_string_equal(content, box.content_digest);
    assert_string_equal(digest, box.digest);
    before.previous_digest[0] = '1';
    build();
    assert_string_equal(content, box.content_digest);
    assert_string_not_equal(digest, box.digest);
}

static void an_empty_day_is_closed_too(void **state)
{
    (void)state;
    static struct emission emission = {EMIT_DAY_CLOSE, 0};
    fold.step.settlement_count = 0;
    fold.step.close.settlements = fold.step.close.amount = 0;
    fold.step.emissions = &emission;
    fold.step.emission_count = 1;
    build();
    assert_int_equal(box.count, 1);
    assert_string_equal(box.content_digest,
                        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_string_equal(box.after.previous_digest, box.digest);
}

static void a_failure_leaves_the_chain_alone(void **state)
{
    (void)state;
    fold.step.close.cutoffs[0].cut_by = CUT_NONE;
    assert_int_equal(outbox_build(&box, en, &cx, &fold, &before, &error), -1);
    assert_int_equal(error.kind, ERROR_BUG);
    fold = fixture_fold();
    build();
    assert_int_equal(box.count, 6);
}

// ---- the vector of schemas/README.md ----

static char *readme(void)
{
    FILE *file = fopen(SOURCE_DIR "/schemas/README.md", "rb");
    assert_non_null(file);
    char *text = calloc(1, 1 << 18);
    size_t size = fread(text, 1, (1 << 18) - 1, file);
    assert_true(size > 0 && size < (1 << 18) - 1);
    fclose(file);
    return text;
}

// The value of a line "NAME = VALUE" of the vector.
static void vector_value(const char *text, const char *name, char *out, size_t size)
{
    char start[64];
    snprintf(start, sizeof start, "\n%s = ", name);
    const char *at = strstr(text, start);
    if (!at) {
        fail_msg("schemas/README.md has no line \"%s = ...\"", name);
        return;
    }
    at += strlen(start);
    size_t length = strcspn(at, "\n");
    assert_true(length < size);
    memcpy(out, at, length);
    out[length] = '\0';
}

static int wrong_lines; // of the vector

// Each line that is wrong is printed as it must be, so that all of them can be put there at once.
static void check_vector(const char *text, const char *name, const char *actual)
{
    char expected[8192];
    vector_value(text, name, expected, sizeof expected);
    if (strcmp(expected, actual) == 0)
        return;
    printf("%s = %s\n", name, actual); // whole: cmocka cuts its messages
    wrong_lines++;
}

static void check_vector_bytes(const char *text, const char *name, struct slice bytes)
{
    char hex[8192];
    assert_true(2 * bytes.size < sizeof hex);
    for (size_t i = 0; i < bytes.size; i++)
        snprintf(hex + 2 * i, 3, "%02x", (unsigned char)bytes.data[i]);
    check_vector(text, name, hex);
}

static void the_readme_tells_the_truth(void **state)
{
    (void)state;
    char *text = readme(), schema[65];
    build();
    settlement_schema_sha256(schema);
    check_vector(text, "settlement_schema", schema);
    check_vector(text, "content_digest", box.content_digest);
    check_vector(text, "digest", box.digest);
    check_vector_bytes(text, "message_1", box.rows[2].body);
    check_vector_bytes(text, "message_2", box.rows[4].body);
    check_vector_bytes(text, "message_3", box.rows[5].body);
    const struct close_chaining chaining = {box.content_digest, before.previous_digest, "", 0};
    struct slice body;
    assert_int_equal(encode_settlement(en, &from, &fixture_settlements[0], 0, &body, &error), 0);
    check_vector_bytes(text, "body_1", body);
    assert_int_equal(encode_settlement(en, &from, &fixture_settlements[1], 0, &body, &error), 0);
    check_vector_bytes(text, "body_2", body);
    assert_int_equal(encode_day_close(en, &cx, &fold.step.close, &chaining, &body, &error), 0);
    check_vector_bytes(text, "body_3", body);
    free(text);
    if (wrong_lines > 0)
        fail_msg("schemas/README.md: the vector is wrong in the lines above");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(rows_follow_the_emissions, setup, teardown),
        cmocka_unit_test_setup_teardown(notices_have_ids_of_their_own, setup, teardown),
        cmocka_unit_test_setup_teardown(each_body_carries_its_sequence, setup, teardown),
        cmocka_unit_test_setup_teardown(a_null_key_stays_null, setup, teardown),
        cmocka_unit_test_setup_teardown(a_key_no_message_can_carry_is_null, setup, teardown),
        cmocka_unit_test_setup_teardown(the_chain_is_as_documented, setup, teardown),
        cmocka_unit_test_setup_teardown(digests_do_not_depend_on_the_sequence, setup, teardown),
        cmocka_unit_test_setup_teardown(an_empty_day_is_closed_too, setup, teardown),
        cmocka_unit_test_setup_teardown(a_failure_leaves_the_chain_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(the_readme_tells_the_truth, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
