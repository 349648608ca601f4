#include "consumer/decisions/decisions_open.h"

#include "consumer/cli/args_config.h"

#include <stdlib.h>
#include <string.h>

int decisions_open(const struct decisions_opening *opening, struct config *config,
                   struct store **store, struct deployment **recorded, struct error *e)
{
    bool found = false;
    *recorded = calloc(1, sizeof **recorded);
    if (!*recorded)
        return error_set(e, ERROR_RESTART, "out of memory");
    if (args_load_config(opening->args, config, e) ||
        store_open_all(config->dsns, config->dsn_count, opening->access, store, e) ||
        store_check_version(*store, e) ||
        store_load_deployment(*store, *recorded, &found, e) != STORE_OK)
        return -1;
    if (!found)
        return error_set(e, ERROR_CONFIG,
                         "nothing is recorded in the database yet%s: the first 'settled run' "
                         "records the deployment",
                         opening->absence);
    if (strcmp((*recorded)->group, config->group) != 0)
        return error_set(e, ERROR_CONFIG,
                         "kafka.group is %s, but the database serves %s; use the recorded one",
                         config->group, (*recorded)->group);
    return 0;
}

void decisions_close(struct config *config, struct store *store, struct deployment *recorded)
{
    store_close(store);
    if (recorded)
        shelf_clear(&recorded->policy.shelf);
    free(recorded);
    config_free(config);
}
