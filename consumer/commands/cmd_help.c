#include "consumer/cli/cli_fail.h"
#include "consumer/cli/cli_help.h"
#include "consumer/commands/commands.h"
#include "consumer/config/config.h"
#include "consumer/shard/metrics.h"

#include <libpq-fe.h>
#include <librdkafka/rdkafka.h>
#include <stdio.h>

int cmd_help(const struct args *args)
{
    struct error e = {0};
    if (args_get(args, "man")) {
        cli_print_man(args->verbs);
    } else if (args_get(args, "bash-completion")) {
        cli_print_bash_completion(args->verbs);
    } else if (args_get(args, "config-example")) {
        config_print_example(stdout);
    } else if (args_get(args, "metrics")) {
        metrics_print_reference(stdout);
    } else if (args->operand_count == 0) {
        cli_print_overview(args->verbs);
    } else {
        const struct verb *verb = verb_find(args->verbs, args->operands[0]);
        if (!verb) {
            error_set(&e, ERROR_USAGE, "there is no verb '%s'; 'settled --help' lists them",
                      args->operands[0]);
            return cli_fail("help", &e);
        }
        cli_print_verb_help(verb);
    }
    return 0;
}

int cmd_version(const struct args *args)
{
    (void)args;
    int pq = PQlibVersion();
    printf("settled %s (%s)\nlibrdkafka %s\navro-c %s\nlibpq %d.%d\n", SETTLED_VERSION,
           SETTLED_COMMIT, rd_kafka_version_str(), SETTLED_AVRO_VERSION, pq / 10000, pq % 10000);
    return 0;
}
