#include "consumer/cli/args_config.h"

int args_load_config(const struct args *args, struct config *out, struct error *e)
{
    return config_load(args->config_file, args->override_count, args->overrides, out, e);
}
