// The position of a shard is committed in the transaction that publishes its rows, and nowhere
// else.
#include "tests/integration/relay_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void publish_all(struct fixture *f)
{
    struct relay *relay = start_relay(f);
    assert_int_equal(await(relay, f->last).published, f->last);
    relay_destroy(relay);
}

static void test_the_position_is_committed_with_the_rows(void **state)
{
    struct fixture *f = *state;
    const atomic_bool stop = false;
    struct error e = {0};
    struct published_at at = {.n = -1};
    add_rows(f, 5, 0);
    publish_all(f);
    assert_int_equal(published_position(&f->publisher, SHARD, &stop, &at, &e), PUBLISHED_FOUND);
    assert_int_equal(at.n, 5);
    assert_true(at.has_hash);
    assert_memory_equal(at.hash, f->hash, sizeof at.hash);
}

// The worst case of a lost offset: PostgreSQL does not say that rows were published, either.
static void test_an_offset_that_is_gone_is_not_zero(void **state)
{
    struct fixture *f = *state;
    add_rows(f, 5, 0);
    publish_all(f);
    must_sql(f->pg, "update settled.shards set relayed = 0");
    delete_group(f);
    add_rows(f, 3, 0);
    publish_all(f);
    read_topics(f, "read_committed");
    assert_int_equal(f->seen_count, 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_the_position_is_committed_with_the_rows, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_an_offset_that_is_gone_is_not_zero, setup, teardown),
    };
    return cmocka_run_group_tests(tests, relay_group_setup, relay_group_teardown);
}
