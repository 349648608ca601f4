// Who may ask: the SHA-256 of tokens, each with what it may see. One line each,
//
//     SHA256-OF-TOKEN reader
//     SHA256-OF-TOKEN account ID
//
// with comments (#) and empty lines between. The id is the rest of its line.
#pragma once

#include "pricing/error.h"

#include <stdbool.h>
#include <stddef.h>

struct http_tokens;

// NULL with *e (ERROR_CONFIG), which names file and line.
struct http_tokens *http_tokens_read(const char *path, struct error *e);
void http_tokens_free(struct http_tokens *tokens); // NULL is nothing

struct http_scope {
    bool reader; // may see everything
    char account[129]; // else this account alone
};
// Looks for the token of a header "Authorization: Bearer TOKEN" (NULL: it was not sent). How long
// it takes tells nothing about the tokens. False: it is none of them.
bool http_tokens_find(const struct http_tokens *tokens, const char *authorization,
                      struct http_scope *out);
