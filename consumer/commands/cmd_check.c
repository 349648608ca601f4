#include "consumer/cli/args_config.h"
#include "consumer/commands/commands.h"
#include "consumer/preflight/preflight.h"
#include "consumer/system/clock.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const levels[] = {"note", "warning", "error"};

static void print_findings_table(const struct findings *findings)
{
    for (size_t i = 0; i < findings->count; i++)
        printf("%-8s %s\n", levels[findings->list[i].level], findings->list[i].text);
    if (findings->left_out > 0)
        printf("%zu more were left out; mend these first\n", findings->left_out);
    size_t warnings = 0;
    for (size_t i = 0; i < findings->count; i++)
        warnings += findings->list[i].level == FINDING_WARNING;
    if (findings->errors == 0 && warnings == 0)
        puts("all is well");
    else
        printf("%zu error%s, %zu warning%s\n", findings->errors, findings->errors == 1 ? "" : "s",
               warnings, warnings == 1 ? "" : "s");
}

// The status is that with which check and run end for it; a finding that ends nothing has 0.
static json_t *json_of(const struct finding *f)
{
    int status = f->level == FINDING_ERROR ? error_exit_status(f->kind) : 0;
    return json_pack("{s:s, s:s, s:i, s:s}", "gate", f->gate ? f->gate : "configuration", "level",
                     levels[f->level], "status", status, "text", f->text);
}

static void print_findings_json(const struct findings *findings)
{
    json_t *list = json_array();
    for (size_t i = 0; i < findings->count; i++)
        json_array_append_new(list, json_of(&findings->list[i]));
    json_dumpf(list, stdout, JSON_INDENT(1));
    putchar('\n');
    json_decref(list);
}

// If the configuration cannot be read, that is the only finding: nothing else can be checked.
static void check(const struct args *args, struct findings *findings)
{
    struct config config;
    struct error e = {0};
    if (args_load_config(args, &config, &e) == 0) {
        preflight_check(&config, clock_wall_ms(), findings);
    } else {
        for (char *line = e.text, *next; line && findings->count < FINDINGS_MAX; line = next) {
            next = strchr(line, '\n');
            if (next)
                *next++ = 0;
            struct finding *f = &findings->list[findings->count++];
            *f = (struct finding){.level = FINDING_ERROR, .kind = e.kind};
            snprintf(f->text, sizeof f->text, "%s", line);
            findings->errors++;
        }
    }
    config_free(&config);
}

int cmd_check(const struct args *args)
{
    struct findings *findings = calloc(1, sizeof *findings);
    struct error e = {0};
    const char *format = args_get(args, "format");
    if (!findings)
        abort(); // out of memory
    check(args, findings);
    if (format && strcmp(format, "json") == 0)
        print_findings_json(findings);
    else
        print_findings_table(findings);
    int status = preflight_verdict(findings, &e) ? error_exit_status(e.kind) : 0;
    free(findings);
    return status;
}
