#include "consumer/views/record_json.h"

#include "consumer/avro/avsc.h"
#include "consumer/avro/wire.h"
#include "consumer/base/memory.h"
#include "consumer/base/text.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct record_form {
    struct avsc *schema;
    int32_t offset_ms; // of the zone in which times are written
};

static int create_form(const char *text, int32_t offset_ms, struct record_form **out,
                       struct error *e)
{
    struct record_form *form = memory_grow(NULL, 1, sizeof *form);
    *form = (struct record_form){.offset_ms = offset_ms};
    *out = form;
    return avsc_parse(text, strlen(text), &form->schema, e);
}

int record_form_of_input(enum input input, int32_t offset_ms, struct record_form **out,
                         struct error *e)
{
    return create_form(schema_of_input(input), offset_ms, out, e);
}

int record_form_of_output(enum output output, int32_t offset_ms, struct record_form **out,
                          struct error *e)
{
    return create_form(schema_of_output(output), offset_ms, out, e);
}

void record_form_destroy(struct record_form *form)
{
    if (!form)
        return;
    avsc_free(form->schema);
    free(form);
}

// ---- values ----

json_t *record_json_text(struct slice text)
{
    json_t *json = json_stringn(text.data, text.size);
    if (json)
        return json;
    char *repaired = memory_grow(NULL, 3 * text.size + 1, 1);
    json = json_stringn(repaired, text_repair(text, repaired));
    free(repaired);
    return json;
}

static json_t *bytes_json(struct slice bytes)
{
    static const char digits[] = "0123456789abcdef";
    char *text = memory_grow(NULL, 2 * bytes.size + 1, 1), *to = text;
    for (size_t i = 0; i < bytes.size; i++) {
        unsigned char byte = (unsigned char)bytes.data[i];
        *to++ = digits[byte >> 4];
        *to++ = digits[byte & 15];
    }
    json_t *json = json_stringn(text, 2 * bytes.size);
    free(text);
    return json;
}

json_t *record_json_instant(int64_t ms, int32_t offset_ms)
{
    char text[INSTANT_TEXT_SIZE];
    if (ms < INSTANT_MIN || ms > INSTANT_MAX)
        return json_integer(ms);
    return json_string(calendar_format_instant(ms, offset_ms, text));
}

static bool is_date(const json_t *declared)
{
    const char *logical = json_string_value(json_object_get(declared, "logicalType"));
    return logical && strcmp(logical, "date") == 0;
}

static json_t *number_json(const struct record_form *form, const struct avsc_type *type,
                           const json_t *declared, int64_t number)
{
    char text[DAY_TEXT_SIZE];
    if (type->kind == AVSC_ENUM) {
        const json_t *symbols = json_object_get(type->json, "symbols");
        json_t *symbol = number < 0 ? NULL : json_array_get(symbols, (size_t)number);
        return symbol ? json_incref(symbol) : json_null();
    }
    if (type->logical == AVSC_TIMESTAMP_MILLIS)
        return record_json_instant(number, form->offset_ms);
    if (is_date(declared) && number >= INT32_MIN && number <= INT32_MAX)
        return json_string(calendar_format_day((day_t)number, text));
    return json_integer(number);
}

// Of a union with null, the branch that is not.
static const struct avsc_type *value_type(const struct record_form *form, uint32_t number,
                                          const json_t **declared)
{
    const struct avsc *schema = form->schema;
    const struct avsc_type *type = &schema->types[number];
    for (uint32_t i = 0; type->kind == AVSC_UNION && i < type->count; i++) {
        const struct avsc_type *branch = &schema->types[schema->members[type->first + i].type];
        if (branch->kind == AVSC_NULL)
            continue;
        *declared = json_array_get(*declared, i);
        return branch;
    }
    return type;
}

// ---- decoded records ----

json_t *record_json_decoded(const struct record_form *form, const struct record *record)
{
    const struct avsc_type *root = &form->schema->types[form->schema->root];
    json_t *object = json_object();
    assert(root->count <= RECORD_FIELDS_MAX);
    for (uint32_t i = 0; i < root->count; i++) {
        const struct avsc_member *member = &form->schema->members[root->first + i];
        const json_t *declared = json_object_get(member->json, "type");
        const struct avsc_type *type = value_type(form, member->type, &declared);
        const struct value *value = &record->field[i];
        json_t *json = NULL;
        if (record->nulls & 1u << i)
            json = json_null();
        else if (type->kind == AVSC_STRING)
            json = record_json_text((struct slice){value->data, (size_t)value->number});
        else
            json = number_json(form, type, declared, value->number);
        json_object_set_new(object, member->name, json);
    }
    return object;
}

// ---- bodies ----

struct body {
    const struct record_form *form;
    struct wire wire;
};

static json_t *read_type(struct body *b, uint32_t number, const json_t *declared);

static json_t *read_record(struct body *b, const struct avsc_type *type)
{
    json_t *object = json_object();
    for (uint32_t i = 0; i < type->count; i++) {
        const struct avsc_member *field = &b->form->schema->members[type->first + i];
        json_t *value = read_type(b, field->type, json_object_get(field->json, "type"));
        if (!value) {
            json_decref(object);
            return NULL;
        }
        json_object_set_new(object, field->name, value);
    }
    return object;
}

static bool read_block(struct body *b, const struct avsc_type *type, int64_t items, json_t *array)
{
    const struct avsc_member *item = &b->form->schema->members[type->first];
    for (; items > 0; items--) {
        if (b->wire.at == b->wire.end)
            return wire_fail(&b->wire, b->wire.at, "the body ends within an array");
        json_t *value = read_type(b, item->type, json_object_get(type->json, "items"));
        if (!value)
            return false;
        json_array_append_new(array, value);
    }
    return true;
}

// In blocks; the count of one that has its size in bytes, too, is negative.
static json_t *read_array(struct body *b, const struct avsc_type *type)
{
    int64_t items = 1, size;
    json_t *array = json_array();
    while (items != 0) {
        bool good = wire_long(&b->wire, &items) && items != INT64_MIN;
        if (good && items < 0) {
            items = -items;
            good = wire_long(&b->wire, &size);
        }
        if (!good || !read_block(b, type, items, array)) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

static json_t *read_union(struct body *b, const struct avsc_type *type, const json_t *declared)
{
    uint32_t branch;
    if (!wire_index(&b->wire, type->count, &branch))
        return NULL;
    return read_type(b, b->form->schema->members[type->first + branch].type,
                     json_array_get(declared, branch));
}

// Our schemas of the outputs are of these kinds, and not recursive.
static json_t *read_type(struct body *b, uint32_t number, const json_t *declared)
{
    const struct avsc_type *type = &b->form->schema->types[number];
    const char *data;
    int64_t value;
    switch (type->kind) {
    case AVSC_NULL:
        return json_null();
    case AVSC_RECORD:
        return read_record(b, type);
    case AVSC_ARRAY:
        return read_array(b, type);
    case AVSC_UNION:
        return read_union(b, type, declared);
    case AVSC_STRING:
        return wire_text(&b->wire, &data, &value)
                   ? record_json_text((struct slice){data, (size_t)value})
                   : NULL;
    case AVSC_BYTES:
        return wire_text(&b->wire, &data, &value) ? bytes_json((struct slice){data, (size_t)value})
                                                  : NULL;
    default:
        return wire_long(&b->wire, &value) ? number_json(b->form, type, declared, value) : NULL;
    }
}

json_t *record_json_body(const struct record_form *form, struct slice body, const char **why)
{
    const uint8_t *start = (const uint8_t *)body.data;
    struct body b = {.form = form, .wire = {start, start + body.size, "no body"}};
    json_t *json = read_type(&b, form->schema->root, NULL);
    *why = json ? NULL : b.wire.fault;
    if (json && b.wire.at != b.wire.end)
        *why = "bytes are left over behind the record";
    return json;
}
