// Why the shard's row is locked: an owner may be replaced while it commits, and a step must be
// written completely or not at all.
#include "store_fixture.h"

#include <pthread.h>

static void top_up(struct world *w, const char *id, fen_t amount)
{
    accept(w->bench, INPUT_CREDITS,
           credit(w->bench, "a", id, CREDIT_TOP_UP, amount, at(w->bench, 0, HOUR)));
}

struct attempt {
    struct world *w;
    enum store_result result;
};

static void *commit_beside(void *context)
{
    struct attempt *attempt = context;
    attempt->result = try_commit(attempt->w);
    return NULL;
}

// Whether another session waits for a lock within two seconds.
static bool somebody_waits(struct world *w)
{
    for (int i = 0; i < 200; i++) {
        if (number_of(w, "select count(*) from pg_stat_activity where datname = current_database()"
                         " and wait_event_type = 'Lock'") > 0)
            return true;
        usleep(10000);
    }
    return false;
}

static void an_owner_that_is_replaced_meanwhile_commits_nothing(void **state)
{
    struct world *w = *state;
    pthread_t thread;
    top_up(w, "c1", 5);
    commit(w);
    top_up(w, "c2", 7);
    run_sql(w, "begin; update settled.shards set epoch = epoch + 1"); // the new owner, on its way
    struct attempt attempt = {.w = w};
    assert_int_equal(pthread_create(&thread, NULL, commit_beside, &attempt), 0);
    bool waits = somebody_waits(w);
    run_sql(w, "commit");
    pthread_join(thread, NULL);
    assert_true(waits);
    assert_int_equal(attempt.result, STORE_FENCED);
    assert_int_equal(number_of(w, "select sum(amount) from settled.credits"), 5);
    assert_int_equal(number_of(w, "select step from settled.shards"), 1);
}

static void rows_and_the_row_that_counts_them_are_committed_together(void **state)
{
    struct world *w = *state;
    run_sql(w, "create function refuse() returns trigger language plpgsql as"
               " $$begin raise exception 'refused'; end$$;"
               " create trigger refuse before update of step on settled.shards for each row "
               "execute function refuse()");
    top_up(w, "c1", 5);
    settle(w->bench);
    assert_true(fold_step(w->bench->fold)->emission_count > 0);
    assert_int_equal(try_commit(w), STORE_FAILED);
    assert_non_null(strstr(w->e.text, "refused"));
    assert_int_equal(number_of(w, "select count(*) from settled.outbox"), 0);
    assert_int_equal(number_of(w, "select count(*) from settled.credits"), 0);
    run_sql(w, "drop trigger refuse on settled.shards");
    commit(w);
    assert_int_equal(number_of(w, "select count(*) from settled.outbox"), w->row.chain.sequence);
}

// A disk that fails is waited for; what only people can mend is no bug of this program.
static void what_the_server_says_decides_whether_it_is_waited_for(void **state)
{
    struct world *w = *state;
    static const struct {
        const char *sqlstate;
        enum store_result result;
        enum error_kind kind;
        const char *words;
    } cases[] = {
        {"58030", STORE_UNAVAILABLE, ERROR_UNAVAILABLE, "refused (58030)"},
        {"58P01", STORE_UNAVAILABLE, ERROR_UNAVAILABLE, "refused (58P01)"},
        {"53100", STORE_UNAVAILABLE, ERROR_UNAVAILABLE, "refused (53100)"},
        {"XX000", STORE_FAILED, ERROR_CONFIG, "look at its log and its disks"},
        {"XX001", STORE_FAILED, ERROR_CONFIG, "(XX001): PostgreSQL finds its own data damaged"},
        {"XX002", STORE_FAILED, ERROR_CONFIG, "(XX002): PostgreSQL finds its own data damaged"},
        {"P0001", STORE_FAILED, ERROR_CONFIG, "(P0001): a trigger or a function that settled did"},
        {"42P01", STORE_FAILED, ERROR_CONFIG, "(42P01): run \"settled migrate\""},
        {"42501", STORE_FAILED, ERROR_CONFIG, "(42501): grant the user settled_writer"},
        {"26000", STORE_FAILED, ERROR_CONFIG, "a pooler hands each transaction to another session"},
        {"22012", STORE_FAILED, ERROR_BUG, "refused (22012)"},
    };
    top_up(w, "c1", 5);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char sql[512];
        snprintf(sql, sizeof sql,
                 "create or replace function refuse() returns trigger language plpgsql as"
                 " $$begin raise exception using errcode = '%s', message = 'refused'; end$$;"
                 " create or replace trigger refuse before update of step on settled.shards"
                 " for each row execute function refuse()",
                 cases[i].sqlstate);
        run_sql(w, sql);
        assert_int_equal(try_commit(w), cases[i].result);
        assert_int_equal(w->e.kind, cases[i].kind);
        if (!strstr(w->e.text, cases[i].words))
            fail_msg("%s: %s", cases[i].sqlstate, w->e.text);
        assert_int_equal(number_of(w, "select count(*) from settled.credits"), 0);
    }
    run_sql(w, "drop trigger refuse on settled.shards");
    commit(w);
    assert_int_equal(number_of(w, "select count(*) from settled.credits"), 1);
}

static void a_relay_that_lost_its_shard_marks_nothing(void **state)
{
    struct world *w = *state;
    struct shard_row taken;
    settle(w->bench);
    commit(w);
    claim(w, w->store, &taken);
    assert_int_equal(store_mark_relayed(w->store, 0, w->row.epoch, 1, w->bench->now, &w->e),
                     STORE_FENCED);
    assert_int_equal(number_of(w, "select relayed from settled.shards"), 0);
    assert_ok(w, store_mark_relayed(w->store, 0, taken.epoch, 1, w->bench->now, &w->e));
    assert_int_equal(number_of(w, "select relayed from settled.shards"), 1);
}

int main(void)
{
#define READY(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        READY(an_owner_that_is_replaced_meanwhile_commits_nothing),
        READY(rows_and_the_row_that_counts_them_are_committed_together),
        READY(what_the_server_says_decides_whether_it_is_waited_for),
        READY(a_relay_that_lost_its_shard_marks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
