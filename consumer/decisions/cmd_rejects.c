#include "consumer/cli/cli_fail.h"
#include "consumer/decisions/decisions.h"
#include "consumer/decisions/decisions_open.h"
#include "consumer/decisions/reject_view.h"
#include "consumer/decisions/rejects.h"

#include <string.h>

static int filter_topic(struct rejects *r, struct error *e)
{
    const char *text = args_get(r->args, "topic");
    if (!text)
        return 0;
    r->filter.by_input = reject_find_input(text, r->recorded->topics, &r->filter.input);
    if (r->filter.by_input)
        return 0;
    return error_set(e, ERROR_USAGE, "option --topic: '%s' is none of %s, %s, %s", text,
                     r->recorded->topics[0], r->recorded->topics[1], r->recorded->topics[2]);
}

// A day here is the business day on which the record arrived.
static int filter_days(struct rejects *r, struct error *e)
{
    day_t from, to;
    int32_t offset_ms = 0;
    if (args_day(r->args, "from-day", &from, e) || args_day(r->args, "to-day", &to, e))
        return -1;
    if (!calendar_zone_offset(r->recorded->policy.fixed.time_zone, &offset_ms))
        return error_set(e, ERROR_BUG, "the recorded time zone %s is not known",
                         r->recorded->policy.fixed.time_zone);
    if (from != DAY_NONE)
        r->filter.received_from = calendar_day_start(from, offset_ms);
    if (to != DAY_NONE)
        r->filter.received_to = calendar_day_start(to + 1, offset_ms);
    return 0;
}

static int read_filter(struct rejects *r, struct error *e)
{
    int64_t partition, limit;
    const char *reason = args_get(r->args, "reason");
    struct reject_filter *f = &r->filter;
    if (filter_topic(r, e) || filter_days(r, e) ||
        args_integer(r->args, "partition", 0, INT32_MAX, -1, &partition, e) ||
        args_integer(r->args, "limit", 1, INT32_MAX, 0, &limit, e))
        return -1;
    if (reason && !reject_parse(reason, &f->reason))
        return error_set(e, ERROR_USAGE, "option --reason: '%s' is no reason for a reject", reason);
    if (args_get(r->args, "group-by") && strcmp(r->args->operands[0], "list") != 0)
        return error_set(e, ERROR_USAGE, "option --group-by: only list counts rejects");
    f->by_shard = partition >= 0;
    f->shard = f->by_shard ? (int32_t)partition : 0;
    f->limit = (size_t)limit;
    f->account_id = args_get(r->args, "account");
    f->open_only = !args_get(r->args, "all");
    r->filtered = f->by_input || f->by_shard || f->reason || f->account_id || f->received_from ||
                  f->received_to;
    return 0;
}

static int open_all(struct rejects *r, struct error *e)
{
    bool reads = strcmp(r->args->operands[0], "list") == 0;
    const struct decisions_opening opening = {r->args, reads ? STORE_READS : STORE_WRITES,
                                              ", so there are no rejects"};
    return decisions_open(&opening, &r->config, &r->store, &r->recorded, e) ? -1
                                                                            : read_filter(r, e);
}

static int run_action(struct rejects *r, int *status, struct error *e)
{
    const char *action = r->args->operands[0];
    if (strcmp(action, "list") == 0)
        return rejects_list(r, e);
    if (strcmp(action, "requeue") == 0)
        return rejects_decide(r, DECISION_REQUEUE, status, e);
    if (strcmp(action, "accept") == 0)
        return rejects_decide(r, DECISION_ACCEPT, status, e);
    if (strcmp(action, "refuse") == 0)
        return rejects_decide(r, DECISION_REFUSE, status, e);
    return rejects_decide(r, DECISION_PASS, status, e);
}

int cmd_rejects(const struct args *args)
{
    struct rejects r = {.args = args};
    struct error e = {0};
    int status = 0;
    int failed = open_all(&r, &e);
    if (!failed)
        failed = run_action(&r, &status, &e);
    decisions_close(&r.config, r.store, r.recorded);
    return failed ? cli_fail("rejects", &e) : status;
}
