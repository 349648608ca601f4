#include "pricing/service.h"

#include "pricing/symbol.h"

#include <assert.h>

#define SYMBOL(symbol, unit) [SERVICE_##symbol] = #symbol,
static const char *const symbols[SERVICE_COUNT] = {SERVICE_ROWS(SYMBOL)};

#define UNIT(symbol, unit) [SERVICE_##symbol] = (unit),
static const enum billed_unit units[SERVICE_COUNT] = {SERVICE_ROWS(UNIT)};

const char *service_symbol(enum service service)
{
    assert(service >= 0 && service < SERVICE_COUNT);
    return symbols[service];
}

bool service_parse(const char *symbol, enum service *out)
{
    int found = symbol_find(symbols, SERVICE_COUNT, symbol);
    if (found < 0)
        return false;
    *out = (enum service)found;
    return true;
}

enum billed_unit service_unit(enum service service)
{
    return units[service];
}

const char *billed_unit_symbol(enum billed_unit unit)
{
    static const char *const unit_symbols[] = {[UNIT_CALL] = "call", [UNIT_LEAD] = "lead"};
    return unit_symbols[unit];
}
