// A fold with the real price book, fed by hand. Shard 0 of 1, so that every key belongs to it.
#pragma once

#include "consumer/core/fold.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MINUTE INT64_C(60000)
#define HOUR INT64_C(3600000)

struct bench {
    struct policy policy;
    struct fold *fold;
    int64_t now;
    day_t first_day;
    int64_t offsets[INPUT_COUNT];
};

static inline char *read_file(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    fseek(file, 0, SEEK_END);
    *size = (size_t)ftell(file);
    rewind(file);
    char *bytes = malloc(*size + 1);
    assert_int_equal(fread(bytes, 1, *size, file), *size);
    bytes[*size] = '\0';
    fclose(file);
    return bytes;
}

static inline void bench_policy(struct bench *b)
{
    struct error e = {0};
    struct book book;
    size_t size;
    char *text = read_file(SOURCE_DIR "/pricing/pricebooks/apcas.yaml", &size);
    assert_int_equal(book_parse("apcas.yaml", text, size, &book, &e), 0);
    free(text);
    assert_int_equal(shelf_add(&b->policy.shelf, &book, &e), 0);
    assert_true(calendar_parse_day("2026-11-01", &b->first_day));
    b->policy.fixed = (struct fixed_parameters){.first_day = b->first_day,
                                                .partitioner = PARTITIONER_MURMUR2,
                                                .partitions = 1,
                                                .time_zone = "Asia/Shanghai"};
    b->policy.count = 1;
    b->policy.rows[0] = (struct parameters){.from_day = DAY_NONE,
                                            .grace_ms = 5 * MINUTE,
                                            .late_days = 7,
                                            .future_tolerance_ms = 5 * MINUTE,
                                            .credit_days = 400,
                                            .max_reject_share_ppm = 10000,
                                            .max_refused_share_ppm = 200000};
    memcpy(b->policy.rows[0].book_sha256, book.sha256, sizeof book.sha256);
}

static inline struct fold *bench_fold(struct bench *b)
{
    struct fold *fold = fold_create(
        &(struct fold_options){.id_key = {1, 2, 3}, .max_resident_calls = 1000000}, &b->policy);
    assert_non_null(fold);
    return fold;
}

static inline struct bench *bench_create(void)
{
    struct bench *b = calloc(1, sizeof *b);
    assert_non_null(b);
    bench_policy(b);
    b->fold = bench_fold(b);
    b->now = calendar_day_start(b->first_day, 8 * 3600000);
    fold_begin(b->fold, (int64_t[INPUT_COUNT]){0, 0, 0});
    fold_step_done(b->fold);
    return b;
}

static inline void bench_destroy(struct bench *b)
{
    fold_destroy(b->fold);
    shelf_clear(&b->policy.shelf);
    free(b);
}

// Instant of a time on the n-th business day (0: the first).
static inline int64_t at(const struct bench *b, int n, int64_t ms)
{
    return calendar_day_start(b->first_day + n, 8 * 3600000) + ms;
}

static inline struct slice text(const char *s)
{
    return (struct slice){s, s ? strlen(s) : 0};
}

static inline struct value string(const char *s)
{
    return (struct value){s, s ? (int64_t)strlen(s) : 0};
}

static inline struct value number(int64_t n)
{
    return (struct value){NULL, n};
}

static inline struct event event(struct bench *b, enum input input, const char *account,
                                 int64_t timestamp)
{
    return (struct event){.offset = b->offsets[input]++,
                          .timestamp = timestamp,
                          .stamped = true,
                          .key = text(account),
                          .value = text(account)};
}

// leads < 0: an AUDIENCE_INSIGHT call.
static inline struct event call(struct bench *b, const char *account, const char *id, int64_t leads,
                                int64_t occurred)
{
    struct event ev = event(b, INPUT_CALLS, account, occurred);
    ev.record.field[CALL_CALL_ID] = string(id);
    ev.record.field[CALL_ACCOUNT_ID] = string(account);
    ev.record.field[CALL_SERVICE] =
        number(leads < 0 ? SERVICE_AUDIENCE_INSIGHT : SERVICE_PURCHASE_INTENT);
    ev.record.field[CALL_LEAD_COUNT] = number(leads < 0 ? 0 : leads);
    ev.record.field[CALL_OCCURRED_AT] = number(occurred);
    ev.record.nulls = 1u << CALL_REQUEST_ID | (leads < 0 ? 1u << CALL_LEAD_COUNT : 0);
    return ev;
}

static inline struct event purchase(struct bench *b, const char *account, const char *id,
                                    enum service service, int64_t units, fen_t amount, int64_t when)
{
    struct event ev = event(b, INPUT_PURCHASES, account, when);
    ev.record.field[PURCHASE_PURCHASE_ID] = string(id);
    ev.record.field[PURCHASE_ACCOUNT_ID] = string(account);
    ev.record.field[PURCHASE_SERVICE] = number(service);
    ev.record.field[PURCHASE_UNITS] = number(units);
    ev.record.field[PURCHASE_USED] = number(0);
    ev.record.field[PURCHASE_AMOUNT] = number(amount);
    ev.record.field[PURCHASE_CURRENCY] = string("CNY");
    ev.record.field[PURCHASE_PURCHASED_AT] = number(when);
    return ev;
}

static inline struct event credit(struct bench *b, const char *account, const char *id,
                                  enum credit_kind kind, fen_t amount, int64_t when)
{
    struct event ev = event(b, INPUT_CREDITS, account, when);
    ev.record.field[CREDIT_CREDIT_ID] = string(id);
    ev.record.field[CREDIT_ACCOUNT_ID] = string(account);
    ev.record.field[CREDIT_KIND] = number(kind);
    ev.record.field[CREDIT_AMOUNT] = number(amount);
    ev.record.field[CREDIT_CURRENCY] = string("CNY");
    ev.record.field[CREDIT_CREDITED_AT] = number(when);
    ev.record.nulls = 1u << CREDIT_REASON | 1u << CREDIT_REFERENCE;
    return ev;
}

// Feeds one record; the clock follows its timestamp.
static inline enum fold_stop feed(struct bench *b, enum input input, struct event ev)
{
    struct error e = {0};
    size_t consumed;
    if (ev.timestamp > b->now)
        b->now = ev.timestamp;
    enum fold_stop stop =
        fold_records(b->fold, input, (struct event_batch){&ev, 1}, b->now, &consumed, &e);
    assert_int_equal(consumed, stop == FOLD_MORE || stop == FOLD_CUT ? (stop == FOLD_MORE) : 0);
    return stop;
}

static inline void accept(struct bench *b, enum input input, struct event ev)
{
    int64_t before = fold_state(b->fold)->log[input].accepted;
    assert_int_equal(feed(b, input, ev), FOLD_MORE);
    assert_int_equal(fold_state(b->fold)->log[input].accepted, before + 1);
}

// The record is rejected for this reason, and the step says so.
static inline void reject(struct bench *b, enum input input, struct event ev,
                          enum reject_reason reason)
{
    int64_t before = fold_state(b->fold)->log[input].rejected;
    size_t count = fold_step(b->fold)->reject_count;
    assert_int_equal(feed(b, input, ev), FOLD_MORE);
    assert_int_equal(fold_state(b->fold)->log[input].rejected, before + 1);
    assert_int_equal(fold_step(b->fold)->reject_count, count + 1);
    const struct step_reject *last = &fold_step(b->fold)->rejects[count];
    assert_string_equal(reject_symbol(last->reason), reject_symbol(reason));
    assert_int_equal(last->offset, ev.offset);
    assert_true(strlen(last->detail) > 0);
}

// Of an operator "op"; the digest is not looked at.
static inline struct decision decision_about(enum decision_kind kind, enum input input,
                                             const int64_t *offsets, size_t count)
{
    return (struct decision){
        .kind = kind,
        .input = input,
        .count = count,
        .offsets = offsets,
        .operator_name = "op",
        .content = count == 1 ? "call-records 1 -" : "call-records 2 -",
    };
}

// About one record of the calls.
static inline int decide_one(struct fold *fold, enum decision_kind kind, int64_t offset,
                             enum reject_reason reason, struct error *e)
{
    const struct decision decision = decision_about(kind, INPUT_CALLS, &offset, 1);
    return fold_decide(fold, &decision, &reason, e);
}

static inline void duplicate(struct bench *b, enum input input, struct event ev)
{
    int64_t before = fold_state(b->fold)->log[input].duplicates;
    assert_int_equal(feed(b, input, ev), FOLD_MORE);
    assert_int_equal(fold_state(b->fold)->log[input].duplicates, before + 1);
}

// The clock reaches the open day's end + grace, every log its end, and the day is settled.
static inline const struct step *settle(struct bench *b)
{
    struct error e = {0};
    if (b->now < fold_due_at(b->fold))
        b->now = fold_due_at(b->fold);
    for (enum input i = 0; i < INPUT_COUNT; i++) {
        if (fold_wants_end(b->fold, i, b->now))
            fold_clock_end(b->fold, i, b->offsets[i], b->now);
        fold_reached(b->fold, i, b->offsets[i]);
    }
    assert_true(fold_close_due(b->fold));
    assert_int_equal(fold_close(b->fold, &e), 0);
    assert_true(fold_step(b->fold)->closed);
    return fold_step(b->fold);
}

static inline const struct settlement *settlement_of(const struct bench *b, const char *account)
{
    const struct step *step = fold_step(b->fold);
    for (size_t i = 0; i < step->settlement_count; i++) {
        struct slice id = fold_account(b->fold, step->settlements[i].account)->id;
        if (id.size == strlen(account) && memcmp(id.data, account, id.size) == 0)
            return &step->settlements[i];
    }
    return NULL;
}
