// What the fold costs: memory and time for each call, the longest stop between two batches of calls
// (where a table grows), and a day's settlement. `bench_fold [CALLS] [ACCOUNTS]` prints JSON.
#include "consumer/core/fold.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BATCH = 256 };

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static uint64_t state = 88172645463325252u;

static uint64_t random64(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static void load_policy(struct policy *policy, const char *file)
{
    static char text[1 << 16];
    FILE *in = fopen(file, "rb");
    struct error e = {0};
    struct book book;
    size_t size = in ? fread(text, 1, sizeof text, in) : 0;
    if (in)
        fclose(in);
    if (book_parse(file, text, size, &book, &e) != 0 || shelf_add(&policy->shelf, &book, &e) != 0) {
        fprintf(stderr, "%s\n", e.text);
        exit(1);
    }
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
struct batch {
    char ids[BATCH][40], accounts[BATCH][16];
    struct event events[BATCH];
};

static void fill(struct batch *batch, int64_t offset, size_t accounts, int64_t when)
{
    for (int i = 0; i < BATCH; i++) {
        uint64_t a = random64(), b = random64();
        snprintf(batch->ids[i], sizeof batch->ids[i], "%08x-%04x-%04x-%04x-%012" PRIx64,
                 (unsigned)(a >> 32), (unsigned)(a >> 16) & 0xffff, (unsigned)a & 0xffff,
                 (unsigned)(b >> 48), b & 0xffffffffffff);
        int size = snprintf(batch->accounts[i], sizeof batch->accounts[i], "acct-%06zu",
                            (size_t)(random64() % accounts));
        struct event *ev = &batch->events[i];
        *ev = (struct event){.offset = offset + i, .timestamp = when, .stamped = true};
        ev->key = (struct slice){batch->accounts[i], (size_t)size};
        ev->value = (struct slice){batch->ids[i], 36};
        ev->record.field[CALL_CALL_ID] = (struct value){batch->ids[i], 36};
        ev->record.field[CALL_ACCOUNT_ID] = (struct value){batch->accounts[i], size};
        ev->record.field[CALL_SERVICE].number = SERVICE_PURCHASE_INTENT;
        ev->record.field[CALL_LEAD_COUNT].number = (int64_t)(random64() % 30000);
        ev->record.field[CALL_OCCURRED_AT].number = when;
    }
}

struct spent {
    double all, longest; // seconds: of all batches, and of the one that took longest
};

static struct spent ingest(struct fold *fold, int64_t calls, size_t accounts, int64_t when)
{
    static struct batch batch;
    struct error e = {0};
    struct spent spent = {0};
    for (int64_t offset = 0; offset < calls; offset += BATCH) {
        fill(&batch, offset, accounts, when);
        double start = seconds();
        size_t consumed;
        enum fold_stop stop = fold_records(
            fold, INPUT_CALLS, (struct event_batch){batch.events, BATCH}, when, &consumed, &e);
        double took = seconds() - start;
        spent.all += took;
        if (took > spent.longest)
            spent.longest = took;
        if (stop != FOLD_MORE || consumed != BATCH) {
            fprintf(stderr, "stopped: %d %s\n", (int)stop, e.text);
            exit(1);
        }
    }
    return spent;
}

int main(int argc, char **argv)
{
    static struct policy policy;
    // just below a doubling of the index
    int64_t calls = argc > 1 ? strtoll(argv[1], NULL, 10) : 7340000;
    size_t accounts = argc > 2 ? (size_t)strtoull(argv[2], NULL, 10) : 100000;
    struct error e = {0};
    load_policy(&policy, SOURCE_DIR "/pricing/pricebooks/apcas.yaml");
    struct fold *fold = fold_create(
        &(struct fold_options){.id_key = {7}, .max_resident_calls = INT64_MAX}, &policy);
    fold_begin(fold, (int64_t[INPUT_COUNT]){0, 0, 0});
    int64_t when = calendar_day_start(policy.fixed.first_day, 28800000) + 3600000;
    size_t before = fold_memory(fold);
    struct spent spent = ingest(fold, calls, accounts, when);
    int64_t held = fold_resident_calls(fold), due = fold_due_at(fold);
    // The bytes include those of the accounts.
    printf("{\"calls\": %" PRId64 ", \"accounts\": %zu, \"ns_a_call\": %.1f, \"longest_ms\": %.2f, "
           "\"bytes_a_call\": %.1f",
           held, fold_account_count(fold), spent.all * 1e9 / (double)held, spent.longest * 1e3,
           (double)(fold_memory(fold) - before) / (double)held);
    fold_step_done(fold);
    for (enum input i = 0; i < INPUT_COUNT; i++)
        fold_clock_end(fold, i, fold_state(fold)->log[i].next, due);
    double start = seconds();
    if (fold_close(fold, &e) != 0) {
        fprintf(stderr, "%s\n", e.text);
        exit(1);
    }
    double took = seconds() - start;
    size_t settlements = fold_step(fold)->settlement_count;
    printf(", \"settlements\": %zu, \"settlements_a_second\": %.0f}\n", settlements,
           (double)settlements / took);
    fold_destroy(fold);
    shelf_clear(&policy.shelf);
    return 0;
}
