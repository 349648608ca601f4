// Which form of an answer a client wants (RFC 9110, 12.5.1).
#pragma once

#include <stdbool.h>

enum api_form { API_FORM_NONE, API_FORM_JSON, API_FORM_CSV };

// The header Accept, NULL where it was not sent. JSON where both are wanted alike; API_FORM_NONE
// where none of what there is may be sent.
enum api_form api_choose_form(const char *accept, bool has_csv);
