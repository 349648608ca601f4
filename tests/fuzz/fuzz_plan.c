// Any schema and any body: the plan refuses or decodes, and what it decodes lies within the body.
//
// First byte: which of our readers (by 3), then which writer: 0 is the input's own schema, up to a
// zero byte, the others are below. The rest is the body.
#include "consumer/avro/plan_program.h"
#include "schemas/embedded.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static const char *const readers[INPUT_COUNT] = {"CallRecord.avsc", "PackagePurchase.avsc",
                                                 "AccountCredit.avsc"};

// Writers of a small reader that has what ours have not: aliases, defaults of enums.
static const char small_reader[] =
    "{\"type\":\"record\",\"name\":\"R\",\"aliases\":[\"S\"],\"fields\":["
    "{\"name\":\"t\",\"type\":[\"null\",\"string\"],\"aliases\":[\"u\"],\"default\":null},"
    "{\"name\":\"l\",\"type\":\"long\",\"default\":7},"
    "{\"name\":\"w\",\"type\":{\"type\":\"long\",\"logicalType\":\"timestamp-millis\"},\"default\":"
    "0},"
    "{\"name\":\"e\",\"type\":{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"A\",\"B\"],"
    "\"default\":\"B\"}}]}";
static const char *const small_writers[] = {
    "{\"type\":\"record\",\"name\":\"S\",\"fields\":["
    "{\"name\":\"list\",\"type\":{\"type\":\"record\",\"name\":\"L\",\"fields\":[{\"name\":\"v\","
    "\"type\":\"int\"},"
    "{\"name\":\"next\",\"type\":[\"null\",\"L\"]}]}},"
    "{\"name\":\"u\",\"type\":[\"bytes\",\"null\",\"double\"]},"
    "{\"name\":\"map\",\"type\":{\"type\":\"map\",\"values\":{\"type\":\"array\",\"items\":\"L\"}}}"
    ","
    "{\"name\":\"e\",\"type\":{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"X\",\"A\"]}},"
    "{\"name\":\"nothing\",\"type\":{\"type\":\"array\",\"items\":\"null\"}},"
    "{\"name\":\"w\",\"type\":{\"type\":\"long\",\"logicalType\":\"timestamp-micros\"}},"
    "{\"name\":\"l\",\"type\":[\"null\",\"int\"]}]}",
    "[\"null\",{\"type\":\"record\",\"name\":\"a.R\",\"fields\":[{\"name\":\"l\",\"type\":\"int\"},"
    "{\"name\":\"e\",\"type\":{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"A\"]}}]},"
    "{\"type\":\"record\",\"name\":\"b.R\",\"fields\":[{\"name\":\"fix\",\"type\":{\"type\":"
    "\"fixed\",\"name\":\"F\","
    "\"size\":3}},{\"name\":\"e\",\"type\":\"a.E\"}]}]",
};
enum { SMALL_WRITERS = sizeof small_writers / sizeof *small_writers, WRITERS = 2 + SMALL_WRITERS };

static void check(const struct record *record, const uint8_t *body, size_t size)
{
    for (unsigned f = 0; f < RECORD_FIELDS_MAX; f++) {
        const struct value *value = &record->field[f];
        if (record->nulls >> f & 1)
            assert(!value->data && value->number == 0);
        if (record->unknown >> f & 1)
            assert(!value->data && value->number == -1);
        if (!value->data)
            continue;
        const uint8_t *data = (const uint8_t *)value->data;
        assert(data >= body && value->number >= 0 && (size_t)value->number <= size);
        assert(data + value->number <= body + size);
    }
}

static int compile(enum input input, unsigned writer, const uint8_t **data, size_t *size,
                   struct plan **plan)
{
    struct error e;
    if (writer >= 2) {
        const char *text = small_writers[writer - 2];
        return plan_compile_schemas(small_reader, strlen(small_reader), text, strlen(text), plan,
                                    &e);
    }
    if (writer == 1) {
        const struct embedded *own = embedded_avro;
        while (strcmp(own->name, readers[input]) != 0)
            own++;
        return plan_compile(input, own->text, own->size, plan, &e);
    }
    const uint8_t *zero = memchr(*data, 0, *size);
    size_t length = zero ? (size_t)(zero - *data) : *size;
    int rc = plan_compile(input, (const char *)*data, length, plan, &e);
    *data += zero ? length + 1 : length;
    *size -= zero ? length + 1 : length;
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    enum input input = (enum input)(data[0] % INPUT_COUNT);
    unsigned writer = data[0] / INPUT_COUNT % WRITERS;
    data++;
    size--;
    struct plan *plan = NULL;
    if (compile(input, writer, &data, &size, &plan))
        return 0;
    uint8_t *body = malloc(size > 0 ? size : 1); // of exactly this size, for the sanitizer
    if (!body)
        abort();
    if (size > 0)
        memcpy(body, data, size);
    struct record record;
    char detail[REJECT_DETAIL_SIZE];
    if (plan_decode(plan, body, size, &record, detail) == PLAN_OK)
        check(&record, body, size);
    else
        assert(strstr(detail, " at byte "));
    free(body);
    plan_destroy(plan);
    return 0;
}
