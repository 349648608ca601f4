// Identities: which ids are packed as UUIDs, and what the deployment's key keys.
#include "consumer/usage/identity.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char digits[] = "0123456789abcdef";
static const char uuid[] = "0f8fad5b-d9cb-469f-a165-70867728950e";

static struct identity_key key_of(uint8_t first)
{
    struct identity_key key;
    identity_key_expand(&key, (const uint8_t[32]){first});
    return key;
}

static struct identity identity(const struct identity_key *key, const char *id)
{
    struct identity out;
    identity_of(key, (struct slice){id, strlen(id)}, &out);
    return out;
}

static bool same(struct identity a, struct identity b)
{
    return a.half[0] == b.half[0] && a.half[1] == b.half[1] && a.uuid == b.uuid;
}

static void a_uuid_is_its_128_bits_under_any_key(void **state)
{
    (void)state;
    struct identity_key a = key_of(1), b = key_of(2);
    struct identity packed = identity(&a, uuid);
    assert_true(packed.uuid);
    assert_true(packed.half[0] == UINT64_C(0x0f8fad5bd9cb469f));
    assert_true(packed.half[1] == UINT64_C(0xa16570867728950e));
    assert_true(same(packed, identity(&b, uuid)));
    assert_true(same(identity(&a, "00000000-0000-0000-0000-000000000000"),
                     (struct identity){.uuid = true}));
    packed = identity(&a, "ffffffff-ffff-ffff-ffff-ffffffffffff");
    assert_true(packed.uuid && packed.half[0] == UINT64_MAX && packed.half[1] == UINT64_MAX);
}

// Each byte at each place: packed exactly where it is a lower-case digit or its hyphen, and then to
// itself.
static void only_the_canonical_form_is_packed(void **state)
{
    (void)state;
    struct identity_key key = key_of(1);
    for (int place = 0; place < 36; place++)
        for (int byte = 0; byte < 256; byte++) {
            char text[37];
            memcpy(text, uuid, sizeof text);
            text[place] = (char)byte;
            const char *digit = byte ? strchr(digits, byte) : NULL;
            bool hyphen = place == 8 || place == 13 || place == 18 || place == 23;
            bool canonical = hyphen ? byte == '-' : digit != NULL;
            struct identity got;
            identity_of(&key, (struct slice){text, 36}, &got);
            if (got.uuid != canonical)
                fail_msg("byte %02x at %d", (unsigned)byte, place);
            if (!canonical || hyphen)
                continue;
            int nibble = place - (place > 8) - (place > 13) - (place > 18) - (place > 23);
            int shift = 60 - 4 * (nibble % 16);
            struct identity want = identity(&key, uuid);
            want.half[nibble / 16] &= ~(UINT64_C(0xf) << shift);
            want.half[nibble / 16] |= (uint64_t)(digit - digits) << shift;
            assert_true(same(got, want));
        }
}

// Against the C library, digit by digit where sixteen are read at once.
static void any_uuid_reads_as_its_digits_say(void **state)
{
    (void)state;
    struct identity_key key = key_of(1);
    uint64_t high = 88172645463325252, low = 1181783497276652981;
    for (int i = 0; i < 100000; i++) {
        char text[37], plain[2][17];
        high = high * 6364136223846793005 + 1442695040888963407;
        low = low * 2862933555777941757 + 3037000493;
        snprintf(plain[0], sizeof plain[0], "%016" PRIx64, high);
        snprintf(plain[1], sizeof plain[1], "%016" PRIx64, low);
        snprintf(text, sizeof text, "%.8s-%.4s-%.4s-%.4s-%.12s", plain[0], plain[0] + 8,
                 plain[0] + 12, plain[1], plain[1] + 4);
        struct identity got = identity(&key, text);
        assert_true(got.uuid && got.half[0] == strtoull(plain[0], NULL, 16) &&
                    got.half[1] == strtoull(plain[1], NULL, 16));
    }
}

static void other_lengths_and_forms_are_hashed(void **state)
{
    (void)state;
    struct identity_key key = key_of(1);
    static const char *const others[] = {
        "",
        "-",
        "c",
        "0f8fad5b-d9cb-469f-a165-70867728950",
        "0f8fad5b-d9cb-469f-a165-70867728950e0",
        "0f8fad5bd9cb469fa16570867728950e",
        "0F8FAD5B-D9CB-469F-A165-70867728950E",
        "{0f8fad5b-d9cb-469f-a165-7086772895}",
        "0f8fad5bd-9cb-469f-a165-70867728950e",
        "------------------------------------",
    };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        struct identity hashed = identity(&key, others[i]);
        assert_false(hashed.uuid);
        for (size_t j = 0; j < i; j++)
            assert_false(same(hashed, identity(&key, others[j])));
    }
}

static void no_hash_meets_a_uuid(void **state)
{
    (void)state;
    struct identity_key key = key_of(1);
    struct identity hashed = identity(&key, "c");
    char text[37];
    snprintf(text, sizeof text, "%08x-%04x-%04x-%04x-%012llx", (unsigned)(hashed.half[0] >> 32),
             (unsigned)(hashed.half[0] >> 16 & 0xffff), (unsigned)(hashed.half[0] & 0xffff),
             (unsigned)(hashed.half[1] >> 48),
             (unsigned long long)(hashed.half[1] & 0xffffffffffff));
    struct identity packed = identity(&key, text);
    assert_true(packed.half[0] == hashed.half[0] && packed.half[1] == hashed.half[1]);
    assert_false(same(packed, hashed));
}

static void hashes_depend_on_the_key(void **state)
{
    (void)state;
    struct identity_key a = key_of(1), b = key_of(2), again = key_of(1);
    assert_memory_equal(&a, &again, sizeof a);
    assert_true(same(identity(&a, "c"), identity(&again, "c")));
    assert_false(same(identity(&a, "c"), identity(&b, "c")));
    struct slice account = {uuid, 36}; // an account's id is hashed whatever its form
    struct account_hash x, y;
    identity_of_account(&a, account, &x);
    identity_of_account(&b, account, &y);
    assert_true(x.half[0] != y.half[0] && x.half[1] != y.half[1]);
    assert_true(x.half[0] != UINT64_C(0x0f8fad5bd9cb469f));
    // Where an index puts an entry is keyed too, for a UUID as well, and differs by account.
    struct identity packed = identity(&a, uuid);
    assert_true(identity_hash(&a, packed.half, x) != identity_hash(&b, packed.half, x));
    assert_true(identity_hash(&a, packed.half, x) != identity_hash(&a, packed.half, y));
}

static void the_parts_of_a_key_differ(void **state)
{
    (void)state;
    struct identity_key key = key_of(0);
    for (int i = 0; i < IDENTITY_SECRET_SIZE; i += 32)
        for (int j = 0; j < i; j += 32)
            assert_memory_not_equal(key.secret + i, key.secret + j, 32);
    assert_memory_not_equal(key.secret, key.mix, sizeof key.mix);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_uuid_is_its_128_bits_under_any_key),
        cmocka_unit_test(only_the_canonical_form_is_packed),
        cmocka_unit_test(any_uuid_reads_as_its_digits_say),
        cmocka_unit_test(other_lengths_and_forms_are_hashed),
        cmocka_unit_test(no_hash_meets_a_uuid),
        cmocka_unit_test(hashes_depend_on_the_key),
        cmocka_unit_test(the_parts_of_a_key_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
