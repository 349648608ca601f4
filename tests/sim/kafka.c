#include "tests/sim/kafka.h"

#include <assert.h>

void kafka_free(struct kafka *kafka)
{
    for (size_t i = 0; i < kafka->batches.count; i++) list_free(&kafka->batches.at[i].messages);
    list_free(&kafka->batches);
    for (int s = 0; s < SHARDS_MAX; s++) {
        for (int i = 0; i < INPUT_COUNT; i++) list_free(&kafka->logs[s][i].entries);
        for (int o = 0; o < OUTPUT_COUNT; o++) list_free(&kafka->read[s][o]);
    }
}

// ---- inputs ----

static void find_stable(struct input_topic_log *log, int64_t now)
{
    while (log->stable < (int64_t)log->entries.count && log->entries.at[log->stable].fate != FATE_PENDING)
        log->entries.at[log->stable++].stable_at = now;
}

static void append(struct input_topic_log *log, struct entry entry, int64_t now)
{
    entry.timestamp = now + log->skew;
    entry.stable_at = -1;
    *list_add(&log->entries) = entry;
    find_stable(log, now);
}

void kafka_append(struct kafka *kafka, const struct send *send, int64_t now)
{
    append(&kafka->logs[send->partition][send->fact.input],
           (struct entry){.log_append = !send->create_time,
                          .fate = send->transaction ? FATE_PENDING : FATE_COMMITTED,
                          .transaction = send->transaction,
                          .fact = send->fact},
           now);
}

void kafka_end_transaction(struct kafka *kafka, int transaction, bool commit, int64_t now)
{
    for (int32_t s = 0; s < kafka->shards; s++)
        for (int i = 0; i < INPUT_COUNT; i++) {
            struct input_topic_log *log = &kafka->logs[s][i];
            bool touched = false;
            for (size_t e = 0; e < log->entries.count; e++) {
                struct entry *entry = &log->entries.at[e];
                if (entry->marker || entry->transaction != transaction) continue;
                entry->fate = commit ? FATE_COMMITTED : FATE_ABORTED;
                touched = true;
            }
            if (touched) append(log, (struct entry){.marker = true, .fate = FATE_COMMITTED}, now);
        }
}

// ---- the relays' transactions ----

static void end_batch(struct kafka *kafka, struct batch *batch, bool commit)
{
    batch->travelling = false;
    batch->fate = commit ? FATE_COMMITTED : FATE_ABORTED;
    if (!commit) return;
    for (size_t i = 0; i < batch->messages.count; i++) {
        const struct message *message = &batch->messages.at[i];
        *list_add(&kafka->read[batch->shard][message->output]) = *message;
    }
    struct published_to *position = &kafka->coordinators[batch->shard].position;
    position->n = batch->to;
    position->has_hash = true;
    memcpy(position->hash, batch->hash, sizeof position->hash);
    kafka->on_batch(kafka->context, batch);
}

static void abort_open(struct kafka *kafka, int32_t shard)
{
    for (size_t i = 0; i < kafka->batches.count; i++)
        if (kafka->batches.at[i].shard == shard && kafka->batches.at[i].fate == FATE_PENDING)
            end_batch(kafka, &kafka->batches.at[i], false);
}

int kafka_init_producer(struct kafka *kafka, int32_t shard)
{
    if (kafka->fences) abort_open(kafka, shard);
    return ++kafka->coordinators[shard].producer_epoch;
}

static bool is_current(const struct kafka *kafka, int32_t shard, int producer_epoch)
{
    return !kafka->fences || kafka->coordinators[shard].producer_epoch == producer_epoch;
}

int kafka_begin(struct kafka *kafka, int32_t shard, int producer_epoch)
{
    if (!is_current(kafka, shard, producer_epoch)) return -1;
    *list_add(&kafka->batches) = (struct batch){.shard = shard, .producer_epoch = producer_epoch};
    return (int)kafka->batches.count - 1;
}

enum sent kafka_end(struct kafka *kafka, int number, bool commit)
{
    struct batch *batch = &kafka->batches.at[number];
    if (!is_current(kafka, batch->shard, batch->producer_epoch)) return SENT_FENCED;
    if (batch->fate != FATE_PENDING) return SENT_GONE;
    end_batch(kafka, batch, commit);
    return SENT_OK;
}

void kafka_deliver_travelling(struct kafka *kafka)
{
    for (size_t i = 0; i < kafka->batches.count; i++)
        if (kafka->batches.at[i].travelling) {
            kafka->batches.at[i].travelling = false;
            kafka_end(kafka, (int)i, true);
        }
}

void kafka_time_out(struct kafka *kafka, int32_t shard)
{
    if (!kafka_unstable(kafka, shard)) return;
    abort_open(kafka, shard);
    kafka->coordinators[shard].producer_epoch++;
}

bool kafka_unstable(const struct kafka *kafka, int32_t shard)
{
    for (size_t i = 0; i < kafka->batches.count; i++)
        if (kafka->batches.at[i].shard == shard && kafka->batches.at[i].fate == FATE_PENDING) return true;
    return false;
}

int64_t kafka_tail(const struct kafka *kafka, int32_t shard)
{
    int64_t highest = 0;
    for (int o = 0; o < OUTPUT_COUNT; o++) {
        size_t count = kafka->read[shard][o].count;
        if (count > 0 && kafka->read[shard][o].at[count - 1].sequence > highest)
            highest = kafka->read[shard][o].at[count - 1].sequence;
    }
    return highest > kafka->coordinators[shard].emptied ? highest : 0;
}
