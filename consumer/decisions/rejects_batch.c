#include "consumer/base/memory.h"
#include "consumer/decisions/rejects.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct batch *find_batch(struct batches *batches, struct coordinates at, int64_t request)
{
    for (size_t i = batches->count; i-- > 0;) {
        struct batch *batch = &batches->list[i];
        if (batch->input == at.input && batch->partition == at.partition &&
            batch->request == request)
            return batch;
    }
    batches->list =
        memory_reserve(batches->list, batches->count, &batches->capacity, sizeof *batches->list);
    struct batch *added = &batches->list[batches->count++];
    *added = (struct batch){.input = at.input, .partition = at.partition, .request = request};
    return added;
}

void batches_add(struct batches *batches, struct coordinates at, int64_t request)
{
    struct batch *batch = find_batch(batches, at, request);
    size_t place = batch->count;
    while (place > 0 && batch->offsets[place - 1] >= at.offset)
        place--;
    if (place < batch->count && batch->offsets[place] == at.offset)
        return; // named twice
    batch->offsets =
        memory_reserve(batch->offsets, batch->count, &batch->capacity, sizeof *batch->offsets);
    memmove(batch->offsets + place + 1, batch->offsets + place,
            (batch->count - place) * sizeof *batch->offsets);
    batch->offsets[place] = at.offset;
    batch->count++;
}

void batches_free(struct batches *batches)
{
    for (size_t i = 0; i < batches->count; i++)
        free(batches->list[i].offsets);
    free(batches->list);
    *batches = (struct batches){0};
}

const char *batch_name(const struct rejects *r, const struct batch *batch,
                       char out[BATCH_NAME_SIZE])
{
    int size = snprintf(out, BATCH_NAME_SIZE, "%s/%" PRId32, r->recorded->topics[batch->input],
                        batch->partition);
    if (batch->count > 0)
        size +=
            snprintf(out + size, BATCH_NAME_SIZE - (size_t)size, "/%" PRId64, batch->offsets[0]);
    if (batch->count > 1)
        snprintf(out + size, BATCH_NAME_SIZE - (size_t)size, " to %" PRId64 " (%zu records)",
                 batch->offsets[batch->count - 1], batch->count);
    return out;
}
