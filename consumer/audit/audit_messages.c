#include "consumer/audit/audit_records.h"
#include "consumer/audit/audit_window.h"

#include "consumer/base/text.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_SIZE = 512, CARRIED_BYTES_MAX = 256 * 1024 * 1024 };

static int open_topics(struct messages *m, struct error *e)
{
    for (int o = 0; o < OUTPUT_COUNT; o++) {
        size_t log = m->options.first_log + (size_t)o;
        m->topics[o].whole = scan_from(m->options.scan, log) <= scan_first(m->options.scan, log);
        m->topics[o].order = order_create();
        if (!m->topics[o].order)
            return error_set(e, ERROR_RESTART, "memory is short");
        m->topics[o].publication = publications_add(&m->options.report->publications,
                                                    m->options.topics[o], m->options.shard);
    }
    return 0;
}

int messages_create(const struct messages_options *options, struct messages **out, struct error *e)
{
    struct messages *m = calloc(1, sizeof *m);
    if (!m)
        return error_set(e, ERROR_RESTART, "memory is short");
    struct scales_options scales = {.shard = options->shard,
                                    .group = options->group,
                                    .framing = options->framing,
                                    .report = options->report};
    m->options = *options;
    m->base = options->base;
    m->day = DAY_NONE;
    m->window = expected_create();
    m->carried = expected_create();
    m->hasher = chain_hasher_create();
    int failed = m->window && m->carried ? 0 : error_set(e, ERROR_RESTART, "memory is short");
    if (failed || scales_create(&scales, &m->scales, e) || open_topics(m, e)) {
        messages_destroy(m);
        return -1;
    }
    *out = m;
    return 0;
}

void messages_destroy(struct messages *m)
{
    if (!m)
        return;
    for (int o = 0; o < OUTPUT_COUNT; o++) {
        records_release(&m->topics[o]);
        order_destroy(m->topics[o].order);
    }
    scales_destroy(m->scales);
    expected_destroy(m->carried);
    expected_destroy(m->window);
    chain_hasher_free(m->hasher);
    free(m->numbers);
    free(m);
}

// ---- what must be there ----

size_t messages_count(const struct messages *m)
{
    return expected_count(m->window);
}

int64_t messages_base(const struct messages *m)
{
    return m->base;
}

void messages_expect(struct messages *m, const struct outbox *outbox)
{
    struct error e;
    for (size_t i = 0; i < outbox->count; i++) {
        const struct outbox_row *row = &outbox->rows[i];
        struct expected x = {.output = row->output,
                             .ce_id = row->ce_id,
                             .ce_time = row->ce_time,
                             .day = m->day,
                             .key = row->key,
                             .body = row->body,
                             .offset = -1};
        int failed = scales_read(m->scales, x.output, x.body, &x.number, &e);
        assert(!failed); // we have just encoded it
        expected_add(m->window, &x);
    }
}

void messages_number(struct messages *m, size_t message, int64_t sequence)
{
    expected_at(m->window, message)->sequence = sequence;
}

// ---- outbox ----
static void check_chain(struct messages *m, const struct weighed *w, const struct outbox_row *row,
                        const char *key)
{
    static const uint8_t zeros[32];
    uint8_t hash[32];
    char text[64];
    bool first = row->sequence == 1,
         follows = m->outbox_last > 0 && row->sequence == m->outbox_last + 1;
    if (m->outbox_last > 0 && !follows) {
        snprintf(text, sizeof text, "%" PRId64 " after %" PRId64, row->sequence, m->outbox_last);
        scales_tell(m->scales, w, key, "sequence", text, "each one");
    }
    if (first || follows) {
        chain_hash(m->hasher, first ? zeros : m->outbox_hash, row, hash);
        if (memcmp(hash, row->hash, sizeof hash) != 0)
            scales_tell(m->scales, w, key, "hash", "another", "that of its chain");
    }
    m->outbox_last = row->sequence;
    memcpy(m->outbox_hash, row->hash, sizeof row->hash);
}

static struct weighed weighed_row(const struct messages *m, const struct outbox_row *row)
{
    return (struct weighed){.where = "outbox",
                            .output = row->output,
                            .day = m->day,
                            .account_id = scales_account(row->output, row->key),
                            .key = row->key,
                            .body = row->body,
                            .ce_id = {row->ce_id, strlen(row->ce_id)}};
}

static void weigh_outbox_row(struct messages *m, struct weighed *w, const struct outbox_row *row,
                             const char *key)
{
    struct expected *x = expected_find(m->window, w->output, w->ce_id);
    if (!x) {
        scales_tell(m->scales, w, key, NULL, "a message", NULL);
        return;
    }
    w->account_id = scales_account(w->output, x->key);
    scales_weigh(m->scales, w, x);
    messages_take_number(m, w->number.sequence, NUMBER_TAKEN);
    x->queued = true;
    x->sequence = row->sequence; // the outbox decides what is published, not the table's row
    if (x->ce_time == row->ce_time)
        return;
    char a[INSTANT_TEXT_SIZE], b[INSTANT_TEXT_SIZE];
    scales_tell(m->scales, w, key, "ce_time_ms", calendar_format_instant(row->ce_time, 0, a),
                calendar_format_instant(x->ce_time, 0, b));
}

static int take_outbox_row(void *context, const struct outbox_row *row, struct error *e)
{
    struct messages *m = context;
    struct error why = {0};
    char key[TEXT_SIZE];
    (void)e;
    struct weighed w = weighed_row(m, row);
    text_show(w.ce_id, key, sizeof key);
    check_chain(m, &w, row, key);
    if (scales_read(m->scales, w.output, w.body, &w.number, &why)) {
        scales_tell(m->scales, &w, key, "body", why.text, "an Avro body");
        return 0;
    }
    scales_tell_sequence(m->scales, &w, key, w.number.sequence, row->sequence);
    weigh_outbox_row(m, &w, row, key);
    return 0;
}

static int refuse_outbox_row(void *context, const struct outbox_row *row, struct error *e)
{
    struct messages *m = context;
    char key[24];
    struct weighed w = weighed_row(m, row);
    (void)e;
    snprintf(key, sizeof key, "%" PRId64, row->sequence);
    scales_tell(m->scales, &w, key, NULL, "a row beyond the shard's sequence", NULL);
    return 0;
}

int messages_outbox_end(struct messages *m, struct audit_rows *rows, struct error *e)
{
    const struct chain *chain = &m->options.snapshot->row.chain;
    struct weighed w = {.where = "outbox", .day = DAY_NONE};
    char key[24];
    snprintf(key, sizeof key, "%" PRId64, chain->sequence);
    m->day = DAY_NONE;
    // The last row is always kept.
    bool looked = chain->sequence > m->options.base, kept = m->outbox_last == chain->sequence;
    if (looked && !kept)
        scales_tell(m->scales, &w, key, NULL, NULL, "a row");
    if (looked && kept && memcmp(m->outbox_hash, chain->hash, sizeof chain->hash) != 0)
        scales_tell(m->scales, &w, key, "hash", "another", "that of the shard's row");
    int64_t last = chain->sequence > m->base ? chain->sequence : m->base;
    return audit_rows_outbox(rows, last, INT64_MAX, refuse_outbox_row, m, e) == STORE_OK ? 0 : -1;
}

// ---- what was not found ----

static struct order_absence absence_of(const struct messages *m, const struct expected *x)
{
    const struct messages_topic *topic = &m->topics[x->output];
    int64_t mark = m->options.snapshot->row.relayed;
    return (struct order_absence){
        .queued = x->queued,
        .behind = topic->later || x->sequence < order_highest(topic->order),
        .passed = x->sequence <= mark || x->sequence < m->published,
        .goes_on = scan_goes_on(m->options.scan, m->options.first_log + x->output),
    };
}

// Why the turn of the row is over, and where the row still is.
static void describe_lost(const struct messages *m, const struct expected *x, char *out,
                          size_t size)
{
    const struct messages_topic *topic = &m->topics[x->output];
    int64_t mark = m->options.snapshot->row.relayed;
    const char *kept = x->queued ? "; the outbox still has it" : "; the outbox no longer has it";
    if (x->sequence == 0)
        snprintf(out, size, "the inputs give it; neither the topic nor PostgreSQL has it");
    else if (x->sequence < order_highest(topic->order))
        snprintf(out, size, "a later row, %" PRId64 ", stands at %s/%" PRId32 "@%" PRId64 "%s",
                 order_highest(topic->order), m->options.topics[x->output], m->options.shard,
                 order_highest_offset(topic->order), kept);
    else if (x->sequence < m->published)
        snprintf(out, size, "another topic has a later row, %" PRId64 "%s", m->published, kept);
    else if (x->sequence <= mark)
        snprintf(out, size, "PostgreSQL counts rows up to %" PRId64 " as published%s", mark, kept);
    else
        snprintf(out, size, "it is not published%s", kept);
}

static void tell_lost(struct messages *m, const struct expected *x)
{
    char detail[TEXT_SIZE];
    describe_lost(m, x, detail, sizeof detail);
    report_anomaly(m->options.report, m->topics[x->output].publication,
                   &(struct publication_anomaly){.kind = PUBLICATION_LOST,
                                                 .topic = m->options.topics[x->output],
                                                 .partition = m->options.shard,
                                                 .offset = -1,
                                                 .shard = m->options.shard,
                                                 .sequence = x->sequence,
                                                 .account_id = scales_account(x->output, x->key),
                                                 .ce_id = {x->ce_id, strlen(x->ce_id)},
                                                 .day = x->day,
                                                 .detail = detail});
}

static void tell_absent(struct messages *m, const struct expected *x)
{
    struct order_absence absence = absence_of(m, x);
    if (!order_is_pending(&absence))
        tell_lost(m, x);
    else
        report_pending(m->options.report, m->topics[x->output].publication,
                       scales_account(x->output, x->key));
}

static int refuse_log(const struct messages *m, const struct expected *x, struct error *e)
{
    char day[DAY_TEXT_SIZE];
    return error_set(
        e, ERROR_CONFIG,
        "%s/%" PRId32 " begins at offset %" PRId64
        " now, behind messages of %s: they have expired or were deleted; begin with a later day "
        "(--from)",
        m->options.topics[x->output], m->options.shard,
        scan_first(m->options.scan, m->options.first_log + x->output),
        calendar_format_day(m->day, day));
}

// Whether retention may have taken the row.
static bool is_cut_off(const struct messages *m, const struct expected *x)
{
    const struct messages_topic *topic = &m->topics[x->output];
    struct order_absence absence = absence_of(m, x);
    size_t log = m->options.first_log + x->output;
    bool before = topic->first == 0 || (x->sequence != 0 && x->sequence < topic->first);
    bool begun = topic->whole || topic->looked_back;
    return before && begun && scan_first(m->options.scan, log) > 0 && !order_is_pending(&absence);
}

// If more rows are missing than memory can hold, they are judged by what is known so far.
static int carry(struct messages *m, const struct expected *x, struct error *e)
{
    struct messages_topic *topic = &m->topics[x->output];
    assert(x->offset < 0); // it was not found
    if (is_cut_off(m, x))
        return refuse_log(m, x, e);
    if (expected_memory(m->carried) < CARRIED_BYTES_MAX) {
        expected_add(m->carried, x);
        return 0;
    }
    topic->forgotten = true;
    tell_absent(m, x);
    return 0;
}

// ---- a window ----

static void tell_gaps(struct messages *m)
{
    struct weighed w = {.where = "outbox", .day = m->day};
    for (size_t i = 0; i < expected_count(m->window); i++) {
        char key[24];
        if (m->numbers[i] != NUMBER_FREE)
            continue;
        snprintf(key, sizeof key, "%" PRId64, m->base + (int64_t)i + 1);
        scales_tell(m->scales, &w, key, "sequence", NULL, "one message of each");
    }
}

static void begin_window(struct messages *m, day_t day)
{
    size_t count = expected_count(m->window);
    assert(m->numbers == NULL); // the window before was ended
    m->day = day;
    m->numbers = calloc(count + 1, sizeof *m->numbers);
    if (!m->numbers)
        abort();
    for (size_t i = 0; i < count; i++) {
        struct expected *x = expected_at(m->window, i);
        x->day = day;
        if (x->sequence != 0)
            messages_take_number(m, x->sequence, (uint32_t)i + 1);
    }
}

static void end_window(struct messages *m)
{
    assert(m->numbers != NULL);
    m->base += (int64_t)expected_count(m->window);
    expected_empty(m->window);
    free(m->numbers);
    m->numbers = NULL;
}

int messages_compare(struct messages *m, struct audit_rows *rows, day_t day, struct error *e)
{
    size_t count = expected_count(m->window);
    int64_t limit = m->base + (int64_t)count;
    begin_window(m, day);
    int failed =
        audit_rows_outbox(rows, m->base, limit, take_outbox_row, m, e) == STORE_OK ? 0 : -1;
    for (enum output o = 0; o < OUTPUT_COUNT && !failed; o++)
        failed = records_read(m, o, limit, e);
    for (size_t i = 0; i < count && !failed; i++) {
        const struct expected *x = expected_at(m->window, i);
        if (x->offset < 0)
            failed = carry(m, x, e);
    }
    if (!failed)
        tell_gaps(m);
    end_window(m);
    assert(m->base == limit);
    return failed;
}

// ---- the end ----

// The number of rows that were not found; `cut`: only in topics that were not read from their
// beginnings.
static size_t count_missing(const struct messages *m, bool cut)
{
    size_t missing = 0;
    for (size_t i = 0; i < expected_count(m->carried); i++) {
        const struct expected *x = expected_at(m->carried, i);
        missing += x->offset < 0 && !(cut && m->topics[x->output].whole);
    }
    return missing;
}

static int read_outputs(struct messages *m, int64_t until, struct error *e)
{
    for (enum output o = 0; o < OUTPUT_COUNT; o++)
        if (records_read(m, o, until, e))
            return -1;
    return 0;
}

int messages_read_on(struct messages *m, int64_t until, struct error *e)
{
    assert(expected_count(m->window) == 0); // all windows were compared
    m->day = DAY_NONE;
    if (read_outputs(m, until, e))
        return -1;
    if (until == INT64_MAX)
        return 0;
    if (count_missing(m, false) > 0)
        return read_outputs(m, INT64_MAX, e);
    records_judge_early(m);
    return 0;
}

bool messages_may_stand_before(const struct messages *m)
{
    return count_missing(m, true) > 0;
}

int messages_look_back(struct messages *m, struct scan *scan, struct error *e)
{
    for (enum output o = 0; o < OUTPUT_COUNT; o++)
        if (!m->topics[o].whole && records_look_back(m, o, scan, e))
            return -1;
    return 0;
}

int messages_end(struct messages *m, struct error *e)
{
    expected_sort(m->carried);
    for (size_t i = 0; i < expected_count(m->carried); i++) {
        const struct expected *x = expected_at(m->carried, i);
        m->day = x->day;
        if (x->offset < 0 && m->topics[x->output].looked_back && is_cut_off(m, x))
            return refuse_log(m, x, e);
        if (x->offset < 0)
            tell_absent(m, x);
    }
    for (int o = 0; o < OUTPUT_COUNT; o++) {
        size_t log = m->options.first_log + (size_t)o;
        bool part = !m->topics[o].whole || m->topics[o].later;
        publications_read(&m->options.report->publications, m->topics[o].publication, part,
                          scan_from(m->options.scan, log), scan_at(m->options.scan, log));
    }
    return 0;
}
