#include "consumer/kafka/id_header.h"

#include <assert.h>
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

uint8_t id_header_of(const rd_kafka_message_t *message)
{
    rd_kafka_headers_t *list;
    const void *value;
    size_t size;
    if (rd_kafka_message_headers(message, &list))
        return 0; // most have none at all
    for (int i = 0; i < ID_HEADER_COUNT; i++) {
        if (!rd_kafka_header_get_last(list, headers[i].name, &value, &size))
            return (uint8_t)(i + 1);
    }
    return 0;
}

const char *id_header_text(uint8_t number)
{
    assert(number > 0);
    assert(number <= ID_HEADER_COUNT);
    return headers[number - 1].text;
}
