#include "consumer/core/reject_reason.h"

#include "pricing/symbol.h"

#define SYMBOL(symbol, broken, since, means) [REJECT_##symbol] = #symbol,
static const char *const symbols[REJECT_REASONS] = {[REJECT_NONE] = "NONE", REJECT_ROWS(SYMBOL)};

#define BROKEN(symbol, broken, since, means) [REJECT_##symbol] = (broken),
static const bool is_broken[REJECT_REASONS] = {REJECT_ROWS(BROKEN)};

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

bool reject_is_broken(enum reject_reason reason)
{
    return is_broken[reason];
}
