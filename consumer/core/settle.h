// One account's calls become its settlement: what the close of a day and a preview share. Included
// by the files of the fold only.
#pragma once

#include "consumer/core/fold_state.h"

// A call that is on no settlement yet, with all that its price needs: the columns are read once, in
// their order.
enum { PENDING_DAY_BITS = 32 - CALL_SERVICE_BITS };
struct pending {
    int64_t occurred_at;
    uint32_t ordinal, units;
    uint32_t day : PENDING_DAY_BITS; // number of its usage day in calls.days
    uint32_t service : CALL_SERVICE_BITS;
};

// Units drawn from one package, on one usage day.
struct draw {
    uint32_t package;
    int64_t calls, begun, units;
};

// What one account used on one usage day.
struct tally {
    struct tier_use {
        int64_t calls, begun, units;
    } tiers[SERVICE_COUNT][BOOK_TIERS_MAX];
    size_t draw_count;
};

// Settles one account after another into the step of the fold.
struct settling {
    struct fold *fold;
    struct error *e;
    const day_t *days; // by the number in a pending call; rising
    // of the account at hand
    size_t count; // its calls
    int64_t units; // of its calls so far
    const struct account *traced;
    // of its usage day at hand
    struct tally tally;
    size_t draw_capacity;
    struct draw *draws;
};

// `pending`: the account's calls, in the order of `days`, each day's in that of their offsets; they
// are sorted by time where that matters. What is settled comes off the account's balance and its
// packages. -1 with *e: an amount would pass 64 bits.
int settle_account(struct settling *c, uint32_t number, struct pending *pending, size_t count);
void settle_release(struct settling *c);
