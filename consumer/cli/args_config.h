// The configuration that the arguments of a verb name.
#pragma once

#include "consumer/cli/args.h"
#include "consumer/config/config.h"

// config_load of -c and -X. Free with config_free, also after an error.
int args_load_config(const struct args *args, struct config *out, struct error *e);
