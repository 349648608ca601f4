// A table of paths: what may be asked, by whom, and who answers it. Not for users of the API.
#pragma once

#include "consumer/api/api_call.h"

enum api_audience {
    API_EVERYBODY, // every token
    API_HOLDER, // readers, and the account at {id}
    API_READER,
};

struct api_path {
    const char *path; // "{id}" stands for a segment
    const char *parameters; // those that it knows, with blanks between them
    enum api_audience audience;
    bool csv; // it has that form too
    api_answerer *answer;
};

struct api_paths {
    const struct api_path *rows;
    size_t count;
};

// NULL: there is none. `captured`: what stands at the placeholders; NULL where there is none.
const struct api_path *api_find_path(const struct api_paths *paths,
                                     const struct http_request *request, const char *captured[2]);
