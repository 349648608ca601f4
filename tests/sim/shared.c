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

static struct thresholds draw_thresholds(struct dice *d, const int64_t *some, int64_t count)
{
    struct thresholds drawn = {0};
    for (int64_t wanted = dice_below(d, 4); wanted > 0; wanted--)
        thresholds_add(&drawn, some[dice_below(d, count)]); // one that is there adds nothing
    return drawn;
}

struct notice_limits world_limits(struct dice *d)
{
    static const int64_t left[] = {0, 1, 5, 10, 20, 50, 99}, days[] = {1, 2, 3, 30, 364, 366},
                         below[] = {0, 1, 220000, 440000, 10000000};
    return (struct notice_limits){.package_left = draw_thresholds(d, left, 7),
                                  .expiring_days = draw_thresholds(d, days, 6),
                                  .balance_below = draw_thresholds(d, below, 5)};
}
