// Schema resolution for our readers, as the Avro specification describes it ("Schema Resolution"):
// each field of the writer's record becomes a step that stores a reader's field, or a step that
// skips.
#include "consumer/avro/avsc.h"
#include "consumer/avro/plan_program.h"
#include "consumer/base/arena.h"
#include "schemas/embedded.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum target_kind { TARGET_TEXT, TARGET_LONG, TARGET_TIMESTAMP, TARGET_ENUM };

// A field of the reader's record.
struct target {
    uint32_t field;
    enum target_kind kind;
    bool nullable;
    const char *name; // in the plan's arena
    const struct avsc_member *member;
    const struct avsc_type *type; // without the null
};

struct compiler {
    const struct avsc *reader, *writer;
    uint32_t target_count;
    struct target targets[RECORD_FIELDS_MAX];
    struct arena *arena; // the plan's
    struct program *programs;
    struct plan_step *steps, *branches;
    int32_t *symbols;
    // By the writer's type and the reader's field: where in `symbols` the numbers of that enum
    // begin, + 1. Several records of a union may share one enum, and then they share its numbers.
    uint32_t *known_symbols;
    uint32_t program_count, step_count, branch_count, symbol_count;
};

static const char *copy_text(struct compiler *c, const char *text)
{
    return arena_copy(c->arena, text, strlen(text));
}

// ---- the reader ----

static int read_target(struct compiler *c, uint32_t field, struct target *t, struct error *e)
{
    const struct avsc *reader = c->reader;
    const struct avsc_member *member = &reader->members[reader->types[reader->root].first + field];
    const struct avsc_type *type = &reader->types[member->type];
    *t = (struct target){.field = field, .name = copy_text(c, member->name), .member = member};
    if (type->kind == AVSC_UNION && type->count == 2) {
        const struct avsc_type *a = &reader->types[reader->members[type->first].type];
        const struct avsc_type *b = &reader->types[reader->members[type->first + 1].type];
        t->nullable = a->kind == AVSC_NULL || b->kind == AVSC_NULL;
        if (t->nullable)
            type = a->kind == AVSC_NULL ? b : a;
    }
    t->type = type;
    switch (type->kind) {
    case AVSC_STRING:
        t->kind = TARGET_TEXT;
        return 0;
    case AVSC_LONG:
        t->kind = type->logical == AVSC_TIMESTAMP_MILLIS ? TARGET_TIMESTAMP : TARGET_LONG;
        return 0;
    case AVSC_ENUM:
        t->kind = TARGET_ENUM;
        return 0;
    default:
        return error_set(e, ERROR_BUG,
                         "reader field %s: a %s is none of the types that records of ours have",
                         t->name, avsc_kind_name(type->kind));
    }
}

static int read_targets(struct compiler *c, struct error *e)
{
    const struct avsc_type *root = &c->reader->types[c->reader->root];
    if (root->kind != AVSC_RECORD || root->count > RECORD_FIELDS_MAX)
        return error_set(e, ERROR_BUG, "the reader's schema is no record of at most %d fields",
                         RECORD_FIELDS_MAX);
    c->target_count = root->count;
    for (uint32_t f = 0; f < root->count; f++) {
        if (read_target(c, f, &c->targets[f], e))
            return -1;
    }
    return 0;
}

static const char *expectation(const struct target *t)
{
    static const char *const texts[][2] = {
        [TARGET_TEXT] = {"string or bytes", "string, bytes or null"},
        [TARGET_LONG] = {"long or int", "long, int or null"},
        [TARGET_TIMESTAMP] =
            {"long or int, plain or as timestamp-millis or timestamp-micros",
             "long, int or null, plain or as timestamp-millis or timestamp-micros"},
        [TARGET_ENUM] = {"the enum of the reader's name", "the enum of the reader's name or null"},
    };
    return texts[t->kind][t->nullable];
}

static int32_t symbol_number(const struct avsc_type *type, const char *symbol)
{
    const json_t *symbols = json_object_get(type->json, "symbols");
    for (size_t i = 0; i < json_array_size(symbols); i++) {
        if (strcmp(json_string_value(json_array_get(symbols, i)), symbol) == 0)
            return (int32_t)i;
    }
    return -1;
}

// ---- a field that both have ----

// Where the reader's numbers of a writer's symbols begin.
static uint32_t add_symbols(struct compiler *c, const struct avsc_type *writer,
                            const struct target *t)
{
    size_t number = (size_t)(writer - c->writer->types);
    uint32_t *known = &c->known_symbols[number * c->target_count + t->field];
    if (*known)
        return *known - 1;
    const json_t *symbols = json_object_get(writer->json, "symbols");
    const char *fallback = json_string_value(json_object_get(t->type->json, "default"));
    *known = c->symbol_count + 1;
    for (size_t i = 0; i < json_array_size(symbols); i++) {
        int32_t symbol = symbol_number(t->type, json_string_value(json_array_get(symbols, i)));
        if (symbol < 0 && fallback)
            symbol = symbol_number(t->type, fallback);
        c->symbols[c->symbol_count++] = symbol;
    }
    return *known - 1;
}

static int resolve_enum(struct compiler *c, const struct avsc_type *writer, const struct target *t,
                        struct plan_step *step, struct error *e)
{
    if (strcmp(writer->name, t->type->name) != 0 && !avsc_has_alias(t->type->json, writer->name))
        return error_set(e, ERROR_CONFIG, "the writer's enum is %.100s, the reader's %s",
                         writer->name, t->type->name);
    *step = (struct plan_step){
        .code = STEP_ENUM,
        .first = add_symbols(c, writer, t),
        .count = (uint32_t)json_array_size(json_object_get(writer->json, "symbols")),
    };
    return 0;
}

// A time is milliseconds, or microseconds that say so. What another logical type counts (a local
// time, nanoseconds, days) is another instant, so it is refused and not read as a plain number.
static int check_time(const struct avsc_type *writer, const struct target *t, struct error *e)
{
    bool micros = writer->logical == AVSC_TIMESTAMP_MICROS;
    if (t->kind != TARGET_TIMESTAMP ||
        !(writer->logical == AVSC_OTHER || (micros && writer->kind == AVSC_INT)))
        return 0;
    return error_set(e, ERROR_CONFIG,
                     "the writer's %s has the logical type %.64s, which says another instant; "
                     "write %s",
                     avsc_kind_name(writer->kind),
                     json_string_value(json_object_get(writer->json, "logicalType")),
                     expectation(t));
}

// Any type except a union. Logical types matter only where a time is read; -1 when it does not
// resolve.
static int resolve_plain(struct compiler *c, const struct avsc_type *writer, const struct target *t,
                         struct plan_step *step, struct error *e)
{
    bool number = t->kind == TARGET_LONG || t->kind == TARGET_TIMESTAMP;
    if (writer->kind == AVSC_ENUM && t->kind == TARGET_ENUM)
        return resolve_enum(c, writer, t, step, e);
    if ((writer->kind == AVSC_INT || writer->kind == AVSC_LONG) && check_time(writer, t, e))
        return -1;
    if (writer->kind == AVSC_NULL && t->nullable)
        step->code = STEP_NULL;
    else if (writer->kind == AVSC_INT && number)
        step->code = STEP_INT;
    else if (writer->kind == AVSC_LONG && t->kind == TARGET_TIMESTAMP &&
             writer->logical == AVSC_TIMESTAMP_MICROS)
        step->code = STEP_MICROS;
    else if (writer->kind == AVSC_LONG && number)
        step->code = STEP_LONG;
    else if ((writer->kind == AVSC_STRING || writer->kind == AVSC_BYTES) && t->kind == TARGET_TEXT)
        step->code = STEP_TEXT;
    else
        return error_set(e, ERROR_CONFIG, "the writer's %s is not read as %s; write %s",
                         avsc_kind_name(writer->kind), avsc_kind_name(t->type->kind),
                         expectation(t));
    return 0;
}

// The branch is known only when a value is read. Then a branch that does not resolve is refused,
// and a null where the reader has none is noted in the record. A union resolves when any branch
// except null does.
static int resolve_union(struct compiler *c, const struct avsc_type *writer, const struct target *t,
                         struct plan_step *step, struct error *e)
{
    bool any = false;
    *step =
        (struct plan_step){.code = STEP_UNION, .first = c->branch_count, .count = writer->count};
    c->branch_count += writer->count;
    for (uint32_t i = 0; i < writer->count; i++) {
        const struct avsc_type *type =
            &c->writer->types[c->writer->members[writer->first + i].type];
        struct plan_step *branch = &c->branches[step->first + i];
        struct error why = {0};
        *branch = (struct plan_step){.code = STEP_NULL};
        bool stray = type->kind == AVSC_NULL && !t->nullable;
        bool good = stray || resolve_plain(c, type, t, branch, &why) == 0;
        if (!good) {
            error_context(&why, "field %s", t->name);
            branch->code = STEP_REFUSED;
        }
        branch->field = t->field;
        branch->name = good ? t->name : copy_text(c, why.text);
        any = any || (good && !stray);
    }
    if (any)
        return 0;
    return error_set(e, ERROR_CONFIG, "no branch of the writer's union is read as %s; write %s",
                     avsc_kind_name(t->type->kind), expectation(t));
}

static int add_stored(struct compiler *c, const struct avsc_member *member, const struct target *t,
                      struct error *e)
{
    const struct avsc_type *type = &c->writer->types[member->type];
    struct plan_step *step = &c->steps[c->step_count++];
    *step = (struct plan_step){0};
    int rc = type->kind == AVSC_UNION ? resolve_union(c, type, t, step, e)
                                      : resolve_plain(c, type, t, step, e);
    if (rc)
        return error_context(e, "field %s", t->name);
    step->field = t->field;
    step->name = t->name;
    return 0;
}

static void add_skip(struct compiler *c, const struct avsc_member *member)
{
    if (c->writer->shapes[member->type].kind == SHAPE_EMPTY)
        return;
    c->steps[c->step_count++] = (struct plan_step){
        .code = STEP_SKIP, .first = member->type, .name = copy_text(c, member->name)};
}

// ---- a field that the writer lacks ----

static int add_default(struct compiler *c, struct record *initial, const struct target *t,
                       struct error *e)
{
    const json_t *json = json_object_get(t->member->json, "default");
    struct value *value = &initial->field[t->field];
    if (!json)
        return error_set(e, ERROR_CONFIG,
                         "field %s: the writer's record has no such field, and it has no default",
                         t->name);
    if (json_is_null(json) && t->nullable) {
        initial->nulls |= 1U << t->field;
    } else if (json_is_string(json) && t->kind == TARGET_TEXT) {
        value->data = copy_text(c, json_string_value(json));
        value->number = (int64_t)json_string_length(json);
    } else if (json_is_string(json) && t->kind == TARGET_ENUM) {
        value->number = symbol_number(t->type, json_string_value(json));
    } else if (json_is_number(json) && (t->kind == TARGET_LONG || t->kind == TARGET_TIMESTAMP)) {
        value->number = (int64_t)json_number_value(json);
    } else {
        return error_set(e, ERROR_BUG, "reader field %s: its default is of another type", t->name);
    }
    return 0;
}

// ---- records ----

static const struct avsc_member *find_field(const struct avsc *s, const struct avsc_type *record,
                                            const char *name)
{
    for (uint32_t i = 0; i < record->count; i++) {
        if (strcmp(s->members[record->first + i].name, name) == 0)
            return &s->members[record->first + i];
    }
    return NULL;
}

// The writer's field for a target: the one with its name; otherwise that of the first alias that
// exists and is not the name of another field of the reader.
static const struct avsc_member *find_source(const struct compiler *c,
                                             const struct avsc_type *record, const struct target *t)
{
    const struct avsc_member *found = find_field(c->writer, record, t->name);
    const json_t *aliases = json_object_get(t->member->json, "aliases");
    for (size_t i = 0; i < json_array_size(aliases) && !found; i++) {
        const char *alias = json_string_value(json_array_get(aliases, i));
        if (alias && !find_field(c->reader, &c->reader->types[c->reader->root], alias))
            found = find_field(c->writer, record, alias);
    }
    return found;
}

static int check_record_name(const struct compiler *c, const struct avsc_type *record,
                             struct error *e)
{
    const struct avsc_type *reader = &c->reader->types[c->reader->root];
    if (record->kind != AVSC_RECORD)
        return error_set(e, ERROR_CONFIG, "the writer's schema is of type %s, not the record %s",
                         avsc_kind_name(record->kind), reader->name);
    if (strcmp(record->name, reader->name) != 0 && !avsc_has_alias(reader->json, record->name))
        return error_set(e, ERROR_CONFIG, "the writer's record is named %.200s, the reader's %s",
                         record->name, reader->name);
    return 0;
}

static int add_record(struct compiler *c, const struct avsc_type *record, struct error *e)
{
    struct program *program = &c->programs[c->program_count++];
    *program = (struct program){.first = c->step_count};
    if (check_record_name(c, record, e))
        return -1;
    const struct avsc_member *sources[RECORD_FIELDS_MAX] = {0};
    for (uint32_t f = 0; f < c->target_count; f++) {
        sources[f] = find_source(c, record, &c->targets[f]);
        if (!sources[f] && add_default(c, &program->initial, &c->targets[f], e))
            return -1;
    }
    for (uint32_t i = 0; i < record->count; i++) {
        const struct avsc_member *member = &c->writer->members[record->first + i];
        uint32_t f = 0;
        while (f < c->target_count && sources[f] != member)
            f++;
        if (f == c->target_count)
            add_skip(c, member);
        else if (add_stored(c, member, &c->targets[f], e))
            return -1;
    }
    program->count = c->step_count - program->first;
    return 0;
}

// A union of records: a branch that does not resolve is refused when a value has it. If no branch
// resolves, the schema is refused.
static int add_union(struct compiler *c, const struct avsc_type *root, struct error *e)
{
    bool any = false;
    for (uint32_t i = 0; i < root->count; i++) {
        struct program *program = &c->programs[c->program_count];
        struct error why = {0};
        if (add_record(c, &c->writer->types[c->writer->members[root->first + i].type], &why) == 0) {
            any = true;
            continue;
        }
        c->step_count = program->first;
        c->steps[c->step_count++] =
            (struct plan_step){.code = STEP_REFUSED, .name = copy_text(c, why.text)};
        *program = (struct program){.first = program->first, .count = 1};
        if (e)
            *e = why;
    }
    if (any)
        return 0;
    if (root->count == 0)
        return error_set(e, ERROR_CONFIG, "the writer's schema is an empty union");
    return error_context(e, "no branch of the writer's union resolves");
}

// ---- the plan ----

static uint32_t count_symbols(const struct avsc *schema)
{
    size_t count = 0;
    for (uint32_t i = 0; i < schema->type_count; i++)
        count += json_array_size(json_object_get(schema->types[i].json, "symbols"));
    return (uint32_t)count;
}

static size_t count_enum_targets(const struct compiler *c)
{
    size_t count = 0;
    for (uint32_t f = 0; f < c->target_count; f++)
        count += c->targets[f].kind == TARGET_ENUM;
    return count;
}

static void *copy_array(struct arena *arena, const void *from, size_t count, size_t size)
{
    void *to = arena_alloc(arena, count * size);
    if (count > 0)
        memcpy(to, from, count * size);
    return to;
}

// Asserts what the decoder relies on, because the decoder checks only the bounds of the body.
static void check_step(const struct compiler *c, const struct plan_step *step)
{
    assert(step->name);
    assert(step->field < RECORD_FIELDS_MAX);
    switch (step->code) {
    case STEP_ENUM:
        assert(step->count <= c->symbol_count);
        assert(step->first <= c->symbol_count - step->count);
        break;
    case STEP_UNION:
        assert(step->count <= c->branch_count);
        assert(step->first <= c->branch_count - step->count);
        break;
    case STEP_SKIP:
        assert(step->first < c->writer->type_count);
        assert(c->writer->shapes[step->first].kind != SHAPE_EMPTY);
        break;
    default:
        assert(step->code <= STEP_REFUSED);
        break;
    }
}

static void check_program(const struct compiler *c)
{
    for (uint32_t p = 0; p < c->program_count; p++) {
        assert(c->programs[p].count <= c->step_count);
        assert(c->programs[p].first <= c->step_count - c->programs[p].count);
    }
    for (uint32_t i = 0; i < c->step_count; i++)
        check_step(c, &c->steps[i]);
    for (uint32_t i = 0; i < c->branch_count; i++) {
        assert(c->branches[i].code != STEP_UNION); // none directly in another
        assert(c->branches[i].code != STEP_SKIP);
        check_step(c, &c->branches[i]);
    }
    for (uint32_t i = 0; i < c->symbol_count; i++)
        assert(c->symbols[i] >= -1);
}

static struct plan *finish_plan(struct compiler *c)
{
    check_program(c);
    const struct avsc *w = c->writer;
    struct plan *plan = arena_alloc(c->arena, sizeof *plan);
    *plan = (struct plan){
        .arena = c->arena,
        .is_union = w->types[w->root].kind == AVSC_UNION,
        .program_count = c->program_count,
        .programs = c->programs,
        .steps = c->steps,
        .branches = c->branches,
        .symbols = c->symbols,
        .shapes = {.shape = copy_array(c->arena, w->shapes, w->type_count, sizeof *w->shapes),
                   .link = copy_array(c->arena, w->links, w->member_count, sizeof *w->links)},
    };
    return plan;
}

static int compile(struct compiler *c, struct error *e)
{
    const struct avsc *w = c->writer;
    const struct avsc_type *root = &w->types[w->root];
    // A step for each field, or one for a refused record; a branch for each branch; a number for
    // each symbol and each field of the reader that takes its enum.
    size_t members = w->member_count + 1, programs = root->kind == AVSC_UNION ? root->count : 1;
    c->programs = arena_alloc(c->arena, programs * sizeof *c->programs);
    c->steps = arena_alloc(c->arena, (members + programs) * sizeof *c->steps);
    c->branches = arena_alloc(c->arena, members * sizeof *c->branches);
    size_t symbols = (size_t)count_symbols(w) * count_enum_targets(c);
    c->symbols = arena_alloc(c->arena, symbols * sizeof *c->symbols);
    c->known_symbols = calloc((size_t)w->type_count * c->target_count + 1, sizeof(uint32_t));
    if (!c->known_symbols)
        abort();
    int rc = root->kind == AVSC_UNION ? add_union(c, root, e) : add_record(c, root, e);
    assert(c->program_count <= programs);
    assert(c->step_count <= members + programs);
    assert(c->branch_count <= members);
    assert(c->symbol_count <= symbols);
    free(c->known_symbols);
    return rc;
}

int plan_compile_schemas(const char *reader_json, size_t reader_size, const char *writer_json,
                         size_t writer_size, struct plan **out, struct error *e)
{
    struct avsc *reader = NULL, *writer = NULL;
    struct compiler c = {.arena = arena_create()};
    if (!c.arena)
        abort();
    int rc = avsc_parse(reader_json, reader_size, &reader, e);
    c.reader = reader;
    if (rc == 0)
        rc = read_targets(&c, e);
    if (rc == 0)
        rc = avsc_parse(writer_json, writer_size, &writer, e);
    c.writer = writer;
    if (rc == 0)
        rc = compile(&c, e);
    if (rc == 0)
        *out = finish_plan(&c);
    else
        arena_destroy(c.arena);
    avsc_free(writer);
    avsc_free(reader);
    return rc;
}

int plan_compile(enum input input, const char *writer_json, size_t size, struct plan **out,
                 struct error *e)
{
    static const char *const names[] = {
        [INPUT_CALLS] = "CallRecord.avsc",
        [INPUT_PURCHASES] = "PackagePurchase.avsc",
        [INPUT_CREDITS] = "AccountCredit.avsc",
    };
    const struct embedded *reader = embedded_avro;
    while (reader->name && strcmp(reader->name, names[input]) != 0)
        reader++;
    assert(reader->name);
    return plan_compile_schemas(reader->text, reader->size, writer_json, size, out, e);
}

void plan_destroy(struct plan *plan)
{
    if (plan)
        arena_destroy(plan->arena);
}
