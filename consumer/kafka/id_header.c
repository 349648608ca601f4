#include "consumer/kafka/id_header.h"

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>

struct id_header {
    const char *name, *text;
};

#define ID_HEADER(name, remedy)                                                                    \
    {name, "unknown framing: the id of its schema is in the header " name                          \
           "; let its producer write it before the value (" remedy ")"},
static const struct id_header headers[] = {ID_HEADER_ROWS(ID_HEADER)};

enum { ID_HEADER_COUNT = sizeof headers / sizeof *headers };
static_assert(ID_HEADER_COUNT < UINT8_MAX, "a header's number is a byte");

enum { LENGTH_BYTES_MAX = 5 }; // of a value, whose length is an int of 32 bits

// In a record batch the value follows its own length, which follows the key. Whether these bytes
// are that length says whether the message lies in the batch as it came from the broker: what was
// copied elsewhere, or is of an older format, has something else there.
static bool lies_in_its_batch(const rd_kafka_message_t *message)
{
    if (!message->key || !message->payload)
        return false;
    const uint8_t *value = message->payload, *at = (const uint8_t *)message->key + message->key_len;
    uintptr_t gap = (uintptr_t)value - (uintptr_t)at;
    uint64_t length = 0;
    if (gap < 1 || gap > LENGTH_BYTES_MAX)
        return false;
    for (unsigned i = 0; i < gap; i++) {
        bool last = i + 1 == gap;
        if ((at[i] & 0x80) == (last ? 0x80 : 0))
            return false;
        length |= (uint64_t)(at[i] & 0x7f) << 7 * i;
    }
    return length == (uint64_t)message->len << 1; // zigzag
}

// The count of headers follows the value. librdkafka allocates a buffer to look at it, under a
// lock of malloc that its own threads wait for: about a fifth of what a worker costs.
static bool has_none(const rd_kafka_message_t *message)
{
    return lies_in_its_batch(message) && ((const uint8_t *)message->payload)[message->len] == 0;
}

static uint8_t find(const rd_kafka_message_t *message)
{
    rd_kafka_headers_t *list;
    const void *value;
    size_t size;
    if (rd_kafka_message_headers(message, &list))
        return 0;
    for (int i = 0; i < ID_HEADER_COUNT; i++) {
        if (!rd_kafka_header_get_last(list, headers[i].name, &value, &size))
            return (uint8_t)(i + 1);
    }
    return 0;
}

uint8_t id_header_of(const rd_kafka_message_t *message)
{
    return has_none(message) ? 0 : find(message);
}

const char *id_header_text(uint8_t number)
{
    assert(number > 0);
    assert(number <= ID_HEADER_COUNT);
    return headers[number - 1].text;
}
