// Reads single records of a topic, outside any group: it waits only for a bounded time and commits
// nothing.
#pragma once

#include "consumer/kafka/client.h"

#include <stdbool.h>
#include <stdint.h>

struct record_fetcher; // a consumer

// `group` only names the client to brokers with access lists; it is never joined.
int fetch_record_open(const struct client_properties *properties, const char *group,
                      struct record_fetcher **out, struct error *e);
void fetch_record_close(struct record_fetcher *peek);

// Where one record stands, and where a run of them does.
struct record_coordinates {
    const char *topic;
    int32_t partition;
    int64_t offset;
};
struct record_range {
    const char *topic;
    int32_t partition;
    int64_t from, to; // the latter exclusive
};

// The committed record at an offset; free with rd_kafka_message_destroy. Errors: ERROR_CONFIG when
// it is not there (any more), ERROR_UNAVAILABLE.
int fetch_record_at(struct record_fetcher *peek, struct record_coordinates at, int timeout_ms,
                    rd_kafka_message_t **out, struct error *e);

// Every committed record of the range, in order. `visit` returns 0, or -1 with *e to stop;
// In the end `message` is NULL if the last offsets below `to` are never delivered. Errors:
// ERROR_CONFIG when the log no longer has `from`, ERROR_UNAVAILABLE when nothing arrives for
// `patience_ms`.
typedef int fetch_record_visit(void *context, const rd_kafka_message_t *message, struct error *e);
int fetch_record_range(struct record_fetcher *peek, const struct record_range *range,
                       int patience_ms, fetch_record_visit *visit, void *context, struct error *e);

// The latest timestamp among the last record of each partition.
struct newest_record {
    int32_t partition; // -1: all are empty
    int64_t timestamp_ms;
};
int fetch_record_newest(struct record_fetcher *peek, const char *topic, int32_t partitions,
                        int timeout_ms, struct newest_record *out, struct error *e);
