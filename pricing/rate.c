#include "pricing/rate.h"

#include <assert.h>

int64_t rate_units(const struct book *book, enum service service, int64_t lead_count)
{
    // R2, R3: a call of AUDIENCE_INSIGHT is one unit, a call of PURCHASE_INTENT has its leads as
    // units.
    return book->services[service].unit == UNIT_CALL ? 1 : lead_count;
}

const struct tier *rate_tier(const struct book *book, enum service service, int64_t units)
{
    const struct service_prices *prices = &book->services[service];
    assert(units >= 0 && prices->tier_count > 0 && prices->tiers[0].from == 0);
    // R7: a boundary belongs to the upper tier.
    size_t i = prices->tier_count - 1;
    while (prices->tiers[i].from > units)
        i--;
    return &prices->tiers[i];
}

// R9: a size that the book does not offer is not for sale.
bool rate_offer_price(const struct book *book, enum service service, int64_t units, fen_t *price)
{
    const struct service_prices *prices = &book->services[service];
    for (size_t i = 0; i < prices->offer_count; i++) {
        if (prices->offers[i].units != units)
            continue;
        *price = prices->offers[i].price;
        return true;
    }
    const struct custom_offer *custom = &prices->custom;
    // R10: a custom package has at least the minimum, in multiples of the step.
    if (custom->step == 0 || units < custom->minimum || units % custom->step != 0)
        return false;
    return money_times(units / custom->step, custom->price_per_step, price);
}
