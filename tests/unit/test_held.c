// A held day: why it is held, what goes on meanwhile, how it ends.
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

static void break_calls(struct bench *b, int count)
{
    for (int i = 0; i < count; i++) {
        struct event ev = event(b, INPUT_CALLS, "a", b->now);
        ev.fault = REJECT_UNDECODABLE;
        ev.fault_detail = "truncated at byte 3";
        reject(b, INPUT_CALLS, ev, REJECT_UNDECODABLE);
        if (i % 1000 == 999)
            fold_step_done(b->fold);
    }
}

// Purchases and credits are cut by the clock, at their ends.
static void cut_the_others(struct bench *b)
{
    b->now = fold_due_at(b->fold);
    fold_clock_end(b->fold, INPUT_PURCHASES, b->offsets[INPUT_PURCHASES], b->now);
    fold_clock_end(b->fold, INPUT_CREDITS, b->offsets[INPUT_CREDITS], b->now);
    assert_int_equal(fold_cut(b->fold, INPUT_PURCHASES), CUT_CLOCK);
    assert_int_equal(fold_cut(b->fold, INPUT_CREDITS), CUT_CLOCK);
}

static void assert_held(const struct bench *b)
{
    assert_true(fold_state(b->fold)->held);
    assert_true(fold_step(b->fold)->hold_count > 0);
    assert_true(fold_step(b->fold)->moved);
    assert_false(fold_close_due(b->fold));
    for (enum input i = 0; i < INPUT_COUNT; i++) {
        assert_int_equal(fold_cut(b->fold, i), CUT_NONE);
        assert_false(fold_wants_end(b->fold, i, b->now));
    }
}

static int decide_on(struct bench *b, enum input input, enum decision_kind kind, int64_t offset,
                     enum reject_reason reason)
{
    struct error e = {0};
    const struct decision decision = decision_about(kind, input, &offset, 1);
    return fold_decide(b->fold, &decision, &reason, &e);
}

static int decide(struct bench *b, enum decision_kind kind, int64_t offset,
                  enum reject_reason reason)
{
    return decide_on(b, INPUT_CALLS, kind, offset, reason);
}

// Each log that is not cut yet comes to its end, asked for when the day was due.
static void reach_the_ends(struct bench *b)
{
    if (b->now < fold_due_at(b->fold))
        b->now = fold_due_at(b->fold);
    for (enum input i = 0; i < INPUT_COUNT; i++)
        if (fold_wants_end(b->fold, i, b->now))
            fold_clock_end(b->fold, i, b->offsets[i], b->now);
}

static void break_log(struct bench *b, enum input input, int count)
{
    for (int i = 0; i < count; i++) {
        struct event ev = event(b, input, "a", at(b, 0, HOUR));
        ev.fault = REJECT_INCOMPATIBLE_SCHEMA;
        ev.fault_detail = "amount: bytes is not long";
        reject(b, input, ev, REJECT_INCOMPATIBLE_SCHEMA);
    }
}

static void assert_hold(const struct bench *b, enum input input, enum reject_group group,
                        int64_t rejects, int64_t records)
{
    const struct hold *hold = &fold_state(b->fold)->holds[input][group];
    assert_int_equal(hold->rejects, rejects);
    assert_int_equal(hold->records, records);
    bool told = false;
    const struct step *step = fold_step(b->fold);
    for (size_t i = 0; i < step->hold_count; i++)
        told = told || (step->holds[i].input == input && step->holds[i].group == group &&
                        step->holds[i].rejects == rejects && step->holds[i].records == records &&
                        step->holds[i].at == hold->at);
    assert_true(told);
}

// ---- held where a log is cut ----

// R50, R51
static void by_a_record_that_cuts(void **state)
{
    struct bench *b = *state;
    break_calls(b, 100);
    cut_the_others(b);
    // it would cut; held, it is of the open day
    accept(b, INPUT_CALLS, call(b, "a", "c", -1, b->now));
    assert_held(b);
    assert_int_equal(fold_state(b->fold)->log[INPUT_CALLS].next, 101);
}

static void by_the_clocks_end_and_the_next_record_lies_beyond_it(void **state)
{
    struct bench *b = *state;
    break_calls(b, 100);
    cut_the_others(b);
    fold_clock_end(b->fold, INPUT_CALLS, 102, b->now);
    b->offsets[INPUT_CALLS] = 105; // voids up to there
    struct event ev = call(b, "a", "c", -1, at(b, 0, HOUR));
    accept(b, INPUT_CALLS, ev);
    assert_held(b);
    const struct log_state *log = &fold_state(b->fold)->log[INPUT_CALLS];
    assert_int_equal(log->next, 106);
    assert_int_equal(log->voids, 5);
    assert_int_equal(feed(b, INPUT_CALLS, ev), FOLD_MORE); // delivered again
    assert_int_equal(log->duplicates, 0);
}

static void by_the_clocks_end_and_the_log_goes_on_without_records(void **state)
{
    struct bench *b = *state;
    break_calls(b, 100);
    cut_the_others(b);
    fold_clock_end(b->fold, INPUT_CALLS, 102, b->now);
    assert_int_equal(fold_reached(b->fold, INPUT_CALLS, 105), FOLD_MORE);
    assert_held(b);
    assert_int_equal(fold_state(b->fold)->log[INPUT_CALLS].next, 105);
}

static void by_the_last_record_before_the_clocks_end(void **state)
{
    struct bench *b = *state;
    break_calls(b, 99);
    cut_the_others(b);
    fold_clock_end(b->fold, INPUT_CALLS, 100, b->now);
    b->now = at(b, 0, HOUR);
    break_calls(b, 1);
    b->now = fold_due_at(b->fold);
    assert_held(b);
}

// R50
static void by_the_log_that_is_cut_last(void **state)
{
    struct bench *b = *state;
    break_calls(b, 100);
    b->now = fold_due_at(b->fold);
    fold_clock_end(b->fold, INPUT_CALLS, 100, b->now);
    assert_int_equal(fold_cut(b->fold, INPUT_CALLS), CUT_CLOCK);
    assert_false(fold_state(b->fold)->held);
    fold_clock_end(b->fold, INPUT_CREDITS, 0, b->now);
    fold_clock_end(b->fold, INPUT_PURCHASES, 0, b->now);
    assert_held(b);
}

// ---- held although the calls log comes to no cutoff ----

// R45, R50
static void by_a_calls_log_that_rejects_stopped_before_the_day_was_due(void **state)
{
    struct bench *b = *state;
    break_calls(b, 10001);
    struct event next = call(b, "a", "c", -1, at(b, 0, HOUR));
    assert_int_equal(feed(b, INPUT_CALLS, next), FOLD_REJECTS);
    assert_false(fold_state(b->fold)->held); // not due
    b->now = fold_due_at(b->fold);
    fold_clock_end(b->fold, INPUT_CALLS, 10050, b->now);
    fold_clock_end(b->fold, INPUT_PURCHASES, 0, b->now);
    b->offsets[INPUT_CREDITS] = 3;
    fold_clock_end(b->fold, INPUT_CREDITS, 3, b->now);
    assert_false(fold_state(b->fold)->held); // the credits of the day are still to be read
    assert_int_equal(fold_reached(b->fold, INPUT_CREDITS, 3), FOLD_MORE);
    assert_held(b);
    accept(b, INPUT_CREDITS, credit(b, "a", "k", CREDIT_TOP_UP, 1, b->now + HOUR)); // top-ups go on
    assert_int_equal(feed(b, INPUT_CALLS, next), FOLD_REJECTS);
    assert_int_equal(decide(b, DECISION_ACCEPT, 0, REJECT_UNDECODABLE), 0);
    accept(b, INPUT_CALLS, next); // it reads on, and is held still
    assert_true(fold_state(b->fold)->held);
}

static void by_a_calls_log_that_rejects_stop_when_the_day_is_due(void **state)
{
    struct bench *b = *state;
    break_calls(b, 10000);
    cut_the_others(b);
    fold_clock_end(b->fold, INPUT_CALLS, 10050, b->now);
    assert_false(fold_state(b->fold)->held); // what is still unread may be good
    int64_t now = b->now;
    b->now = at(b, 0, HOUR);
    break_calls(b, 1);
    struct event next = call(b, "a", "c", -1, b->now);
    b->now = now;
    assert_int_equal(feed(b, INPUT_CALLS, next), FOLD_REJECTS);
    assert_held(b);
}

// R45, R50
static void by_a_calls_log_that_refused_records_stopped(void **state)
{
    struct bench *b = *state;
    for (int i = 0; i < 10001; i++) {
        reject(b, INPUT_CALLS, call(b, "a", "c", -1, at(b, 0, 0) - 1), REJECT_TOO_LATE);
        if (i % 1000 == 999)
            fold_step_done(b->fold);
    }
    struct event next = call(b, "a", "c", -1, at(b, 0, HOUR));
    assert_int_equal(feed(b, INPUT_CALLS, next), FOLD_REJECTS);
    reach_the_ends(b);
    assert_held(b);
    assert_hold(b, INPUT_CALLS, REJECTS_REFUSED, 10001, 10001);
}

// ---- which log, which group ----

// A writer whose amount is a decimal: no top-up gets through. Nobody may be suspended for that, and
// the top-ups of the mended writer must count at once.
// R45, R50, R51
static void by_credits_alone(void **state)
{
    struct bench *b = *state;
    for (int i = 0; i < 300; i++) {
        char id[16];
        snprintf(id, sizeof id, "c%d", i);
        accept(b, INPUT_CALLS, call(b, "a", id, -1, at(b, 0, HOUR)));
    }
    break_log(b, INPUT_CREDITS, 300);
    reach_the_ends(b);
    assert_held(b);
    assert_hold(b, INPUT_CREDITS, REJECTS_BROKEN, 300, 300);
    assert_int_equal(fold_step(b->fold)->hold_count, 1);
    assert_int_equal(fold_step(b->fold)->status_count, 0);
    fold_step_done(b->fold);
    accept(b, INPUT_CREDITS, credit(b, "a", "mended", CREDIT_TOP_UP, 300 * 220000, b->now));
    for (int i = 0; i < 290; i++)
        assert_int_equal(
            decide_on(b, INPUT_CREDITS, DECISION_ACCEPT, i, REJECT_INCOMPATIBLE_SCHEMA), 0);
    assert_true(fold_state(b->fold)->held); // ten are left
    assert_int_equal(decide_on(b, INPUT_CREDITS, DECISION_ACCEPT, 290, REJECT_INCOMPATIBLE_SCHEMA),
                     0);
    assert_false(fold_state(b->fold)->held);
    assert_true(fold_step(b->fold)->released);
    struct error e;
    assert_int_equal(fold_close(b->fold, &e), 0);
    assert_int_equal(settlement_of(b, "a")->state, ACCOUNT_ACTIVE);
    assert_int_equal(settlement_of(b, "a")->credits, 300 * 220000);
}

// R50
static void by_ten_purchases_and_not_by_nine(void **state)
{
    struct bench *b = *state;
    break_log(b, INPUT_PURCHASES, 9);
    settle(b);
    fold_step_done(b->fold);
    break_log(b, INPUT_PURCHASES, 10);
    reach_the_ends(b);
    assert_held(b);
    assert_hold(b, INPUT_PURCHASES, REJECTS_BROKEN, 10, 10);
}

// R45
static void no_number_of_rejects_stops_purchases_or_credits(void **state)
{
    struct bench *b = *state;
    for (int i = 0; i < 11; i++) {
        break_log(b, INPUT_CREDITS, 1000);
        break_log(b, INPUT_PURCHASES, 1000);
        fold_step_done(b->fold);
    }
    accept(b, INPUT_CREDITS, credit(b, "a", "k", CREDIT_TOP_UP, 1, at(b, 0, HOUR)));
    accept(b, INPUT_PURCHASES,
           purchase(b, "a", "p", SERVICE_AUDIENCE_INSIGHT, 50, 10000000, at(b, 0, HOUR)));
}

// A gateway whose ids start over: its calls have the ids of earlier ones, and another time.
// R50
static void by_conflicts_of_more_than_a_fifth(void **state)
{
    struct bench *b = *state;
    char id[16];
    for (int i = 0; i < 400; i++) {
        snprintf(id, sizeof id, "c%d", i);
        accept(b, INPUT_CALLS, call(b, "a", id, -1, at(b, 0, HOUR)));
    }
    for (int i = 0; i < 100; i++) { // a fifth exactly, which holds nothing
        snprintf(id, sizeof id, "c%d", i);
        reject(b, INPUT_CALLS, call(b, "a", id, -1, at(b, 0, 2 * HOUR)), REJECT_CONFLICT);
    }
    settle(b);
    fold_step_done(b->fold);
    for (int i = 0; i < 399; i++) {
        snprintf(id, sizeof id, "d%d", i);
        accept(b, INPUT_CALLS, call(b, "a", id, -1, at(b, 1, HOUR)));
    }
    for (int i = 0; i < 100; i++) {
        snprintf(id, sizeof id, "d%d", i);
        reject(b, INPUT_CALLS, call(b, "a", id, -1, at(b, 1, 2 * HOUR)), REJECT_CONFLICT);
    }
    reach_the_ends(b);
    assert_held(b);
    assert_hold(b, INPUT_CALLS, REJECTS_REFUSED, 100, 499);
}

// The groups are not added up: 1 % of the one and 20 % of the other hold nothing.
// R50
static void not_by_two_groups_below_their_shares(void **state)
{
    struct bench *b = *state;
    char id[16];
    for (int i = 0; i < 10000 - 1900 - 100; i++) {
        snprintf(id, sizeof id, "c%d", i);
        accept(b, INPUT_CALLS, call(b, "a", id, -1, at(b, 0, HOUR)));
    }
    for (int i = 0; i < 1900; i++)
        reject(b, INPUT_CALLS, call(b, "a", "c1", -1, at(b, 0, 2 * HOUR)), REJECT_CONFLICT);
    break_log(b, INPUT_CALLS, 100);
    settle(b);
}

// R50
static void refunds_hold_nothing(void **state)
{
    struct bench *b = *state;
    for (int i = 0; i < 500; i++) {
        reject(b, INPUT_CREDITS, credit(b, "a", "k", CREDIT_TOP_UP, -1, at(b, 0, HOUR)),
               REJECT_REFUND);
        reject(b, INPUT_PURCHASES,
               purchase(b, "a", "p", SERVICE_AUDIENCE_INSIGHT, -50, 10000000, at(b, 0, HOUR)),
               REJECT_REFUND);
    }
    settle(b);
}

// ---- what holds ----

// R50
static void a_share_is_more_than_its_bound(void **state)
{
    struct bench *b = *state;
    break_calls(b, 100);
    for (int i = 0; i < 9900; i++) { // 1 % exactly, which holds nothing
        char id[16];
        snprintf(id, sizeof id, "c%d", i / 2); // duplicates count among the records
        feed(b, INPUT_CALLS, call(b, "a", id, -1, at(b, 0, HOUR)));
    }
    settle(b);
    fold_step_done(b->fold);
    break_calls(b, 100);
    for (int i = 0; i < 9899; i++) {
        char id[16];
        snprintf(id, sizeof id, "d%d", i);
        feed(b, INPUT_CALLS, call(b, "a", id, -1, at(b, 1, HOUR)));
    }
    b->offsets[INPUT_CALLS] += 5; // voids do not
    cut_the_others(b);
    fold_clock_end(b->fold, INPUT_CALLS, b->offsets[INPUT_CALLS], b->now);
    fold_reached(b->fold, INPUT_CALLS, b->offsets[INPUT_CALLS]);
    assert_held(b);
}

static void a_new_day_counts_from_nothing(void **state)
{
    struct bench *b = *state;
    break_calls(b, 99);
    settle(b);
    fold_step_done(b->fold);
    break_calls(b, 99);
    settle(b);
}

// ---- release ----

// R51
static void requeues_release_it_once_it_is_below(void **state)
{
    struct bench *b = *state;
    break_calls(b, 102);
    cut_the_others(b);
    fold_clock_end(b->fold, INPUT_CALLS, 102, b->now);
    assert_held(b);
    fold_step_done(b->fold);
    for (int i = 0; i < 2; i++) {
        char id[8];
        snprintf(id, sizeof id, "c%d", i);
        accept(b, INPUT_CALLS, call(b, "a", id, -1, at(b, 0, HOUR))); // the record again, mended
        assert_int_equal(decide(b, DECISION_REQUEUE, i, REJECT_UNDECODABLE), 0);
        assert_true(fold_state(b->fold)->held);
    }
    assert_int_equal(decide(b, DECISION_ACCEPT, 2, REJECT_UNDECODABLE), 0);
    assert_false(fold_state(b->fold)->held);
    assert_true(fold_close_due(b->fold));
    for (enum input i = 0; i < INPUT_COUNT; i++) {
        assert_int_equal(fold_cut(b->fold, i), CUT_RELEASE);
        assert_int_equal(fold_reached(b->fold, i, 1000), FOLD_CUT);
    }
    assert_int_equal(feed(b, INPUT_CALLS, call(b, "a", "later", -1, at(b, 0, HOUR))), FOLD_CUT);
    // what else waits in the same look
    assert_int_equal(decide(b, DECISION_ACCEPT, 3, REJECT_UNDECODABLE), 0);
    struct error e;
    assert_int_equal(fold_close(b->fold, &e), 0);
    const struct day_close *close = &fold_step(b->fold)->close;
    assert_int_equal(close->cutoffs[INPUT_CALLS].accepted, 2);
    assert_int_equal(close->cutoffs[INPUT_CALLS].rejected, 102);
    assert_int_equal(close->cutoffs[INPUT_CALLS].cut_by, CUT_RELEASE);
    assert_int_equal(close->decision_count, 4);
    assert_string_equal(close->decisions[0], "1 REQUEUE op call-records 1 -");
    assert_string_equal(close->decisions[3], "4 ACCEPT op call-records 1 -");
    assert_int_equal(fold_state(b->fold)->log[INPUT_CALLS].undecided, 0);
}

// A broken morning and a good afternoon.
// R51
static void good_records_that_come_later_release_nothing(void **state)
{
    struct bench *b = *state;
    break_calls(b, 100);
    reach_the_ends(b);
    assert_held(b);
    assert_hold(b, INPUT_CALLS, REJECTS_BROKEN, 100, 100);
    fold_step_done(b->fold);
    char id[16];
    for (int i = 0; i < 20000; i++) {
        snprintf(id, sizeof id, "c%d", i);
        accept(b, INPUT_CALLS, call(b, "a", id, -1, at(b, 0, 15 * HOUR)));
    }
    break_calls(b, 5); // these are added
    assert_int_equal(decide(b, DECISION_ACCEPT, 0, REJECT_UNDECODABLE), 0);
    assert_true(fold_state(b->fold)->held);
    for (int i = 1; i < 6; i++)
        assert_int_equal(decide(b, DECISION_ACCEPT, i, REJECT_UNDECODABLE), 0);
    assert_false(fold_state(b->fold)->held);
}

// What breaks while the day is held is found at the next decision.
// R51
static void another_log_that_breaks_meanwhile_keeps_it_held(void **state)
{
    struct bench *b = *state;
    break_calls(b, 100);
    reach_the_ends(b);
    fold_step_done(b->fold);
    break_log(b, INPUT_CREDITS, 10);
    assert_int_equal(decide(b, DECISION_ACCEPT, 0, REJECT_UNDECODABLE), 0);
    assert_true(fold_state(b->fold)->held);
    assert_hold(b, INPUT_CREDITS, REJECTS_BROKEN, 10, 10);
    accept(b, INPUT_CREDITS, credit(b, "a", "k", CREDIT_TOP_UP, 1, b->now));
    assert_int_equal(decide_on(b, INPUT_CREDITS, DECISION_ACCEPT, 0, REJECT_INCOMPATIBLE_SCHEMA),
                     0);
    assert_false(fold_state(b->fold)->held);
}

static struct fold *restart(struct bench *b)
{
    struct error e = {0};
    bool done = false;
    struct fold *fold = bench_fold(b);
    assert_int_equal(fold_restore_state(fold, fold_state(b->fold), &e), 0);
    for (int64_t i = 0; i < b->offsets[INPUT_CALLS]; i++)
        assert_int_equal(fold_restore_reject(fold, i, &e), 0);
    for (int64_t i = 0; i < b->offsets[INPUT_CALLS]; i++) {
        struct event ev = {.offset = i,
                           .timestamp = b->now,
                           .stamped = true,
                           .key = text("a"),
                           .value = text("a"),
                           .fault = REJECT_UNDECODABLE};
        ev.timestamp = fold_state(b->fold)->log[INPUT_CALLS].last_timestamp;
        assert_int_equal(fold_replay(fold, &ev, 1, &done, &e), 0);
    }
    assert_true(done);
    return fold;
}

// R49, R51
static void a_restart_keeps_what_it_is_held_for_and_where_it_was_released(void **state)
{
    struct bench *b = *state;
    break_calls(b, 100);
    reach_the_ends(b);
    assert_held(b);
    fold_step_done(b->fold);
    struct fold *held = restart(b);
    fold_destroy(b->fold);
    b->fold = held;
    assert_true(fold_state(b->fold)->held);
    assert_int_equal(fold_state(b->fold)->holds[INPUT_CALLS][REJECTS_BROKEN].records, 100);
    accept(b, INPUT_CREDITS, credit(b, "a", "k", CREDIT_TOP_UP, 1, b->now));
    assert_int_equal(decide(b, DECISION_ACCEPT, 0, REJECT_UNDECODABLE), 0);
    assert_false(fold_state(b->fold)->held);
    fold_step_done(b->fold); // released and not closed: the process ends here
    struct fold *released = restart(b);
    for (enum input i = 0; i < INPUT_COUNT; i++)
        assert_int_equal(fold_cut(released, i), CUT_RELEASE);
    assert_true(fold_close_due(released));
    fold_destroy(released);
}

// R51
static void credits_count_in_a_held_day_and_calls_of_the_next_wait(void **state)
{
    struct bench *b = *state;
    accept(b, INPUT_CALLS, call(b, "a", "c0", -1, at(b, 0, HOUR)));
    settle(b);
    fold_step_done(b->fold);
    assert_int_equal(fold_account(b->fold, 0)->state, ACCOUNT_SUSPENDED);
    break_calls(b, 100);
    cut_the_others(b);
    fold_clock_end(b->fold, INPUT_CALLS, b->offsets[INPUT_CALLS], b->now);
    assert_held(b);
    accept(b, INPUT_CALLS, call(b, "a", "held day's", -1, at(b, 1, HOUR)));
    accept(b, INPUT_CALLS, call(b, "a", "next day's", -1, at(b, 2, HOUR)));
    // days later
    accept(b, INPUT_CREDITS, credit(b, "a", "k", CREDIT_TOP_UP, 220001, at(b, 3, HOUR)));
    assert_int_equal(fold_account(b->fold, 0)->state, ACCOUNT_ACTIVE);
    assert_int_equal(decide(b, DECISION_ACCEPT, 1, REJECT_UNDECODABLE), 0);
    struct error e;
    assert_int_equal(fold_close(b->fold, &e), 0);
    assert_int_equal(settlement_of(b, "a")->calls, 1);
    assert_int_equal(settlement_of(b, "a")->calls_while_suspended, 1);
    assert_int_equal(settlement_of(b, "a")->credits, 220001);
    assert_int_equal(fold_account(b->fold, 0)->state, ACCOUNT_SUSPENDED);
    fold_step_done(b->fold);
    settle(b);
    assert_int_equal(settlement_of(b, "a")->calls, 1);
}

static void an_earlier_days_reject_releases_nothing(void **state)
{
    struct bench *b = *state;
    break_calls(b, 1);
    settle(b);
    fold_step_done(b->fold);
    break_calls(b, 100);
    cut_the_others(b);
    fold_clock_end(b->fold, INPUT_CALLS, b->offsets[INPUT_CALLS], b->now);
    assert_held(b);
    assert_int_equal(decide(b, DECISION_ACCEPT, 0, REJECT_UNDECODABLE), 0);
    assert_true(fold_state(b->fold)->held);
    assert_int_equal(fold_state(b->fold)->log[INPUT_CALLS].undecided_of[REJECTS_BROKEN], 100);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(by_a_record_that_cuts),
        CASE(by_the_clocks_end_and_the_next_record_lies_beyond_it),
        CASE(by_the_clocks_end_and_the_log_goes_on_without_records),
        CASE(by_the_last_record_before_the_clocks_end),
        CASE(by_the_log_that_is_cut_last),
        CASE(by_a_calls_log_that_rejects_stopped_before_the_day_was_due),
        CASE(by_a_calls_log_that_rejects_stop_when_the_day_is_due),
        CASE(by_a_calls_log_that_refused_records_stopped),
        CASE(by_credits_alone),
        CASE(by_ten_purchases_and_not_by_nine),
        CASE(no_number_of_rejects_stops_purchases_or_credits),
        CASE(by_conflicts_of_more_than_a_fifth),
        CASE(not_by_two_groups_below_their_shares),
        CASE(refunds_hold_nothing),
        CASE(a_share_is_more_than_its_bound),
        CASE(a_new_day_counts_from_nothing),
        CASE(requeues_release_it_once_it_is_below),
        CASE(good_records_that_come_later_release_nothing),
        CASE(another_log_that_breaks_meanwhile_keeps_it_held),
        CASE(a_restart_keeps_what_it_is_held_for_and_where_it_was_released),
        CASE(credits_count_in_a_held_day_and_calls_of_the_next_wait),
        CASE(an_earlier_days_reject_releases_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
