// Whether this user may write to the outputs, use the transactional ids, and commit for the groups.
#include "consumer/preflight/gates.h"
#include "consumer/preflight/needed_access.h"

struct verdicts {
    struct gates *g;
    bool all; // so far
};

static void take_answer(void *context, const struct access_answer *answer)
{
    struct verdicts *verdicts = context;
    verdicts->all = verdicts->all && !answer->code;
    if (!answer->code)
        return;
    if (refusal_of_permission(answer->code))
        gates_find_error(verdicts->g, &answer->why);
    else
        WARN(verdicts->g, "not looked at: %s", answer->why.text);
}

// What an offset is committed for must be there, and may be read: that is told with the records.
static void take_group(void *context, const struct access_answer *answer)
{
    struct verdicts *verdicts = context;
    if (answer->code == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED)
        verdicts->all = false;
    else
        take_answer(context, answer);
}

void gate_permissions(struct gates *g)
{
    struct error e = {0};
    struct verdicts verdicts = {.g = g};
    struct needed_access needed;
    struct access_needs *needs = &needed.needs;
    needed_access_find(g->config, &g->properties, "check", &needed);
    needs->write_count = 0;
    for (enum output o = 0; o < OUTPUT_COUNT; o++)
        if (g->topics[INPUT_COUNT + o].exists)
            needs->writes[needs->write_count++] = g->config->output_topics[o];
    if (access_try_writing(needs, take_answer, &verdicts, &e))
        gates_find_error(g, &e);
    if (!g->topics[INPUT_COUNT + OUTPUT_DAY_CLOSES].exists)
        return;
    verdicts.all = true;
    if (access_try_transactions(needs, take_group, &verdicts, &e))
        gates_find_error(g, &e);
    else if (verdicts.all)
        g->facts |= FACT_GROUPS;
}
