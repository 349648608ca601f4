#include "consumer/output/output_reader.h"

#include "consumer/avro/avsc.h"
#include "consumer/base/text.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATH_SIZE = 160, TEXT_SIZE = 200 };

struct output_reader {
    struct avsc *schema;
};

static bool has_field(const struct avsc *schema, const struct avsc_type *record, const char *name)
{
    for (uint32_t i = 0; i < record->count; i++)
        if (strcmp(schema->members[record->first + i].name, name) == 0)
            return true;
    return false;
}

int output_reader_create(enum output output, struct output_reader **out, struct error *e)
{
    const char *text = schema_of_output(output);
    struct output_reader *form = calloc(1, sizeof *form);
    if (!form)
        return error_set(e, ERROR_RESTART, "memory is short");
    if (avsc_parse(text, strlen(text), &form->schema, e)) {
        free(form);
        return -1;
    }
    const struct avsc_type *record = &form->schema->types[form->schema->root];
    assert(record->kind == AVSC_RECORD);
    assert(has_field(form->schema, record, "shard"));
    assert(has_field(form->schema, record, "sequence"));
    *out = form;
    return 0;
}

void output_reader_destroy(struct output_reader *form)
{
    if (!form)
        return;
    avsc_free(form->schema);
    free(form);
}

// ---- fields ----

struct field_walk {
    const struct avsc *schema;
    struct wire wire;
    output_reader_visit *visit; // NULL: nobody is told
    void *context;
    // the type of the field in hand, as the schema's text has it: it tells a date from an int
    const json_t *declared;
};

static const char *json_text(const json_t *json, const char *name)
{
    const char *text = json_string_value(json_object_get(json, name));
    return text ? text : "";
}

static void show_number(const struct field_walk *w, const struct avsc_type *type, int64_t number,
                        char out[TEXT_SIZE])
{
    char text[INSTANT_TEXT_SIZE];
    if (strcmp(json_text(w->declared, "logicalType"), "date") == 0 && number >= INT32_MIN &&
        number <= INT32_MAX)
        snprintf(out, TEXT_SIZE, "%s", calendar_format_day((day_t)number, text));
    else if (type->logical == AVSC_TIMESTAMP_MILLIS && number >= INSTANT_MIN &&
             number <= INSTANT_MAX)
        snprintf(out, TEXT_SIZE, "%s", calendar_format_instant(number, 0, text));
    else
        snprintf(out, TEXT_SIZE, "%" PRId64, number);
}

static void show_symbol(const struct avsc_type *type, int64_t number, char out[TEXT_SIZE])
{
    const json_t *symbols = type->json ? json_object_get(type->json, "symbols") : NULL;
    const json_t *symbol = number >= 0 && symbols ? json_array_get(symbols, (size_t)number) : NULL;
    if (symbol)
        snprintf(out, TEXT_SIZE, "%s", json_string_value(symbol));
    else
        snprintf(out, TEXT_SIZE, "symbol %" PRId64, number);
}

static void show_bytes(const char *data, int64_t size, char out[TEXT_SIZE])
{
    size_t used = (size_t)snprintf(out, TEXT_SIZE, "%" PRId64 " bytes ", size);
    for (int64_t i = 0; i < size && used + 3 < TEXT_SIZE; i++)
        used += (size_t)snprintf(out + used, TEXT_SIZE - used, "%02x",
                                 (unsigned)(unsigned char)data[i]);
    assert(used < TEXT_SIZE);
}

static bool walk_type(struct field_walk *w, uint32_t number, const char *path);

static bool walk_record(struct field_walk *w, const struct avsc_type *type, const char *path)
{
    char below[PATH_SIZE];
    for (uint32_t i = 0; i < type->count; i++) {
        const struct avsc_member *field = &w->schema->members[type->first + i];
        snprintf(below, sizeof below, "%s%s%s", path, *path ? "." : "", field->name);
        w->declared = json_object_get(field->json, "type");
        if (!walk_type(w, field->type, below))
            return false;
    }
    return true;
}

static bool walk_array(struct field_walk *w, const struct avsc_type *type, const char *path)
{
    char below[PATH_SIZE];
    int64_t items = 0, size = 0, index = 0;
    for (;;) {
        if (!wire_long(&w->wire, &items))
            return false;
        if (items < 0 && (items == INT64_MIN || !wire_long(&w->wire, &size)))
            return false;
        if (items == 0)
            return true;
        for (items = items < 0 ? -items : items; items > 0; items--) {
            snprintf(below, sizeof below, "%s[%" PRId64 "]", path, ++index);
            if (w->wire.at == w->wire.end ||
                !walk_type(w, w->schema->members[type->first].type, below))
                return false;
        }
    }
}

static void show_value(const struct field_walk *w, const struct avsc_type *type, struct slice value,
                       int64_t number, char out[TEXT_SIZE])
{
    switch (type->kind) {
    case AVSC_NULL:
        snprintf(out, TEXT_SIZE, "null");
        break;
    case AVSC_STRING:
        text_show(value, out, TEXT_SIZE);
        break;
    case AVSC_BYTES:
        show_bytes(value.data, number, out);
        break;
    case AVSC_ENUM:
        show_symbol(type, number, out);
        break;
    default:
        show_number(w, type, number, out);
    }
}

static bool walk_leaf(struct field_walk *w, const struct avsc_type *type, const char *path)
{
    char text[TEXT_SIZE];
    const char *data = NULL;
    int64_t number = 0;
    bool good = true;
    if (type->kind == AVSC_STRING || type->kind == AVSC_BYTES)
        good = wire_text(&w->wire, &data, &number);
    else if (type->kind != AVSC_NULL)
        good = wire_long(&w->wire, &number);
    if (good && w->visit) {
        show_value(w, type, (struct slice){data, (size_t)number}, number, text);
        w->visit(w->context, path, text);
    }
    return good;
}

// Our schemas of the outputs are of these kinds, and not recursive.
static bool walk_type(struct field_walk *w, uint32_t number, const char *path)
{
    const struct avsc_type *type = &w->schema->types[number];
    uint32_t branch = 0;
    switch (type->kind) {
    case AVSC_RECORD:
        return walk_record(w, type, path);
    case AVSC_ARRAY:
        return walk_array(w, type, path);
    case AVSC_UNION:
        return wire_index(&w->wire, type->count, &branch) &&
               walk_type(w, w->schema->members[type->first + branch].type, path);
    default:
        return walk_leaf(w, type, path);
    }
}

// Whether the fields, one after the other, are the whole body. Skipping a value trusts the size
// that a block of an array may carry; but a visitor of the fields must not be misled by a wrong
// size.
static bool walk_body(const struct output_reader *form, struct slice body,
                      output_reader_visit *visit, void *context)
{
    const uint8_t *start = (const uint8_t *)body.data;
    struct field_walk walk = {.schema = form->schema,
                              .wire = {start, start + body.size, NULL},
                              .visit = visit,
                              .context = context};
    bool good = walk_type(&walk, form->schema->root, "");
    assert(walk.wire.at >= start);
    assert(walk.wire.at <= walk.wire.end);
    return good && walk.wire.at == walk.wire.end;
}

void output_reader_fields(const struct output_reader *form, struct slice body,
                          output_reader_visit *visit, void *context)
{
    (void)walk_body(form, body, visit, context);
}

// ---- the number ----

// Reads fields up to the sequence, or with `whole` all of them.
static int read_number(const struct output_reader *form, struct wire *wire, bool whole,
                       struct output_number *out, struct error *e)
{
    const struct avsc *schema = form->schema;
    const struct avsc_type *record = &schema->types[schema->root];
    const struct shapes shapes = {schema->shapes, schema->links};
    const uint8_t *start = wire->at;
    int64_t shard = -1;
    *out = (struct output_number){.sequence = -1};
    for (uint32_t i = 0; i < record->count && (whole || out->size == 0); i++) {
        const struct avsc_member *field = &schema->members[record->first + i];
        const uint8_t *at = wire->at;
        bool sequence = strcmp(field->name, "sequence") == 0, good;
        if (sequence)
            good = wire_long(wire, &out->sequence);
        else if (strcmp(field->name, "shard") == 0)
            good = wire_long(wire, &shard);
        else
            good = skip_value(&shapes, field->type, wire, 0);
        assert(wire->at >= at);
        assert(wire->at <= wire->end);
        if (!good)
            return error_set(e, ERROR_CONFIG, "%s at byte %td", wire->fault, wire->at - start);
        if (sequence) {
            out->at = (size_t)(at - start);
            out->size = (size_t)(wire->at - at);
        }
    }
    if (whole && wire->at != wire->end)
        return error_set(e, ERROR_CONFIG, "%zu bytes are left over", wire_left(wire));
    if (shard < 0 || shard > INT32_MAX || out->sequence <= 0)
        return error_set(e, ERROR_CONFIG, "shard %" PRId64 ", sequence %" PRId64 " are impossible",
                         shard, out->sequence);
    out->shard = (int32_t)shard;
    assert(out->size > 0);
    assert(out->at + out->size <= (size_t)(wire->end - start));
    return 0;
}

int output_reader_number(const struct output_reader *form, struct slice body,
                         struct output_number *out, struct error *e)
{
    const uint8_t *start = (const uint8_t *)body.data;
    struct wire wire = {start, start + body.size, "no body"};
    if (read_number(form, &wire, true, out, e))
        return -1;
    if (walk_body(form, body, NULL, NULL))
        return 0;
    return error_set(e, ERROR_CONFIG, "a block's size is not that of its items");
}

int output_reader_sequence(const struct output_reader *form, struct slice body,
                           struct output_number *out, struct error *e)
{
    const uint8_t *start = (const uint8_t *)body.data;
    struct wire wire = {start, start + body.size, "no body"};
    return read_number(form, &wire, false, out, e);
}

// ---- the record that was rejected ----

static bool read_bytes(struct wire *wire, struct slice *out)
{
    int64_t size = 0;
    bool good = wire_text(wire, &out->data, &size);
    out->size = (size_t)size;
    return good;
}

static bool read_nullable_bytes(struct wire *wire, struct slice *out)
{
    uint32_t branch = 0;
    return wire_index(wire, 2, &branch) && (branch == 0 || read_bytes(wire, out));
}

// One field: those that are asked for are read, any other is skipped.
static bool read_of_reject(const struct shapes *shapes, const struct avsc_member *field,
                           struct wire *wire, struct rejected_record *out)
{
    static const char *const numbers[] = {"partition", "offset", "timestamp"};
    int64_t *const to[] = {&out->partition, &out->offset, &out->timestamp};
    for (size_t i = 0; i < sizeof to / sizeof *to; i++)
        if (strcmp(field->name, numbers[i]) == 0)
            return wire_long(wire, to[i]);
    if (strcmp(field->name, "topic") == 0)
        return read_bytes(wire, &out->topic);
    if (strcmp(field->name, "detail") == 0)
        return read_bytes(wire, &out->detail);
    if (strcmp(field->name, "key") == 0)
        return read_nullable_bytes(wire, &out->key);
    if (strcmp(field->name, "value") == 0)
        return read_nullable_bytes(wire, &out->value);
    return skip_value(shapes, field->type, wire, 0);
}

int output_reader_reject(const struct output_reader *form, struct slice body,
                         struct rejected_record *out, struct error *e)
{
    const struct avsc_type *record = &form->schema->types[form->schema->root];
    const struct shapes shapes = {form->schema->shapes, form->schema->links};
    const uint8_t *start = (const uint8_t *)body.data;
    struct wire wire = {start, start + body.size, "no body"};
    *out = (struct rejected_record){0};
    for (uint32_t i = 0; i < record->count; i++)
        if (!read_of_reject(&shapes, &form->schema->members[record->first + i], &wire, out))
            return error_set(e, ERROR_CONFIG, "%s at byte %td", wire.fault, wire.at - start);
    return 0;
}
