// The topics are the truth: what the relay does, on a real broker, when the topics, the position
// and PostgreSQL disagree on what is published.
#include "tests/integration/relay_fixture.h"
#include "tests/lib/captured_log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

// Rows 1..count: odd ones are changes of status, even ones rejects.
static void add_mixed_rows(struct fixture *f, int count)
{
    for (int i = 0; i < count; i++)
        add_rows(f, 1, f->last % 2 == 0 ? 0 : 40);
}

static void publish_all(struct fixture *f)
{
    struct relay *relay = start_relay(f);
    assert_int_equal(await(relay, f->last).published, f->last);
    relay_destroy(relay);
}

static void set_mark(struct fixture *f, int64_t mark)
{
    char sql[96];
    snprintf(sql, sizeof sql, "update settled.shards set relayed = %" PRId64, mark);
    must_sql(f->pg, sql);
}

// How often each row stands in the topics.
static void assert_times(struct fixture *f, int64_t last, int64_t of, int times)
{
    int found[64] = {0};
    assert_in_range(last, 1, 63);
    read_topics(f, "read_committed");
    for (size_t i = 0; i < f->seen_count; i++)
        found[f->seen[i].sequence]++;
    for (int64_t n = 1; n <= last; n++)
        if (found[n] != (n == of ? times : 1))
            fail_msg("row %d stands there %d times", (int)n, found[n]);
}

// ---- what others do to the topics ----

static void finish_admin(rd_kafka_t *client, rd_kafka_queue_t *queue)
{
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, CALL_MS);
    assert(event && !rd_kafka_event_error(event));
    rd_kafka_event_destroy(event);
    rd_kafka_queue_destroy(queue);
    rd_kafka_destroy(client);
}

// Deleted and made again: what was in it is gone.
static void empty_topic(struct fixture *f, enum output output)
{
    char why[512];
    rd_kafka_t *client = fixture_client(f, RD_KAFKA_PRODUCER, NULL);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(client);
    rd_kafka_DeleteTopic_t *gone = rd_kafka_DeleteTopic_new(f->topics[output]);
    rd_kafka_DeleteTopics(client, &gone, 1, NULL, queue);
    rd_kafka_DeleteTopic_destroy(gone);
    finish_admin(client, queue);
    for (int64_t end = now_ms() + CALL_MS; now_ms() < end; usleep(200000)) {
        client = fixture_client(f, RD_KAFKA_PRODUCER, NULL);
        queue = rd_kafka_queue_new(client);
        rd_kafka_NewTopic_t *topic =
            rd_kafka_NewTopic_new(f->topics[output], PARTITIONS, 1, why, sizeof why);
        rd_kafka_CreateTopics(client, &topic, 1, NULL, queue);
        rd_kafka_NewTopic_destroy(topic);
        rd_kafka_event_t *event = rd_kafka_queue_poll(queue, CALL_MS);
        size_t count = 0;
        const rd_kafka_topic_result_t **results =
            rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &count);
        bool made = count == 1 && !rd_kafka_topic_result_error(results[0]);
        rd_kafka_event_destroy(event);
        rd_kafka_queue_destroy(queue);
        rd_kafka_destroy(client);
        if (made)
            return;
    }
    fail_msg("%s cannot be made again", f->topics[output]);
}

static void delete_records(struct fixture *f, enum output output, int64_t before)
{
    rd_kafka_t *client = fixture_client(f, RD_KAFKA_PRODUCER, NULL);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(client);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, f->topics[output], SHARD)->offset = before;
    rd_kafka_DeleteRecords_t *records = rd_kafka_DeleteRecords_new(list);
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_DeleteRecords(client, &records, 1, NULL, queue);
    rd_kafka_DeleteRecords_destroy(records);
    finish_admin(client, queue);
}

// A foreign producer; with `transaction` it leaves a transaction open.
static rd_kafka_t *write_record(struct fixture *f, enum output output, const char *transaction,
                                const void *value, size_t size)
{
    char why[512];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "bootstrap.servers", f->properties[0][1], why, sizeof why);
    if (transaction)
        rd_kafka_conf_set(conf, "transactional.id", transaction, why, sizeof why);
    rd_kafka_t *client = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof why);
    assert(client);
    if (transaction) {
        assert_null(rd_kafka_init_transactions(client, CALL_MS));
        assert_null(rd_kafka_begin_transaction(client));
    }
    rd_kafka_vu_t parts[] = {
        {.vtype = RD_KAFKA_VTYPE_TOPIC, .u.cstr = f->topics[output]},
        {.vtype = RD_KAFKA_VTYPE_PARTITION, .u.i32 = SHARD},
        {.vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = RD_KAFKA_MSG_F_COPY},
        {.vtype = RD_KAFKA_VTYPE_VALUE, .u.mem = {(void *)(uintptr_t)value, size}},
    };
    assert_null(rd_kafka_produceva(client, parts, sizeof parts / sizeof parts[0]));
    assert_int_equal(rd_kafka_flush(client, CALL_MS), 0);
    return client;
}

static void write_row_again(struct fixture *f, int64_t sequence)
{
    static struct body body;
    uint8_t framed[512] = {0, 0, 0, 0, 11};
    status_body(&body, "account-7", sequence);
    memcpy(framed + 5, body.data, body.size);
    rd_kafka_destroy(write_record(f, OUTPUT_STATUS, NULL, framed, body.size + 5));
}

// Sets the position as a tool or an older answer of the group could: with the hash of that row.
static void set_position(struct fixture *f, int64_t n)
{
    char sql[96], group[RELAY_GROUP_SIZE], why[512];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "bootstrap.servers", f->properties[0][1], why, sizeof why);
    rd_kafka_conf_set(conf, "group.id", relay_group(f->group, group), why, sizeof why);
    rd_kafka_t *client = rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof why);
    assert(client);
    snprintf(sql, sizeof sql,
             "select encode(hash, 'hex') from settled.outbox where sequence = %" PRId64, n);
    PGresult *row = PQexec(f->pg, sql);
    assert_int_equal(PQntuples(row), 1);
    char *text = malloc(POSITION_TEXT_SIZE); // owned by the list
    snprintf(text, POSITION_TEXT_SIZE, "1 %" PRId64 " %s", n, PQgetvalue(row, 0, 0));
    PQclear(row);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_t *at =
        rd_kafka_topic_partition_list_add(list, f->topics[OUTPUT_SETTLEMENTS], SHARD);
    at->offset = n;
    at->metadata = text;
    at->metadata_size = strlen(text);
    assert_int_equal(rd_kafka_commit(client, list, 0), RD_KAFKA_RESP_ERR_NO_ERROR);
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_destroy(client);
}

// Until `done` of it, or 30 s.
static struct relay_status await_that(struct relay *relay,
                                      bool (*done)(const struct relay_status *))
{
    struct relay_status status = {0};
    for (int64_t end = now_ms() + 30000; now_ms() < end; usleep(5000)) {
        status = relay_status(relay, SHARD);
        if (done(&status))
            return status;
    }
    fail_msg("it did not come to it: %s", status.error.text);
    return status;
}

// ---- tests ----

// An answer from before a fail-over, or a late TxnOffsetCommit: rows after it would be published
// twice.
static void test_a_position_behind_the_topics_repeats_nothing(void **state)
{
    struct fixture *f = *state;
    add_mixed_rows(f, 10);
    publish_all(f);
    set_position(f, 6);
    set_mark(f, 4);
    add_mixed_rows(f, 2);
    publish_all(f);
    assert_times(f, 12, 0, 0);
}

// A late EndTxn(commit) that found nothing but the position: rows that it claims would be lost.
static void test_a_position_ahead_of_the_topics_loses_nothing(void **state)
{
    struct fixture *f = *state;
    add_mixed_rows(f, 8);
    publish_all(f);
    add_mixed_rows(f, 4);
    set_position(f, 11);
    struct relay *relay = start_relay(f);
    struct relay_status status = await(relay, 12);
    relay_destroy(relay);
    assert_int_equal(status.published, 12);
    assert_int_equal(status.lost_rows, 3); // 9, 10, 11: somebody should look into it
    assert_times(f, 12, 0, 0);
}

static void test_rows_lost_at_a_topics_end_are_published_again(void **state)
{
    struct fixture *f = *state;
    add_mixed_rows(f, 9);
    publish_all(f);
    set_mark(f, 0); // so that nothing was read back of what is lost
    empty_topic(f, OUTPUT_REJECTS);
    add_mixed_rows(f, 1);
    struct captured_log log = captured_begin();
    struct relay *relay = start_relay(f);
    struct relay_status status = await(relay, 10);
    relay_destroy(relay);
    assert_non_null(strstr(captured_end(&log), "output topics have lost rows that they had "
                                               "acknowledged: they are published again"));
    assert_int_equal(status.published, 10);
    assert_int_equal(status.lost_rows, 4); // 2, 4, 6, 8
    assert_times(f, 10, 0, 0);
}

// To publish row 2 behind row 12 would break the order that subscribers rely on.
static void test_a_row_lost_before_others_of_its_topic_halts(void **state)
{
    struct fixture *f = *state;
    add_mixed_rows(f, 9);
    publish_all(f);
    empty_topic(f, OUTPUT_REJECTS);
    add_mixed_rows(f, 3);
    set_mark(f, 9);
    publish_all(f); // the mark stood above what is lost
    set_mark(f, 0);
    struct relay *relay = start_relay(f);
    struct relay_status status = await(relay, INT64_MAX);
    relay_destroy(relay);
    assert_true(status.halted);
    if (!strstr(status.error.text, "row 2 (id-2) is missing") ||
        !strstr(status.error.text, "settled repair"))
        fail_msg("%s", status.error.text);
}

// Somebody mirrored a part of the topic back, and in another order.
static void test_a_row_behind_a_later_one_is_told_and_a_row_before_it_halts(void **state)
{
    struct fixture *f = *state;
    struct captured_log log = captured_begin();
    add_mixed_rows(f, 9);
    publish_all(f);
    set_mark(f, 0);
    empty_topic(f, OUTPUT_STATUS);
    write_row_again(f, 5);
    write_row_again(f, 3);
    add_mixed_rows(f, 1);
    struct relay *relay = start_relay(f);
    struct relay_status status = await(relay, INT64_MAX);
    relay_destroy(relay);
    const char *text = captured_end(&log);
    assert_true(status.halted);
    if (!strstr(status.error.text, "row 1 (id-1) is missing in topic ") ||
        !strstr(status.error.text, ", which has row 5 already: the topic has lost data, and to "
                                   "publish it now would break the order"))
        fail_msg("%s", status.error.text);
    assert_non_null(strstr(status.strange.last, "row 3 stands behind one with a higher sequence"));
    assert_non_null(strstr(text, "an output topic holds what it should not"));
}

static bool has_repeated(const struct relay_status *status)
{
    return status->strange.repeated > 0;
}

static bool has_foreign(const struct relay_status *status)
{
    return status->strange.foreign > 1;
}

static void test_a_row_that_stands_twice_is_told(void **state)
{
    struct fixture *f = *state;
    add_mixed_rows(f, 6);
    struct relay *relay = start_relay(f);
    assert_int_equal(await(relay, 6).published, 6);
    write_row_again(f, 5); // while it runs
    struct relay_status status = await_that(relay, has_repeated);
    assert_non_null(strstr(status.strange.last, "row 5 stands there a second time"));
    add_mixed_rows(f, 2);
    relay_wake(relay, SHARD, f->last);
    assert_int_equal(await(relay, 8).published, 8); // and it goes on
    relay_destroy(relay);
    set_mark(f, 4);
    relay = start_relay(f); // before it runs
    (void)await_that(relay, has_repeated);
    relay_destroy(relay);
    assert_times(f, 8, 5, 2);
}

static void test_records_of_others_are_told_and_passed_over(void **state)
{
    struct fixture *f = *state;
    add_mixed_rows(f, 4);
    rd_kafka_destroy(write_record(f, OUTPUT_STATUS, NULL, "\0\0\0\0\1x", 6));
    struct relay *relay = start_relay(f);
    assert_int_equal(await(relay, 4).published, 4);
    rd_kafka_destroy(write_record(f, OUTPUT_REJECTS, NULL, "test", 4));
    struct relay_status status = await_that(relay, has_foreign);
    assert_non_null(strstr(status.strange.last, "did not write"));
    add_mixed_rows(f, 2);
    relay_wake(relay, SHARD, f->last);
    assert_int_equal(await(relay, 6).published, 6);
    relay_destroy(relay);
}

static bool is_in_trouble(const struct relay_status *status)
{
    return status->error.kind != ERROR_NONE;
}

// Rows that a foreign transaction hides are not lost, and are not published a second time.
static void test_rows_behind_an_open_transaction_are_waited_for(void **state)
{
    struct fixture *f = *state;
    char id[96];
    add_mixed_rows(f, 4);
    publish_all(f);
    snprintf(id, sizeof id, "%s-foreign", f->group);
    rd_kafka_t *foreign = write_record(f, OUTPUT_STATUS, id, "\0\0\0\0\1x", 6);
    add_mixed_rows(f, 4);
    struct relay *relay = start_relay(f);
    struct relay_status status = await_that(relay, is_in_trouble);
    assert_true(status.published < 8);
    if (!strstr(status.error.text, "row 5 was committed"))
        fail_msg("%s", status.error.text);
    relay_destroy(relay);
    relay = start_relay(f); // another one finds the same
    status = await_that(relay, is_in_trouble);
    if (!strstr(status.error.text, "a transaction stands open on topic"))
        fail_msg("%s", status.error.text);
    assert_null(rd_kafka_abort_transaction(foreign, CALL_MS));
    rd_kafka_destroy(foreign);
    status = await(relay, 8);
    relay_destroy(relay);
    assert_int_equal(status.published, 8);
    assert_int_equal(status.lost_rows, 0);
    assert_times(f, 8, 0, 0);
}

// If retention has removed the beginning of a log, a missing row may have been there before.
static void test_what_retention_took_is_not_published_again(void **state)
{
    struct fixture *f = *state;
    add_mixed_rows(f, 8);
    publish_all(f);
    set_mark(f, 2);
    delete_records(f, OUTPUT_REJECTS, 3);
    add_mixed_rows(f, 2);
    struct relay *relay = start_relay(f);
    struct relay_status status = await(relay, 10);
    relay_destroy(relay);
    assert_int_equal(status.published, 10);
    assert_int_equal(status.lost_rows, 0);
    read_topics(f, "read_committed");
    assert_int_equal(f->seen_count, 7); // 2, 4 and 6 were deleted
}

#define ON(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON(test_a_position_behind_the_topics_repeats_nothing),
        ON(test_a_position_ahead_of_the_topics_loses_nothing),
        ON(test_rows_lost_at_a_topics_end_are_published_again),
        ON(test_a_row_lost_before_others_of_its_topic_halts),
        ON(test_a_row_behind_a_later_one_is_told_and_a_row_before_it_halts),
        ON(test_a_row_that_stands_twice_is_told),
        ON(test_records_of_others_are_told_and_passed_over),
        ON(test_rows_behind_an_open_transaction_are_waited_for),
        ON(test_what_retention_took_is_not_published_again),
    };
    return cmocka_run_group_tests(tests, relay_group_setup, relay_group_teardown);
}
