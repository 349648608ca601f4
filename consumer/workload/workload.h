// A stream of input records made from a seed, with the expected verdict of each: the same options
// give the same bytes. It does no I/O and reads no clock; `settled generate` sends it, tests feed
// it to a fold.
#pragma once

#include "consumer/core/step.h"
#include "consumer/workload/input_encode.h"
#include "pricing/rate.h"

enum { WORKLOAD_ACCOUNTS_MAX = 10000000, WORKLOAD_DAYS_MAX = 3660 };
#define WORKLOAD_RECORDS_MAX INT64_C(1000000000) // of each topic, a day

struct workload_options {
    uint64_t seed;
    int32_t accounts, days;
    int64_t calls, purchases, credits; // records a day; the shares below are of the calls
    int32_t duplicates_ppm, late_ppm, broken_ppm;
    // first simulated day; DAY_NONE: every record is made at the clock it is asked with
    day_t from_day;
    day_t first_day; // no call of an earlier day is valid
    int32_t late_days;
    int64_t future_tolerance_ms;
    const struct book *book; // what is for sale, and the tiers that calls are drawn from; borrowed
    enum partitioner partitioner;
    int32_t partitions;
    struct input_framing framing[INPUT_COUNT];
};

// What was made so far, by the expected verdict.
struct workload_tally {
    int64_t records[INPUT_COUNT];
    int64_t calls[SERVICE_COUNT], units[SERVICE_COUNT]; // unique and valid, late ones included
    int64_t late, duplicates;
    int64_t rejected[REJECT_REASONS]; // calls, by the reason to expect
    int64_t purchases[SERVICE_COUNT], purchased_units[SERVICE_COUNT];
    fen_t purchased_amount[SERVICE_COUNT];
    int64_t credits[2]; // by enum credit_kind
    fen_t credited_amount[2];
};

struct workload_message {
    enum input input;
    int32_t partition;
    int64_t timestamp; // ms; never falls
    struct slice key, value; // value.data NULL: no value. Valid until the next call
};

struct workload;

// 0, or -1 with ERROR_USAGE for options that make no valid workload. Does not check partitions and
// schema ids.
int workload_check(const struct workload_options *options, struct error *e);
// The same errors.
int workload_create(const struct workload_options *options, struct workload **out, struct error *e);
void workload_destroy(struct workload *workload);
int64_t workload_total(const struct workload *workload); // records
// The next record; false at the end. `now_ms` counts only without a from_day.
bool workload_next(struct workload *workload, int64_t now_ms, struct workload_message *out);
const struct workload_tally *workload_tally(const struct workload *workload);
