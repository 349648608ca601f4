// A verb's answer as JSON.
#pragma once

#include "pricing/error.h"

#include <jansson.h>

// Prints it, indented, on standard output, and frees it. NULL, or output that fails: ERROR_RESTART.
int json_output(json_t *json, struct error *e);
