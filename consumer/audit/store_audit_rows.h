// Compares rows with rows: what the daemon would have written from a step, in the same encoding in
// which it writes, with what is in the tables. Tables with a direction (a day, an offset, a
// sequence) are compared window after window through ordered cursors; accounts, packages and logs
// once, at the end.
#pragma once

#include "consumer/audit/store_audit.h"
#include "consumer/findings/audit_groups.h"
#include "consumer/output/outbox.h"

enum audit_table {
    AUDIT_CALL_REJECTS, // one for each input, in their order
    AUDIT_PURCHASE_REJECTS,
    AUDIT_CREDIT_REJECTS,
    AUDIT_CREDITS,
    AUDIT_SETTLEMENTS,
    AUDIT_LINES,
    AUDIT_STATUSES,
    AUDIT_NOTICES,
    AUDIT_CUTOFFS,
    AUDIT_CLOSES,
    AUDIT_STATEMENTS,
    AUDIT_MONTH_LINES,
    AUDIT_WINDOWED,
};

typedef void difference_visit(void *context, const struct difference *difference);

// Reports, by table and shard, how many rows belong to shards that have not begun or do not exist,
// how many rejects are of topics that are not inputs, and how many rejects name a decision that is
// not about them. Uses a snapshot of its own.
// Of what has a business day, only those from `first` to `last` are looked at.
struct strays_range {
    int32_t shards;
    day_t first, last; // DAY_NONE: no bound
};
enum store_result store_audit_strays(struct store *store, const struct strays_range *range,
                                     difference_visit *visit, void *context, struct error *e);

struct audit_rows;

struct audit_range {
    int32_t shard;
    struct slice account_id; // data NULL: all accounts; else only rows of this one
    // what the cursors give: days, offsets, sequences; `to` exclusive
    int64_t from[AUDIT_WINDOWED], to[AUDIT_WINDOWED];
    // The business days that are compared: only their partitions are read. DAY_NONE: no bound.
    day_t first_day, last_day;
    int32_t zone_ms; // in which instants are printed
};

// Within the snapshot of `store`. NULL with *e.
struct audit_rows *audit_rows_open(struct store *store, const struct audit_range *range,
                                   struct error *e);
void audit_rows_close(struct audit_rows *rows);

// Loads the recorded rows below `to`, beyond the last window.
enum store_result audit_rows_load(struct audit_rows *rows, const int64_t to[AUDIT_WINDOWED],
                                  struct error *e);
// The recorded verdict of a record in the window, by rising offsets: REJECT_NONE when it is not
// among the rejects. *detail is valid until the window is compared.
enum reject_reason audit_rows_verdict(struct audit_rows *rows, enum input input, int64_t offset,
                                      const char **detail);
// Takes the rows of a step. `first`: the number of its first emission among the expected messages.
void audit_rows_expect(struct audit_rows *rows, const struct fold *fold, const struct chain *before,
                       const struct outbox *outbox, size_t first);
// Compares the window and empties it. `number` is called with the recorded sequence of each
// expected message that has a row.
typedef void audit_number(void *context, size_t message, int64_t sequence);
void audit_rows_compare(struct audit_rows *rows, day_t day, difference_visit *visit,
                        audit_number *number, void *context);
size_t audit_rows_compared(const struct audit_rows *rows); // rows so far

// Compares accounts, packages and (with `then` NULL) logs of the fold with what is recorded now, or
// with what was recorded at `then`.
enum store_result audit_rows_state(struct audit_rows *rows, const struct fold *fold,
                                   const struct audit_point *then, difference_visit *visit,
                                   void *context, struct error *e);

// The outbox rows with from < sequence <= to that are still kept, rising; as in store_load_outbox.
// `visit` returns 0.
typedef int audit_outbox_visit(void *context, const struct outbox_row *row, struct error *e);
enum store_result audit_rows_outbox(struct audit_rows *rows, int64_t from, int64_t to,
                                    audit_outbox_visit *visit, void *context, struct error *e);
