// PostgreSQL in the worst cases: lost answers, backends that die, lost commits, races, and large
// steps.
#include "store_proxy.h"

static void top_up(struct world *w, const char *id, fen_t amount)
{
    accept(w->bench, INPUT_CREDITS,
           credit(w->bench, "a", id, CREDIT_TOP_UP, amount, at(w->bench, 0, HOUR)));
}

static void reopen(struct world *w, const char *host, const char *port, const char *options)
{
    char dsn[DSN_SIZE];
    store_close(w->store);
    dsn_with(dsn, w->database, host, port, options);
    assert_ok(w, store_open(dsn, STORE_WRITES, &w->store, &w->e));
}

static int64_t stored_sum(struct world *w)
{
    return number_of(w, "select coalesce(sum(amount), 0) from settled.credits");
}

static int64_t stored_step(struct world *w)
{
    return number_of(w, "select step from settled.shards");
}

// ---- a COMMIT without an answer ----

static void a_commit_whose_answer_is_lost_counts_once(void **state)
{
    struct world *w = *state;
    struct proxy proxy;
    proxy_start(&proxy);
    reopen(w, "127.0.0.1", proxy.port, NULL);
    top_up(w, "c1", 5);
    commit(w);
    proxy.mode = PROXY_CUT_AFTER_COMMIT;
    top_up(w, "c2", 7);
    commit(w); // found on a new connection
    assert_int_equal(proxy.cuts, 1);
    assert_int_equal(w->row.step, 2);
    assert_int_equal(stored_step(w), 2);
    assert_int_equal(stored_sum(w), 12);
    top_up(w, "c3", 1);
    commit(w);
    assert_int_equal(stored_step(w), 3);
    assert_int_equal(stored_sum(w), 13);
    proxy_stop(&proxy);
}

static void a_commit_that_never_arrived_is_repeated(void **state)
{
    struct world *w = *state;
    struct proxy proxy;
    proxy_start(&proxy);
    reopen(w, "127.0.0.1", proxy.port, NULL);
    top_up(w, "c1", 5);
    commit(w);
    proxy.mode = PROXY_CUT_BEFORE_COMMIT;
    top_up(w, "c2", 7);
    assert_int_equal(try_commit(w), STORE_UNAVAILABLE);
    assert_int_equal(w->e.kind, ERROR_UNAVAILABLE);
    assert_int_equal(proxy.cuts, 1);
    assert_int_equal(stored_sum(w), 5);
    assert_int_equal(w->row.step, 1);
    commit(w);
    assert_int_equal(stored_sum(w), 12);
    assert_int_equal(stored_step(w), 2);
    proxy_stop(&proxy);
}

static void an_unknown_commit_is_found_when_the_call_is_repeated(void **state)
{
    struct world *w = *state;
    struct proxy proxy;
    proxy_start(&proxy);
    reopen(w, "127.0.0.1", proxy.port, NULL);
    proxy.mode = PROXY_CUT_AFTER_COMMIT_AND_STAY_DOWN;
    top_up(w, "c1", 5);
    assert_int_equal(try_commit(w), STORE_UNAVAILABLE);
    assert_int_equal(try_commit(w), STORE_UNAVAILABLE);
    assert_int_equal(stored_step(w), 1); // it did commit
    proxy.mode = PROXY_OPEN;
    commit(w);
    assert_int_equal(w->row.step, 1);
    assert_int_equal(stored_step(w), 1);
    assert_int_equal(stored_sum(w), 5);
    top_up(w, "c2", 7);
    commit(w);
    assert_int_equal(stored_sum(w), 12);
    proxy_stop(&proxy);
}

static void another_step_is_not_taken_for_the_unknown_one(void **state)
{
    struct world *w = *state;
    struct proxy proxy;
    proxy_start(&proxy);
    reopen(w, "127.0.0.1", proxy.port, NULL);
    proxy.mode = PROXY_CUT_AFTER_COMMIT_AND_STAY_DOWN;
    top_up(w, "c1", 5);
    assert_int_equal(try_commit(w), STORE_UNAVAILABLE);
    top_up(w, "c2", 7); // against the rule: the step is not the same any more
    proxy.mode = PROXY_OPEN;
    assert_int_equal(try_commit(w), STORE_DIVERGED);
    assert_int_equal(stored_sum(w), 5);
    proxy_stop(&proxy);
}

static void an_unknown_commit_of_a_lost_shard_is_fenced(void **state)
{
    struct world *w = *state;
    struct proxy proxy;
    proxy_start(&proxy);
    reopen(w, "127.0.0.1", proxy.port, NULL);
    proxy.mode = PROXY_CUT_AFTER_COMMIT_AND_STAY_DOWN;
    top_up(w, "c1", 5);
    assert_int_equal(try_commit(w), STORE_UNAVAILABLE);
    run_sql(w, "update settled.shards set epoch = epoch + 1");
    proxy.mode = PROXY_OPEN;
    assert_int_equal(try_commit(w), STORE_FENCED);
    proxy_stop(&proxy);
}

static void *heal_later(void *context)
{
    struct proxy *proxy = context;
    sleep(12);
    proxy->mode = PROXY_OPEN;
    return NULL;
}

static void a_server_that_falls_silent_is_given_up(void **state)
{
    struct world *w = *state;
    struct proxy proxy;
    pthread_t healer;
    proxy_start(&proxy);
    // Our patience is the statement time-out and ten seconds.
    reopen(w, "127.0.0.1", proxy.port, "options='-c statement_timeout=500'");
    top_up(w, "c1", 5);
    proxy.mode = PROXY_SILENT_AT_COMMIT;
    pthread_create(&healer, NULL, heal_later, &proxy);
    int64_t start = clock_us();
    assert_int_equal(try_commit(w), STORE_UNAVAILABLE);
    assert_true(clock_us() - start > 10 * 1000000);
    pthread_join(healer, NULL);
    commit(w);
    assert_int_equal(stored_sum(w), 5);
    proxy_stop(&proxy);
}

// ---- backends, locks, standbys ----

static void a_dead_backend_is_replaced(void **state)
{
    struct world *w = *state;
    top_up(w, "c1", 5);
    commit(w);
    run_sql(w, "select pg_terminate_backend(pid, 5000) from pg_stat_activity where "
               "application_name = 'settled'"
               " and datname = current_database()");
    top_up(w, "c2", 7);
    enum store_result result = try_commit(w);
    assert_true(result == STORE_OK || result == STORE_UNAVAILABLE);
    if (result != STORE_OK)
        assert_ok(w, try_commit(w));
    fold_step_done(w->bench->fold);
    assert_int_equal(stored_sum(w), 12);
    assert_int_equal(stored_step(w), 2);
}

static void *kill_the_waiting(void *context)
{
    struct world *w = context;
    PGconn *conn = connect_to(w->database);
    bool killed = false;
    for (int i = 0; i < 500 && !killed; i++) {
        usleep(10000);
        PGresult *r =
            PQexec(conn, "select pg_terminate_backend(pid, 5000) from pg_stat_activity"
                         " where application_name = 'settled' and wait_event_type = 'Lock'"
                         " and datname = current_database()");
        killed = PQntuples(r) > 0;
        PQclear(r);
    }
    PQfinish(conn);
    return NULL;
}

static void a_backend_killed_in_its_transaction_leaves_nothing(void **state)
{
    struct world *w = *state;
    pthread_t killer;
    top_up(w, "c1", 5);
    run_sql(w, "begin; select 1 from settled.shards for update");
    pthread_create(&killer, NULL, kill_the_waiting, w);
    assert_int_equal(try_commit(w), STORE_UNAVAILABLE);
    pthread_join(killer, NULL);
    run_sql(w, "rollback");
    assert_int_equal(stored_sum(w), 0);
    commit(w);
    assert_int_equal(stored_sum(w), 5);
}

static void a_lock_that_is_held_makes_it_unavailable(void **state)
{
    struct world *w = *state;
    reopen(w, NULL, NULL, "options='-c lock_timeout=200'");
    top_up(w, "c1", 5);
    run_sql(w, "begin; select 1 from settled.shards for update");
    assert_int_equal(try_commit(w), STORE_UNAVAILABLE);
    assert_non_null(strstr(w->e.text, "55P03"));
    run_sql(w, "rollback");
    commit(w);
}

static void *interrupt_soon(void *context)
{
    usleep(300000);
    store_interrupt(context);
    return NULL;
}

static void a_waiting_call_can_be_interrupted(void **state)
{
    struct world *w = *state;
    struct shard_row row;
    pthread_t thread;
    run_sql(w, "begin; select 1 from settled.shards for update");
    pthread_create(&thread, NULL, interrupt_soon, w->store);
    int64_t start = clock_us();
    assert_int_equal(store_claim(w->store, 0, &row, &w->e), STORE_UNAVAILABLE);
    assert_true(clock_us() - start < 5000000);
    pthread_join(thread, NULL);
    assert_non_null(strstr(w->e.text, "interrupted"));
    assert_int_equal(store_claim(w->store, 0, &row, &w->e), STORE_UNAVAILABLE); // for good
    run_sql(w, "rollback");
    reopen(w, NULL, NULL, NULL);
    claim(w, w->store, &row);
}

static void a_read_only_database_is_unavailable(void **state)
{
    struct world *w = *state;
    char text[256];
    snprintf(text, sizeof text, "alter database %s set default_transaction_read_only = on",
             w->database);
    run_sql(w, text);
    // A store that writes does not accept this server.
    struct store *other = NULL;
    char dsn[DSN_SIZE];
    dsn_with(dsn, w->database, NULL, NULL, NULL);
    assert_int_equal(store_open(dsn, STORE_WRITES, &other, &w->e), -1);
    assert_int_equal(w->e.kind, ERROR_UNAVAILABLE);
    assert_non_null(strstr(w->e.text, "read-only"));
    assert_ok(w, store_open(dsn, STORE_READS, &other, &w->e));
    store_close(other);
    // A connection that takes any, and one whose server is turned read-only while it is open.
    reopen(w, NULL, NULL, "target_session_attrs=any");
    top_up(w, "c1", 5);
    assert_int_equal(try_commit(w), STORE_UNAVAILABLE);
    assert_non_null(strstr(w->e.text, "25006"));
    snprintf(text, sizeof text, "alter database %s reset default_transaction_read_only",
             w->database);
    run_sql(w, text);
    commit(w); // by a new connection
    assert_int_equal(stored_sum(w), 5);
}

static void what_the_tables_refuse_undoes_the_whole_step(void **state)
{
    struct world *w = *state;
    top_up(w, "c1", 5);
    commit(w);
    run_sql(w, "insert into settled.credits select account_id, 'c9', kind, amount, credited_at, "
               "received_at, reason,"
               // behind our back, where the 101st credit from now will stand
               " reference, 101, shard, position, balance, business_day from settled.credits");
    for (int i = 0; i < 100; i++) {
        char id[16];
        snprintf(id, sizeof id, "d%d", i);
        top_up(w, id, 1);
    }
    top_up(w, "c9", 7);
    assert_int_equal(try_commit(w), STORE_FAILED);
    assert_int_equal(w->e.kind, ERROR_BUG);
    assert_non_null(strstr(w->e.text, "23505"));
    assert_int_equal(stored_step(w), 1);
    assert_int_equal(number_of(w, "select count(*) from settled.credits"), 2);
    assert_int_equal(number_of(w, "select balance from settled.accounts"), 5);
    run_sql(w, "delete from settled.credits where credit_id = 'c9'");
    commit(w); // the connection is good for another
    assert_int_equal(number_of(w, "select balance from settled.accounts"), 112);
}

// ---- a database that lost commits ----

static void lost_commits_halt(void **state)
{
    struct world *w = *state;
    top_up(w, "c1", 5);
    commit(w);
    top_up(w, "c2", 5);
    commit(w);
    run_sql(w, "update settled.shards set step = 1");
    top_up(w, "c3", 5);
    assert_int_equal(try_commit(w), STORE_DIVERGED);
    assert_int_equal(w->e.kind, ERROR_CONFIG);
    assert_non_null(strstr(w->e.text, ": the database has lost commits (a fail-over, a restore)"));
    assert_non_null(strstr(w->e.text, "step 1,"));
    assert_non_null(strstr(w->e.text, "step 2,"));
    assert_int_equal(stored_sum(w), 10);
    run_sql(w, "update settled.shards set step = 2; update settled.shard_logs set next_offset = 1, "
               "accepted = 1"
               " where topic = 'account-credits'");
    assert_int_equal(try_commit(w), STORE_DIVERGED);
    run_sql(w, "update settled.shard_logs set next_offset = 2, accepted = 2 where topic = "
               "'account-credits'");
    run_sql(w, "update settled.shards set epoch = epoch - 1");
    assert_int_equal(try_commit(w), STORE_DIVERGED);
    run_sql(w, "update settled.shards set epoch = epoch + 1");
    commit(w);
}

static void a_new_connection_looks_for_the_last_outbox_row(void **state)
{
    struct world *w = *state;
    settle(w->bench);
    commit(w);
    assert_true(w->row.chain.sequence > 0);
    top_up(w, "c1", 5);
    run_sql(w, "create table kept as select * from settled.outbox; delete from settled.outbox");
    reopen(w, NULL, NULL, NULL);
    assert_int_equal(try_commit(w), STORE_DIVERGED);
    assert_non_null(
        strstr(w->e.text, "is missing: the database is not the one that was written to"));
    run_sql(w, "insert into settled.outbox select * from kept;"
               " update settled.outbox set hash = sha256(hash) where shard = 0");
    assert_int_equal(try_commit(w), STORE_DIVERGED);
    assert_non_null(strstr(w->e.text, "has another hash: the database is not the one"));
    run_sql(w, "delete from settled.outbox; insert into settled.outbox select * from kept");
    commit(w);
}

// ---- parameters against the opening of a day ----

static void a_commit_that_reaches_new_parameters_unawares_is_refused(void **state)
{
    struct world *w = *state;
    struct deployment *changed = calloc(1, sizeof *changed);
    top_up(w, "c1", 5);
    commit(w);
    wish(w, changed);
    changed->policy.rows[0].grace_ms = 20 * MINUTE;
    assert_ok(w, apply(w, w->store, changed));
    assert_int_equal(changed->policy.rows[1].from_day, w->bench->first_day + 1);
    top_up(w, "c2", 5); // the day before is not concerned
    commit(w);
    settle(w->bench);
    assert_int_equal(try_commit(w), STORE_FAILED);
    assert_int_equal(w->e.kind, ERROR_RESTART);
    assert_non_null(strstr(w->e.text, "2026-11-02"));
    assert_int_equal(number_of(w, "select count(*) from settled.day_closes"), 0);
    // as a new start would load it
    w->bench->policy.rows[w->bench->policy.count++] = changed->policy.rows[1];
    commit(w);
    shelf_clear(&changed->policy.shelf);
    free(changed);
}

// They were read, and then a fail-over lost their row.
static void a_commit_that_reaches_lost_parameters_is_refused(void **state)
{
    struct world *w = *state;
    top_up(w, "c1", 5);
    commit(w);
    w->bench->policy.rows[1] = w->bench->policy.rows[0];
    w->bench->policy.rows[1].from_day = w->bench->first_day + 1;
    w->bench->policy.count = 2;
    settle(w->bench);
    assert_int_equal(try_commit(w), STORE_FAILED);
    assert_int_equal(w->e.kind, ERROR_RESTART);
    w->bench->policy.count = 1; // as a new start would load it
    commit(w);
}

struct recording_thread {
    enum record_mode mode;
    struct world *w;
    struct store *store;
    struct deployment deployment;
    struct error e;
    enum store_result result;
};

static void *record_in_thread(void *context)
{
    struct recording_thread *r = context;
    struct recording recording = {.mode = r->mode};
    struct recorded_change change;
    char *book = read_file(SOURCE_DIR "/pricing/pricebooks/apcas.yaml", &recording.book_size);
    recording.book_text = book;
    r->result = store_record_deployment(r->store, &r->deployment, &recording, &change, &r->e);
    free(book);
    return NULL;
}

static void parameters_wait_for_a_commit_that_opens_a_day(void **state)
{
    struct world *w = *state;
    struct recording_thread *r = calloc(1, sizeof *r);
    r->mode = RECORD_CHANGES;
    pthread_t thread;
    top_up(w, "c1", 5);
    commit(w);
    r->w = w;
    assert_ok(w, store_open(w->dsn, STORE_WRITES, &r->store, &w->e));
    wish(w, &r->deployment);
    r->deployment.policy.rows[0].late_days = 2;
    // What store_commit does when a step opens a day, held open for a while.
    run_sql(w, "begin; select 1 from settled.shards for update; select 1 from settled.deployment "
               "for share;"
               " update settled.shards set open_day = open_day + 5");
    pthread_create(&thread, NULL, record_in_thread, r);
    PGconn *watcher = connect_to(w->database);
    for (bool waits = false; !waits; usleep(10000)) {
        PGresult *rows = PQexec(watcher, "select 1 from pg_locks where not granted");
        waits = PQntuples(rows) > 0;
        PQclear(rows);
    }
    PQfinish(watcher);
    run_sql(w, "commit");
    pthread_join(thread, NULL);
    assert_int_equal(r->result, STORE_OK);
    assert_int_equal(r->deployment.policy.rows[1].from_day, w->bench->first_day + 6);
    shelf_clear(&r->deployment.policy.shelf);
    store_close(r->store);
    free(r);
}

static void two_processes_record_as_one(void **state)
{
    struct world *w = *state;
    struct recording_thread *r[2];
    pthread_t threads[2];
    int applied;
    assert_ok(w, store_migrate(w->store, &applied, &w->e));
    for (int i = 0; i < 2; i++) {
        r[i] = calloc(1, sizeof *r[i]);
        assert_ok(w, store_open(w->dsn, STORE_WRITES, &r[i]->store, &w->e));
        wish(w, &r[i]->deployment);
        pthread_create(&threads[i], NULL, record_in_thread, r[i]);
    }
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < 2; i++) {
        if (r[i]->result != STORE_OK)
            fail_msg("%s", r[i]->e.text);
        assert_int_equal(r[i]->deployment.policy.count, 1);
        assert_memory_equal(r[i]->deployment.id_key, r[0]->deployment.id_key, 32);
    }
    for (int i = 0; i < 2; i++) {
        shelf_clear(&r[i]->deployment.policy.shelf);
        store_close(r[i]->store);
        free(r[i]);
    }
}

static void *migrate_in_thread(void *context)
{
    struct recording_thread *r = context;
    int applied;
    r->result = store_migrate(r->store, &applied, &r->e) == 0 ? STORE_OK : STORE_FAILED;
    return NULL;
}

static void two_processes_migrate_at_once(void **state)
{
    struct world *w = *state;
    struct recording_thread *r[2];
    pthread_t threads[2];
    for (int i = 0; i < 2; i++) {
        r[i] = calloc(1, sizeof *r[i]);
        assert_ok(w, store_open(w->dsn, STORE_WRITES, &r[i]->store, &w->e));
        pthread_create(&threads[i], NULL, migrate_in_thread, r[i]);
    }
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
        if (r[i]->result != STORE_OK)
            fail_msg("%s", r[i]->e.text);
        store_close(r[i]->store);
        free(r[i]);
    }
    assert_ok(w, store_check_version(w->store, &w->e));
}

// ---- size ----

enum { CROWD = 100000, SMALL_COMMITS = 300 };

static void crowd_day(struct world *w, int day)
{
    struct bench *b = w->bench;
    for (int i = 0; i < CROWD; i++) {
        char account[32], id[32];
        snprintf(account, sizeof account, "account-%06d", i);
        snprintf(id, sizeof id, "call-%d-%d", day, i);
        accept(b, INPUT_CALLS, call(b, account, id, 5, at(b, day, HOUR)));
    }
    settle(b);
}

static void a_large_day_goes_in_whole(void **state)
{
    struct world *w = *state;
    for (int day = 0; day < 2; day++) {
        crowd_day(w, day);
        int64_t start = clock_us();
        commit(w);
        print_message("a day of %d settlements committed in %" PRId64 " ms (%s)\n", CROWD,
                      (clock_us() - start) / 1000, day == 0 ? "new accounts" : "known accounts");
    }
    assert_int_equal(number_of(w, "select count(*) from settled.settlements"), 2 * CROWD);
    assert_int_equal(number_of(w, "select count(*) from settled.settlement_lines"), 2 * CROWD);
    assert_int_equal(number_of(w, "select count(*) from settled.accounts where balance = -10000 "
                                  "and status = 'SUSPENDED'"),
                     CROWD);
    assert_int_equal(number_of(w, "select count(*) from settled.status_changes"), CROWD);
    assert_int_equal(number_of(w, "select count(*) from settled.outbox"), w->row.chain.sequence);
    struct fold *fold = bench_fold(w->bench);
    int64_t start = clock_us();
    assert_ok(w, store_restore(w->store, 0, &w->row, fold, &w->e));
    print_message("%d accounts restored in %" PRId64 " ms\n", CROWD, (clock_us() - start) / 1000);
    assert_int_equal(fold_account_count(fold), CROWD);
    fold_destroy(fold);
}

static void a_large_day_whose_answer_is_lost_counts_once(void **state)
{
    struct world *w = *state;
    struct proxy proxy;
    proxy_start(&proxy);
    reopen(w, "127.0.0.1", proxy.port, NULL);
    for (int i = 0; i < 5000; i++) {
        char account[32];
        snprintf(account, sizeof account, "account-%d", i);
        accept(w->bench, INPUT_CALLS, call(w->bench, account, "c", 5, at(w->bench, 0, HOUR)));
    }
    settle(w->bench);
    proxy.mode = PROXY_CUT_BEFORE_COMMIT;
    assert_int_equal(try_commit(w), STORE_UNAVAILABLE);
    assert_int_equal(number_of(w, "select count(*) from settled.settlements"), 0);
    proxy.mode = PROXY_CUT_AFTER_COMMIT;
    commit(w);
    assert_int_equal(proxy.cuts, 2);
    assert_int_equal(number_of(w, "select count(*) from settled.settlements"), 5000);
    assert_int_equal(number_of(w, "select count(*) from settled.outbox"), w->row.chain.sequence);
    proxy_stop(&proxy);
}

static void small_commits_are_quick(void **state)
{
    struct world *w = *state;
    int64_t moved = 0, credited = 0;
    for (int i = 0; i < SMALL_COMMITS; i++) {
        char id[32];
        snprintf(id, sizeof id, "c%d", i);
        accept(w->bench, INPUT_CALLS, call(w->bench, "a", id, 5, at(w->bench, 0, HOUR)));
        int64_t start = clock_us();
        commit(w);
        moved += clock_us() - start;
        top_up(w, id, 5);
        start = clock_us();
        commit(w);
        credited += clock_us() - start;
    }
    print_message("a commit of positions takes %" PRId64 " us, of one credit %" PRId64 " us\n",
                  moved / SMALL_COMMITS, credited / SMALL_COMMITS);
    assert_int_equal(stored_step(w), 2 * SMALL_COMMITS);
}

int main(void)
{
    test_dsn();
#define EMPTY(name) cmocka_unit_test_setup_teardown(name, setup_empty, teardown)
#define READY(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        READY(a_commit_whose_answer_is_lost_counts_once),
        READY(a_commit_that_never_arrived_is_repeated),
        READY(an_unknown_commit_is_found_when_the_call_is_repeated),
        READY(another_step_is_not_taken_for_the_unknown_one),
        READY(an_unknown_commit_of_a_lost_shard_is_fenced),
        READY(a_server_that_falls_silent_is_given_up),
        READY(a_dead_backend_is_replaced),
        READY(a_backend_killed_in_its_transaction_leaves_nothing),
        READY(a_lock_that_is_held_makes_it_unavailable),
        READY(a_waiting_call_can_be_interrupted),
        READY(a_read_only_database_is_unavailable),
        READY(what_the_tables_refuse_undoes_the_whole_step),
        READY(lost_commits_halt),
        READY(a_new_connection_looks_for_the_last_outbox_row),
        READY(a_commit_that_reaches_lost_parameters_is_refused),
        READY(a_commit_that_reaches_new_parameters_unawares_is_refused),
        READY(parameters_wait_for_a_commit_that_opens_a_day),
        EMPTY(two_processes_record_as_one),
        EMPTY(two_processes_migrate_at_once),
        READY(a_large_day_goes_in_whole),
        READY(a_large_day_whose_answer_is_lost_counts_once),
        READY(small_commits_are_quick),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
