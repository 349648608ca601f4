// One request while it is answered: what is asked, the thread's connection to PostgreSQL, and the
// answer. Not for users of the API.
#pragma once

#include "consumer/api/api.h"
#include "consumer/api/api_problem.h"
#include "consumer/http/http.h"
#include "consumer/http/http_tokens.h"
#include "consumer/postgres/store.h"

#include <jansson.h>

struct api_shards;

// Of the deployment, and never changed once recorded.
struct api_fixed {
    char currency[4];
    int32_t offset_ms; // of its days and times, east of UTC
    enum partitioner partitioner;
    int32_t partitions;
    char topics[INPUT_COUNT][250];
};

// Of what is recorded. ERROR_BUG: a time zone that is not known.
int api_fix(const struct deployment *deployment, struct api_fixed *out, struct error *e);

struct api_call {
    const struct http_request *request;
    struct http_answer *out;
    struct store *store; // of this thread
    const struct api_fixed *fixed;
    const struct api_now *now;
    struct api_shards *shards; // as they were recorded a moment ago
    struct http_client *client; // of this thread
    struct http_scope scope; // what the token may see
    const char *account; // at {id}; NULL: the path is of no account
    int32_t shard; // of the account
    bool known; // its shard knows it, whatever is recorded
    const char *item; // at the second placeholder; NULL: it has none
    bool csv; // wanted rather than JSON
    // Of no account: the rows of all databases are put together in the order of so many columns. 0:
    // home answers.
    int order;
    enum api_problem problem; // with which the call fails; API_BY_KIND: as the error's kind says
    json_t *as_of, *final_through; // of the snapshot that was read; owned
};

// 0, or -1 with *e; then the dispatcher writes a problem.
typedef int api_answerer(struct api_call *call, struct error *e);

// Fails the call with this problem: always -1.
int api_refuse(struct api_call *call, enum api_problem problem, struct error *e, const char *format,
               ...) __attribute__((format(printf, 4, 5)));
// What the store answered, as a result of the call.
int api_stored(enum store_result result);
// The answer is this JSON, which is taken over. NULL: memory was short.
int api_put_json(struct api_call *call, json_t *body, struct error *e);
// The same of something that never changes: with an entity tag of its bytes.
int api_put_settled_json(struct api_call *call, json_t *body, struct error *e);
// Adds as_of and final_through to an answer.
void api_add_frame(struct api_call *call, json_t *body);

// ---- parameters: -1 with *e, which names the parameter ----

// A day of the calendar; `otherwise` where it is not given.
int api_day(const struct api_call *call, const char *name, day_t otherwise, day_t *out,
            struct error *e);
// from and to, inclusive; as wide as can be where one is not given.
struct api_days {
    day_t from, to;
};
int api_days(const struct api_call *call, struct api_days *out, struct error *e);
struct api_range {
    int64_t min, max, otherwise; // the last where the parameter is not given
};
int api_number(const struct api_call *call, const char *name, struct api_range range, int64_t *out,
               struct error *e);
enum { API_LIMIT = 100, API_LIMIT_MAX = 1000 };
int api_limit(const struct api_call *call, int64_t *out, struct error *e);
// The parameter `after` of a list whose positions are "DAY/NUMBER"; DAY_NONE and -1 where it is not
// given.
int api_after_day(const struct api_call *call, day_t *day, int64_t *number, struct error *e);
// Splits a position "A/B" at its last slash. False: B is no number, or A has no room.
bool api_split_position(const char *text, char *first, size_t size, int64_t *second);
// Why a position of a list is none: always -1.
int api_refuse_after(const char *text, struct error *e);
// The same of "NUMBER/NUMBER"; -1 and -1.
int api_after_numbers(const struct api_call *call, int64_t *first, int64_t *second,
                      struct error *e);
