#include "consumer/decode/record_decoder.h"

#include <assert.h>
#include <stdio.h>

enum { FRAME_BYTES = 5 };

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
                               int32_t id)
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

static void decode_body(struct event *event, const struct plan *plan,
                        struct decoder_scratch *scratch)
{
    assert(scratch->detail_count < DECODER_BATCH);
    char *detail = scratch->details[scratch->detail_count];
    if (plan_decode(plan, event->value.data + FRAME_BYTES, event->value.size - FRAME_BYTES,
                    &event->record, detail) == PLAN_OK)
        return;
    scratch->detail_count++;
    fault(event, REJECT_UNDECODABLE, detail);
}

static bool schema_id(struct slice value, int32_t *id)
{
    const unsigned char *bytes = (const unsigned char *)value.data;
    if (!bytes || value.size < FRAME_BYTES || bytes[0] != 0)
        return false;
    *id = (int32_t)((uint32_t)bytes[1] << 24 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 8 |
                    (uint32_t)bytes[4]);
    return true;
}

static void decode_value(struct record_decoder *reader, const struct decoder_source *source,
                         struct event *event)
{
    int32_t id;
    event->schema_id = -1;
    if (!event->value.data) {
        fault(event, REJECT_UNDECODABLE, "no value");
        return;
    }
    if (!schema_id(event->value, &id)) {
        fault(event, REJECT_UNDECODABLE,
              "unknown framing: a value begins with a zero byte and the 4-byte id of its schema");
        return;
    }
    event->schema_id = (uint32_t)id;
    struct writer writer = writer_of(reader, source, id);
    switch (writer.state) {
    case WRITER_PENDING:
        event->schema_pending = true;
        break;
    case WRITER_READY:
        decode_body(event, writer.plan, source->scratch);
        break;
    case WRITER_UNKNOWN:
        fault(event, REJECT_UNKNOWN_SCHEMA, writer.why);
        break;
    case WRITER_INCOMPATIBLE:
        fault(event, REJECT_INCOMPATIBLE_SCHEMA, writer.why);
        break;
    }
}

// Asks for the schemas of what stands behind a record that waits for its own: ids that nobody has
// then wait their ten seconds together, not in turn.
static void look_ahead(struct record_decoder *reader, const struct decoder_source *source,
                       size_t at)
{
    while (at < reader->block->used) {
        const struct raw *raw = block_at(reader->block, at);
        int32_t id;
        if (raw->kind == RAW_END) {
            at += raw_bytes(RAW_NULL, RAW_NULL);
            continue;
        }
        if (schema_id(raw_value(raw), &id))
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
        event->fault = REJECT_NONE;
        event->key = raw_key(raw);
        event->value = raw_value(raw);
        decode_value(reader, source, event);
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
