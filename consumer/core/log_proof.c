#include "consumer/core/log_proof.h"

#include <inttypes.h>

int log_proof_reach(const struct log_place *place, const struct log_reach *reach, int64_t needed,
                    const struct log_state *remembered, struct error *e)
{
    if (needed < reach->low)
        return error_set(e, ERROR_CONFIG,
                         "%s/%" PRId32 ": offsets %" PRId64 " to %" PRId64
                         " are needed and are not kept any more (the log starts at %" PRId64
                         "); restore them, or see the runbook: retention is too short",
                         place->topic, place->partition, needed, reach->low - 1, reach->low);
    if (remembered->next > reach->end)
        return error_set(
            e, ERROR_CONFIG,
            "%s/%" PRId32 ": read up to offset %" PRId64 ", but the log ends at %" PRId64
            ": the topic was deleted and made again, or the cluster lost data; see the runbook",
            place->topic, place->partition, remembered->next, reach->end);
    return 0;
}

bool log_proof_holds(const struct log_state *remembered, const struct event *record)
{
    return record->offset == remembered->last_offset &&
           record->timestamp == remembered->last_timestamp &&
           fold_record_hash(record) == remembered->last_hash;
}

int log_proof_refuse(const struct log_place *place, const struct log_state *remembered,
                     struct error *e)
{
    return error_set(
        e, ERROR_CONFIG,
        "%s/%" PRId32 ": the record at offset %" PRId64
        " is not the one that was read there: the topic was deleted and made again, or "
        "rewritten; see the runbook",
        place->topic, place->partition, remembered->last_offset);
}
