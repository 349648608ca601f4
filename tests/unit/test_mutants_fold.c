// Instants and orders of the fold in which a small mistake is easily made; tests/mutants makes
// these mistakes.
#include "fold_fixture.h"

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

// R12, R13
static void a_package_ends_at_its_instant(void **state)
{
    struct bench *b = *state;
    const fen_t price = 7000000;
    accept(b, INPUT_PURCHASES,
           purchase(b, "a", "p", SERVICE_PURCHASE_INTENT, 10000, price, at(b, -365, HOUR)));
    accept(b, INPUT_CALLS, call(b, "a", "last", 10, at(b, 0, HOUR) - 1));
    accept(b, INPUT_CALLS, call(b, "a", "over", 10, at(b, 0, HOUR)));
    settle(b);
    const struct settlement *s = settlement_of(b, "a");
    assert_int_equal(s->calls, 2);
    assert_int_equal(s->amount, 10 * 1000);
    assert_int_equal(fold_package(b->fold, 0)->remaining, 9990);
}

// R38
static void a_suspension_ends_at_its_instant(void **state)
{
    struct bench *b = *state;
    accept(b, INPUT_CALLS, call(b, "a", "c1", 1, at(b, 0, HOUR)));
    settle(b);
    assert_int_equal(settlement_of(b, "a")->state, ACCOUNT_SUSPENDED);
    fold_step_done(b->fold);
    accept(b, INPUT_CALLS, call(b, "a", "c2", 1, at(b, 1, 10 * HOUR) - 1));
    accept(b, INPUT_CREDITS, credit(b, "a", "t", CREDIT_TOP_UP, 100000, at(b, 1, 10 * HOUR)));
    accept(b, INPUT_CALLS, call(b, "a", "c3", 1, at(b, 1, 10 * HOUR)));
    settle(b);
    assert_int_equal(settlement_of(b, "a")->calls, 2);
    assert_int_equal(settlement_of(b, "a")->calls_while_suspended, 1);
}

static void settlements_go_out_in_byte_order_of_their_accounts(void **state)
{
    static const char *const seen[] = {"b", "\xc3\xa4", "a", "B", "aa"}, *const order[] = {
                                                                             "B", "a", "aa", "b",
                                                                             "\xc3\xa4"};
    struct bench *b = *state;
    for (size_t i = 0; i < 5; i++)
        accept(b, INPUT_CALLS, call(b, seen[i], "c", 1, at(b, 0, HOUR)));
    const struct step *step = settle(b);
    assert_int_equal(step->settlement_count, 5);
    for (size_t i = 0; i < 5; i++) {
        struct slice id = fold_account(b->fold, step->settlements[i].account)->id;
        assert_int_equal(id.size, strlen(order[i]));
        assert_memory_equal(id.data, order[i], id.size);
    }
}

// R50
static void refused_records_are_not_broken_ones(void **state)
{
    struct bench *b = *state;
    for (int i = 0; i < 200; i++) {
        char id[16];
        snprintf(id, sizeof id, "late-%d", i);
        struct event late = call(b, "a", id, 1, at(b, -20, HOUR));
        late.timestamp = at(b, 0, HOUR);
        reject(b, INPUT_CALLS, late, REJECT_TOO_LATE);
    }
    for (int i = 0; i < 800; i++) // a fifth of all records is refused
        feed(b, INPUT_CALLS, call(b, "a", "c", 1, at(b, 0, HOUR)));
    settle(b);
    assert_int_equal(fold_step(b->fold)->close.cutoffs[INPUT_CALLS].rejected, 200);
}

// R30
static void a_credit_is_known_after_a_restart(void **state)
{
    struct bench *b = *state;
    struct error e = {0};
    bool done = false;
    struct fold *fold = bench_fold(b);
    const struct account account = {.id = text("a"), .credits = 500, .position = 1};
    struct fold_state after = *fold_state(b->fold);
    after.log[INPUT_CREDITS] = (struct log_state){.next = 1, .accepted = 1, .last_offset = 0};
    assert_int_equal(fold_restore_state(fold, &after, &e), 0);
    assert_int_equal(fold_restore_account(fold, &account, NULL, &e), 0);
    const struct restored_credit restored = {text("a"), text("t"), CREDIT_TOP_UP, 500,
                                             at(b, 0, HOUR)};
    assert_int_equal(fold_restore_credit(fold, &restored, &e), 0);
    assert_int_equal(fold_replay_reached(fold, 0, &done, &e), 0);
    assert_true(done);
    fold_destroy(b->fold);
    b->fold = fold;
    b->offsets[INPUT_CREDITS] = 1;
    duplicate(b, INPUT_CREDITS, credit(b, "a", "t", CREDIT_TOP_UP, 500, at(b, 0, HOUR)));
    reject(b, INPUT_CREDITS, credit(b, "a", "t", CREDIT_TOP_UP, 501, at(b, 0, HOUR)),
           REJECT_CONFLICT);
}

// A call arrived after the clock had ended the day, but its timestamp is earlier: the offset
// decides. R24, R49
static void a_recorded_cutoff_rules_after_a_restart(void **state)
{
    struct bench *b = *state;
    struct error e = {0};
    bool done = false;
    struct event calls[2];
    accept(b, INPUT_CALLS, calls[0] = call(b, "a", "in time", 1, at(b, 0, HOUR)));
    settle(b);
    const int64_t cutoff = fold_step(b->fold)->close.cutoffs[INPUT_CALLS].to_offset;
    const struct account settled = *fold_account(b->fold, 0);
    fold_step_done(b->fold);
    accept(b, INPUT_CALLS, calls[1] = call(b, "a", "behind", 1, at(b, 0, 2 * HOUR)));
    struct fold *fold = bench_fold(b);
    assert_int_equal(fold_restore_state(fold, fold_state(b->fold), &e), 0);
    assert_int_equal(fold_restore_account(fold, &settled, NULL, &e), 0);
    if (settled.state == ACCOUNT_SUSPENDED)
        assert_int_equal(
            fold_restore_span(fold, text("a"), (struct span){at(b, 1, 0), INT64_MAX}, &e), 0);
    assert_int_equal(fold_restore_cutoff(fold, b->first_day, cutoff, &e), 0);
    assert_int_equal(fold_replay(fold, calls, 2, &done, &e), 0);
    assert_true(done);
    fold_destroy(b->fold);
    b->fold = fold;
    settle(b);
    assert_non_null(settlement_of(b, "a"));
    assert_int_equal(settlement_of(b, "a")->calls, 1);
    assert_int_equal(fold_step(fold)->close.late, 1);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(a_package_ends_at_its_instant),
        CASE(a_suspension_ends_at_its_instant),
        CASE(settlements_go_out_in_byte_order_of_their_accounts),
        CASE(refused_records_are_not_broken_ones),
        CASE(a_credit_is_known_after_a_restart),
        CASE(a_recorded_cutoff_rules_after_a_restart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
