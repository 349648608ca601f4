#include "consumer/daemon/http.h"

#include <assert.h>
#include <microhttpd.h>
#include <netdb.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { ACCEPTED_MAX = HTTP_CONNECTIONS_MAX + 64 }; // with those that were ended and not closed yet

// A connection, in the order in which they were opened or last answered.
struct http_peer {
    int fd;
    bool ended; // shut down, and no longer in the list
    struct http_peer *before, *after;
};

struct http {
    const struct http_route *routes;
    size_t count;
    struct MHD_Daemon *daemon;
    // The head of a ring: its `after` is the oldest connection, its `before` the newest. All of
    // this belongs to the server's thread.
    struct http_peer peers;
    size_t open;
};

// ---- the connections ----

static void take_out(struct http *http, struct http_peer *peer)
{
    assert(http->open > 0);
    assert(!peer->ended);
    peer->before->after = peer->after;
    peer->after->before = peer->before;
    http->open--;
}

static void put_newest(struct http *http, struct http_peer *peer)
{
    struct http_peer *newest = http->peers.before;
    peer->before = newest;
    peer->after = &http->peers;
    newest->after = peer;
    http->peers.before = peer;
    http->open++;
}

// Clients that hold connections and ask nothing, or ask a byte at a time, must not keep a health
// probe out. So the connection that was answered longest ago makes room for a new one. It is only
// shut down here; the server's loop then sees its end and closes it.
static void make_room(struct http *http)
{
    struct http_peer *oldest = http->peers.after;
    if (http->open <= HTTP_CONNECTIONS_MAX)
        return;
    take_out(http, oldest);
    oldest->ended = true;
    shutdown(oldest->fd, SHUT_RDWR);
}

static void on_connection(void *context, struct MHD_Connection *connection, void **state,
                          enum MHD_ConnectionNotificationCode code)
{
    struct http *http = context;
    struct http_peer *peer = *state;
    if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
        if (peer && !peer->ended)
            take_out(http, peer);
        free(peer);
        *state = NULL;
        return;
    }
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    *state = peer = calloc(1, sizeof *peer);
    if (!peer || !info)
        return; // short of memory: it is served, and ends by the time-out alone
    peer->fd = info->connect_fd;
    put_newest(http, peer);
    make_room(http);
    assert(http->open <= HTTP_CONNECTIONS_MAX);
}

static void renew(struct http *http, struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    struct http_peer *peer = info ? info->socket_context : NULL;
    if (!peer || peer->ended)
        return;
    take_out(http, peer);
    put_newest(http, peer);
}

// ---- requests ----

static const struct http_route *find_route(const struct http *http, const char *path)
{
    const struct http_route *found = NULL;
    size_t longest = 0;
    for (size_t i = 0; i < http->count; i++) {
        const char *route = http->routes[i].path;
        size_t size = strlen(route);
        assert(route[0] == '/');
        if (strcmp(route, path) == 0)
            return &http->routes[i];
        if (size > longest && route[size - 1] == '/' && strncmp(route, path, size) == 0) {
            found = &http->routes[i];
            longest = size;
        }
    }
    return found;
}

static enum MHD_Result send_answer(struct MHD_Connection *connection,
                                   const struct http_answer *answer, const char *allow)
{
    struct MHD_Response *response;
    assert(!answer->bytes || !answer->body);
    assert(answer->content_type != NULL);
    assert(answer->status >= MHD_HTTP_OK);
    if (answer->bytes) {
        // The library takes a pointer to what it may change; with this mode it only reads.
        union {
            const void *in;
            void *out;
        } bytes = {.in = answer->bytes};
        response = MHD_create_response_from_buffer(answer->size, bytes.out, MHD_RESPMEM_PERSISTENT);
    } else {
        char *body = answer->body ? answer->body : strdup("");
        response = body ? MHD_create_response_from_buffer(answer->body ? answer->size : 0, body,
                                                          MHD_RESPMEM_MUST_FREE)
                        : NULL;
    }
    if (!response)
        return MHD_NO;
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, answer->content_type);
    MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    if (allow)
        MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, allow);
    enum MHD_Result result = MHD_queue_response(connection, answer->status, response);
    MHD_destroy_response(response);
    return result;
}

static char *text(const char *line, struct http_answer *answer)
{
    answer->body = strdup(line);
    answer->size = answer->body ? strlen(line) : 0;
    return answer->body;
}

static enum MHD_Result on_request(void *context, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_size, void **state)
{
    static int seen;
    struct http *http = context;
    struct http_answer answer = {.status = MHD_HTTP_OK,
                                 .content_type = "text/plain; charset=utf-8"};
    const char *allow = NULL;
    (void)version;
    (void)upload;
    // The first call comes before any body: an answer then would close the connection.
    if (!*state) {
        *state = &seen;
        return MHD_YES;
    }
    const struct http_route *route = find_route(http, url);
    if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0) {
        if (*upload_size > 0) {
            *upload_size = 0;
            return MHD_YES;
        }
        answer.status = MHD_HTTP_METHOD_NOT_ALLOWED;
        allow = "GET, HEAD";
        text("only GET and HEAD are answered here\n", &answer);
    } else if (!route) {
        answer.status = MHD_HTTP_NOT_FOUND;
        text("there is nothing at this path\n", &answer);
    } else {
        route->answer(route->context, &answer);
    }
    renew(http, connection);
    return send_answer(connection, &answer, allow);
}

// "127.0.0.1:9464" or "[::1]:9464" into an address.
static struct addrinfo *resolve(const char *listen, struct error *e)
{
    char host[256];
    const char *colon = strrchr(listen, ':');
    size_t size = colon ? (size_t)(colon - listen) : 0;
    const char *from = listen;
    if (size >= 2 && listen[0] == '[' && listen[size - 1] == ']') {
        from++;
        size -= 2;
    }
    if (!colon || size == 0 || size >= sizeof host || !colon[1]) {
        error_set(e, ERROR_CONFIG, "http.listen: %s is not HOST:PORT", listen);
        return NULL;
    }
    memcpy(host, from, size);
    host[size] = '\0';
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV},
                    *found = NULL;
    int failed = getaddrinfo(host, colon + 1, &hints, &found);
    if (!failed)
        return found;
    error_set(e, ERROR_CONFIG, "http.listen: %s: %s", listen, gai_strerror(failed));
    return NULL;
}

static struct MHD_Daemon *start_daemon(struct http *http, const struct addrinfo *address)
{
    unsigned flags = MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_AUTO;
    if (address->ai_family == AF_INET6)
        flags |= MHD_USE_IPv6;
    return MHD_start_daemon(flags, 0, NULL, NULL, on_request, http, MHD_OPTION_SOCK_ADDR,
                            address->ai_addr, MHD_OPTION_NOTIFY_CONNECTION, on_connection, http,
                            MHD_OPTION_CONNECTION_LIMIT, (unsigned)ACCEPTED_MAX,
                            MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)HTTP_TIMEOUT_S,
                            MHD_OPTION_END);
}

int http_create(const char *listen, const struct http_route *routes, size_t count,
                struct http **out, struct error *e)
{
    *out = NULL;
    struct addrinfo *address = resolve(listen, e);
    if (!address)
        return -1;
    struct http *http = calloc(1, sizeof *http);
    if (http) {
        http->routes = routes;
        http->count = count;
        http->peers.before = http->peers.after = &http->peers;
        http->daemon = start_daemon(http, address);
    }
    freeaddrinfo(address);
    if (http && http->daemon) {
        *out = http;
        return 0;
    }
    free(http);
    return error_set(
        e, ERROR_CONFIG,
        "http.listen: nothing can listen on %s (taken already, or not an address of this machine)",
        listen);
}

void http_destroy(struct http *http)
{
    if (!http)
        return;
    MHD_stop_daemon(http->daemon);
    free(http);
}

unsigned http_port(const struct http *http)
{
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_BIND_PORT);
    return info ? info->port : 0;
}
