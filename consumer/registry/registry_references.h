// Schemas that refer to types of other subjects, made one text that needs nobody else. Pure but for
// the question that it is handed.
#pragma once

#include "consumer/registry/registry.h"

#include <jansson.h>

enum {
    REFERENCES_MAX = 64, // schemas that one may lead to
    REFERENCES_DEPTH_MAX = 16, // of which one refers to the next
    REFERENCES_PATH_SIZE = 512,
};

// Asks for the schema of a subject's version: *answer is its object, for the caller to json_decref.
typedef enum registry_result references_ask(void *context, const char *subject, int64_t version,
                                            json_t **answer, struct error *e);

// Whether an answer to GET /schemas/ids/ID refers to others at all.
bool references_any(const json_t *answer);
// The text of the schema in `answer` with every type that it refers to in the place where it is
// first named; malloc'ed. What cannot be put together (a cycle, too many, a type defined twice, no
// Avro) comes as an object that registry_foreign knows. Else REGISTRY_UNAVAILABLE with *e: one of
// them could not be had.
enum registry_result references_resolve(const json_t *answer, references_ask *ask, void *context,
                                        char **text, struct error *e);
