// What the fold reads: one decoded input record, flat, with strings that point into the message's
// bytes.
#pragma once

#include "consumer/base/slice.h"
#include "consumer/core/reject_reason.h"

#include <stdint.h>

enum input { INPUT_CALLS, INPUT_PURCHASES, INPUT_CREDITS, INPUT_COUNT };

// Field numbers are the order of the reader's schemas in schemas/avro.
enum call_field {
    CALL_CALL_ID,
    CALL_ACCOUNT_ID,
    CALL_SERVICE,
    CALL_LEAD_COUNT,
    CALL_OCCURRED_AT,
    CALL_REQUEST_ID,
    CALL_FIELDS
};
enum purchase_field {
    PURCHASE_PURCHASE_ID,
    PURCHASE_ACCOUNT_ID,
    PURCHASE_SERVICE,
    PURCHASE_UNITS,
    PURCHASE_USED,
    PURCHASE_AMOUNT,
    PURCHASE_CURRENCY,
    PURCHASE_PURCHASED_AT,
    PURCHASE_FIELDS
};
enum credit_field {
    CREDIT_CREDIT_ID,
    CREDIT_ACCOUNT_ID,
    CREDIT_KIND,
    CREDIT_AMOUNT,
    CREDIT_CURRENCY,
    CREDIT_CREDITED_AT,
    CREDIT_REASON,
    CREDIT_REFERENCE,
    CREDIT_FIELDS
};
enum { RECORD_FIELDS_MAX = 8 };

// string: `data` and its size in `number`. long: `number`. timestamp: milliseconds in `number`
// (micros floored). enum: the reader's symbol index in `number`.
struct value {
    const char *data;
    int64_t number;
};

struct record {
    // bit f: field f was null on the wire (data NULL, number 0), whether or not the reader allows
    // it
    uint32_t nulls;
    uint32_t unknown; // bit f: enum field f held a symbol the reader does not know (number -1)
    struct value field[RECORD_FIELDS_MAX];
};

enum { REJECT_DETAIL_SIZE = 256 };

// One delivered Kafka record on its way into the fold.
struct event {
    int64_t offset;
    int64_t timestamp; // T, ms
    bool stamped; // false: no timestamp, or of another type than configured: not judged
    bool schema_pending; // its writer schema is not known yet (registry down): not judged
    // found while decoding: UNDECODABLE, UNKNOWN_SCHEMA or INCOMPATIBLE_SCHEMA
    enum reject_reason fault;
    int64_t schema_id; // of the writer's schema, as the record names it; -1: it names none
    const char *fault_detail; // set with fault; borrowed until the fold has taken the event
    struct slice key, value;
    struct record record; // when fault is REJECT_NONE
};
