#include "consumer/replay/repair_message.h"

#include "consumer/base/arena.h"
#include "consumer/base/text.h"
#include "consumer/kafka/framing.h"
#include "consumer/output/output_reader.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_SIZE = 256, ID_SIZE = 160 };

struct message_reader {
    enum framing framing;
    struct output_reader *forms[OUTPUT_COUNT];
    char where[448]; // of the message that was read last
};

int message_reader_create(enum framing framing, struct message_reader **out, struct error *e)
{
    struct message_reader *reader = calloc(1, sizeof *reader);
    if (!reader)
        return error_set(e, ERROR_RESTART, "memory is short");
    reader->framing = framing;
    for (enum output o = 0; o < OUTPUT_COUNT; o++)
        if (output_reader_create(o, &reader->forms[o], e)) {
            message_reader_destroy(reader);
            return -1;
        }
    *out = reader;
    return 0;
}

void message_reader_destroy(struct message_reader *reader)
{
    if (!reader)
        return;
    for (int o = 0; o < OUTPUT_COUNT; o++)
        output_reader_destroy(reader->forms[o]);
    free(reader);
}

// ---- a message ----

static void name_message(struct message_reader *reader, const rd_kafka_message_t *message)
{
    rd_kafka_headers_t *headers = NULL;
    const void *id = NULL;
    size_t size = 0;
    char shown[ID_SIZE];
    char *where = reader->where;
    snprintf(where, sizeof reader->where, "%s/%" PRId32 "/%" PRId64,
             rd_kafka_topic_name(message->rkt), message->partition, message->offset);
    if (rd_kafka_message_headers(message, &headers) ||
        rd_kafka_header_get_last(headers, "ce_id", &id, &size))
        return;
    snprintf(where + strlen(where), sizeof reader->where - strlen(where), " (%s)",
             text_show((struct slice){id, size}, shown, sizeof shown));
}

void message_read(struct message_reader *reader, enum output output,
                  const rd_kafka_message_t *message, struct published_row *out)
{
    struct output_number number;
    struct error e;
    name_message(reader, message);
    *out = (struct published_row){.output = output, .where = reader->where};
    int64_t schema_id;
    if (!framing_take_off(reader->framing, (struct slice){message->payload, message->len},
                          &schema_id, &out->body))
        return;
    if (message->key)
        out->key = (struct slice){message->key, message->key_len};
    if (output_reader_number(reader->forms[output], out->body, &number, &e) == 0 &&
        number.shard == message->partition)
        out->sequence = number.sequence;
}

static struct slice keep(struct slice bytes, struct arena *arena)
{
    return bytes.data ? (struct slice){arena_copy(arena, bytes.data, bytes.size), bytes.size}
                      : bytes;
}

struct published_row message_keep(const struct published_row *row, struct arena *arena)
{
    struct published_row kept = *row;
    kept.key = keep(row->key, arena);
    kept.body = keep(row->body, arena);
    kept.where = arena_copy(arena, row->where, strlen(row->where));
    return kept;
}

// ---- published against folded ----

struct field {
    bool found;
    size_t index, wanted; // of this visit; of the field that is looked for
    char path[TEXT_SIZE], text[TEXT_SIZE];
};

static void take_field(void *context, const char *path, const char *text)
{
    struct field *field = context;
    if (field->index++ != field->wanted)
        return;
    field->found = true;
    snprintf(field->path, sizeof field->path, "%s", path);
    snprintf(field->text, sizeof field->text, "%s", text);
}

static void field_at(const struct message_reader *reader, enum output output, struct slice body,
                     size_t number, struct field *out)
{
    *out = (struct field){.wanted = number, .text = "nothing"};
    output_reader_fields(reader->forms[output], body, take_field, out);
}

static int tell_difference(const struct message_reader *reader,
                           const struct published_row *published, const struct outbox_row *row,
                           struct error *e)
{
    struct field there, here;
    size_t number = 0;
    do {
        field_at(reader, row->output, published->body, number, &there);
        field_at(reader, row->output, row->body, number++, &here);
    } while (there.found && here.found && strcmp(there.path, here.path) == 0 &&
             strcmp(there.text, here.text) == 0);
    const char *path = there.found ? there.path : here.found ? here.path : "its bytes";
    return error_set(
        e, ERROR_CONFIG,
        "row %" PRId64
        ", %s, is published with %s %s, but the inputs give %s: inputs, parameters or price "
        "book are not those of then",
        published->sequence, published->where, path, there.text, here.text);
}

int message_compare(const struct message_reader *reader, const struct published_row *published,
                    const struct outbox_row *row, struct error *e)
{
    if (published->output != row->output || published->sequence != row->sequence ||
        !slice_same(published->key, row->key))
        return error_set(e, ERROR_CONFIG,
                         "row %" PRId64 ", %s, is published where the inputs give %s next",
                         published->sequence, published->where, row->ce_id);
    if (slice_same(published->body, row->body))
        return 0;
    return tell_difference(reader, published, row, e);
}

// ---- what messages tell ----

// A field whose text this program does not know; the first one is kept.
struct unknown_field {
    bool found;
    char path[TEXT_SIZE], text[TEXT_SIZE];
};

static void keep_unknown(struct unknown_field *unknown, const char *path, const char *text)
{
    if (unknown->found)
        return;
    unknown->found = true;
    snprintf(unknown->path, sizeof unknown->path, "%s", path);
    snprintf(unknown->text, sizeof unknown->text, "%s", text);
}

static int tell_unknown(const struct published_row *row, const struct unknown_field *unknown,
                        struct error *e)
{
    if (!unknown->found)
        return 0;
    return error_set(e, ERROR_CONFIG,
                     "row %" PRId64
                     ", %s, has %s \"%s\", which this program does not know: upgrade settled",
                     row->sequence, row->where, unknown->path, unknown->text);
}

struct reject_fields {
    const char *const *topics;
    struct published_reject *out;
    char topic[TEXT_SIZE];
    struct unknown_field unknown;
};

static enum input input_of(const char *const topics[INPUT_COUNT], const char *text)
{
    char shown[TEXT_SIZE];
    enum input i = 0;
    for (; i < INPUT_COUNT; i++) {
        struct slice topic = slice_text(topics[i]);
        if (strcmp(text, text_show(topic, shown, 200)) == 0)
            break;
    }
    return i;
}

static void take_reject(void *context, const char *path, const char *text)
{
    struct reject_fields *f = context;
    if (strcmp(path, "topic") == 0) {
        f->out->input = input_of(f->topics, text);
        snprintf(f->topic, sizeof f->topic, "%s", text);
    }
    if (strcmp(path, "offset") == 0)
        f->out->offset = strtoll(text, NULL, 10);
    if (strcmp(path, "reason") == 0 && !reject_parse(text, &f->out->reason))
        keep_unknown(&f->unknown, path, text);
    if (strcmp(path, "detail") == 0)
        snprintf(f->out->detail, sizeof f->out->detail, "%s", text);
}

int message_reject(const struct message_reader *reader, const struct published_row *row,
                   const char *const topics[INPUT_COUNT], struct published_reject *out,
                   struct error *e)
{
    struct reject_fields fields = {.topics = topics, .out = out};
    *out = (struct published_reject){.input = INPUT_COUNT};
    output_reader_fields(reader->forms[OUTPUT_REJECTS], row->body, take_reject, &fields);
    if (tell_unknown(row, &fields.unknown, e))
        return -1;
    if (out->input != INPUT_COUNT)
        return 0;
    return error_set(e, ERROR_CONFIG,
                     "row %" PRId64
                     ", %s, rejects a record of \"%s\", which is not an input topic of "
                     "this deployment",
                     row->sequence, row->where, fields.topic);
}

struct cause_field {
    enum cause *out;
    struct unknown_field unknown;
};

static void take_cause(void *context, const char *path, const char *text)
{
    struct cause_field *f = context;
    if (strcmp(path, "cause") == 0 && !cause_parse(text, f->out))
        keep_unknown(&f->unknown, path, text);
}

int message_cause(const struct message_reader *reader, const struct published_row *row,
                  enum cause *out, struct error *e)
{
    struct cause_field field = {.out = out};
    *out = CAUSE_ARREARS;
    output_reader_fields(reader->forms[OUTPUT_STATUS], row->body, take_cause, &field);
    return tell_unknown(row, &field.unknown, e);
}

struct close_fields {
    struct published_close *out;
    struct unknown_field unknown;
};

// Cutoffs stand in the order of the inputs. Their other fields are compared later, with the body
// that the repair makes.
static_assert(INPUT_COUNT <= 9, "the place of a cutoff is one digit");

static void take_close(void *context, const char *path, const char *text)
{
    struct close_fields *f = context;
    struct published_close *out = f->out;
    static const char cutoffs[] = "cutoffs[";
    size_t size = sizeof cutoffs - 1;
    if (strcmp(path, "business_day") == 0 && !calendar_parse_day(text, &out->day))
        out->day = DAY_NONE;
    if (strncmp(path, cutoffs, size) == 0 && path[size] >= '1' && path[size] < '1' + INPUT_COUNT) {
        struct cutoff *cut = &out->cutoffs[path[size] - '1']; // paths count from 1
        if (strcmp(path + size + 1, "].to_offset") == 0)
            cut->to_offset = strtoll(text, NULL, 10);
        if (strcmp(path + size + 1, "].cut_by") == 0 && !cut_parse(text, &cut->cut_by))
            keep_unknown(&f->unknown, path, text);
    }
    if (strncmp(path, "decisions[", 10) != 0)
        return;
    out->last_decision = strtoll(text, NULL, 10);
    snprintf(out->last_decision_text, sizeof out->last_decision_text, "%s", text);
}

int message_close(const struct message_reader *reader, const struct published_row *row,
                  struct published_close *out, struct error *e)
{
    struct close_fields fields = {.out = out};
    *out = (struct published_close){.day = DAY_NONE};
    output_reader_fields(reader->forms[OUTPUT_DAY_CLOSES], row->body, take_close, &fields);
    return tell_unknown(row, &fields.unknown, e);
}
