// Why a record is rejected. One row here has all that the program knows of a reason.
#pragma once

#include <stdbool.h>

// One X(symbol, broken, since, means) a reason, in the order in which they are checked (R40):
//   symbol   as topics, tables, metrics and options have it
//   broken   whether it counts towards a held day (R50): with too many such calls the day is not
//            closed
//   since    the first version of settled that has it
//   means    for people; schemas/README.md has the same words
#define REJECT_ROWS(X)                                                                             \
    X(UNDECODABLE, true, "0.1.0",                                                                  \
      "no value, another framing, bytes that do not decode or are left over")                      \
    X(UNKNOWN_SCHEMA, true, "0.1.0", "no registry has the schema's id")                            \
    X(INCOMPATIBLE_SCHEMA, true, "0.1.0", "the writer's schema does not resolve to the record")    \
    X(MISROUTED, true, "0.1.0",                                                                    \
      "the key is not the account_id, or the record is in another partition than its key's")       \
    X(INVALID, true, "0.1.0",                                                                      \
      "a field out of its bounds: ids (1 to 128 bytes of UTF-8 without control characters), "      \
      "nulls, unknown symbols, times outside 1970 to 9999, lead counts, units, amounts, currency") \
    X(FROM_FUTURE, false, "0.1.0",                                                                 \
      "the record's own time is later than the broker's plus the tolerance")                       \
    X(TOO_LATE, false, "0.1.0", "the usage day is before first_day or older than late_days")       \
    X(REFUND, false, "0.1.0",                                                                      \
      "a purchase or top-up that is not above zero, an adjustment of zero")                        \
    X(NOT_FOR_SALE, false, "0.1.0",                                                                \
      "no such package, or another price, in the price book of the day of purchase")               \
    X(CONFLICT, false, "0.1.0", "the id was accepted before with other billed content")

#define REJECT_ENUMERATOR(symbol, broken, since, means) REJECT_##symbol,
enum reject_reason { REJECT_NONE, REJECT_ROWS(REJECT_ENUMERATOR) REJECT_REASONS };

const char *reject_symbol(enum reject_reason reason); // "UNDECODABLE"
bool reject_parse(const char *symbol, enum reject_reason *out);
bool reject_is_broken(enum reject_reason reason);

// "UNDECODABLE|UNKNOWN_SCHEMA|…", as an option takes them.
#define REJECT_CHOICE(symbol, broken, since, means) "|" #symbol
#define REJECT_CHOICES (&(REJECT_ROWS(REJECT_CHOICE))[sizeof "|" - 1])
// A paragraph for each reason.
#define REJECT_PARAGRAPH(symbol, broken, since, means) "\n" #symbol ": " means "."
#define REJECT_PARAGRAPHS REJECT_ROWS(REJECT_PARAGRAPH)
