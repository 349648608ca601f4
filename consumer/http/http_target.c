#include "consumer/http/http_target.h"

#include "consumer/base/text.h"

#include <arpa/inet.h>
#include <assert.h>
#include <string.h>
#include <strings.h>

// -1: not a hexadecimal digit.
static int digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool is_text(const char *text, size_t size)
{
    const char *end = text + size;
    while (text < end) {
        int length = text_sequence(text, end);
        if (length <= 0 || *text == '\0')
            return false;
        text += length;
    }
    return true;
}

bool http_decode(char *text, bool form)
{
    char *to = text;
    for (const char *from = text; *from; from++) {
        if (*from != '%') {
            *to++ = form && *from == '+' ? ' ' : *from;
            continue;
        }
        int high = digit(from[1]), low = high < 0 ? -1 : digit(from[2]);
        if (low < 0)
            return false;
        *to++ = (char)(high << 4 | low);
        from += 2;
    }
    *to = '\0';
    return is_text(text, (size_t)(to - text));
}

bool http_split_path(char *path, struct http_request *out)
{
    assert(path[0] == '/');
    out->segment_count = 0;
    for (char *at = path[1] ? path : NULL; at;) {
        char *segment = at + 1;
        at = strchr(segment, '/');
        if (at)
            *at = '\0';
        if (out->segment_count == HTTP_SEGMENTS_MAX || !http_decode(segment, false))
            return false;
        out->segments[out->segment_count++] = segment;
    }
    return true;
}

bool http_is_local_name(const char *host)
{
    char name[64];
    struct in_addr address;
    size_t size = host[0] == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":");
    if (size >= sizeof name || size > strlen(host) || (host[size] != '\0' && host[size] != ':'))
        return false;
    memcpy(name, host, size);
    name[size] = '\0';
    if (strcasecmp(name, "localhost") == 0 || strcmp(name, "[::1]") == 0)
        return true;
    return inet_pton(AF_INET, name, &address) == 1 && ntohl(address.s_addr) >> 24 == IN_LOOPBACKNET;
}

const char *http_parameter(const struct http_request *request, const char *name)
{
    for (size_t i = 0; i < request->parameter_count; i++)
        if (strcmp(request->parameters[i].name, name) == 0)
            return request->parameters[i].value;
    return NULL;
}
