#include "consumer/findings/audit_publication.h"

#include "consumer/base/format.h"
#include "consumer/base/memory.h"
#include "consumer/base/text.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_SIZE = 256 };

static const struct {
    const char *symbol, *column, *title, *meaning;
} kinds[PUBLICATION_KINDS] = {
    {"lost", "lost", "LOST:",
     "recorded in PostgreSQL or given by the inputs, and not in the topic, though its turn to be "
     "published is over: "
     "subscribers never got it"},
    {"repeated", "repeated", "REPEATED:",
     "the row stands in its topic more than once: a subscriber that does not "
     "identify records by ce_id counts it again"},
    {"out_of_order", "out of order", "OUT OF ORDER:",
     "the row stands on the wrong side of another row of its topic: a subscriber that keeps "
     "the last record of an account may keep an old one"},
    {"foreign", "foreign", "FOREIGN:",
     "settled did not write this record there: another program writes to the topic, or the topic "
     "or the database was "
     "changed"},
};

const char *publication_symbol(enum publication_kind kind)
{
    assert(kind < PUBLICATION_KINDS);
    return kinds[kind].symbol;
}

// ---- words ----

const char *publication_where(const struct publication_anomaly *anomaly,
                              char out[PUBLICATION_TEXT_SIZE])
{
    int size =
        snprintf(out, PUBLICATION_TEXT_SIZE, "%s/%" PRId32, anomaly->topic, anomaly->partition);
    assert(size < PUBLICATION_TEXT_SIZE);
    if (anomaly->offset >= 0)
        snprintf(out + size, PUBLICATION_TEXT_SIZE - (size_t)size, "@%" PRId64, anomaly->offset);
    return out;
}

static void name_number(const struct publication_anomaly *anomaly, char *out, size_t size)
{
    if (anomaly->shard < 0)
        snprintf(out, size, "a record");
    else if (anomaly->sequence == 0)
        snprintf(out, size, "a row of shard %" PRId32, anomaly->shard);
    else
        snprintf(out, size, "row %" PRId64 " of shard %" PRId32, anomaly->sequence, anomaly->shard);
}

// "row 17 of shard 0, account ACCOUNT, day DAY, id CE_ID"; returns out.
static const char *publication_row(const struct publication_anomaly *anomaly,
                                   char out[PUBLICATION_TEXT_SIZE])
{
    char number[64], account[NAME_SIZE], id[NAME_SIZE], day[DAY_TEXT_SIZE];
    bool has_account = anomaly->account_id.data, has_id = anomaly->ce_id.data,
         has_day = anomaly->day != DAY_NONE;
    name_number(anomaly, number, sizeof number);
    // Accounts and ids that settled wrote have at most 128 bytes, so only those of foreign records
    // are cut.
    snprintf(out, PUBLICATION_TEXT_SIZE, "%s, %s%s, %s%s%s%s", number,
             has_account ? "account " : "of no account",
             has_account ? text_show(anomaly->account_id, account, sizeof account) : "",
             has_id ? "id " : "without an id",
             has_id ? text_show(anomaly->ce_id, id, sizeof id) : "", has_day ? ", day " : "",
             has_day ? calendar_format_day(anomaly->day, day) : "");
    return out;
}

// ---- counting ----

static void example_release(struct publication_example *example)
{
    free(example->where);
    free(example->row);
    free(example->detail);
}

void publications_release(struct publications *p)
{
    for (int kind = 0; kind < PUBLICATION_KINDS; kind++)
        for (int i = 0; i < PUBLICATION_EXAMPLES; i++)
            example_release(&p->examples[kind][i]);
    free(p->list);
    *p = (struct publications){0};
}

size_t publications_add(struct publications *p, const char *topic, int32_t shard)
{
    p->list = memory_reserve(p->list, p->count, &p->capacity, sizeof *p->list);
    p->list[p->count] = (struct publication){.topic = topic, .shard = shard};
    return p->count++;
}

void publications_read(struct publications *p, size_t number, bool part, int64_t from, int64_t to)
{
    assert(number < p->count);
    p->list[number].complete = true;
    p->list[number].part = part;
    p->list[number].from = from;
    p->list[number].to = to;
}

static char *keep_words(const char *text)
{
    char *copy = strdup(text);
    if (!copy)
        abort();
    return copy;
}

void publications_count(struct publications *p, size_t number,
                        const struct publication_anomaly *anomaly)
{
    assert(number < p->count && anomaly->kind < PUBLICATION_KINDS);
    char text[PUBLICATION_TEXT_SIZE];
    p->list[number].found[anomaly->kind]++;
    int64_t before = p->found[anomaly->kind]++;
    if (before >= PUBLICATION_EXAMPLES)
        return;
    struct publication_example *example = &p->examples[anomaly->kind][before];
    assert(example->where == NULL);
    example->where = keep_words(publication_where(anomaly, text));
    example->row = keep_words(publication_row(anomaly, text));
    example->detail = keep_words(anomaly->detail);
}

// ---- printing ----

static const char *publication_result(const struct publication *topic, int64_t wrong)
{
    if (!topic->complete)
        return "not read to the end";
    return wrong > 0 ? "not as it must be" : "each row once, in order";
}

static void print_publication(const struct publication *topic)
{
    char number[NUMBER_SIZE];
    int64_t wrong = 0;
    printf("%s/%" PRId32 ": %s published, ", topic->topic, topic->shard,
           format_count(topic->published, number));
    printf("%s pending", format_count(topic->pending, number));
    for (int kind = 0; kind < PUBLICATION_KINDS; kind++) {
        printf(", %s %s", format_count(topic->found[kind], number), kinds[kind].column);
        wrong += topic->found[kind];
    }
    printf("; %s", publication_result(topic, wrong));
    if (topic->part)
        printf(" (read from offset %" PRId64 " to %" PRId64 ")", topic->from, topic->to - 1);
    putchar('\n');
}

void publication_print(const struct publication_anomaly *anomaly)
{
    char where[PUBLICATION_TEXT_SIZE], row[PUBLICATION_TEXT_SIZE];
    printf("%s %s: %s: %s\n", kinds[anomaly->kind].title, publication_where(anomaly, where),
           publication_row(anomaly, row), anomaly->detail);
}

static void print_kind(const struct publications *p, enum publication_kind kind, bool examples)
{
    char number[NUMBER_SIZE];
    int64_t found = p->found[kind],
            shown = found < PUBLICATION_EXAMPLES ? found : PUBLICATION_EXAMPLES;
    printf("\n%s %s, %s\n", kinds[kind].title, format_count(found, number), kinds[kind].meaning);
    for (int64_t i = 0; examples && i < shown; i++) {
        const struct publication_example *example = &p->examples[kind][i];
        printf("  %s: %s: %s\n", example->where, example->row, example->detail);
    }
    if (examples && shown < found)
        printf("  and %s more; --all names each\n", format_count(found - shown, number));
}

// The counts of the topics add up to the total of each kind.
static void check_sums(const struct publications *p)
{
    for (int kind = 0; kind < PUBLICATION_KINDS; kind++) {
        int64_t sum = 0;
        for (size_t i = 0; i < p->count; i++)
            sum += p->list[i].found[kind];
        assert(sum == p->found[kind]);
    }
}

void publications_print(const struct publications *p, bool examples)
{
    check_sums(p);
    for (size_t i = 0; i < p->count; i++)
        print_publication(&p->list[i]);
    for (int kind = 0; kind < PUBLICATION_KINDS; kind++)
        if (p->found[kind] > 0)
            print_kind(p, (enum publication_kind)kind, examples);
    if (p->count > 0)
        putchar('\n');
}
