#include "consumer/core/record.h"

#include <string.h>

static const char *const reasons[REJECT_REASONS] = {
    "NONE",        "UNDECODABLE", "UNKNOWN_SCHEMA", "INCOMPATIBLE_SCHEMA", "MISROUTED", "INVALID",
    "FROM_FUTURE", "TOO_LATE",    "REFUND",         "NOT_FOR_SALE",        "CONFLICT",
};

const char *reject_symbol(enum reject_reason reason)
{
    return reasons[reason];
}

bool reject_parse(const char *symbol, enum reject_reason *out)
{
    for (int i = REJECT_NONE + 1; i < REJECT_REASONS; i++) {
        if (strcmp(reasons[i], symbol) != 0)
            continue;
        *out = (enum reject_reason)i;
        return true;
    }
    return false;
}
