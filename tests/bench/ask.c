// Asks a server over HTTP, and says how long the answers took.
//   ask HOST:PORT PER_SECOND SECONDS CONNECTIONS EXPECTED TARGETS
// It asks for the lines of the file TARGETS in turn, over so many connections that stay open. With
// PER_SECOND above 0 requests are due at that rate, whatever the server does, and each is timed
// from the instant at which it was due: a server that falls behind cannot hide how long it made
// others wait. With 0 each connection asks again as soon as it is answered. An answer counts as
// failed if its status is not 200, or EXPECTED is not in it.
#include "tests/bench/tool.h"

#include <inttypes.h>
#include <math.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CONNECTIONS_MAX = 64, ANSWER_MAX = 1 << 18, TARGET_MAX = 512, STALLED_SECONDS = 60 };

struct connection {
    int fd;
    bool busy;
    double due; // when what it asks for was due
    size_t got;
    char answer[ANSWER_MAX];
};

struct asker {
    const char *address, *expected;
    double per_second, start, end;
    size_t target_count;
    char **targets;
    int epoll, connection_count, busy;
    struct connection *connections;
    size_t asked, answered, capacity;
    double *took; // s, of each answer
    int64_t failed;
};

// ---- setting up ----

static void read_targets(struct asker *a, const char *path)
{
    char line[TARGET_MAX];
    FILE *in = fopen(path, "r");
    while (in && fgets(line, sizeof line, in)) {
        line[strcspn(line, "\n")] = '\0';
        a->targets = realloc(a->targets, (a->target_count + 1) * sizeof(char *));
        char *target = strdup(line);
        if (!a->targets || !target)
            tool_fail("memory", "short");
        a->targets[a->target_count++] = target;
    }
    if (in)
        fclose(in);
    if (a->target_count == 0)
        tool_fail(path, "has no target");
}

static int connect_to(const char *address)
{
    char host[256];
    const char *colon = strrchr(address, ':');
    if (!colon || (size_t)(colon - address) >= sizeof host)
        tool_fail(address, "is not HOST:PORT");
    snprintf(host, sizeof host, "%.*s", (int)(colon - address), address);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    if (getaddrinfo(host, colon + 1, &hints, &found) != 0)
        tool_fail(address, "is no address");
    int one = 1, fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, found->ai_addr, found->ai_addrlen) != 0)
        tool_fail(address, strerror(errno));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    freeaddrinfo(found);
    return fd;
}

static void open_connections(struct asker *a)
{
    a->epoll = epoll_create1(EPOLL_CLOEXEC);
    a->connections = calloc((size_t)a->connection_count, sizeof *a->connections);
    if (a->epoll < 0 || !a->connections)
        tool_fail("connections", "cannot be made");
    for (int i = 0; i < a->connection_count; i++) {
        struct connection *c = &a->connections[i];
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
        c->fd = connect_to(a->address);
        if (epoll_ctl(a->epoll, EPOLL_CTL_ADD, c->fd, &event) != 0)
            tool_fail("epoll_ctl", strerror(errno));
    }
}

// ---- asking ----

// When the next request is due; infinity: there is none any more.
static double next_due(const struct asker *a)
{
    double due = a->per_second > 0 ? a->start + (double)a->asked / a->per_second : tool_now();
    return due < a->end ? due : INFINITY;
}

static void ask(struct asker *a, struct connection *c, double due)
{
    char request[TARGET_MAX + 320];
    int size = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n",
                        a->targets[a->asked++ % a->target_count], a->address);
    c->busy = true;
    c->due = due;
    c->got = 0;
    a->busy++;
    if (send(c->fd, request, (size_t)size, MSG_NOSIGNAL) != size)
        tool_fail("send", strerror(errno));
}

// What is due, as long as a connection is free.
static void ask_all_due(struct asker *a)
{
    for (int i = 0; i < a->connection_count && a->busy < a->connection_count; i++) {
        if (a->connections[i].busy)
            continue;
        double due = next_due(a);
        if (due > tool_now())
            return;
        ask(a, &a->connections[i], due);
    }
}

// ---- the answers ----

// Where the body ends; 0: its head is not whole yet.
static size_t end_of_answer(const struct connection *c)
{
    static const char length[] = "\r\nContent-Length:";
    const char *body = strstr(c->answer, "\r\n\r\n"), *found = strcasestr(c->answer, length);
    if (!body)
        return 0;
    if (!found || found > body)
        tool_fail("an answer", "has no Content-Length");
    return (size_t)(body + 4 - c->answer) + strtoul(found + sizeof length - 1, NULL, 10);
}

static void finish_answer(struct asker *a, struct connection *c)
{
    if (a->answered == a->capacity) {
        a->capacity = a->capacity ? 2 * a->capacity : 4096;
        a->took = realloc(a->took, a->capacity * sizeof *a->took);
        if (!a->took)
            tool_fail("memory", "short");
    }
    a->took[a->answered++] = tool_now() - c->due;
    a->failed += strncmp(c->answer, "HTTP/1.1 200 ", 13) != 0 || !strstr(c->answer, a->expected);
    c->busy = false;
    a->busy--;
}

static void receive(struct asker *a, struct connection *c)
{
    ssize_t size = recv(c->fd, c->answer + c->got, sizeof c->answer - 1 - c->got, 0);
    if (size <= 0)
        tool_fail("recv", size < 0 ? strerror(errno)
                                   : "the server ended the connection, or its "
                                     "answer is too long");
    c->got += (size_t)size;
    c->answer[c->got] = '\0';
    size_t end = end_of_answer(c);
    if (end > 0 && c->got >= end)
        finish_answer(a, c);
}

// Until something is answered, or the next request is due and a connection is free.
static void wait_and_receive(struct asker *a)
{
    struct epoll_event events[CONNECTIONS_MAX];
    double left = STALLED_SECONDS;
    if (a->busy < a->connection_count && next_due(a) < tool_now() + left)
        left = next_due(a) - tool_now();
    if (left < 0)
        left = 0;
    struct timespec timeout = {.tv_sec = (time_t)left,
                               .tv_nsec = (long)((left - (double)(time_t)left) * 1e9)};
    int count = epoll_pwait2(a->epoll, events, CONNECTIONS_MAX, &timeout, NULL);
    if (count == 0 && left >= STALLED_SECONDS)
        tool_fail(a->address, "no answer for a minute");
    for (int i = 0; i < count; i++)
        receive(a, events[i].data.ptr);
}

// ---- the figures ----

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double percentile_ms(const struct asker *a, double share)
{
    size_t at = (size_t)((double)a->answered * share);
    return a->took[at < a->answered ? at : a->answered - 1] * 1000;
}

static void release(struct asker *a)
{
    for (int i = 0; i < a->connection_count; i++)
        close(a->connections[i].fd);
    for (size_t i = 0; i < a->target_count; i++)
        free(a->targets[i]);
    close(a->epoll);
    free(a->connections);
    free(a->targets);
    free(a->took);
}

int main(int argc, char **argv)
{
    if (argc != 7) {
        fputs("usage: ask HOST:PORT PER_SECOND SECONDS CONNECTIONS EXPECTED TARGETS\n", stderr);
        return 64;
    }
    struct asker a = {.address = argv[1],
                      .per_second = strtod(argv[2], NULL),
                      .connection_count = (int)strtol(argv[4], NULL, 10),
                      .expected = argv[5]};
    double seconds = strtod(argv[3], NULL);
    if (a.connection_count < 1 || a.connection_count > CONNECTIONS_MAX || seconds <= 0)
        tool_fail("arguments", "SECONDS or CONNECTIONS out of range");
    read_targets(&a, argv[6]);
    open_connections(&a);
    a.start = tool_now();
    a.end = a.start + seconds;
    do {
        ask_all_due(&a);
        wait_and_receive(&a);
    } while (a.busy > 0 || next_due(&a) < INFINITY);
    seconds = tool_now() - a.start;
    if (!a.took)
        tool_fail(a.address, "nothing was answered");
    qsort(a.took, a.answered, sizeof *a.took, compare);
    printf("{\"answers\": %zu, \"failed\": %" PRId64 ", \"per_second\": %.1f, \"p50_ms\": %.4f, "
           "\"p99_ms\": %.4f, \"longest_ms\": %.4f}\n",
           a.answered, a.failed, (double)a.answered / seconds, percentile_ms(&a, 0.5),
           percentile_ms(&a, 0.99), percentile_ms(&a, 1));
    release(&a);
    return 0;
}
