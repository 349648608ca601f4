// What a shard has to remember of purchases and credits, and what one record may cost: both ends of
// each bound.
#include "fold_fixture.h"

enum { INSIGHT_50 = 10000000 };

static int setup(void **state)
{
    *state = bench_create();
    return 0;
}

static int teardown(void **state)
{
    bench_destroy(*state);
    return 0;
}

// A top-up or purchase that is sent now and says that it is of another time.
static struct event paid(struct bench *b, const char *id, int64_t when)
{
    struct event ev = credit(b, "a", id, CREDIT_TOP_UP, 5, when);
    ev.timestamp = b->now;
    return ev;
}

static struct event bought(struct bench *b, const char *id, int64_t when)
{
    struct event ev = purchase(b, "a", id, SERVICE_AUDIENCE_INSIGHT, 50, INSIGHT_50, when);
    ev.timestamp = b->now;
    return ev;
}

static void next_day(struct bench *b)
{
    settle(b);
    fold_step_done(b->fold);
}

// R59
static void own_days_older_than_credit_days_are_too_late(void **state)
{
    struct bench *b = *state;
    accept(b, INPUT_CREDITS, paid(b, "k1", at(b, -400, 0)));
    reject(b, INPUT_CREDITS, paid(b, "k2", at(b, -400, 0) - 1), REJECT_TOO_LATE);
    accept(b, INPUT_PURCHASES, bought(b, "p1", at(b, -400, 0)));
    reject(b, INPUT_PURCHASES, bought(b, "p2", at(b, -400, 0) - 1), REJECT_TOO_LATE);
    assert_string_equal(fold_step(b->fold)->rejects[1].detail,
                        "purchased_at is of 2025-09-26, before 2025-09-27");
    // before a refund, behind an amount out of bounds
    struct event old = paid(b, "k3", at(b, -401, 0));
    old.record.field[CREDIT_AMOUNT].number = -5;
    reject(b, INPUT_CREDITS, old, REJECT_TOO_LATE);
    old.offset = b->offsets[INPUT_CREDITS]++;
    old.record.field[CREDIT_AMOUNT].number = AMOUNT_MAX + 1;
    reject(b, INPUT_CREDITS, old, REJECT_INVALID);
}

// R30, R60
static void ids_are_known_until_their_day_is_too_late(void **state)
{
    struct bench *b = *state;
    accept(b, INPUT_CREDITS, paid(b, "k", at(b, -399, 0)));
    accept(b, INPUT_PURCHASES, bought(b, "p", at(b, -399, 0)));
    next_day(b);
    duplicate(b, INPUT_CREDITS, paid(b, "k", at(b, -399, 0)));
    duplicate(b, INPUT_PURCHASES, bought(b, "p", at(b, -399, 0)));
    reject(b, INPUT_CREDITS, paid(b, "k", at(b, 1, 0)), REJECT_CONFLICT);
    reject(b, INPUT_PURCHASES, bought(b, "p", at(b, 1, 0)), REJECT_CONFLICT);
    next_day(b);
    reject(b, INPUT_CREDITS, paid(b, "k", at(b, -399, 0)), REJECT_TOO_LATE);
    accept(b, INPUT_CREDITS, paid(b, "k", at(b, 2, 0))); // another one
    accept(b, INPUT_PURCHASES, bought(b, "p", at(b, 2, 0)));
    duplicate(b, INPUT_CREDITS, paid(b, "k", at(b, 2, 0)));
    duplicate(b, INPUT_PURCHASES, bought(b, "p", at(b, 2, 0)));
    assert_int_equal(account_balance(fold_account(b->fold, 0)), 10);
}

// An id that was forgotten would be credited twice.
// R60
static void raising_credit_days_brings_nothing_back(void **state)
{
    struct bench *b = *state;
    b->policy.rows[0].credit_days = 2;
    b->policy.rows[1] = b->policy.rows[0];
    b->policy.rows[1].from_day = b->first_day + 4;
    b->policy.rows[1].credit_days = 400;
    b->policy.count = 2;
    fold_set_policy(b->fold, &b->policy);
    accept(b, INPUT_CREDITS, paid(b, "k", at(b, 0, 0)));
    for (int i = 0; i < 6; i++)
        next_day(b);
    reject(b, INPUT_CREDITS, paid(b, "k", at(b, 0, 0)), REJECT_TOO_LATE);
    reject(b, INPUT_CREDITS, paid(b, "other", at(b, 1, 0) - 1), REJECT_TOO_LATE);
    accept(b, INPUT_CREDITS, paid(b, "other", at(b, 1, 0)));
}

// A year and a late_days after its purchase nobody can draw on it, whatever remains.
// R13, R60
static void a_package_leaves_when_no_day_can_use_it(void **state)
{
    struct bench *b = *state;
    b->policy.rows[0].credit_days = 380;
    b->policy.rows[0].late_days = 3;
    fold_set_policy(b->fold, &b->policy);
    accept(b, INPUT_PURCHASES, bought(b, "old", at(b, -363, 0))); // until day 2, 00:00
    accept(b, INPUT_PURCHASES, bought(b, "new", at(b, 0, 0)));
    int days = 0;
    while (fold_package_count(b->fold) == 2 && days < 100) {
        next_day(b);
        days++;
    }
    assert_int_equal(days, 18); // its own day is 381 days ago
    assert_string_equal(fold_package(b->fold, 0)->id.data, "new");
    accept(b, INPUT_CALLS, call(b, "a", "c", -1, b->now));
    next_day(b);
    assert_int_equal(fold_package(b->fold, 0)->remaining, 49);
}

// R60
static void a_package_outlives_its_id_while_it_can_be_drawn(void **state)
{
    struct bench *b = *state;
    b->policy.rows[0].credit_days = 5;
    b->policy.rows[0].late_days = 2;
    fold_set_policy(b->fold, &b->policy);
    accept(b, INPUT_PURCHASES, bought(b, "p", at(b, -5, 0)));
    for (int i = 0; i < 3; i++)
        next_day(b);
    assert_int_equal(fold_package_count(b->fold), 1);
    accept(b, INPUT_PURCHASES, bought(b, "p", at(b, 3, 0))); // the same id, another package
    assert_int_equal(fold_package_count(b->fold), 2);
    accept(b, INPUT_CALLS, call(b, "a", "c", -1, at(b, 3, HOUR)));
    settle(b);
    assert_int_equal(settlement_of(b, "a")->amount, 0);
    fold_step_done(b->fold);
    assert_int_equal(fold_package(b->fold, 0)->remaining, 49); // R15: the older one first
    assert_int_equal(fold_package(b->fold, 1)->remaining, 50);
}

// A start is handed more than it needs (the rows have no days of the calendar), and keeps as much
// as a process that went on. R60
static void a_restart_forgets_the_same(void **state)
{
    struct bench *b = *state;
    struct error e = {0};
    struct fold_state then = *fold_state(b->fold);
    then.day += 401;
    struct fold *fold = bench_fold(b);
    assert_int_equal(fold_restore_state(fold, &then, &e), 0);
    struct account account = {.id = text("a")};
    assert_int_equal(fold_restore_account(fold, &account, NULL, &e), 0);
    struct package package = {.id = text("p"),
                              .units = 50,
                              .remaining = 50,
                              .valid_from = at(b, 0, 0),
                              .valid_until = at(b, 365, 0)};
    assert_int_equal(fold_restore_package(fold, text("a"), &package, &e), 0);
    assert_int_equal(fold_package_count(fold), 0);
    package.valid_from = at(b, 1, 0);
    assert_int_equal(fold_restore_package(fold, text("a"), &package, &e), 0);
    assert_int_equal(fold_package_count(fold), 1);
    fold_destroy(fold);
}

// The rows of a start have no order: the package of a forgotten id, which can still be drawn, may
// come after the later one that shares it. R60
static void packages_that_share_an_id_come_back_in_any_order(void **state)
{
    struct bench *b = *state;
    struct error e = {0};
    struct fold_state then = *fold_state(b->fold);
    b->policy.rows[0].credit_days = 5;
    then.day += 20;
    for (int first = 0; first < 2; first++) {
        struct fold *fold = bench_fold(b);
        fold_set_policy(fold, &b->policy);
        assert_int_equal(fold_restore_state(fold, &then, &e), 0);
        struct account account = {.id = text("a")};
        assert_int_equal(fold_restore_account(fold, &account, NULL, &e), 0);
        struct package package = {.id = text("p"), .units = 50, .remaining = 50};
        for (int i = 0; i < 2; i++) {
            int bought_on = i == first ? 0 : 18;
            package.valid_from = at(b, bought_on, 0);
            package.valid_until = at(b, bought_on + 365, 0);
            assert_int_equal(fold_restore_package(fold, text("a"), &package, &e), 0);
        }
        assert_int_equal(fold_package_count(fold), 2);
        package.valid_from = at(b, 18, 0); // known, and there already
        assert_int_equal(fold_restore_package(fold, text("a"), &package, &e), -1);
        fold_destroy(fold);
    }
}

// ---- what a call may cost ----

static void set_price(struct bench *b, fen_t unit_price)
{
    struct book *book = b->policy.shelf.books[0];
    book->services[SERVICE_PURCHASE_INTENT].tier_count = 1;
    book->services[SERVICE_PURCHASE_INTENT].tiers[0].unit_price = unit_price;
}

// R61
static void a_call_beyond_10_to_the_13th_is_invalid(void **state)
{
    struct bench *b = *state;
    set_price(b, 10000);
    accept(b, INPUT_CALLS, call(b, "a", "c1", 1000000000, at(b, 0, HOUR))); // 10^13 exactly
    set_price(b, 10001);
    reject(b, INPUT_CALLS, call(b, "a", "c2", 1000000000, at(b, 0, HOUR)), REJECT_INVALID);
    accept(b, INPUT_CALLS, call(b, "a", "c3", 999900009, at(b, 0, HOUR)));
    reject(b, INPUT_CALLS, call(b, "a", "c4", 999900010, at(b, 0, HOUR)), REJECT_INVALID);
    settle(b);
    assert_int_equal(settlement_of(b, "a")->calls, 2);
}

// Before what is too late or from the future is said; and a call from the future is not priced by
// the book of its day, which may still be another one.
// R40, R61
static void the_amount_comes_before_the_time(void **state)
{
    struct bench *b = *state;
    set_price(b, BOOK_PRICE_MAX);
    struct event ev = call(b, "a", "c", 10001, at(b, -100, 0));
    ev.timestamp = at(b, 0, HOUR);
    reject(b, INPUT_CALLS, ev, REJECT_INVALID);
    ev = call(b, "a", "c", 10000, at(b, -100, 0)); // 10^13
    ev.timestamp = at(b, 0, HOUR);
    reject(b, INPUT_CALLS, ev, REJECT_TOO_LATE);
    ev = call(b, "a", "c", 10001, at(b, 3000, 0));
    ev.timestamp = at(b, 0, HOUR);
    reject(b, INPUT_CALLS, ev, REJECT_INVALID);
    assert_int_equal(fold_state(b->fold)->horizon, b->first_day);
}

// Ten calls of the largest size at the highest price once stopped a shard for good.
// R61
static void the_largest_calls_are_settled(void **state)
{
    struct bench *b = *state;
    set_price(b, BOOK_PRICE_MAX);
    char id[16];
    for (int i = 0; i < 1000; i++) {
        snprintf(id, sizeof id, "c%d", i);
        accept(b, INPUT_CALLS, call(b, "a", id, 10000, at(b, 0, HOUR)));
    }
    settle(b);
    assert_int_equal(settlement_of(b, "a")->amount, 1000 * AMOUNT_MAX);
    assert_int_equal(fold_step(b->fold)->close.amount, 1000 * AMOUNT_MAX);
}

// The halt that remains: 922,337 of the largest calls are settled, one more is not.
// R1
static void what_passes_64_bits_stops_the_close_with_its_place(void **state)
{
    struct bench *b = *state;
    struct error e = {0};
    set_price(b, BOOK_PRICE_MAX);
    for (int64_t i = 0; i <= INT64_MAX / AMOUNT_MAX; i++) {
        char id[16];
        snprintf(id, sizeof id, "c%d", (int)i);
        feed(b, INPUT_CALLS, call(b, "a", id, 10000, at(b, 0, HOUR)));
    }
    assert_int_equal(fold_state(b->fold)->log[INPUT_CALLS].accepted, 922338);
    for (enum input i = 0; i < INPUT_COUNT; i++)
        fold_clock_end(b->fold, i, b->offsets[i], fold_due_at(b->fold));
    assert_int_equal(fold_close(b->fold, &e), -1);
    assert_int_equal(e.kind, ERROR_CONFIG);
    assert_non_null(strstr(e.text, "account a, day 2026-11-01: what is to be settled would pass"));
    assert_non_null(strstr(e.text, "922338 calls, all in offsets 0..922338 of the calls"));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(own_days_older_than_credit_days_are_too_late),
        CASE(ids_are_known_until_their_day_is_too_late),
        CASE(raising_credit_days_brings_nothing_back),
        CASE(a_package_leaves_when_no_day_can_use_it),
        CASE(a_package_outlives_its_id_while_it_can_be_drawn),
        CASE(a_restart_forgets_the_same),
        CASE(packages_that_share_an_id_come_back_in_any_order),
        CASE(a_call_beyond_10_to_the_13th_is_invalid),
        CASE(the_amount_comes_before_the_time),
        CASE(the_largest_calls_are_settled),
        CASE(what_passes_64_bits_stops_the_close_with_its_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
