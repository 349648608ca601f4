#include "consumer/api/api_shards.h"

#include "consumer/postgres/store_sql.h"
#include "consumer/system/clock.h"

#include <assert.h>
#include <inttypes.h>

static const char shards_query[] =
    "select s.shard, s.open_day, s.epoch, s.address,"
    " (select b.sha256 from settled.price_books b"
    "   where b.effective_from <= coalesce(s.open_day, d.first_day)"
    "   order by b.effective_from desc limit 1) as price_book, " API_FINAL_THROUGH
    " from settled.deployment d, settled.shards s order by s.shard";

enum { SHARD, OPEN_DAY, EPOCH, ADDRESS, PRICE_BOOK, FINAL_THROUGH }; // its columns

void api_shards_init(struct api_shards *shards)
{
    *shards = (struct api_shards){.being_read = false};
    pthread_mutex_init(&shards->lock, NULL);
}

static void drop_rows(PGresult *const *rows, int parts)
{
    for (int i = 0; i < parts; i++)
        PQclear(rows[i]);
}

void api_shards_release(struct api_shards *shards)
{
    drop_rows(shards->rows, shards->parts);
    pthread_mutex_destroy(&shards->lock);
}

static int read_part(struct store *store, PGresult **rows, struct error *e)
{
    *rows = NULL;
    enum store_result result = store_ready(store, e);
    if (result == STORE_OK)
        result = pipe_begin(store, e);
    if (result != STORE_OK)
        return store_undo(store, result) == STORE_OK ? 0 : -1;
    result = pipe_send(store, shards_query, SQL_NO_PARAMS, e);
    enum store_result ended = pipe_end(store, rows, 1, result == STORE_OK ? e : NULL);
    return store_undo(store, result == STORE_OK ? ended : result) == STORE_OK ? 0 : -1;
}

// Of the database of the shard; what the others do not answer is not known.
static int read_rows(const struct store *store, int32_t shard, PGresult **rows, struct error *e)
{
    int failed = 0;
    for (int i = 0; i < store_parts(store) && !failed; i++) {
        struct store *part = store_part(store, i);
        failed = read_part(part, &rows[i], e);
        failed = part == store_of(store, shard) ? failed : 0;
    }
    return failed;
}

static day_t day_or_none(const PGresult *rows, int row, int column)
{
    return get_null(rows, row, column) ? DAY_NONE : get_day(rows, row, column);
}

static day_t final_of(PGresult *const *rows, int parts)
{
    day_t least = INT32_MAX;
    for (int i = 0; i < parts; i++) {
        bool none = !rows[i] || PQntuples(rows[i]) == 0;
        day_t final = none ? DAY_NONE : day_or_none(rows[i], 0, FINAL_THROUGH);
        least = final < least ? final : least;
    }
    return least;
}

// False: the shard is not among them.
static bool find_row(PGresult *const *all, int parts, int32_t shard, struct api_shard *out)
{
    const PGresult *rows = parts > 0 ? all[shard % parts] : NULL;
    int row = 0, count = rows ? PQntuples(rows) : 0;
    while (row < count && get_int4(rows, row, SHARD) != shard)
        row++;
    if (row == count)
        return false;
    *out = (struct api_shard){.open_day = day_or_none(rows, row, OPEN_DAY),
                              .epoch = get_int8(rows, row, EPOCH),
                              .final_through = final_of(all, parts)};
    get_copy(rows, row, ADDRESS, out->address, sizeof out->address);
    if (!get_null(rows, row, PRICE_BOOK))
        get_copy(rows, row, PRICE_BOOK, out->price_book, sizeof out->price_book);
    return true;
}

// With the lock. Takes the rows over; what is older than what is kept tells nothing.
static void keep_rows(struct api_shards *shards, PGresult *const *rows, int parts, int64_t asked_at)
{
    if (shards->parts > 0 && asked_at < shards->read_at) {
        drop_rows(rows, parts);
        return;
    }
    drop_rows(shards->rows, shards->parts);
    for (int i = 0; i < parts; i++)
        shards->rows[i] = rows[i];
    shards->parts = parts;
    shards->read_at = asked_at;
}

static int read_shard(struct api_shards *shards, struct store *store, int32_t shard,
                      struct api_shard *out, struct error *e)
{
    PGresult *rows[STORE_PARTS_MAX] = {NULL};
    int parts = store_parts(store);
    int64_t asked_at = clock_monotonic_ms();
    int failed = read_rows(store, shard, rows, e);
    if (!failed && !find_row(rows, parts, shard, out))
        failed = error_set(e, ERROR_UNAVAILABLE, "shard %" PRId32 " is not recorded yet", shard);
    pthread_mutex_lock(&shards->lock);
    shards->being_read = false;
    if (failed)
        drop_rows(rows, parts);
    else
        keep_rows(shards, rows, parts, asked_at);
    pthread_mutex_unlock(&shards->lock);
    return failed;
}

int api_shards_find(struct api_shards *shards, struct store *store, int32_t shard, bool again,
                    struct api_shard *out, struct error *e)
{
    pthread_mutex_lock(&shards->lock);
    int64_t age = clock_monotonic_ms() - shards->read_at;
    int64_t most = shards->being_read ? API_SHARDS_OLD_MS : API_SHARDS_FRESH_MS;
    bool found = !again && age < most && find_row(shards->rows, shards->parts, shard, out);
    if (!found)
        shards->being_read = true;
    pthread_mutex_unlock(&shards->lock);
    return found ? 0 : read_shard(shards, store, shard, out, e);
}
