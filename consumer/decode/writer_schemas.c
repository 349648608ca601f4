#include "consumer/decode/writer_schemas.h"
#include "consumer/system/clock.h"

#include "consumer/postgres/store.h"
#include "consumer/system/fault.h"
#include "consumer/system/log.h"
#include "consumer/system/thread.h"

#include <assert.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    UNKNOWN_MAX = 1024, // ids that nobody has: forgotten beyond this, and asked for again
    RETRY_MIN_MS = 200, // while the registry or the database cannot be asked
    RETRY_MAX_MS = 5000,
    TROUBLE_SIZE = 512,
};

const char writer_schemas_unknown[] = "no schema registry has a schema of id";

enum text_state { TEXT_WANTED, TEXT_FOUND, TEXT_UNKNOWN };

// What may follow what; anything else is a bug. What was found once stays for ever.
static const unsigned char text_followers[] = {
    [TEXT_WANTED] = 1 << TEXT_FOUND | 1 << TEXT_UNKNOWN,
    [TEXT_FOUND] = 0,
    [TEXT_UNKNOWN] = 1 << TEXT_FOUND | 1 << TEXT_UNKNOWN,
};
static_assert(sizeof text_followers == TEXT_UNKNOWN + 1, "each state says what may follow it");

// One schema id. Entries with a text stay for ever; plans and reasons are handed out by pointer.
struct entry {
    int64_t id;
    enum text_state state;
    bool asked; // somebody waits for it, or it is time to ask for an unknown one anew
    int64_t ask_at, absent_since; // monotonic ms; the latter 0: never answered "no such id"
    struct plan *plans[INPUT_COUNT]; // NULL: why[] says
    char *why[INPUT_COUNT];
    char *trouble; // what was answered last; NULL: nothing yet, or what settles it
};

struct writer_schemas {
    struct writer_schemas_options options;
    struct registry *registry;
    struct store *store; // of the side thread
    char *dsn;
    pthread_t thread;
    pthread_mutex_t lock; // of all below
    pthread_cond_t wake;
    bool stopping;
    size_t count, capacity, unknown;
    struct entry **entries; // sorted by id
    char trouble[TROUBLE_SIZE];
    int64_t retry_ms;
    _Atomic uint64_t generation;
};

// ---- the table; the caller holds the lock ----

static size_t place_of(const struct writer_schemas *writers, int64_t id)
{
    size_t low = 0, high = writers->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (writers->entries[middle]->id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

// An unknown entry hands out no pointers, so it can go.
static void forget_one_unknown(struct writer_schemas *writers)
{
    for (size_t i = 0; i < writers->count; i++) {
        if (writers->entries[i]->state != TEXT_UNKNOWN || writers->entries[i]->asked)
            continue;
        assert(writers->unknown > 0);
        free(writers->entries[i]->trouble);
        free(writers->entries[i]);
        writers->count--;
        writers->unknown--;
        memmove(writers->entries + i, writers->entries + i + 1,
                (writers->count - i) * sizeof(struct entry *));
        return;
    }
}

static struct entry *add(struct writer_schemas *writers, int64_t id)
{
    if (writers->unknown >= UNKNOWN_MAX)
        forget_one_unknown(writers);
    if (writers->count == writers->capacity) {
        size_t capacity = writers->capacity ? writers->capacity * 2 : 16;
        struct entry **grown = reallocarray(writers->entries, capacity, sizeof(struct entry *));
        if (!grown)
            abort();
        writers->entries = grown;
        writers->capacity = capacity;
    }
    struct entry *entry = calloc(1, sizeof *entry);
    if (!entry)
        abort();
    *entry = (struct entry){.id = id, .asked = true, .ask_at = clock_monotonic_ms()};
    size_t at = place_of(writers, id);
    // Sorted, each id once: an answer about an id is for one entry.
    if (at > 0)
        assert(writers->entries[at - 1]->id < id);
    if (at < writers->count)
        assert(writers->entries[at]->id > id);
    memmove(writers->entries + at + 1, writers->entries + at,
            (writers->count - at) * sizeof(struct entry *));
    writers->entries[at] = entry;
    writers->count++;
    pthread_cond_signal(&writers->wake);
    return entry;
}

static struct writer answer(struct writer_schemas *writers, struct entry *entry, enum input input)
{
    switch (entry->state) {
    case TEXT_WANTED:
        return (struct writer){.state = WRITER_PENDING, .why = "its schema is being looked for"};
    case TEXT_FOUND:
        if (entry->plans[input])
            return (struct writer){.state = WRITER_READY, .plan = entry->plans[input]};
        return (struct writer){.state = WRITER_INCOMPATIBLE, .why = entry->why[input]};
    case TEXT_UNKNOWN:
        if (!entry->asked && clock_monotonic_ms() < entry->ask_at)
            return (struct writer){.state = WRITER_UNKNOWN, .why = writer_schemas_unknown};
        // An answer of old rejects nothing: the schema may have been registered meanwhile, or
        // nobody can say.
        if (!entry->asked)
            pthread_cond_signal(&writers->wake);
        entry->asked = true;
        return (struct writer){.state = WRITER_PENDING,
                               .why = "its schema is being looked for again"};
    }
    abort();
}

struct writer writer_schemas_find(struct writer_schemas *writers, enum input input, int64_t id)
{
    pthread_mutex_lock(&writers->lock);
    size_t at = place_of(writers, id);
    bool known = at < writers->count && writers->entries[at]->id == id;
    struct writer found = answer(writers, known ? writers->entries[at] : add(writers, id), input);
    pthread_mutex_unlock(&writers->lock);
    return found;
}

uint64_t writer_schemas_generation(const struct writer_schemas *writers)
{
    return writers->generation;
}

void writer_schemas_trouble(struct writer_schemas *writers, char *out, size_t size)
{
    pthread_mutex_lock(&writers->lock);
    snprintf(out, size, "%s", writers->trouble);
    pthread_mutex_unlock(&writers->lock);
}

void writer_schemas_answer(struct writer_schemas *writers, int64_t id, char *out, size_t size)
{
    pthread_mutex_lock(&writers->lock);
    size_t at = place_of(writers, id);
    const struct entry *entry =
        at < writers->count && writers->entries[at]->id == id ? writers->entries[at] : NULL;
    snprintf(out, size, "%s", entry && entry->trouble ? entry->trouble : "it is being looked for");
    pthread_mutex_unlock(&writers->lock);
}

// ---- the side thread ----

static enum registry_result from_store(struct writer_schemas *writers, int64_t id, char **text,
                                       struct error *e)
{
    if (!writers->store) {
        struct store *store;
        if (store_open(writers->dsn, STORE_WRITES, &store, e))
            return REGISTRY_UNAVAILABLE;
        pthread_mutex_lock(&writers->lock); // writer_schemas_destroy interrupts it
        writers->store = store;
        pthread_mutex_unlock(&writers->lock);
    }
    if (store_load_schema(writers->store, id, text, e) != STORE_OK)
        return REGISTRY_UNAVAILABLE;
    return *text ? REGISTRY_FOUND : REGISTRY_ABSENT;
}

// PostgreSQL first: what it has rules. What the registry has is kept there before anybody decodes
// by it.
static enum registry_result search(struct writer_schemas *writers, int64_t id, char **text,
                                   struct error *e)
{
    *text = NULL;
    enum registry_result result = from_store(writers, id, text, e);
    if (result != REGISTRY_ABSENT)
        return result;
    result = registry_fetch(writers->registry, id, text, e);
    if (result != REGISTRY_FOUND)
        return result;
    fault_point(schema_before);
    if (store_save_schema(writers->store, id, *text, e) == STORE_OK) {
        fault_point(schema_after);
        return REGISTRY_FOUND;
    }
    free(*text);
    *text = NULL;
    return REGISTRY_UNAVAILABLE;
}

void writer_schemas_compile(const char *text, struct plan *plans[INPUT_COUNT],
                            char *why[INPUT_COUNT])
{
    struct error e = {0};
    bool foreign = registry_foreign(text, e.text, sizeof e.text);
    for (enum input i = 0; i < INPUT_COUNT; i++) {
        if (!foreign && plan_compile(i, text, strlen(text), &plans[i], &e) == 0) {
            assert(plans[i] != NULL);
            continue;
        }
        plans[i] = NULL;
        why[i] = strdup(e.text);
        if (!why[i])
            abort();
    }
}

static void become(struct entry *entry, enum text_state state)
{
    assert(text_followers[entry->state] & 1 << state);
    entry->state = state;
    entry->asked = false;
}

// What is handed out by pointer is there, and nothing else.
static void check_entry(const struct entry *entry)
{
    for (int i = 0; i < INPUT_COUNT; i++) {
        if (entry->state != TEXT_FOUND)
            assert(entry->plans[i] == NULL);
        else
            assert((entry->plans[i] == NULL) == (entry->why[i] != NULL));
    }
    if (entry->state == TEXT_FOUND)
        assert(!entry->asked);
    if (entry->state == TEXT_WANTED)
        assert(entry->asked);
}

// What has just been found out about an id; the caller holds the lock.
static void learn(struct writer_schemas *writers, struct entry *entry, enum registry_result result,
                  const struct entry *compiled, const struct error *e)
{
    int64_t now = clock_monotonic_ms();
    assert(entry->asked);
    if (result == REGISTRY_UNAVAILABLE) {
        if (writers->trouble[0] == '\0')
            log_event(LOG_WARN, "a writer's schema is not to be had for now, its records wait",
                      LOG_FIELDS(log_int("schema_id", entry->id), log_text("reason", e->text)));
        snprintf(writers->trouble, sizeof writers->trouble, "%s", e->text);
        writers->retry_ms = writers->retry_ms ? writers->retry_ms * 2 : RETRY_MIN_MS;
        if (writers->retry_ms > RETRY_MAX_MS)
            writers->retry_ms = RETRY_MAX_MS;
        entry->ask_at = now + writers->retry_ms;
        free(entry->trouble);
        entry->trouble = strdup(e->text);
        return;
    }
    free(entry->trouble);
    entry->trouble = NULL;
    if (writers->trouble[0])
        log_event(LOG_INFO, "writers' schemas are to be had again", LOG_NO_FIELDS);
    writers->trouble[0] = '\0';
    writers->retry_ms = 0;
    if (result == REGISTRY_FOUND) {
        if (entry->state == TEXT_UNKNOWN)
            writers->unknown--;
        memcpy(entry->plans, compiled->plans, sizeof entry->plans);
        memcpy(entry->why, compiled->why, sizeof entry->why);
        become(entry, TEXT_FOUND);
    } else if (entry->state == TEXT_WANTED && entry->absent_since == 0) {
        entry->absent_since = now;
        entry->trouble = strdup("no registry has it; each is asked once more");
        entry->ask_at = now + writers->options.unknown_ms;
    } else {
        if (entry->state != TEXT_UNKNOWN)
            writers->unknown++;
        become(entry, TEXT_UNKNOWN);
        entry->ask_at = now + writers->options.unknown_ms;
    }
    check_entry(entry);
    assert(writers->unknown <= writers->count);
    writers->generation++;
}

static struct entry *next_due(struct writer_schemas *writers, int64_t *wait_ms)
{
    struct entry *due = NULL;
    for (size_t i = 0; i < writers->count; i++)
        if (writers->entries[i]->asked && (!due || writers->entries[i]->ask_at < due->ask_at))
            due = writers->entries[i];
    *wait_ms = due ? due->ask_at - clock_monotonic_ms() : INT64_MAX;
    return due && *wait_ms <= 0 ? due : NULL;
}

static void wait_locked(struct writer_schemas *writers, int64_t wait_ms)
{
    if (wait_ms == INT64_MAX) {
        pthread_cond_wait(&writers->wake, &writers->lock);
        return;
    }
    int64_t at = clock_monotonic_ms() + wait_ms;
    struct timespec until = {.tv_sec = at / 1000, .tv_nsec = at % 1000 * 1000000};
    pthread_cond_timedwait(&writers->wake, &writers->lock, &until);
}

static void *serve(void *context)
{
    struct writer_schemas *writers = context;
    pthread_mutex_lock(&writers->lock);
    while (!writers->stopping) {
        int64_t wait_ms;
        struct entry *due = next_due(writers, &wait_ms);
        if (!due) {
            wait_locked(writers, wait_ms);
            continue;
        }
        int64_t id = due->id;
        pthread_mutex_unlock(&writers->lock);
        struct error e = {0};
        struct entry compiled = {0};
        char *text;
        enum registry_result result = search(writers, id, &text, &e);
        if (result == REGISTRY_FOUND)
            writer_schemas_compile(text, compiled.plans, compiled.why);
        free(text);
        pthread_mutex_lock(&writers->lock);
        if (writers->stopping && result == REGISTRY_UNAVAILABLE)
            break; // interrupted
        // An entry that is asked for is never forgotten.
        size_t at = place_of(writers, id);
        assert(at < writers->count && writers->entries[at]->id == id);
        learn(writers, writers->entries[at], result, &compiled, &e);
    }
    pthread_mutex_unlock(&writers->lock);
    return NULL;
}

// ---- life ----

static void release(struct writer_schemas *writers)
{
    for (size_t i = 0; i < writers->count; i++) {
        for (int k = 0; k < INPUT_COUNT; k++) {
            plan_destroy(writers->entries[i]->plans[k]);
            free(writers->entries[i]->why[k]);
        }
        free(writers->entries[i]->trouble);
        free(writers->entries[i]);
    }
    free(writers->entries);
    registry_destroy(writers->registry);
    store_close(writers->store);
    free(writers->dsn);
    pthread_cond_destroy(&writers->wake);
    pthread_mutex_destroy(&writers->lock);
    free(writers);
}

int writer_schemas_create(const char *dsn, const struct registry_options *options,
                          struct writer_schemas **out, struct error *e)
{
    return writer_schemas_create_with(
        dsn, options, &(struct writer_schemas_options){.unknown_ms = WRITER_SCHEMAS_UNKNOWN_MS},
        out, e);
}

int writer_schemas_create_with(const char *dsn, const struct registry_options *registry,
                               const struct writer_schemas_options *options,
                               struct writer_schemas **out, struct error *e)
{
    struct writer_schemas *writers = calloc(1, sizeof *writers);
    if (!writers)
        return error_set(e, ERROR_RESTART, "memory is short");
    writers->options = *options;
    writers->dsn = strdup(dsn);
    pthread_mutex_init(&writers->lock, NULL);
    thread_init_condition(&writers->wake);
    int failed = writers->dsn ? registry_create(registry, &writers->registry, e)
                              : error_set(e, ERROR_RESTART, "memory is short");
    if (!failed && pthread_create(&writers->thread, NULL, serve, writers) != 0)
        failed = error_set(e, ERROR_RESTART, "no thread for the writers' schemas could be started");
    if (failed) {
        release(writers);
        return -1;
    }
    *out = writers;
    return 0;
}

void writer_schemas_destroy(struct writer_schemas *writers)
{
    if (!writers)
        return;
    pthread_mutex_lock(&writers->lock);
    writers->stopping = true;
    pthread_cond_signal(&writers->wake);
    registry_interrupt(writers->registry);
    if (writers->store)
        store_interrupt(writers->store);
    pthread_mutex_unlock(&writers->lock);
    pthread_join(writers->thread, NULL);
    release(writers);
}
