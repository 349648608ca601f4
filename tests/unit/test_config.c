#include "consumer/config/config.h"
#include "consumer/config/config_recorded.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define MINIMAL "billing: {first_day: 2026-11-01}\n"

struct fixture {
    char folder[64], file[96];
    struct config config;
    struct error e;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    snprintf(f->folder, sizeof f->folder, "/tmp/settled-config-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    snprintf(f->file, sizeof f->file, "%s/c.yaml", f->folder);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    config_free(&f->config);
    unlink(f->file);
    rmdir(f->folder);
    free(f);
    return 0;
}

static void write_file(const char *path, const char *text, size_t size)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static int load(struct fixture *f, const char *text)
{
    write_file(f->file, text, strlen(text));
    config_free(&f->config);
    return config_load(f->file, 0, NULL, &f->config, &f->e);
}

static int load_with(struct fixture *f, const char *override)
{
    write_file(f->file, MINIMAL, strlen(MINIMAL));
    config_free(&f->config);
    return config_load(f->file, 1, &override, &f->config, &f->e);
}

static const char *property(const struct fixture *f, const char *name)
{
    for (size_t i = 0; i < f->config.property_count; i++)
        if (strcmp(f->config.property_names[i], name) == 0)
            return f->config.property_values[i];
    return NULL;
}

static void assert_thresholds(const struct thresholds *found, const char *expected)
{
    char text[THRESHOLDS_TEXT_SIZE];
    assert_string_equal(thresholds_format(found, ",", text), expected);
}

static void has_defaults(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(load(f, MINIMAL), 0);
    const struct config *c = &f->config;
    assert_string_equal(c->brokers, "127.0.0.1:9092");
    assert_string_equal(c->group, "settled");
    assert_int_equal(c->property_count, 0);
    assert_string_equal(c->input_topics[INPUT_CALLS], "call-records");
    assert_string_equal(c->input_topics[INPUT_PURCHASES], "package-purchases");
    assert_string_equal(c->input_topics[INPUT_CREDITS], "account-credits");
    assert_string_equal(c->output_topics[OUTPUT_SETTLEMENTS], "settlements");
    assert_string_equal(c->output_topics[OUTPUT_STATUS], "account-status");
    assert_string_equal(c->output_topics[OUTPUT_DAY_CLOSES], "day-closes");
    assert_string_equal(c->output_topics[OUTPUT_REJECTS], "rejects");
    assert_string_equal(c->output_topics[OUTPUT_NOTICES], "account-notices");
    assert_string_equal(c->output_topics[OUTPUT_STATEMENTS], "account-statements");
    assert_int_equal(c->partitioner, PARTITIONER_MURMUR2);
    assert_int_equal(c->registry.url_count, 1);
    assert_string_equal(c->registry.urls[0], "http://127.0.0.1:8081");
    assert_null(c->registry.directory);
    assert_int_equal(c->registry.timeout_ms, 5000);
    assert_string_equal(c->dsns[0], "postgresql:///settled");
    assert_int_equal(c->first_day, 20758); // 2026-11-01
    assert_int_equal(c->parameters.from_day, DAY_NONE);
    assert_int_equal(c->parameters.grace_ms, 300000);
    assert_int_equal(c->parameters.late_days, 7);
    assert_int_equal(c->parameters.future_tolerance_ms, 300000);
    assert_int_equal(c->parameters.credit_days, 400);
    assert_int_equal(c->parameters.max_reject_share_ppm, 10000);
    assert_int_equal(c->parameters.max_refused_share_ppm, 200000);
    assert_thresholds(&c->parameters.notices.package_left, "20,5,0");
    assert_thresholds(&c->parameters.notices.expiring_days, "30,7,1");
    assert_thresholds(&c->parameters.notices.balance_below, "");
    assert_int_equal(c->timestamps, TIMESTAMPS_LOG_APPEND);
    assert_int_equal(c->framing, FRAMING_CONFLUENT);
    assert_int_equal(c->patience_ms, 3600000);
    assert_int_equal(c->workers, 0);
    assert_int_equal(c->max_calls_held, 50000000);
    assert_int_equal(c->open_transaction_wait_ms, 15 * 60000);
    assert_string_equal(c->snapshots, "");
    assert_string_equal(c->http_listen, "127.0.0.1:9464");
    assert_string_equal(c->http_advertise, "");
    assert_null(c->http_tokens);
    assert_int_equal(c->log_level, LOG_INFO);
    assert_int_equal(c->log_format, LOG_LOGFMT);
}

static void reads_every_key(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(
        load(f,
             "kafka: {brokers: 'a:1,b:2', group: g, properties: {linger.ms: 5, sasl.password: p}}\n"
             "topics: {calls: t1, purchases: t2, credits: t3, settlements: t4, status: t5,\n"
             "  day_closes: t6, rejects: t7, notices: t8, statements: t9, partitioner: crc32}\n"
             "schemas: {registry: [http://a:1, https://b/path/], user: u, password: p, ca_file: "
             "/ca,\n"
             "  timeout: 250ms, framing: apicurio, patience: 90m}\n"
             "postgres: {dsn: host=db user=u}\n"
             "pricing: {book: /b.yaml}\n"
             "billing: {first_day: 2026-11-02, grace: 90s, late_days: 0, future_tolerance: 2h,\n"
             "  credit_days: 31, max_reject_share: 0.25%, max_refused_share: 35%, timestamps: "
             "create}\n"
             "notices: {package_left: [10, 50], expiring_days: 3, balance_below: [0, "
             "10000000000000]}\n"
             "run: {workers: 3, max_calls_held: 4000000000, open_transaction_wait: 90s,\n"
             "      snapshots: /s}\n"
             "http: {listen: '', advertise: 'h:1', tokens: /t}\n"
             "log: {level: debug, format: json}\n"),
        0);
    const struct config *c = &f->config;
    assert_string_equal(c->brokers, "a:1,b:2");
    assert_string_equal(property(f, "linger.ms"), "5");
    assert_string_equal(property(f, "sasl.password"), "p");
    assert_string_equal(c->output_topics[OUTPUT_DAY_CLOSES], "t6");
    assert_string_equal(c->output_topics[OUTPUT_NOTICES], "t8");
    assert_string_equal(c->output_topics[OUTPUT_STATEMENTS], "t9");
    assert_int_equal(c->partitioner, PARTITIONER_CRC32);
    assert_int_equal(c->registry.url_count, 2);
    assert_string_equal(c->registry.urls[1], "https://b/path");
    assert_string_equal(c->registry.password, "p");
    assert_int_equal(c->registry.timeout_ms, 250);
    assert_string_equal(c->dsns[0], "host=db user=u");
    assert_int_equal(c->parameters.grace_ms, 90000);
    assert_int_equal(c->parameters.late_days, 0);
    assert_int_equal(c->parameters.future_tolerance_ms, 7200000);
    assert_int_equal(c->parameters.credit_days, 31);
    assert_int_equal(c->parameters.max_reject_share_ppm, 2500);
    assert_int_equal(c->parameters.max_refused_share_ppm, 350000);
    assert_thresholds(&c->parameters.notices.package_left, "50,10");
    assert_thresholds(&c->parameters.notices.expiring_days, "3");
    assert_thresholds(&c->parameters.notices.balance_below, "10000000000000,0");
    assert_int_equal(c->timestamps, TIMESTAMPS_CREATE);
    assert_int_equal(c->framing, FRAMING_APICURIO);
    assert_int_equal(c->patience_ms, 5400000);
    assert_int_equal(c->workers, 3);
    assert_int_equal(c->max_calls_held, INT64_C(4000000000));
    assert_int_equal(c->open_transaction_wait_ms, 90000);
    assert_string_equal(c->snapshots, "/s");
    assert_string_equal(c->http_listen, "");
    assert_string_equal(c->http_advertise, "h:1");
    assert_string_equal(c->http_tokens, "/t");
    assert_int_equal(c->log_level, LOG_DEBUG);
    assert_int_equal(c->log_format, LOG_JSON);
}

// Each mistake with the text that follows the file's name.
static const struct {
    const char *yaml, *message;
} mistakes[] = {
    {"kafka: {broker: x}\n" MINIMAL, ":1:9: kafka.broker: unknown key; did you mean brokers?"},
    {"kafka: {zzz: x}\n" MINIMAL,
     ":1:9: kafka.zzz: unknown key; known are brokers, group, properties"},
    {"kafak: {}\n" MINIMAL, ":1:1: kafak: unknown section; did you mean kafka?"},
    {"kafka: {group: a, group: b}\n" MINIMAL, ":1:19: kafka.group: is given here a second time"},
    {MINIMAL "billing: {}\n", ":2:1: billing: is given here a second time"},
    {"kafka: {group: }\n" MINIMAL, ":1:16: kafka.group: has no value"},
    {"kafka: {group: ''}\n" MINIMAL, ":1:16: kafka.group: is empty"},
    {"kafka: {group: [a]}\n" MINIMAL, ":1:16: kafka.group: is not a single value"},
    {"kafka: {properties: 1}\n" MINIMAL,
     ":1:21: kafka.properties: is a map of librdkafka properties"},
    {"kafka: [a]\n" MINIMAL, ":1:8: kafka: is not a map of keys"},
    {"- a\n", ":1:1: is not a map of sections"},
    {"kafka: {[a]: b}\n" MINIMAL, ":1:9: a key must be a plain word"},
    {"kafka: {\n", ":2:1: not YAML: while parsing a flow node, did not find expected node content"},
    {MINIMAL "---\na: b\n", ":3:1: a second document begins; one is read"},
    {"", ": billing.first_day: is missing; write for example 2026-11-01"},
    {"billing: {first_day: 2026-02-30}\n",
     ":1:22: billing.first_day: is not a date; write it as 2026-11-01"},
    {"billing: {first_day: 2026-11-01, grace: 5}\n",
     ":1:41: billing.grace: is not a duration; write a whole number and ms, s, m, h or d, as 5m"},
    {"billing: {first_day: 2026-11-01, grace: -5m}\n",
     ":1:41: billing.grace: is not a duration; write a whole number and ms, s, m, h or d, as 5m"},
    {"billing: {first_day: 2026-11-01, grace: 24h}\n",
     ":1:41: billing.grace: is not within 0s to 86399999ms"},
    {"billing: {first_day: 2026-11-01, grace: 99999999999999999999d}\n",
     ":1:41: billing.grace: is not a duration; write a whole number and ms, s, m, h or d, as 5m"},
    {"billing: {first_day: 2026-11-01, grace: 23h, future_tolerance: 1h}\n",
     ":1:41: billing.grace: together with billing.future_tolerance is 24 h or more; a replay could "
     "not find the first "
     "call of a day; make one smaller"},
    {"billing: {first_day: 2026-11-01, late_days: 367}\n",
     ":1:45: billing.late_days: is not within 0 to 366"},
    {"billing: {first_day: 2026-11-01, late_days: 1.5}\n",
     ":1:45: billing.late_days: is not a whole number"},
    {"billing: {first_day: 2026-11-01, late_days: 0x7}\n",
     ":1:45: billing.late_days: is not a whole number"},
    {"billing: {first_day: 2026-11-01, max_reject_share: 0.01}\n",
     ":1:52: billing.max_reject_share: is not a share; write a percentage with up to four "
     "decimals, as 0.5%"},
    {"billing: {first_day: 2026-11-01, max_reject_share: 101%}\n",
     ":1:52: billing.max_reject_share: is not within 0% to 100%"},
    {"billing: {first_day: 2026-11-01, timestamps: append}\n",
     ":1:46: billing.timestamps: 'append' is none of log-append, create"},
    {"topics: {calls: a/b}\n" MINIMAL,
     ":1:17: topics.calls: is not a topic name; it has up to 249 of a-z A-Z 0-9 . _ -"},
    {"topics: {calls: same, rejects: same}\n" MINIMAL,
     ":1:32: topics.rejects: is the topic of topics.calls too; each needs its own"},
    {"topics: {partitioner: random}\n" MINIMAL,
     ":1:23: topics.partitioner: 'random' is none of murmur2, crc32"},
    {"schemas: {registry: localhost}\n" MINIMAL,
     ":1:21: schemas.registry: 'localhost' is not an URL that begins with http:// or https://"},
    {"schemas: {registry: 'http://u:secret@h'}\n" MINIMAL,
     ":1:21: schemas.registry: an URL carries no user or password; give them as schemas.user and "
     "schemas.password"},
    {"schemas: {registry: []}\n" MINIMAL, ":1:21: schemas.registry: is an empty list"},
    {"schemas: {registry: http://a, directory: d}\n" MINIMAL,
     ":1:42: schemas.directory: is set together with schemas.registry; keep one of them"},
    {"schemas: {password: x}\n" MINIMAL, ":1:21: schemas.password: is set without schemas.user"},
    {"schemas: {timeout: 1h}\n" MINIMAL, ":1:20: schemas.timeout: is not within 100ms to 1m"},
    {"postgres: {dsn: []}\n" MINIMAL, ":1:17: postgres.dsn: is an empty list"},
    {"postgres: {dsn: ['dbname=a', 'dbname=a']}\n" MINIMAL,
     ":1:30: postgres.dsn: names the same database twice"},
    {"postgres: {dsn: ['dbname=a', '']}\n" MINIMAL, ":1:30: postgres.dsn: is empty"},
    {"postgres: {dsn: [a=1]}\n" MINIMAL,
     ":1:18: postgres.dsn: is not a libpq connection string; write "
     "postgresql://USER@HOST/DATABASE"},
    {"postgres: {dsn: [dbname=1, dbname=2, dbname=3, dbname=4, dbname=5, dbname=6, dbname=7, "
     "dbname=8, dbname=9, dbname=10, dbname=11, dbname=12, dbname=13, dbname=14, dbname=15, "
     "dbname=16, dbname=17]}\n" MINIMAL,
     ":1:185: postgres.dsn: names more than 16 databases"},
    {"postgres: {dsn: 'host=h password=se cret'}\n" MINIMAL,
     ":1:17: postgres.dsn: is not a libpq connection string; write "
     "postgresql://USER@HOST/DATABASE"},
    {"notices: {package_left: [20, 100]}\n" MINIMAL,
     ":1:30: notices.package_left: is not within 0 to 99"},
    {"notices: {expiring_days: [1, 1]}\n" MINIMAL, ":1:30: notices.expiring_days: has 1 twice"},
    {"notices: {expiring_days: [0]}\n" MINIMAL,
     ":1:27: notices.expiring_days: is not within 1 to 366"},
    {"notices: {balance_below: [-1]}\n" MINIMAL,
     ":1:27: notices.balance_below: is not a list of whole numbers, as [20, 5]"},
    {"notices: {balance_below: 1; 2}\n" MINIMAL,
     ":1:26: notices.balance_below: is not a list of whole numbers, as [20, 5]"},
    {"notices: {balance_below: [1, 2, 3, 4, 5, 6, 7, 8, 9]}\n" MINIMAL,
     ":1:51: notices.balance_below: has more than 8 numbers"},
    {"run: {workers: 257}\n" MINIMAL, ":1:16: run.workers: is not within 0 to 256"},
    {"http: {listen: '9464'}\n" MINIMAL, ":1:16: http.listen: is not HOST:PORT; \"\" turns it off"},
    {"http: {listen: '::1:9464'}\n" MINIMAL,
     ":1:16: http.listen: an IPv6 address stands in brackets, as [::1]:9464"},
    {"kafka: {properties: {fetch.wait.max.ms: x}}\n" MINIMAL,
     ":1:22: kafka.properties.fetch.wait.max.ms: librdkafka refuses it: "
     "Invalid value for configuration property \"fetch.wait.max.ms\""},
    {"kafka: {properties: {lingr.ms: 5}}\n" MINIMAL,
     ":1:22: kafka.properties.lingr.ms: librdkafka has no such property"},
};

static void tells_mistakes_where_they_are(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof mistakes / sizeof *mistakes; i++) {
        char expected[512];
        snprintf(expected, sizeof expected, "%s%s", f->file, mistakes[i].message);
        assert_int_equal(load(f, mistakes[i].yaml), -1);
        assert_int_equal(f->e.kind, ERROR_CONFIG);
        assert_string_equal(f->e.text, expected);
    }
}

static void tells_all_mistakes_at_once(void **state)
{
    struct fixture *f = *state;
    char expected[512];
    assert_int_equal(load(f, "kafka: {broker: x}\nrun: {workers: many}\n"), -1);
    snprintf(expected, sizeof expected,
             "%s:1:9: kafka.broker: unknown key; did you mean brokers?\n%s:2:16: run.workers: is "
             "not a whole number\n"
             "%s: billing.first_day: is missing; write for example 2026-11-01",
             f->file, f->file, f->file);
    assert_string_equal(f->e.text, expected);
}

static void bounds_what_it_says(void **state)
{
    struct fixture *f = *state;
    char text[8000] = "kafka: {";
    for (int i = 0; i < 400; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "zz%d: x, ", i);
    snprintf(text + strlen(text), sizeof text - strlen(text), "}\n");
    assert_int_equal(load(f, text), -1);
    assert_true(strlen(f->e.text) < ERROR_TEXT_SIZE);
}

static void refuses_unsafe_properties(void **state)
{
    static const char *const unsafe[] = {
        "enable.auto.commit=true",
        "enable.auto.offset.store=true",
        "enable.idempotence=false",
        "acks=1",
        "request.required.acks=0",
        "isolation.level=read_uncommitted",
        "auto.offset.reset=earliest",
        "group.id=other",
        "group.instance.id=a",
        "transactional.id=a",
        "partition.assignment.strategy=cooperative-sticky",
        "partition.assignment.strategy=range,roundrobin",
        "bootstrap.servers=a",
        "metadata.broker.list=a",
        "partitioner=random",
        "allow.auto.create.topics=true",
        "enable.partition.eof=false",
        "max.in.flight=6",
        "queuing.strategy=lifo",
        "queue.buffering.backpressure.threshold=2",
        "check.crcs=false",
        "socket.max.fails=0",
        "socket.max.fails=3",
        "enable.gapless.guarantee=true",
        "plugin.library.paths=libx",
        "test.mock.num.brokers=3",
        "api.version.request=false",
        "api.version.fallback.ms=1000",
        "broker.version.fallback=0.9.0",
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof unsafe / sizeof *unsafe; i++) {
        char start[128];
        snprintf(start, sizeof start, "-X %.*s: refused: ", (int)strcspn(unsafe[i], "="),
                 unsafe[i]);
        assert_int_equal(load_with(f, unsafe[i]), -1);
        assert_memory_equal(f->e.text, start, strlen(start));
        assert_true(strlen(f->e.text) > strlen(start) + 10); // and a reason
    }
    assert_int_equal(load(f, "kafka: {properties: {isolation.level: read_uncommitted}}\n" MINIMAL),
                     -1);
    assert_non_null(strstr(
        f->e.text, ":1:22: kafka.properties.isolation.level: refused: aborted records would be"));
}

// The bounds of numbers within which nothing is lost, hidden or given up too early.
static void holds_numbers_within_bounds(void **state)
{
    static const struct {
        const char *name;
        const char *good[3], *bad[4];
    } bounded[] = {
        {"socket.timeout.ms", {"1000", "60000"}, {"999", "60001", "10"}},
        {"message.timeout.ms", {"1000", "60000"}, {"999", "60001", "0"}},
        {"delivery.timeout.ms", {"30000"}, {"0", "300000"}},
        {"transaction.timeout.ms", {"5000", "900000"}, {"4999", "900001", "2147483647"}},
        {"retries", {"1", "2147483647"}, {"0", "-1"}},
        {"message.send.max.retries", {"5"}, {"0"}},
        {"retry.backoff.ms", {"1", "1000"}, {"1001", "0", "", "10s"}},
        {"connections.max.idle.ms", {"0", "60000", "2147483647"}, {"1", "59999"}},
    };
    struct fixture *f = *state;
    char text[128], start[160];
    for (size_t i = 0; i < sizeof bounded / sizeof *bounded; i++) {
        for (int k = 0; k < 3 && bounded[i].good[k]; k++) {
            snprintf(text, sizeof text, "%s=%s", bounded[i].name, bounded[i].good[k]);
            if (load_with(f, text))
                fail_msg("%s", f->e.text);
        }
        for (int k = 0; k < 4 && bounded[i].bad[k]; k++) {
            snprintf(text, sizeof text, "%s=%s", bounded[i].name, bounded[i].bad[k]);
            snprintf(start, sizeof start, "-X %s: refused, outside ", bounded[i].name);
            assert_int_equal(load_with(f, text), -1);
            assert_memory_equal(f->e.text, start, strlen(start));
        }
    }
    assert_int_equal(load_with(f, "socket.timeout.ms=10"), -1);
    assert_string_equal(
        f->e.text,
        "-X socket.timeout.ms: refused, outside 1000 to 60000: a shorter time-out takes every "
        "slow answer for a lost one, and a longer one outlives the transaction");
}

// Only programs can set interceptors. A plugin could set them, so plugins are refused.
static void interceptors_are_no_configuration(void **state)
{
    assert_int_equal(load_with(*state, "interceptors=x"), -1);
}

static void allows_what_changes_nothing(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(load_with(f, "socket.max.fails=1"), 0);
    assert_int_equal(load_with(f, "api.version.request=true"), 0);
    assert_int_equal(load_with(f, "check.crcs=true"), 0);
    assert_int_equal(load_with(f, "client.rack=a"), 0);
    assert_int_equal(load_with(f, "enable.idempotence=true"), 0);
    assert_int_equal(load_with(f, "acks=all"), 0);
    assert_int_equal(load_with(f, "isolation.level=read_committed"), 0);
    assert_int_equal(load_with(f, "partition.assignment.strategy=range"), 0);
}

static void overrides_win(void **state)
{
    struct fixture *f = *state;
    const char *overrides[] = {"linger.ms=7", "client.id=x=y"};
    const char *text = "kafka: {properties: {linger.ms: 5}}\n" MINIMAL;
    write_file(f->file, text, strlen(text));
    assert_int_equal(config_load(f->file, 2, overrides, &f->config, &f->e), 0);
    assert_int_equal(f->config.property_count, 2);
    assert_string_equal(property(f, "linger.ms"), "7");
    assert_string_equal(property(f, "client.id"), "x=y");
    assert_int_equal(load_with(f, "linger.ms"), -1);
    assert_string_equal(f->e.text, "-X linger.ms: is not KEY=VALUE");
    assert_int_equal(load_with(f, "sasl.password=hunter2"), -1);
    assert_non_null(strstr(
        f->e.text, "-X sasl.password: refused: every user of the machine can read command lines"));
    assert_null(strstr(f->e.text, "hunter2"));
}

static void load_well(struct fixture *f, const char *yaml, size_t secret_files)
{
    assert_int_equal(load(f, yaml), 0);
    assert_int_equal(f->config.secret_file_count, secret_files);
}

// Which files `settled check` has to look at.
static void files_with_secrets_are_known(void **state)
{
    struct fixture *f = *state;
    load_well(f, MINIMAL, 0);
    load_well(f, "postgres: {dsn: 'postgresql://u@h/d'}\n" MINIMAL, 0);
    static const char *const with[] = {
        "postgres: {dsn: 'postgresql://u:sesame@h/d'}\n" MINIMAL,
        "postgres: {dsn: 'host=h password=sesame'}\n" MINIMAL,
        "postgres: {dsn: 'postgresql://u@h/d?password=sesame'}\n" MINIMAL,
        "postgres: {dsn: [dbname=d, 'host=h password=sesame']}\n" MINIMAL,
        "schemas: {user: u, password: p}\n" MINIMAL,
        "kafka: {properties: {sasl.password: p}}\n" MINIMAL,
    };
    for (size_t i = 0; i < sizeof with / sizeof *with; i++) {
        load_well(f, with[i], 1);
        assert_string_equal(f->config.secret_files[0], f->file);
    }
    load_well(f, "kafka: {properties: {ssl.key.location: /key}}\n" MINIMAL, 1);
    assert_string_equal(f->config.secret_files[0], "/key");
}

static void the_environment_wins(void **state)
{
    struct fixture *f = *state;
    setenv("SETTLED_KAFKA_BROKERS", "env:9", 1);
    setenv("SETTLED_BILLING_GRACE", "1m", 1);
    setenv("SETTLED_SCHEMAS_REGISTRY", "http://[::1]:8081,http://b", 1);
    setenv("SETTLED_NOTICES_PACKAGE_LEFT", "3,40", 1);
    setenv("SETTLED_NOTICES_EXPIRING_DAYS", "[]", 1);
    setenv("SETTLED_KAFKA_PROPERTIES_SASL_PASSWORD", "p", 1);
    setenv("SETTLED_TEST_BROKERS", "not ours", 1);
    int status = load(f, "kafka: {brokers: file:1}\nschemas: {registry: http://c}\n" MINIMAL);
    unsetenv("SETTLED_KAFKA_BROKERS");
    unsetenv("SETTLED_BILLING_GRACE");
    unsetenv("SETTLED_SCHEMAS_REGISTRY");
    unsetenv("SETTLED_NOTICES_PACKAGE_LEFT");
    unsetenv("SETTLED_NOTICES_EXPIRING_DAYS");
    unsetenv("SETTLED_KAFKA_PROPERTIES_SASL_PASSWORD");
    unsetenv("SETTLED_TEST_BROKERS");
    assert_int_equal(status, 0);
    assert_string_equal(f->config.brokers, "env:9");
    assert_int_equal(f->config.parameters.grace_ms, 60000);
    assert_int_equal(f->config.registry.url_count, 2);
    assert_string_equal(f->config.registry.urls[0], "http://[::1]:8081");
    assert_string_equal(f->config.registry.urls[1], "http://b");
    assert_thresholds(&f->config.parameters.notices.package_left, "40,3");
    assert_thresholds(&f->config.parameters.notices.expiring_days, "");
    assert_string_equal(property(f, "sasl.password"), "p");
}

static void secrets_come_from_files(void **state)
{
    struct fixture *f = *state;
    char secret[128];
    snprintf(secret, sizeof secret, "%s/secret", f->folder);
    write_file(secret, "postgresql://u:hunter2@h/d\n", 27);
    setenv("SETTLED_POSTGRES_DSN_FILE", secret, 1);
    assert_int_equal(load(f, MINIMAL), 0);
    assert_string_equal(f->config.dsns[0], "postgresql://u:hunter2@h/d");
    assert_int_equal(f->config.secret_file_count, 1);
    assert_string_equal(f->config.secret_files[0], secret);
    setenv("SETTLED_POSTGRES_DSN", "postgresql:///other", 1);
    assert_int_equal(load(f, MINIMAL), -1);
    assert_non_null(
        strstr(f->e.text, "postgres.dsn: set twice, by the variable and by its _FILE; keep one"));
    assert_null(strstr(f->e.text, "hunter2"));
    unsetenv("SETTLED_POSTGRES_DSN");
    write_file(secret, "postgresql://u:hunter2@[h/d\n", 28);
    assert_int_equal(load(f, MINIMAL), -1);
    assert_string_equal(
        f->e.text, "environment SETTLED_POSTGRES_DSN_FILE: postgres.dsn: is not a libpq connection "
                   "string; write postgresql://USER@HOST/DATABASE");
    unlink(secret);
    assert_int_equal(load(f, MINIMAL), -1);
    unsetenv("SETTLED_POSTGRES_DSN_FILE");
    assert_non_null(strstr(f->e.text, "environment SETTLED_POSTGRES_DSN_FILE: "));
    assert_non_null(strstr(f->e.text, "No such file or directory"));
}

static void several_databases(void **state)
{
    struct fixture *f = *state;
    char secret[128];
    assert_int_equal(load(f, "postgres: {dsn: ['host=a,b dbname=d', 'postgresql:///e']}\n" MINIMAL),
                     0);
    assert_int_equal(f->config.dsn_count, 2);
    assert_string_equal(f->config.dsns[0], "host=a,b dbname=d");
    assert_string_equal(f->config.dsns[1], "postgresql:///e");
    // A variable, or the file that it names, has one a line.
    snprintf(secret, sizeof secret, "%s/secret", f->folder);
    static const char lines[] = "dbname=first\npostgresql://u:hunter2@h/second\n";
    write_file(secret, lines, sizeof lines - 1);
    setenv("SETTLED_POSTGRES_DSN_FILE", secret, 1);
    assert_int_equal(load(f, "postgres: {dsn: ['dbname=other']}\n" MINIMAL), 0);
    unsetenv("SETTLED_POSTGRES_DSN_FILE");
    unlink(secret);
    assert_int_equal(f->config.dsn_count, 2);
    assert_string_equal(f->config.dsns[0], "dbname=first");
    assert_string_equal(f->config.dsns[1], "postgresql://u:hunter2@h/second");
    assert_int_equal(f->config.secret_file_count, 1);
    assert_string_equal(f->config.secret_files[0], secret);
}

static void unknown_variables_are_told(void **state)
{
    struct fixture *f = *state;
    setenv("SETTLED_KAFKA_BROKER", "x", 1);
    int status = load(f, MINIMAL);
    unsetenv("SETTLED_KAFKA_BROKER");
    assert_int_equal(status, -1);
    assert_string_equal(
        f->e.text,
        "environment SETTLED_KAFKA_BROKER: names no key; did you mean SETTLED_KAFKA_BROKERS?");
}

static void paths_count_from_the_file(void **state)
{
    struct fixture *f = *state;
    char book[128];
    snprintf(book, sizeof book, "%s/book.yaml", f->folder);
    assert_int_equal(load(f, "pricing: {book: book.yaml}\n" MINIMAL), 0);
    assert_string_equal(f->config.book, "book.yaml"); // not there: from the working directory
    write_file(book, "x", 1);
    assert_int_equal(load(f, "pricing: {book: book.yaml}\n" MINIMAL), 0);
    assert_string_equal(f->config.book, book);
    unlink(book);
}

static void a_directory_replaces_the_registry(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(load(f, "schemas: {directory: /d}\n" MINIMAL), 0);
    assert_string_equal(f->config.registry.directory, "/d");
    assert_int_equal(f->config.registry.url_count, 0);
}

static void reads_the_book(void **state)
{
    struct fixture *f = *state;
    struct book *book = malloc(sizeof *book);
    char *text = NULL;
    size_t size = 0;
    assert_int_equal(
        load(f, "pricing: {book: " SOURCE_DIR "/pricing/pricebooks/apcas.yaml}\n" MINIMAL), 0);
    assert_int_equal(config_read_book(&f->config, book, &text, &size, &f->e), 0);
    assert_string_equal(book->currency, "CNY");
    assert_int_equal(strlen(text), size);
    free(text);
    assert_int_equal(load(f, "pricing: {book: /nowhere.yaml}\n" MINIMAL), 0);
    assert_int_equal(config_read_book(&f->config, book, NULL, NULL, &f->e), -1);
    assert_string_equal(f->e.text, "price book: /nowhere.yaml: No such file or directory");
    free(book);
}

static void unreadable_files_are_told(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(config_load("/nowhere/c.yaml", 0, NULL, &f->config, &f->e), -1);
    assert_int_equal(f->e.kind, ERROR_CONFIG);
    assert_string_equal(f->e.text, "/nowhere/c.yaml: No such file or directory");
    config_free(&f->config);
    assert_int_equal(config_load(f->folder, 0, NULL, &f->config, &f->e), -1);
    assert_non_null(strstr(f->e.text, "Is a directory"));
}

static char *example(size_t *size)
{
    char *text;
    FILE *out = open_memstream(&text, size);
    config_print_example(out);
    fclose(out);
    return text;
}

static void the_example_is_the_table(void **state)
{
    struct fixture *f = *state;
    static char file[1 << 16];
    size_t size;
    char *text = example(&size);
    FILE *in = fopen(SOURCE_DIR "/deploy/settled.yaml", "r");
    assert_non_null(in);
    file[fread(file, 1, sizeof file - 1, in)] = 0;
    fclose(in);
    assert_string_equal(file, text);
    free(text);
    // and holds nothing but defaults
    struct config plain, from_example;
    assert_int_equal(load(f, MINIMAL), 0);
    plain = f->config;
    f->config = (struct config){0};
    assert_int_equal(config_load(SOURCE_DIR "/deploy/settled.yaml", 0, NULL, &from_example, &f->e),
                     0);
    assert_string_equal(plain.brokers, from_example.brokers);
    assert_string_equal(plain.group, from_example.group);
    for (int i = 0; i < INPUT_COUNT; i++)
        assert_string_equal(plain.input_topics[i], from_example.input_topics[i]);
    for (int i = 0; i < OUTPUT_COUNT; i++)
        assert_string_equal(plain.output_topics[i], from_example.output_topics[i]);
    assert_memory_equal(&plain.parameters, &from_example.parameters, sizeof plain.parameters);
    assert_string_equal(plain.registry.urls[0], from_example.registry.urls[0]);
    assert_int_equal(plain.registry.timeout_ms, from_example.registry.timeout_ms);
    assert_string_equal(plain.dsns[0], from_example.dsns[0]);
    assert_string_equal(plain.http_listen, from_example.http_listen);
    assert_int_equal(plain.first_day, from_example.first_day);
    assert_int_equal(plain.partitioner, from_example.partitioner);
    assert_int_equal(plain.timestamps, from_example.timestamps);
    assert_int_equal(plain.workers, from_example.workers);
    assert_int_equal(plain.max_calls_held, from_example.max_calls_held);
    assert_int_equal(plain.log_level, from_example.log_level);
    assert_int_equal(plain.log_format, from_example.log_format);
    assert_int_equal(from_example.property_count, 0);
    assert_null(from_example.registry.user);
    config_free(&plain);
    config_free(&from_example);
}

// Every key whose field is one of the recorded parameters, and no other.
static void what_differs_from_what_is_recorded_is_told(void **state)
{
    (void)state;
    struct recorded_value values[RECORDED_VALUES_MAX];
    struct parameters ours = {.grace_ms = 90000, .late_days = 7, .max_reject_share_ppm = 2500},
                      theirs = {.grace_ms = 300000, .late_days = 9, .max_reject_share_ppm = 10000};
    thresholds_parse("7,30", &ours.notices.expiring_days);
    size_t count = config_compare_parameters(&ours, &theirs, values);
    static const char *const expected[][3] = {{"billing.grace", "90s", "5m"},
                                              {"billing.late_days", "7", "9"},
                                              {"billing.max_reject_share", "0.25%", "1%"},
                                              {"notices.expiring_days", "[30, 7]", "[]"}};
    size_t found = 0;
    for (size_t i = 0; i < count; i++) {
        if (!values[i].differs)
            continue;
        if (found < 4) {
            assert_string_equal(values[i].key, expected[found][0]);
            assert_string_equal(values[i].configured, expected[found][1]);
            assert_string_equal(values[i].recorded, expected[found][2]);
        }
        found++;
    }
    assert_int_equal(found, 4);
    count = config_compare_parameters(&ours, &ours, values);
    for (size_t i = 0; i < count; i++)
        assert_false(values[i].differs);
}

#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(has_defaults),
        T(reads_every_key),
        T(tells_mistakes_where_they_are),
        T(tells_all_mistakes_at_once),
        T(bounds_what_it_says),
        T(refuses_unsafe_properties),
        T(holds_numbers_within_bounds),
        T(interceptors_are_no_configuration),
        T(allows_what_changes_nothing),
        T(overrides_win),
        T(files_with_secrets_are_known),
        T(the_environment_wins),
        T(secrets_come_from_files),
        T(several_databases),
        T(unknown_variables_are_told),
        T(paths_count_from_the_file),
        T(a_directory_replaces_the_registry),
        T(reads_the_book),
        T(unreadable_files_are_told),
        T(the_example_is_the_table),
        T(what_differs_from_what_is_recorded_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
