#include "consumer/findings/audit_causes.h"

#include "consumer/base/memory.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DAYS_SIZE = 2 * DAY_TEXT_SIZE + 16, WHO_SIZE = 320 };

static bool is_same(const struct audit_cause *a, const struct audit_cause *b)
{
    return a->kind == b->kind && a->partition == b->partition && strcmp(a->by, b->by) == 0 &&
           strcmp(a->now, b->now) == 0;
}

void causes_note(struct audit_causes *causes, const struct audit_cause *cause)
{
    size_t i = 0;
    while (i < causes->count && !is_same(&causes->list[i], cause))
        i++;
    if (i == causes->count) {
        causes->list =
            memory_reserve(causes->list, causes->count, &causes->capacity, sizeof *causes->list);
        causes->list[causes->count++] = *cause;
        return;
    }
    struct audit_cause *known = &causes->list[i];
    known->count += cause->count;
    if (cause->first < known->first)
        known->first = cause->first;
    if (cause->last > known->last)
        known->last = cause->last;
}

void causes_release(struct audit_causes *causes)
{
    free(causes->list);
    *causes = (struct audit_causes){0};
}

// ---- words ----

static const char *days_text(const struct audit_cause *cause, char out[DAYS_SIZE])
{
    char first[DAY_TEXT_SIZE], last[DAY_TEXT_SIZE];
    snprintf(out, DAYS_SIZE, cause->first == cause->last ? "%s" : "%s to %s",
             calendar_format_day(cause->first, first), calendar_format_day(cause->last, last));
    return out;
}

static const struct recorded_book *find_book(const struct recorded_books *books, const char *sha256)
{
    for (size_t i = 0; books && i < books->count; i++)
        if (strcmp(books->list[i].sha256, sha256) == 0)
            return &books->list[i];
    return NULL;
}

static const char *who_text(const struct recorded_books *books, const char *sha256,
                            char out[WHO_SIZE])
{
    char at[INSTANT_TEXT_SIZE];
    const struct recorded_book *book = find_book(books, sha256);
    if (!book)
        snprintf(out, WHO_SIZE, "not recorded any more");
    else
        snprintf(out, WHO_SIZE, "%s, recorded %s by %s", book->name,
                 calendar_format_instant(book->recorded_at, 0, at), book->recorded_by);
    return out;
}

static void book_cause(const struct audit_cause *cause, const struct recorded_books *books,
                       char out[CAUSE_TEXT_SIZE])
{
    char days[DAYS_SIZE], then[WHO_SIZE], now[WHO_SIZE];
    snprintf(
        out, CAUSE_TEXT_SIZE,
        "%s settled by price book %s (%s), but for that time %s is recorded now (%s). So what "
        "is recorded of settlements has the prices of then, and what is computed again has "
        "those of now: settled.price_books was changed (or settled.day_closes), not the inputs. "
        "Put the book of then back, and audit again",
        days_text(cause, days), cause->by, who_text(books, cause->by, then), cause->now,
        who_text(books, cause->now, now));
}

// What the topic is set to says how records can go.
static void gone_cause(const struct audit_causes *causes, const struct audit_cause *cause,
                       char out[CAUSE_TEXT_SIZE])
{
    char days[DAYS_SIZE], policy[320] = "";
    for (size_t i = 0; i < causes->count; i++) {
        const struct audit_cause *other = &causes->list[i];
        if (other->kind == AUDIT_COMPACTED && strcmp(other->by, cause->by) == 0)
            snprintf(policy, sizeof policy, " (its cleanup.policy is %s)", other->now);
    }
    snprintf(out, CAUSE_TEXT_SIZE,
             "%s/%" PRId32 ": %" PRId64
             " records that were judged on %s are not in the topic any more%s: it was compacted, "
             "made again, or lost data. What is recorded was right when they were there; bring "
             "them back from a mirror that keeps offsets, and audit again",
             cause->by, cause->partition, cause->count, days_text(cause, days), policy);
}

const char *cause_text(const struct audit_causes *causes, size_t i,
                       const struct recorded_books *books, char out[CAUSE_TEXT_SIZE])
{
    assert(i < causes->count);
    char days[DAYS_SIZE];
    const struct audit_cause *cause = &causes->list[i];
    switch (cause->kind) {
    case AUDIT_OTHER_BOOK:
        book_cause(cause, books, out);
        break;
    case AUDIT_OTHER_PARAMETERS:
        snprintf(out, CAUSE_TEXT_SIZE,
                 "%s closed by parameters whose SHA-256 is %s, but for that time parameters of %s "
                 "are recorded now: a row of settled.parameters or settled.deployment was changed "
                 "(or of settled.day_closes), not the inputs. Put its values back, and audit again",
                 days_text(cause, days), cause->by, cause->now);
        break;
    case AUDIT_RECORDS_GONE:
        gone_cause(causes, cause, out);
        break;
    case AUDIT_RECORDS_MORE:
        snprintf(out, CAUSE_TEXT_SIZE,
                 "%s/%" PRId32 ": %" PRId64
                 " records are in the topic that were not there when %s was judged: see the "
                 "runbook: Records that come and go",
                 cause->by, cause->partition, cause->count, days_text(cause, days));
        break;
    case AUDIT_COMPACTED:
        snprintf(out, CAUSE_TEXT_SIZE,
                 "%s has cleanup.policy %s: compaction takes away records whose key came again, so "
                 "the topic no longer tells what was judged or published. Run settled topics "
                 "apply, and bring its records back from a mirror that keeps offsets",
                 cause->by, cause->now);
        break;
    case AUDIT_POLICY_UNKNOWN:
        snprintf(
            out, CAUSE_TEXT_SIZE,
            "whether a topic is compacted could not be looked at: %s; compaction takes records "
            "away",
            cause->now);
        break;
    }
    return out;
}
