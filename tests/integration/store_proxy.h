// A TCP proxy before PostgreSQL that cuts connections at a chosen moment of the protocol.
#pragma once

// The fold's fixture has an accept() of its own; this file uses accept4().
#define accept accept_of_sockets
#include <sys/socket.h>
#undef accept

#include "store_fixture.h"

#include <arpa/inet.h>
#include <assert.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/un.h>

enum proxy_mode {
    PROXY_OPEN,
    PROXY_CUT_BEFORE_COMMIT, // the COMMIT never reaches the server
    PROXY_CUT_AFTER_COMMIT, // the server commits, its answer is lost
    PROXY_CUT_AFTER_COMMIT_AND_STAY_DOWN,
    PROXY_DOWN, // connections are closed at once
    PROXY_SILENT_AT_COMMIT, // the connection stays, and nothing comes any more
};

struct proxy {
    int listener;
    char port[16];
    _Atomic enum proxy_mode mode;
    atomic_bool stop;
    atomic_int cuts;
    pthread_t thread;
};

static inline int proxy_server(void)
{
    char *trouble = NULL;
    PQconninfoOption *options = PQconninfoParse(test_dsn(), &trouble);
    const char *host = "127.0.0.1", *port = "5432";
    for (const PQconninfoOption *o = options; o->keyword; o++) {
        if (o->val && strcmp(o->keyword, "host") == 0)
            host = o->val;
        if (o->val && strcmp(o->keyword, "port") == 0)
            port = o->val;
    }
    int fd;
    if (host[0] == '/') {
        struct sockaddr_un local = {.sun_family = AF_UNIX};
        snprintf(local.sun_path, sizeof local.sun_path, "%s/.s.PGSQL.%s", host, port);
        fd = socket(AF_UNIX, SOCK_STREAM, 0);
        assert(connect(fd, (struct sockaddr *)&local, sizeof local) == 0);
    } else {
        struct sockaddr_in inet = {.sin_family = AF_INET,
                                   .sin_port = htons((uint16_t)strtol(port, NULL, 10))};
        assert(inet_pton(AF_INET, strcmp(host, "localhost") == 0 ? "127.0.0.1" : host,
                         &inet.sin_addr) == 1);
        fd = socket(AF_INET, SOCK_STREAM, 0);
        assert(connect(fd, (struct sockaddr *)&inet, sizeof inet) == 0);
    }
    PQconninfoFree(options);
    return fd;
}

static inline bool write_all(int fd, const char *data, size_t size)
{
    while (size > 0) {
        ssize_t n = send(fd, data, size, MSG_NOSIGNAL);
        if (n <= 0)
            return false;
        data += n;
        size -= (size_t)n;
    }
    return true;
}

// Whether the client's bytes run the COMMIT: they prepare it, or name what was prepared before on
// this connection.
static inline bool holds_commit(const char *data, size_t size, char name[16])
{
    const char *text = memmem(data, size, "\0commit\0", 8);
    if (text) {
        const char *start = text;
        while (*start != 's')
            start--; // "s12", behind the message's length
        snprintf(name, 16, "%s", start);
        return true;
    }
    char bound[18] = {0};
    size_t length = (size_t)snprintf(bound + 1, sizeof bound - 1, "%s", name);
    return length > 0 && memmem(data, size, bound, length + 2) != NULL;
}

static inline bool cuts_at_commit(enum proxy_mode mode)
{
    return mode == PROXY_CUT_BEFORE_COMMIT || mode == PROXY_CUT_AFTER_COMMIT ||
           mode == PROXY_CUT_AFTER_COMMIT_AND_STAY_DOWN || mode == PROXY_SILENT_AT_COMMIT;
}

// The client's bytes hold a COMMIT: what becomes of it. Returns whether the connection goes on.
static inline bool handle_commit(struct proxy *proxy, int server, const char *data, size_t size)
{
    enum proxy_mode mode = proxy->mode;
    proxy->cuts++;
    if (mode == PROXY_SILENT_AT_COMMIT) {
        while (!proxy->stop && proxy->mode == PROXY_SILENT_AT_COMMIT)
            usleep(10000);
        return false;
    }
    if (mode != PROXY_CUT_BEFORE_COMMIT) {
        char answer[65536];
        write_all(server, data, size);
        // Only once the server has answered is the commit certain.
        if (recv(server, answer, sizeof answer, 0) < 0)
            abort();
    }
    proxy->mode = mode == PROXY_CUT_AFTER_COMMIT_AND_STAY_DOWN ? PROXY_DOWN : PROXY_OPEN;
    return false;
}

static inline void serve_one(struct proxy *proxy, int client)
{
    static char data[1 << 18];
    char commit_name[16] = "";
    int server = proxy_server();
    struct pollfd fds[2] = {{.fd = client, .events = POLLIN}, {.fd = server, .events = POLLIN}};
    for (bool open = true; open && !proxy->stop;) {
        if (poll(fds, 2, 50) <= 0) {
            if (proxy->mode == PROXY_DOWN)
                break;
            continue;
        }
        for (int i = 0; i < 2 && open; i++) {
            if (!fds[i].revents)
                continue;
            ssize_t n = recv(fds[i].fd, data, sizeof data, 0);
            if (n <= 0)
                open = false;
            else if (i == 0 && holds_commit(data, (size_t)n, commit_name) &&
                     cuts_at_commit(proxy->mode))
                open = handle_commit(proxy, server, data, (size_t)n);
            else
                open = write_all(fds[1 - i].fd, data, (size_t)n);
        }
    }
    close(server);
    close(client);
}

static inline void *proxy_run(void *context)
{
    struct proxy *proxy = context;
    while (!proxy->stop) {
        struct pollfd fd = {.fd = proxy->listener, .events = POLLIN};
        if (poll(&fd, 1, 50) <= 0)
            continue;
        int client = accept4(proxy->listener, NULL, NULL, 0);
        if (client < 0)
            continue;
        if (proxy->mode == PROXY_DOWN)
            close(client);
        else
            serve_one(proxy, client);
    }
    return NULL;
}

static inline void proxy_start(struct proxy *proxy)
{
    struct sockaddr_in inet = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof inet;
    *proxy = (struct proxy){.listener = socket(AF_INET, SOCK_STREAM, 0)};
    assert_int_equal(bind(proxy->listener, (struct sockaddr *)&inet, size), 0);
    assert_int_equal(listen(proxy->listener, 4), 0);
    assert_int_equal(getsockname(proxy->listener, (struct sockaddr *)&inet, &size), 0);
    snprintf(proxy->port, sizeof proxy->port, "%u", (unsigned)ntohs(inet.sin_port));
    assert_int_equal(pthread_create(&proxy->thread, NULL, proxy_run, proxy), 0);
}

static inline void proxy_stop(struct proxy *proxy)
{
    proxy->stop = true;
    pthread_join(proxy->thread, NULL);
    close(proxy->listener);
}
