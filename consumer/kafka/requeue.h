// Puts records back into an input topic, each exactly once, also when the program is killed in
// between.
//
// One Kafka transaction holds the record and, as the offset of the pseudo group GROUP-requeue, the
// id of the request it answers; the offset's metadata says where the record went. Whoever comes
// next fences the one before (init_transactions: after it, that one can commit nothing), reads the
// offset, and so knows of a request found half-way whether it was sent: it was exactly if the
// offset is its id. That holds because each program first settles all requests it finds half-way,
// and only then sends new ones. Fencing also makes a lock unnecessary: of two at once, the later
// one wins.
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
    int64_t request; // the last one sent; 0: none, or so long ago that Kafka forgot it
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
