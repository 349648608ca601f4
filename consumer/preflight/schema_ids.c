#include "consumer/preflight/schema_ids.h"

#include "consumer/kafka/framing.h"
#include "consumer/registry/registry.h"

#include <inttypes.h>
#include <stdio.h>

int schema_id_fits(enum framing framing, const char *subject, int64_t id, struct error *e)
{
    if (framing_fits(framing, id))
        return 0;
    return error_set(e, ERROR_CONFIG,
                     "the registry's id %" PRId64
                     " of the schema of %s has no room in 4 bytes, which "
                     "schemas.framing: %s has; use the ids of its Confluent interface, or another "
                     "framing before the first start",
                     id, subject, framing_symbol(framing));
}

int schema_ids_find(const struct config *config, enum framing framing, struct output_framing *out,
                    struct error *e)
{
    struct registry *registry;
    char subject[300];
    if (registry_create(&config->registry, &registry, e))
        return -1;
    enum registry_result result = REGISTRY_FOUND;
    bool fits = true;
    out->framing = framing;
    for (enum output o = 0; o < OUTPUT_COUNT && result == REGISTRY_FOUND; o++) {
        snprintf(subject, sizeof subject, "%s-value", config->output_topics[o]);
        result = registry_lookup(registry, subject, schema_of_output(o), &out->schema_ids[o], e);
        if (result == REGISTRY_ABSENT)
            error_set(e, ERROR_CONFIG,
                      "subject %s does not hold the schema of %s; run settled schemas register",
                      subject, record_name_of_output(o));
        else if (result == REGISTRY_FOUND && fits)
            fits = schema_id_fits(framing, subject, out->schema_ids[o], e) == 0;
    }
    registry_destroy(registry);
    return result == REGISTRY_FOUND && fits ? 0 : -1;
}
