#include "consumer/base/format.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static char *group(const char *number, char out[NUMBER_SIZE])
{
    char *end = out;
    if (*number == '-')
        *end++ = *number++;
    size_t whole = strcspn(number, ".");
    for (size_t i = 0; number[i]; i++) {
        if (i > 0 && i < whole && (whole - i) % 3 == 0)
            *end++ = ',';
        *end++ = number[i];
    }
    assert(end < out + NUMBER_SIZE);
    *end = '\0';
    return out;
}

char *format_count(int64_t count, char out[NUMBER_SIZE])
{
    char plain[MONEY_TEXT_SIZE]; // 20 digits and a sign; with commas 26, far below NUMBER_SIZE
    snprintf(plain, sizeof plain, "%" PRId64, count);
    return group(plain, out);
}

char *format_yuan(fen_t amount, char out[NUMBER_SIZE])
{
    char plain[MONEY_TEXT_SIZE];
    return group(money_format_yuan(amount, plain), out);
}
