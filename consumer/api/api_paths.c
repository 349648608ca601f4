#include "consumer/api/api_paths.h"

#include <assert.h>
#include <string.h>

// Compares segment by segment.
static bool matches(const char *path, const struct http_request *request, const char *captured[2])
{
    size_t at = 0, captures = 0;
    captured[0] = captured[1] = NULL;
    for (; *path && at < request->segment_count; at++) {
        size_t size = strcspn(path, "/");
        const char *segment = request->segments[at];
        if (path[0] == '{') {
            assert(captures < 2);
            captured[captures++] = segment;
        } else if (strlen(segment) != size || strncmp(path, segment, size) != 0) {
            return false;
        }
        path += size;
        path += *path == '/';
    }
    return !*path && at == request->segment_count;
}

const struct api_path *api_find_path(const struct api_paths *paths,
                                     const struct http_request *request, const char *captured[2])
{
    for (size_t i = 0; i < paths->count; i++)
        if (matches(paths->rows[i].path, request, captured))
            return &paths->rows[i];
    captured[0] = captured[1] = NULL;
    return NULL;
}
