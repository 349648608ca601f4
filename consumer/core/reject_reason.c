#include "consumer/core/reject_reason.h"

#include "pricing/symbol.h"

#include <assert.h>

#define SYMBOL(symbol, group, since, means) [REJECT_##symbol] = #symbol,
static const char *const symbols[REJECT_REASONS] = {[REJECT_NONE] = "NONE", REJECT_ROWS(SYMBOL)};

#define GROUP(symbol, group, since, means) [REJECT_##symbol] = (group),
static const enum reject_group groups[REJECT_REASONS] = {REJECT_ROWS(GROUP)};

#define GROUP_SYMBOL(group, symbol) [group] = (symbol),
static const char *const group_symbols[REJECT_GROUPS] = {REJECT_GROUP_ROWS(GROUP_SYMBOL)};

const char *reject_symbol(enum reject_reason reason)
{
    return symbols[reason];
}

bool reject_parse(const char *symbol, enum reject_reason *out)
{
    int found = symbol_find(symbols, REJECT_REASONS, symbol);
    if (found <= REJECT_NONE)
        return false;
    *out = (enum reject_reason)found;
    return true;
}

enum reject_group reject_group_of(enum reject_reason reason)
{
    assert(reason > REJECT_NONE);
    assert(reason < REJECT_REASONS);
    return groups[reason];
}

const char *reject_group_symbol(enum reject_group group)
{
    assert(group < REJECT_GROUPS);
    return group_symbols[group];
}

bool reject_group_parse(const char *symbol, enum reject_group *out)
{
    int found = symbol_find(group_symbols, REJECT_GROUPS, symbol);
    if (found < 0)
        return false;
    *out = (enum reject_group)found;
    return true;
}
