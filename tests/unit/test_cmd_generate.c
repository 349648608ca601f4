// What `settled generate` refuses before it connects to a service; sending is tested with a broker.
#include "consumer/cli/cli.h"
#include "consumer/commands/verbs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char config[] = "/tmp/settled-generate-XXXXXX";

static void write_config(const char *timestamps, const char *first_day)
{
    FILE *file = fopen(config, "w");
    assert_non_null(file);
    fprintf(file,
            "kafka: {brokers: '127.0.0.1:1'}\n"
            "schemas: {directory: /tmp}\n"
            "pricing: {book: " SOURCE_DIR "/pricing/pricebooks/apcas.yaml}\n"
            "billing: {first_day: %s, timestamps: %s}\n",
            first_day, timestamps);
    fclose(file);
}

static void refuses(const char *words, int status, const char *text)
{
    enum { ARGUMENTS_MAX = 16 };
    char line[512], output[4096],
        *argv[ARGUMENTS_MAX] = {(char[]){"settled"}, (char[]){"generate"}}, *rest = line;
    int argc = 2;
    snprintf(line, sizeof line, "-c %s %s", config, words);
    for (char *word; (word = strsep(&rest, " ")) && argc < ARGUMENTS_MAX - 1;)
        argv[argc++] = word;
    FILE *file = tmpfile();
    assert_non_null(file);
    fflush(NULL);
    int err = dup(STDERR_FILENO);
    dup2(fileno(file), STDERR_FILENO);
    int result = cli_main(verbs, argc, argv);
    fflush(NULL);
    dup2(err, STDERR_FILENO);
    close(err);
    rewind(file);
    output[fread(output, 1, sizeof output - 1, file)] = '\0';
    fclose(file);
    assert_int_equal(result, status);
    if (!strstr(output, text))
        fail_msg("%s: %s", words, output);
}

static void shares_are_percentages(void **state)
{
    (void)state;
    write_config("create", "2026-11-01");
    static const char *const wrong[] = {"x",       "%",   "-1", "101",        "100.0001",
                                        "1.23456", "1e1", ".5", "99999999999"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char words[64];
        snprintf(words, sizeof words, "--broken=%s", wrong[i]);
        refuses(words, 64, "is not a percentage, 0 to 100 with up to four decimals");
    }
    refuses("--broken 60 --late 50%", 64,
            "shares together (millionths): 1110000 is not within 0 to 1000000");
    // good: only the broker is missing
    refuses("--duplicates 99.0001% --late 0", 69, "call-records");
}

static void sizes_are_bounded(void **state)
{
    (void)state;
    write_config("create", "2026-11-01");
    refuses("--accounts 0", 64, "--accounts");
    refuses("--days 0", 64, "--days");
    refuses("--rate -1", 64, "--rate");
    refuses("--calls-per-day 0 --purchases 0 --credits 0", 64, "records a day: 0 is not within");
    refuses("--from-day 2026-10-31", 64, "lies before billing.first_day 2026-11-01");
    refuses("--from-day tomorrow", 64, "not a date");
}

static void a_broker_that_stamps_knows_no_simulated_days(void **state)
{
    (void)state;
    write_config("log-append", "2026-11-01");
    refuses("--days 2", 64, "need billing.timestamps: create");
    refuses("--from-day 2026-11-02", 64, "need billing.timestamps: create");
    write_config("log-append", "9999-01-01");
    refuses("--days 1", 78, "billing.first_day lies ahead");
}

int main(void)
{
    close(mkstemp(config));
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shares_are_percentages),
        cmocka_unit_test(sizes_are_bounded),
        cmocka_unit_test(a_broker_that_stamps_knows_no_simulated_days),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(config);
    return failed;
}
