// What the price calculator is asked, by a command line or by a request of the API, and what it
// answers to programs.
#pragma once

#include "pricing/quote.h"

#include <jansson.h>

enum quote_word { QUOTE_SERVICE, QUOTE_LEADS, QUOTE_CALLS, QUOTE_WORDS };

struct quote_words {
    const char *kind; // "option" or "parameter", for errors
    const char *names[QUOTE_WORDS];
    const char *service, *calls; // NULL: not given
    size_t lead_count; // lists of leads, each as "8000,8000,12000"
    const char *const *leads;
};

// A service is named by its symbol in any case ("purchase intent" is PURCHASE_INTENT), or as the
// price book names it. Errors: ERROR_USAGE, which name the word.
int quote_ask(const struct quote_words *words, const struct book *book, struct quote_request *out,
              struct error *e);

// Amounts in fen. NULL: memory is short.
json_t *quote_json(const struct quote_request *request, const struct book *book,
                   const struct quote *quote);
