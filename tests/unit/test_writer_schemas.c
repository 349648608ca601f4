// Writer schemas: when the program waits, what is final, and that nothing is decided from an old or
// a missing answer. The registry is a directory; the database is a double that can be down.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "consumer/decode/writer_schemas.h"
#include "consumer/output/encode.h"
#include "consumer/postgres/store.h"

#include <dirent.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { UNKNOWN_MS = 150, PATIENCE_MS = 10000, IDS = 16 };

// ---- the double of the store ----

struct store {
    int unused;
};

static struct {
    pthread_mutex_t lock;
    bool down;
    int opened, closed, loads, saves;
    char *texts[IDS];
} database = {.lock = PTHREAD_MUTEX_INITIALIZER};

int store_open(const char *dsn, enum store_access access, struct store **out, struct error *e)
{
    assert_string_equal(dsn, "the dsn");
    assert_int_equal(access, STORE_WRITES);
    pthread_mutex_lock(&database.lock);
    bool down = database.down;
    database.opened += !down;
    pthread_mutex_unlock(&database.lock);
    if (down)
        return error_set(e, ERROR_UNAVAILABLE, "the database is down");
    *out = calloc(1, sizeof **out);
    return 0;
}

void store_close(struct store *store)
{
    if (store)
        database.closed++;
    free(store);
}

void store_interrupt(struct store *store)
{
    (void)store;
}

enum store_result store_load_schema(struct store *store, int64_t id, char **text, struct error *e)
{
    (void)store;
    *text = NULL;
    pthread_mutex_lock(&database.lock);
    bool down = database.down;
    database.loads++;
    if (!down && id >= 0 && id < IDS && database.texts[id])
        *text = strdup(database.texts[id]);
    pthread_mutex_unlock(&database.lock);
    if (down)
        error_set(e, ERROR_UNAVAILABLE, "the database is down");
    return down ? STORE_UNAVAILABLE : STORE_OK;
}

enum store_result store_save_schema(struct store *store, int64_t id, const char *text,
                                    struct error *e)
{
    (void)store;
    (void)e;
    pthread_mutex_lock(&database.lock);
    database.saves++;
    if (!database.texts[id])
        database.texts[id] = strdup(text);
    pthread_mutex_unlock(&database.lock);
    return STORE_OK;
}

static void set_down(bool down)
{
    pthread_mutex_lock(&database.lock);
    database.down = down;
    pthread_mutex_unlock(&database.lock);
}

// ---- the directory ----

static char folder[64];
static struct writer_schemas *writers;

static void put_schema(int id, const char *text)
{
    char path[128], hidden[128];
    snprintf(hidden, sizeof hidden, "%s/%d.new", folder, id);
    snprintf(path, sizeof path, "%s/%d.avsc", folder, id);
    FILE *file = fopen(hidden, "wb");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    assert_int_equal(rename(hidden, path), 0); // whole, or not there
}

static void empty_folder(void)
{
    DIR *files = opendir(folder);
    if (!files)
        return;
    for (const struct dirent *file; (file = readdir(files)) != NULL;)
        if (file->d_name[0] != '.')
            unlinkat(dirfd(files), file->d_name, 0);
    closedir(files);
    rmdir(folder);
}

static void start(void)
{
    struct error e = {0};
    const struct registry_options registry = {.directory = folder};
    const struct writer_schemas_options options = {.unknown_ms = UNKNOWN_MS};
    if (writer_schemas_create_with("the dsn", &registry, &options, &writers, &e) != 0)
        fail_msg("%s", e.text);
}

static int setup(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/settled-writers-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    database.down = false;
    database.opened = database.closed = database.loads = database.saves = 0;
    writers = NULL;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    writer_schemas_destroy(writers);
    for (int i = 0; i < IDS; i++) {
        free(database.texts[i]);
        database.texts[i] = NULL;
    }
    empty_folder();
    return database.opened == database.closed ? 0 : -1;
}

// ---- waiting ----

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
}

static void sleep_ms(int ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L}, NULL);
}

// Looks again after each answer, as a shard does, until the id is no longer PENDING.
static struct writer wait_for(enum input input, int32_t id)
{
    for (int64_t end = now_ms() + PATIENCE_MS; now_ms() < end;) {
        uint64_t generation = writer_schemas_generation(writers);
        struct writer found = writer_schemas_find(writers, input, id);
        if (found.state != WRITER_PENDING)
            return found;
        assert_non_null(found.why);
        while (writer_schemas_generation(writers) == generation && now_ms() < end)
            sleep_ms(1);
    }
    fail_msg("schema %d stayed PENDING", (int)id);
    return (struct writer){0};
}

static void wait_for_trouble(const char *part)
{
    char trouble[512] = "";
    for (int64_t end = now_ms() + PATIENCE_MS; now_ms() < end; sleep_ms(1)) {
        writer_schemas_trouble(writers, trouble, sizeof trouble);
        if (*part ? strstr(trouble, part) != NULL : !*trouble)
            return;
    }
    fail_msg("the trouble is: %s", trouble);
}

// ---- tests ----

static void a_schema_is_found_stored_and_kept(void **state)
{
    (void)state;
    put_schema(7, schema_of_input(INPUT_CALLS));
    start();
    assert_int_equal(writer_schemas_find(writers, INPUT_CALLS, 7).state, WRITER_PENDING);
    struct writer found = wait_for(INPUT_CALLS, 7);
    assert_int_equal(found.state, WRITER_READY);
    assert_string_equal(database.texts[7], schema_of_input(INPUT_CALLS));
    int loads = database.loads;
    for (int i = 0; i < 100; i++)
        assert_ptr_equal(writer_schemas_find(writers, INPUT_CALLS, 7).plan, found.plan);
    assert_int_equal(database.loads, loads);
    assert_int_equal(database.saves, 1);
}

static void a_plan_decodes(void **state)
{
    (void)state;
    const char *text =
        "{\"type\":\"record\",\"name\":\"CallRecord\",\"fields\":["
        "{\"name\":\"call_id\",\"type\":\"string\"},{\"name\":\"account_id\",\"type\":\"string\"},"
        "{\"name\":\"service\",\"type\":{\"type\":\"enum\",\"name\":\"Service\",\"symbols\":"
        "[\"PURCHASE_INTENT\"]}},{\"name\":\"occurred_at\",\"type\":{\"type\":\"long\","
        "\"logicalType\":\"timestamp-millis\"}}]}";
    put_schema(7, text);
    start();
    struct record record;
    char detail[REJECT_DETAIL_SIZE];
    struct writer found = wait_for(INPUT_CALLS, 7);
    assert_int_equal(found.state, WRITER_READY);
    assert_int_equal(plan_decode(found.plan, "\2c\2a\0\6", 6, &record, detail), PLAN_OK);
    assert_int_equal(record.field[CALL_OCCURRED_AT].number, 3);
    assert_int_equal(record.field[CALL_SERVICE].number, SERVICE_PURCHASE_INTENT);
}

static void each_input_has_its_own_verdict(void **state)
{
    (void)state;
    put_schema(7, schema_of_input(INPUT_CREDITS));
    start();
    assert_int_equal(wait_for(INPUT_CREDITS, 7).state, WRITER_READY);
    struct writer calls = wait_for(INPUT_CALLS, 7);
    assert_int_equal(calls.state, WRITER_INCOMPATIBLE);
    assert_true(strlen(calls.why) > 0);
    assert_int_equal(wait_for(INPUT_PURCHASES, 7).state, WRITER_INCOMPATIBLE);
}

static void the_database_rules_over_the_registry(void **state)
{
    (void)state;
    database.texts[7] = strdup(schema_of_input(INPUT_CALLS));
    put_schema(7, "\"string\"");
    start();
    assert_int_equal(wait_for(INPUT_CALLS, 7).state, WRITER_READY);
    assert_int_equal(database.saves, 0);
}

static void what_is_stored_needs_no_registry(void **state)
{
    (void)state;
    database.texts[7] = strdup(schema_of_input(INPUT_CALLS));
    empty_folder();
    start();
    assert_int_equal(wait_for(INPUT_CALLS, 7).state, WRITER_READY);
    wait_for_trouble("");
}

static void garbage_is_incompatible_and_foreign_schemas_say_what_they_are(void **state)
{
    (void)state;
    put_schema(1, "\"no schema at all\"");
    put_schema(2, "{\"schema\":\"syntax\",\"schemaType\":\"PROTOBUF\"}");
    start();
    assert_int_equal(wait_for(INPUT_CALLS, 1).state, WRITER_INCOMPATIBLE);
    struct writer foreign = wait_for(INPUT_CALLS, 2);
    assert_int_equal(foreign.state, WRITER_INCOMPATIBLE);
    assert_string_equal(foreign.why, "the schema is of type PROTOBUF, not AVRO");
}

static void an_id_is_unknown_only_when_asked_twice(void **state)
{
    (void)state;
    start();
    int64_t begin = now_ms();
    assert_int_equal(wait_for(INPUT_CALLS, 9).state, WRITER_UNKNOWN);
    assert_true(now_ms() - begin >= UNKNOWN_MS);
    assert_int_equal(database.loads, 2);
    assert_int_equal(wait_for(INPUT_CREDITS, 9).state, WRITER_UNKNOWN);
}

static void a_schema_registered_in_time_is_found(void **state)
{
    (void)state;
    start();
    assert_int_equal(writer_schemas_find(writers, INPUT_CALLS, 9).state, WRITER_PENDING);
    while (writer_schemas_generation(writers) == 0)
        sleep_ms(1); // the first "no such id"
    put_schema(9, schema_of_input(INPUT_CALLS));
    assert_int_equal(wait_for(INPUT_CALLS, 9).state, WRITER_READY);
}

static void an_old_unknown_is_asked_anew_before_it_rejects(void **state)
{
    (void)state;
    start();
    assert_int_equal(wait_for(INPUT_CALLS, 9).state, WRITER_UNKNOWN);
    sleep_ms(UNKNOWN_MS + 50);
    put_schema(9, schema_of_input(INPUT_CALLS));
    assert_int_equal(writer_schemas_find(writers, INPUT_CALLS, 9).state, WRITER_PENDING);
    assert_int_equal(wait_for(INPUT_CALLS, 9).state, WRITER_READY);
}

static void an_unknown_id_waits_while_nobody_can_say(void **state)
{
    (void)state;
    start();
    assert_int_equal(wait_for(INPUT_CALLS, 9).state, WRITER_UNKNOWN);
    empty_folder();
    sleep_ms(UNKNOWN_MS + 50);
    assert_int_equal(writer_schemas_find(writers, INPUT_CALLS, 9).state, WRITER_PENDING);
    wait_for_trouble(folder);
    assert_int_equal(writer_schemas_find(writers, INPUT_CALLS, 9).state, WRITER_PENDING);
    assert_int_equal(mkdir(folder, 0700), 0);
    assert_int_equal(wait_for(INPUT_CALLS, 9).state, WRITER_UNKNOWN);
}

static void a_registry_that_is_down_rejects_nothing(void **state)
{
    (void)state;
    empty_folder();
    start();
    assert_int_equal(writer_schemas_find(writers, INPUT_CALLS, 7).state, WRITER_PENDING);
    wait_for_trouble(folder);
    sleep_ms(3 * UNKNOWN_MS);
    assert_int_equal(writer_schemas_find(writers, INPUT_CALLS, 7).state, WRITER_PENDING);
    assert_int_equal(mkdir(folder, 0700), 0);
    put_schema(7, schema_of_input(INPUT_CALLS));
    assert_int_equal(wait_for(INPUT_CALLS, 7).state, WRITER_READY);
    wait_for_trouble("");
}

static void a_database_that_is_down_rejects_nothing(void **state)
{
    (void)state;
    put_schema(7, schema_of_input(INPUT_CALLS));
    set_down(true);
    start();
    assert_int_equal(writer_schemas_find(writers, INPUT_CALLS, 7).state, WRITER_PENDING);
    wait_for_trouble("the database is down");
    assert_int_equal(writer_schemas_find(writers, INPUT_CALLS, 7).state, WRITER_PENDING);
    set_down(false);
    assert_int_equal(wait_for(INPUT_CALLS, 7).state, WRITER_READY);
    assert_int_equal(database.saves, 1);
    set_down(true);
    // known is known
    assert_int_equal(writer_schemas_find(writers, INPUT_CALLS, 7).state, WRITER_READY);
    assert_int_equal(writer_schemas_find(writers, INPUT_CALLS, 8).state, WRITER_PENDING);
    wait_for_trouble("the database is down");
    set_down(false);
    assert_int_equal(wait_for(INPUT_CALLS, 8).state, WRITER_UNKNOWN);
}

// More garbage ids than are remembered: each still gets its answer, and the known ones stay.
static void a_flood_of_garbage_ids_is_forgotten(void **state)
{
    (void)state;
    put_schema(7, schema_of_input(INPUT_CALLS));
    start();
    const struct plan *plan = wait_for(INPUT_CALLS, 7).plan;
    for (int32_t id = -1; id >= -3000; id--)
        writer_schemas_find(writers, INPUT_CALLS, id);
    for (int32_t id = -1; id >= -3000; id -= 500)
        assert_int_equal(wait_for(INPUT_CALLS, id).state, WRITER_UNKNOWN);
    assert_ptr_equal(wait_for(INPUT_CALLS, 7).plan, plan);
}

static void *look_around(void *context)
{
    (void)context;
    for (int i = 0; i < 20000; i++) {
        struct writer found = writer_schemas_find(writers, (enum input)(i % INPUT_COUNT), i % IDS);
        if (found.state == WRITER_READY && !found.plan)
            return (void *)1;
        if (found.state == WRITER_INCOMPATIBLE && !found.why)
            return (void *)1;
    }
    return NULL;
}

static void many_threads_may_ask(void **state)
{
    (void)state;
    for (int id = 0; id < IDS; id += 2)
        put_schema(id, schema_of_input((enum input)(id % INPUT_COUNT)));
    start();
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, look_around, NULL), 0);
    for (int i = 0; i < 4; i++) {
        void *wrong;
        pthread_join(threads[i], &wrong);
        assert_null(wrong);
    }
    for (int id = 0; id < IDS; id += 2)
        assert_int_equal(wait_for((enum input)(id % INPUT_COUNT), id).state, WRITER_READY);
}

static void a_bad_registry_is_refused(void **state)
{
    (void)state;
    struct error e = {0};
    const struct registry_options none = {0};
    assert_int_equal(writer_schemas_create("the dsn", &none, &writers, &e), -1);
    assert_int_equal(e.kind, ERROR_CONFIG);
    writers = NULL;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_schema_is_found_stored_and_kept),
        TEST(a_plan_decodes),
        TEST(each_input_has_its_own_verdict),
        TEST(the_database_rules_over_the_registry),
        TEST(what_is_stored_needs_no_registry),
        TEST(garbage_is_incompatible_and_foreign_schemas_say_what_they_are),
        TEST(an_id_is_unknown_only_when_asked_twice),
        TEST(a_schema_registered_in_time_is_found),
        TEST(an_old_unknown_is_asked_anew_before_it_rejects),
        TEST(an_unknown_id_waits_while_nobody_can_say),
        TEST(a_registry_that_is_down_rejects_nothing),
        TEST(a_database_that_is_down_rejects_nothing),
        TEST(a_flood_of_garbage_ids_is_forgotten),
        TEST(many_threads_may_ask),
        TEST(a_bad_registry_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
