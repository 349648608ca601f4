// The verbs by which an operator decides what is billed. Each returns the exit status.
#pragma once

#include "consumer/cli/args.h"

int cmd_rejects(const struct args *args); // operands: list | requeue | accept | pass
int cmd_adjust(const struct args *args); // operand: ACCOUNT
