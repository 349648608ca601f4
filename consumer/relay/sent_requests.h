// Whether a copy of a producer's transactional request can still be under way. When a connection
// broke or an answer did not come in time, librdkafka sends the request again and does not say so.
// The first copy may still arrive later, and Kafka then applies it to whatever transaction is open.
//
// A request is counted when its last byte was handed to the socket; a request that was written only
// in part cannot be applied. An answer is counted in the broker's thread, once for each sending
// (librdkafka also reports it elsewhere, and reports an error where no answer came). So as long as
// every sending has a good answer of its own, each request was sent once, and no copy is on its
// way. After a failure the two counts differ for good: a failure is not an answer, and sending the
// request again adds one to both.
#pragma once

#include <librdkafka/rdkafka.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { SENT_REQUEST_KINDS = 5 };

struct sent_requests {
    _Atomic int64_t sent[SENT_REQUEST_KINDS], answered[SENT_REQUEST_KINDS];
};

// Makes a producer that is created from `conf` count into `requests`, which must outlive it. Call
// it once for each configuration.
void sent_requests_watch(rd_kafka_conf_t *conf, struct sent_requests *requests);
// Also false when none was sent. The result is exact once the call that sent the requests has
// returned without an error: their answers came before.
bool sent_requests_all_answered(const struct sent_requests *requests);
