#include "consumer/book_file.h"

#include "schemas/embedded.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// One byte more than a book may have, so that book_parse sees and reports one that is too large.
enum { READ_MAX = BOOK_FILE_MAX + 1 };

static int read_file(const char *path, char *bytes, size_t *size, struct error *e)
{
    FILE *file = fopen(path, "rbe");
    if (!file) return error_set(e, ERROR_CONFIG, "price book %s: %s", path, strerror(errno));
    *size = fread(bytes, 1, READ_MAX, file);
    int result = ferror(file) ? error_set(e, ERROR_CONFIG, "price book %s: %s", path, strerror(errno)) : 0;
    fclose(file);
    return result;
}

int book_load(const char *path, struct book *out, char **bytes, size_t *size, struct error *e)
{
    size_t read = 0;
    char *buffer = malloc(READ_MAX);
    if (!buffer) return error_set(e, ERROR_RESTART, "price book %s: no memory", path);
    if (read_file(path, buffer, &read, e) != 0 || book_parse(path, buffer, read, out, e) != 0) {
        free(buffer);
        return -1;
    }
    if (!bytes) {
        free(buffer);
        return 0;
    }
    *bytes = buffer;
    *size = read;
    return 0;
}

void book_load_builtin(struct book *out)
{
    const struct embedded *book = embedded_books;
    assert(book->name && !book[1].name); // choosing among versions would need a day
    struct error e;
    int result = book_parse(book->name, book->text, book->size, out, &e);
    assert(result == 0);
    (void)result;
}
