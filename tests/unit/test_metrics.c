#include "consumer/shard/metrics.h"
#include "consumer/shard/shard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char *const topics[INPUT_COUNT] = {"call-records", "package-purchases",
                                                "account-credits"};

static void expect(const char *text, const char *line)
{
    const char *found = strstr(text, line);
    if (!found || (found != text && found[-1] != '\n') || found[strlen(line)] != '\n')
        fail_msg("no line %s", line);
}

// Shard 0 is this process's, shard 1 is another's.
static struct metrics *some_metrics(void)
{
    struct metrics *m;
    assert_int_equal(metrics_create(2, topics, &m), 0);
    m->shards[0].owned = 1;
    m->shards[0].state = SHARD_RUNNING;
    m->shards[0].phase = DAY_HELD;
    m->shards[0].held_rejects[INPUT_CREDITS][REJECTS_BROKEN] = 300;
    m->shards[0].open_day = 20000;
    m->shards[0].records[INPUT_CALLS][RESULT_ACCEPTED] = 5;
    m->shards[1].records[INPUT_CALLS][RESULT_ACCEPTED] = 6;
    m->shards[1].settlements = 7;
    m->shards[1].open_day = 20000; // of when it was this process's
    m->shards[1].phase = DAY_HELD;
    m->shards[1].stop[INPUT_CALLS] = FOLD_SCHEMA;
    m->shards[1].sequence = 12;
    m->shards[1].relay_trouble = 1;
    m->shards[1].rejects[INPUT_CREDITS][REJECT_REFUND] = 2;
    m->shards[0].position[INPUT_CALLS] = 90;
    m->shards[0].end[INPUT_CALLS] = 100;
    m->shards[0].last_timestamp[INPUT_CALLS] = 1000;
    m->shards[0].stop[INPUT_CALLS] = FOLD_SCHEMA;
    m->shards[0].end[INPUT_CREDITS] = 3; // nothing of it could be read so far
    m->shards[0].open_ms[INPUT_CREDITS] = 75400;
    m->shards[0].sequence = 12;
    m->shards[0].published = 10;
    m->shards[0].snapshots_written = 4;
    m->shards[0].snapshots_failed = 1;
    m->shards[0].snapshots_taken = 2;
    m->shards[1].snapshots_refused = 3;
    m->shards[0].snapshot_bytes = 4096;
    m->shards[0].snapshot_at = 1700000000;
    m->parameter_count = 2;
    snprintf(m->parameters[0].name, sizeof m->parameters[0].name, "billing.grace");
    snprintf(m->parameters[1].name, sizeof m->parameters[1].name, "pricing.book");
    m->parameters[1].differs = 1;
    metrics_commit(m, 900);
    metrics_commit(m, 1000);
    metrics_commit(m, 20000000);
    return m;
}

static void test_render(void **state)
{
    (void)state;
    struct metrics *m = some_metrics();
    char *text = metrics_render(m, 61000);
    assert_non_null(text);
    expect(text, "# TYPE settled_records_total counter");
    expect(text, "settled_records_total{topic=\"call-records\",result=\"accepted\"} 11");
    expect(text, "settled_rejects_total{topic=\"account-credits\",reason=\"REFUND\"} 2");
    expect(text, "settled_log_lag_records{topic=\"call-records\",partition=\"0\"} 10");
    expect(text, "settled_log_lag_seconds{topic=\"call-records\",partition=\"0\"} 60");
    expect(text, "settled_log_open_transaction_seconds{topic=\"call-records\",partition=\"0\"} 0");
    expect(text,
           "settled_log_open_transaction_seconds{topic=\"account-credits\",partition=\"0\"} 76");
    expect(text, "settled_log_lag_seconds{topic=\"account-credits\",partition=\"0\"} 76");
    expect(text, "settled_log_waiting{topic=\"call-records\",partition=\"0\",for=\"schema\"} 1");
    expect(text, "settled_open_day_seconds{shard=\"0\"} 1728000000");
    expect(text, "settled_day_state{shard=\"0\",state=\"held\"} 1");
    expect(text, "settled_day_held_rejects{topic=\"account-credits\",partition=\"0\",group="
                 "\"broken\"} 300");
    expect(text, "settled_day_held_rejects{topic=\"call-records\",partition=\"0\",group="
                 "\"refused\"} 0");
    expect(text, "settled_shard_state{shard=\"1\",state=\"none\"} 1");
    expect(text, "settled_relay_backlog_rows{shard=\"0\"} 2");
    expect(text, "settled_snapshots_written_total{shard=\"0\"} 4");
    expect(text, "settled_snapshots_failed_total{shard=\"0\"} 1");
    expect(text, "settled_snapshots_taken_total{shard=\"0\"} 2");
    expect(text, "settled_snapshots_refused_total{shard=\"1\"} 3");
    expect(text, "settled_snapshot_bytes{shard=\"0\"} 4096");
    expect(text, "settled_snapshot_timestamp_seconds{shard=\"0\"} 1700000000");
    expect(text, "settled_configuration_differs{parameter=\"billing.grace\"} 0");
    expect(text, "settled_configuration_differs{parameter=\"pricing.book\"} 1");
    expect(text, "settled_commit_duration_seconds_bucket{le=\"0.001\"} 2");
    expect(text, "settled_commit_duration_seconds_bucket{le=\"10\"} 2");
    expect(text, "settled_commit_duration_seconds_bucket{le=\"+Inf\"} 3");
    expect(text, "settled_commit_duration_seconds_sum 20.001900");
    expect(text, "settled_commit_duration_seconds_count 3");
    expect(text, "settled_log_waiting{topic=\"call-records\",partition=\"0\",for=\"commit\"} 0");
    expect(text, "settled_day_state{shard=\"0\",state=\"open\"} 0");
    // What is not known, or is another process's, is 0; what this one has counted stays.
    expect(text, "settled_log_lag_records{topic=\"package-purchases\",partition=\"0\"} 0");
    expect(text, "settled_log_waiting{topic=\"call-records\",partition=\"1\",for=\"schema\"} 0");
    expect(text, "settled_day_state{shard=\"1\",state=\"held\"} 0");
    expect(text, "settled_open_day_seconds{shard=\"1\"} 0");
    expect(text, "settled_settlements_total{shard=\"1\"} 7");
    expect(text, "settled_relay_published_sequence{shard=\"1\"} 0");
    expect(text, "settled_relay_backlog_rows{shard=\"1\"} 0");
    expect(text, "settled_relay_trouble{shard=\"1\"} 0");
    expect(text, "settled_relay_strange_records_total{shard=\"1\",kind=\"foreign\"} 0");
    free(text);
    metrics_destroy(m);
}

// deploy/METRICS.md must be the printed table. After a change: settled help --metrics
// >deploy/METRICS.md
static void test_reference_is_the_checked_in_page(void **state)
{
    (void)state;
    char *text = NULL, *page = NULL;
    size_t size, capacity = 0;
    FILE *out = open_memstream(&text, &size), *file = fopen(SOURCE_DIR "/deploy/METRICS.md", "r");
    assert_non_null(out);
    assert_non_null(file);
    metrics_print_reference(out);
    fclose(out);
    assert_true(getdelim(&page, &capacity, '\0', file) > 0);
    fclose(file);
    assert_string_equal(text, page);
    free(text);
    free(page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_render),
                                       cmocka_unit_test(test_reference_is_the_checked_in_page)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
