// What a schema registry's answers hold. Pure: bytes in, values out; whoever sent them is not
// trusted.
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ANSWER_MESSAGE_SIZE = 300 };

// The object that an answer is; NULL when it is none. Owned by the caller (json_decref). The
// readers below take NULL.
json_t *answer_parse(const char *bytes, size_t size);
// Of an error: its code (0: none), and the registry's own words in a form fit for one line of a
// log.
int64_t answer_code(const json_t *answer);
char *answer_message(const json_t *answer, char out[ANSWER_MESSAGE_SIZE]);
// To GET /schemas/ids/ID: the schema's text, malloc'ed; NULL when there is none. What is no
// self-contained Avro schema comes as an object that registry_foreign (registry.h) knows.
char *answer_schema(const json_t *answer);
// To a schema that was posted: its id; false where there is none of 31 bits.
bool answer_id(const json_t *answer, int32_t *id);
// To a question for the compatibility level; NULL when there is none.
const char *answer_level(const json_t *answer);
