// The parts of `settled run`: set up in the order in which they need each other, and torn down in
// reverse. cmd_run.c keeps them going.
#pragma once

#include "consumer/cli/args.h"
#include "consumer/daemon/permissions.h"
#include "consumer/daemon/worker.h"

struct run {
    struct config config;
    struct config reloaded; // by the last SIGHUP that was taken; file NULL: none
    struct run_clock clock;
    bool drain;
    struct worker_shared shared;
    struct store *store; // the main thread's: to record the deployment, and to compare with it
    int64_t compared; // of shared.recorded_news, when the configuration was last compared
    size_t known_rows, known_books; // of what is recorded, when it was
    size_t worker_count;
    struct worker **workers;
    atomic_bool stopping;
    struct permissions *permissions;
};

// Reads the arguments, asks Kafka, PostgreSQL and the registry, starts the workers. Errors by kind;
// Call run_close in every case: it frees what there is.
int run_open(struct run *run, const struct args *args, struct error *e);
// Stops the workers and frees everything. False: a part hung and was left behind.
bool run_close(struct run *run);

// Compares a configuration with what is recorded, and says what differs, in log and metrics; what
// never changes must not (ERROR_CONFIG). At start, on SIGHUP, and by run_follow_recorded when a
// worker has loaded what was recorded meanwhile.
int run_compare_recorded(struct run *run, const struct config *config, struct error *e);
void run_follow_recorded(struct run *run);
