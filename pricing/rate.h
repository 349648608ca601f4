// What one call costs, and what is for sale. Rules: postpaid tiers by the units of one call (volume
// pricing), packages as offered. No state: packages of an account are drawn in
// consumer/core/close.c.
#pragma once

#include "pricing/book.h"

// Units of a call: always 1 where calls are billed, else its leads.
int64_t rate_units(const struct book *book, enum service service, int64_t lead_count);
// The tier that prices a call of `units` (>= 0).
const struct tier *rate_tier(const struct book *book, enum service service, int64_t units);
// Whether a package of this many units is for sale, and its price. False: not for sale.
bool rate_offer_price(const struct book *book, enum service service, int64_t units, fen_t *price);
