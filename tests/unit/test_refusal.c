// What a refusal of the brokers is told as: the thing, who, and the command that grants it.
#include "consumer/kafka/client.h"
#include "consumer/kafka/refusal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static rd_kafka_t *client_of(size_t count, const char *pairs[][2])
{
    struct error e;
    const struct client_properties properties = {count, pairs};
    rd_kafka_conf_t *conf = client_conf(&properties, NULL, &e);
    assert_non_null(conf);
    rd_kafka_conf_set_log_cb(conf, NULL);
    rd_kafka_t *client = client_create(RD_KAFKA_PRODUCER, conf, &e);
    assert_non_null(client);
    return client;
}

static rd_kafka_t *client_named(const char *user)
{
    const char *pairs[][2] = {{"bootstrap.servers", "a:1,b:2"},
                              {"security.protocol", "sasl_plaintext"},
                              {"sasl.mechanism", "PLAIN"},
                              {"sasl.username", user},
                              {"sasl.password", "x"}};
    return client_of(5, pairs);
}

static void expect(rd_kafka_t *client, rd_kafka_resp_err_t code, struct refusal_call call,
                   const char *text)
{
    struct error e = {0};
    assert_true(refusal_explain(client, code, &call, &e));
    assert_int_equal(e.kind, ERROR_CONFIG);
    assert_string_equal(e.text, text);
}

#define GRANT "grant it: kafka-acls --bootstrap-server a:1,b:2 --add --allow-principal "

static void test_each_resource_has_its_command(void **state)
{
    (void)state;
    rd_kafka_t *client = client_named("biller");
    expect(client, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
           (struct refusal_call){.topic = "calls", .operations = REFUSAL_READ},
           "topic calls: User:biller may not read it; " GRANT
           "User:biller --operation Read --topic calls");
    expect(client, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
           (struct refusal_call){.topic = "calls",
                                 .operations = REFUSAL_READ | REFUSAL_DESCRIBE_CONFIGS},
           "topic calls: User:biller may not see it; " GRANT
           "User:biller --operation Read --operation DescribeConfigs --topic calls");
    expect(client, RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED,
           (struct refusal_call){.topic = "calls", .operations = REFUSAL_READ, .group = "it's"},
           "group it's: User:biller may not use it; " GRANT
           "User:biller --operation Read --group 'it'\\''s'");
    expect(client, RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
           (struct refusal_call){.transactional_id = "g-relay-", .prefix = true},
           "transactional ids with the prefix g-relay-: User:biller may not use them; " GRANT
           "User:biller --operation Write --transactional-id g-relay- --resource-pattern-type "
           "prefixed");
    expect(client, RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
           (struct refusal_call){.transactional_id = "g-requeue"},
           "transactional id g-requeue: User:biller may not use it; " GRANT
           "User:biller --operation Write --transactional-id g-requeue");
    // an idempotent producer begins when it may write to a topic
    expect(client, RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED,
           (struct refusal_call){.topic = "credits", .operations = REFUSAL_WRITE},
           "topic credits: User:biller may not write to it; " GRANT
           "User:biller --operation Write --topic credits");
    expect(client, RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED,
           (struct refusal_call){.cluster = true},
           "the cluster: User:biller may not see its settings; " GRANT
           "User:biller --operation DescribeConfigs --cluster");
    rd_kafka_destroy(client);
}

static void test_whoever_is_not_known_by_name(void **state)
{
    (void)state;
    const struct refusal_call call = {.group = "g"};
    const char *plain[][2] = {{"bootstrap.servers", "a:1,b:2"}};
    rd_kafka_t *client = client_of(1, plain);
    expect(client, RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED, call,
           "group g: User:ANONYMOUS may not use it; " GRANT
           "User:ANONYMOUS --operation Read --group g");
    rd_kafka_destroy(client);
    const char *token[][2] = {{"bootstrap.servers", "a:1,b:2"},
                              {"security.protocol", "sasl_plaintext"},
                              {"sasl.mechanism", "OAUTHBEARER"},
                              {"enable.sasl.oauthbearer.unsecure.jwt", "true"}};
    client = client_of(4, token);
    expect(client, RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED, call,
           "group g: this user may not use it; " GRANT
           "User:NAME --operation Read --group g (NAME: what the brokers call this client)");
    rd_kafka_destroy(client);
}

static void test_what_is_no_refusal_is_left(void **state)
{
    (void)state;
    rd_kafka_t *client = client_named("biller");
    struct error e = {.kind = ERROR_UNAVAILABLE, .text = "as it was"};
    const struct refusal_call call = {.topic = "calls", .operations = REFUSAL_READ};
    assert_false(refusal_explain(client, RD_KAFKA_RESP_ERR__TRANSPORT, &call, &e));
    // a topic that the caller does not know the name of
    assert_false(refusal_explain(client, RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED, &call, &e));
    assert_string_equal(e.text, "as it was");
    assert_int_equal(e.kind, ERROR_UNAVAILABLE);
    rd_kafka_destroy(client);
}

static void test_a_login(void **state)
{
    (void)state;
    struct error e = {0};
    rd_kafka_t *client = client_named("biller");
    refusal_of_login(client, "invalid credentials", &e);
    assert_int_equal(e.kind, ERROR_CONFIG);
    assert_string_equal(e.text,
                        "Kafka refuses the login of User:biller (invalid credentials): mend "
                        "sasl.mechanism, sasl.username and sasl.password in "
                        "kafka.properties");
    rd_kafka_destroy(client);
    const char *scram[][2] = {{"security.protocol", "sasl_plaintext"},
                              {"sasl.mechanism", "SCRAM-SHA-256"},
                              {"sasl.username", "biller"},
                              {"sasl.password", "x"}};
    client = client_of(4, scram);
    refusal_of_login(client, "invalid credentials", &e);
    bool old = rd_kafka_version() < 0x020601ff;
    assert_true((strstr(e.text, "cannot log in by SCRAM") != NULL) == old);
    rd_kafka_destroy(client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_each_resource_has_its_command),
                                       cmocka_unit_test(test_whoever_is_not_known_by_name),
                                       cmocka_unit_test(test_what_is_no_refusal_is_left),
                                       cmocka_unit_test(test_a_login)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
