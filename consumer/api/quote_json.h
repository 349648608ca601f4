// An answer of the price calculator for programs: amounts in fen.
#pragma once

#include "pricing/quote.h"

#include <jansson.h>

// NULL when memory is short.
json_t *quote_json(const struct quote_request *request, const struct book *book,
                   const struct quote *quote);
