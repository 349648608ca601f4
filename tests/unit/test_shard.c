#include "consumer/shard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct world {
    struct metrics *metrics;
    struct shard_host host;
    struct shard *worker[2]; // the same partition, as two workers of a process hold it
};

static int set_up(void **state)
{
    static const char *const topics[INPUT_COUNT] = {"calls", "purchases", "credits"};
    struct world *w = calloc(1, sizeof *w);
    if (!w || metrics_create(1, topics, &w->metrics)) return -1;
    w->host.metrics = w->metrics;
    for (int i = 0; i < 2; i++) w->worker[i] = shard_create(&w->host, 0, NULL);
    *state = w;
    return w->worker[0] && w->worker[1] ? 0 : -1;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    for (int i = 0; i < 2; i++) shard_destroy(w->worker[i]);
    metrics_destroy(w->metrics);
    free(w);
    return 0;
}

static void expect_shown(const struct world *w, enum shard_state state, int owned)
{
    assert_int_equal(w->metrics->shards[0].state, state);
    assert_int_equal(w->metrics->shards[0].owned, owned);
}

// Revocations are taken in by each worker's own thread: they may come after the partition has its next owner.
static void a_late_revocation_does_not_hide_the_next_owner(void **state)
{
    struct world *w = *state;
    shard_assign(w->worker[0], 1);
    expect_shown(w, SHARD_LOCATING, 1);
    shard_assign(w->worker[1], 2);
    shard_revoke(w->worker[0], 3);
    assert_int_equal(shard_state(w->worker[0]), SHARD_NONE);
    expect_shown(w, SHARD_LOCATING, 1);
    shard_destroy(w->worker[0]);
    w->worker[0] = NULL;
    expect_shown(w, SHARD_LOCATING, 1);
    shard_revoke(w->worker[1], 4);
    expect_shown(w, SHARD_NONE, 0);
}

static void a_shard_that_comes_back_shows_again(void **state)
{
    struct world *w = *state;
    shard_assign(w->worker[0], 1);
    shard_revoke(w->worker[0], 2);
    shard_assign(w->worker[1], 2);
    shard_revoke(w->worker[1], 3);
    shard_assign(w->worker[0], 3);
    expect_shown(w, SHARD_LOCATING, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_late_revocation_does_not_hide_the_next_owner, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_shard_that_comes_back_shows_again, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
