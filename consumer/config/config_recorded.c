#include "consumer/config/config_recorded.h"

#include "consumer/config/config_table.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>

static bool is_parameter(const struct config_key *key)
{
    size_t first = offsetof(struct config, parameters);
    return key->offset >= first && key->offset < first + sizeof(struct parameters);
}

// As the file would have it.
static void format_value(const struct parameters *parameters, const struct config_key *key,
                         char out[RECORDED_TEXT_SIZE])
{
    const char *at = (const char *)parameters + key->offset - offsetof(struct config, parameters);
    char numbers[THRESHOLDS_TEXT_SIZE];
    struct thresholds thresholds;
    int64_t wide = 0;
    int32_t narrow;
    switch (key->kind) {
    case VALUE_DURATION:
    case VALUE_COUNT:
        memcpy(&wide, at, sizeof wide);
        config_format_number(key, wide, out);
        break;
    case VALUE_INT32:
    case VALUE_SHARE:
        memcpy(&narrow, at, sizeof narrow);
        config_format_number(key, narrow, out);
        break;
    default:
        assert(key->kind == VALUE_THRESHOLDS); // a parameter is a number, or some
        memcpy(&thresholds, at, sizeof thresholds);
        snprintf(out, RECORDED_TEXT_SIZE, "[%s]", thresholds_format(&thresholds, ", ", numbers));
    }
}

static_assert((int)RECORDED_TEXT_SIZE >= (int)NUMBER_TEXT_SIZE &&
                  (int)RECORDED_TEXT_SIZE >= THRESHOLDS_TEXT_SIZE + 2,
              "each parameter fits");

size_t config_compare_parameters(const struct parameters *configured,
                                 const struct parameters *recorded,
                                 struct recorded_value out[RECORDED_VALUES_MAX])
{
    size_t count = 0;
    for (const struct config_key *key = config_keys; key->name; key++) {
        if (!is_parameter(key))
            continue;
        assert(count < RECORDED_VALUES_MAX);
        struct recorded_value *value = &out[count++];
        snprintf(value->key, sizeof value->key, "%s.%s", key->section, key->name);
        format_value(configured, key, value->configured);
        format_value(recorded, key, value->recorded);
        value->differs = strcmp(value->configured, value->recorded) != 0;
    }
    assert(count > 0);
    return count;
}
