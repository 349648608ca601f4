// A writer's schema compiled once against one of our three input records into a bounded program
// that reads Avro bytes straight into a flat record: no allocation, no copy, no recursion without
// bound, no read outside the body. Implements the Avro specification's schema resolution for these
// records (schemas/README.md has the list).
#pragma once

#include "consumer/core/record.h"
#include "pricing/error.h"

struct plan;

enum plan_result {
    PLAN_OK,
    PLAN_UNDECODABLE, // truncated, malformed, or bytes left over
};

// The reader's schema is the embedded .avsc of `input`. `writer_json` need not be terminated.
// Returns 0; or -1 with *e (ERROR_CONFIG) saying why the schema does not resolve (or is not an Avro
// schema, or is beyond our bounds): a reason for INCOMPATIBLE_SCHEMA.
int plan_compile(enum input input, const char *writer_json, size_t size, struct plan **out,
                 struct error *e);
void plan_destroy(struct plan *plan);

// Decodes a body without framing. Texts in *out point into `body` (a default: into the plan). With
// PLAN_UNDECODABLE, `detail` (of REJECT_DETAIL_SIZE bytes) says what and at which byte.
// Thread-safe: a plan is immutable. Every byte must be consumed.
enum plan_result plan_decode(const struct plan *plan, const void *body, size_t size,
                             struct record *out, char *detail);
