// The rows that the inputs give, which must be found in the outbox and in the output topics.
#pragma once

#include "consumer/output/outbox.h"
#include "consumer/output/output_reader.h"

struct expected {
    enum output output;
    uint64_t hash; // of output and ce_id
    const char *ce_id;
    int64_t ce_time;
    day_t day;
    struct slice key, body;
    struct output_number number; // of the body; its sequence is only a placeholder
    int64_t sequence; // as the outbox has it, else its row in the table; 0: neither does
    int64_t offset; // where it stands in its topic; -1: it was not found
    bool queued; // found in the outbox
};

// In the order in which they were added; within an output each id occurs once.
struct expected_set;

struct expected_set *expected_create(void); // NULL when memory is short
void expected_destroy(struct expected_set *set);
void expected_empty(struct expected_set *set);

// Adds a copy of the row and of all that it points to.
void expected_add(struct expected_set *set, const struct expected *row);
size_t expected_count(const struct expected_set *set);
struct expected *expected_at(struct expected_set *set, size_t number); // valid until one is added
// NULL: none
struct expected *expected_find(struct expected_set *set, enum output output, struct slice ce_id);
size_t expected_memory(const struct expected_set *set); // bytes of what the rows point to
// Sorts by output, then by number, for people. After that no row can be looked up.
void expected_sort(struct expected_set *set);
