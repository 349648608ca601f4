// The services that are billed. One row here has all that the program knows of a service; its name
// for people and its prices are in the price book.
#pragma once

#include <stdbool.h>

// What is counted when a call is billed: the call itself, or its leads.
enum billed_unit { UNIT_CALL, UNIT_LEAD };

// One X(symbol, unit) a service, in the order of the symbols in schemas/avro:
//   symbol   as schemas, tables, options and the sections of price books have it
//   unit     UNIT_CALL: a call is one unit, whatever its lead_count; UNIT_LEAD: lead_count units
#define SERVICE_ROWS(X)                                                                            \
    X(AUDIENCE_INSIGHT, UNIT_CALL)                                                                 \
    X(PURCHASE_INTENT, UNIT_LEAD)

#define SERVICE_ENUMERATOR(symbol, unit) SERVICE_##symbol,
enum service { SERVICE_ROWS(SERVICE_ENUMERATOR) SERVICE_COUNT };

const char *service_symbol(enum service service); // "AUDIENCE_INSIGHT"
bool service_parse(const char *symbol, enum service *out);
enum billed_unit service_unit(enum service service);
const char *billed_unit_symbol(enum billed_unit unit); // "lead"

// For people: "AUDIENCE_INSIGHT or PURCHASE_INTENT", and with nor.
#define SERVICE_OR(symbol, unit) " or " #symbol
#define SERVICES_OR (&(SERVICE_ROWS(SERVICE_OR))[sizeof " or " - 1])
#define SERVICE_NOR(symbol, unit) " nor " #symbol
#define SERVICES_NOR (&(SERVICE_ROWS(SERVICE_NOR))[sizeof " nor " - 1])
