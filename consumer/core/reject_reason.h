// Why a record is rejected. One row here has all that the program knows of a reason.
#pragma once

#include <stdbool.h>

// Rejects are counted towards a held day (R50) in two groups, each against a share of its own: what
// a broken producer sends, and what a working one sends of the wrong time or once more.
// REJECTS_NEVER is for what customers ask for and are refused: no number of those holds a day.
//   X(group, symbol)
#define REJECT_GROUP_ROWS(X)                                                                       \
    X(REJECTS_BROKEN, "broken")                                                                    \
    X(REJECTS_REFUSED, "refused")
#define REJECT_GROUP_ENUMERATOR(group, symbol) group,
enum reject_group {
    REJECT_GROUP_ROWS(REJECT_GROUP_ENUMERATOR) REJECT_GROUPS,
    REJECTS_NEVER = REJECT_GROUPS
};

// One X(symbol, group, since, means) a reason, in the order in which they are checked (R40):
//   symbol   as topics, tables, metrics and options have it
//   group    of enum reject_group, as which it counts towards a held day (R50)
//   since    the version of settled that has it first
//   means    for people; schemas/README.md has the same words
#define REJECT_ROWS(X)                                                                             \
    X(UNDECODABLE, REJECTS_BROKEN, "0.1.0",                                                        \
      "no value, another framing, bytes that do not decode or are left over")                      \
    X(UNKNOWN_SCHEMA, REJECTS_BROKEN, "0.1.0",                                                     \
      "no registry has the schema's id, or it could not be had and an operator refused the "       \
      "record")                                                                                    \
    X(INCOMPATIBLE_SCHEMA, REJECTS_BROKEN, "0.1.0",                                                \
      "the writer's schema does not resolve to the record")                                        \
    X(MISROUTED, REJECTS_BROKEN, "0.1.0",                                                          \
      "the key is not the account_id, or the record is in another partition than its key's")       \
    X(INVALID, REJECTS_BROKEN, "0.1.0",                                                            \
      "a field out of its bounds: ids (1 to 128 bytes of UTF-8 without control characters), "      \
      "nulls, unknown symbols, times outside 1970 to 9999, lead counts, units, amounts, "          \
      "currency; a "                                                                               \
      "call that would cost over 10^13 fen")                                                       \
    X(FROM_FUTURE, REJECTS_REFUSED, "0.1.0",                                                       \
      "the record's own time is later than the broker's plus the tolerance")                       \
    X(TOO_LATE, REJECTS_REFUSED, "0.1.0",                                                          \
      "the usage day is before first_day or older than late_days; the day of a purchase or "       \
      "credit is older than credit_days")                                                          \
    X(REFUND, REJECTS_NEVER, "0.1.0",                                                              \
      "a purchase or top-up that is not above zero, an adjustment of zero")                        \
    X(NOT_FOR_SALE, REJECTS_REFUSED, "0.1.0",                                                      \
      "no such package, or another price, in the price book of the day of purchase")               \
    X(CONFLICT, REJECTS_REFUSED, "0.1.0", "the id was accepted before with other billed content")

#define REJECT_ENUMERATOR(symbol, group, since, means) REJECT_##symbol,
enum reject_reason { REJECT_NONE, REJECT_ROWS(REJECT_ENUMERATOR) REJECT_REASONS };

const char *reject_symbol(enum reject_reason reason); // "UNDECODABLE"
bool reject_parse(const char *symbol, enum reject_reason *out);
enum reject_group reject_group_of(enum reject_reason reason); // not of REJECT_NONE
const char *reject_group_symbol(enum reject_group group); // "broken"; not of REJECTS_NEVER
bool reject_group_parse(const char *symbol, enum reject_group *out);

// "UNDECODABLE|UNKNOWN_SCHEMA|…", as an option takes them.
#define REJECT_CHOICE(symbol, group, since, means) "|" #symbol
#define REJECT_CHOICES (&(REJECT_ROWS(REJECT_CHOICE))[sizeof "|" - 1])
// A paragraph for each reason.
#define REJECT_PARAGRAPH(symbol, group, since, means) "\n" #symbol ": " means "."
#define REJECT_PARAGRAPHS REJECT_ROWS(REJECT_PARAGRAPH)
