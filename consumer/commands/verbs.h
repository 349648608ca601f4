// The table behind the command line. Everything that a user can type is in it, once.
#pragma once

#include "consumer/cli/verb.h"

extern const struct verb verbs[]; // ends with a NULL name
