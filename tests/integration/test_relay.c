// The relay with a real broker and a real PostgreSQL: each row is published once, whichever process
// dies and whatever is lost; and the halts.
#include "tests/integration/relay_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

// Rows 1..last, each once; within a topic in order.
static void assert_published_once(struct fixture *f, int64_t last)
{
    static uint8_t times[SEEN_MAX + 1];
    int64_t before[OUTPUT_COUNT] = {0};
    memset(times, 0, sizeof times);
    read_topics(f, "read_committed");
    assert_int_equal(f->seen_count, last);
    for (size_t i = 0; i < f->seen_count; i++) {
        int64_t n = f->seen[i].sequence;
        assert_in_range(n, 1, last);
        assert_int_equal(times[n]++, 0);
        assert_true(n > before[f->seen[i].output]);
        before[f->seen[i].output] = n;
    }
}

static int setup_small_rejects(void **state)
{
    *state = fixture_create(relay_database, test_brokers(), 20000);
    return 0;
}

static void test_publishes_each_row_once(void **state)
{
    struct fixture *f = *state;
    add_rows(f, 300, 0);
    struct relay *relay = start_relay(f);
    assert_int_equal(await(relay, 300).published, 300);
    for (int i = 0; i < 20; i++) { // rows that arrive while it publishes
        add_rows(f, 7, i % 2 ? 100 : 0);
        relay_wake(relay, SHARD, f->last);
        usleep(10000);
    }
    assert_int_equal(await(relay, f->last).published, f->last);
    usleep(100000);
    relay_destroy(relay);
    assert_int_equal(sql_number(f->pg, "select relayed from settled.shards"), f->last);
    assert_published_once(f, f->last);
}

static void assert_has(const char *headers, const char *line)
{
    if (!strstr(headers, line))
        fail_msg("no %s in %s", line, headers);
}

static void test_messages_are_as_the_contract_says(void **state)
{
    struct fixture *f = *state;
    char source[128];
    add_rows(f, 1, 0);
    add_rows(f, 1, 50);
    struct relay *relay = start_relay(f);
    assert_int_equal(await(relay, 2).published, 2);
    relay_destroy(relay);
    assert_published_once(f, 2);
    const struct seen *status = &f->seen[f->seen[0].sequence == 2],
                      *reject = &f->seen[f->seen[0].sequence == 1];
    const uint8_t status_framing[] = {0, 0, 0, 0, 11}, reject_framing[] = {0, 5, 6, 7, 8};
    assert_int_equal(status->output, OUTPUT_STATUS);
    assert_memory_equal(status->framing, status_framing, 5);
    assert_memory_equal(reject->framing, reject_framing, 5);
    assert_int_equal(status->key_size, 9);
    assert_memory_equal(status->key, "account-7", 9);
    assert_int_equal(reject->key_size, -1);
    assert_has(status->headers, "ce_specversion=1.0\n");
    assert_has(status->headers, "ce_id=id-1\n");
    snprintf(source, sizeof source, "ce_source=/settled/%s/%d\n", f->group, SHARD);
    assert_has(status->headers, source);
    assert_has(status->headers, "ce_type=settled.AccountStatusChanged.v1\n");
    assert_has(reject->headers, "ce_type=settled.Reject.v1\n");
    assert_has(status->headers, "ce_time=2026-01-01T00:00:00.123Z\n");
    assert_has(status->headers, "content-type=application/avro\n");
}

static void test_goes_on_from_n(void **state)
{
    struct fixture *f = *state;
    for (int round = 1; round <= 3; round++) {
        add_rows(f, 40, 0);
        struct relay *relay = start_relay(f);
        assert_int_equal(await(relay, f->last).published, f->last);
        relay_destroy(relay);
    }
    // Published, but the mark was not written any more: Kafka knows better.
    must_sql(f->pg, "update settled.shards set relayed = 100");
    struct relay *relay = start_relay(f);
    assert_int_equal(await(relay, 120).published, 120);
    for (int64_t end = now_ms() + 10000;
         now_ms() < end && sql_number(f->pg, "select relayed from settled.shards") < 120;)
        usleep(10000);
    assert_int_equal(sql_number(f->pg, "select relayed from settled.shards"), 120);
    relay_destroy(relay);
    assert_published_once(f, 120);
}

static struct publisher *make_publisher(struct fixture *f, const atomic_bool *stop)
{
    struct publisher *publisher = NULL;
    struct error e = {0};
    int failed = publisher_create(&f->publisher, SHARD, false, stop, &publisher, &e);
    assert_int_equal(failed, 0);
    assert_int_equal(publisher_init(publisher, &e), PUBLISH_OK);
    return publisher;
}

// When it returns, the broker has them.
static struct publisher *begin_by_hand(struct fixture *f, const atomic_bool *stop,
                                       const struct outbox_row *rows, size_t count)
{
    const struct outbox_row *each[64];
    struct error e = {0};
    struct publisher *publisher = make_publisher(f, stop);
    for (size_t i = 0; i < count; i++)
        each[i] = &rows[i];
    assert_int_equal(publisher_begin(publisher, each, count, &e), PUBLISH_OK);
    assert_int_equal(publisher_flush(publisher, &e), PUBLISH_OK);
    return publisher;
}

static size_t load_rows(struct fixture *f, struct outbox_row *rows, size_t limit)
{
    struct error e = {0};
    size_t count = 0;
    assert_int_equal(store_load_outbox(f->store, SHARD, &(struct outbox_window){0, limit, 1 << 20},
                                       rows, &count, &e),
                     STORE_OK);
    return count;
}

static void test_a_zombies_half_sent_batch_is_fenced_and_never_seen(void **state)
{
    struct fixture *f = *state;
    atomic_bool stop = false;
    struct outbox_row rows[8];
    struct error e = {0};
    add_rows(f, 12, 0);
    assert_int_equal(load_rows(f, rows, 8), 8);
    struct publisher *zombie = begin_by_hand(f, &stop, rows, 8);
    uint8_t hash[32];
    memcpy(hash, rows[7].hash, sizeof hash);
    struct relay *relay = start_relay(f);
    assert_int_equal(await(relay, 12).published, 12);
    assert_int_equal(publisher_commit(zombie, 8, hash, &e), PUBLISH_FENCED);
    publisher_destroy(zombie);
    relay_destroy(relay);
    read_topics(f, "read_uncommitted");
    assert_int_equal(f->seen_count, 20); // the half-sent batch is in the log
    assert_published_once(f, 12);
}

static void test_a_new_owner_ends_the_old_one(void **state)
{
    struct fixture *f = *state;
    add_rows(f, 10, 0);
    struct relay *old = start_relay(f);
    assert_int_equal(await(old, 10).published, 10);
    struct relay *new = start_relay(f); // with a higher epoch
    add_rows(f, 10, 0);
    assert_int_equal(await(new, 10).published, 10);
    relay_wake(old, SHARD, 20); // both try
    relay_wake(new, SHARD, 20);
    assert_true(await(old, INT64_MAX).lost);
    assert_int_equal(await(new, 20).published, 20);
    relay_destroy(old);
    relay_destroy(new);
    assert_published_once(f, 20);
}

static void test_fenced_without_a_new_owner_goes_on(void **state)
{
    struct fixture *f = *state;
    atomic_bool stop = false;
    add_rows(f, 10, 0);
    struct relay *relay = start_relay(f);
    assert_int_equal(await(relay, 10).published, 10);
    publisher_destroy(make_publisher(f, &stop));
    add_rows(f, 10, 0);
    relay_wake(relay, SHARD, 20);
    assert_int_equal(await(relay, 20).published, 20);
    relay_destroy(relay);
    assert_published_once(f, 20);
}

static void test_reads_the_tails_when_the_offset_is_gone(void **state)
{
    struct fixture *f = *state;
    atomic_bool stop = false;
    struct outbox_row rows[40];
    add_rows(f, 20, 0);
    add_rows(f, 5, 40);
    add_rows(f, 20, 0);
    struct relay *relay = start_relay(f);
    assert_int_equal(await(relay, 45).published, 45);
    relay_destroy(relay);
    // After the last record there are more aborted ones than the first look reaches back.
    assert_int_equal(load_rows(f, rows, 40), 40);
    publisher_destroy(begin_by_hand(f, &stop, rows, 40));
    delete_group(f);
    add_rows(f, 15, 0);
    relay = start_relay(f);
    assert_int_equal(await(relay, 60).published, 60);
    relay_destroy(relay);
    assert_published_once(f, 60);
}

static void assert_halts(struct fixture *f, const char *first, const char *second)
{
    struct relay *relay = start_relay(f);
    struct relay_status status = await(relay, INT64_MAX);
    relay_destroy(relay);
    assert_true(status.halted);
    assert_int_equal(status.error.kind, ERROR_CONFIG);
    if (!strstr(status.error.text, first) || !strstr(status.error.text, second))
        fail_msg("neither %s nor %s in: %s", first, second, status.error.text);
}

static void publish_all(struct fixture *f)
{
    struct relay *relay = start_relay(f);
    assert_int_equal(await(relay, f->last).published, f->last);
    relay_destroy(relay);
}

static void test_empty_topics_below_the_mark_halt(void **state)
{
    struct fixture *f = *state;
    add_rows(f, 9, 0);
    must_sql(f->pg, "update settled.shards set relayed = 4");
    assert_halts(f, "nothing above sequence 0", "up to 4");
    must_sql(f->pg, "update settled.shards set relayed = 0"); // the remedy it names
    publish_all(f);
    assert_published_once(f, 9);
}

static void test_kafka_ahead_of_postgres_halts(void **state)
{
    struct fixture *f = *state;
    add_rows(f, 9, 0);
    publish_all(f);
    must_sql(f->pg, "delete from settled.outbox where sequence > 6");
    must_sql(f->pg, "update settled.shards set sequence = 6, relayed = 6");
    assert_halts(f, "up to sequence 9", "only up to 6");
    assert_published_once(f, 9);
}

static void test_other_rows_under_published_sequences_halt(void **state)
{
    struct fixture *f = *state;
    add_rows(f, 9, 0);
    publish_all(f);
    // A fail-over lost rows 6 to 9, and the owner wrote others before anybody noticed.
    must_sql(f->pg, "delete from settled.outbox where sequence > 5");
    must_sql(f->pg, "update settled.shards set sequence = 5, relayed = 5");
    f->last = 5;
    memset(f->hash, 7, sizeof f->hash);
    add_rows(f, 8, 30);
    assert_halts(f, "row 9", "not the one that was published");
    assert_published_once(f, 9);
}

static void test_a_broken_chain_halts(void **state)
{
    struct fixture *f = *state;
    add_rows(f, 9, 0);
    must_sql(f->pg,
             "update settled.outbox set ce_id = 'x', body = body || '\\x00' where sequence = 7");
    assert_halts(f, "row 7", "does not follow row 6");
    assert_published_once(f, 0);
}

static void test_a_row_too_large_for_its_topic_halts(void **state)
{
    struct fixture *f = *state;
    add_rows(f, 3, 0);
    add_rows(f, 1, 60000);
    add_rows(f, 3, 0);
    assert_halts(f, f->topics[OUTPUT_REJECTS],
                 "as too large: run settled topics apply, which sets max.message.bytes (at least");
    assert_published_once(f, 0);
}

static void test_a_batch_too_large_for_its_topic_is_split(void **state)
{
    struct fixture *f = *state;
    add_rows(f, 40, 5000);
    publish_all(f);
    assert_published_once(f, 40);
}

// What is logged while `work` is done.
static void logged_by(struct fixture *f, void (*work)(struct fixture *), char *out, size_t size)
{
    FILE *file = tmpfile();
    int before = dup(STDERR_FILENO);
    assert_non_null(file);
    dup2(fileno(file), STDERR_FILENO);
    work(f);
    dup2(before, STDERR_FILENO);
    close(before);
    rewind(file);
    out[fread(out, 1, size - 1, file)] = '\0';
    fclose(file);
}

static void split_and_go_on(struct fixture *f)
{
    add_rows(f, 40, 5000);
    struct relay *relay = start_relay(f);
    assert_int_equal(await(relay, f->last).published, f->last);
    for (int i = 0; i < 3; i++) {
        add_rows(f, 2, 0);
        relay_wake(relay, SHARD, f->last);
        assert_int_equal(await(relay, f->last).published, f->last);
    }
    relay_destroy(relay);
}

// Sending row by row is slow: it ends once the rows of the refused batch are sent.
static void test_rows_go_in_batches_again(void **state)
{
    static char text[65536];
    struct fixture *f = *state;
    logged_by(f, split_and_go_on, text, sizeof text);
    const char *split = strstr(text, "rows go one by one for a while"),
               *again = strstr(text, "rows go in batches again");
    assert_true(split && again && split < again);
    assert_published_once(f, f->last);
}

// The refusal comes while further rows are still being queued.
static void test_batches_are_split_however_early_one_is_refused(void **state)
{
    struct fixture *f = *state;
    add_rows(f, 8000, 1900);
    publish_all(f);
    assert_published_once(f, 8000);
}

static void test_a_large_reject_fits_the_default_topic(void **state)
{
    struct fixture *f = *state;
    add_rows(f, 2, 900000);
    publish_all(f);
    assert_published_once(f, 2);
}

static void test_brokers_down_say_so_and_stop_in_time(void **state)
{
    struct fixture *f = *state;
    add_rows(f, 3, 0);
    f->properties[0][1] = "127.0.0.1:1";
    struct relay *relay = start_relay(f);
    struct relay_status status = {0};
    for (int64_t end = now_ms() + 10000; now_ms() < end && !status.error.kind; usleep(10000))
        status = relay_status(relay, SHARD);
    assert_int_equal(status.error.kind, ERROR_UNAVAILABLE);
    assert_non_null(strstr(status.error.text, "cannot begin to publish"));
    assert_false(status.halted || status.lost);
    assert_int_equal(status.published, -1);
    int64_t since = now_ms();
    relay_destroy(relay);
    assert_in_range(now_ms() - since, 0, 5000);
}

static void test_many_shards_add_wake_and_remove(void **state)
{
    struct fixture *f = *state;
    add_rows(f, 50, 0);
    struct relay *relay = start_relay(f);
    relay_add(relay, 0, claim(f, 0), 0); // with nothing to publish
    for (int64_t end = now_ms() + 20000; now_ms() < end && relay_status(relay, 0).published < 0;)
        usleep(1000);
    assert_int_equal(relay_status(relay, 0).published, 0);
    assert_int_equal(await(relay, 50).published, 50);
    relay_remove(relay, 0);
    assert_int_equal(relay_status(relay, 0).published, -1);
    relay_remove(relay, 0);
    relay_add(relay, SHARD, claim(f, SHARD), mark_of(f, SHARD)); // its own next epoch
    add_rows(f, 5, 0);
    relay_wake(relay, SHARD, f->last);
    assert_int_equal(await(relay, 55).published, 55);
    relay_destroy(relay);
    assert_published_once(f, 55);
}

#define ON(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON(test_publishes_each_row_once),
        ON(test_messages_are_as_the_contract_says),
        ON(test_goes_on_from_n),
        ON(test_a_zombies_half_sent_batch_is_fenced_and_never_seen),
        ON(test_a_new_owner_ends_the_old_one),
        ON(test_fenced_without_a_new_owner_goes_on),
        ON(test_reads_the_tails_when_the_offset_is_gone),
        ON(test_empty_topics_below_the_mark_halt),
        ON(test_kafka_ahead_of_postgres_halts),
        ON(test_other_rows_under_published_sequences_halt),
        ON(test_a_broken_chain_halts),
        cmocka_unit_test_setup_teardown(test_a_row_too_large_for_its_topic_halts,
                                        setup_small_rejects, teardown),
        cmocka_unit_test_setup_teardown(test_a_batch_too_large_for_its_topic_is_split,
                                        setup_small_rejects, teardown),
        cmocka_unit_test_setup_teardown(test_rows_go_in_batches_again, setup_small_rejects,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_batches_are_split_however_early_one_is_refused,
                                        setup_small_rejects, teardown),
        ON(test_a_large_reject_fits_the_default_topic),
        ON(test_brokers_down_say_so_and_stop_in_time),
        ON(test_many_shards_add_wake_and_remove),
    };
    return cmocka_run_group_tests(tests, relay_group_setup, relay_group_teardown);
}
