// Puts records back into an input topic, each exactly once, even when the program is killed in
// between.
//
// One Kafka transaction holds the record and, as the offset of the pseudo group GROUP-requeue, the
// id of the request it answers; the offset's metadata says where the record stood and where it
// went. The next program fences the one before it: after init_transactions the earlier program can
// commit nothing. Then it reads the offset. If it finds a request half-way, the offset tells which
// of its records was sent without being noted: the one that the offset and its metadata name, or
// none. This is true because each program notes a record before it sends the next, and completes
// all requests that it finds half-way before it sends new ones. Fencing also makes a lock
// unnecessary: if two programs run at once, the later one wins.
#pragma once

#include "consumer/core/record.h"
#include "consumer/kafka/client.h"

#include <stdint.h>

struct requeue;

struct requeue_options {
    const char *group; // of the deployment
    const char *position_topic; // any topic that exists: the position stands at its partition 0
    struct client_properties properties;
};

struct requeue_position {
    int64_t request; // the last one sent; 0: none, or Kafka has forgotten it since
    int64_t from; // the offset of its record that was sent
    int32_t partition; // where it went
    int64_t offset;
};

// Fences others and reads the position. Errors: ERROR_UNAVAILABLE, ERROR_CONFIG.
int requeue_create(const struct requeue_options *options, struct requeue **out, struct error *e);
void requeue_destroy(struct requeue *requeue);
struct requeue_position requeue_last(const struct requeue *requeue);

// A record that is sent again: to `partition` of its topic, with its headers, and with headers that
// name where it came from and the request.
struct requeue_original {
    const char *topic;
    int32_t partition;
    int64_t offset;
    struct slice key, value;
    const rd_kafka_headers_t *headers; // NULL: none
};
struct requeue_order {
    int64_t request;
    struct requeue_original original;
    int32_t partition;
    int64_t timestamp_ms; // 0: now
};
// ERROR_RESTART: another program took over, nothing was sent. After ERROR_UNAVAILABLE it is not
// known whether it was: the next program finds out.
int requeue_send(struct requeue *requeue, const struct requeue_order *order,
                 struct requeue_position *sent, struct error *e);
