#include "consumer/core/policy.h"

#include "tests/unit/books.h"

#include <librdkafka/rdkafka.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct policy *policy; // large: not on the stack

static day_t day_of(const char *text)
{
    day_t day = DAY_NONE;
    assert_true(calendar_parse_day(text, &day));
    return day;
}

static void add_row(day_t from_day, int32_t late_days)
{
    policy->rows[policy->count++] = (struct parameters){
        .from_day = from_day,
        .grace_ms = 300000,
        .late_days = late_days,
        .future_tolerance_ms = 300000,
        .credit_days = 400,
        .max_reject_share_ppm = 10000,
        .max_refused_share_ppm = 200000,
    };
}

static int set_up(void **state)
{
    (void)state;
    policy = calloc(1, sizeof *policy);
    assert_non_null(policy);
    policy->fixed = (struct fixed_parameters){
        .first_day = day_of("2026-11-01"),
        .timestamps = TIMESTAMPS_LOG_APPEND,
        .partitioner = PARTITIONER_MURMUR2,
        .partitions = 12,
        .time_zone = "Asia/Shanghai",
    };
    struct book book = load_apcas();
    memset(book.sha256, 'a', 64);
    return shelf_add(&policy->shelf, &book, NULL);
}

static int tear_down(void **state)
{
    (void)state;
    shelf_clear(&policy->shelf);
    free(policy);
    return 0;
}

// R53
static void the_row_in_force(void **state)
{
    (void)state;
    add_row(DAY_NONE, 7);
    add_row(100, 9);
    add_row(200, 3);
    assert_ptr_equal(policy_at(policy, DAY_NONE), &policy->rows[0]);
    assert_ptr_equal(policy_at(policy, 99), &policy->rows[0]);
    assert_ptr_equal(policy_at(policy, 100), &policy->rows[1]);
    assert_ptr_equal(policy_at(policy, 199), &policy->rows[1]);
    assert_ptr_equal(policy_at(policy, 200), &policy->rows[2]);
    assert_ptr_equal(policy_at(policy, INT32_MAX), &policy->rows[2]);
}

// R26
static void the_floor_follows_the_open_day(void **state)
{
    (void)state;
    policy->fixed.first_day = 1000;
    add_row(DAY_NONE, 7);
    assert_int_equal(policy_floor(policy, 1000), 1000); // nothing before first_day is billed
    assert_int_equal(policy_floor(policy, 1007), 1000);
    assert_int_equal(policy_floor(policy, 1008), 1001);
    assert_int_equal(policy_floor(policy, 2000), 1993);
}

static void late_days_of_none(void **state)
{
    (void)state;
    policy->fixed.first_day = 1000;
    add_row(DAY_NONE, 0);
    assert_int_equal(policy_floor(policy, 1000), 1000);
    assert_int_equal(policy_floor(policy, 1500), 1500);
}

// On day 1099 calls of 1092 and later could be billed, so on 1100 nothing older may, although 30
// days are allowed now.
// R27
static void raising_late_days_reopens_nothing(void **state)
{
    (void)state;
    policy->fixed.first_day = 1000;
    add_row(DAY_NONE, 7);
    add_row(1100, 30);
    assert_int_equal(policy_floor(policy, 1099), 1092);
    assert_int_equal(policy_floor(policy, 1100), 1092);
    assert_int_equal(policy_floor(policy, 1122), 1092);
    assert_int_equal(policy_floor(policy, 1123), 1093);
}

static void lowering_late_days_closes_at_once(void **state)
{
    (void)state;
    policy->fixed.first_day = 1000;
    add_row(DAY_NONE, 30);
    add_row(1100, 3);
    add_row(1110, 60);
    assert_int_equal(policy_floor(policy, 1099), 1069);
    assert_int_equal(policy_floor(policy, 1100), 1097);
    assert_int_equal(policy_floor(policy, 1110), 1106); // of 1109, the last day of three
    assert_int_equal(policy_floor(policy, 1166), 1106);
    assert_int_equal(policy_floor(policy, 1167), 1107);
}

// The definition, computed day by day: the highest floor of all days so far. R26, R27
static void the_floor_is_the_running_maximum(void **state)
{
    (void)state;
    policy->fixed.first_day = 1000;
    static const struct {
        day_t from;
        int32_t late;
    } rows[] = {{DAY_NONE, 5}, {1003, 0}, {1004, 40}, {1030, 2}, {1031, 366}, {1500, 1}, {1501, 9}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        add_row(rows[i].from, rows[i].late);
    day_t highest = policy->fixed.first_day;
    for (day_t day = 1000; day < 2000; day++) {
        day_t own = day - policy_at(policy, day)->late_days;
        if (own > highest)
            highest = own;
        assert_int_equal(policy_floor(policy, day), highest);
    }
}

// R59, R60
static void the_floor_of_credits_never_falls(void **state)
{
    (void)state;
    policy->fixed.first_day = 1000;
    add_row(DAY_NONE, 7);
    add_row(1100, 7);
    add_row(1200, 7);
    policy->rows[1].credit_days = 30;
    policy->rows[2].credit_days = 900;
    assert_int_equal(policy_credit_floor(policy, 1000), 600); // before first_day, unlike calls
    assert_int_equal(policy_credit_floor(policy, 1099), 699);
    assert_int_equal(policy_credit_floor(policy, 1100), 1070);
    assert_int_equal(policy_credit_floor(policy, 1199), 1169);
    assert_int_equal(policy_credit_floor(policy, 1200), 1169);
    assert_int_equal(policy_credit_floor(policy, 2069), 1169);
    assert_int_equal(policy_credit_floor(policy, 2070), 1170);
}

#define BOOK_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define BOOK_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

static void the_canonical_text(void **state)
{
    (void)state;
    add_row(DAY_NONE, 7);
    struct notice_limits *notices = &policy->rows[0].notices;
    assert_true(thresholds_parse("20,5,0", &notices->package_left));
    assert_true(thresholds_parse("30,7,1", &notices->expiring_days));
    assert_true(thresholds_parse("0,1000000", &notices->balance_below));
    char text[PARAMETERS_TEXT_SIZE], hex[65];
    assert_string_equal(policy_text(policy, day_of("2026-11-01"), text),
                        "{\"balance_below\":[1000000,0],\"book\":\"" BOOK_A
                        "\",\"credit_days\":400,\"expiring_days\":[30,7,1],\"first_day\":\"2026-11-"
                        "01\",\"from_day\":null,"
                        "\"future_tolerance_ms\":300000,\"grace_ms\":300000,\"late_days\":7,"
                        "\"max_refused_share_ppm\":200000,"
                        "\"max_reject_share_ppm\":10000,\"package_left\":[20,5,0],\"partitioner\":"
                        "\"murmur2\",\"partitions\":12,"
                        "\"time_zone\":\"Asia/Shanghai\",\"timestamps\":\"log-append\"}");
    policy_sha256(policy, day_of("2026-11-01"), hex);
    assert_string_equal(hex, "c674cfb16fef72333f255d5a8314c894698571764b50170cb659ed0df579b5e7");
}

static void the_text_follows_row_and_book(void **state)
{
    (void)state;
    add_row(DAY_NONE, 7);
    add_row(day_of("2027-01-05"), 9);
    policy->fixed.timestamps = TIMESTAMPS_CREATE;
    policy->fixed.partitioner = PARTITIONER_CRC32;
    struct book next = load_apcas();
    memset(next.sha256, 'b', 64);
    next.effective_from = day_of("2027-01-03");
    assert_int_equal(shelf_add(&policy->shelf, &next, NULL), 0);
    char text[PARAMETERS_TEXT_SIZE], before[65], between[65], after[65];
    assert_non_null(strstr(policy_text(policy, day_of("2027-01-02"), text), BOOK_A));
    assert_non_null(strstr(policy_text(policy, day_of("2027-01-03"), text), BOOK_B));
    assert_string_equal(policy_text(policy, day_of("2027-01-05"), text),
                        "{\"balance_below\":[],\"book\":\"" BOOK_B
                        "\",\"credit_days\":400,\"expiring_days\":[],\"first_day\":\"2026-11-01\","
                        "\"from_day\":\"2027-01-05\","
                        "\"future_tolerance_ms\":300000,\"grace_ms\":300000,\"late_days\":9,"
                        "\"max_refused_share_ppm\":200000,"
                        "\"max_reject_share_ppm\":10000,\"package_left\":[],\"partitioner\":"
                        "\"crc32\",\"partitions\":12,"
                        "\"time_zone\":\"Asia/Shanghai\",\"timestamps\":\"create\"}");
    policy_sha256(policy, day_of("2027-01-02"), before);
    policy_sha256(policy, day_of("2027-01-03"), between);
    policy_sha256(policy, day_of("2027-01-05"), after);
    assert_string_not_equal(before, between);
    assert_string_not_equal(between, after);
}

// ---- partitioners ----

// Kafka's own UtilsTest.testMurmur2; the partition is (hash & 0x7fffffff) % partitions. With 2^31 -
// 1 partitions the whole masked hash shows.
// R41
static void murmur2_is_javas(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        int32_t hash;
    } rows[] = {
        {"21", -973932308},
        {"foobar", -790332482},
        {"a-little-bit-long-string", -985981536},
        {"a-little-bit-longer-string", -1486304829},
        {"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971},
        {"abc", 479470107},
        {"", 275646681},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int32_t masked = (int32_t)((uint32_t)rows[i].hash & INT32_MAX);
        size_t size = strlen(rows[i].key);
        assert_int_equal(partition_of(PARTITIONER_MURMUR2, rows[i].key, size, INT32_MAX), masked);
        assert_int_equal(partition_of(PARTITIONER_MURMUR2, rows[i].key, size, 12), masked % 12);
    }
}

// R41
static void crc32_is_the_ieee_one(void **state)
{
    (void)state;
    assert_int_equal(partition_of(PARTITIONER_CRC32, "123456789", 9, INT32_MAX),
                     0xcbf43926 % INT32_MAX);
    // unsigned, not masked
    assert_int_equal(partition_of(PARTITIONER_CRC32, "123456789", 9, 7), 0xcbf43926 % 7);
    assert_int_equal(partition_of(PARTITIONER_CRC32, "", 0, 12), 0);
}

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

// R41
static void both_agree_with_librdkafka(void **state)
{
    (void)state;
    uint64_t seed = 20261101;
    for (int i = 0; i < 20000; i++) {
        uint8_t key[128];
        size_t size = next_random(&seed) % (sizeof key + 1);
        for (size_t j = 0; j < size; j++)
            key[j] = (uint8_t)(next_random(&seed) >> 32);
        int32_t partitions = (int32_t)(next_random(&seed) % (i % 2 ? 64 : INT32_MAX)) + 1;
        assert_int_equal(partition_of(PARTITIONER_MURMUR2, key, size, partitions),
                         rd_kafka_msg_partitioner_murmur2(NULL, key, size, partitions, NULL, NULL));
        assert_int_equal(
            partition_of(PARTITIONER_CRC32, key, size, partitions),
            rd_kafka_msg_partitioner_consistent(NULL, key, size, partitions, NULL, NULL));
    }
}

static void an_absent_key_is_the_empty_one(void **state)
{
    (void)state;
    for (int32_t partitions = 1; partitions < 100; partitions++) {
        assert_int_equal(partition_of(PARTITIONER_MURMUR2, NULL, 0, partitions),
                         0x106e08d9 % partitions);
        assert_int_equal(partition_of(PARTITIONER_MURMUR2, NULL, 0, partitions),
                         rd_kafka_msg_partitioner_murmur2(NULL, NULL, 0, partitions, NULL, NULL));
        assert_int_equal(partition_of(PARTITIONER_CRC32, NULL, 0, partitions), 0);
        assert_int_equal(rd_kafka_msg_partitioner_consistent(NULL, NULL, 0, partitions, NULL, NULL),
                         0);
    }
}

#define WITH_POLICY(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_POLICY(the_row_in_force),
        WITH_POLICY(the_floor_follows_the_open_day),
        WITH_POLICY(late_days_of_none),
        WITH_POLICY(raising_late_days_reopens_nothing),
        WITH_POLICY(lowering_late_days_closes_at_once),
        WITH_POLICY(the_floor_is_the_running_maximum),
        WITH_POLICY(the_floor_of_credits_never_falls),
        WITH_POLICY(the_canonical_text),
        WITH_POLICY(the_text_follows_row_and_book),
        cmocka_unit_test(murmur2_is_javas),
        cmocka_unit_test(crc32_is_the_ieee_one),
        cmocka_unit_test(both_agree_with_librdkafka),
        cmocka_unit_test(an_absent_key_is_the_empty_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
