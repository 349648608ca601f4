// Several partitions read side by side, each at its own pace and from its own offset, outside any
// group, for comparing logs with each other. Nothing is committed; memory is bounded by
// librdkafka's queues, one a partition.
#pragma once

#include "consumer/kafka/client.h"

#include <stdbool.h>
#include <stdint.h>

struct scan;

enum { SCAN_LOGS_MAX = 16, SCAN_BEGINNING = -2, SCAN_SINCE = -3, SCAN_PATIENCE_MS = 15000 };

struct scan_log {
    const char *topic; // borrowed
    int64_t from; // an offset, SCAN_BEGINNING, or SCAN_SINCE: where since_ms is reached, or the end
    int64_t since_ms;
};

struct scan_options {
    const struct client_properties *properties;
    const char *group; // only names the client to brokers with access lists; it is never joined
    const char *cluster_id; // of the cluster that is expected; "": any
    int32_t partitions; // that each topic must have
    int32_t partition; // to read, of each topic
    size_t count;
    const struct scan_log *logs;
    // told every few hundred records how many offsets lie behind it
    void (*passed)(void *context, int64_t offsets);
    void *context;
};

// Errors: ERROR_CONFIG for another cluster, a topic that does not exist or has another count of
// partitions, ERROR_UNAVAILABLE when nobody answers.
int scan_open(const struct scan_options *options, struct scan **out, struct error *e);
void scan_close(struct scan *scan);

// The first offset that the log kept, and the one after its last that could be read, when the scan
// was opened.
int64_t scan_first(const struct scan *scan, size_t log);
int64_t scan_last(const struct scan *scan, size_t log);
int64_t scan_from(const struct scan *scan, size_t log); // where it was begun to be read
int64_t scan_at(const struct scan *scan, size_t log); // behind the last record that was taken

// The next committed record of a log, or with `ahead` 1 the one after it, without taking it; valid
// until it is taken. NULL in *out: the log has no such record; scan_end then says where it ends.
// Records that are written later are not read. Errors: ERROR_CONFIG when the log no longer has
// `from`, ERROR_UNAVAILABLE when nothing arrives for SCAN_PATIENCE_MS.
int scan_look(struct scan *scan, size_t log, int ahead, const rd_kafka_message_t **out,
              struct error *e);
// Takes the record that scan_look showed.
void scan_take(struct scan *scan, size_t log);
// The same, but the caller then owns the record, and destroys it before the scan is closed.
rd_kafka_message_t *scan_keep(struct scan *scan, size_t log);
// Takes the records that are older than an instant (ms). *first: the offset of the next one that is
// not; -1: the log ends before such a record.
int scan_take_older(struct scan *scan, size_t log, int64_t since_ms, int64_t *first,
                    struct error *e);
// Where the log ended: the offset after its last one, even if no record stands there. -1: the end
// was not reached yet.
int64_t scan_end(const struct scan *scan, size_t log);
// Whether more was written behind that end, by a transaction that was open, or since then.
bool scan_goes_on(const struct scan *scan, size_t log);
int64_t scan_passed(const struct scan *scan); // offsets, of all logs
