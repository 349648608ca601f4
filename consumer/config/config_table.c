#include "consumer/config/config_table.h"

#include "consumer/usage/calls.h"

#include <assert.h>
#include <string.h>

#define FIELD(member) offsetof(struct config, member)
#define HOUR_MS INT64_C(3600000)

const struct config_key config_keys[] = {
    {"kafka", "brokers", VALUE_TEXT, FIELD(brokers), "127.0.0.1:9092",
     .help = "Brokers to start from, HOST:PORT, separated by commas."},
    {"kafka", "group", VALUE_TEXT, FIELD(group), "settled",
     .help = "Consumer group. Transactional ids and ce_source are made of it; one database serves "
             "one group."},
    {"kafka", "properties", VALUE_PROPERTIES, 0, "{}",
     .help = "librdkafka properties for every client, as option -X takes them. Secrets: "
             "SETTLED_KAFKA_PROPERTIES_SASL_PASSWORD_FILE."},

    {"topics", "calls", VALUE_TOPIC, FIELD(input_topics[INPUT_CALLS]), "call-records",
     .help = "Input topics, all three with the same number of partitions: calls. 'settled topics "
             "apply' creates what is missing."},
    {"topics", "purchases", VALUE_TOPIC, FIELD(input_topics[INPUT_PURCHASES]), "package-purchases",
     .help = "Packages bought; never expires."},
    {"topics", "credits", VALUE_TOPIC, FIELD(input_topics[INPUT_CREDITS]), "account-credits",
     .help = "Top-ups and adjustments; never expires."},
    {"topics", "settlements", VALUE_TOPIC, FIELD(output_topics[OUTPUT_SETTLEMENTS]), "settlements",
     .help = "Output topics: settlements."},
    {"topics", "status", VALUE_TOPIC, FIELD(output_topics[OUTPUT_STATUS]), "account-status",
     .help = "Suspensions and resumptions."},
    {"topics", "day_closes", VALUE_TOPIC, FIELD(output_topics[OUTPUT_DAY_CLOSES]), "day-closes",
     .help = "One record for each shard and day."},
    {"topics", "rejects", VALUE_TOPIC, FIELD(output_topics[OUTPUT_REJECTS]), "rejects",
     .help = "What cannot be billed, with the reason."},
    {"topics", "notices", VALUE_TOPIC, FIELD(output_topics[OUTPUT_NOTICES]), "account-notices",
     .help = "What account holders are told at the end of a day: see notices."},
    {"topics", "statements", VALUE_TOPIC, FIELD(output_topics[OUTPUT_STATEMENTS]),
     "account-statements", .help = "One record for each account and month."},
    {"topics", "partitioner", VALUE_CHOICE, FIELD(partitioner), "murmur2",
     .choices = PARTITIONER_CHOICES,
     .help = "How producers choose the partition of an account: murmur2 as Java's, crc32 as "
             "librdkafka's.\n"
             "Fixed once recorded."},

    {"schemas", "registry", VALUE_URLS, FIELD(registry), "http://127.0.0.1:8081",
     .help = "Schema registry, or a list of URLs of one registry, asked in turn."},
    {"schemas", "directory", VALUE_PATH, FIELD(registry.directory), NULL, "schemas",
     .help = "Instead of a registry: a folder that holds ID.avsc."},
    {"schemas", "user", VALUE_TEXT, FIELD(registry.user), NULL, "settled",
     .help = "Basic authentication."},
    {"schemas", "password", VALUE_TEXT, FIELD(registry.password), NULL, "SECRET", .secret = true,
     .help = "Better: give it by SETTLED_SCHEMAS_PASSWORD_FILE."},
    {"schemas", "ca_file", VALUE_PATH, FIELD(registry.ca_file), NULL,
     "/etc/ssl/certs/ca-certificates.crt",
     .help = "Certificates to trust instead of the system's."},
    {"schemas", "timeout", VALUE_TIMEOUT, FIELD(registry.timeout_ms), "5s", .min = 100,
     .max = 60000, .help = "Of one request."},
    {"schemas", "framing", VALUE_CHOICE, FIELD(framing), "confluent", .choices = FRAMING_CHOICES,
     .help =
         "What stands before each value, in and out: a zero byte and the schema's id of 4 bytes "
         "(confluent) or 8\n"
         "(apicurio). Fixed once recorded."},
    {"schemas", "patience", VALUE_DURATION, FIELD(patience_ms), "1h", .min = 0,
     .max = 720 * HOUR_MS,
     .help =
         "A record whose schema could not be had for so long may be refused by an operator; until "
         "then its log waits."},

    {"postgres", "dsn", VALUE_DSNS, FIELD(dsns), "postgresql:///settled",
     .help = "libpq connection string; TLS options pass through. With a password: "
             "SETTLED_POSTGRES_DSN_FILE.\n"
             "Or a list of n databases, one a line in a variable or its file: the rows of shard p "
             "are in number p mod n.\n"
             "Their number and order are fixed once recorded."},

    {"pricing", "book", VALUE_PATH, FIELD(book), "pricing/pricebooks/apcas.yaml",
     .help = "The price book. A changed book is a new version with an effective_from; recorded "
             "versions never change."},

    {"billing", "first_day", VALUE_DATE, FIELD(first_day), NULL, "2026-11-01", .required = true,
     .help = "The first business day billed here; calls of earlier days are rejected. Fixed once "
             "recorded."},
    {"billing", "grace", VALUE_DURATION, FIELD(parameters.grace_ms), "5m", .min = 0,
     .max = 24 * HOUR_MS - 1,
     .help = "How long after 24:00 a day waits for records in flight. grace + future_tolerance is "
             "below 24 h."},
    {"billing", "late_days", VALUE_INT32, FIELD(parameters.late_days), "7", .min = 0,
     .max = LATE_DAYS_MAX,
     .help = "A call that is up to this many days late is still billed; an older one is rejected."},
    {"billing", "credit_days", VALUE_INT32, FIELD(parameters.credit_days), "400", .min = 1,
     .max = CREDIT_DAYS_MAX,
     .help =
         "A purchase or credit whose own day is older than that is rejected, and the ids of older "
         "ones are forgotten."},
    {"billing", "future_tolerance", VALUE_DURATION, FIELD(parameters.future_tolerance_ms), "5m",
     .min = 0, .max = 24 * HOUR_MS - 1,
     .help = "How far a record's own time may lie ahead of the broker's."},
    {"billing", "max_reject_share", VALUE_SHARE, FIELD(parameters.max_reject_share_ppm), "1%",
     .min = 0, .max = 1000000,
     .help = "A day is held for an operator when more of a log's records than this (and at least "
             "100 calls, 10 purchases or 10 credits) are broken."},
    {"billing", "max_refused_share", VALUE_SHARE, FIELD(parameters.max_refused_share_ppm), "20%",
     .min = 0, .max = 1000000,
     .help = "The same of records that are refused: conflicts, too late, from the future, not for "
             "sale. Refunds hold no day."},
    {"billing", "timestamps", VALUE_CHOICE, FIELD(timestamps), "log-append",
     .choices = TIMESTAMPS_CHOICES,
     .help = "Whose clock stamps the inputs: the brokers' (log-append), or the producers' (create: "
             "replays, imports, "
             "tests).\nFixed once recorded."},

    {"notices", "package_left", VALUE_THRESHOLDS, FIELD(parameters.notices.package_left),
     "[20, 5, 0]", .min = 0, .max = 99,
     .help = "What account holders are told of at the close of a day. PACKAGE_LOW: no more than "
             "this remains of a\n"
             "package, in percent of its units."},
    {"notices", "expiring_days", VALUE_THRESHOLDS, FIELD(parameters.notices.expiring_days),
     "[30, 7, 1]", .min = 1, .max = 366,
     .help = "PACKAGE_EXPIRING: a package of which something remains ends so many days later."},
    {"notices", "balance_below", VALUE_THRESHOLDS, FIELD(parameters.notices.balance_below), "[]",
     .min = 0, .max = INT64_C(10000000000000),
     .help = "BALANCE_LOW: a settlement brings the balance below this, in fen."},

    {"run", "workers", VALUE_INT, FIELD(workers), "0", .min = 0, .max = 256,
     .help = "Threads, each with its own consumer and shards. 0: one for each core."},
    {"run", "max_calls_held", VALUE_COUNT, FIELD(max_calls_held), "50000000", .min = 1000,
     .max = INT64_C(4000000000),
     .help = "Calls of open and retained days in memory (about " CALL_BYTES_RESIDENT_TEXT
             " bytes each); beyond it the "
             "process halts."},
    {"run", "open_transaction_wait", VALUE_DURATION, FIELD(open_transaction_wait_ms), "15m",
     .min = 0, .max = 24 * HOUR_MS,
     .help = "How long a transaction that stays open in the purchases or credits holds up the end "
             "of a day.\nNot below the brokers' transaction.max.timeout.ms."},

    {"run", "snapshots", VALUE_PATH, FIELD(snapshots), "",
     .help = "Folder on this machine for snapshots of the calls in memory: a start then replays "
             "only what came after.\n"
             "Two for each shard, up to 28 bytes a call each. \"\": none."},

    {"http", "listen", VALUE_LISTEN, FIELD(http_listen), "127.0.0.1:9464",
     .help = "Address of health, metrics and console. \"\": off."},
    {"http", "advertise", VALUE_LISTEN, FIELD(http_advertise), "",
     .help =
         "HOST:PORT at which the other processes of the deployment reach this one: they pass on "
         "what they are\n"
         "asked about its shards. \"\": listen, unless that is a wildcard address."},
    {"http", "tokens", VALUE_PATH, FIELD(http_tokens), NULL, "tokens",
     .help = "File of those who may ask below /v1/: lines SHA256-OF-TOKEN reader, or "
             "SHA256-OF-TOKEN account ID.\n"
             "Read again on SIGHUP. Without it everybody may, where listen is a loopback address, "
             "and else nobody."},

    {"log", "level", VALUE_CHOICE, FIELD(log_level), "info", .choices = "debug|info|warn|error",
     .help = "Least severe line that is written."},
    {"log", "format", VALUE_CHOICE, FIELD(log_format), "logfmt", .choices = "logfmt|json",
     .help = "Of lines on stderr."},
    {.name = NULL},
};

const size_t config_key_count = sizeof config_keys / sizeof *config_keys - 1;

// A choice is stored as its place in the list.
static_assert(PARTITIONER_MURMUR2 == 0 && PARTITIONER_CRC32 == 1, "murmur2|crc32");
static_assert(FRAMING_CONFLUENT == 0 && FRAMING_APICURIO == 1, "confluent|apicurio");
static_assert(TIMESTAMPS_LOG_APPEND == 0 && TIMESTAMPS_CREATE == 1, "log-append|create");
static_assert(LOG_DEBUG == 0 && LOG_INFO == 1 && LOG_WARN == 2 && LOG_ERROR == 3,
              "debug|info|warn|error");
static_assert(LOG_LOGFMT == 0 && LOG_JSON == 1, "logfmt|json");
static_assert(sizeof(enum partitioner) == sizeof(unsigned), "a choice is stored as an unsigned");
static_assert(sizeof(int32_t) == sizeof(int), "VALUE_INT32 and VALUE_SHARE are stored as an int");

static bool is_number(enum value_kind kind)
{
    return kind == VALUE_DURATION || kind == VALUE_TIMEOUT || kind == VALUE_INT ||
           kind == VALUE_INT32 || kind == VALUE_COUNT || kind == VALUE_SHARE ||
           kind == VALUE_THRESHOLDS;
}

static void check_row(const struct config_key *key)
{
    bool is_long =
        key->kind == VALUE_DURATION || key->kind == VALUE_COUNT || key->kind == VALUE_THRESHOLDS;
    assert(key->offset < sizeof(struct config));
    assert(key->text || key->example); // for the example file
    assert(!key->required || !key->text); // what has a default is never missing
    assert((key->choices != NULL) == (key->kind == VALUE_CHOICE));
    if (!is_number(key->kind))
        return;
    assert(key->min >= 0);
    assert(key->min <= key->max);
    assert(is_long || key->max <= INT32_MAX);
}

void config_table_check(void)
{
    for (size_t i = 0; i < config_key_count; i++) {
        const struct config_key *key = &config_keys[i];
        check_row(key);
        for (size_t k = 0; k < i; k++) {
            bool same = strcmp(config_keys[k].section, key->section) == 0;
            // The rows of a section stand together, and each key occurs once.
            assert(!same || strcmp(config_keys[i - 1].section, key->section) == 0);
            assert(!same || strcmp(config_keys[k].name, key->name) != 0);
        }
    }
}
