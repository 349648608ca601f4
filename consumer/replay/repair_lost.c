#include "consumer/replay/repair_lost.h"

#include "consumer/base/memory.h"
#include "consumer/kafka/scan.h"
#include "consumer/system/clock.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    CHUNK_ROWS = 5000, // of the outbox, checked and published at once
    CHUNK_BYTES = 16 << 20,
    TRIES = 20, // while a broker does not answer
    RETRY_MS = 500,
};

struct search {
    const struct repair_lost_options *options;
    int64_t oldest; // row of the outbox
    uint64_t *present; // a bit a row from `oldest` to `published`
    // their bytes belong to the store, and are valid until its next call
    struct outbox_row rows[CHUNK_ROWS];
    const struct outbox_row *missing[CHUNK_ROWS];
};

static bool is_present(const struct search *s, int64_t sequence)
{
    assert(sequence >= s->oldest);
    assert(sequence <= s->options->published);
    uint64_t at = (uint64_t)(sequence - s->oldest);
    return s->present[at / 64] >> at % 64 & 1;
}

static void note_present(struct search *s, int64_t sequence)
{
    if (sequence < s->oldest || sequence > s->options->published)
        return;
    uint64_t at = (uint64_t)(sequence - s->oldest);
    s->present[at / 64] |= UINT64_C(1) << at % 64;
}

// *count 0: there is none.
static int load_rows(struct search *s, int64_t after, size_t limit, size_t *count, struct error *e)
{
    const struct repair_lost_options *o = s->options;
    const struct outbox_window window = {after, limit, CHUNK_BYTES};
    enum store_result result = store_load_outbox(o->store, o->shard, &window, s->rows, count, e);
    return result == STORE_OK ? 0 : -1;
}

// Reads each topic completely: rows that were published again stand at its end, whatever their
// sequences.
static int read_topic(struct search *s, struct scan *scan, enum output output, struct error *e)
{
    const rd_kafka_message_t *message;
    struct published_row row;
    for (;;) {
        if (scan_look(scan, (size_t)output, 0, &message, e))
            return -1;
        if (!message)
            return 0;
        message_read(s->options->reader, output, message, &row);
        if (row.sequence > 0)
            note_present(s, row.sequence);
        scan_take(scan, (size_t)output);
    }
}

static int read_topics(struct search *s, struct error *e)
{
    const struct repair_lost_options *o = s->options;
    struct scan_log logs[OUTPUT_COUNT];
    struct scan *scan = NULL;
    for (int i = 0; i < OUTPUT_COUNT; i++)
        logs[i] = (struct scan_log){.topic = o->publishing->topics[i], .from = SCAN_BEGINNING};
    const struct scan_options options = {.properties = &o->publishing->properties,
                                         .group = o->publishing->group,
                                         .cluster_id = o->cluster_id,
                                         .partitions = o->partitions,
                                         .partition = o->shard,
                                         .count = OUTPUT_COUNT,
                                         .logs = logs};
    if (scan_open(&options, &scan, e))
        return -1;
    int failed = 0;
    for (enum output i = 0; i < OUTPUT_COUNT && !failed; i++)
        failed = read_topic(s, scan, i, e);
    for (size_t i = 0; i < OUTPUT_COUNT && !failed; i++)
        if (scan_goes_on(scan, i))
            failed = error_set(
                e, ERROR_UNAVAILABLE,
                "a transaction stands open on topic %s partition %" PRId32
                ", and what is behind it cannot be read: wait until it ends, and run this again",
                logs[i].topic, o->shard);
    scan_close(scan);
    return failed;
}

int repair_make_publisher(const struct publisher_options *options, int32_t shard, bool alone,
                          const atomic_bool *stop, struct publisher **out, struct error *e)
{
    enum publish_result result = PUBLISH_WAITING;
    *out = NULL;
    if (publisher_create(options, shard, alone, stop, out, e))
        return -1;
    for (int i = 0; i < TRIES && result == PUBLISH_WAITING; i++) {
        if (i > 0)
            nanosleep(&(struct timespec){.tv_nsec = RETRY_MS * 1000000L}, NULL);
        result = publisher_init(*out, e);
    }
    if (result == PUBLISH_OK)
        return 0;
    publisher_destroy(*out);
    *out = NULL;
    return -1;
}

// One transaction, by a producer of its own. It does not change the position.
static enum publish_result publish(struct search *s, size_t count, bool alone,
                                   const uint8_t hash[32], struct error *e)
{
    const struct repair_lost_options *o = s->options;
    const atomic_bool stop = false;
    struct publisher *publisher = NULL;
    enum publish_result result = PUBLISH_BROKEN;
    assert(count > 0);
    if (repair_make_publisher(o->publishing, o->shard, alone, &stop, &publisher, e) == 0) {
        result = publisher_begin(publisher, s->missing, count, e);
        if (result == PUBLISH_OK)
            result = publisher_flush(publisher, e);
        if (result == PUBLISH_OK)
            result = publisher_commit(publisher, o->published, hash, e);
    }
    publisher_destroy(publisher);
    return result;
}

static bool is_any_missing(const struct search *s)
{
    int64_t sequence = s->oldest;
    while (sequence <= s->options->published && is_present(s, sequence))
        sequence++;
    return sequence <= s->options->published;
}

static int raise_mark(struct search *s, struct error *e)
{
    const struct repair_lost_options *o = s->options;
    return store_raise_mark(o->store, o->shard, o->epoch, o->published, clock_wall_ms(), e) ==
                   STORE_OK
               ? 0
               : -1;
}

static int publish_missing(struct search *s, const uint8_t hash[32], int64_t *rows, int64_t *first,
                           int64_t *last, struct error *e)
{
    size_t count = 0, missing = 0;
    int64_t after = s->oldest - 1;
    for (; after < s->options->published; missing = 0) {
        if (load_rows(s, after, CHUNK_ROWS, &count, e))
            return -1;
        if (count == 0)
            return 0;
        for (size_t i = 0; i < count && s->rows[i].sequence <= s->options->published; i++)
            if (!is_present(s, s->rows[i].sequence))
                s->missing[missing++] = &s->rows[i];
        after = s->rows[count - 1].sequence;
        if (missing == 0)
            continue;
        enum publish_result result = publish(s, missing, false, hash, e);
        if (result == PUBLISH_SPLIT)
            result = publish(s, missing, true, hash, e);
        if (result != PUBLISH_OK)
            return -1;
        if (*rows == 0)
            *first = s->missing[0]->sequence;
        assert(s->missing[missing - 1]->sequence > *last); // in their order
        *last = s->missing[missing - 1]->sequence;
        *rows += (int64_t)missing;
    }
    return 0;
}

static int search(struct search *s, int64_t *rows, int64_t *first, int64_t *last, struct error *e)
{
    const struct repair_lost_options *o = s->options;
    uint8_t hash[32];
    bool found = false;
    size_t count = 0;
    if (load_rows(s, 0, 1, &count, e))
        return -1;
    s->oldest = count > 0 ? s->rows[0].sequence : o->published + 1;
    if (s->oldest > o->published)
        return 0; // nothing that was published is kept
    s->present = memory_grow(NULL, (size_t)(o->published - s->oldest) / 64 + 1, sizeof *s->present);
    memset(s->present, 0, ((size_t)(o->published - s->oldest) / 64 + 1) * sizeof *s->present);
    if (store_outbox_hash(o->store, o->shard, o->published, hash, &found, e) != STORE_OK)
        return -1;
    if (!found)
        return error_set(e, ERROR_CONFIG,
                         "row %" PRId64 " of settled.outbox is missing: restore it from a backup",
                         o->published);
    if (read_topics(s, e))
        return -1;
    if (!is_any_missing(s))
        return 0;
    return raise_mark(s, e) ? -1 : publish_missing(s, hash, rows, first, last, e);
}

int repair_lost(const struct repair_lost_options *options, int64_t *rows, int64_t *first,
                int64_t *last, struct error *e)
{
    struct search *s = memory_grow(NULL, 1, sizeof *s);
    s->options = options;
    s->present = NULL;
    *rows = *first = *last = 0;
    int failed = search(s, rows, first, last, e);
    free(s->present);
    free(s);
    return failed;
}
