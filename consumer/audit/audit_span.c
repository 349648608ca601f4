#include "consumer/audit/audit_span.h"

#include "consumer/kafka/fetch_record.h"
#include "consumer/kafka/framing.h"
#include "consumer/output/output_reader.h"

#include <assert.h>
#include <stdlib.h>

enum { PATIENCE_MS = 15000 };

struct span_finder {
    const struct config *config;
    const struct output_framing *framing;
    struct record_fetcher *fetcher;
    struct output_reader *forms[OUTPUT_COUNT];
};

int span_finder_open(const struct config *config, const struct output_framing *framing,
                     struct span_finder **out, struct error *e)
{
    const char *pairs[CONFIG_PAIRS_MAX][2];
    struct client_properties properties = config_properties(config, pairs);
    struct span_finder *finder = calloc(1, sizeof *finder);
    if (!finder)
        return error_set(e, ERROR_RESTART, "memory is short");
    finder->config = config;
    finder->framing = framing;
    int failed = fetch_record_open(&properties, config->group, &finder->fetcher, e);
    for (enum output o = 0; o < OUTPUT_COUNT && !failed; o++)
        failed = output_reader_create(o, &finder->forms[o], e);
    *out = finder;
    if (!failed)
        return 0;
    span_finder_close(finder);
    *out = NULL;
    return -1;
}

void span_finder_close(struct span_finder *finder)
{
    if (!finder)
        return;
    for (int o = 0; o < OUTPUT_COUNT; o++)
        output_reader_destroy(finder->forms[o]);
    fetch_record_close(finder->fetcher);
    free(finder);
}

// The first row of the shard in a range.
struct probe {
    const struct span_finder *finder;
    enum output output;
    int32_t shard;
    bool found;
    int64_t offset, sequence;
};

// What is no row of ours is passed over: the audit itself tells of it.
static int take_probe(void *context, const rd_kafka_message_t *message, struct error *e)
{
    struct probe *probe = context;
    struct output_number number;
    struct slice body;
    int64_t schema_id;
    struct error why;
    (void)e;
    if (!message ||
        !framing_take_off(probe->finder->framing->framing,
                          (struct slice){message->payload, message->len}, &schema_id, &body) ||
        output_reader_number(probe->finder->forms[probe->output], body, &number, &why) ||
        number.shard != probe->shard)
        return 0;
    probe->found = true;
    probe->offset = message->offset;
    probe->sequence = number.sequence;
    return 1;
}

static int halve(const struct span_finder *finder, const struct record_range *log,
                 struct probe *probe, int64_t sequence, int64_t *from, struct error *e)
{
    struct record_range range = *log;
    while (range.to - range.from > 1) {
        const struct record_range upper = {range.topic, range.partition,
                                           range.from + (range.to - range.from) / 2, range.to};
        probe->found = false;
        if (fetch_record_range(finder->fetcher, &upper, PATIENCE_MS, take_probe, probe, e))
            return -1;
        if (probe->found && probe->sequence <= sequence)
            range.from = probe->offset;
        else
            range.to = upper.from;
        assert(range.from < range.to);
    }
    *from = range.from;
    return 0;
}

int span_find(struct span_finder *finder, int32_t shard, int64_t sequence,
              int64_t from[OUTPUT_COUNT], struct error *e)
{
    struct partition_ends ends[OUTPUT_COUNT];
    for (int o = 0; o < OUTPUT_COUNT; o++)
        ends[o] =
            (struct partition_ends){.topic = finder->config->output_topics[o], .partition = shard};
    if (fetch_record_ends(finder->fetcher, ends, OUTPUT_COUNT, PATIENCE_MS, e))
        return -1;
    for (enum output o = 0; o < OUTPUT_COUNT; o++) {
        const struct record_range log = {ends[o].topic, shard, ends[o].low, ends[o].high};
        struct probe probe = {.finder = finder, .output = o, .shard = shard};
        if (halve(finder, &log, &probe, sequence, &from[o], e))
            return -1;
    }
    return 0;
}
