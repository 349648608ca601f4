// The parameters of a request.
#include "consumer/api/api_call.h"
#include "consumer/http/http_target.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

// 9999-12-31, the last day that can be written.
#define DAY_LAST 2932896

// Digits alone, at most 18 of them.
static bool parse_number(const char *text, int64_t *out)
{
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 18 || text[digits])
        return false;
    *out = strtoll(text, NULL, 10);
    return true;
}

int api_day(const struct api_call *call, const char *name, day_t otherwise, day_t *out,
            struct error *e)
{
    const char *text = http_parameter(call->request, name);
    *out = otherwise;
    if (!text || calendar_parse_day(text, out))
        return 0;
    return error_set(e, ERROR_USAGE, "parameter %s: '%.40s' is not a date; write it as 2026-11-01",
                     name, text);
}

int api_days(const struct api_call *call, struct api_days *out, struct error *e)
{
    if (api_day(call, "from", 0, &out->from, e) || api_day(call, "to", DAY_LAST, &out->to, e))
        return -1;
    if (out->from <= out->to)
        return 0;
    return error_set(e, ERROR_USAGE, "parameter to: it lies before from; both are inclusive");
}

int api_number(const struct api_call *call, const char *name, struct api_range range, int64_t *out,
               struct error *e)
{
    const char *text = http_parameter(call->request, name);
    *out = range.otherwise;
    if (!text)
        return 0;
    if (parse_number(text, out) && *out >= range.min && *out <= range.max)
        return 0;
    return error_set(e, ERROR_USAGE,
                     "parameter %s: '%.40s' is not a whole number of %" PRId64 " to %" PRId64, name,
                     text, range.min, range.max);
}

int api_limit(const struct api_call *call, int64_t *out, struct error *e)
{
    return api_number(call, "limit", (struct api_range){1, API_LIMIT_MAX, API_LIMIT}, out, e);
}

bool api_split_position(const char *text, char *first, size_t size, int64_t *second)
{
    const char *slash = strrchr(text, '/');
    if (!slash || (size_t)(slash - text) >= size || !parse_number(slash + 1, second))
        return false;
    memcpy(first, text, (size_t)(slash - text));
    first[slash - text] = '\0';
    return true;
}

int api_refuse_after(const char *text, struct error *e)
{
    return error_set(e, ERROR_USAGE,
                     "parameter after: '%.40s' is no position of this list; take that of `next` in "
                     "an answer",
                     text);
}

int api_after_day(const struct api_call *call, day_t *day, int64_t *number, struct error *e)
{
    char first[DAY_TEXT_SIZE];
    const char *text = http_parameter(call->request, "after");
    *day = DAY_NONE;
    *number = -1;
    if (!text || (api_split_position(text, first, sizeof first, number) && *number <= INT32_MAX &&
                  calendar_parse_day(first, day)))
        return 0;
    return api_refuse_after(text, e);
}

int api_after_numbers(const struct api_call *call, int64_t *first, int64_t *second, struct error *e)
{
    char before[24];
    const char *text = http_parameter(call->request, "after");
    *first = *second = -1;
    if (!text || (api_split_position(text, before, sizeof before, second) &&
                  parse_number(before, first) && *first <= INT32_MAX))
        return 0;
    return api_refuse_after(text, e);
}
