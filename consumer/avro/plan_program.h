// What plan_compile.c writes and plan_decode.c runs: a step for each field of the writer's record,
// in its order.
#pragma once

#include "consumer/avro/plan.h"
#include "consumer/avro/skip.h"

enum step_code {
    STEP_TEXT, // string or bytes
    STEP_LONG, // also a timestamp in ms
    STEP_INT, // promoted
    STEP_MICROS, // floored to ms
    STEP_ENUM, // symbols [first, first + count): the reader's number of each, or -1
    STEP_NULL,
    STEP_UNION, // branches [first, first + count): a step each
    STEP_REFUSED, // a branch that does not resolve: `name` says so
    STEP_SKIP, // a value of shape `first`, for which the reader has no field
};

struct plan_step {
    enum step_code code;
    uint32_t field; // of the reader
    uint32_t first, count;
    const char *name; // of the field, for messages
};

// A writer's record. Where the writer's schema is a union of records, each branch has a program.
struct program {
    uint32_t first, count; // steps
    struct record initial; // the reader's defaults of fields that the writer lacks
};

struct plan {
    struct arena *arena; // owns everything here
    bool is_union; // the body starts with the number of its program
    uint32_t program_count;
    const struct program *programs;
    const struct plan_step *steps, *branches;
    const int32_t *symbols;
    struct shapes shapes;
};

// Like plan_compile, but for any reader's schema: a record of string, long, timestamp-millis and
// enum fields and their unions with null. For tests of rules that our own readers do not need
// (aliases, defaults of enums).
int plan_compile_schemas(const char *reader_json, size_t reader_size, const char *writer_json,
                         size_t writer_size, struct plan **out, struct error *e);
