// How a verb ends when it could not do its work.
#pragma once

#include "pricing/error.h"

// Prints "settled VERB: text" to stderr and returns the exit status of the error.
int cli_fail(const char *verb, const struct error *e);
