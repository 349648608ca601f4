#include "consumer/system/log.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LINE_SIZE = 4096 };

static _Atomic enum log_level threshold = LOG_INFO;
static _Atomic enum log_format format_used = LOG_LOGFMT;

static const char *const level_names[] = {"debug", "info", "warn", "error"};

void log_configure(enum log_level level, enum log_format format)
{
    threshold = level;
    format_used = format;
}

struct line {
    size_t used;
    char text[LINE_SIZE];
};

static void put(struct line *line, const char *text, size_t size)
{
    // the closing brace and the newline always fit
    assert(line->used <= sizeof line->text - 2);
    size_t room = sizeof line->text - 2 - line->used;
    if (size > room)
        size = room;
    memcpy(line->text + line->used, text, size);
    line->used += size;
}

static void put_text(struct line *line, const char *text)
{
    put(line, text, strlen(text));
}

// Both formats quote as JSON does; a cut line is closed properly by the room that is kept for the
// last quote.
static void put_quoted(struct line *line, const char *text)
{
    put_text(line, "\"");
    for (; *text && line->used < sizeof line->text - 16; text++) {
        unsigned char c = (unsigned char)*text;
        char escape[8];
        if (c == '"' || c == '\\') {
            snprintf(escape, sizeof escape, "\\%c", c);
            put_text(line, escape);
        } else if (c < 0x20 || c == 0x7f) {
            snprintf(escape, sizeof escape, "\\u%04x", c);
            put_text(line, escape);
        } else {
            put(line, text, 1);
        }
    }
    put_text(line, "\"");
}

static bool is_bare(const char *text)
{
    if (!*text)
        return false;
    for (; *text; text++)
        if ((unsigned char)*text <= ' ' || *text == '"' || *text == '=' || *text == '\\' ||
            *text == 0x7f)
            return false;
    return true;
}

static void put_pair(struct line *line, enum log_format format, const char *key,
                     struct log_value value)
{
    char number[24];
    assert(value.kind == LOG_KIND_STRING || value.kind == LOG_KIND_INT);
    const char *text = value.kind == LOG_KIND_INT || !value.string ? "" : value.string;
    if (line->used > 0 && line->text[line->used - 1] != '{')
        put_text(line, format == LOG_JSON ? "," : " ");
    if (format == LOG_JSON)
        put_quoted(line, key);
    else
        put_text(line, key);
    put_text(line, format == LOG_JSON ? ":" : "=");
    if (value.kind == LOG_KIND_INT) {
        snprintf(number, sizeof number, "%" PRId64, value.integer);
        put_text(line, number);
    } else if (format == LOG_LOGFMT && is_bare(text)) {
        put_text(line, text);
    } else {
        put_quoted(line, text);
    }
}

static void now_text(char *out, size_t size)
{
    struct timespec now;
    struct tm utc;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    size_t used = strftime(out, size, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(out + used, size - used, ".%03ldZ", now.tv_nsec / 1000000);
}

void log_event(enum log_level level, const char *message, ...)
{
    assert((size_t)level < sizeof level_names / sizeof *level_names);
    if (level < threshold)
        return;
    enum log_format format = format_used;
    struct line line = {0};
    char time[40];
    now_text(time, sizeof time);
    if (format == LOG_JSON)
        put_text(&line, "{");
    put_pair(&line, format, "time", LOG_STR(time));
    put_pair(&line, format, "level", LOG_STR(level_names[level]));
    put_pair(&line, format, "message", LOG_STR(message));
    va_list args;
    va_start(args, message);
    for (const char *key; (key = va_arg(args, const char *)) != NULL;)
        put_pair(&line, format, key, va_arg(args, struct log_value));
    va_end(args);
    if (format == LOG_JSON)
        line.text[line.used++] = '}';
    assert(line.used < sizeof line.text);
    line.text[line.used++] = '\n';
    // One write a line keeps lines of several threads whole.
    if (write(STDERR_FILENO, line.text, line.used) < 0)
        return;
}
