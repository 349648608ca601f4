#include "consumer/cli/args_config.h"
#include "consumer/cli/cli_fail.h"
#include "consumer/commands/commands.h"
#include "consumer/retire/retire.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void print_month(void *context, const struct retired_month *month, enum retire_stage stage,
                        const char *archive)
{
    char day[DAY_TEXT_SIZE];
    int64_t rows = 0, bytes = 0;
    (void)context;
    for (size_t t = 0; t < month->table_count; t++) {
        rows += month->tables[t].rows;
        bytes += month->tables[t].bytes;
    }
    printf("%.7s: %" PRId64 " rows in %zu tables, %" PRId64 " kB",
           calendar_format_day(month->month, day), rows, month->table_count, (bytes + 1023) / 1024);
    switch (stage) {
    case RETIRE_WOULD:
        puts(month->detached ? ": detached; would be archived with --archive"
                             : ": would be retired");
        break;
    case RETIRE_DETACHED:
        puts(": detached; the tables stay, as settled.TABLE_YYYY_MM, until they are archived");
        break;
    case RETIRE_ARCHIVED:
        printf(": archived, see %s; the tables are dropped\n", archive);
        break;
    }
    fflush(stdout);
}

// "2025-03": its first day.
static int read_month(const struct args *args, day_t *out, struct error *e)
{
    const char *month = args_get(args, "before");
    if (!month)
        return error_set(e, ERROR_USAGE, "--before MONTH is needed, for example --before 2025-03");
    if (!calendar_parse_month(month, out))
        return error_set(e, ERROR_USAGE, "--before %s: a month is YYYY-MM, for example 2025-03",
                         month);
    return 0;
}

int cmd_retire(const struct args *args)
{
    struct config config = {0};
    struct error e = {0};
    struct retire_options options = {.archive = args_get(args, "archive"),
                                     .dry_run = args_get(args, "dry-run") != NULL};
    int failed = read_month(args, &options.before, &e) || args_load_config(args, &config, &e) ||
                 retire(&config, &options, print_month, NULL, &e);
    config_free(&config);
    return failed ? cli_fail("retire", &e) : 0;
}
