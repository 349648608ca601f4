#include "consumer/daemon/http.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

// One request on a connection of its own; the answer with its headers.
static const char *ask(struct http *http, const char *request)
{
    static char answer[8192];
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)http_port(http))};
    size_t used = 0;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&address, sizeof address), 0);
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
        cmocka_unit_test_setup_teardown(test_listen_errors, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
