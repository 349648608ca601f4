// The texts of schemas/avro, schemas/postgres, schemas/http, pricing/pricebooks,
// deploy/topics.yaml and the console, embedded at build time by embed.cmake, sorted by name.
#pragma once

#include <stddef.h>

struct embedded {
    const char *name; // "Settlement.avsc", "001_tables.sql"
    const char *text; // the file's bytes, terminated
    size_t size;
    const char *sha256; // of the text, in hexadecimal
};

// Each ends with a NULL name.
extern const struct embedded embedded_avro[];
extern const struct embedded embedded_migrations[];
extern const struct embedded embedded_books[];
extern const struct embedded embedded_topics[]; // deploy/topics.yaml alone
extern const struct embedded embedded_http[]; // openapi.json alone
extern const struct embedded embedded_console[]; // consumer/console/web and vendor
