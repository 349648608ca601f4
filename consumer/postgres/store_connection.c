// The connection: opening it with its time-outs, waiting for answers, naming what went wrong,
// giving it up.
#include "consumer/postgres/store_connection.h"
#include "consumer/system/clock.h"

#include "consumer/system/log.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum {
    SETUP_PATIENCE_MS = 10000,
    PATIENCE_MARGIN_MS = 10000,
    ANSWERS_MARGIN_MS = 2000,
    DIAGNOSIS_MS = 5000,
    TEXT_PART_SIZE = 400,
    IDLE_MESSAGES_MAX = 8, // read from an idle connection before it is used again
};

// Ours unless the connection string, PGOPTIONS, or the database's or role's own settings say
// otherwise. A lock is waited for less long than a consumer group's session lasts;
// synchronous_commit is never taken lower. A statement whose client went away is given up soon
// (from PostgreSQL 14 on; before, within its time-outs). A pooler may hand out a session that
// another client has used: the statements which that one prepared have the names of ours.
#define SET_UP                                                                                     \
    "deallocate all;"                                                                              \
    "select set_config(v.name, v.value, false)"                                                    \
    "  from (values ('statement_timeout', '60s'), ('lock_timeout', '10s'),"                        \
    "               ('idle_in_transaction_session_timeout', '30s'), ('synchronous_commit', 'on')," \
    "               ('client_connection_check_interval', '2s'),"                                   \
    "               ('client_min_messages', 'warning')) as v (name, value)"                        \
    "  join pg_settings s using (name)"                                                            \
    " where case v.name when 'synchronous_commit' then s.setting not in ('on', 'remote_apply')"    \
    "       else s.source not in ('client', 'user', 'database', 'database user') end;"
#define SHOW_SET_UP                                                                                \
    "select setting, pg_backend_pid() from pg_settings where name = 'statement_timeout'"

static const char setup_query[] = SET_UP SHOW_SET_UP;
static const char answers_setup_query[] =
    SET_UP "set statement_timeout = '5s'; set lock_timeout = '2s';" SHOW_SET_UP;

enum store_result store_say(struct store *store, enum store_result result, enum error_kind kind,
                            struct error *e, const char *format, ...)
{
    char text[ERROR_TEXT_SIZE];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    error_set(e, kind, "PostgreSQL %s: %s", store->location, text);
    return result;
}

// libpq's own messages, on one line.
static const char *one_line(const char *text, char out[TEXT_PART_SIZE])
{
    size_t used = 0;
    for (; text && *text && used + 1 < TEXT_PART_SIZE; text++)
        if (*text != '\n')
            out[used++] = *text;
        else if (text[1] && text[1] != '\n')
            out[used++] = ' ';
    out[used] = '\0';
    return out;
}

static const char read_only[] =
    "nothing can be written there: a standby, or default_transaction_read_only is on. Name all "
    "servers in postgres.dsn (host=a,b), or make this one take writes; settled waits for that";
const char store_pooled[] =
    "a pooler hands each transaction to another session. settled needs a session of its own for "
    "each connection: connect to PostgreSQL itself, or to a pool in session mode";

static bool starts_with_any(const char *state, const char *const *prefixes)
{
    for (; *prefixes; prefixes++)
        if (strncmp(state, *prefixes, strlen(*prefixes)) == 0)
            return true;
    return false;
}

// What neither waiting nor another program mends, by the beginning of SQLSTATE.
static const struct {
    const char *state, *remedy;
} remedies[] = {
    // A statement that was prepared is not there, or one that was not prepared is.
    {"26000", store_pooled},
    {"42P05", store_pooled},
    {"42P01", "run \"settled migrate\""},
    {"3F000", "run \"settled migrate\""},
    {"42703", "run \"settled migrate\""},
    {"42883", "run \"settled migrate\""},
    {"42501",
     "grant the user settled_writer (or settled_owner to migrate, settled_operator to decide about "
     "rejects, settled_auditor to read)"},
    {"P0001",
     "a trigger or a function that settled did not make refuses this: find it, and take it "
     "away"},
    {"XX", "PostgreSQL finds its own data damaged, or has failed within: stop all processes, look "
           "at its log and its disks, and restore a backup if data is lost"},
};

static const char *remedy_of(const char *state)
{
    for (size_t i = 0; i < sizeof remedies / sizeof *remedies; i++)
        if (strncmp(state, remedies[i].state, strlen(remedies[i].state)) == 0)
            return remedies[i].remedy;
    return NULL;
}

enum store_result store_fail(struct store *store, const PGresult *result, struct error *e)
{
    // Connection lost, shut down, out of resources, a disk or file that fails, serialization,
    // deadlock, lock or statement time-out, idle too long.
    static const char *const passing[] = {"08",    "53",    "58",    "57P01", "57P02",
                                          "57P03", "57P05", "57014", "40001", "40P01",
                                          "55P03", "25P03", NULL};
    char primary[TEXT_PART_SIZE], detail[TEXT_PART_SIZE];
    const char *state = result ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;
    if (!state) {
        one_line(result ? PQresultErrorMessage(result) : PQerrorMessage(store->conn), primary);
        return store_say(store, STORE_UNAVAILABLE, ERROR_UNAVAILABLE, e, "%s",
                         primary[0] ? primary : "the connection is lost");
    }
    one_line(PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY), primary);
    one_line(PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL), detail);
    if (strcmp(state, "25006") == 0)
        return store_say(store, STORE_UNAVAILABLE, ERROR_UNAVAILABLE, e, "%s (%s): %s", primary,
                         state, read_only);
    if (starts_with_any(state, passing))
        return store_say(store, STORE_UNAVAILABLE, ERROR_UNAVAILABLE, e, "%s (%s)", primary, state);
    const char *remedy = remedy_of(state);
    if (remedy)
        return store_say(store, STORE_FAILED, ERROR_CONFIG, e, "%s (%s): %s", primary, state,
                         remedy);
    return store_say(store, STORE_FAILED, ERROR_BUG, e, "%s%s%s (%s)", primary,
                     detail[0] ? ": " : "", detail, state);
}

int store_unknown(const struct store *store, const char *what, const char *text, struct error *e)
{
    return error_set(e, ERROR_CONFIG,
                     "PostgreSQL %s: \"%s\" is no %s that this program knows: upgrade settled",
                     store->location, text, what);
}

static enum store_result interrupted(struct store *store, struct error *e)
{
    return store_say(store, STORE_UNAVAILABLE, ERROR_UNAVAILABLE, e,
                     "interrupted, as the process ends");
}

// Waits until the socket can be read (or written, when `writing`). A server that answers nothing in
// time is given up.
static enum store_result wait_for_socket(struct store *store, bool writing, int64_t deadline,
                                         struct error *e)
{
    int left = -1;
    if (deadline >= 0) {
        int64_t rest = deadline - clock_monotonic_ms();
        left = rest > 0 ? (int)rest : 0;
    }
    struct pollfd fds[] = {
        {.fd = PQsocket(store->conn), .events = (short)(POLLIN | (writing ? POLLOUT : 0))},
        {.fd = store->stop_fd, .events = POLLIN}};
    int ready = poll(fds, 2, left);
    if ((ready > 0 && !fds[1].revents) || (ready < 0 && errno == EINTR))
        return STORE_OK;
    if (ready > 0) {
        interrupted(store, e);
    } else {
        store_say(store, STORE_UNAVAILABLE, ERROR_UNAVAILABLE, e, "%s",
                  ready == 0 ? "no answer within the time-out" : strerror(errno));
    }
    store_drop(store);
    return STORE_UNAVAILABLE;
}

static int64_t patience_end(const struct store *store)
{
    return store->patience_ms < 0 ? -1 : clock_monotonic_ms() + store->patience_ms;
}

enum store_result store_flush(struct store *store, struct error *e)
{
    int64_t deadline = patience_end(store);
    int pending;
    while ((pending = PQflush(store->conn)) > 0) {
        enum store_result result = wait_for_socket(store, true, deadline, e);
        if (result != STORE_OK)
            return result;
        if (!PQconsumeInput(store->conn))
            return store_fail(store, NULL, e);
    }
    return pending == 0 ? STORE_OK : store_fail(store, NULL, e);
}

enum store_result store_next(struct store *store, PGresult **out, struct error *e)
{
    int64_t deadline = patience_end(store);
    *out = NULL;
    while (PQisBusy(store->conn)) {
        int pending = PQflush(store->conn);
        if (pending < 0)
            return store_fail(store, NULL, e);
        enum store_result result = wait_for_socket(store, pending > 0, deadline, e);
        if (result != STORE_OK)
            return result;
        if (!PQconsumeInput(store->conn))
            return store_fail(store, NULL, e);
    }
    *out = PQgetResult(store->conn);
    return STORE_OK;
}

bool store_is_good(const PGresult *result)
{
    ExecStatusType status = PQresultStatus(result);
    return status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;
}

enum store_result store_finish(struct store *store, PGresult **out, struct error *e)
{
    enum store_result result = STORE_OK, waited;
    PGresult *answer, *last = NULL;
    while ((waited = store_next(store, &answer, e)) == STORE_OK && answer) {
        if (!store_is_good(answer) && result == STORE_OK)
            result = store_fail(store, answer, e);
        PQclear(last);
        last = answer;
    }
    if (waited != STORE_OK)
        result = waited;
    if (result == STORE_OK && out) {
        *out = last;
        return result;
    }
    PQclear(last);
    return result;
}

enum store_result store_script(struct store *store, const char *sql, struct error *e)
{
    if (!PQsendQuery(store->conn, sql))
        return store_fail(store, NULL, e);
    return store_finish(store, NULL, e);
}

void store_forget_prepared(struct store *store)
{
    for (size_t i = 0; i < store->prepared_count; i++)
        free(store->prepared[i]);
    store->prepared_count = 0;
}

// Warnings of a migration reach the operator as log lines.
static void pass_notice(void *context, const PGresult *result)
{
    const struct store *store = context;
    char primary[TEXT_PART_SIZE];
    one_line(PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY), primary);
    log_event(LOG_WARN, "notice from PostgreSQL",
              LOG_FIELDS(log_text("database", store->location), log_text("notice", primary)));
}

static void locate(struct store *store, const char *host, const char *port, const char *database)
{
    snprintf(store->location, sizeof store->location, "%s:%s/%s", host && *host ? host : "(local)",
             port && *port ? port : "5432", database && *database ? database : "(default)");
}

void store_drop(struct store *store)
{
    if (store->conn)
        PQfinish(store->conn);
    store->conn = NULL;
    store->seen_count = 0;
    store->part_days = 0;
    store->queued.used = 0;
    store_forget_prepared(store);
}

// Every text is sent and received as UTF-8: ids are ordered by their bytes, and another encoding
// could not hold all of them.
static enum store_result check_server(struct store *store, struct error *e)
{
    const char *encoding = PQparameterStatus(store->conn, "server_encoding");
    if (!encoding || strcmp(encoding, "UTF8") != 0)
        return store_say(store, STORE_FAILED, ERROR_CONFIG, e,
                         "the database's encoding is %s: create one with encoding 'UTF8'",
                         encoding ? encoding : "?");
    if (PQserverVersion(store->conn) < 130000)
        return store_say(store, STORE_FAILED, ERROR_CONFIG, e,
                         "version %d is too old: 13 or later is needed",
                         PQserverVersion(store->conn) / 10000);
    return STORE_OK;
}

static enum store_result set_up(struct store *store, struct error *e)
{
    PGresult *answer, *last = NULL;
    enum store_result result = check_server(store, e);
    if (result != STORE_OK)
        return result;
    store->patience_ms = SETUP_PATIENCE_MS;
    bool answers = store->access == STORE_ANSWERS;
    if (!PQsendQuery(store->conn, answers ? answers_setup_query : setup_query))
        return store_fail(store, NULL, e);
    while ((result = store_next(store, &answer, e)) == STORE_OK && answer) {
        PQclear(last);
        last = answer;
        if (!store_is_good(last))
            result = store_fail(store, last, e);
        if (result != STORE_OK)
            break;
    }
    if (result == STORE_OK && last) {
        assert(PQntuples(last) == 1);
        int timeout_ms = (int)strtol(PQgetvalue(last, 0, 0), NULL, 10);
        int margin_ms = answers ? ANSWERS_MARGIN_MS : PATIENCE_MARGIN_MS;
        store->patience_ms = timeout_ms > 0 ? timeout_ms + margin_ms : -1;
        store->backend = (int32_t)strtol(PQgetvalue(last, 0, 1), NULL, 10);
    }
    PQclear(last);
    return result;
}

// What libpq is told.
struct login {
    const char *names[10], *values[10];
};

// The connection string may overrule what stands before dbname, but not what stands after it. A
// store that writes looks through all hosts for a server that takes writes.
static struct login login_of(const struct store *store)
{
    return (struct login){
        .names = {"connect_timeout", "keepalives_idle", "keepalives_interval", "keepalives_count",
                  "tcp_user_timeout", "fallback_application_name", "target_session_attrs", "dbname",
                  "client_encoding"},
        .values = {"5", "10", "5", "3", "20000", "settled",
                   store->access == STORE_WRITES ? "read-write" : "any", store->dsn, "UTF8"}};
}

// libpq tells why a login failed by a text in the server's language alone. A second login shows the
// SQLSTATE in its place. What no repetition mends: the password or the user is refused, or there is
// no such database.
static bool is_refused(const struct store *store)
{
    static const char *const refusals[] = {"28000", "28P01", "3D000"};
    struct login with = login_of(store);
    int64_t until = clock_monotonic_ms() + DIAGNOSIS_MS;
    PGconn *conn = PQconnectStartParams(with.names, with.values, 1);
    if (!conn)
        return false;
    PQsetErrorVerbosity(conn, PQERRORS_SQLSTATE);
    PostgresPollingStatusType wants = PGRES_POLLING_WRITING;
    while (PQstatus(conn) != CONNECTION_BAD && wants != PGRES_POLLING_OK &&
           wants != PGRES_POLLING_FAILED) {
        struct pollfd fd = {.fd = PQsocket(conn),
                            .events = wants == PGRES_POLLING_READING ? POLLIN : POLLOUT};
        int64_t left = until - clock_monotonic_ms();
        if (left <= 0 || poll(&fd, 1, (int)left) == 0)
            break;
        wants = PQconnectPoll(conn);
    }
    bool refused = PQconnectionNeedsPassword(conn) != 0; // it asks for one, and none is given
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++)
        refused = refused || strstr(PQerrorMessage(conn), refusals[i]);
    PQfinish(conn);
    return refused;
}

// PQconnectdbParams keeps connect_timeout for each host of a list, which polling PQconnectPoll does
// not: a dead host would be waited for instead of passed over.
static enum store_result connect_now(struct store *store, struct error *e)
{
    struct login with = login_of(store);
    assert(store->conn == NULL);
    store->conn = PQconnectdbParams(with.names, with.values, 1);
    if (!store->conn)
        return store_say(store, STORE_UNAVAILABLE, ERROR_UNAVAILABLE, e, "memory is short");
    if (PQstatus(store->conn) != CONNECTION_OK) {
        enum store_result result = store_fail(store, NULL, e);
        store_drop(store);
        return result;
    }
    const char *host = PQhost(store->conn);
    locate(store, host && host[0] == '/' ? NULL : host, PQport(store->conn), PQdb(store->conn));
    PQsetNoticeReceiver(store->conn, pass_notice, store);
    PQsetnonblocking(store->conn, 1);
    enum store_result result = set_up(store, e);
    if (result != STORE_OK)
        store_drop(store);
    return result;
}

// Whether the server has gone since the connection was last used: it said so then, and libpq has
// not read it yet. Looked at first, a restart of the server costs nobody an attempt.
static bool is_abandoned(struct store *store)
{
    struct pollfd fd = {.fd = PQsocket(store->conn), .events = POLLIN};
    for (int i = 0; i < IDLE_MESSAGES_MAX && poll(&fd, 1, 0) > 0; i++)
        if (!PQconsumeInput(store->conn) || PQstatus(store->conn) != CONNECTION_OK)
            return true;
    return false;
}

enum store_result store_ready(struct store *store, struct error *e)
{
    assert(!store->conn || PQpipelineStatus(store->conn) == PQ_PIPELINE_OFF);
    PQclear(store->answer);
    store->answer = NULL;
    arena_reset(store->arrays);
    if (store->stopped)
        return interrupted(store, e);
    if (store->conn && PQstatus(store->conn) == CONNECTION_OK &&
        PQtransactionStatus(store->conn) == PQTRANS_IDLE && !is_abandoned(store))
        return STORE_OK;
    store_drop(store);
    return connect_now(store, e);
}

enum store_result store_undo(struct store *store, enum store_result result)
{
    if (!store->conn)
        return result;
    bool usable = PQstatus(store->conn) == CONNECTION_OK &&
                  PQpipelineStatus(store->conn) == PQ_PIPELINE_OFF &&
                  PQtransactionStatus(store->conn) != PQTRANS_ACTIVE;
    if (usable && PQtransactionStatus(store->conn) != PQTRANS_IDLE)
        usable = store_script(store, "rollback", NULL) == STORE_OK;
    // A server that cannot serve now may have become a standby: the next attempt looks for the
    // primary again.
    if (!usable || result == STORE_UNAVAILABLE)
        store_drop(store);
    return result;
}

// A connection string that libpq cannot parse is not repeated: it may hold a password.
static int locate_dsn(struct store *store, struct error *e)
{
    char *trouble = NULL;
    PQconninfoOption *options = PQconninfoParse(store->dsn, &trouble);
    PQfreemem(trouble);
    if (!options)
        return error_set(e, ERROR_CONFIG,
                         "postgres.dsn is no connection string that libpq understands: write "
                         "postgresql://USER@HOST/DATABASE"
                         " and percent-encode what is special in it, or KEY=VALUE pairs");
    const char *host = NULL, *port = NULL, *database = NULL;
    for (const PQconninfoOption *o = options; o->keyword; o++) {
        if (strcmp(o->keyword, "host") == 0)
            host = o->val;
        if (strcmp(o->keyword, "port") == 0)
            port = o->val;
        if (strcmp(o->keyword, "dbname") == 0)
            database = o->val;
    }
    locate(store, host, port, database);
    PQconninfoFree(options);
    return 0;
}

// The first connection of a store. What an operator must mend is told from what passes by itself;
// a store that was open once waits for either.
static int connect_first(struct store *store, struct error *e)
{
    if (connect_now(store, e) == STORE_OK)
        return 0;
    if (e->kind == ERROR_UNAVAILABLE && is_refused(store)) {
        char why[ERROR_TEXT_SIZE];
        snprintf(why, sizeof why, "%s", e->text);
        error_set(e, ERROR_CONFIG,
                  "%s: mend user, password or database in postgres.dsn, or what the server "
                  "lets in (pg_hba.conf)",
                  why);
    }
    return -1;
}

static struct store *create_part(const char *dsn, enum store_access access)
{
    struct store *part = calloc(1, sizeof *part);
    if (part)
        part->stop_fd = -1;
    if (part && (part->dsn = strdup(dsn)) && (part->arrays = arena_create())) {
        part->access = access;
        return part;
    }
    if (part)
        free(part->dsn);
    free(part);
    return NULL;
}

static int open_part(struct store *part, struct error *e)
{
    part->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (part->stop_fd < 0)
        return error_set(e, ERROR_RESTART, "no file descriptor is left: %s", strerror(errno));
    bool waits = part->access == STORE_ANSWERS;
    return locate_dsn(part, e) < 0 || (!waits && connect_first(part, e) < 0) ? -1 : 0;
}

static void close_part(struct store *store)
{
    PQclear(store->answer);
    store_drop(store);
    bytes_release(&store->copying);
    bytes_release(&store->queued);
    if (store->stop_fd >= 0)
        close(store->stop_fd);
    free(store->seen);
    arena_destroy(store->arrays);
    free(store->dsn);
    free(store);
}

static void close_parts(struct store **parts, size_t count)
{
    for (size_t i = 0; parts && i < count; i++)
        if (parts[i])
            close_part(parts[i]);
    free(parts);
}

static int create_parts(struct store **parts, char *const *dsns, size_t count,
                        enum store_access access)
{
    for (size_t i = 0; i < count; i++) {
        parts[i] = create_part(dsns[i], access);
        if (!parts[i])
            return -1;
        parts[i]->parts = parts;
        parts[i]->part_count = (int)count;
    }
    return 0;
}

int store_open_all(char *const *dsns, size_t count, enum store_access access, struct store **out,
                   struct error *e)
{
    struct store **parts = calloc(count, sizeof(struct store *));
    int failed = 0;
    assert(count > 0);
    *out = NULL;
    if (!parts || create_parts(parts, dsns, count, access))
        failed = error_set(e, ERROR_UNAVAILABLE, "PostgreSQL: memory is short");
    for (size_t i = 0; i < count && !failed; i++)
        failed = open_part(parts[i], e);
    if (failed)
        close_parts(parts, count);
    else
        *out = parts[0];
    return failed;
}

int store_open(const char *dsn, enum store_access access, struct store **out, struct error *e)
{
    char *copy = strdup(dsn);
    if (!copy)
        return error_set(e, ERROR_UNAVAILABLE, "PostgreSQL: memory is short");
    int failed = store_open_all(&copy, 1, access, out, e);
    free(copy);
    return failed;
}

int store_parts(const struct store *store)
{
    return store->part_count;
}

struct store *store_part(const struct store *store, int number)
{
    assert(number >= 0 && number < store->part_count);
    return store->parts[number];
}

struct store *store_of(const struct store *store, int32_t shard)
{
    assert(shard >= 0);
    return store->parts[shard % store->part_count];
}

bool store_is_home(const struct store *store)
{
    return store->parts[0] == store;
}

void store_close(struct store *store)
{
    if (!store)
        return;
    assert(store_is_home(store));
    close_parts(store->parts, (size_t)store->part_count);
}

void store_interrupt(struct store *store)
{
    for (int i = 0; i < store->part_count; i++) {
        store->parts[i]->stopped = true;
        eventfd_write(store->parts[i]->stop_fd, 1);
    }
}

// ---- a session of its own ----

enum { SESSION_LOOKS = 3 };

static enum store_result ask_backend(struct store *store, int32_t *out, struct error *e)
{
    PGresult *answer = NULL;
    enum store_result result = store_ready(store, e);
    if (result != STORE_OK)
        return result;
    if (!PQsendQuery(store->conn, "select pg_backend_pid()"))
        return store_fail(store, NULL, e);
    result = store_finish(store, &answer, e);
    if (result == STORE_OK) {
        assert(PQntuples(answer) == 1);
        *out = (int32_t)strtol(PQgetvalue(answer, 0, 0), NULL, 10);
    }
    PQclear(answer);
    return result;
}

// Two connections that are open at the same time have two server processes, unless a pool gives
// each transaction the next one that is free.
static enum store_result compare_backends(struct store *store, struct store *other, struct error *e)
{
    enum store_result result = STORE_OK;
    for (int i = 0; i < SESSION_LOOKS && result == STORE_OK; i++) {
        int32_t first = 0, second = 0;
        result = ask_backend(store, &first, e);
        if (result == STORE_OK)
            result = ask_backend(other, &second, e);
        if (result == STORE_OK && (first == second || first != store->backend))
            result = store_say(store, STORE_FAILED, ERROR_CONFIG, e, "%s", store_pooled);
    }
    return result;
}

static int check_session(struct store *part, struct error *e)
{
    struct store *other = NULL;
    if (store_open(part->dsn, part->access, &other, e))
        return -1;
    enum store_result result = compare_backends(part, other, e);
    store_close(other);
    return store_undo(part, result) == STORE_OK ? 0 : -1;
}

int store_check_session(struct store *store, struct error *e)
{
    int failed = 0;
    for (int i = 0; i < store_parts(store) && !failed; i++)
        failed = check_session(store_part(store, i), e);
    return failed;
}
