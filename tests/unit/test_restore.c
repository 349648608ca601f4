// A fold that is stopped anywhere and restored from its rows and the calls log goes on as if nothing had happened:
// random worlds are folded twice, once through and once with restarts, and every step must be the same.
#include "fold_fixture.h"

enum { EVENTS = 1500, ACCOUNTS = 5, IDS = 60, SEEDS = 40, ROWS = 4000 };

// ---- rows, as a database would keep them ----

struct rows {
    struct fold_state state;
    size_t account_count, span_count, package_count, credit_count, cutoff_count, reject_count;
    struct account accounts[ROWS];
    struct {
        struct slice account;
        struct span span;
    } spans[ROWS];
    struct {
        struct slice account;
        struct package package;
    } packages[ROWS];
    struct {
        struct slice account, id;
        enum credit_kind kind;
        fen_t amount;
        int64_t at;
    } credits[ROWS];
    struct {
        day_t day;
        int64_t to;
    } cutoffs[ROWS];
    int64_t rejects[ROWS];
};

static struct slice keep(struct slice s)
{
    char *copy = malloc(s.size + 1);
    memcpy(copy, s.data, s.size);
    copy[s.size] = '\0';
    return (struct slice){copy, s.size};
}

static bool same(struct slice a, struct slice b)
{
    return a.size == b.size && memcmp(a.data, b.data, a.size) == 0;
}

static void store_accounts(struct rows *rows, const struct fold *fold, const struct step *step)
{
    for (size_t i = 0; i < step->touched_account_count; i++) {
        const struct account *account = fold_account(fold, step->touched_accounts[i]);
        size_t at = 0;
        while (at < rows->account_count && !same(rows->accounts[at].id, account->id)) at++;
        if (at == rows->account_count) rows->accounts[rows->account_count++].id = keep(account->id);
        struct slice id = rows->accounts[at].id;
        rows->accounts[at] = *account;
        rows->accounts[at].id = id;
    }
}

static void store_packages(struct rows *rows, const struct fold *fold, const struct step *step)
{
    for (size_t i = 0; i < step->touched_package_count; i++) {
        const struct package *package = fold_package(fold, step->touched_packages[i]);
        struct slice account = fold_account(fold, package->account)->id;
        size_t at = 0;
        while (at < rows->package_count &&
               !(same(rows->packages[at].package.id, package->id) && same(rows->packages[at].account, account)))
            at++;
        if (at == rows->package_count) {
            rows->packages[at].account = keep(account);
            rows->packages[rows->package_count++].package.id = keep(package->id);
        }
        struct slice id = rows->packages[at].package.id;
        rows->packages[at].package = *package;
        rows->packages[at].package.id = id;
    }
}

static void store_spans(struct rows *rows, const struct fold *fold, const struct step *step)
{
    for (size_t i = 0; i < step->status_count; i++) {
        const struct step_status *status = &step->statuses[i];
        struct slice account = fold_account(fold, status->account)->id;
        if (status->state == ACCOUNT_SUSPENDED) {
            rows->spans[rows->span_count].account = keep(account);
            rows->spans[rows->span_count++].span = (struct span){status->effective_at, INT64_MAX};
            continue;
        }
        size_t at = rows->span_count;
        while (!same(rows->spans[--at].account, account)) assert_true(at > 0);
        rows->spans[at].span.to = status->effective_at;
    }
}

static void store_step(struct rows *rows, struct fold *fold)
{
    const struct step *step = fold_step(fold);
    rows->state = *fold_state(fold);
    store_accounts(rows, fold, step);
    store_packages(rows, fold, step);
    store_spans(rows, fold, step);
    for (size_t i = 0; i < step->credit_count; i++) {
        const struct step_credit *c = &step->credits[i];
        rows->credits[rows->credit_count].account = keep(fold_account(fold, c->account)->id);
        rows->credits[rows->credit_count].id = keep(c->credit_id);
        rows->credits[rows->credit_count].kind = c->kind;
        rows->credits[rows->credit_count].amount = c->amount;
        rows->credits[rows->credit_count++].at = c->credited_at;
    }
    for (size_t i = 0; i < step->reject_count; i++)
        if (step->rejects[i].input == INPUT_CALLS) rows->rejects[rows->reject_count++] = step->rejects[i].offset;
    if (step->closed) {
        rows->cutoffs[rows->cutoff_count].day = step->close.day;
        rows->cutoffs[rows->cutoff_count++].to = step->close.cutoffs[INPUT_CALLS].to_offset;
    }
    fold_step_done(fold);
}

static struct fold *restore(struct bench *b, struct rows *rows, const struct event *calls, size_t call_count)
{
    struct error e = {0};
    struct fold *fold = bench_fold(b);
    bool done = false;
    assert_int_equal(fold_restore_state(fold, &rows->state, &e), 0);
    for (size_t i = 0; i < rows->account_count; i++)
        assert_int_equal(fold_restore_account(fold, &rows->accounts[i], NULL, &e), 0);
    for (size_t i = 0; i < rows->span_count; i++)
        assert_int_equal(fold_restore_span(fold, rows->spans[i].account, rows->spans[i].span, &e), 0);
    for (size_t i = 0; i < rows->package_count; i++)
        assert_int_equal(fold_restore_package(fold, rows->packages[i].account, &rows->packages[i].package, &e), 0);
    for (size_t i = 0; i < rows->credit_count; i++)
        assert_int_equal(fold_restore_credit(fold, rows->credits[i].account, rows->credits[i].id, rows->credits[i].kind,
                                             rows->credits[i].amount, rows->credits[i].at, &e),
                         0);
    for (size_t i = 0; i < rows->cutoff_count; i++)
        if (rows->cutoffs[i].to > rows->state.calls_from)
            assert_int_equal(fold_restore_cutoff(fold, rows->cutoffs[i].day, rows->cutoffs[i].to, &e), 0);
    for (size_t i = 0; i < rows->reject_count; i++)
        if (rows->rejects[i] >= rows->state.calls_from)
            assert_int_equal(fold_restore_reject(fold, rows->rejects[i], &e), 0);
    if (fold_replay(fold, calls, call_count, &done, &e) != 0 ||
        (!done && fold_replay_reached(fold, b->offsets[INPUT_CALLS], &done, &e) != 0))
        fail_msg("%s", e.text);
    assert_true(done);
    return fold;
}

// ---- worlds ----

static uint64_t seed_state;

static int64_t pick(int64_t below)
{
    seed_state = seed_state * 6364136223846793005u + 1442695040888963407u;
    return (int64_t)((seed_state >> 33) % (uint64_t)below);
}

static char ids[IDS][16], accounts[ACCOUNTS][16];

static struct event random_event(struct bench *b, enum input input, int64_t now)
{
    static const int64_t leads[] = {-1, 0, 1, 9999, 10000, 20000, 500000};
    const char *account = accounts[pick(ACCOUNTS)], *id = ids[pick(IDS)];
    int64_t when = now - pick(4) * pick(3) * 18 * HOUR + pick(7) * MINUTE - MINUTE;
    struct event ev;
    if (input == INPUT_CALLS)
        ev = call(b, account, id, leads[pick(7)], when);
    else if (input == INPUT_PURCHASES)
        ev = purchase(b, account, id, SERVICE_PURCHASE_INTENT, 10000, 7000000, when);
    else
        ev = credit(b, account, id, pick(3) ? CREDIT_TOP_UP : CREDIT_ADJUSTMENT, pick(40000000) - 1000000, when);
    ev.timestamp = now;
    if (pick(30) == 0) {
        ev.fault = REJECT_UNDECODABLE;
        ev.fault_detail = "broken";
    }
    b->offsets[input] += pick(10) == 0; // a void
    return ev;
}

static void assert_same_steps(const struct fold *fa, const struct fold *fb)
{
    const struct step *a = fold_step(fa), *b = fold_step(fb);
    assert_int_equal(a->emission_count, b->emission_count);
    assert_memory_equal(fold_state(fa), fold_state(fb), sizeof(struct fold_state));
    for (size_t i = 0; i < a->reject_count; i++) {
        assert_int_equal(a->rejects[i].reason, b->rejects[i].reason);
        assert_string_equal(a->rejects[i].detail, b->rejects[i].detail);
    }
    for (size_t i = 0; i < a->settlement_count; i++) {
        const struct settlement *x = &a->settlements[i], *y = &b->settlements[i];
        assert_true(same(fold_account(fa, x->account)->id, fold_account(fb, y->account)->id));
        assert_int_equal(x->calls, y->calls);
        assert_int_equal(x->calls_while_suspended, y->calls_while_suspended);
        assert_int_equal(x->amount, y->amount);
        assert_int_equal(x->closing_balance, y->closing_balance);
        assert_int_equal(x->position, y->position);
        assert_int_equal(x->line_count, y->line_count);
    }
    for (size_t i = 0; i < a->line_count; i++) {
        assert_int_equal(a->lines[i].usage_day, b->lines[i].usage_day);
        assert_int_equal(a->lines[i].units, b->lines[i].units);
        assert_int_equal(a->lines[i].amount, b->lines[i].amount);
    }
    for (size_t i = 0; i < a->status_count; i++) {
        assert_int_equal(a->statuses[i].account_sequence, b->statuses[i].account_sequence);
        assert_int_equal(a->statuses[i].effective_at, b->statuses[i].effective_at);
        assert_int_equal(a->statuses[i].balance, b->statuses[i].balance);
    }
}

static void close_both(struct bench *b, struct fold *through, struct rows *rows, struct fold *restarted)
{
    struct error e = {0};
    struct fold *folds[] = {through, restarted};
    for (int f = 0; f < 2; f++) {
        for (enum input i = 0; i < INPUT_COUNT; i++) {
            fold_clock_end(folds[f], i, b->offsets[i], b->now);
            fold_reached(folds[f], i, b->offsets[i]);
        }
        assert_true(fold_close_due(folds[f]));
        assert_int_equal(fold_close(folds[f], &e), 0);
    }
    assert_same_steps(through, restarted);
    fold_step_done(through);
    store_step(rows, restarted);
}

static int64_t run_world(uint64_t seed)
{
    struct bench *b = bench_create();
    struct rows *rows = calloc(1, sizeof *rows);
    struct event *calls = calloc(EVENTS, sizeof *calls);
    size_t call_count = 0;
    int64_t restarts = 0;
    seed_state = seed;
    struct fold *restarted = bench_fold(b);
    fold_begin(restarted, (int64_t[INPUT_COUNT]){0, 0, 0});
    store_step(rows, restarted);
    for (int n = 0; n < EVENTS; n++) {
        b->now += pick(60) * MINUTE;
        while (b->now >= fold_due_at(b->fold)) close_both(b, b->fold, rows, restarted);
        enum input input = pick(8) ? INPUT_CALLS : pick(4) ? INPUT_CREDITS : INPUT_PURCHASES;
        struct event ev = random_event(b, input, b->now);
        if (input == INPUT_CALLS) calls[call_count++] = ev;
        struct error e = {0};
        size_t consumed;
        assert_int_equal(fold_records(b->fold, input, &ev, 1, b->now, &consumed, &e), FOLD_MORE);
        assert_int_equal(fold_records(restarted, input, &ev, 1, b->now, &consumed, &e), FOLD_MORE);
        assert_same_steps(b->fold, restarted);
        fold_step_done(b->fold);
        store_step(rows, restarted);
        if (pick(40) != 0) continue;
        fold_destroy(restarted);
        restarted = restore(b, rows, calls, call_count);
        restarts++;
        assert_int_equal(fold_calls_held(restarted), fold_calls_held(b->fold));
    }
    fold_destroy(restarted);
    free(calls);
    for (size_t i = 0; i < rows->account_count; i++) free((void *)(uintptr_t)rows->accounts[i].id.data);
    for (size_t i = 0; i < rows->span_count; i++) free((void *)(uintptr_t)rows->spans[i].account.data);
    for (size_t i = 0; i < rows->package_count; i++) {
        free((void *)(uintptr_t)rows->packages[i].account.data);
        free((void *)(uintptr_t)rows->packages[i].package.id.data);
    }
    for (size_t i = 0; i < rows->credit_count; i++) {
        free((void *)(uintptr_t)rows->credits[i].account.data);
        free((void *)(uintptr_t)rows->credits[i].id.data);
    }
    free(rows);
    bench_destroy(b);
    return restarts;
}

static void restarts_change_nothing(void **state)
{
    (void)state;
    for (int i = 0; i < IDS; i++) snprintf(ids[i], sizeof ids[i], "id-%d", i);
    for (int i = 0; i < ACCOUNTS; i++) snprintf(accounts[i], sizeof accounts[i], "account-%d", i);
    int64_t restarts = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) restarts += run_world(seed);
    assert_true(restarts > SEEDS);
}

// ---- contradictions ----

struct past {
    struct bench *b;
    struct rows *rows;
    struct event calls[3];
};

// Two accepted calls and a rejected one between them are committed.
static struct past make_past(void)
{
    struct past p = {.b = bench_create(), .rows = calloc(1, sizeof(struct rows))};
    p.calls[0] = call(p.b, "a", "c0", -1, at(p.b, 0, HOUR));
    p.calls[1] = call(p.b, "a", "c0", 5, at(p.b, 0, HOUR));
    p.calls[2] = call(p.b, "a", "c2", -1, at(p.b, 0, HOUR));
    accept(p.b, INPUT_CALLS, p.calls[0]);
    reject(p.b, INPUT_CALLS, p.calls[1], REJECT_CONFLICT);
    accept(p.b, INPUT_CALLS, p.calls[2]);
    store_step(p.rows, p.b->fold);
    return p;
}

static void expect_contradiction(struct past *p, const struct event *calls, size_t count, const char *words)
{
    struct error e = {0};
    struct fold *fold = bench_fold(p->b);
    bool done;
    assert_int_equal(fold_restore_state(fold, &p->rows->state, &e), 0);
    for (size_t i = 0; i < p->rows->reject_count; i++)
        assert_int_equal(fold_restore_reject(fold, p->rows->rejects[i], &e), 0);
    int result = fold_replay(fold, calls, count, &done, &e);
    if (result == 0 && !done) result = fold_replay_reached(fold, 3, &done, &e);
    assert_int_equal(result, -1);
    assert_int_equal(e.kind, ERROR_CONFIG);
    if (!strstr(e.text, words)) fail_msg("\"%s\" does not say \"%s\"", e.text, words);
    fold_destroy(fold);
    for (size_t i = 0; i < p->rows->account_count; i++) free((void *)(uintptr_t)p->rows->accounts[i].id.data);
    free(p->rows);
    bench_destroy(p->b);
}

static void a_missing_call_is_noticed(void **state)
{
    (void)state;
    struct past p = make_past();
    expect_contradiction(&p, p.calls + 1, 2, "1 accepted calls and 0 duplicates");
}

static void a_missing_reject_is_noticed(void **state)
{
    (void)state;
    struct past p = make_past();
    struct event calls[] = {p.calls[0], p.calls[2]};
    expect_contradiction(&p, calls, 2, "offset 1: a rejected record is not there");
}

static void another_record_at_the_position_is_noticed(void **state)
{
    (void)state;
    struct past p = make_past();
    p.calls[2].value = text("other bytes");
    expect_contradiction(&p, p.calls, 3, "offset 2: this is not the record that was read");
}

static void an_unrecorded_conflict_is_noticed(void **state)
{
    (void)state;
    struct past p = make_past();
    p.rows->reject_count = 0;
    expect_contradiction(&p, p.calls, 3, "offset 1: the record was accepted, but its call_id");
}

static void a_broken_record_that_was_accepted_is_noticed(void **state)
{
    (void)state;
    struct past p = make_past();
    p.calls[0].fault = REJECT_UNDECODABLE;
    expect_contradiction(&p, p.calls, 3, "offset 0: the record was accepted, but it is broken");
}

static void counts_that_do_not_add_up_are_refused(void **state)
{
    (void)state;
    struct error e = {0};
    struct bench *b = bench_create();
    struct fold_state forged = *fold_state(b->fold);
    forged.log[INPUT_CREDITS].next = 1;
    assert_int_equal(fold_restore_state(b->fold, &forged, &e), -1);
    assert_non_null(strstr(e.text, "do not add up"));
    bench_destroy(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(restarts_change_nothing),
        cmocka_unit_test(a_missing_call_is_noticed),
        cmocka_unit_test(a_missing_reject_is_noticed),
        cmocka_unit_test(another_record_at_the_position_is_noticed),
        cmocka_unit_test(an_unrecorded_conflict_is_noticed),
        cmocka_unit_test(a_broken_record_that_was_accepted_is_noticed),
        cmocka_unit_test(counts_that_do_not_add_up_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
