// The parts of `settled run`: set up in the order in which they need each other, and torn down in
// reverse. cmd_run.c keeps them going.
#pragma once

#include "consumer/cli/args.h"
#include "consumer/daemon/http.h"
#include "consumer/daemon/worker.h"

struct run {
    struct config config;
    struct run_clock clock;
    bool drain;
    struct worker_shared shared;
    char cluster_id[128];
    struct store *store; // the main thread's: to record the deployment
    size_t worker_count;
    struct worker **workers;
    atomic_bool stopping;
    struct http *http;
};

// Reads the arguments, asks Kafka, PostgreSQL and the registry, starts the workers. Errors by kind;
// Call run_close in every case: it frees what there is.
int run_open(struct run *run, const struct args *args, struct error *e);
// Stops the workers and frees everything. False: a part hung and was left behind.
bool run_close(struct run *run);

// Records what the configuration says about the deployment; used at start and on SIGHUP.
int run_record_deployment(struct run *run, const struct config *config, struct error *e);
