// Bytes as a text. Not strndup(): asan's strict_string_checks has it read on until a zero byte.
#pragma once

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

// `size` bytes and a zero byte behind them; the caller frees it.
static inline char *text_of(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    if (!text)
        abort();
    memcpy(text, data, size);
    text[size] = 0;
    return text;
}
