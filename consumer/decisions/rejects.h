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

// Records of one partition about which one request asks.
struct batch {
    enum input input;
    int32_t partition;
    int64_t request; // 0: not asked yet
    size_t count, capacity;
    int64_t *offsets; // rising
};
struct batches {
    size_t count, capacity;
    struct batch *list;
};
enum { BATCH_NAME_SIZE = 384 };

// Adds a record to the batch of its partition and request.
void batches_add(struct batches *batches, struct coordinates at, int64_t request);
void batches_free(struct batches *batches);
// "TOPIC/PARTITION/OFFSET", or "TOPIC/PARTITION/FIRST to LAST (COUNT records)".
const char *batch_name(const struct rejects *r, const struct batch *batch,
                       char out[BATCH_NAME_SIZE]);

// Returns -1 for a result of the store that is not STORE_OK.
static inline int rejects_stored(enum store_result result)
{
    return result == STORE_OK ? 0 : -1;
}

int rejects_list(struct rejects *r, struct error *e);
// accept, pass, refuse and requeue; *status is the exit status when it returns 0.
int rejects_decide(struct rejects *r, enum decision_kind kind, int *status, struct error *e);
