#include "consumer/relay/sent_requests.h"

// The keys of Kafka's protocol. InitProducerId is not counted: a late one raises the epoch, which
// fences us and does no harm.
static const int16_t api_keys[SENT_REQUEST_KINDS] = {
    0, // Produce
    24, // AddPartitionsToTxn
    25, // AddOffsetsToTxn
    26, // EndTxn
    28, // TxnOffsetCommit
};

// librdkafka reports each answer in the thread of its broker, and for some requests again in its
// main thread.
static _Thread_local bool is_broker_thread;

static int kind_of(int16_t api_key)
{
    for (int kind = 0; kind < SENT_REQUEST_KINDS; kind++)
        if (api_keys[kind] == api_key)
            return kind;
    return -1;
}

static rd_kafka_resp_err_t on_thread_start(rd_kafka_t *client, rd_kafka_thread_type_t type,
                                           const char *name, void *context)
{
    (void)client;
    (void)name;
    (void)context;
    is_broker_thread = type == RD_KAFKA_THREAD_BROKER;
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

static rd_kafka_resp_err_t on_sent(rd_kafka_t *client, int socket, const char *broker,
                                   int32_t broker_id, int16_t api_key, int16_t version,
                                   int32_t correlation, size_t size, void *context)
{
    (void)client;
    (void)socket;
    (void)broker;
    (void)broker_id;
    (void)version;
    (void)correlation;
    (void)size;
    struct sent_requests *requests = context;
    int kind = kind_of(api_key);
    if (kind >= 0)
        atomic_fetch_add(&requests->sent[kind], 1);
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

static rd_kafka_resp_err_t on_answer(rd_kafka_t *client, int socket, const char *broker,
                                     int32_t broker_id, int16_t api_key, int16_t version,
                                     int32_t correlation, size_t size, int64_t round_trip_us,
                                     rd_kafka_resp_err_t failure, void *context)
{
    (void)client;
    (void)socket;
    (void)broker;
    (void)broker_id;
    (void)version;
    (void)correlation;
    (void)round_trip_us;
    struct sent_requests *requests = context;
    int kind = kind_of(api_key);
    bool good = failure == RD_KAFKA_RESP_ERR_NO_ERROR && size > 0;
    if (kind >= 0 && good && is_broker_thread)
        atomic_fetch_add(&requests->answered[kind], 1);
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

// Called before any thread of the client is started.
static rd_kafka_resp_err_t on_new(rd_kafka_t *client, const rd_kafka_conf_t *conf, void *context,
                                  char *why, size_t why_size)
{
    static const char name[] = "settled";
    (void)conf;
    (void)why;
    (void)why_size;
    rd_kafka_resp_err_t code =
        rd_kafka_interceptor_add_on_thread_start(client, name, on_thread_start, context);
    if (!code)
        code = rd_kafka_interceptor_add_on_request_sent(client, name, on_sent, context);
    if (!code)
        code = rd_kafka_interceptor_add_on_response_received(client, name, on_answer, context);
    return code;
}

void sent_requests_watch(rd_kafka_conf_t *conf, struct sent_requests *requests)
{
    rd_kafka_conf_interceptor_add_on_new(conf, "settled", on_new, requests);
}

bool sent_requests_all_answered(const struct sent_requests *requests)
{
    int64_t answers = 0;
    for (int kind = 0; kind < SENT_REQUEST_KINDS; kind++) {
        int64_t answered = atomic_load(&requests->answered[kind]);
        if (atomic_load(&requests->sent[kind]) != answered)
            return false;
        answers += answered;
    }
    return answers > 0; // otherwise nothing was counted, and nothing is known
}
