// What a verb of the command line is: the types of the one table of verbs and options
// (commands/verbs.c), from which parsing (cli.c), --help, the manual page and the completion for
// bash (cli_help.c) derive.
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct args;
typedef int verb_main(const struct args *args); // returns the exit status

enum { VERB_OPTIONS_MAX = 32 };

struct option_spec {
    const char *name; // long name; NULL ends a list
    char letter; // 0: none
    // What the help calls the value; NULL: a flag. "a|b|c" are the only values allowed.
    const char *value;
    const char *help; // one sentence, without a full stop
};

// Which of the shared options a verb takes.
enum { TAKES_CONFIG = 1, CONFIG_REQUIRED = 2 };

struct verb {
    const char *name; // NULL ends a table
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

extern const struct option_spec verb_config_options[]; // -c, -X
extern const struct option_spec verb_common_options[]; // -h

// NULL: the table has no such verb.
const struct verb *verb_find(const struct verb *verbs, const char *name);
// Walks the choices of "a|b|c": *cursor starts at the text; false at the end. The choice is not
// terminated.
bool verb_next_choice(const char **cursor, const char **choice, size_t *size);
