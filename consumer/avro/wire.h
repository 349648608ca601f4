// The part of Avro's binary encoding that a reader needs: a cursor over bytes that somebody else
// owns. It never leaves these bytes, and where it stops it says why.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct wire {
    const uint8_t *at, *end;
    // a static text, once a read returned false; `at` is then where the trouble begins
    const char *fault;
};

static inline bool wire_fail(struct wire *w, const uint8_t *at, const char *fault)
{
    w->at = at;
    w->fault = fault;
    return false;
}

static inline size_t wire_left(const struct wire *w)
{
    return (size_t)(w->end - w->at);
}

static inline int64_t wire_unzigzag(uint64_t n)
{
    return (int64_t)(n >> 1) ^ -(int64_t)(n & 1);
}

// A number of more than one byte, at most 64 bits in 10 bytes; a padded number is accepted, since
// the specification does not forbid it.
static inline bool wire_long_tail(struct wire *w, int64_t *out)
{
    const uint8_t *p = w->at;
    uint64_t n = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
        if (p == w->end)
            return wire_fail(w, w->at, "the body ends within a number");
        uint8_t byte = *p++;
        if (shift == 63 && byte > 1)
            break;
        n |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            w->at = p;
            *out = wire_unzigzag(n);
            return true;
        }
    }
    return wire_fail(w, w->at, "a number of more than 64 bits");
}

// int and long alike; most are one byte.
static inline bool wire_long(struct wire *w, int64_t *out)
{
    if (w->at == w->end || *w->at >= 0x80)
        return wire_long_tail(w, out);
    *out = wire_unzigzag(*w->at++);
    return true;
}

static inline bool wire_skip(struct wire *w, uint64_t size)
{
    if (size > wire_left(w))
        return wire_fail(w, w->at, "the body ends within a value");
    w->at += size;
    return true;
}

// bytes and string alike.
static inline bool wire_text(struct wire *w, const char **data, int64_t *size)
{
    const uint8_t *start = w->at;
    int64_t length = 0;
    if (!wire_long(w, &length))
        return false;
    if (length < 0)
        return wire_fail(w, start, "a negative length");
    if ((uint64_t)length > wire_left(w))
        return wire_fail(w, start, "a length beyond the body's end");
    *data = (const char *)w->at;
    *size = length;
    w->at += length;
    return true;
}

// The number of a union's branch or an enum's symbol.
static inline bool wire_index(struct wire *w, uint32_t count, uint32_t *out)
{
    const uint8_t *start = w->at;
    int64_t index = 0;
    if (!wire_long(w, &index))
        return false;
    if (index < 0 || index >= count)
        return wire_fail(w, start, "a branch or symbol that the writer's schema has not");
    *out = (uint32_t)index;
    return true;
}
