// The price calculator. It needs a price book and the number of calls or leads; PostgreSQL only
// for the book that is recorded for a day, and for what an account holds.
#include "consumer/answers/quoting.h"
#include "consumer/base/format.h"
#include "consumer/cli/args_config.h"
#include "consumer/cli/cli_fail.h"
#include "consumer/config/book_file.h"
#include "consumer/config/config.h"
#include "consumer/postgres/store.h"
#include "consumer/system/clock.h"
#include "consumer/views/columns.h"
#include "consumer/views/json_output.h"
#include "consumer/views/language.h"
#include "consumer/views/views.h"
#include "pricing/quote.h"

#include <assert.h>
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

// ---- which book, and what is held already ----

// What is billed on a day is what is recorded, whatever the configured file says. Where nothing is
// recorded yet, *out stays as it is.
static int load_recorded(struct store *store, day_t day, struct book *out, struct error *e)
{
    bool recorded = false;
    struct deployment *deployment = calloc(1, sizeof *deployment);
    if (!deployment)
        abort(); // out of memory
    int failed = store_load_deployment(store, deployment, &recorded, e) != STORE_OK;
    if (!failed && recorded)
        *out = *shelf_at(&deployment->policy.shelf, day);
    shelf_clear(&deployment->policy.shelf);
    free(deployment);
    return failed ? -1 : 0;
}

static int check_force(const struct book *book, day_t day, struct error *e)
{
    char from[DAY_TEXT_SIZE];
    if (day == DAY_NONE || book->effective_from <= day)
        return 0;
    return error_set(e, ERROR_USAGE,
                     "price book %s is in force from %s only; name the version in force on that "
                     "day with --book FILE",
                     book->name, calendar_format_day(book->effective_from, from));
}

// At the end of the day that is asked about, by default now.
static int64_t instant_of(const struct book *book, day_t day)
{
    return day == DAY_NONE ? clock_wall_ms() : calendar_day_start(day + 1, book->offset_ms) - 1;
}

// What is asked, of a book that is loaded. `store`: NULL where nothing of it is needed.
static int fill_request(const struct args *args, struct store *store, day_t day, struct book *book,
                        struct quote_request *out, struct error *e)
{
    const char *account = args_get(args, "account");
    if (store && day != DAY_NONE && !args_get(args, "book") && load_recorded(store, day, book, e))
        return -1;
    if (check_force(book, day, e) || ask(args, book, out, e))
        return -1;
    if (!account)
        return 0;
    const struct held_question question = {
        .account_id = slice_text(account), .service = out->service, .at_ms = instant_of(book, day)};
    return store_held_units(store, &question, &out->held_units, e) ? -1 : 0;
}

static int open_store(const struct config *config, struct store **out, struct error *e)
{
    return store_open_all(config->dsns, config->dsn_count, STORE_READS, out, e) ||
                   store_check_version(*out, e)
               ? -1
               : 0;
}

// PostgreSQL has the books that are recorded, and what accounts hold.
static int ask_configured(const struct args *args, day_t day, struct book *book,
                          struct quote_request *out, struct error *e)
{
    struct config config;
    struct store *store = NULL;
    const char *file = args_get(args, "book");
    bool needed = args_get(args, "account") || (day != DAY_NONE && !file);
    int failed = args_load_config(args, &config, e) ||
                 (file ? book_load(file, book, NULL, NULL, e)
                       : config_read_book(&config, book, NULL, NULL, e)) ||
                 (needed && open_store(&config, &store, e)) ||
                 fill_request(args, store, day, book, out, e);
    store_close(store);
    config_free(&config);
    return failed ? -1 : 0;
}

static int ask_alone(const struct args *args, day_t day, struct book *book,
                     struct quote_request *out, struct error *e)
{
    const char *file = args_get(args, "book");
    if (args_get(args, "account"))
        return error_set(e, ERROR_USAGE,
                         "option --account: what the account holds is recorded in PostgreSQL; name "
                         "the configuration with -c FILE");
    if (file && book_load(file, book, NULL, NULL, e))
        return -1;
    if (!file)
        book_load_builtin(book);
    return fill_request(args, NULL, day, book, out, e);
}

// ---- the answer for people ----

enum { COUNTED_SIZE = 80 }; // "8,000 leads"

// Who asks, and in which language the answer is. `account`: whose packages are drawn first; NULL:
// nobody's.
struct reader {
    enum language language;
    const char *account;
};

static const char *unit_word(enum language language, const struct service_prices *prices,
                             int64_t units)
{
    enum text lead = units == 1 ? TEXT_LEAD : TEXT_LEADS;
    enum text call = units == 1 ? TEXT_CALL : TEXT_CALLS;
    return language_text(language, prices->unit == UNIT_CALL ? call : lead);
}

static const char *count_units(enum language language, const struct service_prices *prices,
                               int64_t units, char out[COUNTED_SIZE])
{
    char number[NUMBER_SIZE];
    snprintf(out, COUNTED_SIZE, "%s %s", format_count(units, number),
             unit_word(language, prices, units));
    return out;
}

static void print_group(enum language language, const struct service_prices *prices,
                        const struct quote_group *group)
{
    char calls[NUMBER_SIZE], units[COUNTED_SIZE], price[NUMBER_SIZE], from[NUMBER_SIZE];
    PRINT_TEXT(language, group->calls == 1 ? TEXT_GROUP_CALL : TEXT_GROUP_CALLS,
               format_count(group->calls, calls));
    if (prices->unit == UNIT_LEAD)
        PRINT_TEXT(language, TEXT_GROUP_LEADS, count_units(language, prices, group->units, units));
    PRINT_TEXT(language, TEXT_GROUP_PRICE, format_yuan(group->unit_price, price),
               unit_word(language, prices, 1));
    if (group->tier_from >= 0)
        PRINT_TEXT(language, TEXT_GROUP_TIER, format_count(group->tier_from, from));
    putchar('\n');
}

static void print_label(enum language language, enum text text)
{
    columns_pad(language_text(language, text), 12);
}

static void print_book(enum language language, const struct book *book)
{
    char from[DAY_TEXT_SIZE], digest[13];
    snprintf(digest, sizeof digest, "%s", book->sha256);
    print_label(language, TEXT_PRICE_BOOK);
    PRINT_TEXT(language, TEXT_PRICE_BOOK_IS, book->name, digest);
    if (book->effective_from != DAY_NONE)
        PRINT_TEXT(language, TEXT_PRICE_BOOK_FROM, calendar_format_day(book->effective_from, from));
    putchar('\n');
}

static void print_head(const struct quote_request *request, const struct book *book,
                       const struct quote *quote, struct reader reader)
{
    enum language language = reader.language;
    const struct service_prices *prices = &book->services[request->service];
    char count[COUNTED_SIZE];
    print_label(language, TEXT_SERVICE);
    printf("%s %s\n", service_symbol(request->service), prices->name);
    print_book(language, book);
    print_label(language, TEXT_NEED);
    puts(count_units(language, prices, quote->need_units, count));
    for (size_t i = 0; i < quote->group_count; i++)
        print_group(language, prices, &quote->groups[i]);
    if (reader.account) {
        print_label(language, TEXT_HELD);
        PRINT_TEXT(language, TEXT_HELD_BY, count_units(language, prices, quote->held_units, count),
                   reader.account);
        putchar('\n');
    }
    putchar('\n');
}

static void add_option(struct columns *table, enum language language,
                       const struct quote_option *option, const char *mark)
{
    static const enum text ways[] = {[QUOTE_POSTPAID] = TEXT_POSTPAID,
                                     [QUOTE_PACKAGE] = TEXT_PACKAGE,
                                     [QUOTE_CUSTOM] = TEXT_CUSTOM_PACKAGE,
                                     [QUOTE_COMBINATION] = TEXT_COMBINATION};
    char way[64], package[NUMBER_SIZE] = "-", price[NUMBER_SIZE] = "-", covered[NUMBER_SIZE] = "-",
                  left[NUMBER_SIZE] = "-", rest[NUMBER_SIZE], yuan[NUMBER_SIZE], total[NUMBER_SIZE];
    snprintf(way, sizeof way, "%s %s", mark, language_text(language, ways[option->way]));
    if (option->way != QUOTE_POSTPAID) {
        format_count(option->package_units, package);
        format_yuan(option->package_price, price);
        format_count(option->covered_units, covered);
        format_count(option->left_units, left);
    }
    assert(option->total == option->package_price + option->postpaid_amount);
    columns_add(table, (const char *const[]){way, package, price, covered, left,
                                             format_count(option->postpaid_units, rest),
                                             format_yuan(option->postpaid_amount, yuan),
                                             format_yuan(option->total, total)});
}

static void print_options(const struct quote *quote, enum language language)
{
    static const enum text headings[] = {TEXT_WAY,  TEXT_PACKAGE,  TEXT_PRICE,         TEXT_COVERED,
                                         TEXT_LEFT, TEXT_POSTPAID, TEXT_POSTPAID_YUAN, TEXT_TOTAL};
    enum { COUNT = sizeof headings / sizeof *headings };
    const char *cells[COUNT];
    char way[64];
    struct columns table = {.count = COUNT, .right = 0xfe};
    for (int c = 0; c < COUNT; c++)
        cells[c] = language_text(language, headings[c]);
    snprintf(way, sizeof way, "  %s", cells[0]); // where others have the mark
    cells[0] = way;
    columns_add(&table, cells);
    for (size_t i = 0; i < quote->count; i++)
        add_option(&table, language, &quote->options[i], i == quote->least ? "*" : " ");
    columns_print(&table, "");
}

// What a combination is made of, as it would be bought.
static void print_parts(const struct service_prices *prices, const struct combination *c,
                        enum language language)
{
    char count[NUMBER_SIZE], units[NUMBER_SIZE];
    const char *joint = language_text(language, TEXT_COMBINATION_OF);
    putchar('\n');
    for (size_t i = prices->offer_count; i-- > 0;)
        if (c->offers[i] > 0) {
            fputs(joint, stdout);
            PRINT_TEXT(language, c->offers[i] == 1 ? TEXT_PACKAGE_OF : TEXT_PACKAGES_OF,
                       format_count(c->offers[i], count),
                       format_count(prices->offers[i].units, units));
            joint = language_text(language, TEXT_AND);
        }
    if (c->custom_count > 0) {
        fputs(joint, stdout);
        PRINT_TEXT(language, c->custom_count == 1 ? TEXT_CUSTOM_OF : TEXT_CUSTOMS_OF,
                   format_count(c->custom_count, count), format_count(c->custom_units, units));
    }
    putchar('\n');
}

static void print_least(const struct quote *quote, enum language language)
{
    char number[NUMBER_SIZE];
    const struct quote_option *least = &quote->options[quote->least];
    for (size_t i = 0; i < quote->count; i++)
        assert(quote->options[i].total >= least->total);
    putchar('\n');
    PRINT_TEXT(language, TEXT_LEAST, format_yuan(least->total, number));
    if (least->way == QUOTE_POSTPAID)
        fputs(language_text(language, TEXT_LEAST_POSTPAID), stdout);
    else
        PRINT_TEXT(language, TEXT_LEAST_SAVES,
                   format_yuan(quote->options[0].total - least->total, number));
    putchar('\n');
    if (!quote->combination.all)
        puts(language_text(language, TEXT_NOT_ALL));
}

static void print_quote_table(const struct quote_request *request, const struct book *book,
                              const struct quote *quote, struct reader reader)
{
    assert(quote->least < quote->count);
    print_head(request, book, quote, reader);
    print_options(quote, reader.language);
    if (quote->options[quote->least].way == QUOTE_COMBINATION)
        print_parts(&book->services[request->service], &quote->combination, reader.language);
    print_least(quote, reader.language);
}

static int answer_quote(const struct args *args, struct error *e)
{
    struct book book;
    struct quote_request request;
    struct quote quote;
    struct reader reader = {.account = args_get(args, "account")};
    day_t day;
    if (language_choose(args, &reader.language, e) || args_day(args, "day", &day, e) ||
        (args->config_file ? ask_configured(args, day, &book, &request, e)
                           : ask_alone(args, day, &book, &request, e)) ||
        quote_make(&book, &request, &quote, e))
        return -1;
    const char *format = args_get(args, "format");
    if (format && strcmp(format, "json") == 0)
        return json_output(quote_json(&request, &book, &quote), e);
    print_quote_table(&request, &book, &quote, reader);
    return 0;
}

int cmd_quote(const struct args *args)
{
    struct error e = {0};
    return answer_quote(args, &e) == 0 ? 0 : cli_fail("quote", &e);
}
