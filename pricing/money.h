// Checked integer money: amounts are whole fen (1/100 CNY) in 64 bits. No floating point touches
// them.
#pragma once

#include <stdbool.h>
#include <stdint.h>

typedef int64_t fen_t;

// Each stores the result and returns true, or returns false and leaves *out alone on overflow.
static inline bool money_add(fen_t a, fen_t b, fen_t *out)
{
    fen_t r;
    if (__builtin_add_overflow(a, b, &r))
        return false;
    *out = r;
    return true;
}

static inline bool money_sub(fen_t a, fen_t b, fen_t *out)
{
    fen_t r;
    if (__builtin_sub_overflow(a, b, &r))
        return false;
    *out = r;
    return true;
}

// R1: amount = units * unit_price, exactly.
static inline bool money_times(int64_t units, fen_t unit_price, fen_t *out)
{
    fen_t r;
    if (__builtin_mul_overflow(units, unit_price, &r))
        return false;
    *out = r;
    return true;
}

enum { MONEY_TEXT_SIZE = 32 };

// "-1234.50" (yuan, always two decimals) into out; returns out.
char *money_format_yuan(fen_t amount, char out[MONEY_TEXT_SIZE]);
