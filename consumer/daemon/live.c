#include "consumer/daemon/live.h"

#include "consumer/system/clock.h"
#include "consumer/system/thread.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

// A thread that lets go of `fold` and takes it again at once would always be faster than one that
// has to wake up for it. So all come through the gate, one after the other.
struct live_shard {
    pthread_mutex_t gate, fold;
    atomic_int waiting; // for a look
    struct shard *shard; // NULL: it is not here
};

struct live {
    int32_t partitions;
    struct live_shard shards[];
};

int live_create(int32_t partitions, struct live **out, struct error *e)
{
    struct live *live = calloc(1, sizeof *live + (size_t)partitions * sizeof(struct live_shard));
    *out = live;
    if (!live)
        return error_set(e, ERROR_RESTART, "memory is short");
    live->partitions = partitions;
    for (int32_t p = 0; p < partitions; p++) {
        pthread_mutex_init(&live->shards[p].gate, NULL);
        pthread_mutex_init(&live->shards[p].fold, NULL);
    }
    return 0;
}

void live_destroy(struct live *live)
{
    for (int32_t p = 0; live && p < live->partitions; p++) {
        assert(!live->shards[p].shard);
        pthread_mutex_destroy(&live->shards[p].gate);
        pthread_mutex_destroy(&live->shards[p].fold);
    }
    free(live);
}

// ---- for the fold thread ----

void live_hold(struct live *live, int32_t shard)
{
    struct live_shard *s = &live->shards[shard];
    pthread_mutex_lock(&s->gate);
    pthread_mutex_lock(&s->fold);
    pthread_mutex_unlock(&s->gate);
}

void live_let_go(struct live *live, int32_t shard)
{
    pthread_mutex_unlock(&live->shards[shard].fold);
}

void live_let_look(struct live *live, int32_t shard)
{
    if (live->shards[shard].waiting == 0)
        return;
    live_let_go(live, shard);
    live_hold(live, shard);
}

void live_show(struct live *live, int32_t shard, struct shard *shown)
{
    live->shards[shard].shard = shown;
}

void live_hide(struct live *live, int32_t shard, const struct shard *hidden)
{
    if (live->shards[shard].shard == hidden)
        live->shards[shard].shard = NULL;
}

// ---- for those who look ----

// False: the time is up.
static bool hold_to_look(struct live_shard *s, int64_t until_ms)
{
    int64_t left = until_ms - clock_monotonic_ms();
    const struct timespec until = thread_wall_after(left);
    bool held = false;
    if (left <= 0)
        return false;
    s->waiting++;
    if (pthread_mutex_timedlock(&s->gate, &until) == 0) {
        held = pthread_mutex_timedlock(&s->fold, &until) == 0;
        pthread_mutex_unlock(&s->gate);
    }
    s->waiting--;
    return held;
}

// One piece. The shard is held.
static enum live_result take_piece(const struct live_shard *s, const struct live_question *question,
                                   struct preview *preview, enum day_phase *phase)
{
    if (!s->shard || shard_state(s->shard) != SHARD_RUNNING)
        return LIVE_ABSENT;
    struct fold *fold = shard_fold(s->shard);
    if (!preview_take(preview, fold, shard_fold_number(s->shard), LIVE_PIECE))
        return LIVE_BUSY;
    *phase = fold_phase(fold, question->now_ms);
    return LIVE_TAKEN;
}

enum live_result live_take(struct live *live, const struct live_question *question,
                           struct preview **out, enum day_phase *phase)
{
    assert(question->shard >= 0);
    assert(question->shard < live->partitions);
    struct live_shard *s = &live->shards[question->shard];
    enum live_result result = LIVE_BUSY;
    *out = preview_create(question->account_id);
    while (*out && result == LIVE_BUSY && hold_to_look(s, question->until_ms)) {
        result = take_piece(s, question, *out, phase);
        pthread_mutex_unlock(&s->fold);
    }
    if (result == LIVE_TAKEN)
        return result;
    preview_destroy(*out);
    *out = NULL;
    return result;
}
