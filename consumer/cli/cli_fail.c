#include "consumer/cli/cli_fail.h"

#include <assert.h>
#include <stdio.h>

int cli_fail(const char *verb, const struct error *e)
{
    assert(e->kind != ERROR_NONE); // otherwise the exit status would be 0
    fflush(stdout);
    fprintf(stderr, "settled %s: %s\n", verb, e->text);
    if (e->kind == ERROR_USAGE)
        fprintf(stderr, "Try 'settled %s --help'.\n", verb);
    return error_exit_status(e->kind);
}
