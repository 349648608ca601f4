// Which rows of one shard a read_committed reader has found in its output topics. Pure.
//
// The sequences of its topics together have no gap. Within a topic they rise, but one topic
// may be read ahead of another. So every row up to `whole` has been read, and a window of bits says
// which rows above it were read.
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum {
    PUBLISHED_TOPICS = 6,
    // How many rows above `whole` the window covers: more than may be sent without being read back
    // (RELAY_UNREAD_ROWS and a batch).
    PUBLISHED_WINDOW = 1 << 17,
};

enum published_sight {
    PUBLISHED_NEW,
    PUBLISHED_KNOWN, // at or below where reading began
    PUBLISHED_REPEATED, // it stands there twice
    PUBLISHED_LATE, // new, but behind a row of the same topic with a higher sequence
    // beyond the window: to be shown again once the other topics have been read further
    PUBLISHED_AHEAD,
};

struct published_rows {
    int64_t from; // rows up to here are taken as read
    int64_t whole; // every row up to here was read
    int64_t highest; // of all that were read, also at or below `from`; 0: none
    int64_t last[PUBLISHED_TOPICS]; // the highest of each topic
    uint64_t bits[PUBLISHED_WINDOW / 64]; // of rows whole + 1 ..., at sequence modulo the window
};

void published_rows_start(struct published_rows *rows, int64_t from);
// A row was read in a topic, 0 to PUBLISHED_TOPICS - 1. Sequences begin at 1.
enum published_sight published_rows_see(struct published_rows *rows, int topic, int64_t sequence);
// Whether a row above `whole` was read.
bool published_rows_has(const struct published_rows *rows, int64_t sequence);
// Rows up to n count as read: retention removed them, and the position proves that they were there.
void published_rows_take_as_read(struct published_rows *rows, int64_t n);
