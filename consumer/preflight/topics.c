#include "consumer/preflight/topics.h"

#include "consumer/config/config_table.h"
#include "consumer/system/file.h"
#include "pricing/nearest.h"
#include "schemas/embedded.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

enum { DECLARATION_MAX = 1 << 20, REPLICAS_MAX = 1000, PARTITIONS_MAX = 10000 };

struct declaring {
    const char *file;
    yaml_document_t document;
    struct declaration *out;
    struct error *e;
};

static int complain(struct declaring *d, const yaml_node_t *node, const char *name,
                    const char *reason)
{
    return error_set(d->e, ERROR_CONFIG, "%s:%zu:%zu: %s%s%s", d->file, node->start_mark.line + 1,
                     node->start_mark.column + 1, name, *name ? ": " : "", reason);
}

static const char *text_of(const yaml_node_t *node)
{
    return node->type == YAML_SCALAR_NODE ? (const char *)node->data.scalar.value : NULL;
}

static int read_number(struct declaring *d, const yaml_node_t *node, const char *name, long max,
                       long *out)
{
    const char *text = text_of(node);
    char *end;
    long number = text ? strtol(text, &end, 10) : 0;
    if (!text || end == text || *end || number > max || number < -1 || number == 0)
        return complain(d, node, name, "is no such number");
    *out = number;
    return 0;
}

static void wish(struct topic_wish *topic, const char *name, const char *value, bool optional)
{
    size_t i = 0;
    while (i < topic->count && strcmp(topic->settings[i].name, name) != 0)
        i++;
    if (i == TOPIC_SETTINGS_MAX)
        return; // refused before, by read_scope
    struct topic_setting *setting = &topic->settings[i];
    assert(strlen(name) < sizeof setting->name);
    assert(strlen(value) < sizeof setting->value);
    snprintf(setting->name, sizeof setting->name, "%s", name);
    snprintf(setting->value, sizeof setting->value, "%s", value);
    setting->optional = optional;
    if (i == topic->count)
        topic->count++;
}

static bool in_scope(const struct topic_wish *topic, const char *scope)
{
    return strcmp(scope, "every") == 0 ||
           strcmp(scope, topic->is_input ? "inputs" : "outputs") == 0 ||
           strcmp(scope, topic->key) == 0;
}

static int read_scope(struct declaring *d, const char *scope, const yaml_node_t *map)
{
    if (map->type != YAML_MAPPING_NODE)
        return complain(d, map, scope, "is not a map of settings");
    const yaml_node_pair_t *pairs = map->data.mapping.pairs.start,
                           *end = map->data.mapping.pairs.top;
    if (end - pairs > TOPIC_SETTINGS_MAX / 4)
        return complain(d, map, scope, "has too many settings");
    for (; pairs < end; pairs++) {
        const yaml_node_t *key = yaml_document_get_node(&d->document, pairs->key);
        const yaml_node_t *value = yaml_document_get_node(&d->document, pairs->value);
        const char *name = text_of(key), *text = text_of(value);
        if (!name || !text || !*text || strlen(name) >= sizeof d->out->topics->settings->name ||
            strlen(text) >= sizeof d->out->topics->settings->value)
            return complain(d, key, name ? name : scope, "is not a setting with one short value");
        if (strcmp(name, "message.timestamp.type") == 0)
            return complain(d, key, name,
                            "follows billing.timestamps of the configuration; take it out");
        for (size_t i = 0; i < TOPIC_COUNT; i++)
            if (in_scope(&d->out->topics[i], scope))
                wish(&d->out->topics[i], name, text, false);
    }
    return 0;
}

static const char *const scopes[] = {"every",      "inputs",  "outputs",     "calls",
                                     "purchases",  "credits", "settlements", "status",
                                     "day_closes", "rejects", "notices",     "statements"};
enum { SCOPES = sizeof scopes / sizeof *scopes };
static_assert(SCOPES == TOPIC_COUNT + 3, "each topic is a scope, behind those of several");

static int read_entry(struct declaring *d, const yaml_node_t *key, const yaml_node_t *value)
{
    const char *name = text_of(key);
    long number;
    if (!name)
        return complain(d, key, "", "a key must be a plain word");
    if (strcmp(name, "partitions") == 0) {
        if (read_number(d, value, name, PARTITIONS_MAX, &number))
            return -1;
        if (number < 1)
            return complain(d, value, name, "is no such number");
        d->out->partitions = (int32_t)number;
        return 0;
    }
    if (strcmp(name, "replication_factor") == 0) {
        if (read_number(d, value, name, REPLICAS_MAX, &number))
            return -1;
        d->out->replicas = (int)number;
        return 0;
    }
    for (size_t i = 0; i < SCOPES; i++)
        if (strcmp(scopes[i], name) == 0)
            return 0; // read later, in the order of scopes
    char reason[128];
    const char *near = nearest(name, scopes, SCOPES);
    snprintf(reason, sizeof reason, "unknown key%s%s%s", near ? "; did you mean " : "",
             near ? near : "", near ? "?" : "");
    return complain(d, key, name, reason);
}

static int read_root(struct declaring *d)
{
    const yaml_node_t *root = yaml_document_get_root_node(&d->document);
    if (!root || root->type != YAML_MAPPING_NODE)
        return error_set(d->e, ERROR_CONFIG, "%s: is not a map of topics", d->file);
    const yaml_node_pair_t *begin = root->data.mapping.pairs.start,
                           *end = root->data.mapping.pairs.top;
    for (const yaml_node_pair_t *p = begin; p < end; p++)
        if (read_entry(d, yaml_document_get_node(&d->document, p->key),
                       yaml_document_get_node(&d->document, p->value)))
            return -1;
    for (size_t i = 0; i < SCOPES; i++)
        for (const yaml_node_pair_t *p = begin; p < end; p++) {
            const char *name = text_of(yaml_document_get_node(&d->document, p->key));
            if (strcmp(name, scopes[i]) != 0)
                continue;
            if (read_scope(d, name, yaml_document_get_node(&d->document, p->value)))
                return -1;
        }
    if (d->out->partitions == 0)
        return complain(d, root, "partitions", "is missing");
    return 0;
}

static int parse(struct declaring *d, const char *text, size_t size)
{
    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser))
        abort(); // out of memory
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, size);
    int status;
    if (yaml_parser_load(&parser, &d->document)) {
        status = read_root(d);
        yaml_document_delete(&d->document);
    } else {
        status = error_set(d->e, ERROR_CONFIG, "%s:%zu:%zu: not YAML: %s", d->file,
                           parser.problem_mark.line + 1, parser.problem_mark.column + 1,
                           parser.problem ? parser.problem : "unreadable");
    }
    yaml_parser_delete(&parser);
    return status;
}

// Settings that follow from the configuration. Producers' own timestamps may have any value, so
// neither the broker's bounds nor retention, which counts from the timestamps, may remove such
// records.
static void wish_timestamps(struct topic_wish *topic, enum timestamps timestamps)
{
    bool create = timestamps == TIMESTAMPS_CREATE;
    wish(topic, "message.timestamp.type", create ? "CreateTime" : "LogAppendTime", false);
    if (!create)
        return;
    wish(topic, "retention.ms", "-1", false);
    wish(topic, "message.timestamp.before.max.ms", "9223372036854775807", true);
    wish(topic, "message.timestamp.after.max.ms", "9223372036854775807", true);
}

int topics_declare(const char *file, const struct config *config, struct declaration *out,
                   struct error *e)
{
    *out = (struct declaration){.replicas = -1};
    for (size_t i = 0; i < TOPIC_COUNT; i++)
        out->topics[i] = (struct topic_wish){
            .key = scopes[SCOPES - TOPIC_COUNT + i],
            .name =
                i < INPUT_COUNT ? config->input_topics[i] : config->output_topics[i - INPUT_COUNT],
            .is_input = i < INPUT_COUNT,
        };
    struct declaring d = {.file = file ? file : embedded_topics->name, .out = out, .e = e};
    char *text = NULL;
    size_t size = embedded_topics->size;
    if (file && !(text = file_read(file, DECLARATION_MAX, &size, e)))
        return -1;
    int status = parse(&d, text ? text : embedded_topics->text, size);
    free(text);
    for (size_t i = 0; status == 0 && i < INPUT_COUNT; i++)
        wish_timestamps(&out->topics[i], config->timestamps);
    return status;
}
