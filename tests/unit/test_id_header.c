// Which header names a record's schema: on messages as librdkafka consumes them, compared with
// librdkafka's own reading of the headers.
#include "consumer/kafka/id_header.h"

#include "tests/lib/mock_brokers.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { WAIT_MS = 30000, LONG = 100000, RECORDS = 6, NAMED = 3, PLAIN = 0 };

static const char named[] = "apicurio.value.globalId";

// As the records are produced, in this order. NULL: none.
static const struct {
    const char *key, *header;
    size_t value_size;
} records[RECORDS] = {
    [PLAIN] = {"acct-1", NULL, 40},  {"acct-2", "trace", 40}, {"a", NULL, LONG},
    [NAMED] = {"acct-3", named, 40}, {NULL, named, 40},       {"acct-4", NULL, 0},
};

struct fixture {
    rd_kafka_t *client, *consumer;
    rd_kafka_message_t *messages[RECORDS];
};

static rd_kafka_t *create(rd_kafka_type_t type, const char *brokers, const char *codec)
{
    char why[512];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "bootstrap.servers", brokers, why, sizeof why);
    rd_kafka_conf_set(conf, "log_level", "0", why, sizeof why);
    if (type == RD_KAFKA_PRODUCER)
        rd_kafka_conf_set(conf, "compression.codec", codec, why, sizeof why);
    else
        rd_kafka_conf_set(conf, "group.id", "headers", why, sizeof why);
    rd_kafka_t *client = rd_kafka_new(type, conf, why, sizeof why);
    assert_non_null(client);
    return client;
}

static void produce(const char *brokers, const char *codec)
{
    static char value[LONG];
    rd_kafka_t *producer = create(RD_KAFKA_PRODUCER, brokers, codec);
    for (size_t i = 0; i < RECORDS; i++) {
        const char *name = records[i].header;
        char key[16] = ""; // the library's macro takes no const
        bool has_key = records[i].key != NULL;
        rd_kafka_headers_t *headers = rd_kafka_headers_new(1);
        if (has_key)
            snprintf(key, sizeof key, "%s", records[i].key);
        if (name)
            assert_int_equal(rd_kafka_header_add(headers, name, -1, "7", 1), 0);
        assert_int_equal(rd_kafka_producev(producer, RD_KAFKA_V_TOPIC("calls"),
                                           RD_KAFKA_V_PARTITION(0),
                                           RD_KAFKA_V_KEY(has_key ? key : NULL, strlen(key)),
                                           RD_KAFKA_V_VALUE(value, records[i].value_size),
                                           RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_END),
                         0);
    }
    assert_int_equal(rd_kafka_flush(producer, WAIT_MS), 0);
    rd_kafka_destroy(producer);
}

static void consume(struct fixture *f, const char *brokers)
{
    f->consumer = create(RD_KAFKA_CONSUMER, brokers, NULL);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, "calls", 0)->offset = 0;
    assert_int_equal(rd_kafka_assign(f->consumer, list), 0);
    rd_kafka_topic_partition_list_destroy(list);
    for (int i = 0; i < RECORDS; i++) {
        f->messages[i] = rd_kafka_consumer_poll(f->consumer, WAIT_MS);
        assert_non_null(f->messages[i]);
        assert_int_equal(f->messages[i]->err, 0);
        assert_int_equal(f->messages[i]->len, records[i].value_size);
    }
}

static void begin(struct fixture *f, const char *codec)
{
    rd_kafka_mock_cluster_t *cluster;
    f->client = mock_brokers_start(&cluster);
    const char *brokers = rd_kafka_mock_cluster_bootstraps(cluster);
    assert_int_equal(rd_kafka_mock_topic_create(cluster, "calls", 1, 1), 0);
    produce(brokers, codec);
    consume(f, brokers);
}

static void end(struct fixture *f)
{
    for (int i = 0; i < RECORDS; i++)
        rd_kafka_message_destroy(f->messages[i]);
    rd_kafka_consumer_close(f->consumer);
    rd_kafka_destroy(f->consumer);
    rd_kafka_destroy(f->client);
}

// What librdkafka says of it.
static bool is_named(const rd_kafka_message_t *message)
{
    rd_kafka_headers_t *headers;
    const void *value;
    size_t size;
    return !rd_kafka_message_headers(message, &headers) &&
           !rd_kafka_header_get_last(headers, named, &value, &size);
}

static void test_each_record_is_answered_as_by_librdkafka(void **state)
{
    static const char *const codecs[] = {"none", "lz4"};
    (void)state;
    for (size_t c = 0; c < sizeof codecs / sizeof *codecs; c++) {
        struct fixture f;
        begin(&f, codecs[c]);
        for (int i = 0; i < RECORDS; i++) {
            uint8_t number = id_header_of(f.messages[i]);
            assert_int_equal(number != 0, is_named(f.messages[i]));
            assert_int_equal(number != 0, records[i].header == named);
            if (number)
                assert_non_null(strstr(id_header_text(number), named));
        }
        end(&f);
    }
}

// librdkafka reads the headers of a message once and keeps them. So once they are read, it does not
// notice that their count is overwritten, and who looks at the count itself does.
static void test_the_count_behind_the_value_is_looked_at(void **state)
{
    struct fixture f;
    (void)state;
    begin(&f, "lz4");
    rd_kafka_message_t *message = f.messages[NAMED];
    assert_true(is_named(message));
    uint8_t *count = (uint8_t *)message->payload + message->len;
    assert_int_equal(*count, 2); // one, as a zigzag varint
    *count = 0;
    assert_true(is_named(message));
    assert_int_equal(id_header_of(message), 0);
    end(&f);
}

// A message that does not lie in its batch may have anything behind its value.
static void test_elsewhere_nothing_is_taken_for_a_count(void **state)
{
    // key, length, value, what would be the count of headers
    static struct {
        char bytes[16];
        size_t key_size, gap, size;
    } layouts[] = {
        {"k\4xx\0", 1, 1, 2}, // lies in its batch
        {"k\6xx\0", 1, 1, 2}, // another length
        {"k\5xx\0", 1, 1, 2}, // a negative one
        {"kxx\0", 1, 0, 2}, // none
        {"k\0\0\0\2xx\0", 1, 4, 2}, // as in formats 0 and 1
        {"k\4\0xx\0", 1, 2, 2}, // the length ends before
        {"k\204xx\0", 1, 1, 2}, // the length does not end
        {"k\204\200\200\200\200\0xx\0", 1, 6, 2}, // too long for a length
    };
    struct fixture f;
    (void)state;
    begin(&f, "none");
    rd_kafka_message_t *message = f.messages[NAMED];
    for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++) {
        message->key = layouts[i].bytes;
        message->key_len = layouts[i].key_size;
        message->payload = layouts[i].bytes + layouts[i].key_size + layouts[i].gap;
        message->len = layouts[i].size;
        assert_int_equal(id_header_of(message) == 0, i == 0);
    }
    end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_record_is_answered_as_by_librdkafka),
        cmocka_unit_test(test_the_count_behind_the_value_is_looked_at),
        cmocka_unit_test(test_elsewhere_nothing_is_taken_for_a_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
