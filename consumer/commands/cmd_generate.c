// Sends a seeded workload (workload.h) to the three input topics, and prints what it sent.
#include "consumer/base/format.h"
#include "consumer/cli/args_config.h"
#include "consumer/cli/cli_fail.h"
#include "consumer/commands/commands.h"
#include "consumer/config/config.h"
#include "consumer/kafka/client.h"
#include "consumer/preflight/schema_ids.h"
#include "consumer/system/clock.h"
#include "consumer/system/progress.h"
#include "consumer/workload/workload.h"

#include <assert.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ASK_MS = 15000, POLL_EVERY = 256 };

#define RATE_MAX INT64_C(100000000) // records a second

struct generate {
    struct config config;
    struct book book;
    struct workload_options options;
    int64_t rate; // records a second; 0: as fast as possible
    rd_kafka_t *producer;
    rd_kafka_topic_t *topics[INPUT_COUNT];
    struct workload *workload;
    int64_t sent, delivered, failed;
    char why[256]; // of the first failure
};

// ---- options ----

// "1", "1%" or "0.25": a percentage in millionths, exactly.
static int read_share(const struct args *args, const char *option, int32_t otherwise, int32_t *out,
                      struct error *e)
{
    const char *text = args_get(args, option), *p = text;
    *out = otherwise;
    if (!text)
        return 0;
    int32_t whole = 0, fraction = 0, digits = 0;
    for (; *p >= '0' && *p <= '9' && whole <= 100; p++, digits++)
        whole = whole * 10 + (*p - '0');
    if (digits > 0 && *p == '.') {
        int32_t scale = 1000;
        for (p++; *p >= '0' && *p <= '9' && scale > 0; p++, scale /= 10)
            fraction += (*p - '0') * scale;
    }
    if (*p == '%')
        p++;
    if (digits == 0 || *p || whole * 10000 + fraction > 1000000)
        return error_set(e, ERROR_USAGE,
                         "option --%s: '%s' is not a percentage, 0 to 100 with up to four decimals",
                         option, text);
    *out = whole * 10000 + fraction;
    return 0;
}

static int read_sizes(struct generate *g, const struct args *args, struct error *e)
{
    struct workload_options *o = &g->options;
    int64_t seed, accounts, days;
    if (args_integer(args, "seed", 0, INT64_MAX, 1, &seed, e) != 0 ||
        args_integer(args, "accounts", 1, WORKLOAD_ACCOUNTS_MAX, 100, &accounts, e) != 0 ||
        args_integer(args, "days", 1, WORKLOAD_DAYS_MAX, 1, &days, e) != 0 ||
        args_integer(args, "calls-per-day", 0, WORKLOAD_RECORDS_MAX, 10000, &o->calls, e) != 0 ||
        args_integer(args, "purchases", 0, WORKLOAD_RECORDS_MAX, (accounts + 9) / 10, &o->purchases,
                     e) != 0 ||
        args_integer(args, "credits", 0, WORKLOAD_RECORDS_MAX, (accounts + 1) / 2, &o->credits,
                     e) != 0 ||
        args_integer(args, "rate", 0, RATE_MAX, 0, &g->rate, e) != 0)
        return -1;
    o->seed = (uint64_t)seed;
    o->accounts = (int32_t)accounts;
    o->days = (int32_t)days;
    return 0;
}

// A broker that stamps records itself uses the present time, so there are no simulated days then.
static int read_days(struct generate *g, const struct args *args, struct error *e)
{
    struct workload_options *o = &g->options;
    if (args_day(args, "from-day", &o->from_day, e) != 0)
        return -1;
    if (g->config.timestamps == TIMESTAMPS_CREATE) {
        if (o->from_day == DAY_NONE)
            o->from_day = g->config.first_day;
        return 0;
    }
    if (o->from_day != DAY_NONE || o->days > 1)
        return error_set(
            e, ERROR_USAGE,
            "--from-day and --days need billing.timestamps: create; with log-append the "
            "broker stamps every record now");
    if (calendar_day(clock_wall_ms(), g->book.offset_ms) >= g->config.first_day)
        return 0;
    return error_set(e, ERROR_CONFIG,
                     "billing.first_day lies ahead: every call made now would be too late");
}

static int read_options(struct generate *g, const struct args *args, struct error *e)
{
    struct workload_options *o = &g->options;
    if (read_sizes(g, args, e) != 0 || read_days(g, args, e) != 0 ||
        read_share(args, "duplicates", 10000, &o->duplicates_ppm, e) != 0 ||
        read_share(args, "late", 10000, &o->late_ppm, e) != 0 ||
        read_share(args, "broken", 0, &o->broken_ppm, e) != 0)
        return -1;
    o->first_day = g->config.first_day;
    o->late_days = g->config.parameters.late_days;
    o->future_tolerance_ms = g->config.parameters.future_tolerance_ms;
    o->partitioner = g->config.partitioner;
    o->book = &g->book;
    return workload_check(o, e);
}

// ---- Kafka ----

static void on_delivery(rd_kafka_t *producer, const rd_kafka_message_t *message, void *opaque)
{
    struct generate *g = opaque;
    (void)producer;
    if (!message->err) {
        g->delivered++;
        return;
    }
    if (g->failed++ == 0)
        snprintf(g->why, sizeof g->why, "%s [%" PRId32 "]: %s", rd_kafka_topic_name(message->rkt),
                 message->partition, rd_kafka_err2str(message->err));
}

static rd_kafka_conf_t *producer_conf(const struct config *config, struct error *e)
{
    const char *ours[][2] = {
        {"bootstrap.servers", config->brokers},
        {"client.id", "settled-generate"},
        {"enable.idempotence", "true"},
        {"compression.type", "lz4"},
        {"linger.ms", "20"},
        {"batch.size", "1000000"},
        {"queue.buffering.max.messages", "1000000"},
        {"queue.buffering.max.kbytes", "262144"},
        {"message.timeout.ms", "60000"},
        {"delivery.report.only.error", "false"},
    };
    const char *theirs[CONFIG_PROPERTIES_MAX][2];
    for (size_t i = 0; i < config->property_count; i++) {
        theirs[i][0] = config->property_names[i];
        theirs[i][1] = config->property_values[i];
    }
    return client_conf(&(struct client_properties){sizeof ours / sizeof *ours, ours},
                       &(struct client_properties){config->property_count, theirs}, e);
}

static int open_topic(struct generate *g, enum input input, struct error *e)
{
    const char *name = g->config.input_topics[input];
    int32_t partitions = 0;
    if (client_partitions(g->producer, name, ASK_MS, &partitions, e) != 0)
        return -1;
    if (input > 0 && partitions != g->options.partitions)
        return error_set(e, ERROR_CONFIG,
                         "topic %s has %" PRId32 " partitions and %s has %" PRId32
                         "; the three inputs need one count",
                         g->config.input_topics[0], g->options.partitions, name, partitions);
    g->options.partitions = partitions;
    g->topics[input] = rd_kafka_topic_new(g->producer, name, NULL);
    return g->topics[input] ? 0 : error_set(e, ERROR_CONFIG, "%s is not a topic name", name);
}

static int find_schemas(struct generate *g, struct error *e)
{
    struct registry *registry;
    if (registry_create(&g->config.registry, &registry, e) != 0)
        return -1;
    enum registry_result result = REGISTRY_FOUND;
    for (enum input i = 0; i < INPUT_COUNT && result == REGISTRY_FOUND; i++) {
        struct input_framing *framing = &g->options.framing[i];
        const struct subject subject = subject_of_input(&g->config, i);
        framing->framing = g->config.framing;
        result = schema_id_find(registry, framing->framing, &subject, &framing->schema_id, e);
    }
    registry_destroy(registry);
    return result == REGISTRY_FOUND ? 0 : -1;
}

static int connect_all(struct generate *g, struct error *e)
{
    rd_kafka_conf_t *conf = producer_conf(&g->config, e);
    if (!conf)
        return -1;
    rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
    rd_kafka_conf_set_opaque(conf, g);
    g->producer = client_create(RD_KAFKA_PRODUCER, conf, e);
    if (!g->producer)
        return -1;
    for (int i = 0; i < INPUT_COUNT; i++)
        if (open_topic(g, (enum input)i, e) != 0)
            return -1;
    return find_schemas(g, e);
}

static int send_one(struct generate *g, const struct workload_message *m, struct error *e)
{
    // librdkafka copies both and takes them without const.
    void *key = (void *)(uintptr_t)m->key.data, *value = (void *)(uintptr_t)m->value.data;
    for (;;) {
        rd_kafka_resp_err_t code = rd_kafka_producev(
            g->producer, RD_KAFKA_V_RKT(g->topics[m->input]), RD_KAFKA_V_PARTITION(m->partition),
            RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_KEY(key, m->key.size),
            RD_KAFKA_V_VALUE(value, m->value.size), RD_KAFKA_V_TIMESTAMP(m->timestamp),
            RD_KAFKA_V_END);
        if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
            g->sent++;
            return 0;
        }
        if (code != RD_KAFKA_RESP_ERR__QUEUE_FULL)
            return error_set(e, ERROR_UNAVAILABLE, "topic %s: %s", g->config.input_topics[m->input],
                             rd_kafka_err2str(code));
        rd_kafka_poll(g->producer, 100);
        if (g->failed > 0)
            return 0; // the caller looks
    }
}

// Waits until the next record is due at the rate.
static void keep_pace(struct generate *g, int64_t started_ms)
{
    if (g->rate == 0)
        return;
    for (int64_t wait; (wait = started_ms + g->sent * 1000 / g->rate - clock_wall_ms()) > 0;)
        rd_kafka_poll(g->producer, wait < 100 ? (int)wait : 100);
}

static int failure(const struct generate *g, struct error *e)
{
    return error_set(e, ERROR_UNAVAILABLE,
                     "%" PRId64 " of %" PRId64 " records were not delivered; the first: %s",
                     g->sent - g->delivered, g->sent, g->why[0] ? g->why : "no answer");
}

static int send_all(struct generate *g, struct progress *progress, struct error *e)
{
    struct workload_message m;
    int64_t started_ms = clock_wall_ms();
    while (workload_next(g->workload, clock_wall_ms(), &m)) {
        if (send_one(g, &m, e) != 0)
            return -1;
        keep_pace(g, started_ms);
        if (g->sent % POLL_EVERY != 0)
            continue;
        rd_kafka_poll(g->producer, 0);
        progress_at(progress, g->sent);
        if (g->failed > 0)
            return failure(g, e);
    }
    // message.timeout.ms bounds this: each record is delivered or has failed by then.
    while (rd_kafka_outq_len(g->producer) > 0) {
        rd_kafka_flush(g->producer, 200);
        progress_at(progress, g->delivered);
    }
    assert(g->delivered + g->failed == g->sent); // each record was reported once
    return g->failed > 0 || g->delivered != g->sent ? failure(g, e) : 0;
}

static int run_workload(struct generate *g, struct error *e)
{
    struct progress progress;
    if (workload_create(&g->options, &g->workload, e) != 0)
        return -1;
    progress_start(&progress, "records sent", workload_total(g->workload));
    int result = send_all(g, &progress, e);
    progress_end(&progress, g->delivered);
    return result;
}

static void close_all(struct generate *g)
{
    workload_destroy(g->workload);
    for (int i = 0; i < INPUT_COUNT; i++)
        if (g->topics[i])
            rd_kafka_topic_destroy(g->topics[i]);
    if (g->producer) {
        rd_kafka_purge(g->producer, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
        rd_kafka_destroy(g->producer);
    }
    config_free(&g->config);
}

// ---- what was sent ----

static const char *service_word(int service)
{
    return service_symbol((enum service)service);
}

static void print_topic(const struct generate *g, enum input input)
{
    char records[NUMBER_SIZE];
    printf("%s: %s records\n", g->config.input_topics[input],
           format_count(workload_tally(g->workload)->records[input], records));
}

static void print_line(const char *name, int64_t count, const char *what)
{
    char number[NUMBER_SIZE];
    printf("  %-20s %13s  %s", name, format_count(count, number), what);
}

static void print_calls(const struct generate *g)
{
    const struct workload_tally *t = workload_tally(g->workload);
    char units[NUMBER_SIZE];
    print_topic(g, INPUT_CALLS);
    for (int s = 0; s < SERVICE_COUNT; s++) {
        print_line(service_word(s), t->calls[s], "calls to bill");
        printf(" %20s units\n", format_count(t->units[s], units));
    }
    print_line("late", t->late, "of these\n");
    print_line("duplicates", t->duplicates, "sent again\n");
    for (int r = 0; r < REJECT_REASONS; r++)
        if (t->rejected[r])
            print_line(reject_symbol((enum reject_reason)r), t->rejected[r], "to reject\n");
}

static void print_load_table(const struct generate *g)
{
    const struct workload_tally *t = workload_tally(g->workload);
    char units[NUMBER_SIZE], yuan[NUMBER_SIZE];
    print_calls(g);
    print_topic(g, INPUT_PURCHASES);
    for (int s = 0; s < SERVICE_COUNT; s++) {
        print_line(service_word(s), t->purchases[s], "packages     ");
        printf(" %20s units %22s yuan\n", format_count(t->purchased_units[s], units),
               format_yuan(t->purchased_amount[s], yuan));
    }
    print_topic(g, INPUT_CREDITS);
    for (int k = CREDIT_TOP_UP; k <= CREDIT_ADJUSTMENT; k++) {
        print_line(credit_kind_symbol((enum credit_kind)k), t->credits[k], "             ");
        printf(" %20s       %22s yuan\n", "", format_yuan(t->credited_amount[k], yuan));
    }
}

static json_t *calls_json(const struct workload_tally *t)
{
    json_t *services = json_object(), *rejected = json_object();
    for (int s = 0; s < SERVICE_COUNT; s++)
        json_object_set_new(services, service_word(s),
                            json_pack("{s:I, s:I}", "calls", (json_int_t)t->calls[s], "units",
                                      (json_int_t)t->units[s]));
    for (int r = 0; r < REJECT_REASONS; r++)
        if (t->rejected[r])
            json_object_set_new(rejected, reject_symbol((enum reject_reason)r),
                                json_integer(t->rejected[r]));
    return json_pack("{s:I, s:o, s:I, s:I, s:o}", "records", (json_int_t)t->records[INPUT_CALLS],
                     "services", services, "late", (json_int_t)t->late, "duplicates",
                     (json_int_t)t->duplicates, "rejected", rejected);
}

static json_t *purchases_json(const struct workload_tally *t)
{
    json_t *services = json_object();
    for (int s = 0; s < SERVICE_COUNT; s++)
        json_object_set_new(services, service_word(s),
                            json_pack("{s:I, s:I, s:I}", "packages", (json_int_t)t->purchases[s],
                                      "units", (json_int_t)t->purchased_units[s], "amount",
                                      (json_int_t)t->purchased_amount[s]));
    return json_pack("{s:I, s:o}", "records", (json_int_t)t->records[INPUT_PURCHASES], "services",
                     services);
}

static json_t *credits_json(const struct workload_tally *t)
{
    json_t *kinds = json_object();
    for (int k = CREDIT_TOP_UP; k <= CREDIT_ADJUSTMENT; k++)
        json_object_set_new(kinds, credit_kind_symbol((enum credit_kind)k),
                            json_pack("{s:I, s:I}", "credits", (json_int_t)t->credits[k], "amount",
                                      (json_int_t)t->credited_amount[k]));
    return json_pack("{s:I, s:o}", "records", (json_int_t)t->records[INPUT_CREDITS], "kinds",
                     kinds);
}

static int print_load_json(const struct generate *g, struct error *e)
{
    const struct workload_tally *t = workload_tally(g->workload);
    json_t *json = json_pack("{s:I, s:s, s:o, s:o, s:o}", "seed", (json_int_t)g->options.seed,
                             "currency", g->book.currency, "calls", calls_json(t), "purchases",
                             purchases_json(t), "credits", credits_json(t));
    int written = json ? json_dumpf(json, stdout, JSON_INDENT(2)) : -1;
    json_decref(json);
    if (written != 0)
        return error_set(e, ERROR_RESTART, "the totals cannot be written");
    putchar('\n');
    return 0;
}

static int print_totals(const struct generate *g, const char *format, struct error *e)
{
    if (format && strcmp(format, "json") == 0)
        return print_load_json(g, e);
    print_load_table(g);
    return 0;
}

int cmd_generate(const struct args *args)
{
    struct error e = {0};
    struct generate *g = calloc(1, sizeof *g);
    if (!g)
        return cli_fail("generate", (error_set(&e, ERROR_RESTART, "no memory"), &e));
    int result = -1;
    if (args_load_config(args, &g->config, &e) == 0 &&
        config_read_book(&g->config, &g->book, NULL, NULL, &e) == 0 &&
        read_options(g, args, &e) == 0 && connect_all(g, &e) == 0 && run_workload(g, &e) == 0)
        result = print_totals(g, args_get(args, "format"), &e);
    close_all(g);
    free(g);
    return result == 0 ? 0 : cli_fail("generate", &e);
}
