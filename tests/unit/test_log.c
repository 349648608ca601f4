// The lines that log_event writes on stderr, in both formats: byte by byte, except for the time.
#include "consumer/system/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { LINE_MAX_BYTES = 4096, OUTPUT_MAX = 2 * LINE_MAX_BYTES };

static char output[OUTPUT_MAX]; // what the last event wrote

static void write_event(enum log_level level, const char *message, struct log_fields fields)
{
    FILE *file = tmpfile();
    assert_non_null(file);
    int kept = dup(STDERR_FILENO);
    dup2(fileno(file), STDERR_FILENO);
    log_event(level, message, fields);
    dup2(kept, STDERR_FILENO);
    close(kept);
    rewind(file);
    output[fread(output, 1, sizeof output - 1, file)] = '\0';
    fclose(file);
}

// The line after its time. The time has the form of 2026-11-28T23:10:00.123Z.
static const char *behind_time(const char *before)
{
    enum { TIME_LENGTH = 24 };
    size_t length = strlen(before);
    assert_true(strlen(output) > length + TIME_LENGTH);
    assert_memory_equal(output, before, length);
    assert_int_equal(output[length + TIME_LENGTH - 1], 'Z');
    return output + length + TIME_LENGTH;
}

static void logfmt(void **state)
{
    (void)state;
    log_configure(LOG_INFO, LOG_LOGFMT);
    write_event(LOG_WARN, "shard held",
                LOG_FIELDS(log_int("shard", 3), log_int("low", INT64_MIN), log_text("day", "today"),
                           log_text("why", "a \"quoted\" one"), log_text("none", NULL)));
    assert_string_equal(behind_time("time="),
                        " level=warn message=\"shard held\" shard=3 low=-9223372036854775808"
                        " day=today why=\"a \\\"quoted\\\" one\" none=\"\"\n");
}

static void json(void **state)
{
    (void)state;
    log_configure(LOG_INFO, LOG_JSON);
    write_event(LOG_ERROR, "ending",
                LOG_FIELDS(log_text("reason", "line\nline"), log_int("status", 75)));
    assert_string_equal(
        behind_time("{\"time\":\""),
        "\",\"level\":\"error\",\"message\":\"ending\",\"reason\":\"line\\u000aline\","
        "\"status\":75}\n");
}

static void no_fields(void **state)
{
    (void)state;
    log_configure(LOG_INFO, LOG_LOGFMT);
    write_event(LOG_INFO, "stopped", LOG_NO_FIELDS);
    assert_string_equal(behind_time("time="), " level=info message=stopped\n");
}

static void below_the_level(void **state)
{
    (void)state;
    log_configure(LOG_WARN, LOG_LOGFMT);
    write_event(LOG_INFO, "stopped", LOG_NO_FIELDS);
    assert_string_equal(output, "");
}

// A value that is longer than a line cuts the line, but the line is still closed properly.
static void cut(void **state)
{
    (void)state;
    static char text[OUTPUT_MAX];
    memset(text, 'x', sizeof text - 1);
    log_configure(LOG_INFO, LOG_JSON);
    write_event(LOG_INFO, "long", LOG_FIELDS(log_text("text", text)));
    size_t length = strlen(output);
    assert_true(length <= LINE_MAX_BYTES);
    assert_string_equal(output + length - 4, "x\"}\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logfmt),          cmocka_unit_test(json), cmocka_unit_test(no_fields),
        cmocka_unit_test(below_the_level), cmocka_unit_test(cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
