#include "consumer/config/book_file.h"

#include "consumer/system/file.h"
#include "schemas/embedded.h"

#include <assert.h>
#include <stdlib.h>

int book_load(const char *path, struct book *out, char **bytes, size_t *size, struct error *e)
{
    size_t length;
    char *read = file_read(path, BOOK_FILE_MAX, &length, e);
    if (!read)
        return error_context(e, "price book");
    int result = book_parse(path, read, length, out, e);
    if (result == 0 && bytes) {
        *bytes = read;
        *size = length;
        return 0;
    }
    free(read);
    return result;
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
