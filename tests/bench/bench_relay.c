// What publishing exactly once costs: the relay, from outbox rows in PostgreSQL to committed
// messages, beside a bare transactional producer of the same messages in the same run. `bench_relay
// [ROWS]` prints JSON; needs the integration tests' services.
#include "tests/integration/relay_fixture.h"

enum { BARE_BATCH = 20000 };

static double seconds_since(int64_t start_ms)
{
    return (double)(now_ms() - start_ms) / 1000.0;
}

static void must_kafka(rd_kafka_error_t *error)
{
    if (!error)
        return;
    fprintf(stderr, "%s\n", rd_kafka_error_string(error));
    exit(1);
}

// The same keys and values to the same partition, without headers, rows or hashes.
static double run_bare(struct fixture *f, int rows)
{
    static struct body body;
    char why[512];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "bootstrap.servers", f->properties[0][1], why, sizeof why);
    rd_kafka_conf_set(conf, "transactional.id", "bare", why, sizeof why);
    rd_kafka_conf_set(conf, "compression.type", "lz4", why, sizeof why);
    rd_kafka_conf_set(conf, "retry.backoff.ms", "10", why, sizeof why);
    rd_kafka_t *producer = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof why);
    assert(producer);
    must_kafka(rd_kafka_init_transactions(producer, CALL_MS));
    rd_kafka_topic_t *topic = rd_kafka_topic_new(producer, f->topics[OUTPUT_STATUS], NULL);
    int64_t start = now_ms();
    for (int done = 0; done < rows;) {
        must_kafka(rd_kafka_begin_transaction(producer));
        for (int end = done + BARE_BATCH; done < rows && done < end; done++) {
            status_body(&body, "account-7", done + 1);
            int failed = rd_kafka_produce(topic, SHARD, RD_KAFKA_MSG_F_COPY, body.data, body.size,
                                          "account-7", 9, NULL);
            assert(failed == 0);
        }
        must_kafka(rd_kafka_commit_transaction(producer, CALL_MS));
    }
    double seconds = seconds_since(start);
    rd_kafka_topic_destroy(topic);
    rd_kafka_destroy(producer);
    return seconds;
}

static double run_relay(struct fixture *f)
{
    struct relay *relay = start_relay(f);
    while (relay_status(relay, SHARD).published < 0)
        usleep(1000); // without the start
    int64_t start = now_ms();
    while (relay_status(relay, SHARD).published < f->last && !relay_status(relay, SHARD).halted)
        usleep(1000);
    double seconds = seconds_since(start);
    relay_destroy(relay);
    return seconds;
}

// From a row's commit to its acknowledged transaction, one row at a time.
static double run_single(struct fixture *f, int times)
{
    struct relay *relay = start_relay(f);
    while (relay_status(relay, SHARD).published < f->last)
        usleep(1000);
    int64_t start = now_ms();
    for (int i = 0; i < times; i++) {
        add_rows(f, 1, 0);
        relay_wake(relay, SHARD, f->last);
        while (relay_status(relay, SHARD).published < f->last)
            usleep(200);
    }
    double each = seconds_since(start) / times;
    relay_destroy(relay);
    return each;
}

int main(int argc, char **argv)
{
    long rows = argc > 1 ? strtol(argv[1], NULL, 10) : 100000;
    char database[512];
    make_relay_database(database, sizeof database);
    struct fixture *f = fixture_create(database, test_brokers(), 0);
    add_rows(f, (int)rows, 0);
    double relay = run_relay(f), bare = run_bare(f, (int)rows), single = run_single(f, 50);
    printf(
        "{\"rows\": %ld, \"relay_a_second\": %.0f, \"bare_a_second\": %.0f, \"single_ms\": %.2f}\n",
        rows, (double)rows / relay, (double)rows / bare, single * 1000);
    fixture_destroy(f);
    drop_relay_database();
    return 0;
}
