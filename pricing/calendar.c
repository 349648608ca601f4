#include "pricing/calendar.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define HOUR_MS INT64_C(3600000)
#define MINUTE_MS INT64_C(60000)

struct date {
    int32_t year;
    int month, day; // from 1
};

static const struct {
    const char *name;
    int32_t offset_ms;
} zones[] = {
    // R22: UTC+8 at every instant, even in the summers of 1986 to 1991.
    {"Asia/Shanghai", 8 * 3600000},
    {"Etc/UTC", 0},
    {"UTC", 0},
};

bool calendar_zone_offset(const char *zone, int32_t *offset_ms)
{
    for (size_t i = 0; i < sizeof zones / sizeof *zones; i++) {
        if (strcmp(zone, zones[i].name) != 0)
            continue;
        *offset_ms = zones[i].offset_ms;
        return true;
    }
    return false;
}

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

// Days and dates are counted in years that begin on 1 March, so that a leap day is a year's last
// day, and in eras of 400 years, which all have 146,097 days.
enum { ERA_YEARS = 400, ERA_DAYS = 146097, DAYS_FROM_0000_03_01_TO_1970 = 719468 };

static int64_t days_of_date(struct date d)
{
    int64_t year = d.month > 2 ? d.year : d.year - 1;
    int64_t era = floor_div(year, ERA_YEARS);
    int64_t year_of_era = year - era * ERA_YEARS;
    int64_t month = d.month > 2 ? d.month - 3 : d.month + 9;
    int64_t day_of_year = (153 * month + 2) / 5 + d.day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * ERA_DAYS + day_of_era - DAYS_FROM_0000_03_01_TO_1970;
}

static struct date date_of_days(int64_t days)
{
    int64_t shifted = days + DAYS_FROM_0000_03_01_TO_1970;
    int64_t era = floor_div(shifted, ERA_DAYS);
    int64_t day_of_era = shifted - era * ERA_DAYS;
    int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t month = (5 * day_of_year + 2) / 153;
    struct date d = {
        .month = (int)(month < 10 ? month + 3 : month - 9),
        .day = (int)(day_of_year - (153 * month + 2) / 5 + 1),
    };
    d.year = (int32_t)(year_of_era + era * ERA_YEARS + (d.month <= 2));
    return d;
}

static bool leap_year(int32_t year)
{
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static int days_in_month(int32_t year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return days[month - 1] + (month == 2 && leap_year(year));
}

// R21: a day is [00:00, 24:00) of local time.
day_t calendar_day(int64_t instant_ms, int32_t offset_ms)
{
    return (day_t)floor_div(instant_ms + offset_ms, DAY_MS);
}

int64_t calendar_day_start(day_t day, int32_t offset_ms)
{
    return day * DAY_MS - offset_ms;
}

int64_t calendar_add_year(int64_t instant_ms, int32_t offset_ms)
{
    day_t day = calendar_day(instant_ms, offset_ms);
    int64_t time_of_day = instant_ms - calendar_day_start(day, offset_ms);
    struct date d = date_of_days(day);
    d.year++;
    // R12: a package of 29 February ends on 28 February.
    if (d.day > days_in_month(d.year, d.month))
        d.day = days_in_month(d.year, d.month);
    return days_of_date(d) * DAY_MS - offset_ms + time_of_day;
}

day_t calendar_month_start(day_t day)
{
    return day - date_of_days(day).day + 1;
}

day_t calendar_month_end(day_t day)
{
    struct date d = date_of_days(day);
    return calendar_month_start(day) + days_in_month(d.year, d.month) - 1;
}

char *calendar_format_month(day_t day, char out[DAY_TEXT_SIZE])
{
    struct date d = date_of_days(day);
    snprintf(out, DAY_TEXT_SIZE, "%04" PRId32 "-%02d", d.year, d.month);
    return out;
}

char *calendar_format_day(day_t day, char out[DAY_TEXT_SIZE])
{
    struct date d = date_of_days(day);
    snprintf(out, DAY_TEXT_SIZE, "%04" PRId32 "-%02d-%02d", d.year, d.month, d.day);
    return out;
}

char *calendar_format_instant(int64_t instant_ms, int32_t offset_ms, char out[INSTANT_TEXT_SIZE])
{
    char date[DAY_TEXT_SIZE], zone[16] = "Z";
    day_t day = calendar_day(instant_ms, offset_ms);
    int64_t ms = instant_ms - calendar_day_start(day, offset_ms);
    int minutes = (int)((offset_ms < 0 ? -(int64_t)offset_ms : offset_ms) / MINUTE_MS);
    if (offset_ms != 0)
        snprintf(zone, sizeof zone, "%c%02d:%02d", offset_ms < 0 ? '-' : '+', minutes / 60,
                 minutes % 60);
    snprintf(out, INSTANT_TEXT_SIZE, "%sT%02d:%02d:%02d.%03d%s", calendar_format_day(day, date),
             (int)(ms / HOUR_MS), (int)(ms / MINUTE_MS % 60), (int)(ms / 1000 % 60),
             (int)(ms % 1000), zone);
    return out;
}

// Takes exactly `digits` decimal digits and moves on.
static bool take_number(const char **text, int digits, int *out)
{
    int n = 0;
    for (int i = 0; i < digits; i++) {
        char c = (*text)[i];
        if (c < '0' || c > '9')
            return false;
        n = n * 10 + (c - '0');
    }
    *text += digits;
    *out = n;
    return true;
}

static bool take(const char **text, char c)
{
    if (**text != c)
        return false;
    (*text)++;
    return true;
}

static bool take_day(const char **text, day_t *out)
{
    int year, month, day;
    if (!take_number(text, 4, &year) || !take(text, '-') || !take_number(text, 2, &month) ||
        !take(text, '-') || !take_number(text, 2, &day))
        return false;
    if (month < 1 || month > 12 || day < 1 || day > days_in_month(year, month))
        return false;
    *out = (day_t)days_of_date((struct date){year, month, day});
    return true;
}

bool calendar_parse_day(const char *text, day_t *out)
{
    day_t day;
    if (!take_day(&text, &day) || *text != '\0' || day < 0)
        return false;
    *out = day;
    return true;
}

bool calendar_parse_month(const char *text, day_t *first)
{
    char day[DAY_TEXT_SIZE];
    snprintf(day, sizeof day, "%.7s-01", text);
    return strlen(text) == 7 && calendar_parse_day(day, first);
}

// ".1", ".12" or ".123"; nothing at all is 0.
static bool take_milliseconds(const char **text, int *out)
{
    *out = 0;
    if (!take(text, '.'))
        return true;
    int digit, scale = 100;
    if (!take_number(text, 1, &digit))
        return false;
    do {
        *out += digit * scale;
        scale /= 10;
    } while (scale > 0 && take_number(text, 1, &digit));
    return true;
}

static bool take_zone(const char **text, int64_t *offset_ms)
{
    *offset_ms = 0;
    if (take(text, 'Z') || take(text, 'z'))
        return true;
    int sign = **text == '-' ? -1 : 1, hours, minutes;
    if (!take(text, '+') && !take(text, '-'))
        return false;
    if (!take_number(text, 2, &hours) || !take(text, ':') || !take_number(text, 2, &minutes))
        return false;
    if (hours > 23 || minutes > 59)
        return false;
    *offset_ms = sign * (hours * HOUR_MS + minutes * MINUTE_MS);
    return true;
}

bool calendar_parse_instant(const char *text, int64_t *out_ms)
{
    day_t day;
    int hour, minute, second, ms;
    int64_t offset_ms;
    if (!take_day(&text, &day))
        return false;
    if (!take(&text, 'T') && !take(&text, 't'))
        return false;
    if (!take_number(&text, 2, &hour) || !take(&text, ':') || !take_number(&text, 2, &minute) ||
        !take(&text, ':') || !take_number(&text, 2, &second) || !take_milliseconds(&text, &ms) ||
        !take_zone(&text, &offset_ms))
        return false;
    if (*text != '\0' || hour > 23 || minute > 59 || second > 59)
        return false;
    int64_t instant = day * DAY_MS + hour * HOUR_MS + minute * MINUTE_MS + second * INT64_C(1000) +
                      ms - offset_ms;
    if (instant < INSTANT_MIN || instant > INSTANT_MAX)
        return false;
    *out_ms = instant;
    return true;
}
