#include "consumer/audit/audit.h"
#include "consumer/cli/args_config.h"
#include "consumer/cli/cli_fail.h"
#include "consumer/commands/commands.h"

#include <stdio.h>
#include <string.h>

enum { EXIT_EQUAL = 0, EXIT_DIFFERENT = 1, EXIT_COULD_NOT_LOOK = 2 };

static int read_options(const struct args *args, struct audit_options *options, struct error *e)
{
    options->account_id = args_get(args, "account");
    if (args_day(args, "from", &options->from, e) || args_day(args, "to", &options->to, e))
        return -1;
    if (options->from != DAY_NONE && options->to != DAY_NONE && options->from > options->to)
        return error_set(e, ERROR_USAGE, "--from is after --to");
    return 0;
}

int cmd_audit(const struct args *args)
{
    struct audit_options options;
    struct config config = {0};
    struct error e = {0};
    const char *format = args_get(args, "format");
    struct report report = {.json = format && strcmp(format, "json") == 0,
                            .compared_from = DAY_NONE,
                            .all = args_get(args, "all") != NULL};
    if (read_options(args, &options, &e))
        return cli_fail("audit", &e);
    if (options.account_id)
        report.account_id = slice_text(options.account_id);
    report_begin(&report);
    int failed = args_load_config(args, &config, &e) || audit(&config, &options, &report, &e);
    report_end(&report, failed ? &e : NULL);
    config_free(&config);
    // The differences found until then are valid, but there may be more.
    if (failed)
        cli_fail("audit", &e);
    if (failed)
        return EXIT_COULD_NOT_LOOK;
    return report.totals.differences > 0 ? EXIT_DIFFERENT : EXIT_EQUAL;
}
