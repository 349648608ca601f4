// The price calculator. It needs a price book and the number of calls or leads; PostgreSQL only
// where it is to be the book that is recorded for a day.
#include "consumer/base/format.h"
#include "consumer/cli/args_config.h"
#include "consumer/cli/cli_fail.h"
#include "consumer/commands/commands.h"
#include "consumer/config/book_file.h"
#include "consumer/config/config.h"
#include "consumer/postgres/store.h"
#include "pricing/quote.h"

#include <assert.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- what is asked ----

static int parse_count(const char *text, int64_t *out)
{
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 18 || text[digits] != '\0')
        return -1;
    *out = strtoll(text, NULL, 10);
    return 0;
}

// One call for each number of "8000,8000,12000".
static int add_calls(struct quote_request *request, const char *list, struct error *e)
{
    while (*list) {
        char number[32];
        size_t size = strcspn(list, ",");
        snprintf(number, sizeof number, "%.*s",
                 (int)(size < sizeof number ? size : sizeof number - 1), list);
        if (request->group_count == QUOTE_GROUPS_MAX)
            return error_set(
                e, ERROR_USAGE,
                "option --leads: more than %d calls; use --calls for calls that are alike",
                QUOTE_GROUPS_MAX);
        struct quote_calls *calls = &request->groups[request->group_count++];
        calls->calls = 1;
        if (size >= sizeof number || parse_count(number, &calls->leads) != 0)
            return error_set(e, ERROR_USAGE, "option --leads: '%s' is not a number of leads",
                             number);
        list += size;
        if (*list == ',' && *++list == '\0')
            return error_set(e, ERROR_USAGE,
                             "option --leads: a number is missing after the last comma");
    }
    return 0;
}

static int ask_by_lead(const struct args *args, struct quote_request *out, struct error *e)
{
    const char *leads = args_get(args, "leads");
    if (!leads)
        return error_set(e, ERROR_USAGE,
                         "%s is billed by lead; give --leads N, the leads of one call",
                         service_symbol(out->service));
    if (add_calls(out, leads, e) != 0)
        return -1;
    for (size_t i = 0; i < args->operand_count; i++)
        if (add_calls(out, args->operands[i], e) != 0)
            return -1;
    if (out->group_count == 0)
        return error_set(e, ERROR_USAGE, "option --leads: no number of leads");
    if (!args_get(args, "calls"))
        return 0;
    if (out->group_count > 1)
        return error_set(e, ERROR_USAGE,
                         "--calls repeats one call; give either one number of leads or no --calls");
    return args_integer(args, "calls", 1, QUOTE_CALLS_MAX, 1, &out->groups[0].calls, e);
}

static int ask_by_call(const struct args *args, struct quote_request *out, struct error *e)
{
    if (args_get(args, "leads"))
        return error_set(e, ERROR_USAGE, "%s is billed by call, whatever its leads; give --calls N",
                         service_symbol(out->service));
    if (!args_get(args, "calls"))
        return error_set(e, ERROR_USAGE, "%s is billed by call; give --calls N",
                         service_symbol(out->service));
    if (args->operand_count > 0)
        return error_set(e, ERROR_USAGE, "'%s' is one argument too many", args->operands[0]);
    out->group_count = 1;
    return args_integer(args, "calls", 1, QUOTE_CALLS_MAX, 1, &out->groups[0].calls, e);
}

static int ask(const struct args *args, const struct book *book, struct quote_request *out,
               struct error *e)
{
    const char *service = args_get(args, "service");
    *out = (struct quote_request){0};
    if (!service)
        return error_set(e, ERROR_USAGE, "no service; give --service %s", SERVICES_OR);
    if (!service_parse(service, &out->service))
        return error_set(e, ERROR_USAGE, "option --service: '%s' is neither %s", service,
                         SERVICES_NOR);
    return book->services[out->service].unit == UNIT_LEAD ? ask_by_lead(args, out, e)
                                                          : ask_by_call(args, out, e);
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

static void print_head(const struct quote_request *request, const struct book *book,
                       const struct quote *quote)
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
                              const struct quote *quote)
{
    const struct quote_option *least = &quote->options[quote->least];
    char total[NUMBER_SIZE], saved[NUMBER_SIZE];
    assert(quote->least < quote->count);
    for (size_t i = 0; i < quote->count; i++)
        assert(quote->options[i].total >= least->total);
    print_head(request, book, quote);
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

// ---- the answer for programs: amounts in fen ----

static json_t *part_json(const char *kind, int64_t count, int64_t units)
{
    return json_pack("{s:s, s:I, s:I}", "kind", kind, "count", (json_int_t)count, "units",
                     (json_int_t)units);
}

// What is to be bought; `units` are those of all packages of a part.
static json_t *parts_json(const struct service_prices *prices, const struct quote *quote,
                          const struct quote_option *option)
{
    json_t *parts = json_array();
    const struct combination *c = &quote->combination;
    if (option->way == QUOTE_PACKAGE)
        json_array_append_new(parts, part_json("OFFER", 1, option->package_units));
    if (option->way == QUOTE_CUSTOM)
        json_array_append_new(parts, part_json("CUSTOM", 1, option->package_units));
    if (option->way != QUOTE_COMBINATION)
        return parts;
    for (size_t i = 0; i < prices->offer_count; i++)
        if (c->offers[i] > 0)
            json_array_append_new(
                parts, part_json("OFFER", c->offers[i], c->offers[i] * prices->offers[i].units));
    if (c->custom_count > 0)
        json_array_append_new(parts, part_json("CUSTOM", c->custom_count, c->custom_units));
    return parts;
}

static json_t *option_json(const struct service_prices *prices, const struct quote *quote,
                           const struct quote_option *option)
{
    static const char *const ways[] = {[QUOTE_POSTPAID] = "POSTPAID",
                                       [QUOTE_PACKAGE] = "PACKAGE",
                                       [QUOTE_CUSTOM] = "CUSTOM",
                                       [QUOTE_COMBINATION] = "COMBINATION"};
    return json_pack(
        "{s:s, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "way", ways[option->way], "packages",
        parts_json(prices, quote, option), "package_units", (json_int_t)option->package_units,
        "package_price", (json_int_t)option->package_price, "covered_units",
        (json_int_t)option->covered_units, "left_units", (json_int_t)option->left_units,
        "postpaid_units", (json_int_t)option->postpaid_units, "postpaid_amount",
        (json_int_t)option->postpaid_amount, "total", (json_int_t)option->total);
}

static json_t *group_json(const struct quote_group *group)
{
    json_t *tier = group->tier_from < 0 ? json_null() : json_integer(group->tier_from);
    return json_pack("{s:I, s:I, s:o, s:I}", "calls", (json_int_t)group->calls, "units",
                     (json_int_t)group->units, "tier_from", tier, "unit_price",
                     (json_int_t)group->unit_price);
}

static json_t *quote_json(const struct quote_request *request, const struct book *book,
                          const struct quote *quote)
{
    json_t *groups = json_array(), *options = json_array();
    const struct service_prices *prices = &book->services[request->service];
    char from[DAY_TEXT_SIZE];
    bool always = book->effective_from == DAY_NONE;
    for (size_t i = 0; i < quote->group_count; i++)
        json_array_append_new(groups, group_json(&quote->groups[i]));
    for (size_t i = 0; i < quote->count; i++)
        json_array_append_new(options, option_json(prices, quote, &quote->options[i]));
    return json_pack("{s:s, s:s, s:{s:s, s:s, s:s?}, s:I, s:o, s:o, s:o, s:b}", "service",
                     service_symbol(request->service), "currency", book->currency, "price_book",
                     "name", book->name, "sha256", book->sha256, "effective_from",
                     always ? NULL : calendar_format_day(book->effective_from, from), "need_units",
                     (json_int_t)quote->need_units, "calls", groups, "options", options, "least",
                     option_json(prices, quote, &quote->options[quote->least]), "all_combinations",
                     quote->combination.all);
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

static int answer_quote(const struct args *args, struct error *e)
{
    struct book book;
    struct quote_request request;
    struct quote quote;
    if (choose_book(args, &book, e) != 0 || ask(args, &book, &request, e) != 0 ||
        quote_make(&book, &request, &quote, e) != 0)
        return -1;
    const char *format = args_get(args, "format");
    if (format && strcmp(format, "json") == 0)
        return print_quote_json(&request, &book, &quote, e);
    print_quote_table(&request, &book, &quote);
    return 0;
}

int cmd_quote(const struct args *args)
{
    struct error e = {0};
    return answer_quote(args, &e) == 0 ? 0 : cli_fail("quote", &e);
}
