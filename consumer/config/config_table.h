// The table behind the configuration: every key once.
#pragma once

#include "consumer/config/config.h"

enum value_kind {
    VALUE_TEXT, // char *
    VALUE_TOPIC, // char *, a legal topic name
    VALUE_PATH, // char *, resolved
    VALUE_LISTEN, // char *, HOST:PORT or empty
    VALUE_DSNS, // config.dsns: one libpq connection string or a list
    VALUE_URLS, // registry_options: one or a list
    VALUE_DURATION, // int64_t ms
    VALUE_TIMEOUT, // int ms
    VALUE_INT, // int
    VALUE_INT32, // int32_t
    VALUE_COUNT, // int64_t
    VALUE_SHARE, // int32_t parts per million
    VALUE_THRESHOLDS, // struct thresholds: a list of numbers
    VALUE_DATE, // day_t
    VALUE_CHOICE, // an enum, by the order of the choices
    VALUE_PROPERTIES, // a map of librdkafka properties
};

struct config_key {
    const char *section, *name;
    enum value_kind kind;
    uint32_t offset; // in struct config
    const char *text; // default as it would stand in the file; NULL: none
    const char *example; // for keys without a default
    const char *choices; // "a|b"
    const char *help; // lines for the example, without "# "
    int64_t min, max; // of numbers and durations, in the unit of the value
    bool required;
    bool secret; // whatever its value is; a DSN or URL is one when it holds a password
};

extern const struct config_key config_keys[]; // grouped by section; ends with a NULL name
extern const size_t config_key_count;
// Asserts what the other functions rely on in the table, so the first command finds a mistake in a
// row.
void config_table_check(void);

// Parses a text into the field of the key. Returns NULL, or why not (static or in `why`, without
// the value of a secret).
enum { WHY_SIZE = 256 };
const char *config_set(struct config *config, const struct config_key *key, const char *text,
                       char why[WHY_SIZE]);
// One more element of a list (VALUE_DSNS, VALUE_URLS, VALUE_THRESHOLDS).
const char *config_add(struct config *config, const struct config_key *key, const char *text,
                       char why[WHY_SIZE]);
// Whether this text of the key must not be read by others.
bool config_holds_secret(const struct config_key *key, const char *text);
// A number as it would stand in the file: 5m, 0.5%, 7.
enum { NUMBER_TEXT_SIZE = 32 };
void config_format_number(const struct config_key *key, int64_t number, char out[NUMBER_TEXT_SIZE]);
// Frees and empties the field.
void config_clear(struct config *config, const struct config_key *key);

// Sets or replaces a property. NULL, or why it is refused.
const char *config_set_property(struct config *config, const char *name, const char *value,
                                char why[WHY_SIZE]);
