// Reads the bodies back with avro-c's generic reader and the embedded schemas, and compares them as
// JSON.
#include "consumer/output/body.h"
#include "tests/unit/outputs_fixture.h"

#include "consumer/output/statement_decode.h"

#include <avro.h>
#include <jansson.h>
#include <stdlib.h>

static struct encoder *en;
static struct fold fold;
static struct encode_context cx;
static const struct encode_source from = {&cx, &fold, &fold.step};
static struct error error;

static int setup(void **state)
{
    (void)state;
    fold = fixture_fold();
    cx = fixture_context();
    error = (struct error){0};
    return encoder_create(&en, &error);
}

static int teardown(void **state)
{
    (void)state;
    encoder_destroy(en);
    return 0;
}

// avro-c writes the value that it has read as the same bytes.
static void assert_rewritten(avro_value_t *value, struct slice body)
{
    char *again = calloc(body.size + 1, 1);
    avro_writer_t writer = avro_writer_memory(again, (int64_t)body.size + 1);
    assert_int_equal(avro_value_write(writer, value), 0);
    assert_int_equal(avro_writer_tell(writer), body.size);
    assert_memory_equal(again, body.data, body.size);
    avro_writer_free(writer);
    free(again);
}

// The body as the JSON encoding of Avro; every byte must be consumed.
static json_t *read_back(enum output output, struct slice body)
{
    avro_schema_t schema;
    avro_value_t value;
    char *text = NULL;
    assert_int_equal(avro_schema_from_json_length(schema_of_output(output),
                                                  strlen(schema_of_output(output)), &schema),
                     0);
    avro_value_iface_t *class = avro_generic_class_from_schema(schema);
    avro_reader_t reader = avro_reader_memory(body.data, (int64_t)body.size);
    assert_int_equal(avro_generic_value_new(class, &value), 0);
    assert_int_equal(avro_value_read(reader, &value), 0);
    char more;
    assert_int_not_equal(avro_read(reader, &more, 1), 0);
    assert_rewritten(&value, body);
    assert_int_equal(avro_value_to_json(&value, 1, &text), 0);
    json_t *json = json_loads(text, 0, NULL);
    assert_non_null(json);
    free(text);
    avro_value_decref(&value);
    avro_value_iface_decref(class);
    avro_schema_decref(schema);
    avro_reader_free(reader);
    return json;
}

static void assert_body(enum output output, struct slice body, const char *expected)
{
    json_error_t where;
    json_t *want = json_loads(expected, 0, &where);
    if (!want)
        fail_msg("expectation: %s at %d", where.text, where.position);
    json_t *got = read_back(output, body);
    char *text = json_dumps(got, 0);
    if (!json_equal(want, got))
        fail_msg("got %s", text);
    free(text);
    json_decref(want);
    json_decref(got);
}

// R24
static void settlement_holds_every_field(void **state)
{
    (void)state;
    struct slice body;
    assert_int_equal(encode_settlement(en, &from, &fixture_settlements[0], 42, &body, &error), 0);
    assert_body(
        OUTPUT_SETTLEMENTS, body,
        "{\"settlement_id\":\"acc-a/2026-11-01\",\"account_id\":\"acc-a\",\"business_day\":20758,"
        "\"currency\":\"CNY\",\"calls\":3,\"calls_while_suspended\":1,\"amount\":13220000,"
        "\"opening_balance\":5000000,\"credits\":2000000,\"adjustments\":-1000,\"closing_balance\":"
        "-6221000,"
        "\"status\":\"SUSPENDED\",\"price_book\":\"" BOOK_OF_TEST
        "\",\"shard\":3,\"sequence\":42,\"lines\":["
        "{\"usage_day\":20757,\"service\":\"AUDIENCE_INSIGHT\",\"charge\":\"POSTPAID\",\"package_"
        "id\":null,"
        "\"tier_from\":null,\"calls\":1,\"units\":1,\"unit_price\":220000,\"amount\":220000,"
        "\"package_units\":null,\"package_amount\":null},"
        "{\"usage_day\":20758,\"service\":\"PURCHASE_INTENT\",\"charge\":\"PACKAGE\","
        "\"package_id\":{\"string\":\"package-1\"},\"tier_from\":null,\"calls\":1,\"units\":3000,"
        "\"unit_price\":0,\"amount\":0,\"package_units\":{\"long\":10000},"
        "\"package_amount\":{\"long\":9000000}},"
        "{\"usage_day\":20758,\"service\":\"PURCHASE_INTENT\",\"charge\":\"POSTPAID\",\"package_"
        "id\":null,"
        "\"tier_from\":{\"long\":0},\"calls\":2,\"units\":13000,\"unit_price\":1000,\"amount\":"
        "13000000,\"package_units\":null,\"package_amount\":null}]}");
}

// R24
static void reused_values_leave_nothing_behind(void **state)
{
    (void)state;
    struct slice body;
    assert_int_equal(encode_settlement(en, &from, &fixture_settlements[0], 1, &body, &error), 0);
    assert_int_equal(encode_settlement(en, &from, &fixture_settlements[1], 2, &body, &error), 0);
    json_t *got = read_back(OUTPUT_SETTLEMENTS, body);
    assert_int_equal(json_array_size(json_object_get(got, "lines")), 1);
    assert_string_equal(json_string_value(json_object_get(got, "settlement_id")),
                        "\xe8\xbd\xa6-b/2026-11-01");
    json_decref(got);
}

static struct month_line fixture_month_lines[] = {{.service = SERVICE_AUDIENCE_INSIGHT,
                                                   .charge = CHARGE_POSTPAID,
                                                   .tier_from = -1,
                                                   .unit_price = 220000,
                                                   .calls = 1,
                                                   .units = 1,
                                                   .amount = 220000},
                                                  {.service = SERVICE_PURCHASE_INTENT,
                                                   .charge = CHARGE_PACKAGE,
                                                   .package_id = {"package-1", 9},
                                                   .tier_from = -1,
                                                   .calls = 2,
                                                   .units = 3000},
                                                  {.service = SERVICE_PURCHASE_INTENT,
                                                   .charge = CHARGE_POSTPAID,
                                                   .tier_from = 10000,
                                                   .unit_price = 800,
                                                   .calls = 1,
                                                   .units = 20000,
                                                   .amount = 16000000}};

static struct month_statement fixture_statements[] = {
    {.account_id = {"acc-a", 5},
     .opening_balance = 5000000,
     .credits = 2000000,
     .adjustments = -1000,
     .amount = 16220000,
     .closing_balance = -9221000,
     .state = ACCOUNT_SUSPENDED,
     .settlements = 2,
     .calls = 4,
     .packages_bought = 1,
     .packages_amount = 9000000,
     .line_count = 3},
    {.account_id = {"acc-b", 5}, .packages_bought = 1, .packages_amount = 5, .first_line = 3}};

// The step of the fixture, at the end of its month.
static struct encode_source month_source(struct fold *closed, const struct encode_context *context)
{
    closed->step.month = calendar_month_end(DAY_OF_TEST);
    closed->step.month_lines = fixture_month_lines;
    closed->step.month_line_count = 3;
    return (struct encode_source){context, closed, &closed->step};
}

// R75
static void statement_holds_every_field(void **state)
{
    (void)state;
    struct slice body;
    struct fold closed = fixture_fold();
    struct encode_context context = fixture_context();
    struct encode_source source = month_source(&closed, &context);
    assert_int_equal(encode_statement(en, &source, &fixture_statements[0], 42, &body, &error), 0);
    assert_body(
        OUTPUT_STATEMENTS, body,
        "{\"statement_id\":\"acc-a/2026-11\",\"account_id\":\"acc-a\",\"month\":\"2026-11\","
        "\"currency\":\"CNY\",\"opening_balance\":5000000,\"credits\":2000000,\"adjustments\":"
        "-1000,\"amount\":16220000,\"closing_balance\":-9221000,\"status\":\"SUSPENDED\","
        "\"settlements\":2,\"calls\":4,\"packages_bought\":1,\"packages_amount\":9000000,\"lines\":"
        "["
        "{\"service\":\"AUDIENCE_INSIGHT\",\"charge\":\"POSTPAID\",\"package_id\":null,"
        "\"tier_from\":null,\"unit_price\":220000,\"calls\":1,\"units\":1,\"amount\":220000},"
        "{\"service\":\"PURCHASE_INTENT\",\"charge\":\"PACKAGE\",\"package_id\":{\"string\":"
        "\"package-1\"},\"tier_from\":null,\"unit_price\":0,\"calls\":2,\"units\":3000,\"amount\":"
        "0},"
        "{\"service\":\"PURCHASE_INTENT\",\"charge\":\"POSTPAID\",\"package_id\":null,"
        "\"tier_from\":{\"long\":10000},\"unit_price\":800,\"calls\":1,\"units\":20000,"
        "\"amount\":16000000}],\"shard\":3,\"sequence\":42}");
}

// A repair takes a statement from its message: what comes of it is the same message.
static void a_statement_is_read_back_whole(void **state)
{
    (void)state;
    struct arena *arena = arena_create();
    struct fold closed = fixture_fold();
    struct encode_context context = fixture_context();
    struct encode_source source = month_source(&closed, &context);
    for (size_t i = 0; i < 2; i++) {
        struct slice body;
        struct month_page page;
        assert_int_equal(encode_statement(en, &source, &fixture_statements[i], 7, &body, &error),
                         0);
        body.data = arena_copy(arena, body.data, body.size);
        assert_int_equal(statement_decode(body, arena, &page, &error), 0);
        assert_int_equal(page.month, calendar_month_end(DAY_OF_TEST));
        assert_true(slice_same(page.last, fixture_statements[i].account_id));
        struct step step = {.month = page.month,
                            .month_lines =
                                memcpy(arena_alloc(arena, sizeof fixture_month_lines), page.lines,
                                       page.line_count * sizeof *page.lines)};
        struct encode_source again = {&context, &closed, &step};
        struct slice repeated;
        assert_int_equal(encode_statement(en, &again, &page.statements[0], 7, &repeated, &error),
                         0);
        assert_true(slice_same(body, repeated));
        // cut off anywhere, or with a byte too many, it is none
        for (size_t size = 0; size < body.size; size++)
            assert_int_equal(
                statement_decode((struct slice){body.data, size}, arena, &page, &error), -1);
        char longer[1024] = {0};
        memcpy(longer, body.data, body.size);
        assert_int_equal(
            statement_decode((struct slice){longer, body.size + 1}, arena, &page, &error), -1);
    }
    arena_destroy(arena);
}

// One encoding serves the digest, which knows no sequence, and the message.
static void a_body_takes_its_sequence_afterwards(void **state)
{
    (void)state;
    static const int64_t sequences[] = {0, 1, 63, 64, 8191, 8192, INT64_C(1) << 40, INT64_MAX};
    struct arena *arena = arena_create();
    for (size_t i = 0; i < sizeof sequences / sizeof *sequences; i++) {
        const struct settlement *s = &fixture_settlements[i % 2];
        struct slice body;
        assert_int_equal(encode_settlement(en, &from, s, 0, &body, &error), 0);
        struct slice later = encoder_body(en, sequences[i], arena);
        assert_int_equal(encode_settlement(en, &from, s, sequences[i], &body, &error), 0);
        assert_true(slice_same(body, later));
    }
    arena_destroy(arena);
}

// A field that is missing, of another name or type, or too many: no body comes of it.
static void fields_are_those_of_the_schema(void **state)
{
    (void)state;
    static const char schema[] = "{\"type\":\"record\",\"name\":\"r\",\"fields\":["
                                 "{\"name\":\"a\",\"type\":\"long\"},"
                                 "{\"name\":\"b\",\"type\":[\"null\",\"string\"]}]}";
    struct body_schema *read;
    struct body_writer w = {0};
    assert_int_equal(body_schema_create(schema, sizeof schema - 1, &read, &error), 0);
    for (int wrong = 0; wrong <= 5; wrong++) {
        body_begin(&w, read);
        if (wrong == 1)
            body_int(&w, "a", 7);
        else
            body_long(&w, wrong == 2 ? "c" : "a", 7);
        if (wrong == 3)
            body_text(&w, "b", slice_text("x"));
        else if (wrong != 4)
            body_text_or_null(&w, "b", slice_text("x"));
        if (wrong == 5)
            body_long(&w, "c", 7);
        assert_int_equal(body_end(&w), wrong == 0);
        if (wrong == 0)
            assert_memory_equal(w.data, "\x0e\x02\x02x", w.used);
    }
    body_writer_release(&w);
    body_schema_free(read);
    static const char odd[] = "{\"type\":\"record\",\"name\":\"r\",\"fields\":["
                              "{\"name\":\"a\",\"type\":\"long\"},"
                              "{\"name\":\"b\",\"type\":\"double\"}]}";
    assert_int_equal(body_schema_create(odd, sizeof odd - 1, &read, &error), -1);
    assert_int_equal(body_schema_create("{", 1, &read, &error), -1);
}

static void a_body_beyond_the_buffer_grows_it(void **state)
{
    (void)state;
    enum { LINES = 2000 };
    struct settlement_line *lines = calloc(LINES, sizeof *lines);
    for (size_t i = 0; i < LINES; i++)
        lines[i] = fixture_lines[2];
    struct step step = {.lines = lines, .line_count = LINES};
    struct settlement s = fixture_settlements[0];
    s.line_count = LINES;
    struct slice body;
    assert_int_equal(
        encode_settlement(en, &(struct encode_source){&cx, &fold, &step}, &s, 1, &body, &error), 0);
    json_t *got = read_back(OUTPUT_SETTLEMENTS, body);
    assert_int_equal(json_array_size(json_object_get(got, "lines")), LINES);
    json_decref(got);
    free(lines);
}

static void status_names_what_caused_it(void **state)
{
    (void)state;
    struct slice body;
    assert_int_equal(encode_status(en, &from, &fixture_statuses[0], 7, &body, &error), 0);
    assert_body(OUTPUT_STATUS, body,
                "{\"event_id\":\"acc-a/"
                "1\",\"account_id\":\"acc-a\",\"account_sequence\":1,\"status\":\"SUSPENDED\","
                "\"cause\":\"ARREARS\",\"settlement_id\":{\"string\":\"acc-a/"
                "2026-11-01\"},\"credit_id\":null,"
                "\"balance\":-6221000,\"effective_at\":1793548800000,\"shard\":3,\"sequence\":7}");
    assert_int_equal(encode_status(en, &from, &fixture_statuses[1], 8, &body, &error), 0);
    assert_body(OUTPUT_STATUS, body,
                "{\"event_id\":\"\xe8\xbd\xa6-b/"
                "2\",\"account_id\":\"\xe8\xbd\xa6-b\",\"account_sequence\":2,"
                "\"status\":\"ACTIVE\",\"cause\":\"CREDIT\",\"settlement_id\":null,"
                "\"credit_id\":{\"string\":\"credit-7\"},\"balance\":1000000,\"effective_at\":"
                "1793500000000,"
                "\"shard\":3,\"sequence\":8}");
}

static void notice_holds_what_applies(void **state)
{
    (void)state;
    struct slice body;
    assert_int_equal(encode_notice(en, &from, &fixture_notices[0], 7, &body, &error), 0);
    assert_body(OUTPUT_NOTICES, body,
                "{\"notice_id\":\"acc-a/2026-11-01/PACKAGE_LOW/package-1\","
                "\"account_id\":\"acc-a\",\"business_day\":20758,\"kind\":\"PACKAGE_LOW\","
                "\"package_id\":{\"string\":\"package-1\"},"
                "\"service\":{\"BilledService\":\"PURCHASE_INTENT\"},"
                "\"units\":{\"long\":10000},\"remaining\":{\"long\":500},"
                "\"valid_until\":{\"long\":1793548800000},\"balance\":null,"
                "\"threshold\":{\"long\":5},\"shard\":3,\"sequence\":7}");
    assert_int_equal(encode_notice(en, &from, &fixture_notices[1], 8, &body, &error), 0);
    json_t *expired = read_back(OUTPUT_NOTICES, body);
    assert_true(json_is_null(json_object_get(expired, "threshold")));
    assert_true(json_is_null(json_object_get(expired, "balance")));
    json_decref(expired);
    assert_int_equal(encode_notice(en, &from, &fixture_notices[2], 9, &body, &error), 0);
    assert_body(OUTPUT_NOTICES, body,
                "{\"notice_id\":\"\xe8\xbd\xa6-b/2026-11-01/BALANCE_LOW\","
                "\"account_id\":\"\xe8\xbd\xa6-b\",\"business_day\":20758,"
                "\"kind\":\"BALANCE_LOW\",\"package_id\":null,\"service\":null,\"units\":null,"
                "\"remaining\":null,\"valid_until\":null,\"balance\":{\"long\":780000},"
                "\"threshold\":{\"long\":1000000},\"shard\":3,\"sequence\":9}");
}

// Ids of the largest size, of an account and a package: the notice's fits.
static void the_longest_notice_id_fits(void **state)
{
    (void)state;
    static char longest[128];
    struct slice body;
    memset(longest, 'x', sizeof longest);
    fold.accounts[0].id = fold.packages[0].id = (struct slice){longest, sizeof longest};
    assert_int_equal(encode_notice(en, &from, &fixture_notices[1], 8, &body, &error), 0);
    json_t *got = read_back(OUTPUT_NOTICES, body);
    const char *id = json_string_value(json_object_get(got, "notice_id"));
    assert_int_equal(strlen(id), 2 * sizeof longest + strlen("/2026-11-01/PACKAGE_EXPIRED/"));
    json_decref(got);
    fold = fixture_fold();
}

static void day_close_holds_every_field(void **state)
{
    (void)state;
    struct slice body;
    char schema[65], expected[4096];
    settlement_schema_sha256(schema);
    assert_int_equal(encode_day_close(en, &cx, &fold.step.close,
                                      &(struct close_chaining){"cc", "pp", "dd", 9}, &body, &error),
                     0);
    snprintf(
        expected, sizeof expected,
        "{\"shard\":3,\"shards\":8,\"business_day\":20758,\"cutoffs\":["
        "{\"topic\":\"call-records\",\"from_offset\":100,\"to_offset\":110,\"cut_by\":\"RECORD\","
        "\"accepted\":4,"
        "\"duplicates\":3,\"rejected\":2,\"void\":1},"
        "{\"topic\":\"package-purchases\",\"from_offset\":5,\"to_offset\":5,\"cut_by\":\"CLOCK\","
        "\"accepted\":0,"
        "\"duplicates\":0,\"rejected\":0,\"void\":0},"
        "{\"topic\":\"account-credits\",\"from_offset\":40,\"to_offset\":42,\"cut_by\":\"RELEASE\","
        "\"accepted\":1,\"duplicates\":0,\"rejected\":1,\"void\":0}],"
        "\"late\":1,\"zero_unit_calls\":0,\"settlements\":2,\"amount\":13440000,\"price_book\":\"%"
        "s\","
        "\"parameters\":\"%s\",\"decisions\":[\"1 ACCEPT "
        "operator call-records 1 "
        "bf916bbf88fe00a50bda7b68d8a1617df32e619f711475b081dfdbf11a84d2bc\"],\"settlement_schema\":"
        "\"%s\","
        "\"content_digest\":\"cc\",\"previous_digest\":\"pp\",\"digest\":\"dd\",\"sequence\":9}",
        BOOK_OF_TEST, PARAMETERS_OF_TEST, schema);
    assert_body(OUTPUT_DAY_CLOSES, body, expected);
}

static json_t *encode_and_read(const struct step_reject *r)
{
    struct slice body;
    assert_int_equal(encode_reject(en, &cx, r, 5, &body, &error), 0);
    assert_true(body.size <= REJECT_MESSAGE_MAX + 4096);
    return read_back(OUTPUT_REJECTS, body);
}

static void reject_carries_the_record_as_received(void **state)
{
    (void)state;
    struct slice body;
    assert_int_equal(encode_reject(en, &cx, &fixture_rejects[0], 5, &body, &error), 0);
    assert_body(
        OUTPUT_REJECTS, body,
        "{\"topic\":\"account-credits\",\"partition\":3,\"offset\":41,\"timestamp\":1793500000001,"
        "\"reason\":\"REFUND\",\"detail\":\"a top-up of -5 "
        "fen\",\"account_id\":{\"string\":\"acc-b\"},"
        "\"record_id\":{\"string\":\"credit-6\"},\"occurred_at\":{\"long\":1793499999999},"
        "\"key\":{\"bytes\":\"acc-b\"},\"value\":{\"bytes\":\"\\u0001\\u0002\\u0003\"},\"shard\":3,"
        "\"sequence\":5}");
}

static void reject_keeps_zero_bytes(void **state)
{
    (void)state;
    struct slice body;
    struct step_reject r = fixture_rejects[0];
    r.value = (struct slice){"x\0\0y", 4};
    assert_int_equal(encode_reject(en, &cx, &r, 5, &body, &error), 0);
    assert_non_null(memmem(body.data, body.size, "\x08x\0\0y", 5)); // zigzag of 4, then the bytes
}

static void reject_tells_null_from_empty(void **state)
{
    (void)state;
    struct step_reject r = {
        .input = INPUT_CALLS, .reason = REJECT_UNDECODABLE, .detail = "no value", .key = {"", 0}};
    json_t *got = encode_and_read(&r);
    assert_true(json_is_object(json_object_get(got, "key")));
    assert_true(json_is_null(json_object_get(got, "value")));
    assert_true(json_is_null(json_object_get(got, "account_id")));
    assert_true(json_is_null(json_object_get(got, "occurred_at")));
    json_decref(got);
}

// Strict readers must be able to read a reject, whatever its input record held.
static void reject_holds_only_what_every_reader_can_read(void **state)
{
    (void)state;
    struct step_reject r = fixture_rejects[0];
    r.detail = "enum symbol \xff";
    r.occurred_at = INT64_MAX;
    json_t *got = encode_and_read(&r);
    assert_true(json_is_null(json_object_get(got, "occurred_at")));
    assert_string_equal(json_string_value(json_object_get(got, "detail")),
                        "enum symbol \xef\xbf\xbd");
    json_decref(got);
}

static bool is_left_out(const struct step_reject *r, const char *name, const char *note)
{
    json_t *got = encode_and_read(r);
    bool left_out = json_is_null(json_object_get(got, name));
    const char *detail = json_string_value(json_object_get(got, "detail"));
    if (left_out && !strstr(detail, note))
        fail_msg("detail %s", detail);
    json_decref(got);
    return left_out;
}

static void a_reject_too_large_is_left_out_with_its_digest(void **state)
{
    (void)state;
    char *bytes = calloc(1, 1 << 20);
    struct step_reject r = fixture_rejects[0];
    r.value = (struct slice){bytes, REJECT_BYTES_MAX};
    assert_false(is_left_out(&r, "value", ""));
    r.value.size++;
    // SHA-256 of 900,001 zero bytes.
    assert_true(is_left_out(&r, "value",
                            "a top-up of -5 fen; value of 900001 bytes left out, SHA-256 "
                            "e182117daf3a043f79de8e3819febb4fbab4d707e139723989a7721071b4b8f3"));
    r.value.size = 300000;
    r.key = (struct slice){bytes, 400000};
    assert_true(is_left_out(&r, "value", "value of 300000 bytes left out"));
    assert_false(is_left_out(&r, "key", ""));
    r.key.size = 500000;
    assert_true(is_left_out(&r, "key", "key of 500000 bytes left out"));
    free(bytes);
}

static void an_unknown_symbol_fails_loudly(void **state)
{
    (void)state;
    struct slice body;
    struct day_close close = fold.step.close;
    const struct close_chaining chaining = {"", "", "", 1};
    close.cutoffs[1].cut_by = CUT_NONE; // a day that is not cut must never be closed
    assert_int_equal(encode_day_close(en, &cx, &close, &chaining, &body, &error), -1);
    assert_int_equal(error.kind, ERROR_BUG);
    assert_non_null(strstr(error.text, "cut_by"));
    assert_int_equal(encode_day_close(en, &cx, &fold.step.close, &chaining, &body, &error), 0);
}

static void texts_are_those_of_the_folder(void **state)
{
    (void)state;
    static const char *const names[OUTPUT_COUNT] = {"Settlement",    "AccountStatusChanged",
                                                    "DayClosed",     "Reject",
                                                    "AccountNotice", "MonthStatement"};
    for (int o = 0; o < OUTPUT_COUNT; o++) {
        char path[512], text[32768];
        snprintf(path, sizeof path, "%s/schemas/avro/%s.avsc", SOURCE_DIR, names[o]);
        FILE *file = fopen(path, "rb");
        assert_non_null(file);
        text[fread(text, 1, sizeof text - 1, file)] = '\0';
        fclose(file);
        assert_string_equal(schema_of_output((enum output)o), text);
        assert_string_equal(record_name_of_output((enum output)o), names[o]);
    }
    for (int i = 0; i < INPUT_COUNT; i++)
        assert_non_null(
            strstr(schema_of_input((enum input)i), record_name_of_input((enum input)i)));
}

// Every enum of the outputs has UNKNOWN as its default, every record and field a doc.
static void check_schema(json_t *schema)
{
    if (json_is_array(schema)) {
        size_t index;
        json_t *branch;
        json_array_foreach(schema, index, branch) check_schema(branch);
        return;
    }
    if (!json_is_object(schema))
        return;
    const char *type = json_string_value(json_object_get(schema, "type"));
    if (type && strcmp(type, "enum") == 0) {
        assert_string_equal(json_string_value(json_object_get(schema, "default")), "UNKNOWN");
        assert_string_equal(
            json_string_value(json_array_get(json_object_get(schema, "symbols"), 0)), "UNKNOWN");
    }
    if (type && strcmp(type, "record") == 0)
        assert_non_null(json_object_get(schema, "doc"));
    size_t index;
    json_t *fields = json_object_get(schema, "fields"), *member;
    json_array_foreach(fields, index, member)
    {
        assert_non_null(json_object_get(member, "doc"));
        check_schema(json_object_get(member, "type"));
    }
    check_schema(json_object_get(schema, "items"));
}

static void output_schemas_keep_the_house_rules(void **state)
{
    (void)state;
    for (int o = 0; o < OUTPUT_COUNT; o++) {
        json_t *schema = json_loads(schema_of_output((enum output)o), JSON_REJECT_DUPLICATES, NULL);
        assert_non_null(schema);
        assert_string_equal(json_string_value(json_object_get(schema, "namespace")), "settled");
        check_schema(schema);
        json_decref(schema);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(settlement_holds_every_field, setup, teardown),
        cmocka_unit_test_setup_teardown(reused_values_leave_nothing_behind, setup, teardown),
        cmocka_unit_test_setup_teardown(statement_holds_every_field, setup, teardown),
        cmocka_unit_test_setup_teardown(a_statement_is_read_back_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(a_body_takes_its_sequence_afterwards, setup, teardown),
        cmocka_unit_test_setup_teardown(fields_are_those_of_the_schema, setup, teardown),
        cmocka_unit_test_setup_teardown(a_body_beyond_the_buffer_grows_it, setup, teardown),
        cmocka_unit_test_setup_teardown(status_names_what_caused_it, setup, teardown),
        cmocka_unit_test_setup_teardown(notice_holds_what_applies, setup, teardown),
        cmocka_unit_test_setup_teardown(the_longest_notice_id_fits, setup, teardown),
        cmocka_unit_test_setup_teardown(day_close_holds_every_field, setup, teardown),
        cmocka_unit_test_setup_teardown(reject_carries_the_record_as_received, setup, teardown),
        cmocka_unit_test_setup_teardown(reject_keeps_zero_bytes, setup, teardown),
        cmocka_unit_test_setup_teardown(reject_tells_null_from_empty, setup, teardown),
        cmocka_unit_test_setup_teardown(reject_holds_only_what_every_reader_can_read, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_reject_too_large_is_left_out_with_its_digest, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(an_unknown_symbol_fails_loudly, setup, teardown),
        cmocka_unit_test(texts_are_those_of_the_folder),
        cmocka_unit_test(output_schemas_keep_the_house_rules),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
