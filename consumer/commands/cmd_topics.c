#include "consumer/cli/args_config.h"
#include "consumer/cli/cli_fail.h"
#include "consumer/commands/commands.h"
#include "consumer/kafka/admin.h"
#include "consumer/preflight/topics.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ADMIN_TIMEOUT_MS = 5000, PATIENCE_MS = 15000, LOOK_AGAIN_MS = 100 };

struct applying {
    struct admin *admin;
    const struct declaration *wanted;
    struct admin_topic found[TOPIC_COUNT];
};

static int look(struct applying *a, struct error *e)
{
    const char *names[TOPIC_COUNT];
    for (size_t i = 0; i < TOPIC_COUNT; i++)
        names[i] = a->wanted->topics[i].name;
    admin_release(a->found, TOPIC_COUNT);
    return admin_describe(a->admin, names, TOPIC_COUNT, a->found, e);
}

// Names all topics with another partition count, before anything is changed.
static int check_partitions(const struct applying *a, struct error *e)
{
    char wrong[ERROR_TEXT_SIZE] = "";
    for (size_t i = 0; i < TOPIC_COUNT; i++) {
        const struct admin_topic *t = &a->found[i];
        size_t used = strlen(wrong);
        if (t->exists && t->partitions != a->wanted->partitions)
            snprintf(wrong + used, sizeof wrong - used, "%s%s has %d", used ? ", " : "", t->name,
                     t->partitions);
    }
    if (!*wrong)
        return 0;
    return error_set(
        e, ERROR_CONFIG,
        "%d partitions are declared, but %s; partition counts never change, as accounts would "
        "move: "
        "declare what is there (--partitions), or name other topics; nothing was changed",
        a->wanted->partitions, wrong);
}

static int create_missing(struct applying *a, struct error *e)
{
    for (size_t i = 0; i < TOPIC_COUNT; i++) {
        const struct topic_wish *topic = &a->wanted->topics[i];
        const char *pairs[TOPIC_SETTINGS_MAX][2];
        struct client_properties settings = {.pairs = pairs};
        if (a->found[i].exists)
            continue;
        for (size_t j = 0; j < topic->count; j++) {
            if (topic->settings[j].optional)
                continue;
            pairs[settings.count][0] = topic->settings[j].name;
            pairs[settings.count++][1] = topic->settings[j].value;
        }
        if (admin_create_topic(a->admin, topic->name, a->wanted->partitions, a->wanted->replicas,
                               &settings, e))
            return -1;
        printf("created    %s, %d partitions\n", topic->name, a->wanted->partitions);
    }
    return 0;
}

// Whether the broker reports the setting as declared and as the topic's own; a default of the
// broker may change. A setting that the broker does not know counts as set if the declaration marks
// it as optional.
static bool is_set(const struct admin_topic *found, const struct topic_setting *wanted)
{
    const struct admin_setting *now = admin_setting(&found->settings, wanted->name);
    if (!now)
        return wanted->optional;
    return now->own && strcmp(now->value, wanted->value) == 0;
}

static const struct topic_setting *first_unset(const struct topic_wish *topic,
                                               const struct admin_topic *found)
{
    for (size_t i = 0; i < topic->count; i++)
        if (!is_set(found, &topic->settings[i]))
            return &topic->settings[i];
    return NULL;
}

static int set_settings(struct applying *a, const struct topic_wish *topic,
                        const struct admin_topic *found, bool created, struct error *e)
{
    const char *pairs[TOPIC_SETTINGS_MAX][2];
    struct client_properties changes = {.pairs = pairs};
    for (size_t i = 0; i < topic->count; i++) {
        if (is_set(found, &topic->settings[i]))
            continue;
        pairs[changes.count][0] = topic->settings[i].name;
        pairs[changes.count++][1] = topic->settings[i].value;
    }
    if (changes.count == 0 && !created)
        printf("unchanged  %s\n", topic->name);
    if (changes.count == 0)
        return 0;
    if (admin_alter_topic(a->admin, found, &changes, e))
        return -1;
    if (created)
        return 0; // part of its creation
    for (size_t i = 0; i < changes.count; i++) {
        const struct admin_setting *was = admin_setting(&found->settings, pairs[i][0]);
        printf("set        %s, %s: %s%s%s\n", topic->name, pairs[i][0], pairs[i][1],
               was ? ", was " : "", was ? was->value : "");
    }
    return 0;
}

// Whether the brokers already show all that they were asked to do; if not, *what says what is
// missing.
typedef bool shown_fn(const struct applying *a, char what[ERROR_TEXT_SIZE]);

static bool shows_topics(const struct applying *a, char what[ERROR_TEXT_SIZE])
{
    for (size_t i = 0; i < TOPIC_COUNT; i++) {
        if (a->found[i].exists)
            continue;
        snprintf(what, ERROR_TEXT_SIZE, "topic %s was created", a->found[i].name);
        return false;
    }
    return true;
}

static bool shows_settings(const struct applying *a, char what[ERROR_TEXT_SIZE])
{
    for (size_t i = 0; i < TOPIC_COUNT; i++) {
        const struct topic_setting *unset = first_unset(&a->wanted->topics[i], &a->found[i]);
        if (!unset)
            continue;
        const struct admin_setting *now = admin_setting(&a->found[i].settings, unset->name);
        snprintf(what, ERROR_TEXT_SIZE,
                 "topic %s was given %s: %s (now %s; a declaration writes it as Kafka does)",
                 a->found[i].name, unset->name, unset->value, now ? now->value : "unknown");
        return false;
    }
    return true;
}

// A broker may answer before it knows what the controller did. Then `settled check`, run right
// after this, would still report what is already corrected.
static int await_shown(struct applying *a, shown_fn *is_shown, struct error *e)
{
    for (int waited_ms = 0;; waited_ms += LOOK_AGAIN_MS) {
        char what[ERROR_TEXT_SIZE];
        if (look(a, e))
            return -1;
        if (is_shown(a, what))
            return 0;
        if (waited_ms >= PATIENCE_MS)
            return error_set(e, ERROR_UNAVAILABLE,
                             "%s, but the brokers do not show it after %d s; run it again", what,
                             PATIENCE_MS / 1000);
        nanosleep(&(struct timespec){.tv_nsec = LOOK_AGAIN_MS * 1000000L}, NULL);
    }
}

static int apply(struct applying *a, struct error *e)
{
    bool existed[TOPIC_COUNT];
    if (look(a, e) || check_partitions(a, e))
        return -1;
    for (size_t i = 0; i < TOPIC_COUNT; i++)
        existed[i] = a->found[i].exists;
    if (create_missing(a, e) || await_shown(a, shows_topics, e) || check_partitions(a, e))
        return -1;
    for (size_t i = 0; i < TOPIC_COUNT; i++) {
        if (set_settings(a, &a->wanted->topics[i], &a->found[i], !existed[i], e))
            return -1;
    }
    return await_shown(a, shows_settings, e);
}

static int declare(const struct args *args, const struct config *config, struct declaration *out,
                   struct error *e)
{
    int64_t partitions, replicas;
    if (topics_declare(args_get(args, "file"), config, out, e) ||
        args_integer(args, "partitions", 1, 10000, out->partitions, &partitions, e) ||
        args_integer(args, "replication", -1, 1000, out->replicas, &replicas, e))
        return -1;
    if (replicas == 0)
        return error_set(e, ERROR_USAGE, "option --replication: 0 replicas keep nothing");
    out->partitions = (int32_t)partitions;
    out->replicas = (int)replicas;
    return 0;
}

int cmd_topics(const struct args *args)
{
    struct config config;
    struct error e = {0};
    struct declaration *wanted = calloc(1, sizeof *wanted);
    struct applying a = {.wanted = wanted};
    const char *pairs[CONFIG_PAIRS_MAX][2];
    int status = wanted ? args_load_config(args, &config, &e)
                        : error_set(&e, ERROR_RESTART, "out of memory");
    if (status == 0)
        status = declare(args, &config, wanted, &e);
    if (status == 0) {
        struct client_properties properties = config_properties(&config, pairs);
        status = admin_create(&properties, ADMIN_TIMEOUT_MS, &a.admin, &e);
    }
    if (status == 0)
        status = apply(&a, &e);
    admin_release(a.found, TOPIC_COUNT);
    admin_destroy(a.admin);
    if (wanted)
        config_free(&config);
    free(wanted);
    return status == 0 ? 0 : cli_fail("topics", &e);
}
