// Avro bodies, written field after field in the schema's order. Each field is named, and the name
// must be the next one of the schema and have its type, so that code and .avsc always agree. The
// schema is read once; a body costs no more than its bytes. avro-c, which reads the schema, is the
// twin in the tests: it reads each body, and writes the same bytes.
#pragma once

#include "consumer/base/slice.h"
#include "pricing/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// The fields of a record, and what its arrays hold: records of such fields, or strings. Types are
// those that the outputs have; of a union only [null, T].
struct body_schema;
// From the text of an .avsc. ERROR_BUG for one that is not understood; body_schema_free frees it.
int body_schema_create(const char *text, size_t size, struct body_schema **out, struct error *e);
void body_schema_free(struct body_schema *schema);

enum { BODY_WHY_SIZE = 160 };

// A body under way. The buffer is the writer's own, and is used again for the next body; free it
// with body_writer_release. It grows as needed; growth aborts when memory is short.
struct body_writer {
    char *data;
    size_t used, capacity;
    const struct body_schema *record; // that is being filled
    size_t next; // field of it
    // while an array of records is filled: the record that has it
    const struct body_schema *outer;
    size_t outer_next;
    const char *failed; // the name of the first field that could not be written; NULL: none
    char why[BODY_WHY_SIZE];
};
void body_writer_release(struct body_writer *writer);

void body_begin(struct body_writer *writer, const struct body_schema *schema);
// Whether all fields were written. False: writer->failed and writer->why say what is wrong.
bool body_end(struct body_writer *writer);

void body_text(struct body_writer *writer, const char *name, struct slice text);
void body_long(struct body_writer *writer, const char *name, int64_t number);
void body_int(struct body_writer *writer, const char *name, int32_t number);
void body_enum(struct body_writer *writer, const char *name, const char *symbol);
// Of type [null, T]; null where data is NULL, or nothing is present.
void body_text_or_null(struct body_writer *writer, const char *name, struct slice text);
void body_bytes_or_null(struct body_writer *writer, const char *name, struct slice bytes);
void body_long_or_null(struct body_writer *writer, const char *name, bool present, int64_t number);
void body_enum_or_null(struct body_writer *writer, const char *name, const char *symbol);

// An array of `count` elements: then body_element before the fields of each, or body_string for
// each, and body_array_end.
void body_array(struct body_writer *writer, const char *name, size_t count);
void body_element(struct body_writer *writer);
void body_string(struct body_writer *writer, struct slice text);
void body_array_end(struct body_writer *writer);

// A long takes at most 10 bytes. Returns how many it takes.
enum { BODY_LONG_SIZE = 10 };
size_t body_put_long(char out[BODY_LONG_SIZE], int64_t number);
