#include "consumer/cli/verb.h"

#include <string.h>

const struct option_spec verb_config_options[] = {
    {"config", 'c', "FILE",
     "configuration file (YAML); SETTLED_SECTION_KEY in the environment wins over it"},
    {"property", 'X', "KEY=VALUE",
     "librdkafka property, as often as needed; wins over kafka.properties"},
    {NULL, 0, NULL, NULL},
};

const struct option_spec verb_common_options[] = {
    {"help", 'h', NULL, "show this help"},
    {NULL, 0, NULL, NULL},
};

const struct verb *verb_find(const struct verb *verbs, const char *name)
{
    for (const struct verb *v = verbs; v->name; v++)
        if (strcmp(v->name, name) == 0)
            return v;
    return NULL;
}

bool verb_next_choice(const char **cursor, const char **choice, size_t *size)
{
    if (!**cursor)
        return false;
    *choice = *cursor;
    *size = strcspn(*cursor, "|");
    *cursor += *size;
    if (**cursor == '|')
        (*cursor)++;
    return true;
}
