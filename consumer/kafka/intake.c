#include "consumer/kafka/intake.h"
#include "consumer/kafka/refusal.h"
#include "consumer/system/clock.h"
#include "consumer/system/fault.h"

#include "consumer/system/log.h"

#include <assert.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

enum {
    LANE_BLOCKS = 2, // every lane may hold so many, whatever the others hold
    POOL_BLOCKS = 256, // kept for reuse
    BEAT_MS = 250, // how often librdkafka looks whether a heartbeat is due
    CONFIRM_MS = 100, // polls without a loss for so long confirm an assignment
    GATHER_MS = 50, // shards that start within it start with one assignment
    IDLE_MS = 100,
    FIGURES_MS = 1000,
    TELL_MS = 10000, // how often trouble is reported; librdkafka does it many times a second
};

enum lane_state { LANE_IDLE, LANE_WANTED, LANE_ASSIGNED, LANE_READING };

// What may follow what; anything else is a bug.
static const unsigned char lane_followers[] = {
    [LANE_IDLE] = 1 << LANE_IDLE | 1 << LANE_WANTED,
    [LANE_WANTED] = 1 << LANE_IDLE | 1 << LANE_WANTED | 1 << LANE_ASSIGNED,
    [LANE_ASSIGNED] = 1 << LANE_IDLE | 1 << LANE_WANTED | 1 << LANE_READING,
    [LANE_READING] = 1 << LANE_IDLE | 1 << LANE_WANTED,
};
static_assert(sizeof lane_followers == LANE_READING + 1, "each state says what may follow it");

struct intake_lane {
    struct intake *intake;
    int32_t shard;
    enum input input;
    // The poll thread's:
    rd_kafka_queue_t *queue;
    struct block *filling;
    int64_t expected; // offset of the next record that is not dropped
    int64_t told_at; // trouble with it, monotonic ms; 0: never
    // why it could not be read, and nothing has come since; read by any thread
    _Atomic rd_kafka_resp_err_t trouble;
    // `expected` when it last changed or had no need to, and when that was
    int64_t moved_to, moved_at;
    // Changed under the intake's lock:
    _Atomic enum lane_state state;
    int64_t start; // WANTED: where to
    struct block *head, *tail;
    _Atomic int blocks; // of this lane, wherever they are
    _Atomic int64_t end;
};

struct intake {
    struct intake_options options;
    rd_kafka_t *client;
    rd_kafka_queue_t *group_queue;
    int wake; // eventfd
    pthread_t thread;
    pthread_t poller; // the same, set and read by the poll thread itself
    bool started;
    atomic_bool stopping;
    _Atomic int64_t heartbeat;
    // the poll thread's: when trouble of no single log was reported, and when logs that stand still
    int64_t told_at, still_at;
    struct intake_lane *lanes; // partitions * INPUT_COUNT
    pthread_mutex_t lock;
    // Under the lock:
    bool *assigned; // by shard
    uint64_t assignment;
    int64_t assigned_at, wanted_at; // monotonic ms; wanted_at 0: no lane is WANTED
    bool failed;
    struct error error;
    bool member; // the group has given it its part, which may be nothing
    struct error trouble; // why it is no member; kind ERROR_NONE: not known
    struct block *pool;
    int pooled;
    _Atomic int64_t memory; // bytes of blocks in use
};

static struct intake_lane *lane_of(struct intake *intake, int32_t shard, enum input input)
{
    assert(shard >= 0 && shard < intake->options.partitions);
    assert(input < INPUT_COUNT);
    return &intake->lanes[(size_t)shard * INPUT_COUNT + input];
}

static const char *topic_of(const struct intake_lane *lane)
{
    return lane->intake->options.topics[lane->input];
}

// The poll thread's own fields need no lock, since no other thread touches them.
static void check_poller(const struct intake *intake)
{
    assert(pthread_equal(pthread_self(), intake->poller));
}

// Caller holds the lock.
static void lane_become(struct intake_lane *lane, enum lane_state state)
{
    assert(lane_followers[lane->state] & 1 << state);
    lane->state = state;
}

static void wake(struct intake *intake)
{
    uint64_t one = 1;
    // The counter can only be full when the poll thread is about to wake anyway.
    if (write(intake->wake, &one, sizeof one) < 0)
        return;
}

static void ring(struct intake *intake)
{
    intake->options.ring(intake->options.context);
}

// Only the first failure is reported. Caller holds the lock.
static void fail_locked(struct intake *intake, const struct error *e)
{
    if (!intake->failed)
        intake->error = *e;
    intake->failed = true;
}

static void fail(struct intake *intake, const struct error *e)
{
    pthread_mutex_lock(&intake->lock);
    fail_locked(intake, e);
    pthread_mutex_unlock(&intake->lock);
    ring(intake);
}

// ---- blocks ----

static struct block *block_get(struct intake_lane *lane, size_t needed)
{
    struct intake *intake = lane->intake;
    struct block *block = NULL;
    if (needed <= BLOCK_BYTES) {
        pthread_mutex_lock(&intake->lock);
        block = intake->pool;
        if (block) {
            assert(intake->pooled > 0);
            intake->pool = block->next;
            intake->pooled--;
        }
        pthread_mutex_unlock(&intake->lock);
    }
    if (!block) {
        size_t capacity = needed <= BLOCK_BYTES ? BLOCK_BYTES : needed;
        block = malloc(sizeof *block + capacity);
        if (!block)
            return NULL;
        block->capacity = capacity;
    }
    block->next = NULL;
    block->used = 0;
    lane->blocks++;
    intake->memory += (int64_t)block->capacity;
    return block;
}

// Caller holds the lock.
static void block_put_locked(struct intake_lane *lane, struct block *block)
{
    struct intake *intake = lane->intake;
    assert(lane->blocks > 0);
    assert(intake->memory >= (int64_t)block->capacity);
    lane->blocks--;
    intake->memory -= (int64_t)block->capacity;
    if (block->capacity != BLOCK_BYTES || intake->pooled >= POOL_BLOCKS) {
        free(block);
        return;
    }
    block->next = intake->pool;
    intake->pool = block;
    intake->pooled++;
}

static bool lane_has_room(const struct intake_lane *lane)
{
    return lane->blocks < LANE_BLOCKS ||
           lane->intake->memory < (int64_t)lane->intake->options.memory;
}

// Hands the block being filled over to the thread that takes blocks.
static void lane_flush(struct intake_lane *lane)
{
    struct intake *intake = lane->intake;
    struct block *block = lane->filling;
    if (!block)
        return;
    assert(block->used > 0);
    assert(block->used <= block->capacity);
    assert(block->next == NULL);
    block->read_at = clock_monotonic_ms();
    lane->filling = NULL;
    pthread_mutex_lock(&intake->lock);
    if (lane->tail)
        lane->tail->next = block;
    else
        lane->head = block;
    lane->tail = block;
    pthread_mutex_unlock(&intake->lock);
    ring(intake);
}

// When records come slowly, each does not get a block of its own: the last block is filled further
// as long as nobody has taken it.
static void lane_reopen(struct intake_lane *lane)
{
    pthread_mutex_lock(&lane->intake->lock);
    struct block *tail = lane->tail;
    if (tail && tail->capacity - tail->used >= BLOCK_BYTES / 4) {
        struct block **link = &lane->head, *before = NULL;
        for (; *link != tail; link = &(*link)->next)
            before = *link;
        *link = NULL;
        assert((lane->head == NULL) == (before == NULL));
        lane->tail = before;
        lane->filling = tail;
    }
    pthread_mutex_unlock(&lane->intake->lock);
}

// Caller holds the lock.
static void lane_clear_locked(struct intake_lane *lane)
{
    for (struct block *block = lane->head, *next; block; block = next) {
        next = block->next;
        block_put_locked(lane, block);
    }
    lane->head = lane->tail = NULL;
}

static struct raw *lane_append(struct intake_lane *lane, int64_t offset, uint32_t key_size,
                               uint32_t value_size)
{
    size_t size = raw_bytes(key_size, value_size);
    struct block *block = lane->filling;
    if (!block || block->capacity - block->used < size) {
        if (!block)
            lane_reopen(lane);
        block = lane->filling;
        if (!block || block->capacity - block->used < size) {
            lane_flush(lane);
            block = block_get(lane, size);
            if (!block)
                return NULL;
            lane->filling = block;
            if (!lane_has_room(lane))
                rd_kafka_yield(lane->intake->client);
        }
    }
    struct raw *raw = (struct raw *)(void *)(block->data + block->used);
    if (block->used == 0)
        block->first_offset = offset;
    block->used += size;
    *raw = (struct raw){.offset = offset, .key_size = key_size, .value_size = value_size};
    return raw;
}

static void out_of_memory(struct intake_lane *lane)
{
    struct error e;
    error_set(&e, ERROR_RESTART, "memory is short for a block of records of %s/%" PRId32,
              topic_of(lane), lane->shard);
    fail(lane->intake, &e);
    rd_kafka_yield(lane->intake->client);
}

// ---- what librdkafka delivers ----

static void take_end(struct intake_lane *lane, int64_t offset)
{
    struct raw *raw = lane_append(lane, offset, RAW_NULL, RAW_NULL);
    if (!raw) {
        out_of_memory(lane);
        return;
    }
    raw->kind = RAW_END;
    lane->trouble = RD_KAFKA_RESP_ERR_NO_ERROR;
    if (offset > lane->expected)
        lane->expected = offset;
}

// After these errors librdkafka goes on behind what it could not read, or does not go on at all:
// money would be lost, and nobody would notice.
static bool is_loss(rd_kafka_resp_err_t code)
{
    switch (code) {
    case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
    case RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE:
    case RD_KAFKA_RESP_ERR__BAD_MSG:
    case RD_KAFKA_RESP_ERR__BAD_COMPRESSION:
    case RD_KAFKA_RESP_ERR__NOT_IMPLEMENTED:
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
    case RD_KAFKA_RESP_ERR__UNDERFLOW:
    case RD_KAFKA_RESP_ERR__FATAL:
        return true;
    default:
        return false;
    }
}

// librdkafka tries again from the same offset, until it succeeds.
static void tell_trouble(struct intake *intake, struct intake_lane *lane, const char *reason)
{
    int64_t now = clock_monotonic_ms(), *told_at = lane ? &lane->told_at : &intake->told_at;
    if (*told_at != 0 && now - *told_at < TELL_MS)
        return;
    *told_at = now;
    log_event(LOG_WARN, "reading is in trouble",
              LOG_FIELDS(log_text("topic", lane ? topic_of(lane) : ""),
                         log_int("partition", lane ? lane->shard : -1),
                         log_int("offset", lane ? lane->expected : -1),
                         log_text("reason", reason)));
}

// `topic`: NULL where it is of none.
static void explain_trouble(struct intake *intake, const char *topic, rd_kafka_resp_err_t code,
                            const char *text, struct error *e)
{
    const struct refusal_call call = {
        .topic = topic, .operations = REFUSAL_READ, .group = intake->options.group};
    error_set(e, ERROR_UNAVAILABLE, "reading%s%s: %s", topic ? " " : "", topic ? topic : "",
              text ? text : rd_kafka_err2str(code));
    (void)refusal_explain(intake->client, code, &call, e);
}

// It goes on trying.
static void take_trouble(struct intake *intake, struct intake_lane *lane,
                         const rd_kafka_message_t *message)
{
    struct error e;
    const char *topic = message->rkt ? rd_kafka_topic_name(message->rkt) : NULL;
    explain_trouble(intake, topic, message->err, rd_kafka_message_errstr(message), &e);
    tell_trouble(intake, lane, e.text);
    if (lane) {
        lane->trouble = message->err;
        return;
    }
    pthread_mutex_lock(&intake->lock);
    intake->trouble = e;
    pthread_mutex_unlock(&intake->lock);
    ring(intake);
}

static void take_error(struct intake *intake, struct intake_lane *lane,
                       const rd_kafka_message_t *message)
{
    const char *text = rd_kafka_message_errstr(message);
    if (!is_loss(message->err)) {
        take_trouble(intake, lane, message);
        return;
    }
    struct error e;
    error_set(&e, ERROR_CONFIG,
              "%s/%" PRId32 ": reading from offset %" PRId64
              " failed: %s; the records from there on are "
              "missing or damaged: restore the topic, nothing was skipped",
              lane ? topic_of(lane) : "Kafka", lane ? lane->shard : -1, lane ? lane->expected : -1,
              text ? text : rd_kafka_err2str(message->err));
    fail(intake, &e);
    rd_kafka_yield(intake->client);
}

// The hot path: one copy a record, nothing else.
static void take(rd_kafka_message_t *message, void *opaque)
{
    struct intake_lane *lane = opaque;
    if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        take_end(lane, message->offset);
        return;
    }
    if (message->err) {
        take_error(lane->intake, lane, message);
        return;
    }
    if (message->offset < lane->expected)
        return; // delivered before
    uint32_t key_size = message->key ? (uint32_t)message->key_len : RAW_NULL;
    uint32_t value_size = message->payload ? (uint32_t)message->len : RAW_NULL;
    struct raw *raw = lane_append(lane, message->offset, key_size, value_size);
    if (!raw) {
        out_of_memory(lane);
        return;
    }
    raw_fill(raw, message);
    lane->expected = message->offset + 1;
}

// ---- the group ----

static void revoke_locked(struct intake *intake)
{
    for (size_t i = 0; i < (size_t)intake->options.partitions * INPUT_COUNT; i++) {
        struct intake_lane *lane = &intake->lanes[i];
        if (lane->filling)
            block_put_locked(lane, lane->filling);
        lane->filling = NULL;
        lane_clear_locked(lane);
        lane_become(lane, LANE_IDLE);
    }
    memset(intake->assigned, 0, (size_t)intake->options.partitions * sizeof *intake->assigned);
    intake->wanted_at = 0;
    intake->member = false;
    intake->assignment++;
}

// A shard is the same partition of all three topics; range over equal counts gives them to one
// member.
static bool read_assignment(struct intake *intake, const rd_kafka_topic_partition_list_t *list,
                            struct error *e)
{
    int32_t partitions = intake->options.partitions;
    int *count = calloc((size_t)partitions, sizeof *count);
    if (!count)
        return error_set(e, ERROR_RESTART, "memory is short for an assignment") == 0;
    bool whole = true;
    const rd_kafka_topic_partition_t *highest = NULL;
    for (int i = 0; i < list->cnt; i++) {
        if (!highest || list->elems[i].partition > highest->partition)
            highest = &list->elems[i];
        if (list->elems[i].partition < partitions)
            count[list->elems[i].partition]++;
    }
    for (int32_t p = 0; p < partitions; p++) {
        whole = whole && (count[p] == 0 || count[p] == INPUT_COUNT);
        intake->assigned[p] = count[p] == INPUT_COUNT;
    }
    free(count);
    if (highest && highest->partition >= partitions)
        return client_wrong_count(highest->topic, highest->partition + 1, partitions, e) == 0;
    if (whole)
        return true;
    error_set(e, ERROR_CONFIG,
              "group %s does not give the same partitions of %s, %s and %s to one member; give the "
              "three topics the "
              "same number of partitions (%" PRId32 " when this process started)",
              intake->options.group, intake->options.topics[INPUT_CALLS],
              intake->options.topics[INPUT_PURCHASES], intake->options.topics[INPUT_CREDITS],
              partitions);
    return false;
}

// A member is given nothing of a topic that its client does not see; NULL: it sees all.
static const char *unseen_topic(const struct intake *intake,
                                const rd_kafka_topic_partition_list_t *list)
{
    int given[INPUT_COUNT] = {0};
    for (int i = 0; i < list->cnt; i++)
        for (int input = 0; input < INPUT_COUNT; input++)
            given[input] += strcmp(list->elems[i].topic, intake->options.topics[input]) == 0;
    for (int input = 0; list->cnt > 0 && input < INPUT_COUNT; input++)
        if (given[input] == 0)
            return intake->options.topics[input];
    return NULL;
}

// Caller holds the lock.
static void take_assignment_locked(struct intake *intake,
                                   const rd_kafka_topic_partition_list_t *list)
{
    struct error e;
    const char *unseen = unseen_topic(intake, list);
    intake->assigned_at = clock_monotonic_ms();
    if (unseen) {
        // The group gives it out again as soon as the topic shows.
        error_set(&intake->trouble, ERROR_UNAVAILABLE,
                  "topic %s does not show: it is not there, or this user may not read it; settled "
                  "check says which",
                  unseen);
        return;
    }
    if (!read_assignment(intake, list, &e))
        fail_locked(intake, &e);
    intake->member = true;
    intake->trouble = (struct error){0};
}

// Nothing is fetched until the shards say from where: an assignment of no partitions acknowledges
// the group's.
static void on_rebalance(rd_kafka_t *client, rd_kafka_resp_err_t code,
                         rd_kafka_topic_partition_list_t *list, void *opaque)
{
    struct intake *intake = opaque;
    check_poller(intake);
    pthread_mutex_lock(&intake->lock);
    revoke_locked(intake);
    if (code == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS)
        take_assignment_locked(intake, list);
    pthread_mutex_unlock(&intake->lock);
    if (code == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
        rd_kafka_topic_partition_list_t *nothing = rd_kafka_topic_partition_list_new(1);
        rd_kafka_assign(client, nothing);
        rd_kafka_topic_partition_list_destroy(nothing);
        fault_point(group_joined);
    } else {
        fault_point(group_revoked);
        rd_kafka_assign(client, NULL);
    }
    ring(intake);
}

// Separates the partition's queue from the group's before the partition is assigned, so that every
// record comes through it.
static void lane_open(struct intake_lane *lane)
{
    static const uint64_t one = 1;
    if (lane->queue)
        rd_kafka_queue_destroy(lane->queue);
    lane->queue = rd_kafka_queue_get_partition(lane->intake->client, topic_of(lane), lane->shard);
    assert(lane->queue);
    rd_kafka_queue_forward(lane->queue, NULL);
    rd_kafka_queue_io_event_enable(lane->queue, lane->intake->wake, &one, sizeof one);
}

// Assigns all lanes that read or want to: librdkafka takes only whole assignments under the eager
// protocol.
static void assign_wanted(struct intake *intake)
{
    size_t count = (size_t)intake->options.partitions * INPUT_COUNT;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)count);
    pthread_mutex_lock(&intake->lock);
    intake->wanted_at = 0;
    for (size_t i = 0; i < count; i++) {
        struct intake_lane *lane = &intake->lanes[i];
        if (lane->state == LANE_WANTED) {
            lane->expected = lane->start;
            lane_become(lane, LANE_ASSIGNED);
        }
        if (lane->state != LANE_IDLE)
            rd_kafka_topic_partition_list_add(list, topic_of(lane), lane->shard)->offset =
                lane->expected;
    }
    pthread_mutex_unlock(&intake->lock);
    assert(list->cnt % INPUT_COUNT == 0); // the three logs of a shard go together
    for (int i = 0; i < list->cnt; i++)
        for (int input = 0; input < INPUT_COUNT; input++)
            if (strcmp(list->elems[i].topic, intake->options.topics[input]) == 0)
                lane_open(lane_of(intake, list->elems[i].partition, (enum input)input));
    rd_kafka_resp_err_t code = rd_kafka_assign(intake->client, list);
    rd_kafka_topic_partition_list_destroy(list);
    fault_point(reading_starts);
    struct error e;
    pthread_mutex_lock(&intake->lock);
    if (code) {
        error_set(&e, ERROR_RESTART, "assigning partitions: %s", rd_kafka_err2str(code));
        fail_locked(intake, &e);
    }
    // The barrier of the new assignment has passed: nothing of the old one is delivered any more.
    for (size_t i = 0; i < count; i++) {
        struct intake_lane *lane = &intake->lanes[i];
        if (lane->state != LANE_ASSIGNED)
            continue;
        lane_clear_locked(lane);
        lane_become(lane, LANE_READING);
    }
    pthread_mutex_unlock(&intake->lock);
}

// Serves rebalances and errors. A record that comes this way was fetched before its queue was
// separated. It is dropped here, and the restart fetches it again.
static void serve_group(struct intake *intake)
{
    rd_kafka_message_t *message;
    while ((message = rd_kafka_consumer_poll(intake->client, 0))) {
        if (message->err && message->err != RD_KAFKA_RESP_ERR__PARTITION_EOF) {
            struct intake_lane *lane = NULL;
            const char *topic = message->rkt ? rd_kafka_topic_name(message->rkt) : "";
            for (int i = 0; i < INPUT_COUNT && !lane; i++)
                if (strcmp(topic, intake->options.topics[i]) == 0 && message->partition >= 0 &&
                    message->partition < intake->options.partitions)
                    lane = lane_of(intake, message->partition, (enum input)i);
            take_error(intake, lane, message);
        }
        rd_kafka_message_destroy(message);
    }
}

static void refresh_ends(struct intake *intake)
{
    for (size_t i = 0; i < (size_t)intake->options.partitions * INPUT_COUNT; i++) {
        struct intake_lane *lane = &intake->lanes[i];
        int64_t low, high;
        if (lane->state != LANE_READING ||
            rd_kafka_get_watermark_offsets(intake->client, topic_of(lane), lane->shard, &low,
                                           &high))
            continue;
        lane->end = high >= 0 ? high : -1;
    }
}

// librdkafka does not report some errors of a fetch and tries again. An open transaction also stops
// a log.
static bool stands_still(struct intake_lane *lane, int64_t now)
{
    bool done = lane->end >= 0 && lane->expected >= lane->end;
    bool moves = lane->state != LANE_READING || done || lane->expected != lane->moved_to ||
                 !lane_has_room(lane) || rd_kafka_queue_length(lane->queue) > 0;
    if (moves || lane->moved_at == 0) {
        lane->moved_to = lane->expected;
        lane->moved_at = now;
    }
    return now - lane->moved_at >= lane->intake->options.still_ms;
}

static void tell_still_logs(struct intake *intake, int64_t now)
{
    const struct intake_lane *first = NULL;
    int64_t count = 0;
    for (size_t i = 0; i < (size_t)intake->options.partitions * INPUT_COUNT; i++) {
        struct intake_lane *lane = &intake->lanes[i];
        if (!stands_still(lane, now))
            continue;
        if (count++ == 0)
            first = lane;
    }
    if (!first || (intake->still_at != 0 && now - intake->still_at < intake->options.still_ms))
        return;
    intake->still_at = now;
    log_event(LOG_WARN,
              "logs stand still: a transaction is open in them, or they cannot be fetched",
              LOG_FIELDS(log_int("logs", count), log_text("topic", topic_of(first)),
                         log_int("partition", first->shard), log_int("offset", first->expected),
                         log_int("end", first->end)));
}

static bool serve_lanes(struct intake *intake)
{
    bool busy = false;
    for (size_t i = 0; i < (size_t)intake->options.partitions * INPUT_COUNT; i++) {
        struct intake_lane *lane = &intake->lanes[i];
        if (lane->state != LANE_READING || !lane_has_room(lane) ||
            rd_kafka_queue_length(lane->queue) == 0)
            continue;
        int64_t before = lane->expected;
        busy |= rd_kafka_consume_callback_queue(lane->queue, 0, take, lane) > 0;
        assert(lane->expected >= before);
        if (lane->expected > before)
            lane->trouble = RD_KAFKA_RESP_ERR_NO_ERROR;
        assert(lane->blocks >= 0);
        lane_flush(lane);
    }
    return busy;
}

static bool wanted_is_due(struct intake *intake, int64_t now)
{
    pthread_mutex_lock(&intake->lock);
    bool due = intake->wanted_at != 0 && now - intake->wanted_at >= GATHER_MS;
    pthread_mutex_unlock(&intake->lock);
    return due;
}

// Left alone, librdkafka's own thread looks only once a second whether a heartbeat is due. Each
// question to it makes it look.
static void keep_beating(struct intake *intake)
{
    char *id = rd_kafka_memberid(intake->client);
    if (id)
        rd_kafka_mem_free(intake->client, id);
}

static void *poll_main(void *argument)
{
    struct intake *intake = argument;
    int64_t figures_at = 0, beat_at = 0;
    intake->poller = pthread_self();
    while (!intake->stopping) {
        int64_t now = clock_monotonic_ms();
        assert(now >= intake->heartbeat);
        intake->heartbeat = now;
        serve_group(intake);
        if (wanted_is_due(intake, now))
            assign_wanted(intake);
        bool busy = serve_lanes(intake);
        if (now - beat_at >= BEAT_MS) {
            keep_beating(intake);
            beat_at = now;
        }
        if (now - figures_at >= FIGURES_MS) {
            refresh_ends(intake);
            tell_still_logs(intake, now);
            figures_at = now;
        }
        if (busy)
            continue;
        struct pollfd fd = {.fd = intake->wake, .events = POLLIN};
        uint64_t count;
        if (poll(&fd, 1, IDLE_MS) > 0 && read(intake->wake, &count, sizeof count) < 0)
            continue;
    }
    rd_kafka_consumer_close(intake->client);
    return NULL;
}

// ---- life ----

static const char *(member_properties[])[2] = {
    {"enable.auto.commit", "false"},
    {"enable.auto.offset.store", "false"},
    {"auto.offset.reset", "error"},
    {"isolation.level", "read_committed"},
    {"enable.partition.eof", "true"},
    {"partition.assignment.strategy", "range"},
    {"check.crcs", "true"},
    // A topic that has been hidden from this user shows again by then.
    {"topic.metadata.refresh.interval.ms", "30000"},
    {"session.timeout.ms", "10000"},
    {"heartbeat.interval.ms", "250"}, // by a heartbeat a member learns that another one joins
    {"max.poll.interval.ms", "30000"},
    // A full queue is looked at again when the fetch under way comes back. That fetch may be one of
    // idle partitions only, which waits for this long. It must not wait longer than the queued
    // records last.
    {"fetch.wait.max.ms", "50"},
    {"fetch.error.backoff.ms", "1"},
    {"queued.max.messages.kbytes", "32768"},
};

static rd_kafka_t *member_create(struct intake *intake, struct error *e)
{
    enum { COUNT = sizeof member_properties / sizeof member_properties[0] };
    char queued[16];
    const char *pairs[COUNT + 2][2];
    memcpy(pairs, member_properties, sizeof member_properties);
    // A bound for each partition's queue: large if there are few partitions, small if there are
    // many.
    int32_t most = 1000000 / (intake->options.partitions * INPUT_COUNT);
    snprintf(queued, sizeof queued, "%" PRId32,
             most > 300000  ? 300000
             : most < 10000 ? 10000
                            : most);
    pairs[COUNT][0] = "queued.min.messages";
    pairs[COUNT][1] = queued;
    pairs[COUNT + 1][0] = "group.id";
    pairs[COUNT + 1][1] = intake->options.group;
    struct client_properties ours = {COUNT + 2, pairs};
    rd_kafka_conf_t *conf = client_conf(&ours, &intake->options.properties, e);
    if (!conf)
        return NULL;
    rd_kafka_conf_set_rebalance_cb(conf, on_rebalance);
    rd_kafka_conf_set_opaque(conf, intake);
    return client_create(RD_KAFKA_CONSUMER, conf, e);
}

static void free_all(struct intake *intake)
{
    size_t lanes = (size_t)intake->options.partitions * INPUT_COUNT;
    if (intake->lanes && intake->assigned)
        revoke_locked(intake);
    assert(intake->memory == 0); // every block was given back
    for (size_t i = 0; intake->lanes && i < lanes; i++)
        if (intake->lanes[i].queue)
            rd_kafka_queue_destroy(intake->lanes[i].queue);
    if (intake->group_queue)
        rd_kafka_queue_destroy(intake->group_queue);
    if (intake->client)
        rd_kafka_destroy(intake->client);
    for (struct block *block = intake->pool, *next; block; block = next) {
        next = block->next;
        free(block);
    }
    if (intake->wake >= 0)
        close(intake->wake);
    pthread_mutex_destroy(&intake->lock);
    free(intake->assigned);
    free(intake->lanes);
    free(intake);
}

int intake_create(const struct intake_options *options, struct intake **out, struct error *e)
{
    struct intake *intake = calloc(1, sizeof *intake);
    *out = NULL;
    if (!intake)
        return error_set(e, ERROR_RESTART, "memory is short");
    intake->options = *options;
    pthread_mutex_init(&intake->lock, NULL);
    intake->heartbeat = clock_monotonic_ms();
    intake->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    intake->assigned = calloc((size_t)options->partitions, sizeof *intake->assigned);
    intake->lanes = calloc((size_t)options->partitions * INPUT_COUNT, sizeof *intake->lanes);
    if (intake->wake < 0 || !intake->assigned || !intake->lanes) {
        error_set(e, ERROR_RESTART, "memory or file descriptors are short");
        goto failed;
    }
    for (int32_t p = 0; p < options->partitions; p++)
        for (int i = 0; i < INPUT_COUNT; i++) {
            struct intake_lane *lane = lane_of(intake, p, (enum input)i);
            lane->intake = intake;
            lane->shard = p;
            lane->input = (enum input)i;
            lane->end = -1;
        }
    intake->client = member_create(intake, e);
    if (!intake->client)
        goto failed;
    static const uint64_t one = 1;
    rd_kafka_poll_set_consumer(intake->client);
    intake->group_queue = rd_kafka_queue_get_consumer(intake->client);
    rd_kafka_queue_io_event_enable(intake->group_queue, intake->wake, &one, sizeof one);
    if (pthread_create(&intake->thread, NULL, poll_main, intake)) {
        error_set(e, ERROR_RESTART, "no thread can be started");
        goto failed;
    }
    intake->started = true;
    *out = intake;
    return 0;
failed:
    free_all(intake);
    return -1;
}

int intake_join(struct intake *intake, struct error *e)
{
    rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(INPUT_COUNT);
    for (int i = 0; i < INPUT_COUNT; i++)
        rd_kafka_topic_partition_list_add(topics, intake->options.topics[i], RD_KAFKA_PARTITION_UA);
    rd_kafka_resp_err_t code = rd_kafka_subscribe(intake->client, topics);
    rd_kafka_topic_partition_list_destroy(topics);
    if (code)
        return error_set(e, ERROR_CONFIG, "subscribing to the input topics: %s",
                         rd_kafka_err2str(code));
    return 0;
}

static void *destroy_main(void *argument)
{
    free_all(argument);
    return NULL;
}

bool intake_destroy(struct intake *intake, int timeout_ms)
{
    if (!intake)
        return true;
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += timeout_ms / 1000;
    until.tv_nsec += (timeout_ms % 1000) * 1000000L;
    if (until.tv_nsec >= 1000000000L) {
        until.tv_nsec -= 1000000000L;
        until.tv_sec++;
    }
    intake->stopping = true;
    wake(intake);
    if (pthread_timedjoin_np(intake->thread, NULL, &until))
        return false;
    pthread_t thread;
    if (pthread_create(&thread, NULL, destroy_main, intake))
        return false;
    return pthread_timedjoin_np(thread, NULL, &until) == 0;
}

// ---- the reader's side ----

uint64_t intake_assignment(struct intake *intake, bool *shards, bool *confirmed)
{
    pthread_mutex_lock(&intake->lock);
    uint64_t assignment = intake->assignment;
    memcpy(shards, intake->assigned, (size_t)intake->options.partitions * sizeof *shards);
    int64_t since = intake->assigned_at;
    pthread_mutex_unlock(&intake->lock);
    *confirmed =
        intake->heartbeat - since >= CONFIRM_MS && !rd_kafka_assignment_lost(intake->client);
    return assignment;
}

void intake_start(struct intake *intake, uint64_t assignment, int32_t shard,
                  const int64_t offsets[INPUT_COUNT])
{
    pthread_mutex_lock(&intake->lock);
    assert(assignment <= intake->assignment);
    if (assignment == intake->assignment && intake->assigned[shard]) {
        for (int i = 0; i < INPUT_COUNT; i++) {
            struct intake_lane *lane = lane_of(intake, shard, (enum input)i);
            lane_clear_locked(lane);
            lane_become(lane, LANE_WANTED);
            lane->start = offsets[i];
        }
        intake->wanted_at = clock_monotonic_ms();
    }
    pthread_mutex_unlock(&intake->lock);
    wake(intake);
}

struct block *intake_next(struct intake *intake, int32_t shard, enum input input)
{
    struct intake_lane *lane = lane_of(intake, shard, input);
    pthread_mutex_lock(&intake->lock);
    assert((lane->head == NULL) == (lane->tail == NULL));
    struct block *block = lane->state == LANE_READING ? lane->head : NULL;
    if (block) {
        lane->head = block->next;
        if (!lane->head)
            lane->tail = NULL;
        block->next = NULL;
    }
    pthread_mutex_unlock(&intake->lock);
    return block;
}

void intake_release(struct intake *intake, int32_t shard, enum input input, struct block *block)
{
    struct intake_lane *lane = lane_of(intake, shard, input);
    bool was_full = !lane_has_room(lane);
    pthread_mutex_lock(&intake->lock);
    block_put_locked(lane, block);
    pthread_mutex_unlock(&intake->lock);
    if (was_full)
        wake(intake);
}

bool intake_is_member(struct intake *intake, struct error *e)
{
    pthread_mutex_lock(&intake->lock);
    bool member = intake->member;
    if (!member)
        *e = intake->trouble;
    pthread_mutex_unlock(&intake->lock);
    return member;
}

bool intake_unread(struct intake *intake, int32_t shard, enum input input, struct error *e)
{
    struct intake_lane *lane = lane_of(intake, shard, input);
    rd_kafka_resp_err_t code = lane->trouble;
    if (!code)
        return false;
    explain_trouble(intake, topic_of(lane), code, NULL, e);
    return true;
}

int64_t intake_end(struct intake *intake, int32_t shard, enum input input)
{
    return lane_of(intake, shard, input)->end;
}

void intake_commit(struct intake *intake, const struct intake_position *positions, size_t count)
{
    rd_kafka_topic_partition_list_t *list =
        rd_kafka_topic_partition_list_new((int)(count * INPUT_COUNT));
    for (size_t i = 0; i < count; i++)
        for (int input = 0; input < INPUT_COUNT; input++)
            rd_kafka_topic_partition_list_add(list, intake->options.topics[input],
                                              positions[i].shard)
                ->offset = positions[i].offsets[input];
    if (list->cnt > 0)
        rd_kafka_commit(intake->client, list, 1);
    rd_kafka_topic_partition_list_destroy(list);
}

bool intake_failed(struct intake *intake, struct error *e)
{
    pthread_mutex_lock(&intake->lock);
    bool failed = intake->failed;
    if (failed)
        *e = intake->error;
    pthread_mutex_unlock(&intake->lock);
    return failed;
}

int64_t intake_heartbeat(struct intake *intake)
{
    return intake->heartbeat;
}
