// A database of its own for each test, a shard claimed in it, and the fold of
// tests/unit/fold_fixture.h that feeds it.
#pragma once

#include "consumer/base/arena.h"
#include "consumer/postgres/store.h"
#include "tests/lib/test_services.h"
#include "tests/unit/fold_fixture.h"

#include <inttypes.h>
#include <libpq-fe.h>
#include <openssl/sha.h>
#include <time.h>
#include <unistd.h>

enum { DSN_SIZE = 2048, CALLS_MAX = 4096 };

struct world {
    char database[64], dsn[DSN_SIZE];
    PGconn *sql; // a superuser beside the store
    struct store *store;
    struct bench *bench;
    struct deployment *deployment;
    int32_t shard; // 0, unless the database is the second of several
    struct shard_row row;
    struct outbox outbox;
    struct event calls[CALLS_MAX]; // fed so far, for replays
    size_t call_count;
    struct error e;
};

// key='value' pairs: SETTLED_TEST_DSN with another database, host or port (NULL: its own), and more
// options.
static inline void dsn_with(char out[DSN_SIZE], const char *database, const char *host,
                            const char *port, const char *options)
{
    char *trouble = NULL;
    PQconninfoOption *parsed = PQconninfoParse(test_dsn(), &trouble);
    assert_non_null(parsed);
    size_t used = 0;
    for (const PQconninfoOption *o = parsed; o->keyword; o++) {
        const char *value = o->val;
        if (strcmp(o->keyword, "dbname") == 0)
            value = database;
        if (strcmp(o->keyword, "host") == 0 && host)
            value = host;
        if (strcmp(o->keyword, "port") == 0 && port)
            value = port;
        if (value)
            used += (size_t)snprintf(out + used, DSN_SIZE - used, "%s='%s' ", o->keyword, value);
    }
    snprintf(out + used, DSN_SIZE - used, "%s", options ? options : "");
    PQconninfoFree(parsed);
}

static inline void sql_in(PGconn *conn, const char *text)
{
    PGresult *result = PQexec(conn, text);
    if (PQresultStatus(result) != PGRES_COMMAND_OK && PQresultStatus(result) != PGRES_TUPLES_OK)
        fail_msg("%s: %s", text, PQerrorMessage(conn));
    PQclear(result);
}

static inline PGconn *connect_to(const char *database)
{
    char dsn[DSN_SIZE];
    dsn_with(dsn, database, NULL, NULL, NULL);
    PGconn *conn = PQconnectdb(dsn);
    if (PQstatus(conn) != CONNECTION_OK)
        fail_msg("%s", PQerrorMessage(conn));
    sql_in(conn, "set client_min_messages = warning");
    return conn;
}

static inline void run_sql(struct world *w, const char *text)
{
    sql_in(w->sql, text);
}

// The one value that a query gives, as text; valid until the next call.
static inline const char *value_of(struct world *w, const char *query)
{
    static char text[1024];
    PGresult *result = PQexec(w->sql, query);
    if (PQresultStatus(result) != PGRES_TUPLES_OK || PQntuples(result) != 1)
        fail_msg("%s: %d rows, %s", query, PQntuples(result), PQerrorMessage(w->sql));
    snprintf(text, sizeof text, "%s", PQgetvalue(result, 0, 0));
    PQclear(result);
    return text;
}

static inline int64_t number_of(struct world *w, const char *query)
{
    return strtoll(value_of(w, query), NULL, 10);
}

#define assert_ok(w, call)                                                                         \
    do {                                                                                           \
        int result_ = (int)(call);                                                                 \
        if (result_ != 0)                                                                          \
            fail_msg("%s: %d, %s", #call, result_, (w)->e.text);                                   \
    } while (0)

static inline void wish(struct world *w, struct deployment *d)
{
    memset(d, 0, sizeof *d);
    d->policy.fixed = w->bench->policy.fixed;
    d->policy.count = 1;
    d->policy.rows[0] = w->bench->policy.rows[0];
    snprintf(d->group, sizeof d->group, "settled");
    snprintf(d->cluster_id, sizeof d->cluster_id, "cluster-1");
    snprintf(d->topics[INPUT_CALLS], sizeof d->topics[0], "call-records");
    snprintf(d->topics[INPUT_PURCHASES], sizeof d->topics[0], "package-purchases");
    snprintf(d->topics[INPUT_CREDITS], sizeof d->topics[0], "account-credits");
}

static inline enum store_result record_as(struct world *w, struct store *store,
                                          struct deployment *d, enum record_mode mode)
{
    struct recording recording = {.mode = mode};
    struct recorded_change change;
    char *book = read_file(SOURCE_DIR "/pricing/pricebooks/apcas.yaml", &recording.book_size);
    recording.book_text = book;
    enum store_result result = store_record_deployment(store, d, &recording, &change, &w->e);
    free(book);
    return result;
}

// As the first start does.
static inline enum store_result record(struct world *w, struct store *store, struct deployment *d)
{
    return record_as(w, store, d, RECORD_FIRST);
}

// As `settled parameters apply` does.
static inline enum store_result apply(struct world *w, struct store *store, struct deployment *d)
{
    return record_as(w, store, d, RECORD_CHANGES);
}

// An empty database; nothing is migrated.
static inline int setup_empty(void **state)
{
    static int number;
    struct world *w = calloc(1, sizeof *w);
    snprintf(w->database, sizeof w->database, "settled_test_%d_%d", (int)getpid(), number++);
    PGconn *server = connect_to("postgres");
    char text[256];
    snprintf(text, sizeof text, "create database %s encoding 'UTF8' template template0",
             w->database);
    sql_in(server, text);
    PQfinish(server);
    w->sql = connect_to(w->database);
    dsn_with(w->dsn, w->database, NULL, NULL, NULL);
    w->bench = bench_create();
    w->deployment = calloc(1, sizeof *w->deployment);
    assert_ok(w, store_open(w->dsn, STORE_WRITES, &w->store, &w->e));
    *state = w;
    return 0;
}

static inline void claim(struct world *w, struct store *store, struct shard_row *row)
{
    assert_ok(w, store_claim(store, w->shard, row, &w->e));
}

static inline int setup(void **state)
{
    setup_empty(state);
    struct world *w = *state;
    int applied;
    assert_ok(w, store_migrate(w->store, &applied, &w->e));
    wish(w, w->deployment);
    assert_ok(w, record(w, w->store, w->deployment));
    claim(w, w->store, &w->row);
    return 0;
}

static inline int teardown(void **state)
{
    struct world *w = *state;
    store_close(w->store);
    PQfinish(w->sql);
    PGconn *server = connect_to("postgres");
    char text[256];
    snprintf(text, sizeof text, "drop database %s with (force)", w->database);
    sql_in(server, text);
    PQfinish(server);
    free(w->outbox.rows);
    arena_destroy(w->outbox.arena);
    shelf_clear(&w->deployment->policy.shelf);
    free(w->deployment);
    bench_destroy(w->bench);
    free(w);
    return 0;
}

// Outbox rows of a step, as consumer/output/outbox.c would number and chain them; the bodies are
// only told apart.
static inline void build_outbox(struct outbox *out, const struct fold *fold,
                                const struct chain *before)
{
    static const enum output outputs[EMIT_KINDS] = {[EMIT_REJECT] = OUTPUT_REJECTS,
                                                    [EMIT_STATUS] = OUTPUT_STATUS,
                                                    [EMIT_SETTLEMENT] = OUTPUT_SETTLEMENTS,
                                                    [EMIT_NOTICE] = OUTPUT_NOTICES,
                                                    [EMIT_DAY_CLOSE] = OUTPUT_DAY_CLOSES};
    const struct step *step = fold_step(fold);
    if (!out->arena)
        out->arena = arena_create();
    arena_reset(out->arena);
    out->rows = realloc(out->rows, (step->emission_count + 1) * sizeof *out->rows);
    out->count = step->emission_count;
    out->after = *before;
    for (size_t i = 0; i < out->count; i++) {
        char body[160];
        int size =
            snprintf(body, sizeof body, "body of row %" PRId64 " %0100d", ++out->after.sequence, 0);
        struct outbox_row *row = &out->rows[i];
        *row =
            (struct outbox_row){.sequence = out->after.sequence,
                                .output = outputs[step->emissions[i].kind],
                                .key = i % 2 ? (struct slice){0} : text("a key"),
                                .ce_id = "an-id",
                                .ce_time = 1700000000123,
                                .body = {arena_copy(out->arena, body, (size_t)size), (size_t)size}};
        uint8_t chained[32 + 8];
        memcpy(chained, out->after.hash, 32);
        memcpy(chained + 32, &row->sequence, 8);
        SHA256(chained, sizeof chained, row->hash);
        memcpy(out->after.hash, row->hash, 32);
    }
    if (step->closed) {
        memset(out->content_digest, 'c', 64);
        memset(out->digest, 'd', 64);
        memcpy(out->after.previous_digest, out->digest, sizeof out->digest);
    }
}

static inline enum store_result try_commit(struct world *w)
{
    build_outbox(&w->outbox, w->bench->fold, &w->row.chain);
    const struct commit_request request = {w->bench->fold, &w->outbox, w->bench->now};
    return store_commit(w->store, w->shard, &w->row, &request, &w->e);
}

static inline void commit(struct world *w)
{
    assert_ok(w, try_commit(w));
    fold_step_done(w->bench->fold);
}

// The event of a call, kept for a replay.
static inline struct event kept(struct world *w, struct event ev)
{
    assert_true(w->call_count < CALLS_MAX);
    w->calls[w->call_count++] = ev;
    return ev;
}

// A fold from what the database has and the calls that were fed.
static inline struct fold *restored(struct world *w, const struct shard_row *row)
{
    bool done = false;
    struct fold *fold = bench_fold(w->bench);
    assert_ok(w, store_restore(w->store, w->shard, row, fold, &w->e));
    assert_ok(w, fold_replay(fold, w->calls, w->call_count, &done, &w->e));
    if (!done)
        assert_ok(w, fold_replay_reached(fold, row->state.log[INPUT_CALLS].next, &done, &w->e));
    assert_true(done);
    return fold;
}

static inline int64_t clock_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}
