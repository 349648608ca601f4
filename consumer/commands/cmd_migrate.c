#include "consumer/cli/args_config.h"
#include "consumer/cli/cli_fail.h"
#include "consumer/commands/commands.h"
#include "consumer/config/config.h"
#include "consumer/postgres/store.h"

#include <stdio.h>

int cmd_migrate(const struct args *args)
{
    struct config config;
    struct error e = {0};
    struct store *store = NULL;
    int applied = 0;
    int status = args_load_config(args, &config, &e);
    if (status == 0)
        status = store_open_all(config.dsns, config.dsn_count, STORE_WRITES, &store, &e);
    if (status == 0)
        status = store_migrate(store, &applied, &e);
    store_close(store);
    config_free(&config);
    if (status)
        return cli_fail("migrate", &e);
    if (applied)
        printf("applied %d migration%s\n", applied, applied == 1 ? "" : "s");
    else
        puts("nothing to do");
    return 0;
}
