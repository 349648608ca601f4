// The parts of a snapshot's file, which its writer and its reader share.
#pragma once

#include "consumer/base/text.h"
#include "consumer/usage/snapshot.h"

#define SNAPSHOT_MAGIC "settled\n"
enum { SNAPSHOT_VERSION = 1 };

struct snapshot_start {
    char magic[8];
    uint32_t version, zero;
};

enum snapshot_kind {
    SNAPSHOT_HEAD = 1,
    SNAPSHOT_ACCOUNTS,
    SNAPSHOT_DAY,
    SNAPSHOT_BLOCK,
    SNAPSHOT_END,
};

struct snapshot_section {
    uint32_t kind, size; // of the payload, in bytes
    uint64_t digest;
};

struct snapshot_account { // and then its id
    uint64_t hash[2];
    uint32_t id_size; // 0: a row has the id
} __attribute__((packed));

struct snapshot_day {
    day_t day;
    uint32_t count, settled, zero;
    int64_t first_offset;
};

struct snapshot_block { // and then the columns
    day_t day;
    uint32_t number, count, zero;
};

struct snapshot_end {
    uint64_t sections, calls; // before this one
};

// Of a payload: at most a megabyte.
enum { SNAPSHOT_SECTION_MAX = 1 << 20 };

_Static_assert(sizeof(struct snapshot_head) == SNAPSHOT_KEY_SIZE + 24 + SNAPSHOT_HASH_SIZE + 8 + 80,
               "no padding is written");
_Static_assert(sizeof(struct snapshot_day) == 24, "no padding is written");
_Static_assert(sizeof(struct snapshot_block) + CALL_BLOCK * CALL_BYTES <= SNAPSHOT_SECTION_MAX,
               "a block is a section");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "numbers are written as they are");

uint64_t snapshot_digest(uint64_t before, const struct snapshot_section *section,
                         const void *payload);
uint64_t snapshot_first_digest(const struct snapshot_start *start);
