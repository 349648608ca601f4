#include "consumer/retire/archive.h"

#include "consumer/system/fault.h"
#include "pricing/calendar.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { READ_SIZE = 1 << 16 };

// A file on its way, and the digest of what was written.
struct written {
    FILE *file;
    EVP_MD_CTX *digest;
    int64_t bytes;
    char path[RETIRED_PATH_SIZE + 80];
};

static int file_trouble(const char *path, struct error *e)
{
    return error_set(e, ERROR_CONFIG, "%s: %s", path, strerror(errno));
}

static EVP_MD_CTX *digest_begin(void)
{
    EVP_MD_CTX *digest = EVP_MD_CTX_new();
    if (!digest || !EVP_DigestInit_ex(digest, EVP_sha256(), NULL))
        abort(); // out of memory
    return digest;
}

static void digest_end(EVP_MD_CTX *digest, char out[65])
{
    unsigned char bytes[32];
    if (!EVP_DigestFinal_ex(digest, bytes, NULL))
        abort();
    EVP_MD_CTX_free(digest);
    for (size_t i = 0; i < sizeof bytes; i++)
        snprintf(out + 2 * i, 3, "%02x", bytes[i]);
}

static int take_bytes(void *context, const char *bytes, size_t size, struct error *e)
{
    struct written *w = context;
    if (fwrite(bytes, 1, size, w->file) != size)
        return file_trouble(w->path, e);
    EVP_DigestUpdate(w->digest, bytes, size);
    w->bytes += (int64_t)size;
    return 0;
}

// What the disk has of it. *found false: there is no such file.
static int read_digest(const char *path, bool *found, char sha256[65], struct error *e)
{
    char bytes[READ_SIZE];
    size_t size;
    FILE *file = fopen(path, "re");
    *found = file || errno != ENOENT;
    if (!file)
        return *found ? file_trouble(path, e) : 0;
    EVP_MD_CTX *digest = digest_begin();
    while ((size = fread(bytes, 1, sizeof bytes, file)) > 0)
        EVP_DigestUpdate(digest, bytes, size);
    int failed = ferror(file) ? file_trouble(path, e) : 0;
    digest_end(digest, sha256);
    fclose(file);
    return failed;
}

static int sync_folder(const char *path, struct error *e)
{
    int folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int failed = folder < 0 || fsync(folder) != 0 ? file_trouble(path, e) : 0;
    if (folder >= 0)
        close(folder);
    return failed;
}

static int open_part(struct written *w, const char *folder, const char *name, struct error *e)
{
    *w = (struct written){0};
    snprintf(w->path, sizeof w->path, "%s/%s.part", folder, name);
    w->file = fopen(w->path, "we");
    if (!w->file)
        return file_trouble(w->path, e);
    w->digest = digest_begin();
    fault_point(part_opened);
    return 0;
}

// The file gets its name, unless one of this name is there already: then both must be the same.
static int name_part(const struct written *w, const char *folder, const char *name,
                     const char sha256[65], struct error *e)
{
    char path[sizeof w->path], there[65];
    bool found;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (read_digest(path, &found, there, e))
        return -1;
    if (found && strcmp(there, sha256) != 0)
        return error_set(e, ERROR_CONFIG,
                         "%s is there already, with other contents: name another directory", path);
    fault_point(part_read);
    if (found)
        return unlink(w->path) == 0 ? 0 : file_trouble(w->path, e);
    if (rename(w->path, path) != 0 || sync_folder(folder, e))
        return file_trouble(path, e);
    fault_point(part_named);
    if (read_digest(path, &found, there, e))
        return -1;
    if (strcmp(there, sha256) == 0)
        return 0;
    return error_set(e, ERROR_CONFIG,
                     "%s does not hold what was written to it: look at the disk; no table was "
                     "dropped",
                     path);
}

static int close_part(struct written *w, const char *folder, const char *name, int failed,
                      char sha256[65], struct error *e)
{
    if (!failed && (fflush(w->file) != 0 || fsync(fileno(w->file)) != 0))
        failed = file_trouble(w->path, e);
    fault_point(part_written);
    digest_end(w->digest, sha256);
    fclose(w->file);
    return failed ? failed : name_part(w, folder, name, sha256, e);
}

static int archive_table(struct store *store, const struct retired_table *table, const char *folder,
                         struct archived_file *out, struct error *e)
{
    struct written w;
    snprintf(out->name, sizeof out->name, "%.50s.csv", table->name);
    if (open_part(&w, folder, out->name, e))
        return -1;
    int failed = retire_copy(store, table->partition, take_bytes, &w, &out->rows, e);
    out->bytes = w.bytes;
    if (!failed && out->rows != table->rows)
        failed = error_set(e, ERROR_BUG, "settled.%s has %" PRId64 " rows, and %" PRId64 " came",
                           table->partition, table->rows, out->rows);
    return close_part(&w, folder, out->name, failed, out->sha256, e);
}

static json_t *manifest_of(const char *month, const char *group, const struct archived_file *files,
                           size_t count)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list,
                              json_pack("{s:s, s:I, s:I, s:s}", "file", files[i].name, "rows",
                                        (json_int_t)files[i].rows, "bytes",
                                        (json_int_t)files[i].bytes, "sha256", files[i].sha256));
    return json_pack("{s:s, s:s, s:s, s:o}", "month", month, "group", group, "format",
                     "CSV of PostgreSQL in UTF-8 with a line of names; times in UTC", "files",
                     list);
}

static int write_manifest(const char *folder, json_t *manifest, struct error *e)
{
    struct written w;
    char sha256[65];
    char *text = json_dumps(manifest, JSON_INDENT(2));
    json_decref(manifest);
    if (!text)
        abort(); // out of memory
    int failed = open_part(&w, folder, "manifest.json", e);
    if (!failed) {
        failed = take_bytes(&w, text, strlen(text), e) || take_bytes(&w, "\n", 1, e) ? -1 : 0;
        failed = close_part(&w, folder, "manifest.json", failed, sha256, e);
    }
    free(text);
    return failed;
}

int archive_month(struct store *store, const struct retired_month *month, const char *directory,
                  const char *group, char manifest[RETIRED_PATH_SIZE], struct error *e)
{
    char folder[RETIRED_PATH_SIZE], name[DAY_TEXT_SIZE];
    struct archived_file files[RETIRED_TABLES] = {0};
    calendar_format_day(month->month, name);
    name[strlen("2025-03")] = '\0';
    if (snprintf(folder, sizeof folder, "%s/%s", directory, name) >= RETIRED_PATH_SIZE - 20)
        return error_set(e, ERROR_USAGE, "the name of the directory is too long");
    if (mkdir(folder, 0750) != 0 && errno != EEXIST)
        return file_trouble(folder, e);
    for (size_t t = 0; t < month->table_count; t++)
        if (archive_table(store, &month->tables[t], folder, &files[t], e))
            return -1;
    if (write_manifest(folder, manifest_of(name, group, files, month->table_count), e) ||
        sync_folder(directory, e))
        return -1;
    snprintf(manifest, RETIRED_PATH_SIZE, "%.*s/manifest.json", RETIRED_PATH_SIZE - 20, folder);
    return 0;
}
