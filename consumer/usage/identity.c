#include "consumer/usage/identity.h"

#include <assert.h>
#include <openssl/evp.h>
#include <string.h>
#define XXH_INLINE_ALL // twice a call: not through the library
#include <xxhash.h>

void identity_key_expand(struct identity_key *key, const uint8_t id_key[32])
{
    uint8_t input[33], block[EVP_MAX_MD_SIZE];
    memcpy(input, id_key, 32);
    for (uint8_t i = 0; i < 7; i++) { // SHA-256 in counter mode
        input[32] = i;
        unsigned size = 0;
        EVP_Digest(input, sizeof input, block, &size, EVP_sha256(), NULL);
        assert(size == 32);
        if (i < 6)
            memcpy(key->secret + 32 * i, block, 32);
        else
            memcpy(key->mix, block, sizeof key->mix);
    }
}

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "texts are read as little-endian words");

#define EACH(byte) (UINT64_C(0x0101010101010101) * (byte))

// Eight lower-case hexadecimal digits at once. Where one of them is something else, *odd becomes
// other than 0.
static inline uint32_t parse_hex8(const char first[4], const char second[4], uint64_t *odd)
{
    uint64_t text;
    memcpy(&text, first, 4);
    memcpy((char *)&text + 4, second, 4);
    uint64_t nibbles = (text & EACH(0x0f)) + 9 * (text >> 6 & EACH(1)); // letters have bit 6
    uint64_t letters = (nibbles + EACH(6)) >> 4 & EACH(1);
    // What writes itself the same way again was a digit.
    *odd |= (nibbles & EACH(0xf0)) | ((nibbles + EACH('0') + letters * ('a' - 10 - '0')) ^ text);
    uint64_t packed = __builtin_bswap64(nibbles);
    packed = (packed | packed >> 4) & UINT64_C(0x00ff00ff00ff00ff);
    packed = (packed | packed >> 8) & UINT64_C(0x0000ffff0000ffff);
    return (uint32_t)(packed | packed >> 16);
}

static bool parse_uuid(struct slice id, uint64_t half[2])
{
    const char *s = id.data;
    uint64_t odd = 0;
    if (id.size != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-')
        return false;
    uint64_t first = parse_hex8(s, s + 4, &odd), second = parse_hex8(s + 9, s + 14, &odd),
             third = parse_hex8(s + 19, s + 24, &odd), fourth = parse_hex8(s + 28, s + 32, &odd);
    half[0] = first << 32 | second;
    half[1] = third << 32 | fourth;
    return odd == 0;
}

// Written in place: a copy of what was just stored in parts would wait for the stores.
void identity_of(const struct identity_key *key, struct slice id, struct identity *out)
{
    out->uuid = parse_uuid(id, out->half);
    if (out->uuid)
        return;
    XXH128_hash_t hash = XXH3_128bits_withSecret(id.data, id.size, key->secret, sizeof key->secret);
    out->half[0] = hash.low64;
    out->half[1] = hash.high64;
}

void identity_of_account(const struct identity_key *key, struct slice id, struct account_hash *out)
{
    XXH128_hash_t hash = XXH3_128bits_withSecret(id.data, id.size, key->secret, sizeof key->secret);
    out->half[0] = hash.low64;
    out->half[1] = hash.high64;
}
