#include "consumer/findings/audit_groups.h"

#include "consumer/base/format.h"
#include "consumer/base/memory.h"
#include "consumer/base/text.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ACCOUNT_SIZE = 256, TITLE_SIZE = 320 };

// Tables in the order in which the fold makes one from the others; messages come last.
static const char *const ranks[] = {
    "day_closes",     "day_cutoffs", "holds",    "decisions",        "record",
    "rejects",        "credits",     "packages", "settlements",      "settlement_lines",
    "status_changes", "notices",     "accounts", "month_statements", "month_statement_lines",
    "shard_logs",     "shards",      "outbox"};
enum { RANKS = sizeof ranks / sizeof *ranks };

static int rank_of(const char *where)
{
    int rank = 0;
    while (rank < RANKS && strcmp(where, ranks[rank]) != 0)
        rank++;
    return rank;
}

// ---- words ----

static const struct {
    const char *field, *unit;
} units[] = {
    {"amount", "fen"},
    {"unit_price", "fen"},
    {"balance", "fen"},
    {"opening", "fen"},
    {"opening_balance", "fen"},
    {"closing_balance", "fen"},
    {"credits", "fen"},
    {"adjustments", "fen"},
    {"calls", "calls"},
    {"late", "calls"},
    {"zero_unit_calls", "calls"},
    {"calls_while_suspended", "calls"},
    {"units", "units"},
    {"package_units", "units"},
    {"packages_amount", "fen"},
    {"package_amount", "fen"},
    {"remaining", "units"},
    {"used", "units"},
    {"tier_from", "units"},
    {"accepted", "records"},
    {"duplicates", "records"},
    {"rejected", "records"},
    {"void", "offsets"},
    {"undecided", "records"},
    {"undecided_broken", "records"},
    {"undecided_refused", "records"},
    {"rejects", "records"},
    {"records", "records"},
};

// " fen" behind a number of this field; "" where it has no unit, or is no number. The field of a
// message may be within a list: "lines[2].amount".
static const char *unit_of(const char *field, const char *value)
{
    const char *dot = strrchr(field, '.'), *name = dot ? dot + 1 : field;
    if (!value || value[strspn(value, "-0123456789")] != '\0')
        return "";
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (strcmp(name, units[i].field) == 0)
            return units[i].unit;
    return "";
}

static void value_text(const char *field, const char *value, char out[DIFFERENCE_TEXT_SIZE])
{
    const char *unit = unit_of(field, value);
    snprintf(out, DIFFERENCE_TEXT_SIZE, "%s%s%s", value ? value : "nothing", *unit ? " " : "",
             unit);
}

const char *difference_text(const struct difference *d, char out[DIFFERENCE_TEXT_SIZE])
{
    char day[DAY_TEXT_SIZE] = "-", account_id[ACCOUNT_SIZE] = "-";
    char there[DIFFERENCE_TEXT_SIZE], again[DIFFERENCE_TEXT_SIZE];
    if (d->day != DAY_NONE)
        calendar_format_day(d->day, day);
    if (d->account_id.data)
        text_show(d->account_id, account_id, sizeof account_id);
    int size =
        snprintf(out, DIFFERENCE_TEXT_SIZE, "%-10s  %s  %s %s", day, account_id, d->where, d->key);
    assert(size > 0 && size < DIFFERENCE_TEXT_SIZE);
    char *rest = out + size;
    size_t room = DIFFERENCE_TEXT_SIZE - (size_t)size;
    if (d->field) {
        value_text(d->field, d->recorded, there);
        value_text(d->field, d->folded, again);
        snprintf(rest, room, "  %s: %s %s, %s %s", d->field,
                 d->published ? "published" : "recorded", there,
                 d->by_row ? "its row in PostgreSQL has" : "computed again", again);
    } else if (d->recorded) {
        snprintf(rest, room, ": recorded is %s that is not computed again", d->recorded);
    } else {
        snprintf(rest, room, ": computed again is %s that is not recorded", d->folded);
    }
    return out;
}

// ---- groups ----

static char *keep_text(const char *text)
{
    char *copy = strdup(text);
    if (!copy)
        abort();
    return copy;
}

// Of a message, `where` is TOPIC/PARTITION/OFFSET; the topic has no slash.
static void title_of(const struct difference *d, char out[TITLE_SIZE])
{
    if (d->published)
        snprintf(out, TITLE_SIZE, "messages of %.*s", (int)strcspn(d->where, "/"), d->where);
    else
        snprintf(out, TITLE_SIZE, "%s", d->where);
}

// "lines[].amount" for each "lines[2].amount".
static void field_of(const struct difference *d, char out[TITLE_SIZE])
{
    size_t used = 0;
    const char *from = d->field      ? d->field
                       : d->recorded ? "recorded, but not computed again"
                                     : "computed again, but not recorded";
    for (; *from && used < TITLE_SIZE - 1; from++) {
        out[used++] = *from;
        if (*from == '[')
            from += strspn(from + 1, "0123456789");
    }
    out[used] = '\0';
}

static struct difference_group *group_of(struct difference_groups *groups,
                                         const struct difference *d)
{
    char title[TITLE_SIZE], field[TITLE_SIZE];
    title_of(d, title);
    field_of(d, field);
    for (size_t i = 0; i < groups->count; i++)
        if (strcmp(groups->list[i].where, title) == 0 && strcmp(groups->list[i].field, field) == 0)
            return &groups->list[i];
    groups->list =
        memory_reserve(groups->list, groups->count, &groups->capacity, sizeof *groups->list);
    struct difference_group *added = &groups->list[groups->count++];
    *added = (struct difference_group){.where = keep_text(title),
                                       .field = keep_text(field),
                                       .rank = rank_of(title),
                                       .first = DAY_NONE,
                                       .last = DAY_NONE};
    return added;
}

void groups_add(struct difference_groups *groups, const struct difference *d)
{
    char text[DIFFERENCE_TEXT_SIZE];
    struct difference_group *group = group_of(groups, d);
    if (group->count < GROUP_EXAMPLES)
        group->examples[group->count] = keep_text(difference_text(d, text));
    if (d->day != DAY_NONE && (group->first == DAY_NONE || d->day < group->first))
        group->first = d->day;
    if (d->day != DAY_NONE && (group->last == DAY_NONE || d->day > group->last))
        group->last = d->day;
    group->count++;
    groups->total++;
}

static int by_rank(const void *a, const void *b)
{
    const struct difference_group *x = a, *y = b;
    if (x->rank != y->rank)
        return x->rank - y->rank;
    if (x->count != y->count)
        return x->count > y->count ? -1 : 1;
    int where = strcmp(x->where, y->where);
    return where != 0 ? where : strcmp(x->field, y->field);
}

static void print_difference_group(const struct difference_group *group, bool examples)
{
    char number[NUMBER_SIZE], first[DAY_TEXT_SIZE], last[DAY_TEXT_SIZE];
    printf("\n  %s, %s: %s", group->where, group->field, format_count(group->count, number));
    if (group->first != DAY_NONE)
        printf(", %s to %s", calendar_format_day(group->first, first),
               calendar_format_day(group->last, last));
    putchar('\n');
    for (int i = 0; examples && i < GROUP_EXAMPLES && group->examples[i]; i++)
        printf("    %s\n", group->examples[i]);
    if (examples && group->count > GROUP_EXAMPLES)
        printf("    and %s more; --all prints each\n",
               format_count(group->count - GROUP_EXAMPLES, number));
}

void groups_print(struct difference_groups *groups, bool examples)
{
    char number[NUMBER_SIZE];
    if (groups->count == 0)
        return;
    qsort(groups->list, groups->count, sizeof *groups->list, by_rank);
    printf("DIFFERENCES: %s of %zu kinds, possible causes before their effects\n",
           format_count(groups->total, number), groups->count);
    for (size_t i = 0; i < groups->count; i++)
        print_difference_group(&groups->list[i], examples);
    putchar('\n');
}

void groups_release(struct difference_groups *groups)
{
    for (size_t i = 0; i < groups->count; i++) {
        for (int k = 0; k < GROUP_EXAMPLES; k++)
            free(groups->list[i].examples[k]);
        free(groups->list[i].where);
        free(groups->list[i].field);
    }
    free(groups->list);
    *groups = (struct difference_groups){0};
}
