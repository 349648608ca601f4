#include "consumer/http/http_tokens.h"

#include "consumer/base/text.h"
#include "consumer/system/file.h"
#include "pricing/book.h"

#include <assert.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { FILE_MAX = 1 << 20, DIGEST_SIZE = 64 };

struct token {
    char digest[DIGEST_SIZE + 1]; // lower-case hex
    struct http_scope scope;
};

struct http_tokens {
    size_t count, capacity;
    struct token *list;
};

static_assert(sizeof((struct http_scope *)0)->account == ID_SIZE_MAX + 1, "any id fits");

static const char form[] = "is neither SHA256-OF-TOKEN reader nor SHA256-OF-TOKEN account ID; "
                           "the digest is what printf %s TOKEN | sha256sum prints";

// Why *what is wrong, or NULL. The line has no line break, and is not empty.
static const char *read_line(const char *line, size_t size, struct token *out, const char **what)
{
    static const char account[] = "account ";
    const char *why;
    *what = "the line";
    *out = (struct token){0};
    if (size <= DIGEST_SIZE || strspn(line, "0123456789abcdefABCDEF") != DIGEST_SIZE ||
        line[DIGEST_SIZE] != ' ')
        return form;
    for (size_t i = 0; i < DIGEST_SIZE; i++)
        out->digest[i] = line[i] >= 'A' && line[i] <= 'F' ? (char)(line[i] | 0x20) : line[i];
    struct slice rest = {line + DIGEST_SIZE + 1, size - DIGEST_SIZE - 1};
    out->scope.reader = slice_same(rest, slice_text("reader"));
    if (out->scope.reader)
        return NULL;
    if (rest.size < sizeof account || strncmp(rest.data, account, sizeof account - 1) != 0)
        return form;
    struct slice id = {rest.data + sizeof account - 1, rest.size - (sizeof account - 1)};
    *what = "the account's id";
    if (!text_is_id(id, &why))
        return why;
    memcpy(out->scope.account, id.data, id.size);
    return NULL;
}

static void add(struct http_tokens *tokens, const struct token *token)
{
    if (tokens->count == tokens->capacity) {
        tokens->capacity = tokens->capacity ? 2 * tokens->capacity : 16;
        tokens->list = realloc(tokens->list, tokens->capacity * sizeof *tokens->list);
        if (!tokens->list)
            abort(); // out of memory
    }
    tokens->list[tokens->count++] = *token;
}

static struct http_tokens *parse_tokens(const char *path, const char *text, struct error *e)
{
    struct http_tokens *tokens = calloc(1, sizeof *tokens);
    if (!tokens)
        abort(); // out of memory
    int number = 0;
    for (const char *line = text; *line; number++) {
        size_t size = strcspn(line, "\n");
        const char *next = line[size] ? line + size + 1 : line + size;
        if (size > 0 && line[size - 1] == '\r')
            size--;
        struct token token;
        if (size > 0 && line[0] != '#') {
            const char *what, *why = read_line(line, size, &token, &what);
            if (why) {
                error_set(e, ERROR_CONFIG, "http.tokens: %s:%d: %s %s", path, number + 1, what,
                          why);
                http_tokens_free(tokens);
                return NULL;
            }
            add(tokens, &token);
        }
        line = next;
    }
    return tokens;
}

struct http_tokens *http_tokens_read(const char *path, struct error *e)
{
    size_t size;
    char *text = file_read(path, FILE_MAX, &size, e);
    if (!text) {
        error_context(e, "http.tokens");
        return NULL;
    }
    struct http_tokens *tokens = NULL;
    if (strlen(text) == size)
        tokens = parse_tokens(path, text, e);
    else
        error_set(e, ERROR_CONFIG, "http.tokens: %s holds a zero byte, so it is no text", path);
    free(text);
    return tokens;
}

void http_tokens_free(struct http_tokens *tokens)
{
    if (!tokens)
        return;
    free(tokens->list);
    free(tokens);
}

bool http_tokens_find(const struct http_tokens *tokens, const char *authorization,
                      struct http_scope *out)
{
    static const char scheme[] = "Bearer ";
    char digest[DIGEST_SIZE + 1];
    if (!authorization || strncasecmp(authorization, scheme, sizeof scheme - 1) != 0)
        return false;
    const char *token = authorization + sizeof scheme - 1;
    token += strspn(token, " ");
    book_sha256(token, strlen(token), digest);
    bool found = false;
    for (size_t i = 0; i < tokens->count; i++)
        if (CRYPTO_memcmp(tokens->list[i].digest, digest, DIGEST_SIZE) == 0) {
            *out = tokens->list[i].scope;
            found = true;
        }
    return found;
}
