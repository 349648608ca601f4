// 'settled rejects': shared between its actions.
#pragma once

#include "consumer/cli/args.h"
#include "consumer/config/config.h"
#include "consumer/postgres/store.h"

struct rejects {
    const struct args *args;
    struct config config;
    struct store *store;
    struct deployment *recorded;
    struct reject_filter filter;
    bool filtered; // an option narrows the choice
};

// Where a record stands: TOPIC/PARTITION/OFFSET.
struct coordinates {
    enum input input;
    int32_t partition;
    int64_t offset;
};

// Returns -1 for a result of the store that is not STORE_OK.
static inline int rejects_stored(enum store_result result)
{
    return result == STORE_OK ? 0 : -1;
}

int rejects_list(struct rejects *r, struct error *e);
// accept, pass, refuse and requeue; *status is the exit status when it returns 0.
int rejects_decide(struct rejects *r, enum decision_kind kind, int *status, struct error *e);
