// The table behind the command line. Everything a user can type stands in it once.
#pragma once

#include "consumer/cli/verb.h"

extern const struct verb verbs[]; // ends with a NULL name
