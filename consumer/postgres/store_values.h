// Values in PostgreSQL's binary format: typed ones on their way in, the parameters of a statement
// or a row, and those that come out. Not for users of the store.
//
//     sql_run(store, "select … where shard = $1 and sequence > $2",
//             SQL_PARAMS(sql_int4(shard), sql_int8(after)), &rows, e);
//
// The types go with the statement, so a query need not name all that it is given: several may
// share one list.
#pragma once

#include "consumer/base/arena.h"
#include "consumer/base/slice.h"
#include "pricing/calendar.h"

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// PostgreSQL counts its dates and times from 2000-01-01, and times in microseconds.
enum { STORE_EPOCH_DAYS = 10957, STORE_MICROS = 1000 };
#define STORE_EPOCH_MS (STORE_EPOCH_DAYS * DAY_MS)
// What a timestamptz holds, in ms since 1970: 4714-11-24 BC to 294276-12-31.
#define STORE_TIME_MIN_MS INT64_C(-210866803200000)
#define STORE_TIME_MAX_MS INT64_C(9224318015999999)

// A growing buffer; growth aborts when memory is short, as an arena does.
struct bytes {
    unsigned char *data;
    size_t used, capacity;
};
void bytes_append(struct bytes *bytes, const void *data, size_t size);
void bytes_release(struct bytes *bytes);

// ---- on their way in ----

enum { SQL_PARAMS_MAX = 32 };

// What PostgreSQL calls the types; its numbers never change.
enum sql_type {
    SQL_BOOL = 16,
    SQL_BYTEA = 17,
    SQL_INT8 = 20,
    SQL_INT2 = 21,
    SQL_INT4 = 23,
    SQL_TEXT = 25,
    SQL_DATE = 1082,
    SQL_TIMESTAMPTZ = 1184,
};

enum { SQL_NULL = -1 };

// A value. Bytes and texts stay where they are, and must outlive the value's use.
struct sql_value {
    enum sql_type type;
    int32_t size; // SQL_NULL: null
    union {
        const void *data; // SQL_BYTEA, SQL_TEXT
        unsigned char fixed[8]; // the other types, in the order of the wire
    };
};

struct sql_value sql_bool(bool value);
struct sql_value sql_int2(int16_t value);
struct sql_value sql_int4(int32_t value);
struct sql_value sql_int8(int64_t value);
struct sql_value sql_day(day_t day); // DAY_NONE is -infinity
struct sql_value sql_time(int64_t ms); // beyond what PostgreSQL holds: infinity
struct sql_value sql_bytea(const void *data, size_t size);
// Texts are known to be UTF-8 without U+0000.
struct sql_value sql_text(const char *text); // terminated; null when it is NULL
struct sql_value sql_slice(struct slice text); // null when its data is NULL
// A text from an unknown source, terminated, as a copy in `out`: what is not UTF-8 becomes U+FFFD,
// and the copy is cut to whole characters within `size` bytes.
struct sql_value sql_clean(const char *text, char *out, size_t size);
// The value, or a null of its type.
struct sql_value sql_given(bool given, struct sql_value value);

struct slice sql_wire(const struct sql_value *value); // its bytes on the wire; data NULL for null

struct sql_params {
    const struct sql_value *list;
    int count;
};

// The parameters of one call, $1 first. The compiler counts them, and refuses too many by an array
// of a negative size. The list lives as long as the block that it stands in.
#define SQL_PARAMS(...)                                                                            \
    ((struct sql_params){(const struct sql_value[]){__VA_ARGS__},                                  \
                         SQL_COUNT(__VA_ARGS__) * sizeof(char[SQL_FITS(SQL_COUNT(__VA_ARGS__))])})
#define SQL_NO_PARAMS ((struct sql_params){NULL, 0})
#define SQL_COUNT(...) (sizeof((const struct sql_value[]){__VA_ARGS__}) / sizeof(struct sql_value))
#define SQL_FITS(count) ((count) <= SQL_PARAMS_MAX ? 1 : -1)

// A row that an encoder fills. `text` has room for a text that the encoder makes.
enum { SQL_ROW_TEXT_SIZE = 320 };
struct sql_row {
    int count;
    struct sql_value values[SQL_PARAMS_MAX];
    char text[SQL_ROW_TEXT_SIZE];
};
void sql_row_set(struct sql_row *row, struct sql_params values);
struct sql_params sql_row_params(const struct sql_row *row);

// Values as COPY wants them, each behind its length.
void bytes_field(struct bytes *bytes, struct slice wire);
void bytes_values(struct bytes *bytes, struct sql_params values);

// ---- as they come out ----

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
// A bigint[] without nulls, as a copy in the arena.
const int64_t *get_int8_array(const PGresult *result, int row, int column, struct arena *arena,
                              size_t *count);
