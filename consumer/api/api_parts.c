#include "consumer/api/api_parts.h"

#include "consumer/api/api_rows.h"
#include "consumer/postgres/store_values.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static int compare_texts(struct slice a, struct slice b)
{
    int order = memcmp(a.data, b.data, a.size < b.size ? a.size : b.size);
    return order ? order : (a.size > b.size) - (a.size < b.size);
}

static int64_t get_order(const PGresult *rows, int row, int column)
{
    return PQftype(rows, column) == SQL_DATE ? get_day(rows, row, column)
                                             : api_row_number(rows, row, column);
}

static int compare_rows(const PGresult *a, int i, const PGresult *b, int k, int order)
{
    int result = 0;
    for (int c = 1; c <= order && result == 0; c++) {
        if (PQftype(a, c) == SQL_TEXT) {
            result = compare_texts(get_slice(a, i, c), get_slice(b, k, c));
        } else {
            int64_t left = get_order(a, i, c), right = get_order(b, k, c);
            result = (left > right) - (left < right);
        }
    }
    return result;
}

static void append_row(PGresult *out, const PGresult *rows, int row)
{
    int at = PQntuples(out);
    for (int c = 0; c < PQnfields(rows); c++) {
        bool null = PQgetisnull(rows, row, c);
        if (!PQsetvalue(out, at, c, null ? NULL : PQgetvalue(rows, row, c),
                        null ? -1 : PQgetlength(rows, row, c)))
            abort(); // out of memory
    }
}

PGresult *api_merge_rows(PGresult *a, PGresult *b, int order)
{
    PGresult *out = PQcopyResult(a, PG_COPYRES_ATTRS);
    int i = 0, k = 0, of_a = PQntuples(a), of_b = PQntuples(b);
    assert(order > 0 && order < PQnfields(a));
    if (!out)
        abort(); // out of memory
    while (i < of_a || k < of_b) {
        bool first = k == of_b || (i < of_a && compare_rows(a, i, b, k, order) <= 0);
        append_row(out, first ? a : b, first ? i++ : k++);
    }
    PQclear(a);
    PQclear(b);
    return out;
}
