// Every answer of a schema registry, as the table of answers has it: status, error code and body,
// sent whole, in chunks, compressed or cut off, by a server that answers anything.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "consumer/registry/registry.h"
#include "consumer/registry/registry_answer.h"
#include "tests/unit/http_fake.h"

static struct fake server;
static struct registry *registry;
static struct error error;

static int setup(void **state)
{
    (void)state;
    fake_start(&server);
    error = (struct error){0};
    struct registry_options options = {
        .url_count = 1, .urls = {server.base}, .timeout_ms = 2000, .backoff_ms = 2};
    return registry_create(&options, &registry, &error);
}

static int teardown(void **state)
{
    (void)state;
    registry_destroy(registry);
    fake_stop(&server);
    return 0;
}

static enum registry_result fetch(char **text)
{
    error = (struct error){0};
    return registry_fetch(registry, 7, text, &error);
}

static void check_answer(struct fake_answer answer, enum registry_result expected,
                         enum error_kind kind)
{
    char *text;
    FAKE_SCRIPT(&server, answer);
    enum registry_result result = fetch(&text);
    if (result != expected || error.kind != kind)
        fail_msg("status %u, body %s, sent %d, encoding %d: result %d, kind %d: %s", answer.status,
                 answer.body ? answer.body : "none", (int)answer.sent, (int)answer.encoding,
                 (int)result, (int)error.kind, error.text);
    if (result == REGISTRY_FOUND)
        assert_string_equal(text, "\"string\"");
    free(text);
}

#define SCHEMA "{\"schema\":\"\\\"string\\\"\"}"
#define CODED "{\"error_code\":50003,\"message\":\"forwarding failed\"}"

struct answer_cell {
    unsigned status;
    const char *body;
    enum registry_result result;
    enum error_kind kind;
};

#define WAIT REGISTRY_UNAVAILABLE, ERROR_UNAVAILABLE
#define CONFIG REGISTRY_UNAVAILABLE, ERROR_CONFIG
static const struct answer_cell cells[] = {
    {200, SCHEMA, REGISTRY_FOUND, ERROR_NONE},
    {203, SCHEMA, REGISTRY_FOUND, ERROR_NONE},
    {200, "{\"schema\":7}", WAIT},
    {200, "{\"error_code\":40403,\"message\":\"a 404, its status lost\"}", WAIT},
    {200, "<html>log in</html>", WAIT},
    {200, "[]", WAIT},
    {204, NULL, WAIT},
    {300, SCHEMA, CONFIG},
    {302, NULL, CONFIG},
    {304, NULL, CONFIG},
    {308, "<html>moved</html>", CONFIG},
    {400, CODED, CONFIG},
    {401, CODED, CONFIG},
    {401, NULL, CONFIG},
    {403, "{\"error_code\":40301}", CONFIG},
    {403, "<html>no</html>", CONFIG},
    {404, "{\"error_code\":40403,\"message\":\"Schema not found\"}", REGISTRY_ABSENT, ERROR_NONE},
    {404, "{\"error_code\":40401}", REGISTRY_ABSENT, ERROR_NONE},
    {404, "{\"error_code\":404,\"message\":\"HTTP 404 Not Found\"}", REGISTRY_ABSENT, ERROR_NONE},
    {404, "{\"error_code\":\"40403\"}", CONFIG},
    {404, "{\"status\":404,\"error\":\"Not Found\"}", CONFIG},
    {404, "[{\"error_code\":40403}]", CONFIG},
    {404, "<html>nginx</html>", CONFIG},
    {404, NULL, CONFIG},
    {405, NULL, CONFIG},
    {406, CODED, CONFIG},
    {407, NULL, CONFIG},
    {408, NULL, WAIT},
    {409, CODED, CONFIG},
    {410, CODED, CONFIG},
    {418, SCHEMA, CONFIG},
    {422, CODED, CONFIG},
    {425, NULL, WAIT},
    {429, CODED, WAIT},
    {500, CODED, WAIT},
    {500, "oops", WAIT},
    {500, SCHEMA, WAIT},
    {501, NULL, WAIT},
    {502, "<html>bad gateway</html>", WAIT},
    {503, CODED, WAIT},
    {504, NULL, WAIT},
    {599, NULL, WAIT},
};

// In the same way whether it comes at once, in chunks, or compressed though nobody asked for it.
static void each_answer_means_what_the_table_says(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cells / sizeof *cells; i++) {
        const struct answer_cell *cell = &cells[i];
        const struct fake_answer plain = {.status = cell->status, .body = cell->body};
        struct fake_answer chunked = plain, compressed = plain, both = plain;
        bool has_body = cell->body && cell->status != 304;
        chunked.sent = both.sent = FAKE_CHUNKED;
        compressed.encoding = both.encoding = FAKE_GZIP;
        check_answer(plain, cell->result, cell->kind);
        if (!has_body)
            continue;
        check_answer(chunked, cell->result, cell->kind);
        check_answer(compressed, cell->result, cell->kind);
        check_answer(both, cell->result, cell->kind);
    }
}

// Whatever it says: a part is not taken for the whole.
static void an_answer_that_is_cut_off_waits(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cells / sizeof *cells; i++) {
        if (!cells[i].body)
            continue;
        check_answer((struct fake_answer){.status = cells[i].status,
                                          .body = cells[i].body,
                                          .sent = FAKE_CUT},
                     WAIT);
    }
    check_answer((struct fake_answer){.status = 200, .body = SCHEMA, .encoding = FAKE_STRANGE},
                 CONFIG);
    assert_non_null(strstr(error.text,
                           "its answer is compressed in a way that is not known here, or "
                           "badly"));
    assert_non_null(strstr(error.text, "check the proxy before it"));
}

static void no_such_id_is_believed_of_a_registry_only(void **state)
{
    (void)state;
    const struct fake_answer absent = {.status = 404, .body = "{\"error_code\":40403}"};
    const struct {
        unsigned status;
        const char *body;
        enum registry_result result;
        enum error_kind kind;
    } lists[] = {
        {200, "[]", REGISTRY_ABSENT, ERROR_NONE},
        {200, " [\"a-value\", \"b-value\"] ", REGISTRY_ABSENT, ERROR_NONE},
        {200, "[1, 2]", CONFIG},
        {200, "{\"subjects\":[]}", CONFIG},
        {200, "<html>It works!</html>", CONFIG},
        {404, "{\"error_code\":404}", CONFIG},
        {403, NULL, CONFIG},
        {302, NULL, CONFIG},
        {500, NULL, WAIT},
        {503, "{\"error_code\":50003}", WAIT},
    };
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        server.subjects = (struct fake_answer){.status = lists[i].status, .body = lists[i].body};
        check_answer(absent, lists[i].result, lists[i].kind);
    }
    server.subjects = (struct fake_answer){.status = 404, .body = "{\"error_code\":404}"};
    check_answer(absent, CONFIG);
    assert_non_null(strstr(error.text, "does not answer /subjects with a list"));
    // Of a registry with many subjects the beginning is enough.
    server.subjects =
        (struct fake_answer){.status = 200, .body = "[\"a-value\"", .padding = 8U << 20};
    check_answer(absent, REGISTRY_ABSENT, ERROR_NONE);
    server.subjects = (struct fake_answer){.status = 200, .body = "<html>", .padding = 8U << 20};
    check_answer(absent, CONFIG);
    server.subjects = (struct fake_answer){.status = 200, .body = "[\"a\"]", .encoding = FAKE_GZIP};
    check_answer(absent, REGISTRY_ABSENT, ERROR_NONE);
}

static void a_schema_that_is_there_needs_no_proof(void **state)
{
    (void)state;
    check_answer((struct fake_answer){.status = 200, .body = SCHEMA}, REGISTRY_FOUND, ERROR_NONE);
    assert_int_equal(server.subjects_count, 0);
}

static void retry_after_is_obeyed(void **state)
{
    (void)state;
    char *text;
    // A short one is waited for.
    FAKE_SCRIPT(&server, {.status = 429, .body = CODED, .retry_after = "1"},
                {.status = 200, .body = SCHEMA});
    struct timespec begin, end;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    assert_int_equal(fetch(&text), REGISTRY_FOUND);
    clock_gettime(CLOCK_MONOTONIC, &end);
    free(text);
    int64_t took_ms =
        (int64_t)(end.tv_sec - begin.tv_sec) * 1000 + (end.tv_nsec - begin.tv_nsec) / 1000000;
    assert_true(took_ms >= 950); // the server said so; the second is counted on both sides
    // A long one is not: whoever asks again meanwhile is told, and the registry is not asked.
    FAKE_SCRIPT(&server, {.status = 503, .body = CODED, .retry_after = "86400"});
    assert_int_equal(fetch(&text), REGISTRY_UNAVAILABLE);
    assert_int_equal(error.kind, ERROR_UNAVAILABLE);
    assert_non_null(strstr(error.text, "answers 503: forwarding failed; by its Retry-After it is "
                                       "asked again in 60 s"));
    assert_int_equal(fetch(&text), REGISTRY_UNAVAILABLE);
    assert_non_null(strstr(error.text, "by its Retry-After it is asked again in"));
    assert_int_equal(fake_request_count(&server), 1);
}

// ---- the table in the document ----

struct answer_shown {
    const char *shown, *what;
};
#define ANSWER_SHOWN(first, last, body, meaning, shown, what) {shown, what},
static const struct answer_shown shown_rows[] = {ANSWER_ROWS(ANSWER_SHOWN)};

static void the_document_has_the_table(void **state)
{
    (void)state;
    static char text[1 << 18];
    char line[512];
    FILE *file = fopen(SOURCE_DIR "/schemas/README.md", "rb");
    assert_non_null(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    for (size_t i = 0; i < sizeof shown_rows / sizeof *shown_rows; i++) {
        snprintf(line, sizeof line, "\n| %s | %s |\n", shown_rows[i].shown, shown_rows[i].what);
        if (!strstr(text, line))
            fail_msg("schemas/README.md has no row:%s", line);
    }
}

#define WITH_SERVER(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_SERVER(each_answer_means_what_the_table_says),
        WITH_SERVER(an_answer_that_is_cut_off_waits),
        WITH_SERVER(no_such_id_is_believed_of_a_registry_only),
        WITH_SERVER(a_schema_that_is_there_needs_no_proof),
        WITH_SERVER(retry_after_is_obeyed),
        cmocka_unit_test(the_document_has_the_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
