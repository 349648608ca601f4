// A look at the folds of this process by threads that do not own them: what an account has used and
// not been billed for yet.
//
// A fold thread holds a shard while it runs it, and lets go of it while it waits for the database.
// Between two batches of records it takes a piece, of LIVE_PIECE calls at the most, of each look
// that waits; while nobody holds the shard, those who look do so themselves. So nobody waits for
// long, but while a large day is settled.
#pragma once

#include "consumer/core/preview.h"
#include "consumer/shard/shard.h"

enum { LIVE_PIECE = 1 << 16 };

struct live;

// Errors: ERROR_RESTART.
int live_create(int32_t partitions, struct live **out, struct error *e);
// Nobody looks any more. NULL is nothing.
void live_destroy(struct live *live);

// ---- for the fold thread ----

void live_hold(struct live *live, int32_t shard);
void live_let_go(struct live *live, int32_t shard);
// A piece of each look that waits. The shard is held.
void live_let_look(struct live *live, int32_t shard);
// A worker has it now, and it is looked at; until it is hidden, unless another worker of the
// process has it by then. It is held.
void live_show(struct live *live, int32_t shard, struct shard *shown);
void live_hide(struct live *live, int32_t shard, const struct shard *hidden);

// ---- for those who look ----

enum live_result {
    LIVE_TAKEN,
    LIVE_ABSENT, // the shard is not in this process, or is not ready: it is restored, or handed
                 // over
    LIVE_BUSY, // the time is up
};
struct live_question {
    int32_t shard;
    struct slice account_id;
    int64_t now_ms; // the daemon's clock, for the phase
    int64_t until_ms; // monotonic: how long to wait
};
struct live_taken {
    struct preview *preview; // NULL unless LIVE_TAKEN
    enum day_phase phase; // of the oldest day that is not settled
    int64_t epoch; // by which the shard is owned here
};
// Copies what a preview needs; the caller settles it (preview_settle) and destroys it.
enum live_result live_take(struct live *live, const struct live_question *question,
                           struct live_taken *out);
