// An Avro schema, parsed from its JSON into flat tables: types refer to each other by number.
// Bounded in size, depth and number of types, so a schema from any source may be given to it.
#pragma once

#include "consumer/avro/skip.h"
#include "pricing/error.h"

#include <jansson.h>

enum {
    AVSC_SIZE_MAX = 1 << 20, // bytes of JSON
    AVSC_DEPTH_MAX = 128, // types declared within each other
    AVSC_TYPES_MAX = 16384,
    AVSC_MEMBERS_MAX = 16384, // fields, branches and items, together
    AVSC_NAME_MAX = 1024, // bytes of a full name
};

enum avsc_kind {
    AVSC_NULL,
    AVSC_BOOLEAN,
    AVSC_INT,
    AVSC_LONG,
    AVSC_FLOAT,
    AVSC_DOUBLE,
    AVSC_BYTES,
    AVSC_STRING,
    AVSC_RECORD,
    AVSC_ENUM,
    AVSC_FIXED,
    AVSC_ARRAY,
    AVSC_MAP,
    AVSC_UNION,
    AVSC_PRIMITIVES = AVSC_RECORD, // as many; each is the type of its own number
};

// What an int or a long says that it is. Others change how its number is to be understood, so a
// field that is a time is not read by them.
enum avsc_logical { AVSC_PLAIN, AVSC_TIMESTAMP_MILLIS, AVSC_TIMESTAMP_MICROS, AVSC_OTHER };

struct avsc_type {
    enum avsc_kind kind;
    enum avsc_logical logical;
    const char *name; // unqualified; NULL for types without one
    // its object, for symbols, aliases and default; NULL for a primitive named by a string
    const json_t *json;
    // members: a record's fields, a union's branches, the items of an array or map
    uint32_t first, count;
    bool complete; // false while its fields are being read
    uint32_t union_mark; // the last union it was found in
};

struct avsc_member {
    const char *name; // NULL but for a field
    const json_t *json;
    uint32_t type;
};

struct avsc {
    struct arena *arena;
    json_t *document;
    json_t *names; // full name -> number of the type
    uint32_t root;
    uint32_t type_count, member_count, room; // room: for types, and for members
    struct avsc_type *types;
    struct shape *shapes; // of each type
    struct avsc_member *members;
    uint32_t *links; // of shapes, beside the members
};

// Parses `size` bytes of JSON. Returns 0, or -1 with *e (ERROR_CONFIG): not JSON, no Avro schema,
// or beyond the bounds. Strings and JSON nodes live as long as the schema. Names may have any
// characters, since they are only compared.
int avsc_parse(const char *text, size_t size, struct avsc **out, struct error *e);
void avsc_free(struct avsc *schema);

const char *avsc_kind_name(enum avsc_kind kind); // "long"
// Whether an object's `aliases` hold the name, compared unqualified. `json` may be NULL.
bool avsc_has_alias(const json_t *json, const char *name);
