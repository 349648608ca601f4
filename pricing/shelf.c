#include "pricing/book.h"

#include <stdlib.h>
#include <string.h>

static bool on_shelf(const struct shelf *shelf, const struct book *book)
{
    for (size_t i = 0; i < shelf->count; i++)
        if (strcmp(shelf->books[i]->sha256, book->sha256) == 0)
            return true;
    return false;
}

// R55: a version begins after all recorded ones.
static int check_order(const struct shelf *shelf, const struct book *book, struct error *e)
{
    char last[DAY_TEXT_SIZE], day[DAY_TEXT_SIZE];
    if (shelf->count == 0) {
        if (book->effective_from == DAY_NONE)
            return 0;
        return error_set(e, ERROR_CONFIG,
                         "price book %s: the first version recorded has effective_from %s, so "
                         "earlier days would have "
                         "no price; remove effective_from, or record the version before it first",
                         book->name, calendar_format_day(book->effective_from, day));
    }
    const struct book *newest = shelf->books[shelf->count - 1];
    if (book->effective_from == DAY_NONE)
        return error_set(e, ERROR_CONFIG,
                         "price book %s: a first version is recorded already and recorded versions "
                         "never change; "
                         "give this one the effective_from from which it applies",
                         book->name);
    if (newest->effective_from != DAY_NONE && book->effective_from <= newest->effective_from)
        return error_set(e, ERROR_CONFIG,
                         "price book %s: effective_from %s is not after %s of the newest version "
                         "recorded; choose a "
                         "later day",
                         book->name, calendar_format_day(book->effective_from, day),
                         calendar_format_day(newest->effective_from, last));
    return 0;
}

// R55: no version changes the time zone or the currency.
static int check_same(const struct shelf *shelf, const struct book *book, struct error *e)
{
    if (shelf->count == 0)
        return 0;
    const struct book *first = shelf->books[0];
    if (strcmp(book->time_zone, first->time_zone) != 0)
        return error_set(e, ERROR_CONFIG,
                         "price book %s: time_zone %s differs from %s of the versions recorded; it "
                         "decides what a day is and never changes",
                         book->name, book->time_zone, first->time_zone);
    if (strcmp(book->currency, first->currency) != 0)
        return error_set(e, ERROR_CONFIG,
                         "price book %s: currency %s differs from %s of the versions recorded; it "
                         "never changes",
                         book->name, book->currency, first->currency);
    return 0;
}

int shelf_add(struct shelf *shelf, const struct book *book, struct error *e)
{
    if (on_shelf(shelf, book))
        return 0;
    if (check_same(shelf, book, e) != 0 || check_order(shelf, book, e) != 0)
        return -1;
    if (shelf->count == BOOK_SHELF_MAX)
        return error_set(e, ERROR_CONFIG,
                         "price book %s: %d versions are recorded already, the most there can be",
                         book->name, BOOK_SHELF_MAX);
    struct book *copy = malloc(sizeof *copy);
    if (!copy)
        return error_set(e, ERROR_RESTART, "price book %s: no memory", book->name);
    *copy = *book;
    shelf->books[shelf->count++] = copy;
    return 0;
}

const struct book *shelf_at(const struct shelf *shelf, day_t day)
{
    size_t i = shelf->count;
    while (i > 0)
        // R54: in force from its own day on, until a later one is.
        if (shelf->books[--i]->effective_from <= day)
            return shelf->books[i];
    return NULL;
}

void shelf_clear(struct shelf *shelf)
{
    while (shelf->count > 0)
        free(shelf->books[--shelf->count]);
}
