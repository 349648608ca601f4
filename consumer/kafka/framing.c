#include "consumer/kafka/framing.h"

#include <assert.h>

size_t framing_size(enum framing framing)
{
    return framing == FRAMING_APICURIO ? 9 : 5;
}

bool framing_fits(enum framing framing, int64_t id)
{
    return id >= 0 && (framing == FRAMING_APICURIO || id <= INT32_MAX);
}

void framing_put(enum framing framing, int64_t id, void *out)
{
    unsigned char *bytes = out;
    size_t size = framing_size(framing);
    assert(framing_fits(framing, id)); // one that is cut off would be another schema's
    bytes[0] = 0;
    for (size_t i = 1; i < size; i++)
        bytes[i] = (unsigned char)((uint64_t)id >> 8 * (size - 1 - i));
}

bool framing_take_off(enum framing framing, struct slice value, int64_t *id, struct slice *body)
{
    const unsigned char *bytes = (const unsigned char *)value.data;
    size_t size = framing_size(framing);
    if (!bytes || value.size < size || bytes[0] != 0)
        return false;
    uint64_t number = 0;
    for (size_t i = 1; i < size; i++)
        number = number << 8 | bytes[i];
    *id = framing == FRAMING_APICURIO ? (int64_t)number : (int32_t)(uint32_t)number;
    *body = (struct slice){value.data + size, value.size - size};
    return true;
}

const char *framing_text(enum framing framing)
{
    return framing == FRAMING_APICURIO ? "a zero byte and the 8-byte id of its schema"
                                       : "a zero byte and the 4-byte id of its schema";
}
