// Records of the topics as JSON, with the names of the fields in our schemas. Dates and times are
// written as texts, bytes in hexadecimal, money as fen.
#pragma once

#include "consumer/output/encode.h"

#include <jansson.h>

struct record_form; // of one topic's records; immutable

// Errors: ERROR_RESTART.
int record_form_of_input(enum input input, int32_t offset_ms, struct record_form **out,
                         struct error *e);
int record_form_of_output(enum output output, int32_t offset_ms, struct record_form **out,
                          struct error *e);
void record_form_destroy(struct record_form *form); // NULL is nothing

// A decoded record of an input. A symbol that our schema does not know is null.
json_t *record_json_decoded(const struct record_form *form, const struct record *record);
// A body of an output, without framing. NULL: it is not one; *why then says why (static). Bytes
// behind the record, which a newer program may have written, are told in *why, too.
json_t *record_json_body(const struct record_form *form, struct slice body, const char **why);
// Any text: what is not UTF-8 is replaced.
json_t *record_json_text(struct slice text);
json_t *record_json_instant(int64_t ms, int32_t offset_ms);
