#include "consumer/notices/notices.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOTICE_SYMBOL(value, symbol) [value] = (symbol),
static const char *const symbols[] = {NOTICE_ROWS(NOTICE_SYMBOL)};

const char *notice_symbol(enum notice_kind kind)
{
    return symbols[kind];
}

// ---- thresholds ----

bool thresholds_add(struct thresholds *t, int64_t threshold)
{
    int place = 0;
    while (place < t->count && t->at[place] > threshold)
        place++;
    if (t->count == THRESHOLDS_MAX || (place < t->count && t->at[place] == threshold))
        return false;
    memmove(&t->at[place + 1], &t->at[place], (size_t)(t->count - place) * sizeof *t->at);
    t->at[place] = threshold;
    t->count++;
    return true;
}

bool thresholds_same(const struct thresholds *a, const struct thresholds *b)
{
    return a->count == b->count && memcmp(a->at, b->at, (size_t)a->count * sizeof *a->at) == 0;
}

char *thresholds_format(const struct thresholds *t, const char *between,
                        char out[THRESHOLDS_TEXT_SIZE])
{
    size_t used = 0;
    out[0] = '\0';
    for (int i = 0; i < t->count; i++)
        used += (size_t)snprintf(out + used, THRESHOLDS_TEXT_SIZE - used, "%s%" PRId64,
                                 i > 0 ? between : "", t->at[i]);
    assert(used < THRESHOLDS_TEXT_SIZE);
    return out;
}

bool thresholds_parse(const char *text, struct thresholds *out)
{
    *out = (struct thresholds){0};
    while (*text) {
        char *end;
        int64_t number = strtoll(text, &end, 10);
        if (end == text || (*end != '\0' && *end != ',') || !thresholds_add(out, number))
            return false;
        text = end + (*end == ',');
    }
    return true;
}

// ---- decisions ----

bool notice_package_low(const struct notice_limits *limits, int64_t units, int64_t before,
                        int64_t remaining, int64_t *percent)
{
    const struct thresholds *left = &limits->package_left;
    assert(remaining <= before);
    for (int i = left->count; i-- > 0;)
        if (remaining * 100 <= units * left->at[i]) {
            *percent = left->at[i];
            // A lower one was told of before, and so was each higher one.
            return before * 100 > units * left->at[i];
        }
    return false;
}

bool notice_package_expiring(const struct notice_limits *limits, day_t closed, day_t ends,
                             int64_t *days)
{
    *days = (int64_t)ends - closed;
    for (int i = 0; i < limits->expiring_days.count; i++)
        if (limits->expiring_days.at[i] == *days)
            return true;
    return false;
}

bool notice_package_expired(int64_t start, int64_t end, int64_t valid_until)
{
    return start < valid_until && valid_until <= end;
}

bool notice_balance_low(const struct notice_limits *limits, fen_t before, fen_t closing,
                        fen_t *below)
{
    const struct thresholds *amounts = &limits->balance_below;
    for (int i = amounts->count; i-- > 0;)
        if (closing < amounts->at[i]) {
            *below = amounts->at[i];
            return before >= amounts->at[i];
        }
    return false;
}

int64_t notice_days_ahead(const struct notice_limits *limits)
{
    return limits->expiring_days.count > 0 ? limits->expiring_days.at[0] : 0;
}
