#include "consumer/relay/published_rows.h"

#include <assert.h>
#include <string.h>

static uint64_t *word_of(struct published_rows *rows, int64_t sequence)
{
    return &rows->bits[(uint64_t)sequence % PUBLISHED_WINDOW / 64];
}

static uint64_t bit_of(int64_t sequence)
{
    return UINT64_C(1) << ((uint64_t)sequence % 64);
}

void published_rows_start(struct published_rows *rows, int64_t from)
{
    assert(from >= 0);
    memset(rows, 0, sizeof *rows);
    rows->from = rows->whole = from;
}

bool published_rows_has(const struct published_rows *rows, int64_t sequence)
{
    if (sequence <= rows->whole || sequence > rows->whole + PUBLISHED_WINDOW)
        return sequence <= rows->whole;
    return rows->bits[(uint64_t)sequence % PUBLISHED_WINDOW / 64] & bit_of(sequence);
}

static void check_invariants(const struct published_rows *rows)
{
    assert(rows->from >= 0);
    assert(rows->whole >= rows->from);
    assert(!published_rows_has(rows, rows->whole + 1)); // or it would be whole
    for (int topic = 0; topic < PUBLISHED_TOPICS; topic++)
        assert(rows->highest >= rows->last[topic]);
}

// Bits at or below `whole` are cleared, so that their places serve the rows above.
static void advance(struct published_rows *rows)
{
    while (*word_of(rows, rows->whole + 1) & bit_of(rows->whole + 1)) {
        rows->whole++;
        *word_of(rows, rows->whole) &= ~bit_of(rows->whole);
    }
}

enum published_sight published_rows_see(struct published_rows *rows, int topic, int64_t sequence)
{
    assert(topic >= 0);
    assert(topic < PUBLISHED_TOPICS);
    assert(sequence > 0);
    if (sequence > rows->whole + PUBLISHED_WINDOW)
        return PUBLISHED_AHEAD;
    bool repeated = sequence > rows->from && published_rows_has(rows, sequence);
    bool late = sequence < rows->last[topic];
    if (sequence > rows->highest)
        rows->highest = sequence;
    if (sequence > rows->last[topic])
        rows->last[topic] = sequence;
    if (sequence <= rows->from)
        return PUBLISHED_KNOWN;
    if (repeated)
        return PUBLISHED_REPEATED;
    *word_of(rows, sequence) |= bit_of(sequence);
    advance(rows);
    assert(published_rows_has(rows, sequence));
    check_invariants(rows);
    return late ? PUBLISHED_LATE : PUBLISHED_NEW;
}

void published_rows_take_as_read(struct published_rows *rows, int64_t n)
{
    if (n <= rows->whole)
        return;
    if (n - rows->whole >= PUBLISHED_WINDOW)
        memset(rows->bits, 0, sizeof rows->bits);
    while (rows->whole < n && n - rows->whole < PUBLISHED_WINDOW) {
        rows->whole++;
        *word_of(rows, rows->whole) &= ~bit_of(rows->whole);
    }
    rows->whole = n;
    advance(rows);
    check_invariants(rows);
}
