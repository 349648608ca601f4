// Identities as 128 bits: a canonical lower-case UUID packs, any other id goes through a keyed
// hash. The key belongs to the deployment; no output depends on it.
#pragma once

#include "consumer/base/slice.h"

enum { IDENTITY_SECRET_SIZE = 192 };

struct identity_key {
    uint8_t secret[IDENTITY_SECRET_SIZE];
    uint64_t mix[2];
};

struct identity {
    uint64_t half[2];
    bool uuid; // packed; part of the identity, so that no hash can meet a UUID
};

void identity_key_expand(struct identity_key *key, const uint8_t id_key[32]);
void identity_of(const struct identity_key *key, struct slice id, struct identity *out);

// Keyed 128-bit hash of an account id: equal hashes are the same account, so that a look-up touches
// no text.
struct account_hash {
    uint64_t half[2];
};
void identity_of_account(const struct identity_key *key, struct slice id, struct account_hash *out);

static inline uint64_t identity_fold(uint64_t a, uint64_t b)
{
    unsigned __int128 product = (unsigned __int128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

// R32: keyed hash of (account, id) for an index.
static inline uint64_t identity_hash(const struct identity_key *key, const uint64_t half[2],
                                     struct account_hash account)
{
    return identity_fold(identity_fold(half[0] ^ key->mix[0], half[1] ^ key->mix[1]) ^
                             account.half[0],
                         key->mix[0] | 1);
}
