// Values on their way into PostgreSQL and out of it, in its binary format. Not for users of the
// store.
#pragma once

#include "consumer/base/slice.h"
#include "pricing/calendar.h"

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// PostgreSQL counts its dates and times from 2000-01-01, and times in microseconds.
enum { STORE_EPOCH_DAYS = 10957, STORE_MICROS = 1000 };

// A growing buffer; growth aborts when memory is short, as an arena does.
struct bytes {
    unsigned char *data;
    size_t used, capacity;
};
void bytes_append(struct bytes *bytes, const void *data, size_t size);
void bytes_release(struct bytes *bytes);

// Fields in PostgreSQL's binary format, each behind its length: a row of a COPY, or the parameters
// of a statement.
struct row {
    struct bytes bytes;
    int count;
};
void row_clear(struct row *row);
void put_null(struct row *row);
void put_int2(struct row *row, int16_t value);
void put_int4(struct row *row, int32_t value);
void put_int8(struct row *row, int64_t value);
// bytea; text that is known to be UTF-8 without U+0000
void put_bytes(struct row *row, const void *data, size_t size);
void put_slice(struct row *row, struct slice slice); // the same; null when its data is NULL
void put_string(struct row *row, const char *text);
// Text from an unknown source: what is not UTF-8, and U+0000, becomes U+FFFD. The text is cut to
// whole characters of at most `max` bytes.
void put_clean(struct row *row, struct slice slice, size_t max);
void put_day(struct row *row, day_t day); // date; DAY_NONE is -infinity
void put_time(struct row *row, int64_t ms); // timestamptz; beyond what PostgreSQL holds: infinity

int16_t get_int2(const PGresult *result, int row, int column);
int32_t get_int4(const PGresult *result, int row, int column);
int64_t get_int8(const PGresult *result, int row, int column);
day_t get_day(const PGresult *result, int row, int column);
int64_t get_time(const PGresult *result, int row, int column);
bool get_null(const PGresult *result, int row, int column);
const char *get_string(const PGresult *result, int row, int column); // terminated; "" for null
struct slice get_slice(const PGresult *result, int row, int column); // data NULL for null
// Copies the text into a buffer, cut to fit.
void get_copy(const PGresult *result, int row, int column, char *out, size_t size);
