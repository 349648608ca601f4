#include "consumer/avro/skip.h"

#include <assert.h>

// A block says how many items follow; a negative number is followed by their size in bytes, so that
// they need not be read. Sets *items to the number that must be skipped one by one, *end when this
// was the terminating block.
static bool skip_block_head(struct wire *w, int64_t *items, bool *end)
{
    const uint8_t *start = w->at;
    if (!wire_long(w, items))
        return false;
    *end = *items == 0;
    if (*items >= 0)
        return true;
    *items = 0;
    int64_t size = 0;
    if (!wire_long(w, &size))
        return false;
    if (size < 0)
        return wire_fail(w, start, "a block of negative size");
    return wire_skip(w, (uint64_t)size);
}

static bool skip_blocks(const struct shapes *shapes, const struct shape *shape, struct wire *w,
                        unsigned depth)
{
    bool map = shape->kind == SHAPE_MAP;
    uint32_t item = shapes->link[shape->first];
    bool empty = shapes->shape[item].kind == SHAPE_EMPTY;
    for (;;) {
        const uint8_t *start = w->at;
        int64_t items = 0;
        bool end = false;
        if (!skip_block_head(w, &items, &end))
            return false;
        assert(w->at > start); // each block takes a byte, so there is an end to them
        assert(w->at <= w->end);
        if (end)
            return true;
        if (empty && !map)
            continue;
        if ((uint64_t)items > wire_left(w))
            return wire_fail(w, start, "a block of more items than bytes are left");
        for (; items > 0; items--) {
            const uint8_t *item_start = w->at;
            const char *key = NULL;
            int64_t size = 0;
            if (map && !wire_text(w, &key, &size))
                return false;
            if (!empty && !skip_value(shapes, item, w, depth))
                return false;
            assert(w->at > item_start); // the work is linear in the bytes
        }
    }
}

bool skip_value(const struct shapes *shapes, uint32_t number, struct wire *w, unsigned depth)
{
    assert(depth <= SKIP_DEPTH_MAX);
    const struct shape *shape = &shapes->shape[number];
    while (shape->kind == SHAPE_UNION) {
        uint32_t branch = 0;
        if (!wire_index(w, shape->count, &branch))
            return false;
        shape = &shapes->shape[shapes->link[shape->first + branch]];
    }
    const char *data = NULL;
    int64_t n = 0;
    switch (shape->kind) {
    case SHAPE_EMPTY:
    case SHAPE_UNION:
        return true;
    case SHAPE_NUMBER:
        return wire_long(w, &n);
    case SHAPE_FIXED:
        return wire_skip(w, shape->count);
    case SHAPE_TEXT:
        return wire_text(w, &data, &n);
    case SHAPE_RECORD:
    case SHAPE_ARRAY:
    case SHAPE_MAP:
        break;
    }
    if (depth == SKIP_DEPTH_MAX)
        return wire_fail(w, w->at, "a value nested deeper than 128 levels");
    if (shape->kind != SHAPE_RECORD)
        return skip_blocks(shapes, shape, w, depth + 1);
    for (uint32_t i = 0; i < shape->count; i++) {
        if (!skip_value(shapes, shapes->link[shape->first + i], w, depth + 1))
            return false;
    }
    return true;
}
