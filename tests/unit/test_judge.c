// Judging a record: the order of the checks, both sides of every bound, and what is kept of a
// record.
#include "fold_fixture.h"

#include <inttypes.h>

static int setup(void **state)
{
    *state = bench_create();
    return 0;
}

static int teardown(void **state)
{
    bench_destroy(*state);
    return 0;
}

static const struct step_reject *last_reject(const struct bench *b)
{
    return &fold_step(b->fold)->rejects[fold_step(b->fold)->reject_count - 1];
}

static struct event top_up(struct bench *b, const char *id, fen_t amount)
{
    return credit(b, "a", id, CREDIT_TOP_UP, amount, b->now);
}

static struct event package_of_50(struct bench *b, const char *id)
{
    return purchase(b, "a", id, SERVICE_AUDIENCE_INSIGHT, 50, 10000000, b->now);
}

static struct event with(struct event ev, int field, int64_t value)
{
    ev.record.field[field].number = value;
    return ev;
}

static struct event with_text(struct event ev, int field, const char *value)
{
    ev.record.field[field] = string(value);
    return ev;
}

static struct event with_null(struct event ev, int field)
{
    ev.record.field[field] = (struct value){0};
    ev.record.nulls |= 1u << field;
    return ev;
}

static struct event with_key(struct event ev, const char *key)
{
    ev.key = text(key);
    return ev;
}

// ---- the partition ----

// R71: by a count that nobody has looked at since the record was read, nothing is misrouted.
static void a_record_is_misrouted_only_by_a_count_that_was_looked_at(void **state)
{
    struct bench *b = *state;
    struct error e = {0};
    size_t consumed;
    b->policy.fixed.partitions = 2;
    struct fold *fold = fold_create(
        &(struct fold_options){.max_resident_calls = 1000, .asks_counts = true}, &b->policy);
    fold_begin(fold, (int64_t[INPUT_COUNT]){0, 0, 0});
    char name[2] = "a";
    while (partition_of(PARTITIONER_MURMUR2, name, 1, 2) == 0)
        name[0]++;
    struct event elsewhere = call(b, name, "c", -1, b->now);
    struct event_batch batch = {&elsewhere, 1};
    elsewhere.offset = 0;
    elsewhere.timestamp = b->now;
    elsewhere.stamped = true;
    assert_int_equal(fold_records(fold, INPUT_CALLS, batch, b->now, &consumed, &e), FOLD_COUNT);
    assert_int_equal(consumed, 0);
    assert_int_equal(fold_step(fold)->reject_count, 0);
    fold_set_counted(fold, INPUT_CALLS, true);
    assert_int_equal(fold_records(fold, INPUT_CALLS, batch, b->now, &consumed, &e), FOLD_MORE);
    assert_int_equal(fold_step(fold)->rejects[0].reason, REJECT_MISROUTED);
    fold_destroy(fold);
    b->policy.fixed.partitions = 1;
}

// ---- order: of two faults the first is reported ----

// R40
static void of_two_faults_of_a_call_the_first_is_told(void **state)
{
    struct bench *b = *state;
    int64_t future = b->now + 5 * MINUTE + 1;
    accept(b, INPUT_CALLS, call(b, "a", "known", 5, b->now));
    struct event ev = with_key(call(b, "a", "", 5, b->now), "b");
    ev.fault = REJECT_UNKNOWN_SCHEMA;
    ev.fault_detail = "schema 7";
    reject(b, INPUT_CALLS, ev, REJECT_UNKNOWN_SCHEMA);
    reject(b, INPUT_CALLS, with_key(call(b, "a", "", 5, b->now), "b"), REJECT_MISROUTED);
    ev = with(call(b, "a", "c", UNITS_OF_RECORD_MAX + 1, b->now), CALL_OCCURRED_AT, future);
    reject(b, INPUT_CALLS, ev, REJECT_INVALID);
    ev = with(call(b, "a", "known", 6, b->now), CALL_OCCURRED_AT, future);
    reject(b, INPUT_CALLS, ev, REJECT_FROM_FUTURE);
    ev = with(call(b, "a", "known", 6, b->now), CALL_OCCURRED_AT, at(b, 0, -1));
    reject(b, INPUT_CALLS, ev, REJECT_TOO_LATE);
    reject(b, INPUT_CALLS, call(b, "a", "known", 6, b->now), REJECT_CONFLICT);
}

// R30, R40
static void of_two_faults_of_a_purchase_the_first_is_told(void **state)
{
    struct bench *b = *state;
    int64_t future = b->now + 5 * MINUTE + 1;
    accept(b, INPUT_PURCHASES, package_of_50(b, "known"));
    struct event negative = with(package_of_50(b, "known"), PURCHASE_AMOUNT, -1);
    b->offsets[INPUT_PURCHASES]--;
#define AGAIN(ev) ((ev).offset = b->offsets[INPUT_PURCHASES]++, (ev))
    struct event ev = with_text(negative, PURCHASE_CURRENCY, "USD");
    reject(b, INPUT_PURCHASES, AGAIN(ev), REJECT_INVALID);
    ev = with(ev, PURCHASE_PURCHASED_AT, future);
    reject(b, INPUT_PURCHASES, AGAIN(ev), REJECT_INVALID);
    ev = with(negative, PURCHASE_PURCHASED_AT, future);
    reject(b, INPUT_PURCHASES, AGAIN(ev), REJECT_FROM_FUTURE);
    ev = with(negative, PURCHASE_UNITS, 51);
    reject(b, INPUT_PURCHASES, AGAIN(ev), REJECT_REFUND);
    ev = with(with(negative, PURCHASE_AMOUNT, 10000000), PURCHASE_UNITS, 51);
    reject(b, INPUT_PURCHASES, AGAIN(ev), REJECT_NOT_FOR_SALE);
    ev = with(with(negative, PURCHASE_AMOUNT, 10000000), PURCHASE_USED, 1);
    reject(b, INPUT_PURCHASES, AGAIN(ev), REJECT_CONFLICT);
    ev = with(with(negative, PURCHASE_AMOUNT, 10000000), PURCHASE_PURCHASED_AT, b->now + 1);
    reject(b, INPUT_PURCHASES, AGAIN(ev), REJECT_CONFLICT);
    ev = with(negative, PURCHASE_AMOUNT, 10000000);
    duplicate(b, INPUT_PURCHASES, AGAIN(ev));
    ev = with(with(negative, PURCHASE_AMOUNT, 15000000), PURCHASE_UNITS, 100);
    reject(b, INPUT_PURCHASES, AGAIN(ev), REJECT_CONFLICT);
#undef AGAIN
}

// R30, R40
static void of_two_faults_of_a_credit_the_first_is_told(void **state)
{
    struct bench *b = *state;
    int64_t future = b->now + 5 * MINUTE + 1;
    accept(b, INPUT_CREDITS, top_up(b, "known", 5));
    reject(b, INPUT_CREDITS, with_text(top_up(b, "k", -1), CREDIT_CURRENCY, "USD"), REJECT_INVALID);
    struct event ev = with_text(top_up(b, "k", 5), CREDIT_CURRENCY, "USD");
    reject(b, INPUT_CREDITS, with(ev, CREDIT_CREDITED_AT, future), REJECT_INVALID);
    reject(b, INPUT_CREDITS, with(top_up(b, "k", -1), CREDIT_CREDITED_AT, future),
           REJECT_FROM_FUTURE);
    reject(b, INPUT_CREDITS, top_up(b, "known", -1), REJECT_REFUND);
    reject(b, INPUT_CREDITS, top_up(b, "known", 6), REJECT_CONFLICT);
    reject(b, INPUT_CREDITS, with(top_up(b, "known", 5), CREDIT_KIND, CREDIT_ADJUSTMENT),
           REJECT_CONFLICT);
    reject(b, INPUT_CREDITS, with(top_up(b, "known", 5), CREDIT_CREDITED_AT, b->now - 1),
           REJECT_CONFLICT);
    ev = top_up(b, "known", 5);
    ev.record.nulls = 0;
    ev.record.field[CREDIT_REASON] = string("another reason"); // not billed
    ev.record.field[CREDIT_REFERENCE] = string("another reference");
    duplicate(b, INPUT_CREDITS, ev);
}

// R31
static void a_rejected_id_is_not_seen(void **state)
{
    struct bench *b = *state;
    reject(b, INPUT_CALLS, call(b, "a", "c", 1000000001, b->now), REJECT_INVALID);
    accept(b, INPUT_CALLS, call(b, "a", "c", 1, b->now));
    reject(b, INPUT_CREDITS, top_up(b, "k", 0), REJECT_REFUND);
    accept(b, INPUT_CREDITS, top_up(b, "k", 1));
    reject(b, INPUT_PURCHASES, with(package_of_50(b, "p"), PURCHASE_UNITS, 51),
           REJECT_NOT_FOR_SALE);
    accept(b, INPUT_PURCHASES, package_of_50(b, "p"));
    assert_int_equal(fold_account_count(b->fold), 1);
}

// R32
static void an_id_is_its_own_in_each_account_and_topic(void **state)
{
    struct bench *b = *state;
    accept(b, INPUT_CALLS, call(b, "a", "x", 1, b->now));
    accept(b, INPUT_CREDITS, top_up(b, "x", 1));
    accept(b, INPUT_PURCHASES, package_of_50(b, "x"));
    accept(b, INPUT_CALLS, call(b, "b", "x", 2, b->now));
    accept(b, INPUT_CREDITS, credit(b, "b", "x", CREDIT_TOP_UP, 2, b->now));
    accept(b, INPUT_PURCHASES,
           purchase(b, "b", "x", SERVICE_AUDIENCE_INSIGHT, 100, 15000000, b->now));
    accept(b, INPUT_CALLS, call(b, "x", "x", 3, b->now));
}

// ---- INVALID ----

// R42
static void no_required_field_may_be_null(void **state)
{
    struct bench *b = *state;
    for (int field = 0; field < CALL_FIELDS; field++) {
        if (field == CALL_ACCOUNT_ID || field == CALL_REQUEST_ID)
            continue;
        reject(b, INPUT_CALLS, with_null(call(b, "a", "c", 5, b->now), field), REJECT_INVALID);
        assert_non_null(strstr(last_reject(b)->detail, "is null"));
        assert_int_equal(last_reject(b)->has_occurred_at, field != CALL_OCCURRED_AT);
    }
    for (int field = 0; field < PURCHASE_FIELDS; field++) {
        if (field == PURCHASE_ACCOUNT_ID)
            continue;
        reject(b, INPUT_PURCHASES, with_null(package_of_50(b, "p"), field), REJECT_INVALID);
    }
    assert_string_equal(last_reject(b)->detail, "purchased_at is null");
    for (int field = 0; field < CREDIT_REASON; field++) {
        if (field == CREDIT_ACCOUNT_ID)
            continue;
        reject(b, INPUT_CREDITS, with_null(top_up(b, "k", 5), field), REJECT_INVALID);
    }
    // Without an account the key cannot be compared with anything.
    reject(b, INPUT_CALLS, with_null(call(b, "a", "c", 5, b->now), CALL_ACCOUNT_ID),
           REJECT_MISROUTED);
    reject(b, INPUT_CALLS, with_null(with_key(call(b, "a", "c", 5, b->now), ""), CALL_ACCOUNT_ID),
           REJECT_MISROUTED);
}

// R42
static void no_symbol_may_be_unknown(void **state)
{
    struct bench *b = *state;
    struct event ev = top_up(b, "k", 5);
    ev.record.unknown = 1u << CREDIT_KIND;
    ev.record.field[CREDIT_KIND] = number(-1);
    reject(b, INPUT_CREDITS, ev, REJECT_INVALID);
    assert_string_equal(last_reject(b)->detail, "kind holds an unknown symbol");
    ev = package_of_50(b, "p");
    ev.record.unknown = 1u << PURCHASE_SERVICE;
    ev.record.field[PURCHASE_SERVICE] = number(-1);
    reject(b, INPUT_PURCHASES, ev, REJECT_INVALID);
}

// R43
static void amounts_lie_within_10_to_the_13th(void **state)
{
    struct bench *b = *state;
    accept(b, INPUT_CREDITS, top_up(b, "k1", INT64_C(10000000000000)));
    reject(b, INPUT_CREDITS, top_up(b, "k2", INT64_C(10000000000001)), REJECT_INVALID);
    reject(b, INPUT_CREDITS, top_up(b, "k3", INT64_MIN), REJECT_INVALID);
    reject(b, INPUT_CREDITS, top_up(b, "k4", INT64_MAX), REJECT_INVALID);
    accept(b, INPUT_CREDITS,
           credit(b, "a", "k5", CREDIT_ADJUSTMENT, INT64_C(-10000000000000), b->now));
    reject(b, INPUT_CREDITS,
           credit(b, "a", "k6", CREDIT_ADJUSTMENT, INT64_C(-10000000000001), b->now),
           REJECT_INVALID);
    reject(b, INPUT_PURCHASES, with(package_of_50(b, "p"), PURCHASE_AMOUNT, INT64_MIN),
           REJECT_INVALID);
    assert_int_equal(account_balance(fold_account(b->fold, 0)), 0);
}

// R43
static void currencies_are_compared_whole(void **state)
{
    struct bench *b = *state;
    static const char *const others[] = {"", "C", "CN", "CNYX", "cny", "USD"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        reject(b, INPUT_CREDITS, with_text(top_up(b, "k", 5), CREDIT_CURRENCY, others[i]),
               REJECT_INVALID);
        reject(b, INPUT_PURCHASES, with_text(package_of_50(b, "p"), PURCHASE_CURRENCY, others[i]),
               REJECT_INVALID);
    }
}

// R20, R43
static void units_of_packages_have_bounds(void **state)
{
    struct bench *b = *state;
    struct event ev = package_of_50(b, "p1");
    reject(b, INPUT_PURCHASES, with(ev, PURCHASE_UNITS, UNITS_OF_RECORD_MAX + 1), REJECT_INVALID);
    ev = with(package_of_50(b, "p2"), PURCHASE_UNITS, UNITS_OF_RECORD_MAX); // 5 x 10^13 fen
    reject(b, INPUT_PURCHASES, ev, REJECT_NOT_FOR_SALE);
    reject(b, INPUT_PURCHASES, with(package_of_50(b, "p3"), PURCHASE_USED, -1), REJECT_INVALID);
    reject(b, INPUT_PURCHASES, with(package_of_50(b, "p4"), PURCHASE_USED, 51), REJECT_INVALID);
    accept(b, INPUT_PURCHASES, with(package_of_50(b, "p5"), PURCHASE_USED, 50));
    assert_int_equal(fold_package(b->fold, 0)->remaining, 0);
    // `used` is not looked at
    ev = with(with(package_of_50(b, "p6"), PURCHASE_USED, 51), PURCHASE_UNITS, 0);
    reject(b, INPUT_PURCHASES, ev, REJECT_REFUND);
    ev = with(with(package_of_50(b, "p7"), PURCHASE_USED, INT64_MIN), PURCHASE_UNITS, INT64_MIN);
    reject(b, INPUT_PURCHASES, ev, REJECT_REFUND);
    accept(b, INPUT_CALLS, call(b, "a", "c", -1, b->now));
    settle(b); // a package without units covers nothing
    assert_int_equal(settlement_of(b, "a")->amount, 220000);
}

// R28, R42
static void times_have_bounds(void **state)
{
    struct bench *b = *state;
    b->now = at(b, 0, HOUR);
    b->policy.rows[0].credit_days = CREDIT_DAYS_MAX;
    fold_set_policy(b->fold, &b->policy);
    // A purchase may be as old as 1970, if it was for sale then.
    accept(b, INPUT_PURCHASES, with(package_of_50(b, "p1"), PURCHASE_PURCHASED_AT, 0));
    assert_int_equal(fold_package(b->fold, 0)->valid_until, 365 * DAY_MS);
    reject(b, INPUT_PURCHASES, with(package_of_50(b, "p3"), PURCHASE_PURCHASED_AT, -1),
           REJECT_INVALID);
    reject(b, INPUT_PURCHASES, with(package_of_50(b, "p4"), PURCHASE_PURCHASED_AT, INT64_MIN),
           REJECT_INVALID);
    reject(b, INPUT_PURCHASES, with(package_of_50(b, "p5"), PURCHASE_PURCHASED_AT, INSTANT_MAX),
           REJECT_FROM_FUTURE);
    reject(b, INPUT_PURCHASES, with(package_of_50(b, "p6"), PURCHASE_PURCHASED_AT, INT64_MAX),
           REJECT_INVALID);
    accept(b, INPUT_CREDITS, with(top_up(b, "k1", 5), CREDIT_CREDITED_AT, b->now + 5 * MINUTE));
    reject(b, INPUT_CREDITS, with(top_up(b, "k2", 5), CREDIT_CREDITED_AT, b->now + 5 * MINUTE + 1),
           REJECT_FROM_FUTURE);
    assert_non_null(strstr(last_reject(b)->detail, "credited_at is 300001 ms ahead"));
    accept(b, INPUT_CREDITS, with(top_up(b, "k3", 5), CREDIT_CREDITED_AT, 0));
}

// R26
static void a_call_is_too_late_by_its_day(void **state)
{
    struct bench *b = *state;
    for (int i = 0; i < 9; i++) {
        settle(b);
        fold_step_done(b->fold);
    }
    b->now = at(b, 9, HOUR); // the day opens 2 + 7 days after the first
    struct event ev = with(call(b, "a", "c1", -1, b->now), CALL_OCCURRED_AT, at(b, 2, 0) - 1);
    reject(b, INPUT_CALLS, ev, REJECT_TOO_LATE);
    assert_string_equal(last_reject(b)->detail, "usage day 2026-11-02 is before 2026-11-03");
    accept(b, INPUT_CALLS, with(call(b, "a", "c2", -1, b->now), CALL_OCCURRED_AT, at(b, 2, 0)));
    reject(b, INPUT_CALLS, with(call(b, "a", "c3", -1, b->now), CALL_OCCURRED_AT, 0),
           REJECT_TOO_LATE);
}

// ---- what is kept ----

static void nothing_points_into_an_event_once_it_is_taken(void **state)
{
    struct bench *b = *state;
    char account[] = "account", id[] = "an id", why[] = "why \xff so", bytes[] = "value",
         fault[] = "the fault";
    struct event calls = call(b, account, id, -1, at(b, 0, HOUR));
    accept(b, INPUT_CALLS, calls);
    settle(b);
    fold_step_done(b->fold);
    b->now = at(b, 1, HOUR);
    accept(b, INPUT_PURCHASES,
           purchase(b, account, id, SERVICE_AUDIENCE_INSIGHT, 50, 10000000, b->now));
    struct event ev = credit(b, account, id, CREDIT_TOP_UP, 220001, b->now);
    ev.record.nulls = 1u << CREDIT_REFERENCE;
    ev.record.field[CREDIT_REASON] = string(why);
    accept(b, INPUT_CREDITS, ev);
    ev = call(b, account, id, 5, b->now);
    ev.value = (struct slice){bytes, 5};
    reject(b, INPUT_CALLS, ev, REJECT_CONFLICT);
    ev = event(b, INPUT_CALLS, account, b->now);
    ev.fault = REJECT_UNDECODABLE;
    ev.fault_detail = fault;
    reject(b, INPUT_CALLS, ev, REJECT_UNDECODABLE);
    memset(account, '!', sizeof account - 1);
    memset(id, '!', sizeof id - 1);
    memset(why, '!', sizeof why - 1);
    memset(bytes, '!', sizeof bytes - 1);
    memset(fault, '!', sizeof fault - 1);
    const struct step *step = fold_step(b->fold);
    assert_string_equal(fold_account(b->fold, 0)->id.data, "account");
    assert_string_equal(fold_package(b->fold, 0)->id.data, "an id");
    assert_string_equal(step->credits[0].credit_id.data, "an id");
    assert_memory_equal(step->credits[0].reason.data, "why \xef\xbf\xbd so", 10);
    assert_int_equal(step->credits[0].reason.size, 10);
    assert_null(step->credits[0].reference.data);
    assert_string_equal(step->statuses[0].credit_id.data, "an id");
    assert_string_equal(step->rejects[0].account_id.data, "account");
    assert_string_equal(step->rejects[0].record_id.data, "an id");
    assert_string_equal(step->rejects[0].key.data, "account");
    assert_string_equal(step->rejects[0].value.data, "value");
    assert_string_equal(step->rejects[1].detail, "the fault");
    assert_null(step->rejects[1].record_id.data);
    assert_false(step->rejects[1].has_occurred_at);
}

static void a_reject_keeps_what_was_received(void **state)
{
    struct bench *b = *state;
    struct event ev = call(b, "a", "c", -1, b->now);
    ev.key = (struct slice){"\0\xff", 2};
    ev.value = (struct slice){NULL, 0};
    reject(b, INPUT_CALLS, ev, REJECT_MISROUTED);
    assert_int_equal(last_reject(b)->key.size, 2);
    assert_memory_equal(last_reject(b)->key.data, "\0\xff", 2);
    assert_null(last_reject(b)->value.data);
    assert_string_equal(last_reject(b)->account_id.data, "a");
    assert_int_equal(last_reject(b)->occurred_at, b->now);
    ev = with_text(call(b, "a", "c", -1, b->now), CALL_CALL_ID, "\xff");
    reject(b, INPUT_CALLS, ev, REJECT_INVALID);
    assert_null(last_reject(b)->record_id.data); // not UTF-8
    assert_string_equal(last_reject(b)->detail, "call_id is not UTF-8");
}

static void records_are_told_apart_by_key_and_value(void **state)
{
    (void)state;
    struct event a = {.key = text("ab"), .value = text("c")},
                 b = {.key = text("a"), .value = text("bc")};
    struct event empty = {.key = text(""), .value = text("")},
                 none = {.key = text(""), .value = {NULL, 0}};
    assert_true(fold_record_hash(&a) != fold_record_hash(&b));
    assert_true(fold_record_hash(&empty) != fold_record_hash(&none));
    assert_true(fold_record_hash(&a) ==
                fold_record_hash(&(struct event){.key = text("ab"), .value = text("c")}));
}

// ---- many accounts ----

// Of so many accounts a few share the mark that the index keeps of them, and are told apart by
// their hashes alone: also when what the index names was asked for ahead of the record.
static void accounts_that_share_a_mark_are_two(void **state)
{
    struct bench *b = *state;
    enum { ACCOUNTS = 200000, BATCH = 250 };
    static char names[BATCH][16], ids[BATCH][16];
    struct event events[BATCH];
    struct error e = {0};
    size_t consumed;
    for (int64_t n = 0; n < 2 * ACCOUNTS; n += BATCH) {
        for (int i = 0; i < BATCH; i++) {
            snprintf(names[i], sizeof names[i], "acct-%" PRId64, (n + i) % ACCOUNTS);
            snprintf(ids[i], sizeof ids[i], "call-%" PRId64, n + i);
            events[i] = call(b, names[i], ids[i], 5, b->now);
        }
        struct event_batch batch = {events, BATCH};
        assert_int_equal(fold_records(b->fold, INPUT_CALLS, batch, b->now, &consumed, &e),
                         FOLD_MORE);
    }
    assert_int_equal(fold_account_count(b->fold), ACCOUNTS);
    assert_int_equal(fold_state(b->fold)->log[INPUT_CALLS].accepted, 2 * ACCOUNTS);
}

// ---- packages of 29 February ----

// R12, R13
static void a_package_of_29_february_ends_on_the_28th(void **state)
{
    (void)state;
    struct bench *b = calloc(1, sizeof *b);
    bench_policy(b);
    assert_true(calendar_parse_day("2029-02-28", &b->first_day));
    b->policy.fixed.first_day = b->first_day;
    b->fold = bench_fold(b);
    fold_begin(b->fold, (int64_t[INPUT_COUNT]){0, 0, 0});
    int64_t bought, end = at(b, 0, 15 * HOUR);
    assert_true(calendar_parse_instant("2028-02-29T15:00:00+08:00", &bought));
    b->now = at(b, 0, 16 * HOUR);
    struct event ev = purchase(b, "a", "p", SERVICE_AUDIENCE_INSIGHT, 50, 10000000, bought);
    ev.timestamp = b->now;
    accept(b, INPUT_PURCHASES, ev);
    assert_int_equal(fold_package(b->fold, 0)->valid_until, end);
    accept(b, INPUT_CALLS, with(call(b, "a", "last", -1, b->now), CALL_OCCURRED_AT, end - 1));
    accept(b, INPUT_CALLS, with(call(b, "a", "beyond", -1, b->now), CALL_OCCURRED_AT, end));
    settle(b);
    assert_int_equal(settlement_of(b, "a")->amount, 220000);
    assert_int_equal(fold_package(b->fold, 0)->remaining, 49);
    bench_destroy(b);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(of_two_faults_of_a_call_the_first_is_told),
        CASE(of_two_faults_of_a_purchase_the_first_is_told),
        CASE(of_two_faults_of_a_credit_the_first_is_told),
        CASE(a_rejected_id_is_not_seen),
        CASE(an_id_is_its_own_in_each_account_and_topic),
        CASE(no_required_field_may_be_null),
        CASE(no_symbol_may_be_unknown),
        CASE(amounts_lie_within_10_to_the_13th),
        CASE(currencies_are_compared_whole),
        CASE(units_of_packages_have_bounds),
        CASE(times_have_bounds),
        CASE(a_call_is_too_late_by_its_day),
        CASE(nothing_points_into_an_event_once_it_is_taken),
        CASE(a_reject_keeps_what_was_received),
        CASE(a_record_is_misrouted_only_by_a_count_that_was_looked_at),
        cmocka_unit_test(records_are_told_apart_by_key_and_value),
        CASE(accounts_that_share_a_mark_are_two),
        cmocka_unit_test(a_package_of_29_february_ends_on_the_28th),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
