#include "consumer/answers/answers.h"
#include "consumer/answers/explaining.h"
#include "consumer/api/api.h"
#include "consumer/cli/args_config.h"
#include "consumer/cli/cli_fail.h"
#include "consumer/commands/commands.h"
#include "consumer/console/console.h"
#include "consumer/daemon/run.h"
#include "consumer/http/http.h"
#include "consumer/system/clock.h"
#include "consumer/system/log.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <time.h>
#include <unistd.h>

enum {
    TICK_MS = 100,
    ALIVE_MS = 120000, // a thread that did not go round for this long is stuck
    PROGRESS_MS = 5000,
    // longer than a session time-out: shards that have not come by then belong to another process
    GROUP_MS = 5000,
    REASON_SIZE = SHARD_UNREADY_SIZE + 32,
};

struct loop {
    struct run *run;
    struct api *api;
    struct explaining *explaining;
    struct http *http; // NULL: off
    bool *owned; // by partition, of all workers
    int64_t watchdog_ms, watchdog_at, progress_at;
    int32_t owned_count;
    int64_t owned_since; // when owned_count last changed
};

// ---- health and metrics, from the server's thread ----

static bool is_alive(struct run *run, int64_t now)
{
    struct worker_status status;
    bool *shards = calloc((size_t)run->shared.partitions, sizeof *shards);
    bool alive = shards != NULL;
    for (size_t i = 0; alive && i < run->worker_count; i++) {
        worker_status(run->workers[i], &status, shards);
        alive = now - status.heartbeat < ALIVE_MS;
    }
    free(shards);
    return alive;
}

// What of Kafka does not answer, for no single worker. "": nothing.
static void find_silence(struct run *run, char out[ERROR_TEXT_SIZE])
{
    topic_counts_trouble(run->shared.counts, out, ERROR_TEXT_SIZE);
    if (!out[0])
        watermarks_trouble(run->shared.ends, out, ERROR_TEXT_SIZE);
}

// What is told first is what an operator can mend at once; then what a shard says of itself; then
// brokers that are silent, which a shard often knows better.
static bool is_ready(struct run *run, char reason[REASON_SIZE])
{
    struct worker_status status;
    char missing[ERROR_TEXT_SIZE], silent[ERROR_TEXT_SIZE];
    bool *shards = calloc((size_t)run->shared.partitions, sizeof *shards);
    bool ready = shards != NULL && !run->stopping;
    snprintf(reason, REASON_SIZE, "%s", ready ? "ready" : "stopping");
    permissions_trouble(run->permissions, missing, sizeof missing);
    if (ready && missing[0]) {
        ready = false;
        snprintf(reason, REASON_SIZE, "%s", missing);
    }
    for (size_t i = 0; ready && i < run->worker_count; i++) {
        worker_status(run->workers[i], &status, shards);
        ready = status.ready;
        if (!ready)
            snprintf(reason, REASON_SIZE, "worker %zu: %s", i, status.unready);
    }
    find_silence(run, silent);
    if (ready && silent[0]) {
        ready = false;
        snprintf(reason, REASON_SIZE, "%s", silent);
    }
    free(shards);
    return ready;
}

static void put_line(struct http_answer *out, bool good, const char *line)
{
    char text[REASON_SIZE + 1];
    snprintf(text, sizeof text, "%s\n", line);
    http_put_text(out, good ? 200 : 503, text);
}

static void answer_live(void *context, int thread, const struct http_request *request,
                        struct http_answer *out)
{
    bool alive = is_alive(context, clock_monotonic_ms());
    (void)thread;
    (void)request;
    put_line(out, alive, alive ? "alive" : "a thread is stuck");
}

static void answer_ready(void *context, int thread, const struct http_request *request,
                         struct http_answer *out)
{
    char reason[REASON_SIZE];
    bool ready = is_ready(context, reason);
    (void)thread;
    (void)request;
    put_line(out, ready, reason);
}

static void answer_metrics(void *context, int thread, const struct http_request *request,
                           struct http_answer *out)
{
    struct run *run = context;
    (void)thread;
    (void)request;
    out->content_type = "text/plain; version=0.0.4; charset=utf-8";
    out->body = metrics_render(run->shared.metrics, run_clock_ms(&run->clock));
    out->size = out->body ? strlen(out->body) : 0;
    if (!out->body)
        out->status = 503;
}

static int serve_http(struct loop *loop, struct error *e)
{
    struct run *run = loop->run;
    static struct http_route routes[] = {
        {"/healthz/live", answer_live, NULL, false, NULL},
        {"/healthz/ready", answer_ready, NULL, false, NULL},
        {"/metrics", answer_metrics, NULL, false, NULL},
        {"/v1/", api_answer, NULL, true, api_refuse_request},
        {"/", console_answer, NULL, false, NULL},
    };
    enum { COUNT = sizeof routes / sizeof routes[0] };
    if (!run->config.http_listen[0])
        return 0;
    if (explaining_create(&run->config, &loop->explaining, e))
        return -1;
    const struct api_options options = {.now = {.live = run->shared.live,
                                                .explaining = loop->explaining,
                                                .address = run->shared.address,
                                                .clock_ms = run_clock_ms,
                                                .clock_context = &run->clock},
                                        .paths = &answers_paths,
                                        .dsns = run->config.dsns,
                                        .dsn_count = run->config.dsn_count,
                                        .tokens = run->config.http_tokens};
    if (api_create(&options, &loop->api, e))
        return -1;
    for (int i = 0; i < COUNT; i++)
        routes[i].context = routes[i].waits ? (void *)loop->api : run;
    if (http_create(run->config.http_listen, routes, COUNT, &loop->http, e))
        return -1;
    if (http_is_loopback(loop->http))
        api_trust_everybody(loop->api);
    log_event(LOG_INFO, "http listens",
              LOG_FIELDS(log_text("address", run->config.http_listen),
                         log_int("port", http_port(loop->http))));
    return 0;
}

static void stop_http(struct loop *loop)
{
    if (loop->api)
        api_interrupt(loop->api);
    explaining_interrupt(loop->explaining);
    http_destroy(loop->http);
    api_destroy(loop->api);
    explaining_destroy(loop->explaining);
}

// ---- reload ----

// The file of tokens that was named at the start: an old one stays in force if the new one is
// wrong.
static void reload_tokens(struct loop *loop)
{
    struct error e;
    if (loop->api && api_read_tokens(loop->api, &e)) {
        loop->run->shared.metrics->reload_errors++;
        log_event(LOG_ERROR, "the tokens are not reloaded, the old ones stay in force",
                  LOG_FIELDS(log_text("reason", e.text)));
    }
}

static void reload(struct loop *loop, const struct args *args)
{
    struct run *run = loop->run;
    struct config config;
    struct error e;
    sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" PRId64, clock_monotonic_ms() * 1000);
    int failed = args_load_config(args, &config, &e);
    if (!failed)
        failed = run_compare_recorded(run, &config, &e);
    if (failed) {
        run->shared.metrics->reload_errors++;
        log_event(LOG_ERROR, "the configuration is not reloaded, the old one stays in force",
                  LOG_FIELDS(log_text("reason", e.text)));
        config_free(&config);
    } else {
        log_configure(config.log_level, config.log_format);
        run->shared.metrics->reloads++;
        log_event(LOG_INFO,
                  "configuration reloaded: log level and format; billing parameters and price book "
                  "are recorded by settled parameters apply, and anything else takes a restart",
                  LOG_NO_FIELDS);
        config_free(&run->reloaded);
        run->reloaded = config;
    }
    reload_tokens(loop);
    sd_notify(0, "READY=1");
}

// ---- the loop ----

static int64_t records_judged(const struct metrics *metrics)
{
    int64_t sum = 0;
    for (int32_t p = 0; p < metrics->partitions; p++)
        for (int i = 0; i < INPUT_COUNT; i++)
            for (int r = 0; r < RESULT_VOID; r++)
                sum += metrics->shards[p].records[i][r];
    return sum;
}

static void log_drained(const struct run *run)
{
    const struct metrics *metrics = run->shared.metrics;
    int64_t days = 0, settlements = 0, ms = run->shared.last_read_at - run->shared.first_read_at;
    char seconds[32];
    for (int32_t p = 0; p < metrics->partitions; p++) {
        days += metrics->shards[p].days_closed;
        settlements += metrics->shards[p].settlements;
    }
    snprintf(seconds, sizeof seconds, "%" PRId64 ".%03" PRId64, ms / 1000, ms % 1000);
    log_event(LOG_INFO, "drained",
              LOG_FIELDS(log_int("records", records_judged(metrics)), log_text("seconds", seconds),
                         log_int("days_closed", days), log_int("settlements", settlements)));
}

static void log_progress(struct loop *loop, int64_t now)
{
    if (!loop->run->drain || now - loop->progress_at < PROGRESS_MS)
        return;
    loop->progress_at = now;
    log_event(LOG_INFO, "draining",
              LOG_FIELDS(log_int("records", records_judged(loop->run->shared.metrics)),
                         log_int("shards", loop->owned_count)));
}

// True when the process is done; *e has what it ends with.
static bool check_workers(struct loop *loop, int64_t now, struct error *e)
{
    struct run *run = loop->run;
    struct worker_status status;
    bool drained = true, held = false;
    int32_t owned = 0;
    if (topic_counts_wrong(run->shared.counts, e))
        return true;
    memset(loop->owned, 0, (size_t)run->shared.partitions * sizeof *loop->owned);
    for (size_t i = 0; i < run->worker_count; i++) {
        worker_status(run->workers[i], &status, loop->owned);
        if (status.failed) {
            assert(status.error.kind != ERROR_NONE);
            *e = status.error;
            return true;
        }
        drained = drained && status.drained;
        held = held || status.held;
    }
    for (int32_t p = 0; p < run->shared.partitions; p++)
        owned += loop->owned[p];
    if (owned != loop->owned_count)
        loop->owned_since = now;
    loop->owned_count = owned;
    log_progress(loop, now);
    if (!run->drain || !drained)
        return false;
    if (owned < run->shared.partitions) {
        if (now - loop->owned_since < run->shared.session_ms + GROUP_MS)
            return false;
        error_set(e, ERROR_RESTART,
                  "%" PRId32 " of %" PRId32
                  " shards are owned by other processes; these settle them",
                  run->shared.partitions - owned, run->shared.partitions);
        return true;
    }
    log_drained(run);
    if (held)
        error_set(
            e, ERROR_RESTART,
            "a shard waits for an operator: see settled rejects list, then requeue or accept");
    return true;
}

// Reads, commits to and publishes in Kafka, as far as is known.
static bool is_kafka_up(struct loop *loop)
{
    struct run *run = loop->run;
    struct worker_status status;
    char trouble[ERROR_TEXT_SIZE];
    permissions_trouble(run->permissions, trouble, sizeof trouble);
    if (!trouble[0])
        find_silence(run, trouble);
    bool up = !trouble[0];
    for (size_t i = 0; i < run->worker_count; i++) {
        worker_status(run->workers[i], &status, loop->owned);
        up = up && !status.kafka_trouble;
    }
    return up;
}

static void look_around(struct loop *loop, int64_t now)
{
    struct metrics *metrics = loop->run->shared.metrics;
    char trouble[ERROR_TEXT_SIZE];
    writer_schemas_trouble(loop->run->shared.writers, trouble, sizeof trouble);
    metrics->registry_up = !trouble[0];
    metrics->kafka_up = is_kafka_up(loop);
    if (loop->watchdog_ms == 0 || now < loop->watchdog_at || !is_alive(loop->run, now))
        return;
    loop->watchdog_at = now + loop->watchdog_ms / 2;
    sd_notify(0, "WATCHDOG=1");
}

static void run_loop(struct loop *loop, const struct args *args, const sigset_t *signals,
                     struct error *e)
{
    const struct timespec tick = {.tv_nsec = TICK_MS * 1000000L};
    e->kind = ERROR_NONE;
    for (;;) {
        int number = sigtimedwait(signals, NULL, &tick);
        if (number == SIGTERM || number == SIGINT) {
            log_event(LOG_INFO, "stopping", LOG_FIELDS(log_text("signal", strsignal(number))));
            if (loop->run->drain)
                error_set(e, ERROR_RESTART, "stopped before all was settled");
            return;
        }
        if (number == SIGHUP)
            reload(loop, args);
        int64_t now = clock_monotonic_ms();
        if (check_workers(loop, now, e))
            return;
        look_around(loop, now);
        run_follow_recorded(loop->run);
    }
}

static int start_loop(struct run *run, const struct args *args, const sigset_t *signals,
                      struct error *e)
{
    uint64_t watchdog_us = 0;
    struct loop loop = {
        .run = run, .owned_since = clock_monotonic_ms(), .progress_at = clock_monotonic_ms()};
    loop.owned = calloc((size_t)run->shared.partitions, sizeof *loop.owned);
    if (!loop.owned)
        return error_set(e, ERROR_RESTART, "memory is short");
    if (serve_http(&loop, e)) {
        stop_http(&loop);
        free(loop.owned);
        return -1;
    }
    if (sd_watchdog_enabled(0, &watchdog_us) > 0)
        loop.watchdog_ms = (int64_t)(watchdog_us / 1000);
    sd_notify(0, "READY=1");
    log_event(LOG_INFO, "started",
              LOG_FIELDS(log_text("version", SETTLED_VERSION), log_text("group", run->config.group),
                         log_int("partitions", run->shared.partitions),
                         log_int("workers", (int64_t)run->worker_count)));
    run_loop(&loop, args, signals, e);
    run->stopping = true; // as readiness says until nothing listens any more
    stop_http(&loop);
    free(loop.owned);
    return e->kind == ERROR_NONE ? 0 : -1;
}

int cmd_run(const struct args *args)
{
    // The signals are blocked before the first thread starts, so that only this thread takes them.
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    struct run *run = calloc(1, sizeof *run);
    struct error e = {.kind = ERROR_NONE};
    if (!run)
        return EXIT_FAILURE;
    int status = 0;
    if (run_open(run, args, &e)) {
        status = cli_fail("run", &e);
    } else if (start_loop(run, args, &signals, &e)) {
        status = error_exit_status(e.kind);
        log_event(LOG_ERROR, "ending",
                  LOG_FIELDS(log_text("reason", e.text), log_int("status", status)));
    }
    run->stopping = true;
    sd_notify(0, "STOPPING=1");
    // A thread that hangs still uses its memory. The process exits at once, so that it cannot use
    // freed memory.
    if (!run_close(run))
        _exit(status);
    free(run);
    log_event(LOG_INFO, "stopped", LOG_FIELDS(log_int("status", status)));
    return status;
}
