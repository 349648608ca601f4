// Any bytes as a price book: they are refused with a place and a reason, or give a book that can
// price every call.
#include "pricing/rate.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static void check_service(const struct book *book, enum service service)
{
    const struct service_prices *prices = &book->services[service];
    fen_t amount;
    assert(prices->tier_count >= 1 && prices->tier_count <= BOOK_TIERS_MAX &&
           prices->tiers[0].from == 0);
    assert(prices->offer_count <= BOOK_OFFERS_MAX);
    for (size_t i = 0; i < prices->tier_count; i++) {
        const struct tier *tier = &prices->tiers[i];
        assert(tier->unit_price >= 0 && tier->unit_price <= BOOK_PRICE_MAX);
        assert(i == 0 || tier->from > prices->tiers[i - 1].from);
        assert(rate_tier(book, service, tier->from) == tier);
        assert(i == 0 || rate_tier(book, service, tier->from - 1) == tier - 1);
    }
    for (size_t i = 0; i < prices->offer_count; i++) {
        const struct offer *offer = &prices->offers[i];
        assert(offer->units > 0 && offer->units <= UNITS_OF_RECORD_MAX);
        assert(i == 0 || offer->units > prices->offers[i - 1].units);
        assert(rate_offer_price(book, service, offer->units, &amount) && amount == offer->price);
        assert(amount > 0 && amount <= AMOUNT_MAX);
    }
    if (prices->custom.step > 0 && prices->custom.minimum <= UNITS_OF_RECORD_MAX) {
        int64_t most = UNITS_OF_RECORD_MAX - UNITS_OF_RECORD_MAX % prices->custom.step;
        if (most >= prices->custom.minimum)
            assert(rate_offer_price(book, service, most, &amount) && amount > 0);
    }
    const struct tier *highest = rate_tier(book, service, UNITS_OF_RECORD_MAX);
    assert(money_times(UNITS_OF_RECORD_MAX, highest->unit_price, &amount) && amount >= 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct book book;
    struct error e = {0};
    char *bytes = malloc(size > 0 ? size : 1); // of exactly this size, for the sanitizer
    if (!bytes)
        abort();
    if (size > 0)
        memcpy(bytes, data, size);
    if (book_parse("book.yaml", bytes, size, &book, &e) == 0) {
        assert(strlen(book.sha256) == 64 && strlen(book.currency) == 3 &&
               memchr(book.name, 0, sizeof book.name));
        for (enum service service = 0; service < SERVICE_COUNT; service++)
            check_service(&book, service);
    } else {
        assert(e.kind == ERROR_CONFIG && strncmp(e.text, "book.yaml", 9) == 0);
    }
    free(bytes);
    return 0;
}
