// The relay's decisions, one by one, and then several relays of one shard against a model of Kafka's transactions and of
// PostgreSQL's rows, with every outcome that can be unknown: what a subscriber reads is each row once, in order.
#include "consumer/core/relay_machine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void hash_of(int64_t n, uint8_t branch, uint8_t out[RELAY_HASH_SIZE])
{
    memset(out, 0, RELAY_HASH_SIZE);
    if (n == 0) return;
    memcpy(out, &n, sizeof n);
    out[31] = branch;
}

static struct relay_event event_of(enum relay_event_kind kind, int64_t n)
{
    struct relay_event event = {.kind = kind, .now_ms = 1000, .n = n};
    if (n >= 0) hash_of(n, 1, event.hash);
    event.has_hash = n > 0;
    return event;
}

static void on(struct relay_machine *m, enum relay_event_kind kind, int64_t n)
{
    struct relay_event event = event_of(kind, n);
    relay_machine_on(m, &event);
}

static void verified(struct relay_machine *m, int64_t last, int64_t mark, bool found)
{
    struct relay_event event = event_of(RELAY_ON_VERIFIED, last);
    event.mark = mark;
    event.has_hash = found;
    if (m->n >= 0) hash_of(m->n, 1, event.hash);
    relay_machine_on(m, &event);
}

static enum relay_action next(const struct relay_machine *m, int64_t now_ms)
{
    int64_t until;
    return relay_machine_next(m, now_ms, &until);
}

static struct relay_machine at_position(void)
{
    struct relay_machine m;
    relay_machine_start(&m, 7);
    assert_int_equal(next(&m, 0), RELAY_DO_CREATE);
    on(&m, RELAY_ON_CREATED, -1);
    assert_int_equal(next(&m, 0), RELAY_DO_INIT);
    on(&m, RELAY_ON_INITIALISED, -1);
    assert_int_equal(next(&m, 0), RELAY_DO_READ_POSITION);
    return m;
}

static struct relay_machine idle_at(int64_t n)
{
    struct relay_machine m = at_position();
    on(&m, RELAY_ON_POSITION, n);
    assert_int_equal(next(&m, 0), RELAY_DO_VERIFY);
    verified(&m, n, n, n > 0);
    assert_int_equal(m.state, RELAY_IDLE);
    return m;
}

static void assert_halted(const struct relay_machine *m, const char *first, const char *second)
{
    assert_int_equal(m->state, RELAY_HALTED);
    assert_int_equal(next(m, INT64_MAX), RELAY_DO_STOP);
    assert_non_null(strstr(m->trouble.text, "shard 7"));
    assert_non_null(strstr(m->trouble.text, first));
    assert_non_null(strstr(m->trouble.text, second));
    assert_non_null(strstr(m->trouble.text, "restart"));
}

static void test_publishes_what_is_committed(void **state)
{
    (void)state;
    struct relay_machine m = idle_at(10);
    int64_t until;
    assert_int_equal(relay_machine_next(&m, 5, &until), RELAY_DO_WAIT);
    assert_true(until == INT64_MAX);
    on(&m, RELAY_ON_ROWS, 10);
    assert_int_equal(m.state, RELAY_IDLE);
    on(&m, RELAY_ON_ROWS, 14);
    assert_int_equal(next(&m, 5), RELAY_DO_PUBLISH);
    on(&m, RELAY_ON_COMMITTED, 12);
    assert_int_equal(next(&m, 5), RELAY_DO_MARK);
    on(&m, RELAY_ON_MARKED, -1);
    assert_int_equal(next(&m, 5), RELAY_DO_PUBLISH);
    on(&m, RELAY_ON_COMMITTED, 15); // more were there than it was woken for
    on(&m, RELAY_ON_MARKED, -1);
    assert_int_equal(m.state, RELAY_IDLE);
    on(&m, RELAY_ON_ROWS, 15);
    assert_int_equal(m.state, RELAY_IDLE);
}

static void test_a_position_that_was_not_marked_is_marked_first(void **state)
{
    (void)state;
    struct relay_machine m = at_position();
    on(&m, RELAY_ON_POSITION, 8);
    verified(&m, 9, 5, true);
    assert_int_equal(next(&m, 0), RELAY_DO_MARK);
    on(&m, RELAY_ON_MARKED, -1);
    assert_int_equal(next(&m, 0), RELAY_DO_PUBLISH);
}

static void test_unknown_position_is_read_from_the_tails(void **state)
{
    (void)state;
    struct relay_machine m = at_position();
    on(&m, RELAY_ON_POSITION_UNKNOWN, -1);
    assert_int_equal(next(&m, 0), RELAY_DO_READ_TAILS);
    on(&m, RELAY_ON_TAILS, 6);
    assert_int_equal(next(&m, 0), RELAY_DO_VERIFY);
    verified(&m, 9, 6, true);
    assert_int_equal(next(&m, 0), RELAY_DO_PUBLISH);
    assert_int_equal(m.n, 6);
}

// Somebody reset the offset: the row that went out last, and was not marked, would go out twice.
static void test_a_position_that_is_not_its_own_asks_the_tails(void **state)
{
    (void)state;
    struct relay_machine m = at_position();
    struct relay_event position = event_of(RELAY_ON_POSITION, 8);
    position.has_hash = false;
    relay_machine_on(&m, &position);
    assert_int_equal(next(&m, 0), RELAY_DO_READ_TAILS);
    on(&m, RELAY_ON_TAILS, 9);
    verified(&m, 12, 8, true);
    assert_int_equal(m.n, 9);
}

static void test_empty_tails_are_zero_only_when_nothing_is_marked(void **state)
{
    (void)state;
    struct relay_machine fresh = at_position();
    on(&fresh, RELAY_ON_POSITION_UNKNOWN, -1);
    on(&fresh, RELAY_ON_TAILS, 0);
    verified(&fresh, 3, 0, false);
    assert_int_equal(next(&fresh, 0), RELAY_DO_PUBLISH);
    assert_int_equal(fresh.n, 0);

    struct relay_machine emptied = at_position();
    on(&emptied, RELAY_ON_POSITION_UNKNOWN, -1);
    on(&emptied, RELAY_ON_TAILS, 0);
    verified(&emptied, 30, 21, false);
    assert_halted(&emptied, "above sequence 0", "up to 21");

    struct relay_machine below = at_position();
    on(&below, RELAY_ON_POSITION_UNKNOWN, -1);
    on(&below, RELAY_ON_TAILS, 20);
    verified(&below, 30, 21, true);
    assert_halted(&below, "above sequence 20", "up to 21");
}

static void test_a_position_behind_the_mark_asks_the_tails(void **state)
{
    (void)state;
    struct relay_machine m = at_position();
    on(&m, RELAY_ON_POSITION, 4);
    verified(&m, 30, 21, true);
    assert_int_equal(next(&m, 0), RELAY_DO_READ_TAILS);
    on(&m, RELAY_ON_TAILS, 22);
    verified(&m, 30, 21, true);
    assert_int_equal(next(&m, 0), RELAY_DO_MARK);
    assert_int_equal(m.n, 22);
}

static void test_kafka_ahead_of_postgres_halts(void **state)
{
    (void)state;
    struct relay_machine m = at_position();
    on(&m, RELAY_ON_POSITION, 120);
    verified(&m, 100, 90, false);
    assert_halted(&m, "120", "only up to 100");
}

static void test_another_row_under_the_same_sequence_halts(void **state)
{
    (void)state;
    struct relay_machine m = at_position();
    struct relay_event position = event_of(RELAY_ON_POSITION, 50);
    hash_of(50, 2, position.hash);
    relay_machine_on(&m, &position);
    verified(&m, 60, 50, true);
    assert_halted(&m, "row 50", "not the one that was published");
}

static void test_a_missing_row_n_halts(void **state)
{
    (void)state;
    struct relay_machine m = at_position();
    on(&m, RELAY_ON_POSITION, 50);
    verified(&m, 60, 50, false);
    assert_halted(&m, "row 50", "missing");
}

static void test_rows_that_vanish_are_looked_into(void **state)
{
    (void)state;
    struct relay_machine m = idle_at(10);
    on(&m, RELAY_ON_ROWS, 14);
    on(&m, RELAY_ON_NOTHING, -1);
    assert_int_equal(next(&m, INT64_MAX), RELAY_DO_VERIFY);
    assert_int_equal(next(&m, 1000), RELAY_DO_WAIT); // not in a tight loop
    verified(&m, 8, 8, false); // a fail-over took what was published
    assert_halted(&m, "up to sequence 10", "only up to 8");
}

static void test_fenced_asks_whose_the_shard_is(void **state)
{
    (void)state;
    struct error why = {ERROR_UNAVAILABLE, "fenced"};
    for (int kept = 0; kept <= 1; kept++) {
        struct relay_machine m = idle_at(10);
        on(&m, RELAY_ON_ROWS, 14);
        struct relay_event fenced = event_of(RELAY_ON_FENCED, -1);
        fenced.error = &why;
        relay_machine_on(&m, &fenced);
        assert_int_equal(next(&m, 1000), RELAY_DO_CHECK_EPOCH);
        assert_int_equal(m.n, -1);
        on(&m, kept ? RELAY_ON_KEPT : RELAY_ON_LOST, -1);
        assert_int_equal(m.state, kept ? RELAY_CREATE : RELAY_LOST);
        assert_int_equal(next(&m, 1000), kept ? RELAY_DO_WAIT : RELAY_DO_STOP);
        if (!kept) continue;
        on(&m, RELAY_ON_CREATED, -1);
        on(&m, RELAY_ON_INITIALISED, -1);
        assert_int_equal(next(&m, INT64_MAX), RELAY_DO_READ_POSITION);
    }
}

static void test_an_unknown_outcome_reads_n_again(void **state)
{
    (void)state;
    struct relay_machine m = idle_at(10);
    on(&m, RELAY_ON_ROWS, 14);
    on(&m, RELAY_ON_BROKEN, -1);
    on(&m, RELAY_ON_CREATED, -1);
    on(&m, RELAY_ON_INITIALISED, -1);
    on(&m, RELAY_ON_POSITION, 14); // it was committed after all
    verified(&m, 14, 10, true);
    on(&m, RELAY_ON_MARKED, -1);
    assert_int_equal(m.state, RELAY_IDLE);
    assert_int_equal(m.n, 14);
}

// What the producer itself was told is committed may not vanish, marked or not.
static void test_a_commit_of_ours_that_vanishes_halts(void **state)
{
    (void)state;
    struct relay_machine m = idle_at(10);
    on(&m, RELAY_ON_ROWS, 14);
    on(&m, RELAY_ON_COMMITTED, 14);
    on(&m, RELAY_ON_MARKED, -1);
    on(&m, RELAY_ON_ROWS, 15);
    on(&m, RELAY_ON_BROKEN, -1);
    on(&m, RELAY_ON_CREATED, -1);
    on(&m, RELAY_ON_INITIALISED, -1);
    on(&m, RELAY_ON_POSITION, 10);
    verified(&m, 15, 10, true);
    assert_int_equal(next(&m, INT64_MAX), RELAY_DO_READ_TAILS);
    on(&m, RELAY_ON_TAILS, 10);
    verified(&m, 15, 10, true);
    assert_halted(&m, "above sequence 10", "up to 14");
}

static void test_pauses_grow_to_a_bound_and_end_with_success(void **state)
{
    (void)state;
    struct error why = {ERROR_UNAVAILABLE, "no broker"};
    struct relay_machine m = idle_at(10);
    on(&m, RELAY_ON_ROWS, 14);
    int64_t now = 5000, last = 0;
    for (int i = 0; i < 40; i++) {
        struct relay_event failed = {.kind = RELAY_ON_FAILED, .now_ms = now, .error = &why};
        relay_machine_on(&m, &failed);
        int64_t until;
        assert_int_equal(relay_machine_next(&m, now, &until), RELAY_DO_WAIT);
        assert_true(until - now >= last && until - now <= RELAY_PAUSE_MAX_MS);
        last = until - now;
        now = until;
        assert_int_equal(next(&m, now), RELAY_DO_PUBLISH);
        assert_string_equal(m.trouble.text, "no broker");
    }
    assert_true(last == RELAY_PAUSE_MAX_MS);
    on(&m, RELAY_ON_COMMITTED, 14);
    assert_int_equal(m.trouble.kind, ERROR_NONE);
    assert_int_equal(next(&m, now), RELAY_DO_MARK);
}

static void test_the_impossible_halts(void **state)
{
    (void)state;
    struct error why = {ERROR_CONFIG, "shard 7: row 12 of 2000000 bytes: raise max.message.bytes and restart"};
    struct relay_machine m = idle_at(10);
    on(&m, RELAY_ON_ROWS, 14);
    struct relay_event impossible = {.kind = RELAY_ON_IMPOSSIBLE, .error = &why};
    relay_machine_on(&m, &impossible);
    assert_halted(&m, "row 12", "max.message.bytes");
    on(&m, RELAY_ON_ROWS, 99);
    assert_halted(&m, "row 12", "max.message.bytes");
}

// ---- several relays against a model ----

enum { RELAYS = 3, LOG_MAX = 4096 };

struct world {
    uint64_t random;
    // Kafka: what is committed, and an EndTxn that is still travelling
    int64_t log[LOG_MAX];
    int count, checked;
    int64_t position; // -1: expired
    int producer_epoch;
    bool travelling;
    int travelling_of, travelling_epoch;
    // PostgreSQL
    int64_t epoch, last, mark;
    bool fences; // false: a broken init_transactions, to see that the checks can fail
    struct {
        struct relay_machine machine;
        bool running, sent;
        int64_t epoch;
        int producer;
        bool pending; // a transaction under way in Kafka, also when its sender is gone
        int64_t from, to;
    } relay[RELAYS];
    int64_t now;
};

static uint32_t draw(struct world *w, uint32_t below)
{
    w->random = w->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(w->random >> 33) % below;
}

static void end_transaction(struct world *w, int r, bool commit)
{
    if (!w->relay[r].pending) return;
    w->relay[r].pending = false;
    if (!commit) return;
    for (int64_t n = w->relay[r].from; n <= w->relay[r].to && w->count < LOG_MAX; n++) w->log[w->count++] = n;
    w->position = w->relay[r].to;
}

static void abort_all(struct world *w)
{
    for (int r = 0; r < RELAYS; r++) end_transaction(w, r, false);
}

static void deliver_travelling(struct world *w)
{
    bool current = w->travelling_epoch == w->producer_epoch || !w->fences;
    if (w->travelling && current) end_transaction(w, w->travelling_of, true);
    w->travelling = false;
}

static int64_t tail_of(const struct world *w)
{
    int64_t highest = 0;
    for (int i = 0; i < w->count; i++)
        if (w->log[i] > highest) highest = w->log[i];
    return highest;
}

static struct relay_event answer(struct world *w, enum relay_event_kind kind, int64_t n)
{
    struct relay_event event = event_of(kind, n);
    event.now_ms = w->now;
    return event;
}

static bool any_pending(const struct world *w)
{
    for (int r = 0; r < RELAYS; r++)
        if (w->relay[r].pending) return true;
    return false;
}

static struct relay_event publish(struct world *w, int r, bool calm)
{
    struct relay_machine *m = &w->relay[r].machine;
    bool current = w->relay[r].producer == w->producer_epoch || !w->fences;
    if (!current) return answer(w, RELAY_ON_FENCED, -1);
    if (!w->relay[r].sent) {
        if (w->last <= m->n) return answer(w, RELAY_ON_NOTHING, -1);
        w->relay[r].pending = true;
        w->relay[r].from = m->n + 1;
        w->relay[r].to = m->n + 1 + draw(w, (uint32_t)(w->last - m->n));
        w->relay[r].sent = true;
        return (struct relay_event){.kind = RELAY_ON_ROWS, .n = w->last}; // goes on at its next turn
    }
    w->relay[r].sent = false;
    if (!w->relay[r].pending) return answer(w, RELAY_ON_BROKEN, -1); // the coordinator's time-out aborted it
    int64_t to = w->relay[r].to;
    switch (calm ? 5 : draw(w, 6)) {
    case 0: // the answer is lost
        end_transaction(w, r, true);
        return answer(w, RELAY_ON_BROKEN, -1);
    case 1: // the request is slow
        w->travelling = true;
        w->travelling_of = r;
        w->travelling_epoch = w->relay[r].producer;
        return answer(w, RELAY_ON_BROKEN, -1);
    case 2: // it never arrives
        return answer(w, RELAY_ON_BROKEN, -1);
    case 3:
        end_transaction(w, r, false);
        return answer(w, RELAY_ON_FAILED, -1);
    default:
        end_transaction(w, r, true);
        return answer(w, RELAY_ON_COMMITTED, to);
    }
}

static struct relay_event verify(struct world *w, int r)
{
    struct relay_machine *m = &w->relay[r].machine;
    if (w->relay[r].epoch != w->epoch) return answer(w, RELAY_ON_LOST, -1);
    struct relay_event event = answer(w, RELAY_ON_VERIFIED, w->last);
    event.mark = w->mark;
    event.has_hash = m->n > 0 && m->n <= w->last;
    hash_of(m->n, 1, event.hash);
    return event;
}

static struct relay_event perform(struct world *w, int r, enum relay_action action, bool calm)
{
    struct relay_machine *m = &w->relay[r].machine;
    bool owner = w->relay[r].epoch == w->epoch;
    switch (action) {
    case RELAY_DO_CREATE:
        w->relay[r].sent = false;
        return answer(w, RELAY_ON_CREATED, -1);
    case RELAY_DO_INIT:
        if (!calm && draw(w, 8) == 0) return answer(w, draw(w, 2) ? RELAY_ON_FAILED : RELAY_ON_BROKEN, -1);
        w->relay[r].producer = ++w->producer_epoch;
        if (w->fences) abort_all(w);
        return answer(w, RELAY_ON_INITIALISED, -1);
    case RELAY_DO_READ_POSITION: // stable offsets only: a transaction under way is waited for
        if (any_pending(w) && w->fences) return answer(w, RELAY_ON_FAILED, -1);
        return answer(w, w->position < 0 ? RELAY_ON_POSITION_UNKNOWN : RELAY_ON_POSITION, w->position);
    case RELAY_DO_READ_TAILS:
        return answer(w, RELAY_ON_TAILS, tail_of(w));
    case RELAY_DO_VERIFY:
        return verify(w, r);
    case RELAY_DO_PUBLISH:
        return publish(w, r, calm);
    case RELAY_DO_MARK:
        if (!owner) return answer(w, RELAY_ON_LOST, -1);
        if (!calm && draw(w, 4) == 0) return answer(w, RELAY_ON_FAILED, -1);
        if (m->n > w->mark) w->mark = m->n;
        return answer(w, RELAY_ON_MARKED, -1);
    case RELAY_DO_CHECK_EPOCH:
        return answer(w, owner ? RELAY_ON_KEPT : RELAY_ON_LOST, -1);
    case RELAY_DO_WAIT:
    case RELAY_DO_STOP:
        break;
    }
    return answer(w, RELAY_ON_ROWS, w->last);
}

static void step(struct world *w, int r, bool calm)
{
    int64_t until;
    if (!w->relay[r].running) return;
    enum relay_action action = relay_machine_next(&w->relay[r].machine, w->now, &until);
    struct relay_event event = perform(w, r, action, calm);
    relay_machine_on(&w->relay[r].machine, &event);
}

static void claim(struct world *w, int r)
{
    w->relay[r].running = true;
    w->relay[r].sent = false; // a transaction of its former life is left as a crash leaves it
    w->relay[r].epoch = ++w->epoch;
    relay_machine_start(&w->relay[r].machine, 7);
}

static bool in_order_and_once(struct world *w)
{
    for (; w->checked < w->count; w->checked++)
        if (w->log[w->checked] != w->checked + 1) return false;
    return w->count <= w->last;
}

static bool run_world(uint64_t seed, bool fences)
{
    static struct world world;
    struct world *w = &world;
    *w = (struct world){.random = seed, .position = -1, .fences = fences};
    claim(w, 0);
    for (int turn = 0; turn < 3000; turn++) {
        w->now += draw(w, 400);
        uint32_t what = draw(w, 100);
        if (what < 2)
            claim(w, (int)draw(w, RELAYS));
        else if (what < 12 && w->last < LOG_MAX - 64)
            w->last += draw(w, 8);
        else if (what < 13)
            w->position = -1; // the group's offset expires or is deleted
        else if (what < 20)
            deliver_travelling(w);
        else if (what < 22)
            abort_all(w); // the coordinator's time-out
        else
            step(w, (int)draw(w, RELAYS), false);
        if (!in_order_and_once(w)) return false;
    }
    deliver_travelling(w);
    for (int turn = 0; turn < 400; turn++) {
        w->now += RELAY_PAUSE_MAX_MS;
        for (int r = 0; r < RELAYS; r++) step(w, r, true);
    }
    for (int r = 0; r < RELAYS; r++)
        if (w->relay[r].running && w->relay[r].machine.state == RELAY_HALTED) return false;
    return in_order_and_once(w) && w->count > 0 && w->count == w->last && w->mark == w->last;
}

static void test_worlds_publish_each_row_once(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 1000; seed++)
        if (!run_world(seed, true))
            fail_msg("seed %llu: not each row once, or not all of them", (unsigned long long)seed);
}

static void test_worlds_without_fencing_are_caught(void **state)
{
    (void)state;
    int caught = 0;
    for (uint64_t seed = 1; seed <= 50; seed++) caught += !run_world(seed, false);
    assert_true(caught > 40);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_publishes_what_is_committed),
        cmocka_unit_test(test_a_position_that_was_not_marked_is_marked_first),
        cmocka_unit_test(test_unknown_position_is_read_from_the_tails),
        cmocka_unit_test(test_a_position_that_is_not_its_own_asks_the_tails),
        cmocka_unit_test(test_empty_tails_are_zero_only_when_nothing_is_marked),
        cmocka_unit_test(test_a_position_behind_the_mark_asks_the_tails),
        cmocka_unit_test(test_kafka_ahead_of_postgres_halts),
        cmocka_unit_test(test_another_row_under_the_same_sequence_halts),
        cmocka_unit_test(test_a_missing_row_n_halts),
        cmocka_unit_test(test_rows_that_vanish_are_looked_into),
        cmocka_unit_test(test_fenced_asks_whose_the_shard_is),
        cmocka_unit_test(test_an_unknown_outcome_reads_n_again),
        cmocka_unit_test(test_a_commit_of_ours_that_vanishes_halts),
        cmocka_unit_test(test_pauses_grow_to_a_bound_and_end_with_success),
        cmocka_unit_test(test_the_impossible_halts),
        cmocka_unit_test(test_worlds_publish_each_row_once),
        cmocka_unit_test(test_worlds_without_fencing_are_caught),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
