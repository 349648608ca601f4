// Any bytes as the body of an output record, of the kind that the first byte names: they are
// refused with a reason and a place, or give a number at the reported place, and fields that can
// all be read; of a reject also the record that was rejected.
#include "consumer/output/output_reader.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct output_reader *reader_of(enum output output)
{
    static struct output_reader *readers[OUTPUT_COUNT];
    struct error e = {0};
    if (!readers[output] && output_reader_create(output, &readers[output], &e))
        abort();
    return readers[output];
}

struct told {
    size_t fields;
    bool sequence;
    int64_t expected;
};

static void take_field(void *context, const char *path, const char *text)
{
    struct told *told = context;
    char sequence[24];
    told->fields++;
    assert(*path && strlen(text) < 4096);
    if (strcmp(path, "sequence") != 0)
        return;
    snprintf(sequence, sizeof sequence, "%" PRId64, told->expected);
    assert(strcmp(text, sequence) == 0);
    told->sequence = true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct output_number whole, part;
    struct error e = {0};
    if (size < 1)
        return 0;
    struct output_reader *reader = reader_of((enum output)(data[0] % OUTPUT_COUNT));
    char *bytes = malloc(size); // of exactly this size, for the sanitizer
    if (!bytes)
        abort();
    memcpy(bytes, data + 1, size - 1);
    struct slice body = {bytes, size - 1};
    bool numbered = output_reader_sequence(reader, body, &part, &e) == 0;
    assert(numbered || (e.kind == ERROR_CONFIG && e.text[0]));
    if (output_reader_number(reader, body, &whole, &e) == 0) {
        struct told told = {.expected = whole.sequence};
        assert(whole.shard >= 0 && whole.sequence > 0);
        assert(whole.size > 0 && whole.at + whole.size <= body.size);
        assert(numbered && part.sequence == whole.sequence && part.at == whole.at);
        output_reader_fields(reader, body, take_field, &told);
        assert(told.fields > 0 && told.sequence);
    } else {
        assert(e.kind == ERROR_CONFIG && e.text[0]);
    }
    struct rejected_record record;
    if (data[0] % OUTPUT_COUNT == OUTPUT_REJECTS &&
        output_reader_reject(reader, body, &record, &e) == 0)
        assert(record.key.size + record.value.size + record.detail.size <= body.size);
    free(bytes);
    return 0;
}
