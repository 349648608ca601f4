// Figures of the process: threads add to them without locks, /metrics renders them for Prometheus.
// One table (metrics.c) has name, type and help of each metric; the text and the documentation
// derive from it. No label ever names an account.
#pragma once

#include "consumer/core/fold.h"

#include <stdatomic.h>
#include <stdio.h>

enum record_result {
    RESULT_ACCEPTED,
    RESULT_DUPLICATE,
    RESULT_REJECTED,
    RESULT_VOID,
    RESULT_COUNT
};

enum strange_kind { STRANGE_REPEATED, STRANGE_DISORDERED, STRANGE_FOREIGN, STRANGE_KINDS };

// Of one shard; written by the thread that owns it.
struct shard_metrics {
    // whose figures these are: several workers may hold the shard, if it is parked or not revoked
    // yet
    _Atomic(const void *) shown;
    _Atomic int owned; // 1: this process works on it
    _Atomic int state; // enum shard_state
    _Atomic int phase; // enum day_phase
    _Atomic int64_t held_rejects[INPUT_COUNT][REJECT_GROUPS]; // 0: the day is not held for these
    _Atomic int64_t open_day; // day_t
    _Atomic int64_t records[INPUT_COUNT][RESULT_COUNT];
    _Atomic int64_t rejects[INPUT_COUNT][REJECT_REASONS];
    _Atomic int64_t position[INPUT_COUNT], end[INPUT_COUNT]; // end -1: not known
    _Atomic int64_t last_timestamp[INPUT_COUNT]; // ms, of the last record judged; 0: none
    _Atomic int64_t open_ms[INPUT_COUNT]; // how long a transaction is open in it; -1: none is
    _Atomic int stop[INPUT_COUNT]; // enum fold_stop
    _Atomic int64_t resident_calls, resident_bytes;
    _Atomic int64_t calls_at; // the next call that it replays or judges; -1: not known yet
    _Atomic int64_t days_closed, settlements;
    _Atomic int64_t sequence, published; // last outbox row; known to be published, -1: not known
    _Atomic int waits_for_store; // 1: PostgreSQL did not take the last call, which is repeated
    _Atomic int relay_trouble; // 1: nothing can be published just now
    _Atomic int64_t lost_rows, spent_producers; // of struct relay_status
    _Atomic int64_t strange[STRANGE_KINDS];
    // Snapshots of its calls: those that this process wrote, could not write, began from, and found
    // to be no good; bytes and time (s) of the last one written, 0: none was
    _Atomic int64_t snapshots_written, snapshots_failed, snapshots_taken, snapshots_refused;
    _Atomic int64_t snapshot_bytes, snapshot_at;
};

enum { COMMIT_BUCKETS = 13, METRICS_PARAMETERS_MAX = 32 };

struct metrics {
    int32_t partitions;
    const char *topics[INPUT_COUNT];
    struct shard_metrics *shards; // by partition
    _Atomic int64_t commits[COMMIT_BUCKETS + 1], commit_us; // by duration; the last bucket is +Inf
    _Atomic int registry_up, kafka_up;
    _Atomic int64_t reloads, reload_errors;
    // Whether the configuration differs from what is recorded; names are written before the count.
    _Atomic int parameter_count;
    struct {
        char name[48];
        _Atomic int differs;
    } parameters[METRICS_PARAMETERS_MAX];
};

int metrics_create(int32_t partitions, const char *const topics[INPUT_COUNT], struct metrics **out);
void metrics_destroy(struct metrics *metrics);
// Calls that this process's shards hold in memory, and records of their calls logs that may still
// come to these: those that are to be replayed, and those that are not judged yet.
int64_t metrics_resident_calls(const struct metrics *metrics);
int64_t metrics_calls_waiting(const struct metrics *metrics);
void metrics_commit(struct metrics *metrics, int64_t duration_us);

// Prometheus text format 0.0.4, malloc'ed; NULL when memory is short. `now_ms` is for lag in
// seconds.
char *metrics_render(const struct metrics *metrics, int64_t now_ms);
// The table as Markdown: deploy/METRICS.md.
void metrics_print_reference(FILE *out);
