#include "consumer/cli/args_config.h"
#include "consumer/cli/cli_fail.h"
#include "consumer/commands/commands.h"
#include "consumer/config/config.h"

#include <inttypes.h>
#include <stdio.h>

// The subject follows TopicNameStrategy. The compatibility level is set first, so that it applies
// to every schema.
static int register_schema(struct registry *registry, const char *topic, const char *text,
                           const char *level, struct error *e)
{
    char subject[256 + 8];
    int64_t id;
    snprintf(subject, sizeof subject, "%s-value", topic);
    if (level && registry_set_compatibility(registry, subject, level, e))
        return -1;
    if (registry_register(registry, subject, text, &id, e))
        return -1;
    printf("%s\t%" PRId64 "\n", subject, id);
    return 0;
}

// The inputs belong to their producers: their subjects keep the level they have.
static int register_all(struct registry *registry, const struct config *config, struct error *e)
{
    for (enum input i = 0; i < INPUT_COUNT; i++)
        if (register_schema(registry, config->input_topics[i], schema_of_input(i), NULL, e))
            return -1;
    for (enum output o = 0; o < OUTPUT_COUNT; o++)
        if (register_schema(registry, config->output_topics[o], schema_of_output(o),
                            "FULL_TRANSITIVE", e))
            return -1;
    return 0;
}

int cmd_schemas(const struct args *args)
{
    struct config config;
    struct error e = {0};
    struct registry *registry = NULL;
    int status = args_load_config(args, &config, &e);
    if (status == 0)
        status = registry_create(&config.registry, &registry, &e);
    if (status == 0)
        status = register_all(registry, &config, &e);
    registry_destroy(registry);
    config_free(&config);
    return status == 0 ? 0 : cli_fail("schemas", &e);
}
