// What the fold costs: memory and time for each call, the longest stop between two batches of calls
// (where a table grows), and a day's settlement; and a snapshot: how long the fold stops for it,
// writing it, and starting from it, against reading its file alone. `bench_fold [CALLS] [ACCOUNTS]`
// prints JSON.
#include "tests/bench/made_calls.h"

#include <time.h>
#include <unistd.h>

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

// ---- snapshots ----

struct snapshot_spent {
    double longest, writing, reading, taking; // seconds
    int64_t bytes;
};

static void fail(const char *what, const struct error *e)
{
    fprintf(stderr, "%s: %s\n", what, e->text);
    exit(1);
}

// What stops the fold: as the shard does it, a piece a turn.
static struct snapshot *hold(const struct fold *fold, struct snapshot_spent *spent)
{
    enum { ACCOUNTS_A_TURN = 20000 };
    const struct snapshot_row row = {0};
    double start = seconds();
    struct snapshot *snapshot = fold_snapshot(fold, &row);
    for (bool all = false; !all;) {
        all = fold_snapshot_accounts(fold, snapshot, ACCOUNTS_A_TURN);
        double took = seconds() - start;
        if (took > spent->longest)
            spent->longest = took;
        start = seconds();
    }
    return snapshot;
}

static FILE *write_file(struct fold *fold, struct snapshot_spent *spent)
{
    FILE *file = tmpfile();
    struct slice piece;
    const struct error e = {.text = "it cannot be written"};
    struct snapshot *snapshot = hold(fold, spent);
    double start = seconds();
    while (file && snapshot_next(snapshot, &piece)) {
        if (write(fileno(file), piece.data, piece.size) != (ssize_t)piece.size)
            fail("the file", &e);
        spent->bytes += (int64_t)piece.size;
    }
    snapshot_free(snapshot);
    spent->writing = seconds() - start;
    if (!file)
        fail("the file", &e);
    return file;
}

static void read_alone(FILE *file, struct snapshot_spent *spent)
{
    static char buffer[1 << 17];
    lseek(fileno(file), 0, SEEK_SET);
    double start = seconds();
    while (read(fileno(file), buffer, sizeof buffer) > 0) {}
    spent->reading = seconds() - start;
}

// Into a fold that has the rows: here those of the accounts that a file does not have.
static void take(FILE *file, struct fold *fold, const struct fold_state *recorded,
                 struct snapshot_spent *spent)
{
    struct error e = {0};
    const struct snapshot_row row = {0};
    bool done = false;
    if (fold_restore_state(fold, recorded, &e) != 0)
        fail("rows", &e);
    lseek(fileno(file), 0, SEEK_SET);
    double start = seconds();
    struct snapshot_reader *reader = fold_read_snapshot(fold, &row);
    while (!snapshot_is_whole(reader)) {
        size_t size;
        void *room = snapshot_room(reader, &size);
        ssize_t got = read(fileno(file), room, size);
        if (got < 0 || snapshot_take(reader, (size_t)got, &e) != 0)
            fail("the file", &e);
    }
    fold_take_snapshot(fold, reader);
    snapshot_reader_free(reader);
    spent->taking = seconds() - start;
    if (fold_replay_reached(fold, recorded->log[INPUT_CALLS].next, &done, &e) != 0 || !done)
        fail("the end", &e);
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
    struct snapshot_spent snapshot = {0};
    FILE *file = write_file(fold, &snapshot);
    read_alone(file, &snapshot);
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
    printf(", \"replay_ns_a_call\": %.1f",
           replay(fold, &recorded, accounts, when) * 1e9 / (double)held);
    fold_destroy(fold);
    fold = fold_create(&options, &policy);
    take(file, fold, &recorded, &snapshot);
    if (fold_resident_calls(fold) != held)
        return 1;
    printf(", \"snapshot_stop_ms\": %.2f, \"snapshot_bytes_a_call\": %.1f, "
           "\"write_ns_a_call\": %.1f, \"read_ns_a_call\": %.1f, \"take_ns_a_call\": %.1f}\n",
           snapshot.longest * 1e3, (double)snapshot.bytes / (double)held,
           snapshot.writing * 1e9 / (double)held, snapshot.reading * 1e9 / (double)held,
           snapshot.taking * 1e9 / (double)held);
    fold_destroy(fold);
    fclose(file);
    shelf_clear(&policy.shelf);
    return 0;
}
