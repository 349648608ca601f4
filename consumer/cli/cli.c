#include "consumer/cli/cli.h"

#include "consumer/cli/cli_fail.h"
#include "consumer/cli/cli_help.h"
#include "pricing/nearest.h"

#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

// Values that getopt_long returns: an index into the options of a parse, above any character.
enum { OPTION_BASE = 256, OPTIONS_ALL_MAX = VERB_OPTIONS_MAX + 8 };

// The options a verb takes, flat, as getopt wants them.
struct accepted {
    size_t count, own; // the first `own` are the verb's
    const struct option_spec *specs[OPTIONS_ALL_MAX];
    struct option longs[OPTIONS_ALL_MAX + 1];
    char shorts[3 * OPTIONS_ALL_MAX];
};

static void accept_list(struct accepted *a, const struct option_spec *list)
{
    for (; list && list->name; list++) {
        assert(a->count < OPTIONS_ALL_MAX);
        a->longs[a->count] =
            (struct option){list->name, list->value ? required_argument : no_argument, NULL,
                            OPTION_BASE + (int)a->count};
        if (list->letter) {
            size_t used = strlen(a->shorts);
            snprintf(a->shorts + used, sizeof a->shorts - used, "%c%s", list->letter,
                     list->value ? ":" : "");
        }
        a->specs[a->count++] = list;
    }
}

static void accept_options(struct accepted *a, const struct verb *verb)
{
    *a = (struct accepted){.shorts = ":"}; // ':' tells a missing value from an unknown option
    accept_list(a, verb->options);
    a->own = a->count;
    assert(a->own <= VERB_OPTIONS_MAX);
    if (verb->config & TAKES_CONFIG)
        accept_list(a, verb_config_options);
    accept_list(a, verb_common_options);
}

enum { CHOICES_MAX = 16, CHOICE_SIZE = 32 };

static int check_choice(const char *what, const char *choices, const char *text, struct error *e)
{
    char names[CHOICES_MAX][CHOICE_SIZE];
    const char *list[CHOICES_MAX];
    size_t count = 0, size;
    const char *choice;
    while (verb_next_choice(&choices, &choice, &size)) {
        assert(count < CHOICES_MAX && size < CHOICE_SIZE);
        memcpy(names[count], choice, size);
        names[count][size] = 0;
        if (strcmp(names[count], text) == 0)
            return 0;
        list[count] = names[count];
        count++;
    }
    char known[CHOICES_MAX * (CHOICE_SIZE + 2)] = "";
    for (size_t i = 0; i < count; i++) {
        size_t used = strlen(known);
        snprintf(known + used, sizeof known - used, "%s%s", i ? ", " : "", names[i]);
    }
    const char *near = nearest(text, list, count);
    if (near)
        return error_set(e, ERROR_USAGE, "%s: '%s' is none of %s; did you mean %s?", what, text,
                         known, near);
    return error_set(e, ERROR_USAGE, "%s: '%s' is none of %s", what, text, known);
}

static int unknown_option(const struct accepted *a, const char *text, struct error *e)
{
    char name[64];
    const char *names[OPTIONS_ALL_MAX];
    snprintf(name, sizeof name, "%.*s", (int)strcspn(text, "="), text);
    const char *bare = name + strspn(name, "-");
    for (size_t i = 0; i < a->count; i++)
        names[i] = a->specs[i]->name;
    const char *near = strncmp(name, "--", 2) == 0 ? nearest(bare, names, a->count) : NULL;
    if (near)
        return error_set(e, ERROR_USAGE, "unknown option %s; did you mean --%s?", name, near);
    return error_set(e, ERROR_USAGE, "unknown option %s", name);
}

static int take_option(const struct accepted *a, size_t index, const char *value, struct args *out,
                       bool *help, struct error *e)
{
    assert(index < a->count);
    const struct option_spec *spec = a->specs[index];
    if (index < a->own) {
        char what[64];
        if (out->values->text[index])
            return error_set(e, ERROR_USAGE, "option --%s is given twice", spec->name);
        snprintf(what, sizeof what, "option --%s", spec->name);
        if (value && strchr(spec->value, '|') && check_choice(what, spec->value, value, e))
            return -1;
        out->values->text[index] = value ? value : "";
        return 0;
    }
    switch (spec->letter) {
    case 'c':
        if (out->config_file)
            return error_set(e, ERROR_USAGE, "option --config is given twice");
        out->config_file = value;
        return 0;
    case 'X':
        if (out->override_count == ARGS_OVERRIDES_MAX)
            return error_set(e, ERROR_USAGE, "more than %d -X; put them under kafka.properties",
                             ARGS_OVERRIDES_MAX);
        out->overrides[out->override_count++] = value;
        return 0;
    default:
        assert(spec->letter == 'h');
        *help = true;
        return 0;
    }
}

static int check_operands(const struct verb *verb, const struct args *args, struct error *e)
{
    size_t count = args->operand_count;
    if (verb->actions) {
        if (count == 0)
            return error_set(e, ERROR_USAGE, "what to do is missing: one of %s", verb->actions);
        if (check_choice("action", verb->actions, args->operands[0], e))
            return -1;
    }
    if (count > verb->max_operands)
        return error_set(e, ERROR_USAGE, "'%s' is one argument too many",
                         args->operands[verb->max_operands]);
    if (count < verb->min_operands)
        return error_set(e, ERROR_USAGE, "%s: needs %s",
                         count ? "too few arguments" : "no arguments",
                         verb->operands ? verb->operands : verb->actions);
    if ((verb->config & CONFIG_REQUIRED) && !args->config_file)
        return error_set(e, ERROR_USAGE, "no configuration file; name it with -c FILE");
    return 0;
}

static int parse_failure(const struct accepted *a, int code, char **argv, struct error *e)
{
    // optopt is the letter, an index for a long option that lacks or refuses a value, or 0 for an
    // unknown long one.
    const char *text = argv[optind - 1];
    if (code == ':')
        return error_set(e, ERROR_USAGE, "option %s needs a value", text);
    if (optopt >= OPTION_BASE)
        return error_set(e, ERROR_USAGE, "option --%s takes no value",
                         a->specs[optopt - OPTION_BASE]->name);
    if (optopt)
        return error_set(e, ERROR_USAGE, "unknown option -%c", optopt);
    return unknown_option(a, text, e);
}

int cli_parse(int argc, char **argv, struct args *out, bool *help, struct error *e)
{
    struct accepted a;
    accept_options(&a, out->verb);
    *out->values = (struct arg_values){0};
    *help = false;
    optind = 0; // glibc: start over, also after an earlier parse
    opterr = 0;
    for (int code; (code = getopt_long(argc, argv, a.shorts, a.longs, NULL)) != -1;) {
        if (code == '?' || code == ':')
            return parse_failure(&a, code, argv, e);
        size_t index = 0;
        if (code >= OPTION_BASE)
            index = (size_t)(code - OPTION_BASE);
        else
            while (a.specs[index]->letter != code)
                index++;
        if (take_option(&a, index, optarg, out, help, e))
            return -1;
        if (*help)
            return 0;
    }
    for (; optind < argc; optind++) {
        if (out->operand_count == ARGS_OPERANDS_MAX)
            return error_set(e, ERROR_USAGE, "more than %d arguments", ARGS_OPERANDS_MAX);
        out->operands[out->operand_count++] = argv[optind];
    }
    return check_operands(out->verb, out, e);
}

static int fail_unknown_verb(const struct verb *verbs, const char *name)
{
    const char *names[64];
    size_t count = 0;
    for (const struct verb *v = verbs; v->name; v++)
        if (!v->hidden && count < sizeof names / sizeof *names)
            names[count++] = v->name;
    const char *near = nearest(name, names, count);
    fprintf(stderr, "settled: unknown verb '%s'", name);
    if (near)
        fprintf(stderr, "; did you mean %s?", near);
    fputs("\nTry 'settled --help'.\n", stderr);
    return error_exit_status(ERROR_USAGE);
}

static int run_verb(const struct verb *verbs, const struct verb *verb, int argc, char **argv)
{
    struct arg_values values;
    struct args args = {.verbs = verbs, .verb = verb, .values = &values};
    struct error e = {0};
    bool help;
    if (cli_parse(argc, argv, &args, &help, &e))
        return cli_fail(verb->name, &e);
    if (help) {
        cli_print_verb_help(verb);
        return 0;
    }
    return verb->run(&args);
}

static int dispatch(const struct verb *verbs, int argc, char **argv)
{
    if (argc < 2) {
        fputs("settled: no verb; 'settled --help' lists them\n", stderr);
        return error_exit_status(ERROR_USAGE);
    }
    const char *name = argv[1];
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) {
        cli_print_overview(verbs);
        return 0;
    }
    if (strcmp(name, "--version") == 0)
        name = "version";
    if (*name == '-') {
        fprintf(stderr, "settled: option %s stands before the verb; write 'settled VERB %s ...'\n",
                name, name);
        return error_exit_status(ERROR_USAGE);
    }
    const struct verb *verb = verb_find(verbs, name);
    return verb ? run_verb(verbs, verb, argc - 1, argv + 1) : fail_unknown_verb(verbs, name);
}

// ---- the table ----
//
// Asserts what parsing and help rely on, so the first command finds a mistake in a row.

static void check_option(const struct verb *verb, const struct option_spec *option)
{
    assert(option->help != NULL);
    assert(option->help[strlen(option->help) - 1] != '.');
    for (const struct option_spec *other = verb->options; other < option; other++) {
        assert(strcmp(other->name, option->name) != 0);
        assert(!option->letter || other->letter != option->letter);
    }
    for (const struct option_spec *o = verb_config_options; o->name; o++)
        assert(strcmp(o->name, option->name) != 0);
    for (const struct option_spec *o = verb_common_options; o->name; o++)
        assert(strcmp(o->name, option->name) != 0);
}

static void check_verb(const struct verb *verb)
{
    assert(verb->run != NULL);
    assert(verb->min_operands <= verb->max_operands);
    assert(verb->max_operands <= ARGS_OPERANDS_MAX);
    assert(!verb->actions || verb->min_operands >= 1);
    assert(!(verb->config & CONFIG_REQUIRED) || verb->config & TAKES_CONFIG);
    for (const struct option_spec *o = verb->options; o && o->name; o++)
        check_option(verb, o);
}

static void check_table(const struct verb *verbs)
{
    for (const struct verb *v = verbs; v->name; v++) {
        check_verb(v);
        assert(verb_find(verbs, v->name) == v); // each name once
    }
}

int cli_main(const struct verb *verbs, int argc, char **argv)
{
    check_table(verbs);
    int status = dispatch(verbs, argc, argv);
    // If the output could not be written completely, the verb has not succeeded.
    if ((fflush(stdout) || ferror(stdout)) && status == 0) {
        fprintf(stderr, "settled: standard output: %s\n", strerror(errno));
        return 1;
    }
    return status;
}
