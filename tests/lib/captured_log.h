// What the program logs while a test runs: it goes to a file in place of stderr.
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

struct captured_log {
    FILE *file;
    int stderr_before;
};

static inline struct captured_log captured_begin(void)
{
    struct captured_log log = {.file = tmpfile(), .stderr_before = dup(STDERR_FILENO)};
    assert_non_null(log.file);
    dup2(fileno(log.file), STDERR_FILENO);
    return log;
}

// Returns what was logged since it began; valid until the next call.
static inline const char *captured_end(struct captured_log *log)
{
    static char text[65536];
    dup2(log->stderr_before, STDERR_FILENO);
    close(log->stderr_before);
    rewind(log->file);
    text[fread(text, 1, sizeof text - 1, log->file)] = '\0';
    fclose(log->file);
    return text;
}
