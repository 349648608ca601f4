// The texts that derive from the table of verbs: help, the manual page, the completion for bash.
#pragma once

#include "consumer/cli/verb.h"

void cli_print_overview(const struct verb *verbs);
void cli_print_verb_help(const struct verb *verb);
void cli_print_man(const struct verb *verbs); // roff
void cli_print_bash_completion(const struct verb *verbs);
