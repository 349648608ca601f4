// What the topics hold, against what is recorded: each of these makes a shard halt once it runs.
#include "consumer/core/log_proof.h"
#include "consumer/kafka/fetch_record.h"
#include "consumer/preflight/gates.h"
#include "consumer/relay/published_position.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    // The last offsets of a partition may be control records, which are never delivered. Before
    // them there may be any number of records of aborted transactions.
    NEWEST_TAIL = 10,
    TAIL_GROWTH = 32,
};

// ---- where the topics begin and end ----

static size_t count_partitions_of(const struct gates *g)
{
    size_t count = 0;
    for (int i = 0; i < TOPIC_COUNT; i++)
        count += g->topics[i].exists ? (size_t)g->topics[i].partitions : 0;
    return count;
}

static struct gates_partition *make_partitions(int32_t count)
{
    struct gates_partition *list = calloc((size_t)count, sizeof *list);
    if (!list)
        abort(); // out of memory
    for (int32_t p = 0; p < count; p++)
        list[p].newest_at = list[p].newest_sequence = -1;
    return list;
}

static void keep_ends(struct gates *g, const struct partition_ends *ends)
{
    for (int i = 0; i < TOPIC_COUNT; i++) {
        const struct admin_topic *t = &g->topics[i];
        if (!t->exists)
            continue;
        g->partitions[i] = make_partitions(t->partitions);
        for (int32_t p = 0; p < t->partitions; p++, ends++) {
            g->partitions[i][p].low = ends->low;
            g->partitions[i][p].high = ends->high;
        }
    }
}

void gate_ends(struct gates *g)
{
    struct error e = {0};
    size_t count = count_partitions_of(g), used = 0;
    struct partition_ends *ends = calloc(count ? count : 1, sizeof *ends);
    if (!ends)
        abort(); // out of memory
    for (int i = 0; i < TOPIC_COUNT; i++)
        for (int32_t p = 0; g->topics[i].exists && p < g->topics[i].partitions; p++)
            ends[used++] = (struct partition_ends){.topic = g->topics[i].name, .partition = p};
    assert(used == count);
    if (fetch_record_open(&g->properties, g->config->group, &g->reader, &e) ||
        fetch_record_ends(g->reader, ends, count, GATES_KAFKA_MS, &e)) {
        gates_find_error(g, &e);
    } else {
        keep_ends(g, ends);
        g->facts |= FACT_ENDS;
    }
    free(ends);
}

// ---- their last records ----

// What a range is read for.
struct tail {
    int topic;
    const struct log_state *remembered; // NULL: nothing is
};

struct tails {
    struct gates *g;
    struct tail *list;
    struct record_range *ranges;
    struct output_reader *forms[OUTPUT_COUNT];
};

static struct gates_partition *partition_of_range(const struct tails *t, size_t i)
{
    return &t->g->partitions[t->list[i].topic][t->ranges[i].partition];
}

static void tell_unread(struct gates *g, const struct record_range *range, rd_kafka_resp_err_t code)
{
    struct error e = {0};
    if (fetch_record_refused(g->reader, range->topic, code, &e))
        gates_find_error(g, &e);
    else
        WRONG(g, "topic %s cannot be read: %s", range->topic, rd_kafka_err2str(code));
}

// One finding a topic: what one partition cannot be read for mostly holds of all.
static void take_unread(struct tails *t, size_t i, rd_kafka_resp_err_t code)
{
    struct gates_partition *partitions = t->g->partitions[t->list[i].topic];
    bool told = false;
    for (int32_t p = 0; p < t->g->topics[t->list[i].topic].partitions; p++)
        told = told || partitions[p].unread;
    partition_of_range(t, i)->unread = true;
    // out of the log since it was asked for: retention goes on meanwhile
    if (!told && code != RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET &&
        code != RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE)
        tell_unread(t->g, &t->ranges[i], code);
}

static void take_remembered(const struct log_state *remembered, const rd_kafka_message_t *message,
                            struct gates_partition *out)
{
    const struct event event = {.offset = message->offset,
                                .timestamp = rd_kafka_message_timestamp(message, NULL),
                                .key = {message->key, message->key_len},
                                .value = {message->payload, message->len}};
    out->looked = true;
    out->proved = log_proof_holds(remembered, &event);
}

static void take_gate_record(void *context, size_t i, const rd_kafka_message_t *message)
{
    struct tails *t = context;
    const struct tail *tail = &t->list[i];
    struct gates_partition *out = partition_of_range(t, i);
    if (message->err) {
        take_unread(t, i, message->err);
        return;
    }
    // The first record that comes at or behind the remembered one must be it.
    if (tail->remembered && !out->looked && message->offset >= tail->remembered->last_offset)
        take_remembered(tail->remembered, message, out);
    out->newest_at = rd_kafka_message_timestamp(message, NULL);
    if (tail->topic < INPUT_COUNT)
        return;
    struct error ignored;
    int32_t shard;
    int64_t sequence;
    const struct slice value = {message->payload, message->len};
    if (published_sequence(t->forms[tail->topic - INPUT_COUNT], t->g->config->framing, value,
                           &shard, &sequence, &ignored) == 0 &&
        shard == message->partition && sequence > out->newest_sequence)
        out->newest_sequence = sequence;
}

static const struct recorded_shard *find_shard(const struct recorded_shards *shards, int32_t shard)
{
    for (size_t i = 0; i < shards->count; i++)
        if (shards->list[i].shard == shard)
            return &shards->list[i];
    return NULL;
}

static const struct log_state *remembered_of(const struct gates *g, int topic, int32_t partition)
{
    const struct recorded_shard *shard =
        topic < INPUT_COUNT ? find_shard(&g->shards, partition) : NULL;
    return shard ? &shard->log[topic] : NULL;
}

// What is read of a partition: its newest records, or the remembered one alone when that stands far
// behind them. False: nothing.
static bool find_range(const struct gates *g, struct tail *tail, bool far, struct record_range *out)
{
    int topic = tail->topic;
    int32_t partition = out->partition;
    const struct gates_partition *at = &g->partitions[topic][partition];
    const struct log_state *log = g->facts & FACT_SAME ? remembered_of(g, topic, partition) : NULL;
    int64_t newest = at->high - NEWEST_TAIL > at->low ? at->high - NEWEST_TAIL : at->low;
    bool kept = log && log->last_offset >= at->low && log->last_offset < at->high;
    bool apart = kept && log->last_offset < newest;
    if (far && !apart)
        return false;
    tail->remembered = apart == far && kept ? log : NULL;
    *out = (struct record_range){g->topics[topic].name, partition, far ? log->last_offset : newest,
                                 far ? log->last_offset + 1 : at->high};
    return true;
}

// The records that are remembered far behind the end are read apart: only they, not all up to the
// end.
static size_t list_ranges(struct tails *t, bool far)
{
    const struct gates *g = t->g;
    size_t count = 0;
    for (int i = 0; i < TOPIC_COUNT; i++)
        for (int32_t p = 0; g->topics[i].exists && p < g->topics[i].partitions; p++) {
            t->list[count] = (struct tail){.topic = i};
            t->ranges[count] = (struct record_range){.partition = p};
            count += find_range(g, &t->list[count], far, &t->ranges[count]);
        }
    return count;
}

// The outputs of which no row was found in their last `tail` offsets: what comes before these.
static size_t list_earlier(struct tails *t, int64_t tail)
{
    const struct gates *g = t->g;
    size_t count = 0;
    for (int i = INPUT_COUNT; i < TOPIC_COUNT; i++)
        for (int32_t p = 0; g->topics[i].exists && p < g->topics[i].partitions; p++) {
            const struct gates_partition *at = &g->partitions[i][p];
            int64_t to = at->high - tail, from = at->high - tail * TAIL_GROWTH;
            if (at->newest_sequence >= 0 || at->unread || to <= at->low)
                continue;
            t->list[count] = (struct tail){.topic = i};
            t->ranges[count++] =
                (struct record_range){g->topics[i].name, p, from > at->low ? from : at->low, to};
        }
    return count;
}

static int read_tails(struct tails *t, struct error *e)
{
    for (enum output o = 0; o < OUTPUT_COUNT; o++)
        if (output_reader_create(o, &t->forms[o], e))
            return -1;
    size_t count = list_ranges(t, true);
    if (count > 0 && fetch_record_ranges(t->g->reader, (struct record_ranges){t->ranges, count},
                                         GATES_KAFKA_MS, take_gate_record, t, e))
        return -1;
    count = list_ranges(t, false);
    int failed = fetch_record_ranges(t->g->reader, (struct record_ranges){t->ranges, count},
                                     GATES_KAFKA_MS, take_gate_record, t, e);
    for (int64_t tail = NEWEST_TAIL; !failed && (count = list_earlier(t, tail)) > 0;
         tail *= TAIL_GROWTH)
        failed = fetch_record_ranges(t->g->reader, (struct record_ranges){t->ranges, count},
                                     GATES_KAFKA_MS, take_gate_record, t, e);
    return failed;
}

void gate_records(struct gates *g)
{
    struct error e = {0};
    size_t count = count_partitions_of(g);
    struct tails t = {.g = g};
    t.list = calloc(count ? count : 1, sizeof *t.list);
    t.ranges = calloc(count ? count : 1, sizeof *t.ranges);
    if (!t.list || !t.ranges)
        abort(); // out of memory
    if (read_tails(&t, &e))
        gates_find_error(g, &e);
    else
        g->facts |= FACT_READ;
    for (enum output o = 0; o < OUTPUT_COUNT; o++)
        output_reader_destroy(t.forms[o]);
    free(t.list);
    free(t.ranges);
}

// Brokers do not tell the time, but their stamps do: a last record from the future is a clock that
// is wrong. No error: only its log waits, a clock may be right again by then, and a record can only
// be passed while the daemon runs.
void gate_clock(struct gates *g)
{
    for (int i = 0; i < INPUT_COUNT; i++) {
        int32_t latest = 0;
        for (int32_t p = 1; g->partitions[i] && p < g->topics[i].partitions; p++)
            if (g->partitions[i][p].newest_at > g->partitions[i][latest].newest_at)
                latest = p;
        int64_t at = g->partitions[i] ? g->partitions[i][latest].newest_at : -1;
        if (at > g->now_ms + g->config->parameters.future_tolerance_ms)
            WARN(g,
                 "the last record of %s/%" PRId32 " was stamped %" PRId64
                 " s ahead of this clock, and its log waits "
                 "before it: set the clock here or of the brokers; if the record is wrong, pass "
                 "it: settled rejects "
                 "pass",
                 g->topics[i].name, latest, (at - g->now_ms) / 1000);
    }
}

// ---- the inputs against the positions ----

static void check_position(struct gates *g, const struct recorded_shard *shard, enum input input)
{
    struct error e = {0};
    const struct gates_partition *at = &g->partitions[input][shard->shard];
    const struct log_state *log = &shard->log[input];
    const struct log_place place = {g->topics[input].name, shard->shard};
    int64_t needed = input == INPUT_CALLS ? shard->calls_from : log->next;
    if (log_proof_reach(&place, &(struct log_reach){at->low, at->high}, needed, log, &e) ||
        (at->looked && !at->proved && log_proof_refuse(&place, log, &e)))
        gates_find_error(g, &e);
    else if (log->last_offset >= at->low && !at->looked && !at->unread)
        WRONG(g,
              "%s/%" PRId32 ": the record at offset %" PRId64
              ", which was read before, is not there: the topic was deleted and made again, or "
              "rewritten; see the runbook",
              place.topic, place.partition, log->last_offset);
}

void gate_positions(struct gates *g)
{
    for (size_t i = 0; i < g->shards.count; i++)
        for (enum input in = 0; in < INPUT_COUNT; in++)
            if (g->partitions[in] && g->shards.list[i].shard < g->topics[in].partitions)
                check_position(g, &g->shards.list[i], in);
}

// ---- the outputs against the outbox ----

// The highest sequence that the shard's outputs hold. *known: it is sure. *whole: no output has
// expired, nor was cut.
static int64_t highest_published(const struct gates *g, int32_t shard, bool *known, bool *whole)
{
    int64_t highest = 0;
    *known = *whole = true;
    for (int i = INPUT_COUNT; i < TOPIC_COUNT; i++) {
        if (!g->partitions[i] || shard >= g->topics[i].partitions) {
            *known = *whole = false;
            continue;
        }
        const struct gates_partition *at = &g->partitions[i][shard];
        // records are there, and the last offsets are none, or are not settled's.
        if (at->unread || (at->high > at->low && at->newest_sequence < 0))
            *known = false;
        if (at->low > 0)
            *whole = false;
        if (at->newest_sequence > highest)
            highest = at->newest_sequence;
    }
    return highest;
}

// Rows below the mark may have expired in the outbox; that of the mark, and those above, are kept.
static void check_shard_row(struct gates *g, const struct recorded_shard *shard,
                            const struct published_at *at, int64_t sequence)
{
    struct error e = {0};
    uint8_t hash[32];
    bool found;
    if (at->n <= 0)
        return;
    if (store_outbox_hash(g->store, shard->shard, at->n, hash, &found, &e) != STORE_OK)
        gates_find_error(g, &e);
    else if (!found && at->n >= shard->relayed)
        WRONG(g,
              "shard %" PRId32 ": row %" PRId64
              " of settled.outbox is missing although PostgreSQL counts up to %" PRId64
              ": it cannot be told whether Kafka and PostgreSQL agree. Restore the row from a "
              "backup",
              shard->shard, at->n, sequence);
    else if (found && at->has_hash && memcmp(hash, at->hash, sizeof hash) != 0)
        WRONG(g,
              "shard %" PRId32 ": row %" PRId64
              " in PostgreSQL is not the one that was published under this sequence: a fail-over "
              "or a restore lost commits and others took their place. Bring PostgreSQL back to the "
              "state that was published (the old primary)",
              shard->shard, at->n);
}

// `before`: as it was recorded before Kafka was asked; `now`: after.
static void check_published(struct gates *g, const struct recorded_shard *before,
                            const struct recorded_shard *now, const struct published_at *at)
{
    bool known, whole;
    int64_t highest = highest_published(g, now->shard, &known, &whole);
    int64_t held = highest > at->n ? highest : at->n;
    if (known && highest < before->relayed && (whole || at->n < before->relayed))
        WRONG(g,
              "shard %" PRId32 ": the output topics hold nothing above sequence %" PRId64
              ", but up to %" PRId64
              " was published: a topic was deleted, expired or lost data. Restore the topics; or, "
              "to publish again what the outbox still has, set relayed = %" PRId64
              " in settled.shards for this shard",
              now->shard, highest, before->relayed, highest);
    else if (held > now->sequence)
        WRONG(g,
              "shard %" PRId32 ": Kafka holds rows up to sequence %" PRId64
              ", PostgreSQL only up to %" PRId64
              ": it lost commits (a fail-over or a restore). Bring PostgreSQL back to a state with "
              "row %" PRId64
              " (the old primary, or recovery to a later point); if there is none, settled repair",
              now->shard, held, now->sequence, held);
    else
        check_shard_row(g, before, at, now->sequence);
}

static void check_all_published(struct gates *g, const struct published_at *positions)
{
    struct error e = {0};
    struct recorded_shards now = {0};
    if (recorded_shards_load(g->store, &now, &e)) {
        gates_find_error(g, &e);
        return;
    }
    for (size_t i = 0; i < g->shards.count; i++) {
        const struct recorded_shard *before = &g->shards.list[i];
        const struct recorded_shard *found = find_shard(&now, before->shard);
        if (found)
            check_published(g, before, found, &positions[i]);
    }
    free(now.list);
}

void gate_published(struct gates *g)
{
    struct error e = {0};
    struct publisher_options options = {.group = g->config->group, .properties = g->properties};
    int32_t *shards = calloc(g->shards.count + 1, sizeof *shards);
    struct published_at *positions = calloc(g->shards.count + 1, sizeof *positions);
    if (!positions || !shards)
        abort(); // out of memory
    for (enum output o = 0; o < OUTPUT_COUNT; o++)
        options.topics[o] = g->config->output_topics[o];
    for (size_t i = 0; i < g->shards.count; i++)
        shards[i] = g->shards.list[i].shard;
    static const atomic_bool go_on;
    const struct published_shards asked = {shards, g->shards.count, GATES_KAFKA_MS};
    switch (published_positions(&options, asked, &go_on, positions, &e)) {
    case PUBLISHED_FOUND:
    case PUBLISHED_UNKNOWN:
        check_all_published(g, positions);
        break;
    case PUBLISHED_UNAVAILABLE:
    case PUBLISHED_FOREIGN:
        // A process that was killed may have left a transaction open, and the first thing that the
        // relay does is to end it. It compares the same before anything is committed.
        if (e.kind == ERROR_UNAVAILABLE)
            WARN(g, "not looked at yet: %s; the relays look before anything is committed", e.text);
        else
            gates_find_error(g, &e);
        break;
    }
    free(positions);
    free(shards);
}
