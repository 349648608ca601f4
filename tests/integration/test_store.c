// PostgreSQL as the fold sees it: migrations, values that are recorded once, commits, restores,
// requests, the outbox.
#include "consumer/postgres/store_sql.h"
#include "consumer/preflight/recorded_books.h"
#include "store_fixture.h"

// ---- migrations ----

static void migrations_apply_once_and_are_checked(void **state)
{
    struct world *w = *state;
    int applied;
    assert_int_equal(store_check_version(w->store, &w->e), -1);
    assert_int_equal(w->e.kind, ERROR_CONFIG);
    assert_non_null(strstr(w->e.text, "settled migrate"));
    assert_ok(w, store_migrate(w->store, &applied, &w->e));
    assert_true(applied >= 3);
    assert_int_equal(number_of(w, "select count(*) from settled.schema_migrations"), applied);
    assert_ok(w, store_migrate(w->store, &applied, &w->e));
    assert_int_equal(applied, 0);
    assert_ok(w, store_check_version(w->store, &w->e));
}

static void tables_that_are_not_there_ask_for_a_migration(void **state)
{
    struct world *w = *state;
    bool recorded;
    assert_int_equal(store_load_deployment(w->store, w->deployment, &recorded, &w->e),
                     STORE_FAILED);
    assert_int_equal(w->e.kind, ERROR_CONFIG);
    assert_non_null(strstr(w->e.text, "settled migrate"));
}

static void a_newer_database_is_refused(void **state)
{
    struct world *w = *state;
    int applied;
    run_sql(w, "insert into settled.schema_migrations values (999, '999_future.sql', 'x')");
    assert_int_equal(store_check_version(w->store, &w->e), -1);
    assert_int_equal(w->e.kind, ERROR_CONFIG);
    assert_non_null(strstr(w->e.text, "upgrade settled"));
    assert_int_equal(store_migrate(w->store, &applied, &w->e), -1);
    assert_non_null(strstr(w->e.text, "upgrade settled"));
}

static void another_builds_migration_is_refused(void **state)
{
    struct world *w = *state;
    run_sql(w, "update settled.schema_migrations set sha256 = 'x' where number = 2");
    assert_int_equal(store_check_version(w->store, &w->e), -1);
    assert_int_equal(w->e.kind, ERROR_CONFIG);
    assert_non_null(strstr(w->e.text, "it was made by another build"));
}

// ---- errors and settings of the connection ----

static void errors_name_the_place_and_no_password(void **state)
{
    struct world *w = *state;
    struct store *store;
    assert_int_equal(
        store_open("postgresql://me:sesame@127.0.0.1:1/nowhere", STORE_WRITES, &store, &w->e), -1);
    assert_null(store);
    assert_int_equal(w->e.kind, ERROR_UNAVAILABLE);
    assert_non_null(strstr(w->e.text, "127.0.0.1:1/nowhere"));
    assert_null(strstr(w->e.text, "sesame"));
    assert_int_equal(store_open("host=localhost password=x sesame", STORE_WRITES, &store, &w->e),
                     -1);
    assert_int_equal(w->e.kind, ERROR_CONFIG);
    assert_null(strstr(w->e.text, "sesame"));
}

static void assert_setting(struct world *w, struct store *store, const char *query,
                           const char *value)
{
    PGresult *row;
    assert_ok(w, sql_run(store, query, SQL_NO_PARAMS, &row, &w->e));
    assert_string_equal(PQgetvalue(row, 0, 0), value);
    PQclear(row);
}

static void the_dsn_rules_over_our_time_outs_but_not_over_durability(void **state)
{
    struct world *w = *state;
    char dsn[DSN_SIZE];
    struct store *store;
    dsn_with(dsn, w->database, NULL, NULL,
             "application_name=mine options='-c lock_timeout=3s -c synchronous_commit=off'");
    assert_ok(w, store_open(dsn, STORE_WRITES, &store, &w->e));
    assert_setting(w, store, "show application_name", "mine");
    assert_setting(w, store, "show lock_timeout", "3s");
    assert_setting(w, store, "show statement_timeout", "1min");
    assert_setting(w, store, "show synchronous_commit", "on");
    assert_setting(w, w->store, "show application_name", "settled");
    assert_setting(w, w->store, "show lock_timeout", "10s");
    assert_setting(w, w->store, "show idle_in_transaction_session_timeout", "30s");
    store_close(store);
}

// ---- what is recorded once ----

static void a_deployment_is_recorded_once(void **state)
{
    struct world *w = *state;
    struct deployment *again = calloc(1, sizeof *again);
    bool recorded;
    wish(w, again);
    assert_ok(w, record(w, w->store, again));
    assert_memory_equal(again->id_key, w->deployment->id_key, 32);
    assert_int_equal(again->policy.count, 1);
    assert_int_equal(again->policy.rows[0].from_day, DAY_NONE);
    assert_int_equal(again->policy.shelf.count, 1);
    assert_string_equal(again->policy.rows[0].book_sha256, again->policy.shelf.books[0]->sha256);
    assert_string_equal(again->topics[INPUT_CREDITS], "account-credits");
    shelf_clear(&again->policy.shelf);
    assert_ok(w, store_load_deployment(w->store, again, &recorded, &w->e));
    assert_true(recorded);
    assert_string_equal(again->policy.fixed.time_zone, "Asia/Shanghai");
    assert_int_equal(again->policy.fixed.first_day, w->bench->first_day);
    assert_int_equal(number_of(w,
                               "select count(distinct get_byte(id_key, i)) from settled.deployment,"
                               " generate_series(0, 31) i") > 8,
                     1);
    shelf_clear(&again->policy.shelf);
    free(again);
}

static void what_never_changes_is_refused_with_both_values(void **state)
{
    struct world *w = *state;
    struct deployment *other = calloc(1, sizeof *other);
    wish(w, other);
    other->policy.fixed.first_day++;
    assert_int_equal(record(w, w->store, other), STORE_FAILED);
    assert_int_equal(w->e.kind, ERROR_CONFIG);
    assert_non_null(strstr(w->e.text, "2026-11-01"));
    assert_non_null(strstr(w->e.text, "2026-11-02"));
    assert_non_null(strstr(w->e.text, "it never changes; put the recorded value into"));
    wish(w, other);
    other->policy.fixed.partitions = 7;
    assert_int_equal(record(w, w->store, other), STORE_FAILED);
    assert_non_null(strstr(w->e.text, "\"7\""));
    wish(w, other);
    other->policy.fixed.framing = FRAMING_APICURIO;
    assert_int_equal(record(w, w->store, other), STORE_FAILED);
    assert_non_null(strstr(w->e.text, "schemas.framing is recorded as \"confluent\""));
    wish(w, other);
    snprintf(other->group, sizeof other->group, "other");
    assert_int_equal(record(w, w->store, other), STORE_FAILED);
    assert_non_null(strstr(w->e.text, "kafka.group"));
    assert_non_null(
        strstr(w->e.text, "a database serves one deployment; use the recorded one, or"));
    wish(w, other);
    snprintf(other->cluster_id, sizeof other->cluster_id, "cluster-2");
    assert_int_equal(record(w, w->store, other), STORE_FAILED);
    assert_non_null(strstr(w->e.text, "cluster-2"));
    wish(w, other);
    other->cluster_id[0] = '\0'; // not asked yet
    assert_ok(w, record(w, w->store, other));
    assert_string_equal(other->cluster_id, "cluster-1");
    shelf_clear(&other->policy.shelf);
    free(other);
}

static void parameters_change_from_a_day_that_nobody_opened(void **state)
{
    struct world *w = *state;
    struct bench *b = w->bench;
    struct deployment *changed = calloc(1, sizeof *changed);
    // a record of the second day, within the grace
    struct event early = call(b, "a", "c", 5, at(b, 1, 3 * MINUTE));
    early.timestamp -= MINUTE;
    accept(b, INPUT_CALLS, early);
    commit(w);
    wish(w, changed);
    changed->policy.rows[0].late_days = 3;
    assert_ok(w, apply(w, w->store, changed));
    assert_int_equal(changed->policy.count, 2);
    assert_int_equal(changed->policy.rows[1].from_day, b->first_day + 2);
    assert_int_equal(changed->policy.rows[1].late_days, 3);
    shelf_clear(&changed->policy.shelf);
    wish(w, changed);
    changed->policy.rows[0].late_days = 3;
    assert_ok(w, apply(w, w->store, changed)); // the same again
    assert_int_equal(changed->policy.count, 2);
    shelf_clear(&changed->policy.shelf);
    wish(w, changed); // and back: after the last row
    assert_ok(w, apply(w, w->store, changed));
    assert_int_equal(changed->policy.count, 3);
    assert_int_equal(changed->policy.rows[2].from_day, b->first_day + 3);
    shelf_clear(&changed->policy.shelf);
    free(changed);
}

static void only_an_apply_records_changes(void **state)
{
    struct world *w = *state;
    struct deployment *d = calloc(1, sizeof *d);
    wish(w, d);
    d->policy.rows[0].late_days = 3;
    // a start with another configuration
    assert_ok(w, record(w, w->store, d));
    assert_int_equal(d->policy.count, 1);
    assert_int_equal(d->policy.rows[0].late_days, w->bench->policy.rows[0].late_days);
    shelf_clear(&d->policy.shelf);
    wish(w, d);
    d->policy.rows[0].late_days = 3;
    // a trial tells what would be, and leaves nothing
    assert_ok(w, record_as(w, w->store, d, RECORD_TRIAL));
    assert_int_equal(d->policy.count, 2);
    assert_int_equal(number_of(w, "select count(*) from settled.parameters"), 1);
    shelf_clear(&d->policy.shelf);
    wish(w, d);
    d->policy.rows[0].late_days = 3;
    assert_ok(w, apply(w, w->store, d));
    assert_int_equal(number_of(w, "select count(*) from settled.parameters"
                                  " where recorded_by = session_user"),
                     2);
    shelf_clear(&d->policy.shelf);
    free(d);
    struct recorded_books *books = recorded_books_load(w->store, NULL, &w->e);
    assert_non_null(books);
    assert_int_equal(books->count, 1);
    assert_int_equal(books->list[0].effective_from, DAY_NONE);
    assert_true(books->list[0].named);
    assert_true(books->list[0].whole);
    assert_string_equal(books->list[0].recorded_by, value_of(w, "select session_user"));
    free(books);
}

static void nothing_is_applied_before_the_first_start(void **state)
{
    struct world *w = *state;
    struct deployment *d = calloc(1, sizeof *d);
    run_sql(w, "truncate settled.deployment, settled.parameters, settled.price_books");
    wish(w, d);
    assert_int_equal(apply(w, w->store, d), STORE_FAILED);
    assert_int_equal(w->e.kind, ERROR_CONFIG);
    assert_non_null(strstr(w->e.text, "nothing is recorded yet"));
    assert_int_equal(number_of(w, "select count(*) from settled.deployment"), 0);
    shelf_clear(&d->policy.shelf);
    free(d);
}

// Whoever may write can insert a row; what it is must be told.
static void a_book_that_was_put_in_by_hand_is_told(void **state)
{
    struct world *w = *state;
    struct deployment *d = calloc(1, sizeof *d);
    bool recorded;
    run_sql(
        w,
        "insert into settled.price_books (sha256, name, effective_from, file, recorded_by)"
        " select encode(sha256(text), 'hex'), name, '2026-12-01', text, 'somebody else'"
        " from (select name, file || convert_to(e'\neffective_from: 2026-12-01\n', 'UTF8') as text"
        "       from settled.price_books) as later");
    assert_ok(w, store_load_deployment(w->store, d, &recorded, &w->e));
    assert_int_equal(d->policy.shelf.count, 2);
    shelf_clear(&d->policy.shelf);
    struct recorded_books *books = recorded_books_load(w->store, NULL, &w->e);
    assert_non_null(books);
    assert_int_equal(books->count, 2);
    assert_false(books->list[1].named);
    assert_true(books->list[1].whole);
    assert_string_equal(books->list[1].recorded_by, value_of(w, "select session_user"));
    free(books);
    // and one whose text is not what its digest says is refused
    run_sql(w, "update settled.price_books set file = file || convert_to(' ', 'UTF8')"
               " where effective_from = '2026-12-01'");
    assert_int_equal(store_load_deployment(w->store, d, &recorded, &w->e), STORE_FAILED);
    assert_int_equal(w->e.kind, ERROR_CONFIG);
    assert_non_null(strstr(w->e.text, "has a text whose SHA-256 is"));
    run_sql(w, "update settled.price_books set effective_from = '2026-12-02',"
               " file = substring(file for octet_length(file) - 1)"
               " where effective_from = '2026-12-01'");
    assert_int_equal(store_load_deployment(w->store, d, &recorded, &w->e), STORE_FAILED);
    assert_non_null(strstr(w->e.text, "has another effective_from than its text"));
    books = recorded_books_load(w->store, NULL, &w->e);
    assert_non_null(books);
    assert_int_equal(books->count, 2);
    assert_false(books->list[1].whole);
    free(books);
    free(d);
}

static char *later_book(const char *from, size_t *size)
{
    size_t old_size;
    char *old = read_file(SOURCE_DIR "/pricing/pricebooks/apcas.yaml", &old_size);
    char *text = malloc(old_size + 64);
    *size = (size_t)sprintf(text, "%s\neffective_from: %s\n", old, from);
    free(old);
    return text;
}

static void a_new_book_starts_after_the_days_that_are_open(void **state)
{
    struct world *w = *state;
    struct deployment *d = calloc(1, sizeof *d);
    struct recorded_change change;
    struct recording recording = {.mode = RECORD_CHANGES};
    accept(w->bench, INPUT_CALLS, kept(w, call(w->bench, "a", "c", 5, at(w->bench, 0, HOUR))));
    commit(w);
    char *early = later_book("2026-11-01", &recording.book_size);
    recording.book_text = early;
    wish(w, d);
    assert_int_equal(store_record_deployment(w->store, d, &recording, &change, &w->e),
                     STORE_FAILED);
    assert_int_equal(w->e.kind, ERROR_CONFIG);
    assert_non_null(strstr(w->e.text, "2026-11-01"));
    free(early);
    char *late = later_book("2026-12-01", &recording.book_size);
    recording.book_text = late;
    wish(w, d);
    assert_ok(w, store_record_deployment(w->store, d, &recording, &change, &w->e));
    assert_true(change.row);
    assert_true(change.book);
    assert_int_equal(d->policy.shelf.count, 2);
    assert_int_equal(d->policy.count, 2);
    assert_string_equal(d->policy.rows[1].book_sha256, d->policy.shelf.books[1]->sha256);
    assert_int_equal(
        number_of(
            w,
            "select count(*) from settled.price_books where encode(sha256(file), 'hex') = sha256"),
        2);
    free(late);
    shelf_clear(&d->policy.shelf);
    wish(w, d);
    assert_ok(w, apply(w, w->store, d)); // the first book configured again: nothing changes
    assert_int_equal(d->policy.count, 2);
    shelf_clear(&d->policy.shelf);
    free(d);
}

static void a_schema_id_keeps_its_text(void **state)
{
    struct world *w = *state;
    char *schema;
    assert_ok(w, store_load_schema(w->store, 7, &schema, &w->e));
    assert_null(schema);
    assert_ok(w, store_save_schema(w->store, 7, "{\"type\": \"long\"}", &w->e));
    assert_ok(w, store_save_schema(w->store, 7, "{\"type\": \"long\"}", &w->e));
    assert_ok(w, store_load_schema(w->store, 7, &schema, &w->e));
    assert_string_equal(schema, "{\"type\": \"long\"}");
    free(schema);
    assert_ok(w,
              store_save_schema(w->store, INT64_MAX, "\"int\"", &w->e)); // Apicurio's have 64 bits
    assert_ok(w, store_load_schema(w->store, INT64_MAX, &schema, &w->e));
    assert_string_equal(schema, "\"int\"");
    free(schema);
    assert_int_equal(store_save_schema(w->store, 7, "\"string\"", &w->e), STORE_FAILED);
    assert_int_equal(w->e.kind, ERROR_CONFIG);
    assert_non_null(strstr(w->e.text, "schema id 7 is recorded with another text: an id never "
                                      "changes its schema"));
}

// ---- commits ----

// Arrears, a resumption, a package, a duplicate, rejects of both kinds: two settled days and a
// third that is open.
static void busy_days(struct world *w)
{
    struct bench *b = w->bench;
    accept(b, INPUT_CREDITS, credit(b, "ann", "open", CREDIT_ADJUSTMENT, 100, at(b, 0, HOUR)));
    accept(b, INPUT_PURCHASES,
           purchase(b, "bob", "p1", SERVICE_PURCHASE_INTENT, 10000, 7000000, at(b, 0, HOUR)));
    accept(b, INPUT_PURCHASES,
           purchase(b, "bob", "p2", SERVICE_AUDIENCE_INSIGHT, 50, 10000000, at(b, 0, HOUR)));
    commit(w);
    accept(b, INPUT_CALLS, kept(w, call(b, "ann", "c1", -1, at(b, 0, 2 * HOUR))));
    accept(b, INPUT_CALLS, kept(w, call(b, "bob", "c1", 12000, at(b, 0, 3 * HOUR))));
    duplicate(b, INPUT_CALLS, kept(w, call(b, "bob", "c1", 12000, at(b, 0, 3 * HOUR))));
    reject(b, INPUT_CALLS, kept(w, call(b, "bob", "c1", 13, at(b, 0, 3 * HOUR))), REJECT_CONFLICT);
    commit(w);
    settle(b);
    commit(w);
    struct event topped = credit(b, "ann", "t1", CREDIT_TOP_UP, 500000, at(b, 1, HOUR));
    topped.record.field[CREDIT_REASON] = (struct value){"caf\xc3\xa9 \0 \xff", 9};
    topped.record.nulls = 1u << CREDIT_REFERENCE;
    accept(b, INPUT_CREDITS, topped);
    accept(b, INPUT_CALLS, kept(w, call(b, "ann", "c2", 10, at(b, 0, 23 * HOUR)))); // late
    struct event broken = call(b, "ann", "c3", 10, at(b, 1, HOUR));
    broken.record.field[CALL_CALL_ID] = (struct value){"\xff\0id", 4};
    reject(b, INPUT_CALLS, kept(w, broken), REJECT_INVALID);
    settle(b);
    commit(w);
    accept(b, INPUT_CALLS, kept(w, call(b, "bob", "c4", -1, at(b, 2, HOUR))));
    commit(w);
}

static void a_step_stands_in_the_tables(void **state)
{
    struct world *w = *state;
    busy_days(w);
    assert_int_equal(number_of(w, "select step from settled.shards"), 5);
    assert_int_equal(number_of(w, "select sequence from settled.shards"), w->row.chain.sequence);
    assert_int_equal(number_of(w, "select count(*) from settled.outbox"), w->row.chain.sequence);
    // ann: 100 in hand, 220,000 owed, topped up by 500,000, ten leads late.
    assert_string_equal(
        value_of(
            w, "select string_agg(kind || ' ' || amount || ' ' || balance || ' ' || reference, ', '"
               " order by position) from settled.account_statement where account_id = 'ann'"),
        "ADJUSTMENT 100 100 open, SETTLEMENT -220000 -219900 ann/2026-11-01, TOP_UP 500000 280100 "
        "t1, "
        "SETTLEMENT -10000 270100 ann/2026-11-02");
    assert_string_equal(
        value_of(
            w,
            "select string_agg(status || ' ' || cause || ' ' || coalesce(settlement_id, credit_id)"
            " || ' ' || balance, ', ' order by account_sequence) from settled.status_changes"
            " where account_id = 'ann'"),
        "SUSPENDED ARREARS ann/2026-11-01 -219900, ACTIVE CREDIT t1 280100");
    assert_string_equal(
        value_of(
            w,
            "select string_agg(line_no || ' ' || charge || ' ' || coalesce(package_id, '-') || ' '"
            " || coalesce(tier_from, -1) || ' ' || units || ' ' || amount, ', ' order by line_no)"
            " from settled.settlement_lines where account_id = 'bob'"),
        "1 PACKAGE p1 -1 10000 0, 2 POSTPAID - 10000 2000 1600000");
    assert_string_equal(
        value_of(w, "select usage_day from settled.settlement_lines where account_id = 'ann'"
                    " and business_day = '2026-11-02'"),
        "2026-11-01");
    assert_string_equal(
        value_of(w,
                 "select remaining || ' ' || valid_from || ' ' || valid_until from settled.packages"
                 " where package_id = 'p2' and valid_from = timestamptz '2026-11-01 01:00+08'"
                 " and valid_until = timestamptz '2027-11-01 01:00+08'") +
            0,
        value_of(w, "select '50 ' || valid_from || ' ' || valid_until from settled.packages"
                    " where package_id = 'p2'"));
    assert_string_equal(value_of(w, "select reason from settled.credits where credit_id = 't1'"),
                        "caf\xc3\xa9 \xef\xbf\xbd "
                        "\xef\xbf\xbd");
    assert_int_equal(number_of(w, "select count(*) from settled.day_closes"), 2);
    assert_int_equal(number_of(w, "select count(*) from settled.day_cutoffs"), 6);
    assert_string_equal(value_of(w, "select open_day from settled.shards"), "2026-11-03");
}

static void the_tables_agree_with_one_another(void **state)
{
    struct world *w = *state;
    busy_days(w);
    assert_int_equal(
        number_of(w, "select count(*) from settled.accounts a where balance <> (select sum(amount)"
                     " from settled.account_statement s where s.account_id = a.account_id)"),
        0);
    assert_int_equal(
        number_of(
            w, "select count(*) from (select balance, sum(amount) over (partition by account_id"
               " order by position) as sum from settled.account_statement) s where balance <> sum"),
        0);
    assert_int_equal(
        number_of(w,
                  "select count(*) from settled.settlements s where amount <> (select sum(amount)"
                  " from settled.settlement_lines l where l.account_id = s.account_id"
                  " and l.business_day = s.business_day)"),
        0);
    assert_int_equal(number_of(w, "select count(*) from settled.settlements s join settled.outbox "
                                  "o using (shard, sequence)"
                                  " where o.output <> 0"),
                     0);
    assert_string_equal(
        value_of(
            w,
            "select d.previous_digest from settled.day_closes d where business_day = '2026-11-02'"),
        "dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd");
}

static void a_rejects_ids_are_ids_or_null(void **state)
{
    struct world *w = *state;
    busy_days(w);
    assert_string_equal(
        value_of(w, "select account_id || ' ' || (record_id is null) from settled.rejects"
                    " where reason = 'INVALID'"),
        "ann true");
    assert_string_equal(value_of(w, "select account_id || ' ' || record_id from settled.rejects"
                                    " where reason = 'CONFLICT'"),
                        "bob c1");
}

static void a_time_beyond_postgres_is_infinity(void **state)
{
    struct world *w = *state;
    struct bench *b = w->bench;
    struct event odd = call(b, "ann", "odd", 10, at(b, 0, HOUR));
    odd.key = text("other");
    odd.timestamp = INT64_C(-4000000000000000000); // a broker may say anything
    reject(b, INPUT_CALLS, odd, REJECT_MISROUTED);
    commit(w);
    assert_string_equal(value_of(w, "select received_at from settled.rejects"), "-infinity");
}

static bool same_accounts(const struct fold *a, const struct fold *b)
{
    if (fold_account_count(a) != fold_account_count(b))
        return false;
    for (uint32_t i = 0; i < fold_account_count(a); i++) {
        const struct account *x = fold_account(a, i), *y = NULL;
        for (uint32_t k = 0; k < fold_account_count(b) && !y; k++)
            if (fold_account(b, k)->id.size == x->id.size &&
                memcmp(fold_account(b, k)->id.data, x->id.data, x->id.size) == 0)
                y = fold_account(b, k);
        if (!y || x->opening != y->opening || x->credits != y->credits ||
            x->adjustments != y->adjustments || x->state != y->state ||
            x->account_sequence != y->account_sequence || x->position != y->position ||
            x->span_count != y->span_count)
            return false;
        if (x->span_count && memcmp(x->spans, y->spans, x->span_count * sizeof *x->spans) != 0)
            return false;
    }
    return true;
}

static void a_restored_fold_goes_on_the_same(void **state)
{
    struct world *w = *state;
    struct shard_row row;
    busy_days(w);
    claim(w, w->store, &row);
    assert_int_equal(row.epoch, w->row.epoch + 1);
    assert_int_equal(row.step, w->row.step);
    assert_true(row.begun);
    assert_memory_equal(&row.state, &w->row.state, sizeof row.state);
    assert_memory_equal(&row.chain, &w->row.chain, sizeof row.chain);
    struct fold *fold = restored(w, &row), *old = w->bench->fold;
    assert_true(same_accounts(fold, old));
    assert_memory_equal(fold_state(fold), fold_state(old), sizeof(struct fold_state));
    // From now on both must give the same: identities, packages and balances are equal.
    int64_t offsets[INPUT_COUNT];
    memcpy(offsets, w->bench->offsets, sizeof offsets);
    int64_t amounts[2];
    for (int i = 0; i < 2; i++) {
        w->bench->fold = i == 0 ? fold : old;
        memcpy(w->bench->offsets, offsets, sizeof offsets);
        duplicate(w->bench, INPUT_CREDITS,
                  credit(w->bench, "ann", "t1", CREDIT_TOP_UP, 500000, at(w->bench, 1, HOUR)));
        duplicate(w->bench, INPUT_PURCHASES,
                  purchase(w->bench, "bob", "p1", SERVICE_PURCHASE_INTENT, 10000, 7000000,
                           at(w->bench, 0, HOUR)));
        duplicate(w->bench, INPUT_CALLS,
                  call(w->bench, "ann", "c2", 10, at(w->bench, 0, 23 * HOUR)));
        accept(w->bench, INPUT_CALLS, call(w->bench, "bob", "new", -1, at(w->bench, 2, 2 * HOUR)));
        amounts[i] = settle(w->bench)->close.amount;
        assert_int_equal(fold_step(w->bench->fold)->touched_package_count, 1);
    }
    assert_int_equal(amounts[0], amounts[1]);
    w->bench->fold = fold;
    w->row = row;
    commit(w); // and the restored one commits
    fold_destroy(fold);
    w->bench->fold = old;
}

static void credit_crowd(struct world *w, int from, int to)
{
    for (int i = from; i < to; i++) {
        char account[32], id[32];
        snprintf(account, sizeof account, "crowd-%d", i);
        snprintf(id, sizeof id, "c-%d-%d", from, i);
        accept(w->bench, INPUT_CREDITS,
               credit(w->bench, account, id, CREDIT_TOP_UP, 5, at(w->bench, 2, HOUR)));
    }
    commit(w);
}

// Accounts without a row go straight into the table, and the others change theirs. Which is which
// is known of a fold that goes on, and of a restored one. Each list is long enough for COPY.
static void accounts_have_one_row_each(void **state)
{
    struct world *w = *state;
    struct fold *old = w->bench->fold;
    busy_days(w);
    int64_t before = number_of(w, "select count(*) from settled.accounts");
    credit_crowd(w, 0, 200);
    credit_crowd(w, 100, 300);
    claim(w, w->store, &w->row);
    w->bench->fold = restored(w, &w->row);
    credit_crowd(w, 200, 400);
    assert_int_equal(number_of(w, "select count(*) from settled.accounts"), before + 400);
    assert_int_equal(number_of(w, "select count(*) from settled.accounts"
                                  " where account_id like 'crowd-%' and balance = 10"),
                     200);
    assert_int_equal(number_of(w, "select count(*) from settled.accounts"
                                  " where account_id like 'crowd-%' and balance = 5"),
                     200);
    fold_destroy(w->bench->fold);
    w->bench->fold = old;
}

static void a_held_day_stays_held(void **state)
{
    struct world *w = *state;
    struct bench *b = w->bench;
    struct shard_row row;
    for (int i = 0; i < 120; i++) {
        struct event astray = call(b, "a", "c", 5, at(b, 0, HOUR));
        astray.key = text("other");
        reject(b, INPUT_CALLS, kept(w, astray), REJECT_MISROUTED);
    }
    b->now = fold_due_at(b->fold);
    for (enum input i = 0; i < INPUT_COUNT; i++) {
        assert_true(fold_wants_end(b->fold, i, b->now));
        fold_clock_end(b->fold, i, b->offsets[i], b->now);
        fold_reached(b->fold, i, b->offsets[i]);
    }
    assert_true(fold_state(b->fold)->held);
    commit(w);
    assert_int_equal(number_of(w, "select count(*) from settled.rejects"), 120); // by COPY
    int64_t since =
        number_of(w, "select extract(epoch from held_since) * 1000 from settled.shards");
    assert_int_equal(since, b->now);
    b->now += HOUR;
    accept(b, INPUT_CREDITS, credit(b, "a", "c", CREDIT_TOP_UP, 5, at(b, 0, HOUR)));
    commit(w);
    assert_int_equal(
        number_of(w, "select extract(epoch from held_since) * 1000 from settled.shards"), since);
    claim(w, w->store, &row);
    assert_true(row.state.held);
    assert_int_equal(row.state.log[INPUT_CALLS].undecided_of[REJECTS_BROKEN], 120);
    struct fold *fold = restored(w, &row);
    assert_true(fold_state(fold)->held);
    const struct hold *hold = &fold_state(fold)->holds[INPUT_CALLS][REJECTS_BROKEN];
    assert_int_equal(hold->rejects, 120);
    assert_int_equal(hold->records, 120);
    assert_int_equal(hold->at, b->offsets[INPUT_CALLS]);
    fold_destroy(fold);
}

// A release outlives the process that committed it and ended before the close.
// R49, R51
static void a_released_day_stays_released(void **state)
{
    struct world *w = *state;
    struct bench *b = w->bench;
    struct shard_row row;
    struct error e;
    for (int i = 0; i < 10; i++) {
        struct event astray = credit(b, "a", "c", CREDIT_TOP_UP, 5, at(b, 0, HOUR));
        astray.key = text("other");
        reject(b, INPUT_CREDITS, astray, REJECT_MISROUTED);
    }
    b->now = fold_due_at(b->fold);
    for (enum input i = 0; i < INPUT_COUNT; i++)
        fold_clock_end(b->fold, i, b->offsets[i], b->now);
    commit(w);
    run_sql(w, "select settled.ask('ACCEPT', topic, 0, '{0}', now(), 0) from settled.holds");
    const int64_t first = 0;
    const enum reject_reason reason = REJECT_MISROUTED;
    struct decision accepted = decision_about(DECISION_ACCEPT, INPUT_CREDITS, &first, 1);
    accepted.request = number_of(w, "select max(id) from settled.requests");
    assert_int_equal(fold_decide(b->fold, &accepted, &reason, &e), 0);
    commit(w);
    assert_int_equal(number_of(w, "select count(*) from settled.shards where held_since is null"
                                  " and released_at is not null"),
                     1);
    claim(w, w->store, &row);
    assert_true(row.state.released);
    struct fold *fold = restored(w, &row);
    for (enum input i = 0; i < INPUT_COUNT; i++)
        assert_int_equal(fold_cut(fold, i), CUT_RELEASE);
    fold_destroy(fold);
}

static void a_lower_epoch_commits_nothing(void **state)
{
    struct world *w = *state;
    struct store *other;
    struct shard_row taken;
    accept(w->bench, INPUT_CREDITS,
           credit(w->bench, "a", "c1", CREDIT_TOP_UP, 5, at(w->bench, 0, HOUR)));
    commit(w);
    assert_ok(w, store_check_epoch(w->store, 0, w->row.epoch, NULL, NULL, &w->e));
    assert_ok(w, store_open(w->dsn, STORE_WRITES, &other, &w->e));
    claim(w, other, &taken);
    assert_int_equal(taken.epoch, w->row.epoch + 1);
    accept(w->bench, INPUT_CREDITS,
           credit(w->bench, "a", "c2", CREDIT_TOP_UP, 7, at(w->bench, 0, HOUR)));
    assert_int_equal(try_commit(w), STORE_FENCED);
    assert_int_equal(w->e.kind, ERROR_RESTART);
    assert_int_equal(number_of(w, "select sum(amount) from settled.credits"), 5);
    assert_int_equal(store_check_epoch(w->store, 0, w->row.epoch, NULL, NULL, &w->e), STORE_FENCED);
    assert_int_equal(store_mark_relayed(w->store, 0, w->row.epoch, 0, 0, &w->e), STORE_FENCED);
    int64_t sequence = -1, relayed = -1;
    assert_ok(w, store_check_epoch(other, 0, taken.epoch, &sequence, &relayed, &w->e));
    assert_int_equal(sequence, w->row.chain.sequence);
    assert_int_equal(relayed, 0);
    store_close(other);
}

// ---- requests and rejects ----

struct listed {
    int count;
    char text[1024];
};

static int collect(void *context, const struct reject_row *r, struct error *e)
{
    (void)e;
    struct listed *listed = context;
    size_t used = strlen(listed->text);
    snprintf(listed->text + used, sizeof listed->text - used,
             "%s/%" PRId32 "/%" PRId64 " %s %s %" PRId64 " %s;", r->topic, r->shard, r->offset,
             r->reason, r->account_id ? r->account_id : "-", r->decision,
             r->request ? request_state_symbol(r->request_state) : "-");
    listed->count++;
    return 0;
}

static struct listed list(struct world *w, const struct reject_filter *filter)
{
    struct listed listed = {0};
    assert_ok(w, store_list_rejects(w->store, filter, collect, &listed, &w->e));
    return listed;
}

static void rejects_are_listed_by_filter(void **state)
{
    struct world *w = *state;
    busy_days(w);
    assert_string_equal(list(w, &(struct reject_filter){0}).text,
                        "call-records/0/3 CONFLICT bob 0 -;call-records/0/5 INVALID ann 0 -;");
    assert_int_equal(list(w, &(struct reject_filter){.reason = REJECT_INVALID}).count, 1);
    assert_int_equal(list(w, &(struct reject_filter){.account_id = "bob", .open_only = true}).count,
                     1);
    assert_int_equal(
        list(w, &(struct reject_filter){.by_input = true, .input = INPUT_CREDITS}).count, 0);
    assert_int_equal(list(w, &(struct reject_filter){.by_shard = true, .shard = 1}).count, 0);
    assert_int_equal(list(w, &(struct reject_filter){.by_offset = true, .offset = 5}).count, 1);
    assert_int_equal(list(w, &(struct reject_filter){.limit = 1}).count, 1);
    assert_int_equal(list(w, &(struct reject_filter){.received_from = at(w->bench, 1, 0)}).count,
                     1);
    assert_int_equal(list(w, &(struct reject_filter){.received_to = at(w->bench, 1, 0)}).count, 1);
}

static struct ask ask_of(struct world *w, enum decision_kind kind, const int64_t *offsets,
                         size_t count)
{
    return (struct ask){.kind = kind,
                        .input = INPUT_CALLS,
                        .count = count,
                        .offsets = offsets,
                        .now_ms = w->bench->now};
}

static const int64_t fifth = 5, both[] = {3, 5};
#define CONTENT "call-records 2 a44b498566012525640f9848afb231f28fedeedd73dfb3d2962e4f13339b76d0"

// The next owner's next close names the decision.
static void check_next_close(struct world *w)
{
    struct shard_row row;
    claim(w, w->store, &row);
    struct fold *fold = restored(w, &row), *old = w->bench->fold;
    w->bench->fold = fold;
    char named[256];
    snprintf(named, sizeof named, "1 ACCEPT %s " CONTENT,
             value_of(w, "select settled.percent_encoded(session_user)"));
    assert_int_equal(settle(w->bench)->close.decision_count, 1);
    assert_string_equal(fold_step(fold)->close.decisions[0], named);
    w->bench->fold = old;
    fold_destroy(fold);
}

static void a_request_becomes_a_decision(void **state)
{
    struct world *w = *state;
    struct request requests[4];
    struct asked asked, again;
    size_t count;
    busy_days(w);
    struct ask ask = ask_of(w, DECISION_ACCEPT, both, 2);
    assert_ok(w, store_try_request(w->store, &ask, &w->e));
    assert_ok(w, store_add_request(w->store, &ask, &asked, &w->e));
    assert_true(asked.made);
    assert_int_equal(asked.state, REQUEST_WAITING);
    assert_ok(w, store_add_request(w->store, &ask, &again, &w->e));
    assert_int_equal(again.id, asked.id);
    assert_false(again.made);
    ask.kind = DECISION_REQUEUE; // of the same records
    assert_int_equal(store_add_request(w->store, &ask, &again, &w->e), STORE_FAILED);
    assert_int_equal(w->e.kind, ERROR_CONFIG);
    assert_non_null(
        strstr(w->e.text, "call-records/0/3: ACCEPT was asked for already (request 1,"));
    ask = ask_of(w, DECISION_ACCEPT, &fifth, 1); // of one of them
    assert_int_equal(store_try_request(w->store, &ask, &w->e), STORE_FAILED);
    assert_non_null(strstr(w->e.text, "call-records/0/5: ACCEPT was asked for already"));
    assert_ok(w, store_load_requests(w->store, 0, requests, 4, &count, &w->e));
    assert_int_equal(count, 1);
    const struct decision *decision = &requests[0].decision;
    assert_int_equal(requests[0].id, asked.id);
    assert_int_equal(requests[0].reasons[0], REJECT_CONFLICT);
    assert_int_equal(requests[0].reasons[1], REJECT_INVALID);
    assert_int_equal(decision->count, 2);
    assert_int_equal(decision->offsets[1], 5);
    assert_string_equal(decision->content, CONTENT);
    assert_int_equal(decision->as_of, w->bench->now);
    assert_ok(w, fold_decide(w->bench->fold, decision, requests[0].reasons, &w->e));
    commit(w);
    struct request_answer answer;
    assert_ok(w, store_load_answer(w->store, asked.id, &answer, &w->e));
    assert_int_equal(answer.state, REQUEST_DONE);
    assert_int_equal(answer.decision, 1);
    assert_ok(w, store_load_requests(w->store, 0, requests, 4, &count, &w->e));
    assert_int_equal(count, 0);
    assert_string_equal(list(w, &(struct reject_filter){0}).text,
                        "call-records/0/3 CONFLICT bob 1 DONE;call-records/0/5 INVALID ann 1 "
                        "DONE;");
    assert_string_equal(
        value_of(w, "select kind || ' ' || content || ' ' || business_day || ' ' || calls_at"
                    " from settled.decisions"),
        "ACCEPT " CONTENT " 2026-11-03 7");
    check_next_close(w);
}

static void a_requeue_waits_until_its_records_are_sent(void **state)
{
    struct world *w = *state;
    struct request requests[4];
    struct asked asked, again;
    size_t count;
    busy_days(w);
    struct ask ask = ask_of(w, DECISION_REQUEUE, both, 2);
    assert_ok(w, store_add_request(w->store, &ask, &asked, &w->e));
    assert_int_equal(asked.state, REQUEST_SENDING);
    assert_ok(w, store_load_requests(w->store, 0, requests, 4, &count, &w->e));
    assert_int_equal(count, 0);
    // the sender died and tries again
    assert_ok(w, store_add_request(w->store, &ask, &again, &w->e));
    assert_int_equal(again.id, asked.id);
    assert_int_equal(again.state, REQUEST_SENDING);
    assert_false(again.made);
    const struct sent_record first = {3, 0, 41}, other = {3, 0, 42}, second = {5, 1, 90};
    assert_ok(w, store_record_sent(w->store, asked.id, first, &w->e));
    assert_int_equal(store_record_sent(w->store, asked.id, other, &w->e), STORE_FAILED);
    assert_ok(w, store_load_requests(w->store, 0, requests, 4, &count, &w->e));
    assert_int_equal(count, 0); // one of them is not sent yet
    assert_ok(w, store_record_sent(w->store, asked.id, second, &w->e));
    assert_ok(w, store_load_requests(w->store, 0, requests, 4, &count, &w->e));
    assert_int_equal(count, 1);
    assert_int_equal(requests[0].new_offset, 41); // the other one went to another partition
    assert_int_equal(requests[0].decision.kind, DECISION_REQUEUE);
    assert_ok(w, store_refuse_request(w->store, asked.id, "no \xff", &w->e));
    struct request_answer answer;
    assert_ok(w, store_load_answer(w->store, asked.id, &answer, &w->e));
    assert_int_equal(answer.state, REQUEST_REFUSED);
    assert_string_equal(answer.text, "no \xef\xbf\xbd");
    // a refusal does not stand
    assert_ok(w, store_add_request(w->store, &ask, &again, &w->e));
    assert_true(again.id > asked.id);
}

// A record of a requeue that cannot be sent any more does not keep the others from being decided.
static void a_requeue_goes_on_without_what_is_lost(void **state)
{
    struct world *w = *state;
    struct request requests[4];
    struct asked asked, again;
    size_t count;
    busy_days(w);
    struct ask ask = ask_of(w, DECISION_REQUEUE, both, 2);
    const struct sent_record sent = {3, 0, 41};
    assert_ok(w, store_add_request(w->store, &ask, &asked, &w->e));
    assert_ok(w, store_record_sent(w->store, asked.id, sent, &w->e));
    assert_ok(w, store_record_lost(w->store, asked.id, 3, &w->e)); // it was sent: nothing changes
    assert_ok(w, store_record_lost(w->store, asked.id, 5, &w->e));
    assert_ok(w, store_load_requests(w->store, 0, requests, 4, &count, &w->e));
    assert_int_equal(count, 1);
    assert_int_equal(requests[0].decision.count, 1);
    assert_int_equal(requests[0].decision.offsets[0], 3);
    // The other one may be decided about in another way, and so may a request's only one.
    ask = ask_of(w, DECISION_REQUEUE, &fifth, 1);
    assert_ok(w, store_add_request(w->store, &ask, &asked, &w->e));
    assert_ok(w, store_record_lost(w->store, asked.id, 5, &w->e));
    ask.kind = DECISION_ACCEPT;
    assert_ok(w, store_add_request(w->store, &ask, &again, &w->e));
    assert_true(again.made);
    struct request_answer answer;
    assert_ok(w, store_load_answer(w->store, asked.id, &answer, &w->e));
    assert_int_equal(answer.state, REQUEST_REFUSED);
}

// A request about records of which one cannot be decided about is not made about the others.
static void only_open_rejects_can_be_asked_about(void **state)
{
    struct world *w = *state;
    struct asked asked;
    const int64_t offsets[] = {5, 4711};
    busy_days(w);
    struct ask ask = ask_of(w, DECISION_ACCEPT, offsets, 2);
    assert_int_equal(store_add_request(w->store, &ask, &asked, &w->e), STORE_FAILED);
    assert_non_null(strstr(w->e.text, "call-records/0/4711 is not among the rejects"));
    assert_int_equal(number_of(w, "select count(*) from settled.request_records"), 0);
    ask = ask_of(w, DECISION_PASS, offsets + 1, 1); // about a record that is not judged
    assert_ok(w, store_add_request(w->store, &ask, &asked, &w->e));
    assert_int_equal(asked.state, REQUEST_WAITING);
    run_sql(w, "update settled.rejects set decision = 1 where kafka_offset = 3");
    ask = ask_of(w, DECISION_ACCEPT, both, 2);
    assert_int_equal(store_add_request(w->store, &ask, &asked, &w->e), STORE_FAILED);
    assert_non_null(strstr(w->e.text, "call-records/0/3 was decided before"));
    assert_int_equal(number_of(w, "select count(*) from settled.request_records"), 1);
}

static struct waiting_record waits_at(const struct world *w, int64_t offset, int64_t schema_id)
{
    int64_t next = w->row.state.log[INPUT_CALLS].next;
    return (struct waiting_record){INPUT_CALLS, next + offset, schema_id, "the registry is \xff"};
}

// What a log waits for is seen by everybody, and may be refused when it was waited for long enough.
static void what_waits_for_its_schema_may_be_refused(void **state)
{
    struct world *w = *state;
    struct asked asked;
    int64_t large = INT64_C(1) << 40;
    const struct reject_filter waiting = {.waiting = true, .by_shard = true};
    busy_days(w);
    int before = list(w, &waiting).count;
    struct waiting_record record = waits_at(w, 0, large);
    int64_t refused = record.offset;
    struct ask ask = ask_of(w, DECISION_REFUSE, &refused, 1);
    assert_int_equal(store_add_request(w->store, &ask, &asked, &w->e), STORE_FAILED);
    assert_non_null(strstr(w->e.text, "is not waiting for its schema"));
    // Nobody but the owner says what waits.
    assert_ok(w, store_note_waiting(w->store, 0, w->row.epoch - 1, &record, &w->e));
    assert_int_equal(list(w, &waiting).count, before);
    assert_ok(w, store_note_waiting(w->store, 0, w->row.epoch, &record, &w->e));
    assert_int_equal(list(w, &waiting).count, before + 1);
    assert_non_null(strstr(list(w, &waiting).text, " WAITING - 0 -;"));
    assert_int_equal(list(w, &(struct reject_filter){.by_shard = true}).count, before);
    assert_string_equal(value_of(w, "select answer from settled.waiting"),
                        "the registry is \xef\xbf\xbd");
    ask.patience_ms = 3600000;
    assert_int_equal(store_add_request(w->store, &ask, &asked, &w->e), STORE_FAILED);
    assert_int_equal(w->e.kind, ERROR_CONFIG);
    assert_non_null(strstr(w->e.text, "it may be refused after schemas.patience, 3600 s"));
    // Another record of the same schema waits since the same time; one of another schema does not.
    run_sql(w, "update settled.waiting set since = since - interval '2 hours'");
    record.offset++;
    assert_ok(w, store_note_waiting(w->store, 0, w->row.epoch, &record, &w->e));
    assert_int_equal(store_add_request(w->store, &ask, &asked, &w->e), STORE_FAILED);
    refused++;
    assert_ok(w, store_add_request(w->store, &ask, &asked, &w->e));
    assert_int_equal(asked.state, REQUEST_WAITING);
    assert_non_null(strstr(list(w, &waiting).text, " WAITING - 0 WAITING;"));
    record.schema_id++;
    assert_ok(w, store_note_waiting(w->store, 0, w->row.epoch, &record, &w->e));
    assert_int_equal(number_of(w, "select (since > now() - interval '1 minute')::int::bigint"
                                  " from settled.waiting"),
                     1);
    // It is of no interest once the log has passed it.
    record.offset = record.schema_id = 0;
    assert_ok(w, store_note_waiting(w->store, 0, w->row.epoch, &record, &w->e));
    assert_int_equal(list(w, &waiting).count, before);
}

// ---- outbox ----

static void the_relay_reads_in_portions(void **state)
{
    struct world *w = *state;
    struct outbox_row rows[64];
    size_t count;
    uint8_t hash[32];
    bool found;
    busy_days(w);
    int64_t last = w->row.chain.sequence;
    assert_ok(w, store_load_outbox(w->store, 0, &(struct outbox_window){0, 64, 1 << 20}, rows,
                                   &count, &w->e));
    assert_int_equal(count, last);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(rows[i].sequence, (int64_t)i + 1);
    assert_memory_equal(rows[count - 1].hash, w->row.chain.hash, 32);
    assert_int_equal(rows[count - 1].ce_time, 1700000000123);
    assert_string_equal(rows[0].ce_id, "an-id");
    assert_memory_equal(rows[0].body.data, "body of row 1 ", 14);
    assert_non_null(rows[0].key.data);
    assert_ok(w, store_load_outbox(w->store, 0, &(struct outbox_window){2, 3, 1 << 20}, rows,
                                   &count, &w->e));
    assert_int_equal(count, 3);
    assert_int_equal(rows[0].sequence, 3);
    // about 115 bytes each
    assert_ok(w, store_load_outbox(w->store, 0, &(struct outbox_window){0, 64, 200}, rows, &count,
                                   &w->e));
    assert_int_equal(count, 2);
    assert_ok(w, store_load_outbox(w->store, 0, &(struct outbox_window){0, 64, 1}, rows, &count,
                                   &w->e)); // one always comes
    assert_int_equal(count, 1);
    assert_ok(w, store_load_outbox(w->store, 0, &(struct outbox_window){last, 64, 1 << 20}, rows,
                                   &count, &w->e));
    assert_int_equal(count, 0);
    assert_ok(w, store_outbox_hash(w->store, 0, last, hash, &found, &w->e));
    assert_true(found);
    assert_memory_equal(hash, w->row.chain.hash, 32);
    assert_ok(w, store_outbox_hash(w->store, 0, 0, hash, &found, &w->e));
    assert_false(found);
}

// A day's close fills the outbox at once, and PostgreSQL has no statistics of it yet. What each
// portion costs must not grow with what is left.
static void a_portion_touches_its_own_rows_only(void **state)
{
    struct world *w = *state;
    enum { WINDOW = 20000, FEW = 100 }; // as the relay asks, but for the bytes
    struct outbox_row rows[FEW];
    size_t count;
    run_sql(w, "select settled.make_partitions('2026-01-01', '2026-01-01');"
               "alter table settled.outbox_2026_01_01 set (autovacuum_enabled = false);"
               "insert into settled.outbox select 0, i, 0, 'k', 'an-id', 0, 'body',"
               "  decode(repeat('ab', 32), 'hex'), '2026-01-01' from generate_series(1, 60000) i");
    store_close(w->store); // a session tells its statistics when it ends
    assert_ok(w, store_open(w->dsn, STORE_WRITES, &w->store, &w->e));
    assert_ok(w, store_load_outbox(w->store, 0, &(struct outbox_window){0, WINDOW, FEW}, rows,
                                   &count, &w->e));
    assert_in_range(count, 1, FEW);
    store_close(w->store);
    assert_ok(w, store_open(w->dsn, STORE_WRITES, &w->store, &w->e));
    const char *touched = "select seq_tup_read + idx_tup_fetch from pg_stat_user_tables"
                          " where relid = 'settled.outbox_2026_01_01'::regclass";
    for (int i = 0; i < 100 && number_of(w, touched) == 0; i++)
        usleep(50000);
    assert_in_range(number_of(w, touched), FEW, WINDOW + FEW);
}

// They go with their day's partition, and not before every shard has opened a later day: no row may
// come any more.
static void published_rows_go_after_eight_days_but_the_last(void **state)
{
    struct world *w = *state;
    busy_days(w);
    run_sql(
        w,
        "update settled.deployment set partitions = 1; delete from settled.shards where shard > 0");
    int64_t last = w->row.chain.sequence, now = w->bench->now, relayed;
    int64_t first_day =
        number_of(w, "select min(sequence) from settled.outbox where business_day > "
                     "(select min(business_day) from settled.outbox)") -
        1;
    assert_in_range(first_day, 4, last - 2);
    assert_ok(w, store_mark_relayed(w->store, 0, w->row.epoch, 3, now, &w->e));
    assert_ok(w, store_mark_relayed(w->store, 0, w->row.epoch, 2, now, &w->e)); // never falls
    assert_ok(w, store_check_epoch(w->store, 0, w->row.epoch, NULL, &relayed, &w->e));
    assert_int_equal(relayed, 3);
    assert_ok(w, store_mark_relayed(w->store, 0, w->row.epoch, last, now + HOUR, &w->e));
    assert_int_equal(number_of(w, "select count(*) from settled.outbox"), last);
    assert_ok(
        w, store_mark_relayed(w->store, 0, w->row.epoch, last, now + 8 * DAY_MS + MINUTE, &w->e));
    assert_int_equal(number_of(w, "select min(sequence) from settled.outbox"), 1); // up to row 3
    assert_ok(w, store_mark_relayed(w->store, 0, w->row.epoch, last, now + 9 * DAY_MS, &w->e));
    assert_in_range(number_of(w, "select min(sequence) from settled.outbox"), first_day + 1, last);
    assert_int_equal(number_of(w, "select max(sequence) from settled.outbox"), last);
    assert_int_equal(store_mark_relayed(w->store, 0, w->row.epoch, last + 1, now, &w->e),
                     STORE_FAILED);
}

// ---- who may do what ----

static bool may(struct world *w, const char *role, const char *statement)
{
    char text[512];
    snprintf(text, sizeof text, "begin; set local role %s; %s", role, statement);
    PGresult *result = PQexec(w->sql, text);
    bool done =
        PQresultStatus(result) == PGRES_COMMAND_OK || PQresultStatus(result) == PGRES_TUPLES_OK;
    const char *code = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    if (!done)
        assert_string_equal(code, "42501");
    PQclear(result);
    run_sql(w, "rollback");
    return done;
}

#define ASK "select settled.ask('ACCEPT', 'call-records', 0, '{5}', now(), 0)"

static void an_operator_may_ask_and_do_nothing_else(void **state)
{
    struct world *w = *state;
    busy_days(w);
    assert_string_equal(
        value_of(w, "select string_agg(relname, ' ' order by relname) from pg_class"
                    " where relnamespace = 'settled'::regnamespace and relkind in ('r', 'p', 'v')"
                    " and not relispartition"
                    " and has_table_privilege('settled_operator', oid, 'select')"),
        "decisions deployment parameters price_books rejects request_records requests "
        "schema_migrations shard_logs waiting");
    assert_int_equal(
        number_of(w, "select count(*) from pg_class, unnest(array['insert', 'update', 'delete',"
                     " 'truncate', 'references', 'trigger']) as privilege"
                     " where relnamespace = 'settled'::regnamespace and relkind in ('r', 'p', 'v')"
                     " and (has_table_privilege('settled_operator', oid, privilege)"
                     "  or (privilege in ('insert', 'update', 'references')"
                     "   and has_any_column_privilege('settled_operator', oid, privilege)))"),
        0);
    assert_int_equal(number_of(w, "select has_schema_privilege('settled_operator', 'settled',"
                                  " 'create')::int::bigint"),
                     0);
    // Of what acts with the rights of the owner it may call what asks; nobody else may. The daemon
    // has its partitions made.
    assert_string_equal(
        value_of(w,
                 "select string_agg(rolname || ' ' || proname, ', ' order by proname)"
                 " from pg_proc, pg_roles where pronamespace = 'settled'::regnamespace"
                 " and prosecdef and has_function_privilege(pg_roles.oid, pg_proc.oid, 'execute')"
                 " and rolname in ('settled_writer', 'settled_operator', 'settled_auditor',"
                 " 'settled_console')"),
        "settled_operator ask, settled_writer drop_published, settled_writer make_partitions, "
        "settled_operator record_lost, settled_operator record_sent, settled_operator "
        "trouble_with");
    assert_true(may(w, "settled_operator", ASK));
    assert_false(may(w, "settled_writer", ASK));
    assert_false(may(w, "settled_writer", "insert into settled.requests default values"));
    assert_false(may(w, "settled_writer", "update settled.requests set operator = 'eve'"));
    assert_false(may(w, "settled_writer", "update settled.request_records set kafka_offset = 0"));
}

// Who asks is recorded by the database, in a form without blanks, whatever is claimed.
static void an_operator_has_the_name_of_its_login(void **state)
{
    struct world *w = *state;
    busy_days(w);
    run_sql(w, "create role \"settled test/\u00f6 1~_.-\"; grant settled_operator to"
               " \"settled test/\u00f6 1~_.-\"; set session authorization"
               " \"settled test/\u00f6 1~_.-\"");
    run_sql(w, "do $$ begin perform settled.ask('ACCEPT', 'call-records', 0, '{5}', now(), 0);"
               " end $$");
    run_sql(w, "reset session authorization; drop role \"settled test/\u00f6 1~_.-\"");
    assert_string_equal(value_of(w, "select operator from settled.requests"),
                        "settled%20test%2F%C3%B6%201~_.-");
    run_sql(w, "insert into settled.requests (shard, kind, topic, operator, requested_at, state)"
               " values (0, 'PASS', 'call-records', 'eve', now(), 'REFUSED');"
               " update settled.requests set operator = 'mallory' where kind = 'PASS'");
    assert_string_equal(value_of(w,
                                 "select (operator = settled.percent_encoded(session_user))::text"
                                 " from settled.requests where kind = 'PASS'"),
                        "true");
}

static void roles_may_what_they_must(void **state)
{
    struct world *w = *state;
    busy_days(w);
    assert_true(may(w, "settled_auditor", "select * from settled.outbox"));
    assert_true(may(w, "settled_auditor", "select * from settled.account_statement"));
    assert_false(may(w, "settled_auditor", "update settled.accounts set balance = 0"));
    assert_false(may(w, "settled_auditor", "delete from settled.outbox"));
    assert_false(may(w, "settled_auditor", "insert into settled.writer_schemas values (1, 'x')"));
    assert_true(may(w, "settled_console", "select * from settled.account_statement"));
    assert_true(may(w, "settled_console", "select time_zone from settled.deployment"));
    assert_false(may(w, "settled_console", "select id_key from settled.deployment"));
    assert_false(may(w, "settled_console", "select * from settled.rejects"));
    assert_false(may(w, "settled_console", "insert into settled.accounts values ('x')"));
    assert_true(may(w, "settled_writer", "update settled.shards set epoch = epoch + 1"));
    assert_false(may(w, "settled_writer", "update settled.settlements set amount = 0"));
    assert_false(may(w, "settled_writer", "delete from settled.credits"));
    assert_false(may(w, "settled_writer", "update settled.day_cutoffs set to_offset = 0"));
    assert_false(may(w, "settled_writer", "delete from settled.decisions"));
    assert_false(may(w, "settled_writer", "update settled.parameters set late_days = 0"));
    assert_false(may(w, "settled_writer", "create table settled.mine (x int)"));
    assert_true(may(w, "settled_owner", "alter table settled.shards add column x int"));
}

static void the_daemon_lives_as_the_writer(void **state)
{
    struct world *w = *state;
    char dsn[DSN_SIZE];
    store_close(w->store);
    dsn_with(dsn, w->database, NULL, NULL, "options='-c role=settled_writer'");
    assert_ok(w, store_open(dsn, STORE_WRITES, &w->store, &w->e));
    struct deployment *again = calloc(1, sizeof *again);
    wish(w, again);
    assert_ok(w, record(w, w->store, again));
    shelf_clear(&again->policy.shelf);
    free(again);
    claim(w, w->store, &w->row);
    busy_days(w);
    struct bench *b = w->bench;
    for (int i = 0; i < 200; i++) { // enough for COPY
        char account[32];
        snprintf(account, sizeof account, "crowd-%d", i);
        accept(b, INPUT_CREDITS, credit(b, account, "c", CREDIT_TOP_UP, 5, at(b, 2, HOUR)));
    }
    commit(w);
    settle(b);
    commit(w);
    // It answers what others ask; it asks nothing.
    struct asked asked;
    struct ask ask = ask_of(w, DECISION_ACCEPT, &fifth, 1);
    assert_int_equal(store_add_request(w->store, &ask, &asked, &w->e), STORE_FAILED);
    assert_non_null(strstr(w->e.text, "settled_operator to decide about rejects"));
    run_sql(w, "select settled.ask('ACCEPT', 'call-records', 0, '{5}', now(), 0)");
    struct request requests[4];
    size_t count;
    assert_ok(w, store_load_requests(w->store, 0, requests, 4, &count, &w->e));
    assert_int_equal(count, 1);
    assert_ok(w, fold_decide(b->fold, &requests[0].decision, requests[0].reasons, &w->e));
    commit(w);
    run_sql(w, "select settled.ask('ACCEPT', 'call-records', 0, '{3}', now(), 0)");
    assert_ok(w, store_refuse_request(w->store, requests[0].id + 1, "no", &w->e));
    assert_ok(w,
              store_mark_relayed(w->store, 0, w->row.epoch, w->row.chain.sequence, b->now, &w->e));
    assert_ok(w, store_mark_relayed(w->store, 0, w->row.epoch, w->row.chain.sequence,
                                    b->now + 9 * DAY_MS, &w->e));
    struct fold *fold = bench_fold(b);
    assert_ok(w, store_restore(w->store, 0, &w->row, fold, &w->e));
    fold_destroy(fold);
    int applied;
    // nothing to do, and nothing it may not do
    assert_int_equal(store_migrate(w->store, &applied, &w->e), 0);
    assert_int_equal(applied, 0);
}

static void a_plain_user_may_migrate_a_database_of_its_own(void **state)
{
    struct world *w = *state;
    char text[512], dsn[DSN_SIZE];
    int applied;
    run_sql(w, "do $$ begin create role settled_test_plain; exception when duplicate_object or "
               "unique_violation then null;"
               " end $$");
    snprintf(text, sizeof text, "grant create on database %s to settled_test_plain", w->database);
    run_sql(w, text);
    store_close(w->store);
    dsn_with(dsn, w->database, NULL, NULL, "options='-c role=settled_test_plain'");
    assert_ok(w, store_open(dsn, STORE_WRITES, &w->store, &w->e));
    // warns that it may not give the schema to settled_owner
    assert_ok(w, store_migrate(w->store, &applied, &w->e));
    assert_true(applied >= 3);
    assert_string_equal(
        value_of(w, "select pg_get_userbyid(nspowner) from pg_namespace where nspname = 'settled'"),
        "settled_test_plain");
    run_sql(w, "set client_min_messages = error; call settled.apply_privileges(); reset "
               "client_min_messages");
    assert_string_equal(
        value_of(w, "select pg_get_userbyid(nspowner) from pg_namespace where nspname = 'settled'"),
        "settled_owner"); // an administrator's run heals it
    store_close(w->store);
    w->store = NULL;
    run_sql(
        w, "reassign owned by settled_test_plain to current_user; drop owned by settled_test_plain;"
           " drop role settled_test_plain");
}

int main(void)
{
    test_dsn();
#define EMPTY(name) cmocka_unit_test_setup_teardown(name, setup_empty, teardown)
#define READY(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        EMPTY(migrations_apply_once_and_are_checked),
        EMPTY(tables_that_are_not_there_ask_for_a_migration),
        READY(a_newer_database_is_refused),
        READY(another_builds_migration_is_refused),
        READY(errors_name_the_place_and_no_password),
        READY(the_dsn_rules_over_our_time_outs_but_not_over_durability),
        READY(a_deployment_is_recorded_once),
        READY(what_never_changes_is_refused_with_both_values),
        READY(parameters_change_from_a_day_that_nobody_opened),
        READY(only_an_apply_records_changes),
        READY(nothing_is_applied_before_the_first_start),
        READY(a_book_that_was_put_in_by_hand_is_told),
        READY(a_new_book_starts_after_the_days_that_are_open),
        READY(a_schema_id_keeps_its_text),
        READY(a_step_stands_in_the_tables),
        READY(the_tables_agree_with_one_another),
        READY(a_rejects_ids_are_ids_or_null),
        READY(a_time_beyond_postgres_is_infinity),
        READY(a_restored_fold_goes_on_the_same),
        READY(accounts_have_one_row_each),
        READY(a_held_day_stays_held),
        READY(a_released_day_stays_released),
        READY(a_lower_epoch_commits_nothing),
        READY(rejects_are_listed_by_filter),
        READY(a_request_becomes_a_decision),
        READY(a_requeue_waits_until_its_records_are_sent),
        READY(a_requeue_goes_on_without_what_is_lost),
        READY(only_open_rejects_can_be_asked_about),
        READY(what_waits_for_its_schema_may_be_refused),
        READY(an_operator_may_ask_and_do_nothing_else),
        READY(an_operator_has_the_name_of_its_login),
        READY(the_relay_reads_in_portions),
        READY(a_portion_touches_its_own_rows_only),
        READY(published_rows_go_after_eight_days_but_the_last),
        READY(roles_may_what_they_must),
        READY(the_daemon_lives_as_the_writer),
        EMPTY(a_plain_user_may_migrate_a_database_of_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
