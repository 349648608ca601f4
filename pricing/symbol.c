#include "pricing/symbol.h"

#include <string.h>

int symbol_find(const char *const *symbols, int count, const char *text)
{
    for (int i = 0; i < count; i++)
        if (strcmp(symbols[i], text) == 0)
            return i;
    return -1;
}
