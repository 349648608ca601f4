// The fold: what is billed, when a day is cut, who is suspended.
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

#define LINE(b, s, i) (fold_step((b)->fold)->lines[(s)->first_line + (i)])

// ---- units and prices ----

// R6
static void three_calls_of_8000_leads_cost_240000_yuan(void **state)
{
    struct bench *b = *state;
    accept(b, INPUT_CALLS, call(b, "a", "c1", 8000, at(b, 0, HOUR)));
    accept(b, INPUT_CALLS, call(b, "a", "c2", 8000, at(b, 0, 2 * HOUR)));
    accept(b, INPUT_CALLS, call(b, "a", "c3", 8000, at(b, 0, 3 * HOUR)));
    const struct step *step = settle(b);
    assert_int_equal(step->settlement_count, 1);
    const struct settlement *s = settlement_of(b, "a");
    assert_int_equal(s->amount, 24000000);
    assert_int_equal(s->calls, 3);
    assert_int_equal(s->line_count, 1);
    assert_int_equal(LINE(b, s, 0).units, 24000);
    assert_int_equal(LINE(b, s, 0).tier_from, 0);
    assert_int_equal(LINE(b, s, 0).unit_price, 1000);
}

static void lines_are_ordered_by_service_and_tier(void **state)
{
    struct bench *b = *state;
    accept(b, INPUT_CALLS, call(b, "a", "c1", 500000, at(b, 0, HOUR)));
    accept(b, INPUT_CALLS, call(b, "a", "c2", 9999, at(b, 0, HOUR)));
    accept(b, INPUT_CALLS, call(b, "a", "c3", -1, at(b, 0, HOUR)));
    accept(b, INPUT_CALLS, call(b, "a", "c4", 10000, at(b, 0, HOUR)));
    settle(b);
    const struct settlement *s = settlement_of(b, "a");
    assert_int_equal(s->line_count, 4);
    assert_int_equal(LINE(b, s, 0).service, SERVICE_AUDIENCE_INSIGHT);
    assert_int_equal(LINE(b, s, 0).tier_from, -1);
    assert_int_equal(LINE(b, s, 0).amount, 220000);
    assert_int_equal(LINE(b, s, 1).tier_from, 0);
    assert_int_equal(LINE(b, s, 1).amount, 9999000);
    assert_int_equal(LINE(b, s, 2).tier_from, 10000);
    assert_int_equal(LINE(b, s, 2).amount, 8000000);
    assert_int_equal(LINE(b, s, 3).tier_from, 500000);
    assert_int_equal(LINE(b, s, 3).amount, 125000000);
}

// R4
static void a_call_of_no_leads_stands_on_tier_0(void **state)
{
    struct bench *b = *state;
    accept(b, INPUT_PURCHASES,
           purchase(b, "a", "p", SERVICE_PURCHASE_INTENT, 10000, 7000000, at(b, 0, 0)));
    accept(b, INPUT_CALLS, call(b, "a", "c", 0, at(b, 0, HOUR)));
    const struct step *step = settle(b);
    const struct settlement *s = settlement_of(b, "a");
    assert_int_equal(step->close.zero_unit_calls, 1);
    assert_int_equal(s->amount, 0);
    assert_int_equal(s->line_count, 1);
    assert_int_equal(LINE(b, s, 0).charge, CHARGE_POSTPAID);
    assert_int_equal(LINE(b, s, 0).calls, 1);
    assert_int_equal(LINE(b, s, 0).units, 0);
}

// ---- packages ----

// R11, R16, R19
static void a_call_covered_in_part_pays_the_rest_at_its_whole_tier(void **state)
{
    struct bench *b = *state;
    accept(b, INPUT_PURCHASES,
           purchase(b, "a", "p", SERVICE_PURCHASE_INTENT, 10000, 7000000, at(b, 0, 0)));
    accept(b, INPUT_CALLS, call(b, "a", "c", 12000, at(b, 0, HOUR)));
    settle(b);
    const struct settlement *s = settlement_of(b, "a");
    assert_int_equal(s->calls, 1);
    assert_int_equal(s->line_count, 2);
    assert_int_equal(LINE(b, s, 0).charge, CHARGE_PACKAGE);
    assert_int_equal(LINE(b, s, 0).units, 10000);
    assert_int_equal(LINE(b, s, 0).calls, 1);
    assert_int_equal(LINE(b, s, 0).begun, 1);
    assert_int_equal(LINE(b, s, 0).amount, 0);
    assert_int_equal(LINE(b, s, 1).tier_from, 10000);
    assert_int_equal(LINE(b, s, 1).calls, 1);
    assert_int_equal(LINE(b, s, 1).begun, 0);
    assert_int_equal(LINE(b, s, 1).units, 2000);
    assert_int_equal(LINE(b, s, 1).amount, 1600000);
    assert_int_equal(fold_package(b->fold, 0)->remaining, 0);
    // The package was paid for elsewhere.
    assert_int_equal(s->opening_balance + s->credits + s->adjustments, 0);
    assert_int_equal(s->closing_balance, -1600000);
}

// R18
static void a_suspended_account_draws_its_package_no_longer_than_another(void **state)
{
    struct bench *b = *state;
    int64_t bought = at(b, -364, HOUR); // it ends on the second day at 01:00
    accept(b, INPUT_PURCHASES,
           purchase(b, "a", "p", SERVICE_AUDIENCE_INSIGHT, 50, 10000000, bought));
    accept(b, INPUT_CALLS, call(b, "a", "postpaid", 5, at(b, 0, HOUR)));
    settle(b);
    assert_int_equal(settlement_of(b, "a")->state, ACCOUNT_SUSPENDED);
    fold_step_done(b->fold);
    accept(b, INPUT_CALLS, call(b, "a", "covered", -1, at(b, 1, HOUR) - 1));
    accept(b, INPUT_CALLS, call(b, "a", "beyond", -1, at(b, 1, HOUR)));
    settle(b);
    const struct settlement *s = settlement_of(b, "a");
    assert_int_equal(s->calls_while_suspended, 2);
    assert_int_equal(s->amount, 220000);
    assert_int_equal(fold_package(b->fold, 0)->remaining, 49);
}

// R13, R19
static void a_package_covers_no_call_before_its_purchase(void **state)
{
    struct bench *b = *state;
    accept(b, INPUT_PURCHASES,
           purchase(b, "a", "p", SERVICE_AUDIENCE_INSIGHT, 50, 10000000, at(b, 0, 15 * HOUR)));
    accept(b, INPUT_CALLS, call(b, "a", "early", -1, at(b, 0, 15 * HOUR) - 1));
    accept(b, INPUT_CALLS, call(b, "a", "late", -1, at(b, 0, 15 * HOUR)));
    settle(b);
    const struct settlement *s = settlement_of(b, "a");
    assert_int_equal(s->amount, 220000);
    assert_int_equal(fold_package(b->fold, 0)->remaining, 49);
}

// R15, R23
static void packages_are_drawn_by_expiry_then_purchase_then_id(void **state)
{
    struct bench *b = *state;
    // Packages of 28 and 29 February 2028 end on the same day; of three that were bought together,
    // the one with the lowest id is drawn first.
    accept(b, INPUT_PURCHASES,
           purchase(b, "a", "z", SERVICE_AUDIENCE_INSIGHT, 50, 10000000, at(b, 0, HOUR)));
    accept(b, INPUT_PURCHASES,
           purchase(b, "a", "b", SERVICE_AUDIENCE_INSIGHT, 50, 10000000, at(b, 0, HOUR)));
    accept(b, INPUT_PURCHASES,
           purchase(b, "a", "y", SERVICE_AUDIENCE_INSIGHT, 50, 10000000, at(b, 0, 0)));
    for (int i = 0; i < 51; i++) {
        char id[8];
        snprintf(id, sizeof id, "c%d", i);
        char *kept = strdup(id);
        accept(b, INPUT_CALLS, call(b, "a", kept, -1, at(b, 0, 2 * HOUR)));
        free(kept);
    }
    settle(b);
    const struct settlement *s = settlement_of(b, "a");
    assert_int_equal(s->amount, 0);
    assert_int_equal(fold_package(b->fold, 2)->remaining, 0); // y: the earliest expiry
    assert_int_equal(fold_package(b->fold, 1)->remaining, 49); // b before z
    assert_int_equal(fold_package(b->fold, 0)->remaining, 50);
    assert_int_equal(s->line_count, 2);
    assert_int_equal(LINE(b, s, 0).package, 1); // lines by package id: b, y
    assert_int_equal(LINE(b, s, 1).package, 2);
}

// R14
static void calls_draw_in_order_of_time_not_of_arrival(void **state)
{
    struct bench *b = *state;
    accept(b, INPUT_PURCHASES,
           purchase(b, "a", "p", SERVICE_PURCHASE_INTENT, 10000, 7000000, at(b, 0, 0)));
    struct event late = call(b, "a", "second", 20000, at(b, 0, 3 * HOUR));
    accept(b, INPUT_CALLS, late);
    struct event early = call(b, "a", "first", 9000, at(b, 0, 2 * HOUR));
    early.timestamp = late.timestamp;
    accept(b, INPUT_CALLS, early);
    settle(b);
    const struct settlement *s = settlement_of(b, "a");
    // 9,000 of the early call and 1,000 of the later one are covered; 19,000 are left at the tier
    // of 20,000.
    assert_int_equal(s->amount, 19000 * 500);
}

// R9, R10, R17
static void packages_not_for_sale_are_rejected(void **state)
{
    struct bench *b = *state;
    reject(b, INPUT_PURCHASES,
           purchase(b, "a", "p1", SERVICE_AUDIENCE_INSIGHT, 250, 1, at(b, 0, 0)),
           REJECT_NOT_FOR_SALE);
    reject(b, INPUT_PURCHASES,
           purchase(b, "a", "p2", SERVICE_AUDIENCE_INSIGHT, 50, 10000001, at(b, 0, 0)),
           REJECT_NOT_FOR_SALE);
    reject(b, INPUT_PURCHASES,
           purchase(b, "a", "p3", SERVICE_PURCHASE_INTENT, 801001, 1, at(b, 0, 0)),
           REJECT_NOT_FOR_SALE);
    accept(b, INPUT_PURCHASES,
           purchase(b, "a", "p4", SERVICE_PURCHASE_INTENT, 801000, 120150000, at(b, 0, 0)));
    reject(b, INPUT_PURCHASES,
           purchase(b, "a", "p5", SERVICE_AUDIENCE_INSIGHT, 50, -10000000, at(b, 0, 0)),
           REJECT_REFUND);
    reject(b, INPUT_PURCHASES,
           purchase(b, "a", "p6", SERVICE_AUDIENCE_INSIGHT, -50, 10000000, at(b, 0, 0)),
           REJECT_REFUND);
    assert_int_equal(settle(b)->settlement_count, 0);
}

// R20, R30
static void used_units_are_not_there_any_more(void **state)
{
    struct bench *b = *state;
    struct event ev = purchase(b, "a", "p", SERVICE_AUDIENCE_INSIGHT, 50, 10000000, at(b, 0, 0));
    ev.record.field[PURCHASE_USED] = number(49);
    accept(b, INPUT_PURCHASES, ev);
    assert_int_equal(fold_package(b->fold, 0)->remaining, 1);
    ev.offset = b->offsets[INPUT_PURCHASES]++;
    ev.record.field[PURCHASE_USED] = number(51);
    reject(b, INPUT_PURCHASES, ev, REJECT_INVALID);
    ev.offset = b->offsets[INPUT_PURCHASES]++;
    ev.record.field[PURCHASE_USED] = number(48);
    reject(b, INPUT_PURCHASES, ev, REJECT_CONFLICT);
}

// ---- identities ----

// R29, R32
static void the_same_id_is_one_call_and_other_content_a_conflict(void **state)
{
    struct bench *b = *state;
    struct event first = call(b, "a", "c", 100, at(b, 0, HOUR)), again = first;
    accept(b, INPUT_CALLS, first);
    again.offset = b->offsets[INPUT_CALLS]++;
    again.record.field[CALL_REQUEST_ID] = string("r"); // not billed
    again.record.nulls = 0;
    duplicate(b, INPUT_CALLS, again);
    again.offset = b->offsets[INPUT_CALLS]++;
    again.record.field[CALL_LEAD_COUNT] = number(101);
    reject(b, INPUT_CALLS, again, REJECT_CONFLICT);
    accept(b, INPUT_CALLS, call(b, "b", "c", 101, at(b, 0, HOUR))); // another account's
    settle(b);
    assert_int_equal(settlement_of(b, "a")->amount, 100000);
}

static void a_uuid_and_its_text_are_one_and_upper_case_is_another(void **state)
{
    struct bench *b = *state;
    const char *lower = "0f8fad5b-d9cb-469f-a165-70867728950e";
    accept(b, INPUT_CALLS, call(b, "a", lower, -1, at(b, 0, HOUR)));
    duplicate(b, INPUT_CALLS, call(b, "a", lower, -1, at(b, 0, HOUR)));
    accept(b, INPUT_CALLS,
           call(b, "a", "0F8FAD5B-D9CB-469F-A165-70867728950E", -1, at(b, 0, HOUR)));
}

// R26, R29
static void an_identity_is_known_over_days_until_the_window_ends(void **state)
{
    struct bench *b = *state;
    struct event first = call(b, "a", "c", -1, at(b, 0, HOUR));
    accept(b, INPUT_CALLS, first);
    for (int day = 0; day < 7; day++) {
        settle(b);
        fold_step_done(b->fold);
        first.offset = b->offsets[INPUT_CALLS]++;
        first.timestamp = b->now;
        duplicate(b, INPUT_CALLS, first);
    }
    assert_int_equal(fold_resident_calls(b->fold), 1);
    settle(b);
    fold_step_done(b->fold);
    assert_int_equal(fold_resident_calls(b->fold), 0);
    first.offset = b->offsets[INPUT_CALLS]++;
    reject(b, INPUT_CALLS, first, REJECT_TOO_LATE);
}

// ---- days ----

// R21, R25
static void a_late_call_is_billed_in_the_open_day_on_its_own_line(void **state)
{
    struct bench *b = *state;
    accept(b, INPUT_CALLS, call(b, "a", "c1", -1, at(b, 0, HOUR)));
    settle(b);
    fold_step_done(b->fold);
    struct event late = call(b, "a", "c2", -1, at(b, 0, 2 * HOUR));
    late.timestamp = at(b, 1, HOUR);
    accept(b, INPUT_CALLS, late);
    accept(b, INPUT_CALLS, call(b, "a", "c3", -1, at(b, 1, 2 * HOUR)));
    const struct step *step = settle(b);
    const struct settlement *s = settlement_of(b, "a");
    assert_int_equal(step->close.late, 1);
    assert_int_equal(s->line_count, 2);
    assert_int_equal(LINE(b, s, 0).usage_day, b->first_day);
    assert_int_equal(LINE(b, s, 1).usage_day, b->first_day + 1);
    assert_int_equal(s->amount, 440000);
}

// R21
static void a_call_of_the_next_day_within_the_grace_waits_for_its_own(void **state)
{
    struct bench *b = *state;
    accept(b, INPUT_CALLS, call(b, "a", "c1", -1, at(b, 1, 0) - 1));
    accept(b, INPUT_CALLS, call(b, "a", "c2", -1, at(b, 1, 0)));
    settle(b);
    assert_int_equal(settlement_of(b, "a")->calls, 1);
    fold_step_done(b->fold);
    settle(b);
    assert_int_equal(settlement_of(b, "a")->calls, 1);
    assert_int_equal(settlement_of(b, "a")->day, b->first_day + 1);
}

// R46, R48
static void the_first_record_at_the_cutoff_cuts_and_its_log_waits(void **state)
{
    struct bench *b = *state;
    int64_t due = at(b, 1, 5 * MINUTE);
    accept(b, INPUT_CALLS, call(b, "a", "c1", -1, due - 1));
    assert_int_equal(feed(b, INPUT_CALLS, call(b, "a", "c2", -1, due)), FOLD_CUT);
    assert_int_equal(fold_cut(b->fold, INPUT_CALLS), CUT_RECORD);
    assert_false(fold_close_due(b->fold));
    b->offsets[INPUT_CALLS] = 1;
    const struct step *step = settle(b);
    assert_int_equal(step->close.cutoffs[INPUT_CALLS].cut_by, CUT_RECORD);
    assert_int_equal(step->close.cutoffs[INPUT_CALLS].to_offset, 1);
    assert_int_equal(step->close.cutoffs[INPUT_CREDITS].cut_by, CUT_CLOCK);
}

// R44
static void a_record_beyond_the_clock_waits_in_silence_or_as_impossible(void **state)
{
    struct bench *b = *state;
    struct error e = {0};
    size_t consumed;
    struct event ev = call(b, "a", "c", -1, at(b, 1, 5 * MINUTE));
    assert_int_equal(fold_records(b->fold, INPUT_CALLS, (struct event_batch){&ev, 1}, at(b, 1, 0),
                                  &consumed, &e),
                     FOLD_AHEAD);
    assert_int_equal(fold_records(b->fold, INPUT_CALLS, (struct event_batch){&ev, 1},
                                  at(b, 1, 0) - 1, &consumed, &e),
                     FOLD_FUTURE);
    ev.stamped = false;
    assert_int_equal(fold_records(b->fold, INPUT_CALLS, (struct event_batch){&ev, 1}, at(b, 3, 0),
                                  &consumed, &e),
                     FOLD_FUTURE);
    assert_int_equal(fold_state(b->fold)->log[INPUT_CALLS].next, 0);
}

// R47
static void only_an_end_asked_for_when_due_cuts(void **state)
{
    struct bench *b = *state;
    int64_t due = fold_due_at(b->fold);
    fold_clock_end(b->fold, INPUT_CALLS, 0, due - 1);
    assert_int_equal(fold_cut(b->fold, INPUT_CALLS), CUT_NONE);
    assert_false(fold_wants_end(b->fold, INPUT_CALLS, due - 1));
    assert_true(fold_wants_end(b->fold, INPUT_CALLS, due));
    fold_clock_end(b->fold, INPUT_CALLS, 5, due);
    assert_int_equal(fold_cut(b->fold, INPUT_CALLS), CUT_NONE); // offsets 0..4 are still to be read
    fold_reached(b->fold, INPUT_CALLS, 3);
    assert_int_equal(fold_cut(b->fold, INPUT_CALLS), CUT_NONE);
    assert_int_equal(fold_reached(b->fold, INPUT_CALLS, 9), FOLD_CUT);
    // the day ends at the end that was reported
    assert_int_equal(fold_state(b->fold)->log[INPUT_CALLS].next, 5);
    assert_int_equal(fold_state(b->fold)->log[INPUT_CALLS].voids, 5);
}

// R52
static void an_empty_day_is_closed_too(void **state)
{
    struct bench *b = *state;
    const struct step *step = settle(b);
    assert_int_equal(step->settlement_count, 0);
    assert_int_equal(step->emission_count, 1);
    assert_int_equal(step->close.day, b->first_day);
    assert_int_equal(fold_state(b->fold)->day, b->first_day + 1);
}

// ---- money ----

// R33, R34, R35, R38
static void arrears_suspend_and_a_credit_above_zero_resumes(void **state)
{
    struct bench *b = *state;
    accept(b, INPUT_CREDITS, credit(b, "a", "k1", CREDIT_TOP_UP, 100000, at(b, 0, HOUR)));
    accept(b, INPUT_CALLS, call(b, "a", "c1", -1, at(b, 0, HOUR)));
    const struct step *step = settle(b);
    const struct settlement *s = settlement_of(b, "a");
    assert_int_equal(s->closing_balance, -120000);
    assert_int_equal(s->credits, 100000);
    assert_int_equal(s->state, ACCOUNT_SUSPENDED);
    assert_int_equal(step->status_count, 1);
    assert_int_equal(step->statuses[0].effective_at, at(b, 1, 0));
    assert_int_equal(step->emissions[1].kind, EMIT_STATUS);
    assert_int_equal(step->emissions[2].kind, EMIT_DAY_CLOSE);
    fold_step_done(b->fold);

    accept(b, INPUT_CALLS, call(b, "a", "c2", -1, at(b, 1, HOUR)));
    accept(b, INPUT_CREDITS, credit(b, "a", "k2", CREDIT_TOP_UP, 120000, at(b, 1, 2 * HOUR)));
    assert_int_equal(fold_step(b->fold)->status_count, 0); // zero is not above zero
    accept(b, INPUT_CREDITS, credit(b, "a", "k3", CREDIT_ADJUSTMENT, 1, at(b, 1, 3 * HOUR)));
    assert_int_equal(fold_step(b->fold)->status_count, 1);
    assert_int_equal(fold_step(b->fold)->statuses[0].cause, CAUSE_ADJUSTMENT);
    assert_int_equal(fold_step(b->fold)->statuses[0].account_sequence, 2);
    accept(b, INPUT_CALLS, call(b, "a", "c3", -1, at(b, 1, 3 * HOUR)));
    settle(b);
    s = settlement_of(b, "a");
    assert_int_equal(s->calls, 2);
    assert_int_equal(s->calls_while_suspended, 1);
    assert_int_equal(s->opening_balance, -120000);
    assert_int_equal(s->credits, 120000);
    assert_int_equal(s->adjustments, 1);
    assert_int_equal(s->closing_balance, 1 - 440000);
}

// R34
static void exactly_zero_is_not_arrears(void **state)
{
    struct bench *b = *state;
    accept(b, INPUT_CREDITS, credit(b, "a", "k1", CREDIT_TOP_UP, 220000, at(b, 0, HOUR)));
    accept(b, INPUT_CALLS, call(b, "a", "c1", -1, at(b, 0, HOUR)));
    assert_int_equal(settle(b)->status_count, 0);
}

// R39
static void a_resumption_is_never_effective_before_the_suspension(void **state)
{
    struct bench *b = *state;
    accept(b, INPUT_CALLS, call(b, "a", "c1", -1, at(b, 0, HOUR)));
    settle(b);
    fold_step_done(b->fold);
    b->now = fold_due_at(b->fold);
    // stamped before 24:00
    struct event ev = credit(b, "a", "k", CREDIT_TOP_UP, 220001, at(b, 0, 2 * HOUR));
    accept(b, INPUT_CREDITS, ev);
    assert_int_equal(fold_step(b->fold)->statuses[0].effective_at, at(b, 1, 0));
}

// R17, R30, R43
static void refunds_and_zero_adjustments_are_rejected(void **state)
{
    struct bench *b = *state;
    reject(b, INPUT_CREDITS, credit(b, "a", "k1", CREDIT_TOP_UP, -1, at(b, 0, 0)), REJECT_REFUND);
    reject(b, INPUT_CREDITS, credit(b, "a", "k2", CREDIT_TOP_UP, 0, at(b, 0, 0)), REJECT_REFUND);
    reject(b, INPUT_CREDITS, credit(b, "a", "k3", CREDIT_ADJUSTMENT, 0, at(b, 0, 0)),
           REJECT_REFUND);
    accept(b, INPUT_CREDITS, credit(b, "a", "k4", CREDIT_ADJUSTMENT, -1, at(b, 0, 0)));
    reject(b, INPUT_CREDITS, credit(b, "a", "k5", CREDIT_TOP_UP, AMOUNT_MAX + 1, at(b, 0, 0)),
           REJECT_INVALID);
    duplicate(b, INPUT_CREDITS, credit(b, "a", "k4", CREDIT_ADJUSTMENT, -1, at(b, 0, 0)));
    reject(b, INPUT_CREDITS, credit(b, "a", "k4", CREDIT_ADJUSTMENT, -2, at(b, 0, 0)),
           REJECT_CONFLICT);
}

// ---- the checks, in their order ----

// R41, R42
static void ids_and_keys_are_checked(void **state)
{
    struct bench *b = *state;
    struct event ev = call(b, "a", "c", -1, at(b, 0, 0));
    ev.key = text("b");
    reject(b, INPUT_CALLS, ev, REJECT_MISROUTED);
    ev = call(b, "a", "c", -1, at(b, 0, 0));
    ev.key = (struct slice){0};
    reject(b, INPUT_CALLS, ev, REJECT_MISROUTED);
    char long_id[130];
    memset(long_id, 'x', 129);
    long_id[129] = '\0';
    const char *const broken[] = {
        "", "a\nb", "\x7f", "\xc2\x80", "\xc3", "\xed\xa0\x80", "\xf5\x80\x80\x80", long_id};
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        reject(b, INPUT_CALLS, call(b, broken[i], "c", -1, at(b, 0, 0)), REJECT_INVALID);
        assert_null(
            fold_step(b->fold)->rejects[fold_step(b->fold)->reject_count - 1].account_id.data);
        reject(b, INPUT_CALLS, call(b, "a", broken[i], -1, at(b, 0, 0)), REJECT_INVALID);
    }
    long_id[128] = '\0';
    accept(b, INPUT_CALLS, call(b, long_id, long_id, -1, at(b, 0, 0)));
    accept(b, INPUT_CALLS, call(b, "账户", "一😀", -1, at(b, 0, 0)));
}

// R2, R3
static void lead_counts_are_checked_where_leads_are_billed(void **state)
{
    struct bench *b = *state;
    struct event ev = call(b, "a", "c1", 0, at(b, 0, 0));
    ev.record.nulls |= 1u << CALL_LEAD_COUNT;
    reject(b, INPUT_CALLS, ev, REJECT_INVALID);
    ev = call(b, "a", "c2", 1000000001, at(b, 0, 0));
    reject(b, INPUT_CALLS, ev, REJECT_INVALID);
    accept(b, INPUT_CALLS, call(b, "a", "c3", 1000000000, at(b, 0, 0)));
    ev = call(b, "a", "c4", -1, at(b, 0, 0));
    ev.record.nulls = 0;
    ev.record.field[CALL_LEAD_COUNT] = number(-5); // not looked at
    accept(b, INPUT_CALLS, ev);
    ev = call(b, "a", "c5", -1, at(b, 0, 0));
    ev.record.unknown = 1u << CALL_SERVICE;
    reject(b, INPUT_CALLS, ev, REJECT_INVALID);
}

// R26, R28, R42
static void times_are_checked(void **state)
{
    struct bench *b = *state;
    struct event ev = call(b, "a", "c1", -1, at(b, 0, 5 * MINUTE));
    ev.timestamp = at(b, 0, 0);
    accept(b, INPUT_CALLS, ev);
    ev = call(b, "a", "c2", -1, at(b, 0, 5 * MINUTE) + 1);
    ev.timestamp = at(b, 0, 0);
    reject(b, INPUT_CALLS, ev, REJECT_FROM_FUTURE);
    ev = call(b, "a", "c3", -1, at(b, 0, -1)); // before first_day
    reject(b, INPUT_CALLS, ev, REJECT_TOO_LATE);
    ev = call(b, "a", "c4", -1, -1);
    ev.timestamp = at(b, 0, 0);
    reject(b, INPUT_CALLS, ev, REJECT_INVALID);
    ev = call(b, "a", "c5", -1, INSTANT_MAX + 1);
    ev.timestamp = at(b, 0, 0);
    reject(b, INPUT_CALLS, ev, REJECT_INVALID);
    ev = call(b, "a", "c6", -1, INSTANT_MAX);
    ev.timestamp = INT64_MIN; // as a producer may stamp it
    reject(b, INPUT_CALLS, ev, REJECT_FROM_FUTURE);
}

// ---- holds and decisions ----

static struct event broken(struct bench *b)
{
    struct event ev = event(b, INPUT_CALLS, "a", b->now);
    ev.fault = REJECT_UNDECODABLE;
    ev.fault_detail = "truncated at byte 3";
    return ev;
}

// R50, R51
static void too_many_broken_records_hold_the_day_until_accepted(void **state)
{
    struct bench *b = *state;
    struct error e = {0};
    for (int i = 0; i < 100; i++)
        reject(b, INPUT_CALLS, broken(b), REJECT_UNDECODABLE);
    b->now = fold_due_at(b->fold);
    for (enum input i = 0; i < INPUT_COUNT; i++)
        fold_clock_end(b->fold, i, b->offsets[i], b->now);
    assert_false(fold_close_due(b->fold));
    assert_true(fold_state(b->fold)->held);
    assert_int_equal(fold_phase(b->fold, b->now), DAY_HELD);
    assert_false(fold_wants_end(b->fold, INPUT_CALLS, b->now));
    // Reading and crediting go on in the held day, past its end.
    accept(b, INPUT_CREDITS, credit(b, "a", "k", CREDIT_TOP_UP, 5, b->now + HOUR));
    accept(b, INPUT_CALLS, call(b, "a", "next day's", -1, at(b, 1, 2 * HOUR)));
    assert_int_equal(decide_one(b->fold, DECISION_ACCEPT, 0, REJECT_UNDECODABLE, &e), 0);
    assert_false(fold_state(b->fold)->held);
    assert_true(fold_close_due(b->fold));
    assert_int_equal(fold_close(b->fold, &e), 0);
    const struct day_close *close = &fold_step(b->fold)->close;
    assert_int_equal(close->cutoffs[INPUT_CREDITS].cut_by, CUT_RELEASE);
    assert_int_equal(close->cutoffs[INPUT_CALLS].to_offset, 101);
    assert_int_equal(close->decision_count, 1);
    assert_string_equal(close->decisions[0], "1 ACCEPT op call-records 1 -");
    assert_int_equal(close->settlements, 0);
    fold_step_done(b->fold);
    settle(b);
    assert_int_equal(settlement_of(b, "a")->calls, 1);
}

// R50: the hold says after which decision its rejects were counted, for both may stand at the same
// offsets.
static void a_hold_comes_after_the_decisions_before_it(void **state)
{
    struct bench *b = *state;
    struct error e = {0};
    for (int i = 0; i < 102; i++)
        reject(b, INPUT_CALLS, broken(b), REJECT_UNDECODABLE);
    assert_int_equal(decide_one(b->fold, DECISION_ACCEPT, 0, REJECT_UNDECODABLE, &e), 0);
    b->now = fold_due_at(b->fold);
    for (enum input i = 0; i < INPUT_COUNT; i++)
        fold_clock_end(b->fold, i, b->offsets[i], b->now);
    assert_int_equal(decide_one(b->fold, DECISION_ACCEPT, 1, REJECT_UNDECODABLE, &e), 0);
    const struct step *step = fold_step(b->fold);
    assert_int_equal(step->hold_count, 1);
    assert_int_equal(step->holds[0].rejects, 101);
    assert_int_equal(step->holds[0].at, 102);
    assert_int_equal(step->holds[0].after_decision, 1);
}

// R50
static void ninety_nine_broken_records_hold_nothing(void **state)
{
    struct bench *b = *state;
    for (int i = 0; i < 99; i++)
        reject(b, INPUT_CALLS, broken(b), REJECT_UNDECODABLE);
    settle(b);
}

// R45
static void rejects_beyond_10000_stop_a_log(void **state)
{
    struct bench *b = *state;
    struct error e = {0};
    for (int i = 0; i < 10001; i++) {
        reject(b, INPUT_CALLS, broken(b), REJECT_UNDECODABLE);
        if (i % 100 == 0)
            fold_step_done(b->fold);
    }
    struct event next = call(b, "a", "c", -1, at(b, 0, 0));
    assert_int_equal(feed(b, INPUT_CALLS, next), FOLD_REJECTS);
    assert_int_equal(decide_one(b->fold, DECISION_ACCEPT, 0, REJECT_UNDECODABLE, &e), 0);
    accept(b, INPUT_CALLS, next);
}

// R44
static void a_record_of_a_broker_years_ahead_is_passed_by_a_decision(void **state)
{
    struct bench *b = *state;
    struct error e = {0};
    size_t consumed;
    struct event ev = call(b, "a", "c", -1, at(b, 0, HOUR));
    ev.timestamp = at(b, 2000, 0);
    b->now = at(b, 0, 2 * HOUR);
    assert_int_equal(
        fold_records(b->fold, INPUT_CALLS, (struct event_batch){&ev, 1}, b->now, &consumed, &e),
        FOLD_FUTURE);
    struct decision decision = decision_about(DECISION_PASS, INPUT_CALLS, &ev.offset, 1);
    decision.as_of = b->now;
    assert_int_equal(fold_decide(b->fold, &decision, NULL, &e), 0);
    assert_int_equal(fold_decide(b->fold, &decision, NULL, &e), -1);
    assert_int_equal(
        fold_records(b->fold, INPUT_CALLS, (struct event_batch){&ev, 1}, b->now, &consumed, &e),
        FOLD_MORE);
    assert_int_equal(fold_state(b->fold)->log[INPUT_CALLS].accepted, 1);
}

static void the_fold_stops_at_its_bound_of_calls(void **state)
{
    struct bench *b = *state;
    fold_destroy(b->fold);
    b->fold = fold_create(&(struct fold_options){.max_resident_calls = 1}, &b->policy);
    fold_begin(b->fold, (int64_t[INPUT_COUNT]){0, 0, 0});
    accept(b, INPUT_CALLS, call(b, "a", "c1", -1, at(b, 0, 0)));
    assert_int_equal(feed(b, INPUT_CALLS, call(b, "a", "c2", -1, at(b, 0, 0))), FOLD_FULL);
}

static void an_unknown_schema_waits(void **state)
{
    struct bench *b = *state;
    struct event ev = call(b, "a", "c", -1, at(b, 0, 0));
    ev.schema_pending = true;
    assert_int_equal(feed(b, INPUT_CALLS, ev), FOLD_SCHEMA);
    ev.schema_pending = false;
    accept(b, INPUT_CALLS, ev);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(three_calls_of_8000_leads_cost_240000_yuan),
        CASE(lines_are_ordered_by_service_and_tier),
        CASE(a_call_of_no_leads_stands_on_tier_0),
        CASE(a_call_covered_in_part_pays_the_rest_at_its_whole_tier),
        CASE(a_suspended_account_draws_its_package_no_longer_than_another),
        CASE(a_package_covers_no_call_before_its_purchase),
        CASE(packages_are_drawn_by_expiry_then_purchase_then_id),
        CASE(calls_draw_in_order_of_time_not_of_arrival),
        CASE(packages_not_for_sale_are_rejected),
        CASE(used_units_are_not_there_any_more),
        CASE(the_same_id_is_one_call_and_other_content_a_conflict),
        CASE(a_uuid_and_its_text_are_one_and_upper_case_is_another),
        CASE(an_identity_is_known_over_days_until_the_window_ends),
        CASE(a_late_call_is_billed_in_the_open_day_on_its_own_line),
        CASE(a_call_of_the_next_day_within_the_grace_waits_for_its_own),
        CASE(the_first_record_at_the_cutoff_cuts_and_its_log_waits),
        CASE(a_record_beyond_the_clock_waits_in_silence_or_as_impossible),
        CASE(only_an_end_asked_for_when_due_cuts),
        CASE(an_empty_day_is_closed_too),
        CASE(arrears_suspend_and_a_credit_above_zero_resumes),
        CASE(exactly_zero_is_not_arrears),
        CASE(a_resumption_is_never_effective_before_the_suspension),
        CASE(refunds_and_zero_adjustments_are_rejected),
        CASE(ids_and_keys_are_checked),
        CASE(lead_counts_are_checked_where_leads_are_billed),
        CASE(times_are_checked),
        CASE(too_many_broken_records_hold_the_day_until_accepted),
        CASE(a_hold_comes_after_the_decisions_before_it),
        CASE(ninety_nine_broken_records_hold_nothing),
        CASE(rejects_beyond_10000_stop_a_log),
        CASE(a_record_of_a_broker_years_ahead_is_passed_by_a_decision),
        CASE(the_fold_stops_at_its_bound_of_calls),
        CASE(an_unknown_schema_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
