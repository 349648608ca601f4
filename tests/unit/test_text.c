// UTF-8, which texts may be ids, and the repair of other texts. Compared with a decoder of code
// points, and with outputs of Python (errors="replace", which follows the practice of the Unicode
// standard).
#include "consumer/base/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

// ---- by code points ----

// Bytes of the first character when the text begins with a well-formed one, else 0.
static int naive_length(const unsigned char *s, size_t size)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    int length = s[0] < 0x80       ? 1
                 : s[0] >> 5 == 6  ? 2
                 : s[0] >> 4 == 14 ? 3
                 : s[0] >> 3 == 30 ? 4
                                   : 0;
    if (length <= 1)
        return length;
    if ((size_t)length > size)
        return 0;
    uint32_t point = s[0] & (0xffu >> (length + 1));
    for (int i = 1; i < length; i++) {
        if (s[i] >> 6 != 2)
            return 0;
        point = point << 6 | (s[i] & 0x3fu);
    }
    bool surrogate = point >= 0xd800 && point <= 0xdfff;
    return point < least[length] || surrogate || point > 0x10ffff ? 0 : length;
}

// On an exact copy, so that a sanitizer sees a byte read beyond it.
static void compare(const unsigned char *bytes, size_t size)
{
    char *copy = malloc(size);
    memcpy(copy, bytes, size);
    int want = naive_length(bytes, size), got = text_sequence(copy, copy + size);
    if (want > 0 ? got != want : got >= 0)
        fail_msg("%02x %02x.. of %zu: %d, not %d", bytes[0], size > 1 ? bytes[1] : 0, size, got,
                 want);
    assert_true(got >= -3 && got <= 4 && (got > 0 || (size_t)-got <= size));
    free(copy);
}

static void every_lead_and_second_byte(void **state)
{
    (void)state;
    static const unsigned char tails[] = {0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90,
                                          0x9f, 0xa0, 0xbf, 0xc0, 0xff};
    enum { TAILS = sizeof tails };
    for (unsigned lead = 0; lead < 256; lead++)
        for (unsigned second = 0; second < 256; second++) {
            unsigned char s[4] = {(unsigned char)lead, (unsigned char)second, 0, 0};
            compare(s, 1);
            compare(s, 2);
            for (size_t third = 0; third < TAILS; third++) {
                s[2] = tails[third];
                compare(s, 3);
                s[3] = tails[(third + second) % TAILS];
                compare(s, 4);
            }
        }
}

static void every_code_point_is_one_character(void **state)
{
    (void)state;
    for (uint32_t point = 0x80; point <= 0x1fffff; point++) {
        unsigned char s[4] = {
            (unsigned char)(0xf0 | point >> 18), (unsigned char)(0x80 | (point >> 12 & 0x3f)),
            (unsigned char)(0x80 | (point >> 6 & 0x3f)), (unsigned char)(0x80 | (point & 0x3f))};
        unsigned char *at = s;
        int length = 4;
        if (point < 0x800) {
            at = s + 2;
            *at = (unsigned char)(0xc0 | point >> 6);
            length = 2;
        } else if (point < 0x10000) {
            at = s + 1;
            *at = (unsigned char)(0xe0 | point >> 12);
            length = 3;
        }
        bool good = point <= 0x10ffff && (point < 0xd800 || point > 0xdfff);
        int got = text_sequence((const char *)at, (const char *)s + 4);
        if (good ? got != length : got >= 0)
            fail_msg("U+%04X: %d", (unsigned)point, got);
    }
}

// ---- ids ----

static bool is_id(const char *data, size_t size)
{
    const char *why = "?";
    bool good = text_is_id((struct slice){data, size}, &why);
    assert_int_equal(good, why == NULL);
    return good;
}

static void ids_hold_no_control_characters_wherever_they_stand(void **state)
{
    (void)state;
    for (unsigned point = 0; point < 0x180; point++)
        for (size_t at = 0; at < 20; at++) {
            char text[24];
            memset(text, 'x', sizeof text);
            if (point < 0x80) {
                text[at] = (char)point;
            } else {
                text[at] = (char)(0xc0 | point >> 6);
                text[at + 1] = (char)(0x80 | (point & 0x3f));
            }
            bool control = point < 0x20 || (point >= 0x7f && point < 0xa0);
            for (size_t size = at + 2; size <= 22; size++)
                if (is_id(text, size) == control)
                    fail_msg("U+%04X at %zu of %zu", point, at, size);
        }
}

static void broken_bytes_are_found_wherever_they_stand(void **state)
{
    (void)state;
    for (unsigned byte = 0x80; byte < 0x100; byte++)
        for (size_t at = 0; at < 20; at++) {
            char text[24];
            memset(text, '~', sizeof text);
            text[at] = (char)byte;
            for (size_t size = at + 1; size <= 22; size++)
                assert_false(is_id(text, size));
        }
}

static void ids_have_1_to_128_bytes(void **state)
{
    (void)state;
    char text[130];
    memset(text, 'x', sizeof text);
    const char *why;
    assert_false(text_is_id((struct slice){NULL, 0}, &why));
    assert_string_equal(why, "is null");
    assert_false(text_is_id((struct slice){text, 0}, &why));
    assert_string_equal(why, "is empty");
    assert_true(is_id(text, 1));
    assert_true(is_id(text, 128));
    assert_false(text_is_id((struct slice){text, 129}, &why));
    assert_string_equal(why, "is longer than 128 bytes");
    memcpy(text + 125, "\xf0\x9f\x98\x80", 4); // the limit cuts a character
    assert_false(text_is_id((struct slice){text, 128}, &why));
    assert_string_equal(why, "is not UTF-8");
    assert_true(is_id(text + 1, 128));
    memcpy(text, "a\x1f", 2);
    assert_false(text_is_id((struct slice){text, 2}, &why));
    assert_string_equal(why, "holds a control character");
}

// ---- repair ----

#define R "\xef\xbf\xbd"

static const struct {
    const char *text, *repaired;
} repairs[] = {
    {"", ""},
    {"plain", "plain"},
    {"一😀", "一😀"},
    {"\x80", R},
    {"\xc0\xaf", R R},
    {"\xc1\x81", R R},
    {"\xc2", R},
    {"\xc2"
     "A",
     R "A"},
    {"\xe0\x80\x80", R R R},
    {"\xe0\xa0", R},
    {"\xe4\xb8", R},
    {"a\xe4\xb8"
     "b",
     "a" R "b"},
    {"\xe4\xb8\xe4\xb8\xad", R "\xe4\xb8\xad"},
    {"\xed\xa0\x80", R R R},
    {"\xed\xb0\x80\xed", R R R R},
    {"\xf0\x80\x80\x80", R R R R},
    {"\xf0\x90\x80", R},
    {"\xf0\x9f\x98\xf0\x9f\x98\x80", R "\xf0\x9f\x98\x80"},
    {"\xf4\x8f\xbf\xbf", "\xf4\x8f\xbf\xbf"},
    {"\xf4\x90\x80\x80", R R R R},
    {"\xf5\x80", R R},
    {"\xff\xfe", R R},
    {"\xf1\x80\xe1\x80\xc2"
     "b\x80"
     "c\x80\xbf"
     "d",
     R R R "b" R "c" R R "d"},
};

static void texts_are_repaired_as_elsewhere(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof repairs / sizeof *repairs; i++) {
        char out[64];
        size_t size = text_repair((struct slice){repairs[i].text, strlen(repairs[i].text)}, out);
        out[size] = '\0';
        assert_string_equal(out, repairs[i].repaired);
    }
    char out[9];
    assert_int_equal(text_repair((struct slice){"a\0b", 3}, out), 5); // PostgreSQL keeps no U+0000
    assert_memory_equal(out, "a" R "b", 5);
}

static void what_is_repaired_is_utf8_and_stays_as_it_is(void **state)
{
    (void)state;
    uint64_t random = 1;
    for (int round = 0; round < 20000; round++) {
        static const unsigned char bytes[] = {0x00, 0x41, 0x80, 0xbf, 0xc2, 0xe0,
                                              0xa0, 0xed, 0x9f, 0xf0, 0x90, 0xf4};
        unsigned char text[12];
        for (size_t i = 0; i < sizeof text; i++) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            text[i] = bytes[(random >> 33) % sizeof bytes];
        }
        char once[3 * sizeof text], twice[9 * sizeof text];
        size_t size = text_repair((struct slice){(const char *)text, sizeof text}, once);
        assert_true(size <= sizeof once);
        for (size_t at = 0; at < size;) {
            int length = naive_length((const unsigned char *)once + at, size - at);
            assert_true(length > 0 && once[at] != '\0');
            at += (size_t)length;
        }
        assert_int_equal(text_repair((struct slice){once, size}, twice), size);
        assert_memory_equal(once, twice, size);
    }
}

static void what_is_shown_is_one_line_that_fits(void **state)
{
    (void)state;
    char out[6];
    assert_string_equal(text_show((struct slice){"a\nb\x1b\x7f", 5}, out, sizeof out), "a.b..");
    assert_string_equal(text_show((struct slice){"abcdefgh", 8}, out, sizeof out), "abcde");
    assert_string_equal(text_show((struct slice){"\xc3\xa9\xc2\x85\xff", 5}, out, sizeof out),
                        "\xc3\xa9..");
    // no half of one
    assert_string_equal(text_show((struct slice){"abc\xe2\x82\xac", 6}, out, sizeof out), "abc");
    assert_string_equal(text_show((struct slice){"", 0}, out, sizeof out), "");
    assert_string_equal(text_show((struct slice){0}, out, sizeof out), "null");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_lead_and_second_byte),
        cmocka_unit_test(every_code_point_is_one_character),
        cmocka_unit_test(ids_hold_no_control_characters_wherever_they_stand),
        cmocka_unit_test(broken_bytes_are_found_wherever_they_stand),
        cmocka_unit_test(ids_have_1_to_128_bytes),
        cmocka_unit_test(texts_are_repaired_as_elsewhere),
        cmocka_unit_test(what_is_repaired_is_utf8_and_stays_as_it_is),
        cmocka_unit_test(what_is_shown_is_one_line_that_fits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
