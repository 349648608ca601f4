#include "consumer/daemon/long_commits.h"

#include "consumer/system/fault.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

enum job_state { JOB_NONE, JOB_RUNS, JOB_ENDED };

struct long_commits {
    struct store *store; // the thread's
    struct encoder *encoder; // the thread's
    void (*ring)(void *context);
    void *context;
    pthread_t thread;
    bool started;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    // Under the lock. While the job runs, only the thread uses what is below `state`.
    bool stopping;
    enum job_state state;
    int32_t shard;
    struct shard_row row;
    struct long_step step;
    enum store_result result;
    struct error error;
};

static void run_job(struct long_commits *c)
{
    const struct long_step *step = &c->step;
    c->result = STORE_FAILED;
    if (step->build && step->build(step->shard, c->encoder, &c->error) != 0)
        return;
    fault_point(beside_built);
    c->result = store_commit(c->store, c->shard, &c->row, &step->request, &c->error);
    fault_point(beside_committed);
}

static void *commit_main(void *argument)
{
    struct long_commits *c = argument;
    pthread_mutex_lock(&c->lock);
    while (!c->stopping) {
        if (c->state != JOB_RUNS) {
            pthread_cond_wait(&c->changed, &c->lock);
            continue;
        }
        pthread_mutex_unlock(&c->lock);
        run_job(c);
        pthread_mutex_lock(&c->lock);
        c->state = JOB_ENDED;
        pthread_cond_broadcast(&c->changed);
        c->ring(c->context);
    }
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

int long_commits_create(const struct config *config, void (*ring)(void *context), void *context,
                        struct long_commits **out, struct error *e)
{
    struct long_commits *c = calloc(1, sizeof *c);
    if (!c)
        return error_set(e, ERROR_RESTART, "memory is short for a worker");
    c->ring = ring;
    c->context = context;
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->changed, NULL);
    int failed = store_open_all(config->dsns, config->dsn_count, STORE_WRITES, &c->store, e) != 0 ||
                         encoder_create(&c->encoder, e) != 0
                     ? -1
                     : 0;
    if (!failed && pthread_create(&c->thread, NULL, commit_main, c) != 0)
        failed = error_set(e, ERROR_RESTART, "no thread can be started");
    c->started = !failed;
    if (failed)
        long_commits_destroy(c);
    else
        *out = c;
    return failed;
}

void long_commits_destroy(struct long_commits *c)
{
    if (!c)
        return;
    pthread_mutex_lock(&c->lock);
    c->stopping = true;
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
    if (c->started)
        pthread_join(c->thread, NULL);
    store_close(c->store);
    encoder_destroy(c->encoder);
    pthread_cond_destroy(&c->changed);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

void long_commits_interrupt(struct long_commits *c)
{
    store_interrupt(c->store);
}

static void begin_job(struct long_commits *c, int32_t shard, const struct shard_row *row,
                      const struct long_step *step)
{
    c->shard = shard;
    c->row = *row; // the shard looks at its own row meanwhile
    c->step = *step;
    c->error = (struct error){0};
    c->state = JOB_RUNS;
    pthread_cond_broadcast(&c->changed);
}

enum commit_progress long_commit(struct long_commits *c, int32_t shard, struct shard_row *row,
                                 const struct long_step *step, enum store_result *result,
                                 struct error *e)
{
    enum commit_progress progress = COMMIT_GOES_ON;
    pthread_mutex_lock(&c->lock);
    if (c->state == JOB_NONE) {
        begin_job(c, shard, row, step);
    } else if (c->shard != shard) {
        progress = COMMIT_BUSY;
    } else if (c->state == JOB_ENDED) {
        assert(c->step.request.fold == step->request.fold); // it is the same step
        *row = c->row;
        *result = c->result;
        *e = c->error;
        c->state = JOB_NONE;
        progress = COMMIT_ENDED;
    }
    pthread_mutex_unlock(&c->lock);
    return progress;
}

void long_commit_await(struct long_commits *c, int32_t shard)
{
    pthread_mutex_lock(&c->lock);
    while (c->state == JOB_RUNS && c->shard == shard)
        pthread_cond_wait(&c->changed, &c->lock);
    pthread_mutex_unlock(&c->lock);
}
