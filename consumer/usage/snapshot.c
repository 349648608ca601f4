#include "consumer/usage/snapshot_format.h"

#include "consumer/base/memory.h"

#include <assert.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

struct held_day {
    struct snapshot_day day;
    size_t first_block; // of those held
};

struct snapshot {
    struct snapshot_head head;
    size_t day_count, block_count;
    struct held_day *days;
    struct call_block **blocks; // day after day
    // struct snapshot_account and id, one after the other
    size_t account_count, account_bytes, account_capacity;
    uint8_t *accounts;
    // The way through the file
    enum snapshot_kind next;
    size_t day_at, block_at, accounts_at;
    uint64_t digest, sections;
    bool begun;
    uint8_t *buffer; // of a section with its beginning
};

void snapshot_fingerprint(const uint8_t id_key[32], uint8_t out[SNAPSHOT_KEY_SIZE])
{
    static const char purpose[] = "snapshot of the calls";
    uint8_t input[sizeof purpose + 32], digest[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    memcpy(input, purpose, sizeof purpose);
    memcpy(input + sizeof purpose, id_key, 32);
    EVP_Digest(input, sizeof input, digest, &size, EVP_sha256(), NULL);
    assert(size == 32);
    memcpy(out, digest, SNAPSHOT_KEY_SIZE);
}

uint64_t snapshot_digest(uint64_t before, const struct snapshot_section *section,
                         const void *payload)
{
    const uint64_t place[] = {before, section->kind, section->size};
    return XXH3_64bits_withSeed(payload, section->size, XXH3_64bits(place, sizeof place));
}

uint64_t snapshot_first_digest(const struct snapshot_start *start)
{
    return XXH3_64bits(start, sizeof *start);
}

// ---- taking hold ----

static void hold_day(struct snapshot *s, const struct calls *calls, const struct usage_day *day)
{
    s->days[s->day_count++] = (struct held_day){
        .day = {.day = day->day,
                .count = day->count,
                .settled = day->settled,
                .first_offset = day->first_offset},
        .first_block = s->block_count,
    };
    for (size_t b = 0; b < day->block_count; b++) {
        struct call_block *block = calls->blocks[day->blocks[b]];
        call_block_hold(block);
        s->blocks[s->block_count++] = block;
    }
}

struct snapshot *snapshot_create(const struct snapshot_head *head, const struct calls *calls)
{
    struct snapshot *s = memory_grow(NULL, 1, sizeof *s);
    size_t blocks = 0;
    *s = (struct snapshot){.head = *head, .next = SNAPSHOT_HEAD};
    s->head.calls = calls->count;
    for (size_t d = 0; d < calls->day_count; d++)
        blocks += calls->days[d].block_count;
    s->days = memory_grow(NULL, calls->day_count + 1, sizeof *s->days);
    s->blocks = memory_grow(NULL, blocks + 1, sizeof(struct call_block *));
    for (size_t d = 0; d < calls->day_count; d++)
        hold_day(s, calls, &calls->days[d]);
    assert(s->block_count == blocks);
    return s;
}

void snapshot_free(struct snapshot *s)
{
    if (!s)
        return;
    for (size_t b = 0; b < s->block_count; b++)
        call_block_release(s->blocks[b]);
    free(s->days);
    free(s->blocks);
    free(s->accounts);
    free(s->buffer);
    free(s);
}

const struct snapshot_head *snapshot_head_of(const struct snapshot *s)
{
    return &s->head;
}

void snapshot_add_account(struct snapshot *s, struct account_hash hash, struct slice id)
{
    assert(!s->begun);
    assert(id.size <= ID_SIZE_MAX);
    const struct snapshot_account account = {.hash = {hash.half[0], hash.half[1]},
                                             .id_size = id.data ? (uint32_t)id.size : 0};
    size_t needed = s->account_bytes + sizeof account + account.id_size;
    if (needed > s->account_capacity) {
        s->account_capacity = needed + needed / 2;
        s->accounts = memory_grow(s->accounts, s->account_capacity, 1);
    }
    memcpy(s->accounts + s->account_bytes, &account, sizeof account);
    if (account.id_size > 0)
        memcpy(s->accounts + s->account_bytes + sizeof account, id.data, account.id_size);
    s->account_bytes = needed;
    s->account_count++;
}

size_t snapshot_accounts(const struct snapshot *s)
{
    return s->account_count;
}

// ---- the file ----

static uint8_t *payload_of(struct snapshot *s)
{
    return s->buffer + sizeof(struct snapshot_section);
}

// As many accounts as fit into a section.
static size_t put_accounts(struct snapshot *s)
{
    size_t from = s->accounts_at, size = 0;
    while (from + size < s->account_bytes) {
        struct snapshot_account account;
        memcpy(&account, s->accounts + from + size, sizeof account);
        if (size + sizeof account + account.id_size > SNAPSHOT_SECTION_MAX / 2)
            break;
        size += sizeof account + account.id_size;
    }
    memcpy(payload_of(s), s->accounts + from, size);
    s->accounts_at += size;
    return size;
}

static uint8_t *put(uint8_t *at, const void *from, size_t size)
{
    memcpy(at, from, size);
    return at + size;
}

// Of the block only what was there when it was taken hold of.
static size_t put_block(struct snapshot *s, const struct held_day *day)
{
    const struct call_block *block = s->blocks[s->block_at];
    size_t number = s->block_at - day->first_block;
    uint32_t before = (uint32_t)number * CALL_BLOCK, left = day->day.count - before;
    uint32_t count = left < CALL_BLOCK ? left : CALL_BLOCK;
    assert(block->day == day->day.day);
    assert(block->number == number);
    const struct snapshot_block told = {.day = block->day, .number = block->number, .count = count};
    uint8_t *at = put(payload_of(s), &told, sizeof told);
    at = put(at, block->half, count * sizeof *block->half);
    at = put(at, block->account, count * sizeof *block->account);
    at = put(at, block->when, count * sizeof *block->when);
    at = put(at, block->units, count * sizeof *block->units);
    s->block_at++;
    return (size_t)(at - payload_of(s));
}

// The payload of the section that is next, and which one comes after it.
static size_t put_section(struct snapshot *s, enum snapshot_kind *kind)
{
    const struct held_day *day = s->day_at < s->day_count ? &s->days[s->day_at] : NULL;
    *kind = s->next;
    if (s->next == SNAPSHOT_HEAD) {
        s->next = s->account_bytes > 0 ? SNAPSHOT_ACCOUNTS : SNAPSHOT_END;
        memcpy(payload_of(s), &s->head, sizeof s->head);
        return sizeof s->head;
    }
    if (s->next == SNAPSHOT_ACCOUNTS) {
        size_t size = put_accounts(s);
        if (s->accounts_at == s->account_bytes)
            s->next = day ? SNAPSHOT_DAY : SNAPSHOT_END;
        return size;
    }
    if (s->next == SNAPSHOT_END) {
        const struct snapshot_end end = {s->sections, (uint64_t)s->head.calls};
        memcpy(payload_of(s), &end, sizeof end);
        s->next = 0;
        return sizeof end;
    }
    assert(day);
    if (s->next == SNAPSHOT_DAY) {
        s->next = SNAPSHOT_BLOCK;
        memcpy(payload_of(s), &day->day, sizeof day->day);
        return sizeof day->day;
    }
    size_t size = put_block(s, day);
    bool last = s->day_at + 1 == s->day_count;
    if (s->block_at == (last ? s->block_count : s->days[s->day_at + 1].first_block)) {
        s->day_at++;
        s->next = last ? SNAPSHOT_END : SNAPSHOT_DAY;
    }
    return size;
}

bool snapshot_next(struct snapshot *s, struct slice *out)
{
    if (!s->begun) {
        struct snapshot_start start = {.version = SNAPSHOT_VERSION};
        memcpy(start.magic, SNAPSHOT_MAGIC, sizeof start.magic);
        s->begun = true;
        s->digest = snapshot_first_digest(&start);
        s->buffer = memory_grow(NULL, sizeof(struct snapshot_section) + SNAPSHOT_SECTION_MAX, 1);
        memcpy(s->buffer, &start, sizeof start);
        *out = (struct slice){(const char *)s->buffer, sizeof start};
        return true;
    }
    if (s->next == 0)
        return false;
    enum snapshot_kind kind;
    struct snapshot_section section = {.size = (uint32_t)put_section(s, &kind)};
    section.kind = kind;
    assert(section.size <= SNAPSHOT_SECTION_MAX);
    section.digest = s->digest = snapshot_digest(s->digest, &section, payload_of(s));
    memcpy(s->buffer, &section, sizeof section);
    s->sections++;
    *out = (struct slice){(const char *)s->buffer, sizeof section + section.size};
    return true;
}
