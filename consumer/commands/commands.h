// The verbs, each in a file of its own, which reads the arguments, calls the module that does the
// work, and prints. Each returns the exit status.
#pragma once

#include "consumer/cli/args.h"

int cmd_run(const struct args *args);
int cmd_migrate(const struct args *args);
int cmd_topics(const struct args *args); // operands: apply
int cmd_schemas(const struct args *args); // operands: register
int cmd_check(const struct args *args);
int cmd_generate(const struct args *args);
int cmd_audit(const struct args *args);
int cmd_repair(const struct args *args);
int cmd_retire(const struct args *args);
int cmd_parameters(const struct args *args); // operands: apply
int cmd_books(const struct args *args); // operands: list
int cmd_version(const struct args *args);
int cmd_help(const struct args *args);
