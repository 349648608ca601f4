// The target of a request: a path of segments, and parameters, with their escapes.
#pragma once

#include "consumer/http/http.h"

// Decodes a text in place: "%41" is "A", and with `form` a plus is a space. False: an escape is
// incomplete, or what comes out is not UTF-8 or holds U+0000.
bool http_decode(char *text, bool form);
// Splits a path ("/v1/accounts/a%2Fb") in place into the decoded segments of the request. False: as
// above, or there are more than HTTP_SEGMENTS_MAX.
bool http_split_path(char *path, struct http_request *out);
// Whether the header Host ("localhost:9464", "127.0.0.1", "[::1]:9464") is a name of this machine
// that means nothing else to anybody.
bool http_is_local_name(const char *host);
// NULL: it was not sent.
const char *http_parameter(const struct http_request *request, const char *name);
