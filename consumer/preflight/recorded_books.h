// The price books that are recorded, for those who look whether they are the right ones: who
// recorded each, from which day on it is in force, and whether the configured file is one of them.
// Any writer of the database can put one in; here it is seen.
#pragma once

#include "consumer/postgres/store.h"

struct recorded_book {
    char sha256[65], name[BOOK_NAME_MAX];
    day_t effective_from; // DAY_NONE: the first version
    char recorded_by[64]; // session_user
    int64_t recorded_at; // ms
    // A row of settled.parameters names it, as all have that settled recorded.
    bool named;
    bool whole; // digest, name and day are those of its text
};

struct recorded_books {
    size_t count;
    struct recorded_book list[BOOK_SHELF_MAX]; // rising effective_from
    char configured[65]; // digest of the configured file; "" when it cannot be read
};

// Also those that store_load_deployment refuses. NULL with *e. `configured`: the digest of the
// configured file, NULL when it is not known. Free with free.
struct recorded_books *recorded_books_load(struct store *store, const char *configured,
                                           struct error *e);

bool recorded_books_configured(const struct recorded_books *books, size_t i);
// The first and the last day on which version i is in force; DAY_NONE: no first, no last one.
void recorded_books_days(const struct recorded_books *books, size_t i, day_t *first, day_t *last);
// "in force from … to …, recorded … by …" and what else is to be said of version i; returns out.
enum { RECORDED_BOOK_TEXT = 512 };
const char *recorded_books_text(const struct recorded_books *books, size_t i,
                                char out[RECORDED_BOOK_TEXT]);
