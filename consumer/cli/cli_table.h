// The table behind the command line. Everything a user can type stands in it once.
#pragma once

#include "consumer/cli/cli.h"

enum { VERB_OPTIONS_MAX = 32 };

struct option_spec {
    const char *name; // long name; NULL ends a list
    char letter; // 0: none
    // What the help calls the value; NULL: a flag. "a|b|c" are the only values allowed.
    const char *value;
    const char *help; // one sentence, without a full stop
};

// Which of the options that several verbs share a verb takes.
enum { TAKES_CONFIG = 1, CONFIG_REQUIRED = 2 };

struct verb {
    const char *name;
    verb_main *run;
    const char *summary; // one line
    const char *about; // paragraphs for --help and the man page; may be NULL
    unsigned config; // TAKES_CONFIG: -c and -X; CONFIG_REQUIRED: -c must be given
    const char *actions; // "apply" or "list|requeue": what the first operand may be; NULL: any
    const char *operands; // as the usage shows them, after the action; NULL: none
    size_t min_operands, max_operands; // the action included
    bool hidden; // not in the overview
    const struct option_spec *options; // NULL: none of its own
};

extern const struct verb cli_verbs[]; // ends with a NULL name
extern const struct option_spec cli_config_options[]; // -c, -X
extern const struct option_spec cli_common_options[]; // -h

struct arg_values {
    const char *text[VERB_OPTIONS_MAX]; // in the order of the verb's options
};

const struct verb *cli_find_verb(const char *name);

// Parses what stands after the verb's name; argv[0] is the verb. `values` is borrowed for the life
// of *out. *help is set when --help was given (nothing else is checked then). 0, or -1 with
// ERROR_USAGE.
int cli_parse(const struct verb *verb, int argc, char **argv, struct arg_values *values,
              struct args *out, bool *help, struct error *e);

void cli_print_overview(void);
void cli_print_verb_help(const struct verb *verb);

// Walks the choices of "a|b|c": *cursor starts at the text; false at the end. The choice is not
// terminated.
bool cli_next_choice(const char **cursor, const char **choice, size_t *size);
