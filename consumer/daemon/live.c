#include "consumer/daemon/live.h"

#include "consumer/system/clock.h"
#include "consumer/system/thread.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

// A look that waits. Whoever holds the shard takes a piece of each of them: a thread that had to
// wake up to take its own would keep the fold thread waiting meanwhile.
struct waiting_look {
    const struct live_question *question;
    struct live_taken *out;
    enum live_result result; // LIVE_BUSY: it goes on
    struct waiting_look *next;
};

struct live_shard {
    pthread_mutex_t fold; // whoever has it holds the shard
    atomic_bool wanted; // by the fold thread: no other one takes it now
    struct shard *shard; // NULL: it is not here
    pthread_mutex_t lock; // of all that follows; `fold` is only tried with it
    pthread_cond_t changed; // a look has ended, or nobody holds the shard any more
    atomic_int waiting; // looks that go on; read without the lock
    struct waiting_look *looks;
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
        pthread_mutex_init(&live->shards[p].fold, NULL);
        pthread_mutex_init(&live->shards[p].lock, NULL);
        thread_init_condition(&live->shards[p].changed);
    }
    return 0;
}

void live_destroy(struct live *live)
{
    for (int32_t p = 0; live && p < live->partitions; p++) {
        assert(!live->shards[p].shard);
        assert(!live->shards[p].looks);
        pthread_mutex_destroy(&live->shards[p].fold);
        pthread_mutex_destroy(&live->shards[p].lock);
        pthread_cond_destroy(&live->shards[p].changed);
    }
    free(live);
}

// ---- who holds the shard ----

// One piece. The shard is held.
static enum live_result take_piece(const struct live_shard *s, const struct live_question *question,
                                   struct live_taken *out)
{
    if (!s->shard || shard_state(s->shard) != SHARD_RUNNING)
        return LIVE_ABSENT;
    struct fold *fold = shard_fold(s->shard);
    if (!preview_take(out->preview, fold, shard_fold_number(s->shard), LIVE_PIECE))
        return LIVE_BUSY;
    out->phase = fold_phase(fold, question->now_ms);
    out->epoch = shard_epoch(s->shard);
    return LIVE_TAKEN;
}

// A piece of each look that waits. The shard is held.
static void serve_looks(struct live_shard *s)
{
    bool ended = false;
    pthread_mutex_lock(&s->lock);
    for (struct waiting_look **at = &s->looks; *at;) {
        struct waiting_look *look = *at;
        look->result = take_piece(s, look->question, look->out);
        if (look->result == LIVE_BUSY) {
            at = &look->next;
            continue;
        }
        *at = look->next;
        s->waiting--;
        ended = true;
    }
    if (ended)
        pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

// Whoever still waits is told that nobody holds the shard. A look that begins to wait just now has
// either been counted by here, or finds that the shard is free.
static void let_go(struct live_shard *s)
{
    pthread_mutex_unlock(&s->fold);
    atomic_thread_fence(memory_order_seq_cst);
    if (s->waiting == 0)
        return;
    pthread_mutex_lock(&s->lock);
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

// ---- for the fold thread ----

void live_hold(struct live *live, int32_t shard)
{
    struct live_shard *s = &live->shards[shard];
    s->wanted = true;
    pthread_mutex_lock(&s->fold);
    s->wanted = false;
}

void live_let_go(struct live *live, int32_t shard)
{
    let_go(&live->shards[shard]);
}

void live_let_look(struct live *live, int32_t shard)
{
    struct live_shard *s = &live->shards[shard];
    if (s->waiting > 0)
        serve_looks(s);
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

static void remove_look(struct live_shard *s, const struct waiting_look *look)
{
    struct waiting_look **at = &s->looks;
    while (*at != look)
        at = &(*at)->next;
    *at = look->next;
    s->waiting--;
}

// With the lock: a step towards the end of the look. False: the time is up.
static bool go_on(struct live_shard *s, int64_t until_ms)
{
    const struct timespec until = {.tv_sec = until_ms / 1000,
                                   .tv_nsec = until_ms % 1000 * 1000000L};
    if (clock_monotonic_ms() >= until_ms)
        return false;
    atomic_thread_fence(memory_order_seq_cst);
    if (s->wanted || pthread_mutex_trylock(&s->fold) != 0)
        return pthread_cond_timedwait(&s->changed, &s->lock, &until) == 0;
    pthread_mutex_unlock(&s->lock);
    serve_looks(s);
    let_go(s);
    pthread_mutex_lock(&s->lock);
    return true;
}

static enum live_result look_on(struct live_shard *s, const struct live_question *question,
                                struct live_taken *out)
{
    struct waiting_look look = {.question = question, .out = out, .result = LIVE_BUSY};
    pthread_mutex_lock(&s->lock);
    look.next = s->looks;
    s->looks = &look;
    s->waiting++;
    while (look.result == LIVE_BUSY && go_on(s, question->until_ms)) {}
    if (look.result == LIVE_BUSY)
        remove_look(s, &look);
    pthread_mutex_unlock(&s->lock);
    return look.result;
}

enum live_result live_take(struct live *live, const struct live_question *question,
                           struct live_taken *out)
{
    assert(question->shard >= 0);
    assert(question->shard < live->partitions);
    *out = (struct live_taken){.preview = preview_create(question->account_id)};
    if (!out->preview)
        return LIVE_BUSY;
    enum live_result result = look_on(&live->shards[question->shard], question, out);
    if (result == LIVE_TAKEN)
        return result;
    preview_destroy(out->preview);
    out->preview = NULL;
    return result;
}
