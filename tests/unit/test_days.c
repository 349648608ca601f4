// Days and their cutoffs: what belongs to which day, what the end of a log proves, and parameters
// that change between days.
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

static void next_day(struct bench *b)
{
    settle(b);
    fold_step_done(b->fold);
}

// ---- cutoffs ----

// R46, R48
static void each_log_is_cut_by_its_own_record(void **state)
{
    struct bench *b = *state;
    int64_t due = fold_due_at(b->fold);
    struct event before = credit(b, "a", "k1", CREDIT_TOP_UP, 1, due - 1);
    accept(b, INPUT_CREDITS, before);
    struct event events[INPUT_COUNT] = {
        call(b, "a", "c", -1, due),
        purchase(b, "a", "p", SERVICE_AUDIENCE_INSIGHT, 50, 10000000, due),
        credit(b, "a", "k2", CREDIT_TOP_UP, 2, due),
    };
    for (enum input i = 0; i < INPUT_COUNT; i++) {
        assert_false(fold_close_due(b->fold));
        assert_int_equal(feed(b, i, events[i]), FOLD_CUT);
        assert_int_equal(fold_cut(b->fold, i), CUT_RECORD);
        assert_int_equal(feed(b, i, events[i]), FOLD_CUT); // and waits
    }
    assert_true(fold_close_due(b->fold));
    struct error e;
    assert_int_equal(fold_close(b->fold, &e), 0);
    const struct cutoff *cut = fold_step(b->fold)->close.cutoffs;
    assert_int_equal(cut[INPUT_CALLS].to_offset, 0);
    assert_int_equal(cut[INPUT_CREDITS].to_offset, 1);
    assert_int_equal(cut[INPUT_CREDITS].accepted, 1);
    fold_step_done(b->fold);
    for (enum input i = 0; i < INPUT_COUNT; i++)
        accept(b, i, events[i]); // of the next day
    settle(b);
    assert_int_equal(fold_step(b->fold)->close.cutoffs[INPUT_CREDITS].from_offset, 1);
}

// R46
static void a_record_ahead_cuts_once_the_clock_is_there(void **state)
{
    struct bench *b = *state;
    struct error e;
    size_t consumed;
    int64_t due = fold_due_at(b->fold);
    struct event ev = call(b, "a", "c", -1, due + MINUTE);
    assert_int_equal(
        fold_records(b->fold, INPUT_CALLS, (struct event_batch){&ev, 1}, due - 1, &consumed, &e),
        FOLD_AHEAD);
    assert_int_equal(fold_cut(b->fold, INPUT_CALLS), CUT_NONE);
    assert_int_equal(
        fold_records(b->fold, INPUT_CALLS, (struct event_batch){&ev, 1}, due, &consumed, &e),
        FOLD_CUT);
    assert_int_equal(consumed, 0);
}

// R21
static void a_call_of_the_next_day_within_the_grace_is_not_late_there(void **state)
{
    struct bench *b = *state;
    // T within the grace, own time of the next day
    struct event ev = call(b, "a", "c", -1, at(b, 1, 5 * MINUTE) - 1);
    accept(b, INPUT_CALLS, ev);
    next_day(b);
    assert_int_equal(fold_calls_of_day(b->fold, b->first_day + 1), 1);
    settle(b);
    assert_int_equal(settlement_of(b, "a")->calls, 1);
    assert_int_equal(fold_step(b->fold)->close.late, 0);
}

static void voids_are_counted_where_they_lie(void **state)
{
    struct bench *b = *state;
    b->offsets[INPUT_CALLS] = 3;
    accept(b, INPUT_CALLS, call(b, "a", "c1", -1, at(b, 0, 0)));
    b->offsets[INPUT_CALLS] += 2;
    duplicate(b, INPUT_CALLS, call(b, "a", "c1", -1, at(b, 0, 0)));
    assert_int_equal(fold_reached(b->fold, INPUT_CALLS, 5), FOLD_MORE); // lies behind: nothing
    b->offsets[INPUT_CALLS] += 4;
    settle(b);
    const struct cutoff *cut = &fold_step(b->fold)->close.cutoffs[INPUT_CALLS];
    assert_int_equal(cut->to_offset, 11);
    assert_int_equal(cut->voids, 9);
    assert_int_equal(cut->accepted, 1);
    assert_int_equal(cut->duplicates, 1);
    assert_int_equal(fold_state(b->fold)->log[INPUT_CALLS].last_offset, 6);
}

// R47
static void a_record_at_the_clocks_end_is_of_the_next_day(void **state)
{
    struct bench *b = *state;
    int64_t due = fold_due_at(b->fold);
    b->now = due;
    fold_clock_end(b->fold, INPUT_CALLS, 2, due);
    accept(b, INPUT_CALLS, call(b, "a", "c0", -1, at(b, 0, 0)));
    struct error e;
    size_t consumed;
    struct event last[] = {call(b, "a", "c1", -1, at(b, 0, 0)),
                           call(b, "a", "c2", -1, at(b, 0, 0))};
    assert_int_equal(
        fold_records(b->fold, INPUT_CALLS, (struct event_batch){last, 2}, b->now, &consumed, &e),
        FOLD_CUT);
    assert_int_equal(consumed, 1);
    assert_int_equal(fold_cut(b->fold, INPUT_CALLS), CUT_CLOCK);
    assert_int_equal(fold_state(b->fold)->log[INPUT_CALLS].next, 2);
}

// R47
static void the_last_record_of_all_cuts_at_the_clocks_end(void **state)
{
    struct bench *b = *state;
    fold_clock_end(b->fold, INPUT_CALLS, 1, fold_due_at(b->fold));
    struct error e;
    size_t consumed;
    struct event ev = call(b, "a", "c", -1, at(b, 0, 0));
    assert_int_equal(
        fold_records(b->fold, INPUT_CALLS, (struct event_batch){&ev, 1}, b->now, &consumed, &e),
        FOLD_CUT);
    assert_int_equal(consumed, 1); // it is taken, and the log is cut behind it
    assert_int_equal(fold_state(b->fold)->log[INPUT_CALLS].accepted, 1);
}

// R46
static void a_record_that_cuts_wins_over_an_end_beyond_it(void **state)
{
    struct bench *b = *state;
    int64_t due = fold_due_at(b->fold);
    b->now = due;
    fold_clock_end(b->fold, INPUT_CALLS, 9, due);
    b->offsets[INPUT_CALLS] = 4;
    assert_int_equal(feed(b, INPUT_CALLS, call(b, "a", "c", -1, due)), FOLD_CUT);
    assert_int_equal(fold_cut(b->fold, INPUT_CALLS), CUT_RECORD);
    assert_int_equal(fold_state(b->fold)->log[INPUT_CALLS].next, 4);
    fold_clock_end(b->fold, INPUT_CALLS, 9, due); // cut already
    assert_int_equal(fold_reached(b->fold, INPUT_CALLS, 9), FOLD_CUT);
    assert_int_equal(fold_state(b->fold)->log[INPUT_CALLS].next, 4);
}

// R47
static void an_end_asked_for_in_the_day_before_proves_nothing_today(void **state)
{
    struct bench *b = *state;
    int64_t asked = fold_due_at(b->fold); // one question for day 0 is still open when it is settled
    next_day(b);
    fold_clock_end(b->fold, INPUT_CALLS, 0, asked);
    assert_int_equal(fold_cut(b->fold, INPUT_CALLS), CUT_NONE);
    assert_false(fold_wants_end(b->fold, INPUT_CALLS, fold_due_at(b->fold) - 1));
    fold_clock_end(b->fold, INPUT_CALLS, 5, fold_due_at(b->fold));
    assert_false(fold_wants_end(b->fold, INPUT_CALLS, fold_due_at(b->fold))); // one is on its way
    // a second answer changes nothing
    fold_clock_end(b->fold, INPUT_CALLS, 0, fold_due_at(b->fold));
    assert_int_equal(fold_cut(b->fold, INPUT_CALLS), CUT_NONE);
}

// ---- money around a cutoff ----

// R37
static void credits_within_the_grace_count_before_the_debit(void **state)
{
    struct bench *b = *state;
    accept(b, INPUT_CALLS, call(b, "a", "c", -1, at(b, 0, HOUR)));
    accept(b, INPUT_CREDITS, credit(b, "a", "k", CREDIT_TOP_UP, 220000, at(b, 1, 5 * MINUTE) - 1));
    settle(b);
    assert_int_equal(settlement_of(b, "a")->closing_balance, 0);
    assert_int_equal(fold_step(b->fold)->status_count, 0);
}

// R37, R39
static void a_credit_beyond_the_cutoff_resumes_after_the_settlement(void **state)
{
    struct bench *b = *state;
    accept(b, INPUT_CALLS, call(b, "a", "c", -1, at(b, 0, HOUR)));
    struct event ev = credit(b, "a", "k", CREDIT_TOP_UP, 220001, at(b, 1, 5 * MINUTE));
    assert_int_equal(feed(b, INPUT_CREDITS, ev), FOLD_CUT);
    b->offsets[INPUT_CREDITS] = 0;
    settle(b);
    assert_int_equal(settlement_of(b, "a")->closing_balance, -220000);
    assert_int_equal(settlement_of(b, "a")->state, ACCOUNT_SUSPENDED);
    fold_step_done(b->fold);
    b->offsets[INPUT_CREDITS] = 1;
    accept(b, INPUT_CREDITS, ev);
    assert_int_equal(fold_step(b->fold)->statuses[0].state, ACCOUNT_ACTIVE);
    assert_int_equal(fold_step(b->fold)->statuses[0].effective_at, at(b, 1, 5 * MINUTE));
}

// The account is resumed within the grace after 24:00, and suspended again from that 24:00: the
// instants go back, but the calls count once. R38
static void spans_that_overlap_by_the_grace(void **state)
{
    struct bench *b = *state;
    accept(b, INPUT_CALLS, call(b, "a", "c0", -1, at(b, 0, HOUR)));
    next_day(b);
    accept(b, INPUT_CALLS, call(b, "a", "c1", -1, at(b, 1, HOUR)));
    accept(b, INPUT_CREDITS, credit(b, "a", "k", CREDIT_TOP_UP, 220001, at(b, 2, 3 * MINUTE)));
    assert_int_equal(fold_step(b->fold)->statuses[0].effective_at, at(b, 2, 3 * MINUTE));
    fold_step_done(b->fold);
    settle(b);
    assert_int_equal(fold_step(b->fold)->statuses[0].effective_at, at(b, 2, 0));
    assert_int_equal(fold_step(b->fold)->statuses[0].account_sequence, 3);
    fold_step_done(b->fold);
    struct event ev = call(b, "a", "c2", -1, at(b, 2, MINUTE)); // in both spans
    ev.timestamp = b->now;
    accept(b, INPUT_CALLS, ev);
    settle(b);
    assert_int_equal(settlement_of(b, "a")->calls_while_suspended, 1);
    assert_int_equal(settlement_of(b, "a")->calls, 1);
}

// R23, R36
static void a_debit_note_suspends_nobody_before_the_next_settlement(void **state)
{
    struct bench *b = *state;
    accept(b, INPUT_CREDITS, credit(b, "a", "k", CREDIT_ADJUSTMENT, -5, at(b, 0, 0)));
    settle(b);
    assert_int_equal(fold_step(b->fold)->settlement_count, 0); // no usage
    assert_int_equal(fold_account(b->fold, 0)->state, ACCOUNT_ACTIVE);
    fold_step_done(b->fold);
    accept(b, INPUT_CALLS, call(b, "a", "c", 0, at(b, 1, 0))); // of 0 leads
    settle(b);
    assert_int_equal(settlement_of(b, "a")->amount, 0);
    assert_int_equal(settlement_of(b, "a")->adjustments, -5);
    assert_int_equal(settlement_of(b, "a")->state, ACCOUNT_SUSPENDED);
    fold_step_done(b->fold);
    accept(b, INPUT_CALLS, call(b, "a", "d", 1, at(b, 2, 0)));
    settle(b);
    assert_int_equal(fold_step(b->fold)->status_count, 0); // suspended already
}

// ---- parameters and books that change ----

static struct parameters *add_row(struct bench *b, int from)
{
    struct parameters *row = &b->policy.rows[b->policy.count];
    *row = b->policy.rows[b->policy.count - 1];
    row->from_day = b->first_day + from;
    b->policy.count++;
    return row;
}

// R26
static void lowered_late_days_forget_at_once_and_lose_nothing(void **state)
{
    struct bench *b = *state;
    add_row(b, 3)->late_days = 1;
    for (int day = 0; day < 3; day++) {
        b->now = at(b, day, HOUR);
        for (int i = 0; i <= day; i++) { // today's, and one late call of each earlier day
            char id[16];
            snprintf(id, sizeof id, "c%d-%d", day, i);
            struct event ev = call(b, "a", id, -1, at(b, i, HOUR));
            ev.timestamp = b->now;
            accept(b, INPUT_CALLS, ev);
        }
        settle(b);
        assert_int_equal(settlement_of(b, "a")->calls, day + 1);
        fold_step_done(b->fold);
    }
    assert_int_equal(fold_resident_calls(b->fold), 1); // day 3 looks back on day 2 alone
    b->now = at(b, 3, HOUR);
    struct event late = call(b, "a", "late", -1, at(b, 1, HOUR));
    late.timestamp = b->now;
    reject(b, INPUT_CALLS, late, REJECT_TOO_LATE);
    struct event again = call(b, "a", "c2-2", -1, at(b, 2, HOUR));
    again.timestamp = b->now;
    duplicate(b, INPUT_CALLS, again);
    settle(b);
    assert_int_equal(fold_step(b->fold)->settlement_count, 0);
}

// R26
static void no_late_days_at_all(void **state)
{
    struct bench *b = *state;
    b->policy.rows[0].late_days = 0;
    accept(b, INPUT_CALLS, call(b, "a", "c0", -1, at(b, 0, HOUR)));
    accept(b, INPUT_CALLS, call(b, "a", "c1", -1, at(b, 1, 0)));
    settle(b);
    assert_int_equal(settlement_of(b, "a")->calls, 1);
    fold_step_done(b->fold);
    assert_int_equal(fold_resident_calls(b->fold), 1);
    struct event late = call(b, "a", "c2", -1, at(b, 1, 0) - 1);
    late.timestamp = b->now;
    reject(b, INPUT_CALLS, late, REJECT_TOO_LATE);
    settle(b);
    assert_int_equal(settlement_of(b, "a")->calls, 1);
}

// R53
static void each_day_has_its_own_parameters(void **state)
{
    struct bench *b = *state;
    struct policy changed;
    struct parameters *row = add_row(b, 1);
    row->grace_ms = HOUR;
    row->future_tolerance_ms = 0;
    row->max_reject_share_ppm = 1000000;
    b->policy.count = 1;
    changed = b->policy;
    changed.count = 2; // recorded while day 0 is open
    char before[65], after[65];
    policy_sha256(&b->policy, b->first_day, before);
    fold_set_policy(b->fold, &changed);
    assert_ptr_equal(fold_policy(b->fold), &changed);
    assert_int_equal(fold_due_at(b->fold), at(b, 1, 5 * MINUTE));
    struct event ahead = call(b, "a", "c", -1, at(b, 0, 5 * MINUTE));
    ahead.timestamp = at(b, 0, 0);
    accept(b, INPUT_CALLS, ahead);
    settle(b);
    assert_string_equal(fold_step(b->fold)->close.parameters, before);
    fold_step_done(b->fold);
    assert_int_equal(fold_due_at(b->fold), at(b, 2, HOUR));
    ahead = call(b, "a", "d", -1, b->now + 1);
    ahead.timestamp = b->now;
    reject(b, INPUT_CALLS, ahead, REJECT_FROM_FUTURE);
    for (int i = 0; i < 200; i++) { // not more than all of them: held no more
        struct event ev = event(b, INPUT_CALLS, "a", b->now);
        ev.fault = REJECT_UNDECODABLE;
        ev.fault_detail = "x";
        reject(b, INPUT_CALLS, ev, REJECT_UNDECODABLE);
    }
    settle(b);
    policy_sha256(&changed, b->first_day + 1, after);
    assert_string_equal(fold_step(b->fold)->close.parameters, after);
    assert_string_not_equal(before, after);
    fold_set_policy(b->fold, &b->policy); // `changed` ends here
}

static void the_horizon_is_the_latest_own_day(void **state)
{
    struct bench *b = *state;
    assert_int_equal(fold_state(b->fold)->horizon, DAY_NONE);
    // no price depends on its day
    accept(b, INPUT_CREDITS, credit(b, "a", "k", CREDIT_TOP_UP, 1, at(b, 0, HOUR)));
    assert_int_equal(fold_state(b->fold)->horizon, DAY_NONE);
    accept(b, INPUT_CALLS, call(b, "a", "c", -1, at(b, 0, HOUR)));
    assert_int_equal(fold_state(b->fold)->horizon, b->first_day);
    struct event ev = purchase(b, "a", "p", SERVICE_AUDIENCE_INSIGHT, 50, 10000000, at(b, 1, 0));
    ev.timestamp = at(b, 0, 23 * HOUR + 58 * MINUTE);
    accept(b, INPUT_PURCHASES, ev);
    assert_int_equal(fold_state(b->fold)->horizon, b->first_day + 1);
    // A purchase that is not for sale was judged by the book of its day, too.
    settle(b);
    fold_step_done(b->fold);
    ev = purchase(b, "a", "q", SERVICE_AUDIENCE_INSIGHT, 50, 1, at(b, 2, 0));
    ev.timestamp = at(b, 1, 23 * HOUR + 58 * MINUTE);
    b->now = ev.timestamp;
    reject(b, INPUT_PURCHASES, ev, REJECT_NOT_FOR_SALE);
    assert_int_equal(fold_state(b->fold)->horizon, b->first_day + 2);
    ev = call(b, "a", "late", -1, at(b, 0, 0));
    ev.timestamp = b->now;
    accept(b, INPUT_CALLS, ev);
    assert_int_equal(fold_state(b->fold)->horizon, b->first_day + 2);
}

static void a_replay_begins_at_the_first_call_that_is_retained(void **state)
{
    struct bench *b = *state;
    b->policy.rows[0].late_days = 1;
    b->offsets[INPUT_CALLS] = 10;
    accept(b, INPUT_CALLS, call(b, "a", "c0", -1, at(b, 0, HOUR)));
    assert_int_equal(fold_state(b->fold)->calls_from, 0);
    accept(b, INPUT_CALLS, call(b, "a", "of tomorrow", -1, at(b, 1, 0))); // at 11
    next_day(b);
    assert_int_equal(fold_state(b->fold)->calls_from, 10);
    next_day(b);
    assert_int_equal(fold_state(b->fold)->calls_from, 11);
    b->offsets[INPUT_CALLS] = 20;
    next_day(b);
    assert_int_equal(fold_state(b->fold)->calls_from, 20); // nothing is retained
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

// ---- months ----

static const struct month_line month_lines[] = {
    {.service = SERVICE_AUDIENCE_INSIGHT, .tier_from = -1, .unit_price = 3, .amount = 30},
    {.service = SERVICE_PURCHASE_INTENT, .tier_from = 0, .unit_price = 1, .amount = 4},
};
static const struct month_statement month_statements[] = {
    {.account_id = {"a", 1},
     .opening_balance = 50,
     .amount = 34,
     .closing_balance = 16,
     .settlements = 2,
     .line_count = 2},
    {.account_id = {"b", 1},
     .credits = 9,
     .adjustments = -2,
     .closing_balance = 7,
     .first_line = 2},
};

// R75: due when the last day is closed; a page at a time, in steps that have nothing else.
static void a_months_statements_follow_its_last_day(void **state)
{
    struct bench *b = *state;
    struct month_page page = {.count = 2,
                              .line_count = 2,
                              .statements = month_statements,
                              .lines = month_lines,
                              .last = {"c", 1}};
    for (int day = 1; day <= 30; day++) {
        assert_false(fold_month_due(b->fold));
        next_day(b);
    }
    assert_true(fold_month_due(b->fold));
    page.month = fold_state(b->fold)->month;
    assert_int_equal(page.month, fold_state(b->fold)->day - 1);
    fold_take_month(b->fold, &page);
    const struct step *step = fold_step(b->fold);
    assert_true(step_is_whole(step));
    assert_int_equal(step->emission_count, 2);
    assert_int_equal(step->emissions[1].kind, EMIT_STATEMENT);
    assert_true(slice_same(step->statements[1].account_id, (struct slice){"b", 1}));
    assert_int_equal(step->month_lines[1].amount, 4);
    assert_string_equal(fold_state(b->fold)->month_after, "c");
    fold_step_done(b->fold);
    assert_false(step_is_whole(step));
    assert_true(fold_month_due(b->fold));
    fold_take_month(b->fold, &(struct month_page){.month = page.month});
    assert_int_equal(fold_step(b->fold)->emission_count, 0);
    fold_step_done(b->fold);
    assert_false(fold_month_due(b->fold));
    assert_string_equal(fold_state(b->fold)->month_after, "");
    assert_int_equal(fold_state(b->fold)->month, calendar_month_end(page.month + 31));
}

// Rows that were changed by hand are told before anything is made of them.
static void a_month_that_does_not_add_up_is_refused(void **state)
{
    (void)state;
    struct error e;
    struct month_page page = {
        .count = 2, .line_count = 2, .statements = month_statements, .lines = month_lines};
    assert_int_equal(fold_check_month(&page, &e), 0);
    struct month_line lines[2] = {month_lines[0], month_lines[1]};
    lines[1].amount++;
    page.lines = lines;
    assert_int_equal(fold_check_month(&page, &e), -1);
    assert_int_equal(e.kind, ERROR_CONFIG);
    assert_non_null(strstr(e.text, "account a "));
    page.lines = month_lines;
    struct month_statement statements[2] = {month_statements[0], month_statements[1]};
    statements[1].adjustments++;
    page.statements = statements;
    assert_int_equal(fold_check_month(&page, &e), -1);
    statements[1].credits = INT64_MAX;
    assert_int_equal(fold_check_month(&page, &e), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_months_statements_follow_its_last_day),
        CASE(a_month_that_does_not_add_up_is_refused),
        CASE(each_log_is_cut_by_its_own_record),
        CASE(a_record_ahead_cuts_once_the_clock_is_there),
        CASE(a_call_of_the_next_day_within_the_grace_is_not_late_there),
        CASE(voids_are_counted_where_they_lie),
        CASE(a_record_at_the_clocks_end_is_of_the_next_day),
        CASE(the_last_record_of_all_cuts_at_the_clocks_end),
        CASE(a_record_that_cuts_wins_over_an_end_beyond_it),
        CASE(an_end_asked_for_in_the_day_before_proves_nothing_today),
        CASE(credits_within_the_grace_count_before_the_debit),
        CASE(a_credit_beyond_the_cutoff_resumes_after_the_settlement),
        CASE(spans_that_overlap_by_the_grace),
        CASE(a_debit_note_suspends_nobody_before_the_next_settlement),
        CASE(lowered_late_days_forget_at_once_and_lose_nothing),
        CASE(no_late_days_at_all),
        CASE(each_day_has_its_own_parameters),
        CASE(the_horizon_is_the_latest_own_day),
        CASE(a_replay_begins_at_the_first_call_that_is_retained),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
