// Structured logs on stderr: logfmt or JSON, one line an event. Only the edges log; never a secret,
// never a payload.
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };
enum log_format { LOG_LOGFMT, LOG_JSON };

// Process-wide; safe to call again (SIGHUP). Default: info, logfmt.
void log_configure(enum log_level level, enum log_format format);

// log_event(LOG_WARN, "shard held", "shard", LOG_INT(3), "day", LOG_STR(day), LOG_END): key, value
// pairs, thread-safe.
struct log_value {
    enum { LOG_KIND_STRING, LOG_KIND_INT } kind;
    const char *string;
    int64_t integer;
};
#define LOG_STR(s) ((struct log_value){LOG_KIND_STRING, (s), 0})
#define LOG_INT(n) ((struct log_value){LOG_KIND_INT, 0, (n)})
#define LOG_END ((const char *)0)
// const char *key, struct log_value, ..., LOG_END
void log_event(enum log_level level, const char *message, ...);
