// Every row of the billing page's four tables, and its worked example, has a test with its name.
#include "pricing/rate.h"

#include "tests/unit/books.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define A SERVICE_AUDIENCE_INSIGHT
#define P SERVICE_PURCHASE_INTENT

enum { NO_END = -1 };

static struct book book;

// ---- postpaid ----

struct postpaid_row {
    const char *name;
    enum service service;
    int64_t from, to; // both inclusive, units of one call
    fen_t unit_price; // "价格"
    fen_t per_thousand; // "说明" of the leads; 0: none
};

static const struct postpaid_row postpaid_rows[] = {
    {"人群特征洞察服务 1次 2200元", A, 1, 1, 220000, 0},
    {"线索量 < 10千条 10元/条", P, 0, 9999, 1000, 1000000},
    {"10千条 < 线索量 < 20千条 8元/条", P, 10000, 19999, 800, 800000},
    {"20千条 < 线索量 < 50千条 5元/条", P, 20000, 49999, 500, 500000},
    {"50千条 < 线索量 < 100千条 4元/条", P, 50000, 99999, 400, 400000},
    {"100千条 < 线索量 < 500千条 3元/条", P, 100000, 499999, 300, 300000},
    {"500千条及以上 2.5元/条", P, 500000, NO_END, 250, 250000},
};

// A whole call has the price of its tier.
static fen_t price_of(enum service service, int64_t units)
{
    fen_t amount = -1;
    assert_true(money_times(units, rate_tier(&book, service, units)->unit_price, &amount));
    return amount;
}

static void check_whole_call(const struct postpaid_row *row, int64_t units)
{
    assert_int_equal(rate_tier(&book, row->service, units)->unit_price, row->unit_price);
    assert_int_equal(price_of(row->service, units), units * row->unit_price);
}

// R5, R6
static void postpaid_row(void **state)
{
    const struct postpaid_row *row = *state;
    int64_t last = row->to == NO_END ? UNITS_OF_RECORD_MAX : row->to;
    check_whole_call(row, row->from);
    check_whole_call(row, row->from + (last - row->from) / 2);
    check_whole_call(row, last);
    if (row->per_thousand)
        assert_int_equal(1000 * row->unit_price, row->per_thousand);
    if (row->service != P)
        return;
    assert_int_equal(rate_tier(&book, P, row->from)->from, row->from);
    if (row->from > 0)
        assert_true(rate_tier(&book, P, row->from - 1)->unit_price > row->unit_price);
    if (row->to != NO_END)
        assert_true(rate_tier(&book, P, row->to + 1)->unit_price < row->unit_price);
}

// The page leaves 10, 20, 50 and 100 thousand open: a boundary belongs to the upper tier, as its
// last row says 及以上.
// R7
static void boundaries_belong_to_the_upper_tier(void **state)
{
    (void)state;
    static const struct {
        int64_t leads;
        fen_t amount;
    } rows[] = {
        {0, 0},
        {1, 1000},
        {9999, 9999000},
        {10000, 8000000},
        {10001, 8000800},
        {19999, 15999200},
        {20000, 10000000},
        {49999, 24999500},
        {50000, 20000000},
        {99999, 39999600},
        {100000, 30000000},
        {499999, 149999700},
        {500000, 125000000},
        {500001, 125000250},
        {UNITS_OF_RECORD_MAX, INT64_C(250000000000)},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(price_of(P, rows[i].leads), rows[i].amount);
}

// 如果一天之内调用三次，每次调用线索量是8千条，三次调用的24千条线索均将按照10元/条的价格结算
// R6
static void three_calls_of_8000_leads_are_240000_yuan(void **state)
{
    (void)state;
    fen_t total = 0;
    for (int call = 0; call < 3; call++)
        assert_true(money_add(total, price_of(P, rate_units(&book, P, 8000)), &total));
    assert_int_equal(total, 24000000);
    assert_int_equal(price_of(P, 24000), 12000000); // one call of 24,000 is another thing
}

// R2, R3
static void units_of_a_call(void **state)
{
    (void)state;
    assert_int_equal(rate_units(&book, A, 0), 1);
    assert_int_equal(rate_units(&book, A, -5), 1); // a lead count is not looked at
    assert_int_equal(rate_units(&book, A, 8000), 1);
    assert_int_equal(rate_units(&book, P, 8000), 8000);
    assert_int_equal(rate_units(&book, P, 0), 0);
}

// ---- packages ----

struct package_row {
    const char *name;
    enum service service;
    int64_t units;
    fen_t price;
    int64_t per; // units that `unit_price` is for
    fen_t unit_price; // "说明"
};

static const struct package_row package_rows[] = {
    {"50次 10万元", A, 50, 10000000, 1, 200000},
    {"100次 15万元", A, 100, 15000000, 1, 150000},
    {"200次 24万元", A, 200, 24000000, 1, 120000},
    {"300次 27万元", A, 300, 27000000, 1, 90000},
    {"300次以上 500元/次 最低301次", A, 301, 15050000, 1, 50000},
    {"10千条 7万元", P, 10000, 7000000, 1000, 700000},
    {"50千条 25万元", P, 50000, 25000000, 1000, 500000},
    {"100千条 30万元", P, 100000, 30000000, 1000, 300000},
    {"500千条 125万元", P, 500000, 125000000, 1000, 250000},
    {"800千条 160万元", P, 800000, 160000000, 1000, 200000},
    {"800千条以上 1500元/千条 最低801千条", P, 801000, 120150000, 1000, 150000},
};

// R9
static void package_row(void **state)
{
    const struct package_row *row = *state;
    fen_t price = -1;
    assert_true(rate_offer_price(&book, row->service, row->units, &price));
    assert_int_equal(price, row->price);
    assert_int_equal(row->units / row->per * row->unit_price, row->price);
}

// R10
static void custom_packages_of_any_larger_size(void **state)
{
    (void)state;
    fen_t price;
    assert_true(rate_offer_price(&book, A, 301, &price) && price == 15050000);
    assert_true(rate_offer_price(&book, A, 302, &price) && price == 15100000);
    assert_true(rate_offer_price(&book, A, 1000, &price) && price == 50000000);
    assert_true(rate_offer_price(&book, A, UNITS_OF_RECORD_MAX, &price) &&
                price == INT64_C(50000000000000));
    assert_true(rate_offer_price(&book, P, 802000, &price) && price == 120300000);
    assert_true(rate_offer_price(&book, P, 1000000, &price) && price == 150000000);
}

// R9, R10
static void other_sizes_are_not_for_sale(void **state)
{
    (void)state;
    static const struct {
        enum service service;
        int64_t units;
    } rows[] = {
        {A, 0},      {A, 1},      {A, 49},     {A, 51},    {A, 250},     {A, 299},    {A, -50},
        {P, 50},     {P, 801},    {P, 9999},   {P, 10001}, {P, 200000},  {P, 799000}, {P, 800001},
        {P, 800999}, {P, 801001}, {P, 801500}, {P, 0},     {P, -801000},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        fen_t price = 7;
        assert_false(rate_offer_price(&book, rows[i].service, rows[i].units, &price));
        assert_int_equal(price, 7);
    }
}

static void a_service_without_custom_offer(void **state)
{
    (void)state;
    struct book fewer = book;
    fewer.services[A].custom = (struct custom_offer){0};
    fen_t price;
    assert_false(rate_offer_price(&fewer, A, 301, &price));
    assert_true(rate_offer_price(&fewer, A, 300, &price));
}

// ---- the page is complete ----

static void the_book_holds_no_more_than_the_page(void **state)
{
    (void)state;
    assert_int_equal(book.services[A].tier_count, 1);
    assert_false(book.services[A].tiered);
    assert_int_equal(book.services[A].offer_count, 4);
    assert_int_equal(book.services[P].tier_count, 6);
    assert_true(book.services[P].tiered);
    assert_int_equal(book.services[P].offer_count, 5);
    assert_string_equal(book.services[A].name, "人群特征洞察服务");
    assert_string_equal(book.services[P].name, "购车意向预判服务");
}

#define COUNT(rows) (sizeof(rows) / sizeof *(rows))

static struct CMUnitTest row_test(const char *name, CMUnitTestFunction test, const void *row)
{
    return (struct CMUnitTest){
        .name = name, .test_func = test, .initial_state = (void *)(uintptr_t)row};
}

int main(void)
{
    book = load_apcas();
    const struct CMUnitTest others[] = {
        cmocka_unit_test(boundaries_belong_to_the_upper_tier),
        cmocka_unit_test(three_calls_of_8000_leads_are_240000_yuan),
        cmocka_unit_test(units_of_a_call),
        cmocka_unit_test(custom_packages_of_any_larger_size),
        cmocka_unit_test(other_sizes_are_not_for_sale),
        cmocka_unit_test(a_service_without_custom_offer),
        cmocka_unit_test(the_book_holds_no_more_than_the_page),
    };
    struct CMUnitTest tests[COUNT(postpaid_rows) + COUNT(package_rows) + COUNT(others)];
    size_t count = 0;
    for (size_t i = 0; i < COUNT(postpaid_rows); i++)
        tests[count++] = row_test(postpaid_rows[i].name, postpaid_row, &postpaid_rows[i]);
    for (size_t i = 0; i < COUNT(package_rows); i++)
        tests[count++] = row_test(package_rows[i].name, package_row, &package_rows[i]);
    memcpy(tests + count, others, sizeof others);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
