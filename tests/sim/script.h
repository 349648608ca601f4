// What producers will send, drawn from the seed in advance: records with everything that the oracle
// needs, so that it does not have to decode anything.
#pragma once

#include "consumer/base/arena.h"
#include "consumer/core/step.h"
#include "tests/sim/dice.h"
#include "tests/sim/list.h"

enum { SHARDS_MAX = 3, ACCOUNTS_MAX = 6, DAYS_MAX = 12 };
// + 10 * input for the first
enum { SCHEMA_KNOWN = 11, SCHEMA_UNKNOWN = 12, SCHEMA_INCOMPATIBLE = 13 };
// As it stands before a value: one of eight bytes is more than four can hold.
int64_t script_schema(enum framing framing, int32_t schema);

// What a record says. Which fields count depends on `input`.
struct fact {
    enum input input;
    enum reject_reason fault; // cannot be decoded: why; the rest but key and value is not set then
    struct slice key, value;
    struct slice account, id;
    enum service service;
    bool leads_null;
    int64_t leads;
    int64_t time;
    int64_t units, used;
    fen_t amount;
    bool foreign_currency;
    enum credit_kind kind;
    struct slice reason, reference;
};

struct send {
    int64_t at; // world ms
    int32_t partition;
    struct fact fact;
    int transaction; // 0: none
    bool by_another_count; // sent where it belongs by the partitions that the topic has now
    bool create_time; // the topic's timestamps were set wrong when it was appended
};

// The end of a producer's transaction: a marker in each log it wrote to.
struct ending {
    int64_t at;
    int transaction;
    bool commit;
};

struct script {
    int32_t shards;
    int days, lead; // lead: days before the first one
    size_t account_count;
    struct slice accounts[ACCOUNTS_MAX];
    LIST(struct send) sends; // rising `at`
    LIST(struct ending) endings; // rising `at`
};

struct script_options {
    uint64_t seed;
    struct arena *arena; // of the bytes
    const struct policy *policy;
    int64_t records_max;
};

int script_days(uint64_t seed);
// Days before the first one, whose records are in the logs when the first process starts.
int script_lead(uint64_t seed);
void script_make(struct script *script, const struct script_options *options);
void script_free(struct script *script);
// Milliseconds of the world at which a day begins.
int64_t script_day_start(const struct policy *policy, int day);
