#include "pricing/error.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#undef error_set // what the analyzer takes them for
#undef error_context

int error_set(struct error *e, enum error_kind kind, const char *format, ...)
{
    if (!e)
        return -1;
    e->kind = kind;
    va_list args;
    va_start(args, format);
    vsnprintf(e->text, sizeof e->text, format, args);
    va_end(args);
    return -1;
}

int error_context(struct error *e, const char *format, ...)
{
    if (!e)
        return -1;
    char below[ERROR_TEXT_SIZE];
    memcpy(below, e->text, sizeof below);
    va_list args;
    va_start(args, format);
    int length = vsnprintf(e->text, sizeof e->text, format, args);
    va_end(args);
    size_t used = length < 0 ? 0 : (size_t)length;
    bool there = used < sizeof e->text - 1 && strncmp(below, e->text, used) == 0 &&
                 strncmp(below + used, ": ", 2) == 0;
    if (there)
        memcpy(e->text, below, sizeof below);
    else if (used < sizeof e->text - 1)
        snprintf(e->text + used, sizeof e->text - used, ": %s", below);
    return -1;
}

#define STATUS(kind, status, text) [kind] = (status),
#define TEXT(kind, status, text) [kind] = (text),

int error_exit_status(enum error_kind kind)
{
    static const int statuses[ERROR_KINDS] = {ERROR_ROWS(STATUS)};
    return statuses[kind];
}

const char *error_exit_text(enum error_kind kind)
{
    static const char *const texts[ERROR_KINDS] = {ERROR_ROWS(TEXT)};
    return texts[kind];
}
