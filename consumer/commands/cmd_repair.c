#include "consumer/cli/args_config.h"
#include "consumer/cli/cli_fail.h"
#include "consumer/commands/commands.h"
#include "consumer/replay/repair.h"

#include <inttypes.h>
#include <stdio.h>

static void print_shard(void *context, const struct repaired *r)
{
    (void)context;
    if (r->to == r->from && r->again == 0) {
        printf("shard %" PRId32 ": nothing is missing (row %" PRId64 ")\n", r->shard, r->to);
    } else if (r->to > r->from) {
        printf(
            "shard %" PRId32 ": rows %" PRId64 " to %" PRId64 " are back: %" PRId64
            " days, %" PRId64 " settlements, %" PRId64 " changes of status, %" PRId64 " rejects\n",
            r->shard, r->from + 1, r->to, r->days, r->settlements, r->status_changes, r->rejects);
    }
    if (r->again > 0)
        printf(
            "shard %" PRId32 ": %" PRId64 " rows that the output topics had lost, of %" PRId64
            " to %" PRId64
            ", are published again; they stand at the ends of their topics: tell the subscribers\n",
            r->shard, r->again, r->again_first, r->again_last);
    fflush(stdout);
}

int cmd_repair(const struct args *args)
{
    struct config config = {0};
    struct error e = {0};
    int failed = args_load_config(args, &config, &e) || repair(&config, print_shard, NULL, &e);
    config_free(&config);
    return failed ? cli_fail("repair", &e) : 0;
}
