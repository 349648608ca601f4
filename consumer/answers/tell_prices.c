// Prices, and what something would cost: from the recorded price books.
#include "consumer/answers/look.h"
#include "consumer/answers/quoting.h"
#include "consumer/answers/tell.h"
#include "consumer/api/api_read.h"
#include "consumer/http/http_target.h"

#include <stdlib.h>

static int64_t now_ms(const struct api_call *call)
{
    return call->now->clock_ms(call->now->clock_context);
}

// The book in force on the day that is asked for, by default today.
static int load_book(struct api_call *call, day_t *day, struct book *out, struct error *e)
{
    bool recorded = false;
    day_t today = calendar_day(now_ms(call), call->fixed->offset_ms);
    if (api_day(call, "day", today, day, e) || api_read(call, NULL, 0, NULL, e))
        return -1;
    struct deployment *deployment = calloc(1, sizeof *deployment);
    if (!deployment)
        return error_set(e, ERROR_UNAVAILABLE, "memory is short");
    int failed = api_stored(store_load_deployment(call->store, deployment, &recorded, e));
    if (!failed && !recorded)
        failed = error_set(e, ERROR_UNAVAILABLE, "nothing is recorded any more");
    if (!failed)
        *out = *shelf_at(&deployment->policy.shelf, *day);
    shelf_clear(&deployment->policy.shelf);
    free(deployment);
    return failed;
}

static json_t *tiers_json(const struct service_prices *prices)
{
    json_t *tiers = json_array();
    for (size_t i = 0; i < prices->tier_count; i++)
        json_array_append_new(tiers,
                              json_pack("{s:I, s:I}", "from", (json_int_t)prices->tiers[i].from,
                                        "unit_price", (json_int_t)prices->tiers[i].unit_price));
    return tiers;
}

static json_t *offers_json(const struct service_prices *prices)
{
    json_t *offers = json_array();
    for (size_t i = 0; i < prices->offer_count; i++)
        json_array_append_new(offers,
                              json_pack("{s:I, s:I}", "units", (json_int_t)prices->offers[i].units,
                                        "price", (json_int_t)prices->offers[i].price));
    return offers;
}

static json_t *service_json(enum service service, const struct service_prices *prices)
{
    const struct custom_offer *custom = &prices->custom;
    json_t *any = custom->step == 0
                      ? json_null()
                      : json_pack("{s:I, s:I, s:I}", "minimum", (json_int_t)custom->minimum, "step",
                                  (json_int_t)custom->step, "price_per_step",
                                  (json_int_t)custom->price_per_step);
    return json_pack("{s:s, s:s, s:s, s:b, s:o, s:o, s:o}", "service", service_symbol(service),
                     "name", prices->name, "unit", prices->unit == UNIT_LEAD ? "LEAD" : "CALL",
                     "tiered", prices->tiered, "tiers", tiers_json(prices), "packages",
                     offers_json(prices), "custom_package", any);
}

static json_t *book_json(const struct book *book, day_t day)
{
    char text[DAY_TEXT_SIZE], from[DAY_TEXT_SIZE];
    json_t *services = json_array();
    for (enum service s = 0; s < SERVICE_COUNT; s++)
        json_array_append_new(services, service_json(s, &book->services[s]));
    const char *since =
        book->effective_from == DAY_NONE ? NULL : calendar_format_day(book->effective_from, from);
    return json_pack("{s:s, s:s, s:{s:s, s:s, s:s?}, s:s, s:o}", "day",
                     calendar_format_day(day, text), "currency", book->currency, "price_book",
                     "name", book->name, "sha256", book->sha256, "effective_from", since,
                     "time_zone", book->time_zone, "services", services);
}

static int put_with_frame(struct api_call *call, json_t *body, struct error *e)
{
    api_add_frame(call, body);
    return api_put_json(call, body, e);
}

int tell_prices(struct api_call *call, struct error *e)
{
    struct book book;
    day_t day;
    if (load_book(call, &day, &book, e))
        return -1;
    return put_with_frame(call, book_json(&book, day), e);
}

// What the account's packages hold: of what its shard tells, after the days that are not settled.
static int held_by(struct api_call *call, const struct account_look *look, enum service service,
                   int64_t *units, struct error *e)
{
    const struct held_question question = {slice_text(call->account), service, now_ms(call)};
    if (!look_knows(look))
        return api_stored(store_held_units(call->store, &question, units, e));
    *units = look_held(look, service, question.at_ms);
    return 0;
}

static int put_quote(struct api_call *call, const struct account_look *look, struct error *e)
{
    struct book book;
    struct quote_request request;
    struct quote quote;
    day_t day;
    const char *leads = http_parameter(call->request, "leads");
    const struct quote_words words = {.kind = "parameter",
                                      .names = {"service", "leads", "calls"},
                                      .service = http_parameter(call->request, "service"),
                                      .calls = http_parameter(call->request, "calls"),
                                      .lead_count = leads ? 1 : 0,
                                      .leads = &leads};
    if (load_book(call, &day, &book, e) || quote_ask(&words, &book, &request, e) ||
        (call->account && held_by(call, look, request.service, &request.held_units, e)) ||
        quote_make(&book, &request, &quote, e))
        return -1;
    return put_with_frame(call, quote_json(&request, &book, &quote), e);
}

int tell_quote(struct api_call *call, struct error *e)
{
    struct account_look look = {.preview = NULL};
    if (call->account && look_take(call, &look, e))
        return -1;
    if (call->account && !look.preview && look_ask_owner(call))
        return 0;
    call->known = look_knows(&look);
    int failed = put_quote(call, &look, e);
    look_end(&look);
    return failed;
}
