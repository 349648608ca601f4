#include "consumer/relay/relay.h"
#include "consumer/system/clock.h"

#include "consumer/relay/relay_machine.h"
#include "consumer/system/fault.h"
#include "consumer/system/log.h"
#include "consumer/system/thread.h"

#include <assert.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    BATCH_ROWS = 20000,
    BATCH_BYTES = 16 << 20,
    CONNECTIONS = 2, // a worker
    IDLE_MS = 1000, // how often librdkafka is polled for reports
    ALONE_ROWS_MAX = 1 << 20,
};

// A database connection and room for the rows it loads.
struct relay_connection {
    struct store *store;
    struct chain_hasher *hasher;
    bool lent;
    struct outbox_row rows[BATCH_ROWS];
    // those of them that do not stand in the topics
    const struct outbox_row *unpublished[BATCH_ROWS];
};

struct relay_shard {
    struct relay_shard *next;
    struct relay *relay;
    int32_t number;
    int64_t epoch;
    pthread_t thread;
    atomic_bool stop;
    pthread_mutex_t lock; // of woken, news and status
    pthread_cond_t changed; // woken, news or stop
    int64_t woken;
    bool news; // something came to be read back
    struct relay_status status;
    // The thread's own
    struct relay_machine machine;
    struct publisher *publisher;
    struct published_log *log; // NULL: the topics must be read anew, from the mark
    // A batch was too large for a topic: rows up to alone_to are sent one by one. They are
    // alone_rows, which doubles each time that it happens again.
    int64_t alone_to, alone_rows;
    int64_t lost_rows, spent_producers;
    int64_t lost_now; // of the transaction under way
    bool complained; // a trouble was logged and is not over
    bool kafkas; // the last trouble was Kafka's, not PostgreSQL's
};

struct relay {
    struct relay_options options;
    struct publisher_options publisher;
    struct published_reader *reader;
    pthread_mutex_t lock; // of shards and lanes
    pthread_cond_t returned; // a lane
    struct relay_shard *shards;
    struct relay_connection *lanes[CONNECTIONS];
};

// ---- database connections ----

static struct relay_connection *borrow(struct relay_shard *s)
{
    struct relay *r = s->relay;
    struct relay_connection *found = NULL;
    pthread_mutex_lock(&r->lock);
    while (!found && !atomic_load(&s->stop)) {
        for (int i = 0; i < CONNECTIONS && !found; i++)
            if (!r->lanes[i]->lent)
                found = r->lanes[i];
        if (!found)
            pthread_cond_wait(&r->returned, &r->lock);
    }
    if (found)
        found->lent = true;
    pthread_mutex_unlock(&r->lock);
    return found;
}

static void give_back(struct relay_shard *s, struct relay_connection *lane)
{
    pthread_mutex_lock(&s->relay->lock);
    assert(lane->lent);
    lane->lent = false;
    pthread_cond_broadcast(&s->relay->returned);
    pthread_mutex_unlock(&s->relay->lock);
}

static enum store_result connect_lane(struct relay_shard *s, struct relay_connection *lane,
                                      struct error *e)
{
    if (lane->store)
        return STORE_OK;
    struct store *store = NULL;
    const struct relay_options *options = &s->relay->options;
    if (store_open_all(options->dsns, options->dsn_count, STORE_WRITES, &store, e) != 0)
        return STORE_UNAVAILABLE;
    pthread_mutex_lock(&s->relay->lock); // relay_destroy looks for statements to interrupt
    lane->store = store;
    pthread_mutex_unlock(&s->relay->lock);
    return STORE_OK;
}

static enum relay_event_kind event_of_store(enum store_result result, enum relay_event_kind when_ok)
{
    switch (result) {
    case STORE_OK:
        return when_ok;
    case STORE_FENCED:
        return RELAY_ON_LOST;
    case STORE_DIVERGED:
        return RELAY_ON_IMPOSSIBLE;
    case STORE_UNAVAILABLE:
    case STORE_FAILED:
        break;
    }
    return RELAY_ON_FAILED;
}

static enum relay_event_kind event_of_publish(enum publish_result result,
                                              enum relay_event_kind when_ok)
{
    switch (result) {
    case PUBLISH_OK:
        return when_ok;
    case PUBLISH_WAITING:
        return RELAY_ON_FAILED;
    case PUBLISH_SPLIT:
    case PUBLISH_ABORTED:
        return RELAY_ON_ABORTED;
    case PUBLISH_BROKEN:
        return RELAY_ON_BROKEN;
    case PUBLISH_FENCED:
        return RELAY_ON_FENCED;
    case PUBLISH_IMPOSSIBLE:
        break;
    }
    return RELAY_ON_IMPOSSIBLE;
}

static enum relay_event_kind event_of_published(enum published_result result,
                                                enum relay_event_kind when_found)
{
    switch (result) {
    case PUBLISHED_FOUND:
        return when_found;
    case PUBLISHED_UNKNOWN:
        return RELAY_ON_POSITION_UNKNOWN;
    case PUBLISHED_UNAVAILABLE:
        return RELAY_ON_FAILED;
    case PUBLISHED_FOREIGN:
        break;
    }
    return RELAY_ON_IMPOSSIBLE;
}

// ---- actions: each fills the event that answers it ----

static void complain(struct relay_shard *s, const struct error *e)
{
    if (!s->complained)
        log_event(LOG_WARN, "publishing is in trouble, and goes on trying",
                  LOG_FIELDS(log_int("shard", s->number), log_text("reason", e->text)));
    s->complained = true;
}

// An action lasts: how it ends is told by the event that answers it.
static void on_slow(void *context, const struct error *slow)
{
    struct relay_shard *s = context;
    pthread_mutex_lock(&s->lock);
    if (strcmp(s->status.error.text, slow->text) != 0)
        s->complained = false; // it is another reason
    s->status.error = *slow;
    s->status.kafkas = true;
    pthread_mutex_unlock(&s->lock);
    complain(s, slow);
}

static enum relay_event_kind create(struct relay_shard *s, struct error *e)
{
    publisher_destroy(s->publisher);
    s->publisher = NULL;
    bool alone = s->alone_to > 0;
    int failed =
        publisher_create(&s->relay->publisher, s->number, alone, &s->stop, &s->publisher, e);
    if (!failed)
        publisher_tell(s->publisher, (struct publisher_news){on_slow, s});
    fault_point(producer_created);
    return failed ? RELAY_ON_FAILED : RELAY_ON_CREATED;
}

static enum relay_event_kind read_position(struct relay_shard *s, struct relay_event *event,
                                           struct error *e)
{
    struct published_at at = {0};
    enum published_result result =
        published_position(&s->relay->publisher, s->number, &s->stop, &at, e);
    if (result == PUBLISHED_FOUND) {
        event->n = at.n;
        event->has_hash = at.has_hash;
        memcpy(event->hash, at.hash, sizeof event->hash);
    }
    fault_point(position_read);
    return event_of_published(result, RELAY_ON_POSITION);
}

// Called by threads of librdkafka.
static void on_news(void *context)
{
    struct relay_shard *s = context;
    pthread_mutex_lock(&s->lock);
    s->news = true;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

static void close_log(struct relay_shard *s)
{
    published_log_close(s->log);
    s->log = NULL;
}

// The log stays open when the producer is replaced: what was read stays published.
static enum relay_event_kind read_topics(struct relay_shard *s, struct relay_event *event,
                                         struct error *e)
{
    const struct relay_machine *m = &s->machine;
    if (!s->log && published_log_open(s->relay->reader, s->number, m->marked,
                                      (struct published_news){on_news, s}, &s->log, e))
        return RELAY_ON_FAILED;
    int64_t expected = m->position > m->claimed ? m->position : m->claimed;
    enum published_result result =
        published_log_read(s->log, expected, &s->stop, &event->whole_logs, e);
    event->n = published_log_rows(s->log)->whole;
    event->highest = published_log_rows(s->log)->highest;
    if (result != PUBLISHED_FOUND)
        close_log(s);
    fault_point(topics_read);
    return event_of_published(result, RELAY_ON_TOPICS);
}

static enum relay_event_kind verify(struct relay_shard *s, struct relay_connection *lane,
                                    struct relay_event *event, struct error *e)
{
    const struct relay_machine *m = &s->machine;
    enum store_result result =
        store_check_epoch(lane->store, s->number, s->epoch, &event->n, &event->mark, e);
    if (result == STORE_OK)
        result = store_outbox_hash(lane->store, s->number, m->n, event->hash, &event->has_hash, e);
    if (result == STORE_OK && m->position > 0)
        result = store_outbox_hash(lane->store, s->number, m->position, event->position_hash,
                                   &event->has_position_hash, e);
    fault_point(position_verified);
    return event_of_store(result, RELAY_ON_VERIFIED);
}

static enum relay_event_kind mark(struct relay_shard *s, struct relay_connection *lane,
                                  struct error *e)
{
    const struct relay_options *o = &s->relay->options;
    enum store_result result = store_mark_relayed(
        lane->store, s->number, s->epoch, s->machine.read_back, o->clock_ms(o->clock_context), e);
    return event_of_store(result, RELAY_ON_MARKED);
}

static enum relay_event_kind check_epoch(struct relay_shard *s, struct relay_connection *lane,
                                         struct error *e)
{
    return event_of_store(store_check_epoch(lane->store, s->number, s->epoch, NULL, NULL, e),
                          RELAY_ON_KEPT);
}

// Whether the rows are those that follow row n. A gap, a changed row, or a fail-over to a server
// that has other rows breaks the chain, whichever connection was used.
static bool check_chain(const struct relay_shard *s, struct relay_connection *lane, size_t count,
                        struct error *e)
{
    const struct outbox_row *rows = lane->rows;
    const uint8_t *previous = s->machine.hash;
    for (size_t i = 0; i < count; i++) {
        int64_t due = s->machine.n + 1 + (int64_t)i;
        uint8_t hash[RELAY_HASH_SIZE];
        chain_hash(lane->hasher, previous, &rows[i], hash);
        if (rows[i].sequence == due && memcmp(hash, rows[i].hash, sizeof hash) == 0) {
            previous = rows[i].hash;
            continue;
        }
        error_set(e, ERROR_CONFIG,
                  "shard %" PRId32 ": row %" PRId64
                  " of settled.outbox does not follow row %" PRId64
                  " (its chain hash differs, or a row is missing): rows were lost or changed in "
                  "PostgreSQL. Bring it back "
                  "to the state that was published, and restart; nothing is published until then",
                  s->number, rows[i].sequence, due - 1);
        return false;
    }
    return true;
}

// Selects the rows that are not in the topics. A row may be sent only if no later row is in its
// topic: subscribers are promised that sequences rise there. False with *e.
static bool choose_rows(struct relay_shard *s, struct relay_connection *lane, size_t count,
                        size_t *chosen, struct error *e)
{
    assert(s->log); // what is published is known
    assert(count <= BATCH_ROWS);
    const struct published_rows *published = published_log_rows(s->log);
    *chosen = 0;
    for (size_t i = 0; i < count; i++) {
        const struct outbox_row *row = &lane->rows[i];
        if (published_rows_has(published, row->sequence))
            continue;
        if (row->sequence > published->last[row->output]) {
            lane->unpublished[(*chosen)++] = row;
            continue;
        }
        error_set(e, ERROR_CONFIG,
                  "shard %" PRId32 ": row %" PRId64
                  " (%s) is missing in topic %s, which has row %" PRId64
                  " already: the topic has lost data, and to publish it now would break the order. "
                  "settled audit names "
                  "all that is missing; settled repair publishes it again. Nothing of the shard is "
                  "published until then",
                  s->number, row->sequence, row->ce_id, s->relay->options.topics[row->output],
                  published->last[row->output]);
        return false;
    }
    return true;
}

// Rows that Kafka once said were committed. Returns how many.
static int64_t tell_lost(const struct relay_shard *s, const struct relay_connection *lane,
                         size_t count)
{
    size_t lost = 0;
    while (lost < count && lane->unpublished[lost]->sequence <= s->machine.claimed)
        lost++;
    if (lost == 0)
        return 0;
    log_event(LOG_ERROR,
              "output topics have lost rows that they had acknowledged: they are published again",
              LOG_FIELDS(log_int("shard", s->number), log_int("rows", (int64_t)lost),
                         log_int("first", lane->unpublished[0]->sequence),
                         log_text("topic", s->relay->options.topics[lane->unpublished[0]->output]),
                         log_text("id", lane->unpublished[0]->ce_id),
                         log_int("last", lane->unpublished[lost - 1]->sequence)));
    return (int64_t)lost;
}

// The broker compares max.message.bytes with a whole batch, so only a row that is sent alone shows
// whether it is too large. The fresh producer sends these rows one by one, and more of them each
// time that this happens again.
static enum relay_event_kind split(struct relay_shard *s, int64_t last)
{
    s->alone_rows = s->alone_rows == 0               ? 1
                    : s->alone_rows < ALONE_ROWS_MAX ? s->alone_rows * 2
                                                     : ALONE_ROWS_MAX;
    s->alone_to = last + s->alone_rows;
    log_event(
        LOG_WARN, "a batch is too large for an output topic: rows go one by one for a while",
        LOG_FIELDS(log_int("shard", s->number), log_int("up_to", s->alone_to),
                   log_text("remedy", "run settled topics apply, which sets max.message.bytes")));
    return RELAY_ON_ABORTED;
}

// Loads what is there and queues it in a transaction that is left open; *event has its last row.
// *sent: rows in it; none when all of them stand in the topics.
static enum relay_event_kind begin_batch(struct relay_shard *s, struct relay_connection *lane,
                                         struct relay_event *event, size_t *sent, struct error *e)
{
    size_t count = 0;
    const struct outbox_window window = {s->machine.n, BATCH_ROWS, BATCH_BYTES};
    enum store_result result =
        store_load_outbox(lane->store, s->number, &window, lane->rows, &count, e);
    if (result == STORE_DIVERGED)
        return RELAY_ON_IMPOSSIBLE;
    if (result != STORE_OK)
        return RELAY_ON_FAILED;
    if (count == 0) {
        error_set(e, ERROR_UNAVAILABLE,
                  "shard %" PRId32 ": settled.outbox has no row above %" PRId64 " although it had",
                  s->number, s->machine.n);
        return RELAY_ON_NOTHING;
    }
    if (!check_chain(s, lane, count, e) || !choose_rows(s, lane, count, sent, e))
        return RELAY_ON_IMPOSSIBLE;
    fault_point(rows_loaded);
    const struct outbox_row *last = &lane->rows[count - 1];
    event->n = last->sequence;
    memcpy(event->hash, last->hash, sizeof event->hash);
    if (*sent == 0)
        return RELAY_ON_COMMITTED;
    s->lost_now = tell_lost(s, lane, *sent);
    enum publish_result begun = publisher_begin(s->publisher, lane->unpublished, *sent, e);
    return begun == PUBLISH_SPLIT ? split(s, event->n)
                                  : event_of_publish(begun, RELAY_ON_COMMITTED);
}

static enum relay_event_kind commit_batch(struct relay_shard *s, struct relay_event *event,
                                          struct error *e)
{
    enum publish_result result = publisher_flush(s->publisher, e);
    if (result == PUBLISH_OK)
        result = publisher_commit(s->publisher, event->n, event->hash, e);
    if (result == PUBLISH_SPLIT)
        return split(s, event->n);
    if (result != PUBLISH_OK)
        return event_of_publish(result, RELAY_ON_COMMITTED);
    event->spent = publisher_is_spent(s->publisher);
    if (event->spent)
        s->spent_producers++;
    s->lost_rows += s->lost_now;
    if (s->alone_to == 0) {
        s->alone_rows = 0; // batches fit
    } else if (event->n >= s->alone_to) {
        s->alone_to = 0;
        event->spent = true; // the next producer fills its batches again
        log_event(LOG_INFO, "rows go in batches again", LOG_FIELDS(log_int("shard", s->number)));
    }
    return RELAY_ON_COMMITTED;
}

static enum relay_event_kind publish(struct relay_shard *s, struct relay_connection *lane,
                                     struct relay_event *event, struct error *e)
{
    size_t sent = 0;
    enum relay_event_kind begun = begin_batch(s, lane, event, &sent, e);
    give_back(s, lane);
    return begun == RELAY_ON_COMMITTED && sent > 0 ? commit_batch(s, event, e) : begun;
}

static enum relay_event_kind on_database(struct relay_shard *s, enum relay_action action,
                                         struct relay_event *event, struct error *e)
{
    struct relay_connection *lane = borrow(s);
    if (!lane)
        return RELAY_ON_FAILED; // stopping
    enum relay_event_kind kind = event_of_store(connect_lane(s, lane, e), RELAY_EVENTS);
    if (kind == RELAY_EVENTS && action == RELAY_DO_PUBLISH)
        return publish(s, lane, event, e);
    if (kind == RELAY_EVENTS && action == RELAY_DO_VERIFY)
        kind = verify(s, lane, event, e);
    if (kind == RELAY_EVENTS && action == RELAY_DO_MARK)
        kind = mark(s, lane, e);
    if (kind == RELAY_EVENTS && action == RELAY_DO_CHECK_EPOCH)
        kind = check_epoch(s, lane, e);
    assert(kind != RELAY_EVENTS);
    give_back(s, lane);
    return kind;
}

static enum relay_event_kind perform(struct relay_shard *s, enum relay_action action,
                                     struct relay_event *event, struct error *e)
{
    switch (action) {
    case RELAY_DO_CREATE:
        return create(s, e);
    case RELAY_DO_INIT:
        return event_of_publish(publisher_init(s->publisher, e), RELAY_ON_INITIALISED);
    case RELAY_DO_READ_POSITION:
        return read_position(s, event, e);
    case RELAY_DO_READ_TOPICS:
        return read_topics(s, event, e);
    case RELAY_DO_VERIFY:
    case RELAY_DO_PUBLISH:
    case RELAY_DO_MARK:
    case RELAY_DO_CHECK_EPOCH:
        return on_database(s, action, event, e);
    case RELAY_DO_WAIT:
    case RELAY_DO_STOP:
        break;
    }
    assert(!"no action that is answered");
    return RELAY_EVENTS;
}

// ---- a shard's thread ----

// A log that is opened anew finds the same records again, so the largest number that any has found
// is reported.
static void keep_strange(struct published_strange *kept, const struct published_strange *found)
{
    if (found->repeated > kept->repeated)
        kept->repeated = found->repeated;
    if (found->disordered > kept->disordered)
        kept->disordered = found->disordered;
    if (found->foreign > kept->foreign)
        kept->foreign = found->foreign;
    if (found->last[0])
        memcpy(kept->last, found->last, sizeof kept->last);
}

static void report(struct relay_shard *s)
{
    const struct relay_machine *m = &s->machine;
    bool trouble = m->trouble.kind != ERROR_NONE;
    pthread_mutex_lock(&s->lock);
    bool over = s->status.halted || s->status.lost;
    if (m->known) {
        s->status.published = m->read_back;
        s->status.marked = m->marked;
    }
    s->status.halted = m->state == RELAY_HALTED;
    s->status.lost = m->state == RELAY_LOST;
    s->status.error = m->trouble;
    s->status.kafkas = trouble && s->kafkas;
    s->status.lost_rows = s->lost_rows;
    s->status.spent_producers = s->spent_producers;
    if (s->log)
        keep_strange(&s->status.strange, published_log_strange(s->log));
    pthread_mutex_unlock(&s->lock);
    if (over)
        return;
    if (m->state == RELAY_HALTED)
        log_event(LOG_ERROR, "publishing is halted",
                  LOG_FIELDS(log_int("shard", s->number), log_text("reason", m->trouble.text)));
    else if (m->state == RELAY_LOST)
        log_event(LOG_INFO, "publishing ends: another process owns the shard",
                  LOG_FIELDS(log_int("shard", s->number), log_int("epoch", s->epoch)));
    else if (trouble)
        complain(s, &m->trouble);
    else if (!trouble && s->complained)
        log_event(LOG_INFO, "publishing goes on",
                  LOG_FIELDS(log_int("shard", s->number), log_int("published", m->n)));
    s->complained = trouble;
}

static void wait_for_change(struct relay_shard *s, int64_t until_ms)
{
    int64_t at = clock_monotonic_ms() + IDLE_MS;
    if (until_ms < at)
        at = until_ms;
    const struct timespec when = {at / 1000, at % 1000 * 1000000};
    pthread_mutex_lock(&s->lock);
    if (s->woken == 0 && !s->news && !atomic_load(&s->stop))
        pthread_cond_timedwait(&s->changed, &s->lock, &when);
    pthread_mutex_unlock(&s->lock);
    if (s->publisher)
        publisher_poll(s->publisher);
}

static void take_wake(struct relay_shard *s)
{
    pthread_mutex_lock(&s->lock);
    int64_t woken = s->woken;
    s->woken = 0;
    s->news = false;
    pthread_mutex_unlock(&s->lock);
    if (woken > 0)
        relay_machine_on(&s->machine, &(struct relay_event){.kind = RELAY_ON_ROWS, .n = woken});
}

// Reads what is in the topics by now. It runs before each action, so that rows are sent according
// to the latest state.
static void read_back(struct relay_shard *s)
{
    struct relay_machine *m = &s->machine;
    if (m->state != RELAY_IDLE && m->state != RELAY_PUBLISH)
        return;
    assert(s->log); // it was read before anything was known
    struct error why = {0};
    struct relay_event event = {.kind = RELAY_ON_READ_BACK, .now_ms = clock_monotonic_ms()};
    const struct published_strange *strange = published_log_strange(s->log);
    int64_t before = m->read_back, strange_before = published_strange_count(strange);
    if (published_log_take(s->log, &why))
        event.n = published_log_rows(s->log)->whole;
    else
        event =
            (struct relay_event){.kind = RELAY_ON_BROKEN, .now_ms = event.now_ms, .error = &why};
    relay_machine_on(m, &event);
    s->kafkas = s->kafkas || m->state == RELAY_CREATE;
    bool news = m->read_back != before || m->state == RELAY_CREATE ||
                published_strange_count(strange) != strange_before;
    if (news)
        report(s);
    if (m->state != RELAY_CREATE)
        return;
    close_log(s); // not certain: the topics are read anew, from the mark
}

// Whose trouble a failure of an action is.
static bool is_kafkas(enum relay_action action, enum relay_event_kind kind)
{
    if (action == RELAY_DO_PUBLISH)
        return kind != RELAY_ON_FAILED && kind != RELAY_ON_NOTHING;
    return action == RELAY_DO_CREATE || action == RELAY_DO_INIT ||
           action == RELAY_DO_READ_POSITION || action == RELAY_DO_READ_TOPICS;
}

static void act(struct relay_shard *s, enum relay_action action)
{
    struct error why = {0};
    struct relay_event event = {.kind = RELAY_EVENTS};
    event.kind = perform(s, action, &event, &why);
    if (atomic_load(&s->stop))
        return; // the answer may be no more than that
    event.now_ms = clock_monotonic_ms();
    event.error = why.kind == ERROR_NONE ? NULL : &why;
    if (event.error)
        s->kafkas = is_kafkas(action, event.kind);
    relay_machine_on(&s->machine, &event);
    if (event.kind == RELAY_ON_VERIFIED && s->machine.known)
        published_log_take_as_read(s->log, s->machine.read_back);
    report(s);
}

static void give_up_all(struct relay_shard *s)
{
    publisher_destroy(s->publisher);
    s->publisher = NULL;
    close_log(s);
}

static void *serve(void *context)
{
    struct relay_shard *s = context;
    while (!atomic_load(&s->stop)) {
        int64_t until;
        take_wake(s);
        read_back(s);
        enum relay_action action = relay_machine_next(&s->machine, clock_monotonic_ms(), &until);
        if (action == RELAY_DO_STOP)
            give_up_all(s);
        if (action == RELAY_DO_STOP || action == RELAY_DO_WAIT)
            wait_for_change(s, until);
        else
            act(s, action);
    }
    give_up_all(s);
    return NULL;
}

// ---- the public side ----

int relay_create(const struct relay_options *options, struct relay **out, struct error *e)
{
    struct relay *r = calloc(1, sizeof *r);
    if (!r)
        return error_set(e, ERROR_UNAVAILABLE, "memory is short");
    r->options = *options;
    r->publisher = (struct publisher_options){
        .group = options->group,
        .properties = {options->property_count, options->properties},
    };
    memcpy(r->publisher.topics, options->topics, sizeof options->topics);
    r->publisher.framing = options->framing;
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->returned, NULL);
    bool short_of_memory = false;
    for (int i = 0; i < CONNECTIONS; i++) {
        r->lanes[i] = calloc(1, sizeof *r->lanes[i]);
        if (r->lanes[i])
            r->lanes[i]->hasher = chain_hasher_create();
        else
            short_of_memory = true;
    }
    // librdkafka checks how the properties fit together only when a producer is made.
    atomic_bool stop = false;
    struct publisher *probe = NULL;
    if (short_of_memory ? error_set(e, ERROR_UNAVAILABLE, "memory is short")
                        : publisher_create(&r->publisher, 0, false, &stop, &probe, e) ||
                              published_reader_create(&r->publisher, &r->reader, e)) {
        publisher_destroy(probe);
        relay_destroy(r);
        return -1;
    }
    publisher_destroy(probe);
    *out = r;
    return 0;
}

static void ask_to_stop(struct relay_shard *s)
{
    pthread_mutex_lock(&s->lock);
    atomic_store(&s->stop, true);
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    pthread_mutex_lock(&s->relay->lock);
    pthread_cond_broadcast(&s->relay->returned);
    pthread_mutex_unlock(&s->relay->lock);
}

static void end_shard(struct relay_shard *s)
{
    pthread_join(s->thread, NULL);
    assert(!s->publisher); // nothing of it goes on without its thread
    assert(!s->log);
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

void relay_destroy(struct relay *r)
{
    if (!r)
        return;
    for (struct relay_shard *s = r->shards; s; s = s->next)
        ask_to_stop(s);
    pthread_mutex_lock(&r->lock);
    for (int i = 0; i < CONNECTIONS; i++)
        if (r->lanes[i] && r->lanes[i]->store)
            store_interrupt(r->lanes[i]->store);
    pthread_mutex_unlock(&r->lock);
    for (struct relay_shard *s = r->shards, *next; s; s = next) {
        next = s->next;
        end_shard(s);
    }
    for (int i = 0; i < CONNECTIONS; i++) {
        if (r->lanes[i]) {
            store_close(r->lanes[i]->store);
            chain_hasher_free(r->lanes[i]->hasher);
        }
        free(r->lanes[i]);
    }
    published_reader_destroy(r->reader);
    pthread_cond_destroy(&r->returned);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

static struct relay_shard **find(struct relay *r, int32_t number)
{
    struct relay_shard **at = &r->shards;
    while (*at && (*at)->number != number)
        at = &(*at)->next;
    return at;
}

void relay_add(struct relay *r, int32_t number, int64_t epoch, int64_t mark)
{
    pthread_mutex_lock(&r->lock);
    const struct relay_shard *present = *find(r, number);
    bool same = present && present->epoch >= epoch;
    pthread_mutex_unlock(&r->lock);
    if (same)
        return;
    if (present)
        relay_remove(r, number);
    struct relay_shard *s = calloc(1, sizeof *s);
    if (!s)
        abort();
    s->relay = r;
    s->number = number;
    s->epoch = epoch;
    s->status.published = s->status.marked = -1;
    relay_machine_start(&s->machine, number, mark);
    pthread_mutex_init(&s->lock, NULL);
    thread_init_condition(&s->changed);
    // as when malloc fails: the machine has nothing left
    if (pthread_create(&s->thread, NULL, serve, s) != 0)
        abort();
    pthread_mutex_lock(&r->lock);
    assert(!*find(r, number)); // I5: one relay a shard
    s->next = r->shards;
    r->shards = s;
    pthread_mutex_unlock(&r->lock);
}

void relay_remove(struct relay *r, int32_t number)
{
    pthread_mutex_lock(&r->lock);
    struct relay_shard **at = find(r, number);
    struct relay_shard *s = *at;
    if (s)
        *at = s->next;
    pthread_mutex_unlock(&r->lock);
    if (!s)
        return;
    ask_to_stop(s);
    end_shard(s);
}

void relay_wake(struct relay *r, int32_t number, int64_t sequence)
{
    pthread_mutex_lock(&r->lock);
    struct relay_shard *s = *find(r, number);
    if (s) {
        pthread_mutex_lock(&s->lock);
        if (sequence > s->woken)
            s->woken = sequence;
        pthread_cond_broadcast(&s->changed);
        pthread_mutex_unlock(&s->lock);
    }
    pthread_mutex_unlock(&r->lock);
}

struct relay_status relay_status(struct relay *r, int32_t number)
{
    struct relay_status status = {.published = -1, .marked = -1};
    pthread_mutex_lock(&r->lock);
    struct relay_shard *s = *find(r, number);
    if (s) {
        pthread_mutex_lock(&s->lock);
        status = s->status;
        pthread_mutex_unlock(&s->lock);
    }
    pthread_mutex_unlock(&r->lock);
    return status;
}
