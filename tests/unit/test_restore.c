// A fold that is stopped anywhere and restored from its rows and the calls log must go on as if
// nothing had happened. Random worlds are folded twice, once without and once with restarts, and
// every step must be the same.
#include "fold_fixture.h"

enum { EVENTS = 1500, ACCOUNTS = 5, IDS = 60, SEEDS = 40, ROWS = 6000, BURST = 120 };

// ---- rows, as a database would keep them ----

struct rows {
    struct fold_state state;
    size_t account_count, span_count, package_count, credit_count, cutoff_count, reject_count,
        decision_count;
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
        struct cutoff calls;
    } cutoffs[ROWS];
    int64_t steps, rejects[ROWS];
    struct decision decisions[ROWS]; // their texts are constants
    int64_t decided[ROWS]; // the offset of each
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
        while (at < rows->account_count && !same(rows->accounts[at].id, account->id))
            at++;
        if (at == rows->account_count)
            rows->accounts[rows->account_count++].id = keep(account->id);
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
        while (at < rows->package_count && !(same(rows->packages[at].package.id, package->id) &&
                                             same(rows->packages[at].account, account)))
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
        while (!same(rows->spans[--at].account, account))
            assert_true(at > 0);
        rows->spans[at].span.to = status->effective_at;
    }
}

static void store_decisions(struct rows *rows, const struct step *step)
{
    for (size_t i = 0; i < step->decision_count; i++) {
        struct decision *decision = &rows->decisions[rows->decision_count++];
        *decision = step->decisions[i];
        decision->operator_name = "op";
        decision->content = "call-records 1 -";
        assert_int_equal(decision->count, 1);
        rows->decided[rows->decision_count - 1] = decision->offsets[0];
        decision->offsets = &rows->decided[rows->decision_count - 1];
    }
}

static void store_step(struct rows *rows, struct fold *fold)
{
    const struct step *step = fold_step(fold);
    rows->state = *fold_state(fold);
    rows->steps++;
    store_decisions(rows, step);
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
        if (step->rejects[i].input == INPUT_CALLS)
            rows->rejects[rows->reject_count++] = step->rejects[i].offset;
    if (step->closed) {
        rows->cutoffs[rows->cutoff_count].day = step->close.day;
        rows->cutoffs[rows->cutoff_count++].calls = step->close.cutoffs[INPUT_CALLS];
    }
    fold_step_done(fold);
}

static void restore_cutoffs(struct fold *fold, const struct rows *rows)
{
    struct error e = {0};
    for (size_t i = 0; i < rows->cutoff_count; i++) {
        const struct cutoff *calls = &rows->cutoffs[i].calls;
        if (calls->to_offset <= rows->state.calls_from)
            continue;
        assert_int_equal(fold_restore_cutoff(fold, rows->cutoffs[i].day, calls->to_offset, &e), 0);
        fold_restore_count(fold, calls->from_offset, calls->accepted + calls->duplicates);
    }
}

// ---- snapshots ----

struct snapshot_file {
    size_t size;
    char *bytes; // NULL: there is none
};

static void take_snapshot(struct snapshot_file *file, const struct fold *fold, int64_t step)
{
    const struct snapshot_row row = {.step = step};
    struct snapshot *snapshot = fold_snapshot(fold, &row);
    struct slice piece;
    assert_true(fold_snapshot_accounts(fold, snapshot, SIZE_MAX));
    file->size = 0;
    while (snapshot_next(snapshot, &piece)) {
        file->bytes = realloc(file->bytes, file->size + piece.size);
        memcpy(file->bytes + file->size, piece.data, piece.size);
        file->size += piece.size;
    }
    snapshot_free(snapshot);
}

// Whether its calls were taken: the older it is, the sooner it is of no use.
static bool use_snapshot(struct fold *fold, const struct snapshot_file *file, int64_t step)
{
    struct error e = {0};
    const struct snapshot_row row = {.step = step};
    struct snapshot_reader *reader = fold_read_snapshot(fold, &row);
    int failed = 0;
    for (size_t at = 0; !failed && !snapshot_is_whole(reader);) {
        size_t size;
        void *room = snapshot_room(reader, &size);
        size = size < file->size - at ? size : file->size - at;
        memcpy(room, file->bytes + at, size);
        at += size;
        failed = snapshot_take(reader, size, &e);
    }
    if (failed) {
        if (!strstr(e.text, "before what is needed"))
            fail_msg("%s", e.text);
        fold_leave_snapshot(fold);
    } else {
        fold_take_snapshot(fold, reader);
    }
    snapshot_reader_free(reader);
    return !failed;
}

static struct fold *restore_with(struct bench *b, struct rows *rows, const struct event *calls,
                                 size_t call_count, const struct snapshot_file *file, bool *used)
{
    struct error e = {0};
    struct fold *fold = bench_fold(b);
    bool done = false;
    assert_int_equal(fold_restore_state(fold, &rows->state, &e), 0);
    for (size_t i = 0; i < rows->account_count; i++)
        assert_int_equal(fold_restore_account(fold, &rows->accounts[i], NULL, &e), 0);
    for (size_t i = 0; i < rows->span_count; i++)
        assert_int_equal(fold_restore_span(fold, rows->spans[i].account, rows->spans[i].span, &e),
                         0);
    for (size_t i = 0; i < rows->package_count; i++)
        assert_int_equal(
            fold_restore_package(fold, rows->packages[i].account, &rows->packages[i].package, &e),
            0);
    for (size_t i = 0; i < rows->credit_count; i++) {
        const struct restored_credit credit = {rows->credits[i].account, rows->credits[i].id,
                                               rows->credits[i].kind, rows->credits[i].amount,
                                               rows->credits[i].at};
        assert_int_equal(fold_restore_credit(fold, &credit, &e), 0);
    }
    restore_cutoffs(fold, rows);
    for (size_t i = 0; i < rows->reject_count; i++)
        if (rows->rejects[i] >= rows->state.calls_from)
            assert_int_equal(fold_restore_reject(fold, rows->rejects[i], &e), 0);
    for (size_t i = 0; i < rows->decision_count; i++)
        if (rows->decisions[i].kind == DECISION_PASS || rows->decisions[i].day >= rows->state.day)
            assert_int_equal(fold_restore_decision(fold, &rows->decisions[i],
                                                   rows->decisions[i].day >= rows->state.day, &e),
                             0);
    *used = file->bytes && use_snapshot(fold, file, rows->steps);
    if (*used && fold_replay_reached(fold, fold_replay_position(fold), &done, &e) != 0)
        fail_msg("%s", e.text);
    if ((!done && fold_replay(fold, calls, call_count, &done, &e) != 0) ||
        (!done && fold_replay_reached(fold, b->offsets[INPUT_CALLS], &done, &e) != 0))
        fail_msg("%s", e.text);
    assert_true(done);
    return fold;
}

static struct fold *restore(struct bench *b, struct rows *rows, const struct event *calls,
                            size_t call_count)
{
    bool used;
    return restore_with(b, rows, calls, call_count, &(struct snapshot_file){0}, &used);
}

// ---- worlds ----

static uint64_t seed_state;

static int64_t pick(int64_t below)
{
    seed_state = seed_state * 6364136223846793005u + 1442695040888963407u;
    return (int64_t)((seed_state >> 33) % (uint64_t)below);
}

static char ids[IDS][16], accounts[ACCOUNTS][16];

struct world {
    struct bench *b; // its fold runs through
    struct fold *restarted;
    struct rows *rows;
    size_t call_count;
    struct event calls[2 * EVENTS + ROWS];
    size_t broken_count;
    int64_t broken[ROWS]; // offsets of broken calls that nobody has decided about
    int64_t restarts, holds, passes, used;
    struct snapshot_file snapshot;
};

// Late days go down and up again, and a dearer price book follows, while the world runs.
static void change_policy(struct bench *b)
{
    struct error e = {0};
    struct book dearer = *b->policy.shelf.books[0];
    memset(dearer.sha256, 'f', 64);
    dearer.effective_from = b->first_day + 10;
    dearer.services[SERVICE_PURCHASE_INTENT].tiers[0].unit_price++;
    assert_int_equal(shelf_add(&b->policy.shelf, &dearer, &e), 0);
    for (b->policy.count = 1; b->policy.count < 4; b->policy.count++) {
        struct parameters *row = &b->policy.rows[b->policy.count];
        *row = b->policy.rows[0];
        row->from_day = b->first_day + 7 * (day_t)b->policy.count;
        row->late_days = (int32_t)pick(8);
        row->grace_ms = pick(60) * MINUTE;
    }
}

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
        ev = credit(b, account, id, pick(3) ? CREDIT_TOP_UP : CREDIT_ADJUSTMENT,
                    pick(40000000) - 1000000, when);
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
    assert_int_equal(a->close.decision_count, b->close.decision_count);
    for (size_t i = 0; i < a->close.decision_count; i++)
        assert_string_equal(a->close.decisions[i], b->close.decisions[i]);
    assert_int_equal(a->close.late, b->close.late);
}

// Both have made the same step; it is committed.
static void commit_both(struct world *w)
{
    assert_same_steps(w->b->fold, w->restarted);
    fold_step_done(w->b->fold);
    store_step(w->rows, w->restarted);
}

static void decide_both(struct world *w, enum decision_kind kind, enum input input, int64_t offset)
{
    struct error e = {0};
    struct decision decision = decision_about(kind, input, &offset, 1);
    decision.as_of = w->b->now;
    enum reject_reason reason = kind == DECISION_PASS ? REJECT_NONE : REJECT_UNDECODABLE;
    assert_int_equal(fold_decide(w->b->fold, &decision, &reason, &e), 0);
    assert_int_equal(fold_decide(w->restarted, &decision, &reason, &e), 0);
}

// False: the day is held.
static bool close_both(struct world *w)
{
    struct error e = {0};
    struct fold *folds[] = {w->b->fold, w->restarted};
    bool due = fold_close_due(w->b->fold);
    for (int f = 0; f < 2; f++) {
        for (enum input i = 0; i < INPUT_COUNT && !due; i++) {
            fold_clock_end(folds[f], i, w->b->offsets[i], w->b->now);
            fold_reached(folds[f], i, w->b->offsets[i]);
        }
        if (fold_close_due(folds[f]))
            assert_int_equal(fold_close(folds[f], &e), 0);
    }
    bool held = fold_state(w->b->fold)->held;
    w->holds += fold_step(w->b->fold)->hold_count > 0;
    assert_int_equal(held, !fold_step(w->b->fold)->closed);
    commit_both(w);
    return !held;
}

// Operators decide about a few broken calls, of whatever day.
static void decide_some(struct world *w)
{
    for (int64_t n = pick(40); n > 0 && w->broken_count > 0; n--) {
        int64_t *at = &w->broken[pick((int64_t)w->broken_count)];
        decide_both(w, pick(2) ? DECISION_ACCEPT : DECISION_REQUEUE, INPUT_CALLS, *at);
        *at = w->broken[--w->broken_count];
    }
    if (fold_close_due(w->b->fold))
        close_both(w); // released
    else
        commit_both(w);
}

static void feed_both(struct world *w, enum input input, struct event ev)
{
    struct error e = {0};
    size_t consumed;
    if (ev.fault == REJECT_NONE && pick(200) == 0) { // of a broker with another clock: passed
        ev.timestamp = w->b->now + 1000 * DAY_MS;
        assert_int_equal(
            fold_records(w->b->fold, input, (struct event_batch){&ev, 1}, w->b->now, &consumed, &e),
            FOLD_FUTURE);
        assert_int_equal(fold_records(w->restarted, input, (struct event_batch){&ev, 1}, w->b->now,
                                      &consumed, &e),
                         FOLD_FUTURE);
        decide_both(w, DECISION_PASS, input, ev.offset);
        w->passes++;
        if (pick(2))
            commit_both(w);
    }
    if (input == INPUT_CALLS)
        w->calls[w->call_count++] = ev;
    if (input == INPUT_CALLS && ev.fault != REJECT_NONE)
        w->broken[w->broken_count++] = ev.offset;
    assert_int_equal(
        fold_records(w->b->fold, input, (struct event_batch){&ev, 1}, w->b->now, &consumed, &e),
        FOLD_MORE);
    assert_int_equal(
        fold_records(w->restarted, input, (struct event_batch){&ev, 1}, w->b->now, &consumed, &e),
        FOLD_MORE);
    commit_both(w);
}

// An earlier call once more; broken ones too.
static struct event repeated(struct world *w)
{
    struct event ev = w->calls[pick((int64_t)w->call_count)];
    ev.offset = w->b->offsets[INPUT_CALLS]++;
    ev.timestamp = w->b->now;
    return ev;
}

static void restart(struct world *w)
{
    static const struct snapshot_file none;
    bool used;
    fold_destroy(w->restarted);
    w->restarted =
        restore_with(w->b, w->rows, w->calls, w->call_count, pick(2) ? &w->snapshot : &none, &used);
    w->used += used;
    w->restarts++;
    assert_int_equal(fold_resident_calls(w->restarted), fold_resident_calls(w->b->fold));
}

static void free_rows(struct rows *rows)
{
    for (size_t i = 0; i < rows->account_count; i++)
        free((void *)(uintptr_t)rows->accounts[i].id.data);
    for (size_t i = 0; i < rows->span_count; i++)
        free((void *)(uintptr_t)rows->spans[i].account.data);
    for (size_t i = 0; i < rows->package_count; i++) {
        free((void *)(uintptr_t)rows->packages[i].account.data);
        free((void *)(uintptr_t)rows->packages[i].package.id.data);
    }
    for (size_t i = 0; i < rows->credit_count; i++) {
        free((void *)(uintptr_t)rows->credits[i].account.data);
        free((void *)(uintptr_t)rows->credits[i].id.data);
    }
    free(rows);
}

static void feed_some(struct world *w)
{
    enum input input = pick(8) ? INPUT_CALLS : pick(4) ? INPUT_CREDITS : INPUT_PURCHASES;
    feed_both(w, input, random_event(w->b, input, w->b->now));
    if (w->call_count > 0 && pick(4) == 0)
        feed_both(w, INPUT_CALLS, repeated(w));
    for (int i = pick(400) ? BURST : 0; i < BURST; i++) { // a wrong deployment
        struct event ev = random_event(w->b, INPUT_CALLS, w->b->now);
        ev.fault = REJECT_UNDECODABLE;
        ev.fault_detail = "broken";
        feed_both(w, INPUT_CALLS, ev);
    }
}

static void run_world(struct world *w, uint64_t seed)
{
    w->b = bench_create();
    w->rows = calloc(1, sizeof *w->rows);
    w->call_count = w->broken_count = 0;
    seed_state = seed;
    change_policy(w->b);
    w->restarted = bench_fold(w->b);
    fold_begin(w->restarted, (int64_t[INPUT_COUNT]){0, 0, 0});
    store_step(w->rows, w->restarted);
    for (int n = 0; n < EVENTS; n++) {
        w->b->now += pick(60) * MINUTE;
        while (w->b->now >= fold_due_at(w->b->fold) && !fold_state(w->b->fold)->held)
            if (!close_both(w))
                break;
        feed_some(w);
        if (pick(fold_state(w->b->fold)->held ? 10 : 100) == 0)
            decide_some(w);
        if (pick(60) == 0)
            take_snapshot(&w->snapshot, w->restarted, w->rows->steps);
        if (pick(40) == 0)
            restart(w);
    }
    fold_destroy(w->restarted);
    free(w->snapshot.bytes);
    w->snapshot = (struct snapshot_file){0};
    free_rows(w->rows);
    bench_destroy(w->b);
}

// R24, R49
static void restarts_change_nothing(void **state)
{
    (void)state;
    for (int i = 0; i < IDS; i++)
        snprintf(ids[i], sizeof ids[i], "id-%d", i);
    for (int i = 0; i < ACCOUNTS; i++)
        snprintf(accounts[i], sizeof accounts[i], "account-%d", i);
    struct world *w = calloc(1, sizeof *w);
    for (uint64_t seed = 1; seed <= SEEDS; seed++)
        run_world(w, seed);
    assert_true(w->restarts > SEEDS);
    assert_true(w->holds > SEEDS);
    assert_true(w->passes > SEEDS);
    assert_true(w->used > SEEDS);
    free(w);
}

// ---- contradictions ----

struct past {
    struct bench *b;
    struct rows *rows;
    struct event calls[6];
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

// Before the replay.
static struct fold *restored(const struct past *p)
{
    struct error e = {0};
    struct fold *fold = bench_fold(p->b);
    assert_int_equal(fold_restore_state(fold, &p->rows->state, &e), 0);
    for (size_t i = 0; i < p->rows->account_count; i++)
        assert_int_equal(fold_restore_account(fold, &p->rows->accounts[i], NULL, &e), 0);
    restore_cutoffs(fold, p->rows);
    for (size_t i = 0; i < p->rows->reject_count; i++)
        assert_int_equal(fold_restore_reject(fold, p->rows->rejects[i], &e), 0);
    return fold;
}

// The registry may not answer when a shard starts again: the schema of a record that was refused,
// or rejected for want of one, is not waited for.
static void a_replay_needs_no_record_that_was_rejected(void **state)
{
    (void)state;
    struct past p = make_past();
    struct fold *fold = restored(&p);
    struct error e = {0};
    bool done;
    p.calls[1].schema_pending = true;
    for (int i = 0; i < 3; i++)
        assert_int_equal(fold_replay_needs(fold, i), i != 1);
    assert_false(fold_replay_needs(fold, 3)); // was not judged yet
    assert_int_equal(fold_replay(fold, p.calls, 3, &done, &e), 0);
    assert_true(done);
    fold_destroy(fold);
    free_rows(p.rows);
    bench_destroy(p.b);
}

// One account is explained without keeping the calls of all others; what is read is counted all the
// same.
static void a_replay_of_one_account_counts_the_others(void **state)
{
    (void)state;
    struct past p = {.b = bench_create(), .rows = calloc(1, sizeof(struct rows))};
    p.calls[0] = call(p.b, "b", "c0", -1, at(p.b, 0, HOUR));
    p.calls[1] = call(p.b, "a", "c0", 7, at(p.b, 0, HOUR));
    p.calls[2] = call(p.b, "b", "c1", -1, at(p.b, 0, HOUR));
    for (int i = 0; i < 3; i++)
        accept(p.b, INPUT_CALLS, p.calls[i]);
    store_step(p.rows, p.b->fold);
    for (int gone = 0; gone < 2; gone++) {
        struct error e = {0};
        bool done = false;
        struct fold *fold = restored(&p);
        fold_replay_only(fold, text("a"));
        assert_int_equal(fold_replay(fold, p.calls + gone, (size_t)(3 - gone), &done, &e),
                         gone ? -1 : 0);
        assert_int_equal(done, !gone);
        assert_int_equal(fold_calls_of_day(fold, fold_state(fold)->day), 1);
        if (gone)
            assert_non_null(strstr(e.text, "the calls log has 2 accepted calls and 0 duplicates"));
        fold_destroy(fold);
    }
    free_rows(p.rows);
    bench_destroy(p.b);
}

static void expect_contradiction(struct past *p, const struct event *calls, size_t count,
                                 const char *words)
{
    struct error e = {0};
    struct fold *fold = restored(p);
    bool done;
    int result = fold_replay(fold, calls, count, &done, &e);
    if (result == 0 && !done)
        result = fold_replay_reached(fold, p->rows->state.log[INPUT_CALLS].next, &done, &e);
    assert_int_equal(result, -1);
    assert_int_equal(e.kind, ERROR_CONFIG);
    if (!strstr(e.text, words))
        fail_msg("\"%s\" does not say \"%s\"", e.text, words);
    fold_destroy(fold);
    free_rows(p->rows);
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
    expect_contradiction(&p, calls, 2,
                         "shard 0: the calls log contradicts the recorded verdicts at offset 1: a "
                         "rejected record is not there any more; the topic or the database was "
                         "changed after the fact: see the runbook");
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

static void a_last_record_that_is_gone_is_noticed(void **state)
{
    (void)state;
    struct past p = make_past();
    p.rows->state.log[INPUT_CALLS].accepted = 1; // else the counts tell
    p.rows->state.log[INPUT_CALLS].voids = 1;
    expect_contradiction(&p, p.calls, 2, "offset 2: the last record that was read is not there");
}

// The same on a day that is settled, behind which an aborted transaction lies (its record would be
// calls[3]), and one more call on the next day: what is wrong is wrong before the open day.
static struct past make_settled_past(void)
{
    struct past p = make_past();
    accept(p.b, INPUT_CREDITS, credit(p.b, "a", "t", CREDIT_TOP_UP, 100000000, at(p.b, 0, HOUR)));
    p.calls[3] = call(p.b, "a", "c3", -1, at(p.b, 0, HOUR));
    p.b->offsets[INPUT_CALLS]++; // and its marker
    assert_int_equal(fold_reached(p.b->fold, INPUT_CALLS, p.b->offsets[INPUT_CALLS]), FOLD_MORE);
    store_step(p.rows, p.b->fold);
    settle(p.b);
    store_step(p.rows, p.b->fold);
    p.calls[4] = call(p.b, "a", "c4", -1, at(p.b, 1, HOUR));
    accept(p.b, INPUT_CALLS, p.calls[4]);
    store_step(p.rows, p.b->fold);
    assert_int_equal(p.rows->state.calls_from, 0);
    return p;
}

static void an_aborted_record_of_a_settled_day_that_shows_is_noticed(void **state)
{
    (void)state;
    struct past p = make_settled_past();
    expect_contradiction(&p, p.calls, 5,
                         "the calls log has 3 accepted calls and duplicates in offsets 0..5, but 2 "
                         "are recorded (records "
                         "show that were not there)");
}

static void a_committed_record_of_a_settled_day_that_is_gone_is_noticed(void **state)
{
    (void)state;
    struct past p = make_settled_past();
    struct event calls[] = {p.calls[0], p.calls[1], p.calls[4]};
    expect_contradiction(&p, calls, 3,
                         "the calls log has 1 accepted calls and duplicates in offsets 0..5, but 2 "
                         "are recorded (records "
                         "are gone)");
}

// The day's earlier calls are forgotten and not read again, so the rest of the day cannot be
// counted.
static void a_settled_day_of_which_a_part_is_read_again_is_not_counted(void **state)
{
    (void)state;
    struct past p = make_settled_past();
    struct event calls[] = {p.calls[2], p.calls[4]};
    p.rows->state.calls_from = 2;
    struct fold *fold = restore(p.b, p.rows, calls, 2);
    fold_destroy(fold);
    free_rows(p.rows);
    bench_destroy(p.b);
}

static void an_aborted_record_of_the_open_day_that_shows_is_noticed(void **state)
{
    (void)state;
    struct past p = make_past();
    p.calls[3] = call(p.b, "a", "c3", -1, at(p.b, 0, HOUR));
    assert_int_equal(fold_reached(p.b->fold, INPUT_CALLS, p.b->offsets[INPUT_CALLS]), FOLD_MORE);
    store_step(p.rows, p.b->fold);
    expect_contradiction(&p, p.calls, 4,
                         "but 2 and 0 are recorded (records show that were not there)");
}

static void a_suspension_of_no_instant_is_noticed(void **state)
{
    (void)state;
    struct past p = make_past();
    settle(p.b);
    store_step(p.rows, p.b->fold);
    assert_int_equal(p.rows->accounts[0].state, ACCOUNT_SUSPENDED);
    expect_contradiction(&p, p.calls, 3, "account a: its status changes contradict its status");
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
        cmocka_unit_test(a_replay_needs_no_record_that_was_rejected),
        cmocka_unit_test(a_replay_of_one_account_counts_the_others),
        cmocka_unit_test(a_missing_call_is_noticed),
        cmocka_unit_test(a_missing_reject_is_noticed),
        cmocka_unit_test(another_record_at_the_position_is_noticed),
        cmocka_unit_test(an_unrecorded_conflict_is_noticed),
        cmocka_unit_test(a_broken_record_that_was_accepted_is_noticed),
        cmocka_unit_test(a_last_record_that_is_gone_is_noticed),
        cmocka_unit_test(an_aborted_record_of_a_settled_day_that_shows_is_noticed),
        cmocka_unit_test(a_committed_record_of_a_settled_day_that_is_gone_is_noticed),
        cmocka_unit_test(a_settled_day_of_which_a_part_is_read_again_is_not_counted),
        cmocka_unit_test(an_aborted_record_of_the_open_day_that_shows_is_noticed),
        cmocka_unit_test(a_suspension_of_no_instant_is_noticed),
        cmocka_unit_test(counts_that_do_not_add_up_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
