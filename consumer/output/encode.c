#include "consumer/output/encode.h"

#include "consumer/base/text.h"
#include "schemas/embedded.h"

#include <assert.h>
#include <avro.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BUFFER_SIZE = 4096, DETAIL_SIZE = 3 * (REJECT_DETAIL_SIZE + 320) };

static const char *const input_names[INPUT_COUNT] = {
    [INPUT_CALLS] = "CallRecord",
    [INPUT_PURCHASES] = "PackagePurchase",
    [INPUT_CREDITS] = "AccountCredit",
};

static const char *const output_names[OUTPUT_COUNT] = {
    [OUTPUT_SETTLEMENTS] = "Settlement",
    [OUTPUT_STATUS] = "AccountStatusChanged",
    [OUTPUT_DAY_CLOSES] = "DayClosed",
    [OUTPUT_REJECTS] = "Reject",
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
    assert(account_id.data);
    assert(account_id.size <= ID_SIZE_MAX);
    int size =
        snprintf(out, OUTPUT_ID_SIZE, "%.*s/%s", (int)account_id.size, account_id.data, rest);
    assert(size > 0);
    assert(size < OUTPUT_ID_SIZE); // an id that is cut off could be another's
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

char *status_event_id(struct slice account_id, int64_t account_sequence, char out[OUTPUT_ID_SIZE])
{
    char text[24];
    snprintf(text, sizeof text, "%" PRId64, account_sequence);
    return id_text(account_id, text, out);
}

// ---- encoder ----

struct encoder {
    avro_value_t record[OUTPUT_COUNT]; // reused: what avro-c allocated for one body serves the next
    avro_writer_t writer;
    char *buffer;
    size_t capacity;
    char schema_sha256[65];
};

static int create_record(enum output output, avro_value_t *out, struct error *e)
{
    const struct embedded *text = embedded_schema(output_names[output]);
    avro_schema_t schema = NULL;
    if (avro_schema_from_json_length(text->text, text->size, &schema) != 0)
        return error_set(e, ERROR_BUG, "schema %s: avro-c does not take it: %s", text->name,
                         avro_strerror());
    avro_value_iface_t *class = avro_generic_class_from_schema(schema);
    int failed = !class || avro_generic_value_new(class, out) != 0;
    if (failed)
        error_set(e, ERROR_BUG, "schema %s: avro-c makes no value of it: %s", text->name,
                  avro_strerror());
    if (class)
        avro_value_iface_decref(class);
    avro_schema_decref(schema);
    return failed ? -1 : 0;
}

int encoder_create(struct encoder **out, struct error *e)
{
    struct encoder *en = calloc(1, sizeof *en);
    if (!en)
        return error_set(e, ERROR_UNAVAILABLE, "encoder: no memory");
    en->capacity = BUFFER_SIZE;
    en->buffer = calloc(1, en->capacity);
    if (en->buffer)
        en->writer = avro_writer_memory(en->buffer, (int64_t)en->capacity);
    int failed = en->writer ? 0 : error_set(e, ERROR_UNAVAILABLE, "encoder: no memory");
    for (int o = 0; o < OUTPUT_COUNT && !failed; o++)
        failed = create_record((enum output)o, &en->record[o], e);
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
        if (en->record[o].iface)
            avro_value_decref(&en->record[o]);
    if (en->writer)
        avro_writer_free(en->writer);
    free(en->buffer);
    free(en);
}

// ---- filling a record, field after field in the schema's order ----

// Every field is set by name, and the name must be the next one of the schema, so code and .avsc
// always agree. The first failure is kept.
struct fill {
    avro_value_t *record;
    size_t next;
    const char *failed; // name of the field
    char why[160];
};

static void fail_encoding(struct fill *f, const char *name, const char *why)
{
    if (f->failed)
        return;
    f->failed = name;
    snprintf(f->why, sizeof f->why, "%s", why);
}

static bool field(struct fill *f, const char *name, avro_value_t *out)
{
    const char *found = NULL;
    *out = (avro_value_t){0};
    if (f->failed)
        return false;
    if (avro_value_get_by_index(f->record, f->next, out, &found) != 0)
        fail_encoding(f, name, "is not in the schema");
    else if (strcmp(found, name) != 0)
        fail_encoding(f, name, "is not the schema's next field");
    f->next++;
    return out->iface && !f->failed;
}

static void check(struct fill *f, const char *name, int status)
{
    if (status != 0)
        fail_encoding(f, name, avro_strerror());
}

// avro-c counts a terminator in a string's size, but never reads it here: it borrows the bytes and
// does not copy them.
static int give_string(avro_value_t *value, struct slice text)
{
    avro_wrapped_buffer_t lent;
    int status = avro_wrapped_buffer_new(&lent, text.data, text.size + 1);
    return status ? status : avro_value_give_string_len(value, &lent);
}

static int give_bytes(avro_value_t *value, struct slice bytes)
{
    avro_wrapped_buffer_t lent;
    int status = avro_wrapped_buffer_new(&lent, bytes.data, bytes.size);
    return status ? status : avro_value_give_bytes(value, &lent);
}

static void put_terminated(struct fill *f, const char *name, struct slice text)
{
    avro_value_t value;
    if (field(f, name, &value))
        check(f, name, give_string(&value, text));
}

static void put_text(struct fill *f, const char *name, const char *text)
{
    put_terminated(f, name, slice_text(text));
}

static void put_long(struct fill *f, const char *name, int64_t number)
{
    avro_value_t value;
    if (field(f, name, &value))
        check(f, name, avro_value_set_long(&value, number));
}

static void put_int(struct fill *f, const char *name, int32_t number)
{
    avro_value_t value;
    if (field(f, name, &value))
        check(f, name, avro_value_set_int(&value, number));
}

static void put_enum(struct fill *f, const char *name, const char *symbol)
{
    avro_value_t value;
    if (!field(f, name, &value))
        return;
    int index = avro_schema_enum_get_by_name(avro_value_get_schema(&value), symbol);
    if (index < 0)
        fail_encoding(f, name, "has no such symbol in the schema");
    else
        check(f, name, avro_value_set_enum(&value, index));
}

// A field of type [null, T]: selects the branch; false when nothing is left to set.
static bool branch(struct fill *f, const char *name, bool present, avro_value_t *out)
{
    avro_value_t value;
    *out = (avro_value_t){0};
    if (!field(f, name, &value))
        return false;
    int status = avro_value_set_branch(&value, present ? 1 : 0, out);
    if (status == 0 && !present && out->iface)
        status = avro_value_set_null(out);
    check(f, name, status);
    return present && out->iface && !f->failed;
}

static void put_string_or_null(struct fill *f, const char *name, struct slice text)
{
    avro_value_t value;
    if (branch(f, name, text.data, &value))
        check(f, name, give_string(&value, text));
}

static void put_bytes_or_null(struct fill *f, const char *name, struct slice bytes)
{
    avro_value_t value;
    if (branch(f, name, bytes.data, &value))
        check(f, name, give_bytes(&value, bytes));
}

static void put_long_or_null(struct fill *f, const char *name, bool present, int64_t number)
{
    avro_value_t value;
    if (branch(f, name, present, &value))
        check(f, name, avro_value_set_long(&value, number));
}

// The next element of an array field.
static bool append(struct fill *f, const char *name, avro_value_t *array, avro_value_t *element)
{
    *element = (avro_value_t){0};
    if (f->failed || !array->iface)
        return false;
    check(f, name, avro_value_append(array, element, NULL));
    return element->iface && !f->failed;
}

static void check_complete(struct fill *f)
{
    size_t count = 0;
    if (f->failed)
        return;
    if (avro_value_get_size(f->record, &count) != 0 || count != f->next)
        fail_encoding(f, "(end)", "comes before the last field");
}

// A record within an array is filled by a fill of its own.
static void close_element(struct fill *f, struct fill *element)
{
    check_complete(element);
    if (element->failed)
        fail_encoding(f, element->failed, element->why);
}

static struct fill begin(struct encoder *en, enum output output)
{
    struct fill f = {.record = &en->record[output]};
    check(&f, "(begin)", avro_value_reset(f.record));
    return f;
}

// Writes the filled record into the encoder's buffer, which grows until it fits.
static int finish_encoding(struct encoder *en, struct fill *f, enum output output,
                           struct slice *body, struct error *e)
{
    check_complete(f);
    while (!f->failed) {
        avro_writer_memory_set_dest(en->writer, en->buffer, (int64_t)en->capacity);
        int status = avro_value_write(en->writer, f->record);
        if (status == 0) {
            *body = (struct slice){en->buffer, (size_t)avro_writer_tell(en->writer)};
            assert(body->size > 0);
            assert(body->size <= en->capacity);
            return 0;
        }
        if (status != ENOSPC) {
            check(f, "(body)", status);
            break;
        }
        char *grown = realloc(en->buffer, en->capacity * 2);
        if (!grown)
            return error_set(e, ERROR_UNAVAILABLE, "encode %s: no memory", output_names[output]);
        en->buffer = grown;
        en->capacity *= 2;
    }
    return error_set(e, ERROR_BUG, "encode %s: field %s %s", output_names[output], f->failed,
                     f->why);
}

// ---- the four records ----

static void put_line(struct fill *f, const struct fold *fold, const struct settlement_line *line)
{
    struct slice package = {0};
    if (line->charge == CHARGE_PACKAGE)
        package = fold_package(fold, line->package)->id;
    put_int(f, "usage_day", line->usage_day);
    put_enum(f, "service", service_symbol(line->service));
    put_enum(f, "charge", charge_symbol(line->charge));
    put_string_or_null(f, "package_id", package);
    put_long_or_null(f, "tier_from", line->tier_from >= 0, line->tier_from);
    put_long(f, "calls", line->calls);
    put_long(f, "units", line->units);
    put_long(f, "unit_price", line->unit_price);
    put_long(f, "amount", line->amount);
}

static void put_lines(struct fill *f, const struct fold *fold, const struct settlement_line *lines,
                      size_t count)
{
    avro_value_t array, element;
    if (!field(f, "lines", &array))
        return;
    for (size_t i = 0; i < count && append(f, "lines", &array, &element); i++) {
        struct fill line = {.record = &element};
        put_line(&line, fold, &lines[i]);
        close_element(f, &line);
    }
}

#define PUT_FIGURE(name) put_long(&f, #name, s->name);

int encode_settlement(struct encoder *en, const struct encode_source *from,
                      const struct settlement *s, int64_t sequence, struct slice *body,
                      struct error *e)
{
    const struct encode_context *cx = from->context;
    struct slice account_id = fold_account(from->fold, s->account)->id;
    char id[OUTPUT_ID_SIZE];
    assert(s->first_line + s->line_count <= from->step->line_count);
    assert(sequence >= 0);
    struct fill f = begin(en, OUTPUT_SETTLEMENTS);
    put_text(&f, "settlement_id", settlement_id(account_id, s->day, id));
    put_terminated(&f, "account_id", account_id);
    put_int(&f, "business_day", s->day);
    put_text(&f, "currency", cx->currency);
    SETTLEMENT_FIGURES(PUT_FIGURE)
    put_enum(&f, "status", account_state_symbol(s->state));
    put_text(&f, "price_book", cx->price_book);
    put_int(&f, "shard", cx->shard);
    put_long(&f, "sequence", sequence);
    put_lines(&f, from->fold, from->step->lines + s->first_line, s->line_count);
    return finish_encoding(en, &f, OUTPUT_SETTLEMENTS, body, e);
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
    struct fill f = begin(en, OUTPUT_STATUS);
    put_text(&f, "event_id", status_event_id(account_id, s->account_sequence, event_id));
    put_terminated(&f, "account_id", account_id);
    put_long(&f, "account_sequence", s->account_sequence);
    put_enum(&f, "status", account_state_symbol(s->state));
    put_enum(&f, "cause", cause_symbol(s->cause));
    put_string_or_null(&f, "settlement_id", settlement);
    put_string_or_null(&f, "credit_id", credit);
    put_long(&f, "balance", s->balance);
    put_long(&f, "effective_at", s->effective_at);
    put_int(&f, "shard", from->context->shard);
    put_long(&f, "sequence", sequence);
    return finish_encoding(en, &f, OUTPUT_STATUS, body, e);
}

static void put_cutoffs(struct fill *f, const struct encode_context *cx, const struct day_close *c)
{
    avro_value_t array, element;
    if (!field(f, "cutoffs", &array))
        return;
    for (int i = 0; i < INPUT_COUNT && append(f, "cutoffs", &array, &element); i++) {
        struct fill cutoff = {.record = &element};
        const struct cutoff *cut = &c->cutoffs[i];
        put_text(&cutoff, "topic", cx->input_topics[i]);
        put_long(&cutoff, "from_offset", cut->from_offset);
        put_long(&cutoff, "to_offset", cut->to_offset);
        put_enum(&cutoff, "cut_by", cut_symbol(cut->cut_by));
        put_long(&cutoff, "accepted", cut->accepted);
        put_long(&cutoff, "duplicates", cut->duplicates);
        put_long(&cutoff, "rejected", cut->rejected);
        put_long(&cutoff, "void", cut->voids);
        close_element(f, &cutoff);
    }
}

static void put_decisions(struct fill *f, const struct day_close *c)
{
    avro_value_t array, element;
    if (!field(f, "decisions", &array))
        return;
    for (size_t i = 0; i < c->decision_count && append(f, "decisions", &array, &element); i++)
        check(f, "decisions", give_string(&element, slice_text(c->decisions[i])));
}

int encode_day_close(struct encoder *en, const struct encode_context *cx, const struct day_close *c,
                     const struct close_chaining *chaining, struct slice *body, struct error *e)
{
    struct fill f = begin(en, OUTPUT_DAY_CLOSES);
    put_int(&f, "shard", cx->shard);
    put_int(&f, "shards", cx->shards);
    put_int(&f, "business_day", c->day);
    put_cutoffs(&f, cx, c);
    put_long(&f, "late", c->late);
    put_long(&f, "zero_unit_calls", c->zero_unit_calls);
    put_long(&f, "settlements", c->settlements);
    put_long(&f, "amount", c->amount);
    put_text(&f, "price_book", c->price_book);
    put_text(&f, "parameters", c->parameters);
    put_decisions(&f, c);
    put_text(&f, "settlement_schema", en->schema_sha256);
    put_text(&f, "content_digest", chaining->content_digest);
    put_text(&f, "previous_digest", chaining->previous_digest);
    put_text(&f, "digest", chaining->digest);
    put_long(&f, "sequence", chaining->sequence);
    return finish_encoding(en, &f, OUTPUT_DAY_CLOSES, body, e);
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
    struct fill f = begin(en, OUTPUT_REJECTS);
    put_text(&f, "topic", cx->input_topics[r->input]);
    put_int(&f, "partition", cx->shard);
    put_long(&f, "offset", r->offset);
    put_long(&f, "timestamp", r->timestamp);
    put_text(&f, "reason", reject_symbol(r->reason));
    put_text(&f, "detail", detail.text);
    put_string_or_null(&f, "account_id", r->account_id);
    put_string_or_null(&f, "record_id", r->record_id);
    put_long_or_null(&f, "occurred_at", dated, r->occurred_at);
    put_bytes_or_null(&f, "key", key);
    put_bytes_or_null(&f, "value", value);
    put_int(&f, "shard", cx->shard);
    put_long(&f, "sequence", sequence);
    return finish_encoding(en, &f, OUTPUT_REJECTS, body, e);
}
