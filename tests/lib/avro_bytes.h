// Avro bodies by hand: a buffer that the primitives of the binary encoding are appended to, and
// JSON without backslashes.
#pragma once

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct avro_bytes {
    size_t size;
    uint8_t data[4096];
};

static inline void put_byte(struct avro_bytes *b, int byte)
{
    assert(b->size < sizeof b->data);
    b->data[b->size++] = (uint8_t)byte;
}

static inline void put_long(struct avro_bytes *b, int64_t value)
{
    uint64_t n = (uint64_t)value << 1;
    if (value < 0)
        n = ~n;
    for (; n >= 0x80; n >>= 7)
        put_byte(b, (int)(n & 0x7f) | 0x80);
    put_byte(b, (int)n);
}

static inline void put_bytes(struct avro_bytes *b, const void *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        put_byte(b, ((const uint8_t *)bytes)[i]);
}

static inline void put_text(struct avro_bytes *b, const char *text)
{
    put_long(b, (int64_t)strlen(text));
    put_bytes(b, text, strlen(text));
}

// A malloc'ed copy with ' turned into ".
static inline char *json_of(const char *text)
{
    char *json = strdup(text);
    assert(json);
    for (char *p = json; *p; p++) {
        if (*p == '\'')
            *p = '"';
    }
    return json;
}
