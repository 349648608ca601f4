// The ids that the registry has for the schemas that this program writes by. They stand before the
// body of each message.
#pragma once

#include "consumer/config/config.h"
#include "consumer/output/encode.h"
#include "consumer/registry/registry.h"

// Which schema must be registered for a topic. All are borrowed.
struct subject {
    const char *topic, *record, *schema;
};

struct subject subject_of_output(const struct config *config, enum output output);
struct subject subject_of_input(const struct config *config, enum input input);

// REGISTRY_ABSENT, with ERROR_CONFIG: the schema is not registered, or the framing has no room for
// its id. REGISTRY_UNAVAILABLE: nothing is known; the error is the registry's.
enum registry_result schema_id_find(struct registry *registry, enum framing framing,
                                    const struct subject *subject, int64_t *out, struct error *e);
// All of the outputs, by the framing that is recorded. 0, or -1 with an error as above.
int schema_ids_find(const struct config *config, enum framing framing, struct output_framing *out,
                    struct error *e);
