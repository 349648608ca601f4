// Compares a message or outbox row with the row that the inputs give: number, key, headers, schema
// and body, field by field.
#pragma once

#include "consumer/audit/audit_expected.h"
#include "consumer/findings/audit_report.h"

#include <librdkafka/rdkafka.h>

// The message or outbox row to compare.
struct weighed {
    bool published; // a message
    const char *where; // "outbox", or TOPIC/PARTITION/OFFSET
    enum output output;
    day_t day;
    struct slice account_id; // whom it concerns; data NULL: nobody
    struct slice key, body, ce_id;
    int64_t schema_id; // of a message
    struct output_number number;
};

struct scales;

struct scales_options {
    int32_t shard;
    const char *group;
    const struct output_framing *framing; // of the outputs
    struct report *report;
};

int scales_create(const struct scales_options *options, struct scales **out, struct error *e);
void scales_destroy(struct scales *scales);

// Closes of days concern no account.
struct slice scales_account(enum output output, struct slice key);
// Reads number and shard from a body without framing. -1: it has none, and *why says what is wrong.
int scales_read(const struct scales *scales, enum output output, struct slice body,
                struct output_number *out, struct error *why);
// The header of this name; data NULL: there is none.
struct slice scales_header(const rd_kafka_message_t *message, const char *name);

// Differences go to the report. The framing of the message has been taken off before.
void scales_weigh(const struct scales *scales, const struct weighed *w, const struct expected *x);
void scales_weigh_message(const struct scales *scales, const struct weighed *w,
                          const struct expected *x, const rd_kafka_message_t *message);

// Reports one difference. `field` NULL: the whole row.
void scales_tell(const struct scales *scales, const struct weighed *w, const char *key,
                 const char *field, const char *recorded, const char *folded);
// Compares the row's number in the body, or in the outbox, with that of its row in the table.
void scales_tell_sequence(const struct scales *scales, const struct weighed *w, const char *key,
                          int64_t found, int64_t by_row);
