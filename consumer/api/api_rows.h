// Rows of PostgreSQL, in its binary format, as JSON and as CSV. The names of the columns are those
// of the fields, and their types say how a value is written:
//
//     smallint, integer, bigint   a whole number        date          "2026-11-01"
//     boolean                     true or false         timestamptz   RFC 3339, in the zone given
//     text                        a string              json          what it holds, nested
//
// A null, a date of -infinity and an infinite time are null in JSON and empty in CSV.
#pragma once

#include <jansson.h>
#include <libpq-fe.h>
#include <stdint.h>

// Of a column of whole numbers.
int64_t api_row_number(const PGresult *rows, int row, int column);
// Columns before `from` are left out in all of these. NULL: memory is short.
json_t *api_row_json(const PGresult *rows, int row, int from, int32_t offset_ms);
// The first `count` rows as an array.
json_t *api_rows_json(const PGresult *rows, int count, int from, int32_t offset_ms);
// The same as RFC 4180 has it, with a line of names; malloc'ed, terminated. Texts are written as
// they are, even where a spreadsheet would take one for a formula: ids must stay what they are.
char *api_rows_csv(const PGresult *rows, int count, int from, int32_t offset_ms, size_t *size);
