// Texts from outside: UTF-8 and the rule for ids.
#pragma once

#include "consumer/base/slice.h"

enum { ID_SIZE_MAX = 128 };

// R42: whether a text may be an id: 1 to 128 bytes of UTF-8 without U+0000-1F and U+007F-9F. `why`
// is set to a short reason when it may not.
bool text_is_id(struct slice text, const char **why);
// The size of the UTF-8 sequence at `at`, 1 to 4 bytes; or, as a negative number, the size of what
// must be replaced by one U+FFFD.
int text_sequence(const char *at, const char *end);
// Copies a text, with U+FFFD for what is not UTF-8 and for U+0000 (which PostgreSQL cannot keep),
// into `out`, which has room for 3 * size bytes. Returns the size.
size_t text_repair(struct slice text, char *out);
// For people: whole characters that fit, with dots for what is no UTF-8 or would break a line or a
// terminal. Returns out, or "null" where there is no text.
const char *text_show(struct slice text, char *out, size_t size);
