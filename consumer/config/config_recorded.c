#include "consumer/config/config_recorded.h"

#include "consumer/config/config_table.h"

#include <assert.h>
#include <inttypes.h>
#include <stddef.h>
#include <string.h>

static bool is_parameter(const struct config_key *key)
{
    size_t first = offsetof(struct config, parameters);
    return key->offset >= first && key->offset < first + sizeof(struct parameters);
}

static int64_t value_of(const struct parameters *parameters, const struct config_key *key)
{
    const char *at = (const char *)parameters + key->offset - offsetof(struct config, parameters);
    int64_t wide;
    int32_t narrow;
    switch (key->kind) {
    case VALUE_DURATION:
    case VALUE_COUNT:
        memcpy(&wide, at, sizeof wide);
        return wide;
    case VALUE_INT32:
    case VALUE_SHARE:
        memcpy(&narrow, at, sizeof narrow);
        return narrow;
    default:
        assert(!"a parameter is a number");
        return 0;
    }
}

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
        int64_t ours = value_of(configured, key), theirs = value_of(recorded, key);
        snprintf(value->key, sizeof value->key, "%s.%s", key->section, key->name);
        value->differs = ours != theirs;
        config_format_number(key, ours, value->configured);
        config_format_number(key, theirs, value->recorded);
    }
    assert(count > 0);
    return count;
}
