#include "consumer/replay/replay_decoder.h"

#include "consumer/base/memory.h"
#include "consumer/decode/record_decoder.h"
#include "consumer/postgres/store.h"
#include "consumer/registry/registry.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

// A writer's schema, compiled for each input.
struct form {
    int64_t id;
    bool absent; // neither the database nor the registry has it
    struct plan *plans[INPUT_COUNT];
    char *why[INPUT_COUNT];
};

struct replay_decoder {
    const struct config *config;
    bool log_append;
    enum framing framing;
    struct store *store;
    struct registry *registry;
    size_t form_count, form_capacity;
    struct form *forms; // a handful: searched in their order
    struct record_decoder readers[INPUT_COUNT];
    struct decoder_scratch *scratch;
    struct block *block;
    bool unknown, failed;
    struct error error; // when failed
};

int replay_decoder_create(const struct config *config, const struct fixed_parameters *recorded,
                          struct replay_decoder **out, struct error *e)
{
    struct replay_decoder *decoder = calloc(1, sizeof *decoder);
    if (!decoder)
        return error_set(e, ERROR_RESTART, "memory is short");
    decoder->config = config;
    decoder->log_append = recorded->timestamps == TIMESTAMPS_LOG_APPEND;
    decoder->framing = recorded->framing;
    decoder->scratch = memory_grow(NULL, 1, sizeof *decoder->scratch);
    *out = decoder;
    return 0;
}

void replay_decoder_destroy(struct replay_decoder *decoder)
{
    if (!decoder)
        return;
    for (size_t i = 0; i < decoder->form_count; i++)
        for (int k = 0; k < INPUT_COUNT; k++) {
            plan_destroy(decoder->forms[i].plans[k]);
            free(decoder->forms[i].why[k]);
        }
    free(decoder->forms);
    registry_destroy(decoder->registry);
    store_close(decoder->store);
    free(decoder->block);
    free(decoder->scratch);
    free(decoder);
}

// *text NULL: nobody has it.
static int fetch(struct replay_decoder *d, int64_t id, char **text, struct error *e)
{
    *text = NULL;
    if (!d->store && store_open(d->config->dsns[0], STORE_READS, &d->store, e))
        return -1;
    if (store_load_schema(d->store, id, text, e) != STORE_OK)
        return -1;
    if (*text)
        return 0;
    if (!d->registry && registry_create(&d->config->registry, &d->registry, e))
        return -1;
    return registry_fetch(d->registry, id, text, e) == REGISTRY_UNAVAILABLE ? -1 : 0;
}

static const struct form *find_form(struct replay_decoder *d, int64_t id, struct error *e)
{
    char *text;
    for (size_t i = 0; i < d->form_count; i++)
        if (d->forms[i].id == id)
            return &d->forms[i];
    if (fetch(d, id, &text, e)) {
        error_context(e, "the writer's schema %" PRId64, id);
        return NULL;
    }
    struct form form = {.id = id, .absent = !text};
    if (text)
        writer_schemas_compile(text, form.plans, form.why);
    free(text);
    d->forms = memory_reserve(d->forms, d->form_count, &d->form_capacity, sizeof *d->forms);
    d->forms[d->form_count] = form;
    return &d->forms[d->form_count++];
}

static struct writer find_writer(void *context, enum input input, int64_t id)
{
    struct replay_decoder *d = context;
    if (d->unknown)
        return (struct writer){.state = WRITER_UNKNOWN, .why = writer_schemas_unknown};
    const struct form *form = find_form(d, id, &d->error);
    d->failed = !form;
    if (!form || form->absent)
        return (struct writer){.state = WRITER_UNKNOWN, .why = writer_schemas_unknown};
    if (form->plans[input])
        return (struct writer){.state = WRITER_READY, .plan = form->plans[input]};
    return (struct writer){.state = WRITER_INCOMPATIBLE, .why = form->why[input]};
}

// Does what intake does, for one record.
static void fill_block(struct replay_decoder *d, const rd_kafka_message_t *message)
{
    uint32_t key_size = message->key ? (uint32_t)message->key_len : RAW_NULL;
    uint32_t value_size = message->payload ? (uint32_t)message->len : RAW_NULL;
    size_t size = raw_bytes(key_size, value_size);
    if (!d->block || d->block->capacity < size) {
        size_t capacity = d->block && size < 2 * d->block->capacity ? 2 * d->block->capacity : size;
        d->block = memory_grow(d->block, 1, sizeof *d->block + capacity);
        d->block->capacity = capacity;
    }
    struct raw *raw = (struct raw *)(void *)d->block->data;
    *raw = (struct raw){.offset = message->offset, .key_size = key_size, .value_size = value_size};
    raw_fill(raw, message);
    d->block->used = size;
    assert(d->block->used <= d->block->capacity);
}

int replay_decoder_event(struct replay_decoder *d, enum input input,
                         const rd_kafka_message_t *message, bool unknown, struct event **out,
                         struct error *e)
{
    struct record_decoder fresh = {.input = input, .log_append = d->log_append};
    struct record_decoder *reader = unknown ? &fresh : &d->readers[input];
    fill_block(d, message);
    reader->input = input;
    reader->log_append = d->log_append;
    reader->block = d->block;
    reader->at = 0;
    struct decoder_source source = {
        .context = d, .framing = d->framing, .find_writer = find_writer, .scratch = d->scratch};
    d->unknown = unknown;
    d->failed = false;
    size_t count = record_decoder_decode(reader, &source, INT64_MAX);
    assert(count == 1);
    (void)count;
    if (d->failed) {
        *e = d->error;
        return -1;
    }
    *out = &d->scratch->events[0];
    assert((*out)->offset == message->offset);
    assert(!(*out)->schema_pending); // nothing waits here
    return 0;
}
