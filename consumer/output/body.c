#include "consumer/output/body.h"

#include "consumer/base/memory.h"

#include <assert.h>
#include <avro.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct body_field {
    char *name;
    avro_type_t type; // of [null, T] that of T
    bool nullable;
    // of an enum: its symbols
    char **symbols;
    size_t symbol_count;
    // of an array: what its records hold; NULL: it holds strings
    struct body_schema *items;
};

struct body_schema {
    size_t count;
    struct body_field *fields;
};

// ---- the schema ----

static void free_field(struct body_field *field)
{
    for (size_t i = 0; i < field->symbol_count; i++)
        free(field->symbols[i]);
    free(field->symbols);
    free(field->name);
    body_schema_free(field->items);
}

void body_schema_free(struct body_schema *schema)
{
    if (!schema)
        return;
    for (size_t i = 0; i < schema->count; i++)
        free_field(&schema->fields[i]);
    free(schema->fields);
    free(schema);
}

static char *copy_of(const char *text)
{
    size_t size = strlen(text) + 1;
    return memcpy(memory_grow(NULL, size, 1), text, size);
}

static void read_symbols(struct body_field *field, avro_schema_t schema)
{
    size_t count = (size_t)avro_schema_enum_number_of_symbols(schema);
    field->symbols = memory_grow(NULL, count, sizeof *field->symbols);
    for (; field->symbol_count < count; field->symbol_count++)
        field->symbols[field->symbol_count] =
            copy_of(avro_schema_enum_get(schema, (int)field->symbol_count));
}

static struct body_schema *read_record(avro_schema_t schema);

// False for a type that no output has.
static bool read_field(struct body_field *field, avro_schema_t schema)
{
    if (avro_typeof(schema) == AVRO_UNION) {
        if (avro_schema_union_size(schema) != 2 ||
            avro_typeof(avro_schema_union_branch(schema, 0)) != AVRO_NULL)
            return false;
        field->nullable = true;
        schema = avro_schema_union_branch(schema, 1);
    }
    field->type = avro_typeof(schema);
    if (field->type == AVRO_ENUM)
        read_symbols(field, schema);
    if (field->type != AVRO_ARRAY)
        return field->type == AVRO_STRING || field->type == AVRO_BYTES ||
               field->type == AVRO_INT32 || field->type == AVRO_INT64 || field->type == AVRO_ENUM;
    avro_schema_t items = avro_schema_array_items(schema);
    if (avro_typeof(items) == AVRO_RECORD)
        field->items = read_record(items);
    return field->items || avro_typeof(items) == AVRO_STRING;
}

static struct body_schema *read_record(avro_schema_t schema)
{
    size_t count = (size_t)avro_schema_record_size(schema);
    struct body_schema *read = memory_grow(NULL, 1, sizeof *read);
    *read = (struct body_schema){.fields = memory_grow(NULL, count, sizeof *read->fields)};
    for (bool good = true; read->count < count && good; read->count++) {
        struct body_field *field = &read->fields[read->count];
        int index = (int)read->count;
        *field = (struct body_field){.name = copy_of(avro_schema_record_field_name(schema, index))};
        good = read_field(field, avro_schema_record_field_get_by_index(schema, index));
        if (good)
            continue;
        free_field(field);
        body_schema_free(read);
        return NULL;
    }
    return read;
}

int body_schema_create(const char *text, size_t size, struct body_schema **out, struct error *e)
{
    avro_schema_t schema = NULL;
    *out = NULL;
    if (avro_schema_from_json_length(text, size, &schema) != 0)
        return error_set(e, ERROR_BUG, "avro-c does not take it: %s", avro_strerror());
    if (avro_typeof(schema) == AVRO_RECORD)
        *out = read_record(schema);
    avro_schema_decref(schema);
    return *out ? 0 : error_set(e, ERROR_BUG, "it has a field of a type that no body has");
}

// ---- bytes ----

void body_writer_release(struct body_writer *w)
{
    free(w->data);
    *w = (struct body_writer){0};
}

static char *reserve(struct body_writer *w, size_t more)
{
    while (w->capacity - w->used < more) {
        w->capacity = w->capacity ? 2 * w->capacity : 4096;
        w->data = memory_grow(w->data, w->capacity, 1);
    }
    return w->data + w->used;
}

size_t body_put_long(char out[BODY_LONG_SIZE], int64_t number)
{
    // zigzag, then seven bits a byte, the lowest first
    uint64_t rest = ((uint64_t)number << 1) ^ (number < 0 ? UINT64_MAX : 0);
    size_t size = 0;
    for (; rest > 0x7f; rest >>= 7)
        out[size++] = (char)(rest | 0x80);
    out[size++] = (char)rest;
    assert(size <= BODY_LONG_SIZE);
    return size;
}

static void put_long(struct body_writer *w, int64_t number)
{
    w->used += body_put_long(reserve(w, BODY_LONG_SIZE), number);
}

static void put_bytes(struct body_writer *w, struct slice bytes)
{
    assert(bytes.data);
    put_long(w, (int64_t)bytes.size);
    memcpy(reserve(w, bytes.size), bytes.data, bytes.size);
    w->used += bytes.size;
}

// ---- fields ----

static void fail_body(struct body_writer *w, const char *name, const char *why)
{
    if (w->failed)
        return;
    w->failed = name;
    snprintf(w->why, sizeof w->why, "%s", why);
}

// The next field, if it has this name and type; else NULL, and the body has failed.
static const struct body_field *take_field(struct body_writer *w, const char *name,
                                           avro_type_t type, bool nullable)
{
    if (w->failed)
        return NULL;
    const struct body_field *field = &w->record->fields[w->next];
    if (w->next == w->record->count)
        fail_body(w, name, "is not in the schema");
    else if (strcmp(field->name, name) != 0)
        fail_body(w, name, "is not the schema's next field");
    else if (field->type != type || field->nullable != nullable)
        fail_body(w, name, "has another type in the schema");
    w->next++;
    return w->failed ? NULL : field;
}

void body_text(struct body_writer *w, const char *name, struct slice text)
{
    if (take_field(w, name, AVRO_STRING, false))
        put_bytes(w, text);
}

void body_long(struct body_writer *w, const char *name, int64_t number)
{
    if (take_field(w, name, AVRO_INT64, false))
        put_long(w, number);
}

void body_int(struct body_writer *w, const char *name, int32_t number)
{
    if (take_field(w, name, AVRO_INT32, false))
        put_long(w, number);
}

static void put_symbol(struct body_writer *w, const char *name, const struct body_field *field,
                       const char *symbol)
{
    size_t index = 0;
    while (index < field->symbol_count && strcmp(field->symbols[index], symbol) != 0)
        index++;
    if (index == field->symbol_count)
        fail_body(w, name, "has no such symbol in the schema");
    else
        put_long(w, (int64_t)index);
}

void body_enum(struct body_writer *w, const char *name, const char *symbol)
{
    const struct body_field *field = take_field(w, name, AVRO_ENUM, false);
    if (field)
        put_symbol(w, name, field, symbol);
}

// The branch of a union: false when nothing is left to write.
static bool put_branch(struct body_writer *w, const char *name, avro_type_t type, bool present)
{
    if (!take_field(w, name, type, true))
        return false;
    put_long(w, present);
    return present;
}

void body_text_or_null(struct body_writer *w, const char *name, struct slice text)
{
    if (put_branch(w, name, AVRO_STRING, text.data))
        put_bytes(w, text);
}

void body_bytes_or_null(struct body_writer *w, const char *name, struct slice bytes)
{
    if (put_branch(w, name, AVRO_BYTES, bytes.data))
        put_bytes(w, bytes);
}

void body_long_or_null(struct body_writer *w, const char *name, bool present, int64_t number)
{
    if (put_branch(w, name, AVRO_INT64, present))
        put_long(w, number);
}

void body_enum_or_null(struct body_writer *w, const char *name, const char *symbol)
{
    const struct body_field *field = take_field(w, name, AVRO_ENUM, true);
    if (!field)
        return;
    put_long(w, symbol != NULL);
    if (symbol)
        put_symbol(w, name, field, symbol);
}

// ---- arrays: one block of all elements, and the empty block that ends them ----

void body_array(struct body_writer *w, const char *name, size_t count)
{
    const struct body_field *field = take_field(w, name, AVRO_ARRAY, false);
    if (!field)
        return;
    assert(!w->outer); // no array within another
    w->outer = w->record;
    w->outer_next = w->next;
    w->record = field->items;
    w->next = field->items ? field->items->count : 0; // nothing is left of an element before
    if (count > 0)
        put_long(w, (int64_t)count);
}

static void check_complete(struct body_writer *w)
{
    if (!w->failed && w->record && w->next != w->record->count)
        fail_body(w, "(end)", "comes before the last field");
}

void body_element(struct body_writer *w)
{
    assert(w->failed || (w->outer && w->record));
    check_complete(w);
    w->next = 0;
}

void body_string(struct body_writer *w, struct slice text)
{
    assert(w->failed || (w->outer && !w->record));
    if (!w->failed)
        put_bytes(w, text);
}

void body_array_end(struct body_writer *w)
{
    check_complete(w);
    if (w->failed)
        return;
    assert(w->outer);
    put_long(w, 0);
    w->record = w->outer;
    w->next = w->outer_next;
    w->outer = NULL;
}

// ---- the whole ----

void body_begin(struct body_writer *w, const struct body_schema *schema)
{
    w->used = 0;
    w->record = schema;
    w->next = 0;
    w->outer = NULL;
    w->failed = NULL;
}

bool body_end(struct body_writer *w)
{
    assert(w->failed || !w->outer);
    check_complete(w);
    return !w->failed;
}
