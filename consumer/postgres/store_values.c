// Values in PostgreSQL's binary format, both ways.
#include "consumer/postgres/store_values.h"

#include "consumer/base/text.h"

#include <assert.h>
#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EPOCH_MS (STORE_EPOCH_DAYS * DAY_MS)
// What a timestamptz holds, in ms since 1970: 4714-11-24 BC to 294276-12-31.
#define TIME_MIN_MS INT64_C(-210866803200000)
#define TIME_MAX_MS INT64_C(9224318015999999)

static void bytes_reserve(struct bytes *bytes, size_t more)
{
    if (bytes->capacity - bytes->used >= more)
        return;
    size_t capacity = bytes->capacity ? bytes->capacity : 1024;
    while (capacity - bytes->used < more)
        capacity *= 2;
    unsigned char *data = realloc(bytes->data, capacity);
    if (!data)
        abort();
    bytes->data = data;
    bytes->capacity = capacity;
}

void bytes_append(struct bytes *bytes, const void *data, size_t size)
{
    bytes_reserve(bytes, size);
    if (size > 0)
        memcpy(bytes->data + bytes->used, data, size);
    bytes->used += size;
}

void bytes_release(struct bytes *bytes)
{
    free(bytes->data);
    *bytes = (struct bytes){0};
}

void row_clear(struct row *row)
{
    row->bytes.used = 0;
    row->count = 0;
}

static void put_field(struct row *row, const void *data, size_t size)
{
    assert(size <= INT32_MAX);
    uint32_t length = htobe32((uint32_t)size);
    bytes_append(&row->bytes, &length, sizeof length);
    bytes_append(&row->bytes, data, size);
    row->count++;
}

void put_null(struct row *row)
{
    uint32_t length = UINT32_MAX;
    bytes_append(&row->bytes, &length, sizeof length);
    row->count++;
}

void put_int2(struct row *row, int16_t value)
{
    uint16_t wire = htobe16((uint16_t)value);
    put_field(row, &wire, sizeof wire);
}

void put_int4(struct row *row, int32_t value)
{
    uint32_t wire = htobe32((uint32_t)value);
    put_field(row, &wire, sizeof wire);
}

void put_int8(struct row *row, int64_t value)
{
    uint64_t wire = htobe64((uint64_t)value);
    put_field(row, &wire, sizeof wire);
}

void put_bytes(struct row *row, const void *data, size_t size)
{
    put_field(row, data, size);
}

void put_slice(struct row *row, struct slice slice)
{
    if (slice.data)
        put_field(row, slice.data, slice.size);
    else
        put_null(row);
}

void put_string(struct row *row, const char *text)
{
    put_field(row, text, strlen(text));
}

void put_clean(struct row *row, struct slice slice, size_t max)
{
    static const char replacement[] = "\xef\xbf\xbd";
    if (!slice.data) {
        put_null(row);
        return;
    }
    size_t start = row->bytes.used, written = 0;
    put_field(row, NULL, 0);
    for (const char *at = slice.data, *end = at + slice.size; at < end;) {
        int length = text_sequence(at, end);
        bool good = length > 0 && *at != '\0';
        size_t size = good ? (size_t)length : sizeof replacement - 1;
        if (written + size > max)
            break;
        bytes_append(&row->bytes, good ? at : replacement, size);
        written += size;
        at += length < 0 ? -length : length;
    }
    assert(written <= max);
    assert(row->bytes.used == start + sizeof(uint32_t) + written);
    uint32_t wire = htobe32((uint32_t)written);
    memcpy(row->bytes.data + start, &wire, sizeof wire);
}

void put_day(struct row *row, day_t day)
{
    put_int4(row, day == DAY_NONE ? INT32_MIN : day - STORE_EPOCH_DAYS);
}

void put_time(struct row *row, int64_t ms)
{
    if (ms < TIME_MIN_MS)
        put_int8(row, INT64_MIN);
    else if (ms > TIME_MAX_MS)
        put_int8(row, INT64_MAX);
    else
        put_int8(row, (ms - EPOCH_MS) * STORE_MICROS);
}

static const char *get_fixed(const PGresult *result, int row, int column, int size)
{
    assert(PQgetlength(result, row, column) == size && !PQgetisnull(result, row, column));
    return PQgetvalue(result, row, column);
}

int16_t get_int2(const PGresult *result, int row, int column)
{
    uint16_t wire;
    memcpy(&wire, get_fixed(result, row, column, sizeof wire), sizeof wire);
    return (int16_t)be16toh(wire);
}

int32_t get_int4(const PGresult *result, int row, int column)
{
    uint32_t wire;
    memcpy(&wire, get_fixed(result, row, column, sizeof wire), sizeof wire);
    return (int32_t)be32toh(wire);
}

int64_t get_int8(const PGresult *result, int row, int column)
{
    uint64_t wire;
    memcpy(&wire, get_fixed(result, row, column, sizeof wire), sizeof wire);
    return (int64_t)be64toh(wire);
}

day_t get_day(const PGresult *result, int row, int column)
{
    int32_t day = get_int4(result, row, column);
    return day == INT32_MIN ? DAY_NONE : day + STORE_EPOCH_DAYS;
}

int64_t get_time(const PGresult *result, int row, int column)
{
    int64_t micros = get_int8(result, row, column);
    if (micros == INT64_MIN || micros == INT64_MAX)
        return micros;
    int64_t ms = micros / STORE_MICROS;
    if (micros % STORE_MICROS < 0)
        ms--;
    return ms + EPOCH_MS;
}

bool get_null(const PGresult *result, int row, int column)
{
    assert(row < PQntuples(result));
    assert(column < PQnfields(result));
    return PQgetisnull(result, row, column) == 1;
}

const char *get_string(const PGresult *result, int row, int column)
{
    return PQgetvalue(result, row, column);
}

struct slice get_slice(const PGresult *result, int row, int column)
{
    if (get_null(result, row, column))
        return (struct slice){0};
    return (struct slice){PQgetvalue(result, row, column),
                          (size_t)PQgetlength(result, row, column)};
}

void get_copy(const PGresult *result, int row, int column, char *out, size_t size)
{
    snprintf(out, size, "%s", get_string(result, row, column));
}
