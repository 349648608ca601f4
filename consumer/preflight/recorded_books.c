#include "consumer/preflight/recorded_books.h"

#include "consumer/postgres/store_sql.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void read_book(const PGresult *rows, int row, struct book *parsed, struct recorded_book *out)
{
    struct error ignored;
    struct slice file = get_slice(rows, row, 3);
    get_copy(rows, row, 0, out->sha256, sizeof out->sha256);
    get_copy(rows, row, 1, out->name, sizeof out->name);
    out->effective_from = get_day(rows, row, 2);
    get_copy(rows, row, 4, out->recorded_by, sizeof out->recorded_by);
    out->recorded_at = get_time(rows, row, 5);
    out->named = get_int4(rows, row, 6) != 0;
    out->whole = book_parse(out->name, file.data, file.size, parsed, &ignored) == 0 &&
                 strcmp(parsed->sha256, out->sha256) == 0 && strcmp(parsed->name, out->name) == 0 &&
                 parsed->effective_from == out->effective_from;
}

static enum store_result load_rows(struct store *store, struct recorded_books *out, struct error *e)
{
    PGresult *rows;
    enum store_result result = store_ready(store, e);
    if (result == STORE_OK)
        result =
            sql_run(store,
                    "select sha256, name, effective_from, file, recorded_by, recorded_at,"
                    " (exists (select from settled.parameters where book_sha256 = sha256))::int"
                    " from settled.price_books order by effective_from",
                    SQL_NO_PARAMS, &rows, e);
    if (result != STORE_OK)
        return result;
    struct book *parsed = malloc(sizeof *parsed);
    if (!parsed)
        abort(); // out of memory
    for (int i = 0; i < PQntuples(rows) && out->count < BOOK_SHELF_MAX; i++)
        read_book(rows, i, parsed, &out->list[out->count++]);
    free(parsed);
    PQclear(rows);
    return STORE_OK;
}

struct recorded_books *recorded_books_load(struct store *store, const char *configured,
                                           struct error *e)
{
    struct recorded_books *books = calloc(1, sizeof *books);
    if (!books)
        abort(); // out of memory
    if (configured)
        snprintf(books->configured, sizeof books->configured, "%s", configured);
    if (load_rows(store, books, e) == STORE_OK)
        return books;
    free(books);
    return NULL;
}

bool recorded_books_configured(const struct recorded_books *books, size_t i)
{
    assert(i < books->count);
    return strcmp(books->list[i].sha256, books->configured) == 0;
}

void recorded_books_days(const struct recorded_books *books, size_t i, day_t *first, day_t *last)
{
    assert(i < books->count);
    *first = books->list[i].effective_from;
    *last = i + 1 < books->count ? books->list[i + 1].effective_from - 1 : DAY_NONE;
}

const char *recorded_books_text(const struct recorded_books *books, size_t i,
                                char out[RECORDED_BOOK_TEXT])
{
    const struct recorded_book *book = &books->list[i];
    char from[DAY_TEXT_SIZE] = "the beginning", to[DAY_TEXT_SIZE + 4] = "", at[INSTANT_TEXT_SIZE];
    char date[DAY_TEXT_SIZE];
    day_t first, last;
    recorded_books_days(books, i, &first, &last);
    if (first != DAY_NONE)
        calendar_format_day(first, from);
    if (last != DAY_NONE)
        snprintf(to, sizeof to, " to %s", calendar_format_day(last, date));
    int length = snprintf(
        out, RECORDED_BOOK_TEXT,
        "price book %s (%s): in force from %s%s, recorded %s by %s, %s%s%s", book->sha256,
        book->name, from, to, calendar_format_instant(book->recorded_at, 0, at), book->recorded_by,
        !books->configured[0]                 ? "the configured one cannot be read"
        : recorded_books_configured(books, i) ? "the configured one"
                                              : "not the configured one",
        book->named ? "" : "; no row of settled.parameters names it: it was put in by hand",
        book->whole ? "" : "; ITS DIGEST, NAME OR DAY IS NOT THAT OF ITS TEXT");
    assert(length > 0 && length < RECORDED_BOOK_TEXT);
    (void)length;
    return out;
}
