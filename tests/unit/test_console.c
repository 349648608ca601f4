// The files of the console: each is sent with its type, its digest, and what keeps it harmless.
#include "consumer/console/console.h"
#include "schemas/embedded.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct http_answer ask(size_t segments, const char *first, const char *second)
{
    struct http_request request = {.segment_count = segments, .segments = {first, second}};
    struct http_answer answer = {.status = 200, .content_type = "left alone"};
    console_answer(NULL, 0, &request, &answer);
    return answer;
}

static const char *header(const struct http_answer *answer, const char *name)
{
    for (const struct http_header *h = answer->headers; h && h->name; h++)
        if (strcmp(h->name, name) == 0)
            return h->value;
    return "";
}

static void each_file_has_its_type_and_digest(void **state)
{
    size_t count = 0;
    (void)state;
    for (const struct embedded *file = embedded_console; file->name; file++, count++) {
        struct http_answer answer = ask(2, "console", file->name);
        char tag[HTTP_ETAG_SIZE];
        const char *dot = strrchr(file->name, '.');
        assert_non_null(dot);
        assert_int_equal(answer.status, 200);
        assert_ptr_equal(answer.bytes, file->text);
        assert_int_equal(answer.size, file->size);
        assert_int_equal(strlen(file->sha256), 64);
        snprintf(tag, sizeof tag, "\"%s\"", file->sha256);
        assert_string_equal(answer.etag, tag);
        assert_non_null(answer.content_type);
        assert_string_not_equal(answer.content_type, "left alone");
        if (strcmp(dot, ".js") == 0)
            assert_string_equal(answer.content_type, "text/javascript; charset=utf-8");
    }
    assert_true(count > 10);
}

static void the_front_page_is_at_the_root(void **state)
{
    (void)state;
    struct http_answer page = ask(0, NULL, NULL);
    assert_int_equal(page.status, 200);
    assert_string_equal(page.content_type, "text/html; charset=utf-8");
    assert_memory_equal(page.bytes, "<!doctype html>", 15);
}

static void nothing_but_what_the_server_sends_may_run(void **state)
{
    (void)state;
    struct http_answer page = ask(0, NULL, NULL);
    const char *policy = header(&page, "Content-Security-Policy");
    assert_non_null(strstr(policy, "default-src 'none'"));
    assert_non_null(strstr(policy, "script-src 'self'"));
    assert_non_null(strstr(policy, "connect-src 'self'"));
    assert_non_null(strstr(policy, "frame-ancestors 'none'"));
    assert_non_null(strstr(policy, "form-action 'none'"));
    assert_non_null(strstr(policy, "require-trusted-types-for 'script'"));
    assert_null(strstr(policy, "unsafe"));
    assert_null(strchr(policy, '*'));
    assert_string_equal(header(&page, "Referrer-Policy"), "no-referrer");
}

static void assert_nothing(struct http_answer answer)
{
    assert_int_equal(answer.status, 404);
    assert_null(answer.bytes);
    assert_string_equal(answer.etag, "");
    free(answer.body);
}

static void nothing_else_is_there(void **state)
{
    (void)state;
    assert_nothing(ask(1, "v1", NULL));
    assert_nothing(ask(1, "index.html", NULL));
    assert_nothing(ask(2, "console", "none.js"));
    assert_nothing(ask(2, "console", ""));
    assert_nothing(ask(2, "other", "app.js"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_file_has_its_type_and_digest),
        cmocka_unit_test(the_front_page_is_at_the_root),
        cmocka_unit_test(nothing_but_what_the_server_sends_may_run),
        cmocka_unit_test(nothing_else_is_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
