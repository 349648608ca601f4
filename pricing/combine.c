// A search with bounds. Let b be the offer of the least price a unit. In place of lcm(u, b) / u
// packages of an offer of u units, packages of b with as many units cost no more. So of every other
// offer only fewer than that need to be looked at; and only as far as no way to go on, at the least
// price a unit, could be cheaper than the best combination so far.
//
// Once those are chosen, the total is linear in the number of packages of b, or of custom units,
// between two ends of stretches: only the numbers next to an end have to be tried.
#include "pricing/combine.h"

#include <assert.h>
#include <string.h>

enum { LOOKS_MAX = 4000000 }; // totals; some tenths of a second

typedef __int128 wide; // units and fen beyond 64 bits, until they are compared

struct combining {
    const struct service_prices *prices;
    size_t ends; // of stretches, from the beginning on, where ends[0] is 0
    int64_t end[COMBINE_STRETCHES_MAX + 1];
    fen_t rest[COMBINE_STRETCHES_MAX + 1]; // what lies behind an end costs so much postpaid
    fen_t unit_price[COMBINE_STRETCHES_MAX]; // before the end of the same number, plus one
    size_t best; // the offer b; offer_count: there is no offer
    struct offer cheapest; // a price a unit that nothing is below, as price / units
    int64_t custom_max; // units of one custom package
    int64_t looks;
    int64_t chosen[BOOK_OFFERS_MAX];
    struct combination *out;
};

static int64_t greatest_divisor(int64_t a, int64_t b)
{
    while (b != 0) {
        int64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

// Price a unit.
static bool is_cheaper(struct offer a, struct offer b)
{
    return (wide)a.price * b.units < (wide)b.price * a.units;
}

static int64_t need_of(const struct combining *s)
{
    return s->end[s->ends - 1];
}

// What is postpaid when the first `units` are covered.
static fen_t postpaid(const struct combining *s, wide units)
{
    size_t i = s->ends - 1;
    if (units >= s->end[i])
        return 0;
    while (s->end[i - 1] > units)
        i--;
    return s->rest[i] + (s->end[i] - (int64_t)units) * s->unit_price[i - 1];
}

// Nothing that covers `units` and more can cost less in the end, beside what it has cost so far.
static wide least_to_go(const struct combining *s, wide units)
{
    wide least = postpaid(s, units);
    for (size_t i = s->ends; i-- > 1 && s->end[i] > units;) {
        wide bought =
            ((s->end[i] - units) * s->cheapest.price + s->cheapest.units - 1) / s->cheapest.units;
        if (bought + s->rest[i] < least)
            least = bought + s->rest[i];
    }
    return least;
}

// R57: an offer of the book; all of its packages have their price at once.
static wide custom_price(const struct combining *s, wide units)
{
    return units / s->prices->custom.step * s->prices->custom.price_per_step;
}

struct choice {
    wide units, price; // of the offers that are chosen, and with the other two in the end
    wide of_best, custom_units;
};

static void keep_choice(struct combining *s, const struct choice *c, int64_t customs, fen_t total)
{
    memcpy(s->out->offers, s->chosen, sizeof s->chosen);
    if (s->best < s->prices->offer_count)
        s->out->offers[s->best] = (int64_t)c->of_best;
    s->out->custom_units = (int64_t)c->custom_units;
    s->out->custom_count = customs;
    s->out->units = (int64_t)c->units;
    s->out->price = (fen_t)c->price;
    s->out->total = total;
}

static void look(struct combining *s, struct choice c)
{
    s->looks++;
    if (c.of_best > 0) {
        c.units += c.of_best * s->prices->offers[s->best].units;
        c.price += c.of_best * s->prices->offers[s->best].price;
    }
    wide customs = 0;
    if (c.custom_units > 0) {
        customs = (c.custom_units + s->custom_max - 1) / s->custom_max;
        if (c.custom_units < customs * s->prices->custom.minimum)
            c.custom_units = customs * s->prices->custom.minimum;
        c.units += c.custom_units;
        c.price += custom_price(s, c.custom_units);
    }
    wide total = c.price + postpaid(s, c.units);
    int64_t need = need_of(s);
    wide left = c.units > need ? c.units - need : 0;
    wide best_left = s->out->units > need ? s->out->units - need : 0;
    if (c.units > INT64_MAX || total > s->out->total)
        return;
    if (total < s->out->total || left > best_left)
        keep_choice(s, &c, (int64_t)customs, (fen_t)total);
}

// ---- the two that are chosen last ----

// At `units`, the count of pieces of `size` that ends at an end of a stretch or just behind it.
static wide pieces_to(const struct combining *s, size_t end, wide units, int64_t size)
{
    return s->end[end] > units ? (s->end[end] - units) / size : 0;
}

static void look_at_best(struct combining *s, struct choice c)
{
    look(s, c);
    if (s->best == s->prices->offer_count)
        return;
    wide units = c.units + c.custom_units;
    for (size_t i = 1; i < s->ends; i++) {
        c.of_best = pieces_to(s, i, units, s->prices->offers[s->best].units);
        look(s, c);
        c.of_best++;
        look(s, c);
    }
}

static void look_at_custom(struct combining *s, struct choice c)
{
    const struct custom_offer *custom = &s->prices->custom;
    wide units = c.units;
    if (c.of_best > 0)
        units += c.of_best * s->prices->offers[s->best].units;
    for (size_t i = 1; i < s->ends; i++) {
        wide steps = pieces_to(s, i, units, custom->step);
        for (wide n = steps; n <= steps + 1; n++) {
            c.custom_units =
                n * custom->step > custom->minimum ? n * custom->step : custom->minimum;
            look(s, c);
        }
    }
}

static bool goes_on(const struct combining *s, wide units, wide price)
{
    return s->looks < LOOKS_MAX && price + least_to_go(s, units) <= s->out->total;
}

// Custom units and packages of b: of the one that costs more a unit, only so many as cannot be
// replaced by the other.
static void with_custom(struct combining *s, struct choice c)
{
    const struct custom_offer *custom = &s->prices->custom;
    const struct offer *best = &s->prices->offers[s->best];
    if (s->best == s->prices->offer_count) {
        look_at_custom(s, c);
        return;
    }
    int64_t common = greatest_divisor(best->units, custom->step);
    if (is_cheaper(*best, (struct offer){custom->step, custom->price_per_step})) {
        for (int64_t n = 0; n < best->units / common; n++) {
            c.custom_units = custom->minimum + (wide)n * custom->step;
            if (!goes_on(s, c.units + c.custom_units, c.price + custom_price(s, c.custom_units)))
                return;
            look_at_best(s, c);
        }
    } else {
        for (c.of_best = 0; c.of_best < custom->step / common; c.of_best++) {
            if (!goes_on(s, c.units + c.of_best * best->units, c.price + c.of_best * best->price))
                return;
            look_at_custom(s, c);
        }
    }
}

// ---- the others ----

// Each number of packages of the offers from `i` on, together with what is chosen. Recursive, at
// most BOOK_OFFERS_MAX deep.
static void choose(struct combining *s, size_t i, struct choice c)
{
    if (i == s->prices->offer_count) {
        look_at_best(s, c);
        if (s->prices->custom.step > 0)
            with_custom(s, c);
        return;
    }
    if (i == s->best) {
        choose(s, i + 1, c);
        return;
    }
    const struct offer *offer = &s->prices->offers[i];
    int64_t best = s->prices->offers[s->best].units;
    int64_t count = best / greatest_divisor(offer->units, best);
    for (int64_t n = 0; n < count && goes_on(s, c.units, c.price); n++) {
        s->chosen[i] = n;
        choose(s, i + 1, c);
        c.units += offer->units;
        c.price += offer->price;
    }
    s->chosen[i] = 0;
}

static void find_cheapest(struct combining *s)
{
    const struct service_prices *prices = s->prices;
    const struct custom_offer *custom = &prices->custom;
    s->best = prices->offer_count;
    // Of equal ones the smallest, since it leaves the least to be tried of the others.
    for (size_t i = 0; i < prices->offer_count; i++)
        if (i == 0 || is_cheaper(prices->offers[i], prices->offers[s->best]))
            s->best = i;
    struct offer of_custom = {custom->step, custom->price_per_step};
    bool none = s->best == prices->offer_count;
    s->cheapest = none ? of_custom : prices->offers[s->best];
    if (custom->step > 0 && is_cheaper(of_custom, s->cheapest))
        s->cheapest = of_custom;
    if (custom->step == 0)
        return;
    // R3: what a purchase record can hold.
    s->custom_max = UNITS_OF_RECORD_MAX / custom->step;
    if (custom->price_per_step > 0 && s->custom_max > AMOUNT_MAX / custom->price_per_step)
        s->custom_max = AMOUNT_MAX / custom->price_per_step;
    s->custom_max *= custom->step;
}

static void add_ends(struct combining *s, const struct stretch *stretches, size_t count)
{
    s->ends = count + 1;
    for (size_t i = 0; i < count; i++) {
        s->end[i + 1] = s->end[i] + stretches[i].units;
        s->unit_price[i] = stretches[i].unit_price;
    }
    for (size_t i = count; i-- > 0;)
        s->rest[i] = s->rest[i + 1] + stretches[i].units * stretches[i].unit_price;
}

void combine(const struct service_prices *prices, const struct stretch *stretches, size_t count,
             struct combination *out)
{
    struct combining s = {.prices = prices, .out = out};
    assert(count >= 1 && count <= COMBINE_STRETCHES_MAX);
    add_ends(&s, stretches, count);
    *out = (struct combination){.total = s.rest[0]};
    if (prices->offer_count > 0 || prices->custom.step > 0) {
        find_cheapest(&s);
        choose(&s, 0, (struct choice){0});
    }
    out->all = s.looks < LOOKS_MAX;
}
