// One world: everything that runs in it, what goes wrong in it, and what must hold in it all the
// time.
#pragma once

#include "tests/sim/process.h"

enum { PROCESSES_MAX = 3, FAULTS_MAX = 48, FAILURE_SIZE = 1200 };

enum fault_kind {
    FAULT_KILL, // a process, at once
    FAULT_KILL_INSIDE, // between two of its calls of the database
    FAULT_FREEZE, // it does nothing for a while, longer than its session lasts
    FAULT_DEAF, // its poll thread hangs: the others own its shards, and it does not know
    FAULT_REBALANCE,
    FAULT_CLOCK, // a process's clock is wrong for a while
    FAULT_BROKER_CLOCK,
    FAULT_COMMIT, // what becomes of a process's next COMMIT: a kind of enum commit_fate
    FAULT_CUT, // a process's connections to PostgreSQL
    FAULT_POSTGRES_DOWN,
    FAULT_FAIL_OVER, // to a replica that has every commit
    FAULT_LOSE_COMMITS, // to one that has not
    FAULT_KAFKA_DOWN,
    FAULT_BATCH, // what becomes of a process's next transaction: a kind of enum batch_fate
    FAULT_LATE, // requests of a process's relay break their connection: a copy stays on its way
    FAULT_TIME_OUT, // the coordinator ends the relays' open transactions
    FAULT_STUCK, // a transaction whose end is decided, and not written
    FAULT_ID_EXPIRED, // the transactional id
    FAULT_OFFSET_GONE, // the pseudo group's offset: -1001
    FAULT_OFFSET_BACK, // somebody sets it back
    FAULT_POSITION_STALE, // an older one is shown once, with its hash, or for good
    FAULT_ROWS_LOST, // a broker loses the last ones of an output topic
    FAULT_ROWS_EXPIRED, // published ones, of an output topic
    FAULT_OUTPUTS_GONE, // and the output topics are deleted and made again
    FAULT_REDELIVER,
    FAULT_RETENTION, // a log begins where it need reach back to no further
    FAULT_RETENTION_SHORT, // one begins after what is still needed
    FAULT_REGISTRY_DOWN,
    FAULT_PARAMETERS, // others are recorded
    FAULT_BOOK, // another price book is recorded
    FAULT_PARTITIONS, // somebody adds some to the input topics
    FAULT_KINDS
};
extern const struct fault_fact {
    const char *name;
    int weight; // how often it is drawn; 0: it ends a world, so few have it
} fault_facts[FAULT_KINDS];

struct fault {
    int number; // in the whole schedule
    int64_t step;
    enum fault_kind kind;
    uint64_t chance; // what is left to chance in it
};

struct schedule {
    size_t count;
    struct fault faults[FAULTS_MAX];
};

// A fault that ends by itself.
struct cure {
    int64_t at;
    enum fault_kind kind;
    int process;
    int32_t shard;
    enum input input;
};

struct options {
    uint64_t seed;
    int64_t records_max;
    enum breakage breakage;
    bool trace; // says what happens
};

// A row of a shard's outbox, as subscribers have it.
struct seen_row {
    bool seen, lost;
    struct message message;
};

// Where each log ended, and where what is stable of it, when a process's clock first passed a day's
// end and grace; by day, from the first one.
enum { DUE_DAYS = DAYS_MAX + 8 };
struct due_seen {
    int days;
    int64_t stable[DUE_DAYS][INPUT_COUNT], end[DUE_DAYS][INPUT_COUNT];
};

struct world {
    struct options options;
    struct dice dice;
    struct arena *arena;
    struct policy first_policy;
    struct script script;
    size_t sent, ended; // of the script
    struct kafka kafka;
    struct postgres postgres;
    int process_count;
    struct process processes[PROCESSES_MAX];
    struct disk disks[PROCESSES_MAX];
    struct disk_counts snapshots;
    int64_t now, mono, step; // ms of the world, and since its beginning
    int64_t end; // a while after the last day of the script
    bool registry_down;
    uint64_t registry_generation;
    // what is known of the unknown schema
    enum { UNKNOWN_NEW, UNKNOWN_ASKED, UNKNOWN_FOUND } unknown[INPUT_COUNT];
    bool healed;
    // The consumer group
    uint64_t generation;
    int owner[SHARDS_MAX]; // process, -1: none
    bool member[PROCESSES_MAX];
    int64_t heard_at[PROCESSES_MAX]; // monotonic ms
    int64_t operator_at; // looks again then
    LIST(struct cure) cures;
    struct schedule schedule; // as far as it is to happen
    int injected[FAULT_KINDS];
    // What may end it without being a failure
    bool lost_commits, moved_retention, short_retention, lost_outputs;
    bool contradicted; // a process halted while Kafka had what PostgreSQL had lost
    int halts; // since all is well again
    // What the checks remember
    int64_t epochs[SHARDS_MAX];
    LIST(struct seen_row) seen[SHARDS_MAX]; // [i] is sequence i + 1; the last one was seen
    int64_t lost_rows, came_again;
    int64_t published[SHARDS_MAX]; // subscribers have seen every sequence up to here
    uint8_t published_hash[SHARDS_MAX][RELAY_HASH_SIZE]; // of its row
    struct due_seen due[PROCESSES_MAX][SHARDS_MAX];
    char failure[FAILURE_SIZE]; // "" while all is well
};

void schedule_draw(struct schedule *schedule, uint64_t seed);
// Runs a world to its end. The caller looks at `failure` and frees.
void world_run(struct world *world, const struct options *options, const struct schedule *schedule);
void world_free(struct world *world);

// The first one counts.
__attribute__((format(printf, 2, 3))) void world_fail(struct world *world, const char *format, ...);
__attribute__((format(printf, 2, 3))) void world_say(const struct world *world, const char *format,
                                                     ...);
void world_inject(struct world *world, const struct fault *fault);
// The part for faults of published rows and offsets; false: the fault is of another kind.
bool world_inject_topics(struct world *world, enum fault_kind kind, int32_t shard,
                         struct dice *dice);
void world_heal(struct world *world);
void world_cure(struct world *world);
void world_rebalance(struct world *world);
// Once for all worlds: what is expensive to make.
void world_prepare(void);
void world_release(void);
struct encoder *world_encoder(void);
struct decoder_scratch *world_scratch(void);
const struct plan *world_plan(enum input input);
const struct book *world_book(void);
struct notice_limits world_limits(struct dice *dice); // drawn
