#include "consumer/findings/audit_report.h"

#include "consumer/base/format.h"
#include "consumer/base/memory.h"
#include "consumer/base/text.h"

#include <assert.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void report_begin(struct report *report)
{
    if (report->json)
        printf("{\"differences\": [");
}

static json_t *json_of(struct slice text)
{
    if (!text.data)
        return json_null();
    json_t *json = json_stringn(text.data, text.size);
    if (json)
        return json;
    // it is not UTF-8, or is cut within a character
    char *repaired = memory_grow(NULL, text.size + 1, 3);
    json = json_stringn(repaired, text_repair(text, repaired));
    free(repaired);
    return json;
}

static json_t *json_of_text(const char *text)
{
    return json_of((struct slice){text, text ? strlen(text) : 0});
}

static void print_object(const struct report *report, json_t *json)
{
    printf("%s\n", report->totals.differences > 1 ? "," : "");
    json_dumpf(json, stdout, JSON_COMPACT);
    json_decref(json);
}

static void print_report_json(const struct report *report, const struct difference *d)
{
    char day[DAY_TEXT_SIZE];
    print_object(report, json_pack("{s:s?, s:o, s:s, s:o, s:s?, s:o, s:o}", "day",
                                   d->day == DAY_NONE ? NULL : calendar_format_day(d->day, day),
                                   "account_id", json_of(d->account_id), "where", d->where, "key",
                                   json_of_text(d->key), "field", d->field, "recorded",
                                   json_of_text(d->recorded), "folded", json_of_text(d->folded)));
}

static bool is_mine(const struct report *report, struct slice account_id)
{
    return !report->account_id.data || slice_same(account_id, report->account_id);
}

void report_difference(struct report *report, const struct difference *d)
{
    char text[DIFFERENCE_TEXT_SIZE];
    assert(d->recorded || d->folded); // one of the two sides has something
    if (!d->halts && !is_mine(report, d->account_id))
        return;
    report->totals.differences++;
    if (!report->json)
        groups_add(&report->groups, d);
    if (report->json)
        print_report_json(report, d);
    else if (report->all)
        puts(difference_text(d, text));
    fflush(stdout);
}

// ---- output topics ----

static json_t *json_of_number(int64_t number, bool known)
{
    return known ? json_integer(number) : json_null();
}

// It also has the members that other differences have; nothing was compared, so these are null.
static void print_anomaly(const struct report *report, const struct publication_anomaly *a)
{
    char day[DAY_TEXT_SIZE], where[PUBLICATION_TEXT_SIZE];
    json_t *json = json_pack(
        "{s:s?, s:o, s:s, s:o, s:n, s:n, s:n, s:s, s:s, s:i, s:o, s:o, s:o, s:s}", "day",
        a->day == DAY_NONE ? NULL : calendar_format_day(a->day, day), "account_id",
        json_of(a->account_id), "where", publication_where(a, where), "key", json_of(a->ce_id),
        "field", "recorded", "folded", "kind", publication_symbol(a->kind), "topic", a->topic,
        "partition", (int)a->partition, "offset", json_of_number(a->offset, a->offset >= 0),
        "shard", json_of_number(a->shard, a->shard >= 0), "sequence",
        json_of_number(a->sequence, a->sequence != 0), "detail", a->detail);
    print_object(report, json);
}

void report_anomaly(struct report *report, size_t publication,
                    const struct publication_anomaly *anomaly)
{
    if (!is_mine(report, anomaly->account_id))
        return;
    report->totals.differences++;
    publications_count(&report->publications, publication, anomaly);
    if (report->json)
        print_anomaly(report, anomaly);
    else if (report->all)
        publication_print(anomaly);
    fflush(stdout);
}

void report_published(struct report *report, size_t publication, struct slice account_id)
{
    assert(publication < report->publications.count);
    report->publications.list[publication].published += is_mine(report, account_id);
}

void report_pending(struct report *report, size_t publication, struct slice account_id)
{
    if (!is_mine(report, account_id))
        return;
    assert(publication < report->publications.count);
    report->totals.pending++;
    report->publications.list[publication].pending++;
}

static json_t *json_of_topics(const struct publications *publications)
{
    json_t *list = json_array();
    for (size_t i = 0; i < publications->count; i++) {
        const struct publication *p = &publications->list[i];
        json_t *topic = json_pack("{s:s, s:i, s:b, s:I, s:I, s:I, s:I}", "topic", p->topic, "shard",
                                  (int)p->shard, "complete", p->complete, "from",
                                  (json_int_t)p->from, "to", (json_int_t)p->to, "published",
                                  (json_int_t)p->published, "pending", (json_int_t)p->pending);
        for (int kind = 0; kind < PUBLICATION_KINDS; kind++)
            json_object_set_new(topic, publication_symbol((enum publication_kind)kind),
                                json_integer(p->found[kind]));
        json_array_append_new(list, topic);
    }
    return list;
}

// ---- the end ----

static const char *result_name(const struct audit_totals *totals, const struct error *trouble)
{
    if (trouble)
        return "incomplete";
    return totals->differences > 0 ? "different" : "equal";
}

static json_t *json_of_books(const struct recorded_books *books)
{
    json_t *list = json_array();
    char text[RECORDED_BOOK_TEXT];
    for (size_t i = 0; books && i < books->count; i++)
        json_array_append_new(list,
                              json_pack("{s:s, s:s, s:b, s:s}", "sha256", books->list[i].sha256,
                                        "recorded_by", books->list[i].recorded_by, "configured",
                                        recorded_books_configured(books, i), "text",
                                        recorded_books_text(books, i, text)));
    return list;
}

static const char *const cause_symbols[] = {
    [AUDIT_OTHER_BOOK] = "other_book",     [AUDIT_OTHER_PARAMETERS] = "other_parameters",
    [AUDIT_RECORDS_GONE] = "records_gone", [AUDIT_RECORDS_MORE] = "records_more",
    [AUDIT_COMPACTED] = "compacted",       [AUDIT_POLICY_UNKNOWN] = "policy_unknown",
};

static json_t *json_of_causes(const struct report *report)
{
    json_t *list = json_array();
    char text[CAUSE_TEXT_SIZE];
    for (size_t i = 0; i < report->causes.count; i++) {
        enum audit_cause_kind kind = report->causes.list[i].kind;
        cause_text(&report->causes, i, report->books, text);
        json_array_append_new(
            list, json_pack("{s:s, s:o}", "kind", cause_symbols[kind], "text", json_of_text(text)));
    }
    return list;
}

static void print_causes(const struct report *report)
{
    char text[CAUSE_TEXT_SIZE];
    for (size_t i = 0; i < report->causes.count; i++)
        printf("CAUSE: %s\n\n", cause_text(&report->causes, i, report->books, text));
}

static void print_books(const struct recorded_books *books)
{
    char text[RECORDED_BOOK_TEXT];
    for (size_t i = 0; books && i < books->count; i++)
        puts(recorded_books_text(books, i, text));
}

static void end_json(const struct report *report, const struct error *trouble)
{
    const struct audit_totals *t = &report->totals;
    char day[DAY_TEXT_SIZE];
    json_t *json = json_pack(
        "{s:s, s:s?, s:s?, s:o, s:o, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "result",
        result_name(t, trouble), "error", trouble ? trouble->text : NULL, "compared_from",
        report->compared_from == DAY_NONE ? NULL : calendar_format_day(report->compared_from, day),
        "causes", json_of_causes(report), "topics", json_of_topics(&report->publications),
        "price_books", json_of_books(report->books), "shards", (json_int_t)t->shards, "days",
        (json_int_t)t->days, "records", (json_int_t)t->records, "settlements",
        (json_int_t)t->settlements, "rows", (json_int_t)t->rows, "messages",
        (json_int_t)t->messages, "pending", (json_int_t)t->pending, "difference_count",
        (json_int_t)t->differences);
    char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;
    // The JSON object goes on after its list.
    if (text)
        printf("%s], %s\n", t->differences > 0 ? "\n" : "", text + 1);
    free(text);
    json_decref(json);
}

static void end_table(struct report *report, const struct error *trouble)
{
    const struct audit_totals *t = &report->totals;
    const struct {
        int64_t count;
        const char *what;
    } lines[] = {
        {t->shards, "shards"},
        {t->days, "days of shards folded again"},
        {t->records, "records read"},
        {t->settlements, "settlements folded again"},
        {t->rows, "rows compared"},
        {t->messages, "messages compared"},
        {t->pending, "messages pending"},
        {t->differences, "differences"},
    };
    char number[NUMBER_SIZE], day[DAY_TEXT_SIZE];
    if (report->all && t->differences > 0)
        putchar('\n');
    print_causes(report);
    groups_print(&report->groups, !report->all);
    publications_print(&report->publications, !report->all);
    print_books(report->books);
    if (report->compared_from != DAY_NONE)
        printf("days before %s are not compared: rows that they follow from are retired; "
               "settled.retired_months says where these are\n",
               calendar_format_day(report->compared_from, day));
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        printf("%15s  %s\n", format_count(lines[i].count, number), lines[i].what);
    printf("%s\n", result_name(t, trouble));
}

void report_end(struct report *report, const struct error *trouble)
{
    if (report->json)
        end_json(report, trouble);
    else
        end_table(report, trouble);
    publications_release(&report->publications);
    groups_release(&report->groups);
    causes_release(&report->causes);
    free(report->books);
}
