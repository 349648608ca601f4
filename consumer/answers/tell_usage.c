// What an account has used, by business day and service: settled, and then what is not settled yet.
#include "consumer/answers/look.h"
#include "consumer/answers/tell.h"
#include "consumer/api/api_rows.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

// Days are those that were billed for it, so that the amounts add up to those of the settlements; a
// late call counts on the day on which it was billed. A call counts once, whatever covers it.
static const char usage_query[] =
    "select to_char(business_day, 'YYYY-MM-DD') || '/' || place as here, business_day, service,"
    " calls, units, amount, currency, false as provisional"
    " from (select business_day, service, sum(calls_begun)::bigint as calls,"
    "   sum(units)::bigint as units, sum(amount)::bigint as amount, $6 as currency,"
    "   row_number() over (partition by business_day order by service) as place"
    "  from settled.settlement_lines where account_id = $1"
    "   and business_day between greatest($2, $4) and $3 group by business_day, service) used"
    " where (business_day, place) > ($4, $5) order by business_day, place limit $7";

struct usage_page {
    struct api_days days;
    day_t after_day; // DAY_NONE: from the first one
    int64_t after_place, limit;
    json_t *items;
    char last[48], next[48]; // positions; "": none
};

// False: the page is full, and others follow.
static bool add_item(struct usage_page *page, const char *position, json_t *item)
{
    if ((int64_t)json_array_size(page->items) == page->limit) {
        memcpy(page->next, page->last, sizeof page->next);
        json_decref(item);
        return false;
    }
    snprintf(page->last, sizeof page->last, "%s", position);
    json_array_append_new(page->items, item);
    return true;
}

static json_t *use_json(const struct preview_day *day, enum service service, const char *currency)
{
    const struct preview_use *use = &day->services[service];
    char text[DAY_TEXT_SIZE];
    return json_pack("{s:s, s:s, s:I, s:I, s:I, s:s, s:b}", "business_day",
                     calendar_format_day(day->day, text), "service", service_symbol(service),
                     "calls", (json_int_t)use->calls, "units", (json_int_t)use->units, "amount",
                     (json_int_t)use->amount, "currency", currency, "provisional", 1);
}

static bool is_on_page(const struct usage_page *page, day_t day, int64_t place)
{
    return day >= page->days.from && day <= page->days.to &&
           (day > page->after_day || (day == page->after_day && place > page->after_place));
}

static bool add_day(struct usage_page *page, const struct preview_day *day, const char *currency)
{
    char position[48], text[DAY_TEXT_SIZE];
    int64_t place = 0;
    for (enum service s = 0; s < SERVICE_COUNT; s++) {
        if (day->services[s].calls == 0 || !is_on_page(page, day->day, ++place))
            continue;
        snprintf(position, sizeof position, "%s/%" PRId64, calendar_format_day(day->day, text),
                 place);
        if (!add_item(page, position, use_json(day, s, currency)))
            return false;
    }
    return true;
}

static void fill_page(struct usage_page *page, const struct api_call *call, const PGresult *rows,
                      const struct account_look *look)
{
    bool room = true;
    for (int i = 0; i < PQntuples(rows) && room; i++)
        room = add_item(page, get_string(rows, i, 0),
                        api_row_json(rows, i, 1, call->fixed->offset_ms));
    if (!look_knows(look))
        return;
    const struct preview_result *result = preview_result(look->preview);
    for (size_t i = 0; i < result->day_count && room; i++)
        room = add_day(page, &result->days[i], call->fixed->currency);
}

static int put_usage(struct api_call *call, struct usage_page *page, const PGresult *rows,
                     const struct account_look *look, struct error *e)
{
    page->items = json_array();
    fill_page(page, call, rows, look);
    if (look_knows(look))
        look_put_place(look, call);
    json_t *body = json_pack("{s:b, s:o}", "provisional", look_knows(look), "items", page->items);
    api_add_frame(call, body);
    if (!body || api_put_next(call, body, page->next[0] ? page->next : NULL, e)) {
        json_decref(body);
        return body ? -1 : error_set(e, ERROR_UNAVAILABLE, "memory is short");
    }
    return api_put_json(call, body, e);
}

int tell_usage(struct api_call *call, struct error *e)
{
    struct usage_page page = {.after_day = DAY_NONE};
    if (api_days(call, &page.days, e) || api_limit(call, &page.limit, e) ||
        api_after_day(call, &page.after_day, &page.after_place, e))
        return -1;
    const struct api_query query = {
        usage_query,
        SQL_PARAMS(sql_text(call->account), sql_day(page.days.from), sql_day(page.days.to),
                   sql_day(page.after_day), sql_int8(page.after_place),
                   sql_text(call->fixed->currency), sql_int8(page.limit + 1))};
    struct look_reading reading = {.queries = &query, .count = 1};
    if (look_read(call, &reading, e))
        return -1;
    int failed =
        reading.answered ? 0 : put_usage(call, &page, reading.results[0], &reading.look, e);
    look_reading_end(&reading);
    return failed;
}
