// What the threads of a process share: a condition that is waited for by the clock that never goes
// back, and an end that is waited for within a bound.
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
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

// So many ms from now, by the clock that mutexes and joins wait by. Somebody may set that clock:
// then the wait is shorter or longer, but ends.
static inline struct timespec thread_wall_after(int64_t ms)
{
    struct timespec at;
    clock_gettime(CLOCK_REALTIME, &at);
    at.tv_sec += ms / 1000;
    at.tv_nsec += ms % 1000 * 1000000L;
    if (at.tv_nsec >= 1000000000L) {
        at.tv_nsec -= 1000000000L;
        at.tv_sec++;
    }
    return at;
}

// False: it has not ended within `ms`, and still runs.
static inline bool thread_join_within(pthread_t thread, int ms)
{
    const struct timespec until = thread_wall_after(ms);
    return pthread_timedjoin_np(thread, NULL, &until) == 0;
}
