// The price calculator: what a need would cost by each way of paying, and which is the least.
#pragma once

#include "pricing/rate.h"

enum { QUOTE_OPTIONS_MAX = BOOK_OFFERS_MAX + 2 };

struct quote_request {
    enum service service;
    int64_t leads; // of one call, for a service billed by lead
    int64_t calls; // in the day: for a service billed by call, or so many calls of `leads` each; at least 1
};

enum quote_way { QUOTE_POSTPAID, QUOTE_PACKAGE, QUOTE_CUSTOM };

struct quote_option {
    enum quote_way way;
    int64_t package_units; // 0 for postpaid
    fen_t package_price; // 0 for postpaid
    int64_t covered_units; // of the need, by the package
    int64_t postpaid_units; // the rest, at the tier of the whole call
    fen_t postpaid_amount;
    fen_t total;
    int64_t left_units; // in the package after the need, valid for a year
};

struct quote {
    int64_t need_units;
    int64_t tier_from; // of one call
    fen_t unit_price; // postpaid
    size_t count;
    struct quote_option options[QUOTE_OPTIONS_MAX]; // postpaid first, then offers by size, then the custom offer
    size_t least; // index of the cheapest; on a tie the one with more units left, then the earlier
};

// Each package is bought once and the rest is postpaid; the custom offer is taken at max(minimum, need) rounded up to
// its step. Calls draw the package one after the other, each rest at the tier of its whole call (billing rules).
// Returns 0, or -1 with ERROR_USAGE for a need out of bounds (contract: 10^9 leads a call) or money that overflows.
int quote_make(const struct book *book, const struct quote_request *request, struct quote *out, struct error *e);
