#include "consumer/http/http.h"

#include "consumer/base/arena.h"
#include "consumer/http/http_client.h"
#include "consumer/http/http_peers.h"
#include "consumer/http/http_pool.h"
#include "consumer/http/http_target.h"

#include <assert.h>
#include <microhttpd.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    ACCEPTED_MAX = HTTP_CONNECTIONS_MAX + 64, // with those that were ended and not closed yet
    BUSY_RETRY_S = 1,
};

struct http {
    const struct http_route *routes;
    size_t count;
    struct MHD_Daemon *daemon;
    struct http_peers peers;
    struct http_pool *pool;
    bool loopback;
};

// A request and its answer. While another thread makes the answer, the connection is suspended, and
// nobody else looks at the exchange.
struct exchange {
    struct http *http;
    struct MHD_Connection *connection;
    const struct http_route *route;
    struct arena *texts;
    struct http_request request;
    bool heard; // the headers are there
    bool bad, crowded; // an escape that is none; too many parameters
    bool answered; // by the other thread
    struct http_answer answer;
};

// ---- the connections ----

static void on_connection(void *context, struct MHD_Connection *connection, void **state,
                          enum MHD_ConnectionNotificationCode code)
{
    struct http *http = context;
    if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
        http_peers_close(&http->peers, *state);
        *state = NULL;
        return;
    }
    const union MHD_ConnectionInfo *fd =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    if (!fd)
        return;
    int number = fd->connect_fd;
    const union MHD_ConnectionInfo *address =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    *state = http_peers_open(&http->peers, number, address ? address->client_addr : NULL,
                             HTTP_CONNECTIONS_MAX);
}

static void renew(struct http *http, struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    http_peers_renew(&http->peers, info ? info->socket_context : NULL);
}

// ---- what is asked ----

// The library would decode before it is known where a segment ends.
static size_t keep_escapes(void *context, struct MHD_Connection *connection, char *text)
{
    (void)context;
    (void)connection;
    return strlen(text);
}

static const char *copy_decoded(struct exchange *x, const char *text)
{
    char *copy = arena_copy(x->texts, text, strlen(text));
    x->bad = !http_decode(copy, true) || x->bad;
    return copy;
}

static enum MHD_Result take_parameter(void *context, enum MHD_ValueKind kind, const char *name,
                                      const char *value)
{
    struct exchange *x = context;
    struct http_request *request = &x->request;
    (void)kind;
    x->crowded = request->parameter_count == HTTP_PARAMETERS_MAX;
    if (x->crowded)
        return MHD_NO;
    request->parameters[request->parameter_count++] =
        (struct http_parameter){copy_decoded(x, name), copy_decoded(x, value ? value : "")};
    return MHD_YES;
}

static const char *copy_header(struct exchange *x, const char *name)
{
    const char *value = MHD_lookup_connection_value(x->connection, MHD_HEADER_KIND, name);
    return value ? arena_copy(x->texts, value, strlen(value)) : NULL;
}

// Copies, for another thread may read them.
static void read_request(struct exchange *x, const char *url)
{
    char *path = arena_copy(x->texts, url, strlen(url));
    x->bad = path[0] != '/' || !http_split_path(path, &x->request);
    MHD_get_connection_values(x->connection, MHD_GET_ARGUMENT_KIND, take_parameter, x);
    x->request.authorization = copy_header(x, MHD_HTTP_HEADER_AUTHORIZATION);
    x->request.accept = copy_header(x, MHD_HTTP_HEADER_ACCEPT);
    x->request.if_none_match = copy_header(x, MHD_HTTP_HEADER_IF_NONE_MATCH);
    x->request.host = copy_header(x, MHD_HTTP_HEADER_HOST);
    x->request.asked_by = copy_header(x, HTTP_ASKED_BY);
}

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

// ---- what is answered ----

void http_put_text(struct http_answer *out, unsigned status, const char *line)
{
    out->status = status;
    out->body = strdup(line);
    out->size = out->body ? strlen(line) : 0;
}

// What the server answers by itself, in the form of the route.
static void refuse_exchange(struct exchange *x, unsigned status, const char *why)
{
    char line[256];
    if (x->route && x->route->refuse) {
        x->route->refuse(status, why, &x->answer);
        return;
    }
    snprintf(line, sizeof line, "%s\n", why);
    http_put_text(&x->answer, status, line);
}

static void work(void *job, int thread)
{
    struct exchange *x = job;
    x->route->answer(x->route->context, thread, &x->request, &x->answer);
    x->answered = true;
    MHD_resume_connection(x->connection);
}

// Hands the request to another thread, which owns the exchange from then on. False: too many wait.
static bool hand_over(struct exchange *x)
{
    MHD_suspend_connection(x->connection);
    if (http_pool_put(x->http->pool, x))
        return true;
    MHD_resume_connection(x->connection);
    return false;
}

// False: another thread makes the answer, or has made it by now.
static bool make_answer(struct exchange *x, const char *url, const char *method)
{
    struct http_answer *out = &x->answer;
    static const struct http_header allow[] = {{MHD_HTTP_HEADER_ALLOW, "GET, HEAD"}, {NULL, NULL}};
    x->route = find_route(x->http, url);
    if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0) {
        refuse_exchange(x, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET and HEAD are answered here");
        out->headers = allow;
    } else if (!x->route) {
        refuse_exchange(x, MHD_HTTP_NOT_FOUND, "there is nothing at this path");
    } else if (x->bad) {
        refuse_exchange(x, MHD_HTTP_BAD_REQUEST,
                        "the target is not UTF-8 with escapes as %41, or has too many segments");
    } else if (x->crowded) {
        refuse_exchange(x, MHD_HTTP_BAD_REQUEST, "too many parameters");
    } else if (!x->route->waits) {
        x->route->answer(x->route->context, 0, &x->request, out);
    } else if (hand_over(x)) {
        return false;
    } else {
        refuse_exchange(x, MHD_HTTP_SERVICE_UNAVAILABLE, "too much is asked at once: ask again");
        out->retry_after_s = BUSY_RETRY_S;
    }
    return true;
}

static struct MHD_Response *make_response(struct http_answer *out)
{
    assert(!out->bytes || !out->body);
    if (out->bytes) {
        // The library takes a pointer to what it may change; with this mode it only reads.
        union {
            const void *in;
            void *out;
        } bytes = {.in = out->bytes};
        return MHD_create_response_from_buffer(out->size, bytes.out, MHD_RESPMEM_PERSISTENT);
    }
    char *body = out->body;
    out->body = NULL;
    if (!body)
        return MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
    return MHD_create_response_from_buffer(out->size, body, MHD_RESPMEM_MUST_FREE);
}

static void add_link(struct MHD_Response *response, const char *target)
{
    static const char form[] = "<%s>; rel=\"next\"";
    size_t size = sizeof form + strlen(target);
    char *value = malloc(size);
    if (!value)
        return;
    snprintf(value, size, form, target);
    MHD_add_response_header(response, MHD_HTTP_HEADER_LINK, value);
    free(value);
}

static void add_headers(struct MHD_Response *response, const struct http_answer *out)
{
    char seconds[16];
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, out->content_type);
    MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL,
                            out->etag[0] ? "private, no-cache" : "no-store");
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    if (out->etag[0])
        MHD_add_response_header(response, MHD_HTTP_HEADER_ETAG, out->etag);
    if (out->retry_after_s > 0) {
        snprintf(seconds, sizeof seconds, "%d", out->retry_after_s);
        MHD_add_response_header(response, MHD_HTTP_HEADER_RETRY_AFTER, seconds);
    }
    if (out->next)
        add_link(response, out->next);
    for (const struct http_header *h = out->headers; h && h->name; h++)
        MHD_add_response_header(response, h->name, h->value);
}

// The client has it already.
static bool is_known(const struct exchange *x)
{
    const char *known = x->request.if_none_match;
    return x->answer.etag[0] && x->answer.status == MHD_HTTP_OK && known &&
           (strcmp(known, "*") == 0 || strstr(known, x->answer.etag));
}

static enum MHD_Result send_answer(struct exchange *x)
{
    struct http_answer *out = &x->answer;
    assert(out->content_type != NULL);
    assert(out->status >= MHD_HTTP_OK);
    if (is_known(x)) {
        free(out->body);
        out->body = NULL;
        out->bytes = NULL;
        out->size = 0;
        out->status = MHD_HTTP_NOT_MODIFIED;
    }
    struct MHD_Response *response = make_response(out);
    if (!response)
        return MHD_NO;
    add_headers(response, out);
    enum MHD_Result result = MHD_queue_response(x->connection, out->status, response);
    MHD_destroy_response(response);
    return result;
}

// The first that is known of a request: its target as it was sent. NULL: memory is short.
static void *begin(void *context, const char *target, struct MHD_Connection *connection)
{
    struct exchange *x = calloc(1, sizeof *x);
    if (!x)
        return NULL;
    x->http = context;
    x->connection = connection;
    x->answer =
        (struct http_answer){.status = MHD_HTTP_OK, .content_type = "text/plain; charset=utf-8"};
    x->texts = arena_create();
    if (!x->texts) {
        free(x);
        return NULL;
    }
    x->request.target = arena_copy(x->texts, target, strlen(target));
    return x;
}

// Called first when the headers are there, then for each piece of a body, then for the answer; and
// again when another thread has made it.
static enum MHD_Result on_request(void *context, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_size, void **state)
{
    struct exchange *x = *state;
    (void)context;
    (void)version;
    (void)upload;
    if (!x)
        return MHD_NO;
    if (!x->heard) {
        // No answer yet: before any body, it would close the connection.
        x->heard = true;
        return MHD_YES;
    }
    if (*upload_size > 0) {
        *upload_size = 0;
        return MHD_YES;
    }
    if (x->answered)
        return send_answer(x);
    read_request(x, url);
    renew(x->http, connection);
    return make_answer(x, url, method) ? send_answer(x) : MHD_YES;
}

static void on_completed(void *context, struct MHD_Connection *connection, void **state,
                         enum MHD_RequestTerminationCode code)
{
    struct exchange *x = *state;
    (void)context;
    (void)connection;
    (void)code;
    *state = NULL;
    if (!x)
        return;
    free(x->answer.body);
    free(x->answer.next);
    arena_destroy(x->texts);
    free(x);
}

// ---- the server ----

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

static bool is_loopback(const struct sockaddr *address)
{
    const struct sockaddr_in *v4 = (const void *)address;
    const struct sockaddr_in6 *v6 = (const void *)address;
    return address->sa_family == AF_INET6 ? IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr)
                                          : ntohl(v4->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
}

static bool is_one_address(const struct sockaddr *address)
{
    const struct sockaddr_in *v4 = (const void *)address;
    const struct sockaddr_in6 *v6 = (const void *)address;
    if (address->sa_family == AF_INET6)
        return v6->sin6_port != 0 && !IN6_IS_ADDR_UNSPECIFIED(&v6->sin6_addr);
    return v4->sin_port != 0 && v4->sin_addr.s_addr != htonl(INADDR_ANY);
}

// False, too, where the address is not to be found out.
static bool listens_so(const char *listen, bool (*is_so)(const struct sockaddr *address))
{
    struct error e;
    struct addrinfo *address = resolve(listen, &e);
    bool so = address && is_so(address->ai_addr);
    if (address)
        freeaddrinfo(address);
    return so;
}

bool http_listens_on_loopback(const char *listen)
{
    return listens_so(listen, is_loopback);
}

bool http_is_reached_at(const char *listen)
{
    return listens_so(listen, is_one_address);
}

static struct MHD_Daemon *start_daemon(struct http *http, const struct addrinfo *address)
{
    unsigned flags = MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_AUTO | MHD_ALLOW_SUSPEND_RESUME;
    if (address->ai_family == AF_INET6)
        flags |= MHD_USE_IPv6;
    return MHD_start_daemon(
        flags, 0, NULL, NULL, on_request, http, MHD_OPTION_SOCK_ADDR, address->ai_addr,
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, http, MHD_OPTION_NOTIFY_COMPLETED,
        on_completed, http, MHD_OPTION_URI_LOG_CALLBACK, begin, http, MHD_OPTION_UNESCAPE_CALLBACK,
        keep_escapes, http, MHD_OPTION_CONNECTION_LIMIT, (unsigned)ACCEPTED_MAX,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)HTTP_TIMEOUT_S, MHD_OPTION_END);
}

static int start(struct http *http, const char *listen, const struct addrinfo *address,
                 struct error *e)
{
    http_peers_init(&http->peers);
    http->loopback = is_loopback(address->ai_addr);
    if (http_pool_create(HTTP_THREADS, work, &http->pool, e))
        return -1;
    http->daemon = start_daemon(http, address);
    if (http->daemon)
        return 0;
    http_pool_end(http->pool);
    http_pool_free(http->pool);
    return error_set(
        e, ERROR_CONFIG,
        "http.listen: nothing can listen on %s (taken already, or not an address of this machine)",
        listen);
}

int http_create(const char *listen, const struct http_route *routes, size_t count,
                struct http **out, struct error *e)
{
    *out = NULL;
    struct addrinfo *address = resolve(listen, e);
    if (!address)
        return -1;
    struct http *http = calloc(1, sizeof *http);
    if (!http) {
        freeaddrinfo(address);
        return error_set(e, ERROR_RESTART, "memory is short");
    }
    http->routes = routes;
    http->count = count;
    int failed = start(http, listen, address, e);
    freeaddrinfo(address);
    if (failed)
        free(http);
    else
        *out = http;
    return failed;
}

void http_destroy(struct http *http)
{
    if (!http)
        return;
    // The library may not be stopped while a connection is suspended.
    http_pool_end(http->pool);
    MHD_stop_daemon(http->daemon);
    http_pool_free(http->pool);
    free(http);
}

unsigned http_port(const struct http *http)
{
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_BIND_PORT);
    return info ? info->port : 0;
}

bool http_is_loopback(const struct http *http)
{
    return http->loopback;
}
