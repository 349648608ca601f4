// A window of the comparison of messages: the rows that are expected in it, and which row has which
// number. Shared by audit_messages.c, which goes from window to window, and audit_records.c, which
// reads the topics.
#pragma once

#include "consumer/audit/audit_messages.h"
#include "consumer/audit/audit_order.h"
#include "consumer/audit/audit_weigh.h"

// A record that stands before its turn: its number is beyond the window, but the number of the next
// record is not. It is kept until the window of its number shows whether it is a row.
struct early_record {
    rd_kafka_message_t *message;
    int64_t sequence;
    int64_t behind, behind_offset; // the number of the record behind it, and where that stands
};

// The partition of one output.
struct messages_topic {
    struct order *order;
    size_t publication; // its number in the report
    bool whole; // it is read from its beginning
    bool looked_back; // it was looked through from its beginning
    int64_t first; // number of the first record of ours; 0: none
    bool later; // the next record is of a later window
    bool forgotten; // rows were reported that might still stand further back
    size_t early_count, early_capacity;
    struct early_record *early;
};

// The owner of a number of the window: an expected row + 1, or
enum { NUMBER_FREE = 0 };
#define NUMBER_TAKEN UINT32_MAX // a row that is not known

struct messages {
    struct messages_options options;
    struct scales *scales;
    struct messages_topic topics[OUTPUT_COUNT];
    int64_t base; // sequences up to here belong to windows that are over
    int64_t published; // highest row that a topic had when the scan was opened
    int64_t outbox_last; // of the last outbox row; 0: none yet
    uint8_t outbox_hash[32];
    struct chain_hasher *hasher;
    struct expected_set *carried; // not found in their windows
    // The window.
    day_t day;
    struct expected_set *window;
    uint32_t *numbers; // by sequence - base - 1
};

// The row with this id, of this window or carried over from an earlier one. NULL: there is none.
struct expected *messages_find(struct messages *messages, enum output output, struct slice ce_id);
void messages_take_number(struct messages *messages, int64_t sequence, uint32_t who);
