#include "pricing/error.h"

#include <stdarg.h>
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
    if (used < sizeof e->text - 1)
        snprintf(e->text + used, sizeof e->text - used, ": %s", below);
    return -1;
}

int error_exit_status(enum error_kind kind)
{
    switch (kind) {
    case ERROR_NONE:
        return 0;
    case ERROR_USAGE:
        return 64;
    case ERROR_UNAVAILABLE:
        return 69;
    case ERROR_BUG:
        return 70;
    case ERROR_RESTART:
        return 75;
    case ERROR_CONFIG:
        return 78;
    }
    return 70;
}
