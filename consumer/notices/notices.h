// Of what an account holder is told when a day is closed: decisions over plain numbers, without
// state. What was told before follows from what remained before, so nothing is told twice. Pure.
#pragma once

#include "pricing/calendar.h"
#include "pricing/money.h"

#include <stdbool.h>
#include <stddef.h>

// The kinds in the order in which an account's notices go out, and their symbols.
#define NOTICE_ROWS(X)                                                                             \
    X(NOTICE_PACKAGE_LOW, "PACKAGE_LOW")                                                           \
    X(NOTICE_PACKAGE_EXPIRING, "PACKAGE_EXPIRING")                                                 \
    X(NOTICE_PACKAGE_EXPIRED, "PACKAGE_EXPIRED")                                                   \
    X(NOTICE_BALANCE_LOW, "BALANCE_LOW")
#define NOTICE_VALUE(value, symbol) value,
enum notice_kind { NOTICE_ROWS(NOTICE_VALUE) };
const char *notice_symbol(enum notice_kind kind);

// Falling, each once.
enum { THRESHOLDS_MAX = 8, THRESHOLDS_TEXT_SIZE = 176 };
struct thresholds {
    int count;
    int64_t at[THRESHOLDS_MAX];
};

// Adds one at its place. False: it is there already, or there is no room.
bool thresholds_add(struct thresholds *thresholds, int64_t threshold);
bool thresholds_same(const struct thresholds *a, const struct thresholds *b);
// Numbers with `between` between them; nothing for none. Returns out.
char *thresholds_format(const struct thresholds *thresholds, const char *between,
                        char out[THRESHOLDS_TEXT_SIZE]);
// From numbers with commas between them. False: these are none.
bool thresholds_parse(const char *text, struct thresholds *out);

// What an operator wants account holders to be told of.
struct notice_limits {
    struct thresholds package_left; // percent of a package's units
    struct thresholds expiring_days; // before the day on which a package ends
    struct thresholds balance_below; // fen
};

// R63: the lowest share of its units that the package had above before the close, and has not
// after it.
bool notice_package_low(const struct notice_limits *limits, int64_t units, int64_t before,
                        int64_t remaining, int64_t *percent);
// R64: it ends on a day that is as many days behind the closed one as is told of.
bool notice_package_expiring(const struct notice_limits *limits, day_t closed, day_t ends,
                             int64_t *days);
// R65: the closed day, [start, end) in ms, is the first one that ends when the package has ended.
bool notice_package_expired(int64_t start, int64_t end, int64_t valid_until);
// R66: the lowest amount that the balance reached before it was debited, and does not after it.
bool notice_balance_low(const struct notice_limits *limits, fen_t before, fen_t closing,
                        fen_t *below);

// The last day whose close tells anybody of a package that ends on this day, or has ended on it, is
// the day itself; the first one is so many days before it.
int64_t notice_days_ahead(const struct notice_limits *limits);
