// The command line: one table of verbs and options (cli_table.c), from which parsing (cli.c),
// --help, the man page and bash completion (cli_help.c) derive.
#pragma once

#include "pricing/calendar.h"
#include "pricing/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ARGS_OVERRIDES_MAX = 64, ARGS_OPERANDS_MAX = 64 };

struct verb;

// Parsed arguments of a verb: options by name, operands in order.
struct args {
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

typedef int verb_main(const struct args *args); // returns the exit status

int cmd_run(const struct args *args);
int cmd_migrate(const struct args *args);
int cmd_topics(const struct args *args); // operands: apply
int cmd_schemas(const struct args *args); // operands: register
int cmd_check(const struct args *args);
int cmd_quote(const struct args *args);
int cmd_generate(const struct args *args);
int cmd_explain(const struct args *args);
int cmd_audit(const struct args *args);
int cmd_repair(const struct args *args);
int cmd_rejects(const struct args *args); // operands: list | requeue | accept | pass
int cmd_version(const struct args *args);
int cmd_help(const struct args *args);

// Parses the command line, runs the verb, returns the exit status.
int cli_main(int argc, char **argv);

// Prints "settled VERB: text" to stderr and returns the exit status of the error.
int cli_fail(const char *verb, const struct error *e);
