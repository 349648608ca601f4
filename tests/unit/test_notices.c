// What account holders are told at a close: the decisions alone, and in the fold.
#include "fold_fixture.h"

#include "consumer/notices/notices.h"

enum { INSIGHT = 220000 };
#define PRICE_50 INT64_C(10000000)

static struct thresholds some(int count, const int64_t *numbers)
{
    struct thresholds t = {0};
    for (int i = 0; i < count; i++)
        assert_true(thresholds_add(&t, numbers[i]));
    return t;
}

static const struct notice_limits *limits(void)
{
    static struct notice_limits limits;
    limits = (struct notice_limits){
        .package_left = some(3, (const int64_t[]){0, 20, 5}),
        .expiring_days = some(3, (const int64_t[]){7, 30, 1}),
        .balance_below = some(2, (const int64_t[]){0, 1000}),
    };
    return &limits;
}

// ---- lists of numbers ----

static void thresholds_fall_and_are_there_once(void **state)
{
    (void)state;
    struct thresholds t = some(3, (const int64_t[]){5, 20, 0}), same, longest = {0};
    char text[THRESHOLDS_TEXT_SIZE];
    assert_string_equal(thresholds_format(&t, ", ", text), "20, 5, 0");
    assert_false(thresholds_add(&t, 5));
    assert_int_equal(t.count, 3);
    assert_true(thresholds_parse("0,5,20", &same));
    assert_true(thresholds_same(&t, &same));
    assert_true(thresholds_parse("0,5", &same));
    assert_false(thresholds_same(&t, &same));
    assert_true(thresholds_parse("0,5,21", &same));
    assert_false(thresholds_same(&t, &same));
    assert_true(thresholds_parse("", &same));
    assert_string_equal(thresholds_format(&same, ",", text), "");
    for (int i = 0; i < THRESHOLDS_MAX; i++)
        assert_true(thresholds_add(&longest, INT64_MIN + i));
    assert_false(thresholds_add(&longest, 1));
    thresholds_format(&longest, ", ", text); // fits
    assert_false(thresholds_parse("5,x", &same));
    assert_false(thresholds_parse("5;6", &same));
    assert_false(thresholds_parse("5,5", &same));
    assert_false(thresholds_parse(",", &same));
}

// ---- decisions ----

static int64_t low(int64_t units, int64_t before, int64_t remaining)
{
    int64_t percent;
    return notice_package_low(limits(), units, before, remaining, &percent) ? percent : -1;
}

// R63
static void a_package_is_low_at_its_shares(void **state)
{
    (void)state;
    assert_int_equal(low(1000, 1000, 201), -1);
    assert_int_equal(low(1000, 1000, 200), 20);
    assert_int_equal(low(1000, 201, 200), 20);
    assert_int_equal(low(1000, 200, 199), -1); // was told of
    assert_int_equal(low(1000, 200, 51), -1);
    assert_int_equal(low(1000, 200, 50), 5);
    assert_int_equal(low(1000, 1000, 50), 5); // the lowest only
    assert_int_equal(low(1000, 1000, 0), 0);
    assert_int_equal(low(1000, 50, 1), -1);
    assert_int_equal(low(1000, 1, 0), 0);
    assert_int_equal(low(1000, 0, 0), -1);
    // A share that is no whole unit: 9 of 49 are 18.4 %, 10 are 20.4 %.
    assert_int_equal(low(49, 49, 10), -1);
    assert_int_equal(low(49, 49, 9), 20);
    struct notice_limits none = {0};
    int64_t percent;
    assert_false(notice_package_low(&none, 10, 10, 0, &percent));
}

// R64
static void a_package_is_expiring_on_its_days(void **state)
{
    (void)state;
    int64_t days;
    for (day_t ends = 90; ends < 140; ends++) {
        bool told = notice_package_expiring(limits(), 100, ends, &days);
        assert_int_equal(told, ends == 101 || ends == 107 || ends == 130);
        if (told)
            assert_int_equal(days, ends - 100);
    }
    assert_int_equal(notice_days_ahead(limits()), 30);
    struct notice_limits none = {0};
    assert_int_equal(notice_days_ahead(&none), 0);
}

// R65
static void a_package_has_expired_on_one_day(void **state)
{
    (void)state;
    assert_false(notice_package_expired(1000, 2000, 1000)); // the day before
    assert_true(notice_package_expired(1000, 2000, 1001));
    assert_true(notice_package_expired(1000, 2000, 2000));
    assert_false(notice_package_expired(1000, 2000, 2001));
}

static int64_t below(fen_t before, fen_t closing)
{
    fen_t amount;
    return notice_balance_low(limits(), before, closing, &amount) ? amount : -1;
}

// R66
static void a_balance_is_low_below_its_amounts(void **state)
{
    (void)state;
    assert_int_equal(below(1000, 1000), -1);
    assert_int_equal(below(1000, 999), 1000);
    assert_int_equal(below(999, 998), -1);
    assert_int_equal(below(999, 0), -1);
    assert_int_equal(below(999, -1), 0);
    assert_int_equal(below(5000, -1), 0); // the lowest only
    assert_int_equal(below(-1, -2), -1);
}

// ---- in the fold ----

static int setup(void **state)
{
    struct bench *b = bench_create();
    b->policy.rows[0].notices = *limits();
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    bench_destroy(*state);
    return 0;
}

static void buy(struct bench *b, const char *account, const char *id, int64_t used, int64_t when)
{
    struct event ev = purchase(b, account, id, SERVICE_AUDIENCE_INSIGHT, 50, PRICE_50, when);
    ev.timestamp = b->now;
    ev.record.field[PURCHASE_USED] = number(used);
    accept(b, INPUT_PURCHASES, ev);
}

static void use(struct bench *b, const char *account, int calls)
{
    static int number;
    for (int i = 0; i < calls; i++) {
        char id[32];
        snprintf(id, sizeof id, "c%d", ++number);
        accept(b, INPUT_CALLS, call(b, account, id, -1, b->now));
    }
}

// The next close tells exactly this, one line each: ACCOUNT KIND PACKAGE THRESHOLD.
static void assert_told(struct bench *b, const char *expected)
{
    const struct step *step = settle(b);
    char told[2048] = "";
    size_t used = 0;
    for (size_t i = 0; i < step->notice_count; i++) {
        const struct step_notice *n = &step->notices[i];
        struct slice account = fold_account(b->fold, n->account)->id, none = {"-", 1};
        struct slice package =
            n->package == PACKAGE_NONE ? none : fold_package(b->fold, n->package)->id;
        used += (size_t)snprintf(told + used, sizeof told - used, "%.*s %s %.*s %d\n",
                                 (int)account.size, account.data, notice_symbol(n->kind),
                                 (int)package.size, package.data, (int)n->threshold);
    }
    assert_string_equal(told, expected);
    fold_step_done(b->fold);
}

static int64_t a_year_ago(const struct bench *b, int day, int64_t ms)
{
    return at(b, day, ms) - 365 * DAY_MS; // no 29 February in between
}

// R63
static void a_share_is_told_of_once(void **state)
{
    struct bench *b = *state;
    buy(b, "a", "p", 0, b->now);
    use(b, "a", 39);
    assert_told(b, "");
    use(b, "a", 1); // 10 of 50 are left
    assert_told(b, "a PACKAGE_LOW p 20\n");
    assert_told(b, "");
    use(b, "a", 7);
    assert_told(b, "");
    use(b, "a", 3);
    assert_told(b, "a PACKAGE_LOW p 0\n"); // of 5 and 0 the lowest
    use(b, "a", 1);
    assert_told(b, "a BALANCE_LOW - 0\n"); // postpaid
}

// R63: what was used elsewhere is nothing new.
static void a_share_of_a_new_package_counts_from_its_purchase(void **state)
{
    struct bench *b = *state;
    buy(b, "a", "p", 41, b->now); // 9 are left
    use(b, "a", 1);
    assert_told(b, "");
    use(b, "a", 6);
    assert_told(b, "a PACKAGE_LOW p 5\n");
}

// R63: not of a share that the operator begins to ask for when it is passed already.
static void a_new_share_tells_of_no_old_package(void **state)
{
    struct bench *b = *state;
    b->policy.rows[0].notices = (struct notice_limits){0};
    buy(b, "a", "p", 0, b->now);
    use(b, "a", 45);
    assert_told(b, "");
    b->policy.rows[b->policy.count++] = b->policy.rows[0];
    b->policy.rows[1].from_day = b->first_day + 1;
    b->policy.rows[1].notices = *limits();
    fold_set_policy(b->fold, &b->policy);
    use(b, "a", 2);
    assert_told(b, "");
    use(b, "a", 1); // 2 of 50
    assert_told(b, "a PACKAGE_LOW p 5\n");
}

// R64, R65
static void the_end_of_a_package_is_told_of_on_its_days(void **state)
{
    struct bench *b = *state;
    buy(b, "a", "p", 0, a_year_ago(b, 8, 1)); // ends just after the 0:00 of the ninth day
    buy(b, "b", "p", 0, a_year_ago(b, 8, 0)); // ends with the eighth
    buy(b, "c", "p", 50, a_year_ago(b, 8, 0)); // nothing is left of it
    assert_told(b, "");
    assert_told(b, "a PACKAGE_EXPIRING p 7\nb PACKAGE_EXPIRING p 7\n");
    for (int day = 2; day < 7; day++)
        assert_told(b, "");
    assert_told(b, "a PACKAGE_EXPIRING p 1\nb PACKAGE_EXPIRING p 1\nb PACKAGE_EXPIRED p 0\n");
    assert_told(b, "a PACKAGE_EXPIRED p 0\n");
    assert_told(b, "");
}

// R64: a late call that uses it up ends it before it is told of.
static void a_package_that_is_used_up_does_not_end(void **state)
{
    struct bench *b = *state;
    buy(b, "a", "p", 49, a_year_ago(b, 1, HOUR));
    assert_told(b, "a PACKAGE_EXPIRING p 1\n");
    struct event late = call(b, "a", "late", -1, at(b, 0, HOUR));
    late.timestamp = b->now;
    accept(b, INPUT_CALLS, late);
    assert_told(b, "a PACKAGE_LOW p 0\n");
}

// R66
static void a_low_balance_is_told_of_at_a_settlement(void **state)
{
    struct bench *b = *state;
    accept(b, INPUT_CREDITS, credit(b, "a", "k1", CREDIT_TOP_UP, INSIGHT + 999, b->now));
    accept(b, INPUT_CREDITS, credit(b, "z", "k1", CREDIT_TOP_UP, 1, b->now));
    assert_told(b, "");
    use(b, "a", 1);
    assert_told(b, "a BALANCE_LOW - 1000\n");
    accept(b, INPUT_CREDITS, credit(b, "a", "k2", CREDIT_TOP_UP, INSIGHT, b->now));
    use(b, "a", 1);
    assert_told(b, "a BALANCE_LOW - 1000\n"); // it was above again
    accept(b, INPUT_CREDITS, credit(b, "a", "k3", CREDIT_ADJUSTMENT, -500, b->now));
    assert_told(b, "");
    use(b, "a", 1);
    assert_told(b, "a BALANCE_LOW - 0\n");
    use(b, "a", 1);
    assert_told(b, "");
}

// A close of three accounts: a has no settlement, b is suspended by it, c draws packages.
static void fill_a_day(struct bench *b)
{
    buy(b, "c", "p2", 49, a_year_ago(b, 1, HOUR));
    buy(b, "c", "p10", 0, a_year_ago(b, 1, HOUR));
    buy(b, "c", "p1", 0, a_year_ago(b, 1, HOUR));
    buy(b, "a", "p", 0, a_year_ago(b, 1, HOUR));
    accept(b, INPUT_CREDITS, credit(b, "b", "k", CREDIT_TOP_UP, 1000, b->now));
    use(b, "b", 1);
    use(b, "c", 51);
}

// R67: by account, kind and package.
static void notices_are_in_order(void **state)
{
    struct bench *b = *state;
    fill_a_day(b);
    assert_told(b, "a PACKAGE_EXPIRING p 1\n"
                   "b BALANCE_LOW - 0\n"
                   "c PACKAGE_LOW p1 0\n"
                   "c PACKAGE_EXPIRING p10 1\n"
                   "c PACKAGE_EXPIRING p2 1\n");
}

// R67: behind the settlement of their account and its change of status.
static void notices_stand_behind_their_settlement(void **state)
{
    struct bench *b = *state;
    fill_a_day(b);
    const enum emission_kind kinds[] = {EMIT_NOTICE, EMIT_SETTLEMENT, EMIT_STATUS,
                                        EMIT_NOTICE, EMIT_SETTLEMENT, EMIT_NOTICE,
                                        EMIT_NOTICE, EMIT_NOTICE,     EMIT_DAY_CLOSE};
    const struct step *step = settle(b);
    assert_int_equal(step->emission_count, sizeof kinds / sizeof *kinds);
    for (size_t i = 0; i < step->emission_count; i++)
        assert_int_equal(step->emissions[i].kind, kinds[i]);
}

// R67: an id that was forgotten may come again (R60): the notice is about the newer package.
static void two_packages_of_one_id_give_one_notice(void **state)
{
    struct bench *b = *state;
    b->policy.rows[0].credit_days = 1;
    b->policy.rows[0].notices =
        (struct notice_limits){.expiring_days = some(2, (const int64_t[]){362, 365})};
    fold_set_policy(b->fold, &b->policy);
    buy(b, "a", "p", 0, b->now);
    assert_told(b, "a PACKAGE_EXPIRING p 365\n");
    assert_told(b, "");
    assert_told(b, "");
    buy(b, "a", "p", 7, b->now);
    const struct step *step = settle(b); // 362 days of the one, 365 of the other
    assert_int_equal(step->notice_count, 1);
    assert_int_equal(fold_package(b->fold, step->notices[0].package)->used, 7);
    fold_step_done(b->fold);
}

// What was told follows from what is recorded: a restart tells nothing twice, and forgets nothing.
static void a_restored_fold_tells_the_same(void **state)
{
    struct bench *b = *state;
    buy(b, "a", "p", 0, b->now);
    enum { CALLS = 42 };
    struct event calls[CALLS];
    static char ids[CALLS][8];
    for (int i = 0; i < CALLS; i++) {
        snprintf(ids[i], sizeof ids[i], "r%d", i);
        accept(b, INPUT_CALLS, calls[i] = call(b, "a", ids[i], -1, b->now));
    }
    assert_told(b, "a PACKAGE_LOW p 20\n");
    struct fold *again = bench_fold(b);
    struct error e;
    bool done = false;
    assert_int_equal(fold_restore_state(again, fold_state(b->fold), &e), 0);
    assert_int_equal(fold_restore_account(again, fold_account(b->fold, 0), NULL, &e), 0);
    assert_int_equal(fold_restore_package(again, text("a"), fold_package(b->fold, 0), &e), 0);
    assert_int_equal(fold_restore_cutoff(again, b->first_day, CALLS, &e), 0);
    assert_int_equal(fold_replay(again, calls, CALLS, &done, &e), 0);
    assert_true(done);
    fold_destroy(b->fold);
    b->fold = again;
    use(b, "a", 2);
    assert_told(b, "");
    use(b, "a", 4);
    assert_told(b, "a PACKAGE_LOW p 5\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(thresholds_fall_and_are_there_once),
        cmocka_unit_test(a_package_is_low_at_its_shares),
        cmocka_unit_test(a_package_is_expiring_on_its_days),
        cmocka_unit_test(a_package_has_expired_on_one_day),
        cmocka_unit_test(a_balance_is_low_below_its_amounts),
        cmocka_unit_test_setup_teardown(a_share_is_told_of_once, setup, teardown),
        cmocka_unit_test_setup_teardown(a_share_of_a_new_package_counts_from_its_purchase, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_new_share_tells_of_no_old_package, setup, teardown),
        cmocka_unit_test_setup_teardown(the_end_of_a_package_is_told_of_on_its_days, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_package_that_is_used_up_does_not_end, setup, teardown),
        cmocka_unit_test_setup_teardown(a_low_balance_is_told_of_at_a_settlement, setup, teardown),
        cmocka_unit_test_setup_teardown(notices_are_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(two_packages_of_one_id_give_one_notice, setup, teardown),
        cmocka_unit_test_setup_teardown(a_restored_fold_tells_the_same, setup, teardown),
        cmocka_unit_test_setup_teardown(notices_stand_behind_their_settlement, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
