#include "consumer/kafka/access.h"

#include "consumer/kafka/fetch_record.h"

#include <assert.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { ACCESS_MS = 5000, ID_SIZE = 400 };

struct attempt {
    const struct access_needs *needs;
    access_tell *tell;
    void *context;
    rd_kafka_t *producer;
    rd_kafka_resp_err_t written[ACCESS_TOPICS_MAX]; // what came of the record
    rd_kafka_resp_err_t read[ACCESS_TOPICS_MAX];
};

static void tell_answer(const struct attempt *t, const struct refusal_call *call, const char *what,
                        rd_kafka_resp_err_t code)
{
    struct access_answer answer = {.code = code};
    if (code && !refusal_explain(t->producer, code, call, &answer.why))
        error_set(&answer.why, ERROR_UNAVAILABLE, "whether this user may %s: %s", what,
                  rd_kafka_err2str(code));
    t->tell(t->context, &answer);
}

// ---- reading ----

static void take_read(void *context, size_t i, const rd_kafka_message_t *message)
{
    ((struct attempt *)context)->read[i] = message->err;
}

static int read_ends(struct attempt *t, struct record_fetcher *fetcher, struct error *e)
{
    const struct access_needs *needs = t->needs;
    struct partition_ends ends[ACCESS_TOPICS_MAX];
    struct record_range ranges[ACCESS_TOPICS_MAX];
    for (size_t i = 0; i < needs->read_count; i++)
        ends[i] = (struct partition_ends){.topic = needs->reads[i]};
    if (fetch_record_ends(fetcher, ends, needs->read_count, ACCESS_MS, e))
        return -1;
    // Nothing is there; whoever may not read it is told so all the same.
    for (size_t i = 0; i < needs->read_count; i++)
        ranges[i] = (struct record_range){needs->reads[i], 0, ends[i].high, ends[i].high};
    return fetch_record_ranges(fetcher, (struct record_ranges){ranges, needs->read_count},
                               ACCESS_MS, take_read, t, e);
}

int access_try_reading(const struct access_needs *needs, access_tell *tell, void *context,
                       struct error *e)
{
    struct attempt t = {.needs = needs, .tell = tell, .context = context};
    struct record_fetcher *fetcher = NULL;
    struct access_answer answer = {0};
    assert(needs->read_count <= ACCESS_TOPICS_MAX);
    if (fetch_record_open(&needs->properties, needs->groups[0], &fetcher, e))
        return -1;
    if (read_ends(&t, fetcher, &answer.why)) {
        answer.code = answer.why.kind == ERROR_CONFIG ? RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED
                                                      : RD_KAFKA_RESP_ERR__TIMED_OUT;
        tell(context, &answer);
    }
    for (size_t i = 0; i < needs->read_count; i++) {
        answer = (struct access_answer){.code = t.read[i]};
        if (fetch_record_refused(fetcher, needs->reads[i], t.read[i], &answer.why))
            tell(context, &answer);
    }
    fetch_record_close(fetcher);
    return 0;
}

// ---- writing ----

static void take_report(rd_kafka_t *producer, const rd_kafka_message_t *message, void *opaque)
{
    (void)producer;
    (void)opaque;
    *(rd_kafka_resp_err_t *)message->_private = message->err;
}

static rd_kafka_t *open_producer(const struct access_needs *needs,
                                 const struct client_properties *own,
                                 void (*report)(rd_kafka_t *, const rd_kafka_message_t *, void *),
                                 struct error *e)
{
    rd_kafka_conf_t *conf = client_conf(&needs->properties, own, e);
    if (!conf)
        return NULL;
    rd_kafka_conf_set_log_cb(conf, NULL);
    if (report)
        rd_kafka_conf_set_dr_msg_cb(conf, report);
    return client_create(RD_KAFKA_PRODUCER, conf, e);
}

static void write_records(struct attempt *t)
{
    for (size_t i = 0; i < t->needs->write_count; i++) {
        t->written[i] = RD_KAFKA_RESP_ERR__TIMED_OUT; // until it is answered
        rd_kafka_resp_err_t code = rd_kafka_producev(
            t->producer, RD_KAFKA_V_TOPIC(t->needs->writes[i]), RD_KAFKA_V_PARTITION(0),
            RD_KAFKA_V_VALUE(NULL, 0), RD_KAFKA_V_OPAQUE(&t->written[i]), RD_KAFKA_V_END);
        if (code)
            t->written[i] = code;
    }
    rd_kafka_flush(t->producer, ACCESS_MS);
    rd_kafka_purge(t->producer, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    rd_kafka_flush(t->producer, ACCESS_MS);
}

// A record with a number of acknowledgements that no broker takes is refused for the lack of a
// permission first, and appended never.
int access_try_writing(const struct access_needs *needs, access_tell *tell, void *context,
                       struct error *e)
{
    static const char *(own[])[2] = {
        {"enable.idempotence", "false"},
        {"acks", "2"},
        {"linger.ms", "0"},
        {"message.send.max.retries", "0"},
        {"message.timeout.ms", "5000"},
        {"allow.auto.create.topics", "false"},
    };
    struct attempt t = {.needs = needs, .tell = tell, .context = context};
    assert(needs->write_count <= ACCESS_TOPICS_MAX);
    t.producer = open_producer(needs, &(struct client_properties){sizeof own / sizeof *own, own},
                               take_report, e);
    if (!t.producer)
        return -1;
    write_records(&t);
    for (size_t i = 0; i < needs->write_count; i++) {
        char what[ID_SIZE];
        const struct refusal_call call = {.topic = needs->writes[i], .operations = REFUSAL_WRITE};
        bool may = t.written[i] == RD_KAFKA_RESP_ERR_INVALID_REQUIRED_ACKS;
        snprintf(what, sizeof what, "write to topic %s", needs->writes[i]);
        tell_answer(&t, &call, what, may ? RD_KAFKA_RESP_ERR_NO_ERROR : t.written[i]);
    }
    rd_kafka_destroy(t.producer);
    return 0;
}

// ---- transactions and groups ----

// Takes the error. 0: none.
static rd_kafka_resp_err_t code_of(rd_kafka_error_t *error)
{
    rd_kafka_resp_err_t code = error ? rd_kafka_error_code(error) : RD_KAFKA_RESP_ERR_NO_ERROR;
    if (error)
        rd_kafka_error_destroy(error);
    return code;
}

// An offset that nobody else has goes into the transaction, which is begun if none is open.
static rd_kafka_resp_err_t try_group(const struct attempt *t, const char *group, bool *open)
{
    rd_kafka_resp_err_t code =
        *open ? RD_KAFKA_RESP_ERR_NO_ERROR : code_of(rd_kafka_begin_transaction(t->producer));
    if (code)
        return code;
    *open = true;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, t->needs->offset_topic, 0)->offset = 0;
    rd_kafka_consumer_group_metadata_t *metadata = rd_kafka_consumer_group_metadata_new(group);
    code = code_of(rd_kafka_send_offsets_to_transaction(t->producer, list, metadata, ACCESS_MS));
    rd_kafka_consumer_group_metadata_destroy(metadata);
    rd_kafka_topic_partition_list_destroy(list);
    return code;
}

// One transaction for all groups, which is aborted: a second one would wait until the brokers have
// written that the first is over. Nothing more can be tried in one in which something was refused.
static void try_groups(const struct attempt *t)
{
    bool open = false;
    for (int i = 0; i < ACCESS_GROUPS; i++) {
        char what[ID_SIZE];
        const char *group = t->needs->groups[i];
        const struct refusal_call call = {
            .topic = t->needs->offset_topic, .operations = REFUSAL_READ, .group = group};
        rd_kafka_resp_err_t code = try_group(t, group, &open);
        if (open && (code || i == ACCESS_GROUPS - 1)) {
            (void)code_of(rd_kafka_abort_transaction(t->producer, ACCESS_MS));
            open = false;
        }
        snprintf(what, sizeof what, "use the group %s", group);
        tell_answer(t, &call, what, code);
    }
}

int access_try_transactions(const struct access_needs *needs, access_tell *tell, void *context,
                            struct error *e)
{
    char what[2 * ID_SIZE];
    struct attempt t = {.needs = needs, .tell = tell, .context = context};
    const struct refusal_call call = {.transactional_id = needs->transactional_ids, .prefix = true};
    const char *own[][2] = {{"transactional.id", needs->tried_id},
                            {"transaction.timeout.ms", "10000"},
                            {"message.timeout.ms", "10000"},
                            {"allow.auto.create.topics", "false"}};
    t.producer =
        open_producer(needs, &(struct client_properties){sizeof own / sizeof *own, own}, NULL, e);
    if (!t.producer)
        return -1;
    rd_kafka_resp_err_t code = code_of(rd_kafka_init_transactions(t.producer, ACCESS_MS));
    snprintf(what, sizeof what, "use the transactional ids %s…, and the groups",
             needs->transactional_ids);
    tell_answer(&t, &call, what, code);
    if (!code)
        try_groups(&t);
    rd_kafka_destroy(t.producer);
    return 0;
}
