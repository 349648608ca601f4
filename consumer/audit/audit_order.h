// Which rows of a shard have been read so far in one partition of an output topic, and whether each
// came in its turn. Pure: an audit feeds it what it reads. It keeps two bits for each row, whatever
// numbers foreign records claim.
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct order;

struct order *order_create(void); // NULL when memory is short
void order_destroy(struct order *order);

enum order_turn {
    ORDER_IN_TURN, // its number is above those of all rows before it
    ORDER_LATE, // a row with a higher number stands before it
    ORDER_AGAIN, // the same row stands before it
};

// What a row with this number would be if it came now.
enum order_turn order_turn(const struct order *order, int64_t sequence);
void order_take(struct order *order, int64_t sequence, int64_t offset);
// For a row that was read before: its offset, or one somewhat before it.
int64_t order_near(const struct order *order, int64_t sequence);

// The highest row so far; 0: none.
int64_t order_highest(const struct order *order);
int64_t order_highest_offset(const struct order *order);

// What is known of a row that is not in its topic.
struct order_absence {
    bool queued; // the outbox has it
    bool behind; // a later row stands in its topic
    // PostgreSQL, or another of the shard's topics, says that more than this row is published
    bool passed;
    // the topic goes on behind what could be read: a transaction's end is not known there yet
    bool goes_on;
};

// Rows are sent in the order of their numbers, in transactions that end on all topics at once. So a
// row is still to come only if nothing says that its turn is over; otherwise it is lost.
bool order_is_pending(const struct order_absence *absence);
