// Puts records back into an input topic, each exactly once, even when the program is killed in
// between.
//
// One Kafka transaction holds the record and, as the offset of the pseudo group GROUP-requeue, the
// id of the request it answers; the offset's metadata says where the record went. The next program
// fences the one before it: after init_transactions the earlier program can commit nothing. Then it
// reads the offset. If it finds a request half-way, the offset tells whether its record was sent:
// it was sent exactly if the offset is the request's id. This is true because each program first
// completes all requests that it finds half-way, and only then sends new ones. Fencing also makes a
// lock unnecessary: if two programs run at once, the later one wins.
#pragma once

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
    int32_t partition; // where it went
    int64_t offset;
};

// Fences others and reads the position. Errors: ERROR_UNAVAILABLE, ERROR_CONFIG.
int requeue_create(const struct requeue_options *options, struct requeue **out, struct error *e);
void requeue_destroy(struct requeue *requeue);
struct requeue_position requeue_last(const struct requeue *requeue);

// A record that is sent again: to `partition` of its topic, with its headers, and with headers that
// name where it came from and the request.
struct requeue_order {
    int64_t request;
    const rd_kafka_message_t *original;
    int32_t partition;
    int64_t timestamp_ms; // 0: now
};
// ERROR_RESTART: another program took over, nothing was sent. After ERROR_UNAVAILABLE it is not
// known whether it was: the next program finds out.
int requeue_send(struct requeue *requeue, const struct requeue_order *order,
                 struct requeue_position *sent, struct error *e);
