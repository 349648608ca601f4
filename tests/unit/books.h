// The price book of the repository, for the tests of pricing.
#pragma once

#include "pricing/book.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Reads a whole file; the caller frees.
static inline char *read_whole(const char *path, size_t *size)
{
    FILE *f = fopen(path, "rb");
    assert(f);
    char *bytes = malloc(BOOK_FILE_MAX);
    assert(bytes);
    *size = fread(bytes, 1, BOOK_FILE_MAX, f);
    fclose(f);
    return bytes;
}

static inline struct book load_apcas(void)
{
    size_t size;
    char *bytes = read_whole(SOURCE_DIR "/pricing/pricebooks/apcas.yaml", &size);
    struct book book;
    struct error e;
    int result = book_parse("apcas.yaml", bytes, size, &book, &e);
    free(bytes);
    assert(result == 0);
    return book;
}
