// Compares the accepted calls with a plain list: identity, content, days, forgetting, and memory
// that is used again.
#include "consumer/usage/calls.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { SEEDS = 8, DAYS = 30, MANY = 3 * CALL_BLOCK + 5, KNOWN = 200000 };

static uint64_t seed_state;

static uint64_t pick(uint64_t below)
{
    seed_state = seed_state * 6364136223846793005u + 1442695040888963407u;
    return (seed_state >> 33) % below;
}

// The fold makes keyed hashes. These hashes are equal for equal identities, and for some others,
// too.
static uint64_t hash_of(const struct call *call)
{
    return (call->identity.half[0] >> 1) * UINT64_C(0x9e3779b97f4a7c15) ^ call->account;
}

static void add(struct calls *calls, day_t day, const struct call *call, int64_t offset)
{
    struct call added = *call;
    added.day = day;
    calls_add(calls, hash_of(call), &added, offset);
}

static enum call_match match(const struct calls *calls, day_t day, const struct call *call)
{
    struct call asked = *call;
    asked.day = day;
    return calls_match(calls, hash_of(call), &asked);
}

static struct call a_call(uint64_t id)
{
    return (struct call){.day = 100,
                         .account = 3,
                         .identity = {.half = {id, ~id}},
                         .when = 86399999,
                         .service = SERVICE_PURCHASE_INTENT,
                         .units = UNITS_OF_RECORD_MAX};
}

// ---- identity and content ----

// R29
static void what_is_billed_makes_the_content(void **state)
{
    (void)state;
    struct calls calls = {0};
    struct call known = a_call(7), other = known;
    assert_int_equal(match(&calls, 100, &known), CALL_NEW);
    add(&calls, 100, &known, 0);
    assert_int_equal(match(&calls, 100, &known), CALL_SAME);
    assert_int_equal(match(&calls, 101, &known), CALL_OTHER); // the same time of another day
    other.when--;
    assert_int_equal(match(&calls, 100, &other), CALL_OTHER);
    other = known;
    other.units--;
    assert_int_equal(match(&calls, 100, &other), CALL_OTHER);
    other = known;
    other.service = SERVICE_AUDIENCE_INSIGHT;
    assert_int_equal(match(&calls, 100, &other), CALL_OTHER);
    calls_free(&calls);
}

// This must hold for later services, too: the word of a call has room for them beside the time and
// the form of its id.
static void each_service_keeps_to_its_bits(void **state)
{
    (void)state;
    struct calls calls = {0};
    uint64_t id = 0;
    for (int s = 0; s < 1 << CALL_SERVICE_BITS; s++)
        for (int uuid = 0; uuid < 2; uuid++) {
            struct call call = a_call(++id);
            call.service = (enum service)s;
            call.identity.uuid = uuid == 1;
            add(&calls, 100, &call, 0);
            assert_int_equal(match(&calls, 100, &call), CALL_SAME);
            const struct call_block *block =
                calls_block(&calls, calls_day(&calls, 100), (uint32_t)id - 1);
            assert_int_equal(call_service(block, (uint32_t)id - 1), s);
            assert_int_equal(call_ms(block, (uint32_t)id - 1), call.when);
            call.identity.uuid = !call.identity.uuid;
            assert_int_equal(match(&calls, 100, &call), CALL_NEW);
        }
    calls_free(&calls);
}

// R32
static void account_halves_and_form_make_the_identity(void **state)
{
    (void)state;
    struct calls calls = {0};
    struct call known = a_call(7), other = known;
    add(&calls, 100, &known, 0);
    uint64_t hash = hash_of(&known); // all of them are candidates
    other.account = 4;
    assert_int_equal(calls_match(&calls, hash, &other), CALL_NEW);
    other = known;
    other.identity.half[0]++;
    assert_int_equal(calls_match(&calls, hash, &other), CALL_NEW);
    other = known;
    other.identity.half[1]++;
    assert_int_equal(calls_match(&calls, hash, &other), CALL_NEW);
    other = known;
    other.identity.uuid = true;
    assert_int_equal(calls_match(&calls, hash, &other), CALL_NEW);
    add(&calls, 100, &other, 1);
    assert_int_equal(calls_match(&calls, hash, &other), CALL_SAME);
    assert_int_equal(calls_match(&calls, hash, &known), CALL_SAME);
    calls_free(&calls);
}

static void what_is_read_back_is_what_was_added(void **state)
{
    (void)state;
    struct calls calls = {0};
    for (uint32_t i = 0; i < MANY; i++) {
        struct call call = {.account = i % 5,
                            .identity = {.half = {i, 1}, .uuid = i % 2 == 0},
                            .when = i * INT64_C(7027) % DAY_MS,
                            .service = (enum service)(i % 3 == 0),
                            .units = i * INT64_C(81331) % UNITS_OF_RECORD_MAX};
        add(&calls, 100, &call, i);
    }
    const struct usage_day *day = calls_day(&calls, 100);
    assert_int_equal(day->count, MANY);
    assert_int_equal(day->block_count, 4);
    for (uint32_t i = 0; i < MANY; i++) {
        const struct call_block *block = calls_block(&calls, day, i);
        assert_int_equal(block->day, 100);
        assert_int_equal(block->account[i % CALL_BLOCK], i % 5);
        assert_int_equal(block->half[i % CALL_BLOCK][0], i);
        assert_int_equal(call_ms(block, i), i * INT64_C(7027) % DAY_MS);
        assert_int_equal(call_service(block, i), i % 3 == 0);
        assert_int_equal(block->units[i % CALL_BLOCK], i * INT64_C(81331) % UNITS_OF_RECORD_MAX);
    }
    calls_free(&calls);
}

// ---- days ----

static void days_rise_in_whatever_order_they_come(void **state)
{
    (void)state;
    static const day_t days[] = {100, 98, 103, 99, 101};
    struct calls calls = {0};
    for (size_t i = 0; i < 5; i++) {
        struct call call = a_call(i);
        add(&calls, days[i], &call, (int64_t)(50 - i));
    }
    assert_int_equal(calls.day_count, 5);
    for (size_t i = 1; i < 5; i++)
        assert_true(calls.days[i - 1].day < calls.days[i].day);
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(calls_day(&calls, days[i])->first_offset, 50 - i);
    assert_null(calls_day(&calls, 97));
    assert_null(calls_day(&calls, 102));
    assert_null(calls_day(&calls, 104));
    assert_int_equal(calls_first_offset(&calls, 1000), 46);
    assert_int_equal(calls_first_offset(&calls, 5), 5);
    calls_forget(&calls, 101);
    assert_int_equal(calls.day_count, 2);
    assert_int_equal(calls.count, 2);
    assert_int_equal(calls_first_offset(&calls, 1000), 46);
    calls_forget(&calls, 200);
    assert_int_equal(calls_first_offset(&calls, 1000), 1000);
    assert_int_equal(calls.count, 0);
    calls_free(&calls);
}

static void blocks_of_forgotten_days_are_used_again(void **state)
{
    (void)state;
    struct calls calls = {0};
    size_t most = 0;
    for (day_t day = 0; day < 40; day++) {
        for (uint32_t i = 0; i < CALL_BLOCK + 100; i++) {
            struct call call = a_call((uint64_t)day << 32 | i);
            add(&calls, day, &call, day * INT64_C(10000) + i);
        }
        calls_forget(&calls, day - 3);
        if (day == 10)
            most = calls_memory(&calls) - index_memory(&calls.index);
        struct call oldest = a_call((uint64_t)(day < 3 ? 0 : day - 3) << 32);
        assert_int_equal(match(&calls, day < 3 ? 0 : day - 3, &oldest), CALL_SAME);
        struct call gone = a_call((uint64_t)(day - 4) << 32);
        if (day > 3)
            assert_int_equal(match(&calls, day - 4, &gone), CALL_NEW);
    }
    assert_int_equal(calls.day_count, 4);
    assert_int_equal(calls.block_count, 10); // numbers: those of at most five days
    assert_int_equal(calls_memory(&calls) - index_memory(&calls.index), most);
    assert_true(index_memory(&calls.index) <= (size_t)calls.count * 2 * INDEX_ID_BYTES);
    calls_free(&calls);
    assert_int_equal(calls_memory(&calls), 0);
}

// ---- all at random ----

struct known {
    struct call call;
    day_t day;
};

static void random_calls_agree_with_a_list(void **state)
{
    (void)state;
    struct known *list = malloc(KNOWN * sizeof *list);
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct calls calls = {0};
        size_t count = 0, held = 0;
        day_t floor = 0;
        seed_state = seed;
        for (day_t open = 0; open < DAYS; open++) {
            for (uint64_t n = pick(4000); n > 0; n--) {
                day_t day = floor + (day_t)pick((uint64_t)(open - floor) + 2);
                struct known *k = &list[count];
                *k = (struct known){{.account = (uint32_t)pick(3),
                                     .identity = {.half = {count, 0}, .uuid = pick(2)},
                                     .when = (int64_t)pick(86400000),
                                     .service = (enum service)pick(2),
                                     .units = (int64_t)pick(1000)},
                                    day};
                assert_int_equal(match(&calls, day, &k->call), CALL_NEW);
                add(&calls, day, &k->call, (int64_t)count);
                assert_true(++count < KNOWN);
            }
            if (open - floor > 5 || pick(4) == 0)
                floor += (day_t)pick(3);
            if (floor > open)
                floor = open;
            calls_forget(&calls, floor);
            held = 0;
            for (size_t i = 0; i < count; i++) {
                bool retained = list[i].day >= floor;
                held += retained;
                if (pick(20) != 0)
                    continue;
                assert_int_equal(match(&calls, list[i].day, &list[i].call),
                                 retained ? CALL_SAME : CALL_NEW);
                struct call other = list[i].call;
                other.units++;
                assert_int_equal(match(&calls, list[i].day, &other),
                                 retained ? CALL_OTHER : CALL_NEW);
            }
            assert_int_equal(calls.count, held);
        }
        calls_free(&calls);
    }
    free(list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_billed_makes_the_content),
        cmocka_unit_test(each_service_keeps_to_its_bits),
        cmocka_unit_test(account_halves_and_form_make_the_identity),
        cmocka_unit_test(what_is_read_back_is_what_was_added),
        cmocka_unit_test(days_rise_in_whatever_order_they_come),
        cmocka_unit_test(blocks_of_forgotten_days_are_used_again),
        cmocka_unit_test(random_calls_agree_with_a_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
