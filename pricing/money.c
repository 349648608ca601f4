#include "pricing/money.h"

#include <inttypes.h>
#include <stdio.h>

char *money_format_yuan(fen_t amount, char out[MONEY_TEXT_SIZE])
{
    uint64_t fen = amount < 0 ? -(uint64_t)amount : (uint64_t)amount;
    snprintf(out, MONEY_TEXT_SIZE, "%s%" PRIu64 ".%02u", amount < 0 ? "-" : "", fen / 100,
             (unsigned)(fen % 100));
    return out;
}
