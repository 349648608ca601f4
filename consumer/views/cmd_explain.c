// Prints what explain.c found, for people or as JSON.
#include "consumer/base/format.h"
#include "consumer/base/text.h"
#include "consumer/cli/args_config.h"
#include "consumer/cli/cli_fail.h"
#include "consumer/replay/explain.h"
#include "consumer/views/columns.h"
#include "consumer/views/json_output.h"
#include "consumer/views/language.h"
#include "consumer/views/views.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct explained {
    const char *account_id;
    day_t day;
    enum language language;
    struct explanation explanation;
};

// ---- for people ----

static void print_money(enum language language, enum text what, fen_t amount)
{
    char text[NUMBER_SIZE];
    fputs("  ", stdout);
    columns_pad(language_text(language, what), 18);
    printf(" %18s\n", format_yuan(amount, text));
}

static void print_charge(enum language language, const struct recorded_line *l)
{
    char id[4 * ID_SIZE_MAX], units[NUMBER_SIZE], amount[NUMBER_SIZE], tier[NUMBER_SIZE];
    if (l->charge == CHARGE_PACKAGE)
        PRINT_TEXT(language, TEXT_LINE_PACKAGE, text_show(slice_text(l->package_id), id, sizeof id),
                   format_count(l->package_units, units), format_yuan(l->package_amount, amount));
    else if (l->tier_from < 0)
        fputs(language_text(language, TEXT_POSTPAID), stdout);
    else
        PRINT_TEXT(language, TEXT_LINE_TIER, format_count(l->tier_from, tier));
}

static void print_call(const struct explained *a, const struct explained_call *call)
{
    char at[INSTANT_TEXT_SIZE], units[NUMBER_SIZE], request[4 * ID_SIZE_MAX];
    printf("    %s  %14s  %s %-10" PRId64 "  %s",
           calendar_format_instant(call->occurred_at, a->explanation.zone_ms, at),
           format_count(call->units, units), language_text(a->language, TEXT_CALL_OFFSET),
           call->offset, call->call_id);
    if (call->request_id)
        PRINT_TEXT(a->language, TEXT_CALL_REQUEST,
                   text_show(slice_text(call->request_id), request, sizeof request));
    putchar('\n');
}

static void print_line(const struct explained *a, const struct explained_line *line)
{
    const struct recorded_line *l = &line->line;
    char day[DAY_TEXT_SIZE], units[NUMBER_SIZE], price[NUMBER_SIZE], amount[NUMBER_SIZE],
        calls[NUMBER_SIZE];
    printf("\n%s  %s  ", calendar_format_day(l->usage_day, day),
           language_service(a->language, l->service, a->explanation.service_names[l->service]));
    print_charge(a->language, l);
    putchar('\n');
    PRINT_TEXT(a->language, TEXT_LINE_IS, format_count(l->units, units),
               format_yuan(l->unit_price, price), format_yuan(l->amount, amount),
               format_count(l->calls, calls));
    putchar('\n');
    for (size_t i = 0; i < line->call_count; i++)
        print_call(a, &line->calls[i]);
}

static void print_explanation_table(const struct explained *a)
{
    const struct explanation *x = &a->explanation;
    const struct settlement *s = &x->settlement;
    enum language language = a->language;
    char id[OUTPUT_ID_SIZE], calls[NUMBER_SIZE], suspended[NUMBER_SIZE];
    char from[NUMBER_SIZE], to[NUMBER_SIZE], shard[NUMBER_SIZE];
    PRINT_TEXT(language, TEXT_SETTLEMENT_IS, settlement_id(slice_text(a->account_id), a->day, id));
    fputs("\n\n", stdout);
    print_money(language, TEXT_OPENING, s->opening_balance);
    print_money(language, TEXT_CREDITS, s->credits);
    print_money(language, TEXT_ADJUSTMENTS, s->adjustments);
    print_money(language, TEXT_AMOUNT, s->amount);
    print_money(language, TEXT_CLOSING, s->closing_balance);
    PRINT_TEXT(
        language, TEXT_AFTER_IT,
        language_text(language, s->state == ACCOUNT_SUSPENDED ? TEXT_SUSPENDED : TEXT_ACTIVE),
        format_count(s->calls, calls), format_count(s->calls_while_suspended, suspended));
    putchar('\n');
    for (size_t i = 0; i < x->line_count; i++)
        print_line(a, &x->lines[i]);
    snprintf(from, sizeof from, "%" PRId64, x->from_offset);
    snprintf(to, sizeof to, "%" PRId64, x->to_offset);
    snprintf(shard, sizeof shard, "%" PRId32, x->shard);
    putchar('\n');
    PRINT_TEXT(language, TEXT_EQUAL, from, to, shard);
    putchar('\n');
    PRINT_TEXT(language, TEXT_BOOK_IS, x->recorded.price_book);
    putchar('\n');
}

// ---- for programs: amounts in fen ----

static json_t *nullable(int64_t number, bool null)
{
    return null ? json_null() : json_integer(number);
}

static json_t *line_json(const struct explained_line *line, int32_t zone_ms)
{
    const struct recorded_line *l = &line->line;
    json_t *calls = json_array();
    char day[DAY_TEXT_SIZE], at[INSTANT_TEXT_SIZE];
    for (size_t i = 0; i < line->call_count; i++)
        json_array_append_new(
            calls, json_pack("{s:s, s:s?, s:s, s:I, s:I}", "call_id", line->calls[i].call_id,
                             "request_id", line->calls[i].request_id, "occurred_at",
                             calendar_format_instant(line->calls[i].occurred_at, zone_ms, at),
                             "units", (json_int_t)line->calls[i].units, "offset",
                             (json_int_t)line->calls[i].offset));
    return json_pack("{s:s, s:s, s:s, s:s?, s:o, s:I, s:I, s:I, s:I, s:o, s:o, s:o}", "usage_day",
                     calendar_format_day(l->usage_day, day), "service", service_symbol(l->service),
                     "charge", charge_symbol(l->charge), "package_id", l->package_id, "tier_from",
                     nullable(l->tier_from, l->tier_from < 0), "calls", (json_int_t)l->calls,
                     "units", (json_int_t)l->units, "unit_price", (json_int_t)l->unit_price,
                     "amount", (json_int_t)l->amount, "package_units",
                     nullable(l->package_units, l->package_units < 0), "package_amount",
                     nullable(l->package_amount, l->package_amount < 0), "pieces", calls);
}

#define FIGURE_FORMAT(name) "s:I, "
#define FIGURE_VALUE(name) #name, (json_int_t)s->name,

static int print_explanation_json(const struct explained *a, struct error *e)
{
    const struct explanation *x = &a->explanation;
    const struct settlement *s = &x->settlement;
    char day[DAY_TEXT_SIZE];
    json_t *lines = json_array();
    for (size_t i = 0; i < x->line_count; i++)
        json_array_append_new(lines, line_json(&x->lines[i], x->zone_ms));
    json_t *json = json_pack(
        "{s:s, s:s, s:s, " SETTLEMENT_FIGURES(FIGURE_FORMAT) "s:s, s:s, s:i, s:I, s:I, s:o}",
        "account_id", a->account_id, "business_day", calendar_format_day(a->day, day), "currency",
        "CNY", SETTLEMENT_FIGURES(FIGURE_VALUE) "status", account_state_symbol(s->state),
        "price_book", x->recorded.price_book, "shard", (int)x->shard, "from_offset",
        (json_int_t)x->from_offset, "to_offset", (json_int_t)x->to_offset, "lines", lines);
    return json_output(json, e);
}

// ---- the verb ----

static int answer_explain(const struct args *args, struct explained *a, struct config *config,
                          struct error *e)
{
    char difference[256], day[DAY_TEXT_SIZE];
    a->account_id = args->operands[0];
    if (!calendar_parse_day(args->operands[1], &a->day))
        return error_set(e, ERROR_USAGE, "'%s' is not a day; write it as 2026-11-02",
                         args->operands[1]);
    const struct explain_question question = {
        .account_id = a->account_id, .day = a->day, .shows_progress = true};
    if (language_choose(args, &a->language, e) || args_load_config(args, config, e) ||
        explain(config, &question, &a->explanation, e))
        return -1;
    calendar_format_day(a->day, day);
    if (!a->explanation.recorded.settled)
        return error_set(e, ERROR_USAGE,
                         "account %s has no settlement of %s: no call of it was billed on that day "
                         "(shard %" PRId32 " has settled it)",
                         a->account_id, day, a->explanation.shard);
    if (explain_difference(&a->explanation, difference, sizeof difference))
        return error_set(e, ERROR_CONFIG,
                         "settlement %s/%s: %s; the database or the topics were changed after the "
                         "fact, see the runbook",
                         a->account_id, day, difference);
    const char *format = args_get(args, "format");
    if (format && strcmp(format, "json") == 0)
        return print_explanation_json(a, e);
    print_explanation_table(a);
    return 0;
}

int cmd_explain(const struct args *args)
{
    struct explained a = {0};
    struct config config = {0};
    struct error e = {0};
    int failed = answer_explain(args, &a, &config, &e);
    explanation_release(&a.explanation);
    config_free(&config);
    return failed ? cli_fail("explain", &e) : 0;
}
