// Structured logs on stderr: logfmt or JSON, one line an event. Only the edges log; never a secret,
// never a payload.
#pragma once

#include <stddef.h>
#include <stdint.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };
enum log_format { LOG_LOGFMT, LOG_JSON };

// Process-wide; safe to call again (SIGHUP). Default: info, logfmt.
void log_configure(enum log_level level, enum log_format format);

// What an event says besides its message: a key with a number or a text. NULL as a text is written
// as an empty one.
struct log_field {
    const char *key;
    enum log_field_kind { LOG_FIELD_INT, LOG_FIELD_TEXT } kind;
    int64_t integer;
    const char *text;
};

static inline struct log_field log_int(const char *key, int64_t integer)
{
    return (struct log_field){.key = key, .kind = LOG_FIELD_INT, .integer = integer};
}

static inline struct log_field log_text(const char *key, const char *text)
{
    return (struct log_field){.key = key, .kind = LOG_FIELD_TEXT, .text = text};
}

struct log_fields {
    const struct log_field *list;
    size_t count;
};

// The fields of one call. The compiler counts them, so there is no end mark that could be
// forgotten. The list lives as long as the block that it stands in.
#define LOG_FIELDS(...)                                                                            \
    ((struct log_fields){(const struct log_field[]){__VA_ARGS__},                                  \
                         sizeof((const struct log_field[]){__VA_ARGS__}) /                         \
                             sizeof(struct log_field)})
#define LOG_NO_FIELDS ((struct log_fields){NULL, 0})

// log_event(LOG_WARN, "shard held", LOG_FIELDS(log_int("shard", 3), log_text("day", day)));
// Any thread may call it. One event is one line.
void log_event(enum log_level level, const char *message, struct log_fields fields);
