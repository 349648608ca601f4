// A fold that follows recorded verdicts must give the same as the fold that judged: random worlds
// are folded once by the clock, then again by their cutoffs, verdicts and decisions, log after log.
#include "fold_fixture.h"

enum { EVENTS = 1200, ACCOUNTS = 5, IDS = 60, SEEDS = 30, DAYS_MAX = 64 };

struct world {
    struct bench *bench;
    uint32_t random;
    size_t counts[INPUT_COUNT];
    struct event events[INPUT_COUNT][EVENTS];
    enum reject_reason verdicts[INPUT_COUNT][EVENTS];
    char details[INPUT_COUNT][EVENTS][REJECT_DETAIL_SIZE];
    size_t day_count;
    struct day_close closes[DAYS_MAX];
    uint64_t digests[DAYS_MAX]; // of the settlements, lines and status changes of each day
};

static uint32_t draw(struct world *w, uint32_t below)
{
    w->random = w->random * 1664525u + 1013904223u;
    return (w->random >> 8) % below;
}

static const char *const accounts[ACCOUNTS] = {"alfa", "bravo", "charlie", "delta", "echo"};
static char ids[IDS][8];

static struct event draw_event(struct world *w, enum input input, int64_t now)
{
    const char *account = accounts[draw(w, ACCOUNTS)], *id = ids[draw(w, IDS)];
    int64_t own = now - (int64_t)draw(w, 40) * HOUR / 4;
    struct event ev;
    if (input == INPUT_CALLS)
        ev = call(w->bench, account, id, draw(w, 2) ? (int64_t)draw(w, 30000) : -1, own);
    else if (input == INPUT_PURCHASES)
        ev = purchase(w->bench, account, id, SERVICE_PURCHASE_INTENT, draw(w, 4) ? 10000 : 11,
                      7000000, own);
    else
        ev = credit(w->bench, account, id, draw(w, 2) ? CREDIT_TOP_UP : CREDIT_ADJUSTMENT,
                    ((fen_t)draw(w, 2000) - 400) * 10000, own);
    ev.timestamp = now;
    return ev;
}

static uint64_t mix(uint64_t sum, int64_t value)
{
    return (sum ^ (uint64_t)value) * UINT64_C(0x9e3779b97f4a7c15) + 1;
}

static uint64_t digest(const struct fold *fold, const struct step *step)
{
    uint64_t sum = 1;
    for (size_t i = 0; i < step->settlement_count; i++) {
        const struct settlement *s = &step->settlements[i];
        sum = mix(mix(mix(sum, s->calls), s->calls_while_suspended), s->amount);
        sum = mix(mix(mix(sum, s->opening_balance), s->closing_balance), s->position);
        sum = mix(sum, fold_account(fold, s->account)->id.data[0]);
    }
    for (size_t i = 0; i < step->line_count; i++)
        sum = mix(mix(mix(sum, step->lines[i].usage_day), step->lines[i].units),
                  step->lines[i].amount);
    return sum;
}

static void note_rejects(struct world *w, const struct step *step)
{
    for (size_t i = 0; i < step->reject_count; i++) {
        const struct step_reject *r = &step->rejects[i];
        w->verdicts[r->input][r->offset] = r->reason;
        snprintf(w->details[r->input][r->offset], REJECT_DETAIL_SIZE, "%s", r->detail);
    }
}

// By the clock: the three logs interleaved, each day settled when it is due.
static void live(struct world *w)
{
    struct bench *b = w->bench;
    // so many are refused that none would be settled
    b->policy.rows[0].max_reject_share_ppm = b->policy.rows[0].max_refused_share_ppm = 1000000;
    int64_t now = at(b, 0, 0);
    for (int i = 0; i < EVENTS; i++) {
        enum input input = draw(w, 4) ? INPUT_CALLS : draw(w, 2) ? INPUT_PURCHASES : INPUT_CREDITS;
        now += (int64_t)draw(w, 20) * MINUTE;
        while (now >= fold_due_at(b->fold)) {
            const struct step *step = settle(b);
            assert_true(w->day_count < DAYS_MAX);
            note_rejects(w, step);
            w->digests[w->day_count] = digest(b->fold, step);
            w->closes[w->day_count] = step->close;
            w->closes[w->day_count++].decisions = NULL;
            fold_step_done(b->fold);
        }
        struct event ev = draw_event(w, input, now);
        w->events[input][w->counts[input]++] = ev;
        assert_int_equal(feed(b, input, ev), FOLD_MORE);
    }
    note_rejects(w, fold_step(b->fold));
    fold_step_done(b->fold);
}

static void give(struct world *w, struct fold *fold, enum input input, int64_t to)
{
    struct error e = {0};
    struct audit_verdict verdict;
    for (int64_t at = fold_state(fold)->log[input].next; at < to && at < (int64_t)w->counts[input];
         at++) {
        const struct recorded_verdict recorded = {w->verdicts[input][at], w->details[input][at]};
        assert_int_equal(
            fold_audit_record(fold, input, &w->events[input][at], recorded, &verdict, &e), 0);
        assert_int_equal(verdict.reason, w->verdicts[input][at]);
        assert_false(verdict.lacks_override);
        assert_false(verdict.beyond_due);
    }
}

static void same_cutoff(const struct cutoff *a, const struct cutoff *b)
{
    assert_int_equal(a->from_offset, b->from_offset);
    assert_int_equal(a->to_offset, b->to_offset);
    assert_int_equal(a->cut_by, b->cut_by);
    assert_int_equal(a->accepted, b->accepted);
    assert_int_equal(a->duplicates, b->duplicates);
    assert_int_equal(a->rejected, b->rejected);
    assert_int_equal(a->voids, b->voids);
}

static void fold_again(struct world *w, struct fold *fold)
{
    struct error e = {0};
    fold_begin(fold, (int64_t[INPUT_COUNT]){0, 0, 0});
    fold_step_done(fold);
    for (size_t d = 0; d < w->day_count; d++) {
        const struct day_close *close = &w->closes[d];
        for (enum input i = INPUT_COUNT; i-- > 0;) { // in another order than the fold saw them
            give(w, fold, i, close->cutoffs[i].to_offset);
            fold_audit_cut(fold, i, close->cutoffs[i].to_offset, close->cutoffs[i].cut_by);
        }
        assert_false(fold_must_hold(fold));
        assert_int_equal(fold_close(fold, &e), 0);
        const struct step *step = fold_step(fold);
        for (int i = 0; i < INPUT_COUNT; i++)
            same_cutoff(&step->close.cutoffs[i], &close->cutoffs[i]);
        assert_int_equal(step->close.late, close->late);
        assert_int_equal(step->close.amount, close->amount);
        assert_true(digest(fold, step) == w->digests[d]);
        fold_step_done(fold);
    }
    for (enum input i = 0; i < INPUT_COUNT; i++) {
        int64_t end = fold_state(w->bench->fold)->log[i].next;
        give(w, fold, i, end);
        fold_audit_cut(fold, i, end, CUT_NONE);
        assert_int_equal(fold_cut(fold, i), CUT_NONE);
    }
}

static void same_state(const struct fold *a, const struct fold *b)
{
    assert_int_equal(fold_account_count(a), fold_account_count(b));
    assert_int_equal(fold_package_count(a), fold_package_count(b));
    assert_int_equal(fold_state(a)->calls_from, fold_state(b)->calls_from);
    for (enum input i = 0; i < INPUT_COUNT; i++) {
        const struct log_state *x = &fold_state(a)->log[i], *y = &fold_state(b)->log[i];
        assert_int_equal(x->next, y->next);
        assert_int_equal(x->accepted, y->accepted);
        assert_int_equal(x->rejected, y->rejected);
        assert_int_equal(x->undecided, y->undecided);
        assert_int_equal(x->last_offset, y->last_offset);
        assert_true(x->last_hash == y->last_hash);
    }
    for (uint32_t i = 0; i < fold_account_count(a); i++) {
        const struct account *x = fold_account(a, i);
        uint32_t k = 0;
        while (strcmp(fold_account(b, k)->id.data, x->id.data) != 0)
            k++;
        const struct account *y = fold_account(b, k);
        assert_int_equal(account_balance(x), account_balance(y));
        assert_int_equal(x->state, y->state);
        assert_int_equal(x->account_sequence, y->account_sequence);
        assert_int_equal(x->position, y->position);
    }
}

static void a_recorded_world_folds_to_the_same(void **state)
{
    (void)state;
    for (int i = 0; i < IDS; i++)
        snprintf(ids[i], sizeof ids[i], "id-%d", i);
    for (uint32_t seed = 1; seed <= SEEDS; seed++) {
        struct world *w = calloc(1, sizeof *w);
        assert_non_null(w);
        w->bench = bench_create();
        w->random = seed;
        live(w);
        assert_true(w->day_count > 3);
        struct fold *again = bench_fold(w->bench);
        fold_again(w, again);
        same_state(w->bench->fold, again);
        fold_destroy(again);
        bench_destroy(w->bench);
        free(w);
    }
}

// ---- what contradicts ----

static struct audit_verdict give_one(struct bench *b, enum input input, struct event ev,
                                     enum reject_reason recorded)
{
    struct error e = {0};
    struct audit_verdict verdict;
    assert_int_equal(fold_audit_record(b->fold, input, &ev,
                                       (struct recorded_verdict){recorded, "as recorded"}, &verdict,
                                       &e),
                     0);
    return verdict;
}

static void a_recorded_reject_stays_one(void **state)
{
    (void)state;
    struct bench *b = bench_create();
    struct audit_verdict v =
        give_one(b, INPUT_CREDITS, credit(b, "acme", "c-1", CREDIT_TOP_UP, 100, at(b, 0, HOUR)),
                 REJECT_REFUND);
    assert_int_equal(v.reason, REJECT_NONE);
    v = give_one(
        b, INPUT_PURCHASES,
        purchase(b, "acme", "p-1", SERVICE_PURCHASE_INTENT, 10000, 7000000, at(b, 0, HOUR)),
        REJECT_NOT_FOR_SALE);
    assert_int_equal(v.reason, REJECT_NONE);
    v = give_one(b, INPUT_CALLS, call(b, "acme", "k-1", -1, at(b, 0, HOUR)), REJECT_CONFLICT);
    assert_int_equal(v.reason, REJECT_NONE);
    // None of them was applied; the step contains them as they are recorded.
    const struct step *step = fold_step(b->fold);
    assert_int_equal(fold_account_count(b->fold), 0);
    assert_int_equal(fold_package_count(b->fold), 0);
    assert_int_equal(fold_resident_calls(b->fold), 0);
    assert_int_equal(step->credit_count, 0);
    assert_int_equal(step->reject_count, 3);
    assert_int_equal(step->rejects[0].reason, REJECT_REFUND);
    assert_string_equal(step->rejects[0].detail, "as recorded");
    assert_int_equal(fold_state(b->fold)->log[INPUT_CALLS].rejected, 1);
    // The same record again, but now without a reject: it is the first.
    v = give_one(b, INPUT_CALLS, call(b, "acme", "k-1", -1, at(b, 0, HOUR)), REJECT_NONE);
    assert_int_equal(v.reason, REJECT_NONE);
    assert_false(v.duplicate);
    v = give_one(b, INPUT_CALLS, call(b, "acme", "k-1", -1, at(b, 0, HOUR)), REJECT_CONFLICT);
    assert_true(v.duplicate);
    bench_destroy(b);
}

static void the_rules_say_their_own_reason(void **state)
{
    (void)state;
    struct bench *b = bench_create();
    struct audit_verdict v =
        give_one(b, INPUT_CREDITS, credit(b, "acme", "c-1", CREDIT_TOP_UP, -100, at(b, 0, HOUR)),
                 REJECT_CONFLICT);
    assert_int_equal(v.reason, REJECT_REFUND);
    assert_int_equal(fold_step(b->fold)->rejects[0].reason, REJECT_REFUND);
    v = give_one(b, INPUT_CREDITS, credit(b, "acme", "c-2", CREDIT_TOP_UP, 0, at(b, 0, HOUR)),
                 REJECT_NONE);
    assert_int_equal(v.reason, REJECT_REFUND);
    bench_destroy(b);
}

static void times_are_told(void **state)
{
    (void)state;
    struct bench *b = bench_create();
    struct event ev = call(b, "acme", "k-1", -1, at(b, 0, HOUR));
    ev.timestamp = fold_due_at(b->fold);
    assert_true(give_one(b, INPUT_CALLS, ev, REJECT_NONE).beyond_due);
    ev = call(b, "acme", "k-2", -1, at(b, 0, HOUR));
    ev.stamped = false;
    assert_true(give_one(b, INPUT_CALLS, ev, REJECT_NONE).lacks_override);
    // A decision passes one, and judges it by its own time.
    ev = call(b, "acme", "k-3", -1, at(b, 0, HOUR));
    ev.stamped = false;
    ev.timestamp = at(b, 900, 0);
    struct decision pass = {.number = 1,
                            .kind = DECISION_PASS,
                            .count = 1,
                            .offsets = &ev.offset,
                            .as_of = at(b, 0, 2 * HOUR),
                            .operator_name = "op",
                            .content = "calls 1 -"};
    fold_audit_decision(b->fold, &pass, NULL);
    assert_int_equal(fold_judged_at(b->fold, INPUT_CALLS, ev.offset, ev.timestamp), pass.as_of);
    struct audit_verdict v = give_one(b, INPUT_CALLS, ev, REJECT_NONE);
    assert_false(v.lacks_override);
    assert_false(v.beyond_due);
    assert_int_equal(v.reason, REJECT_NONE);
    bench_destroy(b);
}

static void what_lies_between_is_void(void **state)
{
    (void)state;
    struct error e = {0};
    struct bench *b = bench_create();
    b->offsets[INPUT_CALLS] = 3;
    give_one(b, INPUT_CALLS, call(b, "acme", "k-1", -1, at(b, 0, HOUR)), REJECT_NONE);
    fold_audit_cut(b->fold, INPUT_CALLS, 7, CUT_RECORD);
    fold_audit_cut(b->fold, INPUT_PURCHASES, 0, CUT_CLOCK);
    assert_false(fold_close_due(b->fold));
    fold_audit_cut(b->fold, INPUT_CREDITS, 2, CUT_CLOCK);
    assert_true(fold_close_due(b->fold));
    assert_int_equal(fold_close(b->fold, &e), 0);
    const struct cutoff *calls = &fold_step(b->fold)->close.cutoffs[INPUT_CALLS];
    assert_int_equal(calls->voids, 6);
    assert_int_equal(calls->accepted, 1);
    assert_int_equal(calls->cut_by, CUT_RECORD);
    bench_destroy(b);
}

static void decisions_weigh_and_are_named(void **state)
{
    (void)state;
    struct error e = {0};
    struct bench *b = bench_create();
    for (int i = 0; i < 150; i++)
        give_one(b, INPUT_CALLS, call(b, "acme", "", -1, at(b, 0, HOUR)), REJECT_INVALID);
    assert_true(fold_must_hold(b->fold));
    enum reject_reason reasons[2] = {REJECT_INVALID, REJECT_INVALID};
    for (int i = 0; i < 75; i++) {
        const int64_t offsets[] = {2 * i, 2 * i + 1};
        struct decision accept = decision_about(DECISION_ACCEPT, INPUT_CALLS, offsets, 2);
        accept.number = i + 1;
        fold_audit_decision(b->fold, &accept, reasons);
    }
    assert_false(fold_must_hold(b->fold));
    for (enum input i = 0; i < INPUT_COUNT; i++)
        fold_audit_cut(b->fold, i, b->offsets[i], CUT_RELEASE);
    assert_int_equal(fold_close(b->fold, &e), 0);
    const struct day_close *close = &fold_step(b->fold)->close;
    assert_int_equal(close->decision_count, 75);
    assert_string_equal(close->decisions[74], "75 ACCEPT op call-records 2 -");
    assert_int_equal(fold_state(b->fold)->decisions, 75);
    bench_destroy(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_recorded_world_folds_to_the_same),
        cmocka_unit_test(a_recorded_reject_stays_one),
        cmocka_unit_test(the_rules_say_their_own_reason),
        cmocka_unit_test(times_are_told),
        cmocka_unit_test(what_lies_between_is_void),
        cmocka_unit_test(decisions_weigh_and_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
