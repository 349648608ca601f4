// The differences that an audit found, counted by what they are about, with a few examples of each:
// a table shows these, causes before effects, instead of each difference.
#pragma once

#include "consumer/base/slice.h"
#include "pricing/calendar.h"

#include <stdint.h>

// A difference between what is recorded or published, and what the inputs give.
struct difference {
    const char *where; // a table, or a message as TOPIC/PARTITION/OFFSET
    const char *key; // of the row or message
    struct slice account_id; // data NULL: none
    day_t day; // DAY_NONE: none
    const char *field; // NULL: the whole of it
    const char *recorded, *folded; // what is there, and what the inputs give; NULL: nothing
    bool published; // it is a message: what is there is published
    bool by_row; // `folded` is not what the inputs give, but what the row of the table says
    bool halts; // what comes after it could not be compared
};

enum { GROUP_EXAMPLES = 3, DIFFERENCE_TEXT_SIZE = 1400 };

struct difference_group {
    char *where; // a table, or "messages of TOPIC"
    char *field; // with whether the whole of it is missing or too many
    int rank; // a group may be the effect of one with a lower rank
    int64_t count;
    day_t first, last; // DAY_NONE: none has a day
    char *examples[GROUP_EXAMPLES];
};

struct difference_groups {
    size_t count, capacity;
    struct difference_group *list;
    int64_t total;
};

// "DAY  ACCOUNT  TABLE KEY  FIELD: recorded 124 fen, computed again 123 fen"; returns out.
const char *difference_text(const struct difference *difference, char out[DIFFERENCE_TEXT_SIZE]);

void groups_add(struct difference_groups *groups, const struct difference *difference);
// Sorts them, and prints them. `examples` false: each difference was printed already.
void groups_print(struct difference_groups *groups, bool examples);
void groups_release(struct difference_groups *groups);
