// Skips a value of any Avro type. A shape says only how far a value of the type reaches. Types
// refer to each other by number, so a recursive type has a finite shape.
//
// The work is linear in the bytes skipped, whatever the schema: every shape but SHAPE_EMPTY takes
// at least one byte, a SHAPE_RECORD lists no empty field and is only used for two fields or more
// (a record with one such field has that field's shape), and a block of empty items is passed at
// once. avsc.c builds shapes in this way.
#pragma once

#include "consumer/avro/wire.h"

enum shape_kind {
    SHAPE_EMPTY, // null, a record without fields, a fixed of size 0
    SHAPE_NUMBER, // int, long, enum
    SHAPE_FIXED, // `count` bytes: fixed, boolean, float, double
    SHAPE_TEXT, // bytes, string
    SHAPE_RECORD, // links [first, first + count)
    SHAPE_UNION, // likewise: its branches
    SHAPE_ARRAY, // link `first`
    SHAPE_MAP, // link `first`
};

struct shape {
    enum shape_kind kind;
    uint32_t first, count;
};

struct shapes {
    const struct shape *shape;
    const uint32_t *link; // numbers of shapes
};

// How deep records, arrays and maps may be nested in a value that is skipped.
enum { SKIP_DEPTH_MAX = 128 };

// False with w->fault for what is truncated, malformed or nested deeper than SKIP_DEPTH_MAX.
// `depth` is 0 at first.
bool skip_value(const struct shapes *shapes, uint32_t number, struct wire *w, unsigned depth);
