#include "consumer/daemon/http.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static void answer_name(void *context, struct http_answer *out)
{
    out->body = strdup(context);
    assert_non_null(out->body);
    out->size = strlen(out->body);
}

static void answer_file(void *context, struct http_answer *out)
{
    out->bytes = context;
    out->size = strlen(context);
    out->content_type = "text/html; charset=utf-8";
}

static char exact_name[] = "exact", below_name[] = "below", page[] = "<p>page</p>";
static const struct http_route routes[] = {
    {"/a", answer_name, exact_name},
    {"/files/", answer_name, below_name},
    {"/files/index.html", answer_file, page},
};

static int setup(void **state)
{
    struct error e;
    struct http *http;
    assert_int_equal(
        http_create("127.0.0.1:0", routes, sizeof routes / sizeof routes[0], &http, &e), 0);
    *state = http;
    return 0;
}

static int teardown(void **state)
{
    http_destroy(*state);
    return 0;
}

// An answer that does not come fails the test.
static int open_connection(struct http *http)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)http_port(http))};
    const struct timeval patience = {.tv_sec = HTTP_TIMEOUT_S / 2};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    assert_int_equal(connect(fd, (const struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

// One request on a connection of its own; the answer with its headers.
static const char *ask(struct http *http, const char *request)
{
    static char answer[8192];
    size_t used = 0;
    int fd = open_connection(http);
    assert_int_equal(write(fd, request, strlen(request)), (ssize_t)strlen(request));
    for (ssize_t got;
         used < sizeof answer - 1 && (got = read(fd, answer + used, sizeof answer - 1 - used)) > 0;)
        used += (size_t)got;
    close(fd);
    answer[used] = '\0';
    return answer;
}

static void expect(const char *answer, const char *part)
{
    if (!strstr(answer, part))
        fail_msg("no \"%s\" in:\n%s", part, answer);
}

static void test_routes(void **state)
{
    const char *answer =
        ask(*state, "GET /a?q=x%20y HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    expect(answer, "HTTP/1.1 200");
    expect(answer, "text/plain");
    expect(answer, "exact");
    expect(ask(*state, "GET /files/x/y HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"), "below");
    answer = ask(*state, "GET /files/index.html HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    expect(answer, "text/html");
    expect(answer, "<p>page</p>");
    expect(ask(*state, "GET /b HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"), "HTTP/1.1 404");
    expect(ask(*state, "GET /a/b HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"),
           "HTTP/1.1 404");
}

static void test_methods(void **state)
{
    const char *answer = ask(*state, "HEAD /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    expect(answer, "HTTP/1.1 200");
    assert_null(strstr(answer, "exact"));
    answer =
        ask(*state,
            "POST /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 4\r\n\r\nbody");
    expect(answer, "HTTP/1.1 405");
    expect(answer, "Allow: GET, HEAD");
}

enum { CROWD = 2000 };

static void allow_descriptors(rlim_t count)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    if (limit.rlim_cur >= count)
        return;
    limit.rlim_cur = count;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

// Clients that hold connections, and each has sent `request`, which is none yet. The server ends
// old ones meanwhile, so that a write may fail.
static void crowd(struct http *http, int *fds, int count, const char *request)
{
    signal(SIGPIPE, SIG_IGN);
    for (int i = 0; i < count; i++) {
        fds[i] = open_connection(http);
        (void)!write(fds[i], request, strlen(request));
    }
}

static void leave(const int *fds, int count)
{
    for (int i = 0; i < count; i++)
        close(fds[i]);
}

static const char plain[] = "GET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";

static void test_idle_connections_keep_nobody_out(void **state)
{
    static int fds[CROWD];
    allow_descriptors(CROWD + HTTP_CONNECTIONS_MAX + 200);
    crowd(*state, fds, CROWD, "");
    expect(ask(*state, plain), "exact");
    leave(fds, CROWD);
    expect(ask(*state, plain), "exact");
}

static void test_slow_clients_keep_nobody_out(void **state)
{
    static int fds[HTTP_CONNECTIONS_MAX];
    crowd(*state, fds, HTTP_CONNECTIONS_MAX, "GET /a HTTP/1.1\r\nHo");
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < HTTP_CONNECTIONS_MAX; i++)
            (void)send(fds[i], "s", 1, MSG_NOSIGNAL);
        expect(ask(*state, plain), "exact");
    }
    leave(fds, HTTP_CONNECTIONS_MAX);
}

// The client that asks now and then keeps its connection beside a crowd that never does.
// Connections are accepted in their order: once a later client has its answer, no part of the crowd
// is left that could be accepted before the next question is heard.
static void test_who_asks_stays(void **state)
{
    enum { HALF = HTTP_CONNECTIONS_MAX / 2 - 1, ROUNDS = CROWD / HALF };
    static int fds[ROUNDS][HALF];
    static const char again[] = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n";
    char answer[1024];
    allow_descriptors(CROWD + HTTP_CONNECTIONS_MAX + 200);
    int fd = open_connection(*state);
    assert_int_equal(write(fd, again, strlen(again)), (ssize_t)strlen(again));
    for (int i = 0; i < ROUNDS; i++) {
        ssize_t got = read(fd, answer, sizeof answer - 1);
        assert_true(got > 0);
        answer[got] = '\0';
        expect(answer, "exact");
        crowd(*state, fds[i], HALF, "");
        expect(ask(*state, plain), "exact");
        assert_int_equal(write(fd, again, strlen(again)), (ssize_t)strlen(again));
    }
    for (int i = 0; i < ROUNDS; i++)
        leave(fds[i], HALF);
    close(fd);
}

static void test_listen_errors(void **state)
{
    struct error e;
    struct http *http;
    char taken[32];
    assert_int_equal(http_create("nonsense", routes, 1, &http, &e), -1);
    assert_int_equal(e.kind, ERROR_CONFIG);
    assert_int_equal(http_create("127.0.0.1:", routes, 1, &http, &e), -1);
    assert_null(http);
    snprintf(taken, sizeof taken, "127.0.0.1:%u", http_port(*state));
    assert_int_equal(http_create(taken, routes, 1, &http, &e), -1);
    assert_non_null(strstr(e.text, "taken"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_routes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_methods, setup, teardown),
        cmocka_unit_test_setup_teardown(test_idle_connections_keep_nobody_out, setup, teardown),
        cmocka_unit_test_setup_teardown(test_slow_clients_keep_nobody_out, setup, teardown),
        cmocka_unit_test_setup_teardown(test_who_asks_stays, setup, teardown),
        cmocka_unit_test_setup_teardown(test_listen_errors, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
