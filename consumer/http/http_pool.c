#include "consumer/http/http_pool.h"

#include "consumer/http/http.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

struct pool_thread {
    struct http_pool *pool;
    int number;
    pthread_t thread;
};

struct http_pool {
    void (*work)(void *job, int thread);
    int count; // of threads that run
    struct pool_thread threads[HTTP_THREADS];
    pthread_mutex_t lock;
    pthread_cond_t came; // a job, or the end
    // Under the lock: a ring.
    bool ending;
    size_t first, waiting;
    void *jobs[HTTP_WAITING_MAX];
};

// NULL: the end has come, and nothing is left.
static void *take_job(struct http_pool *pool)
{
    void *job = NULL;
    pthread_mutex_lock(&pool->lock);
    while (pool->waiting == 0 && !pool->ending)
        pthread_cond_wait(&pool->came, &pool->lock);
    if (pool->waiting > 0) {
        job = pool->jobs[pool->first];
        pool->first = (pool->first + 1) % HTTP_WAITING_MAX;
        pool->waiting--;
    }
    pthread_mutex_unlock(&pool->lock);
    return job;
}

static void *pool_main(void *argument)
{
    struct pool_thread *self = argument;
    for (void *job; (job = take_job(self->pool)) != NULL;)
        self->pool->work(job, self->number);
    return NULL;
}

int http_pool_create(int threads, void (*work)(void *job, int thread), struct http_pool **out,
                     struct error *e)
{
    assert(threads >= 1);
    assert(threads <= HTTP_THREADS);
    struct http_pool *pool = *out = calloc(1, sizeof *pool);
    if (!pool)
        return error_set(e, ERROR_RESTART, "memory is short");
    pool->work = work;
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->came, NULL);
    for (; pool->count < threads; pool->count++) {
        struct pool_thread *thread = &pool->threads[pool->count];
        *thread = (struct pool_thread){.pool = pool, .number = pool->count};
        if (pthread_create(&thread->thread, NULL, pool_main, thread)) {
            http_pool_end(pool);
            http_pool_free(pool);
            *out = NULL;
            return error_set(e, ERROR_RESTART, "no thread can be started");
        }
    }
    return 0;
}

bool http_pool_put(struct http_pool *pool, void *job)
{
    pthread_mutex_lock(&pool->lock);
    bool taken = pool->waiting < HTTP_WAITING_MAX && !pool->ending;
    if (taken) {
        pool->jobs[(pool->first + pool->waiting++) % HTTP_WAITING_MAX] = job;
        pthread_cond_signal(&pool->came);
    }
    pthread_mutex_unlock(&pool->lock);
    return taken;
}

void http_pool_end(struct http_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    pool->ending = true;
    pthread_cond_broadcast(&pool->came);
    pthread_mutex_unlock(&pool->lock);
    for (int i = 0; i < pool->count; i++)
        pthread_join(pool->threads[i].thread, NULL);
    assert(pool->waiting == 0);
}

void http_pool_free(struct http_pool *pool)
{
    if (!pool)
        return;
    pthread_cond_destroy(&pool->came);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}
