// What stands before the body of each message: a zero byte and the id of the writer's schema, most
// significant byte first. Confluent's registry has ids of four bytes, Apicurio's of eight. One
// deployment has one of them, for inputs and outputs (schemas.framing).
#pragma once

#include "consumer/core/policy.h"
#include "consumer/core/record.h"

enum { FRAMING_SIZE_MAX = 9 };

size_t framing_size(enum framing framing);
// Whether an id has room in it; registries give out none below zero.
bool framing_fits(enum framing framing, int64_t id);
// Writes framing_size() bytes.
void framing_put(enum framing framing, int64_t id, void *out);
// False: the value has another framing, or none. *body may be empty.
bool framing_take_off(enum framing framing, struct slice value, int64_t *id, struct slice *body);
// For people: "a zero byte and the 4-byte id of its schema".
const char *framing_text(enum framing framing);
