// Writes input records as bytes, for the workload generator and for tests. Written by hand for the
// schemas in schemas/avro (flat, fixed field order): a generator must outrun the daemon.
#pragma once

#include "consumer/core/step.h"
#include "consumer/kafka/framing.h"

struct call_record {
    struct slice call_id, account_id;
    enum service service;
    int64_t lead_count; // negative: null
    int64_t occurred_at; // ms
    struct slice request_id; // data NULL: null
};

struct purchase_record {
    struct slice purchase_id, account_id;
    enum service service;
    int64_t units, used;
    fen_t amount;
    const char *currency;
    int64_t purchased_at; // ms
};

struct credit_record {
    struct slice credit_id, account_id;
    enum credit_kind kind;
    fen_t amount;
    const char *currency;
    int64_t credited_at; // ms
    struct slice reason, reference; // data NULL: null
};

// What stands before the body.
struct input_framing {
    enum framing framing;
    int64_t schema_id;
};

// Writes framing and Avro body. Returns the size, or 0 when
// `capacity` is too small.
size_t encode_call(const struct call_record *record, struct input_framing framing, uint8_t *out,
                   size_t capacity);
size_t encode_purchase(const struct purchase_record *record, struct input_framing framing,
                       uint8_t *out, size_t capacity);
size_t encode_credit(const struct credit_record *record, struct input_framing framing, uint8_t *out,
                     size_t capacity);
