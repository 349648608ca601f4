// Which packages together cost the least for calls that are to be made: any number of each offer,
// and of custom packages of any size. What they do not cover is postpaid, so buying less than the
// need, or more, may be the cheapest.
#pragma once

#include "pricing/book.h"

// So many units in a row, of the calls in their order, that cost so much each if they are postpaid.
struct stretch {
    int64_t units;
    fen_t unit_price;
};

struct combination {
    int64_t offers[BOOK_OFFERS_MAX]; // how many of each
    int64_t custom_units, custom_count; // of all custom packages; how many these are at least
    int64_t units; // of all packages
    fen_t price; // of all packages
    fen_t total; // with what is postpaid
    bool all; // false: there were too many to look at all of them; it is the least of those seen
};

enum { COMBINE_STRETCHES_MAX = 64 };

// The least total; where it is equal, one that leaves the most units after the need (R58). At least
// one stretch. What all stretches cost postpaid, and their units, must fit into 64 bits.
void combine(const struct service_prices *prices, const struct stretch *stretches, size_t count,
             struct combination *out);
