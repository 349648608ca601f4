// Calls for the measurements of the fold and the decoder: random UUIDs of random accounts, in
// batches. The same sequence of calls gives the same records.
#pragma once

#include "consumer/core/fold.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MADE_BATCH = 256 };

static uint64_t made_state = 88172645463325252u; // set it back to make the same calls again

static inline uint64_t made_random(void)
{
    made_state ^= made_state << 13;
    made_state ^= made_state >> 7;
    made_state ^= made_state << 17;
    return made_state;
}

static inline _Noreturn void made_fail(const char *what, const char *why)
{
    fprintf(stderr, "%s: %s\n", what, why);
    exit(1);
}

// One shard, the real price book.
static inline void make_policy(struct policy *policy)
{
    static const char *const file = SOURCE_DIR "/pricing/pricebooks/apcas.yaml";
    static char text[1 << 16];
    FILE *in = fopen(file, "rb");
    struct error e = {0};
    struct book book;
    size_t size = in ? fread(text, 1, sizeof text, in) : 0;
    if (in)
        fclose(in);
    if (book_parse(file, text, size, &book, &e) != 0 || shelf_add(&policy->shelf, &book, &e) != 0)
        made_fail(file, e.text);
    policy->fixed = (struct fixed_parameters){.partitions = 1, .partitioner = PARTITIONER_MURMUR2};
    calendar_parse_day("2026-11-01", &policy->fixed.first_day);
    policy->count = 1;
    policy->rows[0] = (struct parameters){.from_day = DAY_NONE,
                                          .grace_ms = 300000,
                                          .late_days = 7,
                                          .future_tolerance_ms = 300000,
                                          .credit_days = 400,
                                          .max_reject_share_ppm = 10000,
                                          .max_refused_share_ppm = 200000};
}

// The texts of a batch of calls: random UUIDs of random accounts.
struct made_batch {
    char ids[MADE_BATCH][40], accounts[MADE_BATCH][16];
    struct event events[MADE_BATCH];
};

static inline void make_calls(struct made_batch *batch, int64_t offset, size_t accounts,
                              int64_t when)
{
    for (int i = 0; i < MADE_BATCH; i++) {
        uint64_t a = made_random(), b = made_random();
        snprintf(batch->ids[i], sizeof batch->ids[i], "%08x-%04x-%04x-%04x-%012" PRIx64,
                 (unsigned)(a >> 32), (unsigned)(a >> 16) & 0xffff, (unsigned)a & 0xffff,
                 (unsigned)(b >> 48), b & 0xffffffffffff);
        int size = snprintf(batch->accounts[i], sizeof batch->accounts[i], "acct-%06zu",
                            (size_t)(made_random() % accounts));
        struct event *ev = &batch->events[i];
        *ev = (struct event){.offset = offset + i, .timestamp = when, .stamped = true};
        ev->key = (struct slice){batch->accounts[i], (size_t)size};
        ev->value = (struct slice){batch->ids[i], 36};
        ev->record.field[CALL_CALL_ID] = (struct value){batch->ids[i], 36};
        ev->record.field[CALL_ACCOUNT_ID] = (struct value){batch->accounts[i], size};
        ev->record.field[CALL_SERVICE].number = SERVICE_PURCHASE_INTENT;
        ev->record.field[CALL_LEAD_COUNT].number = (int64_t)(made_random() % 30000);
        ev->record.field[CALL_OCCURRED_AT].number = when;
    }
}
