// What the fold costs: memory and time for each call, the longest stop between two batches of calls
// (where a table grows), and a day's settlement. `bench_fold [CALLS] [ACCOUNTS]` prints JSON.
#include "tests/bench/made_calls.h"

#include <time.h>

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

struct spent {
    double all, longest; // seconds: of all batches, and of the one that took longest
};

// Takes a batch in; the seconds that takes.
static double judge(struct fold *fold, const struct made_batch *batch, int64_t when)
{
    struct error e = {0};
    size_t consumed;
    double start = seconds();
    enum fold_stop stop = fold_records(
        fold, INPUT_CALLS, (struct event_batch){batch->events, MADE_BATCH}, when, &consumed, &e);
    double took = seconds() - start;
    if (stop != FOLD_MORE || consumed != MADE_BATCH) {
        fprintf(stderr, "stopped: %d %s\n", (int)stop, e.text);
        exit(1);
    }
    return took;
}

static struct spent ingest(struct fold *fold, int64_t calls, size_t accounts, int64_t when)
{
    static struct made_batch batch;
    struct spent spent = {0};
    for (int64_t offset = 0; offset < calls; offset += MADE_BATCH) {
        make_calls(&batch, offset, accounts, when);
        double took = judge(fold, &batch, when);
        spent.all += took;
        if (took > spent.longest)
            spent.longest = took;
    }
    return spent;
}

static struct fold *begin(const struct fold_options *options, const struct policy *policy)
{
    struct fold *fold = fold_create(options, policy);
    fold_begin(fold, (int64_t[INPUT_COUNT]){0, 0, 0});
    return fold;
}

// What so many accounts take in memory, with one call each.
static size_t memory_of_accounts(const struct fold_options *options, const struct policy *policy,
                                 size_t accounts, int64_t when)
{
    static struct made_batch batch;
    struct fold *fold = begin(options, policy);
    size_t before = fold_memory(fold);
    for (size_t offset = 0; offset < accounts; offset += MADE_BATCH) {
        make_calls(&batch, (int64_t)offset, accounts, when);
        for (size_t i = 0; i < MADE_BATCH; i++)
            snprintf(batch.accounts[i], sizeof batch.accounts[i], "acct-%06zu",
                     (offset + i) % accounts);
        judge(fold, &batch, when);
    }
    size_t memory = fold_memory(fold) - before;
    fold_destroy(fold);
    return memory;
}

// The same calls in a fold that is restored; `recorded`: where the first one stood.
static double replay(struct fold *fold, const struct fold_state *recorded, size_t accounts,
                     int64_t when)
{
    static struct made_batch batch;
    struct error e = {0};
    bool done = false;
    double all = 0;
    int failed = fold_restore_state(fold, recorded, &e);
    for (int64_t offset = 0; !failed && !done; offset += MADE_BATCH) {
        make_calls(&batch, offset, accounts, when);
        double start = seconds();
        failed = fold_replay(fold, batch.events, MADE_BATCH, &done, &e);
        all += seconds() - start;
    }
    if (!failed)
        return all;
    fprintf(stderr, "%s\n", e.text);
    exit(1);
}

int main(int argc, char **argv)
{
    static struct policy policy;
    // just below a doubling of the index
    int64_t calls = argc > 1 ? strtoll(argv[1], NULL, 10) : 7340000;
    size_t accounts = argc > 2 ? (size_t)strtoull(argv[2], NULL, 10) : 100000;
    struct error e = {0};
    make_policy(&policy);
    const struct fold_options options = {.id_key = {7}, .max_resident_calls = INT64_MAX};
    int64_t when = calendar_day_start(policy.fixed.first_day, 28800000) + 3600000;
    size_t account_bytes = memory_of_accounts(&options, &policy, accounts, when);
    struct fold *fold = begin(&options, &policy);
    size_t before = fold_memory(fold);
    uint64_t seed = made_state;
    struct spent spent = ingest(fold, calls, accounts, when);
    int64_t held = fold_resident_calls(fold), due = fold_due_at(fold);
    // Each account has a call among its bytes.
    printf("{\"calls\": %" PRId64 ", \"accounts\": %zu, \"ns_a_call\": %.1f, \"longest_ms\": %.2f, "
           "\"bytes_a_call\": %.1f",
           held, fold_account_count(fold), spent.all * 1e9 / (double)held, spent.longest * 1e3,
           (double)(fold_memory(fold) - before - account_bytes) /
               (double)(held - (int64_t)accounts));
    fold_step_done(fold);
    const struct fold_state recorded = *fold_state(fold);
    for (enum input i = 0; i < INPUT_COUNT; i++)
        fold_clock_end(fold, i, fold_state(fold)->log[i].next, due);
    double start = seconds();
    if (fold_close(fold, &e) != 0) {
        fprintf(stderr, "%s\n", e.text);
        exit(1);
    }
    double took = seconds() - start;
    size_t settlements = fold_step(fold)->settlement_count;
    printf(", \"settlements\": %zu, \"settlements_a_second\": %.0f", settlements,
           (double)settlements / took);
    fold_destroy(fold);
    fold = fold_create(&options, &policy);
    made_state = seed;
    printf(", \"replay_ns_a_call\": %.1f}\n",
           replay(fold, &recorded, accounts, when) * 1e9 / (double)held);
    fold_destroy(fold);
    shelf_clear(&policy.shelf);
    return 0;
}
