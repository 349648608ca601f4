#include "tests/sim/check.h"

#include <assert.h>
#include <stdio.h>

enum { TURNS = 4, BLOCK_RECORDS = 8, REFRESH_MS = 5000, SESSION_MS = 6000, MAX_CALLS = 1000000, BATCH_ROWS = 20 };

static const char *const topics[INPUT_COUNT] = {"call-records", "package-purchases", "account-credits"};

int64_t process_clock(const struct process *p)
{
    return p->world->now + p->skew;
}

// ---- the database ----

// Whether the process is still there for a call, or for its answer: it may be killed between any two.
static bool is_gone(struct process *p, struct error *e)
{
    if (p->dies_after > 0 && --p->dies_after == 0) p->dies = true;
    if (p->dies) error_set(e, ERROR_UNAVAILABLE, "killed");
    return p->dies;
}

static enum store_result answer(struct process *p, enum store_result result, struct error *e)
{
    return is_gone(p, e) ? STORE_UNAVAILABLE : result;
}

static enum store_result host_claim(void *context, int32_t shard, struct shard_row *out, struct error *e)
{
    struct process *p = context;
    struct world *w = p->world;
    if (is_gone(p, e)) return STORE_UNAVAILABLE;
    return answer(p, postgres_claim(&w->postgres, &p->session, w->now, shard, out, e), e);
}

static enum store_result host_restore(void *context, int32_t shard, const struct shard_row *row, struct fold *fold,
                                      struct error *e)
{
    struct process *p = context;
    struct world *w = p->world;
    if (is_gone(p, e)) return STORE_UNAVAILABLE;
    return answer(p, postgres_restore(&w->postgres, &p->session, w->now, shard, row, fold, e), e);
}

static enum store_result host_commit(void *context, int32_t shard, struct shard_row *row, const struct fold *fold,
                                     const struct outbox *outbox, int64_t now_ms, struct error *e)
{
    struct process *p = context;
    struct world *w = p->world;
    if (is_gone(p, e)) return STORE_UNAVAILABLE;
    struct shard_row was = *row;
    enum store_result result =
        postgres_commit(&w->postgres, &p->session, w->now, shard, &(struct commit_of){row, fold, outbox, now_ms}, e);
    if (result == STORE_OK && fold_step(fold)->closed) check_close(p, shard, &fold_step(fold)->close);
    world_say(w, "process %d: commit of shard %d: %s", p->number, shard, result == STORE_OK ? "well" : e->text);
    if (!is_gone(p, e)) return result;
    *row = was;
    return STORE_UNAVAILABLE;
}

static enum store_result host_load_requests(void *context, int32_t shard, struct request *out, size_t capacity,
                                            size_t *count, struct error *e)
{
    struct process *p = context;
    struct world *w = p->world;
    *count = 0;
    if (is_gone(p, e)) return STORE_UNAVAILABLE;
    enum store_result result = postgres_ready(&w->postgres, &p->session, w->now, e);
    const struct rows *rows = &w->postgres.rows[shard];
    for (size_t i = 0; i < rows->asks.count && *count < capacity && result == STORE_OK; i++) {
        if (rows->asks.at[i].state != REQUEST_WAITING) continue;
        struct request *request = &out[(*count)++];
        *request = rows->asks.at[i].request;
        for (size_t k = 0; k < rows->rejects.count; k++) {
            const struct reject_row_of *row = &rows->rejects.at[k];
            if (row->reject.input == request->decision.input && row->reject.offset == request->decision.offset &&
                row->decision == 0)
                request->reason = row->reject.reason;
        }
    }
    return answer(p, result, e);
}

static enum store_result host_refuse_request(void *context, int64_t id, const char *why, struct error *e)
{
    struct process *p = context;
    struct world *w = p->world;
    if (is_gone(p, e)) return STORE_UNAVAILABLE;
    enum store_result result = postgres_ready(&w->postgres, &p->session, w->now, e);
    for (int32_t s = 0; s < w->postgres.shards && result == STORE_OK; s++)
        for (size_t i = 0; i < w->postgres.rows[s].asks.count; i++) {
            struct ask_row *ask = &w->postgres.rows[s].asks.at[i];
            if (ask->request.id == id && ask->state == REQUEST_WAITING) ask->state = REQUEST_REFUSED;
        }
    world_say(w, "process %d: request %d refused: %s", p->number, (int)id, why);
    return answer(p, result, e);
}

static enum store_result host_refresh_policy(void *context, struct error *e)
{
    struct process *p = context;
    struct world *w = p->world;
    if (is_gone(p, e)) return STORE_UNAVAILABLE;
    enum store_result result = postgres_ready(&w->postgres, &p->session, w->now, e);
    const struct policy *fresh = w->postgres.policy;
    // Rows and books are only ever added, as worker.c has it.
    if (result == STORE_OK && (fresh->count != p->policy->count || fresh->shelf.count != p->policy->shelf.count))
        p->policy = fresh;
    return answer(p, result, e);
}

static const struct policy *host_policy(void *context)
{
    return ((struct process *)context)->policy;
}

// ---- reading ----

static int64_t host_clock(void *context)
{
    return process_clock(context);
}

static void host_ask_ends(void *context, int32_t shard, enum input input)
{
    struct question *question = &((struct process *)context)->questions[shard][input];
    if (question->state == QUESTION_SENT) return;
    question->state = QUESTION_ASKED;
}

static bool host_take_ends(void *context, int32_t shard, enum input input, struct log_ends *out)
{
    struct question *question = &((struct process *)context)->questions[shard][input];
    if (question->state != QUESTION_ANSWERED) return false;
    question->state = QUESTION_NONE;
    *out = question->answer;
    return true;
}

void process_ask(struct process *p, int32_t shard, enum input input)
{
    struct question *question = &p->questions[shard][input];
    const struct input_topic_log *log = &p->world->kafka.logs[shard][input];
    bool early = p->world->options.breakage == BREAK_ENDS;
    if (p->world->kafka.down) return;
    if (question->state == QUESTION_ASKED) {
        question->state = QUESTION_SENT;
        question->answer = (struct log_ends){.low = log->low, .high = log->stable, .asked_at = process_clock(p)};
    } else if (question->state == QUESTION_SENT) {
        question->state = QUESTION_ANSWERED;
        question->answer.low = log->low;
        if (early)
            question->answer.asked_at = process_clock(p);
        else
            question->answer.high = log->stable;
    }
}

static struct writer host_find_writer(void *context, enum input input, int32_t id)
{
    struct world *w = ((struct process *)context)->world;
    if (w->registry_down) return (struct writer){.state = WRITER_PENDING, .why = "the registry does not answer"};
    if (id == SCHEMA_KNOWN + 10 * (int32_t)input)
        return (struct writer){.state = WRITER_READY, .plan = world_plan(input)};
    if (id == SCHEMA_INCOMPATIBLE) return (struct writer){.state = WRITER_INCOMPATIBLE, .why = "it does not resolve"};
    if (w->unknown[input] == UNKNOWN_FOUND) return (struct writer){.state = WRITER_UNKNOWN, .why = "no such id"};
    w->unknown[input] = UNKNOWN_ASKED;
    return (struct writer){.state = WRITER_PENDING, .why = "asked for again"};
}

static uint64_t host_writers_generation(void *context)
{
    return ((struct process *)context)->world->registry_generation;
}

static void host_start(void *context, int32_t shard, const int64_t offsets[INPUT_COUNT])
{
    struct process *p = context;
    if (p->heard != p->assignment) return;
    for (int i = 0; i < INPUT_COUNT; i++)
        p->lanes[shard][i] = (struct lane){true, offsets[i], offsets[i], offsets[i], -1};
}

static void put_raw(struct block *block, int64_t offset, const struct entry *entry)
{
    struct slice none = {NULL, 0}, key = entry ? entry->fact.key : none, value = entry ? entry->fact.value : none;
    struct raw *raw = (struct raw *)(void *)(block->data + block->used);
    *raw = (struct raw){.offset = offset,
                        .timestamp = entry ? entry->timestamp : 0,
                        .key_size = key.data ? (uint32_t)key.size : RAW_NULL,
                        .value_size = value.data ? (uint32_t)value.size : RAW_NULL,
                        .kind = entry ? RAW_RECORD : RAW_END,
                        .log_append = entry && entry->log_append,
                        .stamped = entry != NULL};
    char *bytes = (char *)(raw + 1);
    if (key.data) memcpy(bytes, key.data, key.size);
    if (value.data) memcpy(bytes + (key.data ? key.size : 0), value.data, value.size);
    block->used += raw_bytes(raw->key_size, raw->value_size);
}

static struct block *host_next_block(void *context, int32_t shard, enum input input)
{
    enum { RECORD_BYTES = 1024 };
    struct process *p = context;
    struct lane *lane = &p->lanes[shard][input];
    const struct input_topic_log *log = &p->world->kafka.logs[shard][input];
    if (!lane->reading || (lane->next >= lane->fetched && (lane->next < log->stable || lane->told_end == lane->next)))
        return NULL;
    size_t capacity = (BLOCK_RECORDS + 1) * RECORD_BYTES;
    struct block *block = malloc(sizeof *block + capacity);
    assert(block);
    *block = (struct block){.first_offset = lane->next, .capacity = capacity};
    for (int count = 0; lane->next < lane->fetched && count < BLOCK_RECORDS; lane->next++) {
        const struct entry *entry = &log->entries.at[lane->next];
        if (entry->marker || entry->fate == FATE_ABORTED) continue;
        put_raw(block, lane->next, entry);
        count++;
    }
    if (lane->next == log->stable && lane->told_end != lane->next) {
        put_raw(block, lane->next, NULL);
        lane->told_end = lane->next;
    }
    if (block->used > 0) return block;
    free(block);
    return NULL;
}

static void host_release_block(void *context, int32_t shard, enum input input, struct block *block)
{
    (void)context, (void)shard, (void)input;
    free(block);
}

// As librdkafka, which is told to fail where a log no longer holds what is wanted.
static void check_ranges(struct process *p)
{
    for (int32_t s = 0; s < p->world->kafka.shards; s++)
        for (enum input i = 0; i < INPUT_COUNT; i++) {
            const struct lane *lane = &p->lanes[s][i];
            if (!lane->reading || lane->next >= p->world->kafka.logs[s][i].low || p->why.kind != ERROR_NONE) continue;
            error_set(&p->why, ERROR_CONFIG, "%s/%d: the log does not hold offset %d any more", topics[i], (int)s,
                      (int)lane->next);
        }
}

static void hear_of_group(struct process *p)
{
    struct world *w = p->world;
    if (w->now < p->deaf_until || !w->member[p->number]) return;
    p->confirmed = p->heard == w->generation;
    if (p->confirmed) return;
    p->heard = w->generation;
    for (int32_t s = 0; s < w->kafka.shards; s++) {
        p->heard_shards[s] = w->owner[s] == p->number;
        for (int i = 0; i < INPUT_COUNT; i++) p->lanes[s][i].reading = false;
    }
}

void process_poll(struct process *p, struct dice *dice)
{
    struct world *w = p->world;
    if (w->kafka.down) return;
    hear_of_group(p);
    check_ranges(p);
    for (int32_t s = 0; s < w->kafka.shards; s++)
        for (int i = 0; i < INPUT_COUNT; i++) {
            struct lane *lane = &p->lanes[s][i];
            int64_t end = w->kafka.logs[s][i].stable;
            if (!lane->reading || dice_hit(dice, 30)) continue;
            lane->fetched += dice_between(dice, 1, 12);
            if (lane->fetched > end) lane->fetched = end;
        }
}

void process_redeliver(struct process *p, struct dice *dice)
{
    for (int32_t s = 0; s < p->world->kafka.shards; s++)
        for (int i = 0; i < INPUT_COUNT; i++) {
            struct lane *lane = &p->lanes[s][i];
            int64_t to = lane->next - dice_below(dice, 10), low = p->world->kafka.logs[s][i].low;
            if (to < lane->start) to = lane->start;
            if (to < low) to = low;
            if (lane->reading && to < lane->next) lane->next = to;
        }
}

// ---- the relay ----

static void host_relay_add(void *context, int32_t shard, int64_t epoch)
{
    struct publishing *r = &((struct process *)context)->publishing[shard];
    if (r->added && r->epoch >= epoch) return;
    *r = (struct publishing){.added = true, .epoch = epoch, .batch = -1, .status = {.published = -1}};
    relay_machine_start(&r->machine, shard);
}

static void host_relay_remove(void *context, int32_t shard)
{
    ((struct process *)context)->publishing[shard].added = false;
}

static void host_relay_wake(void *context, int32_t shard, int64_t sequence)
{
    struct publishing *r = &((struct process *)context)->publishing[shard];
    if (r->added && sequence > r->woken) r->woken = sequence;
}

static struct relay_status host_relay_status(void *context, int32_t shard)
{
    const struct publishing *r = &((struct process *)context)->publishing[shard];
    return r->added ? r->status : (struct relay_status){.published = -1};
}

static enum relay_event_kind event_of_store(enum store_result result, enum relay_event_kind when_ok)
{
    if (result == STORE_OK) return when_ok;
    if (result == STORE_FENCED) return RELAY_ON_LOST;
    return result == STORE_DIVERGED ? RELAY_ON_IMPOSSIBLE : RELAY_ON_FAILED;
}

static enum relay_event_kind read_position(const struct world *w, int32_t shard, struct relay_event *event)
{
    const struct published_to *position = &w->kafka.coordinators[shard].position;
    if (kafka_unstable(&w->kafka, shard) && w->options.breakage != BREAK_FENCING) return RELAY_ON_FAILED;
    event->n = position->n;
    event->has_hash = position->n >= 0 && position->has_hash;
    memcpy(event->hash, position->hash, sizeof event->hash);
    if (position->n >= 0) return RELAY_ON_POSITION;
    return RELAY_ON_POSITION_UNKNOWN;
}

static enum relay_event_kind verify(struct process *p, struct publishing *r, int32_t shard, struct relay_event *event,
                                    struct error *e)
{
    struct world *w = p->world;
    enum store_result result =
        postgres_check_epoch(&w->postgres, &p->session, w->now, shard, r->epoch, &event->n, &event->mark, e);
    const struct rows *rows = &w->postgres.rows[shard];
    int64_t n = r->machine.n;
    event->has_hash = n >= rows->outbox_first && n <= (int64_t)rows->outbox.count && n > 0;
    if (event->has_hash) memcpy(event->hash, rows->outbox.at[n - 1].hash, sizeof event->hash);
    return event_of_store(result, RELAY_ON_VERIFIED);
}

// As io/relay.c: rows must follow the published one.
static bool follows(const struct outbox_row *row, int64_t due, const uint8_t *previous)
{
    uint8_t hash[RELAY_HASH_SIZE];
    outbox_chain_hash(previous, row, hash);
    return row->sequence == due && memcmp(hash, row->hash, sizeof hash) == 0;
}

static enum relay_event_kind begin_batch(struct process *p, struct publishing *r, int32_t shard, struct error *e)
{
    struct world *w = p->world;
    const struct rows *rows = &w->postgres.rows[shard];
    enum store_result result = postgres_ready(&w->postgres, &p->session, w->now, e);
    if (result != STORE_OK) return event_of_store(result, RELAY_EVENTS);
    int64_t from = r->machine.n + 1, to = (int64_t)rows->outbox.count;
    if (from < rows->outbox_first) from = rows->outbox_first;
    if (to > from + BATCH_ROWS - 1) to = from + BATCH_ROWS - 1;
    if (to < from) return RELAY_ON_NOTHING;
    const uint8_t *previous = r->machine.hash;
    for (int64_t n = from; n <= to; n++) {
        if (!follows(&rows->outbox.at[n - 1], r->machine.n + 1 + n - from, previous)) {
            error_set(e, ERROR_CONFIG, "shard %d: row %d does not follow row %d", (int)shard, (int)n, (int)n - 1);
            return RELAY_ON_IMPOSSIBLE;
        }
        previous = rows->outbox.at[n - 1].hash;
    }
    r->batch = kafka_begin(&w->kafka, shard, r->producer_epoch);
    if (r->batch < 0) return RELAY_ON_FENCED;
    struct batch *batch = &w->kafka.batches.at[r->batch];
    batch->to = r->batch_to = to;
    memcpy(batch->hash, rows->outbox.at[to - 1].hash, sizeof batch->hash);
    memcpy(r->batch_hash, batch->hash, sizeof r->batch_hash);
    for (int64_t n = from; n <= to; n++) {
        const struct outbox_row *row = &rows->outbox.at[n - 1];
        struct message message = {row->output, row->sequence, row->key, row->body, {0}};
        memcpy(message.hash, row->hash, sizeof message.hash);
        *list_add(&batch->messages) = message;
    }
    return RELAY_EVENTS; // goes on at the next turn
}

static enum relay_event_kind end_batch(struct process *p, struct publishing *r, struct relay_event *event)
{
    struct kafka *kafka = &p->world->kafka;
    enum batch_fate fate = p->batch_fate;
    int batch = r->batch;
    p->batch_fate = BATCH_WELL;
    r->batch = -1;
    if (fate == BATCH_LOST) return RELAY_ON_BROKEN;
    if (fate == BATCH_LATE) {
        kafka->batches.at[batch].travelling = true;
        return RELAY_ON_BROKEN;
    }
    enum sent sent = kafka_end(kafka, batch, fate != BATCH_ABORTED);
    if (sent == SENT_FENCED) return RELAY_ON_FENCED;
    if (sent == SENT_GONE || fate == BATCH_UNANSWERED) return RELAY_ON_BROKEN;
    if (fate == BATCH_ABORTED) return RELAY_ON_FAILED;
    event->n = r->batch_to;
    memcpy(event->hash, r->batch_hash, sizeof event->hash);
    return RELAY_ON_COMMITTED;
}

static enum relay_event_kind perform(struct process *p, struct publishing *r, int32_t shard, enum relay_action action,
                                     struct relay_event *event, struct error *e)
{
    struct world *w = p->world;
    switch (action) {
    case RELAY_DO_CREATE:
        r->producer_epoch = 0;
        r->batch = -1;
        return RELAY_ON_CREATED;
    case RELAY_DO_INIT:
        if (w->kafka.down) return RELAY_ON_FAILED;
        r->producer_epoch = kafka_init_producer(&w->kafka, shard);
        return RELAY_ON_INITIALISED;
    case RELAY_DO_READ_POSITION:
        return w->kafka.down ? RELAY_ON_FAILED : read_position(w, shard, event);
    case RELAY_DO_READ_TAILS:
        event->n = kafka_tail(&w->kafka, shard);
        return w->kafka.down ? RELAY_ON_FAILED : RELAY_ON_TAILS;
    case RELAY_DO_VERIFY:
        return verify(p, r, shard, event, e);
    case RELAY_DO_PUBLISH:
        if (w->kafka.down) return RELAY_ON_BROKEN;
        return r->batch < 0 ? begin_batch(p, r, shard, e) : end_batch(p, r, event);
    case RELAY_DO_MARK:
        return event_of_store(
            postgres_mark(&w->postgres, &p->session, w->now, shard, r->epoch, r->machine.n, process_clock(p), e),
            RELAY_ON_MARKED);
    case RELAY_DO_CHECK_EPOCH:
        return event_of_store(postgres_check_epoch(&w->postgres, &p->session, w->now, shard, r->epoch, NULL, NULL, e),
                              RELAY_ON_KEPT);
    case RELAY_DO_WAIT:
    case RELAY_DO_STOP:
        break;
    }
    return RELAY_EVENTS;
}

static void report(struct publishing *r)
{
    const struct relay_machine *m = &r->machine;
    if (m->known) r->status.published = m->n;
    r->status.halted = m->state == RELAY_HALTED;
    r->status.lost = m->state == RELAY_LOST;
    r->status.error = m->trouble;
}

void process_relay(struct process *p, int32_t shard)
{
    struct publishing *r = &p->publishing[shard];
    if (!r->added) return;
    int64_t until;
    if (r->woken > 0) relay_machine_on(&r->machine, &(struct relay_event){.kind = RELAY_ON_ROWS, .n = r->woken});
    r->woken = 0;
    enum relay_action action = relay_machine_next(&r->machine, p->world->mono, &until);
    if (action == RELAY_DO_WAIT || action == RELAY_DO_STOP) return;
    struct error why = {0};
    struct relay_event event = {0};
    if (is_gone(p, &why)) return;
    event.kind = perform(p, r, shard, action, &event, &why);
    if (event.kind == RELAY_EVENTS || is_gone(p, &why)) return;
    event.now_ms = p->world->mono;
    if (why.kind == ERROR_NONE) error_set(&why, ERROR_UNAVAILABLE, "it did not work");
    bool failed = event.kind >= RELAY_ON_FAILED || event.kind == RELAY_ON_NOTHING;
    event.error = failed ? &why : NULL;
    relay_machine_on(&r->machine, &event);
    report(r);
    if (failed) world_say(p->world, "process %d: relay of shard %d: %s", p->number, shard, why.text);
}

// ---- the fold thread ----

static void take_assignment(struct process *p)
{
    struct world *w = p->world;
    if (p->heard == 0) return;
    if (p->heard != p->assignment) {
        p->assignment = p->heard;
        memcpy(p->assigned, p->heard_shards, sizeof p->assigned);
        p->unconfirmed = true;
        for (int32_t s = 0; s < w->kafka.shards; s++)
            if (p->shards[s]) shard_revoke(p->shards[s], w->mono);
    }
    if (!p->unconfirmed || !p->confirmed) return;
    p->unconfirmed = false;
    for (int32_t s = 0; s < w->kafka.shards; s++) {
        if (!p->assigned[s]) continue;
        if (!p->shards[s]) p->shards[s] = shard_create(&p->host, s, p->draining ? p->drain[s] : NULL);
        assert(p->shards[s]);
        shard_assign(p->shards[s], w->mono);
    }
}

void process_fold(struct process *p, int32_t shard)
{
    struct world *w = p->world;
    struct error e;
    take_assignment(p);
    if (w->mono - p->refreshed_at > REFRESH_MS) {
        p->refreshed_at = w->mono;
        (void)host_refresh_policy(p, &e);
    }
    if (!p->shards[shard]) return;
    for (int turn = 0; turn < TURNS && !p->dies; turn++)
        if (!shard_run(p->shards[shard], w->mono)) break;
    if (shard_state(p->shards[shard]) == SHARD_HALTED && !p->dies) p->why = *shard_error(p->shards[shard]);
}

bool process_drained(const struct process *p)
{
    bool held;
    if (!p->alive || p->assignment == 0 || p->unconfirmed) return false;
    for (int32_t s = 0; s < p->world->kafka.shards; s++)
        if (p->assigned[s] && !shard_drained(p->shards[s], &held)) return false;
    return true;
}

// ---- life ----

static void host_init(struct process *p)
{
    p->host = (struct shard_host){
        .context = p,
        .clock_ms = host_clock,
        .claim = host_claim,
        .restore = host_restore,
        .commit = host_commit,
        .load_requests = host_load_requests,
        .refuse_request = host_refuse_request,
        .refresh_policy = host_refresh_policy,
        .policy = host_policy,
        .relay_add = host_relay_add,
        .relay_remove = host_relay_remove,
        .relay_wake = host_relay_wake,
        .relay_status = host_relay_status,
        .ask_ends = host_ask_ends,
        .take_ends = host_take_ends,
        .find_writer = host_find_writer,
        .writers_generation = host_writers_generation,
        .start = host_start,
        .next_block = host_next_block,
        .release_block = host_release_block,
        .encoder = world_encoder(),
        .scratch = world_scratch(),
        .metrics = p->metrics,
        .partitions = p->world->kafka.shards,
        .max_calls_held = MAX_CALLS,
        .session_ms = SESSION_MS,
    };
    memcpy(p->host.input_topics, topics, sizeof topics);
    memset(p->host.id_key, (int)p->world->options.seed, sizeof p->host.id_key);
}

void process_start(struct process *p, struct world *w, int number, bool draining)
{
    *p = (struct process){.number = number, .world = w, .alive = true, .draining = draining, .skew = p->skew};
    p->policy = w->postgres.policy;
    if (metrics_create(w->kafka.shards, topics, &p->metrics)) abort();
    host_init(p);
    memset(w->due[number], 0, sizeof w->due[number]);
    for (int32_t s = 0; s < w->kafka.shards; s++)
        for (int i = 0; i < INPUT_COUNT; i++) p->drain[s][i] = w->kafka.logs[s][i].stable;
}

void process_kill(struct process *p)
{
    if (!p->alive) return;
    for (int s = 0; s < SHARDS_MAX; s++) {
        shard_destroy(p->shards[s]);
        p->shards[s] = NULL;
    }
    metrics_destroy(p->metrics);
    p->metrics = NULL;
    p->alive = false;
}

void process_stop(struct process *p)
{
    for (int s = 0; s < SHARDS_MAX && p->alive; s++)
        if (p->shards[s]) shard_finish(p->shards[s]);
    process_kill(p);
}
