#include "consumer/preflight/needed_access.h"

#include "consumer/relay/publisher.h"

#include <assert.h>
#include <stdio.h>

static_assert((int)NEEDED_NAME_SIZE > (int)RELAY_GROUP_SIZE + 16, "a name has room for its end");

void needed_access_find(const struct config *config, const struct client_properties *properties,
                        const char *end, struct needed_access *out)
{
    *out = (struct needed_access){.needs.properties = *properties};
    struct access_needs *needs = &out->needs;
    (void)relay_group(config->group, out->relay);
    snprintf(out->ids, sizeof out->ids, "%.300s-", out->relay);
    snprintf(out->id, sizeof out->id, "%.300s-%.15s", out->relay, end);
    needs->groups[0] = config->group;
    needs->groups[1] = out->relay;
    needs->transactional_ids = out->ids;
    needs->tried_id = out->id;
    needs->offset_topic = config->output_topics[OUTPUT_DAY_CLOSES];
    for (int i = 0; i < INPUT_COUNT; i++)
        needs->reads[needs->read_count++] = config->input_topics[i];
    for (int o = 0; o < OUTPUT_COUNT; o++) {
        needs->reads[needs->read_count++] = config->output_topics[o];
        needs->writes[needs->write_count++] = config->output_topics[o];
    }
}
