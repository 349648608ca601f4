#include "consumer/api/api_rows.h"

#include "consumer/postgres/store_values.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { VALUE_JSON = 114 }; // PostgreSQL's number of the type

int64_t api_row_number(const PGresult *rows, int row, int column)
{
    switch (PQftype(rows, column)) {
    case SQL_INT2:
        return get_int2(rows, row, column);
    case SQL_INT4:
        return get_int4(rows, row, column);
    default:
        assert(PQftype(rows, column) == SQL_INT8);
        return get_int8(rows, row, column);
    }
}

// NULL: it is -infinity; there is no column in which a date is infinity.
static const char *day_text(const PGresult *rows, int row, int column, char out[DAY_TEXT_SIZE])
{
    day_t day = get_day(rows, row, column);
    return day == DAY_NONE ? NULL : calendar_format_day(day, out);
}

static const char *time_text(const PGresult *rows, int row, int column, int32_t offset_ms,
                             char out[INSTANT_TEXT_SIZE])
{
    int64_t time = get_time(rows, row, column);
    return time == INT64_MIN || time == INT64_MAX ? NULL
                                                  : calendar_format_instant(time, offset_ms, out);
}

// ---- JSON ----

static json_t *string_or_null(const char *text)
{
    return text ? json_string(text) : json_null();
}

static json_t *value_json(const PGresult *rows, int row, int column, int32_t offset_ms)
{
    char text[INSTANT_TEXT_SIZE];
    if (get_null(rows, row, column))
        return json_null();
    struct slice bytes = get_slice(rows, row, column);
    switch (PQftype(rows, column)) {
    case SQL_TEXT:
        return json_stringn(bytes.data, bytes.size);
    case SQL_BOOL:
        return json_boolean(bytes.data[0]);
    case SQL_DATE:
        return string_or_null(day_text(rows, row, column, text));
    case SQL_TIMESTAMPTZ:
        return string_or_null(time_text(rows, row, column, offset_ms, text));
    case VALUE_JSON:
        return json_loadb(bytes.data, bytes.size, JSON_DECODE_ANY, NULL);
    default:
        return json_integer(api_row_number(rows, row, column));
    }
}

json_t *api_row_json(const PGresult *rows, int row, int from, int32_t offset_ms)
{
    json_t *object = json_object();
    for (int c = from; object && c < PQnfields(rows); c++)
        if (json_object_set_new(object, PQfname(rows, c), value_json(rows, row, c, offset_ms))) {
            json_decref(object);
            object = NULL;
        }
    return object;
}

json_t *api_rows_json(const PGresult *rows, int count, int from, int32_t offset_ms)
{
    json_t *array = json_array();
    assert(count <= PQntuples(rows));
    for (int row = 0; array && row < count; row++)
        if (json_array_append_new(array, api_row_json(rows, row, from, offset_ms))) {
            json_decref(array);
            array = NULL;
        }
    return array;
}

// ---- CSV ----

static void put_cell(struct bytes *out, struct slice text)
{
    bool plain = true;
    for (size_t i = 0; i < text.size && plain; i++)
        plain = !memchr(",\"\r\n", text.data[i], 4);
    if (plain && text.size > 0) {
        bytes_append(out, text.data, text.size);
        return;
    }
    bytes_append(out, "\"", 1);
    for (size_t i = 0; i < text.size; i++)
        bytes_append(out, text.data[i] == '"' ? "\"\"" : &text.data[i],
                     text.data[i] == '"' ? 2 : 1);
    bytes_append(out, "\"", 1);
}

static void put_value(struct bytes *out, const PGresult *rows, int row, int column,
                      int32_t offset_ms)
{
    char text[INSTANT_TEXT_SIZE]; // there is room for a number and a date, too
    if (get_null(rows, row, column))
        return;
    const char *value = text;
    switch (PQftype(rows, column)) {
    case SQL_TEXT:
        put_cell(out, get_slice(rows, row, column));
        return;
    case SQL_BOOL:
        value = *PQgetvalue(rows, row, column) ? "true" : "false";
        break;
    case SQL_DATE:
        value = day_text(rows, row, column, text);
        break;
    case SQL_TIMESTAMPTZ:
        value = time_text(rows, row, column, offset_ms, text);
        break;
    default:
        snprintf(text, sizeof text, "%" PRId64, api_row_number(rows, row, column));
    }
    if (value)
        bytes_append(out, value, strlen(value));
}

char *api_rows_csv(const PGresult *rows, int count, int from, int32_t offset_ms, size_t *size)
{
    struct bytes out = {0};
    int columns = PQnfields(rows);
    assert(count <= PQntuples(rows));
    for (int c = from; c < columns; c++) {
        put_cell(&out, slice_text(PQfname(rows, c)));
        bytes_append(&out, c + 1 < columns ? "," : "\r\n", c + 1 < columns ? 1 : 2);
    }
    for (int row = 0; row < count; row++)
        for (int c = from; c < columns; c++) {
            put_value(&out, rows, row, c, offset_ms);
            bytes_append(&out, c + 1 < columns ? "," : "\r\n", c + 1 < columns ? 1 : 2);
        }
    *size = out.used;
    bytes_append(&out, "", 1);
    return (char *)out.data;
}
