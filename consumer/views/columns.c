#include "consumer/views/columns.h"

#include "consumer/base/memory.h"

#include <assert.h>
#include <locale.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

// By the C library's own tables, whatever the locale of the process.
static int measure(const char *text)
{
    int columns = 0;
    size_t left = strlen(text);
    mbstate_t state = {0};
    while (left > 0) {
        wchar_t c;
        size_t size = mbrtowc(&c, text, left, &state);
        int width = 1;
        if (size == (size_t)-1 || size == (size_t)-2) {
            memset(&state, 0, sizeof state);
            size = 1;
        } else {
            width = wcwidth(c);
        }
        columns += width < 0 ? 1 : width;
        text += size;
        left -= size;
    }
    return columns;
}

// How many columns of a terminal a text takes: 2 for a Chinese character, 0 for a combining one.
static int columns_of(const char *text)
{
    locale_t utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
    if (!utf8)
        return (int)strlen(text);
    locale_t before = uselocale(utf8);
    int columns = measure(text);
    uselocale(before);
    freelocale(utf8);
    return columns;
}

static void print_blanks(int count)
{
    for (; count > 0; count--)
        putchar(' ');
}

void columns_pad(const char *text, int width)
{
    fputs(text, stdout);
    print_blanks(width - columns_of(text));
}

void columns_add(struct columns *columns, const char *const *cells)
{
    assert(columns->count <= COLUMNS_MAX);
    columns->rows = memory_reserve(columns->rows, columns->row_count, &columns->row_capacity,
                                   sizeof *columns->rows);
    for (size_t c = 0; c < columns->count; c++) {
        char *copy = strdup(cells[c] ? cells[c] : "");
        if (!copy)
            abort(); // out of memory
        columns->rows[columns->row_count][c] = copy;
    }
    columns->row_count++;
}

// The last column is not padded.
static void print_row(const struct columns *columns, char *const *row, const int *widths)
{
    for (size_t c = 0; c < columns->count; c++) {
        int blanks = widths[c] - columns_of(row[c]);
        bool right = columns->right >> c & 1;
        print_blanks(right ? blanks : 0);
        fputs(row[c], stdout);
        if (c + 1 < columns->count)
            print_blanks(2 + (right ? 0 : blanks));
    }
    putchar('\n');
}

void columns_print(struct columns *columns, const char *indent)
{
    int widths[COLUMNS_MAX] = {0};
    for (size_t r = 0; r < columns->row_count; r++)
        for (size_t c = 0; c < columns->count; c++) {
            int width = columns_of(columns->rows[r][c]);
            widths[c] = width > widths[c] ? width : widths[c];
        }
    for (size_t r = 0; r < columns->row_count; r++) {
        fputs(indent, stdout);
        print_row(columns, columns->rows[r], widths);
        for (size_t c = 0; c < columns->count; c++)
            free(columns->rows[r][c]);
    }
    free(columns->rows);
    columns->rows = NULL;
    columns->row_count = columns->row_capacity = 0;
}
