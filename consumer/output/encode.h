// Output records as Avro bodies, by the .avsc that are embedded in the binary (schemas/avro).
// Bodies carry no framing: the relay puts it before them. One encoder belongs to one thread.
#pragma once

#include "consumer/base/arena.h"
#include "consumer/core/fold.h"

// The numbers stand in settled.outbox.
enum output {
    OUTPUT_SETTLEMENTS,
    OUTPUT_STATUS,
    OUTPUT_DAY_CLOSES,
    OUTPUT_REJECTS,
    OUTPUT_NOTICES,
    OUTPUT_STATEMENTS,
    OUTPUT_COUNT
};

// What stands before the bodies of the outputs (consumer/kafka/framing.h).
struct output_framing {
    enum framing framing;
    int64_t schema_ids[OUTPUT_COUNT];
};

// The original text of a schema as it stands in schemas/avro, embedded at build time.
const char *schema_of_input(enum input input);
const char *schema_of_output(enum output output);
const char *record_name_of_input(enum input input); // "CallRecord"
const char *record_name_of_output(enum output output); // "Settlement"
void settlement_schema_sha256(char out[65]); // of the Settlement .avsc text, as DayClosed has it

struct encoder;
int encoder_create(struct encoder **out, struct error *e);
void encoder_destroy(struct encoder *encoder);

// Topic names and facts about the shard that go into the bodies.
struct encode_context {
    int32_t shard, shards;
    const char *input_topics[INPUT_COUNT];
    const char *currency;
    int32_t offset_ms; // of the price book's time zone: where a day's 24:00 lies
    char price_book[65]; // in force on the day that the step settles
};
// For the outputs of a step of this shard; `policy` is the fold's, and lives as long as the
// context, as the topics do.
struct encode_context encode_context_of(const struct policy *policy, const struct step *step,
                                        int32_t shard, const char *const input_topics[INPUT_COUNT]);

// The ids of outputs (R24, R67, R75): ACCOUNT/YYYY-MM-DD, ACCOUNT/SEQ,
// ACCOUNT/YYYY-MM-DD/KIND/PACKAGE and ACCOUNT/YYYY-MM. An id of an account or package has at most
// 128 bytes; returns out.
enum { OUTPUT_ID_SIZE = 320 };
char *settlement_id(struct slice account_id, day_t day, char out[OUTPUT_ID_SIZE]);
char *notice_id(const struct fold *fold, const struct step_notice *notice, day_t day,
                char out[OUTPUT_ID_SIZE]);
char *status_event_id(struct slice account_id, int64_t account_sequence, char out[OUTPUT_ID_SIZE]);
char *statement_id(struct slice account_id, day_t month, char out[OUTPUT_ID_SIZE]); // YYYY-MM

// Bounds so that every Reject can be published: a value or key beyond them is left out (null), and
// the detail has its length and SHA-256. The key of the message and its copy in the record count
// together with the value, because one bound holds for the whole message.
enum { REJECT_BYTES_MAX = 900000, REJECT_MESSAGE_MAX = 950000 };

// The sources for the bodies of one step.
struct encode_source {
    const struct encode_context *context;
    const struct fold *fold;
    const struct step *step;
};

// How a day close is chained: its digests, as hexadecimal text, and its sequence.
struct close_chaining {
    const char *content_digest, *previous_digest, *digest;
    int64_t sequence;
};

// A body in the encoder's own buffer, valid until its next call.
int encode_settlement(struct encoder *en, const struct encode_source *from,
                      const struct settlement *s, int64_t sequence, struct slice *body,
                      struct error *e);
int encode_status(struct encoder *en, const struct encode_source *from, const struct step_status *s,
                  int64_t sequence, struct slice *body, struct error *e);
int encode_notice(struct encoder *en, const struct encode_source *from,
                  const struct step_notice *notice, int64_t sequence, struct slice *body,
                  struct error *e);
int encode_statement(struct encoder *en, const struct encode_source *from,
                     const struct month_statement *s, int64_t sequence, struct slice *body,
                     struct error *e);
int encode_reject(struct encoder *en, const struct encode_context *cx, const struct step_reject *r,
                  int64_t sequence, struct slice *body, struct error *e);
int encode_day_close(struct encoder *en, const struct encode_context *cx, const struct day_close *c,
                     const struct close_chaining *chaining, struct slice *body, struct error *e);
// The last body, which was encoded with sequence 0, once more with this sequence: a copy in the
// arena. So a body that is digested without its sequence is encoded only once.
struct slice encoder_body(const struct encoder *en, int64_t sequence, struct arena *arena);
