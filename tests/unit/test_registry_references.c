// Schemas that refer to others: one text of them, which the plan reads, or a reason why not.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "consumer/avro/plan.h"
#include "consumer/registry/registry.h"
#include "pricing/service.h"
#include "tests/unit/http_fake.h"

#include <jansson.h>

// A registry in memory: the answer to each question by its path.
struct stored {
    const char *path, *body;
};

static const struct stored *stored;
static size_t stored_count, asked_count;
static char base[64];
static struct registry *registry;
static struct error error;
static char *text;

static enum MHD_Result serve(void *context, struct MHD_Connection *connection, const char *url,
                             const char *method, const char *version, const char *data,
                             size_t *size, void **state)
{
    static const char absent[] = "{\"error_code\":40402,\"message\":\"Version not found\"}";
    const char *body = absent;
    const char *deleted = MHD_lookup_connection_value(connection, MHD_GET_ARGUMENT_KIND, "deleted");
    char path[512];
    (void)context;
    (void)method;
    (void)version;
    (void)data;
    (void)size;
    (void)state;
    snprintf(path, sizeof path, "%s%s", url, deleted ? "?deleted" : "");
    asked_count++;
    for (size_t i = 0; i < stored_count; i++) {
        if (strcmp(stored[i].path, path) == 0)
            body = stored[i].body;
    }
    struct MHD_Response *response = MHD_create_response_from_buffer(
        strlen(body), (void *)(uintptr_t)body, MHD_RESPMEM_PERSISTENT);
    enum MHD_Result queued = MHD_queue_response(connection, body == absent ? 404 : 200, response);
    MHD_destroy_response(response);
    return queued;
}

static int setup(void **state)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct MHD_Daemon *daemon =
        MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD, 0, NULL, NULL, serve, NULL,
                         MHD_OPTION_SOCK_ADDR, &address, MHD_OPTION_END);
    assert(daemon);
    *state = daemon;
    snprintf(base, sizeof base, "http://127.0.0.1:%u",
             (unsigned)MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_BIND_PORT)->port);
    error = (struct error){0};
    text = NULL;
    asked_count = 0;
    return registry_create(&(struct registry_options){.url_count = 1, .urls = {base}}, &registry,
                           &error);
}

static int teardown(void **state)
{
    registry_destroy(registry);
    free(text);
    MHD_stop_daemon(*state);
    return 0;
}

#define STORED(...)                                                                                \
    do {                                                                                           \
        static const struct stored rows_here[] = {__VA_ARGS__};                                    \
        stored = rows_here;                                                                        \
        stored_count = sizeof rows_here / sizeof *rows_here;                                       \
    } while (0)
#define REFERS(name, subject, version)                                                             \
    "{\"name\":\"" name "\",\"subject\":\"" subject "\",\"version\":" version "}"
// A record whose time, service and account come from elsewhere.
#define CALL                                                                                       \
    "{\\\"type\\\":\\\"record\\\",\\\"name\\\":\\\"CallRecord\\\",\\\"namespace\\\":\\\"x\\\","    \
    "\\\"fields\\\":["                                                                             \
    "{\\\"name\\\":\\\"call_id\\\",\\\"type\\\":\\\"string\\\"},"                                  \
    "{\\\"name\\\":\\\"account_id\\\",\\\"type\\\":\\\"string\\\"},"                               \
    "{\\\"name\\\":\\\"origin\\\",\\\"type\\\":[\\\"null\\\",\\\"com.acme.Origin\\\"]},"           \
    "{\\\"name\\\":\\\"service\\\",\\\"type\\\":\\\"com.acme.Service\\\"},"                        \
    "{\\\"name\\\":\\\"occurred_at\\\",\\\"type\\\":{\\\"type\\\":\\\"long\\\","                   \
    "\\\"logicalType\\\":\\\"timestamp-millis\\\"}}]}"
#define SERVICE                                                                                    \
    "{\"schema\":\"{\\\"type\\\":\\\"enum\\\",\\\"name\\\":\\\"com.acme.Service\\\","              \
    "\\\"symbols\\\":[\\\"PURCHASE_INTENT\\\",\\\"AUDIENCE_INSIGHT\\\"]}\"}"
// It names the service too, in its own namespace, and itself.
#define ORIGIN                                                                                     \
    "{\"schema\":\"{\\\"type\\\":\\\"record\\\",\\\"name\\\":\\\"Origin\\\",\\\"namespace\\\":"    \
    "\\\"com.acme\\\",\\\"fields\\\":[{\\\"name\\\":\\\"service\\\",\\\"type\\\":\\\"Service\\\"}" \
    ","                                                                                            \
    "{\\\"name\\\":\\\"parent\\\",\\\"type\\\":[\\\"null\\\",\\\"Origin\\\"]},"                    \
    "{\\\"name\\\":\\\"hash\\\",\\\"type\\\":{\\\"type\\\":\\\"fixed\\\",\\\"name\\\":"            \
    "\\\"Hash\\\","                                                                                \
    "\\\"size\\\":4}}]}\",\"references\":[" REFERS("com.acme.Service", "com.acme.Service",         \
                                                   "1") "]}"

static enum registry_result fetch(void)
{
    return registry_fetch(registry, 7, &text, &error);
}

static void test_references_become_one_text(void **state)
{
    (void)state;
    STORED({"/schemas/ids/7", "{\"schema\":\"" CALL "\",\"references\":[" REFERS(
                                  "com.acme.Service", "com.acme.Service",
                                  "1") "," REFERS("com.acme.Origin", "origin of calls", "3") "]}"},
           {"/subjects/com.acme.Service/versions/1", SERVICE},
           {"/subjects/origin of calls/versions/3", ORIGIN});
    if (fetch() != REGISTRY_FOUND)
        fail_msg("%s", error.text);
    assert_int_equal(asked_count, 3); // what two refer to is asked for once
    char why[256];
    assert_false(registry_foreign(text, why, sizeof why));
    struct plan *plan = NULL;
    if (plan_compile(INPUT_CALLS, text, strlen(text), &plan, &error))
        fail_msg("%s: %s", error.text, text);
    // An origin with a parent, and then the service by its own enum's order.
    static const char body[] = "\x02"
                               "c\x02"
                               "a\x02"
                               "\x00\x02\x02\x00"
                               "HASHHASH"
                               "\x02\xd0\x0f";
    struct record record;
    char detail[REJECT_DETAIL_SIZE];
    if (plan_decode(plan, body, sizeof body - 1, &record, detail) != PLAN_OK)
        fail_msg("%s", detail);
    assert_int_equal(record.field[CALL_SERVICE].number, SERVICE_AUDIENCE_INSIGHT);
    assert_int_equal(record.field[CALL_OCCURRED_AT].number, 1000);
    plan_destroy(plan);
}

static void test_a_deleted_version_is_still_found(void **state)
{
    (void)state;
    STORED({"/schemas/ids/7", "{\"schema\":\"\\\"com.acme.Service\\\"\",\"references\":[" REFERS(
                                  "com.acme.Service", "s", "1") "]}"},
           {"/subjects/s/versions/1?deleted", SERVICE});
    assert_int_equal(fetch(), REGISTRY_FOUND);
    json_t *json = json_loads(text, 0, NULL);
    assert_string_equal(json_string_value(json_object_get(json, "namespace")), "com.acme");
    assert_string_equal(json_string_value(json_object_get(json, "name")), "Service");
    json_decref(json);
}

static void test_a_reference_that_is_missing_waits(void **state)
{
    (void)state;
    STORED({"/schemas/ids/7", "{\"schema\":\"\\\"com.acme.Service\\\"\",\"references\":[" REFERS(
                                  "com.acme.Service", "s", "1") "]}"});
    assert_int_equal(fetch(), REGISTRY_UNAVAILABLE);
    assert_int_equal(error.kind, ERROR_CONFIG);
    assert_non_null(strstr(error.text, "refers to version 1 of subject s, which the registry does "
                                       "not have"));
}

static void assert_foreign(const char *reason)
{
    char why[512];
    if (fetch() != REGISTRY_FOUND)
        fail_msg("%s", error.text);
    assert_true(registry_foreign(text, why, sizeof why));
    if (!strstr(why, reason))
        fail_msg("'%s' is not in '%s'", reason, why);
    assert_non_null(strstr(why, "; register it as one self-contained text"));
    free(text);
    text = NULL;
}

#define NAMES(name, references) "{\"schema\":\"" name "\",\"references\":[" references "]}"

static void test_a_cycle_is_refused(void **state)
{
    (void)state;
    STORED({"/schemas/ids/7", NAMES("\\\"A\\\"", REFERS("A", "a", "1"))},
           {"/subjects/a/versions/1", NAMES("\\\"B\\\"", REFERS("B", "b", "2"))},
           {"/subjects/b/versions/2", NAMES("\\\"A\\\"", REFERS("A", "a", "1"))});
    assert_foreign("the schema refers to others in a cycle: a/1 -> b/2 -> a/1");
    assert_int_equal(asked_count, 3);
}

static void test_what_cannot_be_put_together_is_refused(void **state)
{
    (void)state;
    STORED({"/schemas/ids/7", NAMES("\\\"A\\\"", REFERS("A", "a", "1"))},
           {"/subjects/a/versions/1", "{\"schema\":\"syntax\",\"schemaType\":\"PROTOBUF\"}"});
    assert_foreign("a/1, which the schema refers to, is of type PROTOBUF, not AVRO");
    STORED({"/schemas/ids/7", NAMES("\\\"A\\\"", REFERS("A", "a", "1"))},
           {"/subjects/a/versions/1", "{\"schema\":\"{\"}"});
    assert_foreign("a/1 is no JSON");
    STORED({"/schemas/ids/7", NAMES("\\\"A\\\"", "{\"name\":\"A\",\"version\":1}")});
    assert_foreign("a reference has no subject, or no version");
    STORED({"/schemas/ids/7",
            NAMES("\\\"com.acme.Service\\\"", REFERS("S", "a", "1") "," REFERS("S", "b", "1"))},
           {"/subjects/a/versions/1", SERVICE}, {"/subjects/b/versions/1", SERVICE});
    assert_foreign("of what the schema refers to, com.acme.Service is defined twice");
    STORED({"/schemas/ids/7", NAMES("{\\\"type\\\":\\\"fixed\\\",\\\"name\\\":\\\"com.acme.Service"
                                    "\\\",\\\"size\\\":3}",
                                    REFERS("S", "a", "1"))},
           {"/subjects/a/versions/1", SERVICE});
    assert_foreign("com.acme.Service is defined in the schema and in what it refers to");
}

// A chain that is longer, and a schema that refers to more than may be followed.
static void test_references_are_bounded(void **state)
{
    (void)state;
    static char paths[80][64], bodies[80][8192];
    static struct stored chain[80];
    for (size_t i = 0; i < 80; i++) {
        snprintf(paths[i], sizeof paths[i], i ? "/subjects/s%zu/versions/1" : "/schemas/ids/7", i);
        snprintf(bodies[i], sizeof bodies[i], NAMES("\\\"A\\\"", REFERS("A", "s%zu", "1")), i + 1);
        chain[i] = (struct stored){paths[i], bodies[i]};
    }
    stored = chain;
    stored_count = 80;
    assert_foreign("the schema refers to others over more than 16 steps");
    assert_true(asked_count <= 18);
    size_t used =
        (size_t)snprintf(bodies[0], sizeof bodies[0], "{\"schema\":\"\\\"A\\\"\",\"references\":[");
    for (size_t i = 1; i < 80; i++) {
        used += (size_t)snprintf(bodies[0] + used, sizeof bodies[0] - used,
                                 "%s" REFERS("A", "s%zu", "1"), i > 1 ? "," : "", i);
        snprintf(bodies[i], sizeof bodies[i], "{\"schema\":\"\\\"int\\\"\"}");
    }
    snprintf(bodies[0] + used, sizeof bodies[0] - used, "]}");
    asked_count = 0;
    assert_foreign("the schema refers to more than 64 others");
    assert_true(asked_count <= 66);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_references_become_one_text),
        CASE(test_a_deleted_version_is_still_found),
        CASE(test_a_reference_that_is_missing_waits),
        CASE(test_a_cycle_is_refused),
        CASE(test_what_cannot_be_put_together_is_refused),
        CASE(test_references_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
