#include "consumer/preflight/preflight.h"

#include "consumer/kafka/admin.h"
#include "consumer/kafka/fetch_record.h"
#include "consumer/postgres/store.h"
#include "consumer/preflight/brokers.h"
#include "consumer/preflight/recorded_books.h"
#include "consumer/preflight/topics.h"
#include "consumer/preflight/wanted.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { KAFKA_TIMEOUT_MS = 5000, OUTPUT_BYTES_MIN = 1000000, BUSIEST_OF_DAYS = 31, BOOKS_SHOWN = 8 };

struct gates {
    const struct config *config;
    int64_t now_ms;
    struct findings *out;
    struct book *book; // NULL: it could not be read
    struct deployment *recorded; // NULL: nothing is, or the database does not say
    struct admin_topic topics[TOPIC_COUNT]; // inputs, then outputs
    char cluster_id[ADMIN_CLUSTER_ID_SIZE]; // "": not known
};

static void find(struct gates *g, enum finding_level level, enum error_kind kind,
                 const char *format, ...) __attribute__((format(printf, 4, 5)));

static void find(struct gates *g, enum finding_level level, enum error_kind kind,
                 const char *format, ...)
{
    struct findings *out = g->out;
    assert(kind != ERROR_NONE); // the process ends with it
    assert(out->count <= FINDINGS_MAX);
    if (level == FINDING_ERROR)
        out->errors++;
    if (out->count == FINDINGS_MAX) {
        snprintf(out->list[FINDINGS_MAX - 1].text, ERROR_TEXT_SIZE, "and more; mend these first");
        return;
    }
    struct finding *finding = &out->list[out->count++];
    finding->level = level;
    finding->kind = kind;
    va_list args;
    va_start(args, format);
    vsnprintf(finding->text, sizeof finding->text, format, args);
    va_end(args);
}

static void find_error(struct gates *g, const struct error *e)
{
    find(g, FINDING_ERROR, e->kind, "%s", e->text);
}

#define WRONG(g, ...) find(g, FINDING_ERROR, ERROR_CONFIG, __VA_ARGS__)
#define WARN(g, ...) find(g, FINDING_WARNING, ERROR_CONFIG, __VA_ARGS__)
#define NOTE(g, ...) find(g, FINDING_NOTE, ERROR_CONFIG, __VA_ARGS__)

// ---- secrets ----

static void check_secret_files(struct gates *g)
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

static void check_book(struct gates *g)
{
    struct error e = {0};
    g->book = malloc(sizeof *g->book);
    if (!g->book)
        abort(); // out of memory
    if (config_read_book(g->config, g->book, NULL, NULL, &e) == 0)
        return;
    find_error(g, &e);
    free(g->book);
    g->book = NULL;
}

static void load_recorded(struct gates *g, struct store *store)
{
    struct error e = {0};
    bool recorded = false;
    if (store_check_version(store, &e)) {
        find_error(g, &e);
        return;
    }
    g->recorded = calloc(1, sizeof *g->recorded);
    if (!g->recorded)
        abort(); // out of memory
    if (store_load_deployment(store, g->recorded, &recorded, &e) != STORE_OK) {
        find_error(g, &e);
        recorded = false; // not all of it is there
    }
    if (recorded)
        return;
    free(g->recorded);
    g->recorded = NULL;
}

// In memory are the calls of the open day, of late_days days before it, and early calls of the next
// day.
static void check_resident_calls(struct gates *g, struct store *store)
{
    struct error e = {0};
    int64_t calls = 0, days = g->config->parameters.late_days + 2, most = g->config->max_calls_held;
    if (store_busiest_day(store, BUSIEST_OF_DAYS, &calls, &e) != STORE_OK)
        find_error(g, &e);
    else if (calls > most / days)
        WARN(g,
             "run.max_calls_held is %" PRId64
             ", but the busiest of the last %d settled days had %" PRId64
             " calls, and late_days has %" PRId64
             " days of them held: a process that has all shards needs %" PRId64,
             most, BUSIEST_OF_DAYS, calls, days, calls * days);
}

// Whoever may write can put a book into the table: each is named, with who recorded it.
static void check_books(struct gates *g, struct store *store)
{
    struct error e = {0};
    char text[RECORDED_BOOK_TEXT];
    struct recorded_books *books = recorded_books_load(store, g->book ? g->book->sha256 : NULL, &e);
    if (!books) {
        find_error(g, &e);
        return;
    }
    size_t from = books->count > BOOKS_SHOWN ? books->count - BOOKS_SHOWN : 0;
    if (from > 0)
        NOTE(g, "%zu older price books are recorded: settled books list names them", from);
    for (size_t i = from; i < books->count; i++)
        find(g, books->list[i].named ? FINDING_NOTE : FINDING_WARNING, ERROR_CONFIG, "%s",
             recorded_books_text(books, i, text));
    free(books);
}

// Why the configured book could not be recorded now, for one that is not.
static const char *refusal_of_book(struct gates *g, struct store *store, char out[ERROR_TEXT_SIZE])
{
    struct error e = {0};
    day_t latest = DAY_NONE;
    char from[DAY_TEXT_SIZE], day[DAY_TEXT_SIZE];
    const struct policy *policy = &g->recorded->policy;
    if (store_latest_day(store, &latest, &e) != STORE_OK) {
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

static void warn_of_difference(struct gates *g, struct store *store,
                               const struct recorded_value *value)
{
    char why[ERROR_TEXT_SIZE];
    const char *refusal = NULL;
    if (strcmp(value->key, "pricing.book") == 0)
        refusal = refusal_of_book(g, store, why);
    WARN(g,
         "%s is %s, but %s is recorded, which stays in force: put it into the configuration, or "
         "record the configuration with settled parameters apply%s%.400s",
         value->key, value->configured, value->recorded, refusal ? ", which is refused now: " : "",
         refusal ? refusal : "");
}

static void check_parameters(struct gates *g, struct store *store)
{
    struct recorded_value values[RECORDED_VALUES_MAX];
    if (!g->book || g->recorded->policy.count == 0)
        return;
    size_t count = wanted_compare(&g->config->parameters, g->book, &g->recorded->policy, values);
    for (size_t i = 0; i < count; i++)
        if (values[i].differs)
            warn_of_difference(g, store, &values[i]);
}

static void check_database(struct gates *g)
{
    struct error e = {0};
    struct store *store = NULL;
    if (store_open(g->config->dsn, STORE_WRITES, &store, &e))
        find_error(g, &e);
    else if (store_check_session(store, &e))
        find_error(g, &e);
    else
        load_recorded(g, store);
    if (g->recorded) {
        check_resident_calls(g, store);
        check_parameters(g, store);
        check_books(g, store);
    }
    store_close(store);
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

static void check_recorded(struct gates *g)
{
    static const char never[] = "it never changes; put the recorded value back";
    static const char other[] =
        "a database serves one deployment; use the recorded one, or another database";
    char recorded_day[DAY_TEXT_SIZE], day[DAY_TEXT_SIZE];
    if (!g->recorded)
        return;
    const struct fixed_parameters *fixed = &g->recorded->policy.fixed;
    const struct config *c = g->config;
    check_same(g, "billing.first_day", calendar_format_day(fixed->first_day, recorded_day),
               calendar_format_day(c->first_day, day), never);
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
}

// ---- schemas ----

static void check_subject(struct gates *g, struct registry *registry, enum output output,
                          bool *reachable)
{
    char subject[ADMIN_TOPIC_SIZE + 8];
    int32_t id;
    struct error e = {0};
    snprintf(subject, sizeof subject, "%s-value", g->config->output_topics[output]);
    switch (registry_lookup(registry, subject, schema_of_output(output), &id, &e)) {
    case REGISTRY_FOUND:
        break;
    case REGISTRY_ABSENT:
        WRONG(g,
              "schema registry: subject %s does not hold this program's %s; run settled schemas "
              "register",
              subject, record_name_of_output(output));
        return;
    case REGISTRY_UNAVAILABLE:
        find_error(g, &e);
        *reachable = false;
        return;
    }
    char *level = NULL;
    if (registry_compatibility(registry, subject, &level, &e)) {
        find_error(g, &e);
        *reachable = false;
    } else if (level && strcmp(level, "FULL_TRANSITIVE") != 0) {
        WARN(g,
             "schema registry: subject %s has compatibility %s, not FULL_TRANSITIVE; run settled "
             "schemas register",
             subject, level);
    }
    free(level);
}

static void check_schemas(struct gates *g)
{
    struct registry *registry = NULL;
    struct error e = {0};
    if (registry_create(&g->config->registry, &registry, &e)) {
        find_error(g, &e);
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
        find_error(g, &e);
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

static void check_output(struct gates *g, const struct admin_topic *t)
{
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

static void check_topics(struct gates *g)
{
    for (int i = 0; i < TOPIC_COUNT; i++) {
        const struct admin_topic *t = &g->topics[i];
        if (!t->exists) {
            WRONG(g, "topic %s does not exist; " APPLY, t->name);
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
    if (found)
        find(g, broker_verdicts[what].refused ? FINDING_ERROR : FINDING_WARNING, ERROR_CONFIG,
             "Kafka broker%s %s: %s", found == 1 ? "" : "s", ids, broker_verdicts[what].text);
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

static void check_brokers(struct gates *g, struct admin *admin)
{
    struct admin_broker *brokers = NULL;
    size_t count = 0;
    struct error e = {0};
    if (admin_describe_brokers(admin, &brokers, &count, &e)) {
        find_error(g, &e);
        return;
    }
    for (int what = BROKER_FENCES + 1; what < BROKER_FENCINGS; what++)
        check_fencing(g, brokers, count, (enum broker_fencing)what);
    check_transaction_wait(g, brokers, count);
    admin_release_brokers(brokers, count);
}

// A broker cannot be asked for its time, but timestamps show it: if the last record is from the
// future, a clock is wrong. That is not an error: only this log waits, the clock may be right again
// by then, and a record can be passed only while the daemon runs.
static void check_clock(struct gates *g, const struct client_properties *properties)
{
    struct record_fetcher *peek = NULL;
    struct error e = {0};
    if (fetch_record_open(properties, g->config->group, &peek, &e)) {
        find_error(g, &e);
        return;
    }
    for (int i = 0; i < INPUT_COUNT; i++) {
        const struct admin_topic *t = &g->topics[i];
        struct newest_record newest;
        if (!t->exists)
            continue;
        if (fetch_record_newest(peek, t->name, t->partitions, KAFKA_TIMEOUT_MS, &newest, &e)) {
            find_error(g, &e);
            break;
        }
        if (newest.partition >= 0 &&
            newest.timestamp_ms > g->now_ms + g->config->parameters.future_tolerance_ms)
            WARN(g,
                 "the last record of %s/%" PRId32 " was stamped %" PRId64
                 " s ahead of this clock, and its log waits "
                 "before it: set the clock here or of the brokers; if the record is wrong, pass "
                 "it: settled rejects "
                 "pass",
                 t->name, newest.partition, (newest.timestamp_ms - g->now_ms) / 1000);
    }
    fetch_record_close(peek);
}

static void check_kafka(struct gates *g)
{
    const char *pairs[CONFIG_PAIRS_MAX][2], *names[TOPIC_COUNT];
    struct client_properties properties = config_properties(g->config, pairs);
    struct admin *admin = NULL;
    struct error e = {0};
    for (int i = 0; i < INPUT_COUNT; i++)
        names[i] = g->config->input_topics[i];
    for (int i = 0; i < OUTPUT_COUNT; i++)
        names[INPUT_COUNT + i] = g->config->output_topics[i];
    if (admin_create(&properties, KAFKA_TIMEOUT_MS, &admin, &e) ||
        admin_cluster(admin, g->cluster_id, &e) ||
        admin_describe(admin, names, TOPIC_COUNT, g->topics, &e)) {
        find_error(g, &e);
    } else {
        check_brokers(g, admin);
        check_topics(g);
        if (g->now_ms >= 0)
            check_clock(g, &properties);
    }
    admin_destroy(admin);
}

void preflight_check(const struct config *config, int64_t now_ms, struct findings *out)
{
    struct gates g = {.config = config, .now_ms = now_ms, .out = out};
    *out = (struct findings){0};
    check_secret_files(&g);
    check_book(&g);
    check_database(&g);
    check_schemas(&g);
    check_kafka(&g);
    check_recorded(&g);
    admin_release(g.topics, TOPIC_COUNT);
    if (g.recorded)
        shelf_clear(&g.recorded->policy.shelf);
    free(g.recorded);
    free(g.book);
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
