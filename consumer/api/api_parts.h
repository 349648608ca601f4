// What several databases answer, as one. Not for users of the API.
#pragma once

#include <libpq-fe.h>

// Rows of the same query, each result in the order of so many columns behind the first: numbers,
// days, and texts by their bytes. Both are taken over.
PGresult *api_merge_rows(PGresult *a, PGresult *b, int order);
