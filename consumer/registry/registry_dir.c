#include "consumer/registry/registry_dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static enum registry_result unreadable(const char *directory, const char *name, const char *why,
                                       struct error *e)
{
    error_set(e, ERROR_UNAVAILABLE, "schema directory %s%s%s: %s", directory, *name ? "/" : "",
              name, why);
    return REGISTRY_UNAVAILABLE;
}

// A directory that cannot be opened is no proof that the schema is not in it.
static int open_directory(const char *directory, struct error *e)
{
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        unreadable(directory, "", strerror(errno), e);
    return fd;
}

static enum registry_result read_text(int fd, const char *directory, const char *name, char **text,
                                      struct error *e)
{
    size_t used = 0;
    ssize_t got;
    char *bytes = malloc(REGISTRY_TEXT_MAX + 1);
    if (!bytes)
        return unreadable(directory, name, "no memory", e);
    while ((got = read(fd, bytes + used, REGISTRY_TEXT_MAX + 1 - used)) > 0)
        used += (size_t)got;
    const char *why = got < 0                     ? strerror(errno)
                      : used > REGISTRY_TEXT_MAX  ? "is larger than 1 MiB"
                      : memchr(bytes, '\0', used) ? "holds a zero byte"
                                                  : NULL;
    if (why) {
        free(bytes);
        return unreadable(directory, name, why, e);
    }
    bytes[used] = '\0';
    char *fitted = realloc(bytes, used + 1);
    *text = fitted ? fitted : bytes;
    return REGISTRY_FOUND;
}

static enum registry_result read_file(int directory_fd, const char *directory, const char *name,
                                      char **text, struct error *e)
{
    int fd = openat(directory_fd, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? REGISTRY_ABSENT : unreadable(directory, name, strerror(errno), e);
    enum registry_result result = read_text(fd, directory, name, text, e);
    close(fd);
    return result;
}

// A text that was found once is kept for ever: a file of which only a part is there must not be.
static bool is_json(const char *text)
{
    json_t *json =
        json_loads(text, JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL | JSON_ALLOW_NUL, NULL);
    bool good = json != NULL;
    json_decref(json);
    return good;
}

enum registry_result registry_dir_fetch(const char *directory, int64_t id, char **text,
                                        struct error *e)
{
    char name[32];
    snprintf(name, sizeof name, "%" PRId64 ".avsc", id);
    int fd = open_directory(directory, e);
    if (fd < 0)
        return REGISTRY_UNAVAILABLE;
    enum registry_result result = read_file(fd, directory, name, text, e);
    close(fd);
    if (result == REGISTRY_FOUND && !is_json(*text)) {
        free(*text);
        *text = NULL;
        return unreadable(directory, name, "is no JSON: is it being copied?", e);
    }
    return result;
}

// The id of "ID.avsc", written as registry_dir_fetch looks for it; -1 for any other name.
static int64_t id_of_name(const char *name)
{
    char *end, canonical[32];
    errno = 0;
    int64_t number = strtoll(name, &end, 10);
    if (errno || number < 0)
        return -1;
    snprintf(canonical, sizeof canonical, "%" PRId64 ".avsc", number);
    return strcmp(canonical, name) == 0 ? number : -1;
}

static enum registry_result scan(DIR *files, const char *directory, const char *text, int64_t *id,
                                 struct error *e)
{
    enum registry_result result = REGISTRY_ABSENT;
    for (const struct dirent *file; (file = readdir(files)) != NULL;) {
        char *found;
        int64_t number = id_of_name(file->d_name);
        if (number < 0 || (result == REGISTRY_FOUND && number > *id))
            continue;
        enum registry_result one = read_file(dirfd(files), directory, file->d_name, &found, e);
        if (one == REGISTRY_UNAVAILABLE)
            return one;
        if (one == REGISTRY_ABSENT)
            continue; // removed meanwhile
        if (strcmp(found, text) == 0) {
            *id = number;
            result = REGISTRY_FOUND;
        }
        free(found);
    }
    return result;
}

enum registry_result registry_dir_lookup(const char *directory, const char *text, int64_t *id,
                                         struct error *e)
{
    int fd = open_directory(directory, e);
    if (fd < 0)
        return REGISTRY_UNAVAILABLE;
    DIR *files = fdopendir(fd);
    if (!files) {
        close(fd);
        return unreadable(directory, "", strerror(errno), e);
    }
    enum registry_result result = scan(files, directory, text, id, e);
    closedir(files);
    return result;
}
