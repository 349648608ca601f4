// What would be settled of one account if its days ended now: by the code of the close, on a copy
// of the account, so nothing of it shows in the fold.
//
//   preview_create ─► preview_take, again and again until all is copied ─► preview_settle
//                     (the fold may go on between the calls)               (without the fold)
#pragma once

#include "consumer/core/fold.h"

struct preview;

// Of calls on no settlement yet. A call is counted once, whatever covers it.
struct preview_use {
    int64_t calls, units;
    fen_t amount;
};

struct preview_day {
    day_t day; // the business day that would be settled
    struct preview_use services[SERVICE_COUNT];
    int64_t calls;
    fen_t amount, balance_after;
    enum account_state state_after;
};

struct preview_package {
    struct package package; // as of the last settlement
    int64_t remaining_now; // after the days that are not settled
};

struct preview_result {
    bool known; // false: the fold knows no such account; the rest of the account is not set
    // Nothing else is recorded of the account, of its status and its packages, than what is told
    // here. False: there may be more.
    bool whole;
    bool settling; // a day is settled, and the step with it is not committed yet
    struct account
        account; // money, state, sequence, as settled and credited; no spans, no packages
    // ms; of its last change; 0: there was none, or, where `whole` is not set, none that matters
    int64_t status_since;
    int64_t next[INPUT_COUNT]; // how far the logs were read
    day_t day; // the oldest day that is not settled
    // Rising, from that day to the last one with calls; at least one.
    size_t day_count;
    const struct preview_day *days;
    // That may still be drawn, in the order of drawing; and behind them those that never could be,
    // as long as the step with their purchase is not committed.
    size_t package_count;
    const struct preview_package *packages;
};

// NULL when memory is short. The policy of the fold must outlive it.
struct preview *preview_create(struct slice account_id);
void preview_destroy(struct preview *preview);
// Copies up to about `most` calls. True: all is copied, as of now. `number` tells one fold of the
// shard from the next: what was copied of another one is dropped.
bool preview_take(struct preview *preview, struct fold *fold, uint64_t number, size_t most);
// ERROR_CONFIG: an amount would pass 64 bits, as it would at the close.
int preview_settle(struct preview *preview, struct error *e);
const struct preview_result *preview_result(const struct preview *preview);
