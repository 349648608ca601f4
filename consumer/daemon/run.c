#include "consumer/daemon/run.h"
#include "consumer/cli/args.h"
#include "consumer/cli/args_config.h"

#include "consumer/http/http.h"
#include "consumer/preflight/preflight.h"
#include "consumer/preflight/schema_ids.h"
#include "consumer/preflight/wanted.h"
#include "consumer/system/clock.h"
#include "consumer/system/fault.h"
#include "consumer/system/log.h"

#include <assert.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    ASK_MS = 15000,
    HANG_MS = 5000,
    SESSION_MS = 10000,
    FIRST_MS = 100, // for which the other workers wait while the first one joins an empty group
    SPEED_MAX = 1000000,
    KEPT_BYTES = 64 << 20, // free memory that a thread's heap keeps
    LARGE_BYTES = 32 << 20, // what is larger than this is mapped by itself, and given back at once
};

static int read_clock(struct run *run, const struct args *args, struct error *e)
{
    struct run_clock *clock = &run->clock;
    const char *instant = args_get(args, "clock");
    if (args_integer(args, "speed", 1, SPEED_MAX, 0, &clock->speed, e))
        return -1;
    if (clock->speed && (!instant || run->drain))
        return error_set(
            e, ERROR_USAGE,
            "option --speed: it needs --clock, and no --drain, in which the clock stands");
    // In a drain, it is decided only once which days are due. Otherwise a day that becomes due
    // later would be cut at an end that was asked for too early.
    if (run->drain)
        clock->at_ms = clock_wall_ms();
    clock->set = instant || run->drain;
    clock->since_ms = clock_monotonic_ms();
    if (instant && !calendar_parse_instant(instant, &clock->at_ms))
        return error_set(
            e, ERROR_USAGE,
            "option --clock: '%s' is not an instant; write it as 2026-11-03T00:10:00+08:00",
            instant);
    return 0;
}

static int read_arguments(struct run *run, const struct args *args, struct error *e)
{
    run->drain = args_get(args, "drain") != NULL;
    return read_clock(run, args, e) ? -1 : args_load_config(args, &run->config, e);
}

// Refuses to start on what settled check calls an error; each finding is logged.
static int pass_gates(struct run *run, bool simulated, struct error *e)
{
    struct findings *findings = calloc(1, sizeof *findings);
    if (!findings)
        return error_set(e, ERROR_RESTART, "memory is short");
    preflight_check(&run->config, simulated ? -1 : run_clock_ms(&run->clock), findings);
    static const enum log_level levels[] = {
        [FINDING_NOTE] = LOG_INFO, [FINDING_WARNING] = LOG_WARN, [FINDING_ERROR] = LOG_ERROR};
    for (size_t i = 0; i < findings->count; i++)
        log_event(levels[findings->list[i].level], "check",
                  LOG_FIELDS(log_text("finding", findings->list[i].text)));
    int status = preflight_verdict(findings, e);
    free(findings);
    return status;
}

// The properties of every client: brokers, then the operator's own.
static int gather_properties(struct run *run, struct error *e)
{
    const struct config *config = &run->config;
    struct client_properties *properties = &run->shared.properties;
    const char *(*pairs)[2] = calloc(CONFIG_PAIRS_MAX, sizeof *pairs);
    if (!pairs)
        return error_set(e, ERROR_RESTART, "memory is short");
    *properties = config_properties(config, pairs);
    run->shared.session_ms = SESSION_MS;
    for (size_t i = 0; i < config->property_count; i++)
        if (strcmp(config->property_names[i], "session.timeout.ms") == 0)
            run->shared.session_ms = strtol(config->property_values[i], NULL, 10);
    return 0;
}

// ---- what differs from what is recorded ----

static void tell_difference(const struct recorded_value *value)
{
    log_event(LOG_WARN,
              "the configuration differs from what is recorded, which stays in force: put it into "
              "the configuration, or record the configuration with settled parameters apply",
              LOG_FIELDS(log_text("parameter", value->key),
                         log_text("configured", value->configured),
                         log_text("recorded", value->recorded)));
}

// True: it did not differ before, as far as was told.
static bool show_difference(struct metrics *metrics, size_t i, const struct recorded_value *value)
{
    assert(i < METRICS_PARAMETERS_MAX);
    bool differed = metrics->parameters[i].differs;
    snprintf(metrics->parameters[i].name, sizeof metrics->parameters[i].name, "%s", value->key);
    metrics->parameters[i].differs = value->differs;
    return value->differs && !differed;
}

static void tell_differences(struct run *run, const struct parameters *configured,
                             const struct wanted *wanted, bool again)
{
    struct recorded_value values[RECORDED_VALUES_MAX];
    size_t count = wanted_compare(configured, wanted->book, &wanted->deployment.policy, values);
    for (size_t i = 0; i < count; i++)
        if (show_difference(run->shared.metrics, i, &values[i]) || (again && values[i].differs))
            tell_difference(&values[i]);
    run->shared.metrics->parameter_count = (int)count;
}

static void tell_adopted(const char *key, const char *value, const char *before, day_t from)
{
    char day[DAY_TEXT_SIZE];
    log_event(LOG_INFO, "a parameter was recorded, and is in force from that day on",
              LOG_FIELDS(log_text("parameter", key), log_text("value", value),
                         log_text("until_then", before),
                         log_text("from_day", calendar_format_day(from, day))));
}

// What was recorded since this process started or looked last. Rows and books are only ever added.
static void tell_recorded(struct run *run, const struct policy *policy)
{
    struct recorded_value values[RECORDED_VALUES_MAX];
    for (size_t i = run->known_rows; i > 0 && i < policy->count; i++) {
        const struct parameters *row = &policy->rows[i];
        size_t count = config_compare_parameters(row, row - 1, values);
        for (size_t k = 0; k < count; k++)
            if (values[k].differs)
                tell_adopted(values[k].key, values[k].configured, values[k].recorded,
                             row->from_day);
    }
    for (size_t i = run->known_books; i > 0 && i < policy->shelf.count; i++) {
        const struct book *book = policy->shelf.books[i];
        tell_adopted("pricing.book", book->sha256, policy->shelf.books[i - 1]->sha256,
                     book->effective_from);
    }
    run->known_rows = policy->count;
    run->known_books = policy->shelf.count;
}

static int compare_recorded(struct run *run, const struct config *config, bool again,
                            struct error *e)
{
    struct recorded_change change;
    struct wanted *wanted = calloc(1, sizeof *wanted);
    if (!wanted)
        return error_set(e, ERROR_RESTART, "memory is short");
    // Before it is read: what is recorded meanwhile is compared the next time.
    run->compared = run->shared.recorded_news;
    int failed = wanted_read(config, wanted, e);
    wanted->deployment.policy.fixed.partitions = run->shared.partitions;
    if (!failed)
        failed = wanted_record(wanted, run->store, RECORD_FIRST, &change, e);
    if (!failed) {
        tell_recorded(run, &wanted->deployment.policy);
        tell_differences(run, &config->parameters, wanted, again);
    }
    wanted_free(wanted);
    free(wanted);
    return failed;
}

int run_compare_recorded(struct run *run, const struct config *config, struct error *e)
{
    return compare_recorded(run, config, true, e);
}

void run_follow_recorded(struct run *run)
{
    struct error e;
    if (run->compared == run->shared.recorded_news)
        return;
    if (compare_recorded(run, run->reloaded.file ? &run->reloaded : &run->config, false, &e))
        log_event(LOG_WARN, "what was recorded is not compared with the configuration",
                  LOG_FIELDS(log_text("reason", e.text)));
}

// A deployment is recorded once, by the first start; after that the process goes by what is
// recorded, which is in `wanted` then.
static int record_first(struct run *run, struct wanted *wanted, struct error *e)
{
    struct recorded_change change;
    int failed =
        wanted_read(&run->config, wanted, e) || wanted_ask_cluster(&run->config, wanted, e);
    fault_point(deployment_before);
    if (!failed)
        failed = wanted_record(wanted, run->store, RECORD_FIRST, &change, e);
    fault_point(deployment_after);
    if (!failed && change.row)
        log_event(LOG_INFO, "the deployment is recorded: billing parameters and price book",
                  LOG_FIELDS(log_text("price_book", wanted->book->sha256)));
    run->shared.partitions = wanted->deployment.policy.fixed.partitions;
    return failed ? -1 : 0;
}

static int go_by_recorded(struct run *run, struct wanted *wanted, struct error *e)
{
    if (record_first(run, wanted, e))
        return -1;
    if (metrics_create(run->shared.partitions, (const char *const *)run->config.input_topics,
                       &run->shared.metrics))
        return error_set(e, ERROR_RESTART, "memory is short");
    tell_recorded(run, &wanted->deployment.policy);
    tell_differences(run, &run->config.parameters, wanted, true);
    return 0;
}

// The deployment, and the figures that show it.
static int open_deployment(struct run *run, struct error *e)
{
    struct wanted *wanted = calloc(1, sizeof *wanted);
    if (!wanted)
        return error_set(e, ERROR_RESTART, "memory is short");
    int failed = go_by_recorded(run, wanted, e);
    wanted_free(wanted);
    free(wanted);
    return failed;
}

static int open_store(struct run *run, struct error *e)
{
    static_assert((int)CONFIG_DSNS_MAX <= (int)STORE_PARTS_MAX, "a store has a part for each");
    return store_open_all(run->config.dsns, run->config.dsn_count, STORE_WRITES, &run->store, e) ||
                   store_check_version(run->store, e) || open_deployment(run, e)
               ? -1
               : 0;
}

static int open_ends(struct run *run, struct error *e)
{
    struct watermarks_options options = {.partitions = run->shared.partitions,
                                         .group = run->config.group,
                                         .create_time = run->config.timestamps == TIMESTAMPS_CREATE,
                                         .properties = run->shared.properties,
                                         .clock_ms = run_clock_ms,
                                         .clock_context = &run->clock};
    for (int i = 0; i < INPUT_COUNT; i++)
        options.topics[i] = run->config.input_topics[i];
    return watermarks_create(&options, &run->shared.ends, e);
}

static int open_counts(struct run *run, struct error *e)
{
    struct topic_counts_options options = {.count = INPUT_COUNT + OUTPUT_COUNT,
                                           .partitions = run->shared.partitions,
                                           .properties = run->shared.properties};
    static_assert(INPUT_COUNT + OUTPUT_COUNT <= TOPIC_COUNTS_MAX, "there is room for all topics");
    for (int i = 0; i < INPUT_COUNT; i++)
        options.topics[i] = run->config.input_topics[i];
    for (int o = 0; o < OUTPUT_COUNT; o++)
        options.topics[INPUT_COUNT + o] = run->config.output_topics[o];
    return topic_counts_create(&options, &run->shared.counts, e);
}

// A broker that has just started, or a partition that moves, has no leader for a moment.
static int ask_end(struct run *run, int32_t shard, enum input input, struct log_watermarks *out,
                   struct error *e)
{
    const struct timespec pause = {.tv_nsec = 200000000};
    for (int64_t left = ASK_MS, end = clock_monotonic_ms() + ASK_MS; left > 0;
         left = end - clock_monotonic_ms()) {
        if (watermarks_query(run->shared.ends, shard, input, (int)left, out, e) == 0)
            return 0;
        nanosleep(&pause, NULL);
    }
    return -1;
}

// A drain does not wait for what others may never end.
static void warn_of_transaction(const struct run *run, int32_t shard, enum input input,
                                const struct log_watermarks *ends)
{
    log_event(LOG_WARN,
              "a transaction is open: the drain ends before it, and does not take what lies behind",
              LOG_FIELDS(log_text("topic", run->config.input_topics[input]),
                         log_int("partition", shard), log_int("offset", ends->stable),
                         log_int("end", ends->end)));
}

// Where a drain stops, for every shard: taken once, before anything is read.
static int take_drain_ends(struct run *run, struct error *e)
{
    assert(run->clock.set); // a drain decides only once which days are due
    run->shared.drain = calloc((size_t)run->shared.partitions, sizeof *run->shared.drain);
    if (!run->shared.drain)
        return error_set(e, ERROR_RESTART, "memory is short");
    for (int32_t p = 0; p < run->shared.partitions; p++)
        for (enum input i = 0; i < INPUT_COUNT; i++) {
            struct log_watermarks ends;
            if (ask_end(run, p, i, &ends, e))
                return -1;
            run->shared.drain[p][i] = ends.stable;
            if (ends.stable < ends.end)
                warn_of_transaction(run, p, i, &ends);
        }
    return 0;
}

static bool has_assignment(struct run *run, size_t worker)
{
    struct worker_status status;
    bool *shards = calloc((size_t)run->shared.partitions, sizeof *shards);
    if (!shards)
        return true;
    worker_status(run->workers[worker], &status, shards);
    free(shards);
    return status.failed || status.assignment > 0;
}

// Each member that joins later makes the others begin again, so it is best that all join at once.
// But of members that find an empty group at the same moment, librdkafka makes one wait for a
// second. So the first one goes ahead. Where others are in the group already it gets no shards at
// once, and the others join the rebalance that it waits for.
static int join_all(struct run *run, struct error *e)
{
    const struct timespec pause = {.tv_nsec = 2000000};
    for (size_t i = 0; i < run->worker_count; i++) {
        if (worker_join(run->workers[i], e))
            return -1;
        int64_t end = clock_monotonic_ms() + FIRST_MS;
        while (i == 0 && run->worker_count > 1 && !has_assignment(run, 0) &&
               clock_monotonic_ms() < end)
            nanosleep(&pause, NULL);
    }
    return 0;
}

static const char *find_address(const struct config *config)
{
    if (!config->http_listen[0])
        return "";
    if (config->http_advertise[0])
        return config->http_advertise;
    return http_is_reached_at(config->http_listen) ? config->http_listen : "";
}

static int start_workers(struct run *run, struct error *e)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    int wanted = run->config.workers > 0 ? run->config.workers : (int)(cores > 0 ? cores : 1);
    // A worker without a shard would only make rebalances slower.
    if (wanted > run->shared.partitions)
        wanted = run->shared.partitions;
    assert(wanted >= 1);
    assert(wanted <= run->shared.partitions);
    run->shared.workers = wanted;
    run->workers = calloc((size_t)wanted, sizeof(struct worker *));
    if (!run->workers)
        return error_set(e, ERROR_RESTART, "memory is short");
    for (; run->worker_count < (size_t)wanted; run->worker_count++)
        if (worker_create(&run->shared, (int)run->worker_count, &run->workers[run->worker_count],
                          e))
            return -1;
    return join_all(run, e);
}

// Records are fetched and unpacked into memory that is free again a moment later. Left alone, the C
// library gives it back whenever much of it is free at once, and then each page costs a fault
// again.
static void keep_memory(void)
{
    // Where it is refused (by sanitizers), it is only slower.
    (void)mallopt(M_TRIM_THRESHOLD, KEPT_BYTES);
    (void)mallopt(M_MMAP_THRESHOLD, LARGE_BYTES);
}

int run_open(struct run *run, const struct args *args, struct error *e)
{
    struct worker_shared *shared = &run->shared;
    keep_memory();
    if (read_arguments(run, args, e))
        return -1;
    log_configure(run->config.log_level, run->config.log_format);
    shared->config = &run->config;
    shared->clock = &run->clock;
    shared->address = find_address(&run->config);
    if (pass_gates(run, args_get(args, "clock") != NULL, e))
        return -1;
    if (gather_properties(run, e) || open_store(run, e) ||
        schema_ids_find(&run->config, run->config.framing, &run->shared.framing, e))
        return -1;
    if (open_counts(run, e) || open_ends(run, e) ||
        permissions_create(&run->config, &shared->properties, &run->permissions, e) ||
        (run->drain && take_drain_ends(run, e)))
        return -1;
    if (live_create(shared->partitions, &shared->live, e))
        return -1;
    if (writer_schemas_create(run->config.dsns[0], &run->config.registry, &shared->writers, e))
        return -1;
    return start_workers(run, e);
}

bool run_close(struct run *run)
{
    bool all = true;
    assert(run->worker_count == 0 || run->workers);
    assert(!run->workers || run->worker_count <= (size_t)run->shared.workers);
    for (size_t i = 0; i < run->worker_count; i++)
        worker_stop(run->workers[i]);
    for (size_t i = 0; i < run->worker_count; i++)
        all = worker_destroy(run->workers[i]) && all;
    // A part that hangs still uses what the workers share, so that is not freed here: the process
    // ends.
    if (!all)
        return false;
    all = watermarks_destroy(run->shared.ends, HANG_MS) &&
          topic_counts_destroy(run->shared.counts, HANG_MS) &&
          permissions_destroy(run->permissions, HANG_MS);
    if (!all)
        return false;
    live_destroy(run->shared.live);
    writer_schemas_destroy(run->shared.writers);
    metrics_destroy(run->shared.metrics);
    store_close(run->store);
    free(run->shared.drain);
    free(run->shared.properties.pairs);
    free(run->workers);
    config_free(&run->reloaded);
    config_free(&run->config);
    return true;
}
