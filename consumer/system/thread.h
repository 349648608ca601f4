// What the threads of a process share: a condition that is waited for by the clock that never goes
// back, and an end that is waited for within a bound.
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <time.h>

// Times given to pthread_cond_timedwait are then those of clock_monotonic_ms.
static inline void thread_init_condition(pthread_cond_t *condition)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(condition, &attributes);
    pthread_condattr_destroy(&attributes);
}

// False: it has not ended within `ms`, and still runs.
static inline bool thread_join_within(pthread_t thread, int ms)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += ms / 1000;
    until.tv_nsec += ms % 1000 * 1000000L;
    if (until.tv_nsec >= 1000000000L) {
        until.tv_nsec -= 1000000000L;
        until.tv_sec++;
    }
    return pthread_timedjoin_np(thread, NULL, &until) == 0;
}
