#include "consumer/workload/input_encode.h"

#include <assert.h>
#include <string.h>

struct pen {
    uint8_t *start, *at, *end;
    bool full;
};

enum { LONG_BYTES_MAX = 10 };

static struct pen pen_at(uint8_t *out, size_t capacity)
{
    return (struct pen){.start = out, .at = out, .end = out + capacity};
}

static bool reserve(struct pen *pen, size_t size)
{
    if ((size_t)(pen->end - pen->at) < size)
        pen->full = true;
    return !pen->full;
}

static void write_framing(struct pen *pen, struct input_framing framing)
{
    if (!reserve(pen, framing_size(framing.framing)))
        return;
    framing_put(framing.framing, framing.schema_id, pen->at);
    pen->at += framing_size(framing.framing);
}

static void write_long(struct pen *pen, int64_t value)
{
    if (!reserve(pen, LONG_BYTES_MAX))
        return;
    uint64_t n = (uint64_t)value << 1 ^ (uint64_t)(value >> 63);
    for (; n >= 0x80; n >>= 7)
        *pen->at++ = (uint8_t)(n | 0x80);
    *pen->at++ = (uint8_t)n;
}

static void write_text(struct pen *pen, struct slice text)
{
    write_long(pen, (int64_t)text.size);
    if (!reserve(pen, text.size))
        return;
    if (text.size > 0)
        memcpy(pen->at, text.data, text.size);
    pen->at += text.size;
}

// A union of null and another type: the branch, then the value.
static void write_optional_text(struct pen *pen, struct slice text)
{
    write_long(pen, text.data != NULL);
    if (text.data)
        write_text(pen, text);
}

static void write_optional_long(struct pen *pen, int64_t value)
{
    write_long(pen, value >= 0);
    if (value >= 0)
        write_long(pen, value);
}

static size_t finish_input(const struct pen *pen)
{
    assert(pen->at <= pen->end);
    return pen->full ? 0 : (size_t)(pen->at - pen->start);
}

size_t encode_call(const struct call_record *record, struct input_framing framing, uint8_t *out,
                   size_t capacity)
{
    struct pen pen = pen_at(out, capacity);
    write_framing(&pen, framing);
    write_text(&pen, record->call_id);
    write_text(&pen, record->account_id);
    write_long(&pen, record->service);
    write_optional_long(&pen, record->lead_count);
    write_long(&pen, record->occurred_at);
    write_optional_text(&pen, record->request_id);
    return finish_input(&pen);
}

size_t encode_purchase(const struct purchase_record *record, struct input_framing framing,
                       uint8_t *out, size_t capacity)
{
    struct pen pen = pen_at(out, capacity);
    write_framing(&pen, framing);
    write_text(&pen, record->purchase_id);
    write_text(&pen, record->account_id);
    write_long(&pen, record->service);
    write_long(&pen, record->units);
    write_long(&pen, record->used);
    write_long(&pen, record->amount);
    write_text(&pen, slice_text(record->currency));
    write_long(&pen, record->purchased_at);
    return finish_input(&pen);
}

size_t encode_credit(const struct credit_record *record, struct input_framing framing, uint8_t *out,
                     size_t capacity)
{
    struct pen pen = pen_at(out, capacity);
    write_framing(&pen, framing);
    write_text(&pen, record->credit_id);
    write_text(&pen, record->account_id);
    write_long(&pen, record->kind);
    write_long(&pen, record->amount);
    write_text(&pen, slice_text(record->currency));
    write_long(&pen, record->credited_at);
    write_optional_text(&pen, record->reason);
    write_optional_text(&pen, record->reference);
    return finish_input(&pen);
}
