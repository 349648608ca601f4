// Texts and numbers in the tables that this program does not know, as a later version may write
// them. Each reader must refuse them and name them, and must not take them for another value.
#include "consumer/audit/store_audit_rows.h"
#include "store_fixture.h"

enum { STATEMENT_SIZE = 512 };

// A day with a credit, a package, a call in arrears, a reject and an operator's decision about
// another one.
static void a_day(struct world *w)
{
    struct bench *b = w->bench;
    const int64_t first = 1;
    const enum reject_reason reason = REJECT_CONFLICT;
    struct decision accepted = decision_about(DECISION_ACCEPT, INPUT_CALLS, &first, 1);
    accepted.request = 1;
    accept(b, INPUT_CREDITS, credit(b, "ann", "k", CREDIT_TOP_UP, 100, at(b, 0, HOUR)));
    accept(b, INPUT_PURCHASES,
           purchase(b, "ann", "p", SERVICE_PURCHASE_INTENT, 10000, 7000000, at(b, 0, HOUR)));
    accept(b, INPUT_CALLS, call(b, "ann", "c1", -1, at(b, 0, 2 * HOUR)));
    reject(b, INPUT_CALLS, call(b, "ann", "c1", -1, at(b, 0, 3 * HOUR)), REJECT_CONFLICT);
    reject(b, INPUT_CALLS, call(b, "ann", "c1", -1, at(b, 0, 4 * HOUR)), REJECT_CONFLICT);
    commit(w);
    run_sql(w, "select settled.ask('ACCEPT', 'call-records', 0, '{1}', now(), 0);"
               " select settled.ask('REQUEUE', 'call-records', 0, '{2}', now(), 0);"
               " select settled.record_sent(2, 2, 0, 9)");
    assert_ok(w, fold_decide(b->fold, &accepted, &reason, &w->e));
    settle(b);
    commit(w);
}

// ---- who reads ----

static int restore_shard(struct world *w)
{
    struct shard_row row;
    struct fold *fold = bench_fold(w->bench);
    assert_ok(w, store_claim(w->store, 0, &row, &w->e));
    int result = (int)store_restore(w->store, 0, &row, fold, &w->e);
    fold_destroy(fold);
    return result;
}

static int restore_past(struct world *w)
{
    struct past past;
    struct fold *fold = bench_fold(w->bench);
    struct past_question question = {0, text("ann"), w->bench->first_day};
    int result = (int)store_restore_past(w->store, &question, fold, &past, &w->e);
    store_past_release(&past);
    fold_destroy(fold);
    return result;
}

static int load_requests(struct world *w)
{
    struct request requests[4];
    size_t count;
    return (int)store_load_requests(w->store, 0, requests, 4, &count, &w->e);
}

static int load_answer(struct world *w)
{
    struct request_answer answer;
    return (int)store_load_answer(w->store, 2, &answer, &w->e);
}

static int ask_again(struct world *w)
{
    const int64_t offset = 2;
    const struct ask ask = {
        .kind = DECISION_REQUEUE, .input = INPUT_CALLS, .count = 1, .offsets = &offset};
    struct asked asked;
    return (int)store_add_request(w->store, &ask, &asked, &w->e);
}

static int count_rejects(void *context, const struct reject_row *reject, struct error *e)
{
    (void)reject;
    (void)e;
    ++*(int *)context;
    return 0;
}

static int list_rejects(struct world *w)
{
    int count = 0;
    return (int)store_list_rejects(w->store, &(struct reject_filter){0}, count_rejects, &count,
                                   &w->e);
}

static int load_deployment(struct world *w)
{
    struct deployment *loaded = calloc(1, sizeof *loaded);
    bool recorded;
    int result = (int)store_load_deployment(w->store, loaded, &recorded, &w->e);
    shelf_clear(&loaded->policy.shelf);
    free(loaded);
    return result;
}

static int load_outbox(struct world *w)
{
    struct outbox_row rows[16];
    size_t count;
    struct outbox_window window = {.limit = 16, .max_bytes = 1 << 20};
    return (int)store_load_outbox(w->store, 0, &window, rows, &count, &w->e);
}

static int take_row(void *context, const struct outbox_row *row, struct error *e)
{
    (void)context;
    (void)row;
    (void)e;
    return 0;
}

// Cutoffs, decisions, verdicts and the outbox, in the snapshot of an audit.
static int audit(struct world *w)
{
    struct audit_snapshot snapshot;
    struct audit_range range = {.first_day = DAY_NONE, .last_day = DAY_NONE};
    int64_t to[AUDIT_WINDOWED];
    for (int t = 0; t < AUDIT_WINDOWED; t++)
        range.to[t] = to[t] = INT32_MAX;
    int result = (int)store_audit_begin(w->store, 0, DAY_NONE, &snapshot, &w->e);
    if (result == STORE_OK) {
        struct audit_rows *rows = audit_rows_open(w->store, &range, &w->e);
        result = (int)audit_rows_load(rows, to, &w->e);
        if (result == STORE_OK)
            result = (int)audit_rows_outbox(rows, 0, INT32_MAX, take_row, NULL, &w->e);
        audit_rows_close(rows);
        store_audit_end(w->store);
    }
    audit_snapshot_release(&snapshot);
    return result;
}

// ---- what they say ----

static const struct {
    const char *table, *column, *where, *unknown;
    int (*read)(struct world *w);
    const char *says;
} cases[] = {
    {"accounts", "status", "true", "'PAUSED'", restore_shard,
     "\"PAUSED\" is no status of an account"},
    {"credits", "kind", "true", "'GIFT'", restore_shard, "\"GIFT\" is no kind of credit"},
    {"packages", "service", "true", "'THIRD'", restore_shard, "\"THIRD\" is no service"},
    {"decisions", "kind", "true", "'FORGIVE'", restore_shard, "\"FORGIVE\" is no kind of decision"},
    {"settlements", "status", "true", "'PAUSED'", restore_past,
     "\"PAUSED\" is no status of an account"},
    {"settlement_lines", "service", "true", "'THIRD'", restore_past, "\"THIRD\" is no service"},
    {"settlement_lines", "charge", "true", "'GIFT'", restore_past, "\"GIFT\" is no charge"},
    {"requests", "kind", "id = 2", "'FORGIVE'", load_requests, "request 2: PostgreSQL"},
    {"requests", "kind", "id = 2", "'FORGIVE'", list_rejects, "\"FORGIVE\" is no kind of decision"},
    {"requests", "state", "id = 2", "'LOST'", load_answer, "\"LOST\" is no state of a request"},
    {"requests", "state", "id = 2", "'LOST'", ask_again, "\"LOST\" is no state of a request"},
    {"requests", "state", "id = 2", "'LOST'", list_rejects, "\"LOST\" is no state of a request"},
    {"rejects", "reason", "kafka_offset = 2", "'ODD'", load_requests,
     "\"ODD\" is no reject reason"},
    {"rejects", "reason", "kafka_offset = 2", "'ODD'", audit,
     "the reject of call-records/0/2: PostgreSQL"},
    {"rejects", "reason", "kafka_offset = 1", "'ODD'", audit, "\"ODD\" is no reject reason"},
    {"rejects", "topic", "kafka_offset = 2", "'other'", list_rejects,
     "\"other\" is no input topic"},
    {"day_cutoffs", "cut_by", "topic = 'call-records'", "'FATE'", audit,
     "\"FATE\" is no kind of cutoff"},
    {"deployment", "partitioner", "true", "'random'", load_deployment,
     "\"random\" is no partitioner"},
    {"deployment", "framing", "true", "'protobuf'", load_deployment, "\"protobuf\" is no framing"},
    {"deployment", "timestamps", "true", "'now'", load_deployment,
     "\"now\" is no kind of timestamps"},
    {"outbox", "output", "sequence = 2", "7", load_outbox, "row 2 of the outbox: PostgreSQL"},
    {"outbox", "output", "sequence = 2", "7", audit, "\"7\" is no output"},
};

// The constraints of a database keep such values out only until a later program replaces the
// constraints.
static void without_constraints(struct world *w)
{
    run_sql(w, "do $$ declare c record; begin for c in select conname, conrelid::regclass as t"
               " from pg_constraint where contype = 'c' and connamespace = 'settled'::regnamespace"
               " and coninhcount = 0"
               " loop execute format('alter table %s drop constraint %I', c.t, c.conname);"
               " end loop; end $$");
}

static void what_nobody_knows_is_refused(void **state)
{
    struct world *w = *state;
    char statement[STATEMENT_SIZE], good[64];
    a_day(w);
    without_constraints(w);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_ok(w, cases[i].read(w)); // as it is
        snprintf(statement, sizeof statement, "select min(%s) from settled.%s where %s",
                 cases[i].column, cases[i].table, cases[i].where);
        snprintf(good, sizeof good, "%s", value_of(w, statement));
        snprintf(statement, sizeof statement, "update settled.%s set %s = %s where %s",
                 cases[i].table, cases[i].column, cases[i].unknown, cases[i].where);
        run_sql(w, statement);
        w->e = (struct error){0};
        if (cases[i].read(w) != STORE_FAILED)
            fail_msg("%s.%s %s is read", cases[i].table, cases[i].column, cases[i].unknown);
        assert_int_equal(w->e.kind, ERROR_CONFIG);
        if (!strstr(w->e.text, cases[i].says) || !strstr(w->e.text, "upgrade settled"))
            fail_msg("\"%s\" does not say \"%s\", and to upgrade", w->e.text, cases[i].says);
        snprintf(statement, sizeof statement, "update settled.%s set %s = '%s' where %s = %s",
                 cases[i].table, cases[i].column, good, cases[i].column, cases[i].unknown);
        run_sql(w, statement);
    }
}

int main(void)
{
    test_dsn();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_nobody_knows_is_refused, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
