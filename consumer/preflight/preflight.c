#include "consumer/preflight/preflight.h"

#include "consumer/kafka/fetch_record.h"
#include "consumer/kafka/refusal.h"
#include "consumer/preflight/brokers.h"
#include "consumer/preflight/gates.h"
#include "consumer/preflight/recorded_books.h"
#include "consumer/preflight/schema_ids.h"
#include "consumer/preflight/wanted.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum {
    OUTPUT_BYTES_MIN = 1000000,
    BUSIEST_OF_DAYS = 31,
    WAL_OF_SETTLEMENT = 1900, // bytes, with its lines, its messages and a suspension
    BOOKS_SHOWN = 8,
    RELAY_KEEPS_DAYS = 8,
};

// ---- secrets ----

static void gate_secrets(struct gates *g)
{
    for (size_t i = 0; i < g->config->secret_file_count; i++) {
        struct stat file;
        const char *path = g->config->secret_files[i];
        if (stat(path, &file) == 0 && S_ISREG(file.st_mode) && (file.st_mode & S_IROTH))
            WARN(g,
                 "%s holds a secret, and every user of this machine may read it: chmod o-rwx, or "
                 "give the secret by a file of its own (SETTLED_..._FILE)",
                 path);
    }
}

// ---- the price book and what is recorded ----

static void gate_book(struct gates *g)
{
    struct error e = {0};
    g->book = malloc(sizeof *g->book);
    if (!g->book)
        abort(); // out of memory
    if (config_read_book(g->config, g->book, NULL, NULL, &e) == 0) {
        g->facts |= FACT_BOOK;
        return;
    }
    gates_find_error(g, &e);
    free(g->book);
    g->book = NULL;
}

static void gate_database(struct gates *g)
{
    struct error e = {0};
    if (store_open_all(g->config->dsns, g->config->dsn_count, STORE_WRITES, &g->store, &e) ||
        store_check_session(g->store, &e) || store_check_version(g->store, &e))
        gates_find_error(g, &e);
    else
        g->facts |= FACT_STORE;
}

static void gate_recorded(struct gates *g)
{
    struct error e = {0};
    bool recorded = false;
    g->recorded = calloc(1, sizeof *g->recorded);
    if (!g->recorded)
        abort(); // out of memory
    if (store_load_deployment(g->store, g->recorded, &recorded, &e) != STORE_OK) {
        gates_find_error(g, &e);
        recorded = false; // not all of it is there
    } else if (!recorded || g->recorded->policy.count == 0) {
        g->absent |= FACT_RECORDED | FACT_SAME | FACT_SHARDS;
    }
    if (recorded) {
        g->facts |= FACT_RECORDED;
        return;
    }
    free(g->recorded);
    g->recorded = NULL;
}

// What the first start records.
static void gate_first_start(struct gates *g)
{
    struct error e = {0};
    if (!(g->absent & FACT_RECORDED) || !g->book)
        return;
    struct shelf *shelf = calloc(1, sizeof *shelf);
    if (!shelf)
        abort(); // out of memory
    if (shelf_add(shelf, g->book, &e))
        gates_find_error(g, &e);
    shelf_clear(shelf);
    free(shelf);
}

// In memory are the calls of the open day, of late_days days before it, and early calls of the next
// day.
static void gate_resident_calls(struct gates *g)
{
    struct error e = {0};
    int64_t calls = 0, days = g->config->parameters.late_days + 2, most = g->config->max_calls_held;
    if (store_busiest_day(g->store, BUSIEST_OF_DAYS, &calls, &e) != STORE_OK)
        gates_find_error(g, &e);
    else if (calls > most / days)
        WARN(g,
             "run.max_calls_held is %" PRId64
             ", but the busiest of the last %d settled days had %" PRId64
             " calls, and late_days has %" PRId64
             " days of them held: a process that has all shards needs %" PRId64,
             most, BUSIEST_OF_DAYS, calls, days, calls * days);
}

// A close is written in one go. PostgreSQL begins a checkpoint when half of max_wal_size is full,
// and after it writes each page whole again that the close touches: then the close is slowest.
static void check_write_ahead_log(struct gates *g, struct store *part)
{
    struct error e = {0};
    int64_t settlements = 0, max_wal_size = 0;
    if (store_largest_close(part, BUSIEST_OF_DAYS, &settlements, &max_wal_size, &e) != STORE_OK) {
        gates_find_error(g, &e);
        return;
    }
    int64_t written = settlements * WAL_OF_SETTLEMENT;
    if (max_wal_size < 2 * written)
        WARN(g,
             "PostgreSQL's max_wal_size is %" PRId64
             " MB, but the largest close of the last %d settled days, with %" PRId64
             " settlements, wrote about %" PRId64
             " MB at once: it is interrupted by checkpoints. Set it to %" PRId64 " MB or more",
             max_wal_size >> 20, BUSIEST_OF_DAYS, settlements, written >> 20,
             ((2 * written) >> 20) + 1);
}

static void gate_write_ahead_log(struct gates *g)
{
    for (int i = 0; i < store_parts(g->store); i++)
        check_write_ahead_log(g, store_part(g->store, i));
}

// Whoever may write can put a book into the table: each is named, with who recorded it.
static void gate_books(struct gates *g)
{
    struct error e = {0};
    char text[RECORDED_BOOK_TEXT];
    struct recorded_books *books =
        recorded_books_load(g->store, g->book ? g->book->sha256 : NULL, &e);
    if (!books) {
        gates_find_error(g, &e);
        return;
    }
    size_t from = books->count > BOOKS_SHOWN ? books->count - BOOKS_SHOWN : 0;
    if (from > 0)
        NOTE(g, "%zu older price books are recorded: settled books list names them", from);
    for (size_t i = from; i < books->count; i++)
        gates_find(g, books->list[i].named ? FINDING_NOTE : FINDING_WARNING, ERROR_CONFIG, "%s",
                   recorded_books_text(books, i, text));
    free(books);
}

// Why the configured book could not be recorded now, for one that is not.
static const char *refusal_of_book(struct gates *g, char out[ERROR_TEXT_SIZE])
{
    struct error e = {0};
    day_t latest = DAY_NONE;
    char from[DAY_TEXT_SIZE], day[DAY_TEXT_SIZE];
    const struct policy *policy = &g->recorded->policy;
    if (store_latest_day(g->store, &latest, &e) != STORE_OK) {
        snprintf(out, ERROR_TEXT_SIZE, "%s", e.text);
        return out;
    }
    if (g->book->effective_from != DAY_NONE && g->book->effective_from <= latest) {
        snprintf(
            out, ERROR_TEXT_SIZE,
            "it is effective_from %s, but days up to %s are open or have records: let it start "
            "after that",
            calendar_format_day(g->book->effective_from, from), calendar_format_day(latest, day));
        return out;
    }
    struct shelf *shelf = calloc(1, sizeof *shelf);
    if (!shelf)
        abort(); // out of memory
    bool fits = true;
    for (size_t i = 0; i < policy->shelf.count && fits; i++)
        fits = shelf_add(shelf, policy->shelf.books[i], &e) == 0;
    fits = fits && shelf_add(shelf, g->book, &e) == 0;
    shelf_clear(shelf);
    free(shelf);
    snprintf(out, ERROR_TEXT_SIZE, "%s", e.text);
    return fits ? NULL : out;
}

static void warn_of_difference(struct gates *g, const struct recorded_value *value)
{
    char why[ERROR_TEXT_SIZE];
    const char *refusal = NULL;
    if (strcmp(value->key, "pricing.book") == 0)
        refusal = refusal_of_book(g, why);
    WARN(g,
         "%s is %s, but %s is recorded, which stays in force: put it into the configuration, or "
         "record the configuration with settled parameters apply%s%.400s",
         value->key, value->configured, value->recorded, refusal ? ", which is refused now: " : "",
         refusal ? refusal : "");
}

static void gate_parameters(struct gates *g)
{
    struct recorded_value values[RECORDED_VALUES_MAX];
    if (!g->book || g->recorded->policy.count == 0)
        return;
    size_t count = wanted_compare(&g->config->parameters, g->book, &g->recorded->policy, values);
    for (size_t i = 0; i < count; i++)
        if (values[i].differs)
            warn_of_difference(g, &values[i]);
}

// A held day waits for an operator; the daemon runs on, and a drain ends with 75.
static void gate_shards(struct gates *g)
{
    struct error e = {0};
    char day[DAY_TEXT_SIZE];
    if (recorded_shards_load(g->store, &g->shards, &e)) {
        gates_find_error(g, &e);
        return;
    }
    g->facts |= FACT_SHARDS;
    for (size_t i = 0; i < g->shards.count; i++)
        if (g->shards.list[i].held)
            WARN(g,
                 "shard %" PRId32 ": day %s is held, and no later one settles before it: see "
                 "settled rejects list, then requeue or accept",
                 g->shards.list[i].shard, calendar_format_day(g->shards.list[i].open_day, day));
}

static void check_same(struct gates *g, const char *what, const char *recorded,
                       const char *configured, const char *remedy)
{
    if (strcmp(recorded, configured) != 0)
        WRONG(g, "%s is %s, but %s is recorded in the database: %s", what, configured, recorded,
              remedy);
}

static void check_recorded_topics(struct gates *g)
{
    static const char *const keys[INPUT_COUNT] = {"topics.calls", "topics.purchases",
                                                  "topics.credits"};
    for (int i = 0; i < INPUT_COUNT; i++)
        check_same(g, keys[i], g->recorded->topics[i], g->config->input_topics[i],
                   "the offsets recorded belong to that topic; put it back");
}

static void gate_same(struct gates *g)
{
    static const char never[] = "it never changes; put the recorded value back";
    static const char other[] =
        "a database serves one deployment; use the recorded one, or another database";
    char recorded_day[DAY_TEXT_SIZE], day[DAY_TEXT_SIZE];
    size_t errors = g->out->errors;
    const struct fixed_parameters *fixed = &g->recorded->policy.fixed;
    const struct config *c = g->config;
    check_same(g, "billing.first_day", calendar_format_day(fixed->first_day, recorded_day),
               calendar_format_day(c->first_day, day), never);
    check_same(g, "schemas.framing", framing_symbol(fixed->framing), framing_symbol(c->framing),
               never);
    check_same(g, "billing.timestamps", timestamps_symbol(fixed->timestamps),
               timestamps_symbol(c->timestamps), never);
    check_same(g, "topics.partitioner", partitioner_symbol(fixed->partitioner),
               partitioner_symbol(c->partitioner), never);
    check_same(g, "kafka.group", g->recorded->group, c->group, other);
    check_recorded_topics(g);
    if (g->book)
        check_same(g, "the price book's time zone", fixed->time_zone, g->book->time_zone, never);
    if (g->recorded->cluster_id[0] && g->cluster_id[0])
        check_same(g, "the id of the Kafka cluster", g->recorded->cluster_id, g->cluster_id, other);
    if (g->out->errors == errors)
        g->facts |= FACT_SAME;
}

// ---- schemas ----

static void check_subject(struct gates *g, struct registry *registry, enum output output,
                          bool *reachable)
{
    char name[ADMIN_TOPIC_SIZE + 8];
    int64_t id;
    struct error e = {0};
    const struct subject subject = subject_of_output(g->config, output);
    enum registry_result result = schema_id_find(registry, g->config->framing, &subject, &id, &e);
    if (result != REGISTRY_FOUND) {
        gates_find_error(g, &e);
        *reachable = result != REGISTRY_UNAVAILABLE;
        return;
    }
    snprintf(name, sizeof name, "%s-value", subject.topic);
    char *level = NULL;
    if (registry_compatibility(registry, name, &level, &e)) {
        gates_find_error(g, &e);
        *reachable = false;
    } else if (level && strcmp(level, "FULL_TRANSITIVE") != 0) {
        WARN(g,
             "schema registry: subject %s has compatibility %s, not FULL_TRANSITIVE; run settled "
             "schemas register",
             name, level);
    }
    free(level);
}

static void gate_schemas(struct gates *g)
{
    struct registry *registry = NULL;
    struct error e = {0};
    if (registry_create(&g->config->registry, &registry, &e)) {
        gates_find_error(g, &e);
        return;
    }
    bool reachable = true;
    for (enum output o = 0; o < OUTPUT_COUNT && reachable; o++)
        check_subject(g, registry, o, &reachable);
    registry_destroy(registry);
}

// ---- topics ----

static const char *setting(const struct admin_topic *topic, const char *name)
{
    const struct admin_setting *found = admin_setting(&topic->settings, name);
    return found ? found->value : "";
}

static int64_t number(const struct admin_topic *topic, const char *name)
{
    return strtoll(setting(topic, name), NULL, 10);
}

#define APPLY "run settled topics apply"

static void check_partitions(struct gates *g)
{
    char counts[ERROR_TEXT_SIZE / 2] = "";
    int32_t first = 0;
    bool equal = true;
    for (int i = 0; i < TOPIC_COUNT; i++) {
        const struct admin_topic *t = &g->topics[i];
        if (!t->exists)
            continue;
        size_t used = strlen(counts);
        snprintf(counts + used, sizeof counts - used, "%s%s %" PRId32, used ? ", " : "", t->name,
                 t->partitions);
        if (first == 0)
            first = t->partitions;
        equal = equal && t->partitions == first;
        struct error e;
        int32_t recorded = g->recorded ? g->recorded->policy.fixed.partitions : t->partitions;
        if (t->partitions == recorded)
            continue;
        client_wrong_count(t->name, t->partitions, recorded, &e);
        gates_find_error(g, &e);
    }
    if (!equal && !g->recorded)
        WRONG(g, "the topics differ in partitions (%s): they need one count; create them anew",
              counts);
}

static void check_retention(struct gates *g, enum input input)
{
    const struct admin_topic *t = &g->topics[input];
    int64_t kept_ms = number(t, "retention.ms"), bytes = number(t, "retention.bytes");
    int64_t needed_ms = (g->config->parameters.late_days + 2) * DAY_MS;
    if (input != INPUT_CALLS) {
        if (kept_ms != -1 || bytes != -1)
            WRONG(g,
                  "topic %s expires (retention.ms %" PRId64 ", retention.bytes %" PRId64
                  "): it must not, replays and "
                  "audits begin at its start; " APPLY,
                  t->name, kept_ms, bytes);
        return;
    }
    if (kept_ms != -1 && kept_ms < needed_ms)
        WRONG(g,
              "topic %s keeps records for %" PRId64
              " h only (retention.ms): a restart needs late_days + 2 days, %" PRId64
              " h, and more while a day is held; " APPLY,
              t->name, kept_ms / 3600000, needed_ms / 3600000);
    else if (kept_ms != -1 && g->config->timestamps == TIMESTAMPS_CREATE)
        WARN(g,
             "topic %s expires by the producers' timestamps (retention.ms %" PRId64
             "): records with an old one go at "
             "once; " APPLY,
             t->name, kept_ms);
    if (bytes != -1)
        WARN(g,
             "topic %s expires by size (retention.bytes %" PRId64
             "): it may go before late_days + 2 days; " APPLY,
             t->name, bytes);
}

static void check_input(struct gates *g, enum input input)
{
    const struct admin_topic *t = &g->topics[input];
    const char *wanted =
        g->config->timestamps == TIMESTAMPS_CREATE ? "CreateTime" : "LogAppendTime";
    if (strcmp(setting(t, "message.timestamp.type"), wanted) != 0)
        WRONG(g, "topic %s has message.timestamp.type %s, but billing.timestamps needs %s; " APPLY,
              t->name, setting(t, "message.timestamp.type"), wanted);
    check_retention(g, input);
}

// What was published is compared with the topic, and published again if it was lost, for as long as
// the outbox keeps its rows.
static void check_kept(struct gates *g, const struct admin_topic *t)
{
    int64_t kept_ms = number(t, "retention.ms"), bytes = number(t, "retention.bytes");
    if (kept_ms != -1 && kept_ms < (RELAY_KEEPS_DAYS + 1) * DAY_MS)
        WRONG(g,
              "topic %s keeps records for %" PRId64
              " h only (retention.ms): what was published is compared with it for %d days; " APPLY,
              t->name, kept_ms / 3600000, RELAY_KEEPS_DAYS);
    else if (kept_ms != -1 || bytes != -1)
        WARN(g,
             "topic %s expires (retention.ms %" PRId64 ", retention.bytes %" PRId64
             "): no audit can look further back; " APPLY,
             t->name, kept_ms, bytes);
}

static void check_output(struct gates *g, const struct admin_topic *t)
{
    check_kept(g, t);
    int64_t largest = 0, bytes = number(t, "max.message.bytes");
    for (int i = 0; i < INPUT_COUNT; i++)
        if (g->topics[i].exists && number(&g->topics[i], "max.message.bytes") > largest)
            largest = number(&g->topics[i], "max.message.bytes");
    if (bytes < OUTPUT_BYTES_MIN)
        WRONG(g,
              "topic %s takes records of %" PRId64
              " bytes only (max.message.bytes); a record may need %d; " APPLY,
              t->name, bytes, OUTPUT_BYTES_MIN);
    else if (bytes <= largest)
        WARN(g,
             "topic %s takes no larger records than the inputs (max.message.bytes %" PRId64
             "); " APPLY,
             t->name, bytes);
}

static void check_compaction(struct gates *g, const struct admin_topic *t)
{
    const char *cleanup = setting(t, "cleanup.policy");
    if (strcmp(cleanup, "delete") != 0)
        WRONG(g, "topic %s has cleanup.policy %s: compaction would take records away; " APPLY,
              t->name, cleanup);
}

static bool has_one_replica(const struct admin_topic *t)
{
    return t->replicas == 1;
}

static bool trusts_one_broker(const struct admin_topic *t)
{
    return t->replicas > 1 && number(t, "min.insync.replicas") < 2;
}

static bool elects_uncleanly(const struct admin_topic *t)
{
    return strcmp(setting(t, "unclean.leader.election.enable"), "true") == 0;
}

// One warning for all topics with the same fault, since usually all of them have it.
static void warn_of(struct gates *g, bool holds(const struct admin_topic *t), const char *what)
{
    char names[ERROR_TEXT_SIZE / 2] = "";
    for (int i = 0; i < TOPIC_COUNT; i++) {
        size_t used = strlen(names);
        if (g->topics[i].exists && holds(&g->topics[i]))
            snprintf(names + used, sizeof names - used, "%s%s", used ? ", " : "",
                     g->topics[i].name);
    }
    if (*names)
        WARN(g, "%s: %s", names, what);
}

static void check_durability(struct gates *g)
{
    warn_of(g, has_one_replica,
            "one replica: a lost disk is lost money; give them 3 and min.insync.replicas 2");
    warn_of(g, trusts_one_broker,
            "min.insync.replicas 1: the loss of one broker can lose records; set it to 2");
    warn_of(g, elects_uncleanly,
            "unclean.leader.election.enable true: an election can lose records; " APPLY);
}

static void tell_missing(struct gates *g, const char *topic, bool input)
{
    struct error e = {0};
    rd_kafka_t *consumer =
        client_create_reader(&g->properties, g->config->group, &(struct client_properties){0}, &e);
    bool hidden = consumer && !client_may_see(consumer, topic, GATES_KAFKA_MS);
    const unsigned operations = REFUSAL_READ | REFUSAL_DESCRIBE_CONFIGS;
    const struct refusal_call call = {
        .topic = topic, .operations = input ? operations : operations | REFUSAL_WRITE};
    if (!hidden)
        WRONG(g, "topic %s does not exist; " APPLY, topic);
    else if (refusal_explain(consumer, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, &call, &e))
        gates_find_error(g, &e);
    if (consumer)
        client_destroy_reader(consumer);
}

static void gate_topics(struct gates *g)
{
    for (int i = 0; i < TOPIC_COUNT; i++) {
        const struct admin_topic *t = &g->topics[i];
        if (!t->exists) {
            tell_missing(g, t->name, i < INPUT_COUNT);
            continue;
        }
        check_compaction(g, t);
        if (i < INPUT_COUNT)
            check_input(g, (enum input)i);
        else
            check_output(g, t);
    }
    check_partitions(g);
    check_durability(g);
}

// ---- brokers ----

// One finding for all brokers with the same fault, since usually all of them have it.
static void check_fencing(struct gates *g, const struct admin_broker *brokers, size_t count,
                          enum broker_fencing what)
{
    char ids[ERROR_TEXT_SIZE / 4] = "";
    size_t found = 0;
    for (size_t i = 0; i < count; i++) {
        size_t used = strlen(ids);
        if (broker_fencing(&brokers[i]) == what)
            snprintf(ids + used, sizeof ids - used, "%s%" PRId32, found++ ? ", " : "",
                     brokers[i].id);
    }
    assert(broker_verdicts[what].text != NULL);
    char command[REFUSAL_COMMAND_SIZE] = "";
    if (what == BROKER_FORBIDS)
        (void)refusal_command(admin_client(g->admin),
                              RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED,
                              &(struct refusal_call){.cluster = true}, command);
    if (found)
        gates_find(g, broker_verdicts[what].refused ? FINDING_ERROR : FINDING_WARNING, ERROR_CONFIG,
                   "Kafka broker%s %s: %s%s", found == 1 ? "" : "s", ids,
                   broker_verdicts[what].text, command);
}

// A transaction that the brokers would still end by themselves must not be given up before.
static void check_transaction_wait(struct gates *g, const struct admin_broker *brokers,
                                   size_t count)
{
    int64_t longest = 0;
    for (size_t i = 0; i < count; i++) {
        const struct admin_setting *s =
            admin_setting(&brokers[i].settings, "transaction.max.timeout.ms");
        int64_t most = s ? strtoll(s->value, NULL, 10) : 0;
        longest = most > longest ? most : longest;
    }
    if (longest > g->config->open_transaction_wait_ms)
        WARN(g,
             "run.open_transaction_wait is %" PRId64
             " s, but a Kafka broker lets a transaction stay open for %" PRId64
             " s (transaction.max.timeout.ms): a day may be cut before top-ups that a producer "
             "commits in time; raise the one or lower the other",
             g->config->open_transaction_wait_ms / 1000, longest / 1000);
}

static void gate_brokers(struct gates *g)
{
    struct admin_broker *brokers = NULL;
    size_t count = 0;
    struct error e = {0};
    if (admin_describe_brokers(g->admin, &brokers, &count, &e)) {
        gates_find_error(g, &e);
        return;
    }
    for (int what = BROKER_FENCES + 1; what < BROKER_FENCINGS; what++)
        check_fencing(g, brokers, count, (enum broker_fencing)what);
    check_transaction_wait(g, brokers, count);
    admin_release_brokers(brokers, count);
}

// ---- the cluster ----

static void gate_cluster(struct gates *g)
{
    const char *names[TOPIC_COUNT];
    struct error e = {0};
    for (int i = 0; i < INPUT_COUNT; i++)
        names[i] = g->config->input_topics[i];
    for (int i = 0; i < OUTPUT_COUNT; i++)
        names[INPUT_COUNT + i] = g->config->output_topics[i];
    if (admin_create(&g->properties, GATES_KAFKA_MS, &g->admin, &e) ||
        admin_cluster(g->admin, g->cluster_id, &e) ||
        admin_describe(g->admin, names, TOPIC_COUNT, g->topics, &e))
        gates_find_error(g, &e);
    else
        g->facts |= FACT_CLUSTER;
}

// ---- all of them ----

// The gates in the order in which they are passed, each with what it needs. What another has not
// found out is said, and the gate is not passed.
static const struct {
    const char *name;
    unsigned needs; // enum gates_fact
    void (*pass)(struct gates *g);
} gates[] = {
    {"secrets", 0, gate_secrets},
    {"http", 0, gate_http},
    {"snapshots", 0, gate_snapshots},
    {"price book", 0, gate_book},
    {"database", 0, gate_database},
    {"recorded deployment", FACT_STORE, gate_recorded},
    {"first start", FACT_STORE, gate_first_start},
    {"calls in memory", FACT_RECORDED, gate_resident_calls},
    {"write-ahead log", FACT_RECORDED, gate_write_ahead_log},
    {"parameters", FACT_RECORDED | FACT_BOOK, gate_parameters},
    {"recorded price books", FACT_STORE, gate_books},
    {"shards", FACT_RECORDED, gate_shards},
    {"schemas", 0, gate_schemas},
    {"cluster", 0, gate_cluster},
    {"brokers", FACT_CLUSTER, gate_brokers},
    {"topics", FACT_CLUSTER, gate_topics},
    {"what never changes", FACT_RECORDED, gate_same},
    {"permissions", FACT_CLUSTER, gate_permissions},
    {"ends of the topics", FACT_CLUSTER, gate_ends},
    {"records of the topics", FACT_ENDS, gate_records},
    {"clock", FACT_READ | FACT_CLOCK, gate_clock},
    {"positions", FACT_READ | FACT_SHARDS | FACT_SAME, gate_positions},
    {"published rows", FACT_READ | FACT_SHARDS | FACT_SAME | FACT_GROUPS, gate_published},
};
enum { GATES = sizeof gates / sizeof *gates };

static const struct {
    enum gates_fact fact;
    const char *name;
} facts[] = {
    {FACT_BOOK, "the price book"},
    {FACT_STORE, "the database"},
    {FACT_RECORDED, "what is recorded"},
    {FACT_CLUSTER, "the Kafka cluster"},
    {FACT_SAME, "the topics and the cluster that are recorded"},
    {FACT_SHARDS, "the positions of the shards"},
    {FACT_ENDS, "the ends of the topics"},
    {FACT_READ, "the last records of the topics"},
    {FACT_GROUPS, "the permission for the group of the relay"},
    {FACT_CLOCK, "the real clock"},
};

static void pass_gate(struct gates *g, size_t i)
{
    unsigned missing = gates[i].needs & ~g->facts;
    g->gate = gates[i].name;
    if (!missing) {
        gates[i].pass(g);
        return;
    }
    if (missing & g->absent)
        return; // there is nothing to look at yet
    for (size_t f = 0; f < sizeof facts / sizeof *facts; f++)
        if (missing & facts[f].fact) {
            NOTE(g, "not looked at: %s, which needs %s", gates[i].name, facts[f].name);
            return;
        }
    assert(!"each fact has a name");
}

static void release_gates(struct gates *g)
{
    fetch_record_close(g->reader);
    admin_release(g->topics, TOPIC_COUNT);
    admin_destroy(g->admin);
    for (int i = 0; i < TOPIC_COUNT; i++)
        free(g->partitions[i]);
    free(g->shards.list);
    store_close(g->store);
    if (g->recorded)
        shelf_clear(&g->recorded->policy.shelf);
    free(g->recorded);
    free(g->book);
}

void preflight_check(const struct config *config, int64_t now_ms, struct findings *out)
{
    const char *pairs[CONFIG_PAIRS_MAX][2];
    struct gates g = {.config = config, .now_ms = now_ms, .out = out};
    *out = (struct findings){0};
    g.properties = config_properties(config, pairs);
    if (now_ms >= 0)
        g.facts |= FACT_CLOCK;
    for (size_t i = 0; i < GATES; i++)
        pass_gate(&g, i);
    release_gates(&g);
}

int preflight_verdict(const struct findings *findings, struct error *e)
{
    const struct finding *worst = NULL;
    for (size_t i = 0; i < findings->count; i++) {
        const struct finding *f = &findings->list[i];
        if (f->level != FINDING_ERROR)
            continue;
        if (!worst || (worst->kind == ERROR_UNAVAILABLE && f->kind != ERROR_UNAVAILABLE))
            worst = f;
    }
    if (!worst)
        return 0;
    if (findings->errors == 1)
        return error_set(e, worst->kind, "%s", worst->text);
    return error_set(e, worst->kind, "%s (and %zu more: settled check names them)", worst->text,
                     findings->errors - 1);
}
