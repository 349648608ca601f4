// Who may ask for what over HTTP.
#include "consumer/http/http.h"
#include "consumer/http/http_tokens.h"
#include "consumer/preflight/gates.h"

#include <sys/stat.h>

void gate_http(struct gates *g)
{
    struct error e = {0};
    struct stat file;
    const struct config *c = g->config;
    if (c->http_listen[0] && !c->http_tokens && !http_listens_on_loopback(c->http_listen))
        WARN(g,
             "http.listen is %s, which other machines can reach, and no http.tokens are named: "
             "below /v1/ nobody is answered. Name a file of tokens, or listen on 127.0.0.1",
             c->http_listen);
    if (!c->http_tokens)
        return;
    struct http_tokens *tokens = http_tokens_read(c->http_tokens, &e);
    if (!tokens)
        gates_find_error(g, &e);
    http_tokens_free(tokens);
    if (stat(c->http_tokens, &file) == 0 && (file.st_mode & S_IROTH))
        WARN(g,
             "http.tokens: every user of this machine may read %s, and see which accounts have "
             "tokens: chmod o-rwx %s",
             c->http_tokens, c->http_tokens);
}
