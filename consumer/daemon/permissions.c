#include "consumer/daemon/permissions.h"

#include "consumer/preflight/needed_access.h"
#include "consumer/system/log.h"
#include "consumer/system/thread.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    LOOK_MS = 10000,
    RETRY_MS = 2000, // while something is missing
    MISSING_MAX = 20,
    IDS = 64, // processes of one deployment seldom try with the same
};

// Of one round.
struct missing {
    bool unknown; // something could not be tried
    size_t count;
    struct error list[MISSING_MAX];
};

struct permissions {
    struct needed_access needed;
    pthread_t thread;
    struct missing now; // the thread's own
    pthread_mutex_t lock;
    pthread_cond_t stopped;
    // Under the lock:
    bool stopping;
    struct missing known; // of the last round in which all could be tried, or something was missing
};

static void take_answer(void *context, const struct access_answer *answer)
{
    struct missing *missing = context;
    if (!answer->code)
        return;
    if (!refusal_of_permission(answer->code))
        missing->unknown = true;
    else if (missing->count < MISSING_MAX)
        missing->list[missing->count++] = answer->why;
}

static void try_all(struct permissions *p)
{
    struct error e;
    p->now = (struct missing){0};
    if (access_try_reading(&p->needed.needs, take_answer, &p->now, &e) ||
        access_try_writing(&p->needed.needs, take_answer, &p->now, &e) ||
        access_try_transactions(&p->needed.needs, take_answer, &p->now, &e))
        p->now.unknown = true;
}

static bool holds(const struct missing *missing, const char *text)
{
    bool found = false;
    for (size_t i = 0; i < missing->count && !found; i++)
        found = strcmp(missing->list[i].text, text) == 0;
    return found;
}

// What could not be tried is as it was. Caller holds the lock.
static void take_round(struct permissions *p)
{
    for (size_t i = 0; i < p->now.count; i++)
        if (!holds(&p->known, p->now.list[i].text))
            log_event(LOG_ERROR, "a permission in Kafka is missing",
                      LOG_FIELDS(log_text("reason", p->now.list[i].text)));
    if (p->now.count == 0 && p->now.unknown)
        return;
    if (p->now.count == 0 && p->known.count > 0)
        log_event(LOG_INFO, "no permission in Kafka is missing any more", LOG_NO_FIELDS);
    p->known = p->now;
}

// Caller holds the lock.
static void wait_locked(struct permissions *p, int ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += ms / 1000;
    while (!p->stopping && pthread_cond_timedwait(&p->stopped, &p->lock, &until) == 0) {}
}

static void *permissions_main(void *argument)
{
    struct permissions *p = argument;
    pthread_mutex_lock(&p->lock);
    for (;;) {
        wait_locked(p, p->known.count > 0 ? RETRY_MS : LOOK_MS);
        if (p->stopping)
            break;
        pthread_mutex_unlock(&p->lock);
        try_all(p);
        pthread_mutex_lock(&p->lock);
        take_round(p);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

int permissions_create(const struct config *config, const struct client_properties *properties,
                       struct permissions **out, struct error *e)
{
    char end[16];
    *out = NULL;
    struct permissions *p = calloc(1, sizeof *p);
    if (!p)
        return error_set(e, ERROR_RESTART, "memory is short");
    snprintf(end, sizeof end, "watch-%d", (int)getpid() % IDS);
    needed_access_find(config, properties, end, &p->needed);
    pthread_mutex_init(&p->lock, NULL);
    thread_init_condition(&p->stopped);
    if (pthread_create(&p->thread, NULL, permissions_main, p)) {
        pthread_cond_destroy(&p->stopped);
        pthread_mutex_destroy(&p->lock);
        free(p);
        return error_set(e, ERROR_RESTART, "no thread can be started");
    }
    *out = p;
    return 0;
}

bool permissions_destroy(struct permissions *p, int timeout_ms)
{
    if (!p)
        return true;
    pthread_mutex_lock(&p->lock);
    p->stopping = true;
    pthread_cond_signal(&p->stopped);
    pthread_mutex_unlock(&p->lock);
    if (!thread_join_within(p->thread, timeout_ms))
        return false;
    pthread_cond_destroy(&p->stopped);
    pthread_mutex_destroy(&p->lock);
    free(p);
    return true;
}

void permissions_trouble(struct permissions *p, char *out, size_t size)
{
    pthread_mutex_lock(&p->lock);
    const struct missing *known = &p->known;
    char more[64] = "";
    if (known->count > 1)
        snprintf(more, sizeof more, " (and %zu more: settled check names them)", known->count - 1);
    snprintf(out, size, "%s%s", known->count > 0 ? known->list[0].text : "", more);
    pthread_mutex_unlock(&p->lock);
}
