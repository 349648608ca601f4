#include "consumer/audit/audit_weigh.h"

#include "consumer/base/arena.h"
#include "consumer/base/memory.h"
#include "consumer/base/text.h"

#include <assert.h>
#include <endian.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_SIZE = 512, SOURCE_SIZE = 512, HEADERS = 6, FIELDS_MAX = 4096 };

struct scales {
    struct scales_options options;
    struct output_reader *forms[OUTPUT_COUNT];
    char source[SOURCE_SIZE];
};

int scales_create(const struct scales_options *options, struct scales **out, struct error *e)
{
    struct scales *s = calloc(1, sizeof *s);
    if (!s)
        return error_set(e, ERROR_RESTART, "memory is short");
    s->options = *options;
    snprintf(s->source, sizeof s->source, "/settled/%s/%" PRId32, options->group, options->shard);
    int failed = 0;
    for (int o = 0; o < OUTPUT_COUNT && !failed; o++)
        failed = output_reader_create((enum output)o, &s->forms[o], e);
    if (failed) {
        scales_destroy(s);
        return -1;
    }
    *out = s;
    return 0;
}

void scales_destroy(struct scales *s)
{
    if (!s)
        return;
    for (int o = 0; o < OUTPUT_COUNT; o++)
        output_reader_destroy(s->forms[o]);
    free(s);
}

// ---- reading ----

struct slice scales_account(enum output output, struct slice key)
{
    return output == OUTPUT_DAY_CLOSES ? (struct slice){0} : key;
}

int scales_read(const struct scales *s, enum output output, struct slice body,
                struct output_number *out, struct error *why)
{
    return output_reader_number(s->forms[output], body, out, why);
}

struct slice scales_header(const rd_kafka_message_t *message, const char *name)
{
    rd_kafka_headers_t *headers = NULL;
    const void *value = NULL;
    size_t size = 0;
    if (rd_kafka_message_headers(message, &headers) ||
        rd_kafka_header_get_last(headers, name, &value, &size))
        return (struct slice){0};
    return (struct slice){value, size};
}

// ---- telling ----

static void tell_weighed(const struct scales *s, const struct weighed *w,
                         const struct difference *what)
{
    struct difference difference = *what;
    difference.where = w->where;
    difference.account_id = w->account_id;
    difference.day = w->day;
    difference.published = w->published;
    report_difference(s->options.report, &difference);
}

void scales_tell(const struct scales *s, const struct weighed *w, const char *key,
                 const char *field, const char *recorded, const char *folded)
{
    tell_weighed(
        s, w,
        &(struct difference){.key = key, .field = field, .recorded = recorded, .folded = folded});
}

void scales_tell_sequence(const struct scales *s, const struct weighed *w, const char *key,
                          int64_t found, int64_t by_row)
{
    char a[24], b[24];
    if (found == by_row)
        return;
    snprintf(a, sizeof a, "%" PRId64, found);
    snprintf(b, sizeof b, "%" PRId64, by_row);
    tell_weighed(s, w,
                 &(struct difference){
                     .key = key, .field = "sequence", .recorded = a, .folded = b, .by_row = true});
}

static void tell_numbers(const struct scales *s, const struct weighed *w, const char *key,
                         const char *field, int64_t recorded, int64_t folded)
{
    char a[24], b[24];
    if (recorded == folded)
        return;
    snprintf(a, sizeof a, "%" PRId64, recorded);
    snprintf(b, sizeof b, "%" PRId64, folded);
    scales_tell(s, w, key, field, a, b);
}

static void tell_texts(const struct scales *s, const struct weighed *w, const char *key,
                       const char *field, struct slice recorded, struct slice folded)
{
    char a[TEXT_SIZE], b[TEXT_SIZE];
    if (slice_same(recorded, folded))
        return;
    scales_tell(s, w, key, field, text_show(recorded, a, sizeof a), text_show(folded, b, sizeof b));
}

// ---- bodies ----

struct field_list {
    struct arena *arena;
    size_t count;
    struct {
        const char *path, *text;
    } fields[FIELDS_MAX]; // if a settlement has more, the rest is compared as bytes
};

static void take_field(void *context, const char *path, const char *text)
{
    struct field_list *list = context;
    if (list->count == FIELDS_MAX || strcmp(path, "sequence") == 0)
        return;
    list->fields[list->count].path = arena_copy(list->arena, path, strlen(path));
    list->fields[list->count++].text = arena_copy(list->arena, text, strlen(text));
}

static size_t find_path(const struct field_list *list, size_t from, const char *path)
{
    while (from < list->count && strcmp(list->fields[from].path, path) != 0)
        from++;
    return from;
}

// Both lists have the schema's order, so a field that is missing in one list is skipped in the
// other.
static size_t tell_fields(const struct scales *s, const struct weighed *w, const char *key,
                          const struct field_list *a, const struct field_list *b)
{
    size_t i = 0, k = 0, told = 0;
    while (i < a->count || k < b->count) {
        size_t there = i < a->count ? find_path(b, k, a->fields[i].path) : b->count;
        if (i < a->count && there == b->count) {
            scales_tell(s, w, key, a->fields[i].path, a->fields[i].text, NULL);
            i++;
            told++;
        } else if (there > k || i == a->count) {
            scales_tell(s, w, key, b->fields[k].path, NULL, b->fields[k].text);
            k++;
            told++;
        } else {
            bool equal = strcmp(a->fields[i].text, b->fields[k].text) == 0;
            if (!equal)
                scales_tell(s, w, key, a->fields[i].path, a->fields[i].text, b->fields[k].text);
            told += !equal;
            i++;
            k++;
        }
    }
    assert(i == a->count);
    assert(k == b->count);
    return told;
}

// Equal, except for the sequence.
static bool same_body(const struct weighed *w, const struct expected *x)
{
    const struct output_number *a = &w->number, *b = &x->number;
    assert(a->at + a->size <= w->body.size);
    assert(b->at + b->size <= x->body.size);
    struct slice before[2] = {{w->body.data, a->at}, {x->body.data, b->at}};
    struct slice after[2] = {{w->body.data + a->at + a->size, w->body.size - a->at - a->size},
                             {x->body.data + b->at + b->size, x->body.size - b->at - b->size}};
    return slice_same(before[0], before[1]) && slice_same(after[0], after[1]);
}

static void compare_body(const struct scales *s, const struct weighed *w, const struct expected *x)
{
    if (same_body(w, x))
        return;
    struct field_list *a = memory_grow(NULL, 1, sizeof *a), *b = memory_grow(NULL, 1, sizeof *b);
    a->arena = b->arena = arena_create();
    if (!a->arena)
        abort();
    a->count = b->count = 0;
    output_reader_fields(s->forms[w->output], w->body, take_field, a);
    output_reader_fields(s->forms[w->output], x->body, take_field, b);
    // Differences beyond what is shown of a text, or in how a value is encoded.
    if (tell_fields(s, w, x->ce_id, a, b) == 0)
        scales_tell(s, w, x->ce_id, "body", "other bytes", "its own");
    arena_destroy(a->arena);
    free(a);
    free(b);
}

void scales_weigh(const struct scales *s, const struct weighed *w, const struct expected *x)
{
    tell_texts(s, w, x->ce_id, "key", w->key, x->key);
    if (x->sequence != 0)
        scales_tell_sequence(s, w, x->ce_id, w->number.sequence, x->sequence);
    compare_body(s, w, x);
}

// ---- around the body ----

static void compare_headers(const struct scales *s, const struct weighed *w,
                            const struct expected *x, const rd_kafka_message_t *message)
{
    char time[INSTANT_TEXT_SIZE], type[64];
    rd_kafka_headers_t *headers = NULL;
    snprintf(type, sizeof type, "settled.%s.v1", record_name_of_output(x->output));
    const char *const wanted[HEADERS][2] = {
        {"ce_specversion", "1.0"},
        {"ce_id", x->ce_id},
        {"ce_source", s->source},
        {"ce_type", type},
        {"ce_time", calendar_format_instant(x->ce_time, 0, time)},
        {"content-type", "application/avro"},
    };
    for (int i = 0; i < HEADERS; i++)
        tell_texts(s, w, x->ce_id, wanted[i][0], scales_header(message, wanted[i][0]),
                   slice_text(wanted[i][1]));
    bool none = rd_kafka_message_headers(message, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR;
    tell_numbers(s, w, x->ce_id, "headers", none ? 0 : (int64_t)rd_kafka_header_cnt(headers),
                 HEADERS);
}

void scales_weigh_message(const struct scales *s, const struct weighed *w, const struct expected *x,
                          const rd_kafka_message_t *message)
{
    scales_weigh(s, w, x);
    tell_numbers(s, w, x->ce_id, "schema id", w->schema_id,
                 s->options.framing->schema_ids[w->output]);
    compare_headers(s, w, x, message);
}
