// What is recorded once for a deployment, and the parameters and price books that come later.
//
// A parameter row starts on a day that no shard has opened or holds a record of. Two locks on the
// deployment's row keep that true while others run: whoever records takes it FOR UPDATE and then
// looks at the shards; a commit that brings a shard to a new day takes it FOR SHARE and then looks
// for rows its fold does not know (store_commit.c). Either the recorder sees the day opened, or the
// commit sees the row.
//
// With several databases each part has a copy of the row to be locked, and only home decides:
//
//   recorder   home FOR UPDATE ─► each part FOR UPDATE ─► looks at the shards ─► commits at home
//   commit     its part FOR SHARE ─► home FOR SHARE, and lets go ─► looks at home ─► commits
//
// Each holds until its own commit the lock that it took first. A commit that was let in at home
// before the recorder is waited for in its part, and its day is seen; one that comes later has to
// wait at home, and sees the row. What a recorder that dies between home and its copies leaves out
// is copied by the next one (store_copies.c).
#include "consumer/postgres/store_deployment.h"
#include "consumer/postgres/store_copies.h"
#include "consumer/postgres/store_sql.h"

#include <assert.h>
#include <inttypes.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- load ----

static const char fixed_query[] =
    "select first_day, timestamps, partitioner, partitions, time_zone, id_key,"
    " consumer_group, cluster_id, calls_topic, purchases_topic, credits_topic, framing, database,"
    " databases from settled.deployment";

// Rows of other shards would be looked for in each database.
static int check_place(const struct store *store, const PGresult *row, struct error *e)
{
    int32_t number = get_int4(row, 0, 12), count = get_int4(row, 0, 13);
    if (number == 0 && count == store->part_count)
        return 0;
    return error_set(e, ERROR_CONFIG,
                     "PostgreSQL %s: postgres.dsn names it as database 1 of %d, and it is recorded "
                     "as database %" PRId32 " of %" PRId32
                     ": their number and order never change; name them as they are recorded",
                     store->location, store->part_count, number + 1, count);
}

static int read_fixed(const struct store *store, const PGresult *row, struct deployment *out,
                      struct error *e)
{
    if (check_place(store, row, e))
        return -1;
    struct fixed_parameters *fixed = &out->policy.fixed;
    fixed->first_day = get_day(row, 0, 0);
    if (!timestamps_parse(get_string(row, 0, 1), &fixed->timestamps))
        return store_unknown(store, "kind of timestamps", get_string(row, 0, 1), e);
    if (!partitioner_parse(get_string(row, 0, 2), &fixed->partitioner))
        return store_unknown(store, "partitioner", get_string(row, 0, 2), e);
    if (!framing_parse(get_string(row, 0, 11), &fixed->framing))
        return store_unknown(store, "framing", get_string(row, 0, 11), e);
    fixed->partitions = get_int4(row, 0, 3);
    get_copy(row, 0, 4, fixed->time_zone, sizeof fixed->time_zone);
    assert(PQgetlength(row, 0, 5) == sizeof out->id_key);
    memcpy(out->id_key, PQgetvalue(row, 0, 5), sizeof out->id_key);
    get_copy(row, 0, 6, out->group, sizeof out->group);
    get_copy(row, 0, 7, out->cluster_id, sizeof out->cluster_id);
    for (int i = 0; i < INPUT_COUNT; i++)
        get_copy(row, 0, 8 + i, out->topics[i], sizeof out->topics[i]);
    return 0;
}

// Columns 8 to 10 of a row of load_parameters.
static enum store_result load_limits(struct store *store, const PGresult *rows, int i,
                                     struct notice_limits *out, struct error *e)
{
    if (thresholds_parse(get_string(rows, i, 8), &out->package_left) &&
        thresholds_parse(get_string(rows, i, 9), &out->expiring_days) &&
        thresholds_parse(get_string(rows, i, 10), &out->balance_below))
        return STORE_OK;
    return store_say(store, STORE_FAILED, ERROR_CONFIG, e,
                     "settled.parameters has a list of numbers for notices that this program did "
                     "not write: it was changed by hand");
}

static enum store_result load_parameters(struct store *store, struct policy *policy,
                                         struct error *e)
{
    PGresult *rows;
    enum store_result result =
        sql_run(store,
                "select from_day, grace_ms, late_days, future_tolerance_ms,"
                " max_reject_share_ppm, book_sha256, credit_days, max_refused_share_ppm,"
                " array_to_string(package_left, ','), array_to_string(expiring_days, ','),"
                " array_to_string(balance_below, ',') from settled.parameters order by from_day",
                SQL_NO_PARAMS, &rows, e);
    if (result != STORE_OK)
        return result;
    int count = PQntuples(rows);
    if (count > PARAMETER_ROWS_MAX)
        result = store_say(store, STORE_FAILED, ERROR_CONFIG, e,
                           "more than %d rows in settled.parameters", PARAMETER_ROWS_MAX);
    else if (count > 0 && get_day(rows, 0, 0) != DAY_NONE)
        result = store_say(store, STORE_FAILED, ERROR_CONFIG, e,
                           "settled.parameters does not begin with a row from -infinity on: it was "
                           "changed by hand");
    for (int i = 0; i < count && result == STORE_OK; i++) {
        struct parameters *p = &policy->rows[i];
        p->from_day = get_day(rows, i, 0);
        p->grace_ms = get_int8(rows, i, 1);
        p->late_days = get_int4(rows, i, 2);
        p->future_tolerance_ms = get_int8(rows, i, 3);
        p->max_reject_share_ppm = get_int4(rows, i, 4);
        get_copy(rows, i, 5, p->book_sha256, sizeof p->book_sha256);
        p->credit_days = get_int4(rows, i, 6);
        p->max_refused_share_ppm = get_int4(rows, i, 7);
        result = load_limits(store, rows, i, &p->notices, e);
        policy->count = (size_t)i + 1;
    }
    PQclear(rows);
    return result;
}

// Digest and day name a version in every close and every statement: those of another text would
// change prices without a trace.
static int match_book(const PGresult *rows, int row, const struct book *book, struct error *e)
{
    const char *sha256 = get_string(rows, row, 2);
    if (strcmp(sha256, book->sha256) != 0)
        return error_set(e, ERROR_CONFIG,
                         "the row %s has a text whose SHA-256 is %s: it was changed by hand; put "
                         "the text back that was recorded",
                         sha256, book->sha256);
    if (get_day(rows, row, 3) == book->effective_from)
        return 0;
    return error_set(e, ERROR_CONFIG,
                     "the row %s has another effective_from than its text: it was changed by hand; "
                     "put back the one of the text",
                     sha256);
}

static enum store_result load_books(struct store *store, struct shelf *shelf, struct error *e)
{
    PGresult *rows;
    enum store_result result =
        sql_run(store,
                "select name, file, sha256, effective_from from settled.price_books"
                " order by effective_from",
                SQL_NO_PARAMS, &rows, e);
    struct book *book = result == STORE_OK ? malloc(sizeof *book) : NULL;
    if (!book) {
        if (result != STORE_OK)
            return result;
        PQclear(rows);
        return store_say(store, STORE_UNAVAILABLE, ERROR_UNAVAILABLE, e, "memory is short");
    }
    for (int i = 0; i < PQntuples(rows) && result == STORE_OK; i++) {
        struct slice file = get_slice(rows, i, 1);
        if (book_parse(get_string(rows, i, 0), file.data, file.size, book, e) < 0 ||
            match_book(rows, i, book, e) || shelf_add(shelf, book, e) < 0) {
            error_context(e, "PostgreSQL %s: the price book recorded there", store->location);
            result = STORE_FAILED;
        }
    }
    free(book);
    PQclear(rows);
    return result;
}

static enum store_result load_all(struct store *store, struct deployment *out, bool *recorded,
                                  struct error *e)
{
    PGresult *row;
    memset(out, 0, sizeof *out);
    enum store_result result = sql_run(store, fixed_query, SQL_NO_PARAMS, &row, e);
    if (result != STORE_OK)
        return result;
    *recorded = PQntuples(row) == 1;
    if (*recorded && read_fixed(store, row, out, e))
        result = STORE_FAILED;
    PQclear(row);
    if (result != STORE_OK || !*recorded)
        return result;
    result = load_parameters(store, &out->policy, e);
    if (result == STORE_OK)
        result = load_books(store, &out->policy.shelf, e);
    if (result != STORE_OK)
        shelf_clear(&out->policy.shelf);
    return result;
}

// One snapshot, so that parameters and books fit together.
enum store_result store_load_deployment(struct store *store, struct deployment *out, bool *recorded,
                                        struct error *e)
{
    store = store_part(store, 0);
    *recorded = false;
    memset(out, 0, sizeof *out);
    enum store_result result = store_ready(store, e);
    if (result != STORE_OK)
        return result;
    result = store_script(store, "begin isolation level repeatable read read only", e);
    if (result == STORE_OK)
        result = load_all(store, out, recorded, e);
    if (result == STORE_OK)
        result = store_script(store, "commit", e);
    result = store_undo(store, result);
    return result == STORE_OK && *recorded ? store_check_copies(store, e) : result;
}

enum store_result store_topics(struct store *store, struct error *e)
{
    PGresult *row;
    if (store->topics_known)
        return STORE_OK;
    enum store_result result =
        sql_run(store,
                "select calls_topic, purchases_topic, credits_topic, partitioner, partitions"
                " from settled.deployment",
                SQL_NO_PARAMS, &row, e);
    if (result != STORE_OK)
        return result;
    if (PQntuples(row) == 1 && !partitioner_parse(get_string(row, 0, 3), &store->partitioner)) {
        store_unknown(store, "partitioner", get_string(row, 0, 3), e);
        result = STORE_FAILED;
    } else if (PQntuples(row) == 1) {
        for (int i = 0; i < INPUT_COUNT; i++)
            get_copy(row, 0, i, store->topics[i], sizeof store->topics[i]);
        store->partitions = get_int4(row, 0, 4);
        store->topics_known = true;
    } else {
        result = store_say(
            store, STORE_FAILED, ERROR_CONFIG, e,
            "no deployment is recorded yet: \"settled run\" records it at its first start");
    }
    PQclear(row);
    return result;
}

enum store_result store_of_account(struct store *store, struct slice account_id, struct store **out,
                                   struct error *e)
{
    struct store *home = store_part(store, 0);
    enum store_result result = store_ready(home, e);
    if (result == STORE_OK)
        result = store_topics(home, e);
    if (result == STORE_OK)
        *out = store_of(store, partition_of(home->partitioner, account_id.data, account_id.size,
                                            home->partitions));
    return store_undo(home, result);
}

enum input store_input_of(const struct store *store, const char *topic)
{
    enum input i = 0;
    while (i < INPUT_COUNT && strcmp(store->topics[i], topic) != 0)
        i++;
    return i;
}

static enum store_result busiest_day(struct store *store, int days, int64_t *calls, struct error *e)
{
    PGresult *row;
    enum store_result result = store_ready(store, e);
    if (result == STORE_OK)
        result =
            sql_run(store,
                    "select coalesce(max(calls), 0)::bigint from (select sum(accepted) as calls"
                    " from settled.day_cutoffs join settled.deployment on topic = calls_topic"
                    " group by business_day order by business_day desc limit $1) as days",
                    SQL_PARAMS(sql_int4(days)), &row, e);
    if (result != STORE_OK)
        return result;
    *calls += get_int8(row, 0, 0);
    PQclear(row);
    return STORE_OK;
}

enum store_result store_busiest_day(struct store *store, int days, int64_t *calls, struct error *e)
{
    enum store_result result = STORE_OK;
    *calls = 0;
    for (int i = 0; i < store_parts(store) && result == STORE_OK; i++)
        result = busiest_day(store_part(store, i), days, calls, e);
    return result;
}

enum store_result store_largest_close(struct store *store, int days, int64_t *settlements,
                                      int64_t *max_wal_size, struct error *e)
{
    PGresult *row;
    enum store_result result = store_ready(store, e);
    if (result == STORE_OK)
        result = sql_run(store,
                         "select coalesce(max(made), 0)::bigint,"
                         " pg_size_bytes(current_setting('max_wal_size'))"
                         " from (select sum(settlements) as made from settled.day_closes"
                         " group by business_day order by business_day desc limit $1) as days",
                         SQL_PARAMS(sql_int4(days)), &row, e);
    if (result != STORE_OK)
        return result;
    *settlements = get_int8(row, 0, 0);
    *max_wal_size = get_int8(row, 0, 1);
    PQclear(row);
    return STORE_OK;
}

// ---- record ----

static enum store_result insert_fixed(struct store *store, const struct deployment *wanted,
                                      struct error *e)
{
    uint8_t id_key[sizeof wanted->id_key];
    if (RAND_bytes(id_key, sizeof id_key) != 1)
        return store_say(store, STORE_FAILED, ERROR_BUG, e, "libcrypto gave no random bytes");
    const struct fixed_parameters *fixed = &wanted->policy.fixed;
    return sql_run(
        store,
        "insert into settled.deployment (first_day, timestamps, partitioner, "
        "partitions, time_zone, id_key,"
        " consumer_group, cluster_id, calls_topic, purchases_topic, credits_topic, framing,"
        " database, databases)"
        " values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 0, $13)"
        " on conflict do nothing",
        SQL_PARAMS(sql_day(fixed->first_day), sql_text(timestamps_symbol(fixed->timestamps)),
                   sql_text(partitioner_symbol(fixed->partitioner)), sql_int4(fixed->partitions),
                   sql_text(fixed->time_zone), sql_bytea(id_key, sizeof id_key),
                   sql_text(wanted->group), sql_text(wanted->cluster_id),
                   sql_text(wanted->topics[INPUT_CALLS]), sql_text(wanted->topics[INPUT_PURCHASES]),
                   sql_text(wanted->topics[INPUT_CREDITS]),
                   sql_text(framing_symbol(fixed->framing)), sql_int4(store_parts(store))),
        NULL, e);
}

static enum store_result differs(struct store *store, const char *what, const char *recorded,
                                 const char *wanted, const char *remedy, struct error *e)
{
    if (strcmp(recorded, wanted) == 0)
        return STORE_OK;
    return store_say(store, STORE_FAILED, ERROR_CONFIG, e,
                     "%s is recorded as \"%s\", but \"%s\" is wanted: %s", what, recorded, wanted,
                     remedy);
}

// What never changes, each difference with both values.
static enum store_result compare_fixed(struct store *store, const struct deployment *recorded,
                                       const struct deployment *wanted, struct error *e)
{
    static const char *const topic_keys[] = {"topics.calls", "topics.purchases", "topics.credits"};
    static const char never[] = "it never changes; put the recorded value into the configuration";
    static const char other[] =
        "a database serves one deployment; use the recorded one, or a database of its own";
    const struct fixed_parameters *a = &recorded->policy.fixed, *b = &wanted->policy.fixed;
    char first[2][DAY_TEXT_SIZE], partitions[2][16];
    snprintf(partitions[0], sizeof partitions[0], "%" PRId32, a->partitions);
    snprintf(partitions[1], sizeof partitions[1], "%" PRId32, b->partitions);
    const struct {
        const char *what, *recorded, *wanted, *remedy;
    } facts[] = {
        {"billing.first_day", calendar_format_day(a->first_day, first[0]),
         calendar_format_day(b->first_day, first[1]), never},
        {"billing.timestamps", timestamps_symbol(a->timestamps), timestamps_symbol(b->timestamps),
         never},
        {"topics.partitioner", partitioner_symbol(a->partitioner),
         partitioner_symbol(b->partitioner), never},
        {"schemas.framing", framing_symbol(a->framing), framing_symbol(b->framing), never},
        {"the partition count", partitions[0], partitions[1],
         "it never changes; see the runbook: A topic has other partitions"},
        {"the price book's time zone", a->time_zone, b->time_zone, never},
        {"kafka.group", recorded->group, wanted->group, other},
        {topic_keys[0], recorded->topics[0], wanted->topics[0], never},
        {topic_keys[1], recorded->topics[1], wanted->topics[1], never},
        {topic_keys[2], recorded->topics[2], wanted->topics[2], never},
    };
    enum store_result result = STORE_OK;
    for (size_t i = 0; i < sizeof facts / sizeof *facts && result == STORE_OK; i++)
        result =
            differs(store, facts[i].what, facts[i].recorded, facts[i].wanted, facts[i].remedy, e);
    if (result == STORE_OK && recorded->cluster_id[0] && wanted->cluster_id[0])
        result = differs(store, "the Kafka cluster's id", recorded->cluster_id, wanted->cluster_id,
                         other, e);
    return result;
}

static enum store_result record_cluster(struct store *store, const struct deployment *recorded,
                                        const struct deployment *wanted, struct error *e)
{
    if (recorded->cluster_id[0] || !wanted->cluster_id[0])
        return STORE_OK;
    return sql_run(store, "update settled.deployment set cluster_id = $1",
                   SQL_PARAMS(sql_text(wanted->cluster_id)), NULL, e);
}

// The latest day that any shard has opened or holds a record of; DAY_NONE when none has begun.
static enum store_result latest_day(struct store *store, day_t *day, struct error *e)
{
    PGresult *row;
    enum store_result result =
        sql_run(store,
                "select coalesce(max(greatest(open_day, horizon)), '-infinity')"
                " from settled.shards where open_day is not null",
                SQL_NO_PARAMS, &row, e);
    if (result != STORE_OK)
        return result;
    day_t found = get_day(row, 0, 0);
    *day = found > *day ? found : *day;
    PQclear(row);
    return STORE_OK;
}

// Of all parts, within the transaction of each.
static enum store_result latest_of_all(struct store *store, day_t *day, struct error *e)
{
    enum store_result result = STORE_OK;
    *day = DAY_NONE;
    for (int i = 0; i < store_parts(store) && result == STORE_OK; i++)
        result = latest_day(store_part(store, i), day, e);
    return result;
}

enum store_result store_latest_day(struct store *store, day_t *day, struct error *e)
{
    enum store_result result = STORE_OK;
    *day = DAY_NONE;
    for (int i = 0; i < store_parts(store) && result == STORE_OK; i++) {
        result = store_ready(store_part(store, i), e);
        if (result == STORE_OK)
            result = latest_day(store_part(store, i), day, e);
    }
    return result;
}

// A price book as it was parsed, and its file.
struct book_source {
    const struct book *book;
    const char *text;
    size_t size;
};

static enum store_result record_book(struct store *store, struct policy *policy, day_t latest,
                                     const struct book_source *source, struct error *e)
{
    const struct book *book = source->book;
    if (policy->shelf.count > 0 && book->effective_from != DAY_NONE &&
        book->effective_from <= latest) {
        char from[DAY_TEXT_SIZE], day[DAY_TEXT_SIZE];
        return store_say(store, STORE_FAILED, ERROR_CONFIG, e,
                         "the new price book %s is effective_from %s, but days up to %s are open "
                         "or have records:"
                         " let it start after that",
                         book->sha256, calendar_format_day(book->effective_from, from),
                         calendar_format_day(latest, day));
    }
    if (shelf_add(&policy->shelf, book, e) < 0)
        return STORE_FAILED;
    return sql_run(store,
                   "insert into settled.price_books (sha256, name, effective_from, file) values "
                   "($1, $2, $3, $4)",
                   SQL_PARAMS(sql_text(book->sha256), sql_text(book->name),
                              sql_day(book->effective_from), sql_bytea(source->text, source->size)),
                   NULL, e);
}

static bool same_parameters(const struct parameters *a, const struct parameters *b)
{
    return a->grace_ms == b->grace_ms && a->late_days == b->late_days &&
           a->future_tolerance_ms == b->future_tolerance_ms && a->credit_days == b->credit_days &&
           a->max_reject_share_ppm == b->max_reject_share_ppm &&
           a->max_refused_share_ppm == b->max_refused_share_ppm &&
           thresholds_same(&a->notices.package_left, &b->notices.package_left) &&
           thresholds_same(&a->notices.expiring_days, &b->notices.expiring_days) &&
           thresholds_same(&a->notices.balance_below, &b->notices.balance_below);
}

static day_t start_of_row(const struct policy *recorded, day_t latest)
{
    if (recorded->count == 0)
        return DAY_NONE;
    day_t last = recorded->rows[recorded->count - 1].from_day, start = recorded->fixed.first_day;
    if (latest != DAY_NONE && latest + 1 > start)
        start = latest + 1;
    // rows only ever follow the last
    return last != DAY_NONE && last + 1 > start ? last + 1 : start;
}

static enum store_result record_parameters(struct store *store, const struct policy *recorded,
                                           const struct parameters *wanted, const char *sha256,
                                           day_t latest, struct error *e)
{
    if (recorded->count == PARAMETER_ROWS_MAX)
        return store_say(store, STORE_FAILED, ERROR_CONFIG, e,
                         "the parameters were changed %d times: no more fit", PARAMETER_ROWS_MAX);
    day_t start = start_of_row(recorded, latest);
    char left[THRESHOLDS_TEXT_SIZE], days[THRESHOLDS_TEXT_SIZE], below[THRESHOLDS_TEXT_SIZE];
    if (recorded->count > 0) {
        assert(start > latest); // no day that is open changes its parameters
        assert(start > recorded->rows[recorded->count - 1].from_day);
    }
    return sql_run(
        store,
        "insert into settled.parameters (from_day, grace_ms, late_days, future_tolerance_ms,"
        " max_reject_share_ppm, book_sha256, credit_days, max_refused_share_ppm,"
        " package_left, expiring_days, balance_below)"
        " values ($1, $2, $3, $4, $5, $6, $7, $8, string_to_array($9, ',')::bigint[],"
        " string_to_array($10, ',')::bigint[], string_to_array($11, ',')::bigint[])",
        SQL_PARAMS(sql_day(start), sql_int8(wanted->grace_ms), sql_int4(wanted->late_days),
                   sql_int8(wanted->future_tolerance_ms), sql_int4(wanted->max_reject_share_ppm),
                   sql_text(sha256), sql_int4(wanted->credit_days),
                   sql_int4(wanted->max_refused_share_ppm),
                   sql_text(thresholds_format(&wanted->notices.package_left, ",", left)),
                   sql_text(thresholds_format(&wanted->notices.expiring_days, ",", days)),
                   sql_text(thresholds_format(&wanted->notices.balance_below, ",", below))),
        NULL, e);
}

static bool on_shelf(const struct shelf *shelf, const char *sha256)
{
    for (size_t i = 0; i < shelf->count; i++)
        if (strcmp(shelf->books[i]->sha256, sha256) == 0)
            return true;
    return false;
}

// Within the transaction, the deployment's row locked: the book when it is new, a row when anything
// changes. A configured book that is recorded already changes nothing, also when a later one is in
// force.
static enum store_result record_changes(struct store *store, struct deployment *recorded,
                                        const struct deployment *wanted,
                                        const struct book_source *source,
                                        struct recorded_change *change, struct error *e)
{
    const struct book *book = source->book;
    struct policy *policy = &recorded->policy;
    day_t latest = DAY_NONE;
    change->book = !on_shelf(&policy->shelf, book->sha256);
    change->row = change->book || policy->count == 0 ||
                  !same_parameters(&policy->rows[policy->count - 1], &wanted->policy.rows[0]);
    if (!change->row)
        return STORE_OK;
    enum store_result result = latest_of_all(store, &latest, e);
    if (result == STORE_OK && change->book)
        result = record_book(store, policy, latest, source, e);
    if (result == STORE_OK)
        result = record_parameters(store, policy, &wanted->policy.rows[0], book->sha256, latest, e);
    return result;
}

// What the transactions of a recording work on.
struct recorder {
    const struct deployment *wanted;
    const struct book_source *source;
    enum record_mode mode;
    struct deployment *present; // what is recorded
    struct recorded_change *change;
};

// Within the transaction: what is recorded, its row locked. Only the first start records a
// deployment.
static enum store_result lock_recorded(struct store *store, const struct recorder *r,
                                       struct error *e)
{
    bool recorded;
    enum store_result result = STORE_OK;
    if (r->mode == RECORD_FIRST)
        result = insert_fixed(store, r->wanted, e);
    if (result == STORE_OK)
        result = store_script(store, "select 1 from settled.deployment for update", e);
    if (result == STORE_OK)
        result = load_all(store, r->present, &recorded, e);
    if (result == STORE_OK && (!recorded || (r->mode != RECORD_FIRST && !r->present->policy.count)))
        result = store_say(store, STORE_FAILED, ERROR_CONFIG, e,
                           "nothing is recorded yet: the first \"settled run\" records what the "
                           "configuration says");
    return result;
}

// The other parts' copies of the deployment's row, as the first is locked: a shard there cannot
// reach a new day until this transaction ends.
static enum store_result lock_parts(const struct store *home, struct error *e)
{
    enum store_result result = STORE_OK;
    for (int i = 1; i < store_parts(home) && result == STORE_OK; i++) {
        struct store *part = store_part(home, i);
        result = store_ready(part, e);
        if (result == STORE_OK)
            result = store_script(part, "begin; select 1 from settled.deployment for update", e);
    }
    return result;
}

static void unlock_parts(const struct store *home, enum store_result result)
{
    for (int i = 1; i < store_parts(home); i++)
        store_undo(store_part(home, i), result);
}

static enum store_result record(struct store *store, const struct recorder *r, struct error *e)
{
    enum store_result result = store_script(store, "begin", e);
    if (result == STORE_OK)
        result = lock_recorded(store, r, e);
    if (result == STORE_OK)
        result = lock_parts(store, e);
    if (result == STORE_OK)
        result = compare_fixed(store, r->present, r->wanted, e);
    if (result == STORE_OK)
        result = record_cluster(store, r->present, r->wanted, e);
    if (result == STORE_OK && (r->mode != RECORD_FIRST || r->present->policy.count == 0))
        result = record_changes(store, r->present, r->wanted, r->source, r->change, e);
    return result;
}

// The end of the transaction: what is recorded now, or would be.
static enum store_result record_end(struct store *store, enum record_mode mode,
                                    struct deployment *out, struct error *e)
{
    bool recorded;
    enum store_result result = load_all(store, out, &recorded, e);
    if (result == STORE_OK)
        result = store_script(store, mode == RECORD_TRIAL ? "rollback" : "commit", e);
    if (result == STORE_OK) {
        assert(recorded);
        assert(out->policy.count > 0);
    }
    return result;
}

enum store_result store_record_deployment(struct store *store, struct deployment *wanted,
                                          const struct recording *recording,
                                          struct recorded_change *change, struct error *e)
{
    *change = (struct recorded_change){0};
    store = store_part(store, 0);
    enum store_result result = store_ready(store, e);
    if (result != STORE_OK)
        return result;
    struct book *book = malloc(sizeof *book);
    struct deployment *present = calloc(1, sizeof *present);
    struct book_source source = {book, recording->book_text, recording->book_size};
    struct recorder recorder = {wanted, &source, recording->mode, present, change};
    result = STORE_FAILED;
    if (!book || !present)
        result = store_say(store, STORE_UNAVAILABLE, ERROR_UNAVAILABLE, e, "memory is short");
    else if (book_parse("the price book", source.text, source.size, book, e) == 0)
        result = record(store, &recorder, e);
    if (result == STORE_OK) {
        shelf_clear(&wanted->policy.shelf);
        result = record_end(store, recording->mode, wanted, e);
    }
    if (present)
        shelf_clear(&present->policy.shelf);
    free(present);
    free(book);
    unlock_parts(store, result);
    result = store_undo(store, result);
    if (result == STORE_OK && recording->mode != RECORD_TRIAL)
        result = store_copy_recorded(store, e);
    return result;
}

// ---- writer schemas ----

enum store_result store_load_schema(struct store *store, int64_t id, char **text, struct error *e)
{
    PGresult *row;
    *text = NULL;
    store = store_part(store, 0);
    enum store_result result = store_ready(store, e);
    if (result != STORE_OK)
        return result;
    result = sql_run(store, "select schema from settled.writer_schemas where id = $1",
                     SQL_PARAMS(sql_int8(id)), &row, e);
    if (result != STORE_OK)
        return store_undo(store, result);
    if (PQntuples(row) == 1 && !(*text = strdup(get_string(row, 0, 0))))
        abort();
    PQclear(row);
    return STORE_OK;
}

enum store_result store_save_schema(struct store *store, int64_t id, const char *text,
                                    struct error *e)
{
    store = store_part(store, 0);
    enum store_result result = store_ready(store, e);
    if (result != STORE_OK)
        return result;
    PGresult *rows = NULL;
    struct sql_params params = SQL_PARAMS(sql_int8(id), sql_text(text));
    result = sql_run(
        store,
        "insert into settled.writer_schemas (id, schema) values ($1, $2) on conflict do nothing",
        params, NULL, e);
    if (result == STORE_OK)
        result =
            sql_run(store, "select 1 from settled.writer_schemas where id = $1 and schema = $2",
                    params, &rows, e);
    if (result == STORE_OK && PQntuples(rows) == 0)
        result = store_say(store, STORE_FAILED, ERROR_CONFIG, e,
                           "schema id %" PRId64
                           " is recorded with another text: an id never changes its schema; is"
                           " schemas.registry another registry than before?",
                           id);
    PQclear(rows);
    return store_undo(store, result);
}
