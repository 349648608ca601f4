#include "consumer/config/config_table.h"

#include "consumer/config/book_file.h"
#include "consumer/system/file.h"
#include "pricing/nearest.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

enum {
    CONFIG_FILE_MAX = 1 << 20,
    SECRET_FILE_MAX = 1 << 16,
    KEYS_MAX = 64,
    WHERE_SIZE = 512,
    NAME_SIZE = 128
};

extern char **environ;

// Where a key was set, for messages; WHERE_SIZE texts are "FILE:LINE:COLUMN", "environment NAME" or
// "-X NAME".
struct origin {
    bool file, environment;
    char where[WHERE_SIZE];
};

struct loader {
    struct config *config;
    struct error *e;
    bool unread; // the file could not be understood, so nothing else is checked
    struct origin origins[KEYS_MAX];
};

// Mistakes gather in *e, one a line, as far as there is room.
static void complain(struct loader *l, const char *where, const char *name, const char *reason)
{
    char *text = l->e->text;
    size_t used = l->e->kind == ERROR_NONE ? 0 : strlen(text);
    l->e->kind = ERROR_CONFIG;
    snprintf(text + used, ERROR_TEXT_SIZE - used, "%s%s%s%s: %s", used ? "\n" : "", where,
             name ? ": " : "", name ? name : "", reason);
}

static void full_name(const struct config_key *key, char out[NAME_SIZE])
{
    snprintf(out, NAME_SIZE, "%s.%s", key->section, key->name);
}

static void complain_key(struct loader *l, const struct config_key *key, const char *reason)
{
    char name[NAME_SIZE];
    full_name(key, name);
    assert((size_t)(key - config_keys) < config_key_count);
    const struct origin *origin = &l->origins[key - config_keys];
    complain(l, origin->where[0] ? origin->where : l->config->file, name, reason);
}

static const struct config_key *find_key(const char *section, const char *name)
{
    for (const struct config_key *k = config_keys; k->name; k++)
        if (strcmp(k->section, section) == 0 && strcmp(k->name, name) == 0)
            return k;
    return NULL;
}

static bool is_section(const char *name)
{
    for (const struct config_key *k = config_keys; k->name; k++)
        if (strcmp(k->section, name) == 0)
            return true;
    return false;
}

// "unknown key; did you mean NEAR?", or the list of what is known: keys of a section, or the
// sections.
static void complain_unknown(struct loader *l, const char *where, const char *section,
                             const char *name)
{
    const char *names[KEYS_MAX] = {NULL};
    char reason[512], shown[NAME_SIZE];
    size_t count = 0;
    for (const struct config_key *k = config_keys; k->name; k++) {
        if (section && strcmp(k->section, section) == 0)
            names[count++] = k->name;
        if (!section && (count == 0 || strcmp(names[count - 1], k->section) != 0))
            names[count++] = k->section;
    }
    const char *near = nearest(name, names, count);
    const char *what = section ? "key" : "section";
    if (near) {
        snprintf(reason, sizeof reason, "unknown %s; did you mean %s?", what, near);
    } else {
        size_t used = (size_t)snprintf(reason, sizeof reason, "unknown %s; known are", what);
        for (size_t i = 0; i < count; i++)
            used += (size_t)snprintf(reason + used, sizeof reason - used, "%s %s", i ? "," : "",
                                     names[i]);
    }
    snprintf(shown, sizeof shown, "%s%s%.80s", section ? section : "", section ? "." : "", name);
    complain(l, where, shown, reason);
}

// A secret came from this file; others should not read it.
static void note_secret(struct loader *l, const char *path)
{
    struct config *config = l->config;
    for (size_t i = 0; i < config->secret_file_count; i++)
        if (strcmp(config->secret_files[i], path) == 0)
            return;
    if (config->secret_file_count == CONFIG_SECRET_FILES_MAX)
        return;
    char *copy = strdup(path);
    if (!copy)
        abort(); // out of memory
    config->secret_files[config->secret_file_count++] = copy;
}

// ---- the file ----

struct config_source {
    struct loader *l;
    yaml_document_t document;
};

static void node_place(const struct config_source *s, const yaml_node_t *node, char out[WHERE_SIZE])
{
    snprintf(out, WHERE_SIZE, "%s:%zu:%zu", s->l->config->file, node->start_mark.line + 1,
             node->start_mark.column + 1);
}

static yaml_node_t *get_node(struct config_source *s, int id)
{
    return yaml_document_get_node(&s->document, id);
}

static const char *scalar_text(const yaml_node_t *node)
{
    return (const char *)node->data.scalar.value;
}

static bool is_null(const yaml_node_t *node)
{
    static const char *const nulls[] = {"", "~", "null", "Null", "NULL"};
    if (node->type != YAML_SCALAR_NODE || node->data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
        return false;
    for (size_t i = 0; i < sizeof nulls / sizeof *nulls; i++)
        if (strcmp(scalar_text(node), nulls[i]) == 0)
            return true;
    return false;
}

// Why a node is not the text of a value; NULL when it is.
static const char *check_scalar(const yaml_node_t *node)
{
    if (node->type != YAML_SCALAR_NODE)
        return "is not a single value";
    if (is_null(node))
        return "has no value";
    if (strlen(scalar_text(node)) != node->data.scalar.length)
        return "holds a NUL character";
    return NULL;
}

// Whether a mapping's key is a scalar and occurs for the first time; reports it otherwise.
static bool check_map_key(struct config_source *s, const yaml_node_t *map,
                          const yaml_node_pair_t *pair, const char *prefix)
{
    char where[WHERE_SIZE], name[NAME_SIZE];
    const yaml_node_t *key = get_node(s, pair->key);
    node_place(s, key, where);
    if (key->type != YAML_SCALAR_NODE) {
        complain(s->l, where, NULL, "a key must be a plain word");
        return false;
    }
    for (const yaml_node_pair_t *p = map->data.mapping.pairs.start; p < pair; p++) {
        const yaml_node_t *other = get_node(s, p->key);
        if (other->type != YAML_SCALAR_NODE || strcmp(scalar_text(other), scalar_text(key)) != 0)
            continue;
        snprintf(name, sizeof name, "%s%.80s", prefix, scalar_text(key));
        complain(s->l, where, name, "is given here a second time");
        return false;
    }
    return true;
}

static void read_properties(struct config_source *s, const yaml_node_t *map)
{
    char where[WHERE_SIZE], name[NAME_SIZE], why[WHY_SIZE];
    for (const yaml_node_pair_t *p = map->data.mapping.pairs.start; p < map->data.mapping.pairs.top;
         p++) {
        if (!check_map_key(s, map, p, "kafka.properties."))
            continue;
        const char *property = scalar_text(get_node(s, p->key));
        const yaml_node_t *value = get_node(s, p->value);
        const char *refused = check_scalar(value);
        if (!refused)
            refused = config_set_property(s->l->config, property, scalar_text(value), why);
        if (!refused && config_property_is_secret(property))
            note_secret(s->l, s->l->config->file);
        if (!refused && config_property_names_secret(property))
            note_secret(s->l, scalar_text(value));
        if (!refused)
            continue;
        node_place(s, get_node(s, p->key), where);
        snprintf(name, sizeof name, "kafka.properties.%.80s", property);
        complain(s->l, where, name, refused);
    }
}

static void read_list(struct config_source *s, const struct config_key *key,
                      const yaml_node_t *list)
{
    char why[WHY_SIZE];
    config_clear(s->l->config, key);
    if (key->kind != VALUE_THRESHOLDS &&
        list->data.sequence.items.start == list->data.sequence.items.top)
        complain_key(s->l, key, "is an empty list");
    for (const yaml_node_item_t *i = list->data.sequence.items.start;
         i < list->data.sequence.items.top; i++) {
        const yaml_node_t *item = get_node(s, *i);
        const char *refused = check_scalar(item);
        if (!refused)
            refused = config_add(s->l->config, key, scalar_text(item), why);
        node_place(s, item, s->l->origins[key - config_keys].where);
        if (!refused && config_holds_secret(key, scalar_text(item)))
            note_secret(s->l, s->l->config->file);
        if (refused)
            complain_key(s->l, key, refused);
    }
}

static void read_key(struct config_source *s, const struct config_key *key,
                     const yaml_node_t *value)
{
    char why[WHY_SIZE];
    struct origin *origin = &s->l->origins[key - config_keys];
    origin->file = true;
    node_place(s, value, origin->where);
    if (key->kind == VALUE_PROPERTIES && value->type == YAML_MAPPING_NODE) {
        read_properties(s, value);
    } else if ((key->kind == VALUE_DSNS || key->kind == VALUE_URLS ||
                key->kind == VALUE_THRESHOLDS) &&
               value->type == YAML_SEQUENCE_NODE) {
        read_list(s, key, value);
    } else {
        const char *refused = check_scalar(value);
        if (!refused)
            refused = config_set(s->l->config, key, scalar_text(value), why);
        if (!refused && config_holds_secret(key, scalar_text(value)))
            note_secret(s->l, s->l->config->file);
        if (refused)
            complain_key(s->l, key, refused);
    }
}

static void read_section(struct config_source *s, const char *section, const yaml_node_t *map)
{
    char where[WHERE_SIZE], prefix[NAME_SIZE];
    node_place(s, map, where);
    if (is_null(map))
        return;
    if (map->type != YAML_MAPPING_NODE) {
        complain(s->l, where, section, "is not a map of keys");
        return;
    }
    snprintf(prefix, sizeof prefix, "%s.", section);
    for (const yaml_node_pair_t *p = map->data.mapping.pairs.start; p < map->data.mapping.pairs.top;
         p++) {
        if (!check_map_key(s, map, p, prefix))
            continue;
        const yaml_node_t *name = get_node(s, p->key);
        const struct config_key *key = find_key(section, scalar_text(name));
        node_place(s, name, where);
        if (key)
            read_key(s, key, get_node(s, p->value));
        else
            complain_unknown(s->l, where, section, scalar_text(name));
    }
}

static void read_document(struct config_source *s)
{
    char where[WHERE_SIZE];
    const yaml_node_t *root = yaml_document_get_root_node(&s->document);
    if (!root || is_null(root))
        return;
    node_place(s, root, where);
    if (root->type != YAML_MAPPING_NODE) {
        complain(s->l, where, NULL, "is not a map of sections");
        s->l->unread = true;
        return;
    }
    for (const yaml_node_pair_t *p = root->data.mapping.pairs.start;
         p < root->data.mapping.pairs.top; p++) {
        if (!check_map_key(s, root, p, ""))
            continue;
        const yaml_node_t *name = get_node(s, p->key);
        node_place(s, name, where);
        if (is_section(scalar_text(name)))
            read_section(s, scalar_text(name), get_node(s, p->value));
        else
            complain_unknown(s->l, where, NULL, scalar_text(name));
    }
}

static void complain_yaml(struct loader *l, const yaml_parser_t *parser)
{
    char where[WHERE_SIZE], reason[WHERE_SIZE];
    snprintf(where, sizeof where, "%s:%zu:%zu", l->config->file, parser->problem_mark.line + 1,
             parser->problem_mark.column + 1);
    snprintf(reason, sizeof reason, "not YAML: %s%s%s", parser->context ? parser->context : "",
             parser->context ? ", " : "", parser->problem ? parser->problem : "unreadable");
    complain(l, where, NULL, reason);
    l->unread = true;
}

static void read_text(struct loader *l, const char *text, size_t size)
{
    yaml_parser_t parser;
    struct config_source s = {.l = l};
    if (!yaml_parser_initialize(&parser))
        abort(); // out of memory
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, size);
    if (yaml_parser_load(&parser, &s.document)) {
        read_document(&s);
        yaml_document_delete(&s.document);
        if (!yaml_parser_load(&parser, &s.document)) {
            complain_yaml(l, &parser);
        } else {
            const yaml_node_t *root = yaml_document_get_root_node(&s.document);
            char where[WHERE_SIZE];
            if (root) {
                node_place(&s, root, where);
                complain(l, where, NULL, "a second document begins; one is read");
            }
            yaml_document_delete(&s.document);
        }
    } else {
        complain_yaml(l, &parser);
    }
    yaml_parser_delete(&parser);
}

// ---- the environment ----

static void environment_name(const struct config_key *key, char out[NAME_SIZE])
{
    snprintf(out, NAME_SIZE, "SETTLED_%s_%s", key->section, key->name);
    for (char *c = out; *c; c++)
        *c = (char)toupper((unsigned char)*c);
}

// The contents of the file that a SETTLED_..._FILE variable names, without the newline at its end.
static char *read_secret(struct loader *l, const char *where, const char *path)
{
    size_t size;
    struct error e;
    char *text = file_read(path, SECRET_FILE_MAX, &size, &e);
    if (!text) {
        complain(l, where, NULL, e.text);
        return NULL;
    }
    if (size && text[size - 1] == '\n')
        text[--size] = 0;
    if (strlen(text) == size)
        return text;
    complain(l, where, NULL, "the file holds a NUL character");
    free(text);
    return NULL;
}

static void set_from_environment(struct loader *l, const struct config_key *key,
                                 const char *variable, const char *value, bool is_file)
{
    char why[WHY_SIZE];
    struct origin *origin = &l->origins[key - config_keys];
    bool twice = origin->environment;
    origin->environment = true;
    snprintf(origin->where, sizeof origin->where, "environment %s", variable);
    if (twice) {
        complain_key(l, key, "set twice, by the variable and by its _FILE; keep one");
        return;
    }
    char *text = is_file ? read_secret(l, origin->where, value) : strdup(value);
    if (!text)
        return;
    const char *refused = config_set(l->config, key, text, why);
    if (refused)
        complain_key(l, key, refused);
    else if (is_file && config_holds_secret(key, text))
        note_secret(l, value);
    free(text);
}

// SETTLED_KAFKA_PROPERTIES_SASL_PASSWORD[_FILE] is sasl.password.
static void set_property_from_environment(struct loader *l, const char *variable, const char *value)
{
    char where[WHERE_SIZE], name[NAME_SIZE], why[WHY_SIZE], shown[2 * NAME_SIZE];
    snprintf(where, sizeof where, "environment %s", variable);
    snprintf(name, sizeof name, "%s", variable + strlen("SETTLED_KAFKA_PROPERTIES_"));
    char *suffix = strlen(name) > 5 ? name + strlen(name) - 5 : NULL;
    bool is_file = suffix && strcmp(suffix, "_FILE") == 0;
    if (is_file)
        *suffix = 0;
    for (char *c = name; *c; c++)
        *c = *c == '_' ? '.' : (char)tolower((unsigned char)*c);
    char *text = is_file ? read_secret(l, where, value) : strdup(value);
    if (!text)
        return;
    const char *refused = config_set_property(l->config, name, text, why);
    snprintf(shown, sizeof shown, "kafka.properties.%s", name);
    if (refused)
        complain(l, where, shown, refused);
    else if (is_file && config_property_is_secret(name))
        note_secret(l, value);
    free(text);
}

static void complain_unknown_variable(struct loader *l, const char *variable)
{
    char names[KEYS_MAX][NAME_SIZE];
    const char *list[KEYS_MAX];
    char where[WHERE_SIZE], reason[WHERE_SIZE];
    for (size_t i = 0; i < config_key_count; i++) {
        environment_name(&config_keys[i], names[i]);
        list[i] = names[i];
    }
    const char *near = nearest(variable, list, config_key_count);
    snprintf(where, sizeof where, "environment %s", variable);
    snprintf(reason, sizeof reason, near ? "names no key; did you mean %s?" : "names no key", near);
    complain(l, where, NULL, reason);
}

// Only names that begin with SETTLED_ and a section are ours; others may belong to somebody else.
static bool names_section(const char *variable)
{
    char prefix[NAME_SIZE];
    for (const struct config_key *k = config_keys; k->name; k++) {
        environment_name(k, prefix);
        if (strncmp(variable, prefix, strlen(prefix) - strlen(k->name)) == 0)
            return true;
    }
    return false;
}

static void read_variable(struct loader *l, const char *variable, const char *value)
{
    static const char properties[] = "SETTLED_KAFKA_PROPERTIES_";
    char name[NAME_SIZE];
    for (const struct config_key *k = config_keys; k->name; k++) {
        environment_name(k, name);
        size_t size = strlen(name);
        if (strncmp(variable, name, size) != 0)
            continue;
        bool is_file = strcmp(variable + size, "_FILE") == 0;
        if (!is_file && variable[size])
            continue;
        set_from_environment(l, k, variable, value, is_file);
        return;
    }
    if (strncmp(variable, properties, sizeof properties - 1) == 0)
        set_property_from_environment(l, variable, value);
    else if (names_section(variable))
        complain_unknown_variable(l, variable);
}

static void read_environment(struct loader *l)
{
    for (char **entry = environ; *entry; entry++) {
        char name[NAME_SIZE];
        size_t size = strcspn(*entry, "=");
        if (strncmp(*entry, "SETTLED_", 8) != 0 || !(*entry)[size] || size >= sizeof name)
            continue;
        snprintf(name, sizeof name, "%.*s", (int)size, *entry);
        read_variable(l, name, *entry + size + 1);
    }
}

// ---- the command line ----

static void read_override(struct loader *l, const char *text)
{
    char name[NAME_SIZE], where[WHERE_SIZE], why[WHY_SIZE];
    size_t size = strcspn(text, "=");
    snprintf(name, sizeof name, "%.*s", (int)(size < sizeof name ? size : sizeof name - 1), text);
    snprintf(where, sizeof where, "-X %s", name);
    const char *refused = NULL;
    if (!text[size] || size == 0)
        refused = "is not KEY=VALUE";
    else if (config_property_is_secret(name))
        refused = "refused: every user of the machine can read command lines; use the file or the "
                  "environment";
    else
        refused = config_set_property(l->config, name, text + size + 1, why);
    if (refused)
        complain(l, where, NULL, refused);
}

// ---- conditions between keys ----

static const struct config_key *key_of(const char *section, const char *name)
{
    const struct config_key *key = find_key(section, name);
    assert(key);
    return key;
}

static void check_topics_differ(struct loader *l)
{
    const struct config_key *names[INPUT_COUNT + OUTPUT_COUNT];
    const char *topics[INPUT_COUNT + OUTPUT_COUNT];
    size_t count = 0;
    for (const struct config_key *k = config_keys; k->name; k++) {
        if (k->kind != VALUE_TOPIC)
            continue;
        assert(count < INPUT_COUNT + OUTPUT_COUNT);
        memcpy(&topics[count], (const char *)l->config + k->offset, sizeof *topics);
        names[count] = k;
        for (size_t i = 0; i < count; i++) {
            char reason[WHY_SIZE];
            if (strcmp(topics[i], topics[count]) != 0)
                continue;
            snprintf(reason, sizeof reason, "is the topic of topics.%s too; each needs its own",
                     names[i]->name);
            complain_key(l, k, reason);
        }
        count++;
    }
}

static void check_registry(struct loader *l)
{
    const struct config_key *urls = key_of("schemas", "registry"),
                            *directory = key_of("schemas", "directory");
    struct registry_options *r = &l->config->registry;
    const struct origin *set = &l->origins[urls - config_keys];
    if (r->directory && (set->file || set->environment))
        complain_key(l, directory, "is set together with schemas.registry; keep one of them");
    else if (r->directory)
        config_clear(l->config, urls);
    if (r->password && !r->user)
        complain_key(l, key_of("schemas", "password"), "is set without schemas.user");
}

static void check_together(struct loader *l)
{
    const struct parameters *p = &l->config->parameters;
    for (const struct config_key *k = config_keys; k->name; k++) {
        const struct origin *origin = &l->origins[k - config_keys];
        char reason[WHY_SIZE];
        if (!k->required || origin->file || origin->environment)
            continue;
        snprintf(reason, sizeof reason, "is missing; write for example %s", k->example);
        complain_key(l, k, reason);
    }
    check_topics_differ(l);
    check_registry(l);
    if (p->grace_ms + p->future_tolerance_ms >= DAY_MS)
        complain_key(l, key_of("billing", "grace"),
                     "together with billing.future_tolerance is 24 h or more; a replay could not "
                     "find the first call "
                     "of a day; make one smaller");
}

static void set_defaults(struct loader *l)
{
    char why[WHY_SIZE];
    for (const struct config_key *k = config_keys; k->name; k++) {
        if (!k->text || k->kind == VALUE_PROPERTIES)
            continue;
        const char *refused = config_set(l->config, k, k->text, why);
        assert(!refused);
        (void)refused;
    }
}

int config_load(const char *file, size_t override_count, const char *const *overrides,
                struct config *out, struct error *e)
{
    struct error ignored;
    assert(config_key_count <= KEYS_MAX);
    config_table_check();
    *out = (struct config){.first_day = DAY_NONE, .parameters = {.from_day = DAY_NONE}};
    out->file = strdup(file);
    struct loader *l = calloc(1, sizeof *l);
    if (!l || !out->file) {
        free(l);
        return error_set(e, ERROR_RESTART, "out of memory");
    }
    *l = (struct loader){.config = out, .e = e ? e : &ignored};
    *l->e = (struct error){0};
    set_defaults(l);
    size_t size;
    struct error unreadable;
    char *text = file_read(file, CONFIG_FILE_MAX, &size, &unreadable);
    if (text) {
        read_text(l, text, size);
        read_environment(l);
        for (size_t i = 0; i < override_count; i++)
            read_override(l, overrides[i]);
        if (!l->unread)
            check_together(l);
    } else {
        *l->e = unreadable;
    }
    free(text);
    int status = l->e->kind == ERROR_NONE ? 0 : -1;
    free(l);
    return status;
}

void config_free(struct config *config)
{
    for (const struct config_key *k = config_keys; k->name; k++)
        config_clear(config, k);
    for (size_t i = 0; i < config->secret_file_count; i++)
        free(config->secret_files[i]);
    free(config->file);
    *config = (struct config){0};
}

int config_read_book(const struct config *config, struct book *out, char **text, size_t *size,
                     struct error *e)
{
    return book_load(config->book, out, text, size, e);
}
