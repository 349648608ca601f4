// The price calculator. It needs a price book and the number of calls or leads; PostgreSQL only
// for the book that is recorded for a day, and for what an account holds.
#include "consumer/answers/quoting.h"
#include "consumer/base/format.h"
#include "consumer/cli/args_config.h"
#include "consumer/cli/cli_fail.h"
#include "consumer/commands/commands.h"
#include "consumer/config/book_file.h"
#include "consumer/config/config.h"
#include "consumer/postgres/store.h"
#include "consumer/system/clock.h"
#include "pricing/quote.h"

#include <assert.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- what is asked ----

static int ask(const struct args *args, const struct book *book, struct quote_request *out,
               struct error *e)
{
    const char *leads[QUOTE_GROUPS_MAX + 1];
    struct quote_words words = {.kind = "option",
                                .names = {"--service", "--leads", "--calls"},
                                .service = args_get(args, "service"),
                                .calls = args_get(args, "calls"),
                                .leads = leads};
    if (args_get(args, "leads"))
        leads[words.lead_count++] = args_get(args, "leads");
    else if (args->operand_count > 0)
        return error_set(e, ERROR_USAGE, "'%s' is one argument too many", args->operands[0]);
    // One more than a request may have, so that it is told.
    for (size_t i = 0; i < args->operand_count && words.lead_count <= QUOTE_GROUPS_MAX; i++)
        leads[words.lead_count++] = args->operands[i];
    return quote_ask(&words, book, out, e);
}

// ---- which book ----

// What is billed on a day is what is recorded, whatever the configured file says. Where nothing is
// recorded yet, *out stays as it is.
static int load_recorded(const struct config *config, day_t day, struct book *out, struct error *e)
{
    struct store *store = NULL;
    bool recorded = false;
    struct deployment *deployment = calloc(1, sizeof *deployment);
    if (!deployment)
        abort(); // out of memory
    int failed = store_open(config->dsn, STORE_READS, &store, e) || store_check_version(store, e) ||
                 store_load_deployment(store, deployment, &recorded, e);
    if (!failed && recorded)
        *out = *shelf_at(&deployment->policy.shelf, day);
    shelf_clear(&deployment->policy.shelf);
    free(deployment);
    store_close(store);
    return failed ? -1 : 0;
}

// `day`: DAY_NONE for none.
static int load_configured(const struct args *args, day_t day, struct book *out, struct error *e)
{
    struct config config;
    int failed = args_load_config(args, &config, e) ||
                 config_read_book(&config, out, NULL, NULL, e) ||
                 (day != DAY_NONE && load_recorded(&config, day, out, e));
    config_free(&config);
    return failed ? -1 : 0;
}

static int choose_book(const struct args *args, struct book *out, struct error *e)
{
    const char *file = args_get(args, "book");
    day_t day;
    if (args_day(args, "day", &day, e) != 0)
        return -1;
    if (file) {
        if (book_load(file, out, NULL, NULL, e) != 0)
            return -1;
    } else if (args->config_file) {
        if (load_configured(args, day, out, e) != 0)
            return -1;
    } else {
        book_load_builtin(out);
    }
    if (day == DAY_NONE || out->effective_from <= day)
        return 0;
    char from[DAY_TEXT_SIZE];
    return error_set(e, ERROR_USAGE,
                     "price book %s is in force from %s only; name the version in force on that "
                     "day with --book FILE",
                     out->name, calendar_format_day(out->effective_from, from));
}

// ---- what is held already ----

// At the end of the day that is asked about, by default now.
static int64_t instant_of(const struct book *book, day_t day)
{
    return day == DAY_NONE ? clock_wall_ms() : calendar_day_start(day + 1, book->offset_ms) - 1;
}

static int load_held(const struct args *args, const struct book *book, struct quote_request *out,
                     struct error *e)
{
    struct config config;
    struct store *store = NULL;
    day_t day;
    const char *account = args_get(args, "account");
    if (!account)
        return 0;
    if (!args->config_file)
        return error_set(e, ERROR_USAGE,
                         "option --account: what the account holds is recorded in PostgreSQL; name "
                         "the configuration with -c FILE");
    if (args_day(args, "day", &day, e) != 0)
        return -1;
    const struct held_question question = {
        .account_id = slice_text(account), .service = out->service, .at_ms = instant_of(book, day)};
    int failed = args_load_config(args, &config, e) ||
                 store_open(config.dsn, STORE_READS, &store, e) || store_check_version(store, e) ||
                 store_held_units(store, &question, &out->held_units, e);
    store_close(store);
    config_free(&config);
    return failed ? -1 : 0;
}

// ---- the answer for people ----

static const char *unit_word(const struct service_prices *prices, int64_t units)
{
    if (prices->unit == UNIT_CALL)
        return units == 1 ? "call" : "calls";
    return units == 1 ? "lead" : "leads";
}

static void print_group(const struct service_prices *prices, const struct quote_group *group)
{
    char calls[NUMBER_SIZE], units[NUMBER_SIZE], price[NUMBER_SIZE], from[NUMBER_SIZE];
    printf("  %s %s", format_count(group->calls, calls), group->calls == 1 ? "call" : "calls");
    if (prices->unit == UNIT_LEAD)
        printf(" of %s %s", format_count(group->units, units), unit_word(prices, group->units));
    printf(": %s yuan a %s", format_yuan(group->unit_price, price), unit_word(prices, 1));
    if (group->tier_from >= 0)
        printf(" (tier from %s)", format_count(group->tier_from, from));
    putchar('\n');
}

// `account`: whose packages are drawn first; NULL: nobody's.
static void print_head(const struct quote_request *request, const struct book *book,
                       const struct quote *quote, const char *account)
{
    const struct service_prices *prices = &book->services[request->service];
    char need[NUMBER_SIZE], from[DAY_TEXT_SIZE];
    printf("Service     %s %s\n", service_symbol(request->service), prices->name);
    printf("Price book  %s, SHA-256 %.12s", book->name, book->sha256);
    if (book->effective_from != DAY_NONE)
        printf(", from %s", calendar_format_day(book->effective_from, from));
    printf("\nNeed        %s %s\n", format_count(quote->need_units, need),
           unit_word(prices, quote->need_units));
    for (size_t i = 0; i < quote->group_count; i++)
        print_group(prices, &quote->groups[i]);
    if (account)
        printf("Held        %s %s by %s, drawn first\n", format_count(quote->held_units, need),
               unit_word(prices, quote->held_units), account);
    putchar('\n');
}

enum column {
    COLUMN_WAY,
    COLUMN_PACKAGE,
    COLUMN_PRICE,
    COLUMN_COVERED,
    COLUMN_LEFT,
    COLUMN_REST,
    COLUMN_REST_YUAN,
    COLUMN_TOTAL,
    COLUMNS
};
static const char *const headings[COLUMNS] = {
    [COLUMN_WAY] = "way",
    [COLUMN_PACKAGE] = "package",
    [COLUMN_PRICE] = "price yuan",
    [COLUMN_COVERED] = "covered",
    [COLUMN_LEFT] = "left",
    [COLUMN_REST] = "postpaid",
    [COLUMN_REST_YUAN] = "postpaid yuan",
    [COLUMN_TOTAL] = "total yuan",
};

struct quote_row {
    char cells[COLUMNS][NUMBER_SIZE];
};

static void fill_row(const struct quote_option *option, struct quote_row *row)
{
    static const char *const ways[] = {[QUOTE_POSTPAID] = "postpaid",
                                       [QUOTE_PACKAGE] = "package",
                                       [QUOTE_CUSTOM] = "custom package",
                                       [QUOTE_COMBINATION] = "combination"};
    snprintf(row->cells[COLUMN_WAY], NUMBER_SIZE, "%s", ways[option->way]);
    for (int c = COLUMN_PACKAGE; c <= COLUMN_LEFT; c++)
        snprintf(row->cells[c], NUMBER_SIZE, "-");
    if (option->way != QUOTE_POSTPAID) {
        format_count(option->package_units, row->cells[COLUMN_PACKAGE]);
        format_yuan(option->package_price, row->cells[COLUMN_PRICE]);
        format_count(option->covered_units, row->cells[COLUMN_COVERED]);
        format_count(option->left_units, row->cells[COLUMN_LEFT]);
    }
    format_count(option->postpaid_units, row->cells[COLUMN_REST]);
    format_yuan(option->postpaid_amount, row->cells[COLUMN_REST_YUAN]);
    format_yuan(option->total, row->cells[COLUMN_TOTAL]);
    assert(option->total == option->package_price + option->postpaid_amount);
}

static void print_row(const char *mark, const struct quote_row *row, const int widths[COLUMNS])
{
    printf("%s %-*s", mark, widths[COLUMN_WAY], row->cells[COLUMN_WAY]);
    for (int c = COLUMN_PACKAGE; c < COLUMNS; c++)
        printf("  %*s", widths[c], row->cells[c]);
    putchar('\n');
}

static void print_options(const struct quote *quote)
{
    struct quote_row rows[QUOTE_OPTIONS_MAX + 1];
    assert(quote->count <= QUOTE_OPTIONS_MAX);
    int widths[COLUMNS] = {0};
    for (int c = 0; c < COLUMNS; c++)
        snprintf(rows[0].cells[c], NUMBER_SIZE, "%s", headings[c]);
    for (size_t i = 0; i < quote->count; i++)
        fill_row(&quote->options[i], &rows[i + 1]);
    for (size_t i = 0; i <= quote->count; i++)
        for (int c = 0; c < COLUMNS; c++)
            if ((int)strlen(rows[i].cells[c]) > widths[c])
                widths[c] = (int)strlen(rows[i].cells[c]);
    print_row(" ", &rows[0], widths);
    for (size_t i = 0; i < quote->count; i++)
        print_row(i == quote->least ? "*" : " ", &rows[i + 1], widths);
}

static const char *print_part(const char *joint, int64_t count, const char *of)
{
    char number[NUMBER_SIZE];
    printf("%s%s %spackage%s of ", joint, format_count(count, number), of, count == 1 ? "" : "s");
    return " and ";
}

// What a combination is made of, as it would be bought.
static void print_parts(const struct service_prices *prices, const struct combination *c)
{
    char number[NUMBER_SIZE];
    const char *joint = "\n  combination: ";
    for (size_t i = prices->offer_count; i-- > 0;)
        if (c->offers[i] > 0) {
            joint = print_part(joint, c->offers[i], "");
            printf("%s", format_count(prices->offers[i].units, number));
        }
    if (c->custom_count > 0) {
        print_part(joint, c->custom_count, "custom ");
        printf("%s%s", format_count(c->custom_units, number),
               c->custom_count > 1 ? " together" : "");
    }
    putchar('\n');
}

static void print_quote_table(const struct quote_request *request, const struct book *book,
                              const struct quote *quote, const char *account)
{
    const struct quote_option *least = &quote->options[quote->least];
    char total[NUMBER_SIZE], saved[NUMBER_SIZE];
    assert(quote->least < quote->count);
    for (size_t i = 0; i < quote->count; i++)
        assert(quote->options[i].total >= least->total);
    print_head(request, book, quote, account);
    print_options(quote);
    if (least->way == QUOTE_COMBINATION)
        print_parts(&book->services[request->service], &quote->combination);
    printf("\n* the least: %s yuan", format_yuan(least->total, total));
    if (least->way == QUOTE_POSTPAID)
        puts(", paid after use");
    else
        printf(", %s less than postpaid; what is left stays valid for a year from the purchase\n",
               format_yuan(quote->options[0].total - least->total, saved));
    if (!quote->combination.all)
        puts("There are too many combinations to look at all of them: others may cost still less.");
}

static int print_quote_json(const struct quote_request *request, const struct book *book,
                            const struct quote *quote, struct error *e)
{
    json_t *json = quote_json(request, book, quote);
    int result = json && json_dumpf(json, stdout, JSON_INDENT(2)) == 0
                     ? 0
                     : error_set(e, ERROR_RESTART, "the answer cannot be written");
    json_decref(json);
    if (result == 0)
        putchar('\n');
    return result;
}

static int put_quote(const struct args *args, struct error *e)
{
    struct book book;
    struct quote_request request;
    struct quote quote;
    if (choose_book(args, &book, e) != 0 || ask(args, &book, &request, e) != 0 ||
        load_held(args, &book, &request, e) != 0 || quote_make(&book, &request, &quote, e) != 0)
        return -1;
    const char *format = args_get(args, "format");
    if (format && strcmp(format, "json") == 0)
        return print_quote_json(&request, &book, &quote, e);
    print_quote_table(&request, &book, &quote, args_get(args, "account"));
    return 0;
}

int cmd_quote(const struct args *args)
{
    struct error e = {0};
    return put_quote(args, &e) == 0 ? 0 : cli_fail("quote", &e);
}
