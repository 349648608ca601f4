// The console: pages that show in a browser what the API answers. Files alone, which know nothing;
// the browser asks the API for all that they show, with the token of whoever looks.
#pragma once

#include "consumer/http/http.h"

// Answers "/" and what stands below "/console/". A route of the server that does not wait.
void console_answer(void *context, int thread, const struct http_request *request,
                    struct http_answer *out);
