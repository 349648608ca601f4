#include "consumer/decisions/reject_view.h"

#include <stdio.h>
#include <string.h>

const char *reject_state(const struct reject_row *row, char out[REJECT_STATE_SIZE])
{
    static const char *const done[] = {[DECISION_ACCEPT] = "accepted",
                                       [DECISION_REQUEUE] = "requeued",
                                       [DECISION_REFUSE] = "refused"};
    if (row->decision && row->request && row->request_kind != DECISION_PASS)
        snprintf(out, REJECT_STATE_SIZE, "%s", done[row->request_kind]);
    else if (row->decision)
        snprintf(out, REJECT_STATE_SIZE, "decided");
    else if (row->request)
        snprintf(out, REJECT_STATE_SIZE, "%s asked (%s)", decision_symbol(row->request_kind),
                 request_state_symbol(row->request_state));
    else
        snprintf(out, REJECT_STATE_SIZE, row->waiting ? "waiting" : "open");
    return out;
}

// Where it stands, and what is known of it.
static json_t *place_json(const struct reject_row *row, int32_t offset_ms)
{
    char time[INSTANT_TEXT_SIZE];
    return json_pack("{s:s, s:i, s:I, s:s, s:s, s:s?, s:s?, s:s}", "topic", row->topic, "partition",
                     (int)row->shard, "offset", (json_int_t)row->offset, "received_at",
                     calendar_format_instant(row->received_at, offset_ms, time), "reason",
                     row->reason, "account_id", row->account_id, "record_id", row->record_id,
                     "detail", row->detail);
}

json_t *reject_json(const struct reject_row *row, int32_t offset_ms)
{
    char state[REJECT_STATE_SIZE];
    json_t *json = place_json(row, offset_ms);
    if (json)
        json_object_set_new(json, "state", json_string(reject_state(row, state)));
    return json;
}

json_t *reject_group_json(const struct reject_group_row *group, int32_t offset_ms)
{
    return json_pack("{s:s, s:I, s:I, s:s, s:o, s:o}", "group", group->key, "count",
                     (json_int_t)group->count, "accounts", (json_int_t)group->accounts, "reasons",
                     group->reasons, "first", place_json(&group->first, offset_ms), "last",
                     place_json(&group->last, offset_ms));
}

bool reject_find_input(const char *text, const char topics[INPUT_COUNT][250], enum input *out)
{
    static const char *const keys[INPUT_COUNT] = {"calls", "purchases", "credits"};
    for (*out = 0; *out < INPUT_COUNT; (*out)++)
        if (strcmp(text, keys[*out]) == 0 || strcmp(text, topics[*out]) == 0)
            return true;
    return false;
}
