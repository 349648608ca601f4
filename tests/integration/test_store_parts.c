// Two databases: what is recorded at home rules in the other one, whose copy may be late.
#include "store_fixture.h"

struct pair {
    struct world *home, *second; // the store of the latter has both as its parts
};

static int setup_pair(void **state)
{
    struct pair *pair = calloc(1, sizeof *pair);
    int applied;
    setup_empty((void **)&pair->home);
    setup_empty((void **)&pair->second);
    struct world *w = pair->second;
    char *dsns[] = {pair->home->dsn, w->dsn};
    store_close(w->store);
    assert_ok(w, store_open_all(dsns, 2, STORE_WRITES, &w->store, &w->e));
    assert_ok(w, store_migrate(w->store, &applied, &w->e));
    wish(w, w->deployment);
    assert_ok(w, record(w, w->store, w->deployment));
    w->shard = 1;
    claim(w, w->store, &w->row);
    accept(w->bench, INPUT_CREDITS,
           credit(w->bench, "a", "c1", CREDIT_TOP_UP, 5, at(w->bench, 0, HOUR)));
    commit(w);
    *state = pair;
    return 0;
}

static int teardown_pair(void **state)
{
    struct pair *pair = *state;
    teardown((void **)&pair->second);
    teardown((void **)&pair->home);
    free(pair);
    return 0;
}

static void record_by_hand(struct world *w)
{
    run_sql(w, "insert into settled.parameters select '2026-11-02', 1200000, late_days,"
               " future_tolerance_ms, credit_days, max_reject_share_ppm, max_refused_share_ppm,"
               " package_left, expiring_days, balance_below, book_sha256 from settled.parameters");
}

static void the_rows_of_a_shard_are_in_its_part(void **state)
{
    const struct pair *pair = *state;
    assert_int_equal(number_of(pair->home, "select count(*) from settled.shards"), 0);
    assert_int_equal(number_of(pair->second, "select shard from settled.shards"), 1);
    assert_int_equal(
        number_of(pair->second, "select database * 10 + databases from settled.deployment"), 12);
}

static void a_step_goes_by_home_and_not_by_its_copy(void **state)
{
    const struct pair *pair = *state;
    struct world *w = pair->second;
    record_by_hand(pair->home); // and whoever did died before it was copied
    assert_int_equal(number_of(w, "select count(*) from settled.parameters"), 1);
    settle(w->bench);
    assert_int_equal(try_commit(w), STORE_FAILED);
    assert_int_equal(w->e.kind, ERROR_RESTART);
    assert_non_null(strstr(w->e.text, "reached 2026-11-02, for which other parameters"));
    assert_int_equal(number_of(w, "select count(*) from settled.day_closes"), 0);
    w->bench->policy.rows[1] = w->bench->policy.rows[0];
    w->bench->policy.rows[1].from_day = w->bench->first_day + 1;
    w->bench->policy.count = 2; // as a new start would load it
    commit(w);
}

// The recorder holds home's lock and may be waiting for ours.
static void a_step_does_not_wait_at_home(void **state)
{
    const struct pair *pair = *state;
    struct world *w = pair->second;
    settle(w->bench);
    run_sql(pair->home, "begin; select 1 from settled.deployment for update");
    int64_t begun = clock_us();
    assert_int_equal(try_commit(w), STORE_UNAVAILABLE);
    assert_true(clock_us() - begun < 5000000); // lock_timeout is 10 s
    assert_non_null(strstr(w->e.text, "could not obtain lock"));
    run_sql(pair->home, "rollback");
    commit(w);
}

static void what_is_recorded_is_copied_once_more(void **state)
{
    const struct pair *pair = *state;
    struct world *w = pair->second;
    struct store *reader;
    bool recorded;
    char *dsns[] = {pair->home->dsn, w->dsn};
    struct deployment *found = calloc(1, sizeof *found);
    record_by_hand(pair->home);
    assert_ok(w, store_open_all(dsns, 2, STORE_READS, &reader, &w->e));
    assert_int_equal(store_load_deployment(reader, found, &recorded, &w->e), STORE_UNAVAILABLE);
    assert_non_null(strstr(w->e.text, "has not got all that is recorded in the first database"));
    assert_ok(w, store_copy_recorded(w->store, &w->e));
    assert_ok(w, store_load_deployment(reader, found, &recorded, &w->e));
    assert_int_equal(number_of(w, "select count(*) from settled.parameters"), 2);
    run_sql(pair->home, "delete from settled.parameters where grace_ms = 1200000"); // set back
    shelf_clear(&found->policy.shelf);
    assert_int_equal(store_load_deployment(reader, found, &recorded, &w->e), STORE_FAILED);
    assert_int_equal(w->e.kind, ERROR_CONFIG);
    store_close(reader);
    shelf_clear(&found->policy.shelf);
    free(found);
}

int main(void)
{
#define PAIR(name) cmocka_unit_test_setup_teardown(name, setup_pair, teardown_pair)
    const struct CMUnitTest tests[] = {
        PAIR(the_rows_of_a_shard_are_in_its_part),
        PAIR(a_step_goes_by_home_and_not_by_its_copy),
        PAIR(a_step_does_not_wait_at_home),
        PAIR(what_is_recorded_is_copied_once_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
