// Kafka clients as all parts of the program use them. Properties apply in order, and later ones
// win. librdkafka's own log lines and errors go to our log.
#pragma once

#include "pricing/error.h"

#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stddef.h>

struct client_properties {
    size_t count;
    const char *(*pairs)[2]; // name and value
};

// Builds a configuration from `ours`, then `theirs`. Errors (ERROR_CONFIG) name the property. NULL
// with *e.
rd_kafka_conf_t *client_conf(const struct client_properties *ours,
                             const struct client_properties *theirs, struct error *e);
// Takes the configuration, also on error. NULL with *e.
rd_kafka_t *client_create(rd_kafka_type_t type, rd_kafka_conf_t *conf, struct error *e);
// A consumer that joins nothing, commits nothing, logs nothing, and is told where partitions end;
// `ours` are its own properties on top. No property of `theirs` can change where it reads. NULL
// with *e.
rd_kafka_t *client_create_reader(const struct client_properties *theirs, const char *group,
                                 const struct client_properties *ours, struct error *e);
// Destroys a consumer that joined nothing without closing it: there is nothing to leave, and
// closing can hang.
void client_destroy_reader(rd_kafka_t *reader);

// Whether an error that a consumer is given instead of a record is temporary: the leader moves, its
// disk or the remote tier does not answer. librdkafka goes on asking for the same offset. Such an
// error says nothing about what the log holds.
bool client_error_passes(rd_kafka_resp_err_t code);

// Why the transaction under way can only be aborted; 0: it goes on. librdkafka does not tell its
// records' senders.
rd_kafka_resp_err_t client_transaction_trouble(rd_kafka_t *producer);

// Asks once for the offsets that the consumer's group has committed. librdkafka 2.0.2 gives up on
// an offset that is not stable yet after a few tries and then calls it success, with the error only
// on the partition; and that the group may not be used is only an event. `pause_ms`: before it
// returns an error.
rd_kafka_resp_err_t client_committed(rd_kafka_t *consumer, rd_kafka_topic_partition_list_t *list,
                                     int timeout_ms, int pause_ms);

// Partitions of a topic. Errors: ERROR_UNAVAILABLE, or ERROR_CONFIG for a topic that does not
// exist.
int client_partitions(rd_kafka_t *client, const char *topic, int timeout_ms, int32_t *out,
                      struct error *e);

// A topic with another count of partitions than the deployment: an ERROR_CONFIG with what helps.
int client_wrong_count(const char *topic, int32_t found, int32_t recorded, struct error *e);

// A log that begins behind an offset that is needed: an ERROR_CONFIG that says so.
int client_not_kept(const char *topic, int32_t partition, int64_t first, int64_t needed,
                    const char *remedy, struct error *e);

// Whether a consumer of this user is told of the topic: brokers hide those that it has no
// permission for, as if they did not exist. True also when that cannot be asked.
bool client_may_see(rd_kafka_t *consumer, const char *topic, int timeout_ms);

// One end of a partition of each of `count` topics. Unlike librdkafka's query of watermarks, this
// ends when its time is over. If the leader is not known or moves meanwhile, the new leader is
// found and asked. ERROR_UNAVAILABLE: names the topic.
struct ends_query {
    size_t count;
    const char *const *topics;
    int32_t partition;
    // As its leader answers: RD_KAFKA_OFFSET_BEGINNING, the first offset kept, or
    // RD_KAFKA_OFFSET_END, the one after the last (after the last stable one, for a client that
    // reads committed records only), or a timestamp (ms, not negative): the first offset at or past
    // it, below the last stable one; negative where there is none.
    int64_t which;
    int timeout_ms;
};
int client_ends(rd_kafka_t *client, const struct ends_query *query, int64_t *out, struct error *e);
// Makes a reader of the partition fetch at once. When its queue was full, librdkafka's thread
// sleeps for up to a second; that the queue is empty meanwhile does not wake it, but a question to
// the leader does. Takes as long as the answer, at most a tenth of a second.
void client_wake(rd_kafka_t *client, const char *topic, int32_t partition);
// Whether the log begins behind the offset now: records may have expired since it was found. False
// also where the brokers do not say. *first: where it begins.
bool client_begins_later(rd_kafka_t *client, const char *topic, int32_t partition, int64_t offset,
                         int timeout_ms, int64_t *first);
