#include "consumer/core/identity.h"

#include <openssl/evp.h>
#include <string.h>
#include <xxhash.h>

void identity_key_expand(struct identity_key *key, const uint8_t id_key[32])
{
    uint8_t input[33], block[EVP_MAX_MD_SIZE];
    memcpy(input, id_key, 32);
    for (uint8_t i = 0; i < 7; i++) { // SHA-256 in counter mode
        input[32] = i;
        EVP_Digest(input, sizeof input, block, NULL, EVP_sha256(), NULL);
        if (i < 6)
            memcpy(key->secret + 32 * i, block, 32);
        else
            memcpy(key->mix, block, sizeof key->mix);
    }
}

// Value of a lower-case hexadecimal digit.
static uint8_t hex(unsigned char c)
{
    static const uint8_t values[256] = {
        ['0'] = 0x10, ['1'] = 0x11, ['2'] = 0x12, ['3'] = 0x13, ['4'] = 0x14, ['5'] = 0x15, ['6'] = 0x16, ['7'] = 0x17,
        ['8'] = 0x18, ['9'] = 0x19, ['a'] = 0x1a, ['b'] = 0x1b, ['c'] = 0x1c, ['d'] = 0x1d, ['e'] = 0x1e, ['f'] = 0x1f,
    };
    return values[c]; // 0x10 marks a digit
}

// Takes `digits` hexadecimal digits; *good keeps 0x10 while all of them are.
static uint64_t take(const char *text, int digits, uint8_t *good)
{
    uint64_t number = 0;
    for (int i = 0; i < digits; i++) {
        uint8_t value = hex((unsigned char)text[i]);
        *good &= value;
        number = number << 4 | (value & 0xf);
    }
    return number;
}

static bool parse_uuid(struct slice id, uint64_t half[2])
{
    const char *s = id.data;
    if (id.size != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-') return false;
    uint8_t good = 0x10;
    half[0] = take(s, 8, &good) << 32 | take(s + 9, 4, &good) << 16 | take(s + 14, 4, &good);
    half[1] = take(s + 19, 4, &good) << 48 | take(s + 24, 12, &good);
    return good == 0x10;
}

struct identity identity_of(const struct identity_key *key, struct slice id)
{
    struct identity identity = {.uuid = true};
    if (parse_uuid(id, identity.half)) return identity;
    XXH128_hash_t hash = XXH3_128bits_withSecret(id.data, id.size, key->secret, sizeof key->secret);
    return (struct identity){.half = {hash.low64, hash.high64}, .uuid = false};
}

struct account_hash identity_of_account(const struct identity_key *key, struct slice id)
{
    XXH128_hash_t hash = XXH3_128bits_withSecret(id.data, id.size, key->secret, sizeof key->secret);
    return (struct account_hash){{hash.low64, hash.high64}};
}
