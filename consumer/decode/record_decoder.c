#include "consumer/decode/record_decoder.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

const struct raw *record_decoder_peek(const struct record_decoder *reader)
{
    if (!reader->block || reader->at >= reader->block->used)
        return NULL;
    return block_at(reader->block, reader->at);
}

static void fault(struct event *event, enum reject_reason reason, const char *detail)
{
    event->fault = reason;
    event->fault_detail = detail;
}

static struct writer writer_of(struct record_decoder *reader, const struct decoder_source *source,
                               int64_t id)
{
    if (reader->cached && reader->cached_id == id)
        return reader->writer;
    struct writer writer = source->find_writer(source->context, reader->input, id);
    if (writer.state == WRITER_READY)
        assert(writer.plan != NULL);
    else
        assert(writer.why != NULL);
    if (writer.state == WRITER_READY || writer.state == WRITER_INCOMPATIBLE) {
        reader->cached = true;
        reader->cached_id = id;
        reader->writer = writer;
    }
    return writer;
}

// Room for one detail; each event has at most one.
static char *new_detail(struct decoder_scratch *scratch)
{
    assert(scratch->detail_count < DECODER_BATCH);
    return scratch->details[scratch->detail_count++];
}

static void decode_body(struct event *event, const struct plan *plan, struct slice body,
                        struct decoder_scratch *scratch)
{
    char *detail = new_detail(scratch);
    if (plan_decode(plan, body.data, body.size, &event->record, detail) == PLAN_OK)
        scratch->detail_count--;
    else
        fault(event, REJECT_UNDECODABLE, detail);
}

static void fault_unknown(struct event *event, const struct decoder_source *source,
                          const struct writer *writer, int64_t id)
{
    char *detail = new_detail(source->scratch);
    // The first four of eight bytes are zero.
    bool long_id = source->framing == FRAMING_CONFLUENT && id == 0 &&
                   event->value.size >= framing_size(FRAMING_APICURIO);
    snprintf(detail, REJECT_DETAIL_SIZE, "%s %" PRId64 "%s", writer->why, id,
             long_id ? "; ids of 8 bytes need schemas.framing: apicurio" : "");
    fault(event, REJECT_UNKNOWN_SCHEMA, detail);
}

static void fault_framing(struct event *event, const struct decoder_source *source)
{
    char *detail = new_detail(source->scratch);
    snprintf(detail, REJECT_DETAIL_SIZE, "unknown framing: a value begins with %s",
             framing_text(source->framing));
    fault(event, REJECT_UNDECODABLE, detail);
}

static void decode_framed(struct record_decoder *reader, const struct decoder_source *source,
                          struct event *event)
{
    int64_t id;
    struct slice body;
    if (!framing_take_off(source->framing, event->value, &id, &body)) {
        fault_framing(event, source);
        return;
    }
    event->schema_id = id;
    struct writer writer = writer_of(reader, source, id);
    switch (writer.state) {
    case WRITER_PENDING:
        event->schema_pending = true;
        break;
    case WRITER_READY:
        decode_body(event, writer.plan, body, source->scratch);
        break;
    case WRITER_UNKNOWN:
        fault_unknown(event, source, &writer, id);
        break;
    case WRITER_INCOMPATIBLE:
        fault(event, REJECT_INCOMPATIBLE_SCHEMA, writer.why);
        break;
    }
}

static void decode_value(struct record_decoder *reader, const struct decoder_source *source,
                         const struct raw *raw, struct event *event)
{
    if (!event->value.data)
        fault(event, REJECT_UNDECODABLE, "no value");
    else if (raw->id_header)
        fault(event, REJECT_UNDECODABLE, id_header_text(raw->id_header));
    else
        decode_framed(reader, source, event);
}

// Asks for the schemas of what stands behind a record that waits for its own: ids that nobody has
// then wait their ten seconds together, not in turn.
static void look_ahead(struct record_decoder *reader, const struct decoder_source *source,
                       size_t at)
{
    while (at < reader->block->used) {
        const struct raw *raw = block_at(reader->block, at);
        int64_t id;
        struct slice body;
        if (raw->kind == RAW_END) {
            at += raw_bytes(RAW_NULL, RAW_NULL);
            continue;
        }
        if (!raw->id_header && framing_take_off(source->framing, raw_value(raw), &id, &body))
            writer_of(reader, source, id);
        at += raw_bytes(raw->key_size, raw->value_size);
    }
}

size_t record_decoder_decode(struct record_decoder *reader, const struct decoder_source *source,
                             int64_t limit)
{
    struct decoder_scratch *scratch = source->scratch;
    size_t count = 0, at = reader->at;
    scratch->detail_count = 0;
    assert(at < reader->block->used); // peeked at before
    while (count < DECODER_BATCH && at < reader->block->used) {
        const struct raw *raw = block_at(reader->block, at);
        if (raw->kind == RAW_END || raw->offset >= limit)
            break;
        struct event *event = &scratch->events[count];
        event->offset = raw->offset;
        event->timestamp = raw->timestamp;
        event->stamped = raw->stamped && raw->log_append == reader->log_append;
        event->schema_pending = false;
        event->schema_id = -1;
        event->fault = REJECT_NONE;
        event->key = raw_key(raw);
        event->value = raw_value(raw);
        decode_value(reader, source, raw, event);
        at += raw_bytes(raw->key_size, raw->value_size);
        scratch->after[count++] = at;
        if (event->schema_pending) {
            look_ahead(reader, source, at);
            break;
        }
    }
    assert(at <= reader->block->used); // no record reaches beyond its block
    return count;
}
