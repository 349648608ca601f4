#include "consumer/audit_messages.h"

#include "consumer/core/arena.h"
#include "consumer/core/index.h"
#include "consumer/core/memory.h"
#include "consumer/core/text.h"
#include "consumer/io/body.h"

#include <assert.h>
#include <endian.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum { FRAMING_SIZE = 5, TEXT_SIZE = 512, HEADERS = 6, FIELDS_MAX = 4096 };

struct expected {
    enum output output;
    uint64_t hash; // of output and ce_id
    const char *ce_id;
    int64_t ce_time;
    struct slice key, body;
    struct body_number number; // of the body; its sequence is only a placeholder
    int64_t sequence; // as its row in the table has it; 0: no row
    bool published, queued; // found in the topic, in the outbox
};

struct messages {
    struct messages_options options;
    struct body_form *forms[OUTPUT_COUNT];
    char source[512];
    int64_t base; // sequences up to here belong to windows that are over
    int64_t first[OUTPUT_COUNT]; // lowest sequence read from each topic; 0: none
    int64_t last[OUTPUT_COUNT]; // highest
    bool later[OUTPUT_COUNT]; // the next one there is of a later window
    int64_t newest; // highest sequence read behind the last window
    char newest_name[TEXT_SIZE];
    int64_t outbox_last; // of the last outbox row; 0: none yet
    uint8_t outbox_hash[32];
    char name[TEXT_SIZE]; // of the message in hand
    // The window.
    day_t day;
    struct arena *arena;
    size_t count, capacity;
    struct expected *expected;
    struct index index;
    uint8_t *taken; // by sequence - base - 1: something stands there
};

int messages_create(const struct messages_options *options, struct messages **out, struct error *e)
{
    struct messages *m = calloc(1, sizeof *m);
    if (!m) return error_set(e, ERROR_RESTART, "memory is short");
    m->options = *options;
    m->base = options->base;
    m->arena = arena_create();
    snprintf(m->source, sizeof m->source, "/settled/%s/%" PRId32, options->group, options->shard);
    int failed = m->arena ? 0 : error_set(e, ERROR_RESTART, "memory is short");
    for (int o = 0; o < OUTPUT_COUNT && !failed; o++) failed = body_form_create((enum output)o, &m->forms[o], e);
    if (failed) {
        messages_destroy(m);
        return -1;
    }
    *out = m;
    return 0;
}

void messages_destroy(struct messages *m)
{
    if (!m) return;
    for (int o = 0; o < OUTPUT_COUNT; o++) body_form_destroy(m->forms[o]);
    arena_destroy(m->arena);
    index_free(&m->index);
    free(m->expected);
    free(m->taken);
    free(m);
}

// ---- what must be there ----

static uint64_t hash_id(enum output output, const char *ce_id, size_t size)
{
    return XXH3_64bits_withSeed(ce_id, size, (XXH64_hash_t)output);
}

static uint64_t hash_of(const void *context, uint32_t id)
{
    return ((const struct messages *)context)->expected[id].hash;
}

size_t messages_count(const struct messages *m)
{
    return m->count;
}

int64_t messages_base(const struct messages *m)
{
    return m->base;
}

static struct slice keep(struct messages *m, struct slice bytes)
{
    if (!bytes.data) return bytes;
    return (struct slice){arena_copy(m->arena, bytes.data, bytes.size), bytes.size};
}

void messages_expect(struct messages *m, const struct outbox *outbox)
{
    struct error e;
    for (size_t i = 0; i < outbox->count; i++) {
        const struct outbox_row *row = &outbox->rows[i];
        m->expected = memory_reserve(m->expected, m->count, &m->capacity, sizeof *m->expected);
        struct expected *x = &m->expected[m->count];
        *x = (struct expected){.output = row->output,
                               .hash = hash_id(row->output, row->ce_id, strlen(row->ce_id)),
                               .ce_id = keep(m, (struct slice){row->ce_id, strlen(row->ce_id)}).data,
                               .ce_time = row->ce_time,
                               .key = keep(m, row->key),
                               .body = keep(m, row->body)};
        int failed = body_number(m->forms[row->output], x->body, &x->number, &e);
        assert(!failed); // we have just encoded it
        index_reserve(&m->index, 1, hash_of, m);
        index_insert(&m->index, x->hash, (uint32_t)m->count++);
    }
}

void messages_number(struct messages *m, size_t message, int64_t sequence)
{
    assert(message < m->count);
    m->expected[message].sequence = sequence;
}

static struct expected *find(struct messages *m, enum output output, struct slice ce_id)
{
    uint32_t id;
    if (!ce_id.data) return NULL;
    uint64_t hash = hash_id(output, ce_id.data, ce_id.size);
    for (struct index_probe p = index_probe(&m->index, hash); (id = index_next(&p)) != INDEX_NONE;) {
        struct expected *x = &m->expected[id];
        if (x->hash == hash && x->output == output && strlen(x->ce_id) == ce_id.size &&
            memcmp(x->ce_id, ce_id.data, ce_id.size) == 0)
            return x;
    }
    return NULL;
}

// ---- telling ----

// A message or outbox row on the scales.
struct found {
    const char *where; // "outbox", or topic/partition/offset
    enum output output;
    struct slice account_id; // whom it concerns; data NULL: nobody
    struct slice key, body, ce_id;
    struct body_number number;
};

static void tell(struct messages *m, const struct found *f, const char *key, const char *field, const char *recorded,
                 const char *folded)
{
    report_difference(m->options.report, &(struct difference){.where = f->where,
                                                              .key = key,
                                                              .account_id = f->account_id,
                                                              .day = m->day,
                                                              .field = field,
                                                              .recorded = recorded,
                                                              .folded = folded});
}

static struct slice account_of(enum output output, struct slice key)
{
    return output == OUTPUT_DAY_CLOSES ? (struct slice){0} : key;
}

static void tell_numbers(struct messages *m, const struct found *f, const char *key, const char *field,
                         int64_t recorded, int64_t folded)
{
    char a[24], b[24];
    if (recorded == folded) return;
    snprintf(a, sizeof a, "%" PRId64, recorded);
    snprintf(b, sizeof b, "%" PRId64, folded);
    tell(m, f, key, field, a, b);
}

static void tell_texts(struct messages *m, const struct found *f, const char *key, const char *field,
                       struct slice recorded, struct slice folded)
{
    char a[TEXT_SIZE], b[TEXT_SIZE];
    if (slice_same(recorded, folded)) return;
    tell(m, f, key, field, text_show(recorded, a, sizeof a), text_show(folded, b, sizeof b));
}

// ---- bodies ----

struct field_list {
    struct messages *m;
    size_t count;
    struct {
        const char *path, *text;
    } fields[FIELDS_MAX]; // of a settlement with more lines the rest is told by its bytes
};

static void take_field(void *context, const char *path, const char *text)
{
    struct field_list *list = context;
    if (list->count == FIELDS_MAX || strcmp(path, "sequence") == 0) return;
    list->fields[list->count].path = arena_copy(list->m->arena, path, strlen(path));
    list->fields[list->count++].text = arena_copy(list->m->arena, text, strlen(text));
}

static size_t find_path(const struct field_list *list, size_t from, const char *path)
{
    while (from < list->count && strcmp(list->fields[from].path, path) != 0) from++;
    return from;
}

// Both lists come in the schema's order, so a field that one lacks is passed over in the other.
static size_t tell_fields(struct messages *m, const struct found *f, const char *key, const struct field_list *a,
                          const struct field_list *b)
{
    size_t i = 0, k = 0, told = 0;
    while (i < a->count || k < b->count) {
        size_t there = i < a->count ? find_path(b, k, a->fields[i].path) : b->count;
        if (i < a->count && there == b->count) {
            tell(m, f, key, a->fields[i].path, a->fields[i].text, NULL);
            i++;
            told++;
        } else if (there > k || i == a->count) {
            tell(m, f, key, b->fields[k].path, NULL, b->fields[k].text);
            k++;
            told++;
        } else {
            bool equal = strcmp(a->fields[i].text, b->fields[k].text) == 0;
            if (!equal) tell(m, f, key, a->fields[i].path, a->fields[i].text, b->fields[k].text);
            told += !equal;
            i++;
            k++;
        }
    }
    return told;
}

// Equal, but for the sequence.
static bool same_body(const struct found *f, const struct expected *x)
{
    const struct body_number *a = &f->number, *b = &x->number;
    struct slice before[2] = {{f->body.data, a->at}, {x->body.data, b->at}};
    struct slice after[2] = {{f->body.data + a->at + a->size, f->body.size - a->at - a->size},
                             {x->body.data + b->at + b->size, x->body.size - b->at - b->size}};
    return slice_same(before[0], before[1]) && slice_same(after[0], after[1]);
}

static void compare_body(struct messages *m, const struct found *f, const struct expected *x)
{
    if (same_body(f, x)) return;
    struct field_list *a = memory_grow(NULL, 1, sizeof *a), *b = memory_grow(NULL, 1, sizeof *b);
    a->m = b->m = m;
    a->count = b->count = 0;
    body_fields(m->forms[f->output], f->body, take_field, a);
    body_fields(m->forms[f->output], x->body, take_field, b);
    // Differences beyond what is shown of a text, or in how a value is encoded.
    if (tell_fields(m, f, x->ce_id, a, b) == 0) tell(m, f, x->ce_id, "body", "other bytes", "its own");
    free(a);
    free(b);
}

// ---- one message or outbox row ----

static void take_sequence(struct messages *m, int64_t sequence)
{
    if (sequence > m->base && sequence <= m->base + (int64_t)m->count) m->taken[sequence - m->base - 1] = 1;
}

// NULL: it is none that can be; that is told.
static struct expected *weigh(struct messages *m, struct found *f)
{
    char name[TEXT_SIZE];
    struct expected *x = find(m, f->output, f->ce_id);
    f->account_id = account_of(f->output, x ? x->key : f->key);
    if (!x) {
        tell(m, f, f->ce_id.data ? text_show(f->ce_id, name, sizeof name) : "without ce_id", NULL, "a message", NULL);
        return NULL;
    }
    take_sequence(m, f->number.sequence);
    tell_texts(m, f, x->ce_id, "key", f->key, x->key);
    if (x->sequence != 0) tell_numbers(m, f, x->ce_id, "sequence", f->number.sequence, x->sequence);
    compare_body(m, f, x);
    return x;
}

// ---- topics ----

static struct slice header_of(const rd_kafka_headers_t *headers, const char *name)
{
    const void *value = NULL;
    size_t size = 0;
    if (!headers || rd_kafka_header_get_last(headers, name, &value, &size)) return (struct slice){0};
    return (struct slice){value, size};
}

static void compare_headers(struct messages *m, const struct found *f, const struct expected *x,
                            const rd_kafka_headers_t *headers)
{
    char time[INSTANT_TEXT_SIZE], type[64];
    snprintf(type, sizeof type, "settled.%s.v1", record_name_of_output(x->output));
    const char *const wanted[HEADERS][2] = {
        {"ce_specversion", "1.0"},
        {"ce_id", x->ce_id},
        {"ce_source", m->source},
        {"ce_type", type},
        {"ce_time", calendar_format_instant(x->ce_time, 0, time)},
        {"content-type", "application/avro"},
    };
    for (int i = 0; i < HEADERS; i++)
        tell_texts(m, f, x->ce_id, wanted[i][0], header_of(headers, wanted[i][0]),
                   (struct slice){wanted[i][1], strlen(wanted[i][1])});
    tell_numbers(m, f, x->ce_id, "headers", headers ? (int64_t)rd_kafka_header_cnt(headers) : 0, HEADERS);
}

static int32_t schema_id_of(const rd_kafka_message_t *message)
{
    uint32_t id;
    memcpy(&id, (const char *)message->payload + 1, sizeof id);
    return (int32_t)be32toh(id);
}

// Whether the value is one of this shard's; else *why says what it is.
static int read_message(struct messages *m, enum output output, const rd_kafka_message_t *message, struct found *f,
                        struct error *why)
{
    const char *value = message->payload;
    *f = (struct found){.output = output};
    if (message->key) f->key = (struct slice){message->key, message->key_len};
    if (!value || message->len < FRAMING_SIZE || value[0] != 0)
        return error_set(why, ERROR_CONFIG, "no Confluent framing");
    f->body = (struct slice){value + FRAMING_SIZE, message->len - FRAMING_SIZE};
    if (body_number(m->forms[output], f->body, &f->number, why)) return -1;
    if (f->number.shard != m->options.shard)
        return error_set(why, ERROR_CONFIG, "it is of shard %" PRId32, f->number.shard);
    return 0;
}

static const char *name_message(const rd_kafka_message_t *message, char out[TEXT_SIZE])
{
    snprintf(out, TEXT_SIZE, "%s/%" PRId32 "/%" PRId64, rd_kafka_topic_name(message->rkt), message->partition,
             message->offset);
    return out;
}

static void refuse_message(struct messages *m, const rd_kafka_message_t *message, struct found *f, const char *why)
{
    char text[TEXT_SIZE];
    f->where = name_message(message, m->name);
    f->account_id = account_of(f->output, f->key);
    snprintf(text, sizeof text, "a message that settled did not write (%s)", why);
    m->options.report->totals.messages++;
    tell(m, f, "", NULL, text, NULL);
}

static void take_message(struct messages *m, const rd_kafka_message_t *message, struct found *f)
{
    rd_kafka_headers_t *headers = NULL;
    f->where = name_message(message, m->name);
    if (rd_kafka_message_headers(message, &headers)) headers = NULL;
    f->ce_id = header_of(headers, "ce_id");
    if (f->number.sequence <= m->last[f->output]) {
        refuse_message(m, message, f, "its sequence does not rise");
        return;
    }
    m->options.report->totals.messages++;
    struct expected *x = weigh(m, f);
    m->last[f->output] = f->number.sequence;
    if (!x) return;
    if (x->published) tell(m, f, x->ce_id, NULL, "a second message", NULL);
    x->published = true;
    tell_numbers(m, f, x->ce_id, "schema id", schema_id_of(message), m->options.schema_ids[f->output]);
    compare_headers(m, f, x, headers);
}

// Where the next message of a topic belongs.
enum place { PLACE_END, PLACE_BEFORE, PLACE_HERE, PLACE_LATER, PLACE_FOREIGN };

// One numbered beyond the window is later, unless the one behind it is not: then nobody numbered it so in its turn.
static int place_message(struct messages *m, enum output output, struct found *f, const rd_kafka_message_t **message,
                         enum place *out, struct error *e)
{
    struct scan *scan = m->options.scan;
    size_t log = m->options.first_log + output;
    struct error why = {0};
    int64_t limit = m->base + (int64_t)m->count;
    const rd_kafka_message_t *next;
    struct found behind;
    if (scan_look(scan, log, 0, message, e)) return -1;
    *out = PLACE_END;
    if (!*message) return 0;
    *out = PLACE_FOREIGN;
    if (read_message(m, output, *message, f, &why)) {
        refuse_message(m, *message, f, why.text);
        return 0;
    }
    bool begun = m->last[output] > 0;
    *out = !begun && f->number.sequence <= m->options.base ? PLACE_BEFORE : PLACE_HERE;
    if (f->number.sequence <= limit) return 0;
    *out = PLACE_LATER;
    if (scan_look(scan, log, 1, &next, e)) return -1;
    if (!next || read_message(m, output, next, &behind, &why) || behind.number.sequence > f->number.sequence ||
        behind.number.sequence <= m->last[output])
        return 0;
    refuse_message(m, *message, f, "its sequence is beyond that of the message behind it");
    *out = PLACE_FOREIGN;
    return 0;
}

static int read_topic(struct messages *m, enum output output, struct error *e)
{
    const rd_kafka_message_t *message;
    struct found f;
    enum place place;
    do {
        if (place_message(m, output, &f, &message, &place, e)) return -1;
        bool ours = place != PLACE_END && place != PLACE_FOREIGN;
        if (ours && m->first[output] == 0) m->first[output] = f.number.sequence;
        m->later[output] = place == PLACE_LATER;
        if (place == PLACE_HERE) take_message(m, message, &f);
        if (place != PLACE_END && place != PLACE_LATER) scan_take(m->options.scan, m->options.first_log + output);
    } while (place != PLACE_END && place != PLACE_LATER);
    return 0;
}

// ---- outbox ----

static void check_chain(struct messages *m, const struct found *f, const struct outbox_row *row, const char *key)
{
    static const uint8_t zeros[32];
    uint8_t hash[32];
    char text[64];
    bool first = row->sequence == 1, follows = m->outbox_last > 0 && row->sequence == m->outbox_last + 1;
    if (m->outbox_last > 0 && !follows) {
        snprintf(text, sizeof text, "%" PRId64 " after %" PRId64, row->sequence, m->outbox_last);
        tell(m, f, key, "sequence", text, "each one");
    }
    if (first || follows) {
        outbox_chain_hash(first ? zeros : m->outbox_hash, row, hash);
        if (memcmp(hash, row->hash, sizeof hash) != 0) tell(m, f, key, "hash", "another", "that of its chain");
    }
    m->outbox_last = row->sequence;
    memcpy(m->outbox_hash, row->hash, sizeof row->hash);
}

static struct found found_row(const struct outbox_row *row)
{
    return (struct found){.where = "outbox",
                          .output = row->output,
                          .account_id = account_of(row->output, row->key),
                          .key = row->key,
                          .body = row->body,
                          .ce_id = {row->ce_id, strlen(row->ce_id)}};
}

static int take_outbox_row(void *context, const struct outbox_row *row, struct error *e)
{
    struct messages *m = context;
    struct error why = {0};
    char key[TEXT_SIZE];
    (void)e;
    struct found f = found_row(row);
    text_show(f.ce_id, key, sizeof key);
    check_chain(m, &f, row, key);
    if (body_number(m->forms[row->output], row->body, &f.number, &why)) {
        tell(m, &f, key, "body", why.text, "an Avro body");
        return 0;
    }
    tell_numbers(m, &f, key, "sequence", f.number.sequence, row->sequence);
    struct expected *x = weigh(m, &f);
    if (!x) return 0;
    x->queued = true;
    if (x->ce_time != row->ce_time) {
        char a[INSTANT_TEXT_SIZE], b[INSTANT_TEXT_SIZE];
        tell(m, &f, key, "ce_time_ms", calendar_format_instant(row->ce_time, 0, a),
             calendar_format_instant(x->ce_time, 0, b));
    }
    return 0;
}

static int refuse_outbox_row(void *context, const struct outbox_row *row, struct error *e)
{
    struct messages *m = context;
    char key[24];
    struct found f = found_row(row);
    (void)e;
    snprintf(key, sizeof key, "%" PRId64, row->sequence);
    tell(m, &f, key, NULL, "a row beyond the shard's sequence", NULL);
    return 0;
}

int messages_outbox_end(struct messages *m, struct audit_rows *rows, struct error *e)
{
    const struct chain *chain = &m->options.snapshot->row.chain;
    struct found f = {.where = "outbox"};
    char key[24];
    snprintf(key, sizeof key, "%" PRId64, chain->sequence);
    m->day = DAY_NONE;
    // The last row is always kept.
    bool looked = chain->sequence > m->options.base, kept = m->outbox_last == chain->sequence;
    if (looked && !kept) tell(m, &f, key, NULL, NULL, "a row");
    if (looked && kept && memcmp(m->outbox_hash, chain->hash, sizeof chain->hash) != 0)
        tell(m, &f, key, "hash", "another", "that of the shard's row");
    int64_t last = chain->sequence > m->base ? chain->sequence : m->base;
    return audit_rows_outbox(rows, last, INT64_MAX, refuse_outbox_row, m, e) == STORE_OK ? 0 : -1;
}

// ---- what was not found ----

// Published in the order of sequences: one behind it in its topic, or the mark, says that it was its turn. The mark may
// have come before the broker has made the end of a transaction known in every log.
static bool is_pending(const struct messages *m, const struct expected *x)
{
    bool marked = x->sequence <= m->options.snapshot->row.relayed;
    return x->queued && x->sequence > m->last[x->output] && !m->later[x->output] &&
           (!marked || scan_goes_on(m->options.scan, m->options.first_log + x->output));
}

static int refuse_log(const struct messages *m, const struct expected *x, struct error *e)
{
    char day[DAY_TEXT_SIZE];
    return error_set(e, ERROR_CONFIG,
                     "%s/%" PRId32 " begins at offset %" PRId64
                     " now, behind messages of %s: retention has passed them; begin with a later day (--from)",
                     m->options.topics[x->output], m->options.shard,
                     scan_first(m->options.scan, m->options.first_log + x->output), calendar_format_day(m->day, day));
}

static int tell_missing(struct messages *m, struct error *e)
{
    for (size_t i = 0; i < m->count; i++) {
        const struct expected *x = &m->expected[i];
        if (x->sequence != 0) take_sequence(m, x->sequence);
        if (x->published) continue;
        if (is_pending(m, x)) {
            m->options.report->totals.pending++;
            continue;
        }
        bool before = m->first[x->output] == 0 || (x->sequence != 0 && x->sequence < m->first[x->output]);
        if (before && scan_first(m->options.scan, m->options.first_log + x->output) > 0) return refuse_log(m, x, e);
        struct found f = {
            .where = m->options.topics[x->output], .output = x->output, .account_id = account_of(x->output, x->key)};
        tell(m, &f, x->ce_id, NULL, NULL, "a message");
    }
    return 0;
}

static void tell_gaps(struct messages *m)
{
    struct found f = {.where = "outbox"};
    for (size_t i = 0; i < m->count; i++) {
        char key[24];
        if (m->taken[i]) continue;
        snprintf(key, sizeof key, "%" PRId64, m->base + (int64_t)i + 1);
        tell(m, &f, key, "sequence", NULL, "one message of each");
    }
}

int messages_compare(struct messages *m, struct audit_rows *rows, day_t day, struct error *e)
{
    m->day = day;
    m->taken = calloc(m->count + 1, 1);
    if (!m->taken) abort();
    int64_t limit = m->base + (int64_t)m->count;
    int failed = audit_rows_outbox(rows, m->base, limit, take_outbox_row, m, e) == STORE_OK ? 0 : -1;
    for (enum output o = 0; o < OUTPUT_COUNT && !failed; o++) failed = read_topic(m, o, e);
    if (!failed) failed = tell_missing(m, e);
    if (!failed) tell_gaps(m);
    free(m->taken);
    m->taken = NULL;
    m->base = limit;
    m->count = 0;
    index_free(&m->index);
    arena_reset(m->arena);
    return failed;
}

// ---- the end ----

static int read_rest(struct messages *m, enum output output, struct error *e)
{
    size_t log = m->options.first_log + output;
    const rd_kafka_message_t *message;
    struct found f;
    struct error why = {0};
    for (;;) {
        if (scan_look(m->options.scan, log, 0, &message, e)) return -1;
        if (!message) return 0;
        if (read_message(m, output, message, &f, &why))
            refuse_message(m, message, &f, why.text);
        else if (f.number.sequence <= m->last[output])
            refuse_message(m, message, &f, "its sequence does not rise");
        else
            m->last[output] = f.number.sequence;
        if (m->last[output] > m->newest) {
            m->newest = m->last[output];
            name_message(message, m->newest_name);
        }
        scan_take(m->options.scan, log);
    }
}

int messages_drain(struct messages *m, struct error *e)
{
    m->day = DAY_NONE;
    for (enum output o = 0; o < OUTPUT_COUNT; o++)
        if (read_rest(m, o, e)) return -1;
    return 0;
}

void messages_newest(struct messages *m, int64_t newest)
{
    struct found f = {.where = m->newest_name};
    if (m->newest > newest) tell_numbers(m, &f, "", "sequence", m->newest, newest);
}
