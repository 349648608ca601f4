#include "consumer/preflight/schema_ids.h"

#include "consumer/kafka/admin.h"
#include "consumer/kafka/framing.h"

#include <inttypes.h>
#include <stdio.h>

enum registry_result schema_id_find(struct registry *registry, enum framing framing,
                                    const struct subject *subject, int64_t *out, struct error *e)
{
    char name[ADMIN_TOPIC_SIZE + sizeof "-value"];
    snprintf(name, sizeof name, "%s-value", subject->topic);
    enum registry_result result = registry_lookup(registry, name, subject->schema, out, e);
    if (result == REGISTRY_ABSENT) {
        error_set(e, ERROR_CONFIG,
                  "subject %s does not hold the schema of %s; run settled schemas register", name,
                  subject->record);
    } else if (result == REGISTRY_FOUND && !framing_fits(framing, *out)) {
        error_set(e, ERROR_CONFIG,
                  "the registry's id %" PRId64
                  " of the schema of %s has no room in 4 bytes, which schemas.framing: %s has; use "
                  "the ids of its Confluent interface, or another framing before the first start",
                  *out, name, framing_symbol(framing));
        result = REGISTRY_ABSENT;
    }
    return result;
}

struct subject subject_of_output(const struct config *config, enum output output)
{
    return (struct subject){config->output_topics[output], record_name_of_output(output),
                            schema_of_output(output)};
}

struct subject subject_of_input(const struct config *config, enum input input)
{
    return (struct subject){config->input_topics[input], record_name_of_input(input),
                            schema_of_input(input)};
}

int schema_ids_find(const struct config *config, enum framing framing, struct output_framing *out,
                    struct error *e)
{
    struct registry *registry;
    if (registry_create(&config->registry, &registry, e))
        return -1;
    enum registry_result result = REGISTRY_FOUND;
    out->framing = framing;
    for (enum output o = 0; o < OUTPUT_COUNT && result == REGISTRY_FOUND; o++) {
        struct subject subject = subject_of_output(config, o);
        result = schema_id_find(registry, framing, &subject, &out->schema_ids[o], e);
    }
    registry_destroy(registry);
    return result == REGISTRY_FOUND ? 0 : -1;
}
