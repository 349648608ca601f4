#include "consumer/core/policy.h"

#include "pricing/symbol.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

// R53: the row in force on a day is the last one from that day or before.
const struct parameters *policy_at(const struct policy *policy, day_t day)
{
    assert(policy->count > 0);
    assert(policy->count <= PARAMETER_ROWS_MAX);
    assert(policy->rows[0].from_day == DAY_NONE);
    size_t i = policy->count - 1;
    while (policy->rows[i].from_day > day)
        i--;
    return &policy->rows[i];
}

// The last day up to `open_day` on which a row was in force. R27, R60: while it is in force a floor
// rises with the open day, so each row's highest floor is that of its last day, and the highest of
// all rows stays.
static day_t last_day_of(const struct policy *policy, size_t row, day_t open_day)
{
    bool ended = row + 1 < policy->count && policy->rows[row + 1].from_day <= open_day;
    return ended ? policy->rows[row + 1].from_day - 1 : open_day;
}

// R26, R27: calls.
day_t policy_floor(const struct policy *policy, day_t open_day)
{
    day_t floor = policy->fixed.first_day;
    for (size_t i = 0; i < policy->count && policy->rows[i].from_day <= open_day; i++) {
        day_t oldest = last_day_of(policy, i, open_day) - policy->rows[i].late_days;
        if (oldest > floor)
            floor = oldest;
    }
    return floor;
}

// R59, R60: purchases and credits.
day_t policy_credit_floor(const struct policy *policy, day_t open_day)
{
    day_t floor = DAY_NONE;
    assert(open_day >= policy->fixed.first_day);
    for (size_t i = 0; i < policy->count && policy->rows[i].from_day <= open_day; i++) {
        day_t last = last_day_of(policy, i, open_day);
        // A row that was replaced before the first day was never in force.
        if (last >= policy->fixed.first_day && last - policy->rows[i].credit_days > floor)
            floor = last - policy->rows[i].credit_days;
    }
    assert(floor != DAY_NONE);
    return floor;
}

// ---- symbols ----

#define SYMBOL(value, symbol) [value] = (symbol),
static const char *const partitioners[] = {PARTITIONER_ROWS(SYMBOL)};
static const char *const timestamps_kinds[] = {TIMESTAMPS_ROWS(SYMBOL)};
static const char *const framings[] = {FRAMING_ROWS(SYMBOL)};

const char *partitioner_symbol(enum partitioner partitioner)
{
    return partitioners[partitioner];
}

bool partitioner_parse(const char *symbol, enum partitioner *out)
{
    int found = symbol_find(partitioners, sizeof partitioners / sizeof *partitioners, symbol);
    if (found < 0)
        return false;
    *out = (enum partitioner)found;
    return true;
}

const char *timestamps_symbol(enum timestamps timestamps)
{
    return timestamps_kinds[timestamps];
}

bool timestamps_parse(const char *symbol, enum timestamps *out)
{
    int found =
        symbol_find(timestamps_kinds, sizeof timestamps_kinds / sizeof *timestamps_kinds, symbol);
    if (found < 0)
        return false;
    *out = (enum timestamps)found;
    return true;
}

const char *framing_symbol(enum framing framing)
{
    return framings[framing];
}

bool framing_parse(const char *symbol, enum framing *out)
{
    int found = symbol_find(framings, sizeof framings / sizeof *framings, symbol);
    if (found < 0)
        return false;
    *out = (enum framing)found;
    return true;
}

// ---- the canonical text ----

char *policy_text(const struct policy *policy, day_t day, char out[PARAMETERS_TEXT_SIZE])
{
    const struct fixed_parameters *fixed = &policy->fixed;
    const struct parameters *row = policy_at(policy, day);
    const struct book *book = shelf_at(&policy->shelf, day);
    assert(book);
    assert(strpbrk(fixed->time_zone, "\"\\") == NULL); // a zone's name needs no escapes
    char first_day[DAY_TEXT_SIZE], from_day[DAY_TEXT_SIZE + 2] = "null", date[DAY_TEXT_SIZE];
    if (row->from_day != DAY_NONE)
        snprintf(from_day, sizeof from_day, "\"%s\"", calendar_format_day(row->from_day, date));
    char left[THRESHOLDS_TEXT_SIZE], days[THRESHOLDS_TEXT_SIZE], below[THRESHOLDS_TEXT_SIZE];
    int length = snprintf(
        out, PARAMETERS_TEXT_SIZE,
        "{\"balance_below\":[%s],\"book\":\"%s\",\"credit_days\":%" PRId32
        ",\"expiring_days\":[%s],\"first_day\":\"%s\",\"from_day\":%s,\"future_tolerance_ms\":"
        "%" PRId64 ",\"grace_ms\":%" PRId64 ",\"late_days\":%" PRId32
        ",\"max_refused_share_ppm\":%" PRId32 ",\"max_reject_share_ppm\":%" PRId32
        ",\"package_left\":[%s],\"partitioner\":\"%s\",\"partitions\":%" PRId32
        ",\"time_zone\":\"%s\",\"timestamps\":\"%s\"}",
        thresholds_format(&row->notices.balance_below, ",", below), book->sha256, row->credit_days,
        thresholds_format(&row->notices.expiring_days, ",", days),
        calendar_format_day(fixed->first_day, first_day), from_day, row->future_tolerance_ms,
        row->grace_ms, row->late_days, row->max_refused_share_ppm, row->max_reject_share_ppm,
        thresholds_format(&row->notices.package_left, ",", left),
        partitioner_symbol(fixed->partitioner), fixed->partitions, fixed->time_zone,
        timestamps_symbol(fixed->timestamps));
    assert(length > 0);
    assert(length < PARAMETERS_TEXT_SIZE);
    return out;
}

void policy_sha256(const struct policy *policy, day_t day, char out[65])
{
    char text[PARAMETERS_TEXT_SIZE];
    policy_text(policy, day, text);
    book_sha256(text, strlen(text), out);
}

static uint32_t little_endian(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

// MurmurHash2 with the seed and the byte order of Kafka's Java client (Utils.murmur2).
static uint32_t murmur2(const uint8_t *p, size_t size)
{
    const uint32_t m = 0x5bd1e995;
    uint32_t h = 0x9747b28c ^ (uint32_t)size;
    for (; size >= 4; p += 4, size -= 4) {
        uint32_t k = little_endian(p) * m;
        k ^= k >> 24;
        h = h * m ^ k * m;
    }
    if (size >= 3)
        h ^= (uint32_t)p[2] << 16;
    if (size >= 2)
        h ^= (uint32_t)p[1] << 8;
    if (size >= 1)
        h = (h ^ p[0]) * m;
    h ^= h >> 13;
    h *= m;
    return h ^ h >> 15;
}

// CRC-32 of IEEE 802.3, four bits at a time: a table of 16 is cheap to keep in sight and fast
// enough for keys.
static uint32_t crc32(const uint8_t *p, size_t size)
{
    static const uint32_t table[16] = {
        0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4,
        0x4db26158, 0x5005713c, 0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c,
        0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c,
    };
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < size; i++) {
        crc = table[(crc ^ p[i]) & 15] ^ crc >> 4;
        crc = table[(crc ^ p[i] >> 4) & 15] ^ crc >> 4;
    }
    return ~crc;
}

// R41: the partition that a key belongs to.
int32_t partition_of(enum partitioner partitioner, const void *key, size_t size, int32_t partitions)
{
    assert(partitions > 0);
    int32_t partition;
    if (partitioner == PARTITIONER_MURMUR2)
        partition = (int32_t)((murmur2(key, size) & INT32_MAX) % (uint32_t)partitions);
    else
        partition = (int32_t)(crc32(key, size) % (uint32_t)partitions);
    assert(partition >= 0);
    assert(partition < partitions);
    return partition;
}
