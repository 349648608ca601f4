// Numbers for people: a comma between thousands, whatever the locale.
#pragma once

#include "pricing/money.h"

enum { NUMBER_SIZE = 48 };

char *format_count(int64_t count, char out[NUMBER_SIZE]); // "1,234,567"; returns out
char *format_yuan(fen_t amount, char out[NUMBER_SIZE]); // "-1,234.50"; returns out
