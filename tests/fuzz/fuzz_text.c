// Any bytes as an id and as a text: compared with a simple decoder of UTF-8 and a simple reader of
// UUIDs.
#include "consumer/base/text.h"
#include "consumer/usage/identity.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

// The code point at `at` and its length; -1 when there is none (Unicode, table 3-7, by value
// instead of by byte).
static int32_t decode(const uint8_t *at, size_t left, size_t *length)
{
    static const int32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    uint8_t first = at[0];
    size_t n = first < 0x80       ? 1
               : first >> 5 == 6  ? 2
               : first >> 4 == 14 ? 3
               : first >> 3 == 30 ? 4
                                  : 0;
    if (n == 0 || n > left)
        return -1;
    int32_t point = n == 1 ? first : first & (0x7f >> n);
    for (size_t i = 1; i < n; i++) {
        if (at[i] >> 6 != 2)
            return -1;
        point = point << 6 | (at[i] & 0x3f);
    }
    *length = n;
    return point < least[n] || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff) ? -1
                                                                                        : point;
}

static bool is_id(const uint8_t *data, size_t size)
{
    size_t length;
    if (size == 0 || size > ID_SIZE_MAX)
        return false;
    for (size_t at = 0; at < size; at += length) {
        int32_t point = decode(data + at, size - at, &length);
        if (point < 0x20 || (point >= 0x7f && point <= 0x9f))
            return false;
    }
    return true;
}

static bool is_clean(const uint8_t *data, size_t size)
{
    size_t length;
    for (size_t at = 0; at < size; at += length)
        if (decode(data + at, size - at, &length) <= 0)
            return false;
    return true;
}

static void check_repair(struct slice text)
{
    char *once = malloc(3 * text.size + 1), *twice = malloc(9 * text.size + 1);
    if (!once || !twice)
        abort();
    size_t size = text_repair(text, once);
    assert(size <= 3 * text.size && is_clean((const uint8_t *)once, size));
    if (is_clean((const uint8_t *)text.data, text.size))
        assert(size == text.size && memcmp(once, text.data, size) == 0);
    assert(text_repair((struct slice){once, size}, twice) == size &&
           memcmp(once, twice, size) == 0);
    free(once);
    free(twice);
}

static bool read_uuid(struct slice id, uint64_t half[2])
{
    static const char digits[] = "0123456789abcdef";
    size_t taken = 0;
    if (id.size != 36)
        return false;
    half[0] = half[1] = 0;
    for (size_t i = 0; i < 36; i++) {
        bool hyphen = i == 8 || i == 13 || i == 18 || i == 23;
        const char *digit = hyphen ? NULL : memchr(digits, id.data[i], 16);
        if (hyphen ? id.data[i] != '-' : !digit)
            return false;
        if (!digit)
            continue;
        half[taken / 16] = half[taken / 16] << 4 | (uint64_t)(digit - digits);
        taken++;
    }
    return true;
}

static void check_identity(struct slice id)
{
    static struct identity_key key;
    static bool expanded;
    if (!expanded)
        identity_key_expand(&key, (const uint8_t[32]){1, 2, 3});
    expanded = true;
    uint64_t half[2];
    struct identity identity;
    identity_of(&key, id, &identity);
    assert(identity.uuid == read_uuid(id, half));
    if (identity.uuid)
        assert(identity.half[0] == half[0] && identity.half[1] == half[1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *bytes = malloc(size > 0 ? size : 1); // of exactly this size, for the sanitizer
    if (!bytes)
        abort();
    if (size > 0)
        memcpy(bytes, data, size);
    struct slice text = {bytes, size};
    const char *why;
    bool good = text_is_id(text, &why);
    assert(good == is_id(data, size) && good == (why == NULL));
    check_repair(text);
    check_identity(text);
    free(bytes);
    return 0;
}
