#include "consumer/console/console.h"

#include "schemas/embedded.h"

#include <stdio.h>
#include <string.h>

#define FRONT_PAGE "index.html"

// NULL: no file has such a name.
static const char *content_type(const char *name)
{
    static const char *const types[][2] = {
        {".html", "text/html; charset=utf-8"},     {".css", "text/css; charset=utf-8"},
        {".js", "text/javascript; charset=utf-8"}, {".svg", "image/svg+xml"},
        {".txt", "text/plain; charset=utf-8"},
    };
    const char *dot = strrchr(name, '.');
    for (size_t i = 0; dot && i < sizeof types / sizeof *types; i++)
        if (strcmp(dot, types[i][0]) == 0)
            return types[i][1];
    return NULL;
}

// What a page may do: run, and ask for, what this server sends, and nothing else. Even where a text
// of a record reached the page as markup, nothing in it would run, and nothing could be sent away.
static const struct http_header headers[] = {
    {"Content-Security-Policy",
     "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
     "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
     "require-trusted-types-for 'script'; trusted-types 'none'"},
    {"Referrer-Policy", "no-referrer"},
    {"Cross-Origin-Opener-Policy", "same-origin"},
    {"Cross-Origin-Resource-Policy", "same-origin"},
    {NULL, NULL},
};

// NULL: nothing is there.
static const char *asked_name(const struct http_request *request)
{
    if (request->segment_count == 0)
        return FRONT_PAGE;
    if (request->segment_count == 2 && strcmp(request->segments[0], "console") == 0)
        return request->segments[1];
    return NULL;
}

static const struct embedded *find_file(const char *name)
{
    for (const struct embedded *file = embedded_console; name && file->name; file++)
        if (strcmp(file->name, name) == 0)
            return file;
    return NULL;
}

// A browser asks again each time whether a file is still the same: so all files of a page are of
// one version of the program, also after an update.
void console_answer(void *context, int thread, const struct http_request *request,
                    struct http_answer *out)
{
    const struct embedded *file = find_file(asked_name(request));
    (void)context;
    (void)thread;
    if (!file) {
        http_put_text(out, 404, "there is nothing at this path\n");
        return;
    }
    out->content_type = content_type(file->name);
    out->bytes = file->text;
    out->size = file->size;
    out->headers = headers;
    snprintf(out->etag, sizeof out->etag, "\"%s\"", file->sha256);
}
