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

static const struct option_spec quote_options[] = {
    {"service", 0, "AUDIENCE_INSIGHT|PURCHASE_INTENT", "what is called"},
    {"leads", 0, "N", "leads of one call; for calls of different sizes write several: --leads 8000 12000"},
    {"calls", 0, "N", "calls in a day; of PURCHASE_INTENT: so many calls of --leads each (1)"},
    {"day", 0, "DATE", "refuse a price book that is not in force on this day yet"},
    {"book", 0, "FILE", "price book; else the configuration's, else the one built into this program"},
    {"format", 0, "table|json", "how to print it; json has amounts in fen (table)"},
    {NULL, 0, NULL, NULL},
};

static const struct option_spec topics_options[] = {
    {"file", 0, "FILE", "declaration of the topics instead of the one in the binary (deploy/topics.yaml)"},
    {"partitions", 0, "N", "partitions of each topic, instead of the declaration's"},
    {"replication", 0, "N", "replicas of new topics, instead of the declaration's; -1 is the cluster's default"},
    {NULL, 0, NULL, NULL},
};

// Order of the overview. A verb is listed once its cmd_ function exists.
const struct verb cli_verbs[] = {
    {.name = "quote",
     .run = cmd_quote,
     .summary = "calculate what a need costs by each way of paying",
     .about = "Compares paying after use with each package bought once (what it does not cover is paid after use) and "
              "with the custom package, and marks the least: buying more can cost less. Calls draw on a package one "
              "after the other, and each call is priced by its own number of leads.",
     .config = TAKES_CONFIG,
     .operands = "[N...]",
     .max_operands = ARGS_OPERANDS_MAX,
     .options = quote_options},
    {.name = "topics",
     .run = cmd_topics,
     .summary = "create the topics that are missing, and set those that are there",
     .about = "What is there already is left alone, so it can run at every deployment. Partition counts never change: "
              "if one "
              "differs from the declaration, nothing is changed and it says so.",
     .config = TAKES_CONFIG | CONFIG_REQUIRED,
     .actions = "apply",
     .min_operands = 1,
     .max_operands = 1,
     .options = topics_options},
    {.name = "version", .run = cmd_version, .summary = "print the version and those of the libraries"},
    {.name = "help",
     .run = cmd_help,
     .summary = "explain a verb",
     .operands = "[VERB]",
     .max_operands = 1,
     .options = help_options},
    {.name = NULL},
};
