// The registry's client with a real registry: ids, texts, levels, and that our outputs may evolve
// as promised.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "consumer/output/encode.h"
#include "consumer/registry/registry.h"
#include "tests/lib/test_services.h"

#include <jansson.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static struct registry *registry;
static struct error error;
static char *text;

static void open_registry(struct registry_options options)
{
    registry_destroy(registry);
    registry = NULL;
    if (registry_create(&options, &registry, &error) != 0)
        fail_msg("%s", error.text);
}

static int setup(void **state)
{
    (void)state;
    error = (struct error){0};
    text = NULL;
    open_registry((struct registry_options){.url_count = 1, .urls = {test_registry()}});
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    free(text);
    registry_destroy(registry);
    registry = NULL;
    return 0;
}

// A subject that no other test and no earlier run has used.
static const char *new_subject(void)
{
    static char subject[96];
    static int number;
    snprintf(subject, sizeof subject, "settled-test.%ld-%ld-%d-value", (long)time(NULL),
             (long)getpid(), number++);
    return subject;
}

static int64_t must_register(const char *subject, const char *schema)
{
    int64_t id = -1;
    if (registry_register(registry, subject, schema, &id, &error) != 0)
        fail_msg("%s", error.text);
    return id;
}

static void must_set(const char *subject, const char *level)
{
    if (registry_set_compatibility(registry, subject, level, &error) != 0)
        fail_msg("%s", error.text);
}

static void registering_is_idempotent_and_gives_the_text_back(void **state)
{
    (void)state;
    const char *subject = new_subject();
    int64_t found = -1;
    for (int o = 0; o < OUTPUT_COUNT; o++) {
        const char *schema = schema_of_output((enum output)o);
        assert_int_equal(registry_lookup(registry, subject, schema, &found, &error),
                         REGISTRY_ABSENT);
        int64_t id = must_register(subject, schema);
        assert_int_equal(must_register(subject, schema), id);
        assert_int_equal(registry_lookup(registry, subject, schema, &found, &error),
                         REGISTRY_FOUND);
        assert_int_equal(found, id);
        assert_int_equal(registry_fetch(registry, id, &text, &error), REGISTRY_FOUND);
        assert_string_equal(text, schema);
        free(text);
        text = NULL;
    }
}

static void another_text_has_another_id(void **state)
{
    (void)state;
    const char *subject = new_subject();
    int64_t id = must_register(subject, "{\"type\":\"string\",\"doc\":\"\xe8\xbd\xa6\"}");
    assert_int_not_equal(must_register(subject, "{\"type\":\"string\",\"doc\":\"other\"}"), id);
    int64_t found;
    assert_int_equal(registry_lookup(registry, subject, "{\"type\":\"string\"}", &found, &error),
                     REGISTRY_ABSENT);
}

static void an_id_nobody_has_is_absent(void **state)
{
    (void)state;
    assert_int_equal(registry_fetch(registry, INT32_MAX, &text, &error), REGISTRY_ABSENT);
    assert_int_equal(registry_fetch(registry, INT32_MIN, &text, &error), REGISTRY_ABSENT);
}

static void an_incompatible_schema_is_refused(void **state)
{
    (void)state;
    const char *subject = new_subject();
    int64_t id;
    must_register(subject, schema_of_output(OUTPUT_REJECTS));
    must_set(subject, "FULL_TRANSITIVE");
    assert_int_equal(registry_register(registry, subject, "\"string\"", &id, &error), -1);
    assert_int_equal(error.kind, ERROR_CONFIG);
    assert_non_null(strstr(error.text, subject));
    assert_non_null(strstr(error.text, "409"));
}

static void levels_are_set_and_read(void **state)
{
    (void)state;
    const char *subject = new_subject();
    if (registry_compatibility(registry, subject, &text, &error) != 0)
        fail_msg("%s", error.text);
    assert_non_null(text); // the global one
    free(text);
    must_set(subject, "FULL_TRANSITIVE");
    assert_int_equal(registry_compatibility(registry, subject, &text, &error), 0);
    assert_string_equal(text, "FULL_TRANSITIVE");
}

static json_t *field_of(json_t *schema, const char *name)
{
    const json_t *fields = json_object_get(schema, "fields");
    for (size_t i = 0; i < json_array_size(fields); i++) {
        json_t *field = json_array_get(fields, i);
        if (strcmp(json_string_value(json_object_get(field, "name")), name) == 0)
            return field;
    }
    fail_msg("no field %s", name);
    return NULL;
}

// schemas/README.md promises that fields and symbols may be added under FULL_TRANSITIVE.
static void outputs_may_evolve_as_promised(void **state)
{
    (void)state;
    const char *subject = new_subject();
    must_register(subject, schema_of_output(OUTPUT_STATUS));
    must_set(subject, "FULL_TRANSITIVE");
    json_t *schema = json_loads(schema_of_output(OUTPUT_STATUS), 0, NULL);
    json_t *status = json_object_get(field_of(schema, "status"), "type");
    json_array_append_new(json_object_get(status, "symbols"), json_string("CLOSED"));
    json_array_append_new(
        json_object_get(schema, "fields"),
        json_pack("{s:s, s:[s, s], s:n}", "name", "note", "type", "null", "string", "default"));
    char *grown = json_dumps(schema, 0);
    must_register(subject, grown);
    free(grown);
    json_array_append_new(json_object_get(schema, "fields"),
                          json_pack("{s:s, s:s}", "name", "bare", "type", "long"));
    grown = json_dumps(schema, 0);
    int64_t id;
    assert_int_equal(registry_register(registry, subject, grown, &id, &error), -1);
    free(grown);
    json_decref(schema);
}

static void a_wrong_path_is_not_taken_for_absence(void **state)
{
    (void)state;
    char url[512];
    snprintf(url, sizeof url, "%s/no/such/place", test_registry());
    open_registry((struct registry_options){.url_count = 1, .urls = {url}});
    assert_int_equal(registry_fetch(registry, INT32_MAX, &text, &error), REGISTRY_UNAVAILABLE);
    assert_non_null(strstr(error.text, "check host and path"));
}

static void fails_over_to_the_url_that_answers(void **state)
{
    (void)state;
    const char *subject = new_subject();
    int64_t id = must_register(subject, schema_of_output(OUTPUT_STATUS));
    // Port 1 of the loopback: nobody listens there.
    open_registry(
        (struct registry_options){.url_count = 2, .urls = {"http://127.0.0.1:1", test_registry()}});
    assert_int_equal(registry_fetch(registry, id, &text, &error), REGISTRY_FOUND);
    free(text);
    text = NULL;
    // one cannot say
    assert_int_equal(registry_fetch(registry, INT32_MAX, &text, &error), REGISTRY_UNAVAILABLE);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(registering_is_idempotent_and_gives_the_text_back),
        TEST(another_text_has_another_id),
        TEST(an_id_nobody_has_is_absent),
        TEST(an_incompatible_schema_is_refused),
        TEST(levels_are_set_and_read),
        TEST(outputs_may_evolve_as_promised),
        TEST(a_wrong_path_is_not_taken_for_absence),
        TEST(fails_over_to_the_url_that_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
