#include "consumer/shard/metrics.h"

#include "consumer/shard/shard.h"

#include <assert.h>
#include <inttypes.h>
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum metric {
    BUILD_INFO,
    SHARD_STATE,
    RECORDS,
    REJECTS,
    LAG_RECORDS,
    LAG_SECONDS,
    OPEN_TRANSACTION,
    POSITION,
    LOG_WAITING,
    OPEN_DAY,
    DAY_STATE,
    HELD_REJECTS,
    DAYS_CLOSED,
    SETTLEMENTS,
    RESIDENT_CALLS,
    MEMORY,
    OUTBOX_SEQUENCE,
    RELAY_PUBLISHED,
    RELAY_BACKLOG,
    RELAY_TROUBLE,
    RELAY_LOST_ROWS,
    RELAY_SPENT,
    RELAY_STRANGE,
    SNAPSHOTS_WRITTEN,
    SNAPSHOTS_FAILED,
    SNAPSHOTS_TAKEN,
    SNAPSHOTS_REFUSED,
    SNAPSHOT_BYTES,
    SNAPSHOT_TIME,
    COMMIT_SECONDS,
    CONFIGURATION_DIFFERS,
    POSTGRES_UP,
    REGISTRY_UP,
    KAFKA_UP,
    RELOADS,
    RELOAD_ERRORS,
    METRIC_COUNT
};

static const struct {
    const char *name, *type, *labels, *help;
} table[METRIC_COUNT] = {
    [BUILD_INFO] = {"settled_build_info", "gauge", "version, commit, librdkafka",
                    "Always 1; the labels say what is running."},
    [SHARD_STATE] = {"settled_shard_state", "gauge", "shard, state",
                     "1 for the state the shard is in within this process."},
    [RECORDS] = {"settled_records_total", "counter", "topic, result",
                 "Input records whose verdict this process committed since it started; void: "
                 "offsets never delivered."},
    [REJECTS] = {"settled_rejects_total", "counter", "topic, reason",
                 "Records whose rejection this process committed since it started."},
    [LAG_RECORDS] = {"settled_log_lag_records", "gauge", "topic, partition",
                     "Offsets between the position and the end of the log."},
    [LAG_SECONDS] = {"settled_log_lag_seconds", "gauge", "topic, partition",
                     "Age of the last record judged, while more records wait; otherwise 0. Never "
                     "less than settled_log_open_transaction_seconds."},
    [OPEN_TRANSACTION] =
        {"settled_log_open_transaction_seconds", "gauge", "topic, partition",
         "How long the last stable offset has stood still behind the end of the log: a "
         "transaction is open, and nothing behind it can be read. 0: no transaction is open."},
    [POSITION] = {"settled_log_position", "gauge", "topic, partition", "Next offset to be judged."},
    [LOG_WAITING] =
        {"settled_log_waiting", "gauge", "topic, partition, for",
         "1 while the log waits: for cutoff, clock, future_record, schema, partitions, rejects or "
         "commit."},
    [OPEN_DAY] = {"settled_open_day_seconds", "gauge", "shard",
                  "The oldest day not settled, as the Unix time of that date's 00:00 UTC."},
    [DAY_STATE] = {"settled_day_state", "gauge", "shard, state",
                   "1 for the open day's state: open, grace, held or closing."},
    [HELD_REJECTS] = {"settled_day_held_rejects", "gauge", "topic, partition, group",
                      "Undecided rejects that the open day is held for, by the group of their "
                      "reasons (broken, refused); 0: not held for these."},
    [DAYS_CLOSED] = {"settled_days_closed_total", "counter", "shard",
                     "Days settled by this process since it started."},
    [SETTLEMENTS] = {"settled_settlements_total", "counter", "shard",
                     "Settlements made by this process since it started."},
    [RESIDENT_CALLS] = {"settled_calls_held", "gauge", "shard",
                        "Calls of open and retained days in memory."},
    [MEMORY] = {"settled_fold_memory_bytes", "gauge", "shard", "Memory of the shard's state."},
    [OUTBOX_SEQUENCE] = {"settled_outbox_sequence", "gauge", "shard",
                         "Sequence of the last committed output row."},
    [RELAY_PUBLISHED] = {"settled_relay_published_sequence", "gauge", "shard",
                         "Sequence up to which outputs were read back from their topics."},
    [RELAY_BACKLOG] =
        {"settled_relay_backlog_rows", "gauge", "shard",
         "Output rows committed in PostgreSQL and not yet read back from their topics."},
    [RELAY_TROUBLE] =
        {"settled_relay_trouble", "gauge", "shard",
         "1 while nothing can be published, or published rows are not seen; the log and "
         "readiness say why."},
    [RELAY_LOST_ROWS] = {"settled_relay_lost_rows_total", "counter", "shard",
                         "Rows that output topics had acknowledged and then did not have; they "
                         "were published again."},
    [RELAY_SPENT] = {"settled_relay_producers_replaced_total", "counter", "shard",
                     "Producers that were replaced because a copy of one of their requests could "
                     "be under way."},
    [RELAY_STRANGE] = {"settled_relay_strange_records_total", "counter", "shard, kind",
                       "Records found in the output topics that should not be there: repeated, "
                       "disordered or foreign."},
    [SNAPSHOTS_WRITTEN] = {"settled_snapshots_written_total", "counter", "shard",
                           "Snapshots of the shard's calls that this process wrote to "
                           "run.snapshots since it started."},
    [SNAPSHOTS_FAILED] = {"settled_snapshots_failed_total", "counter", "shard",
                          "Snapshots that this process could not write; the log says why."},
    [SNAPSHOTS_TAKEN] = {"settled_snapshots_taken_total", "counter", "shard",
                         "Starts of the shard that took its calls from a snapshot and replayed "
                         "only what came after."},
    [SNAPSHOTS_REFUSED] = {"settled_snapshots_refused_total", "counter", "shard",
                           "Snapshots that were found at a start and were no good; the log says "
                           "why."},
    [SNAPSHOT_BYTES] = {"settled_snapshot_bytes", "gauge", "shard",
                        "Size of the last snapshot that this process wrote."},
    [SNAPSHOT_TIME] = {"settled_snapshot_timestamp_seconds", "gauge", "shard",
                       "When this process wrote its last snapshot, as Unix time."},
    [COMMIT_SECONDS] = {"settled_commit_duration_seconds", "histogram", "le",
                        "Duration of a step's commit in PostgreSQL."},
    [CONFIGURATION_DIFFERS] =
        {"settled_configuration_differs", "gauge", "parameter",
         "1 where the configuration differs from what is recorded, which stays in force."},
    [POSTGRES_UP] = {"settled_postgres_up", "gauge", "",
                     "0 while a shard waits for PostgreSQL: it does not answer, or does not take "
                     "what is to be written."},
    [REGISTRY_UP] = {"settled_registry_up", "gauge", "",
                     "1 when the last call to the schema registry was answered."},
    [KAFKA_UP] = {"settled_kafka_up", "gauge", "",
                  "1 while Kafka does all of its work, as far as it was last seen: this process is "
                  "in its group, reads, is told the ends of logs and the partitions of topics, "
                  "publishes, and no permission is missing; readiness says what it does not do."},
    [RELOADS] = {"settled_config_reloads_total", "counter", "",
                 "Configurations reloaded on SIGHUP."},
    [RELOAD_ERRORS] = {"settled_config_reload_errors_total", "counter", "",
                       "Configurations refused on SIGHUP; the old one stays in force."},
};

// Upper bounds in microseconds, and as Prometheus has them.
static const struct {
    int64_t us;
    const char *le;
} buckets[COMMIT_BUCKETS] = {
    {1000, "0.001"},  {2500, "0.0025"}, {5000, "0.005"},  {10000, "0.01"}, {25000, "0.025"},
    {50000, "0.05"},  {100000, "0.1"},  {250000, "0.25"}, {500000, "0.5"}, {1000000, "1"},
    {2500000, "2.5"}, {5000000, "5"},   {10000000, "10"},
};

static const char *const result_names[RESULT_COUNT] = {"accepted", "duplicate", "rejected", "void"};
static const char *const strange_names[STRANGE_KINDS] = {"repeated", "disordered", "foreign"};
static const char *const phase_names[] = {"open", "grace", "held", "closing"};
static const char *const stop_names[] = {
    [FOLD_CUT] = "cutoff",       [FOLD_AHEAD] = "clock",   [FOLD_FUTURE] = "future_record",
    [FOLD_COUNT] = "partitions", [FOLD_SCHEMA] = "schema", [FOLD_REJECTS] = "rejects",
    [FOLD_STEP_FULL] = "commit",
};
enum { STOP_NAMES = sizeof stop_names / sizeof stop_names[0] };
static_assert(sizeof phase_names / sizeof phase_names[0] == DAY_CLOSING + 1,
              "each phase of a day has a name");
static_assert(STOP_NAMES <= FOLD_BROKEN + 1, "what stops a log is one of the fold's answers");

int metrics_create(int32_t partitions, const char *const topics[INPUT_COUNT], struct metrics **out)
{
    struct metrics *metrics = calloc(1, sizeof *metrics);
    if (metrics)
        metrics->shards = calloc((size_t)partitions, sizeof *metrics->shards);
    if (!metrics || !metrics->shards) {
        free(metrics);
        return -1;
    }
    metrics->partitions = partitions;
    memcpy(metrics->topics, topics, sizeof metrics->topics);
    for (int32_t p = 0; p < partitions; p++) {
        metrics->shards[p].published = metrics->shards[p].calls_at = -1;
        for (int i = 0; i < INPUT_COUNT; i++)
            metrics->shards[p].end[i] = metrics->shards[p].open_ms[i] = -1;
    }
    metrics->registry_up = metrics->kafka_up = 1;
    *out = metrics;
    return 0;
}

void metrics_destroy(struct metrics *metrics)
{
    if (!metrics)
        return;
    free(metrics->shards);
    free(metrics);
}

int64_t metrics_calls_waiting(const struct metrics *metrics)
{
    int64_t waiting = 0;
    for (int32_t p = 0; p < metrics->partitions; p++) {
        const struct shard_metrics *shard = &metrics->shards[p];
        int64_t at = shard->calls_at, end = shard->end[INPUT_CALLS];
        if (shard->owned && at >= 0 && end > at)
            waiting += end - at;
    }
    return waiting;
}

int64_t metrics_resident_calls(const struct metrics *metrics)
{
    int64_t held = 0;
    for (int32_t p = 0; p < metrics->partitions; p++)
        held += metrics->shards[p].owned ? metrics->shards[p].resident_calls : 0;
    return held;
}

void metrics_commit(struct metrics *metrics, int64_t duration_us)
{
    int bucket = 0;
    assert(duration_us >= 0);
    while (bucket < COMMIT_BUCKETS && duration_us > buckets[bucket].us)
        bucket++;
    metrics->commits[bucket]++;
    metrics->commit_us += duration_us;
}

static void heading(FILE *out, enum metric metric)
{
    assert(metric < METRIC_COUNT);
    fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", table[metric].name, table[metric].help,
            table[metric].name, table[metric].type);
}

static void single(FILE *out, enum metric metric, int64_t value)
{
    assert(table[metric].labels[0] == '\0');
    heading(out, metric);
    fprintf(out, "%s %" PRId64 "\n", table[metric].name, value);
}

static void render_totals(const struct metrics *m, FILE *out)
{
    heading(out, RECORDS);
    for (int i = 0; i < INPUT_COUNT; i++)
        for (int r = 0; r < RESULT_COUNT; r++) {
            int64_t sum = 0;
            for (int32_t p = 0; p < m->partitions; p++)
                sum += m->shards[p].records[i][r];
            fprintf(out, "%s{topic=\"%s\",result=\"%s\"} %" PRId64 "\n", table[RECORDS].name,
                    m->topics[i], result_names[r], sum);
        }
    heading(out, REJECTS);
    for (int i = 0; i < INPUT_COUNT; i++)
        for (int r = REJECT_NONE + 1; r < REJECT_REASONS; r++) {
            int64_t sum = 0;
            for (int32_t p = 0; p < m->partitions; p++)
                sum += m->shards[p].rejects[i][r];
            fprintf(out, "%s{topic=\"%s\",reason=\"%s\"} %" PRId64 "\n", table[REJECTS].name,
                    m->topics[i], reject_symbol((enum reject_reason)r), sum);
        }
}

// Of one log; 0 where it is not known, or is another process's.
static int64_t log_value(const struct shard_metrics *s, enum metric metric, int input,
                         int64_t now_ms)
{
    if (!s->owned)
        return 0;
    int64_t position = s->position[input], end = s->end[input], last = s->last_timestamp[input];
    int64_t lag = end > position ? end - position : 0, open_ms = s->open_ms[input];
    int64_t open_s = open_ms >= 0 ? open_ms / 1000 + 1 : 0; // never 0 while one is open
    int64_t age_s = lag > 0 && last > 0 && now_ms > last ? (now_ms - last) / 1000 : 0;
    switch (metric) {
    case POSITION:
        return position;
    case OPEN_TRANSACTION:
        return open_s;
    case LAG_SECONDS:
        return age_s < open_s ? open_s : age_s;
    default:
        return lag;
    }
}

static void render_waiting(const struct metrics *m, FILE *out)
{
    heading(out, LOG_WAITING);
    for (int32_t p = 0; p < m->partitions; p++)
        for (int i = 0; i < INPUT_COUNT; i++)
            for (int stop = 0; stop < STOP_NAMES; stop++) {
                int waits = m->shards[p].owned && m->shards[p].stop[i] == stop;
                if (stop_names[stop])
                    fprintf(out, "%s{topic=\"%s\",partition=\"%" PRId32 "\",for=\"%s\"} %d\n",
                            table[LOG_WAITING].name, m->topics[i], p, stop_names[stop], waits);
            }
}

static void render_logs(const struct metrics *m, int64_t now_ms, FILE *out)
{
    for (enum metric metric = LAG_RECORDS; metric <= POSITION; metric++) {
        heading(out, metric);
        for (int32_t p = 0; p < m->partitions; p++)
            for (int i = 0; i < INPUT_COUNT; i++)
                fprintf(out, "%s{topic=\"%s\",partition=\"%" PRId32 "\"} %" PRId64 "\n",
                        table[metric].name, m->topics[i], p,
                        log_value(&m->shards[p], metric, i, now_ms));
    }
    render_waiting(m, out);
}

// Of a shard that runs.
static int64_t state_value(const struct shard_metrics *s, enum metric metric)
{
    switch (metric) {
    case OPEN_DAY:
        return s->open_day * (DAY_MS / 1000);
    case RESIDENT_CALLS:
        return s->resident_calls;
    case MEMORY:
        return s->resident_bytes;
    case OUTBOX_SEQUENCE:
        return s->sequence;
    case RELAY_TROUBLE:
        return s->relay_trouble;
    default:
        assert(false);
        return 0;
    }
}

// Of a shard; 0 where it is not known, or is another process's. What this process has counted
// stays.
static int64_t shard_value(const struct shard_metrics *s, enum metric metric)
{
    bool runs = s->state == SHARD_RUNNING, known = runs && s->published >= 0;
    switch (metric) {
    case DAYS_CLOSED:
        return s->days_closed;
    case SETTLEMENTS:
        return s->settlements;
    case RELAY_LOST_ROWS:
        return s->lost_rows;
    case RELAY_SPENT:
        return s->spent_producers;
    case SNAPSHOTS_WRITTEN:
        return s->snapshots_written;
    case SNAPSHOTS_FAILED:
        return s->snapshots_failed;
    case SNAPSHOTS_TAKEN:
        return s->snapshots_taken;
    case SNAPSHOTS_REFUSED:
        return s->snapshots_refused;
    case SNAPSHOT_BYTES:
        return s->snapshot_bytes;
    case SNAPSHOT_TIME:
        return s->snapshot_at;
    case RELAY_PUBLISHED:
        return known ? s->published : 0;
    case RELAY_BACKLOG:
        return known ? s->sequence - s->published : 0;
    default:
        return runs ? state_value(s, metric) : 0;
    }
}

static void render_figures(const struct metrics *m, FILE *out)
{
    static const enum metric shown[] = {
        OPEN_DAY,        DAYS_CLOSED,       SETTLEMENTS,      RESIDENT_CALLS,  MEMORY,
        OUTBOX_SEQUENCE, RELAY_PUBLISHED,   RELAY_BACKLOG,    RELAY_TROUBLE,   RELAY_LOST_ROWS,
        RELAY_SPENT,     SNAPSHOTS_WRITTEN, SNAPSHOTS_FAILED, SNAPSHOTS_TAKEN, SNAPSHOTS_REFUSED,
        SNAPSHOT_BYTES,  SNAPSHOT_TIME};
    for (size_t k = 0; k < sizeof shown / sizeof shown[0]; k++) {
        enum metric metric = shown[k];
        heading(out, metric);
        for (int32_t p = 0; p < m->partitions; p++)
            fprintf(out, "%s{shard=\"%" PRId32 "\"} %" PRId64 "\n", table[metric].name, p,
                    shard_value(&m->shards[p], metric));
    }
}

static void render_strange(const struct metrics *m, FILE *out)
{
    heading(out, RELAY_STRANGE);
    for (int32_t p = 0; p < m->partitions; p++)
        for (int k = 0; k < STRANGE_KINDS; k++)
            fprintf(out, "%s{shard=\"%" PRId32 "\",kind=\"%s\"} %" PRId64 "\n",
                    table[RELAY_STRANGE].name, p, strange_names[k], m->shards[p].strange[k]);
}

static void render_states(const struct metrics *m, FILE *out)
{
    heading(out, SHARD_STATE);
    for (int32_t p = 0; p < m->partitions; p++)
        fprintf(out, "%s{shard=\"%" PRId32 "\",state=\"%s\"} 1\n", table[SHARD_STATE].name, p,
                shard_state_name((enum shard_state)m->shards[p].state));
    heading(out, DAY_STATE);
    for (int32_t p = 0; p < m->partitions; p++) {
        bool runs = m->shards[p].state == SHARD_RUNNING;
        for (int phase = 0; phase <= DAY_CLOSING; phase++)
            fprintf(out, "%s{shard=\"%" PRId32 "\",state=\"%s\"} %d\n", table[DAY_STATE].name, p,
                    phase_names[phase], runs && m->shards[p].phase == phase);
    }
}

static void render_holds(const struct metrics *m, FILE *out)
{
    heading(out, HELD_REJECTS);
    for (int32_t p = 0; p < m->partitions; p++)
        for (int i = 0; i < INPUT_COUNT; i++)
            for (enum reject_group g = 0; g < REJECT_GROUPS; g++) {
                bool runs = m->shards[p].state == SHARD_RUNNING;
                int64_t rejects = runs ? m->shards[p].held_rejects[i][g] : 0;
                fprintf(out,
                        "%s{topic=\"%s\",partition=\"%" PRId32 "\",group=\"%s\"} %" PRId64 "\n",
                        table[HELD_REJECTS].name, m->topics[i], p, reject_group_symbol(g), rejects);
            }
}

static void render_commits(const struct metrics *m, FILE *out)
{
    const char *name = table[COMMIT_SECONDS].name;
    int64_t sum = 0, us = m->commit_us;
    heading(out, COMMIT_SECONDS);
    for (int i = 0; i <= COMMIT_BUCKETS; i++) {
        sum += m->commits[i];
        fprintf(out, "%s_bucket{le=\"%s\"} %" PRId64 "\n", name,
                i < COMMIT_BUCKETS ? buckets[i].le : "+Inf", sum);
    }
    fprintf(out, "%s_sum %" PRId64 ".%06" PRId64 "\n%s_count %" PRId64 "\n", name, us / 1000000,
            us % 1000000, name, sum);
}

static bool is_postgres_up(const struct metrics *metrics)
{
    bool up = true;
    for (int32_t p = 0; p < metrics->partitions; p++)
        up = up && !metrics->shards[p].waits_for_store;
    return up;
}

static void render_parameters(const struct metrics *m, FILE *out)
{
    heading(out, CONFIGURATION_DIFFERS);
    int count = m->parameter_count;
    assert(count <= METRICS_PARAMETERS_MAX);
    for (int i = 0; i < count; i++)
        fprintf(out, "%s{parameter=\"%s\"} %d\n", table[CONFIGURATION_DIFFERS].name,
                m->parameters[i].name, m->parameters[i].differs);
}

char *metrics_render(const struct metrics *metrics, int64_t now_ms)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return NULL;
    heading(out, BUILD_INFO);
    fprintf(out, "%s{version=\"%s\",commit=\"%s\",librdkafka=\"%s\"} 1\n", table[BUILD_INFO].name,
            SETTLED_VERSION, SETTLED_COMMIT, rd_kafka_version_str());
    render_totals(metrics, out);
    render_logs(metrics, now_ms, out);
    render_figures(metrics, out);
    render_strange(metrics, out);
    render_states(metrics, out);
    render_holds(metrics, out);
    render_commits(metrics, out);
    render_parameters(metrics, out);
    single(out, POSTGRES_UP, is_postgres_up(metrics));
    single(out, REGISTRY_UP, metrics->registry_up);
    single(out, KAFKA_UP, metrics->kafka_up);
    single(out, RELOADS, metrics->reloads);
    single(out, RELOAD_ERRORS, metrics->reload_errors);
    if (fclose(out) == 0)
        return text;
    free(text);
    return NULL;
}

void metrics_print_reference(FILE *out)
{
    fputs("# Metrics\n\n"
          "What `/metrics` has, in Prometheus' text format. `settled help --metrics` prints this "
          "page.\n\n"
          "Each series is there from the start, in every process and for every shard. A gauge is 0 "
          "where its value\nis not known yet, or where another process works on the shard; so the "
          "sum over all processes is right,\nand for `settled_open_day_seconds`, leave out what is "
          "0.\n\n"
          "| metric | type | labels | meaning |\n|---|---|---|---|\n",
          out);
    for (int i = 0; i < METRIC_COUNT; i++)
        fprintf(out, "| `%s` | %s | %s | %s |\n", table[i].name, table[i].type, table[i].labels,
                table[i].help);
}
