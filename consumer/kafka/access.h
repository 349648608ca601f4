// Whether this user may do what the daemon does. Brokers do not tell an application what it may do,
// so each thing is tried, in a way that leaves nothing behind. Blocking, with bounded time.
#pragma once

#include "consumer/kafka/client.h"
#include "consumer/kafka/refusal.h"

enum { ACCESS_TOPICS_MAX = 16, ACCESS_GROUPS = 2 };

struct access_needs { // borrowed
    struct client_properties properties;
    const char *reads[ACCESS_TOPICS_MAX], *writes[ACCESS_TOPICS_MAX]; // topics
    size_t read_count, write_count;
    const char *groups[ACCESS_GROUPS]; // the first is read with
    const char *transactional_ids; // that all of them begin with
    const char *tried_id; // one that no producer has, so that none is fenced
    const char *offset_topic; // that no group has offsets of; it is read, too
};

// Of one thing that was tried. code 0: it may. Otherwise `why` says what it may not, with the
// command that grants it (ERROR_CONFIG), or why that is not known (ERROR_UNAVAILABLE).
struct access_answer {
    rd_kafka_resp_err_t code;
    struct error why;
};
typedef void access_tell(void *context, const struct access_answer *answer);

// Errors: ERROR_CONFIG for properties that librdkafka refuses; what cannot be had is told.
int access_try_reading(const struct access_needs *needs, access_tell *tell, void *context,
                       struct error *e);
int access_try_writing(const struct access_needs *needs, access_tell *tell, void *context,
                       struct error *e);
// The transactional ids, and then the groups.
int access_try_transactions(const struct access_needs *needs, access_tell *tell, void *context,
                            struct error *e);
