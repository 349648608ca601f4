#include "consumer/preflight/schema_ids.h"

#include "consumer/registry/registry.h"

#include <stdio.h>

int schema_ids_find(const struct config *config, int32_t out[OUTPUT_COUNT], struct error *e)
{
    struct registry *registry;
    char subject[300];
    if (registry_create(&config->registry, &registry, e))
        return -1;
    enum registry_result result = REGISTRY_FOUND;
    for (enum output o = 0; o < OUTPUT_COUNT && result == REGISTRY_FOUND; o++) {
        snprintf(subject, sizeof subject, "%s-value", config->output_topics[o]);
        result = registry_lookup(registry, subject, schema_of_output(o), &out[o], e);
        if (result == REGISTRY_ABSENT)
            error_set(e, ERROR_CONFIG,
                      "subject %s does not hold the schema of %s; run settled schemas register",
                      subject, record_name_of_output(o));
    }
    registry_destroy(registry);
    return result == REGISTRY_FOUND ? 0 : -1;
}
