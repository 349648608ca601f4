// Civil days and instants. An instant is milliseconds since 1970-01-01T00:00Z; a day is a civil
// date in the price book's time zone, counted from 1970-01-01. Zones are those with one fixed
// offset for every instant that can be billed, so no zone data is read: Asia/Shanghai is UTC+8
// (R22).
#pragma once

#include <stdbool.h>
#include <stdint.h>

typedef int32_t day_t;

enum { DAY_TEXT_SIZE = 16, INSTANT_TEXT_SIZE = 40 };

#define DAY_MS INT64_C(86400000)
#define DAY_NONE INT32_MIN
// Instants outside 1970-01-01T00:00Z .. 9999-12-31T23:59:59.999Z are not valid as the time of a
// record.
#define INSTANT_MIN INT64_C(0)
#define INSTANT_MAX INT64_C(253402300799999)

// Offset of a supported zone in ms east of UTC; false when the zone is not supported.
bool calendar_zone_offset(const char *zone, int32_t *offset_ms);

// The day that holds an instant: [00:00, 24:00) local time. Rounds down, before 1970 too.
day_t calendar_day(int64_t instant_ms, int32_t offset_ms);
// The instant of local 00:00 of a day. The end of day D (24:00) is the start of D + 1.
int64_t calendar_day_start(day_t day, int32_t offset_ms);
// The same local time one calendar year later; 29 February goes to 28 February (R12).
int64_t calendar_add_year(int64_t instant_ms, int32_t offset_ms);

// The last day of the month that holds the day.
day_t calendar_month_end(day_t day);
day_t calendar_month_start(day_t day); // the first one

// "YYYY-MM-DD"; returns out.
char *calendar_format_day(day_t day, char out[DAY_TEXT_SIZE]);
char *calendar_format_month(day_t day, char out[DAY_TEXT_SIZE]); // "YYYY-MM"
// "YYYY-MM-DDTHH:MM:SS.mmm+08:00" in the offset given (Z for 0); returns out.
char *calendar_format_instant(int64_t instant_ms, int32_t offset_ms, char out[INSTANT_TEXT_SIZE]);
// Exactly "YYYY-MM", years 1970 to 9999; *first is the month's first day.
bool calendar_parse_month(const char *text, day_t *first);
// Exactly "YYYY-MM-DD", a date that exists, years 1970 to 9999.
bool calendar_parse_day(const char *text, day_t *out);
// RFC 3339 with a zone ("Z" or "+HH:MM"), at most milliseconds. A date alone is refused.
bool calendar_parse_instant(const char *text, int64_t *out_ms);
