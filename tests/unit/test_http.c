#include "consumer/http/http.h"
#include "consumer/http/http_client.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static void answer_name(void *context, int thread, const struct http_request *request,
                        struct http_answer *out)
{
    (void)thread;
    (void)request;
    http_put_text(out, 200, context);
}

static void answer_file(void *context, int thread, const struct http_request *request,
                        struct http_answer *out)
{
    (void)thread;
    (void)request;
    out->bytes = context;
    out->size = strlen(context);
    out->content_type = "text/html; charset=utf-8";
    snprintf(out->etag, sizeof out->etag, "\"page-1\"");
}

// What was asked, as it was understood.
static void answer_echo(void *context, int thread, const struct http_request *request,
                        struct http_answer *out)
{
    char text[1024] = "";
    size_t used = 0;
    (void)context;
    assert_in_range(thread, 0, HTTP_THREADS - 1);
    for (size_t i = 0; i < request->segment_count; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "[%s]", request->segments[i]);
    for (size_t i = 0; i < request->parameter_count; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "{%s=%s}",
                                 request->parameters[i].name, request->parameters[i].value);
    http_put_text(out, 200, text);
}

// Requests are answered when the test lets them.
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static atomic_int begun; // how many have come to the gate

static void answer_later(void *context, int thread, const struct http_request *request,
                         struct http_answer *out)
{
    begun++;
    pthread_mutex_lock(&gate);
    pthread_mutex_unlock(&gate);
    answer_echo(context, thread, request, out);
}

// What came with the request.
static void answer_headers(void *context, int thread, const struct http_request *request,
                           struct http_answer *out)
{
    char text[256];
    (void)context;
    (void)thread;
    snprintf(text, sizeof text, "[%s][%s]", request->authorization ? request->authorization : "",
             request->asked_by ? request->asked_by : "");
    http_put_text(out, 203, text);
}

static void answer_at_length(void *context, int thread, const struct http_request *request,
                             struct http_answer *out)
{
    (void)thread;
    (void)request;
    out->size = *(const size_t *)context;
    out->body = calloc(1, out->size);
    assert_non_null(out->body);
}

static void refuse_in_json(unsigned status, const char *why, struct http_answer *out)
{
    http_put_text(out, status, why);
    out->content_type = "application/problem+json";
}

static size_t most = HTTP_REPLY_MAX, more = HTTP_REPLY_MAX + 1;
static char exact_name[] = "exact", below_name[] = "below", page[] = "<p>page</p>";
static const struct http_route routes[] = {
    {"/a", answer_name, exact_name, false, NULL},
    {"/files/", answer_name, below_name, false, NULL},
    {"/files/index.html", answer_file, page, false, NULL},
    {"/echo/", answer_echo, NULL, true, NULL},
    {"/later/", answer_later, NULL, true, refuse_in_json},
    {"/headers", answer_headers, NULL, true, NULL},
    {"/length/most", answer_at_length, &most, true, NULL},
    {"/length/more", answer_at_length, &more, true, NULL},
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

// From an address of this machine. An answer that does not come fails the test.
static int open_connection_from(struct http *http, const char *source)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)http_port(http))};
    const struct timeval patience = {.tv_sec = HTTP_TIMEOUT_S / 2};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in from = {.sin_family = AF_INET};
    assert_true(fd >= 0);
    assert_int_equal(inet_pton(AF_INET, source, &from.sin_addr), 1);
    assert_int_equal(bind(fd, (const struct sockaddr *)&from, sizeof from), 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    assert_int_equal(connect(fd, (const struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static int open_connection(struct http *http)
{
    return open_connection_from(http, "127.0.0.1");
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
    answer = ask(*state, "DELETE /later/x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    expect(answer, "HTTP/1.1 405");
    expect(answer, "Allow: GET, HEAD");
    expect(answer, "application/problem+json");
}

static void test_loopback(void **state)
{
    static const struct {
        const char *listen;
        bool loopback;
    } addresses[] = {{"127.0.0.1:1", true},  {"127.8.9.10:1", true},       {"[::1]:1", true},
                     {"localhost:1", true},  {"0.0.0.0:1", false},         {"[::]:1", false},
                     {"192.0.2.1:1", false}, {"126.255.255.255:1", false}, {"nonsense", false}};
    for (size_t i = 0; i < sizeof addresses / sizeof *addresses; i++)
        assert_int_equal(http_listens_on_loopback(addresses[i].listen), addresses[i].loopback);
    assert_true(http_is_loopback(*state));
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

// A crowd of one address pushes out its own connections, not those of others.
static void test_a_crowd_pushes_out_its_own(void **state)
{
    enum { OTHERS = 20 };
    static int fds[CROWD], others[OTHERS];
    static const char again[] = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n";
    char answer[1024];
    allow_descriptors(CROWD + HTTP_CONNECTIONS_MAX + 200);
    for (int i = 0; i < OTHERS; i++)
        others[i] = open_connection_from(*state, "127.0.0.2");
    crowd(*state, fds, CROWD, "");
    expect(ask(*state, plain), "exact");
    for (int i = 0; i < OTHERS; i++) {
        assert_int_equal(write(others[i], again, strlen(again)), (ssize_t)strlen(again));
        ssize_t got = read(others[i], answer, sizeof answer - 1);
        assert_true(got > 0);
        answer[got] = '\0';
        expect(answer, "exact");
    }
    leave(fds, CROWD);
    leave(others, OTHERS);
}

// ---- what is asked ----

static const char *get(struct http *http, const char *target, const char *headers)
{
    char request[4096];
    snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: h\r\n%sConnection: close\r\n\r\n",
             target, headers);
    return ask(http, request);
}

static void test_targets_are_decoded(void **state)
{
    expect(get(*state, "/echo/a%2Fb/%e4%B8%AD+/", ""), "[echo][a/b][\xe4\xb8\xad+][]");
    expect(get(*state, "/echo/?q=x+y%26z&empty=&flag&q=2", ""),
           "[echo][]{q=x y&z}{empty=}{flag=}{q=2}");
    static const char *const bad[] = {
        "/echo/%",   "/echo/%4",     "/echo/%zz",    "/echo/%00",
        "/echo/%ff", "/echo/?a=%c3", "/echo/?%00=1", "/echo/1/2/3/4/5/6/7/8"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        expect(get(*state, bad[i], ""), "HTTP/1.1 400");
    char many[1024] = "/echo/?";
    for (int i = 0; i <= HTTP_PARAMETERS_MAX; i++)
        snprintf(many + strlen(many), sizeof many - strlen(many), "a=1&");
    expect(get(*state, many, ""), "HTTP/1.1 400");
}

static void test_etags(void **state)
{
    const char *answer = get(*state, "/files/index.html", "If-None-Match: \"page-0\"\r\n");
    expect(answer, "HTTP/1.1 200");
    expect(answer, "ETag: \"page-1\"");
    expect(answer, "<p>page</p>");
    static const char *const known[] = {"\"page-1\"", "\"page-0\", W/\"page-1\"", "*"};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        char header[128];
        snprintf(header, sizeof header, "If-None-Match: %s\r\n", known[i]);
        answer = get(*state, "/files/index.html", header);
        expect(answer, "HTTP/1.1 304");
        expect(answer, "ETag: \"page-1\"");
        assert_null(strstr(answer, "<p>page</p>"));
    }
    assert_null(strstr(get(*state, "/a", ""), "ETag"));
}

// ---- answers that wait ----

static void send_request(int fd, const char *target)
{
    char request[256];
    int size = snprintf(request, sizeof request,
                        "GET %s HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", target);
    assert_int_equal(write(fd, request, (size_t)size), size);
}

static void expect_from(int fd, const char *part)
{
    char answer[2048];
    size_t used = 0;
    for (ssize_t got; (got = read(fd, answer + used, sizeof answer - 1 - used)) > 0;)
        used += (size_t)got;
    answer[used] = '\0';
    expect(answer, part);
    close(fd);
}

// Others are answered meanwhile, and what is too much is refused at once.
static void test_waiting_keeps_nobody_waiting(void **state)
{
    enum { ALL = HTTP_THREADS + HTTP_WAITING_MAX };
    int fds[ALL];
    char target[32];
    begun = 0;
    pthread_mutex_lock(&gate);
    for (int i = 0; i < ALL; i++) {
        snprintf(target, sizeof target, "/later/%d", i);
        fds[i] = open_connection(*state);
        send_request(fds[i], target);
        while (begun < HTTP_THREADS && begun <= i)
            usleep(1000);
        expect(get(*state, "/a", ""), "exact");
    }
    const char *answer = get(*state, "/later/more", "");
    expect(answer, "HTTP/1.1 503");
    expect(answer, "application/problem+json");
    expect(answer, "Retry-After: 1");
    pthread_mutex_unlock(&gate);
    for (int i = 0; i < ALL; i++) {
        snprintf(target, sizeof target, "[later][%d]", i);
        expect_from(fds[i], target);
    }
}

// ---- one process asks another ----

static struct http_question question_of(struct http *http, const char *target, char address[32])
{
    snprintf(address, 32, "127.0.0.1:%u", http_port(http));
    return (struct http_question){.address = address,
                                  .target = target,
                                  .authorization = "Bearer x",
                                  .asked_by = "127.0.0.1:1",
                                  .timeout_ms = 5000};
}

static void test_another_process_is_asked(void **state)
{
    char address[32];
    struct error e;
    struct http_client *client;
    struct http_reply reply;
    assert_int_equal(http_client_create(&client, &e), 0);
    struct http_question question = question_of(*state, "/echo/a%2Fb/../%e4%B8%AD?q=%26", address);
    assert_int_equal(http_client_get(client, &question, &reply, &e), 0);
    assert_int_equal(reply.status, 200);
    assert_string_equal(reply.body, "[echo][a/b][..][\xe4\xb8\xad]{q=&}");
    assert_string_equal(reply.content_type, "text/plain; charset=utf-8");
    free(reply.body);
    question = question_of(*state, "/headers", address);
    assert_int_equal(http_client_get(client, &question, &reply, &e), 0);
    assert_int_equal(reply.status, 203);
    assert_string_equal(reply.body, "[Bearer x][127.0.0.1:1]");
    free(reply.body);
    question.authorization = NULL;
    assert_int_equal(http_client_get(client, &question, &reply, &e), 0);
    assert_string_equal(reply.body, "[][127.0.0.1:1]");
    free(reply.body);
    http_client_destroy(client);
}

static void test_another_process_is_no_help(void **state)
{
    char address[32];
    struct error e;
    struct http_client *client;
    struct http_reply reply;
    assert_int_equal(http_client_create(&client, &e), 0);
    // It says too much.
    struct http_question question = question_of(*state, "/length/most", address);
    assert_int_equal(http_client_get(client, &question, &reply, &e), 0);
    assert_int_equal(reply.size, HTTP_REPLY_MAX);
    free(reply.body);
    question = question_of(*state, "/length/more", address);
    assert_int_equal(http_client_get(client, &question, &reply, &e), -1);
    assert_int_equal(e.kind, ERROR_UNAVAILABLE);
    assert_null(reply.body);
    // It says nothing in time.
    pthread_mutex_lock(&gate);
    question = question_of(*state, "/later/", address);
    question.timeout_ms = 50;
    assert_int_equal(http_client_get(client, &question, &reply, &e), -1);
    assert_non_null(strstr(e.text, address));
    pthread_mutex_unlock(&gate);
    // Nobody is there.
    question.address = "127.0.0.1:1";
    assert_int_equal(http_client_get(client, &question, &reply, &e), -1);
    assert_non_null(strstr(e.text, "127.0.0.1:1"));
    http_client_destroy(client);
}

// The server ends while answers are being made, and each client has its own.
static void test_end_waits_for_answers(void **state)
{
    struct http *http;
    struct error e;
    int fds[HTTP_THREADS * 2];
    (void)state;
    assert_int_equal(
        http_create("127.0.0.1:0", routes, sizeof routes / sizeof routes[0], &http, &e), 0);
    for (int round = 0; round < 20; round++)
        expect(get(http, "/echo/x", ""), "[echo][x]");
    for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++) {
        fds[i] = open_connection(http);
        send_request(fds[i], "/echo/y");
    }
    http_destroy(http);
    leave(fds, sizeof fds / sizeof fds[0]);
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
        cmocka_unit_test_setup_teardown(test_loopback, setup, teardown),
        cmocka_unit_test_setup_teardown(test_idle_connections_keep_nobody_out, setup, teardown),
        cmocka_unit_test_setup_teardown(test_slow_clients_keep_nobody_out, setup, teardown),
        cmocka_unit_test_setup_teardown(test_who_asks_stays, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_crowd_pushes_out_its_own, setup, teardown),
        cmocka_unit_test_setup_teardown(test_targets_are_decoded, setup, teardown),
        cmocka_unit_test_setup_teardown(test_etags, setup, teardown),
        cmocka_unit_test_setup_teardown(test_waiting_keeps_nobody_waiting, setup, teardown),
        cmocka_unit_test_setup_teardown(test_another_process_is_asked, setup, teardown),
        cmocka_unit_test_setup_teardown(test_another_process_is_no_help, setup, teardown),
        cmocka_unit_test(test_end_waits_for_answers),
        cmocka_unit_test_setup_teardown(test_listen_errors, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
