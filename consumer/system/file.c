#include "consumer/system/file.h"

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

char *file_read(const char *path, size_t limit, size_t *size, struct error *e)
{
    assert(limit <= SIZE_MAX - 2); // one byte more is read, and one terminates
    FILE *file = fopen(path, "re");
    char *bytes = file ? malloc(limit + 2) : NULL;
    if (!bytes) {
        error_set(e, ERROR_CONFIG, "%s: %s", path, strerror(errno));
        if (file)
            fclose(file);
        return NULL;
    }
    *size = fread(bytes, 1, limit + 1, file);
    if (ferror(file)) {
        error_set(e, ERROR_CONFIG, "%s: %s", path, strerror(errno));
    } else if (*size > limit) {
        error_set(e, ERROR_CONFIG, "%s: larger than %zu bytes", path, limit);
    } else {
        fclose(file);
        bytes[*size] = 0;
        return bytes;
    }
    fclose(file);
    free(bytes);
    return NULL;
}
