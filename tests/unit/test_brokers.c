#include "consumer/preflight/brokers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

// For each version the settings that identify it; the rest of some three hundred settings is left
// out.
#define ANY                                                                                        \
    {"log.dirs", "/data"},                                                                         \
    {                                                                                              \
        "transaction.state.log.num.partitions", "50"                                               \
    }
#define VERIFIES                                                                                   \
    {                                                                                              \
        "transaction.partition.verification.enable", "true"                                        \
    }
#define VERIFIES_NOT                                                                               \
    {                                                                                              \
        "transaction.partition.verification.enable", "false"                                       \
    }
#define SINCE_3_7                                                                                  \
    {                                                                                              \
        "telemetry.max.bytes", "1048576"                                                           \
    }
#define SINCE_3_8                                                                                  \
    {                                                                                              \
        "group.coordinator.append.linger.ms", "10"                                                 \
    }
#define CLASSIC                                                                                    \
    {                                                                                              \
        "group.coordinator.rebalance.protocols", "classic"                                         \
    }
#define CONSUMER                                                                                   \
    {                                                                                              \
        "group.coordinator.rebalance.protocols", "classic, consumer"                               \
    }

static const struct row {
    const char *broker;
    enum broker_fencing expected;
    rd_kafka_resp_err_t trouble;
    const char *settings[8][2];
} rows[] = {
    {"2.8", BROKER_BEFORE_3_6, 0, {ANY, {"inter.broker.protocol.version", "2.8"}}},
    {"3.5", BROKER_BEFORE_3_6, 0, {ANY}},
    {"3.6", BROKER_BEFORE_3_7, 0, {ANY, VERIFIES}},
    {"3.6, switched off", BROKER_UNVERIFIED, 0, {ANY, VERIFIES_NOT}},
    {"3.7", BROKER_FENCES, 0, {ANY, VERIFIES, SINCE_3_7, CLASSIC}},
    {"3.7, switched off", BROKER_UNVERIFIED, 0, {ANY, VERIFIES_NOT, SINCE_3_7, CLASSIC}},
    {"3.7, the early coordinator", BROKER_PREVIEWS, 0, {ANY, VERIFIES, SINCE_3_7, CONSUMER}},
    {"3.7, the same by its older name",
     BROKER_PREVIEWS,
     0,
     {ANY, VERIFIES, SINCE_3_7, CLASSIC, {"group.coordinator.new.enable", "true"}}},
    {"3.8", BROKER_FENCES, 0, {ANY, VERIFIES, SINCE_3_7, SINCE_3_8, CLASSIC}},
    {"3.8, the preview", BROKER_FENCES, 0, {ANY, VERIFIES, SINCE_3_7, SINCE_3_8, CONSUMER}},
    {"4.1", BROKER_FENCES, 0, {ANY, VERIFIES, SINCE_3_7, SINCE_3_8, CONSUMER}},
    {"4.1, switched off",
     BROKER_UNVERIFIED,
     0,
     {ANY, VERIFIES_NOT, SINCE_3_7, SINCE_3_8, CONSUMER}},
    {"4.1, the value is kept secret",
     BROKER_UNVERIFIED,
     0,
     {ANY, {"transaction.partition.verification.enable", ""}, SINCE_3_7, SINCE_3_8}},
    {"of another make",
     BROKER_OF_ANOTHER_MAKE,
     0,
     {{"advertised.listeners", "x:9092"}, {"log.segment.bytes", "1"}}},
    {"without any setting", BROKER_OF_ANOTHER_MAKE, 0, {{NULL, NULL}}},
    {"that does not answer",
     BROKER_KEEPS_SILENT,
     RD_KAFKA_RESP_ERR__TIMED_OUT,
     {ANY, VERIFIES, SINCE_3_7}},
    {"that closes the connection",
     BROKER_KEEPS_SILENT,
     RD_KAFKA_RESP_ERR__TRANSPORT,
     {{NULL, NULL}}},
    {"without the permission",
     BROKER_FORBIDS,
     RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED,
     {{NULL, NULL}}},
};

static enum broker_fencing judged(const struct row *row)
{
    char texts[8][2][64];
    struct admin_setting list[8];
    struct admin_broker broker = {.id = 1, .trouble = row->trouble, .settings = {.list = list}};
    for (size_t i = 0; i < 8 && row->settings[i][0]; i++) {
        for (size_t j = 0; j < 2; j++)
            snprintf(texts[i][j], sizeof texts[i][j], "%s", row->settings[i][j]);
        list[broker.settings.count++] =
            (struct admin_setting){.name = texts[i][0], .value = texts[i][1]};
    }
    return broker_fencing(&broker);
}

static void test_a_broker_is_judged_by_its_settings(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        enum broker_fencing found = judged(&rows[i]);
        if (found != rows[i].expected)
            fail_msg("a broker %s is judged %d, not %d", rows[i].broker, (int)found,
                     (int)rows[i].expected);
    }
}

// A broker that lets late requests in is refused. If its settings cannot be seen, that is only a
// warning; otherwise a cluster that does not show its brokers' settings could not be used at all.
static void test_each_verdict_says_what_to_do(void **state)
{
    (void)state;
    assert_null(broker_verdicts[BROKER_FENCES].text);
    for (int what = BROKER_FENCES + 1; what < BROKER_FENCINGS; what++) {
        const struct broker_verdict *verdict = &broker_verdicts[what];
        assert_non_null(verdict->text);
        assert_non_null(strchr(verdict->text, ';')); // the remedy
        assert_int_equal(verdict->refused, what < BROKER_OF_ANOTHER_MAKE);
        assert_int_equal(verdict->refused, strstr(verdict->text, "is not shown") == NULL);
    }
    static const struct {
        enum broker_fencing what;
        const char *words;
    } said[] = {
        {BROKER_BEFORE_3_6, "older than Apache Kafka 3.6 ("},
        {BROKER_BEFORE_3_7, "older than Apache Kafka 3.7 ("},
        {BROKER_PREVIEWS, "Apache Kafka 3.7 with the early group coordinator"},
        {BROKER_UNVERIFIED, "a late request of an earlier transaction can lose records, or publish "
                            "them twice"},
    };
    for (size_t i = 0; i < sizeof said / sizeof *said; i++)
        if (!strstr(broker_verdicts[said[i].what].text, said[i].words))
            fail_msg("%s", broker_verdicts[said[i].what].text);
    assert_non_null(strstr(broker_verdicts[BROKER_FORBIDS].text, "DescribeConfigs on the cluster"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_broker_is_judged_by_its_settings),
        cmocka_unit_test(test_each_verdict_says_what_to_do),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
