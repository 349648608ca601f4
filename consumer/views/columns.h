// Tables for terminals: a character may be as wide as two.
#pragma once

#include <stddef.h>

// Prints the text, and blanks up to `width` columns behind it.
void columns_pad(const char *text, int width);

enum { COLUMNS_MAX = 10 };
struct columns {
    size_t count; // of columns
    unsigned right; // bit c: column c stands at the right
    size_t row_count, row_capacity;
    char *(*rows)[COLUMNS_MAX]; // texts, owned
};

// Copies a row of `count` texts; NULL is empty.
void columns_add(struct columns *columns, const char *const *cells);
// Prints all rows behind `indent`, two blanks between the columns, and frees them.
void columns_print(struct columns *columns, const char *indent);
