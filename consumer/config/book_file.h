// Where the program gets a price book: from a file, or the one that is part of the binary.
#pragma once

#include "pricing/book.h"

// Reads and parses a price book file. *bytes (may be NULL when nobody wants them) is malloc'ed, for
// the caller to free, in the form that store_record_deployment needs. 0, or -1 with ERROR_CONFIG:
// the file cannot be read, or book_parse refuses it.
int book_load(const char *path, struct book *out, char **bytes, size_t *size, struct error *e);

// The book of the repository as it was when this binary was built.
void book_load_builtin(struct book *out);
