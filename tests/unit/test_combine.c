// The least of all combinations of packages, compared with trying them all.
#include "pricing/combine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static uint64_t seed_state;

static int64_t pick(int64_t from, int64_t to)
{
    seed_state = seed_state * 6364136223846793005u + 1442695040888963407u;
    return from + (int64_t)((seed_state >> 33) % (uint64_t)(to - from + 1));
}

static fen_t rest_of(const struct stretch *stretches, size_t count, int64_t covered)
{
    fen_t rest = 0;
    for (size_t i = 0; i < count; i++) {
        int64_t units = stretches[i].units < covered ? stretches[i].units : covered;
        rest += (stretches[i].units - units) * stretches[i].unit_price;
        covered -= units;
    }
    return rest;
}

// ---- small cases: all of them ----

enum { OFFERS = 3, NEED_MAX = 60 };

struct trial {
    const struct service_prices *prices;
    const struct stretch *stretches;
    size_t count;
    int64_t need;
    fen_t total;
    int64_t left; // of the best so far
};

static void weigh(struct trial *t, int64_t units, fen_t price)
{
    fen_t total = price + rest_of(t->stretches, t->count, units);
    int64_t left = units > t->need ? units - t->need : 0;
    if (total > t->total || (total == t->total && left <= t->left))
        return;
    t->total = total;
    t->left = left;
}

// Every number of each offer and every custom size: one package more than covers the need is never
// dearer to leave out than to add, so nothing lies beyond.
static void try_all(struct trial *t, size_t offer, int64_t units, fen_t price)
{
    const struct custom_offer *custom = &t->prices->custom;
    if (offer == t->prices->offer_count) {
        weigh(t, units, price);
        for (int64_t size = custom->minimum; custom->step && size <= 4 * NEED_MAX;
             size += custom->step)
            weigh(t, units + size, price + size / custom->step * custom->price_per_step);
        return;
    }
    const struct offer *o = &t->prices->offers[offer];
    for (int64_t n = 0; n == 0 || units + (n - 1) * o->units <= t->need; n++)
        try_all(t, offer + 1, units + n * o->units, price + n * o->price);
}

static void make_prices(struct service_prices *prices)
{
    int64_t units = 0;
    memset(prices, 0, sizeof *prices);
    prices->offer_count = (size_t)pick(0, OFFERS);
    for (size_t i = 0; i < prices->offer_count; i++) {
        units += pick(1, 12);
        prices->offers[i] = (struct offer){units, pick(1, 100)};
    }
    if (pick(0, 1) == 0)
        return;
    prices->custom.step = pick(1, 5);
    prices->custom.minimum = (units / prices->custom.step + pick(1, 4)) * prices->custom.step;
    prices->custom.price_per_step = pick(1, 40);
}

static void check_sums(const struct service_prices *prices, const struct combination *c,
                       const struct stretch *stretches, size_t count)
{
    int64_t units = c->custom_units;
    fen_t price = 0;
    assert_true(c->custom_units == 0 || prices->custom.step > 0);
    if (prices->custom.step > 0) {
        assert_true(c->custom_units >= c->custom_count * prices->custom.minimum);
        assert_int_equal(c->custom_units % prices->custom.step, 0);
        price = c->custom_units / prices->custom.step * prices->custom.price_per_step;
    }
    assert_int_equal(c->custom_units > 0, c->custom_count > 0);
    for (size_t i = 0; i < prices->offer_count; i++) {
        assert_true(c->offers[i] >= 0);
        units += c->offers[i] * prices->offers[i].units;
        price += c->offers[i] * prices->offers[i].price;
    }
    assert_int_equal(c->units, units);
    assert_int_equal(c->price, price);
    assert_int_equal(c->total, price + rest_of(stretches, count, units));
}

static void what_is_found_is_the_least_of_all(void **state)
{
    (void)state;
    enum { CASES = 20000 };
    int combined = 0;
    for (seed_state = 1; combined < CASES; combined++) {
        struct service_prices prices;
        struct stretch stretches[4];
        struct combination found;
        struct trial t = {.prices = &prices, .stretches = stretches};
        make_prices(&prices);
        t.count = (size_t)pick(1, 4);
        for (size_t i = 0; i < t.count; i++) {
            stretches[i] = (struct stretch){pick(0, NEED_MAX / 4), pick(1, 20)};
            t.need += stretches[i].units;
        }
        t.total = rest_of(stretches, t.count, 0) + 1;
        try_all(&t, 0, 0, 0);
        combine(&prices, stretches, t.count, &found);
        assert_true(found.all);
        check_sums(&prices, &found, stretches, t.count);
        assert_int_equal(found.total, t.total);
        assert_int_equal(found.units > t.need ? found.units - t.need : 0, t.left);
    }
}

// ---- large ones ----

static const struct service_prices sold = {.offer_count = 5,
                                           .offers = {{10000, 7000000},
                                                      {50000, 25000000},
                                                      {100000, 30000000},
                                                      {500000, 125000000},
                                                      {800000, 160000000}},
                                           .custom = {801000, 1000, 150000}};

static struct combination of(const struct service_prices *prices, int64_t units, fen_t unit_price)
{
    struct combination found;
    const struct stretch stretch = {units, unit_price};
    combine(prices, &stretch, 1, &found);
    assert_true(found.all);
    check_sums(prices, &found, &stretch, 1);
    return found;
}

static void two_packages_cost_less_than_one_of_each_size(void **state)
{
    (void)state;
    struct combination c = of(&sold, 24000, 1000);
    assert_int_equal(c.offers[0], 2);
    assert_int_equal(c.total, 18000000);
    // From there on the package of 100,000 costs less than what it does not cover of its size.
    c = of(&sold, 99000, 1000);
    assert_int_equal(c.offers[2], 1);
    assert_int_equal(c.units, 100000);
}

// A billion calls of a billion leads: the search must not grow with the need.
static void no_need_is_too_large(void **state)
{
    (void)state;
    struct combination c = of(&sold, INT64_C(30000000000000000), 250);
    assert_int_equal(c.custom_units, INT64_C(30000000000000000));
    assert_int_equal(c.custom_count, 30000000); // of 10^9 units, which a record can hold
    struct service_prices fixed = sold;
    fixed.custom = (struct custom_offer){0};
    c = of(&fixed, INT64_C(30000000000000000) + 10000, 300);
    assert_int_equal(c.offers[4], INT64_C(37500000000));
    assert_int_equal(c.total, INT64_C(6000000000000000000) + 10000 * 300);
}

// Sizes without a common divisor: what cannot all be looked at is said, and something is found.
static void a_search_that_is_too_long_says_so(void **state)
{
    (void)state;
    struct service_prices odd = {.offer_count = BOOK_OFFERS_MAX};
    for (int i = 0; i < BOOK_OFFERS_MAX; i++)
        odd.offers[i] = (struct offer){900000011 + 2 * i, 900000011 + 2 * i};
    struct combination found;
    const struct stretch stretch = {INT64_C(1000000000000000), 1000};
    combine(&odd, &stretch, 1, &found);
    assert_false(found.all);
    check_sums(&odd, &found, &stretch, 1);
    assert_true(found.total < INT64_C(1000000000000000) * 2);
}

static void without_packages_all_is_postpaid(void **state)
{
    (void)state;
    const struct service_prices none = {0};
    struct combination c = of(&none, 70, 30);
    assert_int_equal(c.total, 2100);
    assert_int_equal(c.units, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_found_is_the_least_of_all),
        cmocka_unit_test(two_packages_cost_less_than_one_of_each_size),
        cmocka_unit_test(no_need_is_too_large),
        cmocka_unit_test(a_search_that_is_too_long_says_so),
        cmocka_unit_test(without_packages_all_is_postpaid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
