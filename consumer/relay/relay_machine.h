// What the relay of one shard does next. Pure: no I/O, no clock, no allocation. The daemon drives
// it against librdkafka and PostgreSQL, the simulator against models of both. One action is under
// way at a time, and one event answers it.
//
//        ┌───── committed by a spent producer; aborted; outcome unknown; not read back in time ◄─┐
//        ▼                                                                                       │
//  ─► CREATE ─► INIT ─► POSITION ─► TOPICS ─► VERIFY ─► IDLE ◄──────────────► PUBLISH ───────────┤
//        ▲                                     ▲  no row │  read back ┌──────────┘ │ fenced, fatal
//        │                                     └── there ┘            ▼            ▼
//        └───────────────────────────── kept ◄───────────────────── MARK         EPOCH
//
//  VERIFY, MARK, EPOCH ──► LOST: another process owns the shard.
//  Any but IDLE ──► HALTED: an operator must mend it.
//
// The adversary. A client whose connection breaks sends its requests again, and tells nobody. A
// copy that the network still holds may arrive later, and Kafka applies it to whatever transaction
// the same producer epoch has open then: a late EndTxn ends a transaction that has only half of its
// rows, a late TxnOffsetCommit puts the position back. Three rules protect against this, and each
// of them holds without the other two:
//
//   1. No request of one transaction can touch another. A transaction begins only in an epoch all
//      of whose requests were sent once and answered well, so that no copy of one can be under way.
//      Where that is not certain, the producer is spent: a fresh one is made at once, even when no
//      row waits. Its init_transactions raises the epoch, so every copy is refused from then on. An
//      abort always spends its producer, since its cause is seldom known.
//   2. Rows go first, and are acknowledged before the position is sent. So a transaction that
//      somebody ends early has a position only if it has all of its rows.
//   3. The topics are the truth. Published is what a read_committed reader finds there. After each
//      init_transactions the topics are read from the mark to their ends, and rows are sent from
//      the first missing one on. The mark in PostgreSQL follows only what was read back.
#pragma once

#include "pricing/error.h"

#include <stdbool.h>
#include <stdint.h>

enum relay_state {
    RELAY_CREATE, // a fresh producer is needed
    RELAY_INIT, // its init_transactions
    RELAY_POSITION, // the position of the pseudo group is to be read
    RELAY_TOPICS, // the topics are to be read, from the mark to their ends
    RELAY_VERIFY, // both are to be compared with PostgreSQL
    RELAY_IDLE, // nothing is to be sent, or too much of what was sent is not read back yet
    RELAY_PUBLISH, // rows above n are to go out
    RELAY_MARK, // PostgreSQL is to be told what was read back
    RELAY_EPOCH, // fenced: who owns the shard?
    RELAY_LOST, // another process owns it: for good
    RELAY_HALTED, // an operator must mend what `trouble` says: for good
    RELAY_STATES
};

enum relay_action {
    RELAY_DO_WAIT, // until the instant given, or a ROWS or READ_BACK event
    RELAY_DO_CREATE, // destroy the producer if there is one, make a fresh one
    RELAY_DO_INIT,
    RELAY_DO_READ_POSITION,
    RELAY_DO_READ_TOPICS, // from row `marked` to their ends, as they are asked for now
    // check the epoch; read last sequence, mark, and the hashes of rows `n` and `position`
    RELAY_DO_VERIFY,
    // rows n+1.., which chain from `hash`, less those that stand there, in one transaction
    RELAY_DO_PUBLISH,
    RELAY_DO_MARK, // row `read_back`
    RELAY_DO_CHECK_EPOCH,
    RELAY_DO_STOP, // lost or halted: destroy the producer; nothing more comes
};

enum relay_event_kind {
    RELAY_ON_ROWS, // rows up to `n` are committed; in any state
    // rows up to `n` stand in the topics; told in each turn of IDLE and PUBLISH, also without news
    RELAY_ON_READ_BACK,
    RELAY_ON_CREATED,
    RELAY_ON_INITIALISED,
    // n, and the hash of row n; without one it is not the relay's own, and as good as unknown
    RELAY_ON_POSITION,
    RELAY_ON_POSITION_UNKNOWN,
    RELAY_ON_TOPICS, // n: every row above the mark up to n stands there; highest, whole_logs
    // n: the last row in PostgreSQL; mark; hash of row n, and position_hash, if they are there
    RELAY_ON_VERIFIED,
    RELAY_ON_COMMITTED, // n, hash: of the last row of the transaction; spent
    RELAY_ON_NOTHING, // no row above n, nothing was sent
    RELAY_ON_MARKED,
    RELAY_ON_KEPT, // the epoch is still ours
    RELAY_ON_LOST, // the epoch is another's
    RELAY_ON_FAILED, // nothing was sent: the same again, later
    RELAY_ON_ABORTED, // nothing of the transaction will ever be seen
    // the producer is of no use any more, a transaction's outcome may be unknown; or nothing can be
    // read back
    RELAY_ON_BROKEN,
    RELAY_ON_FENCED, // the producer is fenced or in a fatal state
    RELAY_ON_IMPOSSIBLE, // trying again cannot help: halt
    RELAY_EVENTS
};

enum { RELAY_HASH_SIZE = 32 };

struct relay_event {
    enum relay_event_kind kind;
    int64_t now_ms; // rising; only differences count
    int64_t n, mark;
    int64_t highest; // TOPICS: the highest sequence that stands there; 0: none
    // TOPICS: each log reaches back to the mark, so a row that is not there is not published
    bool whole_logs;
    bool spent; // COMMITTED: a request of the producer was sent twice, or not answered well
    bool has_hash, has_position_hash;
    uint8_t hash[RELAY_HASH_SIZE], position_hash[RELAY_HASH_SIZE];
    const struct error *error; // why: FAILED, ABORTED, BROKEN, FENCED, IMPOSSIBLE; else NULL
};

struct relay_machine {
    enum relay_state state;
    int32_t shard;
    bool initialised; // the present producer's init_transactions is done
    bool known; // n is checked against PostgreSQL since then; `hash` is that of row n
    int64_t n; // published up to; -1: not read since the producer was made
    uint8_t hash[RELAY_HASH_SIZE];
    int64_t position; // that the pseudo group had when the producer was made; -1: unknown
    uint8_t position_hash[RELAY_HASH_SIZE];
    int64_t highest; // in the topics at that time
    bool whole_logs; // which reached back to the mark
    int64_t claimed; // Kafka has ever said that rows up to here are committed
    // Rows up to here were read in the topics, or have expired there: after VERIFIED they, and no
    // others, are to be taken as read. Those from here to n are committed, and still to be seen.
    int64_t read_back;
    int64_t unread_since_ms; // n is above read_back, and nothing was read back since
    int64_t wanted; // rows up to here are in PostgreSQL
    int64_t marked; // what PostgreSQL knows to be published
    uint32_t failures; // since the last success: sets the pause
    enum relay_state pausing; // the state that waits
    int64_t not_before_ms;
    struct error trouble; // of the halt, or the last trouble; kind ERROR_NONE when all is well
};

enum {
    RELAY_PAUSE_MIN_MS = 50,
    RELAY_PAUSE_MAX_MS = 10000,
    RELAY_UNREAD_ROWS = 60000, // so many may be committed and not read back
    RELAY_UNREAD_MS = 10000, // when nothing is read back for so long, the topics are read anew
};

// `mark`: PostgreSQL has it that rows up to here are published; 0: none.
void relay_machine_start(struct relay_machine *m, int32_t shard, int64_t mark);
// What to do at now_ms; *until_ms (of WAIT): INT64_MAX when only an event can end it.
enum relay_action relay_machine_next(const struct relay_machine *m, int64_t now_ms,
                                     int64_t *until_ms);
// The answer to the action, or ROWS, or READ_BACK. An event that the state cannot have is a
// programming error and asserts.
void relay_machine_on(struct relay_machine *m, const struct relay_event *event);
