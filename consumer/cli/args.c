#include "consumer/cli/args.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

const char *args_get(const struct args *args, const char *option)
{
    const struct option_spec *list = args->verb->options;
    for (size_t i = 0; list && list[i].name; i++)
        if (strcmp(list[i].name, option) == 0)
            return args->values->text[i];
    assert(!"the option is in the verb's table");
    return NULL;
}

int args_integer(const struct args *args, const char *option, int64_t min, int64_t max,
                 int64_t otherwise, int64_t *out, struct error *e)
{
    assert(min <= max);
    const char *text = args_get(args, option);
    *out = otherwise;
    if (!text)
        return 0;
    char *end;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    if (end == text || *end || strspn(text, "-0123456789") != strlen(text))
        return error_set(e, ERROR_USAGE, "option --%s: '%s' is not a whole number", option, text);
    if (errno == ERANGE || number < min || number > max)
        return error_set(e, ERROR_USAGE, "option --%s: %s is not within %lld to %lld", option, text,
                         (long long)min, (long long)max);
    *out = number;
    return 0;
}

int args_day(const struct args *args, const char *option, day_t *out, struct error *e)
{
    const char *text = args_get(args, option);
    *out = DAY_NONE;
    if (!text || calendar_parse_day(text, out))
        return 0;
    return error_set(e, ERROR_USAGE, "option --%s: '%s' is not a date; write it as 2026-11-01",
                     option, text);
}
