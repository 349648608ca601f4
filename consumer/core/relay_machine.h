// What the relay of one shard does next. Pure: no I/O, no clock, no allocation; the daemon drives it against librdkafka
// and PostgreSQL, a simulator against models of both. One action is under way at a time, and answered by one event.
//
//             ┌───────────── broken, outcome unknown ◄──────────────┐
//             ▼                                                     │
//  ─► CREATE ─► INIT ─► POSITION ─► VERIFY ─► IDLE ─► PUBLISH ──────┤        HALTED ◄─ what an operator must mend
//       ▲                  │ ▲        │  ▲      ▲      │   ▲        │
//       │          unknown ▼ │        │  │      └─ MARK ◄──┘        │
//       │                TAILS ◄──────┘  └── no row there           │
//       │                     behind the mark                       ▼
//       └──────────────────────────── kept ◄── EPOCH ◄── fenced, fatal      EPOCH, VERIFY, MARK ──► LOST
//
// The order is what makes it exactly once: the owner raised the epoch; a fresh producer's init_transactions ends what any
// earlier producer of the shard had under way; only then n, "published up to", is read from Kafka, and checked against the
// row n that PostgreSQL has; then rows n+1.. go out in transactions that carry the new n with them.
#pragma once

#include "pricing/error.h"

#include <stdbool.h>
#include <stdint.h>

enum relay_state {
    RELAY_CREATE, // a fresh producer is needed
    RELAY_INIT, // its init_transactions
    RELAY_POSITION, // n is to be read from the pseudo group
    RELAY_TAILS, // n is unknown there, or behind the mark: it is to be read from the ends of the topics
    RELAY_VERIFY, // n is to be compared with PostgreSQL
    RELAY_IDLE, // everything known is published
    RELAY_PUBLISH, // rows above n are to go out
    RELAY_MARK, // PostgreSQL is to be told n
    RELAY_EPOCH, // fenced: whose is the shard?
    RELAY_LOST, // another's: for good
    RELAY_HALTED, // an operator must mend what `trouble` says: for good
    RELAY_STATES
};

enum relay_action {
    RELAY_DO_WAIT, // until the instant given, or a ROWS event
    RELAY_DO_CREATE, // destroy the producer if there is one, make a fresh one
    RELAY_DO_INIT,
    RELAY_DO_READ_POSITION,
    RELAY_DO_READ_TAILS,
    RELAY_DO_VERIFY, // check the epoch; read last sequence, mark, and the hash of row n
    RELAY_DO_PUBLISH, // rows n+1.., which chain from `hash`, in one transaction
    RELAY_DO_MARK,
    RELAY_DO_CHECK_EPOCH,
    RELAY_DO_STOP, // lost or halted: destroy the producer; nothing more comes
};

enum relay_event_kind {
    RELAY_ON_ROWS, // rows up to `n` are committed; in any state
    RELAY_ON_CREATED,
    RELAY_ON_INITIALISED,
    RELAY_ON_POSITION, // n, and the hash of row n; without one it is not the relay's own, and as good as unknown
    RELAY_ON_POSITION_UNKNOWN,
    RELAY_ON_TAILS, // n: the highest sequence; 0: all four are empty
    RELAY_ON_VERIFIED, // n: the last row in PostgreSQL; mark; has_hash: row n is there
    RELAY_ON_COMMITTED, // n, hash: of the last row of the transaction
    RELAY_ON_NOTHING, // no row above n, nothing was sent
    RELAY_ON_MARKED,
    RELAY_ON_KEPT, // the epoch is still ours
    RELAY_ON_LOST, // the epoch is another's
    RELAY_ON_FAILED, // nothing was changed, or the transaction is known to be aborted: the same again, later
    RELAY_ON_BROKEN, // the producer is of no use any more, a transaction's outcome may be unknown
    RELAY_ON_FENCED, // the producer is fenced or in a fatal state
    RELAY_ON_IMPOSSIBLE, // trying again cannot help: halt
    RELAY_EVENTS
};

enum { RELAY_HASH_SIZE = 32 };

struct relay_event {
    enum relay_event_kind kind;
    int64_t now_ms; // rising; only differences count
    int64_t n, mark;
    bool has_hash;
    uint8_t hash[RELAY_HASH_SIZE];
    const struct error *error; // why: FAILED, BROKEN, FENCED, IMPOSSIBLE; else NULL
};

struct relay_machine {
    enum relay_state state;
    int32_t shard;
    bool initialised; // the present producer's init_transactions is done
    bool known; // n is checked against PostgreSQL since then; `hash` is that of row n
    bool from_tails; // n comes from the tails
    bool has_hash; // hash is set
    int64_t n; // published up to; -1: not read since the producer was made
    uint8_t hash[RELAY_HASH_SIZE];
    int64_t wanted; // rows up to here are in PostgreSQL
    int64_t floor; // n cannot be lower: the highest mark or commit seen
    int64_t marked; // what PostgreSQL knows
    uint32_t failures; // since the last success: sets the pause
    int64_t not_before_ms;
    struct error trouble; // of the halt, or the last trouble; kind ERROR_NONE when all is well
};

enum { RELAY_PAUSE_MIN_MS = 50, RELAY_PAUSE_MAX_MS = 10000 };

void relay_machine_start(struct relay_machine *m, int32_t shard);
// What to do at now_ms; *until_ms (of WAIT): INT64_MAX when only rows can end it.
enum relay_action relay_machine_next(const struct relay_machine *m, int64_t now_ms, int64_t *until_ms);
// The answer to the action, or ROWS. An event that the state cannot have is a programming error and asserts.
void relay_machine_on(struct relay_machine *m, const struct relay_event *event);
