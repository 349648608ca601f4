// What is shown of a reject, by `settled rejects list` and by the API.
#pragma once

#include "consumer/postgres/store.h"

#include <jansson.h>

enum { REJECT_STATE_SIZE = 48 };

// What became of it, in a word or two; returns out.
const char *reject_state(const struct reject_row *row, char out[REJECT_STATE_SIZE]);
// Times are written with this offset east of UTC. NULL: memory is short.
json_t *reject_json(const struct reject_row *row, int32_t offset_ms);
json_t *reject_group_json(const struct reject_group_row *group, int32_t offset_ms);
// The input with this key of the configuration ("calls"), or with this topic. False: there is none.
bool reject_find_input(const char *text, const char topics[INPUT_COUNT][250], enum input *out);
