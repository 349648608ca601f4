// A snapshot's file back into calls. Every section is proved before anything in it is believed.
#include "consumer/usage/snapshot_format.h"

#include "consumer/base/memory.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

// Calls whose identities go into the index together: sorted by segment, so that the lines of one
// segment are in the cache while it gets its share.
enum { BATCH = 1 << 20, AHEAD = 16 };
// Identities of a day for which room is made at once. Beyond that doublings cost little a call, and
// a number in a file takes no memory before there are calls.
enum { RESERVED_MAX = 1 << 22 };

enum reader_state { READER_START, READER_SECTION, READER_PAYLOAD, READER_END, READER_WHOLE };

struct known_account {
    struct account_hash hash;
    uint32_t number; // here
};

struct new_account {
    struct account_hash hash;
    size_t id; // where it begins in `ids`
    uint32_t id_size;
};

struct indexed {
    uint32_t hash, id; // the upper half of the hash
};

struct snapshot_reader {
    struct snapshot_target target;
    enum reader_state state;
    struct snapshot_section section; // in hand
    uint64_t digest, sections, calls;
    int64_t bytes; // of the file so far
    bool has_head;
    struct snapshot_head head;
    size_t account_count, account_capacity;
    struct known_account *accounts; // by the writer's number
    size_t new_count, new_capacity;
    struct new_account *news;
    size_t id_bytes, id_capacity;
    char *ids;
    bool skips; // the day in hand is forgotten
    struct snapshot_day day; // in hand; count 0: none
    uint32_t day_read; // of its calls
    size_t batch_count;
    struct indexed *batch, *sorted;
    size_t room; // bytes that are wanted
    size_t got; // of these
    uint8_t *buffer;
};

struct snapshot_reader *snapshot_reader_create(const struct snapshot_target *target)
{
    struct snapshot_reader *r = memory_grow(NULL, 1, sizeof *r);
    assert(target->calls->count == 0);
    *r = (struct snapshot_reader){.target = *target, .room = sizeof(struct snapshot_start)};
    r->buffer = memory_grow(NULL, SNAPSHOT_SECTION_MAX, 1);
    r->batch = memory_grow(NULL, BATCH, sizeof *r->batch);
    r->sorted = memory_grow(NULL, BATCH, sizeof *r->sorted);
    return r;
}

void snapshot_reader_free(struct snapshot_reader *r)
{
    if (!r)
        return;
    free(r->accounts);
    free(r->news);
    free(r->ids);
    free(r->batch);
    free(r->sorted);
    free(r->buffer);
    free(r);
}

// ---- what it says of itself ----

static int damaged(const struct snapshot_reader *r, const char *what, struct error *e)
{
    return error_set(e, ERROR_CONFIG, "%s, before byte %" PRId64 ": the file is damaged", what,
                     r->bytes);
}

static int compare_rows(const struct snapshot_row *then, const struct snapshot_row *now,
                        struct error *e)
{
    if (then->step > now->step || then->epoch > now->epoch || then->sequence > now->sequence)
        return error_set(e, ERROR_CONFIG,
                         "it is of step %" PRId64 ", and the database is at step %" PRId64
                         ": the database was set back",
                         then->step, now->step);
    if (then->sequence == now->sequence && memcmp(then->hash, now->hash, sizeof now->hash) != 0)
        return error_set(e, ERROR_CONFIG,
                         "row %" PRId64 " of the outbox is not the one that was there: the "
                         "database was set back",
                         now->sequence);
    return 0;
}

static int take_head(struct snapshot_reader *r, struct error *e)
{
    struct snapshot_head *head = &r->head;
    if (r->has_head || r->section.size != sizeof *head)
        return damaged(r, "the head is none", e);
    memcpy(head, r->buffer, sizeof *head);
    r->has_head = true;
    if (memcmp(head->key, r->target.fingerprint, sizeof head->key) != 0)
        return error_set(e, ERROR_CONFIG, "it is another deployment's");
    if (head->shard != r->target.shard)
        return error_set(e, ERROR_CONFIG, "it is of shard %" PRId32, head->shard);
    if (compare_rows(&head->row, &r->target.row, e) != 0)
        return -1;
    return r->target.check(r->target.context, head, e);
}

// ---- accounts ----

static void add_new(struct snapshot_reader *r, struct account_hash hash, const uint8_t *id,
                    uint32_t size)
{
    while (r->id_bytes + size > r->id_capacity) {
        r->id_capacity = r->id_capacity ? r->id_capacity * 2 : SNAPSHOT_SECTION_MAX;
        r->ids = memory_grow(r->ids, r->id_capacity, 1);
    }
    memcpy(r->ids + r->id_bytes, id, size);
    r->news = memory_reserve(r->news, r->new_count, &r->new_capacity, sizeof *r->news);
    r->news[r->new_count++] = (struct new_account){hash, r->id_bytes, size};
    r->id_bytes += size;
}

static int add_account(struct snapshot_reader *r, const struct snapshot_account *account,
                       const uint8_t *id, struct error *e)
{
    struct account_hash hash = {{account->hash[0], account->hash[1]}};
    uint32_t number = r->target.find_account(r->target.context, hash);
    if (number == INDEX_NONE && account->id_size == 0)
        return error_set(e, ERROR_CONFIG, "account %zu of it has no row: the database was set back",
                         r->account_count);
    if (number == INDEX_NONE) {
        number = r->target.accounts + (uint32_t)r->new_count;
        add_new(r, hash, id, account->id_size);
    }
    r->accounts =
        memory_reserve(r->accounts, r->account_count, &r->account_capacity, sizeof *r->accounts);
    r->accounts[r->account_count++] = (struct known_account){hash, number};
    return 0;
}

static int take_accounts(struct snapshot_reader *r, struct error *e)
{
    size_t at = 0, size = r->section.size;
    if (r->day.count > 0)
        return damaged(r, "an account stands behind the calls", e);
    while (at < size) {
        struct snapshot_account account;
        if (size - at < sizeof account)
            return damaged(r, "an account is cut off", e);
        memcpy(&account, r->buffer + at, sizeof account);
        at += sizeof account;
        if (account.id_size > size - at || account.id_size > ID_SIZE_MAX)
            return damaged(r, "an account's id is cut off", e);
        if (add_account(r, &account, r->buffer + at, e) != 0)
            return -1;
        at += account.id_size;
    }
    return 0;
}

// ---- calls ----

static void index_batch(struct snapshot_reader *r)
{
    size_t places[INDEX_SEGMENTS + 1] = {0};
    for (size_t i = 0; i < r->batch_count; i++)
        places[(r->batch[i].hash >> 24) + 1]++;
    for (int s = 0; s < INDEX_SEGMENTS; s++)
        places[s + 1] += places[s];
    for (size_t i = 0; i < r->batch_count; i++)
        r->sorted[places[r->batch[i].hash >> 24]++] = r->batch[i];
    struct index *index = &r->target.calls->index;
    for (size_t i = 0; i < r->batch_count; i++) {
        if (i + AHEAD < r->batch_count && index->lines > 0)
            index_prefetch(index, (uint64_t)r->sorted[i + AHEAD].hash << 32);
        index_insert(index, (uint64_t)r->sorted[i].hash << 32, r->sorted[i].id);
    }
    r->batch_count = 0;
}

static int take_day(struct snapshot_reader *r, struct error *e)
{
    struct snapshot_day day;
    if (r->section.size != sizeof day || r->day_read != r->day.count)
        return damaged(r, "a day is not where it belongs", e);
    memcpy(&day, r->buffer, sizeof day);
    // What is before the open day and not settled is late; what is of it or later is not settled.
    if (day.count == 0 || day.settled > day.count || day.zero != 0 ||
        (day.day >= r->head.day && day.settled > 0) || day.first_offset < 0 ||
        day.first_offset >= r->head.next || (r->day.count > 0 && day.day <= r->day.day))
        return damaged(r, "a day cannot be so", e);
    r->day = day;
    r->day_read = 0;
    r->skips = day.day < r->target.floor;
    if (!r->skips)
        index_reserve(&r->target.calls->index, day.count < RESERVED_MAX ? day.count : RESERVED_MAX);
    if (!r->skips)
        calls_open_day(r->target.calls, &(struct usage_day){.day = day.day,
                                                            .count = day.count,
                                                            .settled = day.settled,
                                                            .first_offset = day.first_offset});
    return 0;
}

static const uint8_t *get(void *to, const uint8_t *from, size_t size)
{
    memcpy(to, from, size);
    return from + size;
}

// The columns, with this process's numbers of the accounts. `hashes` of the calls: into the batch.
static int fill_block(struct snapshot_reader *r, struct call_block *block, uint32_t count,
                      struct error *e)
{
    const uint8_t *at = r->buffer + sizeof(struct snapshot_block);
    struct indexed *batch = r->batch + r->batch_count;
    uint32_t beyond = 0;
    at = get(block->half, at, count * sizeof *block->half);
    at = get(block->account, at, count * sizeof *block->account);
    at = get(block->when, at, count * sizeof *block->when);
    get(block->units, at, count * sizeof *block->units);
    for (uint32_t i = 0; i < count; i++)
        beyond |= block->account[i] >= r->account_count;
    if (beyond)
        return damaged(r, "a call is of no account", e);
    for (uint32_t i = 0; i < count; i++) {
        const struct known_account *account = &r->accounts[block->account[i]];
        uint64_t hash = identity_hash(r->target.key, block->half[i], account->hash);
        batch[i].hash = (uint32_t)(hash >> 32);
        block->account[i] = account->number;
    }
    return 0;
}

static int add_block(struct snapshot_reader *r, const struct snapshot_block *told, struct error *e)
{
    struct call_block *block = call_block_create(told->day, told->number);
    if (r->batch_count + told->count > BATCH)
        index_batch(r);
    if (fill_block(r, block, told->count, e) != 0) {
        call_block_release(block);
        return -1;
    }
    uint32_t first = calls_add_block(r->target.calls, block, told->count);
    for (uint32_t i = 0; i < told->count; i++)
        r->batch[r->batch_count++].id = first + i;
    return 0;
}

static int take_block(struct snapshot_reader *r, struct error *e)
{
    struct snapshot_block told = {0};
    if (r->section.size >= sizeof told)
        memcpy(&told, r->buffer, sizeof told);
    uint32_t left = r->day.count - r->day_read, count = left < CALL_BLOCK ? left : CALL_BLOCK;
    if (left == 0 || told.day != r->day.day || told.number != r->day_read / CALL_BLOCK ||
        told.count != count || told.zero != 0 ||
        r->section.size != sizeof told + (size_t)count * CALL_BYTES)
        return damaged(r, "a block is not where it belongs", e);
    if (!r->skips && add_block(r, &told, e) != 0)
        return -1;
    r->day_read += count;
    r->calls += count;
    return 0;
}

static int take_end(struct snapshot_reader *r, struct error *e)
{
    struct snapshot_end end = {0};
    if (r->section.size == sizeof end)
        memcpy(&end, r->buffer, sizeof end);
    if (r->day_read != r->day.count || end.sections != r->sections || end.calls != r->calls ||
        r->head.calls != (int64_t)r->calls)
        return damaged(r, "it does not have what its end says", e);
    index_batch(r);
    r->state = READER_END;
    r->room = 1;
    return 0;
}

// ---- bytes ----

static int take_start(struct snapshot_reader *r, struct error *e)
{
    struct snapshot_start start;
    memcpy(&start, r->buffer, sizeof start);
    if (memcmp(start.magic, SNAPSHOT_MAGIC, sizeof start.magic) != 0 || start.zero != 0)
        return error_set(e, ERROR_CONFIG, "it is no snapshot");
    if (start.version != SNAPSHOT_VERSION)
        return error_set(e, ERROR_CONFIG, "it has version %" PRIu32 ", this program reads %d",
                         start.version, SNAPSHOT_VERSION);
    r->digest = snapshot_first_digest(&start);
    r->state = READER_SECTION;
    r->room = sizeof r->section;
    return 0;
}

static int take_section(struct snapshot_reader *r, struct error *e)
{
    memcpy(&r->section, r->buffer, sizeof r->section);
    if (r->section.size == 0 || r->section.size > SNAPSHOT_SECTION_MAX)
        return damaged(r, "a section is too large or empty", e);
    r->state = READER_PAYLOAD;
    r->room = r->section.size;
    return 0;
}

static int take_payload(struct snapshot_reader *r, struct error *e)
{
    int result;
    if (snapshot_digest(r->digest, &r->section, r->buffer) != r->section.digest)
        return damaged(r, "a digest is not that of its section", e);
    r->digest = r->section.digest;
    r->state = READER_SECTION;
    r->room = sizeof r->section;
    if (!r->has_head && r->section.kind != SNAPSHOT_HEAD)
        return damaged(r, "it has no head", e);
    switch (r->section.kind) {
    case SNAPSHOT_HEAD:
        result = take_head(r, e);
        break;
    case SNAPSHOT_ACCOUNTS:
        result = take_accounts(r, e);
        break;
    case SNAPSHOT_DAY:
        result = take_day(r, e);
        break;
    case SNAPSHOT_BLOCK:
        result = take_block(r, e);
        break;
    case SNAPSHOT_END:
        result = take_end(r, e);
        break;
    default:
        result = damaged(r, "a section is of no known kind", e);
    }
    r->sections++;
    return result;
}

void *snapshot_room(struct snapshot_reader *r, size_t *size)
{
    assert(r->got < r->room);
    *size = r->room - r->got;
    return r->buffer + r->got;
}

int snapshot_take(struct snapshot_reader *r, size_t size, struct error *e)
{
    assert(size <= r->room - r->got);
    assert(r->state != READER_WHOLE);
    r->got += size;
    r->bytes += (int64_t)size;
    if (size == 0) {
        if (r->state != READER_END)
            return damaged(r, "it is cut off", e);
        r->state = READER_WHOLE;
        return 0;
    }
    if (r->got < r->room)
        return 0;
    r->got = 0;
    switch (r->state) {
    case READER_START:
        return take_start(r, e);
    case READER_SECTION:
        return take_section(r, e);
    case READER_PAYLOAD:
        return take_payload(r, e);
    default:
        return damaged(r, "something stands behind its end", e);
    }
}

bool snapshot_is_whole(const struct snapshot_reader *r)
{
    return r->state == READER_WHOLE;
}

const struct snapshot_head *snapshot_read_head(const struct snapshot_reader *r)
{
    assert(r->has_head);
    return &r->head;
}

size_t snapshot_new_accounts(const struct snapshot_reader *r)
{
    return r->new_count;
}

struct slice snapshot_new_account(const struct snapshot_reader *r, size_t i,
                                  struct account_hash *hash)
{
    assert(i < r->new_count);
    *hash = r->news[i].hash;
    return (struct slice){r->ids + r->news[i].id, r->news[i].id_size};
}
