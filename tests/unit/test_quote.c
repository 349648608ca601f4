#include "pricing/quote.h"

#include "tests/unit/books.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define A SERVICE_AUDIENCE_INSIGHT
#define P SERVICE_PURCHASE_INTENT

static struct book book;

static struct quote quote_of(enum service service, int64_t calls, int64_t leads)
{
    struct quote_request request = {
        .service = service, .group_count = 1, .groups = {{calls, leads}}};
    struct quote quote;
    struct error e;
    assert_int_equal(quote_make(&book, &request, &quote, &e), 0);
    return quote;
}

static const struct quote_option *option_of(const struct quote *quote, int64_t package_units)
{
    for (size_t i = 0; i < quote->count; i++)
        if (quote->options[i].package_units == package_units)
            return &quote->options[i];
    fail_msg("no option of %ld units", (long)package_units);
    return NULL;
}

static void check_option(const struct quote *quote, int64_t package_units, struct quote_option want)
{
    const struct quote_option *got = option_of(quote, package_units);
    assert_int_equal(got->package_price, want.package_price);
    assert_int_equal(got->covered_units, want.covered_units);
    assert_int_equal(got->postpaid_units, want.postpaid_units);
    assert_int_equal(got->postpaid_amount, want.postpaid_amount);
    assert_int_equal(got->total, want.total);
    assert_int_equal(got->left_units, want.left_units);
    assert_int_equal(got->covered_units + got->postpaid_units, quote->need_units);
    assert_int_equal(got->package_price + got->postpaid_amount, got->total);
}

static void the_pages_worked_example(void **state)
{
    (void)state;
    struct quote q = quote_of(P, 3, 8000);
    assert_int_equal(q.need_units, 24000);
    assert_int_equal(q.groups[0].tier_from, 0);
    assert_int_equal(q.groups[0].unit_price, 1000);
    assert_int_equal(q.count, 8);
    check_option(&q, 0,
                 (struct quote_option){
                     .postpaid_units = 24000, .postpaid_amount = 24000000, .total = 24000000});
    // The second call is covered by 2,000 leads; its rest stays in the tier of 8,000.
    check_option(&q, 10000,
                 (struct quote_option){.package_price = 7000000,
                                       .covered_units = 10000,
                                       .postpaid_units = 14000,
                                       .postpaid_amount = 14000000,
                                       .total = 21000000});
    check_option(&q, 50000,
                 (struct quote_option){.package_price = 25000000,
                                       .covered_units = 24000,
                                       .total = 25000000,
                                       .left_units = 26000});
    check_option(&q, 801000,
                 (struct quote_option){.package_price = 120150000,
                                       .covered_units = 24000,
                                       .total = 120150000,
                                       .left_units = 777000});
    // Each of two packages of 10,000 costs less than the leads it covers; a third would not.
    check_option(&q, 20000,
                 (struct quote_option){.package_price = 14000000,
                                       .covered_units = 20000,
                                       .postpaid_units = 4000,
                                       .postpaid_amount = 4000000,
                                       .total = 18000000});
    assert_int_equal(q.combination.offers[0], 2);
    assert_int_equal(q.options[q.least].way, QUOTE_COMBINATION);
    assert_int_equal(q.options[q.least].package_units, 20000);
}

// R16
static void the_rest_keeps_the_tier_of_the_whole_call(void **state)
{
    (void)state;
    struct quote q = quote_of(P, 1, 120000);
    assert_int_equal(q.groups[0].tier_from, 100000);
    check_option(&q, 100000,
                 (struct quote_option){.package_price = 30000000,
                                       .covered_units = 100000,
                                       .postpaid_units = 20000,
                                       // at 3 yuan, not at the 5 of 20,000 leads
                                       .postpaid_amount = 6000000,
                                       .total = 36000000});
    // 360,000 too, but a tie goes to the earlier
    assert_int_equal(q.options[q.least].way, QUOTE_POSTPAID);
    assert_int_equal(q.options[0].total, 36000000);
}

// R58
static void ways_are_in_order(void **state)
{
    (void)state;
    struct quote q = quote_of(A, 1, 0);
    static const int64_t units[] = {0, 50, 100, 200, 300, 301};
    assert_int_equal(q.count, 6);
    for (size_t i = 0; i < q.count; i++) {
        assert_int_equal(q.options[i].package_units, units[i]);
        assert_int_equal(q.options[i].way, i == 0   ? QUOTE_POSTPAID
                                           : i == 5 ? QUOTE_CUSTOM
                                                    : QUOTE_PACKAGE);
    }
    assert_int_equal(q.groups[0].tier_from, -1);
    assert_int_equal(q.groups[0].units, 1);
    assert_int_equal(q.options[q.least].total, 220000);
}

static void buying_more_can_cost_less(void **state)
{
    (void)state;
    // 200 calls: 440,000 postpaid, 240,000 in a package of 200, 150,500 as the custom package of
    // 301.
    struct quote q = quote_of(A, 200, 0);
    assert_int_equal(q.options[0].total, 44000000);
    assert_int_equal(option_of(&q, 200)->total, 24000000);
    assert_int_equal(q.options[q.least].way, QUOTE_CUSTOM);
    assert_int_equal(q.options[q.least].package_units, 301);
    assert_int_equal(q.options[q.least].total, 15050000);
    assert_int_equal(q.options[q.least].left_units, 101);
    // From 46 calls on the package of 50 is cheaper than paying for each.
    q = quote_of(A, 45, 0);
    assert_int_equal(q.options[q.least].way, QUOTE_POSTPAID);
    q = quote_of(A, 46, 0);
    assert_int_equal(q.options[q.least].package_units, 50);
    // A call of 10,000 leads costs less than one of 9,999.
    struct quote below = quote_of(P, 1, 9999), at = quote_of(P, 1, 10000);
    assert_true(at.options[0].total < below.options[0].total);
}

// R58
static void the_custom_package_is_the_need_in_whole_steps(void **state)
{
    (void)state;
    struct quote q = quote_of(A, 1000, 0);
    assert_int_equal(q.options[q.least].package_units, 1000);
    assert_int_equal(q.options[q.least].total, 50000000);
    q = quote_of(P, 1, 801000);
    assert_int_equal(q.options[6].package_units, 801000);
    q = quote_of(P, 1, 801001);
    assert_int_equal(q.options[6].package_units, 802000);
    assert_int_equal(q.options[6].package_price, 120300000);
    assert_int_equal(q.options[6].left_units, 999);
}

// R58
static void on_a_tie_the_package_with_more_left_is_the_least(void **state)
{
    (void)state;
    struct book same = book;
    // 50 and 100 calls for the same money
    same.services[A].offers[1].price = same.services[A].offers[0].price;
    struct quote_request request = {.service = A, .group_count = 1, .groups = {{50, 0}}};
    struct quote q;
    struct error e;
    assert_int_equal(quote_make(&same, &request, &q, &e), 0);
    assert_int_equal(q.options[q.least].package_units, 100);
    assert_int_equal(q.options[q.least].left_units, 50);
}

static void calls_of_different_sizes_draw_in_turn(void **state)
{
    (void)state;
    struct quote_request request = {
        .service = P, .group_count = 3, .groups = {{1, 8000}, {2, 12000}, {1, 500000}}};
    struct quote q;
    struct error e;
    assert_int_equal(quote_make(&book, &request, &q, &e), 0);
    assert_int_equal(q.need_units, 532000);
    assert_int_equal(q.groups[1].tier_from, 10000);
    assert_int_equal(q.groups[2].unit_price, 250);
    assert_int_equal(q.options[0].total, 8000000 + 2 * 9600000 + 125000000);
    check_option(&q, 10000,
                 (struct quote_option){.package_price = 7000000,
                                       .covered_units = 10000,
                                       .postpaid_units = 522000,
                                       .postpaid_amount = 22000 * 800 + 125000000,
                                       .total = 7000000 + 22000 * 800 + 125000000});
}

// ---- what is held already ----

static uint64_t dice = 1;

static int64_t pick(int64_t below)
{
    dice = dice * 6364136223846793005u + 1442695040888963407u;
    return (int64_t)((dice >> 33) % (uint64_t)below);
}

// What the calls cost beside what they draw, call by call; *left: what is not drawn.
static fen_t cost_of_calls(const struct quote *quote, int64_t drawn, int64_t *left)
{
    fen_t cost = 0;
    for (size_t i = 0; i < quote->group_count; i++)
        for (int64_t n = 0; n < quote->groups[i].calls; n++) {
            int64_t units = quote->groups[i].units, covered = units < drawn ? units : drawn;
            drawn -= covered;
            cost += (units - covered) * quote->groups[i].unit_price;
        }
    *left = drawn;
    return cost;
}

enum { FEW = 4 }; // packages of each offer, less one

// The least of up to three packages of each offer.
static fen_t least_of_few(const struct quote *quote, const struct service_prices *prices)
{
    fen_t least = INT64_MAX;
    int64_t left, ways = 1;
    for (size_t i = 0; i < prices->offer_count; i++)
        ways *= FEW;
    for (int64_t way = 0; way < ways; way++) {
        int64_t units = quote->held_units, rest = way;
        fen_t price = 0;
        for (size_t i = 0; i < prices->offer_count; i++, rest /= FEW) {
            units += rest % FEW * prices->offers[i].units;
            price += rest % FEW * prices->offers[i].price;
        }
        fen_t total = price + cost_of_calls(quote, units, &left);
        least = total < least ? total : least;
    }
    return least;
}

static struct quote quote_with(enum service service, int64_t held, const struct quote_request *of)
{
    struct quote_request request = *of;
    struct quote quote;
    struct error e;
    request.service = service;
    request.held_units = held;
    assert_int_equal(quote_make(&book, &request, &quote, &e), 0);
    return quote;
}

static void check_held(const struct quote *quote, const struct service_prices *prices)
{
    for (size_t i = 0; i < quote->count; i++) {
        const struct quote_option *o = &quote->options[i];
        int64_t left;
        fen_t cost = cost_of_calls(quote, quote->held_units + o->package_units, &left);
        assert_int_equal(o->postpaid_amount, cost);
        assert_int_equal(o->left_units, left);
        assert_int_equal(o->total, o->package_price + cost);
        assert_int_equal(o->covered_units, quote->held_units + o->package_units - left);
        assert_int_equal(o->covered_units + o->postpaid_units, quote->need_units);
        // The custom package is for what is wanting.
        if (o->way == QUOTE_CUSTOM && o->package_units > prices->custom.minimum)
            assert_true(left < prices->custom.step);
    }
    assert_true(quote->options[quote->least].total <= least_of_few(quote, prices));
}

// R58
static void what_is_held_covers_its_part_first(void **state)
{
    (void)state;
    for (int round = 0; round < 300; round++) {
        enum service service = round % 2 ? A : P;
        struct quote_request request = {.group_count = (size_t)(1 + pick(3))};
        for (size_t i = 0; i < request.group_count; i++)
            request.groups[i] = (struct quote_calls){1 + pick(service == A ? 100 : 4), pick(30000)};
        int64_t held = pick(service == A ? 300 : 60000);
        struct quote without = quote_with(service, 0, &request);
        struct quote with = quote_with(service, held, &request);
        check_held(&with, &book.services[service]);
        assert_true(with.options[with.least].total <= without.options[without.least].total);
    }
    // All is held: nothing is to be bought, or paid for.
    struct quote_request request = {.group_count = 1, .groups = {{3, 8000}}};
    struct quote q = quote_with(P, 24000, &request);
    assert_int_equal(q.options[q.least].way, QUOTE_POSTPAID);
    assert_int_equal(q.options[q.least].total, 0);
    assert_int_equal(q.options[q.least].left_units, 0);
    // The page's example with 4,000 leads held: two packages of 10,000 cover the rest.
    q = quote_with(P, 4000, &request);
    assert_int_equal(q.options[q.least].way, QUOTE_COMBINATION);
    assert_int_equal(q.options[q.least].total, 14000000);
    assert_int_equal(q.options[q.least].left_units, 0);
}

static void no_leads_cost_nothing(void **state)
{
    (void)state;
    struct quote q = quote_of(P, 5, 0);
    assert_int_equal(q.need_units, 0);
    assert_int_equal(q.least, 0);
    assert_int_equal(q.options[0].total, 0);
    assert_int_equal(option_of(&q, 10000)->left_units, 10000);
}

static void a_custom_package_beyond_a_record_is_left_out(void **state)
{
    (void)state;
    // 10^9 units is the most a purchase record may hold, and 10^13 fen.
    struct quote q = quote_of(P, 1, UNITS_OF_RECORD_MAX);
    assert_int_equal(q.options[q.count - 1].package_units, UNITS_OF_RECORD_MAX);
    q = quote_of(P, 2, UNITS_OF_RECORD_MAX);
    assert_int_equal(q.options[q.count - 2].package_units, 800000);
    assert_int_equal(q.options[q.count - 1].way, QUOTE_COMBINATION);
    assert_int_equal(q.combination.custom_count, 2);
    q = quote_of(A, AMOUNT_MAX / 50000, 0);
    assert_int_equal(q.options[q.count - 1].package_price, AMOUNT_MAX);
    q = quote_of(A, AMOUNT_MAX / 50000 + 1, 0);
    assert_int_equal(q.options[q.count - 2].way, QUOTE_PACKAGE);
    assert_int_equal(q.combination.custom_count, 2); // each below what a record can hold
    assert_int_equal(q.combination.custom_units, AMOUNT_MAX / 50000 + 1);
}

// R61
static void a_call_that_would_be_rejected_is_not_priced(void **state)
{
    (void)state;
    struct book dear = book;
    dear.services[P].tiers[5].unit_price = 10001;
    struct quote_request request = {
        .service = P, .group_count = 1, .groups = {{1, UNITS_OF_RECORD_MAX}}};
    struct quote q;
    struct error e;
    assert_int_equal(quote_make(&dear, &request, &q, &e), -1);
    assert_int_equal(e.kind, ERROR_USAGE);
    assert_string_equal(e.text, "a call of 1000000000 leads would cost more than 10^13 fen and be "
                                "rejected; ask for less");
    dear.services[P].tiers[5].unit_price = 10000;
    assert_int_equal(quote_make(&dear, &request, &q, &e), 0);
}

static void needs_out_of_bounds_are_refused(void **state)
{
    (void)state;
    static const struct {
        struct quote_calls calls[2];
        size_t count;
        const char *text;
    } rows[] = {
        {{{1, -1}}, 1, "-1 leads in a call; a call has 0 to 1000000000"},
        {{{1, UNITS_OF_RECORD_MAX + 1}},
         1,
         "1000000001 leads in a call; a call has 0 to 1000000000"},
        {{{0, 1}}, 1, "0 calls; ask for 1 to 1000000000"},
        {{{QUOTE_CALLS_MAX + 1, 1}}, 1, "1000000001 calls; ask for 1 to 1000000000"},
        {{{QUOTE_CALLS_MAX, UNITS_OF_RECORD_MAX}},
         1,
         "the amount for 1000000000000000000 units is beyond what can be billed; ask for less"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct quote_request request = {.service = P, .group_count = rows[i].count};
        memcpy(request.groups, rows[i].calls, sizeof rows[i].calls);
        struct quote q;
        struct error e;
        assert_int_equal(quote_make(&book, &request, &q, &e), -1);
        assert_int_equal(e.kind, ERROR_USAGE);
        assert_string_equal(e.text, rows[i].text);
    }
}

static void units_beyond_64_bits_are_refused(void **state)
{
    (void)state;
    struct quote_request request = {.service = P, .group_count = 10};
    for (size_t i = 0; i < request.group_count; i++)
        request.groups[i] = (struct quote_calls){QUOTE_CALLS_MAX, UNITS_OF_RECORD_MAX};
    struct quote q;
    struct error e;
    assert_int_equal(quote_make(&book, &request, &q, &e), -1);
    assert_string_equal(e.text, "the units add up to more than can be counted; ask for less");
}

// Each group's amount fits, but not their sum; and a package makes the total overflow.
static void totals_beyond_64_bits_are_refused(void **state)
{
    (void)state;
    struct quote_request request = {.service = P, .group_count = 2};
    request.groups[0] = (struct quote_calls){30000000, UNITS_OF_RECORD_MAX};
    request.groups[1] = request.groups[0];
    struct quote q;
    struct error e;
    assert_int_equal(quote_make(&book, &request, &q, &e), -1);
    assert_non_null(strstr(e.text, "beyond what can be billed"));

    struct book dear = book;
    dear.services[A].tiers[0].unit_price = 1;
    dear.services[A].offers[0].price = INT64_MAX;
    request = (struct quote_request){.service = A, .group_count = 1, .groups = {{51, 0}}};
    assert_int_equal(quote_make(&dear, &request, &q, &e), -1);
    assert_int_equal(e.kind, ERROR_USAGE);
}

static void without_packages_there_is_one_way(void **state)
{
    (void)state;
    struct book bare = book;
    bare.services[A].offer_count = 0;
    bare.services[A].custom.step = 0;
    struct quote_request request = {.service = A, .group_count = 1, .groups = {{7, 0}}};
    struct quote q;
    struct error e;
    assert_int_equal(quote_make(&bare, &request, &q, &e), 0);
    assert_int_equal(q.count, 1);
    assert_int_equal(q.options[0].total, 1540000);
}

int main(void)
{
    book = load_apcas();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_pages_worked_example),
        cmocka_unit_test(the_rest_keeps_the_tier_of_the_whole_call),
        cmocka_unit_test(ways_are_in_order),
        cmocka_unit_test(buying_more_can_cost_less),
        cmocka_unit_test(the_custom_package_is_the_need_in_whole_steps),
        cmocka_unit_test(on_a_tie_the_package_with_more_left_is_the_least),
        cmocka_unit_test(calls_of_different_sizes_draw_in_turn),
        cmocka_unit_test(what_is_held_covers_its_part_first),
        cmocka_unit_test(no_leads_cost_nothing),
        cmocka_unit_test(a_custom_package_beyond_a_record_is_left_out),
        cmocka_unit_test(a_call_that_would_be_rejected_is_not_priced),
        cmocka_unit_test(needs_out_of_bounds_are_refused),
        cmocka_unit_test(units_beyond_64_bits_are_refused),
        cmocka_unit_test(totals_beyond_64_bits_are_refused),
        cmocka_unit_test(without_packages_there_is_one_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
