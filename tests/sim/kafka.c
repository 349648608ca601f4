#include "tests/sim/kafka.h"

#include <assert.h>

void kafka_free(struct kafka *kafka)
{
    for (int s = 0; s < SHARDS_MAX; s++) {
        for (int i = 0; i < INPUT_COUNT; i++)
            list_free(&kafka->logs[s][i].entries);
        for (int o = 0; o < OUTPUT_COUNT; o++) {
            list_free(&kafka->outputs[s][o].messages);
            list_free(&kafka->coordinators[s].staged[o]);
        }
        list_free(&kafka->coordinators[s].positions);
    }
    list_free(&kafka->travelling);
}

// ---- inputs ----

static void find_stable(struct input_topic_log *log, int64_t now)
{
    while (log->stable < (int64_t)log->entries.count &&
           log->entries.at[log->stable].fate != FATE_PENDING)
        log->entries.at[log->stable++].stable_at = now;
}

static void append(struct input_topic_log *log, struct entry entry, int64_t now)
{
    entry.timestamp = now + log->skew;
    entry.appended_at = now;
    entry.stable_at = -1;
    *list_add(&log->entries) = entry;
    find_stable(log, now);
}

void kafka_append(struct kafka *kafka, const struct send *send, int64_t now)
{
    append(&kafka->logs[send->partition][send->fact.input],
           (struct entry){.log_append = !send->create_time,
                          .by_another_count = send->by_another_count,
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
                if (entry->marker || entry->transaction != transaction)
                    continue;
                entry->fate = commit ? FATE_COMMITTED : FATE_ABORTED;
                touched = true;
            }
            if (touched)
                append(log, (struct entry){.marker = true, .fate = FATE_COMMITTED}, now);
        }
}

// ---- the relays' transactions ----

// Few enough that worlds reach the last epoch. As in Kafka, the last epoch is never given to a
// client: the time-out of a transaction of the epoch before uses it.
enum { LAST_EPOCH = 12 };

static void drop_staged(struct coordinator *c)
{
    for (int o = 0; o < OUTPUT_COUNT; o++)
        c->staged[o].count = 0;
    c->staged_position.n = -1;
}

static void begin_end(struct kafka *kafka, int32_t shard, bool commit)
{
    struct coordinator *c = &kafka->coordinators[shard];
    c->state = commit ? TXN_PREPARE_COMMIT : TXN_PREPARE_ABORT;
    if (commit && c->staged_position.n >= 0)
        kafka->on_commit(kafka->context, shard, c);
}

static void write_marker(struct kafka *kafka, int32_t shard, int partition)
{
    struct coordinator *c = &kafka->coordinators[shard];
    bool commit = c->state == TXN_PREPARE_COMMIT;
    c->partitions &= ~(1U << partition);
    if (partition == OUTPUT_COUNT && commit && c->staged_position.n >= 0) {
        c->position = c->staged_position;
        *list_add(&c->positions) = c->position;
    }
    for (size_t i = 0; partition < OUTPUT_COUNT && commit && i < c->staged[partition].count; i++) {
        const struct message *message = &c->staged[partition].at[i];
        kafka->on_message(kafka->context, shard, message);
        *list_add(&kafka->outputs[shard][partition].messages) = *message;
    }
    if (partition < OUTPUT_COUNT)
        c->staged[partition].count = 0;
    if (c->partitions != 0)
        return;
    c->state = commit ? TXN_COMPLETE_COMMIT : TXN_COMPLETE_ABORT;
    drop_staged(c);
}

static bool is_ending(const struct coordinator *c)
{
    return c->state == TXN_PREPARE_COMMIT || c->state == TXN_PREPARE_ABORT;
}

void kafka_write_markers(struct kafka *kafka, int32_t shard, struct dice *dice)
{
    struct coordinator *c = &kafka->coordinators[shard];
    if (!is_ending(c) || c->stuck || kafka->down)
        return;
    int chance = (int)dice_below(dice, 10), first = (int)dice_below(dice, OUTPUT_COUNT + 1);
    for (int i = 0; i <= OUTPUT_COUNT && chance < 8 && is_ending(c); i++) {
        int partition = (first + i) % (OUTPUT_COUNT + 1);
        if (!(c->partitions & 1U << partition))
            continue;
        write_marker(kafka, shard, partition);
        if (chance < 2)
            return;
    }
}

static enum txn_answer answer_init(struct kafka *kafka, struct txn_request *request)
{
    struct coordinator *c = &kafka->coordinators[request->shard];
    if (c->state == TXN_ONGOING && kafka->fences) {
        c->epoch++;
        begin_end(kafka, request->shard, false);
    }
    if (is_ending(c) && kafka->fences)
        return TXN_CONCURRENT;
    if (c->producer_id == 0 || c->epoch + 1 >= LAST_EPOCH) {
        c->producer_id = ++kafka->last_producer_id;
        c->epoch = 0;
    } else {
        c->epoch++;
    }
    if (kafka->fences)
        c->state = TXN_EMPTY;
    request->producer_id = c->producer_id;
    request->epoch = c->epoch;
    return TXN_DONE;
}

// A request changes the transaction that is open.
static void touch(struct kafka *kafka, const struct txn_request *request)
{
    const struct coordinator *c = &kafka->coordinators[request->shard];
    if (c->transaction != request->transaction)
        kafka->on_touch(kafka->context, request);
}

static enum txn_answer add_partitions(struct kafka *kafka, const struct txn_request *request,
                                      unsigned partitions)
{
    struct coordinator *c = &kafka->coordinators[request->shard];
    if (is_ending(c))
        return TXN_CONCURRENT;
    if (c->state != TXN_ONGOING) {
        c->state = TXN_ONGOING;
        c->transaction = request->transaction;
        c->partitions = 0;
        drop_staged(c);
    }
    touch(kafka, request);
    c->partitions |= partitions;
    return TXN_DONE;
}

// A batch that was appended already gets a good answer, and one behind a gap is refused.
static enum txn_answer take_number(struct output_topic_log *log, const struct txn_request *request)
{
    if (log->producer_id != request->producer_id || log->producer_epoch != request->epoch) {
        if (request->number != 0)
            return TXN_REFUSED;
        log->producer_id = request->producer_id;
        log->producer_epoch = request->epoch;
        log->next = 0;
        for (int i = 0; i < RECENT_BATCHES; i++)
            log->recent[i] = -1;
    }
    for (int i = 0; i < RECENT_BATCHES; i++)
        if (log->recent[i] == request->number)
            return TXN_DONE;
    if (request->number != log->next)
        return TXN_REFUSED;
    memmove(log->recent + 1, log->recent, (RECENT_BATCHES - 1) * sizeof *log->recent);
    log->recent[0] = request->number;
    return TXN_DONE;
}

static enum txn_answer produce(struct kafka *kafka, const struct txn_request *request)
{
    struct coordinator *c = &kafka->coordinators[request->shard];
    struct output_topic_log *log = &kafka->outputs[request->shard][request->output];
    bool member = c->state == TXN_ONGOING && (c->partitions & 1U << request->output);
    if (!member)
        return TXN_REFUSED; // KIP-890: the leader asks the coordinator
    int before = log->producer_id == request->producer_id && log->producer_epoch == request->epoch
                     ? log->next
                     : 0;
    enum txn_answer answer = take_number(log, request);
    if (answer != TXN_DONE || request->number < before)
        return answer;
    touch(kafka, request);
    log->next = request->number + request->count;
    for (int i = 0; i < request->count; i++)
        *list_add(&c->staged[request->output]) = request->messages[i];
    return TXN_DONE;
}

static enum txn_answer stage_position(struct kafka *kafka, const struct txn_request *request)
{
    struct coordinator *c = &kafka->coordinators[request->shard];
    // KIP-890 once more
    if (c->state != TXN_ONGOING || !(c->partitions & TXN_OFFSETS))
        return TXN_REFUSED;
    touch(kafka, request);
    c->staged_position = request->position;
    return TXN_DONE;
}

static enum txn_answer answer_end(struct kafka *kafka, const struct txn_request *request)
{
    struct coordinator *c = &kafka->coordinators[request->shard];
    bool committing = c->state == TXN_PREPARE_COMMIT, aborting = c->state == TXN_PREPARE_ABORT;
    if (c->state == TXN_ONGOING) {
        touch(kafka, request);
        begin_end(kafka, request->shard, request->commit);
        return TXN_DONE;
    }
    if (request->commit ? committing : aborting)
        return TXN_CONCURRENT;
    return c->state == (request->commit ? TXN_COMPLETE_COMMIT : TXN_COMPLETE_ABORT) ? TXN_DONE
                                                                                    : TXN_REFUSED;
}

enum txn_answer kafka_answer(struct kafka *kafka, struct txn_request *request)
{
    struct coordinator *c = &kafka->coordinators[request->shard];
    if (request->kind == TXN_INIT)
        return answer_init(kafka, request);
    if (kafka->fences && c->producer_id != request->producer_id)
        return TXN_UNKNOWN_ID;
    if (kafka->fences && c->epoch != request->epoch)
        return TXN_FENCED;
    switch (request->kind) {
    case TXN_ADD_PARTITIONS:
        return add_partitions(kafka, request, request->outputs);
    case TXN_PRODUCE:
        return produce(kafka, request);
    case TXN_ADD_OFFSETS:
        return add_partitions(kafka, request, TXN_OFFSETS);
    case TXN_OFFSET_COMMIT:
        return stage_position(kafka, request);
    default:
        return answer_end(kafka, request);
    }
}

void kafka_deliver_travelling(struct kafka *kafka, int64_t step)
{
    for (size_t i = 0; i < kafka->travelling.count && !kafka->down;) {
        struct txn_request copy = kafka->travelling.at[i];
        if (copy.due > step) {
            i++;
            continue;
        }
        kafka->travelling.at[i] = kafka->travelling.at[--kafka->travelling.count];
        kafka->late++;
        if (kafka_answer(kafka, &copy) != TXN_DONE)
            kafka->refused++; // its sender does not hear it
    }
}

void kafka_time_out(struct kafka *kafka, int32_t shard)
{
    struct coordinator *c = &kafka->coordinators[shard];
    if (c->state != TXN_ONGOING)
        return;
    c->epoch++;
    begin_end(kafka, shard, false);
}

void kafka_expire_id(struct kafka *kafka, int32_t shard)
{
    struct coordinator *c = &kafka->coordinators[shard];
    if (c->state == TXN_ONGOING || is_ending(c))
        return;
    c->producer_id = 0;
    c->state = TXN_EMPTY;
}

bool kafka_unstable(const struct kafka *kafka, int32_t shard)
{
    const struct coordinator *c = &kafka->coordinators[shard];
    return c->staged_position.n >= 0 &&
           (c->state == TXN_ONGOING || (is_ending(c) && (c->partitions & TXN_OFFSETS)));
}

struct published_to kafka_position(struct kafka *kafka, int32_t shard)
{
    struct coordinator *c = &kafka->coordinators[shard];
    struct published_to answer = c->shows > 0 ? c->positions.at[c->shows - 1] : c->position;
    c->shows = 0;
    return answer;
}

void kafka_cut(struct kafka *kafka, int32_t shard, enum output output, size_t keep)
{
    struct output_topic_log *log = &kafka->outputs[shard][output];
    if (keep >= log->messages.count)
        return;
    log->messages.count = keep;
    if (log->low > keep)
        log->low = keep;
    log->cut_at = keep;
    log->cuts++;
}
