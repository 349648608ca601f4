#include "consumer/http/http_client.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { URL_SIZE = 4096, HEADER_SIZE = 1024 };

struct http_client {
    CURL *curl;
};

int http_client_create(struct http_client **out, struct error *e)
{
    struct http_client *client = *out = calloc(1, sizeof *client);
    if (client)
        client->curl = curl_easy_init();
    if (client && client->curl)
        return 0;
    free(client);
    *out = NULL;
    return error_set(e, ERROR_RESTART, "memory is short");
}

void http_client_destroy(struct http_client *client)
{
    if (!client)
        return;
    curl_easy_cleanup(client->curl);
    free(client);
}

static size_t take_reply(char *data, size_t one, size_t size, void *context)
{
    struct http_reply *reply = context;
    (void)one;
    if (size > HTTP_REPLY_MAX - reply->size)
        return 0;
    char *grown = realloc(reply->body, reply->size + size + 1);
    if (!grown)
        return 0;
    reply->body = grown;
    memcpy(reply->body + reply->size, data, size);
    reply->size += size;
    reply->body[reply->size] = '\0';
    return size;
}

// NULL: none.
static struct curl_slist *make_headers(const struct http_question *question)
{
    char header[HEADER_SIZE];
    struct curl_slist *headers = NULL;
    snprintf(header, sizeof header, HTTP_ASKED_BY ": %s", question->asked_by);
    headers = curl_slist_append(headers, header);
    if (!question->authorization || snprintf(header, sizeof header, "Authorization: %s",
                                             question->authorization) >= HEADER_SIZE)
        return headers;
    return curl_slist_append(headers, header);
}

static CURLcode perform(CURL *c, const char *url, const struct http_question *question,
                        struct http_reply *out)
{
    struct curl_slist *headers = make_headers(question);
    curl_easy_reset(c); // keeps connections
    curl_easy_setopt(c, CURLOPT_URL, url);
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http");
    curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L); // credentials go nowhere else
    curl_easy_setopt(c, CURLOPT_NOPROXY, "*"); // it is a process of the deployment
    curl_easy_setopt(c, CURLOPT_PATH_AS_IS, 1L); // an account may be named ".."
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, question->timeout_ms);
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, question->timeout_ms);
    curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, take_reply);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, out);
    CURLcode code = curl_easy_perform(c);
    curl_slist_free_all(headers);
    return code;
}

int http_client_get(struct http_client *client, const struct http_question *question,
                    struct http_reply *out, struct error *e)
{
    char url[URL_SIZE], *type = NULL;
    long status = 0;
    *out = (struct http_reply){0};
    if (snprintf(url, sizeof url, "http://%s%s", question->address, question->target) >= URL_SIZE)
        return error_set(e, ERROR_UNAVAILABLE, "%s: the target is too long", question->address);
    CURLcode code = perform(client->curl, url, question, out);
    if (code) {
        free(out->body);
        *out = (struct http_reply){0};
        return error_set(e, ERROR_UNAVAILABLE, "%s: %s", question->address,
                         curl_easy_strerror(code));
    }
    curl_easy_getinfo(client->curl, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(client->curl, CURLINFO_CONTENT_TYPE, &type);
    out->status = (unsigned)status;
    if (type && strlen(type) < sizeof out->content_type)
        memcpy(out->content_type, type, strlen(type) + 1);
    return 0;
}
