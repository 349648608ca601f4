// Topics, a database and outbox rows of their own for tests of the relay, and what subscribers read
// of it.
#pragma once

#include "consumer/relay/published_position.h"
#include "consumer/relay/relay.h"
#include "tests/lib/test_services.h"

#include <assert.h>
#include <inttypes.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { SHARD = 1, PARTITIONS = 2, CALL_MS = 20000, SEEN_MAX = 8192 };

struct seen {
    enum output output;
    int64_t sequence;
    int64_t key_size; // -1: null
    char key[16];
    uint8_t framing[5];
    char headers[512]; // "name=value\n" each
};

struct fixture {
    PGconn *pg;
    struct store *store;
    char group[64], topics[OUTPUT_COUNT][96];
    const char *properties[2][2];
    struct relay_options options;
    char *dsn;
    struct publisher_options publisher;
    int64_t last; // row written
    uint8_t hash[32]; // of the last row
    size_t seen_count;
    struct seen seen[SEEN_MAX];
};

static inline int64_t fixture_clock(void *context)
{
    (void)context;
    return INT64_C(1767225600000); // stands still: nothing in the relay may wait for it
}

static inline void must_sql(PGconn *pg, const char *sql)
{
    PGresult *result = PQexec(pg, sql);
    if (PQresultStatus(result) != PGRES_COMMAND_OK && PQresultStatus(result) != PGRES_TUPLES_OK) {
        fprintf(stderr, "%s: %s\n", sql, PQerrorMessage(pg));
        abort();
    }
    PQclear(result);
}

static inline int64_t sql_number(PGconn *pg, const char *sql)
{
    PGresult *result = PQexec(pg, sql);
    assert(PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 1);
    int64_t number = strtoll(PQgetvalue(result, 0, 0), NULL, 10);
    PQclear(result);
    return number;
}

static inline rd_kafka_t *fixture_client(const struct fixture *f, rd_kafka_type_t type,
                                         const char *isolation)
{
    char why[512];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "bootstrap.servers", f->properties[0][1], why, sizeof why);
    if (type == RD_KAFKA_CONSUMER) {
        rd_kafka_conf_set(conf, "group.id", "unused", why, sizeof why);
        rd_kafka_conf_set(conf, "isolation.level", isolation, why, sizeof why);
        rd_kafka_conf_set(conf, "enable.partition.eof", "true", why, sizeof why);
        rd_kafka_conf_set(conf, "enable.auto.commit", "false", why, sizeof why);
        rd_kafka_conf_set(conf, "fetch.wait.max.ms", "20", why, sizeof why);
    }
    rd_kafka_t *client = rd_kafka_new(type, conf, why, sizeof why);
    assert(client);
    return client;
}

// Topics of the test; `reject_limit` 0: the broker's max.message.bytes for the rejects.
static inline void make_topics(struct fixture *f, int reject_limit)
{
    rd_kafka_t *client = fixture_client(f, RD_KAFKA_PRODUCER, NULL);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(client);
    rd_kafka_NewTopic_t *topics[OUTPUT_COUNT];
    char why[512], limit[16];
    snprintf(limit, sizeof limit, "%d", reject_limit);
    for (int i = 0; i < OUTPUT_COUNT; i++) {
        topics[i] = rd_kafka_NewTopic_new(f->topics[i], PARTITIONS, 1, why, sizeof why);
        assert(topics[i]);
        if (i == OUTPUT_REJECTS && reject_limit)
            rd_kafka_NewTopic_set_config(topics[i], "max.message.bytes", limit);
    }
    rd_kafka_CreateTopics(client, topics, OUTPUT_COUNT, NULL, queue);
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, CALL_MS);
    assert(event && !rd_kafka_event_error(event));
    size_t count = 0;
    const rd_kafka_topic_result_t **results =
        rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &count);
    for (size_t i = 0; i < count; i++)
        assert(!rd_kafka_topic_result_error(results[i]));
    rd_kafka_event_destroy(event);
    rd_kafka_NewTopic_destroy_array(topics, OUTPUT_COUNT);
    rd_kafka_queue_destroy(queue);
    rd_kafka_destroy(client);
}

static inline void delete_group(struct fixture *f)
{
    rd_kafka_t *client = fixture_client(f, RD_KAFKA_PRODUCER, NULL);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(client);
    char group[RELAY_GROUP_SIZE];
    rd_kafka_DeleteGroup_t *deleted = rd_kafka_DeleteGroup_new(relay_group(f->group, group));
    rd_kafka_DeleteGroups(client, &deleted, 1, NULL, queue);
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, CALL_MS);
    assert(event && !rd_kafka_event_error(event));
    size_t count = 0;
    const rd_kafka_group_result_t **results =
        rd_kafka_DeleteGroups_result_groups(rd_kafka_event_DeleteGroups_result(event), &count);
    assert(count == 1 && !rd_kafka_group_result_error(results[0]));
    rd_kafka_event_destroy(event);
    rd_kafka_DeleteGroup_destroy(deleted);
    rd_kafka_queue_destroy(queue);
    rd_kafka_destroy(client);
}

// What an owner's store_claim does to the row; these tests have no deployment.
static inline int64_t claim(struct fixture *f, int32_t shard)
{
    char sql[160];
    snprintf(sql, sizeof sql,
             "insert into settled.shards as s (shard, epoch) values (%d, 1) on conflict (shard) do "
             "update "
             "set epoch = s.epoch + 1 returning epoch",
             shard);
    return sql_number(f->pg, sql);
}

static inline int64_t mark_of(struct fixture *f, int32_t shard)
{
    char sql[96];
    snprintf(sql, sizeof sql, "select relayed from settled.shards where shard = %d", shard);
    return sql_number(f->pg, sql);
}

// ---- rows ----

struct body {
    size_t size;
    uint8_t data[1 << 20];
};

static inline void body_long(struct body *b, int64_t value)
{
    uint64_t n = ((uint64_t)value << 1) ^ (uint64_t)(value >> 63);
    for (; n >= 0x80; n >>= 7)
        b->data[b->size++] = (uint8_t)(n | 0x80);
    b->data[b->size++] = (uint8_t)n;
}

static inline void body_text(struct body *b, const char *text)
{
    size_t size = strlen(text);
    body_long(b, (int64_t)size);
    memcpy(b->data + b->size, text, size);
    b->size += size;
}

static inline void body_noise(struct body *b, size_t size, uint32_t seed) // does not compress
{
    body_long(b, (int64_t)size);
    for (size_t i = 0; i < size; i++) {
        seed = seed * 1664525 + 1013904223;
        b->data[b->size++] = (uint8_t)(seed >> 24);
    }
}

static inline void status_body(struct body *b, const char *account, int64_t sequence)
{
    b->size = 0;
    body_text(b, "a/1"); // event_id
    body_text(b, account);
    body_long(b, 1); // account_sequence
    body_long(b, 2); // SUSPENDED
    body_long(b, 1); // ARREARS
    body_long(b, 1); // settlement_id
    body_text(b, "a/2026-11-01");
    body_long(b, 0); // credit_id
    body_long(b, -5);
    body_long(b, 1767225600123);
    body_long(b, SHARD);
    body_long(b, sequence);
}

static inline void reject_body(struct body *b, size_t value_size, int64_t sequence)
{
    b->size = 0;
    body_text(b, "call-records");
    body_long(b, SHARD);
    body_long(b, sequence * 10); // offset
    body_long(b, 1767225600000);
    body_text(b, "UNDECODABLE");
    body_text(b, "why");
    for (int i = 0; i < 4; i++)
        body_long(b, 0); // account_id, record_id, occurred_at, key
    body_long(b, 1);
    body_noise(b, value_size, (uint32_t)sequence);
    body_long(b, SHARD);
    body_long(b, sequence);
}

static inline void insert_row(struct fixture *f, const struct outbox_row *row)
{
    char shard[16], sequence[24], output[8], time[24];
    snprintf(shard, sizeof shard, "%d", SHARD);
    snprintf(sequence, sizeof sequence, "%" PRId64, row->sequence);
    snprintf(output, sizeof output, "%d", (int)row->output);
    snprintf(time, sizeof time, "%" PRId64, row->ce_time);
    const char *values[] = {shard,      sequence, output,         row->key.data,
                            row->ce_id, time,     row->body.data, (const char *)row->hash};
    const int sizes[] = {0, 0, 0, (int)row->key.size, 0, 0, (int)row->body.size, 32};
    const int formats[] = {0, 0, 0, 1, 0, 0, 1, 1};
    PGresult *result = PQexecParams(
        f->pg,
        "insert into settled.outbox (shard, sequence, output, key, ce_id, ce_time_ms, body, hash, "
        "business_day) values ($1, $2, $3, $4, $5, $6, $7, $8, '2026-01-01')",
        8, NULL, values, sizes, formats, 0);
    assert(PQresultStatus(result) == PGRES_COMMAND_OK);
    PQclear(result);
}

// The next row: a reject with `value_size` bytes and a null key, or, with 0, a status change.
static inline void add_row(struct fixture *f, size_t value_size)
{
    static struct body body;
    char id[64];
    struct outbox_row row = {.sequence = ++f->last, .ce_time = 1767225600123};
    if (value_size)
        reject_body(&body, value_size, row.sequence);
    else
        status_body(&body, "account-7", row.sequence);
    row.output = value_size ? OUTPUT_REJECTS : OUTPUT_STATUS;
    row.key = value_size ? (struct slice){0} : (struct slice){"account-7", 9};
    snprintf(id, sizeof id, "id-%" PRId64, row.sequence);
    row.ce_id = id;
    row.body = (struct slice){(const char *)body.data, body.size};
    struct chain_hasher *hasher = chain_hasher_create();
    chain_hash(hasher, f->hash, &row, row.hash);
    chain_hasher_free(hasher);
    memcpy(f->hash, row.hash, sizeof f->hash);
    insert_row(f, &row);
}

static inline void add_rows(struct fixture *f, int count, size_t value_size)
{
    must_sql(f->pg, "begin");
    for (int i = 0; i < count; i++)
        add_row(f, value_size);
    char sql[256];
    size_t used = (size_t)snprintf(
        sql, sizeof sql, "update settled.shards set sequence = %" PRId64 ", chain_hash = '\\x",
        f->last);
    for (int i = 0; i < 32; i++, used += 2)
        snprintf(sql + used, sizeof sql - used, "%02x", f->hash[i]);
    snprintf(sql + used, sizeof sql - used, "' where shard = %d", SHARD);
    must_sql(f->pg, sql);
    must_sql(f->pg, "commit");
}

// ---- the relay ----

static inline struct relay *start_relay(struct fixture *f)
{
    struct relay *relay = NULL;
    struct error e = {0};
    if (relay_create(&f->options, &relay, &e) != 0) {
        fprintf(stderr, "relay_create: %s\n", e.text);
        abort();
    }
    relay_add(relay, SHARD, claim(f, SHARD), mark_of(f, SHARD));
    relay_wake(relay, SHARD, f->last);
    return relay;
}

static inline int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
}

// Until published, halted or lost, or 30 s.
static inline struct relay_status await(struct relay *relay, int64_t published)
{
    struct relay_status status = {0};
    for (int64_t end = now_ms() + 30000; now_ms() < end; usleep(5000)) {
        status = relay_status(relay, SHARD);
        if (status.halted || status.lost || status.published >= published)
            return status;
    }
    fprintf(stderr, "published %" PRId64 " of %" PRId64 ": %s\n", status.published, published,
            status.error.text);
    return status;
}

// ---- what subscribers read ----

static inline void note(struct fixture *f, const rd_kafka_message_t *message)
{
    static struct output_reader *forms[OUTPUT_COUNT];
    enum output output = OUTPUT_SETTLEMENTS;
    while (strcmp(f->topics[output], rd_kafka_topic_name(message->rkt)) != 0)
        output++;
    struct seen *seen = &f->seen[f->seen_count++];
    struct error e = {0};
    int32_t shard = -1;
    assert(f->seen_count < SEEN_MAX && message->partition == SHARD);
    *seen =
        (struct seen){.output = output, .key_size = message->key ? (int64_t)message->key_len : -1};
    if (!forms[output] && output_reader_create(output, &forms[output], &e))
        abort();
    if (published_sequence(forms[output], FRAMING_CONFLUENT,
                           (struct slice){message->payload, message->len}, &shard, &seen->sequence,
                           &e) != 0) {
        fprintf(stderr, "%s\n", e.text);
        abort();
    }
    assert(shard == SHARD);
    memcpy(seen->framing, message->payload, sizeof seen->framing);
    if (message->key && message->key_len < sizeof seen->key)
        memcpy(seen->key, message->key, message->key_len);
    rd_kafka_headers_t *headers = NULL;
    const char *name = NULL;
    const void *value = NULL;
    size_t size = 0, used = 0;
    if (rd_kafka_message_headers(message, &headers))
        return;
    for (size_t i = 0; !rd_kafka_header_get_all(headers, i, &name, &value, &size); i++)
        used += (size_t)snprintf(seen->headers + used, sizeof seen->headers - used, "%s=%.*s\n",
                                 name, (int)size, (const char *)value);
}

static inline void read_topics(struct fixture *f, const char *isolation)
{
    f->seen_count = 0;
    rd_kafka_t *client = fixture_client(f, RD_KAFKA_CONSUMER, isolation);
    rd_kafka_topic_partition_list_t *list =
        rd_kafka_topic_partition_list_new(OUTPUT_COUNT * PARTITIONS);
    for (int i = 0; i < OUTPUT_COUNT * PARTITIONS; i++)
        rd_kafka_topic_partition_list_add(list, f->topics[i / PARTITIONS], i % PARTITIONS)->offset =
            RD_KAFKA_OFFSET_BEGINNING;
    rd_kafka_assign(client, list);
    rd_kafka_topic_partition_list_destroy(list);
    for (int ends = 0; ends < OUTPUT_COUNT * PARTITIONS;) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(client, CALL_MS);
        assert(message && (!message->err || message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF));
        ends += message->err != 0;
        if (!message->err)
            note(f, message);
        rd_kafka_message_destroy(message);
    }
    rd_kafka_destroy_flags(client, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
}

// ---- each program has a database of its own, each test topics and a group ----

static inline void make_relay_database(char *dsn, size_t size)
{
    char name[64], sql[128];
    snprintf(name, sizeof name, "settled_relay_%d", (int)getpid());
    snprintf(sql, sizeof sql, "create database %s", name);
    PGconn *pg = PQconnectdb(test_dsn());
    assert(PQstatus(pg) == CONNECTION_OK);
    must_sql(pg, sql);
    snprintf(dsn, size, "host=%s port=%s user=%s dbname=%s", PQhost(pg), PQport(pg), PQuser(pg),
             name);
    PQfinish(pg);
    struct store *store = NULL;
    struct error e = {0};
    int applied = 0;
    if (store_open(dsn, STORE_WRITES, &store, &e) || store_migrate(store, &applied, &e)) {
        fprintf(stderr, "migrate: %s\n", e.text);
        abort();
    }
    store_close(store);
}

static inline void drop_relay_database(void)
{
    char sql[128];
    snprintf(sql, sizeof sql, "drop database settled_relay_%d with (force)", (int)getpid());
    PGconn *pg = PQconnectdb(test_dsn());
    must_sql(pg, sql);
    PQfinish(pg);
}

static inline struct fixture *fixture_create(const char *dsn, const char *brokers, int reject_limit)
{
    static int number;
    static const char *const outputs[OUTPUT_COUNT] = {"settlements", "status",  "closes",
                                                      "rejects",     "notices", "statements"};
    struct fixture *f = calloc(1, sizeof *f);
    struct error e = {0};
    assert(f);
    snprintf(f->group, sizeof f->group, "relay-%d-%d", (int)getpid(), ++number);
    for (int i = 0; i < OUTPUT_COUNT; i++)
        snprintf(f->topics[i], sizeof f->topics[i], "%s-%s", f->group, outputs[i]);
    f->dsn = strdup(dsn);
    assert(f->dsn);
    f->properties[0][0] = "bootstrap.servers";
    f->properties[0][1] = brokers;
    f->options = (struct relay_options){
        .group = f->group,
        .dsns = &f->dsn,
        .dsn_count = 1,
        .framing = {FRAMING_CONFLUENT, {0x01020304, 11, 12, 0x05060708, 13, 14}},
        .property_count = 1,
        .properties = f->properties,
        .clock_ms = fixture_clock};
    f->publisher = (struct publisher_options){.group = f->group, .properties = {1, f->properties}};
    for (int i = 0; i < OUTPUT_COUNT; i++)
        f->options.topics[i] = f->publisher.topics[i] = f->topics[i];
    f->pg = PQconnectdb(dsn);
    assert(PQstatus(f->pg) == CONNECTION_OK);
    must_sql(f->pg,
             "set client_min_messages = warning; truncate settled.outbox, settled.relay_marks; "
             "truncate settled.shards cascade; "
             "select settled.make_partitions('2026-01-01', '2026-01-01')");
    int opened = store_open(dsn, STORE_WRITES, &f->store, &e);
    assert(opened == 0);
    claim(f, SHARD);
    make_topics(f, reject_limit);
    return f;
}

static inline void fixture_destroy(struct fixture *f)
{
    store_close(f->store);
    PQfinish(f->pg);
    free(f->dsn);
    free(f);
}

// ---- what cmocka calls ----

static char relay_database[512]; // DSN of this program's database

static inline int relay_group_setup(void **state)
{
    (void)state;
    make_relay_database(relay_database, sizeof relay_database);
    return 0;
}

static inline int relay_group_teardown(void **state)
{
    (void)state;
    drop_relay_database();
    return 0;
}

static inline int setup(void **state)
{
    *state = fixture_create(relay_database, test_brokers(), 0);
    return 0;
}

static inline int teardown(void **state)
{
    fixture_destroy(*state);
    return 0;
}
