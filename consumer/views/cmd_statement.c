// What an account holder is shown of a month: what was paid in, what was settled and for what, the
// balance, and the packages. From what is recorded, by the answers of the HTTP API.
#include "consumer/answers/asking.h"
#include "consumer/base/format.h"
#include "consumer/base/text.h"
#include "consumer/cli/cli_fail.h"
#include "consumer/decisions/decisions_open.h"
#include "consumer/views/columns.h"
#include "consumer/views/json_output.h"
#include "consumer/views/language.h"
#include "consumer/views/views.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

enum { SHOWN_SIZE = 4 * ID_SIZE_MAX };

struct statement {
    struct config config;
    struct store *store;
    struct deployment *recorded;
    struct asking asking;
    enum language language;
    const char *format; // NULL: table
    char month[8]; // "2026-11"
    char from[DAY_TEXT_SIZE], to[DAY_TEXT_SIZE]; // its first and last day
    json_t *ledger, *settlements, *packages, *months; // answers of the API
};

// ---- which month ----

// Without --month, that of the day that is open on the account's shard.
static int choose_month(struct statement *s, const struct args *args, struct error *e)
{
    day_t first;
    const char *month = args_get(args, "month");
    const json_t *as_of = json_object_get(s->packages, "as_of");
    const char *open = json_string_value(json_object_get(as_of, "open_day"));
    if (!month && !open)
        return error_set(e, ERROR_UNAVAILABLE,
                         "the shard of the account has not begun: 'settled run' does that");
    snprintf(s->month, sizeof s->month, "%.7s", month ? month : open);
    if (!calendar_parse_month(month ? month : s->month, &first)) {
        assert(month); // the open day is one
        return error_set(e, ERROR_USAGE,
                         "option --month: '%.40s' is not a month; write it as 2026-11", month);
    }
    calendar_format_day(first, s->from);
    calendar_format_day(calendar_month_end(first), s->to);
    return 0;
}

static int ask_all(struct statement *s, const struct args *args, struct error *e)
{
    const struct http_parameter none[] = {{NULL, NULL}};
    if (ask_json(&s->asking, "packages", none, &s->packages, e) || choose_month(s, args, e))
        return -1;
    const struct http_parameter days[] = {{"from", s->from}, {"to", s->to}, {NULL, NULL}};
    return ask_json(&s->asking, "statements", days, &s->months, e) ||
                   ask_json(&s->asking, "statement", days, &s->ledger, e) ||
                   ask_json(&s->asking, "settlements", days, &s->settlements, e)
               ? -1
               : 0;
}

// The statement that was written when the month was over. NULL: it is not over, or has nothing of
// the account.
static const json_t *month_of(const struct statement *s)
{
    return json_array_get(json_object_get(s->months, "items"), 0);
}

static const char *open_day_of(const struct statement *s)
{
    const char *day =
        json_string_value(json_object_get(json_object_get(s->ledger, "as_of"), "open_day"));
    return day ? day : "";
}

// Between the close of its last day and its statement a month is over, but not yet added up.
static bool is_provisional(const struct statement *s)
{
    bool over = strcmp(open_day_of(s), s->to) > 0;
    return !month_of(s) && !(over && json_array_size(json_object_get(s->ledger, "items")) == 0);
}

// ---- for people ----

static const char *string_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text ? text : "";
}

static int64_t number_of(const json_t *object, const char *name)
{
    return json_integer_value(json_object_get(object, name));
}

static const char *yuan_of(const json_t *object, const char *name, char out[NUMBER_SIZE])
{
    return format_yuan(number_of(object, name), out);
}

// An id comes from somebody else, and is shown on a terminal.
static const char *shown_of(const json_t *object, const char *name, char out[SHOWN_SIZE])
{
    return text_show(slice_text(string_of(object, name)), out, SHOWN_SIZE);
}

// "2026-11-01 09:00:01", of an instant that is written in the zone of the price book.
static const char *time_of(const json_t *object, const char *name, char out[24])
{
    const char *instant = string_of(object, name);
    snprintf(out, 24, "%.10s %.8s", instant, strlen(instant) > 19 ? instant + 11 : "");
    return out;
}

static const char *say(const struct statement *s, enum text text)
{
    return language_text(s->language, text);
}

static const char *service_name(const struct statement *s, const json_t *object)
{
    enum service service;
    const struct shelf *shelf = &s->recorded->policy.shelf;
    day_t day;
    bool known =
        service_parse(string_of(object, "service"), &service) && calendar_parse_day(s->to, &day);
    assert(known);
    return language_service(s->language, service, shelf_at(shelf, day)->services[service].name);
}

static void print_money(const struct statement *s, enum text text, const char *name)
{
    char number[NUMBER_SIZE];
    yuan_of(month_of(s) ? month_of(s) : s->ledger, name, number);
    fputs("  ", stdout);
    columns_pad(say(s, text), 18);
    printf(" %18s\n", number);
}

static void print_entries(const struct statement *s)
{
    size_t i;
    const json_t *item;
    struct columns table = {.count = 5, .right = 1u << 3 | 1u << 4};
    columns_add(&table,
                (const char *const[]){say(s, TEXT_TIME), say(s, TEXT_WHAT), say(s, TEXT_REFERENCE),
                                      say(s, TEXT_YUAN), say(s, TEXT_BALANCE)});
    json_array_foreach(json_object_get(s->ledger, "items"), i, item)
    {
        char time[24], amount[NUMBER_SIZE], balance[NUMBER_SIZE], reference[SHOWN_SIZE];
        const char *kind = string_of(item, "kind");
        enum text what = strcmp(kind, "TOP_UP") == 0       ? TEXT_TOP_UP
                         : strcmp(kind, "ADJUSTMENT") == 0 ? TEXT_ADJUSTMENT
                                                           : TEXT_SETTLEMENT;
        columns_add(&table, (const char *const[]){time_of(item, "at", time), say(s, what),
                                                  shown_of(item, "reference", reference),
                                                  yuan_of(item, "amount", amount),
                                                  yuan_of(item, "balance", balance)});
    }
    columns_print(&table, "  ");
}

static void add_line(const struct statement *s, struct columns *table, const json_t *settlement,
                     const json_t *line)
{
    char calls[NUMBER_SIZE], units[NUMBER_SIZE], price[NUMBER_SIZE], amount[NUMBER_SIZE];
    char package[SHOWN_SIZE], paid[SHOWN_SIZE + 32];
    bool drawn = strcmp(string_of(line, "charge"), "PACKAGE") == 0;
    snprintf(paid, sizeof paid, "%s%s%s", say(s, drawn ? TEXT_PACKAGE : TEXT_POSTPAID),
             drawn ? " " : "", shown_of(line, "package_id", package));
    columns_add(table, (const char *const[]){string_of(settlement, "business_day"),
                                             string_of(line, "usage_day"), service_name(s, line),
                                             paid, format_count(number_of(line, "calls"), calls),
                                             format_count(number_of(line, "units"), units),
                                             yuan_of(line, "unit_price", price),
                                             yuan_of(line, "amount", amount)});
}

static void print_lines(const struct statement *s)
{
    size_t i, k;
    const json_t *settlement, *line;
    struct columns table = {.count = 8, .right = 0xf0};
    columns_add(&table,
                (const char *const[]){say(s, TEXT_DAY), say(s, TEXT_USED_ON), say(s, TEXT_SERVICE),
                                      say(s, TEXT_PAID_BY), say(s, TEXT_CALLS), say(s, TEXT_UNITS),
                                      say(s, TEXT_UNIT_PRICE), say(s, TEXT_YUAN)});
    json_array_foreach(json_object_get(s->settlements, "items"), i, settlement)
    {
        json_array_foreach(json_object_get(settlement, "lines"), k, line)
        {
            add_line(s, &table, settlement, line);
        }
    }
    printf("\n%s\n", say(s, TEXT_LINES));
    columns_print(&table, "  ");
}

// Those that could be drawn in the month.
static bool is_of_month(const struct statement *s, const json_t *package)
{
    return strncmp(string_of(package, "valid_from"), s->to, 10) <= 0 &&
           strncmp(string_of(package, "valid_until"), s->from, 10) >= 0;
}

static void print_packages(const struct statement *s)
{
    size_t i;
    const json_t *package;
    struct columns table = {.count = 6, .right = 0x1c};
    columns_add(&table, (const char *const[]){say(s, TEXT_PACKAGE), say(s, TEXT_SERVICE),
                                              say(s, TEXT_BOUGHT), say(s, TEXT_YUAN),
                                              say(s, TEXT_LEFT_NOW), say(s, TEXT_VALID_UNTIL)});
    json_array_foreach(json_object_get(s->packages, "items"), i, package)
    {
        char id[SHOWN_SIZE], units[NUMBER_SIZE], amount[NUMBER_SIZE], left[NUMBER_SIZE], until[24];
        if (!is_of_month(s, package))
            continue;
        columns_add(&table, (const char *const[]){
                                shown_of(package, "package_id", id), service_name(s, package),
                                format_count(number_of(package, "units"), units),
                                yuan_of(package, "amount", amount),
                                format_count(number_of(package, "remaining"), left),
                                time_of(package, "valid_until", until)});
    }
    printf("\n%s\n", say(s, TEXT_PACKAGES));
    columns_print(&table, "  ");
}

static void print_sums(const struct statement *s)
{
    char calls[NUMBER_SIZE], settlements[NUMBER_SIZE], packages[NUMBER_SIZE], paid[NUMBER_SIZE];
    const json_t *month = month_of(s);
    print_money(s, TEXT_OPENING, "opening_balance");
    print_money(s, TEXT_CREDITS, "credits");
    print_money(s, TEXT_ADJUSTMENTS, "adjustments");
    print_money(s, TEXT_AMOUNT, "amount");
    print_money(s, TEXT_CLOSING, "closing_balance");
    if (!month)
        return;
    bool active = strcmp(string_of(month, "status"), "ACTIVE") == 0;
    PRINT_TEXT(s->language, TEXT_STATEMENT_END, say(s, active ? TEXT_ACTIVE : TEXT_SUSPENDED),
               format_count(number_of(month, "calls"), calls),
               format_count(number_of(month, "settlements"), settlements),
               format_count(number_of(month, "packages_bought"), packages),
               yuan_of(month, "packages_amount", paid));
    putchar('\n');
}

static void print_statement(const struct statement *s)
{
    char account[SHOWN_SIZE];
    text_show(slice_text(s->asking.account_id), account, sizeof account);
    PRINT_TEXT(s->language, TEXT_STATEMENT, account, s->month);
    putchar('\n');
    if (is_provisional(s)) {
        PRINT_TEXT(s->language, TEXT_STATEMENT_OPEN, open_day_of(s));
        putchar('\n');
    }
    putchar('\n');
    print_entries(s);
    putchar('\n');
    print_sums(s);
    print_lines(s);
    print_packages(s);
}

static int print_json(const struct statement *s, struct error *e)
{
    json_t *json = json_pack("{s:s, s:s, s:b, s:O?, s:O, s:O, s:O}", "account_id",
                             s->asking.account_id, "month", s->month, "provisional",
                             is_provisional(s), "month_statement", month_of(s), "statement",
                             s->ledger, "settlements", json_object_get(s->settlements, "items"),
                             "packages", json_object_get(s->packages, "items"));
    return json_output(json, e);
}

// Each record says whether the month may still change.
static int print_csv(const struct statement *s, struct error *e)
{
    const struct http_parameter days[] = {{"from", s->from}, {"to", s->to}, {NULL, NULL}};
    const struct ask_cell cell = {"provisional", is_provisional(s) ? "true" : "false"};
    return ask_csv(&s->asking, "statement", days, &cell, e);
}

static int answer_statement(struct statement *s, const struct args *args, struct error *e)
{
    const struct decisions_opening opening = {args, STORE_READS, ": 'settled run' does that"};
    s->format = args_get(args, "format");
    if (language_choose(args, &s->language, e) ||
        decisions_open(&opening, &s->config, &s->store, &s->recorded, e))
        return -1;
    s->asking = (struct asking){s->store, s->recorded, args->operands[0]};
    if (ask_all(s, args, e))
        return -1;
    if (s->format && strcmp(s->format, "json") == 0)
        return print_json(s, e);
    if (s->format && strcmp(s->format, "csv") == 0)
        return print_csv(s, e);
    print_statement(s);
    return 0;
}

int cmd_statement(const struct args *args)
{
    struct statement statement = {0};
    struct error e = {0};
    int failed = answer_statement(&statement, args, &e);
    json_decref(statement.ledger);
    json_decref(statement.settlements);
    json_decref(statement.packages);
    json_decref(statement.months);
    decisions_close(&statement.config, statement.store, statement.recorded);
    return failed ? cli_fail("statement", &e) : 0;
}
