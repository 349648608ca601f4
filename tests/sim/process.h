// One process of the group, with one worker: its clock, its shards (consumer/shard/shard.c, driven
// through struct shard_host as worker.c drives them), its relay (relay/relay_machine.c, answered
// as relay/relay.c answers it), its connections.
#pragma once

#include "consumer/core/preview.h"
#include "consumer/relay/published_rows.h"
#include "consumer/relay/relay_machine.h"
#include "consumer/shard/shard.h"
#include "tests/sim/disk.h"
#include "tests/sim/postgres.h"

struct world;

enum { OPEN_TRANSACTION_WAIT_MS = 15 * 60000 };

// In place of kafka/intake.c, for one log.
struct lane {
    bool reading;
    int64_t start, next; // first offset wanted; next to deliver
    int64_t fetched; // offsets below it may be delivered
    int64_t told_end;
};

enum question_state { QUESTION_NONE, QUESTION_ASKED, QUESTION_SENT, QUESTION_ANSWERED };
struct question {
    enum question_state state;
    int64_t since_ms;
    struct log_watermarks answer;
    // Answers to questions with since_ms: how many, the lowest and the last.
    int firsts;
    int64_t lowest_first, last_first;
};

// A shard's output topics, as a process reads them back, in place of relay/published_log.c.
struct reading {
    bool open, whole_logs;
    struct published_rows rows;
    size_t next[OUTPUT_COUNT]; // message
    int cuts[OUTPUT_COUNT]; // of its log, when that was read last
};

// A transaction under way, as its client sees it. Each turn of the relay sends one of its requests,
// or several.
enum phase { PHASE_NONE, PHASE_ROWS, PHASE_OFFSETS, PHASE_POSITION, PHASE_END, PHASE_ABORT };
struct sending {
    enum phase phase;
    int transaction;
    bool opened; // one of its requests was answered well
    unsigned added; // outputs
    int count, left; // rows; those that are not acknowledged
    struct message rows[BATCH_ROWS];
    bool acknowledged[BATCH_ROWS];
    struct published_to position;
};

// In place of relay/relay.c, for one shard.
struct publishing {
    bool added;
    int64_t epoch, woken;
    struct relay_machine machine;
    struct relay_status status;
    int producer_id, producer_epoch; // id 0: not initialised
    bool spent; // a copy of a request may be under way
    int numbers[OUTPUT_COUNT]; // of the producer's next message
    struct sending sending;
    struct reading reading;
};
// What happens to the end of a relay's next transaction.
enum batch_fate {
    BATCH_WELL,
    BATCH_ABORTED,
    BATCH_UNANSWERED,
    BATCH_LATE,
    BATCH_LOST,
    BATCH_FATES
};

// A commit beside the fold thread, on a session of its own: done at once or in the end, told of
// after some looks.
struct beside {
    struct session session;
    struct dice dice;
    bool under_way, done;
    int32_t shard;
    int looks; // until it is told of
    bool refused; // another shard waits for its turn
    struct shard_row row;
    enum store_result result;
    struct error error;
};

struct process {
    int number;
    struct world *world;
    bool alive, draining;
    int64_t skew; // of its clock, ms
    int64_t frozen_until, deaf_until; // world ms: does nothing; does not hear of the group
    int64_t back_at; // dead: starts again then
    bool dies; // as soon as its turn is over
    int dies_after; // so many calls of the database from now; -1: not
    struct error why; // it ended by itself; kind ERROR_NONE: it did not
    // The worker
    struct shard_host host;
    struct metrics *metrics;
    struct shard *shards[SHARDS_MAX];
    bool assigned[SHARDS_MAX];
    uint64_t heard; // generation of the group, as its poll thread has it
    bool heard_shards[SHARDS_MAX], confirmed;
    uint64_t assignment; // as its fold thread has it
    bool unconfirmed;
    const struct policy *policy;
    int64_t refreshed_at;
    struct lane lanes[SHARDS_MAX][INPUT_COUNT];
    struct question questions[SHARDS_MAX][INPUT_COUNT];
    int64_t counted_at; // monotonic ms: the topics had their partitions then; -1: not looked at yet
    int64_t counted_step;
    bool count_wanted; // a later look is needed
    struct session session;
    struct beside beside;
    // Snapshots: on which of the world's disks, and that is being written there
    int disk;
    struct disk_writing writing;
    struct dice disk_dice;
    // Somebody asks what an account has used, a piece at a time: it must change nothing.
    struct preview *preview;
    int32_t previewed; // the shard
    int64_t looks; // pieces so far
    // The relay
    struct publishing publishing[SHARDS_MAX];
    enum batch_fate batch_fate;
    // so many of its next requests break their connection: a copy stays on its way
    int copies[TXN_KINDS];
    int64_t drain[SHARDS_MAX][INPUT_COUNT];
};

void process_start(struct process *process, struct world *world, int number, bool draining);
// Ends it as SIGKILL does.
void process_kill(struct process *process);
void process_stop(struct process *process); // as SIGTERM does
int64_t process_clock(const struct process *process);

// Each is one turn of one of its threads.
void process_fold(struct process *process, int32_t shard);
void process_poll(struct process *process, struct dice *dice);
void process_ask(struct process *process, int32_t shard, enum input input); // the ends of a log
void process_count(struct process *process); // looks at the topics' partitions
void process_counted(struct process *process); // a look showed them as they should be
// Records come again that were delivered before.
void process_redeliver(struct process *process, struct dice *dice);
// In a drain: all that is due is settled and published.
bool process_drained(const struct process *process);
// Whether it is still alive before a call, or after it: it may be killed between any two calls.
bool process_is_gone(struct process *process, struct error *e);

// ---- the relay ----
void relay_serve(struct process *process, int32_t shard); // one turn of its thread
void relay_fill_host(struct shard_host *host);
