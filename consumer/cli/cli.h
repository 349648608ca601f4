// The command line: from argv to a verb that runs.
#pragma once

#include "consumer/cli/args.h"

// Parses the command line, runs the verb of the table, returns the exit status.
int cli_main(const struct verb *verbs, int argc, char **argv);

// Parses the arguments after the name of the verb into *out, whose `verbs`, `verb` and `values` the
// caller has set; argv[0] is the verb. *help is set when --help was given (nothing else is checked
// then). 0, or -1 with ERROR_USAGE.
int cli_parse(int argc, char **argv, struct args *out, bool *help, struct error *e);
