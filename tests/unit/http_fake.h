// A scripted HTTP server on a free loopback port: answers in order (the last one stays) and
// remembers what it was asked.
#pragma once

#include <arpa/inet.h>
#include <assert.h>
#include <microhttpd.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
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
    const char *retry_after; // header, NULL: none
    enum { FAKE_WHOLE, FAKE_CHUNKED, FAKE_CUT } sent; // CUT: the connection ends within the body
    enum { FAKE_PLAIN, FAKE_GZIP, FAKE_STRANGE } encoding; // STRANGE: by a name that nobody knows
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
    // What /subjects answers, beside the script: an empty list unless it is set.
    struct fake_answer subjects;
    size_t subjects_count; // how often it was asked
    char base[64];
};

static inline void fake_header(struct MHD_Connection *connection, const char *name, char *out,
                               size_t size)
{
    const char *value = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name);
    snprintf(out, size, "%s", value ? value : "");
}

static inline void fake_little_endian(unsigned char *to, size_t number, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        to[i] = (unsigned char)(number >> 8 * i);
}

static inline size_t fake_crc32(const char *bytes, size_t size)
{
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < size; i++) {
        crc ^= (unsigned char)bytes[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
    }
    return ~crc;
}

// In place of `bytes` (malloc'ed) the same as a gzip file of one block that is stored.
static inline char *fake_gzip(char *bytes, size_t *size)
{
    static const unsigned char head[] = {0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 1};
    size_t length = *size;
    assert(length <= UINT16_MAX);
    unsigned char *out = malloc(sizeof head + 4 + length + 8), *at = out + sizeof head;
    memcpy(out, head, sizeof head);
    fake_little_endian(at, length, 2);
    fake_little_endian(at + 2, ~length, 2);
    memcpy(at + 4, bytes, length);
    fake_little_endian(at + 4 + length, fake_crc32(bytes, length), 4);
    fake_little_endian(at + 8 + length, length, 4);
    *size = sizeof head + 4 + length + 8;
    free(bytes);
    return (char *)out;
}

struct fake_stream {
    char *bytes;
    size_t size;
    bool cut;
};

// A few bytes at a time; where it is cut, the connection ends after a half.
static inline ssize_t fake_read(void *context, uint64_t at, char *out, size_t room)
{
    const struct fake_stream *stream = context;
    size_t end = stream->cut ? stream->size / 2 : stream->size;
    if (at >= end)
        return stream->cut ? MHD_CONTENT_READER_END_WITH_ERROR : MHD_CONTENT_READER_END_OF_STREAM;
    size_t some = end - at < 7 ? end - at : 7;
    some = some < room ? some : room;
    memcpy(out, stream->bytes + at, some);
    return (ssize_t)some;
}

static inline void fake_read_done(void *context)
{
    struct fake_stream *stream = context;
    free(stream->bytes);
    free(stream);
}

static inline struct MHD_Response *fake_response(struct fake_answer answer, char *bytes,
                                                 size_t size)
{
    if (answer.sent == FAKE_WHOLE)
        return MHD_create_response_from_buffer(size, bytes, MHD_RESPMEM_MUST_FREE);
    struct fake_stream *stream = malloc(sizeof *stream);
    *stream = (struct fake_stream){bytes, size, answer.sent == FAKE_CUT};
    return MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 256, fake_read, stream,
                                             fake_read_done);
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
    if (answer.encoding == FAKE_GZIP)
        bytes = fake_gzip(bytes, &size);
    struct MHD_Response *response = fake_response(answer, bytes, size);
    if (answer.encoding != FAKE_PLAIN)
        MHD_add_response_header(response, "Content-Encoding",
                                answer.encoding == FAKE_GZIP ? "gzip" : "of-my-own");
    if (answer.retry_after)
        MHD_add_response_header(response, "Retry-After", answer.retry_after);
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
    if (strcmp(url, "/subjects") == 0) {
        struct fake_answer subjects = fake->subjects;
        fake->subjects_count++;
        pthread_mutex_unlock(&fake->lock);
        return fake_respond(connection, subjects);
    }
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
    fake->subjects = (struct fake_answer){.status = 200, .body = "[]"};
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
