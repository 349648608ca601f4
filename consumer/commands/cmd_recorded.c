// What is recorded of a deployment and may change: parameters and books.
#include "consumer/cli/args_config.h"
#include "consumer/cli/cli_fail.h"
#include "consumer/commands/commands.h"
#include "consumer/preflight/recorded_books.h"
#include "consumer/preflight/wanted.h"

#include <assert.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- parameters apply ----

static void print_book(const struct wanted *wanted, const struct recorded_change *change)
{
    char day[DAY_TEXT_SIZE];
    const struct book *book = wanted->book;
    const struct shelf *shelf = &wanted->deployment.policy.shelf;
    const struct book *last = shelf->books[shelf->count - 1];
    if (change->book)
        printf("  pricing.book: %s (%s), whose prices are in force from %s on\n", book->sha256,
               book->name,
               book->effective_from == DAY_NONE ? "the first day"
                                                : calendar_format_day(book->effective_from, day));
    else if (strcmp(book->sha256, last->sha256) != 0)
        printf("  pricing.book: %s (%s) is recorded already, and followed by %s (%s) from %s on: "
               "prices do not change by it\n",
               book->sha256, book->name, last->sha256, last->name,
               calendar_format_day(last->effective_from, day));
}

// Floors only rise: a day whose ids were forgotten is not billable again.
static void print_floor(const struct policy *policy, const struct parameters *before,
                        const struct parameters *now)
{
    char day[DAY_TEXT_SIZE];
    if (now->late_days <= before->late_days)
        return;
    day_t floor = policy_floor(policy, now->from_day);
    assert(floor >= now->from_day - now->late_days);
    printf("    no day before %s becomes billable again: their ids are forgotten\n",
           calendar_format_day(floor, day));
}

static void print_parameters(const struct policy *policy)
{
    struct recorded_value values[RECORDED_VALUES_MAX];
    const struct parameters *now = &policy->rows[policy->count - 1], *before = now - 1;
    size_t count = config_compare_parameters(now, before, values);
    for (size_t i = 0; i < count; i++) {
        if (!values[i].differs)
            continue;
        printf("  %s: %s, until then %s\n", values[i].key, values[i].configured,
               values[i].recorded);
        if (strcmp(values[i].key, "billing.late_days") == 0)
            print_floor(policy, before, now);
    }
}

static void print_change(const struct wanted *wanted, const struct recorded_change *change,
                         bool trial)
{
    char day[DAY_TEXT_SIZE];
    const struct policy *policy = &wanted->deployment.policy;
    if (change->row) {
        assert(policy->count > 1); // the first row is recorded by the first start
        printf("from %s on, a day that no shard has opened:\n",
               calendar_format_day(policy->rows[policy->count - 1].from_day, day));
        print_parameters(policy);
    } else {
        puts("what the configuration says of parameters is recorded already");
    }
    print_book(wanted, change);
    if (change->row)
        puts(trial ? "nothing is recorded: this was a trial (--dry-run)" : "recorded");
}

static int apply(const struct args *args, struct wanted *wanted, struct error *e)
{
    struct config config;
    struct store *store = NULL;
    struct recorded_change change;
    bool trial = args_get(args, "dry-run") != NULL;
    int failed = args_load_config(args, &config, e) ||
                 store_open_all(config.dsns, config.dsn_count, STORE_WRITES, &store, e) ||
                 store_check_version(store, e) || wanted_read(&config, wanted, e) ||
                 wanted_ask_cluster(&config, wanted, e) ||
                 wanted_record(wanted, store, trial ? RECORD_TRIAL : RECORD_CHANGES, &change, e);
    if (!failed)
        print_change(wanted, &change, trial);
    store_close(store);
    config_free(&config);
    return failed ? -1 : 0;
}

int cmd_parameters(const struct args *args)
{
    struct error e = {0};
    struct wanted *wanted = calloc(1, sizeof *wanted);
    if (!wanted)
        abort(); // out of memory
    int failed = apply(args, wanted, &e);
    wanted_free(wanted);
    free(wanted);
    return failed ? cli_fail("parameters", &e) : 0;
}

// ---- books list ----

static bool any_configured(const struct recorded_books *books)
{
    bool found = false;
    for (size_t i = 0; i < books->count; i++)
        found = found || recorded_books_configured(books, i);
    return found;
}

static void print_table(const struct recorded_books *books)
{
    char text[RECORDED_BOOK_TEXT];
    for (size_t i = 0; i < books->count; i++)
        puts(recorded_books_text(books, i, text));
    if (books->count == 0)
        puts("no price book is recorded yet: the first 'settled run' records the configured one");
    else if (!any_configured(books))
        printf("the configured price book, %s, is none of them\n", books->configured);
}

static json_t *json_of_day(day_t day)
{
    char text[DAY_TEXT_SIZE];
    return day == DAY_NONE ? json_null() : json_string(calendar_format_day(day, text));
}

static void print_json(const struct recorded_books *books)
{
    json_t *list = json_array();
    for (size_t i = 0; i < books->count; i++) {
        const struct recorded_book *book = &books->list[i];
        char at[INSTANT_TEXT_SIZE];
        day_t first, last;
        recorded_books_days(books, i, &first, &last);
        json_array_append_new(
            list, json_pack("{s:s, s:s, s:o, s:o, s:s, s:s, s:b, s:b, s:b}", "sha256", book->sha256,
                            "name", book->name, "effective_from", json_of_day(first),
                            "effective_to", json_of_day(last), "recorded_at",
                            calendar_format_instant(book->recorded_at, 0, at), "recorded_by",
                            book->recorded_by, "configured", recorded_books_configured(books, i),
                            "named_by_parameters", book->named, "as_its_text", book->whole));
    }
    json_dumpf(list, stdout, JSON_INDENT(1));
    putchar('\n');
    json_decref(list);
}

static int check_whole(const struct recorded_books *books, struct error *e)
{
    for (size_t i = 0; i < books->count; i++)
        if (!books->list[i].whole)
            return error_set(e, ERROR_CONFIG,
                             "the recorded price book %s was changed by hand: its digest, name or "
                             "day is not that of its text; put back what was recorded",
                             books->list[i].sha256);
    return 0;
}

static int list_books(const struct args *args, struct error *e)
{
    struct config config;
    struct store *store = NULL;
    struct recorded_books *books = NULL;
    struct book *book = malloc(sizeof *book);
    const char *format = args_get(args, "format");
    if (!book)
        abort(); // out of memory
    int failed =
        args_load_config(args, &config, e) || config_read_book(&config, book, NULL, NULL, e) ||
        store_open_all(config.dsns, config.dsn_count, STORE_READS, &store, e) ||
        store_check_version(store, e) || !(books = recorded_books_load(store, book->sha256, e));
    if (!failed) {
        if (format && strcmp(format, "json") == 0)
            print_json(books);
        else
            print_table(books);
        failed = check_whole(books, e);
    }
    free(books);
    free(book);
    store_close(store);
    config_free(&config);
    return failed ? -1 : 0;
}

int cmd_books(const struct args *args)
{
    struct error e = {0};
    return list_books(args, &e) ? cli_fail("books", &e) : 0;
}
