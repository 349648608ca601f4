// A scripted HTTP server on a free loopback port: answers in order (the last one stays) and
// remembers what it was asked.
#pragma once

#include <arpa/inet.h>
#include <assert.h>
#include <microhttpd.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct fake_answer {
    unsigned status;
    const char *body; // NULL: empty
    int delay_ms;
    size_t padding; // so many blanks after the body
    const char *location; // header, NULL: none
};

enum { FAKE_ANSWERS_MAX = 16, FAKE_REQUESTS_MAX = 64 };

struct fake_request {
    char method[8], url[512], body[65536], authorization[256], content_type[64], query[64];
};

struct fake {
    struct MHD_Daemon *daemon;
    pthread_mutex_t lock;
    size_t answer_count, next;
    struct fake_answer answers[FAKE_ANSWERS_MAX];
    size_t request_count;
    struct fake_request *requests; // FAKE_REQUESTS_MAX
    char base[64];
};

static inline void fake_header(struct MHD_Connection *connection, const char *name, char *out,
                               size_t size)
{
    const char *value = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name);
    snprintf(out, size, "%s", value ? value : "");
}

static inline enum MHD_Result fake_respond(struct MHD_Connection *connection,
                                           struct fake_answer answer)
{
    size_t size = (answer.body ? strlen(answer.body) : 0) + answer.padding;
    char *bytes = malloc(size + 1);
    memset(bytes, ' ', size);
    if (answer.body)
        memcpy(bytes, answer.body, strlen(answer.body));
    if (answer.delay_ms)
        nanosleep(&(struct timespec){answer.delay_ms / 1000, (answer.delay_ms % 1000) * 1000000L},
                  NULL);
    struct MHD_Response *response =
        MHD_create_response_from_buffer(size, bytes, MHD_RESPMEM_MUST_FREE);
    if (answer.location)
        MHD_add_response_header(response, "Location", answer.location);
    enum MHD_Result queued = MHD_queue_response(connection, answer.status, response);
    MHD_destroy_response(response);
    return queued;
}

static inline enum MHD_Result fake_handle(void *context, struct MHD_Connection *connection,
                                          const char *url, const char *method, const char *version,
                                          const char *data, size_t *size, void **state)
{
    struct fake *fake = context;
    (void)version;
    pthread_mutex_lock(&fake->lock);
    struct fake_request *request = *state;
    if (!request) {
        assert(fake->request_count < FAKE_REQUESTS_MAX && fake->answer_count > 0);
        request = &fake->requests[fake->request_count++];
        memset(request, 0, sizeof *request);
        snprintf(request->method, sizeof request->method, "%s", method);
        snprintf(request->url, sizeof request->url, "%s", url);
        fake_header(connection, "Authorization", request->authorization,
                    sizeof request->authorization);
        fake_header(connection, "Content-Type", request->content_type,
                    sizeof request->content_type);
        const char *global =
            MHD_lookup_connection_value(connection, MHD_GET_ARGUMENT_KIND, "defaultToGlobal");
        snprintf(request->query, sizeof request->query, "%s", global ? global : "");
        *state = request;
        pthread_mutex_unlock(&fake->lock);
        return MHD_YES;
    }
    if (*size) {
        size_t used = strlen(request->body);
        assert(used + *size < sizeof request->body);
        memcpy(request->body + used, data, *size);
        *size = 0;
        pthread_mutex_unlock(&fake->lock);
        return MHD_YES;
    }
    struct fake_answer answer = fake->answers[fake->next];
    if (fake->next + 1 < fake->answer_count)
        fake->next++;
    pthread_mutex_unlock(&fake->lock);
    return fake_respond(connection, answer);
}

static inline size_t fake_request_count(struct fake *fake)
{
    pthread_mutex_lock(&fake->lock);
    size_t count = fake->request_count;
    pthread_mutex_unlock(&fake->lock);
    return count;
}

static inline void fake_start(struct fake *fake)
{
    memset(fake, 0, sizeof *fake);
    pthread_mutex_init(&fake->lock, NULL);
    fake->requests = calloc(FAKE_REQUESTS_MAX, sizeof *fake->requests);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    fake->daemon =
        MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION, 0, NULL,
                         NULL, fake_handle, fake, MHD_OPTION_SOCK_ADDR, &address, MHD_OPTION_END);
    assert(fake->daemon);
    snprintf(fake->base, sizeof fake->base, "http://127.0.0.1:%u",
             (unsigned)MHD_get_daemon_info(fake->daemon, MHD_DAEMON_INFO_BIND_PORT)->port);
}

static inline void fake_stop(struct fake *fake)
{
    if (fake->daemon)
        MHD_stop_daemon(fake->daemon);
    free(fake->requests);
    pthread_mutex_destroy(&fake->lock);
    memset(fake, 0, sizeof *fake);
}

static inline void fake_script(struct fake *fake, size_t count, const struct fake_answer *answers)
{
    assert(count <= FAKE_ANSWERS_MAX);
    memcpy(fake->answers, answers, count * sizeof *answers);
    fake->answer_count = count;
    fake->next = fake->request_count = 0;
}
#define FAKE_SCRIPT(fake, ...)                                                                     \
    fake_script((fake), sizeof((struct fake_answer[]){__VA_ARGS__}) / sizeof(struct fake_answer),  \
                (struct fake_answer[]){__VA_ARGS__})
