#include "consumer/avro/avsc.h"
#include "consumer/base/arena.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const kind_names[] = {
    [AVSC_NULL] = "null",   [AVSC_BOOLEAN] = "boolean", [AVSC_INT] = "int",
    [AVSC_LONG] = "long",   [AVSC_FLOAT] = "float",     [AVSC_DOUBLE] = "double",
    [AVSC_BYTES] = "bytes", [AVSC_STRING] = "string",   [AVSC_RECORD] = "record",
    [AVSC_ENUM] = "enum",   [AVSC_FIXED] = "fixed",     [AVSC_ARRAY] = "array",
    [AVSC_MAP] = "map",     [AVSC_UNION] = "union",
};

const char *avsc_kind_name(enum avsc_kind kind)
{
    assert((size_t)kind < sizeof kind_names / sizeof *kind_names);
    return kind_names[kind];
}

static const char *unqualified(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot ? dot + 1 : name;
}

bool avsc_has_alias(const json_t *json, const char *name)
{
    const json_t *aliases = json_object_get(json, "aliases");
    for (size_t i = 0; i < json_array_size(aliases); i++) {
        const char *alias = json_string_value(json_array_get(aliases, i));
        if (alias && strcmp(unqualified(alias), name) == 0)
            return true;
    }
    return false;
}

// A kind by its name in a schema; unions have none, and `error` is a record of Avro's RPC.
static bool find_kind(const char *name, enum avsc_kind *kind)
{
    for (int k = AVSC_NULL; k < AVSC_UNION; k++) {
        if (strcmp(name, kind_names[k]) == 0) {
            *kind = (enum avsc_kind)k;
            return true;
        }
    }
    *kind = AVSC_RECORD;
    return strcmp(name, "error") == 0;
}

static int add_type(struct avsc *s, enum avsc_kind kind, const json_t *json, uint32_t *out,
                    struct error *e)
{
    if (s->type_count == AVSC_TYPES_MAX)
        return error_set(e, ERROR_CONFIG,
                         "the schema has more than %d types; use named types again",
                         AVSC_TYPES_MAX);
    assert(s->type_count < s->room);
    *out = s->type_count++;
    s->types[*out] = (struct avsc_type){.kind = kind, .json = json};
    return 0;
}

static int add_members(struct avsc *s, size_t count, uint32_t *first, struct error *e)
{
    if (count > AVSC_MEMBERS_MAX - s->member_count)
        return error_set(e, ERROR_CONFIG, "the schema has more than %d fields and branches",
                         AVSC_MEMBERS_MAX);
    assert(count <= s->room - s->member_count);
    *first = s->member_count;
    s->member_count += (uint32_t)count;
    return 0;
}

// ---- shapes ----

static void set_record_shape(struct avsc *s, uint32_t number)
{
    const struct avsc_type *type = &s->types[number];
    uint32_t kept = 0;
    for (uint32_t i = 0; i < type->count; i++) {
        uint32_t member = s->members[type->first + i].type;
        bool empty = s->types[member].complete && s->shapes[member].kind == SHAPE_EMPTY;
        if (!empty)
            s->links[type->first + kept++] = member;
    }
    const uint32_t *links = s->links + type->first;
    if (kept == 0)
        s->shapes[number] = (struct shape){.kind = SHAPE_EMPTY};
    else if (kept == 1 && s->types[links[0]].complete)
        s->shapes[number] = s->shapes[links[0]];
    else
        s->shapes[number] =
            (struct shape){.kind = SHAPE_RECORD, .first = type->first, .count = kept};
}

static void set_member_shape(struct avsc *s, uint32_t number, enum shape_kind kind)
{
    const struct avsc_type *type = &s->types[number];
    for (uint32_t i = 0; i < type->count; i++)
        s->links[type->first + i] = s->members[type->first + i].type;
    s->shapes[number] = (struct shape){.kind = kind, .first = type->first, .count = type->count};
}

// When a type is complete, the shape of its value follows from its parts. A part that is not
// complete yet is a record around this type; that record is not empty.
static void complete(struct avsc *s, uint32_t number)
{
    struct shape *shape = &s->shapes[number];
    switch (s->types[number].kind) {
    case AVSC_NULL:
        *shape = (struct shape){.kind = SHAPE_EMPTY};
        break;
    case AVSC_INT:
    case AVSC_LONG:
    case AVSC_ENUM:
        *shape = (struct shape){.kind = SHAPE_NUMBER};
        break;
    case AVSC_BOOLEAN:
        *shape = (struct shape){.kind = SHAPE_FIXED, .count = 1};
        break;
    case AVSC_FLOAT:
        *shape = (struct shape){.kind = SHAPE_FIXED, .count = 4};
        break;
    case AVSC_DOUBLE:
        *shape = (struct shape){.kind = SHAPE_FIXED, .count = 8};
        break;
    case AVSC_FIXED: // parse_fixed has set it
        break;
    case AVSC_BYTES:
    case AVSC_STRING:
        *shape = (struct shape){.kind = SHAPE_TEXT};
        break;
    case AVSC_RECORD:
        set_record_shape(s, number);
        break;
    case AVSC_ARRAY:
        set_member_shape(s, number, SHAPE_ARRAY);
        break;
    case AVSC_MAP:
        set_member_shape(s, number, SHAPE_MAP);
        break;
    case AVSC_UNION:
        set_member_shape(s, number, SHAPE_UNION);
        break;
    }
    s->types[number].complete = true;
}

// ---- names ----

// NULL if it is not a text, or a text with U+0000 in it (allowed in a doc, but not in a name).
static const char *text_of(const json_t *json)
{
    const char *text = json_string_value(json);
    return text && strlen(text) == json_string_length(json) ? text : NULL;
}

// A text member that must be there and not be empty; NULL with *e.
static const char *required(const json_t *json, const char *key, const char *of, struct error *e)
{
    const char *text = text_of(json_object_get(json, key));
    if (text && text[0] != '\0')
        return text;
    error_set(e, ERROR_CONFIG, "no Avro schema: a %s without a \"%s\" that is a text", of, key);
    return NULL;
}

static int qualify(struct avsc *s, const char *space, const char *name, const char **full,
                   struct error *e)
{
    size_t size = strlen(space) + 1 + strlen(name);
    if (size > AVSC_NAME_MAX)
        return error_set(e, ERROR_CONFIG, "the name %.64s... is longer than %d bytes", name,
                         AVSC_NAME_MAX);
    char *text = arena_alloc(s->arena, size + 1);
    snprintf(text, size + 1, "%s%s%s", space, space[0] ? "." : "", name);
    *full = text;
    return 0;
}

// Registers a named type. *space becomes the namespace of the names within it.
static int define(struct avsc *s, uint32_t number, const char **space, struct error *e)
{
    struct avsc_type *type = &s->types[number];
    const char *name = required(type->json, "name", avsc_kind_name(type->kind), e);
    if (!name)
        return -1;
    const char *given = text_of(json_object_get(type->json, "namespace")),
               *dot = strrchr(name, '.');
    if (dot)
        *space = arena_copy(s->arena, name, (size_t)(dot - name));
    else if (given)
        *space = given;
    type->name = unqualified(name);
    const char *full = NULL;
    if (qualify(s, *space, type->name, &full, e))
        return -1;
    if (json_object_get(s->names, full))
        return error_set(e, ERROR_CONFIG, "no Avro schema: the name %.200s is defined twice", full);
    if (json_object_set_new_nocheck(s->names, full, json_integer(number)))
        abort();
    return 0;
}

// Finds a type by its name: as it is if the name has a dot; otherwise in the surrounding namespace,
// and then without a namespace.
static int refer(struct avsc *s, const char *name, const char *space, uint32_t *out,
                 struct error *e)
{
    const char *full = name;
    if (!strchr(name, '.') && qualify(s, space, name, &full, e))
        return -1;
    const json_t *number = json_object_get(s->names, full);
    if (!number)
        number = json_object_get(s->names, name);
    if (!number)
        return error_set(e, ERROR_CONFIG, "no Avro schema: the type %.200s is not defined in it",
                         name);
    *out = (uint32_t)json_integer_value(number);
    assert(*out >= AVSC_PRIMITIVES);
    assert(*out < s->type_count);
    return 0;
}

// ---- types ----

// What surrounds a type in its schema: the namespace, and how many types it stands in.
struct scope {
    const char *space;
    unsigned depth;
};

static struct scope deeper(struct scope scope)
{
    scope.depth++;
    return scope;
}

static int parse_type(struct avsc *s, const json_t *json, struct scope scope, uint32_t *out,
                      struct error *e);

static int parse_fields(struct avsc *s, uint32_t number, struct scope scope, struct error *e)
{
    const json_t *fields = json_object_get(s->types[number].json, "fields");
    const char *record = s->types[number].name;
    if (!json_is_array(fields))
        return error_set(e, ERROR_CONFIG, "no Avro schema: the record %.200s has no \"fields\"",
                         record);
    uint32_t first = 0;
    if (add_members(s, json_array_size(fields), &first, e))
        return -1;
    s->types[number].first = first;
    s->types[number].count = (uint32_t)json_array_size(fields);
    for (uint32_t i = 0; i < s->types[number].count; i++) {
        const json_t *field = json_array_get(fields, i);
        struct avsc_member *member = &s->members[first + i];
        member->json = field;
        member->name = required(field, "name", "field", e);
        if (!member->name)
            return -1;
        if (parse_type(s, json_object_get(field, "type"), scope, &member->type, e))
            return error_context(e, "field %.100s", member->name);
    }
    return 0;
}

// Whether a text occurs twice among an array's elements, or among their members `key`. Uses a hash,
// because a schema may have thousands.
static int check_distinct(const json_t *array, const char *key, const char *what, struct error *e)
{
    json_t *seen = json_object();
    if (!seen)
        abort();
    const char *twice = NULL;
    for (size_t i = 0; i < json_array_size(array) && !twice; i++) {
        const json_t *element = json_array_get(array, i);
        const char *text = json_string_value(key ? json_object_get(element, key) : element);
        if (json_object_get(seen, text))
            twice = text;
        if (json_object_set_new_nocheck(seen, text, json_null()))
            abort();
    }
    json_decref(seen);
    return twice ? error_set(e, ERROR_CONFIG, "no Avro schema: the %s %.200s is there twice", what,
                             twice)
                 : 0;
}

static int parse_record(struct avsc *s, uint32_t number, struct scope scope, struct error *e)
{
    if (define(s, number, &scope.space, e) || parse_fields(s, number, scope, e))
        return -1;
    return check_distinct(json_object_get(s->types[number].json, "fields"), "name", "field", e);
}

static int parse_enum(struct avsc *s, uint32_t number, const char *space, struct error *e)
{
    if (define(s, number, &space, e))
        return -1;
    struct avsc_type *type = &s->types[number];
    const json_t *symbols = json_object_get(type->json, "symbols");
    bool good = json_is_array(symbols);
    for (size_t i = 0; i < json_array_size(symbols); i++) {
        if (!text_of(json_array_get(symbols, i)))
            good = false;
    }
    if (!good)
        return error_set(e, ERROR_CONFIG, "no Avro schema: the symbols of %.200s are no texts",
                         type->name);
    return check_distinct(symbols, NULL, "symbol", e);
}

static int parse_fixed(struct avsc *s, uint32_t number, const char *space, struct error *e)
{
    if (define(s, number, &space, e))
        return -1;
    const json_t *node = json_object_get(s->types[number].json, "size");
    double size = json_is_number(node) ? json_number_value(node) : -1;
    if (!(size >= 0 && size <= INT32_MAX && size == (double)(uint32_t)size))
        return error_set(e, ERROR_CONFIG,
                         "the size of the fixed %.200s is not within 0 and 2^31 - 1",
                         s->types[number].name);
    s->shapes[number] =
        (struct shape){.kind = size > 0 ? SHAPE_FIXED : SHAPE_EMPTY, .count = (uint32_t)size};
    return 0;
}

static int parse_items(struct avsc *s, uint32_t number, struct scope scope, struct error *e)
{
    uint32_t first = 0;
    if (add_members(s, 1, &first, e))
        return -1;
    struct avsc_type *type = &s->types[number];
    type->first = first;
    type->count = 1;
    const char *key = type->kind == AVSC_ARRAY ? "items" : "values";
    const json_t *items = json_object_get(type->json, key);
    s->members[first] = (struct avsc_member){.json = items};
    return parse_type(s, items, scope, &s->members[first].type, e);
}

static int parse_union(struct avsc *s, const json_t *json, struct scope scope, uint32_t *out,
                       struct error *e)
{
    uint32_t first = 0, kinds = 0;
    if (add_type(s, AVSC_UNION, NULL, out, e) || add_members(s, json_array_size(json), &first, e))
        return -1;
    s->types[*out].first = first;
    s->types[*out].count = (uint32_t)json_array_size(json);
    for (uint32_t i = 0; i < s->types[*out].count; i++) {
        struct avsc_member *member = &s->members[first + i];
        *member = (struct avsc_member){.json = json_array_get(json, i)};
        if (parse_type(s, member->json, scope, &member->type, e))
            return -1;
    }
    for (uint32_t i = 0; i < s->types[*out].count; i++) {
        struct avsc_type *branch = &s->types[s->members[first + i].type];
        bool twice = branch->name ? branch->union_mark == *out : kinds >> branch->kind & 1;
        if (twice || branch->kind == AVSC_UNION)
            return error_set(e, ERROR_CONFIG, "no Avro schema: a union holds %.200s %s",
                             branch->name ? branch->name : avsc_kind_name(branch->kind),
                             twice ? "twice" : "directly");
        branch->union_mark = *out;
        kinds |= 1U << branch->kind;
    }
    complete(s, *out);
    return 0;
}

static enum avsc_logical logical_of(const json_t *json)
{
    const char *text = json_string_value(json_object_get(json, "logicalType"));
    if (text && strcmp(text, "timestamp-millis") == 0)
        return AVSC_TIMESTAMP_MILLIS;
    if (text && strcmp(text, "timestamp-micros") == 0)
        return AVSC_TIMESTAMP_MICROS;
    return text ? AVSC_OTHER : AVSC_PLAIN;
}

// {"type": KIND, ...}
static int parse_declared(struct avsc *s, enum avsc_kind kind, const json_t *json,
                          struct scope scope, uint32_t *out, struct error *e)
{
    bool number = kind == AVSC_INT || kind == AVSC_LONG;
    if (kind < AVSC_PRIMITIVES && !(number && logical_of(json) != AVSC_PLAIN)) {
        *out = kind;
        return 0;
    }
    if (add_type(s, kind, json, out, e))
        return -1;
    int rc = 0;
    switch (kind) {
    case AVSC_RECORD:
        rc = parse_record(s, *out, scope, e);
        break;
    case AVSC_ENUM:
        rc = parse_enum(s, *out, scope.space, e);
        break;
    case AVSC_FIXED:
        rc = parse_fixed(s, *out, scope.space, e);
        break;
    case AVSC_ARRAY:
    case AVSC_MAP:
        rc = parse_items(s, *out, scope, e);
        break;
    default:
        s->types[*out].logical = logical_of(json);
        break;
    }
    if (rc == 0)
        complete(s, *out);
    return rc;
}

static int parse_type(struct avsc *s, const json_t *json, struct scope scope, uint32_t *out,
                      struct error *e)
{
    assert(scope.depth <= AVSC_DEPTH_MAX);
    if (scope.depth == AVSC_DEPTH_MAX)
        return error_set(e, ERROR_CONFIG, "the schema is nested deeper than %d types",
                         AVSC_DEPTH_MAX);
    if (json_is_array(json))
        return parse_union(s, json, deeper(scope), out, e);
    const json_t *type = json_is_object(json) ? json_object_get(json, "type") : json;
    if (json_is_object(json) && (json_is_object(type) || json_is_array(type)))
        return parse_type(s, type, deeper(scope), out, e);
    const char *name = text_of(type);
    enum avsc_kind kind = AVSC_NULL;
    if (!name)
        return error_set(e, ERROR_CONFIG,
                         "no Avro schema: a type is missing, or no text, object or array");
    if (!find_kind(name, &kind))
        return refer(s, name, scope.space, out, e);
    if (kind < AVSC_PRIMITIVES || json_is_object(json))
        return parse_declared(s, kind, json, deeper(scope), out, e);
    return refer(s, name, scope.space, out, e);
}

static int parse_document(struct avsc *s, const char *text, size_t size, struct error *e)
{
    // A number only matters as the size of a fixed; a number of more than 64 bits in some other
    // property is not a mistake.
    size_t flags =
        JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL;
    json_error_t trouble;
    s->document = json_loadb(text, size, flags, &trouble);
    if (!s->document)
        return error_set(e, ERROR_CONFIG, "no Avro schema: not JSON at line %d, column %d: %s",
                         trouble.line, trouble.column, trouble.text);
    for (uint32_t kind = 0; kind < AVSC_PRIMITIVES; kind++) {
        uint32_t number = 0;
        if (add_type(s, (enum avsc_kind)kind, NULL, &number, e))
            return -1;
        assert(number == kind);
        complete(s, number);
    }
    return parse_type(s, s->document, (struct scope){"", 0}, &s->root, e);
}

// ---- what readers of the tables rely on ----

static void check_shape(const struct avsc *s, const struct shape *shape)
{
    bool linked = shape->kind >= SHAPE_RECORD;
    assert(shape->kind <= SHAPE_MAP);
    assert(shape->kind != SHAPE_FIXED || shape->count > 0);
    assert(shape->kind != SHAPE_RECORD || shape->count > 0);
    assert(shape->kind < SHAPE_ARRAY || shape->count == 1);
    if (!linked)
        return;
    assert(shape->count <= s->member_count);
    assert(shape->first <= s->member_count - shape->count);
    for (uint32_t i = 0; i < shape->count; i++) {
        uint32_t link = s->links[shape->first + i];
        assert(link < s->type_count);
        assert(shape->kind != SHAPE_RECORD || s->shapes[link].kind != SHAPE_EMPTY);
    }
}

static void check_type(const struct avsc *s, const struct avsc_type *type)
{
    assert(type->complete);
    assert(type->count <= s->member_count);
    assert(type->first <= s->member_count - type->count);
    for (uint32_t i = 0; i < type->count; i++) {
        const struct avsc_member *member = &s->members[type->first + i];
        assert(member->type < s->type_count);
        assert((member->name != NULL) == (type->kind == AVSC_RECORD));
    }
}

static void check_schema(const struct avsc *s)
{
    assert(s->type_count <= s->room);
    assert(s->member_count <= s->room);
    assert(s->root < s->type_count);
    for (uint32_t i = 0; i < s->type_count; i++) {
        check_type(s, &s->types[i]);
        check_shape(s, &s->shapes[i]);
    }
}

int avsc_parse(const char *text, size_t size, struct avsc **out, struct error *e)
{
    if (size > AVSC_SIZE_MAX)
        return error_set(e, ERROR_CONFIG, "the schema is %zu bytes long; at most %d are read", size,
                         AVSC_SIZE_MAX);
    struct arena *arena = arena_create();
    if (!arena)
        abort();
    struct avsc *s = arena_alloc(arena, sizeof *s);
    static_assert((int)AVSC_TYPES_MAX == (int)AVSC_MEMBERS_MAX, "one room for both");
    *s = (struct avsc){.arena = arena, .names = json_object()};
    if (!s->names)
        abort();
    // No type or member takes less than two bytes of text.
    size_t room = AVSC_PRIMITIVES + size / 2;
    s->room = room < AVSC_TYPES_MAX ? (uint32_t)room : AVSC_TYPES_MAX;
    s->types = arena_alloc(arena, s->room * sizeof *s->types);
    s->shapes = arena_alloc(arena, s->room * sizeof *s->shapes);
    s->members = arena_alloc(arena, s->room * sizeof *s->members);
    s->links = arena_alloc(arena, s->room * sizeof *s->links);
    int rc = parse_document(s, text, size, e);
    if (rc) {
        avsc_free(s);
        return rc;
    }
    check_schema(s);
    *out = s;
    return 0;
}

void avsc_free(struct avsc *schema)
{
    if (!schema)
        return;
    json_decref(schema->document);
    json_decref(schema->names);
    arena_destroy(schema->arena);
}
