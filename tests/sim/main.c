// The simulator's command line. Each seed makes one world. A world that fails is run again with
// fewer faults and fewer records, until none can be left out.
//
//     sim [--seeds N] [--seed S] [--verbose] [--faults LIST] [--records N] [--breakage NAME]
#include "consumer/system/log.h"
#include "tests/sim/world.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum { RECORDS_ALL = 1000000 };

struct command {
    struct options options;
    int64_t seeds;
    const char *faults; // numbers of those that are to happen; NULL: all
};

struct totals {
    int64_t days, steps, records, commits, messages, late, refused, lost, again, failed;
    struct disk_counts snapshots;
    int64_t faults[FAULT_KINDS];
};

static int usage(void)
{
    fprintf(
        stderr,
        "sim [--seeds N] [--seed S] [--verbose] [--faults LIST] [--records N] [--breakage NAME]\n"
        "  --seeds N         worlds, one a seed (1)\n"
        "  --seed S          the first seed (1)\n"
        "  --verbose         says what happens\n"
        "  --faults LIST     only these of the seed's faults, by number: 3,7; - for none\n"
        "  --records N       only the first records of the seed's\n"
        "  --breakage NAME   a database or a Kafka that does not keep its word, to see that it is "
        "noticed:\n"
        "                   ");
    for (int b = 0; b < BREAKAGES; b++)
        fprintf(stderr, " %s", breakage_names[b]);
    fputc('\n', stderr);
    return 64;
}

static bool find_breakage(const char *name, enum breakage *out)
{
    for (int b = 0; b < BREAKAGES; b++) {
        *out = (enum breakage)b;
        if (strcmp(breakage_names[b], name) == 0)
            return true;
    }
    return false;
}

static bool number(const char *text, int64_t *out)
{
    char *end;
    *out = strtoll(text, &end, 10);
    return end != text && *end == '\0' && *out >= 0;
}

static bool parse(int count, char **words, struct command *c)
{
    static const struct option known[] = {{"seeds", required_argument, NULL, 'n'},
                                          {"seed", required_argument, NULL, 's'},
                                          {"verbose", no_argument, NULL, 'v'},
                                          {"faults", required_argument, NULL, 'f'},
                                          {"records", required_argument, NULL, 'r'},
                                          {"breakage", required_argument, NULL, 'b'},
                                          {NULL, 0, NULL, 0}};
    int64_t seed = 1;
    bool good = true;
    *c = (struct command){.seeds = 1, .options.records_max = RECORDS_ALL};
    for (int option; good && (option = getopt_long(count, words, "", known, NULL)) != -1;) {
        if (option == 'n')
            good = number(optarg, &c->seeds);
        if (option == 's')
            good = number(optarg, &seed);
        if (option == 'r')
            good = number(optarg, &c->options.records_max);
        if (option == 'b')
            good = find_breakage(optarg, &c->options.breakage);
        if (option == 'f')
            c->faults = optarg;
        if (option == 'v')
            c->options.trace = true;
        good = good && option != '?';
    }
    c->options.seed = (uint64_t)seed;
    return good && optind == count;
}

static void keep_named(struct schedule *schedule, const char *list)
{
    size_t kept = 0;
    for (size_t i = 0; i < schedule->count; i++)
        for (const char *at = list; at; at = strchr(at, ',')) {
            if (*at == ',')
                at++;
            char *end;
            if (strtol(at, &end, 10) != schedule->faults[i].number || end == at)
                continue;
            schedule->faults[kept++] = schedule->faults[i];
            break;
        }
    schedule->count = kept;
}

// ---- a failure, made small ----

static bool fails(struct world *world, const struct options *options,
                  const struct schedule *schedule)
{
    world_run(world, options, schedule);
    bool failed = world->failure[0];
    world_free(world);
    return failed;
}

static void drop_faults(struct world *world, const struct options *options,
                        struct schedule *schedule)
{
    for (bool smaller = true; smaller;) {
        smaller = false;
        for (size_t i = schedule->count; i-- > 0;) {
            struct schedule fewer = *schedule;
            memmove(fewer.faults + i, fewer.faults + i + 1,
                    (fewer.count - i - 1) * sizeof *fewer.faults);
            fewer.count--;
            if (!fails(world, options, &fewer))
                continue;
            *schedule = fewer;
            smaller = true;
        }
    }
}

static void drop_records(struct world *world, struct options *options,
                         const struct schedule *schedule, int64_t sent)
{
    options->records_max = sent;
    for (int64_t by = sent / 2; by > 0; by /= 2) {
        struct options fewer = *options;
        fewer.records_max -= by;
        while (fewer.records_max >= 0 && fails(world, &fewer, schedule)) {
            options->records_max = fewer.records_max;
            fewer.records_max -= by;
        }
    }
}

static void explain(struct world *world, const struct command *c, struct schedule schedule)
{
    struct options options = c->options;
    options.trace = false;
    int64_t sent = (int64_t)world->script.sends.count;
    world_free(world);
    drop_faults(world, &options, &schedule);
    drop_records(world, &options, &schedule, sent);
    world_run(world, &options, &schedule);
    printf("  with the fewest faults and records: %s\n", world->failure);
    for (size_t i = 0; i < schedule.count; i++)
        printf("    fault %d at step %" PRId64 ": %s\n", schedule.faults[i].number,
               schedule.faults[i].step, fault_facts[schedule.faults[i].kind].name);
    printf("  repeat it: %s --seed %" PRIu64 " --records %" PRId64 " --faults ",
           program_invocation_name, options.seed, options.records_max);
    for (size_t i = 0; i < schedule.count; i++)
        printf("%s%d", i ? "," : "", schedule.faults[i].number);
    printf("%s%s%s --verbose\n", schedule.count ? "" : "-", options.breakage ? " --breakage " : "",
           options.breakage ? breakage_names[options.breakage] : "");
}

// ---- all of them ----

// A failed assertion of the program is a finding, too; only the seed can be reported then.
static volatile sig_atomic_t seed_that_runs;

static void tell_seed(int signal)
{
    char text[64];
    int size = snprintf(text, sizeof text, "seed %d: signal %d\n", (int)seed_that_runs, signal);
    if (write(STDOUT_FILENO, text, (size_t)size) < 0)
        _exit(70);
    (void)raise(signal);
}

static void add_world(struct totals *t, const struct world *w)
{
    t->days += w->script.days;
    t->steps += w->step;
    t->records += (int64_t)w->sent;
    t->late += w->kafka.late;
    t->refused += w->kafka.refused;
    t->lost += w->lost_rows;
    t->again += w->came_again;
    t->snapshots.written += w->snapshots.written;
    t->snapshots.taken += w->snapshots.taken;
    t->snapshots.refused += w->snapshots.refused;
    t->snapshots.damaged += w->snapshots.damaged;
    for (int k = 0; k < FAULT_KINDS; k++)
        t->faults[k] += w->injected[k];
    for (int s = 0; s < w->kafka.shards; s++) {
        t->commits += w->postgres.rows[s].step;
        t->messages += w->published[s];
    }
}

static void print_totals(const struct command *c, const struct totals *t, double seconds)
{
    int64_t faults = 0;
    for (int k = 0; k < FAULT_KINDS; k++)
        faults += t->faults[k];
    printf("%" PRId64 " seeds from %" PRIu64 ", %" PRId64 " days, %" PRId64 " records, %" PRId64
           " steps, %" PRId64 " commits, %" PRId64 " messages published, %" PRId64
           " requests that came late (%" PRId64 " refused), %" PRId64
           " rows lost by brokers (%" PRId64 " published again), %" PRId64 " faults:\n",
           c->seeds, c->options.seed, t->days, t->records, t->steps, t->commits, t->messages,
           t->late, t->refused, t->lost, t->again, faults);
    for (int k = 0; k < FAULT_KINDS; k++)
        printf("  %-20s %9" PRId64 "\n", fault_facts[k].name, t->faults[k]);
    printf("%" PRId64 " snapshots written, %" PRId64 " taken, %" PRId64 " damaged, %" PRId64
           " refused\n",
           t->snapshots.written, t->snapshots.taken, t->snapshots.damaged, t->snapshots.refused);
    printf("%.1f s; %" PRId64 " differences\n", seconds, t->failed);
}

static bool run_seed(const struct command *c, uint64_t seed, struct world *world,
                     struct totals *totals)
{
    struct command one = *c;
    struct schedule schedule;
    one.options.seed = seed;
    seed_that_runs = (int)seed;
    schedule_draw(&schedule, seed);
    if (c->faults)
        keep_named(&schedule, c->faults);
    world_run(world, &one.options, &schedule);
    add_world(totals, world);
    if (!world->failure[0]) {
        world_free(world);
        return true;
    }
    totals->failed++;
    printf("seed %" PRIu64 ": %s\n", seed, world->failure);
    explain(world, &one, schedule);
    world_free(world);
    return false;
}

int main(int count, char **words)
{
    enum { FAILURES_MAX = 5 }; // more failures would not help
    struct command c;
    struct totals totals = {0};
    struct timespec from, to;
    if (!parse(count, words, &c))
        return usage();
    setvbuf(stdout, NULL, _IOLBF, 0);
    const struct sigaction told = {.sa_handler = tell_seed, .sa_flags = (int)SA_RESETHAND};
    sigaction(SIGABRT, &told, NULL);
    // thousands of days are held, and no one is to be told
    log_configure(LOG_ERROR + 1, LOG_LOGFMT);
    world_prepare();
    struct world *world = memory_grow(NULL, 1, sizeof *world);
    clock_gettime(CLOCK_MONOTONIC, &from);
    int64_t seeds = c.seeds;
    for (c.seeds = 0; c.seeds < seeds && totals.failed < FAILURES_MAX; c.seeds++)
        run_seed(&c, c.options.seed + (uint64_t)c.seeds, world, &totals);
    clock_gettime(CLOCK_MONOTONIC, &to);
    print_totals(&c, &totals,
                 (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9);
    free(world);
    world_release();
    return totals.failed > 0;
}
