// What is expensive to make is made once for all worlds. They run one after the other, so they can
// share it.
#include "tests/sim/world.h"
#include "tests/unit/books.h"

static struct book book;
static struct encoder *encoder;
static struct decoder_scratch *scratch;
static struct plan *plans[INPUT_COUNT];

void world_prepare(void)
{
    struct error e;
    book = load_apcas();
    scratch = memory_grow(NULL, 1, sizeof *scratch);
    if (encoder_create(&encoder, &e) != 0)
        abort();
    for (enum input i = 0; i < INPUT_COUNT; i++)
        if (plan_compile(i, schema_of_input(i), strlen(schema_of_input(i)), &plans[i], &e) != 0)
            abort();
}

void world_release(void)
{
    for (int i = 0; i < INPUT_COUNT; i++)
        plan_destroy(plans[i]);
    encoder_destroy(encoder);
    free(scratch);
}

struct encoder *world_encoder(void)
{
    return encoder;
}

struct decoder_scratch *world_scratch(void)
{
    return scratch;
}

const struct plan *world_plan(enum input input)
{
    return plans[input];
}

const struct book *world_book(void)
{
    return &book;
}
