// The price calculator: what so many calls would cost with each way of paying, and which way is the
// cheapest.
#pragma once

#include "pricing/combine.h"
#include "pricing/rate.h"

enum { QUOTE_OPTIONS_MAX = BOOK_OFFERS_MAX + 3, QUOTE_GROUPS_MAX = COMBINE_STRETCHES_MAX };

#define QUOTE_CALLS_MAX INT64_C(1000000000)

// Calls of one day that are alike.
struct quote_calls {
    int64_t calls; // at least 1
    int64_t leads; // of each call; not looked at for a service billed by call
};

struct quote_request {
    enum service service;
    // In packages that there are already. They are drawn before a new one is, which is valid for
    // longer (R15).
    int64_t held_units;
    size_t group_count; // at least 1
    struct quote_calls groups[QUOTE_GROUPS_MAX]; // in the order in which the calls are made
};

enum quote_way { QUOTE_POSTPAID, QUOTE_PACKAGE, QUOTE_CUSTOM, QUOTE_COMBINATION };

struct quote_option {
    enum quote_way way;
    int64_t package_units; // of all its packages; 0 for postpaid
    fen_t package_price; // 0 for postpaid
    int64_t covered_units; // of the need, by the packages and by what is held
    int64_t postpaid_units; // the rest, each call's at the tier of the whole call
    fen_t postpaid_amount;
    fen_t total;
    int64_t left_units; // after the need, in the packages and of what is held
};

// The prices that apply to a group.
struct quote_group {
    int64_t calls, units; // of one call
    int64_t tier_from; // -1: the service has no tiers
    fen_t unit_price; // postpaid
};

struct quote {
    int64_t need_units, held_units;
    size_t group_count;
    struct quote_group groups[QUOTE_GROUPS_MAX];
    size_t count;
    // postpaid first, then offers by size, then the custom offer, then a combination if it is
    // better than each of these
    struct quote_option options[QUOTE_OPTIONS_MAX];
    struct combination combination; // the packages of the last option, if it is one
    size_t least; // index of the cheapest; on a tie the one with more units left, then the earlier
};

// Each package is bought once and the rest is postpaid; the custom offer is taken at max(minimum,
// need) rounded up to its step, and left out where no purchase record could hold it
// (UNITS_OF_RECORD_MAX, AMOUNT_MAX). What is held already covers its part of the need first, and is
// not paid for again. Where several packages, or another custom size, cost less, the
// least of all combinations is there too. Calls draw the packages one after the other, each rest at
// the tier of its whole call (R16, R58). Returns 0, or -1 with ERROR_USAGE for a need out of bounds
// (R3: 10^9 leads a call) or money that overflows. held_units is at least 0.
int quote_make(const struct book *book, const struct quote_request *request, struct quote *out,
               struct error *e);
