#include "consumer/system/log.h"

#include <assert.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdbool.h>
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

// Both formats quote as JSON does. Room is kept for the last quote, so that a line that is cut
// still ends properly.
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

static void put_field(struct line *line, enum log_format format, struct log_field field)
{
    char number[24];
    const char *text = field.text ? field.text : "";
    if (line->used > 0 && line->text[line->used - 1] != '{')
        put_text(line, format == LOG_JSON ? "," : " ");
    if (format == LOG_JSON)
        put_quoted(line, field.key);
    else
        put_text(line, field.key);
    put_text(line, format == LOG_JSON ? ":" : "=");
    if (field.kind == LOG_FIELD_INT) {
        snprintf(number, sizeof number, "%" PRId64, field.integer);
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

void log_event(enum log_level level, const char *message, struct log_fields fields)
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
    put_field(&line, format, log_text("time", time));
    put_field(&line, format, log_text("level", level_names[level]));
    put_field(&line, format, log_text("message", message));
    for (size_t i = 0; i < fields.count; i++)
        put_field(&line, format, fields.list[i]);
    if (format == LOG_JSON)
        line.text[line.used++] = '}';
    assert(line.used < sizeof line.text);
    line.text[line.used++] = '\n';
    // Each line is one write, so lines of several threads do not mix.
    if (write(STDERR_FILENO, line.text, line.used) < 0)
        return;
}
