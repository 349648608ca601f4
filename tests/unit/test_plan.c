// Each rule of schema resolution has a test with its name, first on small readers, then on our
// three. Then bodies are broken at every byte and bit.
#include "consumer/avro/avsc.h"
#include "consumer/avro/plan_program.h"
#include "schemas/embedded.h"
#include "tests/lib/avro_bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

// ---- a case: a reader, a writer, bytes ----

struct fixture {
    struct plan *plan;
    struct error e;
    struct avro_bytes body;
    struct record record;
    char detail[REJECT_DETAIL_SIZE];
};

static int setup(void **state)
{
    *state = calloc(1, sizeof(struct fixture));
    return *state ? 0 : -1;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    plan_destroy(f->plan);
    free(f);
    return 0;
}

static int compile(struct fixture *f, const char *reader, const char *writer)
{
    plan_destroy(f->plan);
    f->plan = NULL;
    f->body.size = 0;
    f->e = (struct error){0};
    char *r = json_of(reader), *w = json_of(writer);
    int rc = plan_compile_schemas(r, strlen(r), w, strlen(w), &f->plan, &f->e);
    free(r);
    free(w);
    return rc;
}

static int compile_input(struct fixture *f, enum input input, const char *writer)
{
    plan_destroy(f->plan);
    f->plan = NULL;
    f->body.size = 0;
    f->e = (struct error){0};
    char *w = json_of(writer);
    int rc = plan_compile(input, w, strlen(w), &f->plan, &f->e);
    free(w);
    return rc;
}

// A reader of one field `f`, and a writer of one field `f`.
#define READS(type) "{'type':'record','name':'R','fields':[{'name':'f','type':" type "}]}"
#define WRITES READS

static void resolves(struct fixture *f, const char *reader, const char *writer)
{
    if (compile(f, reader, writer))
        fail_msg("%s", f->e.text);
}

static void refuses(struct fixture *f, const char *reader, const char *writer, const char *reason)
{
    assert_int_equal(compile(f, reader, writer), -1);
    assert_int_equal(f->e.kind, ERROR_CONFIG);
    if (!strstr(f->e.text, reason))
        fail_msg("'%s' is not in '%s'", reason, f->e.text);
}

// Decodes from a block of exactly the body's size, so that the sanitizer sees a read beyond it.
static enum plan_result decode_bytes(struct fixture *f, const uint8_t *bytes, size_t size)
{
    uint8_t *exact = malloc(size > 0 ? size : 1);
    assert_non_null(exact);
    if (size > 0)
        memcpy(exact, bytes, size);
    memset(&f->record, 0xa5, sizeof f->record);
    f->detail[0] = '\0';
    enum plan_result result = plan_decode(f->plan, exact, size, &f->record, f->detail);
    // Texts point into the body: let them point into the bytes that stay.
    for (unsigned i = 0; i < RECORD_FIELDS_MAX && result == PLAN_OK; i++) {
        const char *data = f->record.field[i].data;
        if (data >= (char *)exact && data <= (char *)exact + size)
            f->record.field[i].data = (const char *)bytes + (data - (char *)exact);
    }
    free(exact);
    return result;
}

static void decodes(struct fixture *f)
{
    if (decode_bytes(f, f->body.data, f->body.size) != PLAN_OK)
        fail_msg("%s", f->detail);
}

static void rejects(struct fixture *f, const char *detail)
{
    assert_int_equal(decode_bytes(f, f->body.data, f->body.size), PLAN_UNDECODABLE);
    if (!strstr(f->detail, detail))
        fail_msg("'%s' is not in '%s'", detail, f->detail);
}

static void assert_text(const struct fixture *f, unsigned field, const char *expected)
{
    assert_non_null(f->record.field[field].data);
    assert_int_equal(f->record.field[field].number, strlen(expected));
    assert_memory_equal(f->record.field[field].data, expected, strlen(expected));
}

static void assert_number(const struct fixture *f, unsigned field, int64_t expected)
{
    assert_true(f->record.field[field].number == expected);
}

static void assert_null_value(const struct fixture *f, unsigned field)
{
    assert_true(f->record.nulls >> field & 1);
    assert_null(f->record.field[field].data);
    assert_number(f, field, 0);
}

// Decodes one number written as a long into the only field.
static int64_t read_number(struct fixture *f, int64_t written)
{
    f->body.size = 0;
    put_long(&f->body, written);
    decodes(f);
    return f->record.field[0].number;
}

// ---- fields ----

static void test_fields_in_another_order(void **state)
{
    struct fixture *f = *state;
    resolves(f,
             "{'type':'record','name':'R','fields':[{'name':'a','type':'string'},{'name':'b','type'"
             ":'long'}]}",
             "{'type':'record','name':'R','fields':[{'name':'b','type':'long'},{'name':'a','type':'"
             "string'}]}");
    put_long(&f->body, -9);
    put_text(&f->body, "x");
    decodes(f);
    assert_text(f, 0, "x");
    assert_number(f, 1, -9);
    assert_int_equal(f->record.nulls, 0);
    assert_int_equal(f->record.unknown, 0);
}

static void test_absent_field_takes_the_default(void **state)
{
    struct fixture *f = *state;
    const char *reader =
        "{'type':'record','name':'R','fields':["
        "{'name':'n','type':['null','long'],'default':null},"
        "{'name':'l','type':'long','default':-7},"
        "{'name':'t','type':'string','default':'abc'},"
        "{'name':'e','type':{'type':'enum','name':'E','symbols':['A','B']},'default':'B'},"
        "{'name':'s','type':['string','null'],'default':'d'},"
        "{'name':'w','type':{'type':'long','logicalType':'timestamp-millis'},'default':12}]}";
    resolves(f, reader, "{'type':'record','name':'R','fields':[]}");
    decodes(f);
    assert_null_value(f, 0);
    assert_number(f, 1, -7);
    assert_text(f, 2, "abc");
    assert_number(f, 3, 1);
    assert_text(f, 4, "d");
    assert_number(f, 5, 12);
    assert_int_equal(f->record.nulls, 1);
}

static void test_absent_field_without_default_does_not_resolve(void **state)
{
    struct fixture *f = *state;
    refuses(f, READS("'long'"), "{'type':'record','name':'R','fields':[]}",
            "field f: the writer's record has no such");
    refuses(f, READS("['null','long']"), "{'type':'record','name':'R','fields':[]}", "no default");
}

static void test_reader_aliases(void **state)
{
    struct fixture *f = *state;
    const char *reader =
        "{'type':'record','name':'R','namespace':'n','aliases':['Old','m.Older'],'fields':["
        "{'name':'f','aliases':['g','h'],'type':'long','default':1},"
        "{'name':'h','type':'long','default':2}]}";
    resolves(f, reader, "{'type':'record','name':'Old','fields':[{'name':'g','type':'long'}]}");
    put_long(&f->body, 33);
    decodes(f);
    assert_number(f, 0, 33);
    resolves(f, reader,
             "{'type':'record','name':'Older','fields':[{'name':'g','type':'long'},{'name':'f','"
             "type':'int'}]}");
    put_long(&f->body, 1);
    put_long(&f->body, 44);
    decodes(f);
    assert_number(f, 0, 44); // the name goes before the alias
    resolves(f, reader, "{'type':'record','name':'R','fields':[{'name':'h','type':'long'}]}");
    put_long(&f->body, 55);
    decodes(f);
    assert_number(f, 0, 1); // h is the reader's own h
    assert_number(f, 1, 55);
}

static void test_writer_aliases_do_not_count(void **state)
{
    struct fixture *f = *state;
    refuses(f, READS("'long'"),
            "{'type':'record','name':'R','fields':[{'name':'g','aliases':['f'],'type':'long'}]}",
            "no such field");
    refuses(f, READS("'long'"),
            "{'type':'record','name':'S','aliases':['R'],'fields':[{'name':'f','type':'long'}]}",
            "named S, the reader's R");
}

static void test_record_names_are_compared_unqualified(void **state)
{
    struct fixture *f = *state;
    resolves(f, READS("'long'"),
             "{'type':'record','name':'a.b.R','fields':[{'name':'f','type':'long'}]}");
    resolves(f, READS("'long'"),
             "{'type':'record','name':'R','namespace':'c','fields':[{'name':'f','type':'long'}]}");
    refuses(f, READS("'long'"),
            "{'type':'record','name':'R.S','fields':[{'name':'f','type':'long'}]}", "named S");
    refuses(f, READS("'long'"), "'long'", "of type long, not the record R");
}

static void test_a_field_called_twice(void **state)
{
    struct fixture *f = *state;
    refuses(f, READS("'long'"),
            "{'type':'record','name':'R','fields':[{'name':'f','type':'long'},{'name':'f','type':'"
            "long'}]}",
            "twice");
}

// ---- promotions ----

static void test_int_becomes_long(void **state)
{
    struct fixture *f = *state;
    resolves(f, READS("'long'"), WRITES("'int'"));
    assert_true(read_number(f, INT32_MIN) == INT32_MIN);
    assert_true(read_number(f, INT32_MAX) == INT32_MAX);
    f->body.size = 0;
    put_long(&f->body, INT64_C(1) << 31);
    rejects(f, "f: an int of more than 32 bits at byte 0 of 5");
}

static void test_long_takes_all_64_bits(void **state)
{
    struct fixture *f = *state;
    resolves(f, READS("'long'"), WRITES("'long'"));
    const int64_t numbers[] = {0, -1, 63, 64, -64, -65, 8191, 8192, INT64_MIN, INT64_MAX};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        assert_true(read_number(f, numbers[i]) == numbers[i]);
}

static void test_bytes_and_string_are_one_another(void **state)
{
    struct fixture *f = *state;
    resolves(f, READS("'string'"), WRITES("'bytes'"));
    put_text(&f->body, "ab");
    decodes(f);
    assert_text(f, 0, "ab");
    resolves(f, READS("'string'"),
             WRITES("{'type':'bytes','logicalType':'decimal','precision':4}"));
}

static void test_other_types_do_not_resolve(void **state)
{
    struct fixture *f = *state;
    const char *reason = "field f: the writer's";
    refuses(f, READS("'long'"), WRITES("'float'"), reason);
    refuses(f, READS("'long'"), WRITES("'double'"), reason);
    refuses(f, READS("'long'"), WRITES("'string'"), reason);
    refuses(f, READS("'long'"), WRITES("'boolean'"), reason);
    refuses(f, READS("'long'"), WRITES("'null'"), reason);
    refuses(f, READS("'string'"), WRITES("'long'"), reason);
    refuses(f, READS("'string'"), WRITES("{'type':'fixed','name':'F','size':16}"), reason);
    refuses(f, READS("'string'"), WRITES("{'type':'enum','name':'E','symbols':['A']}"), reason);
    refuses(f, READS("'string'"), WRITES("{'type':'array','items':'string'}"), reason);
    refuses(f, READS("'string'"), WRITES("{'type':'map','values':'string'}"), reason);
    refuses(f, READS("['null','string']"), WRITES("{'type':'record','name':'Q','fields':[]}"),
            reason);
    refuses(f, READS("{'type':'enum','name':'E','symbols':['A']}"), WRITES("'string'"), reason);
}

// ---- logical types ----

static void test_timestamps_are_floored_to_millis(void **state)
{
    struct fixture *f = *state;
    const char *reader = READS("{'type':'long','logicalType':'timestamp-millis'}");
    resolves(f, reader, WRITES("{'type':'long','logicalType':'timestamp-micros'}"));
    assert_true(read_number(f, 1999) == 1);
    assert_true(read_number(f, 2000) == 2);
    assert_true(read_number(f, 0) == 0);
    assert_true(read_number(f, -1) == -1);
    assert_true(read_number(f, -1000) == -1);
    assert_true(read_number(f, -1001) == -2);
    assert_true(read_number(f, INT64_MIN) == INT64_C(-9223372036854776));
    assert_true(read_number(f, INT64_MAX) == INT64_C(9223372036854775));
    resolves(f, reader, WRITES("['null',{'type':'long','logicalType':'timestamp-micros'}]"));
    put_long(&f->body, 1);
    put_long(&f->body, -1);
    decodes(f);
    assert_number(f, 0, -1);
}

static void test_times_are_plain_or_say_milliseconds(void **state)
{
    struct fixture *f = *state;
    const char *reader = READS("{'type':'long','logicalType':'timestamp-millis'}");
    const char *const writers[] = {
        WRITES("'long'"),
        WRITES("'int'"),
        WRITES("{'type':'long','logicalType':'timestamp-millis'}"),
        WRITES("{'type':'int','logicalType':'timestamp-millis'}"),
        WRITES("{'type':'long','logicalType':17}"), // no logical type
    };
    for (size_t i = 0; i < sizeof writers / sizeof *writers; i++) {
        resolves(f, reader, writers[i]);
        assert_true(read_number(f, -1234567) == -1234567);
    }
    resolves(f, READS("'long'"), WRITES("{'type':'long','logicalType':'timestamp-micros'}"));
    assert_true(read_number(f, 1234567) == 1234567); // no timestamp for this reader
    resolves(f, READS("'long'"), WRITES("{'type':'long','logicalType':'local-timestamp-micros'}"));
    assert_true(read_number(f, 1234567) == 1234567);
    resolves(f, READS("'string'"), WRITES("{'type':'string','logicalType':'uuid'}"));
}

// Each is a number, and none of them counts milliseconds since 1970 in UTC.
static void test_what_says_another_instant_is_no_time(void **state)
{
    struct fixture *f = *state;
    const char *reader = READS("{'type':'long','logicalType':'timestamp-millis'}");
    const char *const writers[] = {
        WRITES("{'type':'long','logicalType':'local-timestamp-millis'}"),
        WRITES("{'type':'long','logicalType':'local-timestamp-micros'}"),
        WRITES("{'type':'long','logicalType':'local-timestamp-nanos'}"),
        WRITES("{'type':'long','logicalType':'timestamp-nanos'}"),
        WRITES("{'type':'long','logicalType':'time-micros'}"),
        WRITES("{'type':'long','logicalType':'somebodys-own'}"),
        WRITES("{'type':'int','logicalType':'time-millis'}"),
        WRITES("{'type':'int','logicalType':'date'}"),
        WRITES("{'type':'int','logicalType':'timestamp-micros'}"),
        WRITES("['null',{'type':'long','logicalType':'timestamp-nanos'}]"),
    };
    for (size_t i = 0; i + 1 < sizeof writers / sizeof *writers; i++)
        refuses(f, reader, writers[i], "which says another instant; write long or int, plain or");
    refuses(f, reader, writers[0],
            "field f: the writer's long has the logical type local-timestamp-millis, which");
    refuses(f, reader, writers[sizeof writers / sizeof *writers - 1],
            "field f: no branch of the writer's union is read as long; write long or int");
    // Where another branch resolves, it is found out when this one is met.
    resolves(f, reader, WRITES("['int',{'type':'long','logicalType':'timestamp-nanos'}]"));
    put_long(&f->body, 1);
    put_long(&f->body, 5);
    rejects(f, "which says another instant");
}

// ---- enums ----

#define ENUM(name, symbols) "{'type':'enum','name':'" name "','symbols':[" symbols "]}"

static void test_enum_goes_by_symbol(void **state)
{
    struct fixture *f = *state;
    resolves(f, READS(ENUM("E", "'A','B'")), WRITES(ENUM("n.E", "'X','B','A'")));
    assert_true(read_number(f, 2) == 0);
    assert_true(read_number(f, 1) == 1);
    assert_int_equal(f->record.unknown, 0);
    assert_true(read_number(f, 0) == -1);
    assert_int_equal(f->record.unknown, 1);
}

static void test_enum_out_of_the_writers_range(void **state)
{
    struct fixture *f = *state;
    resolves(f, READS(ENUM("E", "'A','B'")), WRITES(ENUM("E", "'A','B'")));
    put_long(&f->body, 2);
    rejects(f, "f: a branch or symbol that the writer's schema has not at byte 0 of 1");
    f->body.size = 0;
    put_long(&f->body, -1);
    rejects(f, "at byte 0 of 1");
}

static void test_enum_default_of_the_reader(void **state)
{
    struct fixture *f = *state;
    resolves(f, READS("{'type':'enum','name':'E','symbols':['A','B'],'default':'B'}"),
             WRITES(ENUM("E", "'A','X'")));
    assert_true(read_number(f, 1) == 1);
    assert_int_equal(f->record.unknown, 0);
    // The writer's default is for the writer's own readers.
    resolves(f, READS(ENUM("E", "'A'")),
             WRITES("{'type':'enum','name':'E','symbols':['X','A'],'default':'A'}"));
    assert_true(read_number(f, 0) == -1);
    assert_int_equal(f->record.unknown, 1);
}

static void test_enum_names(void **state)
{
    struct fixture *f = *state;
    refuses(f, READS(ENUM("E", "'A'")), WRITES(ENUM("D", "'A'")),
            "field f: the writer's enum is D, the reader's E");
    resolves(f, READS("{'type':'enum','name':'E','aliases':['old.D'],'symbols':['A']}"),
             WRITES(ENUM("D", "'A'")));
}

// ---- unions ----

static void test_nullable_in_either_order(void **state)
{
    struct fixture *f = *state;
    const char *const readers[] = {READS("['null','string']"), READS("['string','null']")};
    for (int i = 0; i < 2; i++) {
        resolves(f, readers[i], WRITES("['null','string']"));
        put_long(&f->body, 0);
        decodes(f);
        assert_null_value(f, 0);
        resolves(f, readers[i], WRITES("['string','null']"));
        put_long(&f->body, 0);
        put_text(&f->body, "");
        decodes(f);
        assert_text(f, 0, "");
        assert_int_equal(f->record.nulls, 0);
    }
}

static void test_plain_writer_for_nullable_reader(void **state)
{
    struct fixture *f = *state;
    resolves(f, READS("['null','string']"), WRITES("'bytes'"));
    put_text(&f->body, "x");
    decodes(f);
    assert_text(f, 0, "x");
    resolves(f, READS("['null','long']"), WRITES("'int'"));
    assert_true(read_number(f, 5) == 5);
    resolves(f, READS("['null','long']"), WRITES("'null'"));
    decodes(f);
    assert_null_value(f, 0);
}

static void test_null_where_the_reader_has_none_is_noted(void **state)
{
    struct fixture *f = *state;
    resolves(f, READS("'long'"), WRITES("['null','long']"));
    put_long(&f->body, 0);
    decodes(f);
    assert_null_value(f, 0);
    resolves(f, READS(ENUM("E", "'A'")), WRITES("['null'," ENUM("E", "'A'") "]"));
    put_long(&f->body, 0);
    decodes(f);
    assert_null_value(f, 0);
}

static void test_unions_of_one_branch_and_of_many(void **state)
{
    struct fixture *f = *state;
    resolves(f, READS("'long'"), WRITES("['int']"));
    put_long(&f->body, 0);
    put_long(&f->body, 8);
    decodes(f);
    assert_number(f, 0, 8);
    resolves(f, READS("['null','long']"), WRITES("['int','null','long']"));
    put_long(&f->body, 2);
    put_long(&f->body, INT64_MAX);
    decodes(f);
    assert_number(f, 0, INT64_MAX);
    f->body.size = 0;
    put_long(&f->body, 3);
    rejects(f, "f: a branch or symbol that the writer's schema has not at byte 0 of 1");
}

static void test_branch_that_does_not_resolve_is_refused_when_met(void **state)
{
    struct fixture *f = *state;
    resolves(f, READS("'long'"), WRITES("['double','long']"));
    put_long(&f->body, 1);
    put_long(&f->body, 8);
    decodes(f);
    assert_number(f, 0, 8);
    f->body.size = 0;
    put_long(&f->body, 0);
    put_bytes(&f->body, "12345678", 8);
    rejects(f, "field f: the writer's double is not read as long");
}

static void test_union_without_a_branch_that_resolves(void **state)
{
    struct fixture *f = *state;
    refuses(f, READS("'long'"), WRITES("['string','double']"),
            "field f: no branch of the writer's union");
    refuses(f, READS("'long'"), WRITES("['null']"), "field f: no branch");
    refuses(f, READS("'long'"), WRITES("['null','double']"), "field f: no branch");
    refuses(f, READS("'long'"), WRITES("[]"), "field f: no branch");
    resolves(f, READS("['null','long']"), WRITES("['null','double']"));
}

static void test_writer_of_a_union_of_records(void **state)
{
    struct fixture *f = *state;
    const char *writer =
        "['null',{'type':'record','name':'a.R','fields':[{'name':'f','type':'int'}]},"
        "{'type':'record','name':'S','fields':[]},"
        "{'type':'record','name':'b.R','fields':[{'name':'x','type':'string'},{'name':'f','type':'"
        "long'}]}]";
    resolves(f, READS("'long'"), writer);
    put_long(&f->body, 1);
    put_long(&f->body, 21);
    decodes(f);
    assert_number(f, 0, 21);
    f->body.size = 0;
    put_long(&f->body, 3);
    put_text(&f->body, "skipped");
    put_long(&f->body, 22);
    decodes(f);
    assert_number(f, 0, 22);
    f->body.size = 0;
    put_long(&f->body, 2);
    rejects(f, "the writer's record is named S, the reader's R");
    f->body.size = 0;
    put_long(&f->body, 4);
    rejects(f, "record: a branch or symbol");
    refuses(f, READS("'long'"), "['null','long']", "no branch of the writer's union resolves");
    refuses(f, READS("'long'"), "[]", "an empty union");
}

// Both records have the same enum: each program reads it independently.
static void test_enum_of_two_records_of_a_union(void **state)
{
    struct fixture *f = *state;
    const char *writer =
        "[{'type':'record','name':'a.R','fields':[{'name':'f','type':"
        "{'type':'enum','name':'E','symbols':['H','G','F','E','D','C','B','A']}}]},"
        "{'type':'record','name':'b.R','fields':[{'name':'x','type':'int'},"
        "{'name':'f','type':'a.E'}]}]";
    resolves(f, READS("{'type':'enum','name':'E','symbols':['A','B','C']}"), writer);
    for (int64_t symbol = 0; symbol < 8; symbol++) {
        int64_t number = 7 - symbol;
        f->body.size = 0;
        put_long(&f->body, 0);
        put_long(&f->body, symbol);
        decodes(f);
        assert_number(f, 0, number < 3 ? number : -1);
        f->body.size = 0;
        put_long(&f->body, 1);
        put_long(&f->body, 5);
        put_long(&f->body, symbol);
        decodes(f);
        assert_number(f, 0, number < 3 ? number : -1);
    }
}

// ---- skipping ----

// Skips a field of the type between two that are read.
#define AROUND(type)                                                                               \
    "{'type':'record','name':'R','namespace':'n','fields':[{'name':'a','type':'long'},{'name':'"   \
    "skipped','type':" type "},{'name':'z','type':'long'}]}"
static const char around[] =
    "{'type':'record','name':'R','fields':[{'name':'a','type':'long'},{'name':'z','type':'long'}]}";

static struct avro_bytes *skip_in(struct fixture *f, const char *writer)
{
    resolves(f, around, writer);
    put_long(&f->body, 100);
    return &f->body;
}

static void assert_skipped(struct fixture *f)
{
    put_long(&f->body, -200);
    decodes(f);
    assert_number(f, 0, 100);
    assert_number(f, 1, -200);
    for (size_t size = 0; size < f->body.size; size++) {
        if (decode_bytes(f, f->body.data, size) != PLAN_UNDECODABLE)
            fail_msg("decodes from %zu bytes", size);
    }
}

static void test_skip_primitives(void **state)
{
    struct fixture *f = *state;
    put_long(skip_in(f, AROUND("'long'")), INT64_MIN);
    assert_skipped(f);
    put_long(skip_in(f, AROUND("'int'")), -1);
    assert_skipped(f);
    put_byte(skip_in(f, AROUND("'boolean'")), 1);
    assert_skipped(f);
    put_bytes(skip_in(f, AROUND("'float'")), "1234", 4);
    assert_skipped(f);
    put_bytes(skip_in(f, AROUND("'double'")), "12345678", 8);
    assert_skipped(f);
    put_text(skip_in(f, AROUND("'string'")), "some text");
    assert_skipped(f);
    put_text(skip_in(f, AROUND("'bytes'")), "");
    assert_skipped(f);
    skip_in(f, AROUND("'null'"));
    assert_skipped(f);
    put_bytes(skip_in(f, AROUND("{'type':'fixed','name':'F','size':5}")), "12345", 5);
    assert_skipped(f);
    skip_in(f, AROUND("{'type':'fixed','name':'F','size':0}"));
    assert_skipped(f);
    put_long(skip_in(f, AROUND(ENUM("E", "'A','B'"))), 1);
    assert_skipped(f);
}

static void test_skip_union(void **state)
{
    struct fixture *f = *state;
    struct avro_bytes *b = skip_in(f, AROUND("['null','string',{'type':'array','items':'int'}]"));
    put_long(b, 0);
    assert_skipped(f);
    b->size = 2; // of a
    put_long(b, 1);
    put_text(b, "x");
    assert_skipped(f);
    b->size = 2;
    put_long(b, 3);
    rejects(f, "skipped: a branch or symbol that the writer's schema has not at byte 2 of 3");
}

static void test_skip_array_in_blocks(void **state)
{
    struct fixture *f = *state;
    struct avro_bytes *b = skip_in(f, AROUND("{'type':'array','items':'string'}"));
    put_long(b, 2);
    put_text(b, "a");
    put_text(b, "bc");
    put_long(b, -3); // three items in six bytes, whatever they are
    put_long(b, 6);
    put_bytes(b, "\x02x\x02y\x02z", 6);
    put_long(b, 1);
    put_text(b, "");
    put_long(b, 0);
    assert_skipped(f);
}

static void test_skip_map_in_blocks(void **state)
{
    struct fixture *f = *state;
    struct avro_bytes *b = skip_in(f, AROUND("{'type':'map','values':['null','double']}"));
    put_long(b, 2);
    put_text(b, "k");
    put_long(b, 0);
    put_text(b, "key");
    put_long(b, 1);
    put_bytes(b, "12345678", 8);
    put_long(b, -1);
    put_long(b, 3);
    put_bytes(b, "\x02q\x00", 3);
    put_long(b, 0);
    assert_skipped(f);
}

static void test_skip_items_without_bytes(void **state)
{
    struct fixture *f = *state;
    struct avro_bytes *b = skip_in(f, AROUND("{'type':'array','items':'null'}"));
    put_long(b, INT64_MAX); // passed at once
    put_long(b, 1);
    put_long(b, 0);
    assert_skipped(f);
    b = skip_in(f, AROUND("{'type':'array','items':{'type':'record','name':'Q','fields':["
                          "{'name':'n','type':'null'},{'name':'z','type':{'type':'fixed','name':'Z'"
                          ",'size':0}}]}}"));
    put_long(b, INT64_MAX);
    put_long(b, 0);
    assert_skipped(f);
    b = skip_in(f, AROUND("{'type':'map','values':'null'}"));
    put_long(b, 2);
    put_text(b, "a");
    put_text(b, "b");
    put_long(b, 0);
    assert_skipped(f);
}

static void test_skip_bad_blocks(void **state)
{
    struct fixture *f = *state;
    struct avro_bytes *b = skip_in(f, AROUND("{'type':'array','items':'int'}"));
    put_long(b, INT64_MAX);
    rejects(f, "skipped: a block of more items than bytes are left");
    b->size = 2;
    put_long(b, INT64_MIN);
    put_long(b, -1);
    rejects(f, "skipped: a block of negative size");
    b->size = 2;
    put_long(b, -1);
    put_long(b, 1000);
    rejects(f, "skipped: the body ends within a value");
}

static void test_skip_nested_records_and_named_types(void **state)
{
    struct fixture *f = *state;
    // Q is defined in namespace n, is used again by its short and its full name, and holds a type
    // of another namespace.
    struct avro_bytes *b = skip_in(
        f, AROUND("{'type':'record','name':'Q','fields':["
                  "{'name':'i','type':{'type':'fixed','name':'other.F','size':2}},"
                  "{'name':'j','type':{'type':'record','name':'P','namespace':'other','fields':["
                  "{'name':'k','type':'F'},{'name':'l','type':['null','n.Q']}]}}]}},"
                  "{'name':'again','type':'Q'},{'name':'more','type':{'type':'array','items':'"
                  "other.P'}"));
    put_bytes(b, "ffkk", 4);
    put_long(b, 1); // a Q within
    put_bytes(b, "ffkk", 4);
    put_long(b, 0);
    put_bytes(b, "ffkk", 4); // again
    put_long(b, 0);
    put_long(b, 1); // more
    put_bytes(b, "kk", 2);
    put_long(b, 0);
    put_long(b, 0);
    assert_skipped(f);
}

static void test_skip_recursive_type_is_bounded(void **state)
{
    struct fixture *f = *state;
    const char *list = AROUND("{'type':'record','name':'L','fields':[{'name':'v','type':'int'},"
                              "{'name':'next','type':['null','L']}]}");
    struct avro_bytes *b = skip_in(f, list);
    for (int i = 1; i < SKIP_DEPTH_MAX; i++) {
        put_long(b, i);
        put_long(b, 1);
    }
    put_long(b, 0);
    put_long(b, 0);
    assert_skipped(f);
    b = skip_in(f, list);
    for (int i = 0; i < SKIP_DEPTH_MAX; i++) {
        put_long(b, i);
        put_long(b, 1);
    }
    put_long(b, 0);
    put_long(b, 0);
    rejects(f, "skipped: a value nested deeper than 128 levels");
    // has no value at all
    skip_in(f, AROUND("{'type':'record','name':'L','fields':[{'name':'l','type':'L'}]}"));
    rejects(f, "skipped: a value nested deeper than 128 levels");
}

// 2^60 leaves of no bytes, and a chain of records with one byte in each block: both take no time.
static void test_skip_takes_time_by_the_byte(void **state)
{
    struct fixture *f = *state;
    char writer[16384];
    int n = snprintf(writer, sizeof writer,
                     "{'type':'record','name':'R','fields':[{'name':'a','type':'long'},"
                     "{'name':'p0','type':{'type':'record','name':'P0','fields':[]}},"
                     "{'name':'q0','type':{'type':'record','name':'Q0','fields':["
                     "{'name':'i','type':'int'}]}},");
    for (int i = 1; i <= 60; i++) {
        n += snprintf(writer + n, sizeof writer - (size_t)n,
                      "{'name':'p%d','type':{'type':'record','name':'P%d','fields':[{'name':'l','"
                      "type':'P%d'},"
                      "{'name':'r','type':'P%d'}]}},",
                      i, i, i - 1, i - 1);
        n += snprintf(writer + n, sizeof writer - (size_t)n,
                      "{'name':'q%d','type':{'type':'record','name':'Q%d','fields':[{'name':'l','"
                      "type':'Q%d'},"
                      "{'name':'r','type':'P%d'}]}},",
                      i, i, i - 1, i);
    }
    snprintf(writer + n, sizeof writer - (size_t)n, "{'name':'z','type':'long'}]}");
    struct avro_bytes *b = skip_in(f, writer);
    for (int i = 0; i <= 60; i++)
        put_long(b, i);
    assert_skipped(f);
}

// ---- malformed bodies ----

static void test_numbers_that_are_too_long(void **state)
{
    struct fixture *f = *state;
    resolves(f, READS("'long'"), WRITES("'long'"));
    put_bytes(&f->body, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 10);
    rejects(f, "f: a number of more than 64 bits at byte 0 of 10");
    f->body.size = 0;
    put_bytes(&f->body, "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", 11);
    rejects(f, "f: a number of more than 64 bits at byte 0 of 11");
    f->body.size = 0;
    put_bytes(&f->body, "\x82\x80\x00", 3); // padded
    decodes(f);
    assert_number(f, 0, 1);
}

static void test_bad_lengths(void **state)
{
    struct fixture *f = *state;
    resolves(f, READS("'string'"), WRITES("'string'"));
    put_long(&f->body, -1);
    rejects(f, "f: a negative length at byte 0 of 1");
    f->body.size = 0;
    put_long(&f->body, INT64_MAX);
    rejects(f, "f: a length beyond the body's end at byte 0 of 10");
    f->body.size = 0;
    put_long(&f->body, 2);
    put_byte(&f->body, 'x');
    rejects(f, "f: a length beyond the body's end at byte 0 of 2");
}

static void test_bytes_left_over(void **state)
{
    struct fixture *f = *state;
    resolves(f, READS("'long'"), WRITES("'long'"));
    put_long(&f->body, 1);
    put_byte(&f->body, 0);
    rejects(f, "record: bytes left over at byte 1 of 2");
    assert_int_equal(plan_decode(f->plan, NULL, 0, &f->record, f->detail), PLAN_UNDECODABLE);
    assert_string_equal(f->detail, "f: the body ends within a number at byte 0 of 0");
}

// ---- texts that are not schemas, or are too large ----

static void test_what_is_no_schema(void **state)
{
    struct fixture *f = *state;
    static const char *const cases[][2] = {
        {"", "not JSON at line 1"},
        {"{'type':'record'", "not JSON"},
        {"{'type':'record','type':'record'}", "duplicate object key"},
        {"17", "a type is missing, or no text, object or array"},
        {"{}", "a type is missing"},
        {"'nothing'", "the type nothing is not defined"},
        {"{'type':'record','fields':[]}", "a record without a \"name\""},
        {"{'type':'record','name':'','fields':[]}", "a record without a \"name\""},
        {"{'type':'record','name':7,'fields':[]}", "a record without a \"name\""},
        {"{'type':'record','name':'R'}", "the record R has no \"fields\""},
        {"{'type':'record','name':'R','fields':[{'type':'int'}]}", "a field without a \"name\""},
        {"{'type':'record','name':'R','fields':[3]}", "a field without a \"name\""},
        {"{'type':'record','name':'R','fields':[{'name':'x'}]}",
         "field x: no Avro schema: a type is missing"},
        {WRITES("{'type':'record','name':'R','fields':[]}"),
         "field f: no Avro schema: the name R is defined twice"},
        {WRITES("{'type':'enum','name':'E'}"), "the symbols of E"},
        {WRITES("{'type':'enum','name':'E','symbols':[1]}"), "the symbols of E"},
        {WRITES("{'type':'enum','name':'E','symbols':['A','A']}"), "the symbol A is there twice"},
        {WRITES("{'type':'fixed','name':'F'}"), "the size of the fixed F"},
        {WRITES("{'type':'fixed','name':'F','size':-1}"), "the size of the fixed F"},
        {WRITES("{'type':'fixed','name':'F','size':1.5}"), "the size of the fixed F"},
        {WRITES("{'type':'fixed','name':'F','size':2147483648}"), "the size of the fixed F"},
        {WRITES("{'type':'fixed','name':'F','size':1e300}"), "the size of the fixed F"},
        {WRITES("{'type':'array'}"), "field f: no Avro schema: a type is missing"},
        {WRITES("{'type':'map','items':'int'}"), "a type is missing"},
        {WRITES("['int','int']"), "a union holds int twice"},
        {WRITES("['null',['int']]"), "a union holds union directly"},
        {WRITES("[{'type':'fixed','name':'F','size':1},'F']"), "a union holds F twice"},
        {WRITES("'record'"), "the type record is not defined"},
        {WRITES("'n.Missing'"), "the type n.Missing is not defined"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        refuses(f, READS("'long'"), cases[i][0], cases[i][1]);
}

static void test_what_is_a_schema(void **state)
{
    struct fixture *f = *state;
    // Additional properties with any contents, and types that are written in a longer form than
    // needed.
    resolves(
        f, READS("'long'"),
        "{'type':{'type':'record','name':'R','doc':'\\u0000','max':18446744073709551615,'fields':["
        "{'name':'f','type':{'type':{'type':'long'}},'order':'ignore'},"
        "{'name':'g','type':{'type':['null','R']}}]}}");
    put_long(&f->body, 4);
    put_long(&f->body, 0);
    decodes(f);
    assert_number(f, 0, 4);
    resolves(f, READS("'long'"),
             "{'type':'error','name':'R','fields':[{'name':'f','type':'long'}]}");
}

static void test_bounds_of_a_schema(void **state)
{
    struct fixture *f = *state;
    size_t size = AVSC_SIZE_MAX + 1;
    char *text = malloc(size), *at = text;
    assert_non_null(text);
    memset(text, ' ', size);
    assert_int_equal(plan_compile(INPUT_CALLS, text, size, &f->plan, &f->e), -1);
    assert_non_null(strstr(f->e.text, "1048577 bytes long; at most 1048576"));

    for (int i = 0; i <= AVSC_DEPTH_MAX; i++)
        at += sprintf(at, "{\"type\":\"array\",\"items\":");
    assert_int_equal(plan_compile(INPUT_CALLS, text, size - 1, &f->plan, &f->e), -1);
    assert_non_null(strstr(f->e.text, "not JSON"));
    at += sprintf(at, "\"int\"");
    for (int i = 0; i <= AVSC_DEPTH_MAX; i++)
        *at++ = '}';
    assert_int_equal(plan_compile(INPUT_CALLS, text, (size_t)(at - text), &f->plan, &f->e), -1);
    assert_non_null(strstr(f->e.text, "nested deeper than 128 types"));

    at = text + sprintf(text, "[");
    for (int i = 0; i < AVSC_TYPES_MAX; i++)
        at += sprintf(at, "%s{\"type\":\"map\",\"values\":\"int\"}", i ? "," : "");
    at += sprintf(at, "]");
    assert_int_equal(plan_compile(INPUT_CALLS, text, (size_t)(at - text), &f->plan, &f->e), -1);
    assert_non_null(strstr(f->e.text, "more than 16384 "));

    at = text + sprintf(text, "[");
    for (int i = 0; i <= AVSC_MEMBERS_MAX; i++)
        at += sprintf(at, "%s\"int\"", i ? "," : "");
    at += sprintf(at, "]");
    assert_int_equal(plan_compile(INPUT_CALLS, text, (size_t)(at - text), &f->plan, &f->e), -1);
    assert_non_null(strstr(f->e.text, "more than 16384 fields and branches"));

    at = text + sprintf(text, "{\"type\":\"fixed\",\"size\":1,\"name\":\"");
    memset(at, 'n', AVSC_NAME_MAX);
    sprintf(at + AVSC_NAME_MAX, "\"}");
    assert_int_equal(plan_compile(INPUT_CALLS, text, strlen(text), &f->plan, &f->e), -1);
    assert_non_null(strstr(f->e.text, "longer than 1024 bytes"));
    free(text);
}

// ---- our own records ----

static const struct embedded *own_schema(const char *name)
{
    const struct embedded *schema = embedded_avro;
    while (strcmp(schema->name, name) != 0)
        schema++;
    return schema;
}

static void compile_own(struct fixture *f, enum input input, const char *name)
{
    const struct embedded *schema = own_schema(name);
    if (plan_compile(input, schema->text, schema->size, &f->plan, &f->e))
        fail_msg("%s", f->e.text);
}

static void put_call(struct avro_bytes *b)
{
    put_text(b, "0b4f6f0a-3f63-4b1e-9d4e-111111111111");
    put_text(b, "acct-1");
    put_long(b, 1); // PURCHASE_INTENT
    put_long(b, 1);
    put_long(b, 8000);
    put_long(b, INT64_C(1793462400123));
    put_long(b, 0);
}

static void test_call_record(void **state)
{
    struct fixture *f = *state;
    compile_own(f, INPUT_CALLS, "CallRecord.avsc");
    put_call(&f->body);
    decodes(f);
    assert_text(f, CALL_CALL_ID, "0b4f6f0a-3f63-4b1e-9d4e-111111111111");
    assert_text(f, CALL_ACCOUNT_ID, "acct-1");
    assert_number(f, CALL_SERVICE, 1);
    assert_number(f, CALL_LEAD_COUNT, 8000);
    assert_number(f, CALL_OCCURRED_AT, INT64_C(1793462400123));
    assert_null_value(f, CALL_REQUEST_ID);
    assert_int_equal(f->record.nulls, 1 << CALL_REQUEST_ID);
    assert_int_equal(f->record.unknown, 0);
}

static void test_package_purchase(void **state)
{
    struct fixture *f = *state;
    // An older writer, before `used`, in another order, with the amount as int.
    assert_int_equal(
        compile_input(
            f, INPUT_PURCHASES,
            "{'type':'record','name':'PackagePurchase','fields':["
            "{'name':'amount','type':'int'},{'name':'account_id','type':'string'},"
            "{'name':'purchase_id','type':'string'},{'name':'service','type':{'type':'enum','name':"
            "'Service',"
            "'symbols':['PURCHASE_INTENT','AUDIENCE_INSIGHT','OTHER']}},{'name':'currency','type':'"
            "string'},"
            "{'name':'purchased_at','type':{'type':'long','logicalType':'timestamp-micros'}},"
            "{'name':'units','type':'long'}]}"),
        0);
    put_long(&f->body, 10000000);
    put_text(&f->body, "a");
    put_text(&f->body, "p");
    put_long(&f->body, 2);
    put_text(&f->body, "CNY");
    put_long(&f->body, INT64_C(1793462400123999));
    put_long(&f->body, 50);
    decodes(f);
    assert_text(f, PURCHASE_PURCHASE_ID, "p");
    assert_text(f, PURCHASE_ACCOUNT_ID, "a");
    assert_number(f, PURCHASE_SERVICE, -1);
    assert_int_equal(f->record.unknown, 1 << PURCHASE_SERVICE);
    assert_number(f, PURCHASE_UNITS, 50);
    assert_number(f, PURCHASE_USED, 0);
    assert_number(f, PURCHASE_AMOUNT, 10000000);
    assert_text(f, PURCHASE_CURRENCY, "CNY");
    assert_number(f, PURCHASE_PURCHASED_AT, INT64_C(1793462400123));
    assert_int_equal(f->record.nulls, 0);
}

static void test_account_credit(void **state)
{
    struct fixture *f = *state;
    // Without kind and reference; the reason is never null.
    assert_int_equal(
        compile_input(
            f, INPUT_CREDITS,
            "{'type':'record','name':'AccountCredit','fields':[{'name':'credit_id','type':'string'}"
            ","
            "{'name':'account_id','type':'string'},{'name':'amount','type':['null','long']},"
            "{'name':'currency','type':'string'},{'name':'credited_at','type':'long'},"
            "{'name':'reason','type':'string'}]}"),
        0);
    put_text(&f->body, "c");
    put_text(&f->body, "a");
    put_long(&f->body, 0);
    put_text(&f->body, "CNY");
    put_long(&f->body, 5);
    put_text(&f->body, "why");
    decodes(f);
    assert_number(f, CREDIT_KIND, 0); // TOP_UP
    assert_null_value(f, CREDIT_AMOUNT);
    assert_text(f, CREDIT_REASON, "why");
    assert_null_value(f, CREDIT_REFERENCE);
    assert_int_equal(f->record.nulls, 1 << CREDIT_AMOUNT | 1 << CREDIT_REFERENCE);
}

static void test_errors_name_field_and_reason(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(
        compile_input(
            f, INPUT_CALLS,
            "{'type':'record','name':'CallRecord','fields':[{'name':'call_id','type':'string'},"
            "{'name':'account_id','type':'string'},{'name':'service','type':'string'},"
            "{'name':'occurred_at','type':'long'}]}"),
        -1);
    assert_string_equal(
        f->e.text, "field service: the writer's string is not read as enum; write the enum of the "
                   "reader's name");
}

// Field numbers are the order of the .avsc; record.h relies on them.
static void test_field_numbers_are_those_of_the_schemas(void **state)
{
    (void)state;
    static const struct {
        const char *file, *fields[RECORD_FIELDS_MAX + 1];
        uint32_t count;
    } cases[] = {
        {"CallRecord.avsc",
         {[CALL_CALL_ID] = "call_id",
          [CALL_ACCOUNT_ID] = "account_id",
          [CALL_SERVICE] = "service",
          [CALL_LEAD_COUNT] = "lead_count",
          [CALL_OCCURRED_AT] = "occurred_at",
          [CALL_REQUEST_ID] = "request_id"},
         CALL_FIELDS},
        {"PackagePurchase.avsc",
         {[PURCHASE_PURCHASE_ID] = "purchase_id",
          [PURCHASE_ACCOUNT_ID] = "account_id",
          [PURCHASE_SERVICE] = "service",
          [PURCHASE_UNITS] = "units",
          [PURCHASE_USED] = "used",
          [PURCHASE_AMOUNT] = "amount",
          [PURCHASE_CURRENCY] = "currency",
          [PURCHASE_PURCHASED_AT] = "purchased_at"},
         PURCHASE_FIELDS},
        {"AccountCredit.avsc",
         {[CREDIT_CREDIT_ID] = "credit_id",
          [CREDIT_ACCOUNT_ID] = "account_id",
          [CREDIT_KIND] = "kind",
          [CREDIT_AMOUNT] = "amount",
          [CREDIT_CURRENCY] = "currency",
          [CREDIT_CREDITED_AT] = "credited_at",
          [CREDIT_REASON] = "reason",
          [CREDIT_REFERENCE] = "reference"},
         CREDIT_FIELDS},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct embedded *text = own_schema(cases[i].file);
        struct avsc *schema = NULL;
        assert_int_equal(avsc_parse(text->text, text->size, &schema, NULL), 0);
        const struct avsc_type *root = &schema->types[schema->root];
        assert_int_equal(root->count, cases[i].count);
        for (uint32_t n = 0; n < root->count; n++) {
            const struct avsc_member *field = &schema->members[root->first + n];
            assert_string_equal(field->name, cases[i].fields[n]);
            assert_non_null(json_string_value(json_object_get(field->json, "doc")));
        }
        avsc_free(schema);
    }
}

// A call in the midst of everything that a writer may have added.
static void compile_grown(struct fixture *f)
{
    assert_int_equal(
        compile_input(
            f, INPUT_CALLS,
            "{'type':'record','name':'CallRecord','namespace':'elsewhere','fields':["
            "{'name':'list','type':{'type':'array','items':{'type':'record','name':'Item','fields':"
            "["
            "{'name':'k','type':'string'},{'name':'v','type':['null','double','Item']}]}}},"
            "{'name':'call_id','type':'bytes'},{'name':'account_id','type':['string','null']},"
            "{'name':'service','type':{'type':'enum','name':'Service','symbols':['PURCHASE_INTENT',"
            "'NEW']}},"
            "{'name':'tags','type':{'type':'map','values':'boolean'}},{'name':'lead_count','type':["
            "'int','"
            "null','long']},"
            "{'name':'occurred_at','type':{'type':'long','logicalType':'timestamp-micros'}},"
            "{'name':'mac','type':{'type':'fixed','name':'Mac','size':4}}]}"),
        0);
    struct avro_bytes *b = &f->body;
    put_long(b, 2);
    put_text(b, "k1");
    put_long(b, 1);
    put_bytes(b, "12345678", 8);
    put_text(b, "k2");
    put_long(b, 2);
    put_text(b, "k3");
    put_long(b, 0);
    put_long(b, 0);
    put_text(b, "id");
    put_long(b, 0);
    put_text(b, "acct");
    put_long(b, 0);
    put_long(b, -1);
    put_long(b, 3);
    put_bytes(b, "\x02t\x01", 3);
    put_long(b, 0);
    put_long(b, 0);
    put_long(b, 77);
    put_long(b, 1999);
    put_bytes(b, "mmmm", 4);
}

static void test_grown_call_record(void **state)
{
    struct fixture *f = *state;
    compile_grown(f);
    decodes(f);
    assert_text(f, CALL_CALL_ID, "id");
    assert_text(f, CALL_ACCOUNT_ID, "acct");
    assert_number(f, CALL_SERVICE, 1);
    assert_number(f, CALL_LEAD_COUNT, 77);
    assert_number(f, CALL_OCCURRED_AT, 1);
    assert_null_value(f, CALL_REQUEST_ID);
}

// A decoded record holds only bytes of the body and numbers in range.
static void assert_sane(const struct fixture *f, const uint8_t *bytes, size_t size)
{
    for (unsigned i = 0; i < CALL_FIELDS; i++) {
        const struct value *v = &f->record.field[i];
        if (!v->data)
            continue;
        assert_true(v->number >= 0);
        assert_true(v->data >= (const char *)bytes &&
                    v->data + v->number <= (const char *)bytes + size);
    }
    assert_in_range(f->record.field[CALL_SERVICE].number + 1, 0, 2);
    assert_true(f->record.unknown >> CALL_SERVICE & 1 || f->record.field[CALL_SERVICE].number >= 0);
}

static void break_every_byte_and_bit(struct fixture *f)
{
    decodes(f);
    for (size_t size = 0; size < f->body.size; size++) {
        assert_int_equal(decode_bytes(f, f->body.data, size), PLAN_UNDECODABLE);
        assert_non_null(strstr(f->detail, " at byte "));
    }
    for (size_t bit = 0; bit < 8 * f->body.size; bit++) {
        struct avro_bytes broken = f->body;
        broken.data[bit / 8] ^= (uint8_t)(1U << bit % 8);
        if (decode_bytes(f, broken.data, broken.size) == PLAN_OK)
            assert_sane(f, broken.data, broken.size);
    }
}

static void test_every_byte_missing_and_every_bit_flipped(void **state)
{
    struct fixture *f = *state;
    compile_own(f, INPUT_CALLS, "CallRecord.avsc");
    put_call(&f->body);
    break_every_byte_and_bit(f);
    compile_grown(f);
    break_every_byte_and_bit(f);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_fields_in_another_order),
        CASE(test_absent_field_takes_the_default),
        CASE(test_absent_field_without_default_does_not_resolve),
        CASE(test_reader_aliases),
        CASE(test_writer_aliases_do_not_count),
        CASE(test_record_names_are_compared_unqualified),
        CASE(test_a_field_called_twice),
        CASE(test_int_becomes_long),
        CASE(test_long_takes_all_64_bits),
        CASE(test_bytes_and_string_are_one_another),
        CASE(test_other_types_do_not_resolve),
        CASE(test_timestamps_are_floored_to_millis),
        CASE(test_times_are_plain_or_say_milliseconds),
        CASE(test_what_says_another_instant_is_no_time),
        CASE(test_enum_goes_by_symbol),
        CASE(test_enum_out_of_the_writers_range),
        CASE(test_enum_default_of_the_reader),
        CASE(test_enum_names),
        CASE(test_nullable_in_either_order),
        CASE(test_plain_writer_for_nullable_reader),
        CASE(test_null_where_the_reader_has_none_is_noted),
        CASE(test_unions_of_one_branch_and_of_many),
        CASE(test_branch_that_does_not_resolve_is_refused_when_met),
        CASE(test_union_without_a_branch_that_resolves),
        CASE(test_writer_of_a_union_of_records),
        CASE(test_enum_of_two_records_of_a_union),
        CASE(test_skip_primitives),
        CASE(test_skip_union),
        CASE(test_skip_array_in_blocks),
        CASE(test_skip_map_in_blocks),
        CASE(test_skip_items_without_bytes),
        CASE(test_skip_bad_blocks),
        CASE(test_skip_nested_records_and_named_types),
        CASE(test_skip_recursive_type_is_bounded),
        CASE(test_skip_takes_time_by_the_byte),
        CASE(test_numbers_that_are_too_long),
        CASE(test_bad_lengths),
        CASE(test_bytes_left_over),
        CASE(test_what_is_no_schema),
        CASE(test_what_is_a_schema),
        CASE(test_bounds_of_a_schema),
        CASE(test_call_record),
        CASE(test_package_purchase),
        CASE(test_account_credit),
        CASE(test_errors_name_field_and_reason),
        CASE(test_field_numbers_are_those_of_the_schemas),
        CASE(test_grown_call_record),
        CASE(test_every_byte_missing_and_every_bit_flipped),
    };
    return cmocka_run_group_tests_name("plan", tests, NULL, NULL);
}
