#include "consumer/cli/cli.h"
#include "consumer/commands/verbs.h"
#include "consumer/config/book_file.h"

#include "tests/unit/books.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>

#include <cmocka.h>

enum { OUTPUT_MAX = 1 << 16, ARGUMENTS_MAX = 16 };
static char output[OUTPUT_MAX]; // of stdout and stderr together

// Runs `settled quote WORDS` and keeps what it prints.
static int quote(const char *words)
{
    char line[1024], *argv[ARGUMENTS_MAX] = {(char[]){"settled"}, (char[]){"quote"}}, *rest = line;
    int argc = 2;
    snprintf(line, sizeof line, "%s", words);
    for (char *word; (word = strsep(&rest, " ")) && argc < ARGUMENTS_MAX - 1;)
        argv[argc++] = word;
    FILE *file = tmpfile();
    assert_non_null(file);
    fflush(NULL);
    int out = dup(STDOUT_FILENO), err = dup(STDERR_FILENO);
    dup2(fileno(file), STDOUT_FILENO);
    dup2(fileno(file), STDERR_FILENO);
    int status = cli_main(verbs, argc, argv);
    fflush(NULL);
    dup2(out, STDOUT_FILENO);
    dup2(err, STDERR_FILENO);
    close(out);
    close(err);
    rewind(file);
    output[fread(output, 1, sizeof output - 1, file)] = '\0';
    fclose(file);
    return status;
}

static void refuses(const char *words, int status, const char *text)
{
    assert_int_equal(quote(words), status);
    if (!strstr(output, text))
        fail_msg("%s: %s", words, output);
}

static void expect(const char *words, const char *text)
{
    assert_int_equal(quote(words), 0);
    if (!strstr(output, text))
        fail_msg("%s: %s", words, output);
}

static void a_service_has_several_names(void **state)
{
    (void)state;
    static const char *const names[] = {"PURCHASE_INTENT", "purchase_intent", "Purchase-Intent",
                                        "购车意向预判服务"};
    char words[160];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(words, sizeof words, "--service %s --leads 8000", names[i]);
        expect(words, "Service     PURCHASE_INTENT 购车意向预判服务\n");
    }
    refuses(
        "--service 购车意向预判 --leads 8000", 64,
        "option --service: '购车意向预判' is neither AUDIENCE_INSIGHT nor PURCHASE_INTENT, nor");
    refuses("--service PURCHASE_INTENT_ --leads 8000", 64, "'PURCHASE_INTENT_' is neither");
    refuses("--service PURCHASE --leads 8000", 64, "'PURCHASE' is neither");
}

// A Chinese character is as wide as two others.
static void the_worked_example_in_chinese(void **state)
{
    (void)state;
    static const char worked[] = "--service PURCHASE_INTENT --leads 8000 --calls 3";
    static const char lines[] =
        "用量        24,000 条\n"
        "  3 次调用，每次 8,000 条：每条 10.00 元（0 起的档位）\n"
        "\n"
        "  方式         套餐包  套餐价（元）    抵扣     剩余  后付费  后付费（元）    合计（元）\n"
        "  后付费            -             -       -        -  24,000    240,000.00    "
        "240,000.00\n";
    char words[160];
    snprintf(words, sizeof words, "%s --lang zh", worked);
    expect(words, lines);
    expect(words, "* 组合         20,000    140,000.00  20,000        0   4,000     40,000.00    "
                  "180,000.00\n\n  组合：2 个 10,000 的套餐包\n\n"
                  "* 最低：180,000.00 元，比后付费少 60,000.00 元；");
    setenv("LANG", "zh_CN.UTF-8", 1);
    expect(worked, lines);
    setenv("LC_MESSAGES", "en_US.UTF-8", 1);
    expect(worked, "Need        24,000 leads\n");
    setenv("LC_ALL", "zh_TW", 1);
    expect(worked, lines);
    snprintf(words, sizeof words, "%s --lang en", worked);
    expect(words, "Need        24,000 leads\n");
    unsetenv("LANG");
    unsetenv("LC_MESSAGES");
    unsetenv("LC_ALL");
    snprintf(words, sizeof words, "%s --lang fr", worked);
    refuses(words, 64, "--lang");
}

static void the_worked_example_as_a_table(void **state)
{
    (void)state;
    assert_int_equal(quote("--service PURCHASE_INTENT --leads 8000 --calls 3"), 0);
    assert_non_null(strstr(output, "Need        24,000 leads\n"));
    assert_non_null(strstr(output, "  3 calls of 8,000 leads: 10.00 yuan a lead (tier from 0)\n"));
    assert_non_null(
        strstr(output, "  postpaid              -             -        -        -    24,000     "
                       "240,000.00    240,000.00\n"));
    assert_non_null(
        strstr(output, "  package          10,000     70,000.00   10,000        0    14,000     "
                       "140,000.00    210,000.00\n"));
    assert_non_null(
        strstr(output, "* combination      20,000    140,000.00   20,000        0     4,000      "
                       "40,000.00    180,000.00\n"));
    assert_non_null(strstr(output, "\n  combination: 2 packages of 10,000\n"));
    assert_non_null(strstr(output, "* the least: 180,000.00 yuan, 60,000.00 less than postpaid"));
}

static void one_of_each_is_singular(void **state)
{
    (void)state;
    assert_int_equal(quote("--service AUDIENCE_INSIGHT --calls 1"), 0);
    assert_non_null(strstr(output, "Need        1 call\n  1 call: 2,200.00 yuan a call\n"));
    assert_non_null(strstr(output, "* the least: 2,200.00 yuan, paid after use\n"));
    assert_int_equal(quote("--service PURCHASE_INTENT --leads 1"), 0);
    assert_non_null(strstr(output, "Need        1 lead\n  1 call of 1 lead: 10.00 yuan a lead"));
}

static json_t *quote_json(const char *words)
{
    assert_int_equal(quote(words), 0);
    json_t *json = json_loads(output, 0, NULL);
    assert_non_null(json);
    return json;
}

static json_int_t total(json_t *option)
{
    return json_integer_value(json_object_get(option, "total"));
}

static void json_has_fen(void **state)
{
    (void)state;
    json_t *json = quote_json("--service AUDIENCE_INSIGHT --calls 200 --format json");
    json_t *options = json_object_get(json, "options"), *least = json_object_get(json, "least");
    assert_int_equal(json_array_size(options), 6);
    assert_int_equal(total(json_array_get(options, 0)), 44000000);
    assert_int_equal(total(json_array_get(options, 3)), 24000000);
    assert_int_equal(total(least), 15050000);
    assert_string_equal(json_string_value(json_object_get(least, "way")), "CUSTOM");
    assert_string_equal(json_string_value(json_object_get(json, "currency")), "CNY");
    assert_true(json_is_null(
        json_object_get(json_array_get(json_object_get(json, "calls"), 0), "tier_from")));
    struct book book = load_apcas();
    json_t *named = json_object_get(json_object_get(json, "price_book"), "sha256");
    // the built-in book is the repository's
    assert_string_equal(json_string_value(named), book.sha256);
    json_decref(json);
}

static void a_combination_says_what_to_buy(void **state)
{
    (void)state;
    json_t *json = quote_json("--service PURCHASE_INTENT --leads 8000 --calls 20 --format json");
    json_t *least = json_object_get(json, "least"), *parts = json_object_get(least, "packages");
    assert_string_equal(json_string_value(json_object_get(least, "way")), "COMBINATION");
    assert_true(json_is_true(json_object_get(json, "all_combinations")));
    int64_t units = 0;
    for (size_t i = 0; i < json_array_size(parts); i++)
        units += json_integer_value(json_object_get(json_array_get(parts, i), "units"));
    assert_int_equal(units, json_integer_value(json_object_get(least, "package_units")));
    json_decref(json);
    assert_int_equal(quote("--service PURCHASE_INTENT --leads 8000 --calls 14"), 0);
    assert_non_null(
        strstr(output, "\n  combination: 1 package of 100,000 and 1 package of 10,000\n"));
    assert_int_equal(quote("--service PURCHASE_INTENT --leads 1000000000 --calls 2"), 0);
    assert_non_null(
        strstr(output, "\n  combination: 2 custom packages of 2,000,000,000 together\n"));
}

static void several_calls_by_operands_or_commas(void **state)
{
    (void)state;
    static const char *const forms[] = {
        "--service PURCHASE_INTENT --format json --leads 8000 12000 500000",
        "--service PURCHASE_INTENT --format json --leads 8000,12000,500000",
        "--service PURCHASE_INTENT --format json --leads 8000,12000 500000",
    };
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        json_t *json = quote_json(forms[i]);
        assert_int_equal(json_integer_value(json_object_get(json, "need_units")), 520000);
        assert_int_equal(total(json_array_get(json_object_get(json, "options"), 0)), 142600000);
        json_decref(json);
    }
}

static void wrong_usage_says_what_to_give(void **state)
{
    (void)state;
    refuses("--leads 5", 64, "no service; give --service");
    refuses("--service LEADS --leads 5", 64, "--service");
    refuses("--service PURCHASE_INTENT", 64, "give --leads N");
    refuses("--service PURCHASE_INTENT --calls 5", 64, "give --leads N");
    refuses("--service AUDIENCE_INSIGHT", 64, "give --calls N");
    refuses("--service AUDIENCE_INSIGHT --leads 5", 64, "give --calls N");
    refuses("--service AUDIENCE_INSIGHT --calls 5 6", 64, "'6' is one argument too many");
    refuses("--service AUDIENCE_INSIGHT --calls 0", 64, "--calls");
    refuses("--service PURCHASE_INTENT --leads 5,x", 64, "'x' is not a number of leads");
    refuses("--service PURCHASE_INTENT --leads -5", 64, "'-5' is not a number of leads");
    refuses("--service PURCHASE_INTENT --leads 5,", 64, "after the last comma");
    refuses("--service PURCHASE_INTENT --leads 5,,6", 64, "'' is not a number of leads");
    refuses("--service PURCHASE_INTENT --leads 1234567890123456789012345678901234567890", 64,
            "is not a number");
    refuses("--service PURCHASE_INTENT --leads 5 6 --calls 2", 64, "--calls repeats one call");
    refuses("--service PURCHASE_INTENT --leads 1000000001", 64, "a call has 0 to 1000000000");
    refuses("--service AUDIENCE_INSIGHT --calls 1 --day 2026-02-30", 64, "not a date");
}

static void at_most_64_sizes(void **state)
{
    (void)state;
    char words[512] = "--service PURCHASE_INTENT --leads 1";
    for (size_t end = strlen(words), i = 0; i < 63; i++, end += 2)
        memcpy(words + end, ",1", 3);
    assert_int_equal(quote(words), 0);
    memcpy(words + strlen(words), ",1", 3);
    refuses(words, 64, "more than 64 calls; use --calls");
}

static void write_book(const char *path, const char *edit)
{
    size_t size;
    char *bytes = read_whole(SOURCE_DIR "/pricing/pricebooks/apcas.yaml", &size);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fwrite(bytes, 1, size, file);
    fputs(edit, file);
    fclose(file);
    free(bytes);
}

static void another_book_and_its_day(void **state)
{
    (void)state;
    char path[] = "/tmp/settled-book-XXXXXX", words[256];
    close(mkstemp(path));
    write_book(path, "effective_from: 2027-01-01\n");
    const char *ask = "--service AUDIENCE_INSIGHT --calls 1 --book";
    snprintf(words, sizeof words, "%s %s", ask, path);
    assert_int_equal(quote(words), 0);
    assert_non_null(strstr(output, ", from 2027-01-01\n"));
    snprintf(words, sizeof words, "%s %s --day 2027-01-01", ask, path);
    assert_int_equal(quote(words), 0);
    snprintf(words, sizeof words, "%s %s --day 2026-12-31", ask, path);
    refuses(words, 64, "is in force from 2027-01-01 only");
    write_book(path, "oops: 1\n");
    snprintf(words, sizeof words, "%s %s", ask, path);
    refuses(words, 78, "unknown key oops in the price book");
    unlink(path);
    refuses(words, 78, "No such file or directory");
    snprintf(words, sizeof words, "%s /", ask);
    refuses(words, 78, "price book: /: Is a directory");
    snprintf(words, sizeof words, "--service AUDIENCE_INSIGHT --calls 1 -c %s", path);
    refuses(words, 78, path);
}

static void the_bytes_of_a_book(void **state)
{
    (void)state;
    struct book book, builtin;
    struct error e;
    char *bytes = NULL, hex[65];
    size_t size = 0;
    assert_int_equal(
        book_load(SOURCE_DIR "/pricing/pricebooks/apcas.yaml", &book, &bytes, &size, &e), 0);
    book_sha256(bytes, size, hex);
    assert_string_equal(hex, book.sha256);
    free(bytes);
    book_load_builtin(&builtin);
    assert_string_equal(builtin.sha256, book.sha256);
}

int main(void)
{
    // What is printed must not depend on who runs the test.
    unsetenv("LC_ALL");
    unsetenv("LC_MESSAGES");
    unsetenv("LANG");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_service_has_several_names),
        cmocka_unit_test(the_worked_example_in_chinese),
        cmocka_unit_test(the_worked_example_as_a_table),
        cmocka_unit_test(one_of_each_is_singular),
        cmocka_unit_test(json_has_fen),
        cmocka_unit_test(a_combination_says_what_to_buy),
        cmocka_unit_test(several_calls_by_operands_or_commas),
        cmocka_unit_test(wrong_usage_says_what_to_give),
        cmocka_unit_test(at_most_64_sizes),
        cmocka_unit_test(another_book_and_its_day),
        cmocka_unit_test(the_bytes_of_a_book),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
