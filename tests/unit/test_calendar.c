#include "pricing/calendar.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

enum { SHANGHAI = 8 * 3600000 };

static day_t day_of(const char *text)
{
    day_t day = DAY_NONE;
    assert_true(calendar_parse_day(text, &day));
    return day;
}

static int64_t instant_of(const char *text)
{
    int64_t ms = -1;
    assert_true(calendar_parse_instant(text, &ms));
    return ms;
}

// R22
static void zones(void **state)
{
    (void)state;
    int32_t offset = -1;
    assert_true(calendar_zone_offset("Asia/Shanghai", &offset));
    assert_int_equal(offset, SHANGHAI);
    assert_true(calendar_zone_offset("UTC", &offset));
    assert_int_equal(offset, 0);
    assert_true(calendar_zone_offset("Etc/UTC", &offset));
    assert_false(calendar_zone_offset("Europe/Berlin", &offset)); // daylight saving
    assert_false(calendar_zone_offset("asia/shanghai", &offset));
    assert_false(calendar_zone_offset("", &offset));
}

// R21
static void a_day_begins_at_local_midnight(void **state)
{
    (void)state;
    day_t day = day_of("2026-11-01");
    int64_t start = instant_of("2026-10-31T16:00:00Z");
    assert_int_equal(calendar_day_start(day, SHANGHAI), start);
    assert_int_equal(calendar_day(start, SHANGHAI), day);
    assert_int_equal(calendar_day(start - 1, SHANGHAI), day - 1);
    assert_int_equal(calendar_day(start + DAY_MS - 1, SHANGHAI), day); // [00:00, 24:00)
    assert_int_equal(calendar_day(start + DAY_MS, SHANGHAI), day + 1);
    assert_int_equal(calendar_day(start, 0), day - 1);
}

// R21
static void days_floor_before_1970(void **state)
{
    (void)state;
    assert_int_equal(calendar_day(0, 0), 0);
    assert_int_equal(calendar_day(-1, 0), -1);
    assert_int_equal(calendar_day(-DAY_MS, 0), -1);
    assert_int_equal(calendar_day(-DAY_MS - 1, 0), -2);
    assert_int_equal(calendar_day_start(-1, 0), -DAY_MS);
}

// The C library knows the same calendar.
static void dates_agree_with_the_c_library(void **state)
{
    (void)state;
    for (day_t day = day_of("1970-01-01"); day <= day_of("9999-12-31"); day += 1) {
        if (day > 60000 && day % 37 != 0)
            continue;
        time_t t = (time_t)day * 86400;
        struct tm tm;
        char ours[DAY_TEXT_SIZE], theirs[DAY_TEXT_SIZE];
        assert_non_null(gmtime_r(&t, &tm));
        strftime(theirs, sizeof theirs, "%Y-%m-%d", &tm);
        assert_string_equal(calendar_format_day(day, ours), theirs);
        assert_int_equal(day_of(ours), day);
    }
}

static void dates_outside_the_record_range_format(void **state)
{
    (void)state;
    char text[DAY_TEXT_SIZE];
    assert_string_equal(calendar_format_day(-1, text), "1969-12-31");
    assert_string_equal(calendar_format_day(day_of("9999-12-31") + 1, text), "10000-01-01");
    // the day before 0000-01-01
    assert_string_equal(calendar_format_day(-719529, text), "-001-12-31");
    assert_string_equal(calendar_format_day(INT32_MAX, text), "5881580-07-11");
    assert_string_equal(calendar_format_day(DAY_NONE, text), "-5877641-06-23");
}

static void only_dates_that_exist_parse(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",           "2026",        "2026-11",     "2026-11-1",   "2026-11-31", "2026-02-29",
        "2100-02-29", "2026-13-01",  "2026-00-10",  "2026-10-00",  "1969-12-31", "2026/11/01",
        "26-11-01",   "2026-11-01 ", " 2026-11-01", "2026-11-01T", "+026-11-01", "20261-11-01",
        "2026-1a-01", "2026-11-0b",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        day_t day = 7;
        if (calendar_parse_day(bad[i], &day))
            fail_msg("%s parsed", bad[i]);
        assert_int_equal(day, 7);
    }
    assert_int_equal(day_of("1970-01-01"), 0);
    assert_int_equal(day_of("2000-02-29"), 11016);
    assert_int_equal(day_of("2024-02-29") + 1, day_of("2024-03-01"));
    assert_int_equal(day_of("2100-02-28") + 1, day_of("2100-03-01"));
}

static void instants_parse_with_a_zone(void **state)
{
    (void)state;
    assert_int_equal(instant_of("1970-01-01T00:00:00Z"), INSTANT_MIN);
    assert_int_equal(instant_of("1970-01-01T08:00:00+08:00"), 0);
    assert_int_equal(instant_of("1969-12-31T19:00:00-05:00"), 0);
    assert_int_equal(instant_of("2026-11-01T00:00:00+08:00"), instant_of("2026-10-31T16:00:00Z"));
}

static void instants_at_the_ends(void **state)
{
    (void)state;
    int64_t ms = 7;
    assert_int_equal(instant_of("9999-12-31T23:59:59.999Z"), INSTANT_MAX);
    // before 1970 in UTC
    assert_false(calendar_parse_instant("1970-01-01T07:59:59.999+08:00", &ms));
    assert_false(calendar_parse_instant("9999-12-31T23:59:59-00:01", &ms)); // after 9999 in UTC
    assert_int_equal(ms, 7);
}

static void fractions_are_milliseconds(void **state)
{
    (void)state;
    int64_t second = instant_of("2026-11-01T00:00:00+08:00");
    assert_int_equal(instant_of("2026-11-01T00:00:00.1+08:00"), second + 100);
    assert_int_equal(instant_of("2026-11-01T00:00:00.12+08:00"), second + 120);
    assert_int_equal(instant_of("2026-11-01t00:00:00.123+08:00"), second + 123);
    assert_int_equal(instant_of("2026-10-31T16:00:00.000z"), second);
}

static void only_rfc_3339_instants_parse(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "2026-11-01",
        "2026-11-01T",
        "2026-11-01T00:00:00",
        "2026-11-01 00:00:00Z",
        "2026-11-01T00:00Z",
        "2026-11-01T00-00:00Z",
        "2026-11-01T00:00:0Z",
        "2026-11-01T24:00:00Z",
        "2026-11-01T23:60:00Z",
        "2026-11-01T23:59:60Z",
        "2026-11-01T00:00:00.Z",
        "2026-11-01T00:00:00.1234Z",
        "2026-11-01T00:00:00+0800",
        "2026-11-01T00:00:00+08",
        "2026-11-01T00:00:00+24:00",
        "2026-11-01T00:00:00+08:60",
        "2026-11-01T00:00:00 +08:00",
        "2026-11-01T00:00:00Zulu",
        "2026-02-30T00:00:00Z",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int64_t ms = 7;
        if (calendar_parse_instant(bad[i], &ms))
            fail_msg("%s parsed", bad[i]);
        assert_int_equal(ms, 7);
    }
}

static void instants_format_in_their_offset(void **state)
{
    (void)state;
    char text[INSTANT_TEXT_SIZE];
    int64_t ms = instant_of("2026-10-31T16:00:00.007Z");
    assert_string_equal(calendar_format_instant(ms, SHANGHAI, text),
                        "2026-11-01T00:00:00.007+08:00");
    assert_string_equal(calendar_format_instant(ms, 0, text), "2026-10-31T16:00:00.007Z");
    assert_string_equal(calendar_format_instant(ms, -(5 * 60 + 30) * 60000, text),
                        "2026-10-31T10:30:00.007-05:30");
    assert_string_equal(calendar_format_instant(-1, 0, text), "1969-12-31T23:59:59.999Z");
    assert_int_equal(instant_of(calendar_format_instant(ms, SHANGHAI, text)), ms);
}

// R12
static void a_package_lasts_to_the_same_time_next_year(void **state)
{
    (void)state;
    static const struct {
        const char *from, *until;
    } rows[] = {
        {"2026-11-01T15:30:00.123+08:00", "2027-11-01T15:30:00.123+08:00"},
        // leap day: as PostgreSQL and java.time
        {"2024-02-29T15:00:00+08:00", "2025-02-28T15:00:00+08:00"},
        {"2023-02-28T15:00:00+08:00", "2024-02-28T15:00:00+08:00"}, // not the leap day
        {"2024-02-28T15:00:00+08:00", "2025-02-28T15:00:00+08:00"},
        {"2023-03-01T00:00:00+08:00", "2024-03-01T00:00:00+08:00"}, // 366 days
        {"2099-02-28T00:00:00+08:00", "2100-02-28T00:00:00+08:00"},
        {"2024-02-28T16:00:00Z", "2025-02-27T16:00:00Z"}, // is 29 February in Shanghai
        {"2024-02-29T16:00:00Z", "2025-02-28T16:00:00Z"}, // is 1 March in Shanghai
        {"1970-01-01T08:00:00+08:00", "1971-01-01T08:00:00+08:00"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(calendar_add_year(instant_of(rows[i].from), SHANGHAI),
                         instant_of(rows[i].until));
    char text[INSTANT_TEXT_SIZE];
    assert_string_equal(calendar_format_instant(calendar_add_year(INSTANT_MAX, 0), 0, text),
                        "10000-12-31T23:59:59.999Z");
}

// R75
static void a_month_ends_with_its_last_day(void **state)
{
    (void)state;
    static const char *const ends[][3] = {{"2026-11-01", "2026-11-01", "2026-11-30"},
                                          {"2026-11-30", "2026-11-01", "2026-11-30"},
                                          {"2028-02-10", "2028-02-01", "2028-02-29"},
                                          {"2100-02-28", "2100-02-01", "2100-02-28"},
                                          {"2026-12-31", "2026-12-01", "2026-12-31"}};
    char text[DAY_TEXT_SIZE];
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        day_t day = day_of(ends[i][0]);
        assert_int_equal(calendar_month_start(day), day_of(ends[i][1]));
        assert_int_equal(calendar_month_end(day), day_of(ends[i][2]));
        assert_memory_equal(calendar_format_month(day, text), ends[i][0], 7);
        assert_int_equal(strlen(text), 7);
        assert_true(calendar_parse_month(text, &day));
        assert_int_equal(day, day_of(ends[i][1]));
    }
    static const char *const wrong[] = {"",        "2026",     "2026-1",    "2026-13", "2026-00",
                                        "1969-12", "2026-1 ",  "2026_11",   "202611",  " 2026-1",
                                        "2026-1x", "2026-11-", "2026-11-01"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_false(calendar_parse_month(wrong[i], &(day_t){0}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(zones),
        cmocka_unit_test(a_day_begins_at_local_midnight),
        cmocka_unit_test(days_floor_before_1970),
        cmocka_unit_test(dates_agree_with_the_c_library),
        cmocka_unit_test(dates_outside_the_record_range_format),
        cmocka_unit_test(only_dates_that_exist_parse),
        cmocka_unit_test(instants_parse_with_a_zone),
        cmocka_unit_test(instants_at_the_ends),
        cmocka_unit_test(fractions_are_milliseconds),
        cmocka_unit_test(only_rfc_3339_instants_parse),
        cmocka_unit_test(instants_format_in_their_offset),
        cmocka_unit_test(a_package_lasts_to_the_same_time_next_year),
        cmocka_unit_test(a_month_ends_with_its_last_day),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
