// What an account's month adds up to, read from what is recorded: settlements and credits of its
// business days, and the purchases within its cutoffs. A shard has the result written as month
// statements (fold_take_month); an audit compares it with those that are there.
#pragma once

#include "consumer/core/step.h"
#include "consumer/postgres/store.h"

// One page at a time; release it in the end. All of what it points to is its own.
struct month_reader;
struct month_reader *month_reader_create(void); // aborts when memory is short
void month_reader_free(struct month_reader *reader);

struct month_request {
    int32_t shard;
    day_t month; // its last day, which is closed
    const char *after; // the last account of the page before; "": this is the first one
    int32_t limit; // how many accounts are looked at
};
// *out is valid until the next call. Where `limit` accounts have nothing to be told, it is empty.
// Texts for which a program of today has no symbol, and sums beyond 64 bits, are STORE_FAILED.
enum store_result months_load(struct store *store, const struct month_request *request,
                              struct month_reader *reader, struct month_page *out, struct error *e);
// The same within the store's open transaction: as of its snapshot.
enum store_result months_load_within(struct store *store, const struct month_request *request,
                                     struct month_reader *reader, struct month_page *out,
                                     struct error *e);
