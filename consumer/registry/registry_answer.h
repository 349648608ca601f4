// Reads the answers of a schema registry. Pure: bytes in, values out. The sender is not trusted.
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ANSWER_MESSAGE_SIZE = 300 };

// The object that an answer is; NULL when it is none. Owned by the caller (json_decref). The
// readers below take NULL.
json_t *answer_parse(const char *bytes, size_t size);
// Of an error answer: its code (0: none), and the registry's own words in a form that fits one line
// of a log.
int64_t answer_code(const json_t *answer);
char *answer_message(const json_t *answer, char out[ANSWER_MESSAGE_SIZE]);
// Of the answer to GET /schemas/ids/ID: the schema's text, malloc'ed; NULL when there is none. A
// text that is not a self-contained Avro schema comes as an object that registry_foreign
// (registry.h) recognises.
char *answer_schema(const json_t *answer);
// Of the answer to a posted schema: its id; false if there is none of 31 bits.
bool answer_id(const json_t *answer, int32_t *id);
// Of the answer to the question for the compatibility level; NULL when there is none.
const char *answer_level(const json_t *answer);
