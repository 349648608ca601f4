#include "consumer/relay/relay_machine.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#define TO(state) (1U << (state))

// Which event may lead from a state to which others. ROWS is possible everywhere and moves only
// IDLE.
static const uint16_t transitions[RELAY_STATES][RELAY_EVENTS] = {
    [RELAY_CREATE] =
        {
            [RELAY_ON_CREATED] = TO(RELAY_INIT),
            [RELAY_ON_FAILED] = TO(RELAY_CREATE),
            [RELAY_ON_IMPOSSIBLE] = TO(RELAY_HALTED),
        },
    [RELAY_INIT] =
        {
            [RELAY_ON_INITIALISED] = TO(RELAY_POSITION),
            [RELAY_ON_FAILED] = TO(RELAY_INIT),
            [RELAY_ON_BROKEN] = TO(RELAY_CREATE),
            [RELAY_ON_FENCED] = TO(RELAY_EPOCH),
        },
    [RELAY_POSITION] =
        {
            [RELAY_ON_POSITION] = TO(RELAY_TOPICS),
            [RELAY_ON_POSITION_UNKNOWN] = TO(RELAY_TOPICS),
            [RELAY_ON_FAILED] = TO(RELAY_POSITION),
            [RELAY_ON_IMPOSSIBLE] = TO(RELAY_HALTED),
        },
    [RELAY_TOPICS] =
        {
            [RELAY_ON_TOPICS] = TO(RELAY_VERIFY),
            [RELAY_ON_FAILED] = TO(RELAY_TOPICS),
            [RELAY_ON_IMPOSSIBLE] = TO(RELAY_HALTED),
        },
    [RELAY_VERIFY] =
        {
            [RELAY_ON_VERIFIED] =
                TO(RELAY_IDLE) | TO(RELAY_PUBLISH) | TO(RELAY_MARK) | TO(RELAY_HALTED),
            [RELAY_ON_LOST] = TO(RELAY_LOST),
            [RELAY_ON_FAILED] = TO(RELAY_VERIFY),
            [RELAY_ON_IMPOSSIBLE] = TO(RELAY_HALTED),
        },
    [RELAY_IDLE] =
        {
            [RELAY_ON_ROWS] = TO(RELAY_IDLE) | TO(RELAY_PUBLISH),
            [RELAY_ON_READ_BACK] =
                TO(RELAY_IDLE) | TO(RELAY_PUBLISH) | TO(RELAY_MARK) | TO(RELAY_CREATE),
            [RELAY_ON_BROKEN] = TO(RELAY_CREATE),
        },
    [RELAY_PUBLISH] =
        {
            [RELAY_ON_READ_BACK] = TO(RELAY_PUBLISH) | TO(RELAY_MARK) | TO(RELAY_CREATE),
            [RELAY_ON_COMMITTED] = TO(RELAY_IDLE) | TO(RELAY_PUBLISH) | TO(RELAY_CREATE),
            [RELAY_ON_NOTHING] = TO(RELAY_VERIFY),
            [RELAY_ON_FAILED] = TO(RELAY_PUBLISH),
            [RELAY_ON_ABORTED] = TO(RELAY_CREATE),
            [RELAY_ON_BROKEN] = TO(RELAY_CREATE),
            [RELAY_ON_FENCED] = TO(RELAY_EPOCH),
            [RELAY_ON_IMPOSSIBLE] = TO(RELAY_HALTED),
        },
    [RELAY_MARK] =
        {
            [RELAY_ON_MARKED] = TO(RELAY_IDLE) | TO(RELAY_PUBLISH),
            [RELAY_ON_LOST] = TO(RELAY_LOST),
            [RELAY_ON_FAILED] = TO(RELAY_MARK),
            [RELAY_ON_IMPOSSIBLE] = TO(RELAY_HALTED),
        },
    [RELAY_EPOCH] =
        {
            [RELAY_ON_KEPT] = TO(RELAY_CREATE),
            [RELAY_ON_LOST] = TO(RELAY_LOST),
            [RELAY_ON_FAILED] = TO(RELAY_EPOCH),
            [RELAY_ON_IMPOSSIBLE] = TO(RELAY_HALTED),
        },
};

static const enum relay_action actions[RELAY_STATES] = {
    [RELAY_CREATE] = RELAY_DO_CREATE,
    [RELAY_INIT] = RELAY_DO_INIT,
    [RELAY_POSITION] = RELAY_DO_READ_POSITION,
    [RELAY_TOPICS] = RELAY_DO_READ_TOPICS,
    [RELAY_VERIFY] = RELAY_DO_VERIFY,
    [RELAY_IDLE] = RELAY_DO_WAIT,
    [RELAY_PUBLISH] = RELAY_DO_PUBLISH,
    [RELAY_MARK] = RELAY_DO_MARK,
    [RELAY_EPOCH] = RELAY_DO_CHECK_EPOCH,
    [RELAY_LOST] = RELAY_DO_STOP,
    [RELAY_HALTED] = RELAY_DO_STOP,
};

void relay_machine_start(struct relay_machine *m, int32_t shard, int64_t mark)
{
    assert(mark >= 0);
    *m = (struct relay_machine){.state = RELAY_CREATE,
                                .shard = shard,
                                .n = -1,
                                .position = -1,
                                .claimed = mark,
                                .marked = mark,
                                .pausing = RELAY_STATES};
}

static bool is_full(const struct relay_machine *m)
{
    return m->n - m->read_back >= RELAY_UNREAD_ROWS;
}

static void check_publishing(const struct relay_machine *m)
{
    // A producer sends nothing before it has fenced the earlier ones, and nothing from an n that
    // was read before that.
    assert(m->initialised);
    assert(m->known);
    assert(m->n >= m->read_back);
    assert(m->claimed >= m->n);
    // I3: the mark never passes what stands in the topics
    assert(m->read_back >= m->marked);
    assert((m->state == RELAY_MARK) == (m->read_back > m->marked));
    assert(m->state != RELAY_IDLE || m->wanted <= m->n || is_full(m));
    assert(m->state != RELAY_PUBLISH || m->wanted > m->n);
    assert(m->state != RELAY_PUBLISH || !is_full(m));
}

static void check_invariants(const struct relay_machine *m)
{
    bool publishing = m->state == RELAY_IDLE || m->state == RELAY_PUBLISH || m->state == RELAY_MARK;
    bool fresh = m->state == RELAY_CREATE || m->state == RELAY_INIT || m->state == RELAY_EPOCH;
    bool looking =
        m->state == RELAY_POSITION || m->state == RELAY_TOPICS || m->state == RELAY_VERIFY;
    assert(m->state < RELAY_STATES);
    assert(m->n >= -1);
    assert(m->marked >= 0);
    assert(m->position >= -1);
    assert(!m->known || m->initialised);
    // Only a state that has failed waits.
    assert(m->pausing == RELAY_STATES || m->failures > 0);
    if (publishing)
        check_publishing(m);
    assert(!fresh || !m->initialised);
    assert(!fresh || m->n == -1);
    assert(!looking || m->initialised);
    assert(!looking || !m->known);
    assert(m->state != RELAY_VERIFY || m->n >= 0);
    assert(m->state != RELAY_HALTED || !m->known);
    assert(m->state != RELAY_HALTED || m->trouble.kind != ERROR_NONE);
    assert(m->state != RELAY_HALTED || m->trouble.text[0]);
}

static void move(struct relay_machine *m, enum relay_event_kind kind, enum relay_state to)
{
    assert(kind < RELAY_EVENTS);
    assert(transitions[m->state][kind] & TO(to));
    m->state = to;
    check_invariants(m);
}

// `state` waits before it tries again.
static void pause_in(struct relay_machine *m, enum relay_state state,
                     const struct relay_event *event)
{
    int64_t pause =
        m->failures < 8 ? (int64_t)RELAY_PAUSE_MIN_MS << m->failures : RELAY_PAUSE_MAX_MS;
    if (pause > RELAY_PAUSE_MAX_MS)
        pause = RELAY_PAUSE_MAX_MS;
    if (m->failures < UINT32_MAX)
        m->failures++;
    m->pausing = state;
    m->not_before_ms = event->now_ms + pause;
    if (event->error)
        m->trouble = *event->error;
}

static void succeed(struct relay_machine *m)
{
    m->failures = 0;
    m->pausing = RELAY_STATES;
    m->trouble.kind = ERROR_NONE;
    m->trouble.text[0] = '\0';
}

static enum relay_state replace_producer(struct relay_machine *m)
{
    m->initialised = m->known = false;
    m->n = -1;
    return RELAY_CREATE;
}

static enum relay_state halt(struct relay_machine *m)
{
    m->known = false;
    return RELAY_HALTED;
}

static enum relay_state publish_or_idle(const struct relay_machine *m)
{
    return m->wanted > m->n && !is_full(m) ? RELAY_PUBLISH : RELAY_IDLE;
}

// ---- what Kafka and PostgreSQL say of each other ----

static enum relay_state take_topics(struct relay_machine *m, const struct relay_event *event)
{
    assert(event->n >= m->marked);
    assert(event->highest >= 0);
    m->highest = event->highest;
    m->whole_logs = event->whole_logs;
    if (m->position > m->claimed)
        m->claimed = m->position;
    if (event->whole_logs)
        m->n = event->n;
    // rows that retention removed from a log were published if the position says so
    else if (m->position >= 0)
        m->n = m->position > event->n ? m->position : event->n;
    else
        m->n = event->highest > event->n ? event->highest : event->n;
    m->read_back = m->n;
    return RELAY_VERIFY;
}

// Whether one of the two has lost something: then `trouble` says what, and nothing may be sent.
static bool disagree(struct relay_machine *m, const struct relay_event *event)
{
    int64_t held = m->highest > m->position ? m->highest : m->position; // by Kafka
    if (m->n > held)
        held = m->n; // committed since those two were read
    // Every row up to the mark was read back once. If retention removed rows, the position still
    // covers them.
    if (m->highest < m->marked && (m->whole_logs || m->position < m->marked)) {
        error_set(&m->trouble, ERROR_CONFIG,
                  "shard %" PRId32 ": the output topics hold nothing above sequence %" PRId64
                  ", but up to %" PRId64
                  " was published: a topic was deleted, expired or lost data. "
                  "Restore the topics; or, to publish again what the outbox still has, set relayed "
                  "= %" PRId64 " in settled.shards for this shard, and restart",
                  m->shard, m->highest, m->marked, m->highest);
        return true;
    }
    if (held > event->n) {
        error_set(&m->trouble, ERROR_CONFIG,
                  "shard %" PRId32 ": Kafka holds rows up to sequence %" PRId64
                  ", PostgreSQL only up to %" PRId64
                  ": it lost commits (a fail-over or a restore). "
                  "Bring PostgreSQL back to a state with row %" PRId64
                  " (the old primary, or recovery to a later point), "
                  "and restart; if there is none, settled repair. Nothing is published until then",
                  m->shard, held, event->n, held);
        return true;
    }
    if (m->n > 0 && !event->has_hash) {
        error_set(&m->trouble, ERROR_CONFIG,
                  "shard %" PRId32 ": row %" PRId64
                  " of settled.outbox is missing although PostgreSQL counts up to %" PRId64
                  ": it cannot be told whether Kafka and PostgreSQL agree. Restore the row from a "
                  "backup, and restart",
                  m->shard, m->n, event->n);
        return true;
    }
    if (m->position > 0 && event->has_position_hash &&
        memcmp(m->position_hash, event->position_hash, sizeof m->position_hash) != 0) {
        error_set(
            &m->trouble, ERROR_CONFIG,
            "shard %" PRId32 ": row %" PRId64
            " in PostgreSQL is not the one that was published under this sequence: "
            "a fail-over or a restore lost commits and others took their place. Bring "
            "PostgreSQL back to the state "
            "that was published (the old primary), and restart; nothing is published until then",
            m->shard, m->position);
        return true;
    }
    return false;
}

static enum relay_state compare(struct relay_machine *m, const struct relay_event *event)
{
    m->marked = event->mark;
    if (disagree(m, event))
        return halt(m);
    if (m->n > 0)
        memcpy(m->hash, event->hash, sizeof m->hash);
    else
        memset(m->hash, 0, sizeof m->hash);
    m->known = true;
    if (m->claimed < m->n)
        m->claimed = m->n;
    m->wanted = event->n;
    if (m->read_back > m->marked)
        return RELAY_MARK;
    enum relay_state next = publish_or_idle(m);
    if (next == RELAY_IDLE)
        succeed(m);
    return next;
}

// ---- publishing ----

static enum relay_state commit_done(struct relay_machine *m, const struct relay_event *event)
{
    assert(event->n > m->n);
    if (m->n == m->read_back)
        m->unread_since_ms = event->now_ms;
    m->n = event->n;
    memcpy(m->hash, event->hash, sizeof m->hash);
    if (m->claimed < m->n)
        m->claimed = m->n;
    if (m->wanted < m->n)
        m->wanted = m->n;
    succeed(m);
    return event->spent ? replace_producer(m) : publish_or_idle(m);
}

static bool is_overdue(const struct relay_machine *m, int64_t now_ms)
{
    return m->n > m->read_back && now_ms - m->unread_since_ms >= RELAY_UNREAD_MS;
}

static enum relay_state take_read_back(struct relay_machine *m, const struct relay_event *event)
{
    // rows that were there before may lie above a gap
    int64_t read_back = event->n < m->n ? event->n : m->n;
    if (read_back > m->read_back) {
        m->read_back = read_back;
        m->unread_since_ms = event->now_ms;
        if (m->highest < read_back)
            m->highest = read_back;
    }
    if (is_overdue(m, event->now_ms)) {
        error_set(&m->trouble, ERROR_UNAVAILABLE,
                  "shard %" PRId32 ": row %" PRId64
                  " was committed, but %d s later no reader of the output topics sees "
                  "it: a transaction stands open on one of them, or the broker lost the row. The "
                  "topics are read again",
                  m->shard, m->read_back + 1, RELAY_UNREAD_MS / 1000);
        return replace_producer(m);
    }
    return m->read_back > m->marked ? RELAY_MARK : publish_or_idle(m);
}

static void take_position(struct relay_machine *m, const struct relay_event *event)
{
    // The relay stores each position with a hash. A position without one, for example from a tool
    // that resets offsets, proves nothing.
    bool ours = event->kind == RELAY_ON_POSITION && event->has_hash;
    assert(!ours || event->n >= 0);
    m->position = ours ? event->n : -1;
    if (ours)
        memcpy(m->position_hash, event->hash, sizeof m->position_hash);
}

static enum relay_state decide_failure(struct relay_machine *m, const struct relay_event *event)
{
    switch (event->kind) {
    case RELAY_ON_FAILED:
        pause_in(m, m->state, event);
        return m->state;
    case RELAY_ON_ABORTED:
    case RELAY_ON_BROKEN:
        // The fresh producer comes at once: until it does, a late request can still open a
        // transaction. What failed waits, so that it does not fail in a tight loop.
        pause_in(m, m->state == RELAY_INIT ? RELAY_CREATE : RELAY_PUBLISH, event);
        return replace_producer(m);
    case RELAY_ON_FENCED:
        (void)replace_producer(m);
        if (event->error)
            m->trouble = *event->error;
        return RELAY_EPOCH;
    default:
        assert(event->kind == RELAY_ON_IMPOSSIBLE);
        assert(event->error);
        m->trouble = *event->error;
        return halt(m);
    }
}

static enum relay_state decide(struct relay_machine *m, const struct relay_event *event)
{
    switch (event->kind) {
    case RELAY_ON_CREATED:
        return RELAY_INIT;
    case RELAY_ON_INITIALISED:
        m->initialised = true;
        return RELAY_POSITION;
    case RELAY_ON_POSITION:
    case RELAY_ON_POSITION_UNKNOWN:
        take_position(m, event);
        return RELAY_TOPICS;
    case RELAY_ON_TOPICS:
        return take_topics(m, event);
    case RELAY_ON_VERIFIED:
        return compare(m, event);
    case RELAY_ON_READ_BACK:
        return take_read_back(m, event);
    case RELAY_ON_COMMITTED:
        return commit_done(m, event);
    // rows that were committed are not there: a fail-over lost them, so compare again
    case RELAY_ON_NOTHING:
        m->known = false;
        pause_in(m, RELAY_VERIFY, event);
        return RELAY_VERIFY;
    case RELAY_ON_MARKED:
        m->marked = m->read_back;
        succeed(m);
        return publish_or_idle(m);
    case RELAY_ON_KEPT: // two relays that keep fencing each other must slow down
        pause_in(m, RELAY_CREATE, event);
        return RELAY_CREATE;
    case RELAY_ON_LOST:
        return RELAY_LOST;
    case RELAY_ON_ROWS:
        if (event->n > m->wanted)
            m->wanted = event->n;
        return m->state == RELAY_IDLE ? publish_or_idle(m) : m->state;
    default:
        return decide_failure(m, event);
    }
}

void relay_machine_on(struct relay_machine *m, const struct relay_event *event)
{
    enum relay_state to = decide(m, event);
    if (event->kind == RELAY_ON_ROWS && to == m->state)
        return; // in any state
    move(m, event->kind, to);
}

enum relay_action relay_machine_next(const struct relay_machine *m, int64_t now_ms,
                                     int64_t *until_ms)
{
    enum relay_action action = actions[m->state];
    *until_ms = INT64_MAX;
    if (m->state == RELAY_IDLE && m->n > m->read_back)
        *until_ms = m->unread_since_ms + RELAY_UNREAD_MS;
    if (m->state != m->pausing || now_ms >= m->not_before_ms)
        return action;
    *until_ms = m->not_before_ms;
    return RELAY_DO_WAIT;
}
