#include "consumer/cli/cli.h"
#include "consumer/commands/verbs.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

// What a command line printed.
static char out[1 << 17], err[1 << 14];

static int redirect(int fd, FILE *to)
{
    int saved = dup(fd);
    assert_true(saved >= 0);
    assert_true(dup2(fileno(to), fd) >= 0);
    return saved;
}

static void take_back(int fd, int saved, FILE *from, char *text, size_t size)
{
    dup2(saved, fd);
    close(saved);
    rewind(from);
    text[fread(text, 1, size - 1, from)] = 0;
    fclose(from);
}

// Runs "settled ARGUMENT...", the arguments split at blanks.
static int run(const char *line)
{
    char copy[512], *argv[32] = {(char[]){"settled"}}, *rest = copy;
    int argc = 1;
    snprintf(copy, sizeof copy, "%s", line);
    for (char *word; (word = strsep(&rest, " ")) != NULL;)
        if (*word)
            argv[argc++] = word;
    FILE *to_out = tmpfile(), *to_err = tmpfile();
    fflush(stdout);
    int saved_out = redirect(STDOUT_FILENO, to_out), saved_err = redirect(STDERR_FILENO, to_err);
    int status = cli_main(verbs, argc, argv);
    fflush(stdout);
    take_back(STDOUT_FILENO, saved_out, to_out, out, sizeof out);
    take_back(STDERR_FILENO, saved_err, to_err, err, sizeof err);
    return status;
}

static const struct {
    const char *line, *message;
} mistakes[] = {
    {"", "settled: no verb; 'settled --help' lists them\n"},
    {"vresion", "settled: unknown verb 'vresion'; did you mean version?\nTry 'settled --help'.\n"},
    {"frobnicate", "settled: unknown verb 'frobnicate'\nTry 'settled --help'.\n"},
    {"-c x version", "settled: option -c stands before the verb; write 'settled VERB -c ...'\n"},
    {"version now",
     "settled version: 'now' is one argument too many\nTry 'settled version --help'.\n"},
    {"help --mna",
     "settled help: unknown option --mna; did you mean --man?\nTry 'settled help --help'.\n"},
    {"help --zzzzzz", "settled help: unknown option --zzzzzz\nTry 'settled help --help'.\n"},
    {"help -q", "settled help: unknown option -q\nTry 'settled help --help'.\n"},
    {"help --man=x", "settled help: option --man takes no value\nTry 'settled help --help'.\n"},
    {"help --man --man", "settled help: option --man is given twice\nTry 'settled help --help'.\n"},
    {"help nothing", "settled help: there is no verb 'nothing'; 'settled --help' lists them\nTry "
                     "'settled help --help'.\n"},
    {"migrate", "settled migrate: no configuration file; name it with -c FILE\nTry 'settled "
                "migrate --help'.\n"},
    {"migrate -c", "settled migrate: option -c needs a value\nTry 'settled migrate --help'.\n"},
    {"migrate -c a -c b",
     "settled migrate: option --config is given twice\nTry 'settled migrate --help'.\n"},
    {"topics -c x",
     "settled topics: what to do is missing: one of apply\nTry 'settled topics --help'.\n"},
    {"topics -c x aply", "settled topics: action: 'aply' is none of apply; did you mean "
                         "apply?\nTry 'settled topics --help'.\n"},
    {"rejects -c x list --format yaml", "settled rejects: option --format: 'yaml' is none of "
                                        "table, json, csv\nTry 'settled rejects --help'.\n"},
    {"rejects -c x list --reason INVALD",
     "settled rejects: option --reason: 'INVALD' is none of UNDECODABLE, UNKNOWN_SCHEMA, "
     "INCOMPATIBLE_SCHEMA, "
     "MISROUTED, "
     "INVALID, FROM_FUTURE, TOO_LATE, REFUND, NOT_FOR_SALE, CONFLICT; did you mean INVALID?\n"
     "Try 'settled rejects --help'.\n"},
    {"rejects --topc calls", "settled rejects: unknown option --topc; did you mean --topic?\nTry "
                             "'settled rejects --help'.\n"},
};

static void mistakes_are_told_and_exit_64(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof mistakes / sizeof *mistakes; i++) {
        assert_int_equal(run(mistakes[i].line), 64);
        assert_string_equal(err, mistakes[i].message);
        assert_string_equal(out, "");
    }
}

static void a_missing_file_exits_78(void **state)
{
    (void)state;
    assert_int_equal(run("migrate -c /nowhere/settled.yaml"), 78);
    assert_string_equal(err, "settled migrate: /nowhere/settled.yaml: No such file or directory\n");
}

static void every_verb_explains_itself(void **state)
{
    (void)state;
    for (const struct verb *v = verbs; v->name; v++) {
        char line[64], usage[64];
        snprintf(line, sizeof line, "%s --help", v->name);
        snprintf(usage, sizeof usage, "Usage: settled %s", v->name);
        assert_int_equal(run(line), 0);
        assert_string_equal(err, "");
        assert_memory_equal(out, usage, strlen(usage));
        for (const struct option_spec *o = v->options; o && o->name; o++)
            assert_non_null(strstr(out, o->name));
        for (char *at = out; *at; at += strcspn(at, "\n") + 1) { // fits a terminal
            assert_true(strcspn(at, "\n") <= 120);
            if (!at[strcspn(at, "\n")])
                break;
        }
    }
}

static void the_overview_lists_every_verb(void **state)
{
    (void)state;
    assert_int_equal(run("--help"), 0);
    for (const struct verb *v = verbs; v->name; v++)
        assert_true(v->hidden || strstr(out, v->name));
    assert_int_equal(run("help"), 0);
    assert_int_equal(run("--version"), 0);
    assert_memory_equal(out, "settled ", 8);
}

static void help_wins_over_what_is_missing(void **state)
{
    (void)state;
    assert_int_equal(run("topics --help"), 0);
    assert_int_equal(run("rejects list -h"), 0);
}

static void the_manual_holds_every_option(void **state)
{
    (void)state;
    assert_int_equal(run("help --man"), 0);
    assert_memory_equal(out, ".TH SETTLED 1\n", 14);
    for (const struct verb *v = verbs; v->name; v++) {
        char section[64];
        snprintf(section, sizeof section, ".SS settled %s", v->name);
        assert_true(v->hidden || strstr(out, section));
    }
    assert_non_null(strstr(out, "\\fB\\-c\\fR, \\fB\\-\\-config\\fR \\fIFILE\\fR"));
}

static void completion_is_a_script_that_completes(void **state)
{
    (void)state;
    char path[] = "/tmp/settled-completion-XXXXXX", command[512], answer[512] = "";
    assert_int_equal(run("help --bash-completion"), 0);
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, out, strlen(out)), strlen(out));
    close(fd);
    snprintf(command, sizeof command,
             "bash -c '. %s; COMP_WORDS=(settled topics -); COMP_CWORD=2; _settled; echo "
             "${COMPREPLY[*]};"
             " COMP_WORDS=(settled rejects list --format c); COMP_CWORD=4; _settled; echo "
             "${COMPREPLY[*]};"
             " COMP_WORDS=(settled mig); COMP_CWORD=1; _settled; echo ${COMPREPLY[*]}'",
             path);
    FILE *pipe = popen(command, "r"); // NOLINT: a fixed command over a path of our own
    assert_non_null(pipe);
    answer[fread(answer, 1, sizeof answer - 1, pipe)] = 0;
    assert_int_equal(pclose(pipe), 0);
    unlink(path);
    assert_string_equal(
        answer, "--file --partitions --replication --config --property --help\ncsv\nmigrate\n");
}

static const struct option_spec options[] = {
    {"count", 'n', "N", "a number"},
    {"day", 0, "DATE", "a day"},
    {"fast", 0, NULL, "a flag"},
    {NULL, 0, NULL, NULL},
};
static const struct verb probe = {.name = "probe",
                                  .config = TAKES_CONFIG,
                                  .operands = "[A...]",
                                  .max_operands = 3,
                                  .options = options};

static int parse(struct args *args, struct arg_values *values, struct error *e, int argc,
                 const char *const *words)
{
    static char copies[16][64];
    char *argv[16] = {(char[]){"probe"}};
    bool help;
    for (int i = 0; i < argc; i++) {
        snprintf(copies[i], sizeof copies[i], "%s", words[i]);
        argv[i + 1] = copies[i];
    }
    *args = (struct args){.verb = &probe, .values = values};
    return cli_parse(argc + 1, argv, args, &help, e);
}

static void values_operands_and_overrides_are_told_apart(void **state)
{
    (void)state;
    struct args args;
    struct arg_values values;
    struct error e;
    int64_t number;
    day_t day;
    const char *words[] = {"a",   "-n",     "-5", "-X", "k=v", "-X",
                           "l=w", "--fast", "-c", "f",  "b",   "--day=1970-01-02",
                           "--",  "-d"};
    assert_int_equal(parse(&args, &values, &e, 14, words), 0);
    assert_int_equal(args.operand_count, 3);
    assert_string_equal(args.operands[0], "a");
    assert_string_equal(args.operands[2], "-d");
    assert_string_equal(args.config_file, "f");
    assert_int_equal(args.override_count, 2);
    assert_string_equal(args.overrides[1], "l=w");
    assert_string_equal(args_get(&args, "fast"), "");
    assert_int_equal(args_integer(&args, "count", -10, 10, 0, &number, &e), 0);
    assert_int_equal(number, -5);
    assert_int_equal(args_day(&args, "day", &day, &e), 0);
    assert_int_equal(day, 1);
}

static void numbers_and_days_are_checked(void **state)
{
    (void)state;
    static const char *const bad[][2] = {
        {"x", "option --count: 'x' is not a whole number"},
        {"1.5", "option --count: '1.5' is not a whole number"},
        {"", "option --count: '' is not a whole number"},
        {" 1", "option --count: ' 1' is not a whole number"},
        {"11", "option --count: 11 is not within -10 to 10"},
        {"99999999999999999999", "option --count: 99999999999999999999 is not within -10 to 10"},
    };
    struct args args;
    struct arg_values values;
    struct error e;
    int64_t number;
    day_t day;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const char *words[] = {"--count", bad[i][0]};
        assert_int_equal(parse(&args, &values, &e, 2, words), 0);
        assert_int_equal(args_integer(&args, "count", -10, 10, 0, &number, &e), -1);
        assert_int_equal(e.kind, ERROR_USAGE);
        assert_string_equal(e.text, bad[i][1]);
    }
    assert_int_equal(parse(&args, &values, &e, 2, (const char *[]){"--day", "2026-13-01"}), 0);
    assert_int_equal(args_day(&args, "day", &day, &e), -1);
    assert_string_equal(e.text, "option --day: '2026-13-01' is not a date; write it as 2026-11-01");
    assert_int_equal(parse(&args, &values, &e, 0, NULL), 0);
    assert_int_equal(args_integer(&args, "count", -10, 10, 7, &number, &e), 0);
    assert_int_equal(number, 7);
    assert_int_equal(args_day(&args, "day", &day, &e), 0);
    assert_int_equal(day, DAY_NONE);
    assert_int_equal(parse(&args, &values, &e, 4, (const char *[]){"a", "b", "c", "d"}), -1);
    assert_string_equal(e.text, "'d' is one argument too many");
}

static void a_full_disk_is_no_success(void **state)
{
    (void)state;
    int full = open("/dev/full", O_WRONLY);
    assert_true(full >= 0);
    fflush(stdout);
    int saved = dup(STDOUT_FILENO), saved_err = dup(STDERR_FILENO),
        quiet = open("/dev/null", O_WRONLY);
    dup2(full, STDOUT_FILENO);
    dup2(quiet, STDERR_FILENO);
    int status = cli_main(verbs, 2, (char *[]){(char[]){"settled"}, (char[]){"--help"}});
    dup2(saved, STDOUT_FILENO);
    dup2(saved_err, STDERR_FILENO);
    clearerr(stdout);
    close(full);
    close(quiet);
    close(saved);
    close(saved_err);
    assert_int_equal(status, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mistakes_are_told_and_exit_64),
        cmocka_unit_test(a_missing_file_exits_78),
        cmocka_unit_test(every_verb_explains_itself),
        cmocka_unit_test(the_overview_lists_every_verb),
        cmocka_unit_test(help_wins_over_what_is_missing),
        cmocka_unit_test(the_manual_holds_every_option),
        cmocka_unit_test(completion_is_a_script_that_completes),
        cmocka_unit_test(values_operands_and_overrides_are_told_apart),
        cmocka_unit_test(numbers_and_days_are_checked),
        cmocka_unit_test(a_full_disk_is_no_success),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
