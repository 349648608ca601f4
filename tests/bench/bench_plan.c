// Records a second of the compiled plan and of avro-c's resolving readers, over the same call
// records in the reader's own schema, one after the other in one process. It only prints; it
// asserts nothing about speed.
//   bench_plan [RECORDS]
#include "consumer/avro/plan.h"
#include "schemas/embedded.h"
#include "tests/lib/avro_bytes.h"

#include <avro.h>
#include <stdio.h>
#include <time.h>

enum { BODIES = 4096, BODY_MAX = 128 };

// One after the other, as a fetched batch holds them.
static uint8_t batch[BODIES * BODY_MAX];
static struct {
    const uint8_t *data;
    size_t size;
} bodies[BODIES];

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void fill(void)
{
    uint8_t *at = batch;
    for (unsigned i = 0; i < BODIES; i++) {
        struct avro_bytes body = {0}, *b = &body;
        char id[64], account[32];
        snprintf(id, sizeof id, "0b4f6f0a-3f63-4b1e-9d4e-%012x", i * 2654435761U);
        snprintf(account, sizeof account, "acct-%06u", i * 7919 % 100000);
        put_text(b, id);
        put_text(b, account);
        put_long(b, i % 2);
        put_long(b, i % 2);
        if (i % 2)
            put_long(b, i * 37);
        put_long(b, INT64_C(1793462400000) + i * 997);
        put_long(b, 0);
        assert(b->size <= BODY_MAX);
        memcpy(at, b->data, b->size);
        bodies[i].data = at;
        bodies[i].size = b->size;
        at += b->size;
    }
}

static const char *reader_text(void)
{
    const struct embedded *schema = embedded_avro;
    while (strcmp(schema->name, "CallRecord.avsc") != 0)
        schema++;
    return schema->text;
}

static void report(const char *what, int64_t records, double from, uint64_t sum)
{
    double rate = (double)records / (seconds() - from);
    printf("%-28s %10.2f M records/s  (checksum %llx)\n", what, rate / 1e6,
           (unsigned long long)sum);
}

static void bench_plan(const char *text, int64_t records)
{
    struct plan *plan = NULL;
    struct error e;
    int rc = plan_compile(INPUT_CALLS, text, strlen(text), &plan, &e);
    assert(rc == 0);
    uint64_t sum = 0;
    double from = seconds();
    for (int64_t i = 0; i < records; i++) {
        size_t n = (size_t)i % BODIES;
        struct record record;
        char detail[REJECT_DETAIL_SIZE];
        enum plan_result result =
            plan_decode(plan, bodies[n].data, bodies[n].size, &record, detail);
        assert(result == PLAN_OK);
        sum += (uint64_t)record.field[CALL_OCCURRED_AT].number +
               (uint64_t)record.field[CALL_LEAD_COUNT].number;
    }
    report("plan", records, from, sum);
    plan_destroy(plan);
}

static avro_value_t field_of(avro_value_t *record, size_t number)
{
    avro_value_t field = {0};
    int rc = avro_value_get_by_index(record, number, &field, NULL);
    assert(rc == 0 && field.iface);
    return field;
}

static uint64_t sum_of(avro_value_t *record)
{
    avro_value_t at = field_of(record, CALL_OCCURRED_AT), leads = field_of(record, CALL_LEAD_COUNT),
                 branch = {0};
    int64_t ms = 0, count = 0;
    avro_value_get_long(&at, &ms);
    int rc = avro_value_get_current_branch(&leads, &branch);
    assert(rc == 0 && branch.iface);
    if (avro_value_get_type(&branch) == AVRO_INT64)
        avro_value_get_long(&branch, &count);
    return (uint64_t)ms + (uint64_t)count;
}

// avro-c decodes through a "resolved writer" that stores into a generic value of the reader's
// schema.
static void bench_avro(const char *text, int64_t records)
{
    avro_schema_t schema;
    avro_value_t value, writer;
    int rc = avro_schema_from_json_length(text, strlen(text), &schema);
    assert(rc == 0);
    avro_value_iface_t *generic = avro_generic_class_from_schema(schema);
    avro_value_iface_t *resolved = avro_resolved_writer_new(schema, schema);
    assert(generic && resolved);
    avro_generic_value_new(generic, &value);
    avro_resolved_writer_new_value(resolved, &writer);
    avro_resolved_writer_set_dest(&writer, &value);
    uint64_t sum = 0;
    double from = seconds();
    for (int64_t i = 0; i < records; i++) {
        size_t n = (size_t)i % BODIES;
        avro_reader_t reader =
            avro_reader_memory((const char *)bodies[n].data, (int64_t)bodies[n].size);
        rc = avro_value_read(reader, &writer);
        assert(rc == 0);
        avro_reader_free(reader);
        sum += sum_of(&value);
    }
    report("avro-c, resolved writer", records, from, sum);
    avro_value_decref(&writer);
    avro_value_decref(&value);
    avro_value_iface_decref(resolved);
    avro_value_iface_decref(generic);
    avro_schema_decref(schema);
}

int main(int argc, char **argv)
{
    int64_t records = argc > 1 ? strtoll(argv[1], NULL, 10) : 5000000;
    fill();
    bench_plan(reader_text(), records);
    bench_avro(reader_text(), records);
    return 0;
}
