// The relay of a process: relay/relay_machine.c, with the answers that relay.c, publisher.c and
// published_log.c would give.
#include "tests/sim/check.h"

#include <assert.h>

enum { SOON = 20, LATER = 150, MUCH_LATER = 2000 }; // steps until a copy arrives

// ---- what a shard asks of it ----

static void host_relay_add(void *context, int32_t shard, int64_t epoch, int64_t mark)
{
    struct publishing *r = &((struct process *)context)->publishing[shard];
    if (r->added && r->epoch >= epoch)
        return;
    *r = (struct publishing){
        .added = true, .epoch = epoch, .status = {.published = -1, .marked = -1}};
    relay_machine_start(&r->machine, shard, mark);
}

static void host_relay_remove(void *context, int32_t shard)
{
    ((struct process *)context)->publishing[shard].added = false;
}

static void host_relay_wake(void *context, int32_t shard, int64_t sequence)
{
    struct publishing *r = &((struct process *)context)->publishing[shard];
    if (r->added && sequence > r->woken)
        r->woken = sequence;
}

static struct relay_status host_relay_status(void *context, int32_t shard)
{
    const struct publishing *r = &((struct process *)context)->publishing[shard];
    return r->added ? r->status : (struct relay_status){.published = -1, .marked = -1};
}

void relay_fill_host(struct shard_host *host)
{
    host->relay_add = host_relay_add;
    host->relay_remove = host_relay_remove;
    host->relay_wake = host_relay_wake;
    host->relay_status = host_relay_status;
}

// ---- the topics, read back ----

static bool breaks(const struct world *w, enum breakage breakage)
{
    bool late = breakage == BREAK_SPENT || breakage == BREAK_EARLY;
    return w->options.breakage == breakage || (late && w->options.breakage == BREAK_LATE);
}

// From shortly before the mark on.
static void open_reading(struct world *w, struct reading *reading, int32_t shard, int64_t mark)
{
    *reading = (struct reading){.open = true, .whole_logs = true};
    published_rows_start(&reading->rows, mark);
    for (int o = 0; o < OUTPUT_COUNT; o++) {
        const struct output_topic_log *log = &w->kafka.outputs[shard][o];
        size_t at = log->messages.count;
        while (at > log->low && (at == log->messages.count || log->messages.at[at].sequence > mark))
            at--;
        bool below = at < log->messages.count && log->messages.at[at].sequence <= mark;
        if (!below && log->low > 0)
            reading->whole_logs = false;
        at -= (size_t)dice_below(&w->dice, 4);
        reading->next[o] = at > log->messages.count || at < log->low ? log->low : at;
        reading->cuts[o] = log->cuts;
    }
}

// Reads up to `most` more messages of one log. False: a broker lost some of those that were read.
static bool read_log(struct world *w, struct reading *reading, int32_t shard, int output,
                     size_t most)
{
    const struct output_topic_log *log = &w->kafka.outputs[shard][output];
    bool cut_once = reading->cuts[output] + 1 == log->cuts && reading->next[output] <= log->cut_at;
    if (reading->cuts[output] != log->cuts && !cut_once)
        return false;
    reading->cuts[output] = log->cuts;
    for (; most > 0 && reading->next[output] < log->messages.count; most--) {
        const struct message *message = &log->messages.at[reading->next[output]++];
        enum published_sight sight = published_rows_see(&reading->rows, output, message->sequence);
        if (sight != PUBLISHED_NEW && sight != PUBLISHED_KNOWN)
            world_fail(w, "I2: a reader finds sequence %d of shard %d twice, or out of order",
                       (int)message->sequence, shard);
    }
    return true;
}

static void read_back(struct process *p, struct publishing *r, int32_t shard)
{
    struct world *w = p->world;
    struct relay_machine *m = &r->machine;
    if ((m->state != RELAY_IDLE && m->state != RELAY_PUBLISH) || r->sending.phase != PHASE_NONE)
        return;
    assert(r->reading.open);
    bool good = true;
    for (int o = 0; o < OUTPUT_COUNT && !w->kafka.down; o++) {
        size_t most = dice_hit(&w->dice, 60) ? SIZE_MAX : (size_t)dice_below(&w->dice, 3);
        good = good && read_log(w, &r->reading, shard, o, most);
    }
    struct error why = {ERROR_UNAVAILABLE, "the topics cannot be read back"};
    struct relay_event event = {.kind = good ? RELAY_ON_READ_BACK : RELAY_ON_BROKEN,
                                .now_ms = w->mono};
    event.n = breaks(w, BREAK_BLIND) ? m->n : r->reading.rows.whole;
    if (!good)
        event.error = &why;
    relay_machine_on(m, &event);
    if (m->state == RELAY_CREATE)
        r->reading.open = false;
}

static enum relay_event_kind read_topics(struct process *p, struct publishing *r, int32_t shard,
                                         struct relay_event *event)
{
    struct world *w = p->world;
    struct reading *reading = &r->reading;
    if (w->kafka.down) {
        reading->open = false;
        return RELAY_ON_FAILED;
    }
    if (!reading->open)
        open_reading(w, reading, shard, r->machine.marked);
    for (int o = 0; o < OUTPUT_COUNT; o++)
        if (!read_log(w, reading, shard, o, SIZE_MAX))
            reading->open = false;
    if (!reading->open)
        return RELAY_ON_FAILED;
    event->n = reading->rows.whole;
    event->highest = reading->rows.highest;
    event->whole_logs = reading->whole_logs;
    if (!breaks(w, BREAK_BLIND))
        return RELAY_ON_TOPICS;
    event->n = r->machine.position > r->machine.marked ? r->machine.position : r->machine.marked;
    return RELAY_ON_TOPICS;
}

// ---- requests ----

static int64_t delay(struct dice *d)
{
    int chance = (int)dice_below(d, 10);
    return 1 + dice_below(d, chance < 5 ? SOON : chance < 8 ? LATER : MUCH_LATER);
}

static void address(const struct publishing *r, int32_t shard, struct txn_request *request)
{
    request->shard = shard;
    request->producer_id = r->producer_id;
    request->epoch = r->producer_epoch;
    request->transaction = r->sending.transaction;
}

static void keep_travelling(struct world *w, const struct txn_request *request)
{
    struct txn_request copy = *request;
    copy.due = w->step + delay(&w->dice);
    *list_add(&w->kafka.travelling) = copy;
}

// The client sends it again when its connection breaks, and gets the answer to one copy; or it gets
// none, and gives up.
static enum txn_answer ask_kafka(struct process *p, struct publishing *r, int32_t shard,
                                 struct txn_request *request)
{
    struct world *w = p->world;
    address(r, shard, request);
    bool counts = request->kind != TXN_INIT; // a late init fences, and nothing fences it
    if (w->kafka.down) {
        r->spent = r->spent || counts;
        return TXN_SILENT;
    }
    if (p->copies[request->kind] > 0) {
        p->copies[request->kind]--;
        r->spent = r->spent || counts;
        keep_travelling(w, request);
        world_say(w, "process %d: shard %d: a copy of a request of kind %d stays on its way",
                  p->number, (int)shard, request->kind);
        if (dice_hit(&w->dice, 25))
            return TXN_SILENT;
    }
    enum txn_answer answer = kafka_answer(&w->kafka, request);
    kafka_write_markers(&w->kafka, shard, &w->dice);
    return answer;
}

static enum relay_event_kind initialise(struct process *p, struct publishing *r, int32_t shard)
{
    struct txn_request request = {.kind = TXN_INIT};
    if (ask_kafka(p, r, shard, &request) != TXN_DONE)
        return RELAY_ON_FAILED;
    r->producer_id = request.producer_id;
    r->producer_epoch = request.epoch;
    return RELAY_ON_INITIALISED;
}

// ---- a transaction ----

// Any answer that cannot be relied on.
static enum relay_event_kind give_up(struct world *w, struct sending *sending,
                                     enum txn_answer answer)
{
    bool ends = sending->phase == PHASE_END || sending->phase == PHASE_ABORT;
    switch (answer) {
    case TXN_CONCURRENT: // the client tries again, for a while
        return dice_hit(&w->dice, 5) ? RELAY_ON_BROKEN : RELAY_EVENTS;
    case TXN_FENCED:
        return RELAY_ON_FENCED;
    case TXN_REFUSED:
    case TXN_UNKNOWN_ID:
        if (ends)
            return dice_hit(&w->dice, 50) ? RELAY_ON_FENCED : RELAY_ON_BROKEN;
        break;
    default:
        if (ends || dice_hit(&w->dice, 30))
            return RELAY_ON_BROKEN;
        break;
    }
    sending->phase = PHASE_ABORT;
    // librdkafka sends nothing about a transaction that it believes not to be open.
    return !sending->opened && dice_hit(&w->dice, 50) ? RELAY_ON_ABORTED : RELAY_EVENTS;
}

static enum relay_event_kind step_to(struct world *w, struct sending *sending,
                                     enum txn_answer answer, enum phase next)
{
    if (answer != TXN_DONE)
        return give_up(w, sending, answer);
    sending->opened = true;
    sending->phase = next;
    return RELAY_EVENTS;
}

// The next rows of a topic, some or all; its partition is made known first, alone or with the
// others.
static enum relay_event_kind send_rows(struct process *p, struct publishing *r, int32_t shard)
{
    struct world *w = p->world;
    struct sending *s = &r->sending;
    int first = (int)dice_below(&w->dice, s->count);
    while (s->acknowledged[first])
        first = (first + 1) % s->count;
    enum output output = s->rows[first].output;
    struct txn_request request = {.kind = TXN_ADD_PARTITIONS, .outputs = 1U << output};
    if (!(s->added & 1U << output)) {
        for (int i = 0; i < s->count && dice_hit(&w->dice, 80); i++)
            request.outputs |= 1U << s->rows[i].output;
        enum txn_answer answer = ask_kafka(p, r, shard, &request);
        if (answer == TXN_DONE)
            s->added |= request.outputs;
        return step_to(w, s, answer, PHASE_ROWS);
    }
    int taken[BATCH_ROWS], most = (int)dice_between(&w->dice, 1, BATCH_ROWS);
    request =
        (struct txn_request){.kind = TXN_PRODUCE, .output = output, .number = r->numbers[output]};
    for (int i = 0; i < s->count && request.count < most; i++) {
        if (s->acknowledged[i] || s->rows[i].output != output)
            continue;
        taken[request.count] = i;
        request.messages[request.count++] = s->rows[i];
    }
    enum txn_answer answer = ask_kafka(p, r, shard, &request);
    for (int i = 0; i < request.count && answer == TXN_DONE; i++)
        s->acknowledged[taken[i]] = true;
    if (answer == TXN_DONE) {
        s->left -= request.count;
        r->numbers[output] += request.count;
    }
    enum phase after = breaks(w, BREAK_EARLY) ? PHASE_END : PHASE_OFFSETS;
    return step_to(w, s, answer, s->left > 0 ? PHASE_ROWS : after);
}

static enum relay_event_kind send_position(struct process *p, struct publishing *r, int32_t shard)
{
    struct world *w = p->world;
    struct txn_request request = {.kind = TXN_OFFSET_COMMIT, .position = r->sending.position};
    if (r->sending.phase == PHASE_OFFSETS)
        request.kind = TXN_ADD_OFFSETS;
    enum txn_answer answer = ask_kafka(p, r, shard, &request);
    if (request.kind == TXN_ADD_OFFSETS)
        return step_to(w, &r->sending, answer, PHASE_POSITION);
    return step_to(w, &r->sending, answer, r->sending.left > 0 ? PHASE_ROWS : PHASE_END);
}

static enum relay_event_kind commit(struct process *p, struct publishing *r, int32_t shard,
                                    struct relay_event *event)
{
    struct world *w = p->world;
    struct txn_request request = {.kind = TXN_END, .commit = true};
    enum batch_fate fate = p->batch_fate;
    p->batch_fate = BATCH_WELL;
    if (fate == BATCH_LOST)
        return RELAY_ON_BROKEN;
    if (fate == BATCH_ABORTED) {
        r->sending.phase = PHASE_ABORT;
        return RELAY_EVENTS;
    }
    if (fate == BATCH_LATE) {
        address(r, shard, &request);
        keep_travelling(w, &request);
        return RELAY_ON_BROKEN;
    }
    enum txn_answer answer = ask_kafka(p, r, shard, &request);
    if (answer != TXN_DONE)
        return give_up(w, &r->sending, answer);
    if (fate == BATCH_UNANSWERED)
        return RELAY_ON_BROKEN;
    event->n = r->sending.position.n;
    memcpy(event->hash, r->sending.position.hash, sizeof event->hash);
    event->spent = r->spent && !breaks(w, BREAK_SPENT);
    return RELAY_ON_COMMITTED;
}

static enum relay_event_kind abort_transaction(struct process *p, struct publishing *r,
                                               int32_t shard)
{
    struct txn_request request = {.kind = TXN_END};
    enum txn_answer answer = ask_kafka(p, r, shard, &request);
    return answer == TXN_DONE ? RELAY_ON_ABORTED : give_up(p->world, &r->sending, answer);
}

// Rows must follow the published one.
static bool follows(const struct outbox_row *row, int64_t due, const uint8_t *previous)
{
    uint8_t hash[RELAY_HASH_SIZE];
    struct chain_hasher *hasher = chain_hasher_create();
    chain_hash(hasher, previous, row, hash);
    chain_hasher_free(hasher);
    return row->sequence == due && memcmp(hash, row->hash, sizeof hash) == 0;
}

// The rows that are not in the topics. False: one of them could only be published behind a later
// row of its topic.
static bool choose_rows(const struct world *w, struct publishing *r, int32_t shard, int64_t from,
                        int64_t to, struct error *e)
{
    const struct rows *rows = &w->postgres.rows[shard];
    const struct published_rows *published = &r->reading.rows;
    for (int64_t n = from; n <= to; n++) {
        const struct outbox_row *row = &rows->outbox.at[n - 1];
        if (!breaks(w, BREAK_BLIND) && published_rows_has(published, n))
            continue;
        if (!breaks(w, BREAK_BLIND) && n <= published->last[row->output]) {
            error_set(e, ERROR_CONFIG,
                      "shard %d: row %d is missing in its topic, which has row %d already",
                      (int)shard, (int)n, (int)published->last[row->output]);
            return false;
        }
        struct message *message = &r->sending.rows[r->sending.count++];
        *message = (struct message){row->output, row->sequence, row->key, row->body, {0}};
        memcpy(message->hash, row->hash, sizeof message->hash);
    }
    r->sending.left = r->sending.count;
    return true;
}

static enum relay_event_kind begin_batch(struct process *p, struct publishing *r, int32_t shard,
                                         struct relay_event *event, struct error *e)
{
    struct world *w = p->world;
    const struct rows *rows = &w->postgres.rows[shard];
    enum store_result result = postgres_ready(&w->postgres, &p->session, w->now, e);
    if (result != STORE_OK)
        return RELAY_ON_FAILED;
    int64_t from = r->machine.n + 1, to = (int64_t)rows->outbox.count;
    if (from < rows->outbox_first)
        from = rows->outbox_first;
    if (to > from + BATCH_ROWS - 1)
        to = from + BATCH_ROWS - 1;
    if (to < from)
        return RELAY_ON_NOTHING;
    const uint8_t *previous = r->machine.hash;
    for (int64_t n = from; n <= to; n++) {
        if (!follows(&rows->outbox.at[n - 1], r->machine.n + 1 + n - from, previous)) {
            error_set(e, ERROR_CONFIG, "shard %d: row %d does not follow row %d", (int)shard,
                      (int)n, (int)n - 1);
            return RELAY_ON_IMPOSSIBLE;
        }
        previous = rows->outbox.at[n - 1].hash;
    }
    r->sending = (struct sending){.transaction = ++w->kafka.last_transaction,
                                  .position = {.n = to, .has_hash = true}};
    memcpy(r->sending.position.hash, previous, sizeof r->sending.position.hash);
    if (!choose_rows(w, r, shard, from, to, e))
        return RELAY_ON_IMPOSSIBLE;
    if (r->sending.count > 0) {
        r->sending.phase = breaks(w, BREAK_EARLY) ? PHASE_OFFSETS : PHASE_ROWS;
        return RELAY_EVENTS;
    }
    event->n = to;
    memcpy(event->hash, previous, sizeof event->hash);
    return RELAY_ON_COMMITTED;
}

// The next request.
static enum relay_event_kind publish(struct process *p, struct publishing *r, int32_t shard,
                                     struct relay_event *event, struct error *e)
{
    switch (r->sending.phase) {
    case PHASE_NONE:
        return begin_batch(p, r, shard, event, e);
    case PHASE_ROWS:
        return send_rows(p, r, shard);
    case PHASE_OFFSETS:
    case PHASE_POSITION:
        return send_position(p, r, shard);
    case PHASE_END:
        return commit(p, r, shard, event);
    case PHASE_ABORT:
        break;
    }
    return abort_transaction(p, r, shard);
}

// Sends some requests, mostly not all: between two turns everything else may happen.
static enum relay_event_kind publish_some(struct process *p, struct publishing *r, int32_t shard,
                                          struct relay_event *event, struct error *e)
{
    enum relay_event_kind kind;
    do {
        kind = publish(p, r, shard, event, e);
    } while (kind == RELAY_EVENTS && dice_hit(&p->world->dice, 60) && !process_is_gone(p, e));
    if (kind != RELAY_EVENTS)
        r->sending.phase = PHASE_NONE;
    return kind == RELAY_ON_ABORTED && breaks(p->world, BREAK_SPENT) ? RELAY_ON_FAILED : kind;
}

// ---- the other actions ----

static enum relay_event_kind event_of_store(enum store_result result, enum relay_event_kind when_ok)
{
    if (result == STORE_OK)
        return when_ok;
    if (result == STORE_FENCED)
        return RELAY_ON_LOST;
    return result == STORE_DIVERGED ? RELAY_ON_IMPOSSIBLE : RELAY_ON_FAILED;
}

static enum relay_event_kind read_position(struct world *w, int32_t shard,
                                           struct relay_event *event)
{
    if (w->kafka.down)
        return RELAY_ON_FAILED;
    if (kafka_unstable(&w->kafka, shard) && w->options.breakage != BREAK_FENCING)
        return RELAY_ON_FAILED;
    const struct published_to position = kafka_position(&w->kafka, shard);
    event->n = position.n;
    event->has_hash = position.n >= 0 && position.has_hash;
    memcpy(event->hash, position.hash, sizeof event->hash);
    return position.n >= 0 ? RELAY_ON_POSITION : RELAY_ON_POSITION_UNKNOWN;
}

static bool find_hash(const struct rows *rows, int64_t n, uint8_t hash[RELAY_HASH_SIZE])
{
    if (n <= 0 || n < rows->outbox_first || n > (int64_t)rows->outbox.count)
        return false;
    memcpy(hash, rows->outbox.at[n - 1].hash, RELAY_HASH_SIZE);
    return true;
}

static enum relay_event_kind verify(struct process *p, struct publishing *r, int32_t shard,
                                    struct relay_event *event, struct error *e)
{
    struct world *w = p->world;
    enum store_result result = postgres_check_epoch(&w->postgres, &p->session, w->now, shard,
                                                    r->epoch, &event->n, &event->mark, e);
    const struct rows *rows = &w->postgres.rows[shard];
    event->has_hash = find_hash(rows, r->machine.n, event->hash);
    event->has_position_hash = find_hash(rows, r->machine.position, event->position_hash);
    return event_of_store(result, RELAY_ON_VERIFIED);
}

static enum relay_event_kind perform(struct process *p, struct publishing *r, int32_t shard,
                                     enum relay_action action, struct relay_event *event,
                                     struct error *e)
{
    struct world *w = p->world;
    switch (action) {
    case RELAY_DO_CREATE:
        r->producer_id = r->producer_epoch = 0;
        r->spent = false;
        memset(r->numbers, 0, sizeof r->numbers);
        return RELAY_ON_CREATED;
    case RELAY_DO_INIT:
        return initialise(p, r, shard);
    case RELAY_DO_READ_POSITION:
        return read_position(w, shard, event);
    case RELAY_DO_READ_TOPICS:
        return read_topics(p, r, shard, event);
    case RELAY_DO_VERIFY:
        return verify(p, r, shard, event, e);
    case RELAY_DO_PUBLISH:
        return publish_some(p, r, shard, event, e);
    case RELAY_DO_MARK:
        return event_of_store(postgres_mark(&w->postgres, &p->session, w->now, shard, r->epoch,
                                            r->machine.read_back, process_clock(p), e),
                              RELAY_ON_MARKED);
    case RELAY_DO_CHECK_EPOCH:
        return event_of_store(
            postgres_check_epoch(&w->postgres, &p->session, w->now, shard, r->epoch, NULL, NULL, e),
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
    if (m->known) {
        r->status.published = m->read_back;
        r->status.marked = m->marked;
    }
    r->status.halted = m->state == RELAY_HALTED;
    r->status.lost = m->state == RELAY_LOST;
    r->status.error = m->trouble;
}

static void act(struct process *p, struct publishing *r, int32_t shard, enum relay_action action)
{
    struct error why = {0};
    struct relay_event event = {0};
    if (process_is_gone(p, &why))
        return;
    event.kind = perform(p, r, shard, action, &event, &why);
    if (event.kind == RELAY_EVENTS || process_is_gone(p, &why))
        return;
    event.now_ms = p->world->mono;
    if (why.kind == ERROR_NONE)
        error_set(&why, ERROR_UNAVAILABLE, "it did not work");
    bool failed = event.kind >= RELAY_ON_FAILED || event.kind == RELAY_ON_NOTHING;
    event.error = failed ? &why : NULL;
    relay_machine_on(&r->machine, &event);
    if (event.kind == RELAY_ON_VERIFIED && r->machine.known)
        published_rows_take_as_read(&r->reading.rows, r->machine.read_back);
    report(r);
    if (failed)
        world_say(p->world, "process %d: relay of shard %d: %s", p->number, shard, why.text);
}

void relay_serve(struct process *p, int32_t shard)
{
    struct publishing *r = &p->publishing[shard];
    if (!r->added)
        return;
    int64_t until;
    if (r->woken > 0)
        relay_machine_on(&r->machine, &(struct relay_event){.kind = RELAY_ON_ROWS, .n = r->woken});
    r->woken = 0;
    read_back(p, r, shard);
    report(r);
    enum relay_action action = relay_machine_next(&r->machine, p->world->mono, &until);
    if (action != RELAY_DO_WAIT && action != RELAY_DO_STOP)
        act(p, r, shard, action);
}
