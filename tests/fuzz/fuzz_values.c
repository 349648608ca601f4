// Single values as people write them: dates, instants, every key of the configuration, librdkafka
// properties, the position in Kafka. The first byte says which kind; the value ends at a zero byte.
#include "consumer/config/config_table.h"
#include "consumer/relay/publisher.h"
#include "text_of.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { AS_DAY, AS_INSTANT, AS_POSITION, AS_PROPERTY, AS_KEY };

static void check_day(const char *text)
{
    day_t day;
    char again[DAY_TEXT_SIZE];
    if (calendar_parse_day(text, &day))
        assert(strcmp(calendar_format_day(day, again), text) == 0);
}

static void check_instant(const char *text)
{
    int64_t instant, again;
    char written[INSTANT_TEXT_SIZE];
    if (!calendar_parse_instant(text, &instant))
        return;
    assert(instant >= INSTANT_MIN && instant <= INSTANT_MAX);
    assert(calendar_parse_instant(calendar_format_instant(instant, 0, written), &again) &&
           again == instant);
    day_t day = calendar_day(instant, 0);
    assert(calendar_day_start(day, 0) <= instant && instant < calendar_day_start(day + 1, 0));
    assert(calendar_add_year(instant, 0) - instant <= 366 * DAY_MS);
    assert(calendar_add_year(instant, 0) - instant >= 365 * DAY_MS);
}

static void check_position(const char *text)
{
    int64_t n;
    uint8_t hash[32];
    char again[POSITION_TEXT_SIZE];
    if (!position_parse(text, strlen(text), &n, hash))
        return;
    position_format(n, hash, again);
    assert(strcmp(text, again) == 0);
}

static void check_property(struct config *config, char *text)
{
    char why[WHY_SIZE];
    char *value = strchr(text, '=');
    if (!value)
        return;
    *value++ = '\0';
    const char *refused = config_set_property(config, text, value, why);
    assert(!refused || (refused[0] && strlen(refused) < ERROR_TEXT_SIZE));
    assert(refused || config->property_count == 1);
}

static void check_key(struct config *config, const struct config_key *key, const char *text)
{
    char why[WHY_SIZE];
    const void *field = (const char *)config + key->offset;
    const char *refused = config_set(config, key, text, why);
    assert(!refused || (refused[0] && strlen(refused) < ERROR_TEXT_SIZE));
    if (refused)
        return;
    int64_t number = 0;
    int32_t narrow = 0;
    memcpy(&narrow, field, sizeof narrow);
    switch (key->kind) {
    case VALUE_DURATION:
    case VALUE_COUNT:
        memcpy(&number, field, sizeof number);
        assert(number >= key->min && number <= key->max);
        break;
    case VALUE_TIMEOUT:
    case VALUE_INT:
    case VALUE_INT32:
    case VALUE_SHARE:
        assert(narrow >= key->min && narrow <= key->max);
        break;
    default:
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    size_t what = data[0] % (AS_KEY + config_key_count);
    char *text = text_of(data + 1, size - 1);
    struct config config = {.file = strdup("settled.yaml")};
    if (!config.file)
        abort();
    switch (what) {
    case AS_DAY:
        check_day(text);
        break;
    case AS_INSTANT:
        check_instant(text);
        break;
    case AS_POSITION:
        check_position(text);
        break;
    case AS_PROPERTY:
        check_property(&config, text);
        break;
    default:
        check_key(&config, &config_keys[what - AS_KEY], text);
    }
    free(text);
    config_free(&config);
    return 0;
}
