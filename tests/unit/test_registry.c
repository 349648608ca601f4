// The registry's client with a scripted server: what a registry, a proxy or a network may do to it.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "consumer/registry/registry.h"
#include "tests/unit/http_fake.h"

#include <jansson.h>
#include <sys/stat.h>
#include <unistd.h>

#define FOUND_A                                                                                    \
    {                                                                                              \
        .status = 200, .body = "{\"schema\":\"{\\\"type\\\":\\\"string\\\"}\"}"                    \
    }
#define ABSENT_A                                                                                   \
    {                                                                                              \
        .status = 404, .body = "{\"error_code\":40403,\"message\":\"Schema not found\"}"           \
    }

static struct fake first, second;
static struct registry *registry;
static struct error error;
static char *text;
static int64_t id;

static int setup(void **state)
{
    (void)state;
    fake_start(&first);
    fake_start(&second);
    error = (struct error){0};
    registry = NULL;
    text = NULL;
    id = -1;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    registry_destroy(registry);
    free(text);
    fake_stop(&first);
    fake_stop(&second);
    return 0;
}

static void open_registry(struct registry_options options)
{
    if (options.timeout_ms == 0)
        options.timeout_ms = 2000;
    if (registry_create(&options, &registry, &error) != 0)
        fail_msg("%s", error.text);
}

static void open_first(void)
{
    open_registry((struct registry_options){.url_count = 1, .urls = {first.base}});
}

static void open_both(void)
{
    open_registry((struct registry_options){.url_count = 2, .urls = {first.base, second.base}});
}

static void assert_error(enum error_kind kind, const char *part)
{
    if (error.kind != kind || !strstr(error.text, part))
        fail_msg("kind %d: %s", (int)error.kind, error.text);
    assert_null(strstr(error.text, "s3cret"));
}

static void fetches_by_id(void **state)
{
    (void)state;
    FAKE_SCRIPT(&first, FOUND_A);
    open_first();
    assert_int_equal(registry_fetch(registry, 7, &text, &error), REGISTRY_FOUND);
    assert_string_equal(text, "{\"type\":\"string\"}");
    assert_string_equal(first.requests[0].method, "GET");
    assert_string_equal(first.requests[0].url, "/schemas/ids/7");
    assert_string_equal(first.requests[0].authorization, "");
}

static void the_base_url_may_have_a_path(void **state)
{
    (void)state;
    char url[128];
    FAKE_SCRIPT(&first, FOUND_A);
    snprintf(url, sizeof url, "%s/apis/ccompat/v7//", first.base);
    open_registry((struct registry_options){.url_count = 1, .urls = {url}});
    assert_int_equal(registry_fetch(registry, 7, &text, &error), REGISTRY_FOUND);
    assert_string_equal(first.requests[0].url, "/apis/ccompat/v7/schemas/ids/7");
}

static void sends_basic_auth(void **state)
{
    (void)state;
    FAKE_SCRIPT(&first, FOUND_A);
    open_registry((struct registry_options){
        .url_count = 1, .urls = {first.base}, .user = "bill", .password = "s3cret"});
    assert_int_equal(registry_fetch(registry, 7, &text, &error), REGISTRY_FOUND);
    assert_string_equal(first.requests[0].authorization, "Basic YmlsbDpzM2NyZXQ="); // bill:s3cret
}

static void credentials_in_a_url_are_used_and_never_shown(void **state)
{
    (void)state;
    char url[128];
    FAKE_SCRIPT(&first, {.status = 401});
    snprintf(url, sizeof url, "http://u%%40x:s3cret@%s", first.base + strlen("http://"));
    open_registry((struct registry_options){
        .url_count = 1, .urls = {url}, .user = "other", .password = "other"});
    assert_int_equal(registry_fetch(registry, 7, &text, &error), REGISTRY_UNAVAILABLE);
    assert_string_equal(first.requests[0].authorization, "Basic dUB4OnMzY3JldA=="); // u@x:s3cret
    assert_error(ERROR_CONFIG, "refuses access (401)");
    assert_non_null(strstr(error.text, first.base));
}

static void refused_access_is_not_retried(void **state)
{
    (void)state;
    FAKE_SCRIPT(&first, {.status = 403});
    open_first();
    assert_int_equal(registry_fetch(registry, 7, &text, &error), REGISTRY_UNAVAILABLE);
    assert_error(ERROR_CONFIG, "refuses access (403)");
    assert_int_equal(fake_request_count(&first), 1);
}

static void retries_after_a_server_error(void **state)
{
    (void)state;
    FAKE_SCRIPT(&first, {.status = 500, .body = "oops"}, {.status = 503}, FOUND_A);
    open_first();
    assert_int_equal(registry_fetch(registry, 7, &text, &error), REGISTRY_FOUND);
    assert_int_equal(fake_request_count(&first), 3);
}

static void gives_up_after_a_bounded_number_of_rounds(void **state)
{
    (void)state;
    FAKE_SCRIPT(&first,
                {.status = 500, .body = "{\"error_code\":50001,\"message\":\"store\\nis down\"}"});
    open_first();
    assert_int_equal(registry_fetch(registry, 7, &text, &error), REGISTRY_UNAVAILABLE);
    assert_error(ERROR_UNAVAILABLE, "answers 500: store is down");
    assert_int_equal(fake_request_count(&first), 3);
}

static void absent_needs_the_registrys_own_word(void **state)
{
    (void)state;
    FAKE_SCRIPT(&first, ABSENT_A);
    open_first();
    assert_int_equal(registry_fetch(registry, 7, &text, &error), REGISTRY_ABSENT);
    assert_int_equal(fake_request_count(&first), 1);
    FAKE_SCRIPT(&first, {.status = 404, .body = "<html>nginx</html>"});
    assert_int_equal(registry_fetch(registry, 7, &text, &error), REGISTRY_UNAVAILABLE);
    assert_error(ERROR_CONFIG, "check host and path of the URL");
    FAKE_SCRIPT(&first, {.status = 404, .body = "{\"status\":404,\"error\":\"Not Found\"}"});
    assert_int_equal(registry_fetch(registry, 7, &text, &error), REGISTRY_UNAVAILABLE);
    // Whatever its number: registries differ in it.
    FAKE_SCRIPT(&first, {.status = 404, .body = "{\"error_code\":404,\"message\":\"HTTP 404\"}"});
    assert_int_equal(registry_fetch(registry, 7, &text, &error), REGISTRY_ABSENT);
}

static void absent_only_when_every_url_says_so(void **state)
{
    (void)state;
    FAKE_SCRIPT(&first, ABSENT_A);
    FAKE_SCRIPT(&second, ABSENT_A);
    open_both();
    assert_int_equal(registry_fetch(registry, 7, &text, &error), REGISTRY_ABSENT);
    FAKE_SCRIPT(&second, {.status = 500});
    assert_int_equal(registry_fetch(registry, 7, &text, &error), REGISTRY_UNAVAILABLE);
    FAKE_SCRIPT(&second, FOUND_A);
    assert_int_equal(registry_fetch(registry, 7, &text, &error), REGISTRY_FOUND);
}

static void an_id_that_is_negative_is_never_asked_for(void **state)
{
    (void)state;
    FAKE_SCRIPT(&first, {.status = 500});
    open_first();
    assert_int_equal(registry_fetch(registry, -1, &text, &error), REGISTRY_ABSENT);
    assert_int_equal(fake_request_count(&first), 0);
}

static void fails_over_and_stays_there(void **state)
{
    (void)state;
    char refused[64];
    snprintf(refused, sizeof refused, "%s", first.base);
    fake_stop(&first); // nobody listens there any more
    fake_start(&first);
    FAKE_SCRIPT(&first, {.status = 500});
    FAKE_SCRIPT(&second, FOUND_A);
    open_registry(
        (struct registry_options){.url_count = 3, .urls = {refused, first.base, second.base}});
    assert_int_equal(registry_fetch(registry, 7, &text, &error), REGISTRY_FOUND);
    free(text);
    text = NULL;
    assert_int_equal(registry_fetch(registry, 8, &text, &error), REGISTRY_FOUND);
    // the second fetch began with the URL that had answered
    assert_int_equal(fake_request_count(&first), 1);
    assert_int_equal(fake_request_count(&second), 2);
}

static void a_refused_connection_names_the_url(void **state)
{
    (void)state;
    char refused[64];
    snprintf(refused, sizeof refused, "%s", first.base);
    fake_stop(&first);
    open_registry((struct registry_options){.url_count = 1, .urls = {refused}});
    assert_int_equal(registry_fetch(registry, 7, &text, &error), REGISTRY_UNAVAILABLE);
    assert_error(ERROR_UNAVAILABLE, refused);
}

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void a_silent_server_times_out(void **state)
{
    (void)state;
    FAKE_SCRIPT(&first, {.status = 200, .body = "{}", .delay_ms = 1500});
    open_registry(
        (struct registry_options){.url_count = 1, .urls = {first.base}, .timeout_ms = 100});
    int64_t begin = now_ms();
    assert_int_equal(registry_fetch(registry, 7, &text, &error), REGISTRY_UNAVAILABLE);
    assert_true(now_ms() - begin < 1500);
    assert_error(ERROR_UNAVAILABLE, "timed out");
}

static void *interrupt_soon(void *context)
{
    nanosleep(&(struct timespec){.tv_nsec = 100 * 1000000}, NULL);
    registry_interrupt(context);
    return NULL;
}

static void can_be_interrupted(void **state)
{
    (void)state;
    pthread_t thread;
    FAKE_SCRIPT(&first, {.status = 200, .body = "{}", .delay_ms = 3000});
    open_registry(
        (struct registry_options){.url_count = 1, .urls = {first.base}, .timeout_ms = 20000});
    int64_t begin = now_ms();
    pthread_create(&thread, NULL, interrupt_soon, registry);
    assert_int_equal(registry_fetch(registry, 7, &text, &error), REGISTRY_UNAVAILABLE);
    pthread_join(thread, NULL);
    assert_true(now_ms() - begin < 2500);
    assert_int_equal(registry_fetch(registry, 7, &text, &error), REGISTRY_UNAVAILABLE);
    assert_int_equal(fake_request_count(&first), 1);
}

static void garbage_is_no_answer(void **state)
{
    (void)state;
    static const char *const bodies[] = {"not json", "[]", "{\"schema\":7}",
                                         "{}",       "",   "{\"schema\":\"x\""};
    open_first();
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        FAKE_SCRIPT(&first, {.status = 200, .body = bodies[i]});
        assert_int_equal(registry_fetch(registry, 7, &text, &error), REGISTRY_UNAVAILABLE);
        assert_null(text);
    }
}

static void an_answer_is_bounded(void **state)
{
    (void)state;
    FAKE_SCRIPT(&first, {.status = 200, .body = "{}", .padding = 64u << 20});
    open_first();
    assert_int_equal(registry_fetch(registry, 7, &text, &error), REGISTRY_UNAVAILABLE);
    assert_error(ERROR_CONFIG, "more than");
}

static void redirects_are_not_followed(void **state)
{
    (void)state;
    char location[128];
    snprintf(location, sizeof location, "%s/schemas/ids/7", second.base);
    FAKE_SCRIPT(&first, {.status = 302, .location = location});
    FAKE_SCRIPT(&second, FOUND_A);
    open_first();
    assert_int_equal(registry_fetch(registry, 7, &text, &error), REGISTRY_UNAVAILABLE);
    assert_error(ERROR_CONFIG, "redirects (302)");
    assert_int_equal(fake_request_count(&second), 0);
}

static void foreign_schemas_are_told_apart(void **state)
{
    (void)state;
    char why[128];
    open_first();
    FAKE_SCRIPT(&first,
                {.status = 200, .body = "{\"schema\":\"syntax\",\"schemaType\":\"PROTOBUF\"}"});
    assert_int_equal(registry_fetch(registry, 7, &text, &error), REGISTRY_FOUND);
    assert_true(registry_foreign(text, why, sizeof why));
    assert_string_equal(why, "the schema is of type PROTOBUF, not AVRO");
    free(text);
    FAKE_SCRIPT(&first, {.status = 200,
                         .body = "{\"schema\":\"{\\\"type\\\":\\\"int\\\"}\",\"schemaType\":"
                                 "\"AVRO\",\"references\":[]}"});
    assert_int_equal(registry_fetch(registry, 7, &text, &error), REGISTRY_FOUND);
    assert_string_equal(text, "{\"type\":\"int\"}");
    assert_false(registry_foreign(text, why, sizeof why));
    assert_false(registry_foreign("not json", why, sizeof why));
}

static void assert_schema_sent(const struct fake_request *request, const char *expected)
{
    json_t *body = json_loads(request->body, 0, NULL);
    assert_string_equal(json_string_value(json_object_get(body, "schema")), expected);
    assert_string_equal(request->content_type, "application/vnd.schemaregistry.v1+json");
    json_decref(body);
}

static void looks_up_the_exact_text(void **state)
{
    (void)state;
    const char *schema = "{\"doc\": \"\xe8\xbd\xa6 \\\"quoted\\\"\",\n \"type\": \"string\"}";
    open_first();
    FAKE_SCRIPT(&first,
                {.status = 200,
                 .body = "{\"subject\":\"a b-value\",\"version\":1,\"id\":12,\"schema\":\"...\"}"});
    assert_int_equal(registry_lookup(registry, "a b-value", schema, &id, &error), REGISTRY_FOUND);
    assert_int_equal(id, 12);
    assert_string_equal(first.requests[0].method, "POST");
    assert_string_equal(first.requests[0].url, "/subjects/a b-value"); // as the server decodes it
    assert_schema_sent(&first.requests[0], schema);
    FAKE_SCRIPT(&first, {.status = 404,
                         .body = "{\"error_code\":40401,\"message\":\"Subject not found\"}"});
    assert_int_equal(registry_lookup(registry, "a", schema, &id, &error), REGISTRY_ABSENT);
    FAKE_SCRIPT(&first, ABSENT_A);
    assert_int_equal(registry_lookup(registry, "a", schema, &id, &error), REGISTRY_ABSENT);
    FAKE_SCRIPT(&first, {.status = 200, .body = "{\"id\":99999999999}"});
    assert_int_equal(registry_lookup(registry, "a", schema, &id, &error), REGISTRY_FOUND);
    assert_true(id == INT64_C(99999999999));
    FAKE_SCRIPT(&first, {.status = 200, .body = "{\"id\":-1}"});
    assert_int_equal(registry_lookup(registry, "a", schema, &id, &error), REGISTRY_UNAVAILABLE);
}

static void registers_what_is_not_there(void **state)
{
    (void)state;
    open_first();
    FAKE_SCRIPT(&first, ABSENT_A, {.status = 200, .body = "{\"id\":5}"});
    assert_int_equal(registry_register(registry, "a-value", "{}", &id, &error), 0);
    assert_int_equal(id, 5);
    assert_string_equal(first.requests[1].url, "/subjects/a-value/versions");
    assert_schema_sent(&first.requests[1], "{}");
    FAKE_SCRIPT(&first, {.status = 200, .body = "{\"id\":6}"});
    assert_int_equal(registry_register(registry, "a-value", "{}", &id, &error), 0);
    assert_int_equal(id, 6);
    assert_int_equal(fake_request_count(&first), 1); // it was there: nothing was written
}

static void an_incompatible_schema_is_not_retried(void **state)
{
    (void)state;
    FAKE_SCRIPT(
        &first, ABSENT_A,
        {.status = 409, .body = "{\"error_code\":409,\"message\":\"reader is missing x\"}"});
    open_first();
    assert_int_equal(registry_register(registry, "a-value", "{}", &id, &error), -1);
    assert_error(ERROR_CONFIG, "reader is missing x");
    assert_non_null(strstr(error.text, "a-value"));
    assert_int_equal(fake_request_count(&first), 2);
}

static void reads_and_sets_the_level(void **state)
{
    (void)state;
    open_first();
    FAKE_SCRIPT(&first, {.status = 200, .body = "{\"compatibility\":\"FULL_TRANSITIVE\"}"});
    assert_int_equal(registry_set_compatibility(registry, "a-value", "FULL_TRANSITIVE", &error), 0);
    assert_string_equal(first.requests[0].method, "PUT");
    assert_string_equal(first.requests[0].url, "/config/a-value");
    assert_string_equal(first.requests[0].body, "{\"compatibility\":\"FULL_TRANSITIVE\"}");
    FAKE_SCRIPT(&first, {.status = 200, .body = "{\"compatibilityLevel\":\"BACKWARD\"}"});
    assert_int_equal(registry_compatibility(registry, "a-value", &text, &error), 0);
    assert_string_equal(text, "BACKWARD");
    assert_string_equal(first.requests[0].query, "true");
    free(text);
    FAKE_SCRIPT(&first, {.status = 404, .body = "{\"error_code\":40408}"},
                {.status = 200, .body = "{\"compatibilityLevel\":\"NONE\"}"});
    assert_int_equal(registry_compatibility(registry, "a-value", &text, &error), 0);
    assert_string_equal(text, "NONE");
    assert_string_equal(first.requests[1].url, "/config");
}

static void bad_options_are_refused(void **state)
{
    (void)state;
    static const char *const urls[] = {"127.0.0.1:8081",   "ftp://x",
                                       "http://",          "http://x/?a=s3cret",
                                       "http://x/#s3cret", "http://u:s3cret@x:y"};
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        struct registry_options options = {.url_count = 1, .urls = {urls[i]}};
        assert_int_equal(registry_create(&options, &registry, &error), -1);
        assert_error(ERROR_CONFIG, "URL number 1");
    }
    assert_int_equal(registry_create(&(struct registry_options){0}, &registry, &error), -1);
    struct registry_options both = {.url_count = 1, .urls = {first.base}, .directory = "/tmp"};
    assert_int_equal(registry_create(&both, &registry, &error), -1);
}

// ---- a directory ----

static char folder[64];

static int setup_folder(void **state)
{
    snprintf(folder, sizeof folder, "/tmp/settled-registry-XXXXXX");
    return !mkdtemp(folder) ? -1 : setup(state);
}

static void put_file(const char *name, const char *content)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    fputs(content, file);
    fclose(file);
}

static int teardown_folder(void **state)
{
    static const char *const names[] = {"3.avsc", "12.avsc", "012.avsc", "4.avsc", "x.avsc"};
    char path[128];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        unlink(path);
    }
    rmdir(folder);
    return teardown(state);
}

static void a_directory_serves_its_files(void **state)
{
    (void)state;
    put_file("12.avsc", "\"string\"\n");
    put_file("3.avsc", "\"string\"\n");
    put_file("012.avsc", "\"int\"");
    put_file("x.avsc", "\"int\"");
    open_registry((struct registry_options){.directory = folder});
    assert_int_equal(registry_fetch(registry, 12, &text, &error), REGISTRY_FOUND);
    assert_string_equal(text, "\"string\"\n");
    free(text);
    text = NULL;
    assert_int_equal(registry_fetch(registry, 5, &text, &error), REGISTRY_ABSENT);
    assert_int_equal(registry_lookup(registry, "any", "\"string\"\n", &id, &error), REGISTRY_FOUND);
    assert_int_equal(id, 3);
    assert_int_equal(registry_lookup(registry, "any", "\"int\"", &id, &error), REGISTRY_ABSENT);
    assert_int_equal(registry_register(registry, "any", "\"string\"\n", &id, &error), 0);
    assert_int_equal(registry_register(registry, "any", "\"string\"", &id, &error), -1);
    assert_error(ERROR_CONFIG, "managed by hand");
    assert_int_equal(registry_set_compatibility(registry, "any", "FULL", &error), 0);
    assert_int_equal(registry_compatibility(registry, "any", &text, &error), 0);
    assert_null(text);
}

static void a_directory_that_is_not_there_is_not_an_empty_one(void **state)
{
    (void)state;
    open_registry((struct registry_options){.directory = "/nowhere/at/all"});
    assert_int_equal(registry_fetch(registry, 1, &text, &error), REGISTRY_UNAVAILABLE);
    assert_error(ERROR_UNAVAILABLE, "/nowhere/at/all");
    assert_int_equal(registry_lookup(registry, "any", "x", &id, &error), REGISTRY_UNAVAILABLE);
}

// A copy that is under way: what is found once is kept for ever.
static void a_part_of_a_file_is_no_schema(void **state)
{
    (void)state;
    open_registry((struct registry_options){.directory = folder});
    static const char *const parts[] = {"", "{\"type\": \"rec", "{\"type\": \"int\"} }"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        put_file("4.avsc", parts[i]);
        assert_int_equal(registry_fetch(registry, 4, &text, &error), REGISTRY_UNAVAILABLE);
        assert_error(ERROR_UNAVAILABLE, "4.avsc: is no JSON: is it being copied?");
    }
    put_file("4.avsc", "{\"type\": \"int\"}");
    assert_int_equal(registry_fetch(registry, 4, &text, &error), REGISTRY_FOUND);
}

static void a_file_too_large_is_refused(void **state)
{
    (void)state;
    char *large = malloc((1 << 20) + 2);
    memset(large, ' ', (1 << 20) + 1);
    large[(1 << 20) + 1] = '\0';
    put_file("4.avsc", large);
    free(large);
    open_registry((struct registry_options){.directory = folder});
    assert_int_equal(registry_fetch(registry, 4, &text, &error), REGISTRY_UNAVAILABLE);
    assert_error(ERROR_UNAVAILABLE, "larger than 1 MiB");
}

#define WITH_SERVERS(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
#define WITH_FOLDER(f) cmocka_unit_test_setup_teardown(f, setup_folder, teardown_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_SERVERS(fetches_by_id),
        WITH_SERVERS(the_base_url_may_have_a_path),
        WITH_SERVERS(sends_basic_auth),
        WITH_SERVERS(credentials_in_a_url_are_used_and_never_shown),
        WITH_SERVERS(refused_access_is_not_retried),
        WITH_SERVERS(retries_after_a_server_error),
        WITH_SERVERS(gives_up_after_a_bounded_number_of_rounds),
        WITH_SERVERS(absent_needs_the_registrys_own_word),
        WITH_SERVERS(absent_only_when_every_url_says_so),
        WITH_SERVERS(an_id_that_is_negative_is_never_asked_for),
        WITH_SERVERS(fails_over_and_stays_there),
        WITH_SERVERS(a_refused_connection_names_the_url),
        WITH_SERVERS(a_silent_server_times_out),
        WITH_SERVERS(can_be_interrupted),
        WITH_SERVERS(garbage_is_no_answer),
        WITH_SERVERS(an_answer_is_bounded),
        WITH_SERVERS(redirects_are_not_followed),
        WITH_SERVERS(foreign_schemas_are_told_apart),
        WITH_SERVERS(looks_up_the_exact_text),
        WITH_SERVERS(registers_what_is_not_there),
        WITH_SERVERS(an_incompatible_schema_is_not_retried),
        WITH_SERVERS(reads_and_sets_the_level),
        WITH_SERVERS(bad_options_are_refused),
        WITH_FOLDER(a_directory_serves_its_files),
        WITH_FOLDER(a_directory_that_is_not_there_is_not_an_empty_one),
        WITH_FOLDER(a_part_of_a_file_is_no_schema),
        WITH_FOLDER(a_file_too_large_is_refused),
    };
    setenv("no_proxy", "*", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
