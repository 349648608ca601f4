// The parsed arguments of a verb.
#pragma once

#include "consumer/cli/verb.h"
#include "pricing/calendar.h"
#include "pricing/error.h"

#include <stdint.h>

struct arg_values {
    const char *text[VERB_OPTIONS_MAX]; // in the order of the verb's options
};

enum { ARGS_OVERRIDES_MAX = 64, ARGS_OPERANDS_MAX = 64 };

// Parsed arguments of a verb: options by name, operands in order.
struct args {
    const struct verb *verbs; // the table that the verb stands in
    const struct verb *verb;
    const char *config_file;
    size_t override_count;
    const char *overrides[ARGS_OVERRIDES_MAX]; // of -X
    size_t operand_count;
    const char *operands[ARGS_OPERANDS_MAX];
    struct arg_values *values;
};

// The option's text, or NULL when it was not given; for flags "" when given. An option that is not
// in the verb's table is a programming error.
const char *args_get(const struct args *args, const char *option);
// The option as a whole number within bounds, `otherwise` when it was not given. 0, or -1 with
// ERROR_USAGE.
int args_integer(const struct args *args, const char *option, int64_t min, int64_t max,
                 int64_t otherwise, int64_t *out, struct error *e);
// The option as a date YYYY-MM-DD, DAY_NONE when it was not given. 0, or -1 with ERROR_USAGE.
int args_day(const struct args *args, const char *option, day_t *out, struct error *e);
