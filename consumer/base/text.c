#include "consumer/base/text.h"

#include <assert.h>
#include <string.h>

static bool continues(unsigned char byte, unsigned char low, unsigned char high)
{
    return byte >= low && byte <= high;
}

int text_sequence(const char *at, const char *end)
{
    assert(at < end);
    const unsigned char *s = (const unsigned char *)at;
    if (s[0] < 0x80)
        return 1;
    if (s[0] < 0xc2 || s[0] > 0xf4)
        return -1;
    int length = s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
    // Overlong forms, surrogates and what lies beyond U+10FFFF are recognised by the second byte.
    unsigned char low = s[0] == 0xe0 ? 0xa0 : s[0] == 0xf0 ? 0x90 : 0x80;
    unsigned char high = s[0] == 0xed ? 0x9f : s[0] == 0xf4 ? 0x8f : 0xbf;
    for (int i = 1; i < length; i++) {
        if (at + i >= end || !continues(s[i], low, high))
            return -i;
        low = 0x80;
        high = 0xbf;
    }
    return length;
}

static bool is_control(const char *at)
{
    unsigned char first = (unsigned char)at[0];
    if (first == 0xc2)
        return (unsigned char)at[1] < 0xa0; // U+0080-9F
    return first < 0x20 || first == 0x7f;
}

// Eight bytes at a time, while they are printable ASCII, as nearly all ids are.
static const char *skip_printable(const char *at, const char *end)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), highs = UINT64_C(0x8080808080808080);
    for (; end - at >= 8; at += 8) {
        uint64_t word;
        memcpy(&word, at, sizeof word);
        uint64_t below = (word - 0x20 * ones) & ~word; // high bit: a byte below U+0020
        uint64_t delete = ((word ^ 0x7f * ones) - ones); // high bit: a byte of 0x7f
        if ((word | below | delete) & highs)
            break; // a borrow may stop it early, never late
    }
    return at;
}

bool text_is_id(struct slice text, const char **why)
{
    *why = !text.data                ? "is null"
           : text.size == 0          ? "is empty"
           : text.size > ID_SIZE_MAX ? "is longer than 128 bytes"
                                     : NULL;
    if (*why)
        return false;
    const char *end = text.data + text.size;
    for (const char *at = skip_printable(text.data, end); at < end;) {
        int length = text_sequence(at, end);
        if (length < 0)
            *why = "is not UTF-8";
        else if (is_control(at))
            *why = "holds a control character";
        if (*why)
            return false;
        at += length;
    }
    return true;
}

size_t text_repair(struct slice text, char *out)
{
    size_t size = 0;
    for (const char *at = text.data, *end = at + text.size; at < end;) {
        int length = text_sequence(at, end);
        if (length > 0 && *at != '\0') {
            memcpy(out + size, at, (size_t)length);
            size += (size_t)length;
        } else {
            for (int i = 0; i < 3; i++)
                out[size++] = "\xef\xbf\xbd"[i]; // U+FFFD
        }
        at += length < 0 ? -length : length;
    }
    assert(size <= 3 * text.size); // the caller has this much room
    return size;
}

const char *text_show(struct slice text, char *out, size_t size)
{
    size_t used = 0;
    assert(size > 0);
    if (!text.data)
        return "null";
    for (const char *at = text.data, *end = at + text.size; at < end;) {
        int length = text_sequence(at, end), bytes = length < 0 ? -length : length;
        bool plain = length > 0 && !is_control(at);
        struct slice shown = plain ? (struct slice){at, (size_t)bytes} : (struct slice){".", 1};
        if (used + shown.size >= size)
            break;
        memcpy(out + used, shown.data, shown.size);
        used += shown.size;
        at += bytes;
    }
    assert(used < size);
    out[used] = '\0';
    return out;
}
