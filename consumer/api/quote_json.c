#include "consumer/api/quote_json.h"

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
    return json_pack("{s:s, s:s, s:{s:s, s:s, s:s?}, s:I, s:o, s:o, s:o, s:b}", "service",
                     service_symbol(request->service), "currency", book->currency, "price_book",
                     "name", book->name, "sha256", book->sha256, "effective_from",
                     always ? NULL : calendar_format_day(book->effective_from, from), "need_units",
                     (json_int_t)quote->need_units, "calls", groups, "options", options, "least",
                     option_json(prices, quote, &quote->options[quote->least]), "all_combinations",
                     quote->combination.all);
}
