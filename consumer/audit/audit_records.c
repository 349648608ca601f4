// Judges the records of an output topic, one after the other: what each is, and whether it stands
// there once and in its turn.
#include "consumer/audit/audit_records.h"

#include "consumer/base/memory.h"
#include "consumer/base/text.h"
#include "consumer/kafka/framing.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WHERE_SIZE = 512, DETAIL_SIZE = 512, EARLY_MAX = 1000 };

// A record that is being judged.
struct topic_record {
    const rd_kafka_message_t *message;
    const struct early_record *early; // NULL: it comes in the order of the topic
    struct weighed weighed;
    char where[WHERE_SIZE];
};

static const char *output_topic(const struct messages *m, enum output output)
{
    return m->options.topics[output];
}

// ---- reading ----

// -1: it is not a row of this shard; *why says why.
static int read_record(const struct messages *m, enum output output,
                       const rd_kafka_message_t *message, struct topic_record *r, struct error *why)
{
    const enum framing framing = m->options.framing->framing;
    struct weighed *w = &r->weighed;
    *r = (struct topic_record){.message = message};
    *w = (struct weighed){.published = true, .output = output, .day = DAY_NONE};
    w->number.shard = -1;
    if (message->key)
        w->key = (struct slice){message->key, message->key_len};
    w->account_id = scales_account(output, w->key);
    w->ce_id = scales_header(message, "ce_id");
    if (!framing_take_off(framing, (struct slice){message->payload, message->len}, &w->schema_id,
                          &w->body))
        return error_set(why, ERROR_CONFIG, "it cannot be read: it does not begin with %s",
                         framing_text(framing));
    struct error reason;
    if (scales_read(m->scales, output, w->body, &w->number, &reason)) {
        w->number = (struct output_number){.shard = -1};
        return error_set(why, ERROR_CONFIG, "it cannot be read: %s", reason.text);
    }
    if (w->number.shard == m->options.shard)
        return 0;
    return error_set(why, ERROR_CONFIG,
                     "it says that it is of shard %" PRId32
                     ", and stands in the partition of shard %" PRId32,
                     w->number.shard, m->options.shard);
}

// ---- telling ----

static void tell_anomaly(struct messages *m, const struct topic_record *r,
                         enum publication_kind kind, const char *detail)
{
    const struct weighed *w = &r->weighed;
    report_anomaly(m->options.report, m->topics[w->output].publication,
                   &(struct publication_anomaly){.kind = kind,
                                                 .topic = output_topic(m, w->output),
                                                 .partition = r->message->partition,
                                                 .offset = r->message->offset,
                                                 .shard = w->number.shard,
                                                 .sequence = w->number.sequence,
                                                 .account_id = w->account_id,
                                                 .ce_id = w->ce_id,
                                                 .day = w->day,
                                                 .detail = detail});
}

// The exact place of the first copy is known only while its day is in memory; later only an
// approximate place is known.
static void tell_repeated(struct messages *m, const struct topic_record *r,
                          const struct expected *first)
{
    char detail[DETAIL_SIZE];
    const struct order *order = m->topics[r->weighed.output].order;
    int64_t offset = first ? first->offset : order_near(order, r->weighed.number.sequence);
    snprintf(detail, sizeof detail, "the row stands at %s/%" PRId32 "@%" PRId64 "%s already",
             output_topic(m, r->weighed.output), r->message->partition, offset,
             first ? "" : ", or somewhat behind it,");
    tell_anomaly(m, r, PUBLICATION_REPEATED, detail);
}

static void tell_out_of_order(struct messages *m, const struct topic_record *r)
{
    char detail[DETAIL_SIZE];
    enum output output = r->weighed.output;
    const struct order *order = m->topics[output].order;
    snprintf(detail, sizeof detail,
             "it stands %s row %" PRId64 ", which is at %s/%" PRId32 "@%" PRId64,
             r->early ? "before" : "behind", r->early ? r->early->behind : order_highest(order),
             output_topic(m, output), r->message->partition,
             r->early ? r->early->behind_offset : order_highest_offset(order));
    tell_anomaly(m, r, PUBLICATION_OUT_OF_ORDER, detail);
}

// ---- one that is a row ----

// Its place among those of its topic.
static void take_turn(struct messages *m, const struct topic_record *r, int64_t sequence)
{
    struct messages_topic *topic = &m->topics[r->weighed.output];
    if (r->early || order_turn(topic->order, sequence) == ORDER_LATE)
        tell_out_of_order(m, r);
    order_take(topic->order, sequence, r->message->offset);
    report_published(m->options.report, topic->publication, r->weighed.account_id);
    // A record that was written after the scan was opened must not make rows of other topics look
    // late.
    bool before =
        r->message->offset < scan_last(m->options.scan, m->options.first_log + r->weighed.output);
    if (before && sequence > m->published)
        m->published = sequence;
}

static void take_expected(struct messages *m, const struct topic_record *r, struct expected *x)
{
    int64_t sequence = r->weighed.number.sequence;
    assert(x->offset < 0); // a row is found once
    // A number in dispute must not make the rows behind it look late.
    if (x->sequence == 0 || x->sequence == sequence)
        take_turn(m, r, sequence);
    else
        report_published(m->options.report, m->topics[x->output].publication,
                         r->weighed.account_id);
    x->offset = r->message->offset;
    m->options.report->totals.messages++;
    scales_weigh_message(m->scales, &r->weighed, x, r->message);
    messages_take_number(m, sequence, NUMBER_TAKEN);
}

// ---- one with an id that no row in hand has ----

// Says which row has its number, as far as this window knows.
static void tell_owner(struct messages *m, const struct topic_record *r)
{
    int64_t sequence = r->weighed.number.sequence;
    assert(sequence > m->base);
    assert(sequence <= m->base + (int64_t)expected_count(m->window));
    uint32_t who = m->numbers[sequence - m->base - 1];
    char detail[DETAIL_SIZE] = "settled has no row with this id";
    if (who != NUMBER_FREE && who != NUMBER_TAKEN) {
        const struct expected *owner = expected_at(m->window, who - 1);
        snprintf(detail, sizeof detail, "row %" PRId64 " is %s of %s", sequence, owner->ce_id,
                 output_topic(m, owner->output));
    }
    tell_anomaly(m, r, PUBLICATION_FOREIGN, detail);
}

static bool is_beyond(const struct messages *m, const struct topic_record *r)
{
    return r->weighed.number.sequence > m->options.newest &&
           r->message->offset <
               scan_last(m->options.scan, m->options.first_log + r->weighed.output);
}

static void tell_beyond(struct messages *m, const struct topic_record *r)
{
    char detail[DETAIL_SIZE];
    snprintf(detail, sizeof detail,
             "PostgreSQL's last row is %" PRId64
             ": settled did not write it, or the database has lost commits",
             m->options.newest);
    tell_anomaly(m, r, PUBLICATION_FOREIGN, detail);
}

// The ids of rows of days that are not compared are not known here: such records are judged by
// their numbers alone.
static void judge_unknown(struct messages *m, const struct topic_record *r)
{
    int64_t sequence = r->weighed.number.sequence;
    const struct messages_topic *topic = &m->topics[r->weighed.output];
    bool here = sequence > m->base && sequence <= m->base + (int64_t)expected_count(m->window);
    bool over = sequence > m->options.base && sequence <= m->base;
    if (is_beyond(m, r))
        tell_beyond(m, r);
    else if (here)
        tell_owner(m, r);
    else if (order_turn(topic->order, sequence) == ORDER_AGAIN)
        tell_repeated(m, r, NULL);
    else if (over && !topic->forgotten)
        tell_anomaly(m, r, PUBLICATION_FOREIGN, "the row with this number is another one");
    else
        take_turn(m, r, sequence);
}

// ---- any ----

static void place_text(const struct messages *m, struct topic_record *r)
{
    struct weighed *w = &r->weighed;
    snprintf(r->where, sizeof r->where, "%s/%" PRId32 "/%" PRId64, output_topic(m, w->output),
             r->message->partition, r->message->offset);
    w->where = r->where;
}

static void judge_record(struct messages *m, struct topic_record *r)
{
    struct weighed *w = &r->weighed;
    char detail[DETAIL_SIZE];
    struct expected *x = messages_find(m, w->output, w->ce_id);
    place_text(m, r);
    w->day = x ? x->day : DAY_NONE;
    if (x)
        w->account_id = scales_account(w->output, x->key);
    if (!x) {
        judge_unknown(m, r);
    } else if (x->offset < 0) {
        take_expected(m, r, x);
    } else if (x->sequence == 0 || x->sequence == w->number.sequence) {
        tell_repeated(m, r, x);
        scales_weigh_message(m->scales, w, x, r->message);
    } else {
        snprintf(detail, sizeof detail,
                 "it has the id of row %" PRId64 ", which stands at %s/%" PRId32 "@%" PRId64,
                 x->sequence, output_topic(m, w->output), r->message->partition, x->offset);
        tell_anomaly(m, r, PUBLICATION_FOREIGN, detail);
    }
}

// ---- those that come before their turn ----

static void judge_early(struct messages *m, enum output output, int64_t limit)
{
    struct messages_topic *topic = &m->topics[output];
    size_t left = 0;
    for (size_t i = 0; i < topic->early_count; i++) {
        struct early_record early = topic->early[i];
        struct topic_record r;
        struct error why;
        if (early.sequence > limit) {
            topic->early[left++] = early;
            continue;
        }
        if (read_record(m, output, early.message, &r, &why) == 0) {
            r.early = &early;
            judge_record(m, &r);
        }
        rd_kafka_message_destroy(early.message);
    }
    topic->early_count = left;
}

static void keep_early(struct messages *m, enum output output, struct early_record early)
{
    struct messages_topic *topic = &m->topics[output];
    assert(topic->early_count < EARLY_MAX);
    assert(early.behind <= early.sequence); // it stands before its turn
    early.message = scan_keep(m->options.scan, m->options.first_log + output);
    topic->early = memory_reserve(topic->early, topic->early_count, &topic->early_capacity,
                                  sizeof *topic->early);
    topic->early[topic->early_count++] = early;
}

void records_release(struct messages_topic *topic)
{
    for (size_t i = 0; i < topic->early_count; i++)
        rd_kafka_message_destroy(topic->early[i].message);
    free(topic->early);
    topic->early = NULL;
    topic->early_count = 0;
}

// ---- in the order of the topic ----

enum place { PLACE_HERE, PLACE_EARLY, PLACE_LATER };

// A number beyond the window belongs to a later window, unless the number of the next record is in
// its turn: then this record is out of turn.
static int place_record(struct messages *m, const struct topic_record *r, int64_t limit,
                        struct early_record *early, enum place *out, struct error *e)
{
    enum output output = r->weighed.output;
    int64_t sequence = r->weighed.number.sequence;
    const struct messages_topic *topic = &m->topics[output];
    const struct expected *x = messages_find(m, output, r->weighed.ce_id);
    const rd_kafka_message_t *next;
    struct topic_record behind;
    struct error why;
    *out = PLACE_HERE;
    if (sequence <= limit || (x && x->offset < 0) || is_beyond(m, r))
        return 0;
    *out = PLACE_LATER;
    if (topic->early_count == EARLY_MAX)
        return 0;
    if (scan_look(m->options.scan, m->options.first_log + output, 1, &next, e))
        return -1;
    if (!next || read_record(m, output, next, &behind, &why))
        return 0;
    int64_t number = behind.weighed.number.sequence;
    if (number > sequence || order_turn(topic->order, number) != ORDER_IN_TURN)
        return 0;
    *out = PLACE_EARLY;
    *early = (struct early_record){
        .sequence = sequence, .behind = number, .behind_offset = next->offset};
    return 0;
}

static int read_next(struct messages *m, enum output output, int64_t limit, bool *more,
                     struct error *e)
{
    struct messages_topic *topic = &m->topics[output];
    size_t log = m->options.first_log + output;
    const rd_kafka_message_t *message;
    struct early_record early;
    enum place place = PLACE_HERE;
    struct topic_record r;
    struct error why;
    if (scan_look(m->options.scan, log, 0, &message, e))
        return -1;
    *more = message;
    if (!message)
        return 0;
    bool foreign = read_record(m, output, message, &r, &why) != 0;
    if (!foreign && topic->first == 0)
        topic->first = r.weighed.number.sequence;
    if (!foreign && place_record(m, &r, limit, &early, &place, e))
        return -1;
    topic->later = place == PLACE_LATER;
    *more = place != PLACE_LATER;
    if (foreign)
        tell_anomaly(m, &r, PUBLICATION_FOREIGN, why.text);
    else if (place == PLACE_EARLY)
        keep_early(m, output, early);
    else if (place == PLACE_HERE)
        judge_record(m, &r);
    if (place == PLACE_HERE)
        scan_take(m->options.scan, log);
    return 0;
}

void records_judge_early(struct messages *m)
{
    for (enum output o = 0; o < OUTPUT_COUNT; o++)
        judge_early(m, o, INT64_MAX);
}

static void take_earlier(struct messages *m, struct topic_record *r, struct expected *x)
{
    place_text(m, r);
    x->offset = r->message->offset;
    report_published(m->options.report, m->topics[x->output].publication, r->weighed.account_id);
    m->options.report->totals.messages++;
    scales_weigh_message(m->scales, &r->weighed, x, r->message);
}

int records_look_back(struct messages *m, enum output output, struct scan *scan, struct error *e)
{
    struct messages_topic *topic = &m->topics[output];
    int64_t to = scan_from(m->options.scan, m->options.first_log + output);
    const rd_kafka_message_t *message;
    topic->looked_back = true;
    topic->first = 0;
    for (;; scan_take(scan, output)) {
        struct topic_record r;
        struct error why;
        if (scan_look(scan, output, 0, &message, e))
            return -1;
        if (!message || message->offset >= to)
            return 0;
        if (read_record(m, output, message, &r, &why))
            continue;
        if (topic->first == 0)
            topic->first = r.weighed.number.sequence;
        struct expected *x = expected_find(m->carried, output, r.weighed.ce_id);
        if (x && x->offset < 0)
            take_earlier(m, &r, x);
    }
}

int records_read(struct messages *m, enum output output, int64_t limit, struct error *e)
{
    bool more = true;
    judge_early(m, output, limit);
    m->topics[output].later = false;
    while (more)
        if (read_next(m, output, limit, &more, e))
            return -1;
    return 0;
}
