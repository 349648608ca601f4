// The ids that the registry has for the schemas of the outputs. They stand before the body of each
// message.
#pragma once

#include "consumer/config/config.h"
#include "consumer/output/encode.h"

// Errors: ERROR_CONFIG for a schema that is not registered, ERROR_UNAVAILABLE when the registry
// cannot be asked.
int schema_ids_find(const struct config *config, int32_t out[OUTPUT_COUNT], struct error *e);
