#include "consumer/output/encode.h"

#include "consumer/base/text.h"
#include "consumer/output/body.h"
#include "schemas/embedded.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DETAIL_SIZE = 3 * (REJECT_DETAIL_SIZE + 320) };

static const char *const input_names[INPUT_COUNT] = {
    [INPUT_CALLS] = "CallRecord",
    [INPUT_PURCHASES] = "PackagePurchase",
    [INPUT_CREDITS] = "AccountCredit",
};

static const char *const output_names[OUTPUT_COUNT] = {
    [OUTPUT_SETTLEMENTS] = "Settlement", [OUTPUT_STATUS] = "AccountStatusChanged",
    [OUTPUT_DAY_CLOSES] = "DayClosed",   [OUTPUT_REJECTS] = "Reject",
    [OUTPUT_NOTICES] = "AccountNotice",  [OUTPUT_STATEMENTS] = "MonthStatement",
};

static const struct embedded *embedded_schema(const char *name)
{
    size_t length = strlen(name);
    for (const struct embedded *s = embedded_avro; s->name; s++)
        if (strncmp(s->name, name, length) == 0 && strcmp(s->name + length, ".avsc") == 0)
            return s;
    assert(!"every record has its .avsc in schemas/avro");
    abort();
}

const char *record_name_of_input(enum input input)
{
    return input_names[input];
}

const char *record_name_of_output(enum output output)
{
    return output_names[output];
}

const char *schema_of_input(enum input input)
{
    return embedded_schema(input_names[input])->text;
}

const char *schema_of_output(enum output output)
{
    return embedded_schema(output_names[output])->text;
}

void settlement_schema_sha256(char out[65])
{
    const struct embedded *s = embedded_schema(output_names[OUTPUT_SETTLEMENTS]);
    book_sha256(s->text, s->size, out);
}

static char *id_text(struct slice account_id, const char *rest, char out[OUTPUT_ID_SIZE])
{
    size_t size = strlen(rest);
    assert(account_id.data);
    assert(account_id.size <= ID_SIZE_MAX);
    assert(account_id.size + 1 + size < OUTPUT_ID_SIZE); // an id that is cut off could be another's
    memcpy(out, account_id.data, account_id.size);
    out[account_id.size] = '/';
    memcpy(out + account_id.size + 1, rest, size + 1);
    return out;
}

struct encode_context encode_context_of(const struct policy *policy, const struct step *step,
                                        int32_t shard, const char *const input_topics[INPUT_COUNT])
{
    const struct book *book = policy->shelf.books[0]; // currency and zone are those of all
    struct encode_context cx = {.shard = shard,
                                .shards = policy->fixed.partitions,
                                .currency = book->currency,
                                .offset_ms = book->offset_ms};
    memcpy(cx.input_topics, input_topics, sizeof cx.input_topics);
    if (step->closed)
        memcpy(cx.price_book, step->close.price_book, sizeof cx.price_book);
    return cx;
}

// R24: account and day.
char *settlement_id(struct slice account_id, day_t day, char out[OUTPUT_ID_SIZE])
{
    char text[DAY_TEXT_SIZE];
    return id_text(account_id, calendar_format_day(day, text), out);
}

// R67: account, day, kind and package.
char *notice_id(const struct fold *fold, const struct step_notice *notice, day_t day,
                char out[OUTPUT_ID_SIZE])
{
    char date[DAY_TEXT_SIZE], rest[OUTPUT_ID_SIZE];
    struct slice package = {"", 0};
    if (notice->package != PACKAGE_NONE)
        package = fold_package(fold, notice->package)->id;
    snprintf(rest, sizeof rest, "%s/%s%s%.*s", calendar_format_day(day, date),
             notice_symbol(notice->kind), package.size ? "/" : "", (int)package.size, package.data);
    return id_text(fold_account(fold, notice->account)->id, rest, out);
}

char *status_event_id(struct slice account_id, int64_t account_sequence, char out[OUTPUT_ID_SIZE])
{
    char text[24];
    snprintf(text, sizeof text, "%" PRId64, account_sequence);
    return id_text(account_id, text, out);
}

char *statement_id(struct slice account_id, day_t month, char out[OUTPUT_ID_SIZE])
{
    char text[DAY_TEXT_SIZE];
    return id_text(account_id, calendar_format_month(month, text), out);
}

// ---- encoder ----

struct encoder {
    struct body_schema *schemas[OUTPUT_COUNT];
    struct body_writer writer;
    size_t sequence_at; // where the sequence stands in the writer's body
    char schema_sha256[65];
};

int encoder_create(struct encoder **out, struct error *e)
{
    struct encoder *en = calloc(1, sizeof *en);
    if (!en)
        return error_set(e, ERROR_UNAVAILABLE, "encoder: no memory");
    int failed = 0;
    for (int o = 0; o < OUTPUT_COUNT && !failed; o++) {
        const struct embedded *text = embedded_schema(output_names[o]);
        failed = body_schema_create(text->text, text->size, &en->schemas[o], e);
        if (failed)
            error_context(e, "schema %s", text->name);
    }
    settlement_schema_sha256(en->schema_sha256);
    assert(strlen(en->schema_sha256) == sizeof en->schema_sha256 - 1);
    if (failed) {
        encoder_destroy(en);
        return -1;
    }
    *out = en;
    return 0;
}

void encoder_destroy(struct encoder *en)
{
    if (!en)
        return;
    for (int o = 0; o < OUTPUT_COUNT; o++)
        body_schema_free(en->schemas[o]);
    body_writer_release(&en->writer);
    free(en);
}

static struct body_writer *begin(struct encoder *en, enum output output)
{
    body_begin(&en->writer, en->schemas[output]);
    return &en->writer;
}

static void put_sequence(struct encoder *en, int64_t sequence)
{
    assert(sequence >= 0);
    en->sequence_at = en->writer.used;
    body_long(&en->writer, "sequence", sequence);
}

static int finish_encoding(struct encoder *en, enum output output, struct slice *body,
                           struct error *e)
{
    struct body_writer *w = &en->writer;
    if (!body_end(w))
        return error_set(e, ERROR_BUG, "encode %s: field %s %s", output_names[output], w->failed,
                         w->why);
    *body = (struct slice){w->data, w->used};
    assert(body->size > 0);
    return 0;
}

struct slice encoder_body(const struct encoder *en, int64_t sequence, struct arena *arena)
{
    const struct body_writer *w = &en->writer;
    char number[BODY_LONG_SIZE];
    size_t size = body_put_long(number, sequence), head = en->sequence_at;
    assert(w->data[head] == 0); // the sequence, in one byte
    char *body = arena_alloc(arena, w->used - 1 + size);
    memcpy(body, w->data, head);
    memcpy(body + head, number, size);
    memcpy(body + head + size, w->data + head + 1, w->used - head - 1);
    return (struct slice){body, w->used - 1 + size};
}

// ---- the records ----

static void put_line(struct body_writer *w, const struct fold *fold,
                     const struct settlement_line *line)
{
    static const struct package none;
    bool drawn = line->charge == CHARGE_PACKAGE;
    const struct package *package = drawn ? fold_package(fold, line->package) : &none;
    body_int(w, "usage_day", line->usage_day);
    body_enum(w, "service", service_symbol(line->service));
    body_enum(w, "charge", charge_symbol(line->charge));
    body_text_or_null(w, "package_id", package->id);
    body_long_or_null(w, "tier_from", line->tier_from >= 0, line->tier_from);
    body_long(w, "calls", line->calls);
    body_long(w, "units", line->units);
    body_long(w, "unit_price", line->unit_price);
    body_long(w, "amount", line->amount);
    body_long_or_null(w, "package_units", drawn, package->units);
    body_long_or_null(w, "package_amount", drawn, package->amount);
}

static void put_lines(struct body_writer *w, const struct fold *fold,
                      const struct settlement_line *lines, size_t count)
{
    body_array(w, "lines", count);
    for (size_t i = 0; i < count; i++) {
        body_element(w);
        put_line(w, fold, &lines[i]);
    }
    body_array_end(w);
}

#define PUT_FIGURE(name) body_long(w, #name, s->name);

int encode_settlement(struct encoder *en, const struct encode_source *from,
                      const struct settlement *s, int64_t sequence, struct slice *body,
                      struct error *e)
{
    const struct encode_context *cx = from->context;
    struct slice account_id = fold_account(from->fold, s->account)->id;
    char id[OUTPUT_ID_SIZE];
    assert(s->first_line + s->line_count <= from->step->line_count);
    assert(sequence >= 0);
    struct body_writer *w = begin(en, OUTPUT_SETTLEMENTS);
    body_text(w, "settlement_id", slice_text(settlement_id(account_id, s->day, id)));
    body_text(w, "account_id", account_id);
    body_int(w, "business_day", s->day);
    body_text(w, "currency", slice_text(cx->currency));
    SETTLEMENT_FIGURES(PUT_FIGURE)
    body_enum(w, "status", account_state_symbol(s->state));
    body_text(w, "price_book", slice_text(cx->price_book));
    body_int(w, "shard", cx->shard);
    put_sequence(en, sequence);
    put_lines(w, from->fold, from->step->lines + s->first_line, s->line_count);
    return finish_encoding(en, OUTPUT_SETTLEMENTS, body, e);
}

int encode_status(struct encoder *en, const struct encode_source *from, const struct step_status *s,
                  int64_t sequence, struct slice *body, struct error *e)
{
    struct slice account_id = fold_account(from->fold, s->account)->id;
    char event_id[OUTPUT_ID_SIZE], settled_by[OUTPUT_ID_SIZE];
    struct slice settlement = {0}, credit = {0};
    if (s->cause == CAUSE_ARREARS)
        settlement = slice_text(settlement_id(account_id, s->settlement_day, settled_by));
    else
        credit = s->credit_id;
    struct body_writer *w = begin(en, OUTPUT_STATUS);
    body_text(w, "event_id",
              slice_text(status_event_id(account_id, s->account_sequence, event_id)));
    body_text(w, "account_id", account_id);
    body_long(w, "account_sequence", s->account_sequence);
    body_enum(w, "status", account_state_symbol(s->state));
    body_enum(w, "cause", cause_symbol(s->cause));
    body_text_or_null(w, "settlement_id", settlement);
    body_text_or_null(w, "credit_id", credit);
    body_long(w, "balance", s->balance);
    body_long(w, "effective_at", s->effective_at);
    body_int(w, "shard", from->context->shard);
    put_sequence(en, sequence);
    return finish_encoding(en, OUTPUT_STATUS, body, e);
}

static void put_package(struct body_writer *w, const struct package *p)
{
    struct slice id = p ? p->id : (struct slice){0};
    body_text_or_null(w, "package_id", id);
    body_enum_or_null(w, "service", p ? service_symbol(p->service) : NULL);
    body_long_or_null(w, "units", p, p ? p->units : 0);
    body_long_or_null(w, "remaining", p, p ? p->remaining : 0);
    body_long_or_null(w, "valid_until", p, p ? p->valid_until : 0);
}

int encode_notice(struct encoder *en, const struct encode_source *from,
                  const struct step_notice *notice, int64_t sequence, struct slice *body,
                  struct error *e)
{
    bool of_package = notice->package != PACKAGE_NONE;
    day_t day = from->step->close.day;
    char id[OUTPUT_ID_SIZE];
    struct body_writer *w = begin(en, OUTPUT_NOTICES);
    body_text(w, "notice_id", slice_text(notice_id(from->fold, notice, day, id)));
    body_text(w, "account_id", fold_account(from->fold, notice->account)->id);
    body_int(w, "business_day", day);
    body_enum(w, "kind", notice_symbol(notice->kind));
    put_package(w, of_package ? fold_package(from->fold, notice->package) : NULL);
    body_long_or_null(w, "balance", !of_package, notice->balance);
    body_long_or_null(w, "threshold", notice->kind != NOTICE_PACKAGE_EXPIRED, notice->threshold);
    body_int(w, "shard", from->context->shard);
    put_sequence(en, sequence);
    return finish_encoding(en, OUTPUT_NOTICES, body, e);
}

static void put_month_line(struct body_writer *w, const struct month_line *line)
{
    body_enum(w, "service", service_symbol(line->service));
    body_enum(w, "charge", charge_symbol(line->charge));
    body_text_or_null(w, "package_id", line->package_id);
    body_long_or_null(w, "tier_from", line->tier_from >= 0, line->tier_from);
    body_long(w, "unit_price", line->unit_price);
    body_long(w, "calls", line->calls);
    body_long(w, "units", line->units);
    body_long(w, "amount", line->amount);
}

int encode_statement(struct encoder *en, const struct encode_source *from,
                     const struct month_statement *s, int64_t sequence, struct slice *body,
                     struct error *e)
{
    char id[OUTPUT_ID_SIZE], month[DAY_TEXT_SIZE];
    struct body_writer *w = begin(en, OUTPUT_STATEMENTS);
    body_text(w, "statement_id", slice_text(statement_id(s->account_id, from->step->month, id)));
    body_text(w, "account_id", s->account_id);
    body_text(w, "month", slice_text(calendar_format_month(from->step->month, month)));
    body_text(w, "currency", slice_text(from->context->currency));
    MONTH_MONEY(PUT_FIGURE)
    body_enum(w, "status", account_state_symbol(s->state));
    MONTH_COUNTS(PUT_FIGURE)
    body_array(w, "lines", s->line_count);
    for (size_t i = 0; i < s->line_count; i++) {
        body_element(w);
        put_month_line(w, &from->step->month_lines[s->first_line + i]);
    }
    body_array_end(w);
    body_int(w, "shard", from->context->shard);
    put_sequence(en, sequence);
    return finish_encoding(en, OUTPUT_STATEMENTS, body, e);
}

static void put_cutoffs(struct body_writer *w, const struct encode_context *cx,
                        const struct day_close *c)
{
    body_array(w, "cutoffs", INPUT_COUNT);
    for (int i = 0; i < INPUT_COUNT; i++) {
        const struct cutoff *cut = &c->cutoffs[i];
        body_element(w);
        body_text(w, "topic", slice_text(cx->input_topics[i]));
        body_long(w, "from_offset", cut->from_offset);
        body_long(w, "to_offset", cut->to_offset);
        body_enum(w, "cut_by", cut_symbol(cut->cut_by));
        body_long(w, "accepted", cut->accepted);
        body_long(w, "duplicates", cut->duplicates);
        body_long(w, "rejected", cut->rejected);
        body_long(w, "void", cut->voids);
    }
    body_array_end(w);
}

static void put_decisions(struct body_writer *w, const struct day_close *c)
{
    body_array(w, "decisions", c->decision_count);
    for (size_t i = 0; i < c->decision_count; i++)
        body_string(w, slice_text(c->decisions[i]));
    body_array_end(w);
}

int encode_day_close(struct encoder *en, const struct encode_context *cx, const struct day_close *c,
                     const struct close_chaining *chaining, struct slice *body, struct error *e)
{
    struct body_writer *w = begin(en, OUTPUT_DAY_CLOSES);
    body_int(w, "shard", cx->shard);
    body_int(w, "shards", cx->shards);
    body_int(w, "business_day", c->day);
    put_cutoffs(w, cx, c);
    body_long(w, "late", c->late);
    body_long(w, "zero_unit_calls", c->zero_unit_calls);
    body_long(w, "settlements", c->settlements);
    body_long(w, "amount", c->amount);
    body_text(w, "price_book", slice_text(c->price_book));
    body_text(w, "parameters", slice_text(c->parameters));
    put_decisions(w, c);
    body_text(w, "settlement_schema", slice_text(en->schema_sha256));
    body_text(w, "content_digest", slice_text(chaining->content_digest));
    body_text(w, "previous_digest", slice_text(chaining->previous_digest));
    body_text(w, "digest", slice_text(chaining->digest));
    put_sequence(en, chaining->sequence);
    return finish_encoding(en, OUTPUT_DAY_CLOSES, body, e);
}

// ---- rejects: an input may have held anything ----

struct detail {
    char text[DETAIL_SIZE];
    size_t used;
};

static void add_detail(struct detail *d, const char *text)
{
    // what is not UTF-8 may grow to three times its size
    size_t size = strnlen(text, sizeof d->text / 3);
    assert(d->used + 3 * size < sizeof d->text);
    d->used += text_repair((struct slice){text, size}, d->text + d->used);
    assert(d->used < sizeof d->text);
    d->text[d->used] = '\0';
}

static void leave_out(struct detail *d, const char *name, struct slice *bytes)
{
    char sha256[65], note[160];
    book_sha256(bytes->data, bytes->size, sha256);
    snprintf(note, sizeof note, "%s%s of %zu bytes left out, SHA-256 %s", d->used ? "; " : "", name,
             bytes->size, sha256);
    add_detail(d, note);
    *bytes = (struct slice){0};
}

int encode_reject(struct encoder *en, const struct encode_context *cx, const struct step_reject *r,
                  int64_t sequence, struct slice *body, struct error *e)
{
    struct slice key = r->key, value = r->value;
    struct detail detail = {0};
    add_detail(&detail, r->detail);
    if (value.size > REJECT_BYTES_MAX || 2 * key.size + value.size > REJECT_MESSAGE_MAX)
        if (value.size > 0)
            leave_out(&detail, "value", &value);
    if (2 * key.size > REJECT_MESSAGE_MAX)
        leave_out(&detail, "key", &key);
    assert(2 * key.size + value.size <= REJECT_MESSAGE_MAX); // a message can carry it
    assert(value.size <= REJECT_BYTES_MAX);
    // Times outside these bounds are INVALID. A reader that makes a date of one would fail on the
    // whole record.
    bool dated =
        r->has_occurred_at && r->occurred_at >= INSTANT_MIN && r->occurred_at <= INSTANT_MAX;
    struct body_writer *w = begin(en, OUTPUT_REJECTS);
    body_text(w, "topic", slice_text(cx->input_topics[r->input]));
    body_int(w, "partition", cx->shard);
    body_long(w, "offset", r->offset);
    body_long(w, "timestamp", r->timestamp);
    body_text(w, "reason", slice_text(reject_symbol(r->reason)));
    body_text(w, "detail", slice_text(detail.text));
    body_text_or_null(w, "account_id", r->account_id);
    body_text_or_null(w, "record_id", r->record_id);
    body_long_or_null(w, "occurred_at", dated, r->occurred_at);
    body_bytes_or_null(w, "key", key);
    body_bytes_or_null(w, "value", value);
    body_int(w, "shard", cx->shard);
    put_sequence(en, sequence);
    return finish_encoding(en, OUTPUT_REJECTS, body, e);
}
