// Whether a copy of a producer's transactional request can still be under way. librdkafka sends a
// request again, by itself and without a word, when its connection broke or its answer did not come
// in time; the first copy may arrive later all the same, and Kafka then applies it to whatever
// transaction is open.
//
// A request is told when its last byte was handed to the socket; what was written in part cannot be
// applied. An answer is told in the broker's thread, once for each sending (a second time
// elsewhere, and with an error where none came). So as long as every sending has a good answer of
// its own, each was sent once and nothing of it is left on the way. What failed leaves the two
// apart for good: a failure is no answer, and the resent request adds one to both.
#pragma once

#include <librdkafka/rdkafka.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { SENT_REQUEST_KINDS = 5 };

struct sent_requests {
    _Atomic int64_t sent[SENT_REQUEST_KINDS], answered[SENT_REQUEST_KINDS];
};

// Lets a producer that is made of `conf` count into `requests`, which must outlive it. Once a
// configuration.
void sent_requests_watch(rd_kafka_conf_t *conf, struct sent_requests *requests);
// False also when none was sent. Exact once the call that sent them has returned well: its answers
// came before.
bool sent_requests_all_answered(const struct sent_requests *requests);
