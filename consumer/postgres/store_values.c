// Values in PostgreSQL's binary format, both ways.
#include "consumer/postgres/store_values.h"

#include "consumer/base/text.h"

#include <assert.h>
#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

// ---- on their way in ----

static struct sql_value fixed_value(enum sql_type type, const void *wire, size_t size)
{
    struct sql_value value = {.type = type, .size = (int32_t)size};
    assert(size <= sizeof value.fixed);
    memcpy(value.fixed, wire, size);
    return value;
}

static struct sql_value long_value(enum sql_type type, const void *data, size_t size)
{
    assert(size <= INT32_MAX);
    if (!data)
        return (struct sql_value){.type = type, .size = SQL_NULL};
    return (struct sql_value){.type = type, .size = (int32_t)size, .data = data};
}

struct sql_value sql_bool(bool value)
{
    const unsigned char wire = value;
    return fixed_value(SQL_BOOL, &wire, sizeof wire);
}

struct sql_value sql_int2(int16_t value)
{
    uint16_t wire = htobe16((uint16_t)value);
    return fixed_value(SQL_INT2, &wire, sizeof wire);
}

struct sql_value sql_int4(int32_t value)
{
    uint32_t wire = htobe32((uint32_t)value);
    return fixed_value(SQL_INT4, &wire, sizeof wire);
}

struct sql_value sql_int8(int64_t value)
{
    uint64_t wire = htobe64((uint64_t)value);
    return fixed_value(SQL_INT8, &wire, sizeof wire);
}

struct sql_value sql_day(day_t day)
{
    struct sql_value value = sql_int4(day == DAY_NONE ? INT32_MIN : day - STORE_EPOCH_DAYS);
    value.type = SQL_DATE;
    return value;
}

struct sql_value sql_time(int64_t ms)
{
    int64_t micros = INT64_MAX;
    if (ms < STORE_TIME_MIN_MS)
        micros = INT64_MIN;
    else if (ms <= STORE_TIME_MAX_MS)
        micros = (ms - STORE_EPOCH_MS) * STORE_MICROS;
    struct sql_value value = sql_int8(micros);
    value.type = SQL_TIMESTAMPTZ;
    return value;
}

struct sql_value sql_bytea(const void *data, size_t size)
{
    return long_value(SQL_BYTEA, data, size);
}

struct sql_value sql_text(const char *text)
{
    return long_value(SQL_TEXT, text, text ? strlen(text) : 0);
}

struct sql_value sql_slice(struct slice text)
{
    return long_value(SQL_TEXT, text.data, text.size);
}

struct sql_value sql_clean(const char *text, char *out, size_t size)
{
    static const char replacement[] = "\xef\xbf\xbd";
    size_t used = 0;
    for (const char *at = text, *end = at + strlen(text); at < end;) {
        int length = text_sequence(at, end);
        size_t wanted = length > 0 ? (size_t)length : sizeof replacement - 1;
        if (used + wanted > size)
            break;
        memcpy(out + used, length > 0 ? at : replacement, wanted);
        used += wanted;
        at += length < 0 ? -length : length;
    }
    assert(used <= size);
    return long_value(SQL_TEXT, out, used);
}

struct sql_value sql_given(bool given, struct sql_value value)
{
    return given ? value : (struct sql_value){.type = value.type, .size = SQL_NULL};
}

struct slice sql_wire(const struct sql_value *value)
{
    if (value->size == SQL_NULL)
        return (struct slice){0};
    bool is_long = value->type == SQL_BYTEA || value->type == SQL_TEXT;
    const void *data = is_long ? value->data : value->fixed;
    assert(data && value->size >= 0);
    return (struct slice){data, (size_t)value->size};
}

void sql_row_set(struct sql_row *row, struct sql_params values)
{
    assert(values.count <= SQL_PARAMS_MAX);
    memcpy(row->values, values.list, (size_t)values.count * sizeof *values.list);
    row->count = values.count;
}

struct sql_params sql_row_params(const struct sql_row *row)
{
    return (struct sql_params){row->values, row->count};
}

static unsigned char *write_field(unsigned char *at, struct slice wire)
{
    assert(wire.size <= INT32_MAX);
    uint32_t length = wire.data ? htobe32((uint32_t)wire.size) : UINT32_MAX;
    memcpy(at, &length, sizeof length);
    at += sizeof length;
    if (!wire.data)
        return at;
    memcpy(at, wire.data, wire.size);
    return at + wire.size;
}

void bytes_field(struct bytes *bytes, struct slice wire)
{
    bytes_reserve(bytes, sizeof(uint32_t) + wire.size);
    bytes->used = (size_t)(write_field(bytes->data + bytes->used, wire) - bytes->data);
}

void bytes_values(struct bytes *bytes, struct sql_params values)
{
    size_t size = 0;
    for (int i = 0; i < values.count; i++)
        size += sizeof(uint32_t) + sql_wire(&values.list[i]).size;
    bytes_reserve(bytes, size);
    unsigned char *at = bytes->data + bytes->used;
    for (int i = 0; i < values.count; i++)
        at = write_field(at, sql_wire(&values.list[i]));
    bytes->used += size;
    assert(at == bytes->data + bytes->used);
}

// ---- as they come out ----

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
    return ms + STORE_EPOCH_MS;
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

static int32_t array_number(const char *wire)
{
    uint32_t number;
    memcpy(&number, wire, sizeof number);
    return (int32_t)be32toh(number);
}

const int64_t *get_int8_array(const PGresult *result, int row, int column, struct arena *arena,
                              size_t *count)
{
    // dimensions, whether there are nulls, the elements' type; of the dimension its size and lower
    // bound; then each element behind its length
    enum { HEAD = 3 * 4, DIMENSION = 2 * 4, ELEMENT = 4 + 8 };
    struct slice wire = get_slice(result, row, column);
    assert(wire.size >= HEAD);
    *count = array_number(wire.data) == 0 ? 0 : (size_t)array_number(wire.data + HEAD);
    assert(array_number(wire.data) <= 1);
    assert(*count == 0 || wire.size == HEAD + DIMENSION + *count * ELEMENT);
    int64_t *out = arena_alloc(arena, *count * sizeof *out);
    for (size_t i = 0; i < *count; i++) {
        uint64_t element;
        memcpy(&element, wire.data + HEAD + DIMENSION + i * ELEMENT + 4, sizeof element);
        out[i] = (int64_t)be64toh(element);
    }
    return out;
}
