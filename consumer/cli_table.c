#include "consumer/cli_table.h"

const struct option_spec cli_config_options[] = {
    {"config", 'c', "FILE", "configuration file (YAML); SETTLED_SECTION_KEY in the environment wins over it"},
    {"property", 'X', "KEY=VALUE", "librdkafka property, as often as needed; wins over kafka.properties"},
    {NULL, 0, NULL, NULL},
};

const struct option_spec cli_common_options[] = {
    {"help", 'h', NULL, "show this help"},
    {NULL, 0, NULL, NULL},
};

static const struct option_spec help_options[] = {
    {"man", 0, NULL, "print the manual page (roff)"},
    {"bash-completion", 0, NULL, "print the completion script for bash"},
    {"config-example", 0, NULL, "print a configuration with every key, its default and its help"},
    {NULL, 0, NULL, NULL},
};

// Order of the overview. A verb is listed once its cmd_ function exists.
const struct verb cli_verbs[] = {
    {.name = "version", .run = cmd_version, .summary = "print the version and those of the libraries"},
    {.name = "help",
     .run = cmd_help,
     .summary = "explain a verb",
     .operands = "[VERB]",
     .max_operands = 1,
     .options = help_options},
    {.name = NULL},
};
