// The life of one shard in this process: claim it, bring the fold to its recorded state, read on,
// commit steps, close days, drain. Everything that it needs from outside comes through shard_host,
// so that a simulator can drive it as the daemon's worker does. A shard belongs to one thread.
//
//   (none) ─assign─► LOCATING ─ends known, epoch raised─► REPLAYING ─committed position─► RUNNING
//                       ▲  ▲                                                             │  │  │
//                       │  └────── one session time-out ────── FENCED ◄── higher epoch ──┘  │  │
//                       └─ assigned again, state kept if nobody                             │  │
//                          else committed ──────────────────── PARKED ◄──── revoked ────────┘  │
//                                                              HALTED ◄── cannot go on ────────┘
#pragma once

#include "consumer/core/fold.h"
#include "consumer/decode/record_decoder.h"
#include "consumer/kafka/watermarks.h"
#include "consumer/output/outbox.h"
#include "consumer/postgres/store.h"
#include "consumer/relay/relay.h"
#include "consumer/shard/metrics.h"

enum shard_state {
    SHARD_NONE,
    SHARD_LOCATING, // asks where the logs begin and end, then raises the epoch and restores
    SHARD_REPLAYING, // the calls log again, up to the committed position
    SHARD_RUNNING,
    SHARD_PARKED, // not assigned; the state is kept for a while
    SHARD_FENCED, // another process owns it: wait, then begin again
    SHARD_HALTED, // shard_error says why; the process ends
};
const char *shard_state_name(enum shard_state state);

// How a commit beside the thread of its shard stands.
enum commit_progress {
    COMMIT_BUSY, // another shard's is under way: not begun
    COMMIT_GOES_ON,
    COMMIT_ENDED,
};

// A step that is committed beside. Its rows are built there, too: `build` fills the outbox of the
// request, with an encoder of that thread; NULL: they are built already. It returns 0, or -1 with
// *e, which is then the answer, as STORE_FAILED.
struct long_step {
    struct commit_request request;
    int (*build)(void *shard, struct encoder *encoder, struct error *e);
    void *shard;
};

enum { SNAPSHOT_NAME_SIZE = 128 };
enum snapshot_found {
    SNAPSHOT_NONE,
    SNAPSHOT_READ, // whole, and good
    SNAPSHOT_REFUSED,
};

// What a shard needs from the world. Store calls as in store.h, relay calls as in relay.h.
struct shard_host {
    void *context;
    int64_t (*clock_ms)(void *context);
    int64_t (*monotonic_us)(void *context); // to measure with: it has nothing to do with clock_ms
    enum store_result (*claim)(void *context, int32_t shard, struct shard_row *out,
                               struct error *e);
    enum store_result (*restore)(void *context, int32_t shard, const struct shard_row *row,
                                 struct fold *fold, struct error *e);
    enum store_result (*commit)(void *context, int32_t shard, struct shard_row *row,
                                const struct commit_request *request, struct error *e);
    // A step with this many rows or more is committed beside, so that the other shards of the
    // thread go on meanwhile: a credit must not wait for the close of another shard's day. 0: none
    // is.
    size_t long_rows;
    // Begins it, or says how it stands. Once it has ended, *result, *row and *e are those of
    // commit(). Until then nobody changes what `step` points to.
    enum commit_progress (*commit_beside)(void *context, int32_t shard, struct shard_row *row,
                                          const struct long_step *step, enum store_result *result,
                                          struct error *e);
    // Returns when the shard's commit beside has ended.
    void (*await_commit)(void *context, int32_t shard);
    enum store_result (*load_requests)(void *context, int32_t shard, struct request *out,
                                       size_t capacity, size_t *count, struct error *e);
    // The next statements of a month, as what is recorded adds up; valid until the next call.
    enum store_result (*load_month)(void *context, int32_t shard, day_t month, const char *after,
                                    struct month_page *out, struct error *e);
    enum store_result (*refuse_request)(void *context, int64_t id, const char *why,
                                        struct error *e);
    enum store_result (*load_undecided)(void *context, int32_t shard, struct undecided_rejects *out,
                                        size_t capacity, size_t *count, struct error *e);
    // A log waits before this record for its schema. The host knows what the registry says;
    // `answer` is not set.
    enum store_result (*note_waiting)(void *context, int32_t shard, int64_t epoch,
                                      const struct waiting_record *record, struct error *e);
    // Loads parameters and books that were recorded meanwhile; policy() then returns another one.
    // Older ones stay valid as long as the shards do.
    enum store_result (*refresh_policy)(void *context, struct error *e);
    const struct policy *(*policy)(void *context);
    void (*relay_add)(void *context, int32_t shard, int64_t epoch, int64_t mark);
    void (*relay_remove)(void *context, int32_t shard);
    void (*relay_wake)(void *context, int32_t shard, int64_t sequence);
    struct relay_status (*relay_status)(void *context, int32_t shard);
    void (*ask_ends)(void *context, int32_t shard, enum input input, int64_t since_ms);
    bool (*take_ends)(void *context, int32_t shard, enum input input, struct log_watermarks *out);
    // Whether the topics were seen to have the recorded count of partitions in a look that was sent
    // after what was read at `read_at` (monotonic ms). False: such a look is on its way.
    bool (*counts_right)(void *context, int64_t read_at);
    uint64_t (*writer_schemas_generation)(void *context);
    // Reading: from these offsets; then block after block.
    void (*start)(void *context, int32_t shard, const int64_t offsets[INPUT_COUNT]);
    struct block *(*next_block)(void *context, int32_t shard, enum input input);
    void (*release_block)(void *context, int32_t shard, enum input input, struct block *block);
    // Snapshots of the calls on this machine (usage/snapshot.h); NULL, all three: none are kept.
    // Begins to write one, if no other is being written.
    bool (*begin_snapshot)(void *context, int32_t shard);
    // Takes it over and writes it beside; NULL: it comes to nothing. Ends what was begun.
    void (*write_snapshot)(void *context, int32_t shard, struct snapshot *snapshot);
    // Gives the newest one (`back` 0), or the one before it (1), to the reader, to its end or until
    // it is refused, *e says why. `name` says which it is.
    enum snapshot_found (*read_snapshot)(void *context, int32_t shard, int back,
                                         struct snapshot_reader *reader,
                                         char name[SNAPSHOT_NAME_SIZE], struct error *e);
    // of the calls log, since the last one: fewer are replayed in a moment
    int64_t snapshot_records;
    // Between two batches: other threads that wait for a look at the fold have it now.
    void (*let_look)(void *context, int32_t shard);

    struct encoder *encoder;
    // what its readers need; the scratch is shared by the shards of a worker
    struct decoder_source source;
    struct metrics *metrics;
    const char *input_topics[INPUT_COUNT];
    int32_t partitions;
    uint8_t id_key[32];
    int64_t max_resident_calls;
    int64_t session_ms; // of the group: how long a fenced owner waits
    // run.open_transaction_wait: how long an open transaction may hold up a cutoff by the clock
    int64_t open_transaction_wait_ms;
};

struct shard;

// `drain`: the ends to read to, by input; NULL: go on for ever. NULL when memory is short.
struct shard *shard_create(const struct shard_host *host, int32_t id, const int64_t *drain);
void shard_destroy(struct shard *shard);

// The group gave the shard to this member, or took it away. Times are monotonic ms.
void shard_assign(struct shard *shard, int64_t mono_ms);
void shard_revoke(struct shard *shard, int64_t mono_ms);
// Does what can be done now, a bounded piece of it. True: there is more to do at once; else look
// again when something happens, or at shard_deadline.
bool shard_run(struct shard *shard, int64_t mono_ms);
int64_t shard_deadline(const struct shard *shard); // monotonic ms
// Commits what the last step holds, if it can be done at once (shutdown).
void shard_finish(struct shard *shard);

enum shard_state shard_state(const struct shard *shard);
const struct error *shard_error(const struct shard *shard); // HALTED: why
// run.max_calls_held is reached: says so in *e (ERROR_CONFIG), with what would be enough for what
// is known to come.
void shard_say_full(const struct metrics *metrics, int64_t resident, int64_t most, struct error *e);
struct fold *shard_fold(struct shard *shard); // NULL while there is none
// Tells one fold of the shard from the next.
uint64_t shard_fold_number(const struct shard *shard);
// By which it is owned; whoever owns it later has a higher one.
int64_t shard_epoch(const struct shard *shard);
// NULL when the shard does all of its work: it reads, commits and publishes. Otherwise `out`, which
// says what it does not do, or what an operator must look at before the process is started again.
enum { SHARD_UNREADY_SIZE = ERROR_TEXT_SIZE + 64 };
const char *shard_unready(const struct shard *shard, char out[SHARD_UNREADY_SIZE]);
// In a drain: all that is due is settled and published, and PostgreSQL has it so. *held: an
// operator has to decide before it can be.
bool shard_drained(const struct shard *shard, bool *held);
// Committed positions, for lag tools. False while there are none.
bool shard_positions(const struct shard *shard, int64_t out[INPUT_COUNT]);
