// Messages of the output topics as a repair reads them: what they are, and what they say about the
// order in which a shard read its logs.
#pragma once

#include "consumer/output/outbox.h"

#include <librdkafka/rdkafka.h>

struct message_reader;

int message_reader_create(enum framing framing, struct message_reader **out, struct error *e);
void message_reader_destroy(struct message_reader *reader);

struct published_row {
    enum output output;
    int64_t sequence; // 0: not a record of ours, or of an older schema
    struct slice key, body; // of the message's memory, or of an arena
    const char *where; // "TOPIC/PARTITION/OFFSET (CE_ID)", for people
};

// *out points into the message, its name into the reader until the next one is read.
void message_read(struct message_reader *reader, enum output output,
                  const rd_kafka_message_t *message, struct published_row *out);
// A copy that lives as long as the arena.
struct published_row message_keep(const struct published_row *row, struct arena *arena);
// ERROR_CONFIG: the row is not the published one; *e says in which field.
int message_compare(const struct message_reader *reader, const struct published_row *published,
                    const struct outbox_row *row, struct error *e);

// What a message says. ERROR_CONFIG: it has a symbol that this program does not know, or is about a
// topic that is not an input; *e says which.

struct published_reject {
    enum input input;
    int64_t offset;
    enum reject_reason reason;
    char detail[REJECT_DETAIL_SIZE];
};
int message_reject(const struct message_reader *reader, const struct published_row *row,
                   const char *const topics[INPUT_COUNT], struct published_reject *out,
                   struct error *e);

// What caused a change of status: a day's close (CAUSE_ARREARS), or a credit.
int message_cause(const struct message_reader *reader, const struct published_row *row,
                  enum cause *out, struct error *e);

struct published_close {
    day_t day;
    struct cutoff cutoffs[INPUT_COUNT]; // to_offset and cut_by
    int64_t last_decision; // highest number that it names; 0: none
    char last_decision_text[640];
};
int message_close(const struct message_reader *reader, const struct published_row *row,
                  struct published_close *out, struct error *e);
