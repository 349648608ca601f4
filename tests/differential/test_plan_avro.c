// The plan against avro-c: thousands of seeded writer schemas and bodies, decoded by the plan and
// by avro-c's resolved writer, and compared field by field.
//
// Here avro-c 1.11 differs from the specification, so no case contains these:
// - a reader's field that the writer lacks is an error, whatever its default;
// - bytes are not read as string;
// - an enum goes by position, not by symbol;
// - aliases are unknown to it;
// - logical types are unknown to it: timestamp-micros are not floored;
// - a null where the reader has none is an error.
// Its decoder leaks on truncated strings, so bodies here are complete (test_plan.c and the fuzzer
// truncate).
#include "consumer/avro/plan.h"
#include "schemas/embedded.h"
#include "tests/lib/avro_bytes.h"

#include <avro.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

enum { CASES = 3000, NODES_MAX = 256, TEXT_MAX = 32768 };

enum node_kind {
    NUL,
    BOOLEAN,
    INT,
    LONG,
    FLOAT,
    DOUBLE,
    BYTES,
    STRING,
    FIXED,
    ENUM,
    ARRAY,
    MAP,
    UNION,
    RECORD
};

struct node {
    enum node_kind kind;
    unsigned count; // of children, symbols or bytes
    struct node *child[4];
};

struct world {
    uint64_t random;
    unsigned names, node_count, text_size;
    const struct node *fixed; // the last one that was declared, and its name
    unsigned fixed_name;
    struct node nodes[NODES_MAX];
    char text[TEXT_MAX];
    struct avro_bytes body;
};

static unsigned draw(struct world *w, unsigned below)
{
    w->random += UINT64_C(0x9e3779b97f4a7c15); // splitmix64
    uint64_t z = w->random;
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (unsigned)((z ^ (z >> 31)) % below);
}

__attribute__((format(printf, 2, 3))) static void say(struct world *w, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(w->text + w->text_size, TEXT_MAX - w->text_size, format, args);
    va_end(args);
    assert_in_range(n, 0, TEXT_MAX - w->text_size - 1);
    w->text_size += (unsigned)n;
}

static struct node *add_node(struct world *w, enum node_kind kind)
{
    assert_in_range(w->node_count, 0, NODES_MAX - 1);
    struct node *node = &w->nodes[w->node_count++];
    *node = (struct node){.kind = kind};
    return node;
}

// ---- schemas ----

static const char *const primitives[] = {"null",  "boolean", "int",   "long",
                                         "float", "double",  "bytes", "string"};

static struct node *draw_primitive(struct world *w, enum node_kind kind)
{
    say(w, "\"%s\"", primitives[kind]);
    return add_node(w, kind);
}

static struct node *draw_type(struct world *w, unsigned depth);

static struct node *draw_named(struct world *w, enum node_kind kind, unsigned depth)
{
    struct node *node = add_node(w, kind);
    unsigned name = w->names++;
    node->count = 1 + draw(w, 3);
    if (kind == FIXED) {
        node->count = draw(w, 4);
        w->fixed = node;
        w->fixed_name = name;
        say(w, "{\"type\":\"fixed\",\"name\":\"T%u\",\"size\":%u}", name, node->count);
    } else if (kind == ENUM) {
        say(w, "{\"type\":\"enum\",\"name\":\"T%u\",\"symbols\":[\"A\"", name);
        for (unsigned i = 1; i < node->count; i++)
            say(w, ",\"A%u\"", i);
        say(w, "]}");
    } else {
        say(w, "{\"type\":\"record\",\"name\":\"T%u\",\"fields\":[", name);
        for (unsigned i = 0; i < node->count; i++) {
            say(w, "%s{\"name\":\"f%u\",\"type\":", i ? "," : "", i);
            node->child[i] = draw_type(w, depth + 1);
            say(w, "}");
        }
        say(w, "]}");
    }
    return node;
}

static struct node *draw_union(struct world *w, unsigned depth)
{
    struct node *node = add_node(w, UNION);
    node->count = 3;
    say(w, "[");
    node->child[0] = draw_primitive(w, NUL);
    say(w, ",");
    node->child[1] = draw_primitive(w, (enum node_kind)(BOOLEAN + draw(w, STRING)));
    say(w, ",");
    node->child[2] = draw_named(w, draw(w, 2) ? RECORD : FIXED, depth);
    say(w, "]");
    return node;
}

static struct node *draw_type(struct world *w, unsigned depth)
{
    enum node_kind kind = (enum node_kind)draw(w, depth < 3 ? RECORD + 1 : FIXED);
    if (kind < FIXED)
        return draw_primitive(w, kind);
    if (kind == UNION)
        return draw_union(w, depth + 1);
    if (kind == FIXED && w->fixed && draw(w, 2)) { // again, by its name
        struct node *again = add_node(w, FIXED);
        again->count = w->fixed->count;
        say(w, draw(w, 2) ? "\"T%u\"" : "\"settled.T%u\"", w->fixed_name);
        return again;
    }
    if (kind != ARRAY && kind != MAP)
        return draw_named(w, kind, depth);
    struct node *node = add_node(w, kind);
    say(w, kind == ARRAY ? "{\"type\":\"array\",\"items\":" : "{\"type\":\"map\",\"values\":");
    node->child[0] = draw_type(w, depth + 1);
    say(w, "}");
    return node;
}

// The writer's type of a field of the reader's: nullable in either order or not, an int for a long.
static struct node *draw_source(struct world *w, const struct node *target, const char *enum_text)
{
    const struct node *plain = target->kind == UNION ? target->child[1] : target;
    unsigned shape = draw(w, 3); // null first, null last, alone
    struct node *node = shape == 2 ? NULL : add_node(w, UNION);
    say(w, "%s", shape == 0 ? "[\"null\"," : shape == 1 ? "[" : "");
    struct node *inner = add_node(w, plain->kind == LONG && draw(w, 2) ? INT : plain->kind);
    inner->count = plain->count;
    if (inner->kind == ENUM)
        say(w, "%s", enum_text);
    else
        say(w, "\"%s\"", primitives[inner->kind]);
    say(w, "%s", shape == 0 ? "]" : shape == 1 ? ",\"null\"]" : "");
    if (!node)
        return inner;
    node->count = 2;
    node->child[shape == 0] = inner;
    node->child[shape == 1] = add_node(w, NUL);
    return node;
}

// ---- bodies ----

static void put_value(struct world *w, const struct node *node, bool may_null);

static void put_blocks(struct world *w, const struct node *node)
{
    struct avro_bytes *b = &w->body;
    for (unsigned blocks = draw(w, 3); blocks > 0; blocks--) {
        unsigned items = 1 + draw(w, 3);
        size_t start = b->size;
        for (unsigned i = 0; i < items; i++) {
            if (node->kind == MAP)
                put_text(b, "key");
            put_value(w, node->child[0], true);
        }
        // The head says the size of what follows it.
        struct avro_bytes head = {0};
        bool counted = draw(w, 2);
        put_long(&head, counted ? -(int64_t)items : items);
        if (counted)
            put_long(&head, (int64_t)(b->size - start));
        assert_true(b->size + head.size <= sizeof b->data);
        memmove(b->data + start + head.size, b->data + start, b->size - start);
        memcpy(b->data + start, head.data, head.size);
        b->size += head.size;
    }
    put_long(b, 0);
}

static int64_t draw_number(struct world *w, bool is_int)
{
    static const int64_t numbers[] = {
        0, 1, -1, 63, -65, 8192, INT32_MAX, INT32_MIN, INT64_MAX, INT64_MIN, 1793462400123};
    return numbers[draw(w, is_int ? 8 : 11)];
}

static void put_union(struct world *w, const struct node *node, bool may_null)
{
    unsigned branch = draw(w, node->count);
    while (!may_null && node->child[branch]->kind == NUL)
        branch = draw(w, node->count);
    put_long(&w->body, branch);
    put_value(w, node->child[branch], true);
}

static void put_value(struct world *w, const struct node *node, bool may_null)
{
    static const char *const texts[] = {
        "", "a", "CNY", "acct-1", "\xe4\xba\xba\xe7\xbe\xa4", "twenty bytes of text"};
    struct avro_bytes *b = &w->body;
    switch (node->kind) {
    case NUL:
        return;
    case BOOLEAN:
        put_byte(b, (int)draw(w, 2));
        return;
    case INT:
    case LONG:
        put_long(b, draw_number(w, node->kind == INT));
        return;
    case FLOAT:
    case DOUBLE:
        put_bytes(b, "\1\2\3\4\5\6\7\x8", node->kind == FLOAT ? 4 : 8);
        return;
    case BYTES:
    case STRING:
        put_text(b, texts[draw(w, 6)]);
        return;
    case FIXED:
        put_bytes(b, "fff", node->count);
        return;
    case ENUM:
        put_long(b, draw(w, node->count));
        return;
    case ARRAY:
    case MAP:
        put_blocks(w, node);
        return;
    case UNION:
        put_union(w, node, may_null);
        return;
    case RECORD:
        for (unsigned i = 0; i < node->count; i++)
            put_value(w, node->child[i], true);
        return;
    }
}

// ---- cases ----

struct record_decoder {
    enum input input;
    const char *record, *file, *enum_text;
    unsigned count;
    struct {
        const char *name;
        enum node_kind kind;
        bool nullable;
    } fields[RECORD_FIELDS_MAX];
};

#define SERVICE                                                                                    \
    "{\"type\":\"enum\",\"name\":\"Service\",\"symbols\":[\"AUDIENCE_INSIGHT\",\"PURCHASE_"        \
    "INTENT\"]}"
#define KIND "{\"type\":\"enum\",\"name\":\"CreditKind\",\"symbols\":[\"TOP_UP\",\"ADJUSTMENT\"]}"

static const struct record_decoder readers[] = {
    {INPUT_CALLS,
     "CallRecord",
     "CallRecord.avsc",
     SERVICE,
     CALL_FIELDS,
     {{"call_id", STRING, false},
      {"account_id", STRING, false},
      {"service", ENUM, false},
      {"lead_count", LONG, true},
      {"occurred_at", LONG, false},
      {"request_id", STRING, true}}},
    {INPUT_PURCHASES,
     "PackagePurchase",
     "PackagePurchase.avsc",
     SERVICE,
     PURCHASE_FIELDS,
     {{"purchase_id", STRING, false},
      {"account_id", STRING, false},
      {"service", ENUM, false},
      {"units", LONG, false},
      {"used", LONG, false},
      {"amount", LONG, false},
      {"currency", STRING, false},
      {"purchased_at", LONG, false}}},
    {INPUT_CREDITS,
     "AccountCredit",
     "AccountCredit.avsc",
     KIND,
     CREDIT_FIELDS,
     {{"credit_id", STRING, false},
      {"account_id", STRING, false},
      {"kind", ENUM, false},
      {"amount", LONG, false},
      {"currency", STRING, false},
      {"credited_at", LONG, false},
      {"reason", STRING, true},
      {"reference", STRING, true}}},
};

static struct node *draw_stored(struct world *w, const struct record_decoder *r, unsigned f)
{
    struct node *plain = add_node(w, r->fields[f].kind), *target = plain;
    plain->count = 2; // symbols
    if (r->fields[f].nullable) {
        target = add_node(w, UNION);
        target->child[1] = plain;
    }
    say(w, "%s", r->fields[f].name);
    say(w, "\",\"type\":");
    return draw_source(w, target, r->enum_text);
}

// Fields in any order, with added ones between.
static void draw_case(struct world *w, const struct record_decoder *r)
{
    unsigned total = r->count + draw(w, 4), order[RECORD_FIELDS_MAX + 4] = {0};
    for (unsigned i = 0; i < total; i++) {
        unsigned j = draw(w, i + 1);
        order[i] = order[j];
        order[j] = i;
    }
    w->node_count = w->text_size = w->names = 0;
    w->fixed = NULL;
    w->body.size = 0;
    say(w, "{\"type\":\"record\",\"namespace\":\"settled\",\"name\":\"%s\",\"fields\":[",
        r->record);
    for (unsigned i = 0; i < total; i++) {
        say(w, "%s{\"name\":\"", i ? "," : "");
        bool stored = order[i] < r->count;
        if (!stored)
            say(w, "added%u\",\"type\":", order[i]);
        const struct node *node = stored ? draw_stored(w, r, order[i]) : draw_type(w, 0);
        say(w, "}");
        put_value(w, node, !stored || r->fields[order[i]].nullable);
    }
    say(w, "]}");
}

static avro_schema_t parse(const char *text, size_t size)
{
    avro_schema_t schema = NULL;
    if (avro_schema_from_json_length(text, size, &schema))
        fail_msg("%s: %.*s", avro_strerror(), (int)size, text);
    return schema;
}

static void assert_same(const struct record_decoder *r, unsigned f, avro_value_t *record,
                        const struct record *got)
{
    avro_value_t value = {0}, branch = {0};
    const struct value *v = &got->field[f];
    assert_int_equal(avro_value_get_by_index(record, f, &value, NULL), 0);
    assert(value.iface);
    if (r->fields[f].nullable) {
        assert_int_equal(avro_value_get_current_branch(&value, &branch), 0);
        value = branch;
    }
    assert(value.iface);
    bool null = avro_value_get_type(&value) == AVRO_NULL;
    assert_int_equal(got->nulls >> f & 1, null);
    const char *text = NULL;
    size_t size = 0;
    int64_t number = 0;
    int symbol = 0;
    if (null) {
        assert_null(v->data);
        assert_true(v->number == 0);
    } else if (r->fields[f].kind == STRING) {
        assert_int_equal(avro_value_get_string(&value, &text, &size), 0);
        assert_int_equal(v->number, size - 1); // avro-c counts the terminator
        assert_memory_equal(v->data, text, size - 1);
    } else if (r->fields[f].kind == LONG) {
        assert_int_equal(avro_value_get_long(&value, &number), 0);
        assert_true(v->number == number);
    } else {
        assert_int_equal(avro_value_get_enum(&value, &symbol), 0);
        assert_int_equal(v->number, symbol);
    }
}

static void compare(const struct world *w, const struct record_decoder *r, avro_schema_t reader,
                    const struct record *got)
{
    avro_schema_t writer = parse(w->text, w->text_size);
    avro_value_iface_t *resolver = avro_resolved_writer_new(writer, reader);
    if (!resolver)
        fail_msg("avro-c: %s: %s", avro_strerror(), w->text);
    assert(resolver); // the analyzer does not know that fail_msg stays away
    avro_value_iface_t *class = avro_generic_class_from_schema(reader);
    avro_value_t record, source;
    assert_int_equal(avro_generic_value_new(class, &record), 0);
    assert_int_equal(avro_resolved_writer_new_value(resolver, &source), 0);
    avro_resolved_writer_set_dest(&source, &record);
    avro_reader_t bytes = avro_reader_memory((const char *)w->body.data, (int64_t)w->body.size);
    if (avro_value_read(bytes, &source))
        fail_msg("avro-c: %s: %s", avro_strerror(), w->text);
    for (unsigned f = 0; f < r->count; f++)
        assert_same(r, f, &record, got);
    avro_reader_free(bytes);
    avro_value_decref(&source);
    avro_value_decref(&record);
    avro_value_iface_decref(class);
    avro_value_iface_decref(resolver);
    avro_schema_decref(writer);
}

static void test_against_avro_c(void **state)
{
    (void)state;
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    w->random = 20261101;
    for (unsigned n = 0; n < CASES; n++) {
        const struct record_decoder *r = &readers[n % INPUT_COUNT];
        const struct embedded *own = embedded_avro;
        while (strcmp(own->name, r->file) != 0)
            own++;
        avro_schema_t reader = parse(own->text, own->size);
        draw_case(w, r);
        struct plan *plan = NULL;
        struct error e;
        struct record record;
        char detail[REJECT_DETAIL_SIZE];
        if (plan_compile(r->input, w->text, w->text_size, &plan, &e))
            fail_msg("case %u: %s: %s", n, e.text, w->text);
        if (plan_decode(plan, w->body.data, w->body.size, &record, detail) != PLAN_OK)
            fail_msg("case %u: %s: %s", n, detail, w->text);
        assert_int_equal(record.unknown, 0);
        compare(w, r, reader, &record);
        plan_destroy(plan);
        avro_schema_decref(reader);
    }
    free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_against_avro_c)};
    return cmocka_run_group_tests_name("plan_avro", tests, NULL, NULL);
}
