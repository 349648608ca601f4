// The two clocks of the machine. Only the edges read them; the core and the shards are given the
// time.
#pragma once

#include "consumer/system/fault.h"

#include <stdint.h>
#include <time.h>

static inline int64_t clock_read_ms(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

// Never goes back: for waiting and measuring.
static inline int64_t clock_monotonic_ms(void)
{
    return clock_read_ms(CLOCK_MONOTONIC);
}

// The same in microseconds.
static inline int64_t clock_monotonic_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

// Since 1970: what records and people are compared with. It may be set back.
static inline int64_t clock_wall_ms(void)
{
    return fault_clock_ms(clock_read_ms(CLOCK_REALTIME));
}
