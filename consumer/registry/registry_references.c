#include "consumer/registry/registry_references.h"

#include "consumer/registry/registry_answer.h"
#include "consumer/registry/registry_dir.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TYPE_DEPTH_MAX = 128 }; // types within each other, as consumer/avro reads them

// Numbers of more than 64 bits may stand in somebody's own property.
#define SCHEMA_FLAGS (JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES)

// ---- gathering what is referred to ----

struct gathering {
    references_ask *ask;
    void *context;
    size_t count, size; // schemas, and the bytes of their texts
    json_t *seen; // "subject/version"
    json_t *schemas; // parsed, each after those that it refers to
    const char *path[REFERENCES_DEPTH_MAX]; // from the outermost inwards
    char why[REFERENCES_PATH_SIZE]; // not empty: it cannot be put together
    struct error *e;
};

static json_t *checked(json_t *json)
{
    if (!json)
        abort(); // out of memory
    return json;
}

static json_t *parse_schema(const char *text)
{
    json_t *json = json_loads(text, SCHEMA_FLAGS, NULL);
    return json ? json : json_loads(text, SCHEMA_FLAGS | JSON_DECODE_INT_AS_REAL, NULL);
}

static const char *text_at(const json_t *json, const char *name)
{
    return json_string_value(json_object_get(json, name));
}

bool references_any(const json_t *answer)
{
    const char *type = text_at(answer, "schemaType");
    return (!type || strcmp(type, "AVRO") == 0) && text_at(answer, "schema") &&
           json_array_size(json_object_get(answer, "references")) > 0;
}

// True when going on makes sense. Else g->why says what is wrong.
static bool add_schema(struct gathering *g, const json_t *answer, const char *name)
{
    const char *type = text_at(answer, "schemaType"), *text = text_at(answer, "schema");
    json_t *schema = text ? parse_schema(text) : NULL;
    g->size += text ? strlen(text) : 0;
    if (type && strcmp(type, "AVRO") != 0)
        snprintf(g->why, sizeof g->why,
                 "%.200s, which the schema refers to, is of type %.32s, not "
                 "AVRO",
                 name, type);
    else if (!schema)
        snprintf(g->why, sizeof g->why, "%.200s is no JSON", name);
    else if (g->size > REGISTRY_TEXT_MAX)
        snprintf(g->why, sizeof g->why, "with what it refers to the schema is larger than %d bytes",
                 REGISTRY_TEXT_MAX);
    if (g->why[0]) {
        json_decref(schema);
        return false;
    }
    if (json_array_append_new(g->schemas, schema))
        abort();
    return true;
}

static enum registry_result gather(struct gathering *g, const json_t *answer, size_t depth);

// "a/1 -> b/2 -> a/1"
static void say_cycle(struct gathering *g, size_t depth, const char *name)
{
    size_t at = 0, used;
    while (strcmp(g->path[at], name) != 0)
        at++;
    snprintf(g->why, sizeof g->why, "the schema refers to others in a cycle: ");
    for (; at < depth; at++) {
        used = strlen(g->why);
        snprintf(g->why + used, sizeof g->why - used, "%.100s -> ", g->path[at]);
    }
    used = strlen(g->why);
    snprintf(g->why + used, sizeof g->why - used, "%.100s", name);
}

static bool is_on_path(const struct gathering *g, size_t depth, const char *name)
{
    for (size_t i = 0; i < depth; i++) {
        if (strcmp(g->path[i], name) == 0)
            return true;
    }
    return false;
}

// Whether one more may be followed. False with g->why, or where it is known already.
static bool may_follow(struct gathering *g, size_t depth, const char *name)
{
    if (is_on_path(g, depth, name)) {
        say_cycle(g, depth, name);
        return false;
    }
    if (json_object_get(g->seen, name))
        return false;
    if (depth == REFERENCES_DEPTH_MAX)
        snprintf(g->why, sizeof g->why, "the schema refers to others over more than %d steps",
                 REFERENCES_DEPTH_MAX);
    else if (g->count == REFERENCES_MAX)
        snprintf(g->why, sizeof g->why, "the schema refers to more than %d others", REFERENCES_MAX);
    return !g->why[0];
}

static enum registry_result follow(struct gathering *g, const json_t *reference, size_t depth)
{
    char name[300];
    const char *subject = text_at(reference, "subject");
    const json_t *version = json_object_get(reference, "version");
    json_t *answer = NULL;
    if (!subject || !json_is_integer(version)) {
        snprintf(g->why, sizeof g->why, "a reference has no subject, or no version");
        return REGISTRY_FOUND;
    }
    int length =
        snprintf(name, sizeof name, "%s/%" PRId64, subject, (int64_t)json_integer_value(version));
    if ((size_t)length >= sizeof name) {
        snprintf(g->why, sizeof g->why,
                 "the name of a subject that it refers to is longer than "
                 "%zu bytes",
                 sizeof name);
        return REGISTRY_FOUND;
    }
    if (!may_follow(g, depth, name))
        return REGISTRY_FOUND;
    g->count++;
    if (json_object_set_new_nocheck(g->seen, name, json_true()))
        abort();
    enum registry_result result =
        g->ask(g->context, subject, json_integer_value(version), &answer, g->e);
    if (result == REGISTRY_FOUND) {
        g->path[depth] = name;
        result = gather(g, answer, depth + 1);
        g->path[depth] = NULL;
        if (result == REGISTRY_FOUND && !g->why[0])
            add_schema(g, answer, name);
    }
    json_decref(answer);
    return result;
}

static enum registry_result gather(struct gathering *g, const json_t *answer, size_t depth)
{
    const json_t *references = json_object_get(answer, "references");
    assert(depth <= REFERENCES_DEPTH_MAX);
    enum registry_result result = REGISTRY_FOUND;
    for (size_t i = 0; i < json_array_size(references) && result == REGISTRY_FOUND && !g->why[0];
         i++)
        result = follow(g, json_array_get(references, i), depth);
    return result;
}

// ---- one text of them ----

// A named type by its full name: where it is defined, and the namespace around it there.
struct merging {
    json_t *known; // full name -> {"node": the definition, "space": namespace}
    json_t *placed; // full name -> true: it stands in the text already
    char *why; // REFERENCES_PATH_SIZE
};

struct merge_place {
    const char *space;
    unsigned depth;
};

static bool is_primitive(const char *name)
{
    static const char *const names[] = {"null",  "boolean", "int",   "long",
                                        "float", "double",  "bytes", "string"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(names[i], name) == 0)
            return true;
    }
    return false;
}

static bool is_definition(const json_t *json)
{
    const char *type = text_at(json, "type");
    return type && text_at(json, "name") &&
           (strcmp(type, "record") == 0 || strcmp(type, "error") == 0 ||
            strcmp(type, "enum") == 0 || strcmp(type, "fixed") == 0);
}

// A name as it is known everywhere, malloc'ed.
static char *full_name(const char *space, const char *name)
{
    size_t size = strlen(space) + strlen(name) + 2;
    char *full = malloc(size);
    if (!full)
        abort();
    if (strchr(name, '.') || !space[0])
        snprintf(full, size, "%s", name);
    else
        snprintf(full, size, "%s.%s", space, name);
    return full;
}

static char *name_of_definition(const json_t *json, const char *space)
{
    const char *given = text_at(json, "namespace");
    return full_name(given ? given : space, text_at(json, "name"));
}

// The namespace in a full name, malloc'ed; "" for none.
static char *space_of(const char *full)
{
    const char *dot = strrchr(full, '.');
    char *space = dot ? strndup(full, (size_t)(dot - full)) : strdup("");
    if (!space)
        abort();
    return space;
}

static bool too_deep(const struct merging *m, unsigned depth)
{
    if (depth < TYPE_DEPTH_MAX)
        return false;
    snprintf(m->why, REFERENCES_PATH_SIZE,
             "with what it refers to the schema is nested deeper than "
             "%d types",
             TYPE_DEPTH_MAX);
    return true;
}

static void learn_types(struct merging *m, json_t *json, struct merge_place at);

static void learn_definition(struct merging *m, json_t *json, struct merge_place at)
{
    char *full = name_of_definition(json, at.space);
    char *space = space_of(full);
    size_t i;
    json_t *field;
    if (json_object_get(m->known, full))
        snprintf(m->why, REFERENCES_PATH_SIZE,
                 "of what the schema refers to, %.200s is defined "
                 "twice",
                 full);
    json_t *entry = checked(json_pack("{s:O, s:s}", "node", json, "space", at.space));
    if (json_object_set_new_nocheck(m->known, full, entry))
        abort();
    json_array_foreach(json_object_get(json, "fields"), i, field)
    {
        learn_types(m, json_object_get(field, "type"), (struct merge_place){space, at.depth + 1});
    }
    free(space);
    free(full);
}

// Every named type of a schema that is referred to may be named by the others.
static void learn_types(struct merging *m, json_t *json, struct merge_place at)
{
    size_t i;
    json_t *branch;
    if (m->why[0] || too_deep(m, at.depth))
        return;
    if (is_definition(json)) {
        learn_definition(m, json, at);
        return;
    }
    at.depth++;
    json_array_foreach(json, i, branch)
    {
        learn_types(m, branch, at);
    }
    if (!json_is_object(json))
        return;
    learn_types(m, json_object_get(json, "type"), at);
    learn_types(m, json_object_get(json, "items"), at);
    learn_types(m, json_object_get(json, "values"), at);
}

static json_t *merge(struct merging *m, json_t *json, struct merge_place at);

// The type where it is first named; its name from there on.
static json_t *merge_known(struct merging *m, const char *full, struct merge_place at)
{
    const json_t *entry = json_object_get(m->known, full);
    if (json_object_get(m->placed, full))
        return checked(json_string(full));
    return merge(m, json_object_get(entry, "node"),
                 (struct merge_place){text_at(entry, "space"), at.depth + 1});
}

static json_t *merge_name(struct merging *m, json_t *json, struct merge_place at)
{
    const char *name = json_string_value(json);
    json_t *out = NULL;
    if (is_primitive(name))
        return json_incref(json);
    char *full = full_name(at.space, name);
    bool here = json_object_get(m->placed, full) || json_object_get(m->known, full);
    const char *found = here ? full : name; // else one without a namespace
    if (json_object_get(m->known, found))
        out = merge_known(m, found, at);
    else
        out = json_incref(json);
    free(full);
    return out;
}

static json_t *merge_fields(struct merging *m, const json_t *fields, struct merge_place at)
{
    json_t *out = checked(json_array());
    size_t i;
    json_t *field;
    json_array_foreach(fields, i, field)
    {
        json_t *copy = checked(json_copy(field));
        json_t *type = json_object_get(field, "type");
        if (type)
            json_object_set_new_nocheck(copy, "type", merge(m, type, at));
        if (json_array_append_new(out, copy))
            abort();
    }
    return out;
}

// A definition says its namespace itself, as it may have come from elsewhere.
static json_t *merge_definition(struct merging *m, json_t *json, struct merge_place at)
{
    char *full = name_of_definition(json, at.space), *space = space_of(full);
    const json_t *known = json_object_get(m->known, full);
    json_t *out = NULL;
    if (known && json_object_get(known, "node") != json)
        snprintf(m->why, REFERENCES_PATH_SIZE,
                 "%.200s is defined in the schema and in what it refers to", full);
    if (known && json_object_get(m->placed, full)) {
        out = checked(json_string(full));
    } else {
        json_object_set_new_nocheck(m->placed, full, json_true());
        out = checked(json_copy(json));
        json_object_set_new_nocheck(out, "name",
                                    json_string(full + (*space ? strlen(space) + 1 : 0)));
        json_object_set_new_nocheck(out, "namespace", json_string(space));
        const json_t *fields = json_object_get(json, "fields");
        if (json_is_array(fields))
            json_object_set_new_nocheck(
                out, "fields", merge_fields(m, fields, (struct merge_place){space, at.depth + 1}));
    }
    free(space);
    free(full);
    return out;
}

static json_t *merge_parts(struct merging *m, json_t *json, struct merge_place at)
{
    static const char *const parts[] = {"type", "items", "values"};
    json_t *out = checked(json_copy(json));
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        json_t *part = json_object_get(json, parts[i]);
        if (part)
            json_object_set_new_nocheck(out, parts[i], merge(m, part, at));
    }
    return out;
}

// The type with each that it names from elsewhere put in its place; a new reference.
static json_t *merge(struct merging *m, json_t *json, struct merge_place at)
{
    size_t i;
    json_t *branch;
    if (m->why[0] || too_deep(m, at.depth))
        return json_incref(json);
    if (json_is_string(json))
        return merge_name(m, json, at);
    if (is_definition(json))
        return merge_definition(m, json, at);
    at.depth++;
    if (json_is_object(json))
        return merge_parts(m, json, at);
    if (!json_is_array(json))
        return json_incref(json);
    json_t *out = checked(json_array());
    json_array_foreach(json, i, branch)
    {
        if (json_array_append_new(out, merge(m, branch, at)))
            abort();
    }
    return out;
}

// NULL with g->why when it cannot be put together. The last schema is the one that refers to
// others.
static char *merge_all(struct gathering *g)
{
    struct merging m = {.known = checked(json_object()), .placed = checked(json_object())};
    size_t last = json_array_size(g->schemas) - 1;
    char *text = NULL;
    m.why = g->why;
    for (size_t i = 0; i < last; i++)
        learn_types(&m, json_array_get(g->schemas, i), (struct merge_place){"", 0});
    json_t *merged = merge(&m, json_array_get(g->schemas, last), (struct merge_place){"", 0});
    if (!g->why[0])
        text = json_dumps(merged, JSON_COMPACT | JSON_ENCODE_ANY);
    if (!g->why[0] && (!text || strlen(text) > REGISTRY_TEXT_MAX))
        snprintf(g->why, sizeof g->why, "with what it refers to the schema is larger than %d bytes",
                 REGISTRY_TEXT_MAX);
    json_decref(merged);
    json_decref(m.known);
    json_decref(m.placed);
    if (!g->why[0])
        return text;
    free(text);
    return NULL;
}

enum registry_result references_resolve(const json_t *answer, references_ask *ask, void *context,
                                        char **text, struct error *e)
{
    struct gathering g = {.ask = ask,
                          .context = context,
                          .seen = checked(json_object()),
                          .schemas = checked(json_array()),
                          .e = e};
    *text = NULL;
    enum registry_result result = gather(&g, answer, 0);
    if (result == REGISTRY_FOUND && !g.why[0] && add_schema(&g, answer, "the schema"))
        *text = merge_all(&g);
    json_decref(g.seen);
    json_decref(g.schemas);
    if (result != REGISTRY_FOUND)
        return result;
    if (!*text)
        *text = answer_schema(answer, g.why);
    if (!*text)
        abort(); // out of memory
    return REGISTRY_FOUND;
}
