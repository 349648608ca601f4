// All random numbers of the simulator: everything follows from the seed.
#pragma once

#include <stdbool.h>
#include <stdint.h>

static inline uint64_t dice_mix(uint64_t x)
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
    x = (x ^ x >> 27) * 0x94d049bb133111eb;
    return x ^ x >> 31;
}

struct dice {
    uint64_t state;
};

// Each purpose has its own stream, so drawing from one does not change the others.
static inline struct dice dice_of(uint64_t seed, uint64_t purpose, uint64_t number)
{
    return (struct dice){
        dice_mix(seed ^ dice_mix(purpose + 0x9e3779b97f4a7c15) ^ dice_mix(number + 1))};
}

static inline uint64_t dice_next(struct dice *d)
{
    d->state += 0x9e3779b97f4a7c15;
    return dice_mix(d->state);
}

// 0 to n - 1.
static inline int64_t dice_below(struct dice *d, int64_t n)
{
    return (int64_t)(dice_next(d) % (uint64_t)n);
}

// `from` to `to`, both included.
static inline int64_t dice_between(struct dice *d, int64_t from, int64_t to)
{
    return from + dice_below(d, to - from + 1);
}

static inline bool dice_hit(struct dice *d, int percent)
{
    return dice_below(d, 100) < percent;
}
