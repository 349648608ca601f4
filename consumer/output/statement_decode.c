#include "consumer/output/statement_decode.h"

#include "consumer/avro/wire.h"

#include <string.h>

// Symbols stand in the order of the enums, behind UNKNOWN.
enum { SERVICES = 1 + SERVICE_COUNT, CHARGES = 1 + CHARGE_POSTPAID + 1 };
enum { STATES = 1 + ACCOUNT_SUSPENDED + 1 };

static bool decode_text(struct wire *w, struct slice *out)
{
    int64_t size = 0;
    bool good = wire_text(w, &out->data, &size);
    out->size = good ? (size_t)size : 0;
    return good;
}

static bool read_symbol(struct wire *w, uint32_t count, uint32_t *out)
{
    if (!wire_index(w, count, out))
        return false;
    if (*out == 0)
        return wire_fail(w, w->at, "UNKNOWN");
    --*out;
    return true;
}

static bool decode_line(struct wire *w, struct month_line *line)
{
    uint32_t service, charge, branch;
    *line = (struct month_line){.tier_from = -1};
    if (!read_symbol(w, SERVICES, &service) || !read_symbol(w, CHARGES, &charge) ||
        !wire_index(w, 2, &branch) || (branch == 1 && !decode_text(w, &line->package_id)) ||
        !wire_index(w, 2, &branch) || (branch == 1 && !wire_long(w, &line->tier_from)))
        return false;
    line->service = (enum service)service;
    line->charge = (enum charge)charge;
    return wire_long(w, &line->unit_price) && wire_long(w, &line->calls) &&
           wire_long(w, &line->units) && wire_long(w, &line->amount);
}

// In one block, as the encoder writes it; nothing follows but shard and sequence.
static bool read_lines(struct wire *w, struct arena *arena, struct month_page *page)
{
    int64_t count = 0, end = 0;
    if (!wire_long(w, &count))
        return false;
    if (count < 0 || (uint64_t)count > wire_left(w))
        return wire_fail(w, w->at, "an array in other blocks");
    struct month_line *lines = arena_alloc(arena, ((size_t)count + 1) * sizeof *lines);
    for (int64_t i = 0; i < count; i++)
        if (!decode_line(w, &lines[i]))
            return false;
    page->lines = lines;
    page->line_count = (size_t)count;
    if (count > 0 && (!wire_long(w, &end) || end != 0))
        return wire_fail(w, w->at, "an array in other blocks");
    return true;
}

static bool read_month(struct wire *w, day_t *out)
{
    struct slice month;
    char text[DAY_TEXT_SIZE] = "";
    if (!decode_text(w, &month) || month.size != 7)
        return wire_fail(w, w->at, "no month");
    memcpy(text, month.data, month.size);
    if (!calendar_parse_month(text, out))
        return wire_fail(w, w->at, "no month");
    *out = calendar_month_end(*out);
    return true;
}

#define READ_FIGURE(name) &&wire_long(w, &s->name)

static bool read_statement(struct wire *w, struct arena *arena, struct month_page *page)
{
    struct month_statement *s = arena_alloc(arena, sizeof *s);
    struct slice ignored;
    uint32_t state;
    int64_t shard, sequence;
    *s = (struct month_statement){0};
    page->statements = s;
    page->count = 1;
    if (!decode_text(w, &ignored) || !decode_text(w, &s->account_id) ||
        !read_month(w, &page->month))
        return false;
    page->last = s->account_id;
    bool good = decode_text(w, &ignored) MONTH_MONEY(READ_FIGURE) &&
                read_symbol(w, STATES, &state) MONTH_COUNTS(READ_FIGURE) &&
                read_lines(w, arena, page) && wire_long(w, &shard) && wire_long(w, &sequence);
    if (!good)
        return false;
    s->state = (enum account_state)state;
    s->line_count = page->line_count;
    return wire_left(w) == 0 || wire_fail(w, w->at, "bytes are left over");
}

int statement_decode(struct slice body, struct arena *arena, struct month_page *out,
                     struct error *e)
{
    const uint8_t *start = (const uint8_t *)body.data;
    struct wire w = {start, start + body.size, NULL};
    *out = (struct month_page){0};
    if (read_statement(&w, arena, out))
        return 0;
    return error_set(e, ERROR_CONFIG,
                     "it is not a month statement of this version: at byte %zu, %s",
                     (size_t)(w.at - start), w.fault ? w.fault : "no value");
}
