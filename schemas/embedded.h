// The texts of schemas/avro, schemas/postgres and pricing/pricebooks, embedded at build time by embed.cmake, sorted
// by name.
#pragma once

#include <stddef.h>

struct embedded {
    const char *name; // "Settlement.avsc", "001_tables.sql"
    const char *text; // the file's bytes, terminated
    size_t size;
};

// Each ends with a NULL name.
extern const struct embedded embedded_avro[];
extern const struct embedded embedded_migrations[];
extern const struct embedded embedded_books[];
