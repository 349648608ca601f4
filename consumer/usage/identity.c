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

// Sixteen characters side by side: the processor's own vectors, where it has them.
typedef uint8_t characters __attribute__((vector_size(16)));
typedef uint16_t pairs __attribute__((vector_size(16)));
typedef uint8_t bytes_of_pairs __attribute__((vector_size(8)));

static inline uint64_t word_of(const char first[4], const char second[4])
{
    uint64_t word;
    memcpy(&word, first, 4);
    memcpy((char *)&word + 4, second, 4);
    return word;
}

// Sixteen lower-case hexadecimal digits. Where one of them is something else, *odd gets bytes that
// are not 0.
static inline uint64_t parse_hex16(uint64_t first, uint64_t second, characters *odd)
{
    characters text, nibbles;
    memcpy(&text, (const uint64_t[]){first, second}, sizeof text);
    characters letters = (characters)(text > '9'); // each byte 0 or 255
    nibbles = text - '0' - (letters & ('a' - 10 - '0'));
    // A digit is below ten, a letter is not, and neither is above fifteen.
    *odd |= (nibbles & 0xf0) | ((characters)(nibbles > 9) ^ letters);
    pairs digits = (pairs)nibbles; // the first of two digits in the lower byte
    uint64_t packed;
    bytes_of_pairs bytes =
        __builtin_convertvector((digits << 4 | digits >> 8) & 0xff, bytes_of_pairs);
    memcpy(&packed, &bytes, sizeof packed);
    return __builtin_bswap64(packed);
}

static bool parse_uuid(struct slice id, uint64_t half[2])
{
    const char *s = id.data;
    if (id.size != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-')
        return false;
    characters odd = {0};
    half[0] = parse_hex16(word_of(s, s + 4), word_of(s + 9, s + 14), &odd);
    half[1] = parse_hex16(word_of(s + 19, s + 24), word_of(s + 28, s + 32), &odd);
    uint64_t any[2];
    memcpy(any, &odd, sizeof any);
    return (any[0] | any[1]) == 0;
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
