// The relay's decisions, one by one. Then several relays of one shard run against a model of
// Kafka's transactions and of PostgreSQL's rows. In the model requests arrive late, in whatever
// transaction is open then, and yet a subscriber must read each row once, in order.
#include "consumer/relay/published_rows.h"
#include "consumer/relay/relay_machine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void hash_of(int64_t n, uint8_t branch, uint8_t out[RELAY_HASH_SIZE])
{
    memset(out, 0, RELAY_HASH_SIZE);
    if (n == 0)
        return;
    memcpy(out, &n, sizeof n);
    out[31] = branch;
}

static struct relay_event event_of(enum relay_event_kind kind, int64_t n)
{
    struct relay_event event = {.kind = kind, .now_ms = 1000, .n = n};
    if (n >= 0)
        hash_of(n, 1, event.hash);
    event.has_hash = n > 0;
    return event;
}

static void on(struct relay_machine *m, enum relay_event_kind kind, int64_t n)
{
    struct relay_event event = event_of(kind, n);
    relay_machine_on(m, &event);
}

// Rows up to `n` stand in the topics, and single ones up to `highest`.
static void topics(struct relay_machine *m, int64_t n, int64_t highest, bool whole_logs)
{
    struct relay_event event = event_of(RELAY_ON_TOPICS, n);
    event.highest = highest;
    event.whole_logs = whole_logs;
    relay_machine_on(m, &event);
}

// PostgreSQL has rows up to `last`; `first` is the oldest row that it still keeps.
static struct relay_event verification(const struct relay_machine *m, int64_t first, int64_t last,
                                       int64_t mark)
{
    struct relay_event event = event_of(RELAY_ON_VERIFIED, last);
    event.mark = mark;
    event.has_hash = m->n >= first && m->n <= last && m->n > 0;
    event.has_position_hash = m->position >= first && m->position <= last && m->position > 0;
    if (event.has_hash)
        hash_of(m->n, 1, event.hash);
    if (event.has_position_hash)
        hash_of(m->position, 1, event.position_hash);
    return event;
}

static void verified(struct relay_machine *m, int64_t last, int64_t mark)
{
    struct relay_event event = verification(m, 1, last, mark);
    relay_machine_on(m, &event);
}

static enum relay_action next(const struct relay_machine *m, int64_t now_ms)
{
    int64_t until;
    return relay_machine_next(m, now_ms, &until);
}

// A fresh producer, the first one or after another.
static void initialise(struct relay_machine *m)
{
    assert_int_equal(next(m, INT64_MAX), RELAY_DO_CREATE);
    assert_int_equal(m->n, -1);
    on(m, RELAY_ON_CREATED, -1);
    assert_int_equal(next(m, INT64_MAX), RELAY_DO_INIT);
    on(m, RELAY_ON_INITIALISED, -1);
    assert_int_equal(next(m, INT64_MAX), RELAY_DO_READ_POSITION);
}

static struct relay_machine at_position(int64_t mark)
{
    struct relay_machine m;
    relay_machine_start(&m, 7, mark);
    initialise(&m);
    return m;
}

// At VERIFY: what the position says (-1: nothing), and what complete logs hold.
static struct relay_machine at_verify(int64_t mark, int64_t position, int64_t n, int64_t highest)
{
    struct relay_machine m = at_position(mark);
    on(&m, position < 0 ? RELAY_ON_POSITION_UNKNOWN : RELAY_ON_POSITION, position);
    assert_int_equal(next(&m, 0), RELAY_DO_READ_TOPICS);
    topics(&m, n, highest, true);
    assert_int_equal(next(&m, 0), RELAY_DO_VERIFY);
    return m;
}

static struct relay_machine idle_at(int64_t n)
{
    struct relay_machine m = at_verify(n, n, n, n);
    verified(&m, n, n);
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

// ---- publishing, and reading back ----

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
    assert_int_equal(next(&m, 5), RELAY_DO_PUBLISH);
    on(&m, RELAY_ON_COMMITTED, 15); // more were there than it was woken for
    assert_int_equal(m.state, RELAY_IDLE);
    on(&m, RELAY_ON_ROWS, 15);
    assert_int_equal(m.state, RELAY_IDLE);
}

static void test_nothing_is_marked_before_it_is_read_back(void **state)
{
    (void)state;
    struct relay_machine m = idle_at(10);
    on(&m, RELAY_ON_ROWS, 14);
    on(&m, RELAY_ON_COMMITTED, 14);
    assert_int_equal(m.state, RELAY_IDLE);
    assert_int_equal(m.read_back, 10);
    on(&m, RELAY_ON_READ_BACK, 10);
    assert_int_equal(m.state, RELAY_IDLE);
    on(&m, RELAY_ON_READ_BACK, 13);
    assert_int_equal(next(&m, 1000), RELAY_DO_MARK);
    assert_int_equal(m.read_back, 13);
    on(&m, RELAY_ON_ROWS, 20);
    assert_int_equal(next(&m, 1000), RELAY_DO_MARK);
    on(&m, RELAY_ON_MARKED, -1);
    assert_int_equal(m.marked, 13);
    assert_int_equal(next(&m, 1000), RELAY_DO_PUBLISH);
    on(&m, RELAY_ON_READ_BACK, 14);
    assert_int_equal(next(&m, 1000), RELAY_DO_MARK); // also while rows wait
}

// If somebody ends a transaction half-way, some of its rows stand above a gap: they are read back
// together with the rows that fill it.
static void test_rows_above_n_are_not_read_back_before_n(void **state)
{
    (void)state;
    struct relay_machine m = idle_at(10);
    on(&m, RELAY_ON_ROWS, 14);
    on(&m, RELAY_ON_COMMITTED, 12);
    on(&m, RELAY_ON_READ_BACK, 14);
    assert_int_equal(next(&m, 1000), RELAY_DO_MARK);
    assert_int_equal(m.read_back, 12);
    assert_int_equal(m.n, 12);
}

static void test_what_is_not_read_back_in_time_is_looked_for(void **state)
{
    (void)state;
    struct relay_machine m = idle_at(10);
    int64_t until;
    on(&m, RELAY_ON_ROWS, 14);
    on(&m, RELAY_ON_COMMITTED, 14); // at 1000
    assert_int_equal(relay_machine_next(&m, 1000, &until), RELAY_DO_WAIT);
    assert_true(until == 1000 + RELAY_UNREAD_MS);
    struct relay_event nothing = {
        .kind = RELAY_ON_READ_BACK, .now_ms = 999 + RELAY_UNREAD_MS, .n = 12};
    relay_machine_on(&m, &nothing);
    assert_int_equal(m.state, RELAY_MARK);
    on(&m, RELAY_ON_MARKED, -1);
    nothing.now_ms = 998 + 2 * RELAY_UNREAD_MS;
    relay_machine_on(&m, &nothing);
    assert_int_equal(m.state, RELAY_IDLE);
    nothing.now_ms++;
    relay_machine_on(&m, &nothing);
    assert_int_equal(next(&m, nothing.now_ms), RELAY_DO_CREATE); // at once
    assert_non_null(strstr(m.trouble.text, "shard 7: row 13 was committed"));
    initialise(&m);
    on(&m, RELAY_ON_POSITION, 14);
    topics(&m, 12, 14, true); // rows 13 was lost
    verified(&m, 14, 12);
    assert_int_equal(next(&m, INT64_MAX), RELAY_DO_PUBLISH);
    assert_int_equal(m.n, 12);
}

static void test_much_that_is_not_read_back_stops_publishing(void **state)
{
    (void)state;
    struct relay_machine m = idle_at(10);
    on(&m, RELAY_ON_ROWS, 10 * RELAY_UNREAD_ROWS);
    on(&m, RELAY_ON_COMMITTED, 9 + RELAY_UNREAD_ROWS);
    assert_int_equal(next(&m, 1000), RELAY_DO_PUBLISH);
    on(&m, RELAY_ON_COMMITTED, 10 + RELAY_UNREAD_ROWS);
    assert_int_equal(next(&m, 1000), RELAY_DO_WAIT);
    on(&m, RELAY_ON_ROWS, 20 * RELAY_UNREAD_ROWS);
    assert_int_equal(next(&m, 1000), RELAY_DO_WAIT);
    on(&m, RELAY_ON_READ_BACK, 11);
    on(&m, RELAY_ON_MARKED, -1);
    assert_int_equal(next(&m, 1000), RELAY_DO_PUBLISH);
}

static void test_topics_that_cannot_be_read_on_are_read_anew(void **state)
{
    (void)state;
    struct error why = {ERROR_UNAVAILABLE, "out of range"};
    struct relay_machine m = idle_at(10);
    struct relay_event broken = {.kind = RELAY_ON_BROKEN, .now_ms = 1000, .error = &why};
    relay_machine_on(&m, &broken);
    assert_int_equal(next(&m, 1000), RELAY_DO_CREATE);
    assert_string_equal(m.trouble.text, "out of range");
}

// ---- rule 1: a fresh producer, at once ----

static void test_a_spent_producer_is_replaced_at_once(void **state)
{
    (void)state;
    for (int waits = 0; waits <= 1; waits++) {
        struct relay_machine m = idle_at(10);
        on(&m, RELAY_ON_ROWS, 14);
        struct relay_event committed = event_of(RELAY_ON_COMMITTED, waits ? 12 : 14);
        committed.spent = true;
        relay_machine_on(&m, &committed);
        // without a pause, also when nothing waits
        assert_int_equal(next(&m, 1000), RELAY_DO_CREATE);
        assert_int_equal(m.trouble.kind, ERROR_NONE);
        initialise(&m);
        on(&m, RELAY_ON_POSITION, committed.n);
        topics(&m, committed.n, committed.n, true);
        verified(&m, 14, 10);
        assert_int_equal(next(&m, 1000), RELAY_DO_MARK);
        on(&m, RELAY_ON_MARKED, -1);
        assert_int_equal(next(&m, 1000), waits ? RELAY_DO_PUBLISH : RELAY_DO_WAIT);
    }
}

static void test_an_abort_replaces_the_producer_at_once(void **state)
{
    (void)state;
    struct error why = {ERROR_UNAVAILABLE, "refused"};
    struct relay_machine m = idle_at(10);
    on(&m, RELAY_ON_ROWS, 14);
    struct relay_event aborted = {.kind = RELAY_ON_ABORTED, .now_ms = 1000, .error = &why};
    int64_t last = 0;
    for (int i = 0; i < 12; i++) {
        relay_machine_on(&m, &aborted);
        assert_int_equal(next(&m, aborted.now_ms), RELAY_DO_CREATE);
        assert_string_equal(m.trouble.text, "refused");
        initialise(&m);
        on(&m, RELAY_ON_POSITION, 10);
        topics(&m, 10, 10, true);
        verified(&m, 14, 10);
        int64_t until; // what failed waits, longer each time
        assert_int_equal(relay_machine_next(&m, aborted.now_ms, &until), RELAY_DO_WAIT);
        assert_true(until - aborted.now_ms >= last && until - aborted.now_ms >= RELAY_PAUSE_MIN_MS);
        last = until - aborted.now_ms;
        aborted.now_ms = until;
        assert_int_equal(next(&m, until), RELAY_DO_PUBLISH);
    }
    assert_true(last == RELAY_PAUSE_MAX_MS);
}

static void test_an_unknown_outcome_reads_n_again(void **state)
{
    (void)state;
    struct relay_machine m = idle_at(10);
    on(&m, RELAY_ON_ROWS, 14);
    on(&m, RELAY_ON_BROKEN, -1);
    assert_int_equal(next(&m, 1000), RELAY_DO_CREATE); // at once
    initialise(&m);
    on(&m, RELAY_ON_POSITION, 14); // it was committed after all
    topics(&m, 14, 14, true);
    verified(&m, 14, 10);
    assert_int_equal(next(&m, INT64_MAX), RELAY_DO_MARK);
    on(&m, RELAY_ON_MARKED, -1);
    assert_int_equal(m.state, RELAY_IDLE);
    assert_int_equal(m.n, 14);
}

// ---- rule 3: what the topics hold ----

static void test_a_position_that_was_not_marked_is_marked_first(void **state)
{
    (void)state;
    struct relay_machine m = at_verify(5, 8, 8, 8);
    verified(&m, 9, 5);
    assert_int_equal(next(&m, 0), RELAY_DO_MARK);
    assert_int_equal(m.read_back, 8);
    on(&m, RELAY_ON_MARKED, -1);
    assert_int_equal(next(&m, 0), RELAY_DO_PUBLISH);
}

static void test_an_unknown_position_is_found_in_the_topics(void **state)
{
    (void)state;
    struct relay_machine m = at_verify(6, -1, 6, 6);
    verified(&m, 9, 6);
    assert_int_equal(next(&m, 0), RELAY_DO_PUBLISH);
    assert_int_equal(m.n, 6);
}

// After a late TxnOffsetCommit, or an older answer, rows that are in the topics are not sent again.
static void test_a_position_behind_the_topics_is_not_believed(void **state)
{
    (void)state;
    struct relay_machine m = at_verify(21, 4, 22, 24);
    verified(&m, 30, 21);
    assert_int_equal(next(&m, 0), RELAY_DO_MARK);
    assert_int_equal(m.n, 22); // not 24: row 23 is missing
    assert_int_equal(m.read_back, 22);
}

// After a late EndTxn, or when a broker lost rows, the missing rows are sent again.
static void test_a_position_ahead_of_the_topics_is_not_believed(void **state)
{
    (void)state;
    struct relay_machine m = at_verify(20, 30, 24, 28);
    verified(&m, 30, 20);
    assert_int_equal(next(&m, 0), RELAY_DO_MARK);
    on(&m, RELAY_ON_MARKED, -1);
    assert_int_equal(next(&m, 0), RELAY_DO_PUBLISH);
    assert_int_equal(m.n, 24);
    assert_int_equal(m.marked, 24);
    assert_int_equal(m.claimed, 30); // so that it can be told that rows were lost
}

static void test_a_commit_of_ours_that_vanishes_is_published_again(void **state)
{
    (void)state;
    struct relay_machine m = idle_at(10);
    on(&m, RELAY_ON_ROWS, 14);
    on(&m, RELAY_ON_COMMITTED, 14);
    on(&m, RELAY_ON_ROWS, 15);
    on(&m, RELAY_ON_BROKEN, -1);
    initialise(&m);
    on(&m, RELAY_ON_POSITION, 10);
    topics(&m, 10, 10, true);
    verified(&m, 15, 10);
    assert_int_equal(next(&m, INT64_MAX), RELAY_DO_PUBLISH);
    assert_int_equal(m.n, 10);
    assert_int_equal(m.claimed, 14);
}

// Retention removed the rows below some offset: then the position says what was published, and
// without a position the highest row does.
static void test_where_rows_have_expired_the_position_counts(void **state)
{
    (void)state;
    static const struct {
        int64_t position, n, highest, found;
    } cases[] = {{25, 20, 0, 25},  {25, 20, 30, 25}, {22, 27, 27, 27},
                 {-1, 20, 28, 28}, {-1, 24, 24, 24}, {1, 24, 28, 24}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct relay_machine m = at_position(20);
        on(&m, cases[i].position < 0 ? RELAY_ON_POSITION_UNKNOWN : RELAY_ON_POSITION,
           cases[i].position);
        topics(&m, cases[i].n, cases[i].highest, false);
        verified(&m, 30, 20);
        assert_int_equal(m.state, RELAY_MARK);
        assert_int_equal(m.n, cases[i].found);
    }
}

// Somebody reset the offset: it proves nothing, even if rows have expired.
static void test_a_position_that_is_not_its_own_tells_nothing(void **state)
{
    (void)state;
    struct relay_machine m = at_position(6);
    struct relay_event position = event_of(RELAY_ON_POSITION, 11);
    position.has_hash = false;
    relay_machine_on(&m, &position);
    topics(&m, 6, 9, false);
    verified(&m, 12, 8);
    assert_int_equal(m.n, 9);
}

// ---- what halts ----

static void test_empty_topics_are_zero_only_when_nothing_is_marked(void **state)
{
    (void)state;
    struct relay_machine fresh = at_verify(0, -1, 0, 0);
    verified(&fresh, 3, 0);
    assert_int_equal(next(&fresh, 0), RELAY_DO_PUBLISH);
    assert_int_equal(fresh.n, 0);

    struct relay_machine emptied = at_verify(21, -1, 21, 0);
    verified(&emptied, 30, 21);
    assert_halted(&emptied, "above sequence 0", "up to 21");

    struct relay_machine below = at_verify(21, 25, 21, 20); // whatever the position says
    verified(&below, 30, 21);
    assert_halted(&below, "above sequence 20", "up to 21");
}

static void test_expired_topics_halt_unless_the_position_has_the_mark(void **state)
{
    (void)state;
    for (int64_t position = 20; position <= 21; position++) {
        struct relay_machine m = at_position(21);
        on(&m, RELAY_ON_POSITION, position);
        topics(&m, 21, 0, false);
        verified(&m, 21, 21);
        if (position < 21)
            assert_halted(&m, "above sequence 0", "up to 21");
        else
            assert_int_equal(m.state, RELAY_IDLE);
    }
}

static void test_kafka_ahead_of_postgres_halts(void **state)
{
    (void)state;
    struct relay_machine position = at_verify(90, 120, 100, 100);
    verified(&position, 100, 90);
    assert_halted(&position, "120", "only up to 100");

    struct relay_machine topic = at_verify(90, -1, 100, 120); // one topic shows it
    verified(&topic, 100, 90);
    assert_halted(&topic, "120", "only up to 100");
}

static void test_another_row_under_the_same_sequence_halts(void **state)
{
    (void)state;
    for (int64_t topics_to = 49; topics_to <= 51; topics_to++) {
        struct relay_machine m = at_position(40);
        struct relay_event position = event_of(RELAY_ON_POSITION, 50);
        hash_of(50, 2, position.hash);
        relay_machine_on(&m, &position);
        topics(&m, topics_to, topics_to, true);
        verified(&m, 60, 40);
        assert_halted(&m, "row 50", "not the one that was published");
    }
}

static void test_a_missing_row_n_halts(void **state)
{
    (void)state;
    struct relay_machine m = at_verify(50, 50, 50, 50);
    struct relay_event event = verification(&m, 51, 60, 50);
    relay_machine_on(&m, &event);
    assert_halted(&m, "row 50", "missing");
}

// If PostgreSQL has dropped the row of the position, long after it was published, that is no reason
// to halt.
static void test_an_old_position_without_its_row_is_well(void **state)
{
    (void)state;
    struct relay_machine m = at_verify(50, 30, 50, 50);
    struct relay_event event = verification(&m, 50, 60, 50);
    relay_machine_on(&m, &event);
    assert_int_equal(next(&m, 0), RELAY_DO_PUBLISH);
}

static void test_rows_that_vanish_are_looked_into(void **state)
{
    (void)state;
    struct relay_machine m = idle_at(10);
    on(&m, RELAY_ON_ROWS, 14);
    on(&m, RELAY_ON_COMMITTED, 12);
    on(&m, RELAY_ON_NOTHING, -1);
    assert_int_equal(next(&m, INT64_MAX), RELAY_DO_VERIFY);
    assert_int_equal(next(&m, 1000), RELAY_DO_WAIT); // not in a tight loop
    verified(&m, 11, 10); // a fail-over took what this producer published
    assert_halted(&m, "up to sequence 12", "only up to 11");
}

// Rows that were read back and marked since the producer was made are in the topics, too.
static void test_rows_that_vanish_unpublished_are_well(void **state)
{
    (void)state;
    struct relay_machine m = idle_at(10);
    on(&m, RELAY_ON_ROWS, 20);
    on(&m, RELAY_ON_COMMITTED, 14);
    on(&m, RELAY_ON_READ_BACK, 13);
    on(&m, RELAY_ON_MARKED, -1);
    on(&m, RELAY_ON_NOTHING, -1);
    verified(&m, 14, 13);
    assert_int_equal(m.state, RELAY_IDLE);
    assert_int_equal(m.n, 14);
    assert_int_equal(m.read_back, 13); // row 14 is still to be read back
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
        if (kept)
            initialise(&m);
    }
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
    on(&m, RELAY_ON_COMMITTED, 13);
    assert_int_equal(m.trouble.kind, ERROR_NONE);
    assert_int_equal(next(&m, now), RELAY_DO_PUBLISH);
}

static void test_an_init_that_breaks_pauses(void **state)
{
    (void)state;
    struct error why = {ERROR_UNAVAILABLE, "no coordinator"};
    struct relay_machine m;
    relay_machine_start(&m, 7, 0);
    on(&m, RELAY_ON_CREATED, -1);
    struct relay_event broken = {.kind = RELAY_ON_BROKEN, .now_ms = 1000, .error = &why};
    relay_machine_on(&m, &broken);
    assert_int_equal(m.state, RELAY_CREATE);
    assert_int_equal(next(&m, 1000), RELAY_DO_WAIT);
    assert_int_equal(next(&m, 1000 + RELAY_PAUSE_MIN_MS), RELAY_DO_CREATE);
}

static void test_the_impossible_halts(void **state)
{
    (void)state;
    struct error why = {ERROR_CONFIG,
                        "shard 7: row 12 of 2000000 bytes: run settled topics apply, and "
                        "restart"};
    struct relay_machine m = idle_at(10);
    on(&m, RELAY_ON_ROWS, 14);
    struct relay_event impossible = {.kind = RELAY_ON_IMPOSSIBLE, .error = &why};
    relay_machine_on(&m, &impossible);
    assert_halted(&m, "row 12", "settled topics apply");
    on(&m, RELAY_ON_ROWS, 99);
    assert_halted(&m, "row 12", "settled topics apply");
}

// ---- several relays against a model ----

// Two topics: even rows stand in one, odd ones in the other.
enum { RELAYS = 3, TOPICS = 2, LOG_MAX = 2048, BATCH_MAX = 8, COPIES_MAX = 16 };
enum request_kind { ADD_PARTITION, PRODUCE, ADD_OFFSETS, COMMIT_OFFSETS, END, INIT };
enum answer { DONE, REFUSED, FENCED, SILENT };
enum broken { SOUND, NO_FENCING, NO_FRESH_PRODUCER, TOPICS_UNREAD };

struct request {
    enum request_kind kind;
    int epoch, transaction, topic;
    int number, count; // of its first row among the producer's; rows
    int64_t rows[BATCH_MAX];
    int64_t position;
    bool commit;
};

struct topic {
    int64_t rows[LOG_MAX], staged[LOG_MAX];
    int count, checked, staged_count;
    int epoch, next; // of the producer that wrote last, and the number that it must go on with
};

struct client {
    struct relay_machine machine;
    bool running, spent;
    int64_t epoch;
    int producer, transaction, step; // of a transaction, 0: none is under way
    int64_t to;
    int rows[TOPICS], numbers[TOPICS];
    int64_t row[TOPICS][BATCH_MAX];
    bool reading;
    struct published_rows published;
    int next[TOPICS];
};

struct world {
    uint64_t random;
    enum broken broken;
    // Kafka
    struct topic topics[TOPICS];
    int producer_epoch, transaction, last_transaction;
    bool open, committed, offsets_added;
    unsigned added;
    int64_t position, staged_position, older[LOG_MAX]; // -1: none
    int older_count;
    struct request copies[COPIES_MAX];
    int copy_count;
    bool touched; // a request changed another transaction than its own
    // PostgreSQL
    int64_t epoch, last, mark;
    struct client relay[RELAYS];
    int64_t now;
};

static uint32_t draw(struct world *w, uint32_t below)
{
    w->random = w->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(w->random >> 33) % below;
}

static void end_transaction(struct world *w, bool commit)
{
    for (int t = 0; t < TOPICS; t++) {
        struct topic *topic = &w->topics[t];
        for (int i = 0; i < topic->staged_count && commit && topic->count < LOG_MAX; i++)
            topic->rows[topic->count++] = topic->staged[i];
        topic->staged_count = 0;
    }
    if (commit && w->staged_position >= 0) {
        w->position = w->staged_position;
        if (w->older_count < LOG_MAX)
            w->older[w->older_count++] = w->position;
    }
    w->open = false;
    w->committed = commit;
}

static void join_transaction(struct world *w, const struct request *request)
{
    if (!w->open) {
        w->open = true;
        w->transaction = request->transaction;
        w->added = 0;
        w->offsets_added = false;
        w->staged_position = -1;
    }
    if (w->transaction != request->transaction)
        w->touched = true;
}

static enum answer produce(struct world *w, const struct request *request)
{
    struct topic *topic = &w->topics[request->topic];
    if (!w->open || !(w->added & 1U << request->topic))
        return REFUSED;
    if (topic->epoch != request->epoch) {
        topic->epoch = request->epoch;
        topic->next = 0;
    }
    if (request->number < topic->next)
        return DONE; // it was appended before
    if (request->number > topic->next)
        return REFUSED;
    join_transaction(w, request);
    topic->next += request->count;
    for (int i = 0; i < request->count && topic->staged_count < LOG_MAX; i++)
        topic->staged[topic->staged_count++] = request->rows[i];
    return DONE;
}

// What a broker does with a request, whenever it comes.
static enum answer ask_broker(struct world *w, const struct request *request)
{
    bool fences = w->broken != NO_FENCING;
    if (request->kind == INIT) {
        if (w->open && fences)
            end_transaction(w, false);
        w->producer_epoch++;
        return DONE;
    }
    if (request->epoch != w->producer_epoch && fences)
        return FENCED;
    switch (request->kind) {
    case ADD_PARTITION:
        join_transaction(w, request);
        w->added |= 1U << request->topic;
        return DONE;
    case PRODUCE:
        return produce(w, request);
    case ADD_OFFSETS:
        join_transaction(w, request);
        w->offsets_added = true;
        return DONE;
    case COMMIT_OFFSETS:
        if (!w->open || !w->offsets_added)
            return REFUSED;
        join_transaction(w, request);
        w->staged_position = request->position;
        return DONE;
    default:
        if (!w->open)
            return w->committed == request->commit ? DONE : REFUSED;
        join_transaction(w, request);
        end_transaction(w, request->commit);
        return DONE;
    }
}

static void deliver_a_copy(struct world *w)
{
    if (w->copy_count == 0)
        return;
    int i = (int)draw(w, (uint32_t)w->copy_count);
    struct request copy = w->copies[i];
    w->copies[i] = w->copies[--w->copy_count];
    (void)ask_broker(w, &copy);
}

// The client sends a request again when its connection breaks, and gets an answer to one copy, or
// to none.
static enum answer send_request(struct world *w, struct client *c, struct request *request,
                                bool calm)
{
    request->epoch = c->producer;
    request->transaction = c->transaction;
    if (calm || draw(w, 10) > 0 || w->copy_count == COPIES_MAX)
        return ask_broker(w, request);
    w->copies[w->copy_count++] = *request;
    if (request->kind != INIT)
        c->spent = true;
    return draw(w, 4) == 0 ? SILENT : ask_broker(w, request);
}

static struct relay_event answer(const struct world *w, enum relay_event_kind kind, int64_t n)
{
    struct relay_event event = event_of(kind, n);
    event.now_ms = w->now;
    return event;
}

static void read_topics(const struct world *w, struct client *c, int most)
{
    if (!c->reading) {
        c->reading = true;
        published_rows_start(&c->published, c->machine.marked);
        memset(c->next, 0, sizeof c->next);
    }
    for (int t = 0; t < TOPICS; t++)
        for (int i = 0; i < most && c->next[t] < w->topics[t].count; i++)
            (void)published_rows_see(&c->published, t, w->topics[t].rows[c->next[t]++]);
}

// False: a row is missing behind a later one of its topic.
static bool begin_batch(struct world *w, struct client *c)
{
    int64_t most = w->last - c->machine.n;
    c->to = c->machine.n + 1 + draw(w, (uint32_t)(most < BATCH_MAX ? most : BATCH_MAX));
    memset(c->rows, 0, sizeof c->rows);
    for (int64_t n = c->machine.n + 1; n <= c->to; n++) {
        int t = (int)(n % TOPICS);
        if (w->broken != TOPICS_UNREAD && published_rows_has(&c->published, n))
            continue;
        if (w->broken != TOPICS_UNREAD && n <= c->published.last[t])
            return false;
        c->row[t][c->rows[t]++] = n;
    }
    c->transaction = ++w->last_transaction;
    c->step = 1;
    return true;
}

enum { STEP_OFFSETS = 1 + 2 * TOPICS, STEP_POSITION, STEP_END, STEP_ABORT };

static struct request request_of(const struct client *c)
{
    struct request request = {.kind = END, .commit = c->step == STEP_END, .position = c->to};
    if (c->step == STEP_OFFSETS)
        request.kind = ADD_OFFSETS;
    if (c->step == STEP_POSITION)
        request.kind = COMMIT_OFFSETS;
    if (c->step >= STEP_OFFSETS)
        return request;
    int t = request.topic = (c->step - 1) / 2;
    request.kind = c->step % 2 == 1 ? ADD_PARTITION : PRODUCE;
    request.number = c->numbers[t];
    request.count = c->rows[t];
    memcpy(request.rows, c->row[t], sizeof request.rows);
    return request;
}

static struct relay_event end_step(struct world *w, struct client *c, enum relay_event_kind kind)
{
    c->step = 0;
    bool stays = w->broken == NO_FRESH_PRODUCER;
    struct relay_event event =
        answer(w, kind == RELAY_ON_ABORTED && stays ? RELAY_ON_FAILED : kind, c->to);
    event.spent = c->spent && !stays;
    return event;
}

// One request a turn.
static struct relay_event publish(struct world *w, struct client *c, bool calm)
{
    struct relay_event later = {.kind = RELAY_ON_ROWS, .n = w->last};
    if (c->step == 0) {
        if (w->last <= c->machine.n)
            return answer(w, RELAY_ON_NOTHING, -1);
        if (!begin_batch(w, c))
            return answer(w, RELAY_ON_IMPOSSIBLE, -1);
        return c->rows[0] + c->rows[1] == 0 ? end_step(w, c, RELAY_ON_COMMITTED) : later;
    }
    while (c->step < STEP_OFFSETS && c->rows[(c->step - 1) / 2] == 0)
        c->step += 2;
    struct request request = request_of(c);
    enum answer said = send_request(w, c, &request, calm);
    if (said == FENCED)
        return end_step(w, c, RELAY_ON_FENCED);
    if (said != DONE && c->step >= STEP_END)
        return end_step(w, c, RELAY_ON_BROKEN);
    if (said == DONE && c->step == STEP_ABORT)
        return end_step(w, c, RELAY_ON_ABORTED);
    if (said == DONE && c->step == STEP_END)
        return end_step(w, c, RELAY_ON_COMMITTED);
    if (said == DONE && request.kind == PRODUCE)
        c->numbers[request.topic] += request.count;
    c->step = said == DONE ? c->step + 1 : STEP_ABORT;
    return later;
}

static struct relay_event find_in_topics(const struct world *w, struct client *c)
{
    read_topics(w, c, LOG_MAX);
    struct relay_event event = answer(w, RELAY_ON_TOPICS, c->published.whole);
    event.highest = c->published.highest;
    event.whole_logs = true;
    if (w->broken == TOPICS_UNREAD)
        event.n = c->machine.position > c->machine.marked ? c->machine.position : c->machine.marked;
    return event;
}

static struct relay_event init_producer(struct world *w, struct client *c, bool calm)
{
    struct request init = {.kind = INIT};
    if (send_request(w, c, &init, calm) != DONE)
        return answer(w, draw(w, 2) ? RELAY_ON_FAILED : RELAY_ON_BROKEN, -1);
    c->producer = w->producer_epoch;
    return answer(w, RELAY_ON_INITIALISED, -1);
}

static struct relay_event mark(struct world *w, struct client *c, bool calm)
{
    if (c->epoch != w->epoch)
        return answer(w, RELAY_ON_LOST, -1);
    if (!calm && draw(w, 4) == 0)
        return answer(w, RELAY_ON_FAILED, -1);
    if (c->machine.read_back > w->mark)
        w->mark = c->machine.read_back;
    return answer(w, RELAY_ON_MARKED, -1);
}

static struct relay_event perform(struct world *w, struct client *c, enum relay_action action,
                                  bool calm)
{
    struct relay_event event;
    bool owner = c->epoch == w->epoch;
    switch (action) {
    case RELAY_DO_CREATE:
        c->spent = false;
        memset(c->numbers, 0, sizeof c->numbers);
        return answer(w, RELAY_ON_CREATED, -1);
    case RELAY_DO_INIT:
        return init_producer(w, c, calm);
    case RELAY_DO_READ_POSITION: // stable offsets only: a transaction under way is waited for
        if (w->open && w->staged_position >= 0 && w->broken != NO_FENCING)
            return answer(w, RELAY_ON_FAILED, -1);
        return answer(w, w->position < 0 ? RELAY_ON_POSITION_UNKNOWN : RELAY_ON_POSITION,
                      w->position);
    case RELAY_DO_READ_TOPICS:
        return find_in_topics(w, c);
    case RELAY_DO_VERIFY:
        if (!owner)
            return answer(w, RELAY_ON_LOST, -1);
        event = verification(&c->machine, 1, w->last, w->mark);
        event.now_ms = w->now;
        return event;
    case RELAY_DO_PUBLISH:
        return publish(w, c, calm);
    case RELAY_DO_MARK:
        return mark(w, c, calm);
    case RELAY_DO_CHECK_EPOCH:
        return answer(w, owner ? RELAY_ON_KEPT : RELAY_ON_LOST, -1);
    case RELAY_DO_WAIT:
    case RELAY_DO_STOP:
        break;
    }
    return answer(w, RELAY_ON_ROWS, w->last);
}

static void read_back(struct world *w, struct client *c, bool calm)
{
    struct relay_machine *m = &c->machine;
    if ((m->state != RELAY_IDLE && m->state != RELAY_PUBLISH) || c->step > 0)
        return;
    read_topics(w, c, calm ? LOG_MAX : (int)draw(w, 6));
    struct relay_event event = answer(w, RELAY_ON_READ_BACK, c->published.whole);
    if (w->broken == TOPICS_UNREAD)
        event.n = m->n;
    relay_machine_on(m, &event);
    if (m->state == RELAY_CREATE)
        c->reading = false;
}

static void step(struct world *w, int r, bool calm)
{
    struct client *c = &w->relay[r];
    int64_t until;
    if (!c->running)
        return;
    read_back(w, c, calm);
    enum relay_action action = relay_machine_next(&c->machine, w->now, &until);
    struct error why = {ERROR_UNAVAILABLE, "shard 7: it did not work"};
    struct relay_event event = perform(w, c, action, calm);
    if (event.kind >= RELAY_ON_FAILED)
        event.error = &why;
    relay_machine_on(&c->machine, &event);
}

static void claim(struct world *w, int r)
{
    struct client *c = &w->relay[r];
    c->running = true;
    c->step = 0; // a transaction of its former life is left as a crash leaves it
    c->reading = false;
    c->epoch = ++w->epoch;
    relay_machine_start(&c->machine, 7, w->mark);
}

// Sequences rise in each topic, so each row is there once; and the marked rows are there.
static bool in_order_and_once(struct world *w)
{
    for (int t = 0; t < TOPICS; t++)
        for (struct topic *topic = &w->topics[t]; topic->checked < topic->count; topic->checked++) {
            int64_t n = topic->rows[topic->checked];
            if (n % TOPICS != t || n > w->last)
                return false;
            if (topic->checked > 0 && n <= topic->rows[topic->checked - 1])
                return false;
        }
    // As long as sequences rise and none is missing, row n of a topic is its n-th row.
    for (int64_t n = w->mark; n > 0 && n > w->mark - TOPICS; n--) {
        int at = (int)((n + 1) / TOPICS) - 1;
        if (n % TOPICS == 0)
            at = (int)(n / TOPICS) - 1;
        if (at >= w->topics[n % TOPICS].count || w->topics[n % TOPICS].rows[at] != n)
            return false;
    }
    return true;
}

static void disturb(struct world *w, uint32_t what)
{
    if (what < 2)
        claim(w, (int)draw(w, RELAYS));
    else if (what < 12 && w->last < LOG_MAX)
        w->last += draw(w, 8);
    else if (what < 13)
        w->position = -1; // the group's offset expires or is deleted
    else if (what < 14 && w->older_count > 0)
        w->position = w->older[draw(w, (uint32_t)w->older_count)]; // or goes back
    else if (what < 22)
        deliver_a_copy(w);
    else if (what < 23 && w->open) { // the coordinator's time-out
        end_transaction(w, false);
        w->producer_epoch++;
    }
}

static bool run_world(uint64_t seed, enum broken broken)
{
    static struct world world;
    struct world *w = &world;
    memset(w, 0, sizeof *w);
    w->random = seed;
    w->broken = broken;
    w->position = w->staged_position = -1;
    claim(w, 0);
    for (int turn = 0; turn < 3000; turn++) {
        w->now += draw(w, 400);
        uint32_t what = draw(w, 100);
        if (what < 23)
            disturb(w, what);
        else
            step(w, (int)draw(w, RELAYS), false);
        if (!in_order_and_once(w) || w->touched)
            return false;
    }
    while (w->copy_count > 0)
        deliver_a_copy(w);
    for (int turn = 0; turn < 4000; turn++) {
        w->now += RELAY_PAUSE_MAX_MS / 4;
        for (int r = 0; r < RELAYS; r++)
            step(w, r, true);
    }
    for (int r = 0; r < RELAYS; r++)
        if (w->relay[r].running && w->relay[r].machine.state == RELAY_HALTED)
            return false;
    int64_t there = w->topics[0].count + w->topics[1].count;
    return in_order_and_once(w) && there > 0 && there == w->last && w->mark == w->last;
}

static void test_worlds_publish_each_row_once(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 1000; seed++)
        if (!run_world(seed, SOUND))
            fail_msg("seed %llu: not each row once, or not all of them", (unsigned long long)seed);
}

// Each promise on which publishing depends is broken once, and each time the test must notice it.
static void test_worlds_that_break_a_promise_are_caught(void **state)
{
    (void)state;
    static const struct {
        enum broken broken;
        int least;
    } cases[] = {{NO_FENCING, 40}, {NO_FRESH_PRODUCER, 40}, {TOPICS_UNREAD, 40}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int caught = 0;
        for (uint64_t seed = 1; seed <= 50; seed++)
            caught += !run_world(seed, cases[i].broken);
        if (caught < cases[i].least)
            fail_msg("%d: %d of 50 worlds caught", (int)cases[i].broken, caught);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_publishes_what_is_committed),
        cmocka_unit_test(test_nothing_is_marked_before_it_is_read_back),
        cmocka_unit_test(test_rows_above_n_are_not_read_back_before_n),
        cmocka_unit_test(test_what_is_not_read_back_in_time_is_looked_for),
        cmocka_unit_test(test_much_that_is_not_read_back_stops_publishing),
        cmocka_unit_test(test_topics_that_cannot_be_read_on_are_read_anew),
        cmocka_unit_test(test_a_spent_producer_is_replaced_at_once),
        cmocka_unit_test(test_an_abort_replaces_the_producer_at_once),
        cmocka_unit_test(test_an_unknown_outcome_reads_n_again),
        cmocka_unit_test(test_a_position_that_was_not_marked_is_marked_first),
        cmocka_unit_test(test_an_unknown_position_is_found_in_the_topics),
        cmocka_unit_test(test_a_position_behind_the_topics_is_not_believed),
        cmocka_unit_test(test_a_position_ahead_of_the_topics_is_not_believed),
        cmocka_unit_test(test_a_commit_of_ours_that_vanishes_is_published_again),
        cmocka_unit_test(test_where_rows_have_expired_the_position_counts),
        cmocka_unit_test(test_a_position_that_is_not_its_own_tells_nothing),
        cmocka_unit_test(test_empty_topics_are_zero_only_when_nothing_is_marked),
        cmocka_unit_test(test_expired_topics_halt_unless_the_position_has_the_mark),
        cmocka_unit_test(test_kafka_ahead_of_postgres_halts),
        cmocka_unit_test(test_another_row_under_the_same_sequence_halts),
        cmocka_unit_test(test_a_missing_row_n_halts),
        cmocka_unit_test(test_an_old_position_without_its_row_is_well),
        cmocka_unit_test(test_rows_that_vanish_are_looked_into),
        cmocka_unit_test(test_rows_that_vanish_unpublished_are_well),
        cmocka_unit_test(test_fenced_asks_whose_the_shard_is),
        cmocka_unit_test(test_pauses_grow_to_a_bound_and_end_with_success),
        cmocka_unit_test(test_an_init_that_breaks_pauses),
        cmocka_unit_test(test_the_impossible_halts),
        cmocka_unit_test(test_worlds_publish_each_row_once),
        cmocka_unit_test(test_worlds_that_break_a_promise_are_caught),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
