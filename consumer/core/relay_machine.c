#include "consumer/core/relay_machine.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#define TO(state) (1U << (state))

// Which event may lead from a state to which others. ROWS is possible everywhere and moves only IDLE.
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
            [RELAY_ON_POSITION] = TO(RELAY_VERIFY) | TO(RELAY_TAILS),
            [RELAY_ON_POSITION_UNKNOWN] = TO(RELAY_TAILS),
            [RELAY_ON_FAILED] = TO(RELAY_POSITION),
            [RELAY_ON_IMPOSSIBLE] = TO(RELAY_HALTED),
        },
    [RELAY_TAILS] =
        {
            [RELAY_ON_TAILS] = TO(RELAY_VERIFY),
            [RELAY_ON_FAILED] = TO(RELAY_TAILS),
            [RELAY_ON_IMPOSSIBLE] = TO(RELAY_HALTED),
        },
    [RELAY_VERIFY] =
        {
            [RELAY_ON_VERIFIED] =
                TO(RELAY_IDLE) | TO(RELAY_PUBLISH) | TO(RELAY_MARK) | TO(RELAY_TAILS) | TO(RELAY_HALTED),
            [RELAY_ON_LOST] = TO(RELAY_LOST),
            [RELAY_ON_FAILED] = TO(RELAY_VERIFY),
            [RELAY_ON_IMPOSSIBLE] = TO(RELAY_HALTED),
        },
    [RELAY_IDLE] = {[RELAY_ON_ROWS] = TO(RELAY_IDLE) | TO(RELAY_PUBLISH)},
    [RELAY_PUBLISH] =
        {
            [RELAY_ON_COMMITTED] = TO(RELAY_MARK),
            [RELAY_ON_NOTHING] = TO(RELAY_VERIFY),
            [RELAY_ON_FAILED] = TO(RELAY_PUBLISH),
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
    [RELAY_CREATE] = RELAY_DO_CREATE,    [RELAY_INIT] = RELAY_DO_INIT,     [RELAY_POSITION] = RELAY_DO_READ_POSITION,
    [RELAY_TAILS] = RELAY_DO_READ_TAILS, [RELAY_VERIFY] = RELAY_DO_VERIFY, [RELAY_IDLE] = RELAY_DO_WAIT,
    [RELAY_PUBLISH] = RELAY_DO_PUBLISH,  [RELAY_MARK] = RELAY_DO_MARK,     [RELAY_EPOCH] = RELAY_DO_CHECK_EPOCH,
    [RELAY_LOST] = RELAY_DO_STOP,        [RELAY_HALTED] = RELAY_DO_STOP,
};

void relay_machine_start(struct relay_machine *m, int32_t shard)
{
    *m = (struct relay_machine){.state = RELAY_CREATE, .shard = shard, .n = -1};
}

static void check_invariants(const struct relay_machine *m)
{
    bool publishing = m->state == RELAY_IDLE || m->state == RELAY_PUBLISH || m->state == RELAY_MARK;
    if (publishing) {
        // Nothing goes out by a producer that has not fenced its forerunners, nor from an n read before it did.
        assert(m->initialised && m->known && m->has_hash);
        assert(m->n >= m->floor && m->floor >= m->marked);
    }
    if (m->state == RELAY_CREATE || m->state == RELAY_INIT) assert(!m->initialised && !m->known && m->n == -1);
    if (m->state == RELAY_VERIFY) assert(m->initialised && m->n >= 0);
    if (m->state == RELAY_IDLE) assert(m->wanted <= m->n);
    if (m->state == RELAY_MARK) assert(m->n > m->marked);
    if (m->state == RELAY_HALTED) assert(m->trouble.kind != ERROR_NONE && m->trouble.text[0]);
    assert(m->n >= -1 && m->floor >= 0 && (!m->known || m->initialised));
}

static void move(struct relay_machine *m, enum relay_event_kind kind, enum relay_state to)
{
    assert(transitions[m->state][kind] & TO(to));
    m->state = to;
    check_invariants(m);
}

static void pause_after_failure(struct relay_machine *m, const struct relay_event *event)
{
    int64_t pause = m->failures < 8 ? (int64_t)RELAY_PAUSE_MIN_MS << m->failures : RELAY_PAUSE_MAX_MS;
    if (pause > RELAY_PAUSE_MAX_MS) pause = RELAY_PAUSE_MAX_MS;
    if (m->failures < UINT32_MAX) m->failures++;
    m->not_before_ms = event->now_ms + pause;
    if (event->error) m->trouble = *event->error;
}

static void succeed(struct relay_machine *m)
{
    m->failures = 0;
    m->not_before_ms = 0;
    m->trouble.kind = ERROR_NONE;
    m->trouble.text[0] = '\0';
}

static void forget_producer(struct relay_machine *m)
{
    m->initialised = m->known = m->has_hash = m->from_tails = false;
    m->n = -1;
}

static enum relay_state halt(struct relay_machine *m)
{
    m->known = false;
    return RELAY_HALTED;
}

static enum relay_state publish_or_idle(const struct relay_machine *m)
{
    return m->wanted > m->n ? RELAY_PUBLISH : RELAY_IDLE;
}

// What one of the two has lost, if anything: then `trouble` says it and nothing may be sent.
static bool disagree(struct relay_machine *m, const struct relay_event *event)
{
    if (m->n < m->floor) {
        error_set(&m->trouble, ERROR_CONFIG,
                  "shard %" PRId32 ": the output topics hold nothing above sequence %" PRId64 ", but up to %" PRId64
                  " was published: a topic was deleted, expired or lost data. "
                  "Restore the topics; or, to publish again what the outbox still has, set relayed = %" PRId64
                  " in settled.shards for this shard, and restart",
                  m->shard, m->n, m->floor, m->n);
        return true;
    }
    if (m->n > event->n) {
        error_set(&m->trouble, ERROR_CONFIG,
                  "shard %" PRId32 ": Kafka holds rows up to sequence %" PRId64 ", PostgreSQL only up to %" PRId64
                  ": it lost commits (a fail-over or a restore). "
                  "Bring PostgreSQL back to a state with row %" PRId64
                  " (the old primary, or recovery to a later point), "
                  "and restart; if there is none, settled repair. Nothing is published before",
                  m->shard, m->n, event->n, m->n);
        return true;
    }
    if (m->n > 0 && !event->has_hash) {
        error_set(&m->trouble, ERROR_CONFIG,
                  "shard %" PRId32 ": row %" PRId64
                  " of settled.outbox is missing although PostgreSQL counts up to %" PRId64
                  ": it cannot be told whether Kafka and PostgreSQL agree. Restore the row from a backup, and restart",
                  m->shard, m->n, event->n);
        return true;
    }
    if (m->n > 0 && m->has_hash && memcmp(m->hash, event->hash, sizeof m->hash) != 0) {
        error_set(
            &m->trouble, ERROR_CONFIG,
            "shard %" PRId32 ": row %" PRId64 " in PostgreSQL is not the one that was published under this sequence: "
            "a fail-over or a restore lost commits and others took their place. Bring PostgreSQL back to the state "
            "that was published (the old primary), and restart; nothing is published before",
            m->shard, m->n);
        return true;
    }
    return false;
}

// n as Kafka has it against the row as PostgreSQL has it.
static enum relay_state judge(struct relay_machine *m, const struct relay_event *event)
{
    m->marked = event->mark;
    if (event->mark > m->floor) m->floor = event->mark;
    if (m->n < m->floor && !m->from_tails) return RELAY_TAILS;
    if (disagree(m, event)) return halt(m);
    if (m->n > 0)
        memcpy(m->hash, event->hash, sizeof m->hash);
    else
        memset(m->hash, 0, sizeof m->hash);
    m->has_hash = m->known = true;
    m->floor = m->n;
    m->wanted = event->n;
    if (m->n > m->marked) return RELAY_MARK;
    enum relay_state next = publish_or_idle(m);
    if (next == RELAY_IDLE) succeed(m);
    return next;
}

static void take_position(struct relay_machine *m, const struct relay_event *event, bool from_tails)
{
    assert(event->n >= 0);
    m->n = event->n;
    m->from_tails = from_tails;
    m->has_hash = !from_tails && event->has_hash;
    if (m->has_hash) memcpy(m->hash, event->hash, sizeof m->hash);
}

static enum relay_state committed(struct relay_machine *m, const struct relay_event *event)
{
    assert(event->n > m->n);
    m->n = m->floor = event->n;
    memcpy(m->hash, event->hash, sizeof m->hash);
    if (m->wanted < m->n) m->wanted = m->n;
    succeed(m);
    return RELAY_MARK;
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
        // The relay stores each with a hash. Another's, as of a tool that resets offsets, may lie below what went out
        // since the last mark.
        if (!event->has_hash) return RELAY_TAILS;
        take_position(m, event, false);
        return RELAY_VERIFY;
    case RELAY_ON_POSITION_UNKNOWN:
        return RELAY_TAILS;
    case RELAY_ON_TAILS:
        take_position(m, event, true);
        return RELAY_VERIFY;
    case RELAY_ON_VERIFIED:
        return judge(m, event);
    case RELAY_ON_COMMITTED:
        return committed(m, event);
    case RELAY_ON_NOTHING: // rows that were committed are not there: a fail-over took them, so look where we stand
        m->known = m->from_tails = false;
        pause_after_failure(m, event);
        return RELAY_VERIFY;
    case RELAY_ON_MARKED:
        m->marked = m->n;
        succeed(m);
        return publish_or_idle(m);
    case RELAY_ON_KEPT: // two that take turns in fencing each other must slow down
        pause_after_failure(m, event);
        return RELAY_CREATE;
    case RELAY_ON_LOST:
        return RELAY_LOST;
    case RELAY_ON_FAILED:
        pause_after_failure(m, event);
        return m->state;
    case RELAY_ON_BROKEN:
        forget_producer(m);
        pause_after_failure(m, event);
        return RELAY_CREATE;
    case RELAY_ON_FENCED:
        forget_producer(m);
        if (event->error) m->trouble = *event->error;
        return RELAY_EPOCH;
    case RELAY_ON_IMPOSSIBLE:
        assert(event->error);
        m->trouble = *event->error;
        return halt(m);
    case RELAY_ON_ROWS:
    case RELAY_EVENTS:
        break;
    }
    assert(!"no such event");
    return m->state;
}

void relay_machine_on(struct relay_machine *m, const struct relay_event *event)
{
    if (event->kind != RELAY_ON_ROWS) {
        move(m, event->kind, decide(m, event));
        return;
    }
    if (event->n > m->wanted) m->wanted = event->n;
    if (m->state == RELAY_IDLE) move(m, event->kind, publish_or_idle(m));
}

enum relay_action relay_machine_next(const struct relay_machine *m, int64_t now_ms, int64_t *until_ms)
{
    enum relay_action action = actions[m->state];
    *until_ms = INT64_MAX;
    if (action == RELAY_DO_STOP || action == RELAY_DO_WAIT) return action;
    if (now_ms >= m->not_before_ms) return action;
    *until_ms = m->not_before_ms;
    return RELAY_DO_WAIT;
}
