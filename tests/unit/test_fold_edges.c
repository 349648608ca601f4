// The fold at its limits: what it refuses, where it stops, what it reports about itself.
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

static void says(const struct error *e, const char *words)
{
    if (!strstr(e->text, words))
        fail_msg("\"%s\" does not say \"%s\"", e->text, words);
}

// ---- symbols ----

// Every value of an enum from `first` on has its own text, from which it can be read back;
// `unknown` is not the text of any value.
#define ASSERT_SYMBOLS(type, symbol_of, parse, first, last, unknown)                               \
    do {                                                                                           \
        type read;                                                                                 \
        for (int i = (first); i <= (int)(last); i++) {                                             \
            assert_true(parse(symbol_of((type)i), &read));                                         \
            assert_int_equal(read, i);                                                             \
        }                                                                                          \
        assert_false(parse(unknown, &read));                                                       \
        assert_false(parse("", &read));                                                            \
    } while (0)

static void symbols_are_read_back(void **state)
{
    (void)state;
    ASSERT_SYMBOLS(enum decision_kind, decision_symbol, decision_parse, DECISION_ACCEPT,
                   DECISION_REFUSE, "FORGIVE");
    ASSERT_SYMBOLS(enum cut_by, cut_symbol, cut_parse, CUT_RECORD, CUT_RELEASE, "NONE");
    ASSERT_SYMBOLS(enum charge, charge_symbol, charge_parse, CHARGE_PACKAGE, CHARGE_POSTPAID,
                   "GIFT");
    ASSERT_SYMBOLS(enum account_state, account_state_symbol, account_state_parse, ACCOUNT_ACTIVE,
                   ACCOUNT_SUSPENDED, "active");
    ASSERT_SYMBOLS(enum cause, cause_symbol, cause_parse, CAUSE_ARREARS, CAUSE_ADJUSTMENT,
                   "UNKNOWN");
    ASSERT_SYMBOLS(enum credit_kind, credit_kind_symbol, credit_kind_parse, CREDIT_TOP_UP,
                   CREDIT_ADJUSTMENT, "REFUND");
    ASSERT_SYMBOLS(enum partitioner, partitioner_symbol, partitioner_parse, PARTITIONER_MURMUR2,
                   PARTITIONER_CRC32, "random");
    ASSERT_SYMBOLS(enum framing, framing_symbol, framing_parse, FRAMING_CONFLUENT, FRAMING_APICURIO,
                   "Confluent");
    ASSERT_SYMBOLS(enum timestamps, timestamps_symbol, timestamps_parse, TIMESTAMPS_LOG_APPEND,
                   TIMESTAMPS_CREATE, "CreateTime");
    assert_string_equal(cut_symbol(CUT_RELEASE), "RELEASE");
    assert_string_equal(charge_symbol(CHARGE_PACKAGE), "PACKAGE");
    assert_string_equal(account_state_symbol(ACCOUNT_SUSPENDED), "SUSPENDED");
    assert_string_equal(cause_symbol(CAUSE_ADJUSTMENT), "ADJUSTMENT");
    assert_string_equal(credit_kind_symbol(CREDIT_TOP_UP), "TOP_UP");
    assert_string_equal(partitioner_symbol(PARTITIONER_CRC32), "crc32");
    assert_string_equal(timestamps_symbol(TIMESTAMPS_CREATE), "create");
}

// ---- what it reports about itself ----

static void the_day_has_phases(void **state)
{
    struct bench *b = *state;
    assert_int_equal(fold_phase(b->fold, at(b, 1, 0) - 1), DAY_OPEN);
    assert_int_equal(fold_phase(b->fold, at(b, 1, 0)), DAY_GRACE);
    assert_int_equal(fold_phase(b->fold, at(b, 1, 5 * MINUTE) - 1), DAY_GRACE);
    assert_int_equal(fold_phase(b->fold, at(b, 1, 5 * MINUTE)), DAY_CLOSING);
}

static void it_counts_what_it_holds(void **state)
{
    struct bench *b = *state;
    size_t before = fold_memory(b->fold);
    for (int i = 0; i < 5000; i++) { // beyond a block, and beyond the index's first sizes
        char id[16], account[16];
        snprintf(id, sizeof id, "call-%d", i);
        snprintf(account, sizeof account, "account-%d", i % 1000);
        accept(b, INPUT_CALLS, call(b, account, id, -1, at(b, 0, HOUR)));
    }
    assert_int_equal(fold_resident_calls(b->fold), 5000);
    assert_int_equal(fold_calls_of_day(b->fold, b->first_day), 5000);
    assert_int_equal(fold_calls_of_day(b->fold, b->first_day + 1), 0);
    assert_int_equal(fold_account_count(b->fold), 1000);
    assert_true(fold_memory(b->fold) > before + 5000 * 28);
    assert_ptr_equal(fold_policy(b->fold), &b->policy);
    const struct step *step = settle(b);
    assert_int_equal(step->settlement_count, 1000);
    for (size_t i = 1; i < step->settlement_count; i++) { // byte order
        struct slice x = fold_account(b->fold, step->settlements[i - 1].account)->id;
        struct slice y = fold_account(b->fold, step->settlements[i].account)->id;
        size_t common = x.size < y.size ? x.size : y.size;
        int order = memcmp(x.data, y.data, common);
        assert_true(order < 0 || (order == 0 && x.size < y.size));
    }
}

static void collect(void *context, const struct settlement_line *line, int64_t occurred_at,
                    int64_t units, uint64_t ordinal)
{
    char *out = context;
    snprintf(out + strlen(out), 256 - strlen(out), "%s %d %d %d@%d; ", charge_symbol(line->charge),
             (int)units, (int)line->unit_price, (int)ordinal, (int)(occurred_at % DAY_MS / HOUR));
}

// R14
static void one_account_is_traced_in_the_order_of_drawing(void **state)
{
    struct bench *b = *state;
    char seen[256] = "";
    accept(b, INPUT_PURCHASES,
           purchase(b, "a", "p", SERVICE_PURCHASE_INTENT, 10000, 7000000, at(b, 0, 0)));
    struct event late = call(b, "a", "second", 12000, at(b, 0, 14 * HOUR));
    accept(b, INPUT_CALLS, late);
    struct event early = call(b, "a", "first", 9000, at(b, 0, 10 * HOUR));
    early.timestamp = late.timestamp;
    accept(b, INPUT_CALLS, early);
    accept(b, INPUT_CALLS, call(b, "b", "another's", 9000, at(b, 0, 15 * HOUR)));
    fold_set_trace(b->fold, text("a"), collect, seen);
    settle(b);
    // hours in UTC
    assert_string_equal(seen, "PACKAGE 9000 0 1@2; PACKAGE 1000 0 0@6; POSTPAID 11000 800 0@6; ");
}

// ---- where it stops ----

// R1
static void a_balance_that_overflows_stops_it(void **state)
{
    struct bench *b = *state;
    struct account rich = {.id = text("a"), .opening = INT64_MAX - 5};
    struct error e = {0};
    assert_int_equal(fold_restore_account(b->fold, &rich, NULL, &e), 0);
    accept(b, INPUT_CREDITS, credit(b, "a", "k1", CREDIT_TOP_UP, 5, at(b, 0, 0)));
    struct event ev = credit(b, "a", "k2", CREDIT_TOP_UP, 1, at(b, 0, 0));
    size_t consumed;
    assert_int_equal(
        fold_records(b->fold, INPUT_CREDITS, (struct event_batch){&ev, 1}, b->now, &consumed, &e),
        FOLD_BROKEN);
    assert_int_equal(e.kind, ERROR_CONFIG);
    says(&e, "account a, day 2026-11-01: its balance would pass 64 bits");
    says(&e, "offset 1 of the credits");
    assert_int_equal(fold_account(b->fold, 0)->credits, 5);
}

static void a_debt_that_overflows_stops_the_close(void **state)
{
    struct bench *b = *state;
    struct account poor = {.id = text("a"), .opening = INT64_MIN + 5};
    struct error e = {0};
    assert_int_equal(fold_restore_account(b->fold, &poor, NULL, &e), 0);
    accept(b, INPUT_CALLS, call(b, "a", "c", -1, at(b, 0, HOUR)));
    for (enum input i = 0; i < INPUT_COUNT; i++)
        fold_clock_end(b->fold, i, b->offsets[i], fold_due_at(b->fold));
    assert_int_equal(fold_close(b->fold, &e), -1);
    says(&e, "account a, day 2026-11-01: what is to be settled would pass 64 bits");
}

static void a_step_that_is_full_waits_for_its_commit(void **state)
{
    struct bench *b = *state;
    enum fold_stop stop = FOLD_MORE;
    int count = 0;
    for (; stop == FOLD_MORE && count < 100000; count++) {
        char id[16];
        snprintf(id, sizeof id, "credit-%d", count);
        stop = feed(b, INPUT_CREDITS, credit(b, "a", id, CREDIT_TOP_UP, 1, at(b, 0, 0)));
    }
    assert_int_equal(stop, FOLD_STEP_FULL);
    b->offsets[INPUT_CREDITS]--;
    fold_step_done(b->fold);
    accept(b, INPUT_CREDITS, credit(b, "a", "one more", CREDIT_TOP_UP, 1, at(b, 0, 0)));
    assert_int_equal(fold_account(b->fold, 0)->credits, count);
}

// R41
static void a_key_of_another_partition_is_misrouted(void **state)
{
    struct bench *b = *state;
    b->policy.fixed.partitions = 1000;
    reject(b, INPUT_CALLS, call(b, "a", "c", -1, at(b, 0, 0)), REJECT_MISROUTED);
    assert_non_null(strstr(fold_step(b->fold)->rejects[0].detail, "of 1000"));
}

static void a_cut_log_takes_nothing_more(void **state)
{
    struct bench *b = *state;
    int64_t due = fold_due_at(b->fold);
    b->now = due;
    fold_clock_end(b->fold, INPUT_CALLS, 0, due);
    assert_int_equal(fold_cut(b->fold, INPUT_CALLS), CUT_CLOCK);
    assert_int_equal(feed(b, INPUT_CALLS, call(b, "a", "c", -1, due - 1)), FOLD_CUT);
    assert_false(fold_wants_end(b->fold, INPUT_CALLS, due));
    fold_clock_end(b->fold, INPUT_CALLS, 7, due); // ignored
    assert_int_equal(fold_state(b->fold)->log[INPUT_CALLS].next, 0);
}

static void an_end_below_the_position_is_stale(void **state)
{
    struct bench *b = *state;
    accept(b, INPUT_CALLS, call(b, "a", "c", -1, at(b, 0, 0)));
    fold_clock_end(b->fold, INPUT_CALLS, 0, fold_due_at(b->fold));
    assert_int_equal(fold_cut(b->fold, INPUT_CALLS), CUT_NONE);
    assert_true(fold_wants_end(b->fold, INPUT_CALLS, fold_due_at(b->fold)));
}

static void records_below_the_position_are_dropped(void **state)
{
    struct bench *b = *state;
    struct event ev = call(b, "a", "c", -1, at(b, 0, 0));
    accept(b, INPUT_CALLS, ev);
    assert_int_equal(feed(b, INPUT_CALLS, ev), FOLD_MORE);
    assert_int_equal(fold_state(b->fold)->log[INPUT_CALLS].duplicates, 0);
    assert_int_equal(fold_state(b->fold)->log[INPUT_CALLS].next, 1);
}

// ---- batches ----

static void feed_batches(struct bench *b, struct fold *fold, const struct event *events,
                         size_t count, size_t most)
{
    struct error e = {0};
    for (size_t done = 0; done < count;) {
        size_t taken, size = count - done < most ? count - done : most;
        enum fold_stop stop = fold_records(
            fold, INPUT_CALLS, (struct event_batch){events + done, size}, b->now, &taken, &e);
        done += taken;
        if (stop == FOLD_SCHEMA)
            done++; // as if its schema had come, and told that it is void
        else
            assert_int_equal(stop, FOLD_MORE);
    }
}

// Records are looked up before they are judged; records that are judged in between must not change
// the result.
static void batches_of_any_size_are_judged_alike(void **state)
{
    struct bench *b = *state;
    enum { COUNT = 600 };
    static char ids[COUNT][16];
    struct event *events = calloc(COUNT, sizeof *events);
    b->now = at(b, 0, HOUR);
    for (int i = 0; i < COUNT; i++) {
        int id = i * 7 % 311; // most of them twice
        snprintf(ids[i], sizeof ids[i], "c%d", id);
        events[i] = call(b, id % 3 ? "a" : "b", ids[i], id % 5 ? 10 : -1, at(b, 0, 0));
        events[i].timestamp = b->now;
        if (i % 13 == 0)
            events[i].key = (struct slice){0};
        if (i % 17 == 0)
            events[i].record.field[CALL_CALL_ID] = (struct value){0};
        if (i % 29 == 0)
            events[i].offset -= 3; // delivered before
        if (i % 31 == 0)
            events[i].schema_pending = true;
        if (i % 37 == 0) {
            events[i] = event(b, INPUT_CALLS, "a", b->now);
            events[i].fault = REJECT_UNDECODABLE;
            events[i].fault_detail = "x";
        }
    }
    feed_batches(b, b->fold, events, COUNT, 1);
    static const size_t sizes[] = {2, 7, 15, 16, 17, 33, COUNT};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        struct fold *other = bench_fold(b);
        fold_begin(other, (int64_t[INPUT_COUNT]){0, 0, 0});
        feed_batches(b, other, events, COUNT, sizes[s]);
        assert_memory_equal(fold_state(b->fold), fold_state(other), sizeof(struct fold_state));
        assert_int_equal(fold_step(b->fold)->reject_count, fold_step(other)->reject_count);
        for (size_t i = 0; i < fold_step(other)->reject_count; i++) {
            assert_int_equal(fold_step(b->fold)->rejects[i].offset,
                             fold_step(other)->rejects[i].offset);
            assert_int_equal(fold_step(b->fold)->rejects[i].reason,
                             fold_step(other)->rejects[i].reason);
        }
        fold_destroy(other);
    }
    assert_true(fold_state(b->fold)->log[INPUT_CALLS].duplicates > 100);
    free(events);
}

// ---- decisions ----

static void decisions_about_nothing_are_refused(void **state)
{
    struct bench *b = *state;
    struct error e = {0};
    accept(b, INPUT_CALLS, call(b, "a", "c", -1, at(b, 0, 0)));
    assert_int_equal(decide_one(b->fold, DECISION_PASS, 0, REJECT_NONE, &e), -1);
    says(&e, "call-records/0/0: the record was judged already");
    assert_int_equal(decide_one(b->fold, DECISION_ACCEPT, 0, REJECT_NONE, &e), -1);
    says(&e, "not among the rejects");
    assert_int_equal(decide_one(b->fold, DECISION_REQUEUE, 5, REJECT_INVALID, &e), -1);
    says(&e, "not among the rejects");
    assert_int_equal(decide_one(b->fold, DECISION_PASS, 5, REJECT_NONE, &e), 0);
    assert_int_equal(decide_one(b->fold, DECISION_PASS, 5, REJECT_NONE, &e), -1);
    says(&e, "passed already");
    assert_int_equal(fold_state(b->fold)->decisions, 1);
}

// One decision about many records is made about all of them, or about none.
static void a_decision_is_about_all_of_its_records_or_none(void **state)
{
    struct bench *b = *state;
    struct error e = {0};
    const int64_t offsets[] = {0, 2, 3};
    enum reject_reason reasons[] = {REJECT_UNDECODABLE, REJECT_UNDECODABLE, REJECT_NONE};
    for (int i = 0; i < 4; i++) {
        struct event ev = event(b, INPUT_CALLS, "a", b->now);
        ev.fault = REJECT_UNDECODABLE;
        ev.fault_detail = "x";
        reject(b, INPUT_CALLS, ev, REJECT_UNDECODABLE);
    }
    const struct log_state *log = &fold_state(b->fold)->log[INPUT_CALLS];
    struct decision decision = decision_about(DECISION_ACCEPT, INPUT_CALLS, offsets, 3);
    assert_int_equal(fold_decide(b->fold, &decision, reasons, &e), -1);
    says(&e, "call-records/0/3: it is not among the rejects, or was decided already");
    assert_int_equal(log->undecided, 4);
    assert_int_equal(fold_state(b->fold)->decisions, 0);
    reasons[2] = REJECT_UNDECODABLE;
    assert_int_equal(fold_decide(b->fold, &decision, reasons, &e), 0);
    assert_int_equal(log->undecided, 1);
    assert_int_equal(log->undecided_of[REJECTS_BROKEN], 1);
    assert_int_equal(fold_step(b->fold)->decision_count, 1);
    assert_int_equal(fold_step(b->fold)->decisions[0].count, 3);
    assert_int_equal(fold_step(b->fold)->decisions[0].offsets[1], 2);
}

// schemas/README.md has this vector.
static void the_digest_of_a_decision_is_that_of_its_coordinates(void **state)
{
    char content[DECISION_CONTENT_SIZE];
    (void)state;
    decision_content(&(struct decided_records){"call-records", 3, 3, (int64_t[]){7, 1234, 99999}},
                     content);
    assert_string_equal(content,
                        "call-records 3 "
                        "61c6d1a95c0cd59c414613790d838a0de587fec8d79d1c41602442442715a122");
}

// A record whose schema cannot be had: its log waits until somebody decides.
static void what_waits_for_its_schema_may_be_refused(void **state)
{
    struct bench *b = *state;
    struct error e = {0};
    struct event ev = call(b, "a", "c", -1, at(b, 0, 0));
    ev.schema_pending = true;
    ev.schema_id = 4711;
    assert_int_equal(feed(b, INPUT_CALLS, ev), FOLD_SCHEMA);
    assert_int_equal(decide_one(b->fold, DECISION_REFUSE, ev.offset, REJECT_NONE, &e), 0);
    assert_int_equal(decide_one(b->fold, DECISION_REFUSE, ev.offset, REJECT_NONE, &e), -1);
    says(&e, "it was refused already");
    assert_int_equal(feed(b, INPUT_CALLS, ev), FOLD_MORE);
    const struct step *step = fold_step(b->fold);
    assert_int_equal(step->reject_count, 1);
    assert_int_equal(step->rejects[0].reason, REJECT_UNKNOWN_SCHEMA);
    assert_string_equal(step->rejects[0].detail,
                        "its schema, of id 4711, could not be had, and an operator refused it");
    assert_int_equal(step->rejects[0].decision, 1);
    // It is decided: nobody has to accept it too, and it holds no day.
    const struct log_state *log = &fold_state(b->fold)->log[INPUT_CALLS];
    assert_int_equal(log->rejected, 1);
    assert_int_equal(log->undecided, 0);
    assert_int_equal(log->undecided_of[REJECTS_BROKEN], 0);
    assert_int_equal(decide_one(b->fold, DECISION_REFUSE, ev.offset, REJECT_UNKNOWN_SCHEMA, &e),
                     -1);
    says(&e, "was judged already");
    settle(b);
    assert_string_equal(fold_step(b->fold)->close.decisions[0], "1 REFUSE op call-records 1 -");
}

// Recorded before it takes effect: the record is refused also if its schema has come meanwhile, as
// it has for every replay. Others are judged as they are.
static void what_was_refused_stays_so(void **state)
{
    struct bench *b = *state;
    struct error e = {0};
    struct fold_state row = *fold_state(b->fold);
    const int64_t second = 1;
    struct decision refused = decision_about(DECISION_REFUSE, INPUT_CALLS, &second, 1);
    bool done;
    refused.number = row.decisions = 3;
    assert_int_equal(fold_restore_state(b->fold, &row, &e), 0);
    assert_int_equal(fold_restore_decision(b->fold, &refused, false, &e), 0);
    assert_int_equal(fold_replay_reached(b->fold, 0, &done, &e), 0);
    accept(b, INPUT_CALLS, call(b, "a", "c0", -1, at(b, 0, 0)));
    struct event ev = call(b, "a", "c1", -1, at(b, 0, 0));
    ev.schema_id = 5;
    reject(b, INPUT_CALLS, ev, REJECT_UNKNOWN_SCHEMA);
    accept(b, INPUT_CALLS, call(b, "a", "c2", -1, at(b, 0, 0)));
    assert_int_equal(fold_state(b->fold)->log[INPUT_CALLS].undecided, 0);
}

// In any order, many of them, each about its own record.
static void many_are_refused_in_any_order(void **state)
{
    struct bench *b = *state;
    struct error e = {0};
    enum { COUNT = 100 };
    for (int64_t i = 0; i < COUNT; i += 2) {
        int64_t offset = i * 7 % COUNT / 2 * 2;
        assert_int_equal(decide_one(b->fold, DECISION_REFUSE, offset, REJECT_NONE, &e), 0);
    }
    for (int i = 0; i < COUNT; i++) {
        char id[16];
        snprintf(id, sizeof id, "c%d", i);
        struct event ev = call(b, "a", id, -1, at(b, 0, 0));
        ev.schema_id = 5;
        if (i % 2 == 0)
            reject(b, INPUT_CALLS, ev, REJECT_UNKNOWN_SCHEMA);
        else
            accept(b, INPUT_CALLS, ev);
    }
}

static void a_decision_about_an_earlier_day_weighs_on_no_open_one(void **state)
{
    struct bench *b = *state;
    struct error e = {0};
    struct event ev = event(b, INPUT_CALLS, "a", b->now);
    ev.fault = REJECT_UNDECODABLE;
    ev.fault_detail = "x";
    reject(b, INPUT_CALLS, ev, REJECT_UNDECODABLE);
    settle(b);
    fold_step_done(b->fold);
    assert_int_equal(decide_one(b->fold, DECISION_ACCEPT, 0, REJECT_UNDECODABLE, &e), 0);
    assert_int_equal(fold_state(b->fold)->log[INPUT_CALLS].undecided, 0);
    assert_int_equal(fold_step(b->fold)->decision_count, 1);
    assert_int_equal(fold_step(b->fold)->decisions[0].day, b->first_day + 1);
    fold_step_done(b->fold);
    settle(b);
    assert_int_equal(fold_step(b->fold)->close.decision_count, 1); // named once
    fold_step_done(b->fold);
    settle(b);
    assert_int_equal(fold_step(b->fold)->close.decision_count, 0);
}

// ---- restoring ----

static void rows_that_contradict_each_other_are_refused(void **state)
{
    struct bench *b = *state;
    struct error e = {0};
    struct account account = {.id = text("a")};
    struct package package = {.id = text("p"), .units = 50, .remaining = 50, .valid_from = b->now};
    assert_int_equal(fold_restore_account(b->fold, &account, NULL, &e), 0);
    assert_int_equal(fold_restore_account(b->fold, &account, NULL, &e), -1);
    says(&e, "account a is restored twice");
    assert_int_equal(fold_restore_span(b->fold, text("a"), (struct span){5, INT64_MAX}, &e), -1);
    says(&e, "contradict its status");
    assert_int_equal(fold_restore_span(b->fold, text("a"), (struct span){5, 4}, &e), -1);
    assert_int_equal(fold_restore_span(b->fold, text("a"), (struct span){4, 5}, &e), 0);
    assert_int_equal(fold_restore_package(b->fold, text("a"), &package, &e), 0);
    assert_int_equal(fold_restore_package(b->fold, text("a"), &package, &e), -1);
    says(&e, "package p of account a is restored twice");
    const struct restored_credit of_a = {text("a"), text("k"), CREDIT_TOP_UP, 5, b->now};
    const struct restored_credit of_b = {text("b"), text("k"), CREDIT_TOP_UP, 5, b->now};
    assert_int_equal(fold_restore_credit(b->fold, &of_a, &e), 0);
    assert_int_equal(fold_restore_credit(b->fold, &of_b, &e), 0);
    assert_int_equal(fold_restore_credit(b->fold, &of_a, &e), -1);
    says(&e, "credit k of account a is restored twice");
    assert_int_equal(fold_restore_cutoff(b->fold, b->first_day, 5, &e), -1);
    says(&e, "out of order");
    assert_int_equal(fold_restore_reject(b->fold, 5, &e), 0);
    assert_int_equal(fold_restore_reject(b->fold, 5, &e), -1);
    says(&e, "out of order");
}

static void decisions_are_restored(void **state)
{
    struct bench *b = *state;
    struct error e = {0};
    const int64_t first = 0;
    struct decision accepted = decision_about(DECISION_ACCEPT, INPUT_CALLS, &first, 1),
                    passed = decision_about(DECISION_PASS, INPUT_CALLS, &first, 1);
    accepted.number = 7;
    passed.number = 8;
    passed.as_of = at(b, 0, HOUR);
    struct fold_state row = *fold_state(b->fold);
    row.decisions = 8;
    bool done;
    assert_int_equal(fold_restore_state(b->fold, &row, &e), 0);
    assert_int_equal(fold_restore_decision(b->fold, &accepted, true, &e), 0);
    assert_int_equal(fold_restore_decision(b->fold, &passed, false, &e), 0);
    accepted.number = 9;
    assert_int_equal(fold_restore_decision(b->fold, &accepted, true, &e), -1);
    says(&e, "decision 9 is recorded, but the shard's row counts 8");
    accepted.number = 0;
    assert_int_equal(fold_restore_decision(b->fold, &accepted, true, &e), -1);
    assert_int_equal(fold_replay_reached(b->fold, 0, &done, &e), 0);
    assert_true(done);
    struct event ev = call(b, "a", "c", -1, at(b, 0, HOUR));
    ev.timestamp = at(b, 5000, 0);
    size_t consumed;
    assert_int_equal(
        fold_records(b->fold, INPUT_CALLS, (struct event_batch){&ev, 1}, b->now, &consumed, &e),
        FOLD_MORE);
    settle(b);
    assert_int_equal(fold_step(b->fold)->close.decision_count, 1);
    assert_string_equal(fold_step(b->fold)->close.decisions[0], "7 ACCEPT op call-records 1 -");
}

// ---- parameters that change ----

// R27
static void raised_late_days_reopen_no_day_that_was_forgotten(void **state)
{
    struct bench *b = *state;
    b->policy.rows[0].late_days = 1;
    b->policy.count = 2;
    b->policy.rows[1] = b->policy.rows[0];
    b->policy.rows[1].from_day = b->first_day + 3;
    b->policy.rows[1].late_days = 7;
    accept(b, INPUT_CALLS, call(b, "a", "c", -1, at(b, 0, HOUR)));
    for (int i = 0; i < 3; i++) {
        settle(b);
        fold_step_done(b->fold);
    }
    // Day 3 looks back seven days, but the identities of day 0 are gone: its call would be billed
    // again.
    struct event again = call(b, "a", "c", -1, at(b, 0, HOUR));
    again.timestamp = at(b, 3, HOUR);
    reject(b, INPUT_CALLS, again, REJECT_TOO_LATE);
    struct event day_1 = call(b, "a", "d", -1, at(b, 1, HOUR));
    day_1.timestamp = at(b, 3, HOUR);
    accept(b, INPUT_CALLS, day_1);
}

// R9, R25, R54
static void a_later_price_book_prices_its_own_days(void **state)
{
    struct bench *b = *state;
    struct error e = {0};
    struct book dearer = *b->policy.shelf.books[0];
    memset(dearer.sha256, 'f', 64);
    dearer.effective_from = b->first_day + 1;
    dearer.services[SERVICE_AUDIENCE_INSIGHT].tiers[0].unit_price = 300000;
    dearer.services[SERVICE_AUDIENCE_INSIGHT].offers[0].price = 20000000;
    assert_int_equal(shelf_add(&b->policy.shelf, &dearer, &e), 0);
    settle(b);
    assert_string_equal(fold_step(b->fold)->close.price_book, b->policy.shelf.books[0]->sha256);
    fold_step_done(b->fold);
    struct event late = call(b, "a", "late", -1, at(b, 0, HOUR));
    late.timestamp = at(b, 1, HOUR);
    accept(b, INPUT_CALLS, late);
    accept(b, INPUT_CALLS, call(b, "a", "today's", -1, at(b, 1, HOUR)));
    reject(b, INPUT_PURCHASES,
           purchase(b, "a", "p", SERVICE_AUDIENCE_INSIGHT, 50, 10000000, at(b, 1, HOUR)),
           REJECT_NOT_FOR_SALE);
    struct event old =
        purchase(b, "a", "q", SERVICE_AUDIENCE_INSIGHT, 50, 10000000, at(b, 0, 23 * HOUR));
    old.timestamp = at(b, 1, HOUR);
    // bought the day before, at that day's price; too late for the call of 01:00
    accept(b, INPUT_PURCHASES, old);
    settle(b);
    assert_string_equal(fold_step(b->fold)->close.price_book, dearer.sha256);
    const struct settlement *s = settlement_of(b, "a");
    assert_int_equal(s->line_count, 2);
    assert_int_equal(fold_step(b->fold)->lines[s->first_line].unit_price, 220000);
    assert_int_equal(fold_step(b->fold)->lines[s->first_line + 1].charge, CHARGE_PACKAGE);
}

// R38
static void spans_are_kept_as_long_as_their_days_may_be_billed(void **state)
{
    struct bench *b = *state;
    accept(b, INPUT_CALLS, call(b, "a", "c", -1, at(b, 0, HOUR)));
    settle(b);
    fold_step_done(b->fold);
    accept(b, INPUT_CREDITS, credit(b, "a", "k", CREDIT_TOP_UP, 900000000, at(b, 1, 12 * HOUR)));
    assert_int_equal(fold_account(b->fold, 0)->span_count, 1);
    for (int i = 1; i < 8; i++) {
        settle(b);
        fold_step_done(b->fold);
    }
    // day 8: day 1 is the oldest that may be billed
    assert_int_equal(fold_account(b->fold, 0)->span_count, 1);
    struct event late = call(b, "a", "late", -1, at(b, 1, HOUR));
    late.timestamp = b->now;
    accept(b, INPUT_CALLS, late);
    settle(b);
    assert_int_equal(settlement_of(b, "a")->calls_while_suspended, 1);
    assert_int_equal(fold_account(b->fold, 0)->span_count, 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(symbols_are_read_back),
        CASE(the_day_has_phases),
        CASE(it_counts_what_it_holds),
        CASE(one_account_is_traced_in_the_order_of_drawing),
        CASE(a_balance_that_overflows_stops_it),
        CASE(a_debt_that_overflows_stops_the_close),
        CASE(a_step_that_is_full_waits_for_its_commit),
        CASE(a_key_of_another_partition_is_misrouted),
        CASE(a_cut_log_takes_nothing_more),
        CASE(an_end_below_the_position_is_stale),
        CASE(records_below_the_position_are_dropped),
        CASE(batches_of_any_size_are_judged_alike),
        CASE(decisions_about_nothing_are_refused),
        CASE(a_decision_is_about_all_of_its_records_or_none),
        CASE(the_digest_of_a_decision_is_that_of_its_coordinates),
        CASE(what_waits_for_its_schema_may_be_refused),
        CASE(what_was_refused_stays_so),
        CASE(many_are_refused_in_any_order),
        CASE(a_decision_about_an_earlier_day_weighs_on_no_open_one),
        CASE(rows_that_contradict_each_other_are_refused),
        CASE(decisions_are_restored),
        CASE(raised_late_days_reopen_no_day_that_was_forgotten),
        CASE(a_later_price_book_prices_its_own_days),
        CASE(spans_are_kept_as_long_as_their_days_may_be_billed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
