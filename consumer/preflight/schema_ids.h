// The ids that the registry has for the schemas of the outputs. They stand before the body of each
// message.
#pragma once

#include "consumer/config/config.h"
#include "consumer/output/encode.h"

// By the framing that is recorded. Errors: ERROR_CONFIG for a schema that is not registered, or has
// an id for which the framing has no room; ERROR_UNAVAILABLE when the registry cannot be asked.
int schema_ids_find(const struct config *config, enum framing framing, struct output_framing *out,
                    struct error *e);
// ERROR_CONFIG when the framing has no room for the id that a subject's schema has.
int schema_id_fits(enum framing framing, const char *subject, int64_t id, struct error *e);
