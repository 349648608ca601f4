// An output record's Avro body, read by our schema of it: where its number stands, and its fields as texts. For bytes of
// anybody's making: bounded, and never beyond their end.
#pragma once

#include "consumer/io/encode.h"

struct body_form; // of one output; immutable

int body_form_create(enum output output, struct body_form **out, struct error *e);
void body_form_destroy(struct body_form *form);

struct body_number {
    int32_t shard;
    int64_t sequence;
    size_t at, size; // where the sequence's bytes are in the body
};
// Reads a body without framing, whole. ERROR_CONFIG: it is none of this record; says why and at which byte.
int body_number(const struct body_form *form, struct slice body, struct body_number *out, struct error *e);

// The same of a body that may go on behind the sequence: a newer program's may have further fields there.
int body_sequence(const struct body_form *form, struct slice body, struct body_number *out, struct error *e);

// Every field of a body that body_number takes, in order: "lines[1].amount" and its value as people write it.
typedef void body_visit(void *context, const char *path, const char *text);
void body_fields(const struct body_form *form, struct slice body, body_visit *visit, void *context);
