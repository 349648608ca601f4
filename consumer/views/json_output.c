#include "consumer/views/json_output.h"

#include <stdbool.h>
#include <stdio.h>

int json_output(json_t *json, struct error *e)
{
    bool written = json && json_dumpf(json, stdout, JSON_INDENT(2)) == 0;
    json_decref(json);
    if (!written)
        return error_set(e, ERROR_RESTART, "the answer cannot be written");
    putchar('\n');
    return 0;
}
