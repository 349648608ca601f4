#include "consumer/answers/quoting.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool parse_count(const char *text, int64_t *out)
{
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 18 || text[digits] != '\0')
        return false;
    *out = strtoll(text, NULL, 10);
    return true;
}

static int refuse_word(const struct quote_words *words, enum quote_word word, const char *text,
                       struct error *e)
{
    return error_set(e, ERROR_USAGE, "%s %s: %s", words->kind, words->names[word], text);
}

static int ask_calls(const struct quote_words *words, int64_t *out, struct error *e)
{
    char text[160];
    if (parse_count(words->calls, out) && *out >= 1 && *out <= QUOTE_CALLS_MAX)
        return 0;
    snprintf(text, sizeof text, "'%.40s' is not a whole number of 1 to %" PRId64, words->calls,
             QUOTE_CALLS_MAX);
    return refuse_word(words, QUOTE_CALLS, text, e);
}

// One call for each number of "8000,8000,12000".
static int add_calls(const struct quote_words *words, const char *list,
                     struct quote_request *request, struct error *e)
{
    char number[32], text[160];
    while (*list) {
        size_t size = strcspn(list, ",");
        snprintf(number, sizeof number, "%.*s",
                 (int)(size < sizeof number ? size : sizeof number - 1), list);
        if (request->group_count == QUOTE_GROUPS_MAX) {
            snprintf(text, sizeof text, "more than %d calls; use %s for calls that are alike",
                     QUOTE_GROUPS_MAX, words->names[QUOTE_CALLS]);
            return refuse_word(words, QUOTE_LEADS, text, e);
        }
        struct quote_calls *calls = &request->groups[request->group_count++];
        calls->calls = 1;
        if (size >= sizeof number || !parse_count(number, &calls->leads)) {
            snprintf(text, sizeof text, "'%s' is not a number of leads", number);
            return refuse_word(words, QUOTE_LEADS, text, e);
        }
        list += size;
        if (*list == ',' && *++list == '\0')
            return refuse_word(words, QUOTE_LEADS, "a number is missing after the last comma", e);
    }
    return 0;
}

static int ask_by_lead(const struct quote_words *words, struct quote_request *out, struct error *e)
{
    if (words->lead_count == 0)
        return error_set(e, ERROR_USAGE, "%s is billed by lead; give %s N, the leads of one call",
                         service_symbol(out->service), words->names[QUOTE_LEADS]);
    for (size_t i = 0; i < words->lead_count; i++)
        if (add_calls(words, words->leads[i], out, e) != 0)
            return -1;
    if (out->group_count == 0)
        return refuse_word(words, QUOTE_LEADS, "no number of leads", e);
    if (!words->calls)
        return 0;
    if (out->group_count > 1)
        return error_set(e, ERROR_USAGE,
                         "%s repeats one call; give either one number of leads or no %s",
                         words->names[QUOTE_CALLS], words->names[QUOTE_CALLS]);
    return ask_calls(words, &out->groups[0].calls, e);
}

static int ask_by_call(const struct quote_words *words, struct quote_request *out, struct error *e)
{
    const char *symbol = service_symbol(out->service), *calls = words->names[QUOTE_CALLS];
    if (words->lead_count > 0)
        return error_set(e, ERROR_USAGE, "%s is billed by call, whatever its leads; give %s N",
                         symbol, calls);
    if (!words->calls)
        return error_set(e, ERROR_USAGE, "%s is billed by call; give %s N", symbol, calls);
    out->group_count = 1;
    return ask_calls(words, &out->groups[0].calls, e);
}

// "purchase intent" is PURCHASE_INTENT.
static bool reads_as(const char *text, const char *symbol)
{
    for (; *text && *symbol; text++, symbol++) {
        char c = *text == ' ' || *text == '-' ? '_' : *text;
        if (c >= 'a' && c <= 'z')
            c = (char)(c - 'a' + 'A');
        if (c != *symbol)
            return false;
    }
    return *text == *symbol;
}

static bool find_service(const struct book *book, const char *text, enum service *out)
{
    for (*out = 0; *out < SERVICE_COUNT; (*out)++)
        if (strcmp(text, book->services[*out].name) == 0 || reads_as(text, service_symbol(*out)))
            return true;
    return false;
}

int quote_ask(const struct quote_words *words, const struct book *book, struct quote_request *out,
              struct error *e)
{
    *out = (struct quote_request){0};
    if (!words->service)
        return error_set(e, ERROR_USAGE, "no service; give %s %s", words->names[QUOTE_SERVICE],
                         SERVICES_OR);
    if (!find_service(book, words->service, &out->service))
        return error_set(e, ERROR_USAGE,
                         "%s %s: '%.40s' is neither %s, nor the name of one in the price book",
                         words->kind, words->names[QUOTE_SERVICE], words->service, SERVICES_NOR);
    return book->services[out->service].unit == UNIT_LEAD ? ask_by_lead(words, out, e)
                                                          : ask_by_call(words, out, e);
}

// ---- the answer ----

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

json_t *quote_json(const struct quote_request *request, const struct book *book,
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
    return json_pack("{s:s, s:s, s:{s:s, s:s, s:s?}, s:I, s:I, s:o, s:o, s:o, s:b}", "service",
                     service_symbol(request->service), "currency", book->currency, "price_book",
                     "name", book->name, "sha256", book->sha256, "effective_from",
                     always ? NULL : calendar_format_day(book->effective_from, from), "need_units",
                     (json_int_t)quote->need_units, "held_units", (json_int_t)quote->held_units,
                     "calls", groups, "options", options, "least",
                     option_json(prices, quote, &quote->options[quote->least]), "all_combinations",
                     quote->combination.all);
}
