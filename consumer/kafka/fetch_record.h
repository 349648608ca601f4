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
// Whether a topic cannot be read because this user may not: then *e says so (see refusal.h).
bool fetch_record_refused(const struct record_fetcher *peek, const char *topic,
                          rd_kafka_resp_err_t code, struct error *e);
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
// Whether the last call of it failed because this user may not read the topic: the record may be
// there.
bool fetch_record_is_forbidden(const struct record_fetcher *peek);

// Every committed record of the range, in order. `visit` returns 0, 1 when it has seen enough, or
// -1 with *e. In the end `message` is NULL if the last offsets below `to` are never delivered.
// Errors: ERROR_CONFIG when the log no longer has `from`, ERROR_UNAVAILABLE when nothing arrives
// for `patience_ms`.
typedef int fetch_record_visit(void *context, const rd_kafka_message_t *message, struct error *e);
int fetch_record_range(struct record_fetcher *peek, const struct record_range *range,
                       int patience_ms, fetch_record_visit *visit, void *context, struct error *e);

// Where partitions begin and end: the first offset kept, and the last stable one. Two requests a
// broker, however many partitions there are. ERROR_UNAVAILABLE names the first of which it is not
// known.
struct partition_ends {
    const char *topic;
    int32_t partition;
    int64_t low, high;
};
int fetch_record_ends(struct record_fetcher *peek, struct partition_ends *list, size_t count,
                      int timeout_ms, struct error *e);

// Reads ranges of different partitions at once; each ends at `to`, or where the partition ends.
// `visit` is called for each record, and once with what a partition could not be read for
// (message->err), which ends its range. ERROR_UNAVAILABLE when some were not read in time.
typedef void fetch_record_visit_many(void *context, size_t range,
                                     const rd_kafka_message_t *message);
struct record_ranges {
    const struct record_range *list; // each of another partition
    size_t count;
};
int fetch_record_ranges(struct record_fetcher *peek, struct record_ranges ranges, int timeout_ms,
                        fetch_record_visit_many *visit, void *context, struct error *e);
