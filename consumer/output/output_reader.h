// Reads the Avro body of an output record with our schema: where its sequence stands, and its
// fields as texts. The bytes may come from anybody: reading is bounded, and never goes beyond their
// end.
#pragma once

#include "consumer/output/encode.h"

struct output_reader; // of one output; immutable

int output_reader_create(enum output output, struct output_reader **out, struct error *e);
void output_reader_destroy(struct output_reader *form);

struct output_number {
    int32_t shard;
    int64_t sequence;
    size_t at, size; // where the sequence's bytes are in the body
};
// Reads a whole body without framing. ERROR_CONFIG: it is not a body of this record; *e says why
// and at which byte.
int output_reader_number(const struct output_reader *form, struct slice body,
                         struct output_number *out, struct error *e);

// The same for a body that may go on behind the sequence: the body of a newer program may have more
// fields there.
int output_reader_sequence(const struct output_reader *form, struct slice body,
                           struct output_number *out, struct error *e);

// What a Reject keeps of the input record. Its bytes are those of the body; data NULL: null.
struct rejected_record {
    struct slice topic, key, value, detail;
    int64_t partition, offset, timestamp;
};
// Of a reader of OUTPUT_REJECTS; a body as output_reader_sequence takes it.
int output_reader_reject(const struct output_reader *form, struct slice body,
                         struct rejected_record *out, struct error *e);

// Every field of a body that output_number takes, in order: "lines[1].amount" and its value in the
// form that people write.
typedef void output_reader_visit(void *context, const char *path, const char *text);
void output_reader_fields(const struct output_reader *form, struct slice body,
                          output_reader_visit *visit, void *context);
