// The texts of schemas/avro, schemas/postgres, schemas/http, pricing/pricebooks and
// deploy/topics.yaml, embedded at build time by embed.cmake, sorted by name.
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
extern const struct embedded embedded_topics[]; // deploy/topics.yaml alone
extern const struct embedded embedded_http[]; // openapi.json alone
