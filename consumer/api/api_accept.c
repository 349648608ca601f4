#include "consumer/api/api_accept.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

enum { QUALITY_MAX = 1000 };

// One element of the header: "text/*;q=0.5".
struct range {
    const char *type;
    size_t size; // of the type, without parameters
    int quality; // thousandths
};

static const char *skip_blanks(const char *at)
{
    return at + strspn(at, " \t");
}

// "0.25" is 250; -1: it is no quality.
static int read_quality(const char *at)
{
    int value = 0, digits = 0;
    if (*at != '0' && *at != '1')
        return -1;
    value = (*at++ - '0') * QUALITY_MAX;
    if (*at == '.')
        for (int unit = QUALITY_MAX / 10; at[1] >= '0' && at[1] <= '9' && digits < 3; unit /= 10) {
            value += (*++at - '0') * unit;
            digits++;
        }
    return value <= QUALITY_MAX ? value : -1;
}

// Reads the element at `at`; returns where the next one begins, or the end.
static const char *read_range(const char *at, struct range *out)
{
    at = skip_blanks(at);
    const char *end = at + strcspn(at, ",");
    *out = (struct range){at, strcspn(at, " \t;,"), QUALITY_MAX};
    for (const char *p = at; (p = memchr(p, ';', (size_t)(end - p)));) {
        p = skip_blanks(p + 1);
        if (strncasecmp(p, "q=", 2) != 0)
            continue;
        int quality = read_quality(p + 2);
        out->quality = quality < 0 ? 0 : quality;
    }
    return *end ? end + 1 : end;
}

static bool is(const struct range *range, const char *type)
{
    return range->size == strlen(type) && strncasecmp(range->type, type, range->size) == 0;
}

// How much a type is wanted: by the element that names it most exactly.
static int quality_of(const char *accept, const char *type, const char *family)
{
    int quality = 0, exactness = 0;
    struct range range;
    while (*accept) {
        accept = read_range(accept, &range);
        int exact = is(&range, type) ? 3 : is(&range, family) ? 2 : is(&range, "*/*") ? 1 : 0;
        if (exact > exactness) {
            exactness = exact;
            quality = range.quality;
        }
    }
    return quality;
}

enum api_form api_choose_form(const char *accept, bool has_csv)
{
    if (!accept || !*skip_blanks(accept))
        return API_FORM_JSON;
    int json = quality_of(accept, "application/json", "application/*");
    int csv = has_csv ? quality_of(accept, "text/csv", "text/*") : 0;
    if (csv > json)
        return API_FORM_CSV;
    return json > 0 ? API_FORM_JSON : API_FORM_NONE;
}
