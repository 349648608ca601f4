#include "pricing/quote.h"

#include <assert.h>
#include <inttypes.h>

static int price_group(const struct book *book, enum service service,
                       const struct quote_calls *calls, struct quote_group *out, struct error *e)
{
    int64_t units = rate_units(book, service, calls->leads);
    if (units < 0 || units > UNITS_OF_RECORD_MAX)
        return error_set(e, ERROR_USAGE, "%" PRId64 " leads in a call; a call has 0 to %" PRId64,
                         units, UNITS_OF_RECORD_MAX);
    if (calls->calls < 1 || calls->calls > QUOTE_CALLS_MAX)
        return error_set(e, ERROR_USAGE, "%" PRId64 " calls; ask for 1 to %" PRId64, calls->calls,
                         QUOTE_CALLS_MAX);
    const struct tier *tier = rate_tier(book, service, units);
    // R61: such a call is rejected. Neither factor is beyond 10^9.
    if (units * tier->unit_price > AMOUNT_MAX)
        return error_set(e, ERROR_USAGE,
                         "a call of %" PRId64 " leads would cost more than 10^13 fen and be "
                         "rejected; ask for less",
                         units);
    *out = (struct quote_group){
        .calls = calls->calls,
        .units = units,
        .tier_from = book->services[service].tiered ? tier->from : -1,
        .unit_price = tier->unit_price,
    };
    return 0;
}

// R16: the calls draw on what is held and on the option's package one after the other, and the rest
// is billed; false on overflow.
static bool draw(const struct quote *quote, struct quote_option *option)
{
    int64_t remaining;
    if (__builtin_add_overflow(quote->held_units, option->package_units, &remaining))
        return false;
    for (size_t i = 0; i < quote->group_count; i++) {
        const struct quote_group *group = &quote->groups[i];
        int64_t units = group->calls * group->units; // at most 10^9 * 10^9
        int64_t covered = units < remaining ? units : remaining;
        fen_t amount;
        if (!money_times(units - covered, group->unit_price, &amount) ||
            !money_add(option->postpaid_amount, amount, &option->postpaid_amount))
            return false;
        remaining -= covered;
        option->covered_units += covered;
        option->postpaid_units += units - covered;
    }
    option->left_units = remaining;
    return money_add(option->package_price, option->postpaid_amount, &option->total);
}

static int add_option(struct quote *quote, struct quote_option option, struct error *e)
{
    assert(quote->count < QUOTE_OPTIONS_MAX);
    if (!draw(quote, &option))
        return error_set(e, ERROR_USAGE,
                         "the amount for %" PRId64
                         " units is beyond what can be billed; ask for less",
                         quote->need_units);
    quote->options[quote->count++] = option;
    return 0;
}

// R58: the smallest custom package that covers the need; false when none can be bought.
static bool custom_option(const struct custom_offer *custom, int64_t need, struct quote_option *out)
{
    if (custom->step == 0 || need > UNITS_OF_RECORD_MAX)
        return false;
    int64_t units = need > custom->minimum ? need : custom->minimum;
    int64_t steps = (units + custom->step - 1) / custom->step;
    *out = (struct quote_option){.way = QUOTE_CUSTOM, .package_units = steps * custom->step};
    return out->package_units <= UNITS_OF_RECORD_MAX &&
           money_times(steps, custom->price_per_step, &out->package_price) &&
           out->package_price <= AMOUNT_MAX;
}

// What a new package would be drawn by: the calls behind those that are covered already.
static void find_stretches(const struct quote *quote, struct stretch *out)
{
    int64_t held = quote->held_units;
    for (size_t i = 0; i < quote->group_count; i++) {
        const struct quote_group *group = &quote->groups[i];
        int64_t units = group->calls * group->units, covered = units < held ? units : held;
        out[i] = (struct stretch){units - covered, group->unit_price};
        held -= covered;
    }
}

// Of the need, what is not held.
static int64_t wanting(const struct quote *quote)
{
    return quote->need_units > quote->held_units ? quote->need_units - quote->held_units : 0;
}

// R58: packages together, if that is better than each way by itself.
static int add_combination(struct quote *quote, const struct service_prices *prices,
                           const struct quote_option *least, struct error *e)
{
    struct stretch stretches[QUOTE_GROUPS_MAX];
    struct combination *found = &quote->combination;
    find_stretches(quote, stretches);
    combine(prices, stretches, quote->group_count, found);
    int64_t left, units;
    if (__builtin_add_overflow(quote->held_units, found->units, &units))
        return 0;
    left = units > quote->need_units ? units - quote->need_units : 0;
    if (found->total > least->total || (found->total == least->total && left <= least->left_units))
        return 0;
    struct quote_option option = {
        .way = QUOTE_COMBINATION, .package_units = found->units, .package_price = found->price};
    int status = add_option(quote, option, e);
    assert(status != 0 || quote->options[quote->count - 1].total == found->total);
    return status;
}

// R58: of equally cheap ways, the one that leaves more units.
static size_t least_option(const struct quote *quote)
{
    size_t least = 0;
    for (size_t i = 1; i < quote->count; i++) {
        const struct quote_option *a = &quote->options[i], *b = &quote->options[least];
        if (a->total < b->total || (a->total == b->total && a->left_units > b->left_units))
            least = i;
    }
    return least;
}

int quote_make(const struct book *book, const struct quote_request *request, struct quote *out,
               struct error *e)
{
    assert(request->group_count >= 1 && request->group_count <= QUOTE_GROUPS_MAX);
    const struct service_prices *prices = &book->services[request->service];
    assert(request->held_units >= 0);
    *out = (struct quote){.group_count = request->group_count, .held_units = request->held_units};
    for (size_t i = 0; i < request->group_count; i++) {
        struct quote_group *group = &out->groups[i];
        if (price_group(book, request->service, &request->groups[i], group, e) != 0)
            return -1;
        if (__builtin_add_overflow(out->need_units, group->calls * group->units, &out->need_units))
            return error_set(e, ERROR_USAGE,
                             "the units add up to more than can be counted; ask for less");
    }
    if (add_option(out, (struct quote_option){.way = QUOTE_POSTPAID}, e) != 0)
        return -1;
    for (size_t i = 0; i < prices->offer_count; i++) {
        struct quote_option option = {
            .way = QUOTE_PACKAGE,
            .package_units = prices->offers[i].units,
            .package_price = prices->offers[i].price,
        };
        if (add_option(out, option, e) != 0)
            return -1;
    }
    struct quote_option custom;
    if (custom_option(&prices->custom, wanting(out), &custom) && add_option(out, custom, e) != 0)
        return -1;
    out->least = least_option(out);
    if (add_combination(out, prices, &out->options[out->least], e) != 0)
        return -1;
    out->least = least_option(out);
    return 0;
}
