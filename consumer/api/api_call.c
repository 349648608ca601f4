#include "consumer/api/api_call.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int api_refuse(struct api_call *call, enum api_problem problem, struct error *e, const char *format,
               ...)
{
    char text[ERROR_TEXT_SIZE];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    call->problem = problem;
    return error_set(e, ERROR_USAGE, "%s", text);
}

int api_stored(enum store_result result)
{
    return result == STORE_OK ? 0 : -1;
}

void api_add_frame(struct api_call *call, json_t *body)
{
    if (!call->as_of)
        return;
    json_object_set(body, "as_of", call->as_of);
    json_object_set(body, "final_through", call->final_through);
}

int api_put_json(struct api_call *call, json_t *body, struct error *e)
{
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    json_decref(body);
    if (!text)
        return error_set(e, ERROR_UNAVAILABLE, "memory is short");
    call->out->content_type = "application/json";
    call->out->body = text;
    call->out->size = strlen(text);
    return 0;
}

int api_put_settled_json(struct api_call *call, json_t *body, struct error *e)
{
    char digest[65];
    if (api_put_json(call, body, e))
        return -1;
    book_sha256(call->out->body, call->out->size, digest);
    snprintf(call->out->etag, sizeof call->out->etag, "\"%s\"", digest);
    return 0;
}
