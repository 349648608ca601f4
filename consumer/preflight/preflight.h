// What must be right before settled bills anything: topics, schemas, database, price book, clock.
// `settled check` prints all that is found; `settled run` refuses to start on an error.
#pragma once

#include "consumer/config/config.h"

// A note tells what is in force, and is no trouble.
enum finding_level { FINDING_NOTE, FINDING_WARNING, FINDING_ERROR };

struct finding {
    enum finding_level level;
    enum error_kind kind; // ERROR_UNAVAILABLE or ERROR_CONFIG
    const char *gate; // that it was found at; NULL: the configuration could not be read
    char text[ERROR_TEXT_SIZE]; // the thing, the reason, the remedy
};

enum { FINDINGS_MAX = 64 };
struct findings {
    size_t count, errors;
    struct finding list[FINDINGS_MAX];
    size_t left_out; // for which there was no room; errors go before what is less
};

// Looks at everything that can be reached. An unreachable service is one finding, and hides only
// what must be asked of it. Each call to a service is bounded by a few seconds. `now_ms`: the
// clock; -1: it is simulated, and is not compared with the brokers' clocks.
void preflight_check(const struct config *config, int64_t now_ms, struct findings *out);

// 0 without errors; else -1 and *e, which names the first and how many there are. A configuration
// error comes before one that may pass by waiting.
int preflight_verdict(const struct findings *findings, struct error *e);
