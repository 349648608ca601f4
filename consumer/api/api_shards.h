// Where all shards stand, as it was recorded a moment ago: kept by the process for those who ask,
// so that most questions need nothing of PostgreSQL. What is kept is of one snapshot of each
// database. Any thread.
#pragma once

#include "consumer/postgres/store.h"

#include <libpq-fe.h>
#include <pthread.h>

// A column of a query: the last usage day on which nothing more can be billed, the day before the
// oldest one that any shard may still bill (policy_floor of the oldest open day). Null before there
// is one. Of several databases the least of all rules, since a floor never falls.
#define API_FINAL_THROUGH                                                                          \
    "(select case when max(f.floor) > min(f.first_day) then max(f.floor) - 1 end from"             \
    " (select least(o.open_day, p.until) - p.late_days as floor, d.first_day"                      \
    "   from settled.deployment d,"                                                                \
    "   (select min(open_day) as open_day, count(open_day) as begun from settled.shards) o,"       \
    "   (select from_day, late_days, lead(from_day) over (order by from_day) - 1 as until"         \
    "     from settled.parameters) p"                                                              \
    "   where o.begun = settled.shards_here() and p.from_day <= o.open_day) f) as final_through"

enum {
    API_SHARDS_FRESH_MS = 250, // so old it is used without more ado
    // So old it is used while another thread reads it anew; nobody is ever told anything older.
    API_SHARDS_OLD_MS = 1000,
};

struct api_shards {
    pthread_mutex_t lock; // of all that follows
    bool being_read;
    int64_t read_at; // monotonic ms, from before it was asked for
    int parts; // 0: none yet
    PGresult *rows[STORE_PARTS_MAX]; // by database; NULL: it did not answer
};

// One of them.
struct api_shard {
    day_t open_day; // DAY_NONE: the shard has not begun
    int64_t epoch;
    char price_book[65]; // SHA-256 of the book that is in force on the open day
    char address[256]; // where its owner answers HTTP; "": nowhere
    // of all shards; DAY_NONE: there is none yet, or a database does not answer
    day_t final_through;
};

void api_shards_init(struct api_shards *shards);
void api_shards_release(struct api_shards *shards);
// `store`: of the calling thread, for what has to be read. `again`: it is read now, however fresh
// what is kept may be. -1 with *e: PostgreSQL does not answer, or there is no such shard.
int api_shards_find(struct api_shards *shards, struct store *store, int32_t shard, bool again,
                    struct api_shard *out, struct error *e);
