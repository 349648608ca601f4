// The price book: one YAML file is one version, identified by the SHA-256 of its bytes. The local
// date decides which version is in force: the first version has no `effective_from` and is in force
// from the beginning, a later one starts at 00:00 of its `effective_from`. A shelf is the set of
// versions a deployment has recorded.
#pragma once

#include "pricing/calendar.h"
#include "pricing/error.h"
#include "pricing/money.h"
#include "pricing/service.h"

#include <stddef.h>

// Bounds of a book; a file beyond them is refused with its line.
enum {
    BOOK_TIERS_MAX = 32,
    BOOK_OFFERS_MAX = 32,
    BOOK_SHELF_MAX = 256,
    BOOK_NAME_MAX = 96,
    BOOK_FILE_MAX = 1 << 20
};

// What sums can reach, in 64 bits (9.2 * 10^18):
//   a call, a package, a credit   10^13 fen at the most (R43, R61): 922,337 of the largest fit
//   units of a settlement         10^9 a call, and fewer than 2^32 calls are held: 4.3 * 10^18
//   amount of a settlement or a day, balance of an account
//                                 more than 922,337 records of the largest amount would not fit;
//                                 each addition is checked, and a shard halts before it
#define BOOK_PRICE_MAX INT64_C(1000000000) // fen, of a unit or a custom step
#define UNITS_OF_RECORD_MAX INT64_C(1000000000) // R3, R43
#define AMOUNT_MAX INT64_C(10000000000000) // fen; R43, R61
_Static_assert(UNITS_OF_RECORD_MAX <= INT64_MAX / BOOK_PRICE_MAX, "a call's amount is a product");
_Static_assert(UNITS_OF_RECORD_MAX <= INT64_MAX / UINT32_MAX, "units of all calls that are held");

// Volume pricing: the tier whose range holds the units of one call prices the whole call. Lower
// bound inclusive.
struct tier {
    int64_t from; // units
    fen_t unit_price;
};

// A package for sale: its size in units, and its price.
struct offer {
    int64_t units;
    fen_t price;
};

// A custom package: any multiple of `step` from `minimum` units on, at `price_per_step` a step.
// step 0: not offered.
struct custom_offer {
    int64_t minimum, step; // units
    fen_t price_per_step;
};

struct service_prices {
    char name[BOOK_NAME_MAX]; // display name, UTF-8
    enum billed_unit unit;
    bool tiered; // false: one price, and lines carry no tier_from
    size_t tier_count; // at least 1; tiers[0].from == 0, strictly rising
    struct tier tiers[BOOK_TIERS_MAX];
    size_t offer_count;
    struct offer offers[BOOK_OFFERS_MAX]; // rising units
    struct custom_offer custom;
};

struct book {
    char sha256[65]; // of the file's bytes, hex
    char name[BOOK_NAME_MAX];
    char currency[4];
    char time_zone[64];
    int32_t offset_ms; // of time_zone
    day_t effective_from; // DAY_NONE: always in force (only the first version)
    struct service_prices services[SERVICE_COUNT];
};

// Parses and validates a file's bytes; pricing/README.md describes the format. Errors
// (ERROR_CONFIG) read "FILE:LINE:COLUMN: reason; remedy", with columns counted in characters. What
// is refused: not YAML, unknown or repeated key, missing key, wrong type, tiers with a gap, overlap
// or disorder, a price that is not a whole number of fen, units out of bounds, unknown zone,
// currency or service, a bad date, a file too large. The first one found is reported. `file` only
// names the source in messages. Returns 0, or -1 with *e and *out undefined.
int book_parse(const char *file, const char *bytes, size_t size, struct book *out, struct error *e);

// SHA-256 of bytes in lower-case hex, as in `price_book`.
void book_sha256(const void *bytes, size_t size, char out[65]);

struct shelf {
    size_t count;
    // rising effective_from, the first without; owned by the shelf
    struct book *books[BOOK_SHELF_MAX];
};

// Takes a copy of `book`. Refused (ERROR_CONFIG) when it breaks the order of versions, repeats a
// date, or changes time zone or currency; adding a version that is there already (same sha256)
// changes nothing.
int shelf_add(struct shelf *shelf, const struct book *book, struct error *e);
// The version in force on a local day; NULL only for an empty shelf.
const struct book *shelf_at(const struct shelf *shelf, day_t day);
void shelf_clear(struct shelf *shelf);
