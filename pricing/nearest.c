#include "pricing/nearest.h"

#include <string.h>

enum { NAME_MAX_COMPARED = 64, FAR = NAME_MAX_COMPARED };

static size_t min_of(size_t a, size_t b)
{
    return a < b ? a : b;
}

// Optimal string alignment over three rows.
static size_t distance(const char *a, size_t n, const char *b, size_t m)
{
    size_t rows[3][NAME_MAX_COMPARED + 1];
    size_t *before = rows[0], *above = rows[1], *row = rows[2];
    for (size_t j = 0; j <= m; j++)
        above[j] = j;
    for (size_t i = 1; i <= n; i++) {
        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t replace = above[j - 1] + (a[i - 1] != b[j - 1]);
            row[j] = min_of(replace, 1 + min_of(above[j], row[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = min_of(row[j], 1 + before[j - 2]);
        }
        size_t *freed = before;
        before = above;
        above = row;
        row = freed;
    }
    return above[m];
}

const char *nearest(const char *word, const char *const *names, size_t count)
{
    const char *best = NULL;
    size_t best_distance = FAR, n = strlen(word);
    if (n == 0 || n > NAME_MAX_COMPARED)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        size_t m = strlen(names[i]);
        if (m > NAME_MAX_COMPARED)
            continue;
        size_t limit = min_of(3, (n > m ? n : m) / 3), d = distance(word, n, names[i], m);
        if (d <= limit && d < best_distance) {
            best = names[i];
            best_distance = d;
        }
    }
    return best;
}
